//! The merge against a slow model: a map of whole paths that the kit has and this crate has not.
//!
//! Not here: the model and layers at random (`orlop_kit::image`: `model`, `chances`); the same beside
//! umoci (the tests of the built program).

use std::collections::BTreeMap;

use orlop_kit::image::chances::{Manner, Step, layers, tar};
use orlop_kit::image::model::Model;

use crate::testing::merged;

/// Path to words and the first name of the same file.
type Names = BTreeMap<String, (String, String)>;

/// The tree of the model, or none where it refuses.
fn wanted(steps: &[Vec<Step>]) -> Option<Names> {
    let model = Model::of(steps).ok()?;
    let mut first = BTreeMap::new();
    let items = model.tree().iter().map(|(path, item)| {
        let known: &mut String = first.entry(item.number).or_insert_with(|| path.clone());
        (path.clone(), (item.words.clone(), known.clone()))
    });
    Some(items.collect())
}

fn found(steps: &[Vec<Step>]) -> Option<Names> {
    let tars: Vec<_> = steps.iter().map(|layer| tar(layer)).collect();
    let (words, _) = merged(&tars).ok()?;
    let mut first = BTreeMap::new();
    let items = words.into_iter().filter(|(path, _)| !path.is_empty()).map(|(path, (text, id))| {
        let known: &mut String = first.entry(id).or_insert_with(|| path.clone());
        let known = known.clone();
        (path, (text, known))
    });
    Some(items.collect())
}

/// Leaves out entries as long as the two differ without them.
fn smallest(mut steps: Vec<Vec<Step>>) -> Vec<Vec<Step>> {
    let differ = |steps: &[Vec<Step>]| wanted(steps) != found(steps);
    let mut changed = true;
    while changed {
        changed = false;
        for layer in 0..steps.len() {
            for step in (0..steps[layer].len()).rev() {
                let mut fewer = steps.clone();
                fewer[layer].remove(step);
                if differ(&fewer) {
                    (steps, changed) = (fewer, true);
                }
            }
        }
    }
    steps
}

#[test]
fn the_merge_gives_the_tree_of_the_model_or_both_refuse() {
    let mut refused = 0;
    let rounds = orlop_kit::tools::rounds(100) * 10;
    for seed in 0..rounds {
        for manner in [Manner::Any, Manner::Agreed] {
            let steps = layers(seed, manner);
            if wanted(&steps) != found(&steps) {
                let small = smallest(steps.clone());
                let (wanted, found) = (wanted(&small), found(&small));
                assert_eq!(found, wanted, "seed {seed}, {manner:?}: {small:#?}");
            }
            refused += u64::from(wanted(&steps).is_none());
        }
    }
    assert!(refused < rounds, "{refused} of {rounds} are refused");
}
