//! Recipe and segments become a SIF file.
//!
//! Every block is read and its checksum compared before its bytes are written, so nothing
//! unchecked gets into a file; but for segments that are known to be intact, which the system copies
//! or shares without anybody reading them. Threads read, compare and write side by side, each its
//! own part of the file. Where the file system can share pages between files, whole pages are shared
//! instead of written (`copy_file_range` does that there). Gaps stay holes. What is written is on
//! its way to the disk meanwhile.
//! Not here: temporary name, fsync, rename (`orlop-publish`).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::recipe::{Bytes, Recipe, Stored};
use crate::virtual_sif::{check_files, verify};
use crate::workers::{Syncing, Written, side_by_side};

/// Bytes that are read, compared and written at a time: what a core's own cache holds.
const PORTION: u64 = 512 << 10;
/// Threads at most: more do not help, one file takes one writer at a time.
const THREADS: usize = 4;
/// Bytes of a page, of which whole ones can be shared.
const PAGE: u64 = 4096;

/// What is done at a time.
#[derive(Clone, Copy, Debug)]
enum Portion<'r> {
    /// Bytes to write at an offset.
    Write(u64, &'r [u8]),
    /// Blocks of a segment to read, compare and write at an offset.
    Copy(u64, &'r File, &'r [Stored]),
    /// The same of a segment that is known to be intact: nobody has to read them.
    Take(u64, &'r File, &'r [Stored]),
    /// The same, but written by sharing later.
    Check(&'r File, &'r [Stored]),
}

/// A run of bytes to be shared: offset in the SIF, segment, offset in it, length.
type Shared<'r> = (u64, &'r File, u64, u64);

/// Writes the SIF to `out`, an empty file open for writing: `segments` are the data files in the
/// order of [`Recipe::segments`], `intact` says of which the blocks need no checking (what it does
/// not name is checked). `progress` is told the bytes done so far; `stop` is asked now and
/// then. Not synced.
///
/// # Errors
/// [`Error::Damaged`]: a segment is not what the recipe says, to be made again; [`Error::Disk`];
/// [`Error::Stopped`]. The file is then worthless.
pub fn assemble(
    recipe: &Recipe,
    segments: &[File],
    intact: &[bool],
    out: &File,
    progress: &mut dyn FnMut(u64),
    stop: &dyn Fn() -> bool,
) -> Result<(), Error> {
    check_files(recipe, segments)?;
    let writing = |cause| Error::Disk { what: "writing the SIF", cause };
    out.set_len(recipe.sif_size()).map_err(writing)?;
    let (portions, shared) = plan(recipe, segments, intact, out)?;
    if stop() {
        return Err(Error::Stopped);
    }
    // Pages that are shared are nothing to write.
    let size = if shared.is_empty() { recipe.sif_size() } else { 0 };
    write(&portions, out, size, progress, stop)?;
    for (to, segment, from, length) in shared {
        if stop() {
            return Err(Error::Stopped);
        }
        share(out, to, segment, from, length).map_err(writing)?;
    }
    progress(recipe.sif_size());
    Ok(())
}

/// Does the portions side by side, while the disk takes what is written; `size`: bytes to write.
fn write(
    portions: &[Portion<'_>],
    out: &File,
    size: u64,
    progress: &mut dyn FnMut(u64),
    stop: &dyn Fn() -> bool,
) -> Result<(), Error> {
    let mut was_stopped = false;
    std::thread::scope(|scope| {
        let (written, syncing) = Syncing::start(scope, out, size);
        let work = Work {
            portions,
            next: AtomicUsize::new(0),
            written,
            done: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            failure: Mutex::new(None),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let helpers = threads.min(portions.len()).saturating_sub(1);
        side_by_side(helpers, &|| work.run(out, &mut || true), &mut || {
            work.run(out, &mut || {
                progress(work.done.load(Ordering::Relaxed));
                was_stopped |= stop();
                !was_stopped
            });
        });
        let failure = work.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(work.written);
        let synced = syncing.finish();
        match failure {
            Some(error) => Err(error),
            None => synced.map_err(|cause| Error::Disk { what: "writing the SIF", cause }),
        }
    })?;
    if was_stopped { Err(Error::Stopped) } else { Ok(()) }
}

/// Cuts the work into portions.
fn plan<'r>(
    recipe: &'r Recipe,
    segments: &'r [File],
    intact: &[bool],
    out: &File,
) -> Result<(Vec<Portion<'r>>, Vec<Shared<'r>>), Error> {
    let mut can_share = Vec::with_capacity(segments.len());
    for segment in segments {
        let disk = |cause| Error::Disk { what: "reading segment data", cause };
        can_share.push(shares_pages(segment, out).map_err(disk)?);
    }
    let (mut portions, mut shared) = (Vec::new(), Vec::new());
    for piece in recipe.pieces() {
        match &piece.bytes {
            Bytes::Here(bytes) => portions.push(Portion::Write(piece.offset, bytes)),
            Bytes::Segment { number, blocks } => {
                let number = *number as usize;
                let Some(file) = segments.get(number) else { continue };
                let start = blocks.first().map_or(0, |block| block.offset);
                let is_shared = can_share.get(number) == Some(&true) && piece.length >= PAGE;
                let is_intact = intact.get(number) == Some(&true);
                if is_shared {
                    shared.push((piece.offset, file, start, piece.length));
                    if is_intact {
                        continue;
                    }
                }
                let mut rest = blocks.as_slice();
                while let Some(first) = rest.first() {
                    let end = first.offset.saturating_add(PORTION);
                    let count = rest.partition_point(|block| block.offset < end);
                    let (blocks, after) = rest.split_at(count.max(1).min(rest.len()));
                    rest = after;
                    let to = piece.offset.saturating_add(first.offset.saturating_sub(start));
                    portions.push(match (is_shared, is_intact) {
                        (true, _) => Portion::Check(file, blocks),
                        (false, true) => Portion::Take(to, file, blocks),
                        (false, false) => Portion::Copy(to, file, blocks),
                    });
                }
            }
        }
    }
    Ok((portions, shared))
}

/// The portions, and how far they are.
struct Work<'r> {
    portions: &'r [Portion<'r>],
    next: AtomicUsize,
    written: Written,
    /// Bytes done.
    done: AtomicU64,
    is_over: AtomicBool,
    failure: Mutex<Option<Error>>,
}

