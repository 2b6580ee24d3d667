//! The merge against a slow model: a map of whole paths, each layer seen as a whole.
//!
//! The model knows directories, files and whiteouts, no links: it says that a layer removes what
//! its whiteouts name from the layers below, then adds its own entries in their order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::testing::{Tar, merged};

#[derive(Clone, Debug)]
enum Step {
    File(String, u8),
    Directory(String, u64),
    Whiteout(String),
    Opaque(String),
}

/// Whether `path` is at or below `top`.
fn is_below(path: &str, top: &str) -> bool {
    top.is_empty()
        || path == top
        || path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// What a path is, by the model; an error where a file is in the way.
fn model(layers: &[Vec<Step>]) -> Result<BTreeMap<String, String>, ()> {
    let mut tree: BTreeMap<String, String> = BTreeMap::new();
    for layer in layers {
        for step in layer {
            match step {
                Step::Whiteout(top) => tree.retain(|path, _| !is_below(path, top)),
                Step::Opaque(top) => {
                    tree.retain(|path, _| path == top || !is_below(path, top));
                }
                Step::File(..) | Step::Directory(..) => {}
            }
        }
        for step in layer {
            let (path, what) = match step {
                Step::File(path, content) => (path, format!("file 644 {}", char::from(*content))),
                Step::Directory(path, mode) => (path, format!("dir {mode:o}")),
                Step::Whiteout(_) | Step::Opaque(_) => continue,
            };
            for parent in parents(path) {
                let known = tree.entry(parent.to_owned()).or_insert_with(|| "dir 755".to_owned());
                if !known.starts_with("dir") {
                    return Err(());
                }
            }
            if !what.starts_with("dir") || !tree.get(path).is_some_and(|was| was.starts_with("dir"))
            {
                tree.retain(|known, _| !is_below(known, path));
            }
            tree.insert(path.clone(), what);
        }
    }
    Ok(tree)
}

fn tar(layer: &[Step]) -> Vec<u8> {
    let hidden = |path: &str| match path.rsplit_once('/') {
        Some((parent, name)) => format!("{parent}/.wh.{name}"),
        None => format!(".wh.{path}"),
    };
    let add = |tar: Tar, step: &Step| match step {
        Step::File(path, content) => tar.file(path, &[*content]),
        Step::Directory(path, mode) => tar.dir(path, *mode),
        Step::Whiteout(path) => tar.file(&hidden(path), b""),
        Step::Opaque(path) => tar.file(&format!("{path}/.wh..wh..opq"), b""),
    };
    layer.iter().fold(Tar::new(), add).end()
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), b'a'..=b'z').prop_map(|(path, content)| Step::File(path, content)),
        3 => (path(), prop::sample::select(vec![0o700, 0o711]))
            .prop_map(|(path, mode)| Step::Directory(path, mode)),
        2 => path().prop_map(Step::Whiteout),
        1 => path().prop_map(Step::Opaque),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn the_merge_agrees_with_the_model_or_both_refuse(
        // Files first have no directory in their way more often; steps keep their order.
        layers in prop::collection::vec(prop::collection::vec(step(), 0..8), 1..4),
    ) {
        let tars: Vec<_> = layers.iter().map(|layer| tar(layer)).collect();
        let found = merged(&tars).map(|(words, _)| {
            words.into_iter().filter(|(path, _)| !path.is_empty())
                .map(|(path, (text, _))| (path, text)).collect::<BTreeMap<_, _>>()
        });
        match (model(&layers), found) {
            (Ok(wanted), Ok(found)) => prop_assert_eq!(wanted, found),
            // A file that a whiteout removes later is in the way until then, or not: both are right.
            (Ok(_), Err(_)) | (Err(()), _) => {}
        }
    }
}
