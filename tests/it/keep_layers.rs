//! `cache.keep-layers`: layers are kept as they came, counted, verified, collected, and used.

use crate::world::{bytes, json, secure};
use orlop_kit::{Image, Registry, Site, blobs, until_true};
use std::path::PathBuf;

/// A site whose cache holds `a:1`, pulled with layers kept.
fn filled() -> (Registry, Site, String) {
    let (registry, site) = secure(Registry::new().image("a:1", Image::two_layers()));
    let uri = registry.docker("a:1");
    site.run(["pull", "a.sif", &uri]).env("ORLOP_CACHE_KEEP_LAYERS", "true").outcome().success();
    until_true("both layers are kept", || kept(&site).len() == 2);
    (registry, site, uri)
}

/// The layers that are kept.
fn kept(site: &Site) -> Vec<PathBuf> {
    below(site, "layers/")
}

fn below(site: &Site, directory: &str) -> Vec<PathBuf> {
    let mut paths = site.tree(&site.cache());
    paths.retain(|path| path.starts_with(directory) && !path.ends_with('/'));
    paths.into_iter().map(|path| site.cache().join(path)).collect()
}

/// Loses what was made of the layers.
fn lose_segments(site: &Site) {
    for directory in ["segments", "recipes"] {
        for found in std::fs::read_dir(site.cache().join(directory)).unwrap() {
            let path = found.unwrap().path();
            match path.is_dir() {
                true => std::fs::remove_dir_all(path).unwrap(),
                false => std::fs::remove_file(path).unwrap(),
            }
        }
    }
}

#[test]
fn layers_are_kept_where_the_user_wants_it_and_nowhere_else() {
    let (registry, site) = secure(Registry::new().image("a:1", Image::two_layers()));
    let uri = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &uri]).success();
    site.stop();
    assert!(kept(&site).is_empty() && below(&site, "partial/").is_empty());
    lose_segments(&site);
    site.write_home(".config/orlop/orlop.toml", b"[cache]\nkeep-layers = true\n");
    site.orlop(["pull", "b.sif", &uri]).success();
    // The daemon ends when all is on disk.
    site.stop();
    assert_eq!(kept(&site).len(), 2, "{:?}", site.tree(&site.cache()));
    assert!(below(&site, "partial/").is_empty());
    let said = site.run(["pull", "c.sif", &uri]).env("ORLOP_CACHE_KEEP_LAYERS", "often").outcome();
    said.fails(255).says("ORLOP_CACHE_KEEP_LAYERS");
}

#[test]
fn kept_layers_count_as_blobs_and_go_with_them() {
    let (_registry, site, _) = filled();
    let sizes: u64 = kept(&site).iter().map(|path| path.metadata().unwrap().len()).sum();
    let entries = json(&site, &["cache", "list", "--json"]);
    let of_layer = |entry: &&serde_json::Value| {
        let key = entry["key"].as_str().unwrap().replace(':', "-");
        kept(&site).iter().any(|path| path.ends_with(&key))
    };
    let listed: Vec<_> = entries.as_array().unwrap().iter().filter(of_layer).collect();
    assert_eq!(listed.len(), 2, "{entries}");
    assert!(listed.iter().all(|entry| entry["type"] == "blob"), "{entries}");
    let bytes = |of: &[&serde_json::Value]| of.iter().map(|e| e["bytes"].as_u64().unwrap()).sum();
    assert_eq!(sizes, bytes(&listed));
    let all: Vec<_> = entries.as_array().unwrap().iter().collect();
    let total: u64 = bytes(&all);
    assert_eq!(json(&site, &["cache", "usage", "--json"])["total_bytes"], total);
    site.orlop(["cache", "clean", "--force", "-T", "blob"]).success();
    assert!(kept(&site).is_empty());
}

#[test]
fn what_is_missing_is_made_of_kept_layers_without_a_request() {
    let (registry, site, uri) = filled();
    lose_segments(&site);
    registry.forget();
    site.orlop(["pull", "b.sif", &uri]).success();
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    assert_eq!(registry.count(&blobs()), 0, "{}", registry.log());

    // Another compression is another segment of the same layer.
    site.write_home(".config/orlop/orlop.toml", b"[image]\ncompression = 'gzip'\n");
    site.orlop(["pull", "c.sif", &uri]).success();
    assert!(bytes(&site, "a.sif") != bytes(&site, "c.sif"));
    assert_eq!(registry.count(&blobs()), 0, "{}", registry.log());

    lose_segments(&site);
    registry.forget();
    until_true("the tag is remembered", || !below(&site, "tags/").is_empty());
    site.orlop(["pull", "--offline", "d.sif", &uri]).success();
    assert!(bytes(&site, "c.sif") == bytes(&site, "d.sif"));
    assert_eq!(registry.requests().len(), 0, "{}", registry.log());
}

#[test]
fn f34_a_damaged_kept_layer_is_found_by_verify_and_by_use() {
    let (registry, site, uri) = filled();
    let flip = |path: &PathBuf| {
        let mut content = std::fs::read(path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 4;
        std::fs::write(path, content).unwrap();
    };
    let victim = kept(&site).remove(0);
    flip(&victim);
    let found = site.orlop(["cache", "verify", "--json"]).fails(255);
    let said: serde_json::Value = serde_json::from_slice(&found.bytes).unwrap();
    assert_eq!(said["damaged"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(kept(&site).len(), 1);

    flip(&kept(&site)[0]);
    lose_segments(&site);
    registry.forget();
    site.orlop(["pull", "b.sif", &uri]).success();
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    assert_eq!(registry.count(&blobs()), 2, "{}", registry.log());
    assert!(kept(&site).is_empty(), "it was moved aside");
}

#[test]
fn kept_layers_go_before_segments_where_the_cap_is_reached() {
    let (_registry, site, uri) = filled();
    let usage = json(&site, &["cache", "usage", "--json"]);
    let layers: u64 = kept(&site).iter().map(|path| path.metadata().unwrap().len()).sum();
    let segments = below(&site, "segments/").len();
    let cap = usage["total_bytes"].as_u64().unwrap() - layers;
    site.stop();
    lose_segments(&site);
    let site = site.env("ORLOP_CACHE_MAX", cap.to_string());
    site.orlop(["pull", "b.sif", &uri]).success();
    until_true("the cap is kept", || kept(&site).is_empty());
    assert_eq!(below(&site, "segments/").len(), segments);
}
