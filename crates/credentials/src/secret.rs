//! The part of a credential that is never shown.

use std::fmt;

use orlop_config::limits;
use zeroize::Zeroizing;

use crate::Error;

/// A secret: bytes that have no `Display`, show nothing in `Debug`, and are wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Takes what `--password-stdin` read: one line break at the end is not part of it.
    #[must_use]
    pub fn from_input(bytes: &[u8]) -> Self {
        let ends: [&[u8]; 3] = [b"\r\n", b"\n", b"\r"];
        let bare = ends.iter().find_map(|end| bytes.strip_suffix(*end));
        Self::new(bare.unwrap_or(bytes))
    }

    /// The bytes, for sending or storing. Never for a message.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// True when there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// What proves to a registry who a user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password or personal access token.
    Password {
        /// User name; never empty, never with a colon.
        username: String,
        /// Password.
        secret: Secret,
    },
    /// An OAuth 2 refresh token (`identitytoken`), which beats a password.
    IdentityToken {
        /// User name that was given with it; may be empty.
        username: String,
        /// The token.
        secret: Secret,
    },
    /// A ready Bearer token (`registrytoken`), sent unchanged.
    RegistryToken(Secret),
}

impl Credential {
    /// Makes a credential from what a user or a helper gave: the name `<token>` says that the
    /// secret is an identity token (docker-credential-helpers, "get").
    #[must_use]
    pub fn from_pair(username: &str, secret: Secret) -> Self {
        if username == "<token>" {
            Self::IdentityToken { username: String::new(), secret }
        } else {
            Self::Password { username: username.to_owned(), secret }
        }
    }

    /// Says whether this can be stored and sent: Basic credentials end the user name at the first
    /// colon (RFC 7617 section 2), and files cut a password at a NUL.
    ///
    /// # Errors
    /// [`Error::Unusable`] naming the fault.
    pub fn check(&self) -> Result<(), Error> {
        let (username, secret) = match self {
            Self::Password { username, secret } => (Some(username), secret),
            Self::IdentityToken { secret, .. } | Self::RegistryToken(secret) => (None, secret),
        };
        let what = match username {
            Some(name) if name.is_empty() => "the user name is empty",
            Some(name) if name.contains(':') => "the user name has a colon in it",
            Some(name) if name.chars().any(char::is_control) => {
                "the user name has a control character in it"
            }
            Some(name) if name.len() as u64 > limits::USERNAME_BYTES => {
                "the user name has more than 1024 bytes"
            }
            _ if secret.is_empty() => "the password is empty",
            _ if secret.expose().contains(&0) => "the password has a NUL byte in it",
            _ if secret.expose().len() as u64 > limits::SECRET_BYTES => {
                "the password has more than 65536 bytes (secret-bytes)"
            }
            _ => return Ok(()),
        };
        Err(Error::Unusable { what: what.to_owned() })
    }

    /// The user name, where there is one.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Password { username, .. } | Self::IdentityToken { username, .. } => {
                Some(username).filter(|name| !name.is_empty()).map(String::as_str)
            }
            Self::RegistryToken(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s25_one_line_break_at_the_end_of_an_input_is_cut() {
        for (input, secret) in
            [("pw\r\n", "pw"), ("pw\n\n", "pw\n"), ("pw\r", "pw"), ("pw", "pw"), ("\n", "")]
        {
            assert_eq!(Secret::from_input(input.as_bytes()), secret.into(), "{input:?}");
        }
    }

    #[test]
    fn s23_s24_what_cannot_be_sent_is_refused() {
        let long = "x".repeat(65_537);
        for (user, secret) in
            [("", "p"), ("a:b", "p"), ("a\nb", "p"), ("u", ""), ("u", "a\0b"), ("u", &long)]
        {
            let credential = Credential::from_pair(user, secret.into());
            assert!(credential.check().is_err(), "{user:?}");
        }
        for (user, secret) in [("u", "a:b\nc"), ("<token>", "t"), ("ü", "\u{ff}")] {
            assert!(Credential::from_pair(user, secret.into()).check().is_ok(), "{user:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let credential = Credential::from_pair("me", "hunter2".into());
        assert_eq!(format!("{credential:?}"), r#"Password { username: "me", secret: Secret(..) }"#);
    }
}
