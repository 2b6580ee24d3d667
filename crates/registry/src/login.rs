//! Login: which request proves a password.
//!
//! Basic: `GET /v2/` with it. Bearer: the token request with it, and more where the token service
//! serves anybody: a refresh token, a token that names its subject, or that a login which is
//! nobody's is refused. A registry that asks for nothing proves nothing. Table: `registry.md` §2.5.
//! Not here: storing (`orlop-credentials`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orlop_credentials::precedence::Known;
use orlop_credentials::{Credential, Secret};
use orlop_oci::Host;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::challenge::{self, Method as Met};
use crate::contact::Contact;
use crate::endpoint::Scheme;
use crate::error::{Error, Wanted};
use crate::repository::{Access, Repository};
use crate::request::Ask;
use crate::session::Session;
use crate::token::{self, Asked, Granted};

/// What a login is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The registry.
    pub host: Host,
    /// Path of a repository the login is for; a token for it is asked for then.
    pub path: Option<String>,
    /// Certificates are not checked, and plain http is tried after https.
    pub insecure: bool,
    /// Plain http only.
    pub no_https: bool,
}

/// How much a registry proved about a login that it did not reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It accepted the credential where it would refuse a wrong one.
    Verified,
    /// It lets in a wrong one, too, as far as was asked.
    Unproven,
    /// It asks for no login at all, and so tells none from another.
    Open,
}

/// A login that was not rejected.
#[derive(Debug)]
pub struct Login {
    /// How much is proved.
    pub proof: Proof,
    /// A refresh token that may be stored in place of the password.
    pub identity_token: Option<Secret>,
    /// Plain http was used.
    pub plain_http: bool,
}

impl Session {
    /// Proves a login with its registry. Nothing is stored, and no other credential is used.
    ///
    /// # Errors
    /// [`Error::Refused`] when the registry or its token service rejects the credential; all that
    /// keeps it from being asked.
    pub async fn prove_login(
        &self,
        target: &Target,
        credential: Credential,
    ) -> Result<Login, Error> {
        let known = Known { credential, origin: "this login".to_owned() };
        let repository = Repository::for_login(self, target, known.clone());
        // What was known of the host may be old: a login is asked for when something changed.
        self.shared().contacts.set(repository.contact_key(), None);
        let contact = repository.contact().await?;
        let plain_http = contact.endpoint.scheme() == Scheme::Http;
        let (proof, identity_token) = match challenge::choose(&contact.challenges) {
            None => (repository.try_open(&contact, &known).await?, None),
            Some(Met::Basic) => {
                let header = token::basic(&known.credential).ok_or_else(|| refused(&contact))?;
                repository.open(&contact, &header).await?;
                (Proof::Verified, None)
            }
            Some(Met::Bearer { realm, service, .. }) => {
                let bearer = Bearer { realm: &realm, service: service.as_deref() };
                repository.prove_by_token(&contact, bearer, &known).await?
            }
        };
        Ok(Login { proof, identity_token, plain_http })
    }
}

#[derive(Clone, Copy)]
struct Bearer<'a> {
    realm: &'a str,
    service: Option<&'a str>,
}

impl Repository {
    /// A registry without a challenge: a wrong password may be refused, a right one proves nothing.
    async fn try_open(&self, contact: &Contact, known: &Known) -> Result<Proof, Error> {
        if let Some(header) = token::basic(&known.credential) {
            self.open(contact, &header).await?;
        }
        Ok(Proof::Open)
    }

    /// `GET /v2/` with an authorization: 200 is the only good answer.
    async fn open(&self, contact: &Contact, header: &HeaderValue) -> Result<(), Error> {
        let url = contact.endpoint.url("/v2/")?;
        let ask = Ask::new(Method::GET, url, Wanted::Ping, String::new(), self.header_time());
        let mut attempts = self.attempts();
        loop {
            let error = match self.follow(contact, &ask, Some(header)).await {
                Ok(answer) if answer.status() == 200 => return Ok(()),
                Ok(answer) if answer.status() == 401 => return Err(refused_to(self, contact).await),
                Ok(answer) => self.explain(answer, Wanted::Ping, "").await,
                Err(error) => error,
            };
            attempts.again(self.session(), error).await?;
        }
    }

