//! Files laid out, read, listed, damaged.

#![expect(clippy::arithmetic_side_effects, reason = "tests")]

use proptest::prelude::*;

use crate::{
    Architecture, DATA_OFFSET, DataType, Error, FileSystem, ImageKind, Layout, Link, NewObject,
    PartitionKind, Sif, Stamp, header, info, list, recognise, root_file_system, uuid_v8,
};

const STAMP: Stamp = Stamp { id: [0x11; 16], time: 1_795_517_660 };

/// The superblock of a squashfs of `bytes` bytes, enough to be recognised.
fn superblock(bytes: u64) -> Vec<u8> {
    let mut out = b"hsqs".to_vec();
    for number in [5_u32, 0, 131_072, 0] {
        out.extend(number.to_le_bytes());
    }
    for number in [6_u16, 17, 0x80, 1, 4, 0] {
        out.extend(number.to_le_bytes());
    }
    for number in [0, bytes, bytes - 8, u64::MAX, 96, 200, u64::MAX, u64::MAX] {
        out.extend(number.to_le_bytes());
    }
    out
}

/// The example of the contract: 49, 4490 and 336 bytes, then a partition of 1044480.
fn example() -> Vec<u8> {
    let objects = [
        NewObject::definition(49),
        NewObject::json("inspect-metadata.json", 4490),
        NewObject::json("oci-config.json", 336),
        NewObject::squashfs(1_044_480, Some(Architecture::Amd64)),
    ];
    let layout = Layout::new(&STAMP, &objects).unwrap();
    assert_eq!(layout.head.len() as u64, DATA_OFFSET);
    assert_eq!(layout.offsets, [32_176, 32_225, 36_715, 40_960]);
    assert_eq!(layout.size, 1_085_440);
    let mut bytes = layout.head;
    bytes.resize(40_960, 0);
    bytes.extend(superblock(1_041_948));
    bytes.resize(1_085_440, 0);
    bytes
}

fn slot(number: usize) -> usize {
    4096 + number * 585
}

/// The example with some bytes changed.
fn with(changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = example();
    for (at, value) in changes {
        bytes[*at..at + value.len()].copy_from_slice(value);
    }
    bytes
}

#[test]
fn what_is_laid_out_is_read() {
    let sif = Sif::read(&example()).unwrap();

    let header = sif.header();
    assert_eq!(header.launch_script, b"#!/usr/bin/env run-singularity\n");
    assert_eq!(header.architecture, Some(Architecture::Amd64));
    assert_eq!((header.id, header.created, header.modified), ([0x11; 16], STAMP.time, STAMP.time));
    assert_eq!((header.descriptors_free, header.descriptors_total), (44, 48));
    assert_eq!((header.descriptors_offset, header.descriptors_size), (4096, 28_080));
    assert_eq!((header.data_offset, header.data_size), (32_176, 1_053_264));
    let types: Vec<_> = sif.descriptors().iter().map(|object| object.data_type).collect();
    let json = DataType::GenericJson;
    assert_eq!(types, [DataType::Definition, json, json, DataType::Partition]);
    let config = sif.named(json, "oci-config.json").unwrap();
    assert_eq!((config.id, config.offset, config.size), (3, 36_715, 336));
    assert_eq!((config.group, config.link), (1, Link::None));
    let primary = sif.primary().unwrap();
    assert_eq!((primary.id, primary.size_with_padding), (4, 1_044_480 + 3909));
    let partition = primary.partition().unwrap();
    assert_eq!(partition.file_system, FileSystem::Squashfs);
    assert_eq!(partition.kind, PartitionKind::PrimarySystem);
    assert_eq!(partition.architecture, Some(Architecture::Amd64));
    assert!(!sif.is_signed());
    assert!(matches!(sif.object(9), Err(Error::NotFound { id: 9 })));
}

#[test]
fn the_bytes_are_where_the_format_has_them() {
    let bytes = example();

    assert_eq!(&bytes[..32], b"#!/usr/bin/env run-singularity\n\0");
    assert_eq!(&bytes[32..48], b"SIF_MAGIC\x0001\x0002\0");
    assert_eq!(&bytes[80..88], &44_u64.to_le_bytes());
    assert!(bytes[128..4096].iter().all(|&byte| byte == 0));
    let partition = &bytes[slot(3)..slot(4)];
    assert_eq!(partition[..17], [4, 0x40, 0, 0, 1, 4, 0, 0, 0, 1, 0, 0, 0xf0, 0, 0, 0, 0]);
    assert_eq!(partition[17..25], 40_960_u64.to_le_bytes());
    assert_eq!(partition[201..212], *b"\x01\0\0\0\x02\0\0\x0002\0");
    assert_eq!(&bytes[slot(1) + 73..slot(1) + 94], b"inspect-metadata.json");
    assert!(bytes[slot(4)..32_176].iter().all(|&byte| byte == 0));
}

