//! Client certificates: which of a host's pairs is shown when a server asks for one.
//!
//! The first whose key can sign as the server wants and whose chain has a certificate by an
//! authority that the server names; none where none fits, as Go's TLS does. Rules: `registry.md`
//! §5. Not here: reading the files, and which hosts are shown any ([`crate::tls`]).

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{DistinguishedName, SignatureScheme};
use rustls_pki_types::CertificateDer;

/// The pairs of one host, by name.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(
        &self,
        authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let is_usable = |pair: &&Arc<CertifiedKey>| {
            let is_known = |certificate| is_by(certificate, authorities);
            pair.key.choose_scheme(schemes).is_some()
                && (authorities.is_empty() || pair.cert.iter().any(is_known))
        };
        self.0.iter().find(is_usable).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Says whether one of these authorities, by their names in DER, has signed the certificate.
fn is_by(certificate: &CertificateDer<'_>, authorities: &[&[u8]]) -> bool {
    let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else { return false };
    let issuer = DistinguishedName::in_sequence(parsed.issuer());
    authorities.iter().any(|name| *name == issuer.as_ref())
}