    async fn prove_by_token(
        &self,
        contact: &Contact,
        bearer: Bearer<'_>,
        known: &Known,
    ) -> Result<(Proof, Option<Secret>), Error> {
        if let Credential::RegistryToken(secret) = &known.credential {
            let header = token::bearer(secret.expose()).ok_or_else(|| refused(contact))?;
            self.open(contact, &header).await?;
            return Ok((Proof::Verified, None));
        }
        let realm = crate::grant::check_realm(bearer.realm, contact)?;
        let scopes = token::scopes(None, self.path(), Access::Pull);
        let service = bearer.service;
        let asked = Asked { service, scopes: &scopes, wants_refresh: true };
        let granted = self.fetch_token(contact, &realm, asked, Some(known)).await?;
        let header = token::bearer(granted.token.expose()).ok_or_else(|| refused(contact))?;
        self.open(contact, &header).await?;
        let is_refresh = matches!(known.credential, Credential::IdentityToken { .. });
        if is_refresh || granted.refresh_token.is_some() || names_subject(&granted) {
            return Ok((Proof::Verified, granted.refresh_token));
        }
        // Does the service give tokens to anybody, even to a wrong login? Then this one says nothing.
        let asked = Asked { service, scopes: &scopes, wants_refresh: false };
        let nobody = nobody();
        for asker in [None, Some(&nobody)] {
            let refused = self.fetch_token(contact, &realm, asked, asker).await;
            if matches!(refused, Err(Error::Refused { .. })) {
                return Ok((Proof::Verified, None));
            }
        }
        Ok((Proof::Unproven, None))
    }
}

/// A login that no service knows: one that refuses it looks at logins, though it may serve those
/// without. The name says in the service's log what this is; it is nobody's, so that no account is
/// locked by it.
fn nobody() -> Known {
    let credential = Credential::from_pair("orlop-nobody", Secret::new("a login that is none"));
    Known { credential, origin: "a made-up login".to_owned() }
}

/// Says whether a token is a JWT with a subject: empty for those who did not log in
/// (distribution: docs/content/spec/auth/jwt.md). The signature is the registry's business.
fn names_subject(granted: &Granted) -> bool {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(default)]
        sub: String,
    }
    let mut parts = granted.token.expose().split(|&byte| byte == b'.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Ok(claims) = URL_SAFE_NO_PAD.decode(claims) else { return false };
    serde_json::from_slice::<Claims>(&claims).is_ok_and(|claims| !claims.sub.is_empty())
}

fn refused(contact: &Contact) -> Error {
    Error::Refused {
        endpoint: contact.endpoint.clone(),
        status: 401,
        who: "to a login that it cannot be sent".to_owned(),
        message: String::new(),
    }
}

async fn refused_to(repository: &Repository, contact: &Contact) -> Error {
    let known = repository.known().await.ok().flatten();
    Error::Refused {
        endpoint: contact.endpoint.clone(),
        status: 401,
        who: crate::explain::who(known.as_ref()),
        message: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(payload: &str) -> Granted {
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let body = format!(r#"{{"token":"eyJh.{payload}.sig"}}"#);
        Granted::read(body.as_bytes()).unwrap()
    }

    #[test]
    fn only_a_token_with_a_subject_proves_who_asked() {
        assert!(names_subject(&granted(r#"{"sub":"me","iss":"x"}"#)));
        for payload in [r#"{"sub":""}"#, "{}", "[]", r#"{"sub":5}"#] {
            assert!(!names_subject(&granted(payload)), "{payload}");
        }
        assert!(!names_subject(&Granted::read(br#"{"token":"opaque"}"#).unwrap()));
    }
}
