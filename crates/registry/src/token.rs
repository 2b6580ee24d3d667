//! Tokens: which scopes are asked for, the request, the answer, and how long it is good.
//!
//! GET with Basic for a user and password or nobody; POST of a refresh token, and GET where that
//! is not known. Spec: `registry.md` §2.3; cases R14, R21 to R34. Tokens stay in memory. Not here:
//! whether the realm may be asked ([`crate::realm`]); when a token is needed ([`crate::request`]).

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use orlop_credentials::{Credential, Secret};
use orlop_oci::config::parse_rfc3339;
use orlop_oci::{Algorithm, Hasher};
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::repository::Access;

/// Name under which Orlop asks token services.
const CLIENT_ID: &str = "orlop";
/// Bytes of one token.
const TOKEN_BYTES: usize = 64 << 10;
const LIFETIME: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Difference of clocks from which on a token service's is not believed.
const OFF: Duration = Duration::from_secs(5 * 60);

/// What a token is good for; the secret itself is there as a digest alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) host: String,
    pub(crate) identity: String,
    pub(crate) scopes: Vec<String>,
}

/// A token, as the header that carries it.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    renew_at: Instant,
}

impl Token {
    pub(crate) fn is_good(&self) -> bool {
        Instant::now() < self.renew_at
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(..)")
    }
}

/// Returns a name for who asks, from which nothing can be read.
pub(crate) fn identity(credential: Option<&Credential>) -> String {
    let Some(credential) = credential else { return String::new() };
    let (kind, secret) = match credential {
        Credential::Password { secret, .. } => ("password", secret),
        Credential::IdentityToken { secret, .. } => ("identity", secret),
        Credential::RegistryToken(secret) => ("registry", secret),
    };
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for part in [kind.as_bytes(), credential.username().unwrap_or_default().as_bytes()] {
        hasher.update(part);
        hasher.update(&[0]);
    }
    hasher.update(secret.expose());
    hasher.finish().hex().to_owned()
}

/// Returns the scopes to ask for: what the challenge demands, as far as this access needs it, then
/// Orlop's own. A challenge can never widen a pull to a push.
pub(crate) fn scopes(demanded: Option<&str>, path: &str, access: Access) -> Vec<String> {
    let allowed: &[&str] = match access {
        Access::Pull => &["pull"],
        Access::Push => &["pull", "push"],
    };
    let mut scopes: Vec<String> = Vec::new();
    let mut add = |scope: String| {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    };
    for demand in demanded.unwrap_or_default().split(' ') {
        // The name may hold colons (a port), type and actions do not.
        let parts = demand.split_once(':').and_then(|(kind, rest)| {
            rest.rsplit_once(':').map(|(name, actions)| (kind, name, actions))
        });
        let Some((kind, name, actions)) = parts else { continue };
        let granted: Vec<&str> =
            actions.split(',').filter(|action| allowed.contains(action)).collect();
        let is_repository = kind == "repository" || kind.starts_with("repository(");
        if is_repository && name != path && !granted.is_empty() {
            add(format!("{kind}:{name}:{}", granted.join(",")));
        }
    }
    if !path.is_empty() {
        add(format!("repository:{path}:{}", allowed.join(",")));
    }
    scopes
}

/// Returns the Basic header of a credential, `None` for one that is no password.
pub(crate) fn basic(credential: &Credential) -> Option<HeaderValue> {
    match credential {
        Credential::Password { username, secret } => basic_header(username, secret),
        Credential::IdentityToken { username, secret } => {
            let username = if username.is_empty() { "<token>" } else { username };
            basic_header(username, secret)
        }
        Credential::RegistryToken(_) => None,
    }
}

fn basic_header(username: &str, secret: &Secret) -> Option<HeaderValue> {
    let mut pair = username.as_bytes().to_vec();
    pair.push(b':');
    pair.extend_from_slice(secret.expose());
    let mut header = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Returns the header of a token, `None` when it holds what no token holds.
pub(crate) fn bearer(token: &[u8]) -> Option<HeaderValue> {
    let is_good = !token.is_empty()
        && token.len() <= TOKEN_BYTES
        && token.iter().all(|byte| byte.is_ascii_graphic());
    let mut header = HeaderValue::from_bytes(&[b"Bearer ".as_slice(), token].concat())
        .ok()
        .filter(|_| is_good)?;
    header.set_sensitive(true);
    Some(header)
}

/// What is asked of a token service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) service: Option<&'a str>,
    pub(crate) scopes: &'a [String],
    /// Whether a refresh token is wanted too, as at a login.
    pub(crate) wants_refresh: bool,
}

