//! Uploads to the scripted registry: blobs and manifests, lost answers, refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, BoxStream, StreamExt as _};
use orlop_kit::{Answer, Auth, Registry, Upload, upload};
use orlop_oci::{Descriptor, MediaType};
use orlop_registry::{Access, BoxError, Content, Error, Repository, Uploaded};

use crate::site::{self, Site};

/// Bytes in pieces, which count how often they are read.
struct Pieces {
    bytes: Bytes,
    opened: AtomicUsize,
}

impl Content for Pieces {
    fn open(
        &self,
        offset: u64,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, BoxError>>, BoxError>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let rest = self.bytes.slice(usize::try_from(offset).unwrap()..);
        let pieces: Vec<Bytes> = rest.chunks(10_000).map(Bytes::copy_from_slice).collect();
        async move { Ok(stream::iter(pieces.into_iter().map(Ok)).boxed()) }.boxed()
    }
}

fn content() -> (Pieces, Descriptor) {
    let bytes: Bytes = (0..=255).cycle().take(300_000).collect::<Vec<u8>>().into();
    let descriptor = Descriptor::of(MediaType::SifLayer, &bytes);
    (Pieces { bytes, opened: AtomicUsize::new(0) }, descriptor)
}

fn repository(site: &Site, registry: &Registry) -> Repository {
    site.session().repository(&site::source(&registry.host(), "a/b:1"), Access::Push)
}

#[tokio::test]
async fn a_blob_is_streamed_once_and_not_again() {
    let auth =
        Auth::Bearer { user: "me".to_owned(), secret: "pw".to_owned(), anonymous_pull: false };
    let registry = Registry::new().auth(auth).start();
    let site = Site::logged_in(&[(&registry.host(), "me", "pw")]);
    let repository = repository(&site, &registry);
    let (pieces, descriptor) = content();
    let seen = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&seen);
    let progress = move |sent| told.store(sent, Ordering::Relaxed);

    let first = repository.upload(&descriptor).send(&pieces, progress).await.unwrap();
    let second = repository.upload(&descriptor).send(&pieces, |_| {}).await.unwrap();

    assert_eq!((first, second), (Uploaded::Sent, Uploaded::Existed));
    assert_eq!(seen.load(Ordering::Relaxed), 300_000);
    assert_eq!(pieces.opened.load(Ordering::Relaxed), 1);
    assert!(registry.blob(&orlop_kit::Digest::of(&pieces.bytes)).unwrap() == pieces.bytes);
    let put = registry.of(&upload(Upload::Finish));
    assert_eq!(put.len(), 1);
    assert_eq!(put[0].header("content-length"), Some("300000"));
}

#[tokio::test]
async fn a_manifest_is_put_under_its_tag() {
    let registry = Registry::new().start();
    let site = Site::new();
    let bytes = Bytes::from_static(b"{}");
    let digest = repository(&site, &registry)
        .put_manifest("1", &MediaType::OciManifest, &bytes)
        .await
        .unwrap();
    assert_eq!(registry.tag("a/b:1").unwrap().to_string(), digest.to_string());
    let put = registry.of(&upload(Upload::Manifest));
    assert_eq!(put[0].header("content-type"), Some(MediaType::OciManifest.as_str()));
}

#[tokio::test]
async fn an_upload_whose_end_was_not_heard_is_looked_for_first() {
    for trouble in [Answer::Status(503), Answer::Close, Answer::Status(404)] {
        let (pieces, descriptor) = content();
        let registry = Registry::new();
        let registry =
            registry.answer(upload(Upload::Finish), [trouble.clone(), Answer::Whole]).start();
        let site = Site::new();
        let sent = repository(&site, &registry).upload(&descriptor).send(&pieces, |_| {}).await;
        assert_eq!(sent.unwrap(), Uploaded::Sent, "{trouble:?}");
        assert_eq!(registry.count(&upload(Upload::Start)), 1, "{trouble:?}");
    }
}

#[tokio::test]
async fn an_upload_that_cannot_begin_is_tried_again() {
    let registry = Registry::new()
        .answer(upload(Upload::Start), [Answer::Status(503), Answer::Close, Answer::Whole])
        .start();
    let (pieces, descriptor) = content();
    let site = Site::new();
    let sent = repository(&site, &registry).upload(&descriptor).send(&pieces, |_| {}).await;
    assert_eq!(sent.unwrap(), Uploaded::Sent);
    assert_eq!(registry.count(&upload(Upload::Start)), 3);
    assert!(registry.blob(&orlop_kit::Digest::of(&pieces.bytes)).unwrap() == pieces.bytes);
}

#[tokio::test]
async fn a_registry_that_reads_other_bytes_has_two_sessions() {
    let body = br#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#.to_vec();
    let registry = Registry::new()
        .answer(upload(Upload::Finish), [Answer::With(400, Vec::new(), body)])
        .start();
    let (pieces, descriptor) = content();
    let sent = repository(&Site::new(), &registry).upload(&descriptor).send(&pieces, |_| {}).await;
    let error = sent.unwrap_err();
    assert!(matches!(error, Error::Upload { .. }), "{error:?}");
    assert_eq!(registry.count(&upload(Upload::Start)), 2);
}

#[tokio::test]
async fn refusals_are_final() {
    for status in [405, 413] {
        let registry =
            Registry::new().answer(upload(Upload::Start), [Answer::Status(status)]).start();
        let (pieces, descriptor) = content();
        let site = Site::new();
        let sent = repository(&site, &registry).upload(&descriptor).send(&pieces, |_| {}).await;
        assert!(matches!(sent, Err(Error::Upload { .. })), "{status}: {sent:?}");
        assert_eq!(registry.count(&upload(Upload::Start)), 1);
        assert_eq!(pieces.opened.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn the_place_of_an_upload_may_be_elsewhere_without_the_login() {
    let place = |location: &str| {
        let headers = match location {
            "" => Vec::new(),
            location => vec![("Location", location.to_owned())],
        };
        Answer::With(202, headers, Vec::new())
    };
    let store = Registry::new()
        .answer(upload(Upload::Finish), [Answer::With(201, Vec::new(), Vec::new())])
        .start();
    let auth = Auth::Basic { user: "me".to_owned(), secret: "pw".to_owned() };
    let registry = Registry::new().auth(auth).start();
    let site = Site::logged_in(&[(&registry.host(), "me", "pw")]);
    let (pieces, descriptor) = content();
    let there = format!("http://{}/v2/a/b/blobs/uploads/7?_state=x", store.host());
    registry.script(upload(Upload::Start), [place(&there)]);
    repository(&site, &registry).upload(&descriptor).send(&pieces, |_| {}).await.unwrap();
    let put = &store.requests()[0];
    assert!(put.target.contains("?_state=x&digest=sha256%3A"), "{put}");
    assert!(put.header("authorization").is_none());

    for (location, wanted) in [("", "Upload"), ("file:///x", "Redirect")] {
        registry.script(upload(Upload::Start), [place(location)]);
        let sent = repository(&site, &registry).upload(&descriptor).send(&pieces, |_| {}).await;
        let error = sent.unwrap_err();
        assert!(format!("{error:?}").starts_with(wanted), "{error:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_as_many_as_announced_end_the_upload() {
    let registry = Registry::new().start();
    let (pieces, mut descriptor) = content();
    descriptor.size += 1;
    let sent = repository(&Site::new(), &registry).upload(&descriptor).send(&pieces, |_| {}).await;
    let error = sent.unwrap_err();
    assert!(matches!(error, Error::Content { .. }), "{error:?}");
}
