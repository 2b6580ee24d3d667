//! Certificates by settings: `certs.d` of user and system, client's pairs, `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`, versions of TLS.
//!
//! In a network of its own, because a host on loopback is also asked over plain HTTP. Not here:
//! certificates that are wrong (`registry_rows/certificates.rs`).

use crate::world::bare_site;
use orlop_kit::{Identity, Image, Outcome, Registry, Site, Version, own_network};
use std::net::Ipv4Addr;

const IMAGE: &str = "a:1";
const NAME: &str = "registry.example";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const USER: &str = ".config/containers/certs.d";

fn in_a_network(test: impl FnOnce() + Send) {
    own_network(&[&format!("{ADDRESS}/32")], &format!("{ADDRESS} {NAME}"), test);
}

fn registry(identity: &Identity) -> Registry {
    let registry = Registry::new().image(IMAGE, Image::tiny()).at(ADDRESS).named(NAME);
    registry.tls(identity).start()
}

fn pull(site: &Site, registry: &Registry) -> Outcome {
    site.orlop(["pull", "--force", "a.sif", &registry.docker(IMAGE)])
}

/// Puts down a client's pair for a registry.
fn write_pair(site: &Site, registry: &Registry, name: &str, (certificate, key): (&str, &str)) {
    let at = format!("{USER}/{}/{name}", registry.host());
    site.write_home(&format!("{at}.cert"), certificate.as_bytes());
    site.write_home(&format!("{at}.key"), key.as_bytes());
}

#[test]
fn of_several_client_certificates_the_first_that_the_server_knows_is_shown() {
    in_a_network(|| {
        let strangers = [Identity::new(&[NAME]), Identity::new(&[NAME])];
        for version in [Version::Tls12, Version::Tls13] {
            let identity = Identity::new(&[NAME]).wants_client().only(version);
            let registry = registry(&identity);
            let site = bare_site().watch(&registry).trust(&identity, &registry.host());
            write_pair(&site, &registry, "a", strangers[0].client_pem());
            write_pair(&site, &registry, "c", strangers[1].client_pem());
            assert_eq!(pull(&site, &registry).status, 255, "{version:?}: strangers' alone");
            assert_eq!(registry.requests().len(), 0, "{version:?}: {}", registry.log());
            write_pair(&site, &registry, "b", identity.client_pem());
            let outcome = pull(&site, &registry);
            assert!(outcome.status == 0, "{version:?}: {}", outcome.report());
        }
    });
}

#[test]
fn half_a_pair_is_told_before_the_registry_is_asked() {
    in_a_network(|| {
        let identity = Identity::new(&[NAME]).wants_client();
        let registry = registry(&identity);
        let (certificate, key) = identity.client_pem();
        let at = format!("{USER}/{}", registry.host());
        for (name, text, wanted) in [
            ("me.cert", certificate, "missing key "),
            ("me.key", key, "missing client certificate "),
        ] {
            let site = bare_site().watch(&registry).trust(&identity, &registry.host());
            site.write_home(&format!("{at}/{name}"), text.as_bytes());
            let outcome = pull(&site, &registry);
            assert_eq!(outcome.status, 255, "{name}: {}", outcome.report());
            assert!(outcome.stderr.contains(wanted), "{name}: {}", outcome.report());
            assert!(outcome.stderr.contains(&format!("/{name}")), "{name}: {}", outcome.report());
        }
        // A key of another pair.
        let site = bare_site().watch(&registry).trust(&identity, &registry.host());
        let other = Identity::new(&[NAME]);
        write_pair(&site, &registry, "me", (certificate, other.client_pem().1));
        let outcome = pull(&site, &registry);
        assert_eq!(outcome.status, 255, "{}", outcome.report());
        assert!(outcome.stderr.contains("me.key: no key for "), "{}", outcome.report());
        assert_eq!(registry.accepted(), 0);
    });
}

#[test]
fn the_system_s_directories_of_containers_and_docker_are_read() {
    in_a_network(|| {
        for directory in ["containers/certs.d", "docker/certs.d"] {
            let identity = Identity::new(&[NAME]).wants_client();
            let registry = registry(&identity);
            let site = bare_site().watch(&registry);
            let at = format!("{directory}/{}", registry.host());
            let (certificate, key) = identity.client_pem();
            for (name, text) in
                [("ca.crt", identity.ca_pem()), ("me.cert", certificate), ("me.key", key)]
            {
                site.write_system(&format!("{at}/{name}"), text.as_bytes());
            }
            let outcome = pull(&site, &registry);
            assert!(outcome.status == 0, "{directory}: {}", outcome.report());
        }
    });
}

#[test]
fn an_authority_of_the_caller_s_environment_is_trusted_for_that_caller() {
    in_a_network(|| {
        let identity = Identity::new(&[NAME]);
        let registry = registry(&identity);
        let site = bare_site().watch(&registry);
        site.write_home("trusted/mine.pem", identity.ca_pem().as_bytes());
        site.write_home("other.pem", Identity::new(&[NAME]).ca_pem().as_bytes());
        let home = site.home();
        let uri = registry.docker(IMAGE);
        let run = || site.run(["pull", "--force", "a.sif", &uri]);
        let refused = |outcome: Outcome| {
            let outcome = outcome.fails(255);
            assert!(outcome.stderr.contains("its issuer is not known"), "{}", outcome.report());
        };
        refused(run().outcome());
        refused(run().env("SSL_CERT_FILE", home.join("other.pem")).outcome());
        run().env("SSL_CERT_FILE", home.join("trusted/mine.pem")).outcome().success();
        run().env("SSL_CERT_DIR", home.join("trusted")).outcome().success();
        let both = run().env("SSL_CERT_FILE", home.join("other.pem"));
        both.env("SSL_CERT_DIR", home.join("trusted")).outcome().success();
    });
}

#[test]
fn servers_of_tls_1_2_and_of_1_3_alone_are_pulled_from() {
    in_a_network(|| {
        for version in [Version::Tls12, Version::Tls13] {
            let identity = Identity::new(&[NAME]).only(version);
            let registry = registry(&identity);
            let site = bare_site().watch(&registry).trust(&identity, &registry.host());
            let outcome = pull(&site, &registry);
            assert!(outcome.status == 0, "{version:?}: {}", outcome.report());
        }
    });
}
