//! R116: proxies that refuse, fail, or are not there.
//!
//! In a network of its own, because loopback hosts are never asked through a proxy. Not here:
//! which variable names the proxy.

use super::stage::{IMAGE, fatal};
use crate::world::{bare_site, bytes};
use orlop_kit::proxy::{Manner, Proxy};
use orlop_kit::{Auth, Identity, Image, Registry, Site, own_network};
use std::net::Ipv4Addr;

const NAME: &str = "registry.example";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const PROXY: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);
const SECRET: &str = "canary-c0ffee";
const PROXY_SECRET: &str = "canary-7e57";

fn in_a_network(test: impl FnOnce() + Send) {
    let hosts = format!("{ADDRESS} {NAME}");
    own_network(&[&format!("{ADDRESS}/32"), &format!("{PROXY}/32")], &hosts, test);
}

/// A registry that wants a login, and a user who has one and this proxy.
fn behind(proxy: &str) -> (Registry, Site) {
    let identity = Identity::new(&[NAME]);
    let auth = Auth::Basic { user: "reader".to_owned(), secret: SECRET.to_owned() };
    let registry = Registry::new().image(IMAGE, Image::tiny()).auth(auth).at(ADDRESS);
    let registry = registry.named(NAME).tls(&identity).start();
    let site = bare_site()
        .watch(&registry)
        .trust(&identity, &registry.host())
        .env("ORLOP_LIMITS_BACKOFF", "10ms")
        .env("ORLOP_DOCKER_USERNAME", "reader")
        .env("ORLOP_DOCKER_PASSWORD", SECRET)
        .env("HTTPS_PROXY", format!("http://me:{PROXY_SECRET}@{proxy}"));
    (registry, site)
}

/// Nothing that is said or kept has a secret in it.
#[track_caller]
fn keeps_secrets(variant: &str, text: &str) {
    for secret in [SECRET, PROXY_SECRET] {
        assert!(!text.contains(secret), "{variant}: {secret} in {text}");
    }
}

#[test]
fn r116_a_proxy_that_fails_is_named_without_its_password() {
    in_a_network(|| {
        let gone = Proxy::start(PROXY, Manner::HangsUp).host();
        let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Please log in</html>";
        let bad = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
        let refusing = Proxy::start(PROXY, Manner::Authorized("Basic other".to_owned()));
        for (variant, proxy) in [
            ("407", refusing),
            ("502", Proxy::start(PROXY, Manner::Says(bad.into()))),
            ("HTML", Proxy::start(PROXY, Manner::Says(html.into()))),
            ("hangs up", Proxy::start(PROXY, Manner::HangsUp)),
        ] {
            let (registry, site) = behind(&proxy.host());
            let outcome = site.orlop(["--debug", "pull", "a.sif", &registry.docker(IMAGE)]);
            assert_eq!(outcome.status, 255, "{variant}: {}", outcome.report());
            let wanted = format!("the proxy http://{}", proxy.host());
            assert!(fatal(&outcome).contains(&wanted), "{variant}: {}", outcome.report());
            keeps_secrets(variant, &outcome.report());
            assert_eq!(registry.accepted(), 0, "{variant}");
            let heads = proxy.heads();
            assert!(!heads.is_empty(), "{variant}");
            for head in heads {
                assert!(head.starts_with(&format!("CONNECT {}", registry.host())), "{head}");
                assert!(!head.to_ascii_lowercase().contains("\r\nauthorization:"), "{head}");
                keeps_secrets(variant, &head);
            }
        }
        let (registry, site) = behind(&gone);
        let outcome = site.orlop(["pull", "a.sif", &registry.docker(IMAGE)]).fails(255);
        assert!(
            fatal(&outcome).contains(&format!("the proxy http://{gone}")),
            "{}",
            outcome.report()
        );
        keeps_secrets("dead", &outcome.report());
        assert_eq!(registry.accepted(), 0);
    });
}

#[test]
fn r116_a_proxy_with_a_password_tunnels_and_sees_no_login() {
    in_a_network(|| {
        // base64 of `me:canary-7e57`.
        let proxy = Proxy::start(PROXY, Manner::Authorized("Basic bWU6Y2FuYXJ5LTdlNTc=".into()));
        let (registry, site) = behind(&proxy.host());
        site.orlop(["pull", "a.sif", &registry.docker(IMAGE)]).success();
        assert!(!bytes(&site, "a.sif").is_empty());
        assert!(!proxy.heads().is_empty());
        for head in proxy.heads() {
            assert!(!head.to_ascii_lowercase().contains("\r\nauthorization:"), "{head}");
        }
        for request in registry.requests() {
            assert_eq!(request.header("proxy-authorization"), None, "{request}");
        }
    });
}
