//! `registries.conf` of each caller, read again when a file changed.
//!
//! Looked at by stat at each use. A file that became broken leaves the former rules in force, with
//! a warning at each pull; where there are none it is a failure (reliability rows S41, S42).
//!
//! Not here: the rules themselves (`orlop-config`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use orlop_config::Paths;
use orlop_config::registries::{self, Loaded};

use crate::failure::Failure;

/// Most sets of files that are remembered: callers of one user share few.
const SETS: usize = 32;

/// What identifies a caller's set of files.
type Files = (Option<PathBuf>, Option<PathBuf>, PathBuf);

/// The rules that were read, by set of files.
#[derive(Debug, Default)]
pub(crate) struct Rules(Mutex<BTreeMap<Files, Arc<Loaded>>>);

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
        let former = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(former) = &former
            && registries::stamp(paths).is_ok_and(|stamp| stamp == former.stamp)
        {
            return Ok((Arc::clone(former), former.warnings.clone()));
        }
        match (registries::load(paths), former) {
            (Ok(loaded), _) => {
                let warnings = loaded.warnings.clone();
                let loaded = Arc::new(loaded);
                let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if sets.len() >= SETS {
                    sets.clear();
                }
                sets.insert(key, Arc::clone(&loaded));
                Ok((loaded, warnings))
            }
            (Err(error), Some(former)) => {
                let warning = format!("{error}: the rules that were read before stay in force");
                Ok((former, vec![warning]))
            }
            (Err(error), None) => Err(error.into()),
        }
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
        let (kept, warnings) = rules.of(&paths).unwrap();
        assert!(!is_blocked(&kept));
        assert!(warnings[0].contains("registries.conf:1"), "{warnings:?}");
        assert!(Rules::default().of(&paths).is_err());
    }
}
