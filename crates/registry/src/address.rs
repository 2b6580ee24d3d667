//! Addresses: how private one is, and what may lead where.
//!
//! A redirect or a token address must not lead from a source on the internet into the network that
//! Orlop runs in, and never to a link-local address, where clouds hand out secrets. Rules:
//! `registry.md` §2.2 (realm safety), `reliability.md` R20 and R99. Not here: schemes and origins
//! ([`crate::redirect`], [`crate::realm`]).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// How far an address can be reached from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Class {
    /// The internet.
    Public,
    /// This machine or a private network.
    Private,
    /// This link, or a cloud's metadata service.
    LinkLocal,
}

/// Which addresses a request may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Any: the user named the host.
    Any,
    /// All but link-local ones: a source in a private network named the host.
    NotLinkLocal,
    /// Only those on the internet: a source there named the host.
    PublicOnly,
}

/// The address that a name or literal stands for is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forbidden;

impl fmt::Display for Forbidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the name stands for an address in a private network")
    }
}

impl std::error::Error for Forbidden {}

impl Class {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [first, second, ..] = address.octets();
        // 100.64.0.0/10: shared address space, RFC 6598; 0.0.0.0/8: this network, RFC 1122.
        let is_shared = first == 100 && (64..128).contains(&second);
        if address.is_link_local() {
            Self::LinkLocal
        } else if address.is_private()
            || address.is_loopback()
            || address.is_broadcast()
            || first == 0
            || is_shared
        {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let embedded = match address.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((high, low)),
            [0x2002, high, low, ..] => Some((high, low)),
            _ => None,
        };
        if let Some((high, low)) = embedded {
            let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
            return Self::of_v4(Ipv4Addr::new(a, b, c, d));
        }
        if let Some(mapped) = address.to_ipv4_mapped() {
            return Self::of_v4(mapped);
        }
        // fd00:ec2::254 is the metadata service of EC2; the rest of fc00::/7 is private.
        let is_metadata = address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
        if address.is_unicast_link_local() || is_metadata {
            Self::LinkLocal
        } else if address.is_loopback() || address.is_unspecified() || address.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }
}

impl Rule {
    /// Returns the rule for what a source of this class names.
    pub(crate) const fn named_by(source: Class) -> Self {
        match source {
            Class::Public => Self::PublicOnly,
            Class::Private | Class::LinkLocal => Self::NotLinkLocal,
        }
    }

    pub(crate) fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::NotLinkLocal => Class::of(address) != Class::LinkLocal,
            Self::PublicOnly => Class::of(address) == Class::Public,
        }
    }
}

/// Name lookup that leaves out what the rule forbids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup(pub(crate) Rule);

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.iter().copied().filter(|address| rule.allows(address.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(Forbidden.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> Class {
        Class::of(text.parse().unwrap())
    }

    #[test]
    fn private_and_link_local_addresses_are_told_in_every_notation() {
        let private = [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "0.0.0.0",
            "100.64.0.1",
            "::1",
            "::",
            "fc00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
        ];
        for text in private {
            assert_eq!(class(text), Class::Private, "{text}");
        }
        for text in ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254"] {
            assert_eq!(class(text), Class::LinkLocal, "{text}");
        }
        for text in ["93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:2800::1"] {
            assert_eq!(class(text), Class::Public, "{text}");
        }
    }

    #[test]
    fn a_public_source_may_name_public_addresses_only() {
        let rule = Rule::named_by(Class::Public);
        assert!(rule.allows("93.184.216.34".parse().unwrap()));
        assert!(!rule.allows("10.0.0.1".parse().unwrap()));
        let rule = Rule::named_by(Class::Private);
        assert!(rule.allows("10.0.0.1".parse().unwrap()));
        assert!(!rule.allows("169.254.169.254".parse().unwrap()));
    }
}
