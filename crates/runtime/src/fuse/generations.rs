//! A bounded map that forgets what was not used lately, at no cost a use.
//!
//! Two generations: what is used moves into the young one; when that holds half the limit, the old
//! one is dropped and the young one becomes the old one. Holds at most the limit and one entry.

use std::collections::HashMap;
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    young_weight: usize,
    half: usize,
}

impl<K: Eq + Hash, V: Clone> Generations<K, V> {
    /// An empty map for entries of `limit` weight in all.
    pub(super) fn new(limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_weight: 0, half: limit / 2 }
    }

    /// The entry, which counts as used.
    pub(super) fn get(&mut self, key: K) -> Option<V> {
        if let Some((value, _)) = self.young.get(&key) {
            return Some(value.clone());
        }
        let (value, weight) = self.old.remove(&key)?;
        self.insert(key, value.clone(), weight);
        Some(value)
    }

    /// Adds an entry of this weight.
    pub(super) fn insert(&mut self, key: K, value: V, weight: usize) {
        if self.young_weight > 0 && self.young_weight.saturating_add(weight) > self.half {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        if let Some((_, before)) = self.young.insert(key, (value, weight)) {
            self.young_weight = self.young_weight.saturating_sub(before);
        }
        self.young_weight = self.young_weight.saturating_add(weight);
    }

    /// Takes an entry away.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some((_, weight)) = self.young.remove(key) {
            self.young_weight = self.young_weight.saturating_sub(weight);
        }
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::Generations;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut map = Generations::new(8);
        map.insert(0, "used", 1);
        for key in 1..100 {
            map.insert(key, "once", 1);
            assert_eq!(map.get(0), Some("used"));
            assert!(map.young.len() + map.old.len() <= 9, "the limit holds");
        }
        assert_eq!(map.get(1), None);
    }

    #[test]
    fn an_entry_over_the_limit_is_alone() {
        let mut map = Generations::new(8);
        map.insert(1, "small", 1);
        map.insert(2, "large", 100);
        map.insert(3, "small", 1);
        map.insert(4, "small", 4);
        assert_eq!(map.get(2), None);
    }
}
