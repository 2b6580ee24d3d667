//! How a registry is to be reached and as whom: from flags, variables and an auth file.
//!
//! The auth file is read here, because the daemon may not be allowed to or may see another file
//! under its name. Order of sources: contract, section 3.1. Not here: which source wins for which
//! host (`orlop-credentials`, in the daemon).

use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use orlop_config::env::NamedLogin;
use orlop_credentials::loading;
use orlop_proto::v1::{Access, AuthFile, Credential, Kind, Secret};

use crate::context::Context;
use crate::failure::Failure;
use crate::flags::Flag;
use crate::options::Options;
use crate::prompt;

/// Flags of every command that may ask a registry.
pub(crate) const FLAGS: &[Flag] = &[
    Flag::text("authfile", "PATH", "use this credential file, and no other")
        .keys(&["AUTHFILE", "AUTH_FILE"]),
    Flag::text("docker-username", "NAME", "user name for the registry").hidden(),
    Flag::text("docker-password", "SECRET", "password for the registry").hidden(),
    Flag::switch("no-https", "talk plain http to the registry").keys(&["NOHTTPS", "NO_HTTPS"]),
    Flag::switch("nohttps", "")
        .hidden()
        .deprecated("Flag --nohttps has been deprecated, use --no-https"),
    Flag::switch("insecure", "do not check the registry's certificate"),
    Flag::text("docker-host", "URL", "address of a docker daemon")
        .keys(&["DOCKER_HOST"])
        .bare()
        .hidden(),
];

/// Flag of the commands that may ask on the terminal.
pub(crate) const LOGIN: Flag =
    Flag::switch("docker-login", "ask for user name and password on the terminal")
        .keys(&["DOCKER_LOGIN"]);

/// Collects what the command line and the environment say.
///
/// # Errors
/// CREDENTIAL_FILE_INVALID, FILE_FAILED for an auth file that is there and cannot be read.
pub(crate) fn access(options: &Options, context: &mut Context) -> Result<Access, Failure> {
    let auth_file = match options.path("authfile") {
        Some(path) => Some(auth_file(path, context)?),
        None => None,
    };
    Ok(Access {
        flags: flags(options)?,
        environment: environment(context)?,
        auth_file,
        no_https: options.is_on("no-https") || options.is_on("nohttps"),
        insecure: options.is_on("insecure"),
    })
}

fn flags(options: &Options) -> Result<Option<Credential>, Failure> {
    if options.is_on("docker-login") {
        let username = prompt::line("Enter Docker Username: ")?;
        let secret = prompt::secret("Enter Docker Password: ")?;
        return Ok(Some(credential(username, secret.into_bytes())));
    }
    let (username, secret) = (options.text("docker-username"), options.text("docker-password"));
    Ok(match (username, secret) {
        (None, None) => None,
        (username, secret) => {
            Some(credential(username.unwrap_or_default(), secret.unwrap_or_default().into_bytes()))
        }
    })
}

/// The login that variables hold; what is wrong with them is told.
fn environment(context: &mut Context) -> Result<Option<Credential>, Failure> {
    let (login, mut warnings) = context.environment.login();
    warnings.extend(context.environment.authfile().1);
    for warning in warnings {
        context.output.warning(&warning);
    }
    let Some(NamedLogin { name, username, password }) = login else { return Ok(None) };
    let username = username.into_string().map_err(|_| {
        Failure::new(Kind::SettingsInvalid, format!("{name} is not text"))
            .hint("set it to a user name in UTF-8")
    })?;
    Ok(Some(credential(username, password.into_vec())))
}

fn credential(username: String, secret: Vec<u8>) -> Credential {
    Credential { username, secret: Some(Secret { value: secret }) }
}

fn auth_file(path: &Path, context: &mut Context) -> Result<AuthFile, Failure> {
    let shown = path.display().to_string();
    let mut warnings = Vec::new();
    let limits = context.credential_limits()?;
    let file = loading::auth_file(path, loading::Kind::Named, limits, &mut warnings)?;
    for warning in warnings {
        context.output.warning(&warning);
    }
    let Some(file) = file else {
        context.output.warning(&format!(
            "The credential file {shown} does not exist: going on without a login"
        ));
        return Ok(AuthFile { path: shown, content: None, missing: true });
    };
    let content = Some(Secret { value: file.text().as_bytes().to_vec() });
    Ok(AuthFile { path: shown, content, missing: false })
}

/// A URI without what may be secret in a URL: user, password, query and fragment.
pub(crate) fn shown(uri: &str) -> String {
    let Some((scheme @ ("http" | "https"), rest)) = uri.split_once("://") else {
        return orlop_oci::reference::masked(uri).into_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// Says what a kind of failure about credentials wants: the host for its hint.
pub(crate) fn host_of(uri: &str) -> String {
    let uri = shown(uri);
    let rest = uri.split_once("://").map_or(uri.as_str(), |(_, rest)| rest);
    let first = rest.split('/').next().unwrap_or_default();
    let is_host = first.contains(['.', ':']) || first == "localhost";
    if is_host && rest.contains('/') { first.to_owned() } else { "docker.io".to_owned() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_secret_of_a_url_is_shown() {
        for (uri, shown) in [
            ("https://me:pw@h:1/a?b@c", "https://h:1/a"),
            ("https://h/a?sig=x#y", "https://h/a"),
            ("https://h?sig=x", "https://h"),
            ("http://me@h", "http://h"),
            ("https://h/a@b", "https://h/a@b"),
            ("docker://h/a@sha256:0", "docker://h/a@sha256:0"),
            ("docker://me:pw@h:1/a", "docker://***@h:1/a"),
            ("me:pw@h/a:1@sha256:0", "***@h/a:1@sha256:0"),
            ("a.sif", "a.sif"),
        ] {
            assert_eq!(super::shown(uri), shown);
        }
        assert_eq!(super::host_of("https://me:pw@h:1/a"), "h:1");
    }
}