#[test]
fn listings_are_printed_as_by_apptainer() {
    // Group linked, signed, and a name with a control character.
    let signature = [0x05, 0x40, 0, 0, 1, 5, 0, 0, 0, 0, 0, 0, 0xf0, 1, 0, 0, 0xf0];
    let mut bytes = with(&[(slot(4), &signature), (slot(1) + 73, b"in\x1bspect")]);
    bytes[slot(4) + 17..slot(4) + 19].copy_from_slice(&0x9c40_u16.to_le_bytes());
    bytes[slot(4) + 201] = 1;
    bytes[slot(4) + 205..slot(4) + 208].copy_from_slice(&[0xab, 0xcd, 0xef]);
    let sif = Sif::read(&bytes).unwrap();
    let rule = "-".repeat(78);

    assert_eq!(
        list(&sif),
        format!(
            "{rule}\n\
             ID   |GROUP   |LINK    |SIF POSITION (start-end)  |TYPE\n\
             {rule}\n\
             1    |1       |NONE    |32176-32225               |Def.FILE\n\
             2    |1       |NONE    |32225-36715               |JSON.Generic\n\
             3    |1       |NONE    |36715-37051               |JSON.Generic\n\
             4    |1       |NONE    |40960-1085440             |FS (Squashfs/*System/amd64)\n\
             5    |NONE    |1   (G) |40000-40000               |Signature (SHA-256)\n"
        )
    );
    assert_eq!(
        header(&sif),
        "Launch Script:        #!/usr/bin/env run-singularity\n\
         Version:              01\n\
         Primary Architecture: amd64\n\
         ID:                   11111111-1111-1111-1111-111111111111\n\
         Created At:           2026-11-24 10:54:20 +0000 UTC\n\
         Modified At:          2026-11-24 10:54:20 +0000 UTC\n\
         Descriptors Free:     44\n\
         Descriptors Total:    48\n\
         Descriptors Offset:   4096\n\
         Descriptors Size:     27 KiB\n\
         Data Offset:          32176\n\
         Data Size:            1 MiB\n"
    );
    assert_eq!(
        info(sif.object(4).unwrap()),
        "  Data Type:        FS\n  \
           ID:               4\n  \
           Group ID:         1\n  \
           Linked ID:        NONE\n  \
           Offset:           40960\n  \
           Size:             1044480\n  \
           Created At:       2026-11-24 10:54:20 +0000 UTC\n  \
           Modified At:      2026-11-24 10:54:20 +0000 UTC\n  \
           Filesystem Type:  Squashfs\n  \
           Partition Type:   *System\n  \
           Architecture:     amd64\n"
    );
    assert!(info(sif.object(2).unwrap()).contains("  Name:         in\\u{1b}spectmetadata.json\n"));
    let signature = info(sif.object(5).unwrap());
    assert!(signature.contains("  Linked ID:    1 (G)\n"), "{signature}");
    assert!(signature.contains("  Entity:       ABCDEF0000"), "{signature}");
}

