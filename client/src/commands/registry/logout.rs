//! `orlop registry logout`: removes a login from the files.

use orlop_credentials::login;
use orlop_credentials::update::Target;
use orlop_proto::v1::LogoutRequest;
use orlop_proto::v1::registries_client::RegistriesClient;

use super::{AUTHFILE, CONFIG, Place};
use crate::commands::Command;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Spec};
use crate::options::Options;

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "registry logout",
        arguments: "<registry uri>",
        about: "Log out of a registry",
        long_about: "",
        count: Count::exactly(1),
        flags: &[&[AUTHFILE, CONFIG]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let place = Place::parse(&options.argument(0), "logout from", context)?;
    let within = format!("while logout from {}", place.uri());
    let outcome = logout(options, &place, context);
    let (existed, removed_from) = outcome.map_err(|failure| failure.within(within))?;
    if !existed {
        context
            .output
            .warning(&format!("There is no existing login to registry \"{}\".", place.host));
    }
    for file in removed_from {
        context.output.info(&format!("Token removed from {file}"));
    }
    context.output.info("Logout succeeded");
    Ok(0)
}

fn logout(
    options: &Options,
    place: &Place,
    context: &mut Context,
) -> Result<(bool, Vec<String>), Failure> {
    if let Some(path) = options.path("authfile") {
        let existed = login::forget(&Target::named(path), &place.host, &context.around_helpers())?;
        let removed = existed.then(|| path.display().to_string());
        return Ok((existed, removed.into_iter().collect()));
    }
    let request = LogoutRequest {
        context: Some(context.sent()),
        scheme: place.scheme.clone(),
        host: place.host.clone(),
        list_file: context.list_file(options),
    };
    let (reply, is_second) = context.call(async |channel| {
        Ok(RegistriesClient::new(channel).logout(request.clone()).await?.into_inner())
    })?;
    for warning in &reply.warnings {
        context.output.warning(warning);
    }
    // A first call whose answer was lost may have removed it.
    Ok((reply.existed || is_second, reply.removed_from))
}
