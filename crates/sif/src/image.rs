//! What a file is, and where its root file system lies.
//!
//! A file given to run may be a SIF, a squashfs, or an image of old with a launch line before its
//! file system. Order and bounds: contract, "Which files are images".

use orlop_squashfs::{ReadAt, SUPERBLOCK_BYTES, Superblock};

use crate::architecture::Architecture;
use crate::codes::FileSystem;
use crate::error::Error;
use crate::header::MAGIC;
use crate::reader::Sif;

/// Bytes looked at; a file of fewer is no image.
const HEAD_BYTES: usize = 2048;
/// Where ext3 has its magic, from the start of the file system.
const EXT_MAGIC_AT: usize = 1080;
const EXT_MAGIC: &[u8] = &[0x53, 0xef];
const LAUNCHER: &[u8] = b" run-singularity";

/// What a file is by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// A SIF.
    Sif,
    /// A squashfs.
    Squashfs {
        /// Where its superblock is: 0, or behind a launch line.
        offset: u64,
    },
    /// An ext3 image.
    Ext3 {
        /// Where it begins: 0, or behind a launch line.
        offset: u64,
    },
    /// None of these.
    Unknown,
}

/// Where a root file system lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootFileSystem {
    /// Offset of the squashfs superblock. Bytes from the start of the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Of its programs, where the file says so.
    pub architecture: Option<Architecture>,
}

/// Says what a file is.
///
/// # Errors
/// [`Error::Read`]: it cannot be read.
pub fn recognise(source: &dyn ReadAt) -> Result<ImageKind, Error> {
    if source.size() < HEAD_BYTES as u64 {
        return Ok(ImageKind::Unknown);
    }
    let mut head = [0; HEAD_BYTES];
    source
        .read_at(&mut head, 0)
        .map_err(|cause| Error::Read { what: "reading the image's first bytes", cause })?;
    if find(&head, MAGIC.strip_suffix(b"\0").unwrap_or(MAGIC)).is_some() {
        return Ok(ImageKind::Sif);
    }
    for offset in [Some(0), behind_launch_line(&head)].into_iter().flatten() {
        let rest = head.get(offset..).unwrap_or_default();
        let offset = offset as u64;
        if rest.starts_with(orlop_squashfs::MAGIC) {
            return Ok(ImageKind::Squashfs { offset });
        }
        if rest.get(EXT_MAGIC_AT..).is_some_and(|rest| rest.starts_with(EXT_MAGIC)) {
            return Ok(ImageKind::Ext3 { offset });
        }
    }
    Ok(ImageKind::Unknown)
}

/// Finds the root file system of an image and checks that it is a squashfs that can be read.
///
/// # Errors
/// [`Error::Unrecognised`], [`Error::NoRoot`], [`Error::TwoRoots`], [`Error::Encrypted`],
/// [`Error::FileSystem`], [`Error::PartitionHeader`]; of a SIF also what [`Sif::read`] finds.
pub fn root_file_system(source: &dyn ReadAt) -> Result<RootFileSystem, Error> {
    let root = match recognise(source)? {
        ImageKind::Sif => in_sif(&Sif::read(source)?)?,
        ImageKind::Squashfs { offset } => {
            let length = source.size().saturating_sub(offset);
            RootFileSystem { offset, length, architecture: None }
        }
        ImageKind::Ext3 { .. } => {
            return Err(Error::FileSystem { name: FileSystem::Ext3.name() });
        }
        ImageKind::Unknown => return Err(Error::Unrecognised),
    };
    let mut bytes = [0; SUPERBLOCK_BYTES];
    let refused = |cause| Error::PartitionHeader { cause };
    if root.length < SUPERBLOCK_BYTES as u64 {
        return Err(refused(orlop_squashfs::Error::Magic));
    }
    source
        .read_at(&mut bytes, root.offset)
        .map_err(|cause| Error::Read { what: "while checking system partition header", cause })?;
    Superblock::parse(&bytes, root.length).map_err(refused)?;
    Ok(root)
}

fn in_sif(sif: &Sif) -> Result<RootFileSystem, Error> {
    let primary = sif.primary()?;
    let partition = primary.partition().ok_or(Error::NoRoot)?;
    match partition.file_system {
        FileSystem::Squashfs => Ok(RootFileSystem {
            offset: primary.offset,
            length: primary.size,
            architecture: partition.architecture,
        }),
        FileSystem::EncryptedSquashfs | FileSystem::GocryptfsSquashfs => Err(Error::Encrypted),
        other => Err(Error::FileSystem { name: other.name() }),
    }
}

/// Where the line ends that makes an image of old executable.
fn behind_launch_line(head: &[u8]) -> Option<usize> {
    let at = find(head, LAUNCHER)?;
    let rest = head.get(at..)?;
    rest.iter().position(|&byte| byte == b'\n')?.checked_add(at)?.checked_add(1)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