#[test]
fn a_header_without_architecture_id_and_times_leaves_their_lines_out() {
    let year_one = (-62_135_596_800_i64).to_le_bytes();
    let bytes = with(&[(45, b"00"), (48, &[0; 16]), (64, &year_one), (72, &year_one)]);

    let text = header(&Sif::read(&bytes).unwrap());

    assert!(
        text.starts_with("Launch Script:      #!/usr/bin/env run-singularity\nVersion:"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[test]
fn a_file_that_contradicts_itself_is_refused_in_the_known_words() {
    let number = |number: i64| number.to_le_bytes();
    let read = |changes: &[(usize, &[u8])]| Sif::read(&with(changes)).unwrap_err().to_string();

    assert_eq!(read(&[(32, b"SIF_MAGIX")]), "invalid SIF magic");
    assert_eq!(read(&[(42, b"02")]), "incompatible SIF version");
    for total in [0, -1, 65_536, i64::MAX] {
        assert!(read(&[(88, &number(total))]).starts_with("invalid SIF header"), "{total}");
    }
    assert!(read(&[(104, &number(28_079))]).starts_with("invalid SIF header"));
    assert!(read(&[(96, &number(-1))]).starts_with("invalid SIF header"));
    assert!(read(&[(96, &number(127))]).starts_with("invalid SIF header"));
    let far = read(&[(96, &number(1_085_440 - 28_079))]);
    assert_eq!(far, "reading descriptors: unexpected EOF");
    for (at, value) in [(17, -1), (17, 32_175), (17, 1_085_440), (25, -1), (25, i64::MAX)] {
        let text = read(&[(slot(1) + at, &number(value))]);
        assert!(text.starts_with("invalid SIF object 2: "), "{at} {value}: {text}");
    }
    let bytes = example();
    for length in [0, 127] {
        let error = Sif::read(&bytes[..length].to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "reading global header: unexpected EOF");
    }
    let error = Sif::read(&bytes[..32_175].to_vec()).unwrap_err();
    assert_eq!(error.to_string(), "reading descriptors: unexpected EOF");
    // Cut within an object.
    assert!(matches!(Sif::read(&bytes[..40_961].to_vec()), Err(Error::Object { id: 4, .. })));
}

#[test]
fn odd_but_harmless_files_are_read() {
    let odd = with(&[(0, &[0; 32]), (48, &[0xff; 16]), (64, &[0xff; 16]), (slot(0) + 5, &[9])]);
    assert!(root_file_system(&odd).is_ok());
    // An unused slot may hold anything.
    assert!(Sif::read(&with(&[(slot(7) + 17, &[0xff; 100])])).is_ok());
}

#[test]
fn the_root_file_system_is_found_or_refused_with_a_reason() {
    let root = root_file_system(&example()).unwrap();
    assert_eq!((root.offset, root.length), (40_960, 1_044_480));
    assert_eq!(root.architecture, Some(Architecture::Amd64));

    let refused = |changes: &[(usize, &[u8])]| {
        let error = root_file_system(&with(changes)).unwrap_err();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    };
    let extra = slot(3) + 201;
    assert_eq!(refused(&[(extra + 4, &[1])]), "no root filesystem found");
    assert_eq!(refused(&[(extra, &[5])]), "encrypted images are not supported");
    assert_eq!(refused(&[(extra, &[6])]), "encrypted images are not supported");
    assert_eq!(refused(&[(extra, &[2])]), "Ext3 images are not supported");
    assert_eq!(
        refused(&[(40_960, b"hsqz")]),
        "while checking system partition header: no squashfs: the magic is missing"
    );
    assert_eq!(
        refused(&[(40_980, &[9])]),
        "while checking system partition header: unknown squashfs compression 9"
    );
    assert_eq!(
        refused(&[(slot(3) + 25, &95_u64.to_le_bytes())]),
        "while checking system partition header: no squashfs: the magic is missing"
    );
    let mut two = example();
    two.copy_within(slot(3)..slot(4), slot(5));
    two[slot(5) + 5] = 6;
    let error = root_file_system(&two).unwrap_err();
    assert!(matches!(error, Error::TwoRoots { first: 4, second: 6 }), "{error}");
}

#[test]
fn files_are_recognised_by_their_first_bytes() {
    let padded = |head: &[u8], length: usize| {
        let mut bytes = head.to_vec();
        bytes.resize(length, 0);
        bytes
    };
    let launch = b"#!/usr/bin/env run-singularity\n";
    let old = [&launch[..], &superblock(2500)].concat();
    let mut ext3 = vec![0; 1080];
    ext3.extend([0x53, 0xef]);
    let rows = [
        (example(), ImageKind::Sif),
        (padded(&superblock(2500), 4096), ImageKind::Squashfs { offset: 0 }),
        (padded(&old, 4096), ImageKind::Squashfs { offset: 31 }),
        (padded(&ext3, 4096), ImageKind::Ext3 { offset: 0 }),
        (padded(&[&launch[..], &ext3].concat(), 4096), ImageKind::Ext3 { offset: 31 }),
        (padded(&superblock(1500), 2047), ImageKind::Unknown),
        (padded(launch, 4096), ImageKind::Unknown),
        (padded(&launch[..30], 31), ImageKind::Unknown),
        (padded(b"<!doctype html>", 4096), ImageKind::Unknown),
        (Vec::new(), ImageKind::Unknown),
    ];
    for (number, (bytes, kind)) in rows.iter().enumerate() {
        assert_eq!(recognise(bytes).unwrap(), *kind, "row {number}");
    }

    let root = root_file_system(&padded(&old, 4096)).unwrap();
    assert_eq!((root.offset, root.length, root.architecture), (31, 4096 - 31, None));
    let error = root_file_system(&padded(b"text", 4096)).unwrap_err();
    assert_eq!(error.to_string(), "image format not recognized");
}

#[test]
fn what_a_sif_cannot_hold_is_refused() {
    let json = NewObject::json("a", 1);
    assert!(Layout::new(&STAMP, &vec![json.clone(); 48]).is_ok());
    assert!(Layout::new(&STAMP, &vec![json.clone(); 49]).is_err());
    assert!(Layout::new(&STAMP, &[NewObject::json(&"n".repeat(128), 1)]).is_ok());
    assert!(Layout::new(&STAMP, &[NewObject::json(&"n".repeat(129), 1)]).is_err());
    assert!(Layout::new(&STAMP, &[NewObject::json("a", u64::MAX), json]).is_err());
    let partition = NewObject::squashfs(4096, None);
    assert!(Layout::new(&STAMP, &[partition.clone(), partition]).is_err());
}

#[test]
fn a_partition_of_no_known_architecture_is_listed_as_unknown() {
    let layout = Layout::new(&STAMP, &[NewObject::squashfs(4096, None)]).unwrap();
    assert_eq!(layout.offsets, [32_768]);
    let mut bytes = layout.head;
    bytes.resize(usize::try_from(layout.size).unwrap(), 0);

    let sif = Sif::read(&bytes).unwrap();

    assert_eq!(sif.header().architecture, None);
    assert!(list(&sif).ends_with("|FS (Squashfs/*System/unknown)\n"));
}

#[test]
fn an_id_is_a_uuid_of_version_8() {
    let id = uuid_v8([0xff; 16]);
    assert_eq!((id[6], id[8]), (0x8f, 0xbf));
    let id = uuid_v8([0; 16]);
    assert_eq!((id[6], id[8]), (0x80, 0x80));
}

#[test]
fn architectures_have_their_codes() {
    let rows = [
        ("386", b"01\0"),
        ("amd64", b"02\0"),
        ("arm64", b"04\0"),
        ("ppc64le", b"06\0"),
        ("mips64le", b"10\0"),
        ("s390x", b"11\0"),
        ("riscv64", b"12\0"),
        ("loong64", b"13\0"),
    ];
    for (name, code) in rows {
        let architecture = Architecture::from_name(name).unwrap();
        assert_eq!((architecture.name(), architecture.code()), (name, *code));
        assert_eq!(Architecture::from_code(*code), Some(architecture));
    }
    assert_eq!(Architecture::from_code(*b"00\0"), None);
    assert_eq!(Architecture::from_code(*b"14\0"), None);
    for name in ["386", "amd64", "arm", "arm64", "ppc64", "ppc64le", "mips", "mips64le", "s390x"] {
        let architecture = Architecture::from_name(name).unwrap();
        assert_eq!(Architecture::of_program(&architecture.program_head()), Some(architecture));
    }
    let arm64 = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0";
    assert_eq!(Architecture::Arm64.program_head(), *arm64);
    assert_eq!(Architecture::of_program(b"#!/bin/sh, and more of it"), None);
    assert!(Architecture::I386.runs_on(Architecture::Amd64));
    assert!(Architecture::Arm.runs_on(Architecture::Arm64));
    assert!(!Architecture::Amd64.runs_on(Architecture::I386));
    assert!(!Architecture::Arm64.runs_on(Architecture::Amd64));
}

proptest! {
    #[test]
    fn a_damaged_file_never_panics(
        changes in prop::collection::vec((0..32_176_usize, any::<u8>()), 1..8),
        heads in prop::collection::vec((80..128_usize, any::<u8>()), 0..3),
    ) {
        let mut bytes = example();
        for (at, value) in changes.into_iter().chain(heads) {
            bytes[at] = value;
        }
        drop(root_file_system(&bytes));
        if let Ok(sif) = Sif::read(&bytes) {
            let _text = (list(&sif), header(&sif));
            for object in sif.descriptors() {
                prop_assert!(object.end() <= 1_085_440);
                prop_assert!(!info(object).is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        drop(root_file_system(&bytes));
        drop(Sif::read(&bytes));
    }

    #[test]
    fn any_objects_come_back_as_they_were_laid_out(
        sizes in prop::collection::vec(0..10_000_u64, 0..40),
        partition in 0..100_000_u64,
        time in any::<i64>(),
    ) {
        let mut objects: Vec<_> =
            sizes.iter().map(|size| NewObject::json(&format!("n{size}"), *size)).collect();
        objects.push(NewObject::squashfs(partition, Some(Architecture::Riscv64)));
        let layout = Layout::new(&Stamp { time, ..STAMP }, &objects).unwrap();
        let mut bytes = layout.head.clone();
        bytes.resize(usize::try_from(layout.size).unwrap(), 0);

        let sif = Sif::read(&bytes).unwrap();

        let offsets: Vec<_> = sif.descriptors().iter().map(|object| object.offset).collect();
        prop_assert_eq!(&offsets, &layout.offsets);
        prop_assert_eq!(sif.primary().unwrap().offset % 4096, 0);
        prop_assert_eq!(sif.primary().unwrap().end(), layout.size);
        let mut end = DATA_OFFSET;
        for object in sif.descriptors() {
            prop_assert!(object.offset >= end);
            end = object.end();
            prop_assert_eq!((object.created, object.modified), (time, time));
        }
        let _text = (list(&sif), header(&sif));
    }
}