/// Returns the address of the GET; what the realm's query already has is kept.
pub(crate) fn get_url(realm: &Url, asked: Asked<'_>, username: Option<&str>) -> Url {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = asked.service {
            query.append_pair("service", service);
        }
        for scope in asked.scopes {
            query.append_pair("scope", scope);
        }
        if let Some(username) = username {
            query.append_pair("account", username);
        }
        query.append_pair("client_id", CLIENT_ID);
        if asked.wants_refresh {
            query.append_pair("offline_token", "true");
        }
    }
    url
}

/// Returns the form of the POST.
pub(crate) fn post_form(refresh_token: &Secret, asked: Asked<'_>) -> Bytes {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    if let Some(service) = asked.service {
        form.append_pair("service", service);
    }
    form.append_pair("client_id", CLIENT_ID);
    if !asked.scopes.is_empty() {
        form.append_pair("scope", &asked.scopes.join(" "));
    }
    let token = String::from_utf8_lossy(refresh_token.expose());
    form.append_pair("refresh_token", &token);
    form.finish().into()
}

/// What a token service answers.
#[derive(Debug)]
pub(crate) struct Granted {
    /// The token's bytes, checked to be fit for a header.
    pub(crate) token: Secret,
    pub(crate) refresh_token: Option<Secret>,
    lifetime: Duration,
    /// When its life began by the service's clock.
    issued_at: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Reply {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<Value>,
    expires_in: Option<Value>,
    issued_at: Option<Value>,
}

impl Granted {
    /// Reads an answer.
    ///
    /// # Errors
    /// What is wrong with it; nothing of it is repeated.
    pub(crate) fn read(body: &[u8]) -> Result<Self, &'static str> {
        let reply: Reply = serde_json::from_slice(body).map_err(|_| {
            let starts_page = body.trim_ascii_start().starts_with(b"<");
            if starts_page { "it is a web page" } else { "it is not the JSON of a token" }
        })?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let token =
            given(reply.token).or_else(|| given(reply.access_token)).ok_or("it holds no token")?;
        if bearer(token.as_bytes()).is_none() {
            return Err("its token cannot be sent in a header");
        }
        let refresh_token = match reply.refresh_token {
            Some(Value::String(text)) if !text.is_empty() => Some(Secret::new(text)),
            _ => None,
        };
        let seconds = reply.expires_in.as_ref().and_then(Value::as_f64).unwrap_or_default();
        let seconds = seconds.clamp(LIFETIME.as_secs_f64(), LONGEST.as_secs_f64());
        let lifetime = Duration::from_secs_f64(seconds);
        let issued_at = reply.issued_at.as_ref().and_then(Value::as_str).and_then(parse_rfc3339);
        let issued_at = issued_at.and_then(|seconds| u64::try_from(seconds).ok());
        let issued_at = issued_at
            .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        Ok(Self { token: Secret::new(token), refresh_token, lifetime, issued_at })
    }

    /// What is left of its life at its receipt: a service may give a token that it gave before.
    /// Counted from the receipt where the service does not say when it issued it, or where its
    /// clock is off by more than [`OFF`] (R27). Never less than the shortest life: a token that
    /// ends early is renewed at the 401.
    fn left(&self, now: SystemTime) -> Duration {
        let age = self.issued_at.and_then(|issued_at| now.duration_since(issued_at).ok());
        let age = age.filter(|age| *age <= OFF).unwrap_or_default();
        self.lifetime.saturating_sub(age).max(LIFETIME)
    }

