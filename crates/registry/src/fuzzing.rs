//! Doors for fuzzers into what reads a registry's headers and answers. Not a part of the interface.
//!
//! Each reads bytes of any kind and checks what must hold. Not here: the fuzzers (`tests/fuzz`).

use std::time::SystemTime;

use crate::range::ContentRange;
use crate::token::Granted;
use crate::{challenge, link as links};

/// `WWW-Authenticate` headers, one a line.
pub fn www_authenticate(data: &[u8]) {
    let challenges = challenge::parse(data.split(|byte| *byte == b'\n'));
    for found in &challenges {
        assert_eq!(found.scheme, found.scheme.to_ascii_lowercase());
    }
    drop(challenge::choose(&challenges));
}

/// The body of a token service's answer.
pub fn token_answer(data: &[u8]) {
    if let Ok(granted) = Granted::read(data) {
        assert!(granted.into_token(SystemTime::UNIX_EPOCH).is_some_and(|token| token.is_good()));
    }
}

/// `Link` headers, one a line.
pub fn link(data: &[u8]) {
    if let Some(address) = links::next(data.split(|byte| *byte == b'\n')) {
        assert!(!address.contains('>'));
    }
}

/// A `Content-Range` header.
pub fn content_range(data: &[u8]) {
    if let Some(range) = ContentRange::parse(data) {
        assert!(range.first <= range.last);
        assert!(range.total.is_none_or(|total| range.last < total));
    }
}
