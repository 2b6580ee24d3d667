//! IPv6: registries at such addresses, and names that have addresses of both kinds.
//!
//! Not here: which addresses a redirect may name (`registry_rows/networks.rs`).

use crate::world::bare_site;
use orlop_kit::{Identity, Image, Registry, own_network};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::{Duration, Instant};

const IMAGE: &str = "a:1";

#[test]
fn an_image_is_pulled_from_an_ipv6_address_in_brackets() {
    let identity = Identity::new(&["::1"]);
    let registry = Registry::new().image(IMAGE, Image::tiny()).at(Ipv6Addr::LOCALHOST);
    let registry = registry.tls(&identity).start();
    assert!(registry.docker(IMAGE).starts_with("docker://[::1]:"), "{}", registry.docker(IMAGE));
    let site = bare_site().watch(&registry).trust(&identity, &registry.host());
    site.orlop(["pull", "a.sif", &registry.docker(IMAGE)]).success();

    // Without TLS too, because it is this machine.
    let plain = Registry::new().image(IMAGE, Image::tiny()).at(Ipv6Addr::LOCALHOST).start();
    site.orlop(["pull", "b.sif", &plain.docker(IMAGE)]).success();
    assert!(!plain.requests().is_empty());
}

#[test]
fn an_ipv6_address_that_is_silent_costs_a_moment_when_the_name_has_another() {
    const NAME: &str = "both.example";
    const V4: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
    const SILENT: &str = "2606:2800:220:1::99";
    let hosts = format!("{SILENT} {NAME}\n{V4} {NAME}");
    let ip = |words: &str| {
        let done = Command::new("ip").args(words.split(' ')).output().unwrap();
        assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    own_network(&[&format!("{V4}/32")], &hosts, || {
        // A wire with nobody at its other end.
        ip("link add wire type veth peer name end");
        ip("link set wire up");
        ip("link set end up");
        ip("address add 2606:2800:220:1::1/64 dev wire nodad");
        let identity = Identity::new(&[NAME]);
        let registry = Registry::new().image(IMAGE, Image::tiny()).at(V4).named(NAME);
        let registry = registry.tls(&identity).start();
        let site = bare_site().watch(&registry).trust(&identity, &registry.host());
        let from = Instant::now();
        site.orlop(["pull", "a.sif", &registry.docker(IMAGE)]).success();
        let took = from.elapsed();
        let asked = ip("-6 neigh show dev wire");
        assert!(asked.contains(SILENT), "IPv6 was not tried: {asked:?}");
        assert!(took < Duration::from_secs(8), "{took:?}");
    });
}
