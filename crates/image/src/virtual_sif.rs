//! A SIF that is read without being written anywhere: recipe and segments.
//!
//! Whatever is read of a segment is read in whole blocks whose checksums are compared, so nothing
//! unchecked is handed out. Reads that are whole blocks, as those of a squashfs reader are, go
//! straight into the caller's buffer. A file that no longer serves (removed by another node, damaged)
//! is opened anew by its name, where somebody can ([`Mend`]): the same key means the same bytes.
//! Not here: the squashfs in it (`orlop-squashfs`).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Arc, PoisonError, RwLock};

use orlop_squashfs::ReadAt;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;
use crate::recipe::{Bytes, Piece, Recipe, Stored};

/// Modification time, in seconds after 1970, of a segment's data file in which somebody met a
/// damaged block: it is to be read whole before it is used again.
pub const DOUBTED: i64 = 1;

/// A SIF that is not written anywhere.
#[derive(Debug)]
pub struct VirtualSif {
    recipe: Recipe,
    segments: Vec<RwLock<Arc<File>>>,
    mend: Option<Box<dyn Mend>>,
}

/// What can be done about a segment's file that no longer serves.
pub trait Mend: std::fmt::Debug + Send + Sync {
    /// Opens the data file of the segment of this number by its name.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, number: usize) -> io::Result<File>;

    /// Is told that a block of the open file is damaged.
    fn damaged(&self, number: usize, file: &File);
}

impl VirtualSif {
    /// Joins a recipe and the data files of its segments, in the order of [`Recipe::segments`].
    ///
    /// # Errors
    /// [`Error::Damaged`]: there are more or fewer files than segments, or one is too short;
    /// [`Error::Disk`].
    pub fn new(recipe: Recipe, segments: Vec<File>) -> Result<Self, Error> {
        check_files(&recipe, &segments)?;
        let segments = segments.into_iter().map(|file| RwLock::new(Arc::new(file))).collect();
        Ok(Self { recipe, segments, mend: None })
    }

    /// Goes on with what this opens when a file no longer serves.
    #[must_use]
    pub fn mended_by(self, mend: impl Mend + 'static) -> Self {
        Self { mend: Some(Box::new(mend)), ..self }
    }

    /// Offset and length of the squashfs partition, in bytes.
    #[must_use]
    pub fn partition(&self) -> (u64, u64) {
        self.recipe.partition()
    }

    /// The recipe.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Lets go of the files.
    #[must_use]
    pub fn into_recipe(self) -> Recipe {
        self.recipe
    }

    /// Fills `to` from a piece, `at` bytes behind its start.
    fn read_piece(&self, piece: &Piece, at: u64, to: &mut [u8]) -> io::Result<()> {
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        match &piece.bytes {
            Bytes::Here(bytes) => {
                let start = usize::try_from(at).unwrap_or(usize::MAX);
                let end = start.saturating_add(to.len());
                to.copy_from_slice(bytes.get(start..end).ok_or_else(short)?);
                Ok(())
            }
            Bytes::Segment { number, blocks } => {
                let number = *number as usize;
                let place = self.segments.get(number).ok_or_else(short)?;
                let file = Arc::clone(&place.read().unwrap_or_else(PoisonError::into_inner));
                let origin = blocks.first().map_or(0, |block| block.offset);
                let from = origin.saturating_add(at);
                match read_blocks(&file, blocks, from, to) {
                    Err(cause) if is_mendable(&cause) => {
                        let file = self.mended(number, place, &file, cause)?;
                        read_blocks(&file, blocks, from, to)
                    }
                    read => read,
                }
            }
        }
    }

    /// Another file in the place of one that no longer serves; else why it does not.
    fn mended(
        &self,
        number: usize,
        place: &RwLock<Arc<File>>,
        file: &File,
        cause: io::Error,
    ) -> io::Result<Arc<File>> {
        let Some(mend) = &self.mend else { return Err(cause) };
        let inode = |file: &File| file.metadata().map(|found| (found.dev(), found.ino())).ok();
        if let Ok(newer) = mend.open(number)
            && inode(&newer) != inode(file)
        {
            let newer = Arc::new(newer);
            *place.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&newer);
            return Ok(newer);
        }
        if cause.kind() != io::ErrorKind::StaleNetworkFileHandle {
            mend.damaged(number, file);
        }
        Err(cause)
    }
}

