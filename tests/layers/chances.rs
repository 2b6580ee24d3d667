//! Layers at random: the SIF holds what the slow model says, and what umoci unpacks.
//!
//! Each round is an image of its own seed, which a failure names. `ORLOP_KIT_ROUNDS` says how many.
//! Not here: how layers are made and what the model says (`orlop_kit::image`: `chances`, `model`);
//! many more rounds of the merge alone (`crates/image`).

use crate::beside::{Bench, CREATED};
use crate::tree::Tree;
use orlop_kit::image::chances::{Manner, layers, tar};
use orlop_kit::image::model::Model;
use orlop_kit::{Layer, tools};
use std::collections::BTreeMap;

/// Path to words, owner, time, and the first name of the same file.
type Words = BTreeMap<String, String>;

fn of_model(model: &Model) -> Words {
    let mut first = BTreeMap::new();
    let line = |(path, item): (&String, &orlop_kit::image::model::Item)| {
        let known = first.entry(item.number).or_insert_with(|| path.clone()).clone();
        let time = item.time.map_or(CREATED, u64::cast_signed);
        let words = if item.words == "fifo" { "fifo 644" } else { &item.words };
        (path.clone(), format!("{words} {} {time} {known}", item.uid))
    };
    model.tree().iter().map(line).collect()
}

fn of_tree(tree: &Tree) -> Words {
    let line = |(path, node): (&Vec<u8>, &crate::tree::Node)| {
        let first = String::from_utf8_lossy(&node.first);
        let words = format!("{} {} {} {first}", node.words, node.owner.0, node.mtime);
        (String::from_utf8_lossy(path).into_owned(), words)
    };
    tree.iter().filter(|(path, _)| !path.is_empty()).map(line).collect()
}

fn blobs(steps: &[Vec<orlop_kit::image::chances::Step>]) -> Vec<Layer> {
    steps.iter().map(|layer| Layer::raw(tar(layer))).collect()
}

#[test]
fn random_layers_give_the_tree_of_the_model_and_of_umoci() {
    let mut bench = Bench::new();
    let mut compared = 0;
    for seed in 0..tools::rounds(20) {
        let steps = layers(seed, Manner::Agreed);
        let model = Model::of(&steps).unwrap();
        let seen = bench.see(blobs(&steps), true);
        assert_eq!(of_tree(&seen.tree()), of_model(&model), "seed {seed}: {steps:#?}");
        let unlike = seen.unlike_umoci(&[""]);
        assert!(unlike.is_empty(), "seed {seed}: {}\n{steps:#?}", unlike.join("\n"));
        compared += model.tree().len();
    }
    assert!(compared > 0, "the images hold something");
}

#[test]
fn random_layers_of_any_kind_give_the_tree_of_the_model_or_are_refused() {
    let mut bench = Bench::new();
    for seed in 0..tools::rounds(20) {
        let steps = layers(seed, Manner::Any);
        let seen = bench.see(blobs(&steps), false);
        match Model::of(&steps) {
            Ok(model) => {
                assert_eq!(of_tree(&seen.tree()), of_model(&model), "seed {seed}: {steps:#?}");
            }
            Err(_) => assert!(seen.ours.is_none(), "seed {seed}: {steps:#?}"),
        }
    }
}