    /// Makes the token to be kept, received `now`.
    pub(crate) fn into_token(self, now: SystemTime) -> Option<Token> {
        let header = bearer(self.token.expose())?;
        let renew_after = self.left(now).mul_f64(0.9);
        let now = Instant::now();
        Some(Token { header, renew_at: now.checked_add(renew_after).unwrap_or(now) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_never_widens_a_pull() {
        let rows: [(&str, Access, &[&str]); 6] = [
            ("", Access::Pull, &["repository:a/b:pull"]),
            ("repository:a/b:pull,push", Access::Pull, &["repository:a/b:pull"]),
            (
                "repository:other/x:pull,push,*",
                Access::Pull,
                &["repository:other/x:pull", "repository:a/b:pull"],
            ),
            ("registry:catalog:* nonsense", Access::Pull, &["repository:a/b:pull"]),
            ("repository:other/x:delete", Access::Push, &["repository:a/b:pull,push"]),
            (
                "repository(plugin):h:5000/x:pull",
                Access::Push,
                &["repository(plugin):h:5000/x:pull", "repository:a/b:pull,push"],
            ),
        ];
        for (demanded, access, expected) in rows {
            assert_eq!(scopes(Some(demanded), "a/b", access), expected, "{demanded}");
        }
        assert_eq!(scopes(None, "", Access::Pull), Vec::<String>::new());
    }

    #[test]
    fn what_the_realm_has_in_its_query_is_kept() {
        let realm = Url::parse("https://r.example/t?x=y").unwrap();
        let scopes = ["repository:a:pull".to_owned()];
        let asked = Asked { service: Some("s"), scopes: &scopes, wants_refresh: false };
        assert_eq!(
            get_url(&realm, asked, Some("me+bot$1")).as_str(),
            "https://r.example/t?x=y&service=s&scope=repository%3Aa%3Apull&account=me%2Bbot%241\
             &client_id=orlop"
        );
    }

    #[test]
    fn answers_without_a_usable_token_are_refused() {
        let bad = [
            "{}",
            r#"{"token":""}"#,
            r#"{"token":5}"#,
            r#"{"token":"a","token":"b"}"#,
            r#"{"token":"a\r\nX: y"}"#,
            r#"{"token":"a b"}"#,
            r#"{"token":"a\u0000"}"#,
            "<html>",
            "",
            "[]",
        ];
        for body in bad {
            assert!(Granted::read(body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(Granted::read(b" <html>").unwrap_err(), "it is a web page");
    }

    #[test]
    fn token_wins_over_access_token() {
        let token = |body: &str| Granted::read(body.as_bytes()).unwrap().token;
        assert_eq!(token(r#"{"access_token":"a"}"#), Secret::from("a"));
        assert_eq!(token(r#"{"access_token":"a","token":"b"}"#), Secret::from("b"));
        assert_eq!(token(r#"{"access_token":"a","token":""}"#), Secret::from("a"));
    }

    #[test]
    fn lifetimes_are_clamped() {
        let lifetime = |expires: &str| {
            let body = format!(r#"{{"token":"a","expires_in":{expires}}}"#);
            Granted::read(body.as_bytes()).unwrap().lifetime.as_secs()
        };
        for (expires, expected) in [
            ("0", 60),
            ("-5", 60),
            ("\"300\"", 60),
            ("null", 60),
            ("300", 300),
            ("1e18", 86_400),
            ("9223372036854775808", 86_400),
        ] {
            assert_eq!(lifetime(expires), expected, "{expires}");
        }
    }

    #[test]
    fn r27_a_life_begins_at_its_issue_or_at_the_receipt_where_the_clocks_differ() {
        // 2026-11-24T10:00:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_514_400);
        let left = |issued_at: &str| {
            let body = format!(r#"{{"token":"a","expires_in":600,"issued_at":{issued_at}}}"#);
            Granted::read(body.as_bytes()).unwrap().left(now).as_secs()
        };
        for (issued_at, expected) in [
            (r#""2026-11-24T10:00:00Z""#, 600),
            (r#""2026-11-24T09:56:40Z""#, 400),
            (r#""2026-11-24T10:55:00.5+01:00""#, 300),
            // More than five minutes off, or ahead, or nothing at all.
            (r#""2026-11-24T09:54:59Z""#, 600),
            (r#""2026-11-24T08:00:00Z""#, 600),
            (r#""2026-11-24T10:04:00Z""#, 600),
            (r#""2026-11-24T12:00:00Z""#, 600),
            (r#""1900-01-01T00:00:00Z""#, 600),
            (r#""yesterday""#, 600),
            ("5", 600),
            ("null", 600),
        ] {
            assert_eq!(left(issued_at), expected, "{issued_at}");
        }
        let short = br#"{"token":"a","issued_at":"2026-11-24T09:56:00Z"}"#;
        let left = Granted::read(short).unwrap().left(now);
        assert_eq!(left, LIFETIME, "one that is asked for at each request helps nobody");
    }

    #[test]
    fn identities_differ_by_user_and_secret() {
        let password = |user: &str, secret: &str| Credential::Password {
            username: user.to_owned(),
            secret: secret.into(),
        };
        let name = |user, secret| identity(Some(&password(user, secret)));
        assert_ne!(name("a", "b"), name("a", "c"));
        assert_ne!(name("a", "b"), name("ab", ""));
        assert_eq!(name("a", "b"), name("a", "b"));
        assert_eq!(identity(None), "");
    }
}
