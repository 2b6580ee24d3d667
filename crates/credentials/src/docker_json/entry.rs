//! One entry of `auths`: from its members to a credential, and back.
//!
//! Not here: which entry counts, and how it is edited ([`super::AuthFile`]).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::json_text::Node;
use crate::{Credential, Error, Secret};

/// What an entry says; `None` for the marker `{}`.
pub(super) fn credential(entry: &Node) -> Result<Option<Credential>, &'static str> {
    let part = |name: &str| entry.get(name).and_then(Node::text).filter(|text| !text.is_empty());
    let pair = match part("auth") {
        Some(auth) => Some(decode(auth)?),
        None => part("username")
            .map(|name| (name.to_owned(), Secret::from(part("password").unwrap_or_default()))),
    };
    if let Some(token) = part("identitytoken") {
        let username = pair.map(|(username, _)| username).unwrap_or_default();
        return Ok(Some(Credential::IdentityToken { username, secret: token.into() }));
    }
    if let Some(token) = part("registrytoken") {
        return Ok(Some(Credential::RegistryToken(token.into())));
    }
    let Some((username, secret)) = pair else { return Ok(None) };
    if username.is_empty() {
        return Err("has no user name");
    }
    if secret.is_empty() {
        return Err("has no password");
    }
    Ok(Some(Credential::Password { username, secret }))
}

fn decode(auth: &str) -> Result<(String, Secret), &'static str> {
    let bytes = Zeroizing::new(STANDARD.decode(auth.trim()).map_err(|_| "is not base64")?);
    let colon = bytes.iter().position(|byte| *byte == b':').ok_or("has no colon")?;
    let (username, rest) = bytes.split_at(colon);
    let mut secret = rest.get(1..).unwrap_or_default();
    while let Some((0, shorter)) = secret.split_last() {
        secret = shorter;
    }
    let username =
        std::str::from_utf8(username).map_err(|_| "has a user name that is not UTF-8")?;
    Ok((username.to_owned(), Secret::new(secret)))
}

pub(super) fn value(credential: &Credential) -> Result<(&'static str, Zeroizing<String>), Error> {
    let text = |secret: &Secret| {
        String::from_utf8(secret.expose().to_vec())
            .map(Zeroizing::new)
            .map_err(|_| Error::Unusable { what: "a token that is not UTF-8".to_owned() })
    };
    match credential {
        Credential::Password { username, secret } => {
            credential.check()?;
            let mut pair = Zeroizing::new(username.clone().into_bytes());
            pair.push(b':');
            pair.extend_from_slice(secret.expose());
            Ok(("auth", Zeroizing::new(STANDARD.encode(&*pair))))
        }
        Credential::IdentityToken { secret, .. } => Ok(("identitytoken", text(secret)?)),
        Credential::RegistryToken(secret) => Ok(("registrytoken", text(secret)?)),
    }
}
