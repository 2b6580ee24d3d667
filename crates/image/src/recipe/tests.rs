//! Recipes and the SIF files they make, read back by Orlop's readers and by `unsquashfs`.
//!
//! Rules: design, "Formats and keys"; layout of a SIF: `contract.md` §7.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::Arc;

use orlop_oci::config::ImageConfig;
use orlop_oci::digest::{DiffId, Digest};
use orlop_oci::platform::Platform;
use orlop_sif::Sif;
use orlop_squashfs::{ReadAt as _, Reader, Window};

use super::*;
use crate::assemble::assemble;
use crate::limits::Limits;
use crate::options::{Method, Options};
use crate::segment::SegmentIndex;
use crate::testing::{Header, Segment, Tar, Words, noise, read_words, segment_under, words};
use crate::virtual_sif::VirtualSif;

fn inputs() -> ImageInputs {
    let config = ImageConfig {
        created: Some(1_700_000_000),
        cmd: vec!["/bin/sh".into()],
        env: vec!["PATH=/bin".into()],
        ..ImageConfig::default()
    };
    ImageInputs {
        manifest_digest: Digest::sha256(b"manifest"),
        platform: Platform::new("linux", "amd64", None),
        programs: None,
        name: "docker.io/library/x:latest".into(),
        config,
        scheme: "docker".into(),
    }
}

fn segments(tars: &[Vec<u8>], options: &Options) -> Vec<Segment> {
    tars.iter().map(|tar| segment_under(tar, options).unwrap()).collect()
}

fn recipe(inputs: &ImageInputs, segments: &[Segment], options: &Options) -> Result<Recipe, Error> {
    let layers: Vec<(SegmentKey, &SegmentIndex)> =
        segments.iter().map(|segment| (segment.key.clone(), &segment.index)).collect();
    build_recipe(inputs, &layers, options)
}

fn files(recipe: &Recipe, segments: &[Segment]) -> Vec<File> {
    let file = |key: &SegmentKey| {
        let segment = segments.iter().find(|segment| segment.key == *key).unwrap();
        segment.data.try_clone().unwrap()
    };
    recipe.segments().iter().map(file).collect()
}

fn assembled(recipe: &Recipe, segments: &[Segment]) -> (tempfile::NamedTempFile, Vec<u8>) {
    let out = tempfile::NamedTempFile::new().unwrap();
    let mut told = 0;
    let files = files(recipe, segments);
    assemble(recipe, &files, &[], out.as_file(), &mut |bytes| told = bytes, &|| false).unwrap();
    assert_eq!(told, recipe.sif_size());
    let bytes = std::fs::read(out.path()).unwrap();
    assert_eq!(bytes.len() as u64, recipe.sif_size());
    (out, bytes)
}

/// Two layers with a bit of everything.
fn layers() -> Vec<Vec<u8>> {
    let mut lower = Tar::new().dir("./", 0o755).dir("usr/", 0o755).symlink("bin", "usr/bin");
    for number in 0..60 {
        let data = noise(number * 5000, number as u64);
        lower = lower.file(&format!("usr/bin/p{number}"), &data);
    }
    let holes = [vec![0; 400_000], b"end".to_vec()].concat();
    let lower = lower
        .pax(&[("SCHILY.xattr.user.note", b"\0binary"), ("uid", b"4000000000"), ("mtime", b"99")])
        .file("usr/attributed", b"x")
        .pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02")])
        .dir("usr/with", 0o2755)
        .file("usr/holes", &holes)
        .header(&Header { device: (1, 3), mode: 0o666, ..Header::new(b'3', "dev/null") })
        .header(&Header::new(b'6', "run/pipe"))
        .file("empty", b"")
        .symlink("etc/resolv.conf", "/host/resolv.conf")
        .end();
    let mut upper = Tar::new();
    for number in (0..60).step_by(3) {
        upper = upper.file(&format!("bin/.wh.p{number}"), b"");
    }
    let upper = upper
        .file("usr/bin/p1", b"replaced")
        .link("usr/again", "usr/bin/p59")
        .link("usr/bin/small", "bin/p2")
        .end();
    vec![lower, upper]
}

