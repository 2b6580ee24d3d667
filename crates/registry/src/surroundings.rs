//! What of a caller's context decides how hosts are reached: proxies and certificates.
//!
//! Connections are pooled by it: two callers with equal surroundings share them. Rules:
//! `registry.md` §5. Not here: what the variables and directories mean (`orlop-config`).

use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use orlop_config::env;
use orlop_config::settings::Network;
use orlop_config::{Certificates, Environment, Paths, Proxies, certs};
use orlop_oci::Host;

use crate::error::Error;

/// Proxies and certificates of one caller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Surroundings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    matter: Matter,
    paths: Paths,
}

/// What two surroundings are compared by.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Matter {
    proxies: Proxies,
    roots: Roots,
    host_certificates: Vec<PathBuf>,
}

/// Where root certificates come from besides the system; both set: instead of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Roots {
    /// `SSL_CERT_FILE`.
    pub(crate) file: Option<PathBuf>,
    /// `SSL_CERT_DIR`.
    pub(crate) directories: Vec<PathBuf>,
}

/// What shows that a file or directory was changed: time in seconds and nanoseconds, size, inode.
pub(crate) type Stamp = Vec<Option<(i64, i64, u64, u64)>>;

impl Roots {
    /// The stamps of all places; none of one that is not there.
    pub(crate) fn stamp(&self) -> Stamp {
        let stamp = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
        };
        self.file.iter().chain(&self.directories).map(stamp).collect()
    }
}

impl Surroundings {
    /// Takes from a caller's environment, settings and places what matters.
    #[must_use]
    pub fn of(environment: &Environment, network: &Network, paths: &Paths) -> Self {
        let file = environment.get(env::SSL_CERT_FILE);
        let directories = environment.get(env::SSL_CERT_DIR).map(std::env::split_paths);
        let roots = Roots {
            file: file.and_then(|file| environment.absolute(file)),
            directories: directories
                .into_iter()
                .flatten()
                .filter_map(|path| environment.absolute(path.as_os_str()))
                .collect(),
        };
        let matter = Matter {
            proxies: Proxies::of(environment).or(network),
            roots,
            host_certificates: paths.certificate_directories(),
        };
        Self(Arc::new(Inner { matter, paths: paths.clone() }))
    }

    pub(crate) fn proxies(&self) -> &Proxies {
        &self.0.matter.proxies
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.0.matter.roots
    }

    /// Reads the certificates put down for a host.
    pub(crate) fn certificates(&self, host: &Host) -> Result<Certificates, Error> {
        Ok(certs::load(&self.0.paths, host)?)
    }
}

impl PartialEq for Surroundings {
    fn eq(&self, other: &Self) -> bool {
        self.0.matter == other.0.matter
    }
}

impl Eq for Surroundings {}

impl Hash for Surroundings {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.matter.hash(state);
    }
}
