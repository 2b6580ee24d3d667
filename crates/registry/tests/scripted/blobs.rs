//! Blobs of the scripted registry: resumed, refused, and fetched from other hosts.

use orlop_kit::{Answer, Auth, Image, Registry, layer};
use orlop_oci::Descriptor;
use orlop_registry::{Error, Limits, Position, Sources};

use crate::site::{self, Site};

/// A registry with an image of two layers, and its second layer.
async fn with_layer(site: &Site, registry: &Registry) -> (Sources, Descriptor) {
    let sources = site.sources(registry, "a:1");
    let manifest = site::manifest_of(&sources).await.unwrap();
    (sources, manifest.layers[1].clone())
}

fn two_layers() -> Registry {
    Registry::new().image("a:1", Image::two_layers()).start()
}

/// Runs one fetch of the second layer under a script.
async fn fetch(registry: &Registry, answers: Vec<Answer>) -> (Result<Vec<u8>, Error>, Vec<u8>) {
    let site = Site::new();
    let (sources, descriptor) = with_layer(&site, registry).await;
    registry.script(layer(1), answers);
    registry.forget();
    let digest = registry.layer_digest(1).unwrap();
    (site::blob(&sources, &descriptor).await, registry.blob(&digest).unwrap())
}

#[tokio::test]
async fn a_cut_blob_is_resumed_at_the_byte_where_it_broke() {
    let registry = two_layers();
    let (got, whole) = fetch(&registry, vec![Answer::CutAfter(500_000), Answer::Whole]).await;
    assert!(got.unwrap() == whole);
    assert_eq!(registry.ranges(&layer(1)), ["", "bytes=500000-"]);
}

#[tokio::test]
async fn a_blob_that_is_cut_without_progress_ends_after_five_tries() {
    let registry = two_layers();
    let answers = vec![Answer::CutAfter(500_000), Answer::CutAfter(0)];
    let (got, _) = fetch(&registry, answers).await;
    let error = got.unwrap_err();
    assert!(matches!(error, Error::Broken { at: 500_000, .. }), "{error:?}");
    assert_eq!(registry.count(&layer(1)), 5);
}

#[tokio::test]
async fn progress_of_a_mebibyte_begins_the_count_again() {
    let registry = two_layers();
    let site = Site::with(Limits { progress_bytes: 100_000, ..site::limits() }, &[]);
    let (sources, descriptor) = with_layer(&site, &registry).await;
    registry.script(layer(1), [Answer::CutAfter(150_000)]);
    registry.forget();
    let got = site::blob(&sources, &descriptor).await.unwrap();
    assert_eq!(u64::try_from(got.len()).unwrap(), descriptor.size);
    assert!(registry.count(&layer(1)) > 6);
}

#[tokio::test]
async fn a_server_that_sends_a_byte_at_a_time_is_not_asked_without_end() {
    let registry = two_layers();
    let answers = vec![Answer::CutAfter(500_000), Answer::Less(1)];
    let (got, _) = fetch(&registry, answers).await;
    let error = got.unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
    assert!(registry.count(&layer(1)) <= 11, "{}", registry.log());

    // More at a time is slow, but has an end.
    let answers = vec![Answer::CutAfter(500_000), Answer::Less(65_536)];
    let (got, whole) = fetch(&registry, answers).await;
    assert!(got.unwrap() == whole);
}