/// What the recipe's squashfs holds, read back, and what the merge said.
fn read_back(source: Arc<dyn orlop_squashfs::ReadAt>, partition: (u64, u64)) -> Words {
    let reader = Reader::open(source, partition.0, partition.1).unwrap();
    read_words(&reader)
}

#[test]
fn the_sif_holds_the_merged_tree_and_what_belongs_to_every_sif() {
    for options in [
        Options::default(),
        Options { compression: Method::Gzip { level: 6 }, block_size: 4096, ..Options::default() },
        Options { block_size: 1 << 20, ..Options::default() },
    ] {
        let segments = segments(&layers(), &options);
        let recipe = recipe(&inputs(), &segments, &options).unwrap();
        let (out, _) = assembled(&recipe, &segments);
        let source = Arc::new(Window::whole(out.reopen().unwrap()).unwrap());
        let found = read_back(source, recipe.partition());
        let indexes: Vec<_> = segments.iter().map(|segment| &segment.index).collect();
        let merged = crate::merge::merge(&indexes, 1_700_000_000, &Limits::default()).unwrap();
        for (path, (text, _)) in words(&merged.tree, &segments) {
            if path != "etc/resolv.conf" {
                assert_eq!(found.get(&path).map(|(text, _)| text), Some(&text), "{path}");
            }
        }
        assert_eq!(found["etc/resolv.conf"].0, "file 644 ");
        assert_eq!(found[".run"].0, "-> .singularity.d/actions/run");
        assert!(found[".singularity.d/runscript"].0.starts_with("file 755 #!/bin/sh"));
        assert_eq!(found["usr/again"].1, found["usr/bin/p59"].1);
        assert_eq!(found.len(), words(&merged.tree, &segments).len() + 34, "{found:?}");
    }
}

