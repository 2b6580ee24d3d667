//! One layer's conversion as a whole: equal bytes however it is done, and every way it can fail.
//!
//! Rules: the pipeline's own, [`super`]. Entry by entry: `crate::merge`'s tests.

use std::io;
use std::os::unix::fs::FileExt as _;

use super::*;
use crate::options::Method;
use crate::testing::{Tar, gzip, layer, noise, segment, segment_under};

fn many_files() -> Vec<u8> {
    let mut tar = Tar::new();
    for number in 0..300_usize {
        let length = match number % 10 {
            0 => 200_000 + number,
            1 => 131_072,
            2 => 0,
            _ => number * 37,
        };
        let text = format!("{number} lorem ipsum ").repeat(length / 14 + 1);
        let data = match number % 3 {
            0 => noise(length, number as u64),
            _ => text.as_bytes()[..length].to_vec(),
        };
        tar = tar.file(&format!("d{}/f{number}", number % 7), &data);
    }
    tar.end()
}

fn run(blob: &[u8], threads: usize, options: &Options) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let mut data = tempfile::tempfile().unwrap();
    let stop = AtomicBool::new(false);
    let workers = Workers::new(threads);
    let done = convert(&layer(blob), &mut &*blob, &mut data, options, &workers, &stop)?;
    let mut bytes = vec![0; usize::try_from(done.index.data_size()).unwrap()];
    data.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(data.metadata().unwrap().len(), done.index.data_size());
    Ok((bytes, done.index.to_bytes()))
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let blob = gzip(&many_files());
    for options in [
        Options::default(),
        Options {
            compression: Method::Gzip { level: 3 },
            block_size: 1 << 20,
            ..Options::default()
        },
    ] {
        let one = run(&blob, 1, &options).unwrap();
        for threads in [1, 2, 7] {
            assert!(run(&blob, threads, &options).unwrap() == one, "{threads} threads");
        }
    }
}

#[test]
fn gzip_zstd_and_plain_give_the_same_data_and_diff_id() {
    let tar = many_files();
    let plain = segment(&tar).unwrap().index;
    let members = [gzip(&tar[..1_000_000]), gzip(&tar[1_000_000..]), vec![0; 100]].concat();
    let frames = zstd::encode_all(tar.as_slice(), 1).unwrap();
    for blob in [members, frames] {
        let index = segment(&blob).unwrap().index;
        assert_eq!(index.diff_id(), plain.diff_id());
        assert_eq!(index.blocks(), plain.blocks());
    }
    assert_eq!(plain.diff_id().0, plain.layer().clone());
}

#[test]
fn stored_blocks_have_the_checksums_of_the_index() {
    let segment = segment(&many_files()).unwrap();
    for block in segment.index.blocks().runs().iter().filter(|block| block.size != 0) {
        let mut bytes = vec![0; block.stored() as usize];
        segment.data.read_exact_at(&mut bytes, block.offset).unwrap();
        assert_eq!(xxhash_rust::xxh3::xxh3_64(&bytes), block.checksum);
    }
}

#[test]
fn a_blob_of_other_bytes_is_a_lie_even_if_it_is_no_layer_either() {
    let (good, mut bad) = (many_files(), many_files());
    bad[100] = b'z';
    let stop = AtomicBool::new(false);
    let mut data = tempfile::tempfile().unwrap();
    let said = layer(&good);
    let mut source = bad.as_slice();
    let error =
        convert(&said, &mut source, &mut data, &Options::default(), &Workers::new(1), &stop);
    assert!(matches!(error, Err(Error::BlobDigest { .. })), "{error:?}");
    let mut short = &good[..good.len() - 512];
    let error = convert(&said, &mut short, &mut data, &Options::default(), &Workers::new(1), &stop);
    assert!(matches!(error, Err(Error::BlobSize { .. })), "{error:?}");
    let long = [good.as_slice(), b"x"].concat();
    let error =
        convert(&said, &mut &*long, &mut data, &Options::default(), &Workers::new(1), &stop);
    assert!(matches!(error, Err(Error::BlobSize { .. })), "{error:?}");
}

#[test]
fn a_diff_id_other_than_promised_is_an_error() {
    let tar = many_files();
    let blob = gzip(&tar);
    let mut said = LayerSource { diff_id: Some(DiffId(Digest::sha256(&tar))), ..layer(&blob) };
    let stop = AtomicBool::new(false);
    let mut data = tempfile::tempfile().unwrap();
    let options = Options::default();
    convert(&said, &mut &*blob, &mut data, &options, &Workers::new(1), &stop).unwrap();
    said.diff_id = Some(DiffId(Digest::sha256(b"other")));
    let error = convert(&said, &mut &*blob, &mut data, &options, &Workers::new(1), &stop);
    assert!(matches!(error, Err(Error::DiffId { .. })), "{error:?}");
}

/// Gives some bytes, then an error.
struct Breaks<'a>(&'a [u8]);

impl Read for Breaks<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::Error::from(io::ErrorKind::ConnectionReset));
        }
        self.0.read(to)
    }
}

#[test]
fn a_source_that_breaks_is_reported_as_such() {
    let tar = many_files();
    let mut source = Breaks(&tar[..500_000]);
    let stop = AtomicBool::new(false);
    let mut data = tempfile::tempfile().unwrap();
    let options = Options::default();
    let error = convert(&layer(&tar), &mut source, &mut data, &options, &Workers::new(2), &stop);
    assert!(matches!(error, Err(Error::Source { .. })), "{error:?}");
}

#[test]
fn a_set_stop_flag_ends_the_conversion() {
    let tar = many_files();
    let stop = AtomicBool::new(true);
    let mut data = tempfile::tempfile().unwrap();
    let options = Options::default();
    let error = convert(&layer(&tar), &mut &*tar, &mut data, &options, &Workers::new(2), &stop);
    assert!(matches!(error, Err(Error::Stopped)), "{error:?}");
}

#[test]
fn a_data_file_that_takes_no_bytes_is_an_error_and_no_hang() {
    let tar = many_files();
    let stop = AtomicBool::new(false);
    let mut data = File::open("/dev/null").unwrap();
    let options = Options::default();
    let error = convert(&layer(&tar), &mut &*tar, &mut data, &options, &Workers::new(2), &stop);
    assert!(matches!(error, Err(Error::Disk { .. })), "{error:?}");
}

#[test]
fn block_sizes_from_4_kib_to_1_mib_are_kept_to() {
    for block_size in [4 << 10, 128 << 10, 1 << 20] {
        let options = Options { block_size, ..Options::default() };
        let index = segment_under(&many_files(), &options).unwrap().index;
        assert_eq!(index.block_size(), block_size);
        assert!(index.blocks().runs().iter().all(|block| block.stored() <= block_size));
    }
}
