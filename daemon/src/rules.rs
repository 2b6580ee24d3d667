//! `registries.conf` of each caller, read again when a file changed.
//!
//! Looked at by stat at each use: files that changed, came or went are seen. Files that became
//! broken leave the former rules in force, with a warning at each pull until they are mended; what
//! they seem to block is blocked from then on. Where there are no former rules they are a failure
//! (reliability rows S41, S42).
//!
//! Not here: the rules themselves, and what broken files seem to block (`orlop-config`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use orlop_config::Paths;
use orlop_config::registries::{self, Loaded, Stamp};

use crate::failure::Failure;

/// Most sets of files that are remembered: callers of one user share few.
const SETS: usize = 32;

/// What identifies a caller's set of files.
type Files = (Option<PathBuf>, Option<PathBuf>, PathBuf);

/// The rules that were read, by set of files.
#[derive(Debug, Default)]
pub(crate) struct Rules(Mutex<BTreeMap<Files, Set>>);

/// One set of files.
#[derive(Clone, Debug)]
struct Set {
    /// As they were when all could be used.
    good: Arc<Loaded>,
    /// What holds since they cannot.
    broken: Option<Broken>,
}

#[derive(Clone, Debug)]
struct Broken {
    stamp: Stamp,
    /// The former rules, and what the files seem to block.
    rules: Arc<Loaded>,
    warnings: Vec<String>,
}

impl Rules {
    /// The rules that hold for a caller now, and what it should hear. Blocks.
    ///
    /// # Errors
    /// SETTINGS_INVALID with file and line.
    pub(crate) fn of(&self, paths: &Paths) -> Result<(Arc<Loaded>, Vec<String>), Failure> {
        let key = (
            paths.registries_override().map(|(_, path)| path),
            paths.user_registries(),
            paths.system_registries(),
        );
        // Before anything is read: a change while reading is seen the next time.
        let stamp = registries::stamp(paths);
        let former = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let (Ok(stamp), Some(Set { good, broken })) = (&stamp, &former) {
            match broken {
                None if *stamp == good.stamp => {
                    return Ok((Arc::clone(good), good.warnings.clone()));
                }
                Some(broken) if *stamp == broken.stamp => {
                    return Ok((Arc::clone(&broken.rules), broken.warnings.clone()));
                }
                _ => {}
            }
        }
        let (set, rules, warnings) = match (registries::load(paths), former) {
            (Ok(loaded), _) => {
                let warnings = loaded.warnings.clone();
                let good = Arc::new(loaded);
                (Set { good: Arc::clone(&good), broken: None }, good, warnings)
            }
            (Err(error), Some(former)) => {
                let broken = Broken::since(&former.good, &error, paths, stamp.unwrap_or_default());
                let (rules, warnings) = (Arc::clone(&broken.rules), broken.warnings.clone());
                (Set { good: former.good, broken: Some(broken) }, rules, warnings)
            }
            (Err(error), None) => return Err(error.into()),
        };
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sets.len() >= SETS && !sets.contains_key(&key) {
            sets.clear();
        }
        sets.insert(key, set);
        Ok((rules, warnings))
    }
}

impl Broken {
    fn since(good: &Loaded, error: &orlop_config::Error, paths: &Paths, stamp: Stamp) -> Self {
        let mut rules = good.clone();
        let mut blocked = registries::seems_blocked(paths);
        blocked.retain(|name| !good.registries.has_blocked(name));
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        let cause = cause.unwrap_or_default();
        let mut warning = format!("{error}{cause}; the rules that were read before stay in force");
        if !blocked.is_empty() {
            let names: Vec<_> = blocked.iter().map(String::as_str).collect();
            warning.push_str(&format!(", and blocked is too: {}", names.join(", ")));
        }
        rules.registries.hold(blocked);
        Self { stamp, rules: Arc::new(rules), warnings: vec![warning] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_config::Face;
    use orlop_config::env::Environment;
    use orlop_oci::Reference;

    #[test]
    fn a_changed_file_is_seen_and_a_broken_one_keeps_the_former_rules() {
        let home = tempfile::tempdir().unwrap();
        let conf = home.path().join(".config/containers/registries.conf");
        std::fs::create_dir_all(conf.parent().unwrap()).unwrap();
        let environment = Environment::default().with("HOME", home.path());
        let paths = Paths::of(&environment, Face::Orlop, 0);
        let rules = Rules::default();
        let reference = Reference::parse("h.example/a").unwrap();
        let is_blocked =
            |loaded: &Loaded| loaded.registries.sources(&reference).unwrap()[0].blocked;

        std::fs::write(&conf, "[[registry]]\nlocation = \"h.example\"\nblocked = true\n").unwrap();
        assert!(is_blocked(&rules.of(&paths).unwrap().0));
        std::fs::write(&conf, "[[registry]]\nlocation = \"h.example\"\n").unwrap();
        assert!(!is_blocked(&rules.of(&paths).unwrap().0));
        std::fs::write(&conf, "[[registry]\n").unwrap();
        for _ in 0..2 {
            let (kept, warnings) = rules.of(&paths).unwrap();
            assert!(!is_blocked(&kept));
            assert!(warnings[0].contains("registries.conf:1"), "{warnings:?}");
        }
        assert!(Rules::default().of(&paths).is_err());

        let broken = "[[registry]]\nlocation = \"h.example\nblocked = true\n";
        std::fs::write(&conf, broken).unwrap();
        for _ in 0..2 {
            let (kept, warnings) = rules.of(&paths).unwrap();
            assert!(is_blocked(&kept), "what a broken file seems to block is blocked");
            assert!(warnings[0].ends_with("blocked is too: h.example"), "{warnings:?}");
        }
        std::fs::write(&conf, "[[registry]]\nlocation = \"h.example\"\n").unwrap();
        let (mended, warnings) = rules.of(&paths).unwrap();
        assert!(!is_blocked(&mended) && warnings.is_empty(), "{warnings:?}");

        let drop_in = conf.with_file_name("registries.conf.d").join("1.conf");
        std::fs::create_dir_all(drop_in.parent().unwrap()).unwrap();
        std::fs::write(&drop_in, "[[registry]]\nlocation = \"h.example\"\nblocked = true\n")
            .unwrap();
        assert!(is_blocked(&rules.of(&paths).unwrap().0));
        std::fs::remove_file(&drop_in).unwrap();
        assert!(!is_blocked(&rules.of(&paths).unwrap().0));
    }
}