#[test]
fn a_virtual_sif_has_the_bytes_of_the_assembled_one() {
    let options = Options::default();
    let segments = segments(&layers(), &options);
    let recipe = recipe(&inputs(), &segments, &options).unwrap();
    let (_, bytes) = assembled(&recipe, &segments);
    let sif = VirtualSif::new(recipe.clone(), files(&recipe, &segments)).unwrap();
    assert_eq!(sif.size(), bytes.len() as u64);
    for (offset, length) in
        [(0, bytes.len()), (0, 0), (4000, 200_000), (100_001, 7), (36_000, 90_000)]
    {
        let mut read = vec![0xaa; length];
        sif.read_at(&mut read, offset as u64).unwrap();
        assert!(read == bytes[offset..offset + length], "{length} at {offset}");
    }
    let past = sif.read_at(&mut [0; 2], bytes.len() as u64 - 1);
    assert_eq!(past.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let found = read_back(Arc::new(sif), recipe.partition());
    assert_eq!(found["usr/bin/p1"].0, "file 644 replaced");
}

#[test]
fn the_sif_is_laid_out_as_apptainer_lays_it_out() {
    let options = Options::default();
    let segments = segments(&layers(), &options);
    let recipe = recipe(&inputs(), &segments, &options).unwrap();
    let (_, bytes) = assembled(&recipe, &segments);
    let sif = Sif::read(&bytes).unwrap();
    let objects = sif.descriptors();
    assert_eq!(objects.len(), 4);
    let at = |number: usize| {
        let start = usize::try_from(objects[number].offset).unwrap();
        &bytes[start..start + usize::try_from(objects[number].size).unwrap()]
    };
    let digest = Digest::sha256(b"manifest");
    let from = format!("docker.io/library/x:latest@{digest}");
    assert_eq!(at(0), format!("bootstrap: docker\nfrom: {from}\n\n").as_bytes());
    assert!(
        at(1).starts_with(br#"{"data":{"attributes":{"environment":{"/.singularity.d/env/10-"#)
    );
    assert_eq!(at(2), br#"{"Env":["PATH=/bin"],"Cmd":["/bin/sh"]}"#);
    let primary = sif.primary().unwrap();
    assert_eq!((primary.offset, primary.size), recipe.partition());
    assert!(at(3).starts_with(b"hsqs"));
    assert_eq!(primary.offset % 4096, 0);
    assert_eq!(primary.size % 4096, 0);
    assert_eq!(sif.header().created, 1_700_000_000);
    assert_eq!(sif.header().id[6] >> 4, 8);
}

#[test]
fn every_run_keeps_its_place_within_a_page() {
    let options = Options::default();
    let segments = segments(&layers(), &options);
    let recipe = recipe(&inputs(), &segments, &options).unwrap();
    let mut runs = 0;
    for piece in recipe.pieces() {
        if let Bytes::Segment { blocks, .. } = &piece.bytes {
            assert_eq!(piece.offset % 4096, blocks[0].offset % 4096);
            runs += 1;
        }
    }
    assert!(runs > 2, "{runs}");
}

#[test]
fn nothing_of_a_deleted_file_is_in_the_sif() {
    let secret = noise(300_000, 99);
    let options = Options::default();
    let tars = [
        Tar::new().file("a", &noise(200_000, 1)).file("secret", &secret).end(),
        Tar::new().file(".wh.secret", b"").end(),
    ];
    let segments = segments(&tars, &options);
    let recipe = recipe(&inputs(), &segments, &options).unwrap();
    let (_, bytes) = assembled(&recipe, &segments);
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(holds(&noise(200_000, 1)[..64]), "what is left is there");
    for start in (0..secret.len() - 64).step_by(10_000) {
        assert!(!holds(&secret[start..start + 64]), "byte {start}");
    }
    assert_eq!(recipe.segments().len(), 1);
}

#[test]
fn a_layer_of_which_nothing_is_left_is_not_needed() {
    let options = Options::default();
    let tars =
        [Tar::new().file("a", b"old").end(), Tar::new().file("a", b"new").end(), Tar::new().end()];
    let segments = segments(&tars, &options);
    let recipe = recipe(&inputs(), &segments, &options).unwrap();
    assert_eq!(recipe.segments(), [segments[1].key.clone()]);
}

#[test]
fn a_recipe_reads_back_as_it_was_written_and_damage_is_found() {
    let options = Options::default();
    let segments = segments(&layers(), &options);
    let recipe = recipe(&inputs(), &segments, &options).unwrap();
    let bytes = recipe.to_bytes();
    let read = Recipe::from_bytes(&bytes).unwrap();
    assert_eq!(read.pieces, recipe.pieces);
    assert_eq!(read.segments, recipe.segments);
    assert_eq!((read.sif_size, read.partition), (recipe.sif_size, recipe.partition));
    for at in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Recipe::from_bytes(&damaged).is_err(), "byte {at}");
    }
}

#[test]
fn the_same_image_gives_the_same_bytes() {
    let options = Options::default();
    let make = || recipe(&inputs(), &segments(&layers(), &options), &options).unwrap().to_bytes();
    assert!(make() == make());
    let other = ImageInputs { name: "docker.io/library/y:latest".into(), ..inputs() };
    let named = recipe(&other, &segments(&layers(), &options), &options).unwrap().to_bytes();
    assert!(named != make(), "the name is part of it");
}

#[test]
fn a_damaged_segment_is_an_error_and_never_read_or_written() {
    let options = Options::default();
    let segments = segments(&layers(), &options);
    let recipe = recipe(&inputs(), &segments, &options).unwrap();
    let file = &segments[0].data;
    let mut byte = [0];
    file.read_exact_at(&mut byte, 200_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 200_000).unwrap();
    let out = tempfile::tempfile().unwrap();
    let files_of = || files(&recipe, &segments);
    let error = assemble(&recipe, &files_of(), &[], &out, &mut |_| {}, &|| false);
    assert!(matches!(error, Err(Error::Damaged { .. })), "{error:?}");
    let sif = VirtualSif::new(recipe.clone(), files_of()).unwrap();
    let whole = usize::try_from(sif.size()).unwrap();
    let error = sif.read_at(&mut vec![0; whole], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    file.set_len(1000).unwrap();
    let error = assemble(&recipe, &files_of(), &[], &out, &mut |_| {}, &|| false);
    assert!(matches!(error, Err(Error::Damaged { .. })), "{error:?}");
    assert!(matches!(VirtualSif::new(recipe.clone(), files_of()), Err(Error::Damaged { .. })));
    assert!(matches!(VirtualSif::new(recipe.clone(), Vec::new()), Err(Error::Damaged { .. })));
}

#[test]
fn intact_segments_are_copied_unread_and_give_the_same_bytes() {
    let options = Options::default();
    let segments = segments(&layers(), &options);
    let recipe = recipe(&inputs(), &segments, &options).unwrap();
    let (_out, checked) = assembled(&recipe, &segments);
    let files = files(&recipe, &segments);
    let take = || {
        let mut out = tempfile::tempfile().unwrap();
        let intact = vec![true; files.len()];
        assemble(&recipe, &files, &intact, &out, &mut |_| {}, &|| false).unwrap();
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut out, &mut bytes).unwrap();
        bytes
    };
    assert!(take() == checked);
    // Who says that it is intact has to know.
    let file = &segments[0].data;
    let mut byte = [0];
    file.read_exact_at(&mut byte, 200_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 200_000).unwrap();
    assert!(take() != checked);
    // What cannot be copied is read, and what is read is checked.
    file.set_len(1000).unwrap();
    let out = tempfile::tempfile().unwrap();
    let error = assemble(&recipe, &files, &[true, true], &out, &mut |_| {}, &|| false);
    assert!(matches!(error, Err(Error::Damaged { .. })), "{error:?}");
}

#[test]
fn an_assembly_stops_when_it_is_told_to() {
    let options = Options::default();
    let segments = segments(&layers(), &options);
    let recipe = recipe(&inputs(), &segments, &options).unwrap();
    let out = tempfile::tempfile().unwrap();
    let error = assemble(&recipe, &files(&recipe, &segments), &[], &out, &mut |_| {}, &|| true);
    assert!(matches!(error, Err(Error::Stopped)), "{error:?}");
}

#[test]
fn segments_of_another_image_or_of_other_options_are_refused() {
    let options = Options::default();
    let segments = segments(&layers(), &options);
    let mut wrong = inputs();
    wrong.config.diff_ids = vec![segments[0].index.diff_id().clone(), DiffId(Digest::sha256(b"?"))];
    assert!(matches!(recipe(&wrong, &segments, &options), Err(Error::DiffId { .. })));
    wrong.config.diff_ids.pop();
    assert!(matches!(recipe(&wrong, &segments, &options), Err(Error::Build { .. })));
    let other = Options { compression: Method::Zstd { level: 9 }, ..options };
    assert!(matches!(recipe(&inputs(), &segments, &other), Err(Error::Damaged { .. })));
}

#[test]
fn l23_more_owners_than_squashfs_can_count_are_a_limit() {
    let mut tar = Tar::new();
    for number in 1..=65_535_u64 {
        tar = tar.header(&Header { uid: number, ..Header::new(b'0', &format!("{number}")) });
    }
    let options = Options::default();
    let segments = segments(&[tar.end()], &options);
    let error = recipe(&inputs(), &segments, &options);
    assert!(matches!(error, Err(Error::ImageLimit { key: "ids", seen: 65_536, .. })), "{error:?}");
}

#[test]
fn unsquashfs_reads_what_was_written() {
    if Command::new("unsquashfs").arg("-version").output().is_err() {
        let mut stderr = io::stderr();
        writeln!(stderr, "skipped: unsquashfs is not installed").unwrap();
        return;
    }
    let options = Options::default();
    let segments = segments(&layers(), &options);
    let recipe = recipe(&inputs(), &segments, &options).unwrap();
    let (out, _) = assembled(&recipe, &segments);
    let offset = recipe.partition().0.to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new("unsquashfs")
            .args(["-offset", &offset])
            .args(arguments)
            .arg(out.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let listing = run(&["-llnumeric"]);
    for line in [
        "crw-rw-rw- 0/0",
        "squashfs-root/dev/null",
        "squashfs-root/bin -> usr/bin",
        "4000000000/0",
        "squashfs-root/.singularity.d/env/99-runtimevars.sh",
    ] {
        assert!(listing.contains(line), "{line}\n{listing}");
    }
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("tree");
    run(&["-no-xattrs", "-ignore-errors", "-d", to.to_str().unwrap()]);
    assert_eq!(std::fs::read(to.join("usr/bin/p1")).unwrap(), b"replaced");
    assert_eq!(std::fs::read(to.join("usr/bin/p50")).unwrap(), noise(250_000, 50));
}
