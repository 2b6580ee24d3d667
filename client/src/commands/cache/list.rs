//! `orlop cache list`.

use orlop_proto::v1::cache_client::CacheClient;
use orlop_proto::v1::{EntriesRequest, Entry, EntryKind};

use super::{LISTING_BYTES, is_image, kinds, name};
use crate::commands::Command;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;
use crate::output::{date, size};

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "cache list",
        arguments: "",
        about: "List what the cache holds",
        long_about: "",
        count: Count::exactly(0),
        flags: &[&[
            Flag::list("type", "TYPES", "count only these: oci-tmp, oras, blob, all").short('T'),
            Flag::switch("verbose", "list each entry").short('v'),
            Flag::switch("json", "print a JSON array").short('j'),
        ]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let kinds = kinds(&options.list("type"))?;
    let request = EntriesRequest { context: Some(context.sent()) };
    let (reply, _) = context.call(async |channel| {
        let mut cache = CacheClient::new(channel).max_decoding_message_size(LISTING_BYTES);
        Ok(cache.entries(request.clone()).await?.into_inner())
    })?;
    let mut entries: Vec<Entry> = reply.entries;
    entries.retain(|entry| kinds.is_empty() || kinds.contains(&entry.kind()));
    entries.sort_by(|one, other| (one.kind, &one.key).cmp(&(other.kind, &other.key)));
    if options.is_on("json") {
        let rows: Vec<_> = entries
            .iter()
            .map(|entry| {
                serde_json::json!({
                    "type": name(entry), "key": entry.key, "bytes": entry.bytes,
                    "created": entry.created, "used": entry.used, "pinned": entry.pinned,
                })
            })
            .collect();
        context.output.json(&rows);
        return Ok(0);
    }
    if options.is_on("verbose") {
        context.output.line(&row("NAME", "DATE CREATED", "SIZE", "TYPE"));
        for entry in &entries {
            let short: String = entry.key.chars().take(22).collect();
            let row = row(&short, &date(entry.created), &size(entry.bytes), name(entry));
            context.output.line(&row);
        }
        context.output.line("");
    }
    let count = |of_images: bool| {
        let these = entries.iter().filter(|entry| is_image(entry) == of_images);
        these.fold((0_u64, 0_u64), |(count, bytes), entry| (count + 1, bytes + entry.bytes))
    };
    let ((images, image_bytes), (blobs, blob_bytes)) = (count(true), count(false));
    let is_asked =
        |these: &[EntryKind]| kinds.is_empty() || these.iter().any(|kind| kinds.contains(kind));
    let (of_images, of_blobs) = (
        format!("{images} container file(s) using {}", size(image_bytes)),
        format!("{blobs} oci blob file(s) using {}", size(blob_bytes)),
    );
    let parts = match is_asked(&[EntryKind::Segment, EntryKind::Document]) {
        false => of_images,
        true if is_asked(&[EntryKind::Recipe, EntryKind::Sif]) => {
            format!("{of_images} and {of_blobs}")
        }
        true => of_blobs,
    };
    context.output.line(&format!("There are {parts} of space"));
    context.output.line(&format!("Total space used: {}", size(image_bytes + blob_bytes)));
    Ok(0)
}

fn row(name: &str, created: &str, size: &str, kind: &str) -> String {
    format!("{name:<24} {created:<22} {size:<16} {kind}")
}
