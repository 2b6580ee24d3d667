//! Manifests and indexes as texts, and the manifest of a pushed SIF byte for byte.
//!
//! Rules: image spec, manifest.md and image-index.md; `registry.md` §1.4 and §7.2; `contract.md` §5.

use super::*;
use crate::digest::Digest;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn descriptor(media_type: &str, size: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{A}","size":{size}}}"#)
}

/// A manifest with these layers' descriptors.
fn manifest_with(config: &str, layers: &[&str]) -> String {
    let (config, layers) = (descriptor(config, "2"), layers.join(","));
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layers}]}}"#
    )
}

fn manifest(config: &str, layers: &[&str]) -> Manifest {
    let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer, "5")).collect();
    let layers: Vec<_> = layers.iter().map(String::as_str).collect();
    match read(&manifest_with(config, &layers)).unwrap() {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => panic!("{index:?}"),
    }
}

fn read(text: &str) -> Result<Document, ManifestError> {
    Document::parse(text.as_bytes(), None, By::Tag).map(|(document, _)| document)
}

#[test]
fn a_manifest_and_an_index_are_read() {
    let image = manifest(CONFIG, &[LAYER, LAYER]);
    assert_eq!((image.layers.len(), image.total_size()), (2, 12));
    assert_eq!(image.check_image(), Ok(()));
    let entry = format!(
        r#"{{"mediaType":"{MANIFEST}","digest":"{A}","size":7,
            "platform":{{"os":"linux","architecture":"arm","variant":"v6"}}}}"#
    );
    let text = format!(r#"{{"schemaVersion":2,"manifests":[{entry}],"annotations":null}}"#);
    let Ok(Document::Index(index)) = read(&text) else { panic!() };
    assert_eq!(index.media_type, MediaType::OciIndex);
    let platform = index.manifests[0].platform.as_ref().unwrap();
    assert_eq!(platform.to_string(), "linux/arm/v6");
}

