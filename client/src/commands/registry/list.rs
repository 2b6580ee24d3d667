//! `orlop registry list`: the logins there are.

use orlop_proto::v1::ListRequest;
use orlop_proto::v1::registries_client::RegistriesClient;

use super::CONFIG;
use crate::commands::Command;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "registry list",
        arguments: "",
        about: "List the registries that you are logged in to",
        long_about: "",
        count: Count::exactly(0),
        flags: &[&[CONFIG, Flag::switch("json", "print a JSON array").short('j')]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let request =
        ListRequest { context: Some(context.sent()), list_file: context.list_file(options) };
    let (reply, _) = context.call(async |channel| {
        Ok(RegistriesClient::new(channel).list(request.clone()).await?.into_inner())
    })?;
    for warning in &reply.warnings {
        context.output.warning(warning);
    }
    if options.is_on("json") {
        let rows: Vec<_> = reply
            .logins
            .iter()
            .map(|login| serde_json::json!({ "uri": login.uri, "secure": login.secure }))
            .collect();
        context.output.json(&rows);
        return Ok(0);
    }
    let width =
        reply.logins.iter().map(|login| login.uri.chars().count()).max().unwrap_or(0).max(3);
    context.output.text(&format!("\n{:width$}  SECURE?\n", "URI"));
    for login in &reply.logins {
        let mark = if login.secure { "✓" } else { "✗!" };
        context.output.line(&format!("{:width$}  {mark}", login.uri));
    }
    Ok(0)
}
