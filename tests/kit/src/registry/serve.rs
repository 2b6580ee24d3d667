//! The correct answers of a registry: manifests, blobs, ranges, uploads, tags.
//!
//! Distribution specification 1.1, with what real registries add (`Docker-Content-Digest` on
//! everything, `Range` on blobs). Not here: access ([`super::auth`]), faults ([`super::answer`]).

use super::answer::{Blob, Reply};
use super::route::Asked;
use super::wire::Incoming;
use crate::digest::Digest;
use crate::image::Built;
use std::collections::BTreeMap;

/// What a registry holds.
#[derive(Debug, Default)]
pub(crate) struct Store {
    blobs: BTreeMap<(String, Digest), Blob>,
    manifests: BTreeMap<(String, Digest), (String, Vec<u8>)>,
    tags: BTreeMap<(String, String), Digest>,
    sessions: BTreeMap<String, Vec<u8>>,
    opened: u64,
}

impl Store {
    /// Takes an image under `name:tag`.
    pub(crate) fn add(&mut self, reference: &str, image: &Built) {
        let (name, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
        for (digest, blob) in &image.blobs {
            self.blobs.insert((name.to_owned(), digest.clone()), blob.clone());
        }
        for (media_type, bytes) in &image.children {
            let at = (name.to_owned(), Digest::of(bytes));
            self.manifests.insert(at, (media_type.clone(), bytes.clone()));
        }
        self.put_manifest(name, tag, &image.media_type, &image.manifest);
    }

    fn put_manifest(&mut self, name: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let at = (name.to_owned(), digest.clone());
        self.manifests.insert(at, (media_type.to_owned(), bytes.to_vec()));
        if !tag.contains(':') {
            self.tags.insert((name.to_owned(), tag.to_owned()), digest.clone());
        }
        digest
    }

    /// A blob of any repository.
    pub(crate) fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.blobs.iter().find(|((_, at), _)| at == digest).map(|(_, blob)| blob)
    }

    /// A manifest of any repository, with its media type.
    pub(crate) fn manifest(&self, digest: &Digest) -> Option<&(String, Vec<u8>)> {
        self.manifests.iter().find(|((_, at), _)| at == digest).map(|(_, found)| found)
    }

    /// The digest that `name:tag` has now.
    pub(crate) fn tag(&self, reference: &str) -> Option<Digest> {
        let (name, tag) = reference.rsplit_once(':')?;
        self.tags.get(&(name.to_owned(), tag.to_owned())).cloned()
    }

    /// Answers a request that access has been granted to.
    pub(crate) fn answer(&mut self, request: &Incoming, asked: &Asked) -> Reply {
        match (request.method.as_str(), asked) {
            ("GET" | "HEAD", Asked::Ping) => {
                Reply::new(200, "{}".to_owned()).header("Content-Type", "application/json")
            }
            ("GET" | "HEAD", Asked::Manifest { name, reference, digest }) => {
                self.get_manifest(name, reference, digest.as_ref())
            }
            ("PUT", Asked::Manifest { name, reference, .. }) => {
                let media_type = request.header("content-type").unwrap_or_default();
                let digest = self.put_manifest(name, reference, media_type, &request.body);
                Reply::new(201, Vec::new())
                    .header("Location", format!("/v2/{name}/manifests/{digest}"))
                    .header("Docker-Content-Digest", digest.to_string())
            }
            ("GET" | "HEAD", Asked::Blob { name, digest }) => self.get_blob(request, name, digest),
            ("POST", Asked::UploadStart { name }) => self.start_upload(request, name),
            ("GET" | "PATCH" | "PUT" | "DELETE", Asked::UploadSession { name, session }) => {
                self.continue_upload(request, name, session)
            }
            ("GET", Asked::Tags { name }) => self.list_tags(request, name),
            (_, Asked::Other) => Reply::error(404, "NOT_FOUND", "no such page"),
            _ => Reply::error(405, "UNSUPPORTED", "not that way"),
        }
    }

    fn get_manifest(&self, name: &str, reference: &str, digest: Option<&Digest>) -> Reply {
        let digest = match digest {
            Some(digest) => Some(digest.clone()),
            None => self.tags.get(&(name.to_owned(), reference.to_owned())).cloned(),
        };
        let found = digest.and_then(|digest| {
            let found = self.manifests.get(&(name.to_owned(), digest.clone()))?;
            Some((digest, found))
        });
        let Some((digest, (media_type, bytes))) = found else {
            return Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
        };
        Reply::new(200, bytes.clone())
            .header("Content-Type", media_type.clone())
            .header("Docker-Content-Digest", digest.to_string())
    }

