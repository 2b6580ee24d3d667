//! Large blobs that come in parts on several connections: R84, R85, and what holds of every blob.

use std::collections::BTreeSet;

use orlop_kit::{Answer, Image, Registry, layer};
use orlop_oci::Descriptor;
use orlop_registry::{Error, Limits, Position, Sources};

use crate::site::{self, Site};

const CHUNK: u64 = 100_000;

/// Limits under which the kit's layers are large.
fn limits() -> Limits {
    Limits { range_from: 2 * CHUNK, range_chunk: CHUNK, ..site::limits() }
}

struct World {
    registry: Registry,
    site: Site,
}

impl World {
    fn new() -> Self {
        let registry = Registry::new().image("a:1", Image::two_layers()).start();
        Self { registry, site: Site::with(limits(), &[]) }
    }

    /// The second layer's descriptor and bytes; its answers are then as the script says.
    async fn layer(&self, answers: Vec<Answer>) -> (Sources, Descriptor, Vec<u8>) {
        let sources = self.site.sources(&self.registry, "a:1");
        let manifest = site::manifest_of(&sources).await.unwrap();
        self.registry.script(layer(1), answers);
        self.registry.forget();
        let bytes = self.registry.blob(&self.registry.layer_digest(1).unwrap()).unwrap();
        (sources, manifest.layers[1].clone(), bytes)
    }

    fn ranges(&self) -> BTreeSet<String> {
        self.registry.ranges(&layer(1)).into_iter().collect()
    }
}

/// The ranges of all parts from an offset on.
fn parts(from: u64, size: u64) -> BTreeSet<String> {
    let starts = (0..).map(|part| from + part * CHUNK).take_while(|&first| first < size);
    starts.map(|first| format!("bytes={first}-{}", (first + CHUNK).min(size) - 1)).collect()
}

#[tokio::test]
async fn a_large_blob_comes_in_parts_and_in_order() {
    let world = World::new();
    let mut connections = BTreeSet::new();
    // A second part is asked for beside the first where the reader has to wait, which no test can
    // make it do: it is read until it had to.
    for _ in 0..200 {
        let (sources, descriptor, whole) = world.layer(vec![Answer::Whole]).await;
        assert!(site::blob(&sources, &descriptor).await.unwrap() == whole);
        assert_eq!(world.ranges(), parts(0, descriptor.size));
        let asked = world.registry.requests();
        connections = asked.iter().map(|request| request.connection).collect();
        if connections.len() > 1 {
            return;
        }
    }
    panic!("never more than one connection: {connections:?}");
}

#[tokio::test]
async fn a_blob_that_is_partly_there_goes_on_in_parts_from_its_offset() {
    let world = World::new();
    let (sources, descriptor, whole) = world.layer(vec![Answer::Whole]).await;
    let mut from = Position::start(descriptor.digest.algorithm());
    from.advance(&whole[..12_345]);
    let mut stream = sources.fetch_blob(&descriptor, from);
    let mut rest = Vec::new();
    while let Some(piece) = stream.next().await {
        rest.extend_from_slice(&piece.unwrap());
    }
    assert!(rest == whole[12_345..]);
    assert_eq!(world.ranges(), parts(12_345, descriptor.size));
}

#[tokio::test]
async fn a_part_that_is_cut_is_resumed_within_itself() {
    let world = World::new();
    let answers = vec![Answer::Whole, Answer::CutAfter(40_000), Answer::Whole];
    let (sources, descriptor, whole) = world.layer(answers).await;
    assert!(site::blob(&sources, &descriptor).await.unwrap() == whole);
    let resumed =
        world.ranges().difference(&parts(0, descriptor.size)).cloned().collect::<Vec<_>>();
    let [resumed] = resumed.as_slice() else { panic!("{resumed:?}") };
    assert!(resumed.contains("40000-"), "{resumed}");
}

#[tokio::test]
async fn parts_of_a_byte_are_not_asked_for_without_end() {
    let world = World::new();
    let answers = vec![Answer::Whole, Answer::Less(1)];
    let (sources, descriptor, _) = world.layer(answers).await;
    let error = site::blob(&sources, &descriptor).await.unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
    let most = 5 * parts(0, descriptor.size).len() + 10;
    assert!(world.registry.count(&layer(1)) <= most, "{}", world.registry.log());
}

