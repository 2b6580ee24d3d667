//! TLS: which certificates are trusted, and which one Orlop shows.
//!
//! Roots are the system's and those of `SSL_CERT_FILE` or `SSL_CERT_DIR`, of these alone where both
//! are set; to them come the `*.crt` of a host's `certs.d` directory, and each `NAME.cert` with
//! `NAME.key` is a client's pair. TLS 1.2 or later. Rules: `registry.md` §5. Not here: where `certs.d` is (`orlop-config`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop_config::Certificates;
use orlop_config::certs::PemFile;
use orlop_oci::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_native_certs::CertificateResult;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::error::Error;
use crate::shown::Shown;
use crate::surroundings::Roots;

/// Whether certificates are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Checks {
    /// As they should be.
    All,
    /// Not at all: the user asked for it.
    None,
}

/// What a host's `certs.d` directory holds.
#[derive(Debug, Default)]
pub(crate) struct HostCertificates {
    /// Additional authorities.
    authorities: Vec<CertificateDer<'static>>,
    /// The client's chains and keys, by name.
    pairs: Vec<Arc<CertifiedKey>>,
    /// Digests of all files, by which connections are pooled; empty without any.
    pub(crate) fingerprint: String,
}

impl HostCertificates {
    /// Reads the PEM of the files.
    pub(crate) fn parse(files: &Certificates) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut seen = String::new();
        let provider = rustls::crypto::ring::default_provider();
        for file in &files.authorities {
            found.authorities.extend(certificates(file)?);
            seen.push_str(Digest::sha256(&file.bytes).hex());
        }
        for client in &files.clients {
            let chain = certificates(&client.certificate)?;
            let key = PrivateKeyDer::from_pem_slice(&client.key.bytes)
                .map_err(|_| wrong(&client.key.path, "holds no private key in PEM form"))?;
            let pair = CertifiedKey::from_der(chain, key, &provider).map_err(|cause| {
                let certificate = client.certificate.path.display();
                wrong(&client.key.path, &format!("no key for {certificate}: {cause}"))
            })?;
            found.pairs.push(Arc::new(pair));
            for file in [&client.certificate, &client.key] {
                seen.push_str(Digest::sha256(&file.bytes).hex());
            }
        }
        found.fingerprint = seen;
        Ok(found)
    }
}

fn certificates(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong(&file.path, "holds no certificate in PEM form")),
    }
}

fn wrong(path: &Path, what: &str) -> Error {
    Error::Certificate { path: path.to_owned(), what: what.to_owned() }
}

/// Who is believed besides a host's own certificates.
#[derive(Debug)]
pub(crate) struct Trusted {
    /// As authorities.
    authorities: RootCertStore,
    /// The certificates as they are: a server's own may be among them.
    pub(crate) given: Vec<CertificateDer<'static>>,
}

impl Default for Trusted {
    fn default() -> Self {
        Self { authorities: RootCertStore::empty(), given: Vec::new() }
    }
}

/// Reads the roots. A file replaces the system's file and directories its directories, as for Go
/// and OpenSSL: the system's own roots are in both, and gone only where both are replaced.
pub(crate) fn roots(from: &Roots) -> Result<Trusted, Error> {
    let mut store = RootCertStore::empty();
    let mut given = Vec::new();
    let mut add = |found: CertificateResult| {
        let (added, _) = store.add_parsable_certificates(found.certs.iter().cloned());
        given.extend(found.certs);
        (added, found.errors)
    };
    let file = from.file.as_deref();
    if file.is_none() || from.directories.is_empty() {
        add(rustls_native_certs::load_native_certs());
    }
    if file.is_none() && from.directories.is_empty() {
        return Ok(Trusted { authorities: store, given });
    }
    let mut added = 0_usize;
    let mut problem = None;
    let directories = from.directories.iter().map(|directory| (None, Some(directory.as_path())));
    for (file, directory) in file.map(|file| (Some(file), None)).into_iter().chain(directories) {
        let (count, errors) = add(rustls_native_certs::load_certs_from_paths(file, directory));
        added = added.saturating_add(count);
        if let (Some(path), Some(error)) = (file.or(directory), errors.first()) {
            problem.get_or_insert_with(|| wrong(path, &error.to_string()));
        }
    }
    if added > 0 {
        return Ok(Trusted { authorities: store, given });
    }
    let path = file.or(from.directories.first().map(PathBuf::as_path)).unwrap_or(Path::new(""));
    Err(problem.unwrap_or_else(|| wrong(path, "holds no certificate")))
}

