//! One function for each kind of foreign bytes: reads it, and checks what must hold of the outcome.
//!
//! Shared by the fuzz targets beside this file and by the test that runs the corpus
//! (`tests/fuzz/run.rs`). None may panic, whatever the bytes. Not here: generating bytes.

use orlop_oci::manifest::{By, Document};
use orlop_oci::{ImageUri, Reference};

/// Reads bytes of any kind.
pub(crate) type Entry = fn(&[u8]);

/// A function by the name of its target.
pub(crate) const ALL: &[(&str, Entry)] = &[
    ("www_authenticate", www_authenticate),
    ("reference", reference),
    ("manifest", manifest),
    ("token_answer", token_answer),
    ("registries_conf", registries_conf),
    ("docker_config", docker_config),
    ("link", link),
    ("content_range", content_range),
    ("tar", tar),
    ("pax", pax),
    ("sparse", sparse),
    ("recipe", recipe),
    ("segment_index", segment_index),
    ("squashfs", squashfs),
    ("sif", sif),
];

/// Headers, one a line.
pub(crate) fn www_authenticate(data: &[u8]) {
    orlop_registry::fuzzing::www_authenticate(data);
}

/// What a user types.
pub(crate) fn reference(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(found) = Reference::parse(&text) {
        let canonical = found.canonical();
        assert_eq!(Reference::parse_canonical(&canonical).as_ref(), Ok(&found), "{canonical}");
        let first = found.path().split_once('/').map_or("", |(first, _)| first);
        if !first.contains('.') && first != "localhost" {
            assert_eq!(Reference::parse(&found.familiar()).as_ref(), Ok(&found), "{canonical}");
        }
    }
    if let Ok(uri) = ImageUri::parse(text.as_ref()) {
        drop(uri.to_string());
    }
}

/// A manifest or index, as each kind that it can be taken for.
pub(crate) fn manifest(data: &[u8]) {
    for content_type in [
        None,
        Some("application/vnd.oci.image.manifest.v1+json"),
        Some("application/vnd.oci.image.index.v1+json"),
        Some("application/vnd.docker.distribution.manifest.v2+json"),
    ] {
        for by in [By::Tag, By::Digest] {
            if let Ok((Document::Manifest(manifest), _)) = Document::parse(data, content_type, by) {
                drop(manifest.check_image());
            }
        }
    }
    drop(orlop_oci::ImageConfig::parse(data));
}

/// A token service's answer.
pub(crate) fn token_answer(data: &[u8]) {
    orlop_registry::fuzzing::token_answer(data);
}

/// A file of registries.conf.
pub(crate) fn registries_conf(data: &[u8]) {
    orlop_config::fuzzing::registries_conf(data);
}

/// Docker's config JSON, read and edited.
pub(crate) fn docker_config(data: &[u8]) {
    use orlop_credentials::docker_json::AuthFile;
    use orlop_credentials::{Credential, Secret};
    drop(AuthFile::parse_legacy(data, "dockercfg"));
    let Ok(mut file) = AuthFile::parse(data, "config.json") else { return };
    drop(file.lookup("h.example", "a/b", &mut Vec::new()));
    drop(file.keys());
    let credential =
        Credential::Password { username: "u".to_owned(), secret: Secret::new(b"s".to_vec()) };
    file.set("h.example", &credential).expect("a plain login can be stored");
    let again = AuthFile::parse(file.text().as_bytes(), "config.json");
    let mut again = again.expect("what was edited still parses");
    assert!(again.keys().iter().any(|key| key == "h.example"), "the login is there");
    again.remove("h.example");
    AuthFile::parse(again.text().as_bytes(), "config.json").expect("and after a logout");
}

/// `Link` headers, one a line.
pub(crate) fn link(data: &[u8]) {
    orlop_registry::fuzzing::link(data);
}

/// `Content-Range` and `Range` headers.
pub(crate) fn content_range(data: &[u8]) {
    orlop_registry::fuzzing::content_range(data);
}

/// The tar of a layer.
pub(crate) fn tar(data: &[u8]) {
    orlop_image::fuzzing::tar(data);
}

/// The records of a pax header.
pub(crate) fn pax(data: &[u8]) {
    orlop_image::fuzzing::pax(data);
}

/// The map of a sparse file, in one of three formats.
pub(crate) fn sparse(data: &[u8]) {
    orlop_image::fuzzing::sparse(data);
}

/// How a SIF is made of segments, from the cache.
pub(crate) fn recipe(data: &[u8]) {
    orlop_image::fuzzing::recipe(data);
}

/// What lies where in a segment, from the cache.
pub(crate) fn segment_index(data: &[u8]) {
    orlop_image::fuzzing::segment_index(data);
}

/// A squashfs of any writer: what a walk from its root meets, up to some number of inodes.
pub(crate) fn squashfs(data: &[u8]) {
    use orlop_squashfs::{Kind, Position, Reader};
    let source = std::sync::Arc::new(data.to_vec());
    let Ok(reader) = Reader::open(source, 0, data.len() as u64) else { return };
    let mut waiting = vec![reader.root()];
    for number in 1..64 {
        let Some(reference) = waiting.pop() else { return };
        drop(reader.reference(number));
        let Ok(inode) = reader.inode(reference) else { continue };
        drop(reader.xattrs(&inode));
        match &inode.kind {
            Kind::Directory(_) => {
                let Ok(entries) = reader.entries(&inode, Position::default()) else { continue };
                for entry in entries.map_while(Result::ok).take(64) {
                    if let Ok(Some(found)) = reader.lookup(&inode, &entry.name) {
                        assert_eq!(found.name, entry.name);
                    }
                    drop(reader.entries(&inode, entry.next).map(|mut rest| rest.next()));
                    waiting.push(entry.inode);
                }
            }
            Kind::File(_) => {
                let Ok(map) = reader.file_map(&inode) else { continue };
                for piece in (0..map.pieces().min(3)).filter_map(|number| map.piece(number)) {
                    let mut bytes = Vec::new();
                    if reader.read_piece(&piece, &mut bytes).is_ok() {
                        assert_eq!(bytes.len() as u64, u64::from(piece.length));
                    }
                }
            }
            _ => {}
        }
    }
}

/// A file that may be a SIF.
pub(crate) fn sif(data: &[u8]) {
    let source = data.to_vec();
    drop(orlop_sif::recognise(&source));
    drop(orlop_sif::root_file_system(&source));
    let Ok(sif) = orlop_sif::Sif::read(&source) else { return };
    drop((orlop_sif::list(&sif), orlop_sif::header(&sif), sif.is_signed()));
    for object in sif.descriptors() {
        drop(orlop_sif::info(object));
        assert!(object.end() >= object.offset, "an object does not end before it begins");
    }
    if let Ok(primary) = sif.primary() {
        assert!(primary.is_primary());
    }
}
