//! Digests of known bytes, and texts that are none. Rules: image spec, descriptor.md.

use proptest::prelude::*;

use super::*;

#[test]
fn the_digest_of_the_empty_config_is_the_one_of_the_image_spec() {
    assert_eq!(
        Digest::sha256(b"{}").to_string(),
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
}

#[test]
fn sha512_has_128_digits() {
    let digest = Digest::of(Algorithm::Sha512, b"");
    assert_eq!(digest.hex().len(), 128);
    assert!(digest.hex().starts_with("cf83e1357eefb8bd"));
}

#[test]
fn pieces_hash_as_the_whole() {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(b"{");
    hasher.update(b"}");
    assert_eq!(hasher.finish(), Digest::sha256(b"{}"));
}

#[test]
fn texts_that_are_no_digest_say_why() {
    let hex = "a".repeat(64);
    let rows = [
        (format!("sha256:{}", "a".repeat(63)), DigestError::Length),
        (format!("sha256:{}", "A".repeat(64)), DigestError::Format),
        (format!("sha512:{hex}"), DigestError::Length),
        (format!("blake3:{hex}"), DigestError::Algorithm { name: "blake3".into() }),
        (format!("SHA256:{hex}"), DigestError::Algorithm { name: "SHA256".into() }),
        (hex.clone(), DigestError::Format),
        (String::new(), DigestError::Format),
    ];
    for (text, expected) in rows {
        assert_eq!(text.parse::<Digest>(), Err(expected), "{text}");
    }
}

#[test]
fn raw_values_and_hex_digits_agree() {
    let digest = Digest::sha256(b"x");
    assert_eq!(Digest::from_bytes(Algorithm::Sha256, &digest.to_bytes()), Some(digest));
    assert_eq!(Digest::from_bytes(Algorithm::Sha512, &[0; 32]), None);
}

proptest! {
    #[test]
    fn parse_of_display_is_identity(bytes: Vec<u8>, long: bool) {
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let digest = Digest::of(algorithm, &bytes);
        prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
    }

    #[test]
    fn the_parser_never_panics(text: String) {
        let _digest = text.parse::<Digest>();
    }
}
