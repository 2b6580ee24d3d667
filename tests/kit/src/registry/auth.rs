//! Who may do what at the scripted registry, and its token server.
//!
//! Basic: RFC 7617. Bearer: the distribution project's token and OAuth2 documents, with opaque
//! tokens. Not here: what is served once access is granted ([`super::serve`]).

use super::answer::Reply;
use super::route::Asked;
use super::signer::Signer;
use super::wire::Incoming;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;

/// Access rule of a registry.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Everybody may do everything.
    #[default]
    Anonymous,
    /// Basic for every request.
    Basic {
        /// The one user.
        user: String,
        /// That user's password.
        secret: String,
    },
    /// A token from `/token` of the same host, which takes the user's password by Basic.
    Bearer {
        /// The one user.
        user: String,
        /// That user's password.
        secret: String,
        /// Whether tokens to pull are given without a password.
        anonymous_pull: bool,
    },
}

/// Tokens given out so far.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    given: BTreeMap<String, Grant>,
    /// Signs them, where another registry is to believe them.
    pub(crate) signer: Option<Signer>,
}

#[derive(Clone, Debug)]
struct Grant {
    user: Option<String>,
    scopes: Vec<String>,
    refresh: bool,
}

impl Auth {
    /// `None` when the request may go on, else the answer that refuses it.
    pub(crate) fn refuses(
        &self,
        request: &Incoming,
        asked: &Asked,
        tokens: &Tokens,
    ) -> Option<Reply> {
        match self {
            Self::Anonymous => None,
            Self::Basic { user, secret } => {
                let right = basic(request).is_some_and(|(u, s)| u == *user && s == *secret);
                let challenge = r#"Basic realm="kit""#.to_owned();
                (!right).then(|| refusal(challenge))
            }
            Self::Bearer { .. } => {
                let scope = scope_of(request, asked);
                let bearer = request.header("authorization").and_then(|value| {
                    let (kind, token) = value.split_once(' ')?;
                    kind.eq_ignore_ascii_case("bearer").then_some(token)
                });
                let grant = bearer.and_then(|token| tokens.given.get(token));
                let covered = grant.is_some_and(|grant| {
                    !grant.refresh
                        && scope.as_ref().is_none_or(|scope| covers(&grant.scopes, scope))
                });
                (!covered).then(|| refusal(self.challenge(request, scope.as_deref())))
            }
        }
    }

    fn challenge(&self, request: &Incoming, scope: Option<&str>) -> String {
        let scheme = request.header("x-kit-scheme").unwrap_or("http");
        let host = request.header("host").unwrap_or_default();
        let scope = scope.map_or(String::new(), |scope| format!(r#",scope="{scope}""#));
        format!(r#"Bearer realm="{scheme}://{host}/token",service="kit"{scope}"#)
    }

    /// The token server: `GET` with Basic, or `POST` with a form (OAuth2).
    pub(crate) fn token(&self, request: &Incoming, tokens: &mut Tokens) -> Reply {
        let Self::Bearer { user, secret, anonymous_pull } = self else {
            return Reply::error(404, "UNSUPPORTED", "no token server here");
        };
        let form = Form::of(request);
        let given = form.password().or_else(|| basic(request));
        let known = match (&given, form.refresh_token()) {
            (Some((u, s)), _) if u == user && s == secret => Some(user.clone()),
            (Some(_), _) => return refusal(r#"Basic realm="kit tokens""#.to_owned()),
            (None, Some(refresh)) => match tokens.given.get(&refresh).filter(|grant| grant.refresh)
            {
                Some(grant) => grant.user.clone(),
                None => return refusal(r#"Basic realm="kit tokens""#.to_owned()),
            },
            (None, None) if *anonymous_pull => None,
            (None, None) => return refusal(r#"Basic realm="kit tokens""#.to_owned()),
        };
        let mut scopes = form.scopes();
        if known.is_none() {
            scopes = scopes.iter().filter_map(|scope| pull_only(scope)).collect();
        }
        let token = tokens.issue(known.clone(), scopes, false);
        let mut body = serde_json::json!({
            "token": token, "access_token": token, "expires_in": 300,
        });
        if known.is_some() && form.wants_refresh() {
            body["refresh_token"] = tokens.issue(known, Vec::new(), true).into();
        }
        Reply::new(200, body.to_string()).header("Content-Type", "application/json")
    }
}

impl Tokens {
    fn issue(&mut self, user: Option<String>, scopes: Vec<String>, refresh: bool) -> String {
        let kind = if refresh { "refresh" } else { "token" };
        let number = self.given.len() + 1;
        let token = match &self.signer {
            Some(signer) if !refresh => signer.token(user.as_deref(), &scopes, number),
            _ => format!("kit-{kind}-{number:08}"),
        };
        self.given.insert(token.clone(), Grant { user, scopes, refresh });
        token
    }
}

/// The words of a token request, from its query or from its form.
struct Form(Incoming);

impl Form {
    fn of(request: &Incoming) -> Self {
        let mut merged = request.clone();
        if request.method == "POST" {
            merged.target = format!("/token?{}", String::from_utf8_lossy(&request.body));
        }
        Self(merged)
    }

    fn one(&self, key: &str) -> Option<String> {
        self.0.query(key).into_iter().next()
    }

    fn password(&self) -> Option<(String, String)> {
        (self.one("grant_type")? == "password")
            .then(|| Some((self.one("username")?, self.one("password")?)))?
    }

    fn refresh_token(&self) -> Option<String> {
        self.one("refresh_token")
    }

    fn scopes(&self) -> Vec<String> {
        let all = self.0.query("scope");
        all.iter().flat_map(|text| text.split(' ')).map(str::to_owned).collect()
    }

    fn wants_refresh(&self) -> bool {
        self.one("offline_token").is_some_and(|value| value == "true")
            || self.one("access_type").is_some_and(|value| value == "offline")
    }
}

fn refusal(challenge: String) -> Reply {
    Reply::error(401, "UNAUTHORIZED", "authentication required")
        .header("WWW-Authenticate", challenge)
}

fn basic(request: &Incoming) -> Option<(String, String)> {
    let (kind, code) = request.header("authorization")?.split_once(' ')?;
    let bytes = BASE64_STANDARD.decode(code.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, secret) = text.split_once(':')?;
    kind.eq_ignore_ascii_case("basic").then(|| (user.to_owned(), secret.to_owned()))
}

/// The scope that a request needs; a ping needs none.
fn scope_of(request: &Incoming, asked: &Asked) -> Option<String> {
    let name = asked.repository()?;
    let reads = matches!(request.method.as_str(), "GET" | "HEAD")
        && !matches!(asked, Asked::UploadSession { .. });
    let actions = if reads { "pull" } else { "pull,push" };
    Some(format!("repository:{name}:{actions}"))
}

fn covers(granted: &[String], wanted: &str) -> bool {
    let Some((place, actions)) = wanted.rsplit_once(':') else { return false };
    actions.split(',').all(|action| {
        granted.iter().filter_map(|scope| scope.rsplit_once(':')).any(|(at, allowed)| {
            at == place && allowed.split(',').any(|word| word == action || word == "*")
        })
    })
}

fn pull_only(scope: &str) -> Option<String> {
    let (place, actions) = scope.rsplit_once(':')?;
    actions.split(',').any(|word| word == "pull" || word == "*").then(|| format!("{place}:pull"))
}
