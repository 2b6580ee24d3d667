//! R109: certificates and versions of TLS that are refused.
//!
//! In a network of its own, because a host on loopback is also asked over plain HTTP. Not here:
//! mirrors with a wrong certificate.

use super::stage::{IMAGE, fatal};
use crate::world::bare_site;
use orlop_kit::{Flaw, Identity, Image, Registry, Site, own_network, tools};
use std::process::Command;

const NAME: &str = "registry.example";
const ADDRESS: &str = "93.184.216.34";

fn in_a_network(test: impl FnOnce() + Send) {
    own_network(&[&format!("{ADDRESS}/32")], &format!("{ADDRESS} {NAME}"), test);
}

fn registry(identity: &Identity) -> Registry {
    let address: std::net::Ipv4Addr = ADDRESS.parse().unwrap();
    Registry::new().image(IMAGE, Image::tiny()).at(address).named(NAME).tls(identity).start()
}

#[track_caller]
fn is_refused(variant: &str, registry: &Registry, site: &Site, why: &str) {
    let outcome = site.orlop(["pull", "a.sif", &registry.docker(IMAGE)]);
    assert!(outcome.status == 255, "{variant}: {}", outcome.report());
    let said = fatal(&outcome);
    let words = ["the server's certificate is refused", "TLS version"];
    assert!(words.iter().any(|word| said.contains(word)), "{variant}: {}", outcome.report());
    assert!(said.contains(why), "{variant}: {why:?}: {}", outcome.report());
    assert_eq!(registry.requests().len(), 0, "{variant}: {}", registry.log());
    assert_eq!(registry.accepted(), 1, "{variant}: connections");
    assert!(site.tree(&site.work()).is_empty(), "{variant}");
}

#[test]
fn r109_wrong_certificates_are_refused_on_the_first_connection() {
    in_a_network(|| {
        for (flaw, why) in [
            (Flaw::Expired, "it has expired"),
            (Flaw::NotYet, "it is not valid yet"),
            (Flaw::OtherHost, "it is for another host"),
            (Flaw::SelfSigned, "its issuer is not known"),
            (Flaw::Old, "TLS version"),
        ] {
            let identity = Identity::flawed(&[NAME], flaw);
            let registry = registry(&identity);
            let site = bare_site().watch(&registry).trust(&identity, &registry.host());
            is_refused(&format!("{flaw:?}"), &registry, &site, why);
        }
        let identity = Identity::new(&[NAME]);
        let registry = registry(&identity);
        let site = bare_site().watch(&registry);
        is_refused("unknown authority", &registry, &site, "its issuer is not known");

        let registry = self::registry(&identity);
        let other = Identity::new(&[NAME]);
        let site = bare_site().watch(&registry).trust(&other, &registry.host());
        is_refused("another authority", &registry, &site, "its issuer is not known");
    });
}

#[test]
fn r109_a_signature_by_sha1_is_refused() {
    let Some([openssl]) = tools::all(["openssl"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let run = |words: &str| {
        let done = Command::new(&openssl)
            .args(words.split_whitespace())
            .current_dir(directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "openssl {words}: {said}");
    };
    run("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ca \
         -keyout ca.key -out ca.crt");
    run("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server \
         -keyout server.key -out server.csr");
    let names = format!("subjectAltName=DNS:{NAME}");
    std::fs::write(directory.path().join("names"), names).unwrap();
    run("x509 -req -sha1 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
         -extfile names -out server.crt");
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    let identity = Identity::of_pem(&read("ca.crt"), &read("server.crt"), &read("server.key"));
    in_a_network(|| {
        let registry = registry(&identity);
        let site = bare_site().watch(&registry).trust(&identity, &registry.host());
        is_refused("SHA-1", &registry, &site, "SHA-1");
    });
}

#[test]
fn r109_a_client_certificate_that_is_wanted_is_shown_to_that_host_alone() {
    in_a_network(|| {
        let identity = Identity::new(&[NAME]).wants_client();
        let registry = registry(&identity);
        let site = bare_site().watch(&registry).trust(&identity, &registry.host());
        let outcome = site.orlop(["pull", "a.sif", &registry.docker(IMAGE)]).fails(255);
        assert!(fatal(&outcome).contains("client certificate"), "{}", outcome.report());
        assert_eq!(registry.requests().len(), 0, "{}", registry.log());

        let (certificate, key) = identity.client_pem();
        let at = format!(".config/containers/certs.d/{}", registry.host());
        site.write_home(&format!("{at}/me.cert"), certificate.as_bytes());
        site.write_home(&format!("{at}/me.key"), key.as_bytes());
        site.orlop(["pull", "a.sif", &registry.docker(IMAGE)]).success();
    });
}

#[test]
fn r109_a_certificate_that_is_its_own_authority_is_accepted_where_certs_d_holds_it() {
    in_a_network(|| {
        for is_ca in [false, true] {
            let variant = format!("authority: {is_ca}");
            let identity = Identity::alone(&[NAME], is_ca);
            let registry = registry(&identity);
            let site = bare_site().watch(&registry).trust(&identity, &registry.host());
            let outcome = site.orlop(["pull", "a.sif", &registry.docker(IMAGE)]);
            assert!(outcome.status == 0, "{variant}: {}", outcome.report());

            let registry = self::registry(&identity);
            let site = bare_site().watch(&registry);
            site.write_home("own.pem", identity.certificate_pem().as_bytes());
            let run = site.run(["pull", "a.sif", &registry.docker(IMAGE)]);
            run.env("SSL_CERT_FILE", site.home().join("own.pem")).outcome().success();

            let other = Identity::alone(&[NAME], is_ca);
            let registry = self::registry(&identity);
            let site = bare_site().watch(&registry).trust(&other, &registry.host());
            let outcome = site.orlop(["pull", "a.sif", &registry.docker(IMAGE)]).fails(255);
            assert!(fatal(&outcome).contains("is refused"), "{variant}: {}", outcome.report());

            let elsewhere = Identity::alone(&["other.example"], is_ca);
            let registry = self::registry(&elsewhere);
            let site = bare_site().watch(&registry).trust(&elsewhere, &registry.host());
            is_refused(&variant, &registry, &site, "it is for another host");
        }
    });
}
