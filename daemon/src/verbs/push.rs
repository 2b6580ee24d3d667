//! A push: the caller's file becomes a blob and a manifest of a registry.
//!
//! The file's bytes come from the caller, on demand and from the offset that the registry wants.
//! Not here: checking that the file is a SIF (the client did), requests (`orlop-registry`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use orlop_oci::manifest::SIF_CONFIG;
use orlop_oci::{Descriptor, Digest, ImageUri, Manifest, MediaType, Reference};
use orlop_proto::v1::{self, Kind, push_event, push_request};
use orlop_registry::{Access, BoxError, Content, Repository, Source, Upload, Uploaded};
use tokio::sync::{Mutex, mpsc};

use super::asking::{self, Mirrors};
use crate::caller::{Caller, Told};
use crate::daemon::Daemon;
use crate::failure::Failure;

/// Where the facts of a push go.
pub(crate) type Events = mpsc::Sender<push_event::Event>;
/// Where the caller's messages come from.
pub(crate) type Parts = BoxStream<'static, Result<v1::PushRequest, tonic::Status>>;

/// The caller's file.
struct FromCaller {
    parts: Arc<Mutex<Parts>>,
    events: Events,
    size: u64,
}

impl Content for FromCaller {
    fn open(
        &self,
        offset: u64,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, BoxError>>, BoxError>> {
        Box::pin(async move {
            let send = push_event::Event::Send(v1::PushSend { offset });
            self.events.send(send).await.map_err(|_| "the client has left")?;
            let state = (Arc::clone(&self.parts), offset, self.size);
            Ok(stream::try_unfold(state, next_piece).boxed())
        })
    }
}

type State = (Arc<Mutex<Parts>>, u64, u64);

/// The piece at an offset; pieces of an earlier demand are passed over.
async fn next_piece((parts, at, size): State) -> Result<Option<(Bytes, State)>, BoxError> {
    if at >= size {
        return Ok(None);
    }
    let mut open = parts.lock().await;
    loop {
        let part = open.next().await.ok_or("the client stopped sending")??;
        let Some(push_request::Part::Chunk(chunk)) = part.part else { continue };
        if chunk.offset != at || chunk.data.is_empty() {
            continue;
        }
        let data = Bytes::from(chunk.data);
        let next = at.saturating_add(data.len() as u64);
        drop(open);
        return Ok(Some((data, (parts, next, size))));
    }
}

/// Sends a SIF to a registry.
///
/// # Errors
/// REFERENCE_INVALID; what the registry says; FILE_FAILED when the caller stops sending.
pub(crate) async fn push(
    daemon: &Daemon,
    begin: v1::PushBegin,
    parts: Parts,
    events: &Events,
) -> Result<v1::PushDone, Failure> {
    let caller = Caller::of(begin.context)?;
    let reference = destination(&begin.uri)?;
    let digest: Digest = begin
        .digest
        .parse()
        .map_err(|error: orlop_oci::DigestError| Failure::new(Kind::UsageInvalid, &error))?;
    let access = begin.access.unwrap_or_default();
    let no_https = access.no_https;
    let mut asked = asking::ask(daemon, &caller, &reference, access, Mirrors::PassedOver).await?;
    if asked.is_blocked {
        let message = format!("{} is blocked by registries.conf", reference.host());
        return Err(Failure::of(Kind::SourceBlocked, message));
    }
    // Never redirected, but the host is as trusted as in a pull.
    let insecure = asked.is_insecure;
    let source = Source { no_https, insecure, ..Source::new(reference.clone()) };
    let repository = asked.session.repository(&source, Access::Push);
    let layer = Descriptor::new(MediaType::SifLayer, digest, begin.size);
    let mut from = begin.mount_from;
    from.extend(daemon.whereabouts.paths(reference.host().as_str(), &layer.digest));
    let upload = repository.upload(&layer).mount_from(from);
    let content =
        FromCaller { parts: Arc::new(Mutex::new(parts)), events: events.clone(), size: begin.size };
    let annotations = begin.annotations.into_iter().collect();
    let manifest = Bytes::from(Manifest::sif(&layer, &begin.title, &annotations));
    let tag = reference.tag().unwrap_or("latest");
    let mut work = Box::pin(async {
        let done = upload_all(&repository, &upload, &layer, &content, tag, &manifest).await?;
        daemon.whereabouts.note(&reference.repository(), &layer.digest);
        Ok(done)
    });
    let event = |Told { text, is_detail, .. }: Told| {
        push_event::Event::Warning(v1::Warning { text, is_detail })
    };
    let wanted = async {
        tokio::select! {
            biased;
            () = events.closed() => None,
            done = &mut work => Some(done),
        }
    };
    let done = asking::passing_on(&mut asked.notices, events, event, wanted).await;
    drop(work);
    // Nobody wants it any more, or its bytes are not to be had: what is open at the registry is
    // closed. Which of the two is seen first of a client that leaves is chance.
    let is_left = |failure: &Failure| failure.kind() == Kind::FileFailed;
    if done.as_ref().is_none_or(|done| done.as_ref().is_err_and(is_left)) {
        upload.abandon().await;
    }
    let Some(done) = done else {
        return Err(Failure::of(Kind::Cancelled, "the client has left"));
    };
    done
}

/// Where a SIF is pushed to: a tag of `oras://`.
fn destination(uri: &str) -> Result<Reference, Failure> {
    let reference = match ImageUri::parse(uri) {
        Ok(ImageUri::Oras(reference)) => reference,
        Ok(_) => return Err(Failure::of(Kind::Unsupported, "a SIF is pushed to oras:// only")),
        Err(error) => return Err(Failure::new(Kind::ReferenceInvalid, &error)),
    };
    if reference.digest().is_some() {
        let message = "a push goes to a tag: the digest follows from the file";
        return Err(Failure::of(Kind::ReferenceInvalid, message));
    }
    Ok(reference)
}

/// Sends config, layer and manifest, each where the registry does not have it.
async fn upload_all(
    repository: &Repository,
    upload: &Upload,
    layer: &Descriptor,
    content: &FromCaller,
    tag: &str,
    manifest: &Bytes,
) -> Result<v1::PushDone, Failure> {
    let config = Descriptor::of(MediaType::SifConfig, SIF_CONFIG);
    let tell = || teller(content.events.clone(), content.size);
    repository.upload(&config).send(&Whole(SIF_CONFIG), |_| {}).await?;
    let uploaded = upload.send(content, tell()).await?;
    let put = || repository.put_manifest(tag, &MediaType::OciManifest, manifest);
    let digest = match put().await {
        // A blob was said to be there and is not: each is looked for once more (R125).
        Err(orlop_registry::Error::MissingBlobs { .. }) => {
            repository.upload(&config).send(&Whole(SIF_CONFIG), |_| {}).await?;
            repository.upload(layer).send(content, tell()).await?;
            put().await?
        }
        put => put.map_err(misplaced)?,
    };
    Ok(v1::PushDone { digest: digest.to_string(), existed: uploaded != Uploaded::Sent })
}

/// A registry that stored another manifest than it was sent (R128).
fn misplaced(error: orlop_registry::Error) -> Failure {
    match &error {
        orlop_registry::Error::DigestMismatch { .. } => {
            let message = format!("{error}: the tag may now point to something else");
            Failure::of(Kind::SourceLied, message)
        }
        _ => error.into(),
    }
}

/// Bytes that are here already.
struct Whole(&'static [u8]);

impl Content for Whole {
    fn open(
        &self,
        offset: u64,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, BoxError>>, BoxError>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = Bytes::from_static(self.0.get(start..).unwrap_or_default());
        Box::pin(async move { Ok(stream::once(async move { Ok(rest) }).boxed()) })
    }
}

/// Bytes between two words about progress.
const STEP: u64 = 1 << 20;

/// Tells of bytes sent, now and then.
fn teller(events: Events, total: u64) -> impl Fn(u64) + Send + Sync + 'static {
    let told = AtomicU64::new(0);
    move |bytes| {
        let last = told.load(Ordering::Relaxed);
        if bytes.abs_diff(last) >= STEP || bytes == total {
            told.store(bytes, Ordering::Relaxed);
            // A caller that is slow gets the next one.
            drop(events.try_send(push_event::Event::Progress(v1::PushProgress { bytes, total })));
        }
    }
}
