//! `orlop cache usage`: how much the cache holds and may hold.

use orlop_proto::v1::UsageRequest;
use orlop_proto::v1::cache_client::CacheClient;

use super::LISTING_BYTES;
use crate::commands::Command;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;
use crate::output::size;

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "cache usage",
        arguments: "",
        about: "Show how much the cache holds and may hold",
        long_about: "Beyond its limit the least recently used goes by itself: unfinished downloads, then \
            layers, then images. What is in use or pinned stays.",
        count: Count::exactly(0),
        flags: &[&[Flag::switch("json", "print JSON").short('j')]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let request = UsageRequest { context: Some(context.sent()) };
    let (usage, _) = context.call(async |channel| {
        let mut cache = CacheClient::new(channel).max_decoding_message_size(LISTING_BYTES);
        Ok(cache.usage(request.clone()).await?.into_inner())
    })?;
    let total = usage.image_bytes + usage.blob_bytes + usage.partial_bytes;
    if options.is_on("json") {
        context.output.json(&serde_json::json!({
            "path": usage.path,
            "images": usage.images, "image_bytes": usage.image_bytes,
            "blobs": usage.blobs, "blob_bytes": usage.blob_bytes,
            "partials": usage.partials, "partial_bytes": usage.partial_bytes,
            "pinned": usage.pinned, "pinned_bytes": usage.pinned_bytes, "pins": usage.pins,
            "total_bytes": total, "max_bytes": usage.cap_bytes,
        }));
        return Ok(0);
    }
    let row =
        |what: &str, count: u64, bytes: u64| format!("{what:<22} {count:>8} {:>14}", size(bytes));
    context.output.line(&format!("Cache: {}", usage.path));
    context.output.line(&row("Container files:", usage.images, usage.image_bytes));
    context.output.line(&row("OCI blob files:", usage.blobs, usage.blob_bytes));
    context.output.line(&row("Unfinished downloads:", usage.partials, usage.partial_bytes));
    context.output.line(&row("Pinned of these:", usage.pinned, usage.pinned_bytes));
    context.output.line(&format!(
        "Total space used: {} of at most {}",
        size(total),
        size(usage.cap_bytes)
    ));
    for pin in &usage.pins {
        context.output.line(&format!("Pinned: {pin}"));
    }
    Ok(0)
}
