//! Recipes that were read: what callers are told of each, as long as its file looks the same.
//!
//! A recipe of a large image has megabytes, and many ask for one image at once. Not here: whether
//! its bytes are good ([`super::checks`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orlop_image::Recipe;
use orlop_store::{Entry, Key, KeyError, Store};

use super::checks::Look;

/// Recipes that are remembered at most.
const MOST: usize = 1024;

/// What callers are told of an image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// In the order in which the recipe counts them.
    pub(crate) segments: Vec<Key>,
    /// Bytes of the SIF.
    pub(crate) size: u64,
}

impl Made {
    /// What a recipe says.
    ///
    /// # Errors
    /// When it names a segment that can be none of the cache's.
    pub(crate) fn of(recipe: &Recipe) -> Result<Self, KeyError> {
        let segments = recipe.segments().iter().map(|key| key.as_str().parse());
        Ok(Self { segments: segments.collect::<Result<_, _>>()?, size: recipe.sif_size() })
    }
}

/// Recipes by their keys, and how their files looked.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<BTreeMap<Key, (Look, Arc<Made>)>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, (Look, Arc<Made>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a recipe, unless its file looks other than it did.
    pub(crate) fn get(&self, store: &Store, key: &Key) -> Option<Arc<Made>> {
        let look = Look::at(store, &Entry::Recipe(key.clone()))?;
        let known = self.lock();
        known.get(key).filter(|(known, _)| *known == look).map(|(_, made)| Arc::clone(made))
    }

    /// Remembers what a recipe says whose file looks as it does now.
    pub(crate) fn keep(&self, store: &Store, key: &Key, made: Made) -> Arc<Made> {
        let made = Arc::new(made);
        if let Some(look) = Look::at(store, &Entry::Recipe(key.clone())) {
            let mut known = self.lock();
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(key.clone(), (look, Arc::clone(&made)));
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_whose_file_was_replaced_or_removed_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let settings = orlop_store::Settings::of_this_process();
        let store = Store::open(&directory.path().join("cache"), settings).unwrap();
        let key: Key = "ab".repeat(32).parse().unwrap();
        let known = Known::default();
        let made = || Made { segments: Vec::new(), size: 7 };
        known.keep(&store, &key, made());
        assert!(known.get(&store, &key).is_none(), "there is no file");
        store.put_recipe(&key, b"one").unwrap();
        known.keep(&store, &key, made());
        assert_eq!(known.get(&store, &key).as_deref(), Some(&made()));
        store.put_recipe(&key, b"another").unwrap();
        assert!(known.get(&store, &key).is_none());
    }
}
