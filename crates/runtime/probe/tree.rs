//! What a directory holds, as lines to compare.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A line for each file: path, mode, owner, links, size, time, and a link's target or a hash.
pub(crate) fn write(directory: &Path, out: &mut impl std::io::Write) -> Outcome<()> {
    let mut names = std::fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort();
    for name in names {
        let path = directory.join(name);
        let status = path.symlink_metadata()?;
        let content = if status.is_symlink() {
            format!("{:?}", path.read_link()?)
        } else if status.is_file() {
            format!("{:016x}", hash(&path)?)
        } else {
            String::new()
        };
        let links = if status.is_dir() { 0 } else { status.nlink() };
        let size = if status.is_dir() { 0 } else { status.size() };
        writeln!(
            out,
            "{path:?} {:o} {}:{} {links} {size} {} {content}",
            status.mode(),
            status.uid(),
            status.gid(),
            status.mtime(),
        )?;
        if status.is_dir() {
            write(&path, out)?;
        }
    }
    Ok(())
}

/// FNV-1a over the file, read in odd pieces.
fn hash(path: &Path) -> Outcome<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 100_003];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hash);
        }
        for byte in buffer.iter().take(count) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
