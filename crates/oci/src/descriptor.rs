//! Descriptors: media type, digest and size of something a registry holds.
//!
//! Spec: image spec, descriptor.md. A descriptor read from a document has a checked digest, a size
//! below 2^63 and, when it carries its content in `data`, content that has its size and digest.
//! Not here: fetching (`orlop-registry`).

use std::collections::BTreeMap;

use crate::digest::{Digest, DigestError};
use crate::json::Json;
use crate::manifest::{Fields, ManifestError};
use crate::media_type::MediaType;
use crate::platform::Platform;

/// What a document says about one blob or manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Type of the content.
    pub media_type: MediaType,
    /// Digest of the content.
    pub digest: Digest,
    /// Bytes of the content.
    pub size: u64,
    /// Annotations, sorted by key.
    pub annotations: BTreeMap<String, String>,
    /// Other places that may have the content; used for foreign layers only, and only on demand.
    pub urls: Vec<String>,
    /// Type of an artifact that is no image.
    pub artifact_type: Option<String>,
    /// Platform of an entry of an index; `None` when the entry names none.
    pub platform: Option<Platform>,
    /// The content itself, checked against size and digest.
    pub data: Option<Vec<u8>>,
}

impl Descriptor {
    /// Returns a descriptor with nothing but the three required members.
    #[must_use]
    pub const fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            annotations: BTreeMap::new(),
            urls: Vec::new(),
            artifact_type: None,
            platform: None,
            data: None,
        }
    }

    /// Returns the descriptor of `content`.
    #[must_use]
    pub fn of(media_type: MediaType, content: &[u8]) -> Self {
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        Self::new(media_type, Digest::sha256(content), size)
    }

    /// Reads a descriptor; `at` names its place in the document for messages.
    pub(crate) fn from_json(json: &Json, at: &str) -> Result<Self, ManifestError> {
        let fields = Fields::new(json, at)?;
        let media_type = MediaType::parse(fields.required_string("mediaType")?);
        let digest = fields.required_string("digest")?;
        let digest = digest.parse::<Digest>().map_err(|cause| digest_error(&fields, cause))?;
        let size = fields.size("size")?;
        let platform = match json.get("platform") {
            Some(platform) => Some(platform_from_json(platform, &fields.place("platform"))?),
            None => None,
        };
        let data = match fields.string("data")? {
            Some(text) => Some(checked_data(text, &digest, size, &fields)?),
            None => None,
        };
        Ok(Self {
            media_type,
            digest,
            size,
            annotations: fields.string_map("annotations")?,
            urls: fields.strings("urls")?,
            artifact_type: fields.string("artifactType")?.map(str::to_owned),
            platform,
            data,
        })
    }
}

/// A registered algorithm that Orlop lacks is the image's choice; anything else is a broken
/// document.
fn digest_error(fields: &Fields<'_>, cause: DigestError) -> ManifestError {
    let at = fields.place("digest");
    match cause {
        DigestError::Algorithm { ref name } if name == "blake3" => {
            ManifestError::UnsupportedAlgorithm { at, name: name.clone() }
        }
        cause => ManifestError::Digest { at, cause },
    }
}

fn platform_from_json(json: &Json, at: &str) -> Result<Platform, ManifestError> {
    let fields = Fields::new(json, at)?;
    Ok(Platform::new(
        fields.string("os")?.unwrap_or_default(),
        fields.string("architecture")?.unwrap_or_default(),
        fields.string("variant")?,
    ))
}

fn checked_data(
    text: &str,
    digest: &Digest,
    size: u64,
    fields: &Fields<'_>,
) -> Result<Vec<u8>, ManifestError> {
    let at = fields.place("data");
    let data = decode_base64(text)
        .ok_or_else(|| ManifestError::Field { at: at.clone(), expected: "base64" })?;
    let is_the_content =
        u64::try_from(data.len()) == Ok(size) && Digest::of(digest.algorithm(), &data) == *digest;
    if is_the_content {
        Ok(data)
    } else {
        Err(ManifestError::Field { at, expected: "content of the descriptor's size and digest" })
    }
}

/// Standard alphabet with padding, RFC 4648 section 4; nothing else.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_bytes().as_chunks::<4>();
    let mut out = Vec::with_capacity(groups.len().saturating_mul(3));
    for (index, group) in groups.iter().enumerate() {
        let is_last = index.saturating_add(1) == groups.len();
        let padding = match group {
            [_, _, b'=', b'='] if is_last => 2,
            [_, _, _, b'='] if is_last => 1,
            _ => 0,
        };
        let mut bits = 0_u32;
        for (place, &letter) in group.iter().enumerate() {
            let is_padding = place >= 4_usize.saturating_sub(padding);
            bits = (bits << 6) | if is_padding { 0 } else { base64_value(letter)? };
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        out.extend(bytes.iter().take(3_usize.saturating_sub(padding)));
    }
    rest.is_empty().then_some(out)
}

fn base64_value(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter.wrapping_sub(b'A'),
        b'a'..=b'z' => letter.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => letter.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Descriptor, ManifestError> {
        Descriptor::from_json(&Json::parse(text.as_bytes()).unwrap(), "config")
    }

    #[test]
    fn base64_is_read_strictly() {
        let rows: [(&str, Option<&[u8]>); 8] = [
            ("e30=", Some(b"{}")),
            ("", Some(b"")),
            ("Zg==", Some(b"f")),
            ("Zm9v", Some(b"foo")),
            ("e30", None),
            ("e3=0", None),
            ("Zg==Zg==", None),
            ("e3_=", None),
        ];
        for (text, expected) in rows {
            assert_eq!(decode_base64(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn data_that_is_the_content_is_kept() {
        let text = r#"{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"data":"e30=",
            "digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#;
        assert_eq!(read(text).unwrap().data.as_deref(), Some(b"{}".as_slice()));
    }

    #[test]
    fn data_that_is_something_else_is_refused() {
        let text = r#"{"mediaType":"x","size":2,"data":"e30=",
            "digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#;
        assert!(matches!(read(text), Err(ManifestError::Field { at, .. }) if at == "config.data"));
    }
}
