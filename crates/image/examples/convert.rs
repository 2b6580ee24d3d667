//! Converts blobs given by path, whose names are their digests, all at once as layers of one image, and says what it took: the
//! conversion alone, without network, cache and sync.
//!
//! `cargo run --release -p orlop-image --example convert -- BLOB...`

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::AtomicBool;
use std::thread::available_parallelism;
use std::time::Instant;

use orlop_image::{LayerSource, Options, Workers, convert};
use orlop_oci::Digest;
use rustix::time::{ClockId, clock_gettime};

/// The digest and size of a blob, which is named by its digest.
fn described(path: &str) -> Result<(Digest, u64), Box<dyn Error + Send + Sync>> {
    let name = path.rsplit('/').next().unwrap_or_default();
    Ok((format!("sha256:{name}").parse()?, std::fs::metadata(path)?.len()))
}

/// Converts a blob; gives the bytes of its tar and its segment.
fn one(path: &str, workers: &Workers) -> Result<(u64, u64), Box<dyn Error + Send + Sync>> {
    let (digest, size) = described(path)?;
    let mut blob = File::open(path)?;
    let layer = LayerSource { digest, size, compression: None, diff_id: None };
    let mut data = tempfile::tempfile()?;
    let stop = AtomicBool::new(false);
    let made = convert(&layer, &mut blob, &mut data, &Options::default(), workers, &stop)?;
    Ok((made.index.tar_size(), made.index.data_size()))
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let threads = available_parallelism().map_or(1, usize::from);
    let missing: Vec<_> = paths.iter().map(|path| described(path)).collect::<Result<_, _>>()?;
    let workers = Workers::new(threads).for_image(&missing);
    let used = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        std::time::Duration::new(time.tv_sec.unsigned_abs(), 0).as_secs_f64()
            + f64::from(u32::try_from(time.tv_nsec).unwrap_or_default()) / 1e9
    };
    let (began, before) = (Instant::now(), used());
    let (mut tar, mut segment, workers) = (0, 0, &workers);
    std::thread::scope(|scope| {
        let one = |path| scope.spawn(move || one(path, workers));
        let threads: Vec<_> = paths.iter().map(String::as_str).map(one).collect();
        threads.into_iter().try_for_each(|thread| {
            let (bytes, made) = thread.join().map_err(|_| "a thread panicked")??;
            (tar, segment) = (tar + bytes, segment + made);
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        })
    })?;
    let (wall, cpu) = (began.elapsed().as_secs_f64(), used() - before);
    writeln!(std::io::stdout(), "{wall:.3} s, {cpu:.3} CPU-s, {tar} -> {segment} bytes")?;
    Ok(())
}