impl ReadAt for VirtualSif {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.recipe.sif_size()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let pieces = self.recipe.pieces();
        let ends_before = |piece: &Piece| piece.offset.saturating_add(piece.length) <= offset;
        let first = pieces.partition_point(ends_before);
        let mut rest = buf;
        let mut position = offset;
        for piece in pieces.get(first..).unwrap_or_default() {
            if rest.is_empty() {
                break;
            }
            let gap = take(&mut rest, piece.offset.saturating_sub(position));
            gap.fill(0);
            position = position.saturating_add(gap.len() as u64);
            let at = position.saturating_sub(piece.offset);
            let part = take(&mut rest, piece.length.saturating_sub(at));
            if !part.is_empty() {
                self.read_piece(piece, at, part)?;
                position = position.saturating_add(part.len() as u64);
            }
        }
        rest.fill(0);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.recipe.sif_size()
    }
}

/// Whether another file under the same name may be better.
fn is_mendable(cause: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, StaleNetworkFileHandle, UnexpectedEof};
    matches!(cause.kind(), InvalidData | UnexpectedEof | StaleNetworkFileHandle)
}

/// Cuts up to `count` bytes off the front.
fn take<'b>(rest: &mut &'b mut [u8], count: u64) -> &'b mut [u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(rest.len());
    let (part, after) = std::mem::take(rest).split_at_mut(count);
    *rest = after;
    part
}

/// Fills `to` from the segment's offset `offset` on, from blocks that lie one behind the other.
fn read_blocks(file: &File, blocks: &[Stored], offset: u64, to: &mut [u8]) -> io::Result<()> {
    let end_of = |block: &Stored| block.offset.saturating_add(block.length.into());
    let first = blocks.partition_point(|block| end_of(block) <= offset);
    let mut rest = to;
    let mut position = offset;
    for block in blocks.get(first..).unwrap_or_default() {
        if rest.is_empty() {
            return Ok(());
        }
        let skipped = position.saturating_sub(block.offset);
        let part = take(&mut rest, u64::from(block.length).saturating_sub(skipped));
        position = position.saturating_add(part.len() as u64);
        if part.len() as u64 == u64::from(block.length) {
            file.read_exact_at(part, block.offset)?;
            verify(part, block)?;
            continue;
        }
        let mut whole = vec![0; block.length as usize];
        file.read_exact_at(&mut whole, block.offset)?;
        verify(&whole, block)?;
        let start = usize::try_from(skipped).unwrap_or(usize::MAX);
        let wanted = whole.get(start..start.saturating_add(part.len()));
        part.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
    }
    if rest.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Compares a block's bytes with its checksum.
pub(crate) fn verify(bytes: &[u8], block: &Stored) -> io::Result<()> {
    if xxh3_64(bytes) == block.checksum {
        return Ok(());
    }
    let text = format!("the segment's block at byte {} is damaged", block.offset);
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// Checks that there is a file of sufficient length for each segment.
pub(crate) fn check_files(recipe: &Recipe, segments: &[File]) -> Result<(), Error> {
    let damaged = |fault: String| Error::Damaged { what: "segment data", fault };
    let (wanted, found) = (recipe.segments().len(), segments.len());
    if wanted != found {
        return Err(damaged(format!("the recipe takes {wanted} segments, there are {found}")));
    }
    let disk = |cause| Error::Disk { what: "reading segment data", cause };
    let lengths: Vec<u64> = segments
        .iter()
        .map(|file| file.metadata().map(|metadata| metadata.len()).map_err(disk))
        .collect::<Result<_, _>>()?;
    for piece in recipe.pieces() {
        if let Bytes::Segment { number, blocks } = &piece.bytes
            && let Some(&length) = lengths.get(*number as usize)
            && let Some(last) = blocks.last()
            && last.offset.saturating_add(last.length.into()) > length
        {
            return Err(damaged(format!("it has {length} bytes, fewer than it should")));
        }
    }
    Ok(())
}
