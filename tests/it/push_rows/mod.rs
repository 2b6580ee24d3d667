//! Pushes to broken and odd registries, row by row (R119 to R132), on the built programs.
//!
//! The file is a SIF of a few megabytes; where pieces are wanted, the limit on a piece is set so low
//! that it goes in several. "Uploaded" means that the registry holds its very bytes and the tag
//! points at the manifest of them.

mod mounts;
mod pieces;
mod whole;

use crate::world::{bytes, secure, site};
use orlop_kit::{Answer, Digest, Image, Registry, Request, Site, Upload, upload};

/// Bytes of a piece.
pub(super) const PIECE: u64 = 65_536;

/// A SIF to push, made once.
pub(super) fn sif() -> &'static [u8] {
    static SIF: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    SIF.get_or_init(|| {
        let (registry, site) = secure(Registry::new().image("a:1", Image::two_layers()));
        site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
        bytes(&site, "a.sif")
    })
}

pub(super) fn digest() -> Digest {
    Digest::of(sif())
}

pub(super) fn size() -> u64 {
    sif().len() as u64
}

/// A started registry, and a site with the SIF that knows it.
pub(super) fn stage(registry: Registry) -> (Registry, Site) {
    let registry = registry.start();
    let site = site(&registry).env("ORLOP_LIMITS_BACKOFF", "5ms");
    site.write_work("a.sif", sif());
    (registry, site)
}

/// The same, with pieces so small that the SIF is sent in them.
pub(super) fn in_pieces(registry: Registry) -> (Registry, Site) {
    let (registry, site) = stage(registry);
    (registry, site.env("ORLOP_LIMITS_UPLOAD_CHUNK", PIECE.to_string()))
}

#[track_caller]
pub(super) fn assert_uploaded(registry: &Registry) {
    assert!(registry.blob(&digest()).is_some_and(|blob| blob == sif()), "{}", registry.log());
    let tag = registry.tag("s/a:1").unwrap_or_else(|| panic!("no tag\n{}", registry.log()));
    let (_, manifest) = registry.manifest(&tag).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["layers"][0]["digest"], digest().to_string());
}

/// Pushes, and checks that everything is at the registry.
#[track_caller]
pub(super) fn uploaded(registry: &Registry, site: &Site) {
    let outcome = site.orlop(["push", "a.sif", &registry.oras("s/a:1")]).success();
    let outcome = outcome.says("Upload complete");
    assert_uploaded(registry);
    assert!(!outcome.stderr.contains("FATAL"), "{}", outcome.report());
}

/// Pushes, and checks that it is refused and no tag was made.
#[track_caller]
pub(super) fn refused(registry: &Registry, site: &Site, words: &str) {
    let outcome = site.orlop(["push", "a.sif", &registry.oras("s/a:1")]).fails(255);
    let outcome = outcome.says("FATAL:   Unable to push image to oci registry: ").says(words);
    assert_eq!(registry.tag("s/a:1"), None, "{}", outcome.report());
}

/// Requests with bytes of the SIF, as offsets where a piece says its own.
pub(super) fn sent(registry: &Registry) -> Vec<Request> {
    let steps = [upload(Upload::Piece), upload(Upload::Finish)];
    let mut all: Vec<Request> = steps.iter().flat_map(|step| registry.of(step)).collect();
    all.retain(|one| one.body_len > 2);
    all
}

pub(super) fn pieces(registry: &Registry) -> Vec<String> {
    let all = registry.of(&upload(Upload::Piece));
    all.iter().map(|one| one.header("content-range").unwrap_or_default().to_owned()).collect()
}

pub(super) fn starts(registry: &Registry) -> Vec<u64> {
    let first = |text: String| text.split('-').next().and_then(|text| text.parse().ok());
    pieces(registry).into_iter().map(|range| first(range).unwrap_or(u64::MAX)).collect()
}

pub(super) fn words(code: &str) -> Vec<u8> {
    let body = serde_json::json!({"errors": [{"code": code, "message": "kit"}]});
    body.to_string().into_bytes()
}

pub(super) fn says(status: u16, code: &str) -> Answer {
    let kind = vec![("Content-Type", "application/json".to_owned())];
    Answer::With(status, kind, words(code))
}
