//! R99: redirects from the internet into private networks, and between those.
//!
//! In a network of its own, whose loopback device has public and private addresses. Not here:
//! the addresses of token services.

use super::stage::{IMAGE, fatal};
use crate::world::bare_site;
use orlop_kit::{Answer, Identity, Image, Outcome, Registry, any, layer, own_network};
use std::net::IpAddr;

const PUBLIC: &str = "93.184.216.34";
const CDN: &str = "93.184.216.35";
const PRIVATE: &str = "10.1.2.3";
const INNER: &str = "10.1.2.4";
const METADATA: &str = "169.254.169.254";
const PUBLIC_6: &str = "2606:2800:220:1::1";

const ADDRESSES: [&str; 7] = [
    "93.184.216.34/32",
    "93.184.216.35/32",
    "10.1.2.3/32",
    "10.1.2.4/32",
    "169.254.169.254/32",
    "2606:2800:220:1::1/128",
    "fd00:ec2::254/128",
];

const HOSTS: &str = "93.184.216.34 registry.example\n93.184.216.35 cdn.example\n\
    10.1.2.3 site.internal\n10.1.2.4 inner.internal\n127.0.0.1 loop.example\n\
    169.254.169.254 metadata.example\n10.1.2.4 mixed.example\n93.184.216.35 mixed.example\n\
    2606:2800:220:1::1 six.example";

const NAMES: [&str; 14] = [
    "registry.example",
    "cdn.example",
    "site.internal",
    "inner.internal",
    "loop.example",
    "metadata.example",
    "mixed.example",
    "six.example",
    "127.0.0.1",
    "10.1.2.4",
    "169.254.169.254",
    "::1",
    "fd00:ec2::254",
    "::ffff:10.1.2.4",
];

/// A registry with the image at an address.
fn registry(identity: &Identity, address: &str) -> Registry {
    let address: IpAddr = address.parse().unwrap();
    Registry::new().image(IMAGE, Image::tiny()).at(address).tls(identity).start()
}

/// Pulls from `from`, whose layer is at `to`.
fn redirected(identity: &Identity, from: &Registry, to: &str) -> Outcome {
    let path = format!("/v2/t/two/blobs/{}", from.layer_digest(0).unwrap());
    from.script(layer(0), [Answer::Redirect(307, format!("https://{to}{path}"))]);
    from.forget();
    let site = bare_site().watch(from).trust(identity, &from.host());
    let outcome = site.orlop(["pull", "a.sif", &from.docker(IMAGE)]);
    assert_eq!(from.count(&layer(0)), 1, "{to}: {}", outcome.report());
    outcome
}

#[track_caller]
fn is_refused(to: &str, outcome: &Outcome) {
    assert_eq!(outcome.status, 255, "{to}: {}", outcome.report());
    assert!(fatal(outcome).contains("a redirect is refused"), "{to}: {}", outcome.report());
}

#[test]
fn r99_a_public_registry_names_no_private_host() {
    own_network(&ADDRESSES, HOSTS, || {
        let identity = Identity::new(&NAMES);
        let from = registry(&identity, PUBLIC).named("registry.example");
        let inside: Vec<Registry> = ["127.0.0.1", INNER, METADATA, "::1", "fd00:ec2::254"]
            .map(|address| registry(&identity, address))
            .into();
        let ports: Vec<u16> = inside.iter().map(Registry::port).collect();
        let [local, inner, metadata, local_6, metadata_6] = ports[..] else { unreachable!() };
        for to in [
            format!("127.0.0.1:{local}"),
            format!("{INNER}:{inner}"),
            format!("{METADATA}:{metadata}"),
            format!("[::1]:{local_6}"),
            format!("[fd00:ec2::254]:{metadata_6}"),
            format!("[::ffff:{INNER}]:{inner}"),
            format!("2130706433:{local}"),
            format!("0x7f.1:{local}"),
            format!("127.1:{local}"),
            format!("0.0.0.0:{local}"),
            format!("localhost:{local}"),
            format!("loop.example:{local}"),
            format!("inner.internal:{inner}"),
            format!("metadata.example:{metadata}"),
        ] {
            is_refused(&to, &redirected(&identity, &from, &to));
        }
        for registry in &inside {
            assert_eq!(registry.count(&any()), 0, "{}", registry.log());
        }
        // A name with a public address too is reached there and nowhere else.
        let cdn = registry(&identity, CDN);
        let to = format!("mixed.example:{}", cdn.port());
        redirected(&identity, &from, &to).success();
        assert_eq!(cdn.requests().len(), 1, "{}", cdn.log());
        let six = registry(&identity, PUBLIC_6);
        redirected(&identity, &from, &format!("six.example:{}", six.port())).success();
        assert_eq!(six.requests().len(), 1, "{}", six.log());
    });
}

#[test]
fn r99_a_private_registry_names_private_hosts_but_no_metadata_service() {
    own_network(&ADDRESSES, HOSTS, || {
        let identity = Identity::new(&NAMES);
        let from = registry(&identity, PRIVATE).named("site.internal");
        let inner = registry(&identity, INNER);
        for to in [INNER, "inner.internal"] {
            redirected(&identity, &from, &format!("{to}:{}", inner.port())).success();
        }
        assert_eq!(inner.requests().len(), 2, "{}", inner.log());
        let metadata = registry(&identity, METADATA);
        for to in [METADATA, "metadata.example"] {
            let to = format!("{to}:{}", metadata.port());
            is_refused(&to, &redirected(&identity, &from, &to));
        }
        assert_eq!(metadata.count(&any()), 0, "{}", metadata.log());
    });
}
