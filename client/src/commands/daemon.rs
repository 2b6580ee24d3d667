//! `orlop daemon stop`: ends the daemon, and waits for its end.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use orlop_config::limits;
use orlop_proto::v1::daemon_client::DaemonClient;
use orlop_proto::v1::{Kind, ShutdownReply, ShutdownRequest};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::commands::Command;
use crate::connection::Connection;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;

pub(crate) const STOP: Command = Command {
    spec: &Spec {
        path: "daemon stop",
        arguments: "",
        about: "Stop the daemon",
        long_about: "Work under way is finished first, for at most half a minute; the command returns when the daemon has ended. Running containers go on.",
        count: Count::exactly(0),
        flags: &[&[Flag::switch(
            "now",
            "stop at once; downloads go on where they stopped next time",
        )]],
        payload: false,
    },
    run: stop,
};

/// How much longer than the daemon's own limit its end is waited for.
const MARGIN: Duration = Duration::from_secs(10);

fn stop(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let place = context.place();
    let Some(daemon) = Connection::running(&place, &context.output)? else {
        context.output.info("No daemon is running");
        return Ok(0);
    };
    let process = daemon.process();
    let request = ShutdownRequest { context: Some(context.sent()), now: options.is_on("now") };
    let asked = daemon
        .call(async |channel| Ok(DaemonClient::new(channel).shutdown(request).await?.into_inner()));
    let reply = match asked {
        // It may have ended before its answer was on its way.
        Err(failure) if options.is_on("now") && failure.is_lost_daemon() => {
            ShutdownReply::default()
        }
        asked => asked?,
    };
    let pid = daemon.hello().pid;
    if reply.unfinished > 0 && !options.is_on("now") {
        let calls = match reply.unfinished {
            1 => "1 call has".to_owned(),
            count => format!("{count} calls have"),
        };
        context.output.info(&format!("Daemon {pid} stops when {calls} ended"));
    }
    // This command's own connection is nothing to wait for.
    drop(daemon);
    let limit = limits::DRAIN_TIME.saturating_add(MARGIN);
    if process.is_some_and(|process| !has_ended(&process, limit)) {
        let message = format!("process {pid} has not ended within {} seconds", limit.as_secs());
        return Err(Failure::new(Kind::DaemonUnavailable, message)
            .hint(format!("look whether its disk hangs, or end it: kill {pid}")));
    }
    context.output.info(&format!("Daemon {pid} has stopped"));
    Ok(0)
}

/// Waits for the end of a process; false when it lives on for so long.
fn has_ended(process: &OwnedFd, limit: Duration) -> bool {
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        let left = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(process, PollFlags::IN)], left.as_ref()) {
            Err(Errno::INTR) => {}
            outcome => return outcome.is_ok_and(|ready| ready > 0),
        }
    }
}
