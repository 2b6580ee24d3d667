//! A pull of a SIF at an `http` or `https` URL.
//!
//! The server says what a file is called and when it changed, never what it holds: what came is
//! checked to be an image before it becomes visible, and is known by its digest then. A URL whose
//! file has not changed is not downloaded again. Not here: the request (`orlop-registry`).

use std::sync::Arc;

use futures::future::BoxFuture;
use orlop_oci::{Algorithm, Digest, Host};
use orlop_proto::v1::{self, Kind, pull_done, pull_event};
use orlop_registry::{Looked, Notice, Session, WebStream};
use orlop_sif::{ImageKind, Sif, recognise};
use orlop_squashfs::Window;
use orlop_store::{BlobDraft, Entry, Leased, Store, Tag};
use tokio::sync::mpsc;

use super::asking::passing_on;
use super::checks;
use super::landing;
use super::needs::{self, Needs};
use super::pull::{self, Events, Pulled};
use super::room::Room;
use crate::caller::Caller;
use crate::clock;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::{FLIGHTS, Facts};

/// Bytes after which it can be told that something is no image.
const HEAD: u64 = 2048;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The URL, which may hold secrets.
    pub(crate) url: String,
    /// Certificates are not checked.
    pub(crate) insecure: bool,
}

/// Who asks for files: has no credentials, is told what there is to tell.
struct Nobody(mpsc::UnboundedSender<String>);

impl orlop_registry::Caller for Nobody {
    fn credential<'a>(&'a self, _: &'a Host, _: &'a str) -> BoxFuture<'a, Looked> {
        Box::pin(async { Looked { found: Ok(None), warnings: Vec::new() } })
    }

    fn notice(&self, notice: Notice) {
        // A caller that has left does not listen any more.
        drop(self.0.send(notice.to_string()));
    }
}

/// Brings a SIF into the cache.
///
/// # Errors
/// What the server says; NOT_AN_IMAGE, DISK_FULL.
pub(crate) async fn pull(
    daemon: &Daemon,
    caller: &Caller,
    wanted: Wanted,
    events: &Events,
) -> Result<Pulled, Failure> {
    let (sender, mut notices) = mpsc::unbounded_channel();
    let asking = caller.clone();
    let settings = daemon.blocking("settings", move || asking.settings()).await?;
    let session = caller.session(daemon, &settings, Nobody(sender));
    let most = settings.limits.layer_bytes;
    let work = fetch(daemon, caller, &session, &wanted, most, events);
    let event = |text| pull_event::Event::Warning(v1::Warning { text, is_detail: false });
    passing_on(&mut notices, events, event, work).await
}

async fn fetch(
    daemon: &Daemon,
    caller: &Caller,
    session: &Session,
    wanted: &Wanted,
    most: u64,
    events: &Events,
) -> Result<Pulled, Failure> {
    let (mut tries, mut is_room_made) = (1, false);
    loop {
        let file = session.web_file(&wanted.url, wanted.insecure)?;
        let source = file.shown();
        let stream = file.open().await?;
        let version = version_of(&wanted.url, &source, &stream);
        let name = version.clone().filter(|_| may_be_kept(&wanted.url));
        if let Some(name) = &name
            && let Some((digest, leased)) = cached(daemon, name).await?
            // One that was damaged meanwhile has been moved aside.
            && checks::before_use(daemon, vec![Entry::Blob(digest.clone())]).await?
        {
            resolved(events, &source, leased.bytes(), true).await;
            return Ok(pulled(daemon, &source, &digest, leased, true));
        }
        let size = stream.size().unwrap_or_default();
        resolved(events, &source, size, false).await;
        let room = Room::new(source.clone(), size, most);
        room.check(size)?;
        needs::make_room(daemon, size, size).await?;
        let key = version.unwrap_or_else(|| format!("{source} {}", caller.request_id()));
        let (shared, shown) = (daemon.clone(), source.clone());
        let flights = [daemon.web.join(&key, source.clone(), size, move |facts| async move {
            download(shared, shown, stream, room, name, &facts).await.map(Arc::new)
        })];
        match landing::watch(&flights, events).await {
            Ok(landed) => {
                let digest = landed.first().map(|landed| (landed.0.clone(), landed.1.bytes()));
                let lost = || Failure::of(Kind::Internal, "a download landed without a file");
                let (digest, bytes) = digest.ok_or_else(lost)?;
                let leased = open(daemon, &digest, bytes).await?.ok_or_else(lost)?;
                return Ok(pulled(daemon, &source, &digest, leased, false));
            }
            Err(lost) if !lost.is_own && lost.failure.is_of_caller() && tries < FLIGHTS => {
                tries = tries.saturating_add(1);
            }
            Err(lost) if lost.failure.kind() == Kind::DiskFull && !is_room_made => {
                is_room_made = true;
                let came = flights.iter().map(|flight| flight.facts().bytes()).sum::<u64>();
                // How much is to come is not always told: twice what came, then.
                let count = move |_: &Store| Ok(Needs::of_bytes(size.max(came.saturating_mul(2))));
                landing::at_rest(flights.into()).await;
                if !needs::is_room_made_of(daemon, &lost.failure, Vec::new(), count).await {
                    return Err(lost.failure);
                }
            }
            Err(lost) => return Err(lost.failure),
        }
    }
}

/// What tells the file of this URL from another, if the server says so: for downloads under way.
fn version_of(url: &str, source: &str, stream: &WebStream) -> Option<String> {
    let (version, url) = (stream.version()?, Digest::sha256(without_login(url).as_bytes()));
    let size = stream.size().map(|size| size.to_string()).unwrap_or_default();
    Some(format!("{source}\n{url}\n{version}\n{size}"))
}

