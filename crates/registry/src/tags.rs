//! Tags: the names of a repository, page by page.
//!
//! The next page is where `Link` says, as long as that is at the same host; without one a page as
//! long as was asked for is followed by the question for what comes after its last tag. A list
//! that comes back to where it was has ended. Rules: `registry.md` §1.6; case R146. Not here: the
//! order of tags (the registry's is kept).

use std::collections::BTreeSet;

use orlop_oci::Digest;
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderValue};
use serde::Deserialize;
use url::Url;

use crate::answer::length;
use crate::documents::{refuse_encoding, refuse_web_page};
use crate::endpoint::Endpoint;
use crate::error::{Error, Wanted};
use crate::link;
use crate::repository::Repository;
use crate::request::Ask;

/// Tags asked for in one page: ECR refuses more.
const PAGE: usize = 1000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// The pages of a repository's tags that are still to come.
#[derive(Debug)]
pub struct TagPages {
    repository: Repository,
    /// Path and query of the next page; none after the last.
    next: Option<String>,
    /// Addresses asked so far.
    asked: BTreeSet<String>,
    /// Digests of the pages so far.
    pages: BTreeSet<Digest>,
    tags: usize,
}

impl Repository {
    /// Returns the tags of the repository. Nothing is asked before the first page is wanted.
    #[must_use]
    pub fn tags(&self) -> TagPages {
        TagPages {
            repository: self.clone(),
            next: Some(first_page(self.path(), None)),
            asked: BTreeSet::new(),
            pages: BTreeSet::new(),
            tags: 0,
        }
    }
}

/// Path and query of the page that starts after `last`.
fn first_page(path: &str, last: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("n", &PAGE.to_string());
    if let Some(last) = last {
        query.append_pair("last", last);
    }
    format!("/v2/{path}/tags/list?{}", query.finish())
}

impl TagPages {
    /// Returns the next page in the registry's order, `None` after the last. A page may be empty.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such repository; [`Error::Limit`] for a page, a list
    /// or a number of pages beyond the limits; [`Error::Redirect`] for a next page at another host.
    pub async fn next(&mut self) -> Result<Option<Vec<String>>, Error> {
        let Some(next) = self.next.take() else { return Ok(None) };
        let contact = self.repository.contact().await?;
        let limits = self.repository.limits();
        let reached = |key, limit| Error::Limit {
            endpoint: contact.endpoint.clone(),
            key,
            limit: length(limit),
        };
        if self.asked.len() >= limits.tag_pages {
            return Err(reached("tag-pages", limits.tag_pages));
        }
        let url = contact.endpoint.url(&next)?;
        self.asked.insert(next);
        let (headers, endpoint, tags) = self.fetch(url.clone()).await?;
        self.tags = self.tags.saturating_add(tags.len());
        if self.tags > limits.tags {
            return Err(reached("tags", limits.tags));
        }
        if !tags.is_empty() && !self.pages.insert(digest_of(&tags)) {
            tracing::debug!(%endpoint, "a list of tags repeats itself");
            return Ok(None);
        }
        let links = headers.get_all(header::LINK).iter().map(HeaderValue::as_bytes);
        self.next = match link::next(links) {
            Some(address) => Some(same_host(&url, address, &contact.endpoint)?),
            None if tags.len() == PAGE => {
                Some(first_page(self.repository.path(), tags.last().map(String::as_str)))
            }
            None => None,
        };
        self.next = self.next.take().filter(|next| !self.asked.contains(next));
        Ok(Some(tags))
    }

    async fn fetch(&self, url: Url) -> Result<(HeaderMap, Endpoint, Vec<String>), Error> {
        let repository = &self.repository;
        let (wanted, name) = (Wanted::Repository, repository.path().to_owned());
        let ask = Ask::new(Method::GET, url, wanted, name.clone(), repository.header_time());
        let limit = repository.limits().manifest_bytes;
        let answered = repository.ask_whole(&ask, "manifest-bytes", limit).await;
        let (headers, endpoint, bytes) = answered.map_err(|error| match error {
            Error::Failed { endpoint, status: 404 | 410, .. } => {
                Error::NotFound { endpoint, wanted, name }
            }
            other => other,
        })?;
        refuse_encoding(&headers, &endpoint)?;
        refuse_web_page(&headers, &endpoint, "a list of tags")?;
        // serde takes an array for an object's members in order.
        let is_object = bytes.trim_ascii_start().starts_with(b"{");
        match serde_json::from_slice(&bytes) {
            Ok(Page { tags }) if is_object => Ok((headers, endpoint, tags.unwrap_or_default())),
            _ => {
                let what = "its list of tags is not the JSON of one".to_owned();
                Err(Error::Unusable { endpoint, what })
            }
        }
    }
}

fn digest_of(tags: &[String]) -> Digest {
    // A tag holds no NUL.
    Digest::sha256(tags.join("\0").as_bytes())
}

/// Path and query of a next page, which has to be at the host that was asked. Its scheme and port
/// are not looked at where they are the default ones: a registry behind another server does not
/// know by which it is spoken to, and what is asked in the end is the endpoint that was found.
fn same_host(url: &Url, address: &str, endpoint: &Endpoint) -> Result<String, Error> {
    let elsewhere = || Error::Redirect {
        endpoint: endpoint.clone(),
        why: "the list of tags goes on elsewhere",
    };
    let next = url.join(address).map_err(|_| elsewhere())?;
    let is_same = next.host_str() == url.host_str()
        && matches!(next.scheme(), "https" | "http")
        && (next.port().is_none() || next.port_or_known_default() == url.port_or_known_default());
    if !is_same {
        return Err(elsewhere());
    }
    Ok(match next.query() {
        Some(query) => format!("{}?{query}", next.path()),
        None => next.path().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_asked_at_the_same_host_alone() {
        let url = Url::parse("https://r.example/v2/a/tags/list?n=1000").unwrap();
        let endpoint = Endpoint::of(&url).unwrap();
        let next = |address: &str| same_host(&url, address, &endpoint).ok();
        assert_eq!(next("/v2/a/tags/list?last=b").as_deref(), Some("/v2/a/tags/list?last=b"));
        assert_eq!(next("?last=b").as_deref(), Some("/v2/a/tags/list?last=b"));
        assert_eq!(next("http://r.example/x?y").as_deref(), Some("/x?y"));
        assert_eq!(next("https://u:p@r.example:443/x").as_deref(), Some("/x"));
        for bad in ["https://other.example/x", "//other.example/x", "https://r.example:444/x"] {
            assert_eq!(next(bad), None, "{bad}");
        }
        assert_eq!(next("file://r.example/x"), None);
    }

    #[test]
    fn a_tag_is_escaped_in_the_question_for_what_follows() {
        assert_eq!(first_page("a/b", None), "/v2/a/b/tags/list?n=1000");
        assert_eq!(first_page("a", Some("x&y")), "/v2/a/tags/list?n=1000&last=x%26y");
    }
}
