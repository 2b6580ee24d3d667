//! Tokens that a real registry believes: signed by a key whose certificate it was given.
//!
//! JWTs as the distribution project's token documents describe them, ES256, the certificate in
//! the header. Not here: who gets one ([`super::auth`]).

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use std::fmt;
use std::sync::Arc;

/// Who issues the tokens, and for which service.
pub(crate) const ISSUER: &str = "kit";

/// A key and its certificate.
#[derive(Clone)]
pub struct Signer {
    key: Arc<EcdsaKeyPair>,
    certificate: Vec<u8>,
    certificate_pem: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Default for Signer {
    fn default() -> Self {
        Self::new()
    }
}

impl Signer {
    /// A new key with a certificate that it signed itself.
    ///
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn new() -> Self {
        let pair = KeyPair::generate().expect("a key can be made");
        let certificate = CertificateParams::new(vec!["tokens.example".to_owned()])
            .expect("a name")
            .self_signed(&pair)
            .expect("it signs itself");
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &pair.serialize_der(),
            &SystemRandom::new(),
        );
        Self {
            key: Arc::new(key.expect("the key that was just made")),
            certificate: certificate.der().to_vec(),
            certificate_pem: certificate.pem(),
        }
    }

    /// The certificate, for the registry's settings.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A token for what the scopes allow; `number` makes it another one than all before.
    pub(crate) fn token(&self, user: Option<&str>, scopes: &[String], number: usize) -> String {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let header = serde_json::json!({
            "typ": "JWT", "alg": "ES256", "x5c": [BASE64_STANDARD.encode(&self.certificate)],
        });
        let access: Vec<_> = scopes.iter().filter_map(|scope| access(scope)).collect();
        let claims = serde_json::json!({
            "iss": ISSUER, "sub": user.unwrap_or_default(), "aud": ISSUER, "iat": now,
            "nbf": now - 60, "exp": now + 300, "jti": number.to_string(), "access": access,
        });
        let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.expect("a key signs"));
        format!("{signed}.{signature}")
    }
}

/// `repository:name:pull,push` as a claim.
fn access(scope: &str) -> Option<serde_json::Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: Vec<&str> = actions.split(',').collect();
    Some(serde_json::json!({ "type": kind, "name": name, "actions": actions }))
}
