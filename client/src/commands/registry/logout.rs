//! `orlop registry logout`: removes a login from the files, or all of them.
//!
//! Not here: which files and lists those are (the daemon; for `--authfile` this process), editing
//! them (`orlop-credentials`).

use orlop_credentials::keys;
use orlop_credentials::login::{self, Gone};
use orlop_credentials::update::Target;
use orlop_proto::v1::registries_client::RegistriesClient;
use orlop_proto::v1::{LogoutReply, LogoutRequest, Removed};

use super::{AUTHFILE, CONFIG, Place};
use crate::commands::Command;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::interrupt::Watch;
use crate::options::Options;

const FLAGS: &[Flag] = &[
    Flag::switch("all", "log out of every registry, instead of the one named").short('a'),
    AUTHFILE,
    CONFIG,
];

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "registry logout",
        arguments: "<registry uri>",
        about: "Log out of a registry, or of all",
        long_about: "The login is removed from the credential file, from the helper that the file \
            names, and from the lists of logins. With --all every login goes so; settings and \
            files that Orlop only reads stay.\n\n\
            Example: orlop registry logout docker://docker.io",
        count: Count::exactly(1).none_with("all"),
        flags: &[FLAGS],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    if options.is_on("all") {
        let reply = logout(options, None, context);
        return tell_all(&reply.map_err(|failure| failure.within("while logout"))?, context);
    }
    let place = Place::parse(&options.argument(0), "logout from", context)?;
    let within = format!("while logout from {}", place.uri());
    let outcome = logout(options, Some(&place), context);
    let reply = outcome.map_err(|failure| failure.within(within))?;
    if !reply.existed {
        context
            .output
            .warning(&format!("There is no existing login to registry \"{}\".", place.host));
    }
    let has_secrets = reply.removed.iter().any(|removed| !removed.is_list);
    for Removed { from, keys, is_list } in &reply.removed {
        let is_usual = *is_list || *keys == [keys::key_to_write(&place.host)];
        let under = if is_usual { String::new() } else { format!(" ({})", keys.join(", ")) };
        let words = format!("Token removed from {from}{under}");
        // A list holds no token: it is told of where there was nothing else.
        if *is_list && has_secrets {
            context.output.verbose(&format!("Removed from the list {from}"));
        } else {
            context.output.info(&words);
        }
    }
    context.output.info("Logout succeeded");
    Ok(0)
}

fn tell_all(reply: &LogoutReply, context: &mut Context) -> Result<u8, Failure> {
    if !reply.existed {
        context.output.warning("There is no existing login to any registry.");
    }
    for Removed { from, keys, is_list } in &reply.removed {
        for key in keys {
            if *is_list {
                context.output.info(&format!("{key} removed from the list {from}"));
            } else {
                let place = keys::place_of(key);
                context.output.info(&format!("Token of {place} removed from {from}"));
            }
        }
    }
    context.output.info("Logout succeeded");
    Ok(0)
}

/// Logs out of a place, or of all.
fn logout(
    options: &Options,
    place: Option<&Place>,
    context: &mut Context,
) -> Result<LogoutReply, Failure> {
    let mut reply = match options.path("authfile") {
        Some(path) => {
            let target = Target::named(path).with_own(&context.paths);
            from_file(&target.within(context.credential_limits()?), place, context)?
        }
        None => from_default_files(options, place, context)?,
    };
    for warning in std::mem::take(&mut reply.warnings) {
        context.output.warning(&warning);
    }
    Ok(reply)
}

fn from_file(
    target: &Target,
    place: Option<&Place>,
    context: &Context,
) -> Result<LogoutReply, Failure> {
    // A signal ends the helper first, and then this process where the watch ends.
    let watch = Watch::start();
    let around = context.around_helpers(target.limits, &watch);
    let mut warnings = Vec::new();
    let gone = match place {
        Some(place) => login::forget(target, &place.host, &around)?,
        None => login::forget_all(target, &around, &mut warnings)?,
    };
    let removed = |Gone { from, keys }| Removed { from, keys, is_list: false };
    let removed: Vec<_> = gone.into_iter().map(removed).collect();
    Ok(LogoutReply { existed: !removed.is_empty(), removed, warnings })
}

fn from_default_files(
    options: &Options,
    place: Option<&Place>,
    context: &mut Context,
) -> Result<LogoutReply, Failure> {
    let request = LogoutRequest {
        context: Some(context.sent()),
        scheme: place.map(|place| place.scheme.clone()).unwrap_or_default(),
        host: place.map(|place| place.host.clone()).unwrap_or_default(),
        list_file: context.list_file(options),
        all: place.is_none(),
    };
    let (mut reply, is_second) = context.call(async |channel| {
        Ok(RegistriesClient::new(channel).logout(request.clone()).await?.into_inner())
    })?;
    // A first call whose answer was lost may have removed it.
    reply.existed |= is_second;
    Ok(reply)
}