    /// A page of tags in their order, with a link to the next where there is one.
    fn list_tags(&self, request: &Incoming, name: &str) -> Reply {
        let one = |key: &str| request.query(key).into_iter().next();
        let last = one("last").unwrap_or_default();
        let of = |((at, tag), _): (&(String, String), &Digest)| {
            (at == name && *tag > last).then(|| tag.clone())
        };
        let mut tags: Vec<String> = self.tags.iter().filter_map(of).collect();
        if !self.tags.keys().any(|(at, _)| at == name) {
            return Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
        }
        let count = one("n").and_then(|count| count.parse().ok()).unwrap_or(usize::MAX);
        let has_more = tags.len() > count;
        tags.truncate(count);
        let body = serde_json::json!({"name": name, "tags": tags});
        let reply = Reply::new(200, body.to_string()).header("Content-Type", "application/json");
        match tags.last().filter(|_| has_more) {
            Some(last) => {
                let next = format!("</v2/{name}/tags/list?last={last}&n={count}>; rel=\"next\"");
                reply.header("Link", next)
            }
            None => reply,
        }
    }

    fn get_blob(&self, request: &Incoming, name: &str, digest: &Digest) -> Reply {
        let Some(blob) = self.blobs.get(&(name.to_owned(), digest.clone())) else {
            return Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let size = blob.len();
        let reply = Reply::new(200, blob.clone())
            .header("Content-Type", "application/octet-stream")
            .header("Docker-Content-Digest", digest.to_string())
            .header("ETag", format!("\"{digest}\""))
            .header("Accept-Ranges", "bytes");
        match request.header("range").map(|range| read_range(range, size)) {
            None => reply,
            Some(Some((first, last))) => {
                Reply { status: 206, part: (first, last - first + 1), ..reply }
                    .header("Content-Range", format!("bytes {first}-{last}/{size}"))
            }
            Some(None) => Reply::error(416, "RANGE_INVALID", "no such bytes")
                .header("Content-Range", format!("bytes */{size}")),
        }
    }

    fn start_upload(&mut self, request: &Incoming, name: &str) -> Reply {
        let one = |key: &str| request.query(key).into_iter().next();
        if let (Some(digest), Some(from)) = (one("mount"), one("from")) {
            let digest = Digest::named(&digest);
            if let Some(blob) = self.blobs.get(&(from, digest.clone())).cloned() {
                self.blobs.insert((name.to_owned(), digest.clone()), blob);
                return created(name, &digest);
            }
        }
        if let Some(digest) = one("digest") {
            return self.finish(name, &Digest::named(&digest), request.body.clone());
        }
        self.opened += 1;
        let session = format!("session-{}", self.opened);
        self.sessions.insert(session.clone(), Vec::new());
        accepted(name, &session, 0)
    }

    fn continue_upload(&mut self, request: &Incoming, name: &str, session: &str) -> Reply {
        let Some(bytes) = self.sessions.get_mut(session) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
        };
        match request.method.as_str() {
            "PATCH" => {
                let begins = request.header("content-range").and_then(|range| {
                    range.trim_start_matches("bytes ").split('-').next()?.parse::<usize>().ok()
                });
                if begins.is_some_and(|first| first != bytes.len()) {
                    return Reply { status: 416, ..accepted(name, session, bytes.len()) };
                }
                bytes.extend_from_slice(&request.body);
                accepted(name, session, bytes.len())
            }
            "PUT" => {
                let mut bytes = std::mem::take(bytes);
                bytes.extend_from_slice(&request.body);
                self.sessions.remove(session);
                let digest = request.query("digest").into_iter().next().unwrap_or_default();
                self.finish(name, &Digest::named(&digest), bytes)
            }
            "DELETE" => {
                self.sessions.remove(session);
                Reply::new(204, Vec::new())
            }
            _ => Reply { status: 204, ..accepted(name, session, bytes.len()) },
        }
    }

    fn finish(&mut self, name: &str, digest: &Digest, bytes: Vec<u8>) -> Reply {
        if Digest::of(&bytes) != *digest {
            return Reply::error(400, "DIGEST_INVALID", "the bytes are not those of the digest");
        }
        self.blobs.insert((name.to_owned(), digest.clone()), bytes.into());
        created(name, digest)
    }
}

fn created(name: &str, digest: &Digest) -> Reply {
    Reply::new(201, Vec::new())
        .header("Location", format!("/v2/{name}/blobs/{digest}"))
        .header("Docker-Content-Digest", digest.to_string())
}

fn accepted(name: &str, session: &str, have: usize) -> Reply {
    Reply::new(202, Vec::new())
        .header("Location", format!("/v2/{name}/blobs/uploads/{session}"))
        .header("Docker-Upload-UUID", session)
        .header("Range", format!("0-{}", have.saturating_sub(1)))
}

/// First and last byte of a `Range` header with one range; `None` when there are no such bytes.
fn read_range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(first), Some(last)) => (first, last.min(size.checked_sub(1)?)),
        (Some(first), None) => (first, size.checked_sub(1)?),
        (None, Some(count)) => (size.saturating_sub(count), size.checked_sub(1)?),
        (None, None) => return None,
    };
    (first <= last && first < size).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_size() {
        for (text, wanted) in [
            ("bytes=0-", Some((0, 9))),
            ("bytes=3-4", Some((3, 4))),
            ("bytes=3-400", Some((3, 9))),
            ("bytes=-2", Some((8, 9))),
            ("bytes=10-", None),
            ("bytes=5-4", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(read_range(text, 10), wanted, "{text}");
        }
    }
}
