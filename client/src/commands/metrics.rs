//! `orlop metrics`: the daemon's state and counters as OpenMetrics text.

use orlop_proto::v1::MetricsRequest;
use orlop_proto::v1::daemon_client::DaemonClient;

use crate::commands::Command;
use crate::connection::Connection;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Spec};
use crate::options::Options;

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "metrics",
        arguments: "",
        about: "Print the daemon's metrics as OpenMetrics text",
        long_about: "For a collector of text files. A daemon that is started with ORLOP_METRICS_SOCKET set to a \
            path also serves them there over HTTP. Starts no daemon: where none runs there is nothing but \
            `orlop_up 0`.",
        count: Count::exactly(0),
        flags: &[],
        payload: false,
    },
    run,
};

/// What is printed where no daemon runs.
const NONE: &str =
    "# TYPE orlop_up gauge\n# HELP orlop_up 1 while the daemon runs.\norlop_up 0\n# EOF\n";

fn run(_options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let place = context.place();
    let request = MetricsRequest { context: Some(context.sent()) };
    let text = match Connection::running(&place, &context.output)? {
        None => NONE.to_owned(),
        Some(daemon) => daemon.call(async |channel| {
            Ok(DaemonClient::new(channel).metrics(request).await?.into_inner().text)
        })?,
    };
    context.output.text(&text);
    Ok(0)
}
