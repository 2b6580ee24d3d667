//! `orlop daemon stop`: ends the daemon.

use orlop_proto::v1::daemon_client::DaemonClient;
use orlop_proto::v1::{ShutdownReply, ShutdownRequest};

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
        long_about: "Work under way is finished first, for at most half a minute. Running containers go on.",
        count: Count::exactly(0),
        flags: &[&[Flag::switch(
            "now",
            "stop at once; downloads go on where they stopped next time",
        )]],
        payload: false,
    },
    run: stop,
};

fn stop(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let place = context.place();
    let Some(daemon) = Connection::running(&place, &context.output)? else {
        context.output.info("No daemon is running");
        return Ok(0);
    };
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
    context.output.info(&match reply.unfinished {
        0 => format!("Daemon {pid} stops"),
        1 => format!("Daemon {pid} stops when 1 call has ended"),
        count => format!("Daemon {pid} stops when {count} calls have ended"),
    });
    Ok(0)
}
