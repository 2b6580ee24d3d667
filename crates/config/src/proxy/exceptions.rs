//! `NO_PROXY`: the hosts that are contacted directly.
//!
//! Table: `registry.md` §5. Addresses match addresses written in the URL alone. Not here: which
//! proxy the others go through ([`super::Proxies`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

/// The entries of `NO_PROXY`. Entries that mean nothing are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Exceptions(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Entry {
    /// `*`
    All,
    /// `10.0.0.0/8`
    Network { address: IpAddr, bits: u32 },
    /// `10.1.2.3`, `[::1]:80`
    Address { address: IpAddr, port: Option<u16> },
    /// `example.com`, `.example.com`, `example.com:8443`
    Domain { suffix: String, is_itself: bool, port: Option<u16> },
}

impl Exceptions {
    pub(super) fn parse(text: &str) -> Self {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Self(entries.filter_map(|entry| parse_entry(&entry.to_ascii_lowercase())).collect())
    }

    /// Those of both.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(super) fn cover(&self, host: &Host<&str>, port: Option<u16>) -> bool {
        self.0.iter().any(|entry| entry.covers(host, port))
    }
}

impl Entry {
    fn covers(&self, host: &Host<&str>, url_port: Option<u16>) -> bool {
        let is_port = |port: &Option<u16>| port.is_none() || *port == url_port;
        let url_address = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::from(*address)),
            Host::Ipv6(address) => Some(IpAddr::from(*address)),
        };
        match self {
            Self::All => true,
            Self::Network { address, bits } => {
                url_address.is_some_and(|url| prefix(url, *bits) == prefix(*address, *bits))
            }
            Self::Address { address, port } => url_address == Some(*address) && is_port(port),
            Self::Domain { suffix, is_itself, port } => {
                let Host::Domain(name) = host else { return false };
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                let is_below = name
                    .strip_suffix(suffix.as_str())
                    .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
                (is_below || (*is_itself && name == *suffix)) && is_port(port)
            }
        }
    }
}

/// The first bits of an address and its family.
fn prefix(address: IpAddr, bits: u32) -> (bool, u128) {
    let (number, width) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), Ipv4Addr::BITS),
        IpAddr::V6(address) => (u128::from(address), Ipv6Addr::BITS),
    };
    (address.is_ipv4(), number.checked_shr(width.saturating_sub(bits)).unwrap_or(0))
}

fn parse_entry(entry: &str) -> Option<Entry> {
    if entry == "*" {
        return Some(Entry::All);
    }
    if let Some((address, bits)) = entry.split_once('/') {
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
        let bits = bits.parse().ok().filter(|bits| *bits <= width)?;
        return Some(Entry::Network { address, bits });
    }
    if let Ok(address) = entry.parse() {
        return Some(Entry::Address { address, port: None });
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            (name, Some(port.parse().ok()?))
        }
        _ => (entry, None),
    };
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = bare.parse() {
        return Some(Entry::Address { address, port });
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    let suffix = name.strip_prefix('.').unwrap_or(name).trim_end_matches('.');
    if suffix.is_empty() {
        return None;
    }
    let is_itself = !name.starts_with('.');
    Some(Entry::Domain { suffix: suffix.to_owned(), is_itself, port })
}