/// Puts together how TLS is spoken to a host. `shows_pair` is false for any other host than the
/// one whose directory this is.
pub(crate) fn config(
    roots: &Trusted,
    host: &HostCertificates,
    checks: Checks,
    shows_pair: bool,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |cause: rustls::Error| wrong(Path::new("TLS"), &cause.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match checks {
        Checks::All => {
            let mut store = roots.authorities.clone();
            store.add_parsable_certificates(host.authorities.iter().cloned());
            if store.is_empty() {
                // No server is believed, and plain http goes all the same.
                builder.with_root_certificates(store)
            } else {
                let (store, provider) = (Arc::new(store), Arc::clone(&provider));
                let usual = WebPkiServerVerifier::builder_with_provider(store, provider).build();
                let usual = usual.map_err(|cause| wrong(Path::new("TLS"), &cause.to_string()))?;
                let given = host.authorities.iter().chain(&roots.given).cloned().collect();
                let checked = Arc::new(Checked { usual, given });
                builder.dangerous().with_custom_certificate_verifier(checked)
            }
        }
        Checks::None => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
        }
    };
    let mut config = if shows_pair && !host.pairs.is_empty() {
        builder.with_client_cert_resolver(Arc::new(Shown(host.pairs.clone())))
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Checks as it should be. A certificate that says that it is an authority, as those that
/// `openssl req -x509` makes, is a server's too where `certs.d` or the roots hold that very
/// certificate: Go's TLS, and so Docker and podman, take it.
#[derive(Debug)]
struct Checked {
    usual: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let outcome = self.usual.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match outcome {
            Err(error) if is_authority(&error) && self.given.iter().any(|it| it == end_entity) => {
                // Its time has been looked at before its kind.
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Says whether nothing is wrong with a certificate so far but that it is an authority's.
fn is_authority(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(problem) if is_its_own(problem))
}

fn is_its_own(problem: &rustls::CertificateError) -> bool {
    let rustls::CertificateError::Other(cause) = problem else { return false };
    matches!(cause.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Accepts every certificate; whoever shows one must still hold its key.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a TLS error says about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The certificate or the TLS version is not accepted, on one side or the other.
    Refused {
        /// Which of them.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// What is spoken there is not TLS.
    NotTls,
}

/// Finds a TLS error among the causes of an error.
pub(crate) fn verdict(error: &(dyn std::error::Error + 'static)) -> Option<Verdict> {
    use rustls::{AlertDescription as A, Error as E, PeerIncompatible as P};
    let (what, why) = match find::<rustls::Error>(error)? {
        E::InvalidMessage(_) => return Some(Verdict::NotTls),
        E::InvalidCertificate(problem) => ("the server's certificate is refused", fault(problem)),
        E::PeerIncompatible(
            P::ServerDoesNotSupportTls12Or13 | P::ServerTlsVersionIsDisabledByOurConfig,
        )
        | E::AlertReceived(A::ProtocolVersion) => {
            ("TLS version", "it has none that is safe: 1.2 or later is needed".to_owned())
        }
        E::AlertReceived(A::CertificateRequired) => {
            ("TLS is refused", "it wants a client certificate".to_owned())
        }
        other => ("TLS is refused", other.to_string()),
    };
    Some(Verdict::Refused { what, why })
}

/// What is wrong with a certificate.
fn fault(problem: &rustls::CertificateError) -> String {
    use rustls::CertificateError as C;
    match problem {
        C::Expired | C::ExpiredContext { .. } => "it has expired".to_owned(),
        C::NotValidYet | C::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "it is for another host".to_owned()
        }
        C::UnknownIssuer => "its issuer is not known".to_owned(),
        C::BadSignature => "its signature is wrong".to_owned(),
        C::UnsupportedSignatureAlgorithmContext { .. }
        | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed in a way that is not safe, such as with SHA-1".to_owned()
        }
        problem if is_its_own(problem) => {
            "it is its own authority, and neither certs.d nor SSL_CERT_FILE holds it".to_owned()
        }
        other => other.to_string(),
    }
}

/// Finds an error of a type among the causes. What an `io::Error` wraps is no `source` of it.
pub(crate) fn find<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| -> &(dyn std::error::Error + 'static) { inner });
        current = wrapped.or_else(|| error.source());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_pem_is_an_error_that_names_it() {
        let file = PemFile { path: "/certs.d/h/ca.crt".into(), bytes: b"nothing".to_vec() };
        let files = Certificates { authorities: vec![file], clients: Vec::new() };
        let error = HostCertificates::parse(&files).unwrap_err();
        assert_eq!(error.to_string(), "/certs.d/h/ca.crt: holds no certificate in PEM form");
    }

    #[test]
    fn roots_of_a_file_that_is_missing_are_an_error_that_names_it() {
        let from = Roots { file: Some("/nowhere/ca.pem".into()), directories: Vec::new() };
        assert!(roots(&from).unwrap_err().to_string().starts_with("/nowhere/ca.pem: "));
    }

    #[test]
    fn roots_of_a_file_without_certificates_are_an_error_that_names_it() {
        let junk = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(junk.path(), "junk").unwrap();
        let from = Roots { file: Some(junk.path().into()), directories: Vec::new() };
        let expected = format!("{}: holds no certificate", junk.path().display());
        assert_eq!(roots(&from).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_machine_without_any_authority_still_speaks_plain_http() {
        let none = HostCertificates::default();
        let nobody = Trusted::default();
        config(&nobody, &none, Checks::All, false).unwrap();
    }

    #[test]
    fn a_wrapped_tls_error_is_found() {
        let inner = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = io::Error::new(io::ErrorKind::InvalidData, inner);
        let what = "the server's certificate is refused";
        let expected = Verdict::Refused { what, why: "its issuer is not known".to_owned() };
        assert_eq!(verdict(&error), Some(expected));
    }
}
