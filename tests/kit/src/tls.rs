//! TLS identities: an own certificate authority and certificates signed by it, right or wrong.
//!
//! Not here: how a site comes to trust it ([`crate::site`]).

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is wrong with an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The certificate was valid until 2001.
    Expired,
    /// It will be valid from 2090 on.
    NotYet,
    /// It is for another host.
    OtherHost,
    /// It is signed by its own key.
    SelfSigned,
    /// The server knows TLS 1.1 alone: it answers the greeting with that version.
    Old,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// A server's certificate with its key, and the authority that signed it.
#[derive(Clone)]
pub struct Identity {
    ca_pem: String,
    certificate_pem: String,
    key_pem: String,
    /// Certificate and key of a client, signed by the same authority.
    client: (String, String),
    wants_client: bool,
    http2: bool,
    version: Option<Version>,
    is_old: bool,
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
        Self::made(names, None)
    }

    /// Like [`Identity::new`], with something wrong.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn flawed(names: &[&str], flaw: Flaw) -> Self {
        Self::made(names, Some(flaw))
    }

    fn made(names: &[&str], flaw: Option<Flaw>) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(1);
        let ca_key = KeyPair::generate().expect("a key can be made");
        let mut ca = CertificateParams::new(Vec::new()).expect("no names are fine");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Two authorities of one name would be told apart by a signature that does not fit.
        let name = format!("kit authority {}", MADE.fetch_add(1, Ordering::Relaxed));
        ca.distinguished_name.push(DnType::CommonName, name);
        let ca_pem = ca.self_signed(&ca_key).expect("an authority signs itself").pem();
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate().expect("a key can be made");
        let names = if flaw == Some(Flaw::OtherHost) { &["other.example"] } else { names };
        let mut leaf = params(names, "kit server");
        match flaw {
            Some(Flaw::Expired) => leaf.not_after = rcgen::date_time_ymd(2001, 1, 1),
            Some(Flaw::NotYet) => leaf.not_before = rcgen::date_time_ymd(2090, 1, 1),
            _ => {}
        }
        let certificate = if flaw == Some(Flaw::SelfSigned) {
            leaf.self_signed(&key)
        } else {
            leaf.signed_by(&key, &issuer)
        };
        let certificate = certificate.expect("the authority signs");
        let client_key = KeyPair::generate().expect("a key can be made");
        let client = params(&[], "kit client").signed_by(&client_key, &issuer);
        let client = client.expect("the authority signs").pem();
        Self::of_pem(&ca_pem, &certificate.pem(), &key.serialize_pem())
            .with(|made| made.client = (client, client_key.serialize_pem()))
            .with(|made| made.is_old = flaw == Some(Flaw::Old))
    }

    /// One whose certificate is signed by its own key and is its own authority, as tools for
    /// testing make them; `is_ca` says whether it says so.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn alone(names: &[&str], is_ca: bool) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = params(names, "kit server and authority");
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = params.self_signed(&key).expect("a key signs itself").pem();
        Self::of_pem(&certificate, &certificate, &key.serialize_pem())
    }

    /// One whose certificates were made elsewhere.
    ///
    /// # Panics
    /// When they are not PEM, or the key does not fit.
    #[must_use]
    pub fn of_pem(ca: &str, certificate: &str, key: &str) -> Self {
        let (ca_pem, certificate_pem, key_pem) = (ca.into(), certificate.into(), key.into());
        let server = Arc::new(server_config(certificate, key, None, false, None));
        Self {
            ca_pem,
            certificate_pem,
            key_pem,
            client: (String::new(), String::new()),
            wants_client: false,
            http2: false,
            version: None,
            is_old: false,
            server,
        }
    }

    /// The same, of a server that speaks HTTP/2 and nothing else.
    #[must_use]
    pub fn http2(self) -> Self {
        self.with(|identity| identity.http2 = true)
    }

    /// The same, of a server that speaks this version of TLS alone.
    #[must_use]
    pub fn only(self, version: Version) -> Self {
        self.with(|identity| identity.version = Some(version))
    }

    /// The same, of a server that lets in only clients with a certificate of its authority.
    #[must_use]
    pub fn wants_client(self) -> Self {
        self.with(|identity| identity.wants_client = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        let authority = self.wants_client.then_some(self.ca_pem.as_str());
        let (certificate, key) = (&self.certificate_pem, &self.key_pem);
        let made = server_config(certificate, key, authority, self.http2, self.version);
        self.server = Arc::new(made);
        self
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

    /// Certificate and key of a client that [`Identity::wants_client`] lets in.
    #[must_use]
    pub fn client_pem(&self) -> (&str, &str) {
        (&self.client.0, &self.client.1)
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    pub(crate) const fn is_http2(&self) -> bool {
        self.http2
    }

    pub(crate) const fn is_old(&self) -> bool {
        self.is_old
    }
}

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names of servers");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn server_config(
    certificate: &str,
    key: &str,
    clients: Option<&str>,
    http2: bool,
    version: Option<Version>,
) -> ServerConfig {
    let parse = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let certificate = parse(certificate);
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = match version {
        None => rustls::DEFAULT_VERSIONS.to_vec(),
        Some(Version::Tls12) => vec![&rustls::version::TLS12],
        Some(Version::Tls13) => vec![&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .expect("ring serves all versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(parse(authority)).expect("an authority's certificate");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("there is an authority"))
        }
    };
    let mut config =
        builder.with_single_cert(vec![certificate], key).expect("key and certificate are a pair");
    if http2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    config
}
