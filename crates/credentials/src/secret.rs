//! The part of a credential that is never shown.

use std::fmt;

use zeroize::Zeroizing;

/// A secret: bytes that have no `Display`, show nothing in `Debug`, and are wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
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
    fn debug_shows_no_secret() {
        let credential = Credential::from_pair("me", "hunter2".into());
        assert_eq!(format!("{credential:?}"), r#"Password { username: "me", secret: Secret(..) }"#);
    }
}
