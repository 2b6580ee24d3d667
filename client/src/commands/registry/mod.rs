//! `orlop registry`: logins, and where images come from.

pub(crate) mod explain;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod logout;
mod why;

use orlop_proto::v1::Kind;

use crate::context::Context;
use crate::failure::Failure;
use crate::flags::Flag;

/// Flags of login and logout.
pub(crate) const AUTHFILE: Flag =
    Flag::text("authfile", "PATH", "use this credential file, and no other")
        .keys(&["AUTHFILE", "AUTH_FILE"]);
/// Flag of the group.
pub(crate) const CONFIG: Flag =
    Flag::text("config", "PATH", "use this list file instead of the default one").short('c');

/// What a login is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// `docker` or `oras`.
    pub(crate) scheme: String,
    /// `host[:port]`, perhaps with `/namespace`.
    pub(crate) host: String,
}

impl Place {
    /// Reads `docker://host`, `oras://host` or a bare host, of which the user is told.
    ///
    /// # Errors
    /// REFERENCE_INVALID for another transport or an empty host, with exit status 255.
    pub(crate) fn parse(text: &str, doing: &str, context: &mut Context) -> Result<Self, Failure> {
        let (scheme, host) = match text.split_once("://") {
            Some((scheme @ ("docker" | "oras"), host)) => (scheme, host),
            Some((scheme @ ("http" | "https"), host)) => {
                return Err(Failure::new(
                    Kind::ReferenceInvalid,
                    format!("while {doing} {text}: {scheme}:// means a keyserver, which Orlop does not have"),
                )
                .hint(format!("for a registry, type docker://{host}")));
            }
            Some((scheme, _)) => {
                return Err(Failure::new(
                    Kind::ReferenceInvalid,
                    format!("while {doing} {text}: {scheme} transport is not supported"),
                )
                .hint("use docker://HOST or oras://HOST"));
            }
            None => {
                context.output.warning(&format!(
                    "\"{text}\" has no transport prefix: taken as docker://{text}"
                ));
                ("docker", text)
            }
        };
        let host = host.trim_end_matches('/');
        let is_plain = !host.is_empty()
            && !host.contains(['@', '?', '#', '\\'])
            && !host.contains(char::is_whitespace)
            && !host.contains(char::is_control);
        if !is_plain {
            let (text, host) = (crate::access::shown(text), crate::access::shown(host));
            return Err(Failure::new(
                Kind::ReferenceInvalid,
                format!("while {doing} {text}: \"{host}\" is not a registry's host name"),
            )
            .hint("a registry is named like docker://HOST or docker://HOST:PORT"));
        }
        Ok(Self { scheme: scheme.to_owned(), host: host.to_ascii_lowercase() })
    }

    /// `docker://host`.
    pub(crate) fn uri(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }
}
