//! Images like those that people pull: as many bytes and files, and they compress as well.
//!
//! The measurements need gigabytes of them and no network. Half of the files read like programs'
//! text (words, some of them often), half like machine code (few instructions, many operands), a few
//! do not compress. Layers are written entry by entry, never held whole; the same seed makes the same
//! bytes. `sci`: three layers of 180, 1685 and 213 MB of tar and 62 000 files; `base`: the first of
//! them. Not here: small images for tests (`super::ready`).

use super::layer::Entry;
use super::layout::{self, Stored};
use super::{Image, tar};
use crate::digest::hex;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Layers by seed: megabytes of tar and files in it.
const LAYERS: [(u64, u64, u64); 5] =
    [(1, 180, 6_500), (2, 1685, 44_500), (3, 213, 11_000), (4, 60, 1_800), (5, 180, 6_500)];

/// Images, and the numbers of their layers in [`LAYERS`].
const IMAGES: [(&str, &[usize]); 4] =
    [("base", &[0]), ("sci", &[0, 1, 2]), ("sci-child", &[0, 1, 2, 3]), ("other", &[4])];

/// Of a hundred pieces of a file so many were in it a moment ago. With this, a hundred bytes leave 35
/// or so in gzip and zstd alike, as they do of distributions' packages.
const REPEATED: u64 = 12;

/// Files in a directory.
const TOGETHER: u64 = 40;

/// Writes all images into a layout in a new directory: `base`, `sci`, `sci-child` (and one layer
/// more), `other` (as large as `base`, and has nothing of it). `percent` of their bytes and files.
///
/// # Errors
/// What writing says; what was written stays.
pub fn write(to: &Path, percent: u64) -> io::Result<()> {
    let blobs = layout::begin(to)?;
    let stored = std::thread::scope(|scope| {
        let layers = LAYERS.map(|(seed, megabytes, files)| {
            let bytes = megabytes * 10_000 * percent;
            let files = (files * percent / 100).max(1);
            let blobs = &blobs;
            scope.spawn(move || layer(blobs, seed, bytes, files))
        });
        let ended = layers.into_iter().map(|layer| {
            layer.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        });
        ended.collect::<io::Result<Vec<Stored>>>()
    })?;
    let image = |(name, layers): (&'static str, &[usize])| {
        let layers: Vec<Stored> = layers.iter().map(|&number| stored[number].clone()).collect();
        (name, layers)
    };
    layout::end(to, &Image::tiny(), &IMAGES.map(image))
}

/// Writes bytes on and hashes them.
struct Hashed<W> {
    to: W,
    hash: Sha256,
    size: u64,
}

impl<W> Hashed<W> {
    fn new(to: W) -> Self {
        Self { to, hash: Sha256::new(), size: 0 }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write_all(bytes)?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes a layer of about so many bytes of tar among the blobs.
fn layer(blobs: &Path, seed: u64, bytes: u64, files: u64) -> io::Result<Stored> {
    let draft = blobs.join(format!("layer-{seed}"));
    let file = Hashed::new(BufWriter::with_capacity(1 << 20, File::create(&draft)?));
    let mut tar = Hashed::new(GzEncoder::new(file, flate2::Compression::default()));
    entries(&mut tar, seed, bytes, files)?;
    let diff_id = hex(&tar.hash.finalize());
    let blob = tar.to.finish()?;
    blob.to.into_inner()?.sync_all()?;
    let stored = Stored { diff_id, hex: hex(&blob.hash.finalize()), size: blob.size };
    layout::place(&draft, &blobs.join(&stored.hex))?;
    Ok(stored)
}

fn entries(to: &mut impl Write, seed: u64, bytes: u64, files: u64) -> io::Result<()> {
    if seed != 2 && seed != 3 && seed != 4 {
        for entry in super::ready::root() {
            to.write_all(&tar::one(&entry))?;
        }
    }
    let mut chance = Chance::new(seed);
    let words = Words::new(&mut chance);
    let top = format!("data{seed}");
    to.write_all(&tar::one(&Entry::dir(top.clone())))?;
    let (mut left, mut content) = (bytes, Vec::new());
    for number in 0..files {
        let place = format!("{top}/{:05}", number / TOGETHER);
        if number % TOGETHER == 0 {
            to.write_all(&tar::one(&Entry::dir(place.clone())))?;
        }
        let size = size(&mut chance, left / (files - number));
        left = left.saturating_sub(size);
        content.clear();
        let length = usize::try_from(size).map_err(io::Error::other)?;
        let kind = words.fill(&mut chance, &mut content, length);
        to.write_all(&tar::head_of_file(&format!("{place}/file{number:06}.{kind}"), size))?;
        to.write_all(&content)?;
        let padding = size.next_multiple_of(tar::BLOCK as u64) - size;
        to.write_all(&vec![0; usize::try_from(padding).unwrap_or(0)])?;
    }
    to.write_all(&[0; 2 * tar::BLOCK])
}

/// The size of a file where the rest have `mean` bytes each: many small ones, few large ones.
fn size(chance: &mut Chance, mean: u64) -> u64 {
    let part =
        |chance: &mut Chance, thousandths: u64| mean * (chance.below(2 * thousandths) + 1) / 1000;
    match chance.below(100) {
        0..85 => part(chance, 240),
        85..98 => part(chance, 3_000),
        _ => part(chance, 20_000),
    }
}

/// splitmix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    const fn below(&mut self, count: u64) -> u64 {
        (self.next() >> 33) % count
    }

