//! `orlop cache clean`: removes what nobody uses.

use orlop_proto::v1::cache_client::CacheClient;
use orlop_proto::v1::{CleanReply, CleanRequest, Kind};

use super::{LISTING_BYTES, kinds, name};
use crate::commands::Command;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;
use crate::output::size;
use crate::prompt;

const QUESTION: &str = "\
This will delete everything in your cache (containers from all sources and OCI blobs).
Hint: You can see exactly what would be deleted by canceling and using the --dry-run option.
Do you want to continue? [y/N] ";

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "cache clean",
        arguments: "",
        about: "Remove what the cache holds",
        long_about: "What a running command or container uses stays, and so does what is pinned.",
        count: Count::exactly(0),
        flags: &[&[
            Flag::switch("force", "do not ask").short('f'),
            Flag::switch("dry-run", "only say what would be removed").short('n'),
            Flag::list("type", "TYPES", "only these: oci-tmp, oras, blob, all").short('T'),
            Flag::text("days", "N", "only what was not used for N days").short('D'),
            Flag::switch("json", "print JSON, without a question if --force is given").short('j'),
        ]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let kinds = kinds(&options.list("type"))?;
    let days = match options.text("days") {
        None => 0,
        Some(days) => days.parse().map_err(|_| {
            Failure::new(Kind::SettingsInvalid, format!("--days {days} is not a number of days"))
        })?,
    };
    let dry_run = options.is_on("dry-run");
    let is_json = options.is_on("json");
    if dry_run {
        if !is_json {
            context.output.line("User requested a dry run. Not actually deleting any data!");
        }
    } else if !options.is_on("force") && !is_wanted()? {
        context.output.info("Handle cleanup canceled");
        return Ok(0);
    }
    let kinds = kinds.into_iter().map(i32::from).collect();
    let request = CleanRequest { context: Some(context.sent()), dry_run, days, kinds };
    let (reply, _) = context.call(async |channel| {
        let mut cache = CacheClient::new(channel).max_decoding_message_size(LISTING_BYTES);
        Ok(cache.clean(request.clone()).await?.into_inner())
    })?;
    if is_json {
        json(&reply, dry_run, context);
    } else {
        tell(&reply, context);
    }
    Ok(0)
}

/// Asks whether all is to go.
fn is_wanted() -> Result<bool, Failure> {
    match prompt::ask(QUESTION).as_deref() {
        Some(answer) => Ok(matches!(answer, "y" | "Y" | "yes" | "YES" | "Yes")),
        None => {
            let message =
                "Handle clean failed: could not prompt user: could not read user's input: EOF";
            Err(Failure::new(Kind::SettingsInvalid, message)
                .hint("use --force to clean without a question"))
        }
    }
}

fn tell(reply: &CleanReply, context: &mut Context) {
    let place = context.cache().map(|path| path.display().to_string()).unwrap_or_default();
    if !reply.unknown_format.is_empty() {
        let format = &reply.unknown_format;
        let text = format!("Removing the whole cache at {place}: its format is {format}");
        context.output.info(&text);
        context.hang_up();
        return;
    }
    for entry in &reply.removed {
        context.output.info(&format!("Removing {} cache entry: {}", name(entry), entry.key));
    }
    let stays = reply.pinned > 0 || reply.in_use > 0;
    if reply.removed.is_empty() {
        let what = if stays { "Nothing was removed at" } else { "No cached files to remove at" };
        context.output.info(&format!("{what} {place}"));
    } else {
        let bytes = reply.removed.iter().map(|entry| entry.bytes).sum();
        context.output.verbose(&format!("{} freed", size(bytes)));
    }
    let kept = [(reply.pinned, "pinned"), (reply.in_use, "in use")];
    for (count, how) in kept.into_iter().filter(|(count, _)| *count > 0) {
        let text = match count {
            1 => format!("1 entry is {how} and stays"),
            count => format!("{count} entries are {how} and stay"),
        };
        context.output.info(&text);
    }
}

fn json(reply: &CleanReply, dry_run: bool, context: &mut Context) {
    let removed: Vec<_> = reply
        .removed
        .iter()
        .map(|entry| {
            serde_json::json!({ "type": name(entry), "key": entry.key, "bytes": entry.bytes })
        })
        .collect();
    context.output.json(&serde_json::json!({
        "dry_run": dry_run, "removed": removed, "in_use": reply.in_use, "pinned": reply.pinned,
        "unknown_format": reply.unknown_format,
    }));
}
