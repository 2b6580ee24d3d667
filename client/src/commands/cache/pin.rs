//! `orlop cache pin` and `orlop cache unpin`: what no collection and no cleaning removes.

use orlop_proto::v1::cache_client::CacheClient;
use orlop_proto::v1::{Kind, PinReply, PinRequest};

use super::LISTING_BYTES;
use crate::commands::{Command, pull};
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;
use crate::output::size;

const JSON: Flag = Flag::switch("json", "print JSON").short('j');

pub(crate) const PIN: Command = Command {
    spec: &Spec {
        path: "cache pin",
        arguments: "<URI or key>",
        about: "Keep an image of the cache until it is unpinned",
        long_about: "URI: docker://... or oras://... of an image that was pulled; or the beginning of a key \
            as `cache list -v` shows it. No registry is asked. A pinned image can be used with --offline \
            at any time, by its digest where its tag has moved on.",
        count: Count::exactly(1),
        flags: &[&[
            Flag::text("arch", "ARCH", "architecture of the image, such as arm64"),
            Flag::text("arch-variant", "VARIANT", "variant of the architecture, such as v7"),
            Flag::text("platform", "OS/ARCH", "platform of the image, such as linux/arm64"),
            JSON,
        ]],
        payload: false,
    },
    run: pin,
};

pub(crate) const UNPIN: Command = Command {
    spec: &Spec {
        path: "cache unpin",
        arguments: "[URI or key]",
        about: "Let the cache remove an image again",
        long_about: "Names what `cache usage` lists as pinned.",
        count: Count::between(0, 1),
        flags: &[&[Flag::switch("all", "unpin everything").short('a'), JSON]],
        payload: false,
    },
    run: unpin,
};

fn pin(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let what = word(options).unwrap_or_default();
    if what.is_empty() {
        let message = "name an image to pin, or the beginning of a key";
        return Err(Failure::new(Kind::UsageInvalid, message));
    }
    let platform = pull::platform(options)?;
    let request =
        PinRequest { context: Some(context.sent()), what, platform, ..PinRequest::default() };
    let reply = ask(request, "`cache list -v` shows the keys of what is there", context)?;
    if options.is_on("json") {
        json(&reply, context);
        return Ok(0);
    }
    for name in &reply.names {
        context.output.info(&format!(
            "Pinned {name}: {} entries, {}",
            reply.entries,
            size(reply.bytes)
        ));
    }
    Ok(0)
}

fn unpin(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let (what, all) = (word(options).filter(|what| !what.is_empty()), options.is_on("all"));
    if what.is_some() == all {
        let message = "name one image to unpin, or say --all";
        return Err(Failure::new(Kind::UsageInvalid, message));
    }
    let what = what.unwrap_or_default();
    let request = PinRequest {
        context: Some(context.sent()),
        what,
        unpin: true,
        all,
        ..PinRequest::default()
    };
    let reply = ask(request, "`cache usage` lists what is pinned", context)?;
    if options.is_on("json") {
        json(&reply, context);
        return Ok(0);
    }
    for name in &reply.names {
        context.output.info(&format!("Unpinned {name}"));
    }
    if reply.names.is_empty() {
        context.output.info("Nothing was pinned");
    }
    Ok(0)
}

fn word(options: &Options) -> Option<String> {
    options.arguments().first().map(|word| word.to_string_lossy().into_owned())
}

/// Asks the daemon; `known` helps where it knows nothing of that name. No registry is asked.
fn ask(request: PinRequest, known: &str, context: &mut Context) -> Result<PinReply, Failure> {
    let asked = context.call(async |channel| {
        let mut cache = CacheClient::new(channel).max_decoding_message_size(LISTING_BYTES);
        Ok(cache.pin(request.clone()).await?.into_inner())
    });
    match asked {
        Err(failure) if failure.kind() == Kind::ImageNotFound => Err(failure.hint(known)),
        asked => asked.map(|(reply, _)| reply),
    }
}

fn json(reply: &PinReply, context: &mut Context) {
    context.output.json(&serde_json::json!({
        "names": reply.names, "entries": reply.entries, "bytes": reply.bytes,
    }));
}
