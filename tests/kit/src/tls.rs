//! TLS identities: an own certificate authority and certificates signed by it.
//!
//! Not here: how a site comes to trust it ([`crate::site`]).

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;

/// A server's certificate with its key, and the authority that signed it.
#[derive(Clone)]
pub struct Identity {
    ca_pem: String,
    certificate_pem: String,
    key_pem: String,
    server: Arc<ServerConfig>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// A new authority and a certificate by it for these names and addresses.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        let ca_key = KeyPair::generate().expect("a key can be made");
        let mut ca = CertificateParams::new(Vec::new()).expect("no names are fine");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(DnType::CommonName, "kit authority");
        let ca_pem = ca.self_signed(&ca_key).expect("an authority signs itself").pem();
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate().expect("a key can be made");
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut leaf = CertificateParams::new(names).expect("names of servers");
        leaf.distinguished_name.push(DnType::CommonName, "kit server");
        let certificate = leaf.signed_by(&key, &issuer).expect("the authority signs");
        let (certificate_pem, key_pem) = (certificate.pem(), key.serialize_pem());
        let server = Arc::new(server_config(&certificate_pem, &key_pem));
        Self { ca_pem, certificate_pem, key_pem, server }
    }

    /// The authority's certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server's certificate.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The server's key.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }
}

fn server_config(certificate: &str, key: &str) -> ServerConfig {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("made above");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("made above");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring serves the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("key and certificate are a pair")
}
