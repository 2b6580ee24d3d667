//! `orlop status`: the daemon, its cache and what it does.

use std::time::Duration;

use orlop_proto::v1::daemon_client::DaemonClient;
use orlop_proto::v1::{Flight, StatusReply, StatusRequest};

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
        flags: &[&[
            Flag::switch("json", "print JSON").short('j'),
            Flag::switch("watch", "show it again every second until interrupted").short('w'),
        ]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    if options.is_on("watch") {
        return watch(options, context);
    }
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

/// Time between two looks of `--watch`.
const TICK: Duration = Duration::from_secs(1);

/// Shows the state again and again, on a terminal in place. Ends when the daemon does.
fn watch(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let place = context.place();
    let Some(daemon) = Connection::running(&place, &context.output)? else {
        context.output.line("Daemon:   not running; the next command that needs it starts it");
        return Ok(0);
    };
    let (started, is_json, mut output) =
        (context.now, options.is_on("json"), context.output.clone());
    let request = StatusRequest { context: Some(context.sent()) };
    let ended = daemon.run(async |channel| {
        let mut client = DaemonClient::new(channel);
        let mut ticks = tokio::time::interval(TICK);
        let (mut last, mut looks) = (None::<StatusReply>, 0_i64);
        loop {
            ticks.tick().await;
            let status = match client.status(request.clone()).await {
                Ok(status) => status.into_inner(),
                Err(status) => return Err(Failure::from(status)),
            };
            if is_json {
                let mut line = json(&status).to_string();
                line.push('\n');
                output.data(line.as_bytes());
            } else {
                output.screen(&watched(&status, last.as_ref(), started + looks));
            }
            if output.is_broken() {
                return Ok(());
            }
            last = Some(status);
            looks += 1;
        }
    });
    match ended {
        Err(failure) if failure.is_lost_daemon() => {
            context.output.line("Daemon:   it has ended");
            Ok(0)
        }
        outcome => outcome.map(|()| 0),
    }
}

/// The lines of one look, with rates since the last.
fn watched(status: &StatusReply, last: Option<&StatusReply>, now: i64) -> Vec<String> {
    let counts = status.counts.unwrap_or_default();
    let before = last.and_then(|last| last.counts).unwrap_or(counts);
    let rate = |bytes: u64, before: u64| format!("{}/s", size(bytes.saturating_sub(before)));
    let waiting: u32 = status.flights.iter().map(|flight| flight.callers).sum();
    let mut lines = vec![
        format!("Daemon:   process {}, {}", status.pid, age(now - status.started)),
        format!(
            "Clients:  {} connected, {} calls, {waiting} waiting",
            status.connections, status.calls
        ),
        format!(
            "Cache:    {} of at most {}, {} free",
            size(status.cache_bytes),
            size(status.cache_cap_bytes),
            size(status.free_bytes)
        ),
        format!(
            "Fetched:  {} in all, {}",
            size(counts.fetched_bytes),
            rate(counts.fetched_bytes, before.fetched_bytes)
        ),
        format!(
            "Pulls:    {} asked for, {} from the cache, {} failed",
            counts.pulls, counts.pulls_cached, counts.pulls_failed
        ),
        format!(
            "Memory:   {}, at most {} so far",
            size(status.memory_bytes),
            size(status.memory_peak_bytes)
        ),
    ];
    if status.flights.is_empty() {
        lines.push("Work:     none".to_owned());
    }
    for flight in &status.flights {
        let earlier = last.and_then(|last| last.flights.iter().find(|one| one.what == flight.what));
        let speed = earlier.map(|earlier| format!(", {}", rate(flight.bytes, earlier.bytes)));
        lines.push(format!("{}{}", work(flight), speed.unwrap_or_default()));
    }
    lines
}

fn work(flight: &Flight) -> String {
    let total =
        if flight.total == 0 { String::new() } else { format!(" of {}", size(flight.total)) };
    let callers = if flight.callers == 1 { "caller" } else { "callers" };
    let elsewhere = if flight.elsewhere { ", done by another node" } else { "" };
    format!(
        "Work:     {}: {}{total}, {} {callers}{elsewhere}",
        flight.what,
        size(flight.bytes),
        flight.callers
    )
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
    if !status.cache_problem.is_empty() {
        lines.push(format!("Problem:  {}", status.cache_problem));
    }
    if status.log_dropped > 0 {
        lines.push(format!("          {} log lines could not be written", status.log_dropped));
    }
    if status.flights.is_empty() {
        lines.push("Work:     none".to_owned());
    }
    lines.extend(status.flights.iter().map(work));
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
                "bytes": flight.bytes, "total": flight.total, "elsewhere": flight.elsewhere,
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
        "background": status.background,
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
