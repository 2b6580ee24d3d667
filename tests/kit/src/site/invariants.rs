//! What holds in a site after whatever happened: each file whole, nothing left over, the next
//! command as if nothing had been.
//!
//! Not here: who downloaded what how often, which is in the registries' logs.

use super::Site;
use std::path::Path;

/// Where the programs may leave something, below the site's directory.
const PLACES: [&str; 10] = [
    "home/.cache/",
    "home/.config/",
    "home/.docker/",
    "home/.local/",
    "home/.apptainer/",
    "work/",
    "bin/",
    "etc/",
    "run/",
    "tmp/",
];

impl Site {
    /// Checks what must hold after any fault: the cache verifies; credential files parse; the next
    /// pull of `image` gives `golden`; no draft and no temporary file is left; nothing lies
    /// outside of the programs' places; none of these secrets is in a log or in the cache.
    ///
    /// # Panics
    /// When something does not hold; `after` says what had happened.
    #[track_caller]
    pub fn invariants(&self, after: &str, image: &str, golden: &[u8], secrets: &[&str]) {
        self.goes_on(after, image, golden);
        self.nothing_is_left(after);
        for secret in secrets {
            self.is_nowhere(after, secret);
        }
    }

    /// The part of [`Site::invariants`] that holds after a power cut, too, which leaves drafts: the
    /// cache verifies, the next pull of `image` gives `golden`, credential files parse.
    ///
    /// # Panics
    /// When something does not hold; `after` says what had happened.
    #[track_caller]
    pub fn goes_on(&self, after: &str, image: &str, golden: &[u8]) {
        let verified = self.orlop(["cache", "verify"]);
        assert!(verified.status == 0, "{after}: the cache is damaged\n{}", verified.report());
        let name = "invariants.sif";
        let pulled = self.orlop(["pull", "--force", name, image]);
        assert!(pulled.status == 0, "{after}: the next pull fails\n{}", pulled.report());
        let made = std::fs::read(self.work().join(name)).unwrap_or_default();
        assert!(made == golden, "{after}: the next pull gives other bytes\n{}", pulled.report());
        // What a failed pull left is finished or given up by the next.
        let _removed = std::fs::remove_file(self.work().join(name));
        self.credentials_parse(after);
    }

    fn credentials_parse(&self, after: &str) {
        for path in [".docker/config.json", ".config/containers/auth.json"] {
            let Some(text) = self.read_home(path) else { continue };
            let parsed = serde_json::from_str::<serde_json::Value>(&text);
            assert!(parsed.is_ok_and(|json| json.is_object()), "{after}: {path}: {text:?}");
        }
    }

    fn nothing_is_left(&self, after: &str) {
        for path in self.tree(self.root()) {
            let is_place = PLACES.iter().any(|place| path.starts_with(place) || *place == path);
            assert!(is_place || path == "home/" || path == "work/", "{after}: left {path}");
            assert!(!path.contains("/.orlop-") || path.ends_with(".orlop-lock"), "{after}: {path}");
            let is_temporary = path.strip_prefix("home/.cache/orlop/tmp/").is_some_and(|path| {
                !matches!(path, "" | ".orlop/") && !path.starts_with("damaged/")
            });
            assert!(!is_temporary, "{after}: left {path}");
        }
        let daemons = self.daemons();
        crate::until("nothing but daemons runs", || {
            let others: Vec<u32> =
                self.processes().into_iter().filter(|pid| !daemons.contains(pid)).collect();
            if others.is_empty() { Ok(()) } else { Err((after.to_owned(), others)) }
        });
    }

    fn is_nowhere(&self, after: &str, secret: &str) {
        let places = [self.cache(), self.home().join(".local"), self.runtime()];
        for place in places {
            for path in self.tree(&place) {
                let bytes = read(&place.join(&path));
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{after}: the secret is in {path}");
            }
        }
    }
}

/// Regular files alone: sockets and pipes are not opened.
fn read(path: &Path) -> Vec<u8> {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    if is_file { std::fs::read(path).unwrap_or_default() } else { Vec::new() }
}
