//! Proxies by environment and by setting, and the hosts that are contacted directly.
//!
//! In a network of its own, because loopback hosts are never asked through a proxy. Not here:
//! proxies that fail (`registry_rows/proxies.rs`), the table of `NO_PROXY` (`orlop-config`).

use crate::world::bare_site;
use orlop_kit::proxy::{Manner, Proxy};
use orlop_kit::{Answer, Identity, Image, Registry, Site, layer, own_network};
use std::net::Ipv4Addr;

const IMAGE: &str = "a:1";
const NAME: &str = "registry.example";
const CDN: &str = "cdn.example";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const CDN_ADDRESS: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 35);
const PROXY: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

fn in_a_network(test: impl FnOnce() + Send) {
    let hosts = format!("{ADDRESS} {NAME}\n{CDN_ADDRESS} {CDN}");
    let addresses = [ADDRESS, CDN_ADDRESS, PROXY].map(|address| format!("{address}/32"));
    own_network(&addresses.each_ref().map(String::as_str), &hosts, test);
}

fn identity() -> Identity {
    Identity::new(&[NAME, CDN])
}

fn registry(identity: &Identity) -> Registry {
    let registry = Registry::new().image(IMAGE, Image::tiny()).at(ADDRESS).named(NAME);
    registry.tls(identity).start()
}

/// Pulls with these variables.
fn pull(site: &Site, registry: &Registry, variables: &[(&str, &str)]) {
    let uri = registry.docker(IMAGE);
    let run = site.run(["pull", "--disable-cache", "--force", "a.sif", &uri]);
    let run = variables.iter().fold(run, |run, (name, value)| run.env(name, value));
    run.outcome().success();
}

#[test]
fn a_proxy_of_the_settings_is_used_where_the_environment_names_none() {
    in_a_network(|| {
        let identity = identity();
        let registry = registry(&identity);
        let set = Proxy::start(PROXY, Manner::Tunnel);
        let named = Proxy::start(PROXY, Manner::Tunnel);
        let site = bare_site().watch(&registry).trust(&identity, &registry.host());
        let settings = format!("[network]\nproxy = \"http://{}\"\n", set.host());
        site.write_home(".config/orlop/orlop.toml", settings.as_bytes());
        let heads = || (set.heads().len(), named.heads().len());
        pull(&site, &registry, &[("NO_PROXY", NAME)]);
        assert_eq!(heads(), (0, 0));
        pull(&site, &registry, &[]);
        let through = set.heads();
        assert!(through[0].starts_with(&format!("CONNECT {} ", registry.host())), "{through:?}");
        pull(&site, &registry, &[("HTTPS_PROXY", &named.host())]);
        assert_eq!(set.heads().len(), through.len());
        assert!(!named.heads().is_empty());

        let before = heads();
        let settings = format!("{settings}no-proxy = \".elsewhere.example, {NAME}\"\n");
        site.write_home(".config/orlop/orlop.toml", settings.as_bytes());
        pull(&site, &registry, &[]);
        assert_eq!(heads(), before);
    });
}

#[test]
fn each_host_on_the_way_is_decided_alone() {
    in_a_network(|| {
        let identity = identity();
        let registry = registry(&identity);
        let cdn = Registry::new().image(IMAGE, Image::tiny()).at(CDN_ADDRESS).named(CDN);
        let cdn = cdn.tls(&identity).start();
        let path = format!("/v2/a/blobs/{}", registry.layer_digest(0).unwrap());
        let to = format!("https://{}{path}", cdn.host());
        registry.script(layer(0), [Answer::Redirect(307, to)]);
        for (direct, through) in [(NAME, &cdn), (CDN, &registry)] {
            let proxy = Proxy::start(PROXY, Manner::Tunnel);
            let site = bare_site().watch(&registry).trust(&identity, &registry.host());
            pull(&site, &registry, &[("https_proxy", &proxy.host()), ("no_proxy", direct)]);
            let wanted = format!("CONNECT {} ", through.host());
            let heads = proxy.heads();
            assert!(!heads.is_empty(), "{direct}");
            assert!(heads.iter().all(|head| head.starts_with(&wanted)), "{direct}: {heads:?}");
        }
    });
}

#[test]
fn plain_requests_are_forwarded_with_the_proxy_s_password() {
    in_a_network(|| {
        let registry = Registry::new().image(IMAGE, Image::tiny()).at(ADDRESS).named(NAME).start();
        // base64 of `me:canary-7e57`.
        let wanted = "Basic bWU6Y2FuYXJ5LTdlNTc=";
        let proxy = Proxy::start(PROXY, Manner::Authorized(wanted.into()));
        let site = bare_site().watch(&registry);
        let uri = registry.docker(IMAGE);
        let run = site.run(["--debug", "pull", "--no-https", "a.sif", &uri]);
        let run = run.env("HTTP_PROXY", format!("http://me:canary-7e57@{}", proxy.host()));
        let outcome = run.outcome().success();
        assert!(!outcome.stderr.contains("canary-7e57"), "{}", outcome.report());
        let start = format!("GET http://{}/v2/", registry.host());
        assert!(proxy.heads().iter().any(|head| head.starts_with(&start)), "{:?}", proxy.heads());

        let refusing = Proxy::start(PROXY, Manner::Authorized("Basic other".into()));
        let run = site.run(["--debug", "pull", "--no-https", "--disable-cache", "b.sif", &uri]);
        let run = run.env("HTTP_PROXY", format!("http://me:canary-7e57@{}", refusing.host()));
        let outcome = run.outcome().fails(255);
        let wanted = format!("the proxy http://{}", refusing.host());
        assert!(outcome.stderr.contains(&wanted), "{}", outcome.report());
        assert!(!outcome.stderr.contains("canary-7e57"), "{}", outcome.report());
    });
}

#[test]
fn a_proxy_of_socks_tunnels_and_with_an_h_looks_names_up() {
    in_a_network(|| {
        let identity = identity();
        let registry = registry(&identity);
        for (scheme, host) in [("socks5", ADDRESS.to_string()), ("socks5h", NAME.to_owned())] {
            let proxy = Proxy::start(PROXY, Manner::Tunnel);
            let site = bare_site().watch(&registry).trust(&identity, &registry.host());
            let address = format!("{scheme}://{}", proxy.host());
            pull(&site, &registry, &[("ALL_PROXY", &address)]);
            let wanted = format!("SOCKS {host}:{}", registry.port());
            assert!(proxy.heads().contains(&wanted), "{scheme}: {:?}", proxy.heads());
        }
    });
}