#[tokio::test]
async fn a_silent_blob_is_resumed() {
    let registry = two_layers();
    let (got, whole) = fetch(&registry, vec![Answer::StallAfter(300_000), Answer::Whole]).await;
    assert!(got.unwrap() == whole);
    assert_eq!(registry.ranges(&layer(1)), ["", "bytes=300000-"]);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_read_from_the_start() {
    let registry = two_layers();
    let (got, whole) = fetch(&registry, vec![Answer::CutAfter(400_000), Answer::IgnoreRange]).await;
    assert!(got.unwrap() == whole);
    assert_eq!(registry.count(&layer(1)), 2);
}

#[tokio::test]
async fn another_part_than_asked_for_is_not_used() {
    let registry = two_layers();
    let wrong =
        |range: &str| Answer::With(206, vec![("Content-Range", range.to_owned())], vec![0; 100]);
    for range in ["bytes 0-99/100", "bytes 300000-300099/400000", "", "bytes 0-9/*"] {
        let answers = vec![Answer::CutAfter(300_000), wrong(range), Answer::Whole];
        let (got, whole) = fetch(&registry, answers).await;
        assert!(got.unwrap() == whole, "{range}");
        assert_eq!(registry.ranges(&layer(1)), ["", "bytes=300000-", ""], "{range}");
    }
}

#[tokio::test]
async fn wrong_bytes_are_a_lie_and_each_source_has_two_tries() {
    let registry = two_layers();
    let site = Site::new();
    let (sources, descriptor) = with_layer(&site, &registry).await;
    registry.script(layer(1), [Answer::FlipBit(1000)]);
    registry.forget();

    let error = site::blob(&sources, &descriptor).await.unwrap_err();
    assert!(error.is_lie(), "{error:?}");
    assert!(sources.may_refetch(&descriptor));
    let error = site::blob(&sources, &descriptor).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    assert!(!sources.may_refetch(&descriptor));
    assert_eq!(registry.ranges(&layer(1)), ["", ""]);
}

#[tokio::test]
async fn another_announced_size_is_asked_for_once_more_and_not_read() {
    let registry = two_layers();
    for lie in [Answer::Shorter(1), Answer::Longer(1)] {
        let (got, whole) = fetch(&registry, vec![lie.clone(), Answer::Whole]).await;
        assert!(got.unwrap() == whole);
        assert_eq!(registry.count(&layer(1)), 2);

        let (got, _) = fetch(&registry, vec![lie]).await;
        let error = got.unwrap_err();
        assert!(matches!(error, Error::SizeMismatch { .. }), "{error:?}");
        assert_eq!(registry.count(&layer(1)), 2);
    }
}

#[tokio::test]
async fn more_bytes_than_the_descriptor_says_are_a_lie() {
    let registry = two_layers();
    let site = Site::new();
    let (sources, descriptor) = with_layer(&site, &registry).await;
    let whole = registry.blob(&registry.layer_digest(1).unwrap()).unwrap();
    let mut raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    raw.extend(format!("{:x}\r\n", whole.len() + 3).bytes());
    raw.extend(&whole);
    raw.extend(b"abc\r\n0\r\n\r\n");
    registry.script(layer(1), [Answer::Raw(raw)]);
    let error = site::blob(&sources, &descriptor).await.unwrap_err();
    let size = descriptor.size;
    assert!(matches!(error, Error::SizeMismatch { actual, .. } if actual == size + 1), "{error:?}");
}

#[tokio::test]
async fn a_partial_file_is_gone_on_with_and_its_bytes_are_verified() {
    let registry = two_layers();
    let site = Site::new();
    let (sources, descriptor) = with_layer(&site, &registry).await;
    let whole = registry.blob(&registry.layer_digest(1).unwrap()).unwrap();
    registry.forget();
    for (first, is_right) in [(whole[..1000].to_vec(), true), (vec![0; 1000], false)] {
        let mut from = Position::start(descriptor.digest.algorithm());
        from.advance(&first);
        let mut stream = sources.fetch_blob(&descriptor, from);
        let mut got = Vec::new();
        let outcome = loop {
            match stream.next().await {
                Some(Ok(bytes)) => got.extend_from_slice(&bytes),
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        assert_eq!(outcome.is_ok(), is_right);
        assert!(got == whole[1000..]);
    }
    assert_eq!(registry.ranges(&layer(1)), ["bytes=1000-", "bytes=1000-"]);
}

#[tokio::test]
async fn a_blob_at_another_host_is_fetched_there_without_the_login() {
    let image = Image::two_layers();
    let cdn = Registry::new().image("a:1", image.clone()).start();
    let auth = Auth::Basic { user: "me".to_owned(), secret: "pw".to_owned() };
    let registry = Registry::new().image("a:1", image).auth(auth).start();
    let digest = registry.layer_digest(1).unwrap();
    let there = format!("http://{}/v2/a/blobs/{digest}?sig=1", cdn.host());
    registry.script(layer(1), [Answer::Redirect(307, there)]);
    cdn.script(layer(1), [Answer::CutAfter(1000), Answer::Status(403), Answer::Whole]);
    let site = Site::logged_in(&[(&registry.host(), "me", "pw")]);

    site::pull(&site.sources(&registry, "a:1")).await.unwrap();

    assert_eq!(registry.count(&layer(1)), 2, "asked again where the place refuses");
    assert_eq!(cdn.ranges(&layer(1)), ["", "bytes=1000-", "bytes=1000-"]);
    assert!(cdn.requests().iter().all(|one| one.header("authorization").is_none()));
}

#[tokio::test]
async fn a_loop_of_redirects_ends_and_is_not_tried_again() {
    let registry = two_layers();
    let digest = registry.layer_digest(1).unwrap();
    let same = Answer::Redirect(302, format!("/v2/a/blobs/{digest}"));
    let (got, _) = fetch(&registry, vec![same]).await;
    let error = got.unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error:?}");
    assert_eq!(registry.count(&layer(1)), 11);
}

#[tokio::test]
async fn an_encoding_that_was_not_asked_for_is_refused() {
    let registry = two_layers();
    let gzip = vec![("Content-Encoding", "gzip".to_owned())];
    let (got, _) = fetch(&registry, vec![Answer::With(200, gzip, vec![0; 10])]).await;
    let error = got.unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
    assert_eq!(registry.count(&layer(1)), 1);
}

#[tokio::test]
async fn a_reader_that_hashes_itself_reports_wrong_bytes() {
    let registry = two_layers();
    let site = Site::new();
    let (sources, descriptor) = with_layer(&site, &registry).await;
    registry.script(layer(1), [Answer::FlipBit(1000)]);
    let mut stream = sources.fetch_blob(&descriptor, Position::unhashed(0));
    let mut got = 0;
    while let Some(piece) = stream.next().await {
        got += u64::try_from(piece.unwrap().len()).unwrap();
    }
    assert_eq!(got, descriptor.size);
    assert!(sources.report_lie(&descriptor), "one more try");
    assert!(!sources.report_lie(&descriptor));
}

#[tokio::test]
async fn a_head_that_is_no_http_is_unusable_and_one_that_never_ends_is_a_limit() {
    let registry = two_layers();
    for head in
        ["HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "\x15\x03\x01\x00\x02\x02\x0a\r\n\r\n"]
    {
        let (got, _) = fetch(&registry, vec![Answer::Raw(head.into())]).await;
        let error = got.unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
        assert_eq!(registry.count(&layer(1)), 1);
    }
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let head = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    let (got, _) = fetch(&registry, vec![Answer::Raw(head.into())]).await;
    let error = got.unwrap_err();
    assert!(matches!(error, Error::Limit { key: "header-bytes", .. }), "{error:?}");
    let long = "y".repeat(70_000);
    let head = format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n");
    let (got, _) = fetch(&registry, vec![Answer::Raw(head.into())]).await;
    let error = got.unwrap_err();
    assert!(matches!(error, Error::Limit { key: "header-bytes", .. }), "{error:?}");
    assert_eq!(registry.count(&layer(1)), 1);
}
