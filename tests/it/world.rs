//! The programs that cargo built, and worlds around them.

use orlop_kit::{Identity, Programs, Registry, Site};

/// The two programs.
pub(crate) fn programs() -> Programs {
    Programs::new(env!("CARGO_BIN_EXE_orlop"), env!("CARGO_BIN_EXE_orlopd"))
}

/// A world that knows of this registry that it speaks plain HTTP.
pub(crate) fn site(registry: &Registry) -> Site {
    Site::new(&programs()).insecure(registry)
}

/// A world that knows of no registry.
pub(crate) fn bare_site() -> Site {
    Site::new(&programs())
}

/// Bytes of a file in the site's working directory.
#[track_caller]
pub(crate) fn bytes(site: &Site, name: &str) -> Vec<u8> {
    std::fs::read(site.work().join(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
}

/// Starts a registry with TLS, and a site that trusts it: what users have, without the warning
/// that plain HTTP is given.
pub(crate) fn secure(registry: Registry) -> (Registry, Site) {
    let identity = Identity::new(&["127.0.0.1"]);
    let registry = registry.tls(&identity).start();
    let site = bare_site().watch(&registry).trust(&identity, &registry.host());
    (registry, site)
}
