//! `orlop status`: the daemon, its cache and what it does.

use orlop_proto::v1::daemon_client::DaemonClient;
use orlop_proto::v1::{StatusReply, StatusRequest};

use crate::commands::Command;
use crate::connection::Connection;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;
use crate::output::{date, size};

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "status",
        arguments: "",
        about: "Show the daemon, its cache and its work",
        long_about: "Ends with 0 also when no daemon runs: the next command that needs one starts it.",
        count: Count::exactly(0),
        flags: &[&[Flag::switch("json", "print JSON").short('j')]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let place = context.place();
    let request = StatusRequest { context: Some(context.sent()) };
    let reply = match Connection::running(&place, &context.output)? {
        None => None,
        Some(daemon) => Some(daemon.call(async |channel| {
            Ok(DaemonClient::new(channel).status(request).await?.into_inner())
        })?),
    };
    let shown = |path: Option<std::path::PathBuf>| {
        path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    };
    match (reply, options.is_on("json")) {
        (Some(status), true) => {
            let value = json(&status);
            context.output.json(&value);
        }
        (None, true) => context.output.json(&serde_json::json!({
            "running": false,
            "socket": shown(place.socket.clone()),
            "cache": shown(place.cache),
        })),
        (Some(status), false) => {
            for line in lines(&status, context.now) {
                context.output.line(&line);
            }
        }
        (None, false) => {
            context.output.line("Daemon:   not running; the next command that needs it starts it");
            context.output.line(&format!("Socket:   {}", shown(place.socket.clone())));
            context.output.line(&format!("Cache:    {}", shown(place.cache)));
        }
    }
    Ok(0)
}

fn lines(status: &StatusReply, now: i64) -> Vec<String> {
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let by = if status.activated { ", started by systemd" } else { "" };
    let mut lines = vec![
        format!("Daemon:   running, process {}, version {}{by}", status.pid, status.version),
        format!("Since:    {} UTC ({})", date(status.started), age(now - status.started)),
        format!("Socket:   {}", or_none(&status.socket)),
        format!("Cache:    {}", or_none(&status.cache)),
        format!(
            "Size:     {} of at most {}",
            size(status.cache_bytes),
            size(status.cache_cap_bytes)
        ),
        format!("Log:      {}", or_none(&status.log)),
        format!("Memory:   {} at most so far", size(status.memory_peak_bytes)),
        match status.idle_exit_seconds {
            0 => "Ends:     when it is asked to".to_owned(),
            seconds => format!("Ends:     after {} without work", age(seconds.cast_signed())),
        },
    ];
    if status.log_dropped > 0 {
        lines.push(format!("          {} log lines could not be written", status.log_dropped));
    }
    if status.flights.is_empty() {
        lines.push("Work:     none".to_owned());
    }
    for flight in &status.flights {
        let total =
            if flight.total == 0 { String::new() } else { format!(" of {}", size(flight.total)) };
        let callers = if flight.callers == 1 { "caller" } else { "callers" };
        lines.push(format!(
            "Work:     {}: {}{total}, {} {callers}",
            flight.what,
            size(flight.bytes),
            flight.callers
        ));
    }
    lines
}

fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn json(status: &StatusReply) -> serde_json::Value {
    let flights: Vec<_> = status
        .flights
        .iter()
        .map(|flight| {
            serde_json::json!({
                "what": flight.what, "callers": flight.callers,
                "bytes": flight.bytes, "total": flight.total,
            })
        })
        .collect();
    serde_json::json!({
        "running": true,
        "version": status.version,
        "pid": status.pid,
        "started": status.started,
        "socket": status.socket,
        "cache": status.cache,
        "cache_bytes": status.cache_bytes,
        "cache_cap_bytes": status.cache_cap_bytes,
        "calls": status.calls,
        "flights": flights,
        "idle_exit_seconds": status.idle_exit_seconds,
        "log": status.log,
        "log_dropped": status.log_dropped,
        "memory_peak_bytes": status.memory_peak_bytes,
        "activated": status.activated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_the_unit_that_fits() {
        assert_eq!(age(59), "59 s");
        assert_eq!(age(600), "10 min");
        assert_eq!(age(3_700), "1 h 1 min");
        assert_eq!(age(200_000), "2 days");
    }
}
