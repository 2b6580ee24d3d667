//! `orlop cache verify`: reads everything and compares.

use orlop_proto::v1::cache_client::CacheClient;
use orlop_proto::v1::{Kind, VerifyRequest};

use super::{LISTING_BYTES, name};
use crate::commands::Command;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "cache verify",
        arguments: "",
        about: "Check every entry of the cache",
        long_about: "What is damaged is moved aside and fetched again when it is needed; a damaged \
                     pin has to be made again.",
        count: Count::exactly(0),
        flags: &[&[Flag::switch("json", "print JSON").short('j')]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let request = VerifyRequest { context: Some(context.sent()) };
    let (reply, _) = context.call(async |channel| {
        let mut cache = CacheClient::new(channel).max_decoding_message_size(LISTING_BYTES);
        Ok(cache.verify(request.clone()).await?.into_inner())
    })?;
    let damaged: Vec<_> = reply.damaged.iter().map(|entry| (name(entry), &entry.key)).collect();
    if options.is_on("json") {
        let damaged: Vec<_> = damaged
            .iter()
            .map(|(kind, key)| serde_json::json!({ "type": kind, "key": key }))
            .collect();
        let value = serde_json::json!({
            "checked": reply.checked, "bytes": reply.bytes, "damaged": damaged,
        });
        context.output.json(&value);
    } else {
        for (kind, key) in &damaged {
            context.output.warning(&format!("Damaged, moved aside: {kind} {key}"));
        }
        context.output.line(&format!(
            "{} entries checked, {} damaged",
            reply.checked,
            damaged.len()
        ));
    }
    if damaged.is_empty() {
        return Ok(0);
    }
    let is_pin = |(kind, _): &(&str, _)| *kind == "pin";
    let hint = match damaged.iter().any(is_pin) {
        true => "what is fetched comes again when it is needed; pin again what was pinned",
        false => "they are fetched again when they are needed",
    };
    let message = format!("{} entries did not match", damaged.len());
    Err(Failure::new(Kind::CacheDamaged, message).hint(hint))
}