#[tokio::test]
async fn r84_a_whole_answer_to_the_first_part_is_the_download() {
    let world = World::new();
    let (sources, descriptor, whole) = world.layer(vec![Answer::IgnoreRange]).await;
    assert!(site::blob(&sources, &descriptor).await.unwrap() == whole);
    let first = format!("bytes=0-{}", CHUNK - 1);
    assert_eq!(world.registry.ranges(&layer(1)), [first]);
}

#[tokio::test]
async fn a_whole_answer_to_a_later_part_ends_in_one_stream() {
    let world = World::new();
    let (sources, descriptor, whole) = world.layer(vec![Answer::Whole, Answer::IgnoreRange]).await;
    assert!(site::blob(&sources, &descriptor).await.unwrap() == whole);
    let last = world.registry.ranges(&layer(1)).pop().unwrap();
    assert!(last.ends_with('-'), "{last}");
}

#[tokio::test]
async fn r85_after_a_wrong_part_all_comes_anew_in_one_stream() {
    let world = World::new();
    let (sources, descriptor, whole) = world.layer(vec![Answer::FlipBit(250_000)]).await;
    let got = site::blob(&sources, &descriptor).await.map(|bytes| bytes.len());
    let error = got.unwrap_err();
    assert!(error.is_lie(), "{error:?}");
    assert!(sources.may_refetch(&descriptor));
    world.registry.script(layer(1), [Answer::Whole]);
    world.registry.forget();
    assert!(site::blob(&sources, &descriptor).await.unwrap() == whole);
    assert_eq!(world.registry.ranges(&layer(1)), [""]);

    world.registry.script(layer(1), [Answer::FlipBit(250_000)]);
    let sources = world.site.sources(&world.registry, "a:1");
    for _ in 0..2 {
        let got = site::blob(&sources, &descriptor).await.map(|bytes| bytes.len());
        assert!(got.is_err_and(|error| error.is_lie()));
    }
    assert!(!sources.may_refetch(&descriptor));
}

#[tokio::test]
async fn one_connection_means_no_parts() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = Site::with(Limits { range_connections: 1, ..limits() }, &[]);
    let world = World { registry, site };
    let (sources, descriptor, whole) = world.layer(vec![Answer::Whole]).await;
    assert!(site::blob(&sources, &descriptor).await.unwrap() == whole);
    assert_eq!(world.registry.ranges(&layer(1)), [""]);
}

/// A registry whose layers are at another place.
async fn elsewhere(world: &World) -> (Registry, Sources, Descriptor, Vec<u8>) {
    let storage = Registry::new().image("a:1", Image::two_layers()).start();
    let digest = storage.layer_digest(1).unwrap();
    let there = format!("http://{}/v2/a/blobs/{digest}", storage.host());
    let (sources, descriptor, whole) = world.layer(vec![Answer::Redirect(307, there)]).await;
    (storage, sources, descriptor, whole)
}

#[tokio::test]
async fn the_address_of_a_redirect_is_used_for_all_parts() {
    let world = World::new();
    let (storage, sources, descriptor, whole) = elsewhere(&world).await;
    assert!(site::blob(&sources, &descriptor).await.unwrap() == whole);
    assert_eq!(world.registry.count(&layer(1)), 1, "{}", world.registry.log());
    assert_eq!(storage.count(&layer(1)), parts(0, descriptor.size).len(), "{}", storage.log());
}

#[tokio::test]
async fn r96_a_place_that_refuses_is_asked_for_anew_at_the_registry() {
    let world = World::new();
    let (storage, sources, descriptor, whole) = elsewhere(&world).await;
    storage.script(layer(1), [Answer::Whole, Answer::Status(403), Answer::Whole]);
    assert!(site::blob(&sources, &descriptor).await.unwrap() == whole);
    assert!(world.registry.count(&layer(1)) >= 2, "{}", world.registry.log());
}

#[tokio::test]
async fn an_address_of_a_redirect_is_not_used_when_it_is_old() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let none = std::time::Duration::ZERO;
    let world =
        World { registry, site: Site::with(Limits { redirect_keep: none, ..limits() }, &[]) };
    let (_storage, sources, descriptor, whole) = elsewhere(&world).await;
    assert!(site::blob(&sources, &descriptor).await.unwrap() == whole);
    assert_eq!(world.registry.count(&layer(1)), parts(0, descriptor.size).len());
}
