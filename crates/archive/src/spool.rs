//! A compressed archive as a plain one: unpacked into a file without a name.
//!
//! gzip and zstd as layers may have them, and xz, which `docker load` and skopeo take too. Not
//! here: compressed layers within a plain archive, which stay as they are.

use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use orlop_image::{Decompressed, Limits};

use crate::error::Error;
use crate::local::Local;
use crate::tree::Content;

/// Bytes unpacked at a time.
const PIECE: usize = 1 << 20;
/// Memory for xz: what its strongest presets need.
const XZ_MEMORY: u64 = 256 << 20;

/// How an archive is compressed.
enum Compression {
    None,
    GzipOrZstd,
    Xz,
}

/// The plain form of an archive in `directory`, none when it is plain itself.
pub(crate) fn unpacked(
    local: &Local,
    whole: Content,
    directory: &Path,
    limits: &Limits,
    stop: &AtomicBool,
) -> Result<Option<File>, Error> {
    let reader: Box<dyn Read> = match compression(local)? {
        Compression::None => return Ok(None),
        Compression::GzipOrZstd => Box::new(Decompressed::new(whole, *limits)),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED);
            let stream = stream.map_err(|error| broken(local, &error.to_string()))?;
            Box::new(XzDecoder::new_stream(BufReader::with_capacity(PIECE, whole), stream))
        }
    };
    copy(local, reader, directory, limits.layer_bytes, stop).map(Some)
}

fn compression(local: &Local) -> Result<Compression, Error> {
    let mut head = [0; 6];
    let mut have = 0;
    while have < head.len() {
        let rest = head.get_mut(have..).unwrap_or_default();
        let got = local.file.read_at(rest, have as u64);
        match got.map_err(|cause| Error::Read { path: local.path.clone(), cause })? {
            0 => break,
            count => have = have.saturating_add(count),
        }
    }
    Ok(match head {
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Compression::Xz,
        [b'B', b'Z', b'h', ..] => {
            return Err(broken(local, "it is compressed by bzip2, unpack it with bunzip2"));
        }
        _ => match orlop_oci::Compression::of_first_bytes(&head) {
            orlop_oci::Compression::None => Compression::None,
            _ => Compression::GzipOrZstd,
        },
    })
}

fn broken(local: &Local, what: &str) -> Error {
    let wanted = "an archive that can be read";
    Error::NotAnArchive { path: local.path.clone(), wanted, what: what.to_owned() }
}

fn copy(
    local: &Local,
    mut reader: Box<dyn Read>,
    directory: &Path,
    limit: u64,
    stop: &AtomicBool,
) -> Result<File, Error> {
    let spool = |cause: io::Error| Error::Spool {
        path: local.path.clone(),
        directory: directory.to_owned(),
        cause,
    };
    let mut file = tempfile::tempfile_in(directory).map_err(spool)?;
    let mut buffer = vec![0; PIECE];
    let mut made = 0_u64;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let got = match reader.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(local, &error.to_string())),
        };
        made = made.saturating_add(got as u64);
        if made > limit {
            let (path, name) = (local.path.clone(), "the archive".to_owned());
            return Err(Error::Limit { path, name, key: "layer-bytes", limit });
        }
        file.write_all(buffer.get(..got).unwrap_or_default()).map_err(spool)?;
    }
}
