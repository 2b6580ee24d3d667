//! How hosts are reached where a caller's environment says nothing of it: `[network]`.
//!
//! The proxy's address can hold a password: `Debug` does not show it. Not here: what the
//! environment says, and which hosts it is for ([`crate::proxy`]).

use std::fmt;

use toml::de::DeValue;

use crate::proxy;

/// The section `[network]`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The proxy for `http` and `https`, in the form of `HTTPS_PROXY`.
    pub proxy: Option<String>,
    /// Hosts that are contacted directly, in the form of `NO_PROXY`.
    pub no_proxy: String,
}

impl Network {
    /// Sets a key; `None` when there is none of that name. What is wrong is said without the value.
    pub(super) fn set(&mut self, key: &str, value: &DeValue<'_>) -> Option<Result<(), String>> {
        match key {
            "proxy" => {
                let text = value.as_str().map(str::trim);
                let text = text.filter(|text| text.is_empty() || proxy::parse(text).is_some());
                let Some(text) = text else {
                    return Some(Err(format!("network.proxy has to be {}", proxy::EXPECTED)));
                };
                self.proxy = (!text.is_empty()).then(|| text.to_owned());
            }
            "no-proxy" => {
                let Some(text) = value.as_str() else {
                    let expected = "hosts with commas, such as \"example.com,10.0.0.0/8\"";
                    return Some(Err(format!("network.no-proxy has to be {expected}")));
                };
                text.clone_into(&mut self.no_proxy);
            }
            _ => return None,
        }
        Some(Ok(()))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Network")
            .field("has_proxy", &self.proxy.is_some())
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}