    /// A place in a table of this length, the first ones far more often.
    fn early(&mut self, length: usize) -> usize {
        let (wide, of) = (1 << 16, |length: usize| length as u64);
        let one = self.below(wide);
        let place = one * one / wide * one / wide * of(length) / wide;
        usize::try_from(place).unwrap_or(0)
    }
}

/// What files are made of.
struct Words {
    text: Vec<Vec<u8>>,
    code: Vec<Vec<u8>>,
}

impl Words {
    fn new(chance: &mut Chance) -> Self {
        let mut table = |count: usize, least: u64, more: u64, letters: &[u8]| {
            let word = |chance: &mut Chance| {
                let length = least + chance.below(more);
                (0..length).map(|_| letters[chance.early(letters.len())]).collect::<Vec<u8>>()
            };
            (0..count).map(|_| word(chance)).collect::<Vec<_>>()
        };
        let letters = b"etaoinshrdlucmfwypvbgkjqxz_ETAOIN(),.=";
        let every: Vec<u8> = (0..=255).collect();
        Self { text: table(5000, 2, 10, letters), code: table(3000, 2, 6, &every) }
    }

    /// Adds `length` bytes of one kind, and says which: `txt`, `bin`, `dat` (does not compress).
    fn fill(&self, chance: &mut Chance, out: &mut Vec<u8>, length: usize) -> &'static str {
        out.reserve(length + 128);
        let kind = match chance.below(100) {
            0..46 => "txt",
            46..93 => "bin",
            _ => "dat",
        };
        while out.len() < length {
            match kind {
                "dat" => out.extend_from_slice(&chance.next().to_le_bytes()),
                // Something that was there a moment ago.
                _ if out.len() > 100 && chance.below(100) < REPEATED => {
                    let back = 100 + chance.early((out.len() - 100).min(30_000));
                    let count = 8 + usize::try_from(chance.below(80)).unwrap_or(0);
                    let from = out.len() - back;
                    out.extend_from_within(from..from + count);
                }
                "txt" => {
                    out.extend_from_slice(&self.text[chance.early(self.text.len())]);
                    out.push(if chance.below(9) == 0 { b'\n' } else { b' ' });
                }
                _ => {
                    out.extend_from_slice(&self.code[chance.early(self.code.len())]);
                    if chance.below(3) == 0 {
                        out.push(chance.next().to_le_bytes()[0]);
                    }
                }
            }
        }
        out.truncate(length);
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Built, Digest};

    #[test]
    fn the_images_are_whole_and_share_their_lower_layers() {
        let at = tempfile::tempdir().unwrap();
        write(at.path(), 1).unwrap();
        let of = |name: &str| Built::from_layout(at.path(), name).unwrap();
        let (base, sci, child) = (of("base"), of("sci"), of("sci-child"));
        assert_eq!((base.layers.len(), sci.layers.len(), child.layers.len()), (1, 3, 4));
        assert_eq!(base.layers, sci.layers[..1]);
        assert_eq!(sci.layers, child.layers[..3]);
        assert_ne!(of("other").layers, base.layers);
        for (digest, blob) in &sci.blobs {
            assert_eq!(Digest::of(&blob.to_vec().unwrap()), *digest);
        }
    }

    #[test]
    fn they_compress_as_what_people_pull_does() {
        let mut tar = Vec::new();
        entries(&mut tar, 2, 4_000_000, 100).unwrap();
        let packed = super::super::layer::pack(tar.clone(), crate::Compression::Gzip);
        let percent = packed.len() * 100 / tar.len();
        assert!((30..50).contains(&percent), "{percent} % are left");
        assert!((3_000_000..6_000_000).contains(&tar.len()), "{} bytes", tar.len());
    }
}
