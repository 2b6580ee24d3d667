//! The corpus of each fuzz target, and seeded changes of it, in stable Rust.
//!
//! The same changes in each run: a failure comes again. Longer runs with coverage are
//! `tests/fuzz/weekly.sh`. Not here: what is checked ([`entries`]).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod entries;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Changes of a corpus, spread over its files.
const CHANGES: usize = 4000;

/// Pieces that matter to one grammar or another.
const PIECES: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"=",
    b"<",
    b">",
    b";",
    b"@",
    b"/",
    b"*",
    b"\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"null",
    b"18446744073709551616",
    b"-1",
    b"\\u0000",
];

/// xorshift64*: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % below.max(1)
    }
}

/// Makes one to four changes.
fn changed(text: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=chance.next(4) {
        let at = chance.next(bytes.len() + 1);
        match chance.next(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.next(8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => {
                let piece = PIECES[chance.next(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            4 => {
                let from = chance.next(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            5 => {
                let end = (at + chance.next(20)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part.repeat(1 + chance.next(8)));
            }
            _ => bytes.insert(at, u8::try_from(chance.next(256)).unwrap()),
        }
    }
    bytes
}

/// Files of a target's corpus, sorted by name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn check(target: &str, entry: entries::Entry, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| entry(bytes))).is_err() {
        panic!("{target}: {:?}", bytes.escape_ascii().to_string());
    }
}

fn run(target: &str) {
    let entry = entries::ALL.iter().find(|(name, _)| *name == target).unwrap().1;
    let files = corpus(target);
    assert!(files.len() >= 5, "{target} has a corpus");
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for file in &files {
        check(target, entry, file);
        for _ in 0..CHANGES.div_ceil(files.len()) {
            let other = &files[chance.next(files.len())];
            check(target, entry, &changed(file, other, &mut chance));
        }
    }
}

macro_rules! targets {
    ($($name:ident,)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_entry_has_a_test_a_target_and_a_corpus() {
            let named: Vec<_> = entries::ALL.iter().map(|(name, _)| *name).collect();
            assert_eq!(named, [$(stringify!($name)),*]);
            let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
            for name in named {
                assert!(fuzz.join("fuzz_targets").join(format!("{name}.rs")).exists(), "{name}");
                assert!(fuzz.join("corpus").join(name).is_dir(), "{name}");
            }
        }
    };
}

targets! {
    www_authenticate,
    reference,
    manifest,
    token_answer,
    registries_conf,
    docker_config,
    link,
    content_range,
    tar,
    pax,
    sparse,
    recipe,
    segment_index,
    squashfs,
    sif,
}

#[test]
fn the_cases_of_the_data_files_pass_through_the_entries() {
    for text in [
        include_str!("../data/reference-cases.toml"),
        include_str!("../data/registries-cases.toml"),
    ] {
        entries::registries_conf(text.as_bytes());
        for line in text.lines() {
            entries::reference(line.trim_start_matches("input = ").trim_matches('"').as_bytes());
        }
    }
}