impl Work<'_> {
    /// Does portions until there are none, one failed or `go_on` says no.
    fn run(&self, out: &File, go_on: &mut dyn FnMut() -> bool) {
        let mut buffer = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            let Some(portion) = self.portions.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            match portion.process(out, &mut buffer) {
                Ok(bytes) => {
                    self.done.fetch_add(bytes, Ordering::Relaxed);
                    self.written.add(bytes);
                }
                Err(error) => {
                    self.is_over.store(true, Ordering::Relaxed);
                    let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(error);
                    return;
                }
            }
            if !go_on() {
                self.is_over.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Portion<'_> {
    /// Does it; gives the bytes of the SIF it is about.
    fn process(&self, out: &File, buffer: &mut Vec<u8>) -> Result<u64, Error> {
        let writing = |cause| Error::Disk { what: "writing the SIF", cause };
        match *self {
            Self::Write(offset, bytes) => {
                out.write_all_at(bytes, offset).map_err(writing)?;
                Ok(bytes.len() as u64)
            }
            Self::Copy(offset, segment, blocks) => {
                checked(segment, blocks, buffer)?;
                out.write_all_at(buffer, offset).map_err(writing)?;
                Ok(buffer.len() as u64)
            }
            Self::Take(offset, segment, blocks) => {
                let length = blocks.iter().map(|block| u64::from(block.length));
                let length = length.fold(0, u64::saturating_add);
                let from = blocks.first().map_or(0, |block| block.offset);
                match copy(out, offset, segment, from, length) {
                    Ok(()) => Ok(length),
                    // Not between these two files: the long way, on which an error is told.
                    Err(_) => Self::Copy(offset, segment, blocks).process(out, buffer),
                }
            }
            Self::Check(segment, blocks) => {
                checked(segment, blocks, buffer)?;
                Ok(buffer.len() as u64)
            }
        }
    }
}

/// Reads blocks that lie one behind the other, and compares their checksums.
fn checked(segment: &File, blocks: &[Stored], buffer: &mut Vec<u8>) -> Result<(), Error> {
    let lengths = blocks.iter().map(|block| block.length as usize);
    buffer.resize(lengths.fold(0, usize::saturating_add), 0);
    let start = blocks.first().map_or(0, |block| block.offset);
    segment.read_exact_at(buffer, start).map_err(|cause| match cause.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is cut short".to_owned()),
        io::ErrorKind::StaleNetworkFileHandle => damaged("it was removed meanwhile".to_owned()),
        _ => Error::Disk { what: "reading segment data", cause },
    })?;
    let mut rest = buffer.as_slice();
    for block in blocks {
        let (bytes, after) = rest.split_at((block.length as usize).min(rest.len()));
        rest = after;
        verify(bytes, block).map_err(|error| damaged(error.to_string()))?;
    }
    Ok(())
}

fn damaged(fault: String) -> Error {
    Error::Damaged { what: "segment data", fault }
}

/// Whether the file system may let the two files share pages.
fn shares_pages(one: &File, other: &File) -> io::Result<bool> {
    // linux/magic.h and bcachefs_format.h.
    const SHARING: [u64; 3] = [0x9123_683e, 0x5846_5342, 0xca45_1a4e];
    if one.metadata()?.dev() != other.metadata()?.dev() {
        return Ok(false);
    }
    let kind = rustix::fs::fstatfs(other)?.f_type;
    Ok(u64::try_from(kind).is_ok_and(|kind| SHARING.contains(&kind)))
}

/// Copies a run, whole pages by a call that shares them. Both offsets are equal modulo a page.
fn share(out: &File, to: u64, segment: &File, from: u64, length: u64) -> io::Result<()> {
    let end = from.saturating_add(length);
    let first_page = from.next_multiple_of(PAGE).min(end);
    let last_page = (end & !PAGE.wrapping_sub(1)).max(first_page);
    for (start, stop) in [(from, first_page), (first_page, last_page), (last_page, end)] {
        let target = to.saturating_add(start.saturating_sub(from));
        copy(out, target, segment, start, stop.saturating_sub(start))?;
    }
    Ok(())
}

/// Has the system copy bytes from file to file.
fn copy(out: &File, to: u64, segment: &File, from: u64, length: u64) -> io::Result<()> {
    let (mut source, mut target, mut left) = (from, to, length);
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX);
        let (in_at, out_at) = (Some(&mut source), Some(&mut target));
        let count = rustix::fs::copy_file_range(segment, in_at, out, out_at, part)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}
