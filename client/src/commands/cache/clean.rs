//! `orlop cache clean`: removes what nobody uses.

use orlop_proto::v1::cache_client::CacheClient;
use orlop_proto::v1::{CleanRequest, Kind};

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
        long_about: "What a running command or container uses stays.",
        count: Count::exactly(0),
        flags: &[&[
            Flag::switch("force", "do not ask").short('f'),
            Flag::switch("dry-run", "only say what would be removed").short('n'),
            Flag::list("type", "TYPES", "only these: oci-tmp, oras, blob, all").short('T'),
            Flag::text("days", "N", "only what was not used for N days").short('D'),
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
    if dry_run {
        context.output.line("User requested a dry run. Not actually deleting any data!");
    } else if !options.is_on("force") {
        match prompt::ask(QUESTION).as_deref() {
            Some("y" | "Y" | "yes" | "YES" | "Yes") => {}
            Some(_) => {
                context.output.info("Handle cleanup canceled");
                return Ok(0);
            }
            None => {
                return Err(Failure::new(
                    Kind::SettingsInvalid,
                    "Handle clean failed: could not prompt user: could not read user's input: EOF",
                )
                .hint("use --force to clean without a question"));
            }
        }
    }
    let kinds = kinds.into_iter().map(i32::from).collect();
    let request = CleanRequest { context: Some(context.sent()), dry_run, days, kinds };
    let (reply, _) = context.call(async |channel| {
        let mut cache = CacheClient::new(channel).max_decoding_message_size(LISTING_BYTES);
        Ok(cache.clean(request.clone()).await?.into_inner())
    })?;
    for entry in &reply.removed {
        context.output.info(&format!("Removing {} cache entry: {}", name(entry), entry.key));
    }
    if reply.removed.is_empty() {
        let place = context.cache().map(|path| path.display().to_string()).unwrap_or_default();
        context.output.info(&format!("No cached files to remove at {place}"));
    } else {
        let bytes = reply.removed.iter().map(|entry| entry.bytes).sum();
        context.output.verbose(&format!("{} freed", size(bytes)));
    }
    if reply.in_use > 0 {
        context.output.info(&format!("{} entries are in use and stay", reply.in_use));
    }
    Ok(0)
}