#[test]
fn the_type_is_decided_by_the_way_of_asking() {
    let body = manifest_with(CONFIG, &[]);
    let untyped = body.replace(&format!(r#""mediaType":"{MANIFEST}","config""#), r#""config""#);
    let parse = |text: &str, header: Option<&str>, by: By| {
        let (document, warnings) = Document::parse(text.as_bytes(), header, by)?;
        Ok::<_, ManifestError>((document.media_type().clone(), warnings.len()))
    };
    let oci = MediaType::OciManifest;
    let with_charset = format!("{MANIFEST}; charset=utf-8");
    assert_eq!(parse(&body, None, By::Tag), Ok((oci.clone(), 0)));
    assert_eq!(parse(&body, Some(&with_charset), By::Tag), Ok((oci.clone(), 0)));
    assert_eq!(parse(&untyped, None, By::Tag), Ok((oci.clone(), 0)));
    for header in ["application/json", INDEX] {
        let refused = parse(&body, Some(header), By::Tag);
        assert!(matches!(refused, Err(ManifestError::MediaType { .. })), "{header}");
        assert_eq!(parse(&body, Some(header), By::Digest), Ok((oci.clone(), 1)), "{header}");
        let by = By::Descriptor(oci.clone());
        assert_eq!(parse(&body, Some(header), by), Ok((oci.clone(), 1)), "{header}");
    }
}

#[test]
fn a_document_of_both_kinds_is_refused() {
    let both = manifest_with(CONFIG, &[]).replace(r#""layers":"#, r#""manifests":[],"layers":"#);
    assert!(matches!(read(&both), Err(ManifestError::BothKinds { member: "manifests", .. })));
    let index =
        format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"config":{{}}}}"#);
    assert!(matches!(read(&index), Err(ManifestError::BothKinds { member: "config", .. })));
    let none = r#"{"schemaVersion":2}"#;
    assert_eq!(read(none), Err(ManifestError::NoKind));
}

#[test]
fn broken_members_are_refused_by_their_place() {
    let whole = manifest_with(CONFIG, &[&descriptor(LAYER, "5")]);
    let rows = [
        (r#""size":5"#, r#""size":-1"#, "layers[0].size"),
        (r#""size":5"#, r#""size":9223372036854775808"#, "layers[0].size"),
        (r#""size":5"#, r#""size":1e3"#, "layers[0].size"),
        (r#""size":5"#, r#""size":"12""#, "layers[0].size"),
        (r#","size":5"#, "", "layers[0].size"),
        (r#""schemaVersion":2"#, r#""schemaVersion":3"#, "schemaVersion"),
        (r#""schemaVersion":2,"#, "", "schemaVersion"),
        (r#""layers":["#, r#""layers":null,"x":["#, "layers"),
        (r#""config":{"#, r#""config":null,"x":{"#, "config"),
    ];
    for (from, to, expected) in rows {
        let text = whole.replacen(from, to, 1);
        assert_ne!(text, whole, "{from}");
        let error = read(&text).unwrap_err();
        assert_eq!(error.kind(), ManifestErrorKind::Invalid);
        let ManifestError::Field { at, .. } = error else { panic!("{to}: {error:?}") };
        assert_eq!(at, expected, "{to}");
    }
}

#[test]
fn digests_that_are_none_are_invalid_and_ones_that_orlop_lacks_unsupported() {
    let layer = |digest: &str| descriptor(LAYER, "5").replace(A, digest);
    let kind = |digest: &str| {
        let found = read(&manifest_with(CONFIG, &[&layer(digest)]));
        found.map_err(|error| error.kind())
    };
    let upper = A.to_uppercase().replace("SHA256", "sha256");
    let encoded = A.replace("aaaa", "%2f%");
    for digest in ["md5:00", &A.replace("sha256", "SHA256"), &A[..70], &upper, &encoded] {
        assert_eq!(kind(digest).unwrap_err(), ManifestErrorKind::Invalid, "{digest}");
    }
    let blake3 = A.replace("sha256", "blake3");
    assert_eq!(kind(&blake3).unwrap_err(), ManifestErrorKind::Unsupported);
    assert!(kind(&format!("sha512:{}", "a".repeat(128))).is_ok());
}

#[test]
fn sizes_without_a_sum_are_refused() {
    let huge = descriptor(LAYER, "9223372036854775807");
    let layers = [huge.as_str(), &huge, &huge];
    assert_eq!(read(&manifest_with(CONFIG, &layers)), Err(ManifestError::SizeSum));
    assert!(read(&manifest_with(CONFIG, &layers[..1])).is_ok());
}

#[test]
fn docker_s_first_format_is_unsupported_however_it_is_named() {
    let rows = [
        (r#"{"schemaVersion":1,"fsLayers":[]}"#, None),
        (r#"{"schemaVersion":2}"#, Some("application/vnd.docker.distribution.manifest.v1+json")),
        ("{}", Some("application/vnd.docker.distribution.manifest.v1+prettyjws")),
    ];
    for (text, header) in rows {
        let found = Document::parse(text.as_bytes(), header, By::Digest);
        assert_eq!(found.unwrap_err(), ManifestError::Schema1, "{text}");
    }
}

#[test]
fn what_is_no_image_of_layers_is_refused_with_what_it_is() {
    let sif_config = MediaType::SifConfig.to_string();
    let sif_layer = MediaType::SifLayer.to_string();
    let sif = manifest(&sif_config, &[&sif_layer]);
    assert_eq!(sif.check_image(), Err(ManifestError::SifArtifact));
    let pushed_by_oras = manifest("application/vnd.oci.empty.v1+json", &[&sif_layer]);
    assert_eq!(pushed_by_oras.check_image(), Err(ManifestError::SifArtifact));
    let encrypted = manifest(CONFIG, &[LAYER, &format!("{LAYER}+encrypted")]);
    assert!(matches!(encrypted.check_image(), Err(ManifestError::Encrypted { layer: 1, .. })));
    let helm = manifest("application/vnd.cncf.helm.config.v1+json", &[LAYER]);
    assert!(matches!(helm.check_image(), Err(ManifestError::Artifact { .. })));
    let odd = manifest(CONFIG, &[LAYER, "text/plain"]);
    assert!(matches!(odd.check_image(), Err(ManifestError::LayerType { layer: 1, .. })));
}

#[test]
fn the_one_layer_of_a_sif_is_found_whatever_the_config() {
    let sif = MediaType::SifLayer.to_string();
    let old = MediaType::OldSifLayer.to_string();
    let empty = MediaType::OciEmpty.to_string();
    let sif_config = MediaType::SifConfig.to_string();
    for layer in [&sif, &old] {
        for config in [&empty, &sif_config] {
            assert!(manifest(config, &[layer]).sif_layer().is_ok(), "{config} {layer}");
        }
    }
    let image = manifest(CONFIG, &[LAYER]);
    assert_eq!(image.sif_layer(), Err(ManifestError::NotSif));
    let two = manifest(&sif_config, &[&sif, &sif]).sif_layer().unwrap_err();
    assert_eq!(two.to_string(), "ORAS SIF image should have a single layer, found 2");
    let other = manifest(&sif_config, &["text/plain"]).sif_layer().unwrap_err();
    assert_eq!(other.to_string(), "invalid layer mediatype: text/plain");
}

#[test]
fn a_pushed_sif_s_manifest_has_apptainer_s_bytes() {
    let layer = Descriptor::new(MediaType::SifLayer, A.parse().unwrap(), 1_081_344);
    let written = Manifest::sif(&layer, "cmd.sif", &BTreeMap::new());
    let expected = concat!(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
        r#""config":{"mediaType":"application/vnd.sylabs.sif.config.v1+json","size":2,"#,
        r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"#,
        r#""layers":[{"mediaType":"application/vnd.sylabs.sif.layer.v1.sif","size":1081344,"#,
        r#""digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","#,
        r#""annotations":{"org.opencontainers.image.title":"cmd.sif"}}]}"#,
    );
    assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
    let (read, warnings) = Document::parse(&written, Some(MANIFEST), By::Tag).unwrap();
    let Document::Manifest(read) = read else { panic!() };
    assert_eq!((read.sif_layer().unwrap().size, warnings.len()), (1_081_344, 0));
    assert_eq!(read.config.digest, Digest::sha256(SIF_CONFIG));
    let notes = BTreeMap::from([("a".to_owned(), "<b>".to_owned())]);
    let with_notes = String::from_utf8(Manifest::sif(&layer, "cmd.sif", &notes)).unwrap();
    assert!(with_notes.ends_with(r#","annotations":{"a":"\u003cb\u003e"}}"#), "{with_notes}");
}

#[test]
fn as_many_diff_ids_as_layers_are_wanted() {
    let image = manifest(CONFIG, &[LAYER, LAYER]);
    assert_eq!(image.check_diff_ids(2), Ok(()));
    let error = ManifestError::LayerCount { layers: 2, diff_ids: 1 };
    assert_eq!(image.check_diff_ids(1), Err(error));
}
