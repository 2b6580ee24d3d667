//! What an answer that is no success says, as an error, and what any answer tells the user.
//!
//! Rules: `registry.md` §1.4, §8.2. Not here: reading the JSON of an error ([`crate::message`]).

use orlop_credentials::precedence::Known;
use reqwest::header;

use crate::answer::{Answer, Body};
use crate::error::{Error, Wanted};
use crate::grant::challenges;
use crate::message::{self, Words};
use crate::notice::Notice;
use crate::repository::Repository;
use crate::retry;
use crate::text;

impl Repository {
    /// Turns an answer that is no success into an error.
    pub(crate) async fn explain(&self, answer: Answer, wanted: Wanted, name: &str) -> Error {
        let status = answer.status();
        let endpoint = answer.endpoint.clone();
        let is_origin = answer.is_origin;
        let now = self.session().shared().clock.now();
        let retry_after =
            answer.header(&header::RETRY_AFTER).and_then(|value| retry::retry_after(value, now));
        let offered = challenges(answer.response.headers());
        let words = self.words(answer).await;
        let message = words.ending();
        // Files at URLs know no logins.
        let may_log_in = wanted != Wanted::File;
        match status {
            401 if is_origin && may_log_in && wanted != Wanted::Token && offered.is_empty() => {
                Error::Challenge { endpoint, offered: String::new() }
            }
            401 | 403 if is_origin && may_log_in => {
                let known = self.known().await.ok().flatten();
                Error::Refused { endpoint, status, who: who(known.as_ref()), message }
            }
            404 | 410 if matches!(wanted, Wanted::Manifest | Wanted::Blob | Wanted::File) => {
                Error::NotFound { endpoint, wanted, name: name.to_owned() }
            }
            429 => {
                let is_quota = words.is_quota() && retry_after.is_none();
                Error::Limited { endpoint, status, retry_after, is_quota, message }
            }
            503 if retry_after.is_some() => {
                Error::Limited { endpoint, status, retry_after, is_quota: false, message }
            }
            400..=499 if wanted == Wanted::Upload && !matches!(status, 408 | 499) => {
                let is_unknown = status == 404 || words.has_code("BLOB_UPLOAD_UNKNOWN");
                let is_digest = words.has_code("DIGEST_INVALID");
                if words.has_code("MANIFEST_BLOB_UNKNOWN") || words.has_code("BLOB_UNKNOWN") {
                    return Error::MissingBlobs { endpoint, message };
                }
                if is_unknown || is_digest {
                    Error::Failed { endpoint, wanted, status, message }
                } else {
                    Error::Upload { endpoint, status: format!(" with {status}"), message }
                }
            }
            _ => Error::Failed { endpoint, wanted, status, message },
        }
    }

    pub(crate) async fn words(&self, answer: Answer) -> Words {
        let limits = self.limits();
        let bytes = Body::new(answer.response).beginning(limits.error_bytes, limits).await;
        Words::read(&bytes)
    }

    /// Passes on what a header tells the user.
    pub(crate) fn note(&self, answer: &Answer) {
        let headers = answer.response.headers();
        for value in headers.get_all(header::WARNING) {
            self.session().warn(&answer.endpoint, value.as_bytes());
        }
        let quota =
            |name: &str| headers.get(name).and_then(|value| message::quota(value.as_bytes()));
        if let (Some(limit), Some(remaining)) =
            (quota("ratelimit-limit"), quota("ratelimit-remaining"))
            && remaining.saturating_mul(10) < limit
        {
            let endpoint = answer.endpoint.clone();
            self.session().tell_once(Notice::Quota { endpoint, remaining, limit });
        }
    }
}

/// Who was refused, for [`Error::Refused`].
pub(crate) fn who(known: Option<&Known>) -> String {
    match known {
        None => "without a login".to_owned(),
        Some(Known { credential, origin }) => {
            let user = match credential.username() {
                Some(name) => format!("to user {:?}", text::shown(name, 256)),
                None => "to a token".to_owned(),
            };
            format!("{user} (from {})", text::shown(origin, 1024))
        }
    }
}
