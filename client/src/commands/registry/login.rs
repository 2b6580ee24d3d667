//! `orlop registry login`: proves a login with the registry, then stores it.
//!
//! Not here: the proof (`orlop-registry`, in the daemon); editing the files (`orlop-credentials`:
//! the default ones in the daemon, one named by `--authfile` in this process).

use orlop_credentials::login::{self, Kept};
use orlop_credentials::update::Target;
use orlop_credentials::{Credential, Secret};
use orlop_proto::v1::registries_client::RegistriesClient;
use orlop_proto::v1::{self, Kind, LoginRequest, Proof};

use super::{AUTHFILE, CONFIG, Place};
use crate::commands::Command;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::interrupt::Watch;
use crate::options::Options;
use crate::prompt;

const FLAGS: &[Flag] = &[
    Flag::text("username", "NAME", "user name at the registry")
        .short('u')
        .keys(&["LOGIN_USERNAME"]),
    Flag::text("password", "SECRET", "password or token; seen by all in the list of processes")
        .short('p')
        .keys(&["LOGIN_PASSWORD"]),
    Flag::switch("password-stdin", "read the password or token from stdin"),
    AUTHFILE,
    CONFIG,
    Flag::switch("insecure", "do not check certificates, and go on by http where there is no TLS"),
    Flag::switch("no-https", "talk plain http").keys(&["NOHTTPS", "NO_HTTPS"]),
];

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "registry login",
        arguments: "<registry uri>",
        about: "Log in to a registry",
        long_about: "The login is tried at the registry first and stored only when it is accepted.\n\n\
            Example: orlop registry login --username myuser docker://docker.io",
        count: Count::exactly(1),
        flags: &[FLAGS],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let place = Place::parse(&options.argument(0), "login to", context)?;
    let within = format!("while login to {}", place.uri());
    let outcome = log_in(options, &place, context);
    outcome.map_err(|failure| {
        let failure = match failure.kind() {
            Kind::CredentialsRefused => {
                failure.plain().hint("check the user name, and the password or token")
            }
            _ => failure,
        };
        failure.about_host(&place.host).within(within)
    })?;
    Ok(0)
}

fn log_in(options: &Options, place: &Place, context: &mut Context) -> Result<(), Failure> {
    let username = options.text("username").ok_or_else(|| {
        Failure::new(Kind::SettingsInvalid, "Docker/OCI registry requires a username")
            .hint("name it with --username")
    })?;
    let password = password(options, context)?;
    let authfile = match options.path("authfile") {
        Some(path) => {
            let limits = context.credential_limits()?;
            Some(Target::named(path).with_own(&context.paths).within(limits))
        }
        None => None,
    };
    if let Some(target) = &authfile {
        // Before the registry is asked: what cannot be stored need not be proven.
        login::check(target, &place.host, &context.around_helpers(target.limits, &Watch::start()))?;
    }
    let request = LoginRequest {
        context: Some(context.sent()),
        scheme: place.scheme.clone(),
        host: place.host.clone(),
        credential: Some(v1::Credential {
            username: username.clone(),
            secret: Some(v1::Secret { value: password.expose().to_vec() }),
        }),
        no_https: options.is_on("no-https"),
        insecure: options.is_on("insecure"),
        verify_only: authfile.is_some(),
        list_file: context.list_file(options),
    };
    // Proving and storing twice comes to the same as once.
    let (reply, _) = context.call(async |channel| {
        Ok(RegistriesClient::new(channel).login(request.clone()).await?.into_inner())
    })?;
    for warning in &reply.warnings {
        context.output.warning(warning);
    }
    if reply.proof() == Proof::Unproven {
        context.output.warning(&format!(
            "it is not known whether this login is right: {} lets everybody in as far as was asked",
            place.host
        ));
    }
    for stored in &reply.stored {
        context.output.info(&format!("Token stored in {stored}"));
    }
    if let Some(target) = authfile {
        let credential = match reply.identity_token {
            Some(token) => Credential::from_pair("<token>", Secret::new(token.value)),
            None => Credential::from_pair(&username, password),
        };
        keep(&target, place, &credential, context)?;
    }
    Ok(())
}

/// Keeps a login as a named file says.
fn keep(
    target: &Target,
    place: &Place,
    credential: &Credential,
    context: &mut Context,
) -> Result<(), Failure> {
    // A signal ends the helper first, and then this process where the watch ends.
    let watch = Watch::start();
    let around = context.around_helpers(target.limits, &watch);
    let stored = match login::keep(target, &place.host, credential, &around)? {
        Kept::File => format!("Token stored in {}", target.name),
        Kept::Own(own) => format!("Token stored in {own}, as {} says", target.name),
        Kept::Helper(helper) => format!("Token stored by {helper}, as {} says", target.name),
    };
    context.output.info(&stored);
    Ok(())
}

fn password(options: &Options, context: &mut Context) -> Result<Secret, Failure> {
    let asked = "Password / Token: ";
    if options.is_named("password") && options.is_on("password-stdin") {
        let message = "--password and --password-stdin cannot be given together";
        return Err(Failure::new(Kind::SettingsInvalid, message).hint("give one of the two"));
    }
    let password = if options.is_on("password-stdin") {
        prompt::from_stdin(asked)?
    } else if let Some(password) = options.value("password") {
        context.output.info(
            "A password on the command line can be seen by others: --password-stdin is safer",
        );
        Secret::new(password.as_encoded_bytes())
    } else {
        Secret::new(prompt::secret(asked)?)
    };
    if password.is_empty() {
        return Err(Failure::new(Kind::SettingsInvalid, "a password is required")
            .hint("type it at the prompt, or give it with --password-stdin"));
    }
    Ok(password)
}
