//! A holder's key: who may share it. (`design.md` §12.1.)

use std::os::unix::fs::MetadataExt as _;

use sha2::{Digest as _, Sha256};

use super::{Error, Image, Mapping, Scope};

/// Of the messages between holder and caller; another number is another holder.
const PROTOCOL: u32 = 1;

/// The name of a holder: 32 hexadecimal digits, of the digest of image, mapping, the caller's user
/// namespace, scope and program version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// # Errors
    /// [`Error::Start`] without `/proc`.
    pub(super) fn new(image: &Image, mapping: Mapping, scope: &Scope) -> Result<Self, Error> {
        let namespace = std::fs::metadata("/proc/self/ns/user");
        let namespace = namespace.map_err(|cause| Error::Start { cause })?;
        let Mapping { uid, gid, inside_uid, inside_gid } = mapping;
        Ok(Self(digest(&format!(
            "{PROTOCOL} {}\n{}\n{inside_uid} {uid}\n{inside_gid} {gid}\n{}\n{}",
            env!("CARGO_PKG_VERSION"),
            image.identity,
            namespace.ino(),
            scope.as_str()
        ))))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first 128 bits of a text's SHA-256, in hexadecimal.
pub(super) fn digest(text: &str) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(32);
    for byte in Sha256::digest(text.as_bytes()).iter().take(16) {
        // Writing to a string cannot fail.
        let _infallible = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{Image, Key, Mapping, Scope};

    #[test]
    fn a_key_differs_by_image_group_and_scope_and_by_nothing_else() {
        let mut file = tempfile::tempfile().expect("a file");
        let image = || Image::of_file(file.try_clone().expect("open"), 0, 4).expect("an image");
        let mapping = Mapping { uid: 7, gid: 8, inside_uid: 7, inside_gid: 8 };
        let scope = Scope::new("0::/a", None, None);
        let key =
            |image: &Image, mapping, scope: &Scope| Key::new(image, mapping, scope).expect("a key");
        let first = image();
        let base = key(&first, mapping, &scope);
        assert_eq!(base, key(&image(), mapping, &scope));
        assert_ne!(base, key(&first, Mapping { gid: 9, ..mapping }, &scope));
        assert_ne!(base, key(&first, Mapping { inside_uid: 0, ..mapping }, &scope));
        assert_ne!(base, key(&first, mapping, &Scope::new("0::/b", None, None)));
        file.write_all(b"more").expect("written");
        let longer = Image::of_file(file.try_clone().expect("open"), 0, 4).expect("an image");
        assert_ne!(base, key(&longer, mapping, &scope));
    }
}