/// Says whether that may be written down, to find the file again: a query may hold a secret, such
/// as a signature, which a digest of it could be used to guess.
fn may_be_kept(url: &str) -> bool {
    !url.split('#').next().unwrap_or_default().contains('?')
}

/// A URL without user, password and fragment: who may have the file is the server's business,
/// which is asked each time.
fn without_login(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '\\']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

async fn cached(daemon: &Daemon, name: &str) -> Result<Option<(Digest, Leased)>, Failure> {
    let (store, name) = (daemon.store.clone(), name.to_owned());
    let look = move || {
        let Some(tag) = store.tag(&name)? else { return Ok(None) };
        let path = store.path(&Entry::Blob(tag.digest.clone()));
        let Ok(found) = std::fs::metadata(path) else { return Ok(None) };
        Ok(store.blob(&tag.digest, found.len())?.map(|leased| (tag.digest, leased)))
    };
    daemon.blocking("blob", look).await
}

async fn open(daemon: &Daemon, digest: &Digest, bytes: u64) -> Result<Option<Leased>, Failure> {
    let (store, digest) = (daemon.store.clone(), digest.clone());
    daemon.blocking("blob", move || Ok(store.blob(&digest, bytes)?)).await
}

async fn resolved(events: &Events, source: &str, size: u64, cached: bool) {
    let layer = v1::PullLayer { digest: String::new(), size, cached };
    let event = v1::PullResolved {
        digest: String::new(),
        source: source.to_owned(),
        cached,
        layers: vec![layer],
    };
    pull::tell(events, pull_event::Event::Resolved(event)).await;
}

fn pulled(daemon: &Daemon, source: &str, digest: &Digest, leased: Leased, cached: bool) -> Pulled {
    let path = daemon.store.path(&Entry::Blob(digest.clone()));
    let done = v1::PullDone {
        lease: String::new(),
        found_by: Vec::new(),
        digest: digest.to_string(),
        source: source.to_owned(),
        cached,
        image: Some(pull_done::Image::Sif(v1::SifImage {
            digest: digest.to_string(),
            path: path.to_string_lossy().into_owned(),
            size: leased.bytes(),
        })),
    };
    let entries = vec![Entry::Blob(digest.clone())];
    Pulled { done, leases: vec![leased], entries, unseen: Vec::new() }
}

/// Downloads, checks and publishes.
async fn download(
    daemon: Daemon,
    source: String,
    mut stream: WebStream,
    mut room: Room,
    name: Option<String>,
    facts: &Facts,
) -> Result<(Digest, Leased), Failure> {
    let store = daemon.store.clone();
    let mut draft =
        daemon.blocking("draft", move || Ok(store.draft_blob(Algorithm::Sha256)?)).await?;
    let (mut at, mut is_checked) = (0_u64, false);
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        room.take(&daemon, piece.len()).await?;
        tokio::task::block_in_place(|| draft.append(&piece))?;
        at = at.saturating_add(piece.len() as u64);
        facts.set_bytes(at);
        if !is_checked && at >= HEAD {
            is_checked = true;
            tokio::task::block_in_place(|| check_head(&draft, &source))?;
        }
    }
    let store = daemon.store.clone();
    let publish = move || {
        check_whole(&draft, &source)?;
        let (digest, leased) = draft.publish()?;
        if let Some(name) = name {
            let (digest, seen) = (digest.clone(), clock::now());
            let tag = Tag { digest, source, seen, proofs: Vec::new() };
            if let Err(error) = store.put_tag(&name, tag) {
                tracing::debug!(%error, "the file's version is not remembered");
            }
        }
        Ok((digest, leased))
    };
    daemon.blocking("publish", publish).await
}

fn not_an_image(source: &str, error: &orlop_sif::Error) -> Failure {
    let message = format!("\"{source}\" is not a SIF");
    Failure::of(Kind::NotAnImage, message).because(error.to_string())
}

fn window(draft: &BlobDraft, source: &str) -> Result<Window, Failure> {
    let window = draft.file().try_clone().and_then(Window::whole);
    window.map_err(|cause| {
        not_an_image(source, &orlop_sif::Error::Read { what: "reading what came", cause })
    })
}

/// What is no image by its first bytes is not downloaded to its end.
fn check_head(draft: &BlobDraft, source: &str) -> Result<(), Failure> {
    match recognise(&window(draft, source)?) {
        Ok(ImageKind::Sif | ImageKind::Squashfs { .. }) => Ok(()),
        Ok(_) => Err(not_an_image(source, &orlop_sif::Error::Unrecognised)),
        Err(error) => Err(not_an_image(source, &error)),
    }
}

fn check_whole(draft: &BlobDraft, source: &str) -> Result<(), Failure> {
    check_head(draft, source)?;
    let window = window(draft, source)?;
    match recognise(&window) {
        Ok(ImageKind::Sif) => Sif::read(&window).map(drop).map_err(|e| not_an_image(source, &e)),
        _ => Ok(()),
    }
}

/// True for the URLs of `orlop_registry::WebFile`s.
#[must_use]
pub(crate) fn is_url(uri: &str) -> bool {
    uri.starts_with("http://") || uri.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_of_a_url_has_no_secret_in_it() {
        for (url, kept) in [
            ("https://me:pw@h:1/a@b", "https://h:1/a@b"),
            ("https://me:p%40w@h/a#f?g", "https://h/a"),
            ("http://me@h", "http://h"),
            ("https://h/a/b.sif", "https://h/a/b.sif"),
        ] {
            assert_eq!(without_login(url), kept);
            assert!(may_be_kept(url), "{url}");
        }
        assert!(!may_be_kept("https://h/a?sig=1"));
        assert!(!may_be_kept("https://h?sig=1#f"));
    }
}
