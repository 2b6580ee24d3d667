//! What machine an image's programs are made for, whatever its config says.
//!
//! Apptainer's rule (`internal/pkg/util/machine`, `ArchFromContainer`): the shell decides, else the
//! first executable file that is a program. Orlop looks at a few other programs that nearly every
//! image has before it walks, and at so many files at most.
//! Not here: whether a machine runs them (`orlop-client`, `container/machine.rs`).

use std::ops::ControlFlow;
use std::sync::Arc;

use orlop_sif::Architecture;
use orlop_squashfs::{Inode, Kind, Position, ReadAt, Reader};

use crate::virtual_sif::VirtualSif;

/// Programs that nearly every image has, the one that decides first.
const PROGRAMS: [&str; 4] = ["/bin/sh", "/bin/bash", "/usr/bin/env", "/bin/busybox"];
/// Links that are followed to one of them.
const LINKS: usize = 16;
/// Executable files that are looked at where none of them is a program.
const FILES: usize = 64;
/// Entries of directories that are passed on the way.
const ENTRIES: usize = 100_000;
/// Directories in each other that are entered.
const DEPTH: usize = 64;

/// What the programs of an image are made for. Nothing where there are none, or they cannot be read.
#[must_use]
pub fn architecture_of_programs(image: &Arc<VirtualSif>) -> Option<Architecture> {
    let (offset, length) = image.partition();
    let source: Arc<dyn ReadAt> = Arc::clone(image) as _;
    found_in(&Reader::open(source, offset, length).ok()?)
}

fn found_in(reader: &Reader) -> Option<Architecture> {
    let known = |path: &&str| architecture(reader, &resolved(reader, path)?);
    PROGRAMS.iter().find_map(known).or_else(|| first_of_all(reader))
}

/// What a file's first bytes say it is for, if it is a program.
fn architecture(reader: &Reader, file: &Inode) -> Option<Architecture> {
    let map = reader.file_map(file).ok()?;
    let mut bytes = Vec::new();
    reader.read_piece(&map.piece(0)?, &mut bytes).ok()?;
    Architecture::of_program(&bytes)
}

/// A regular file, to which links may lead.
fn resolved(reader: &Reader, path: &str) -> Option<Inode> {
    let names = |path: &[u8]| -> Vec<Vec<u8>> {
        path.rsplit(|&byte| byte == b'/').map(<[u8]>::to_vec).collect()
    };
    let mut above: Vec<Inode> = vec![reader.inode(reader.root()).ok()?];
    let (mut left, mut links) = (names(path.as_bytes()), 0_usize);
    while let Some(name) = left.pop() {
        match name.as_slice() {
            b"" | b"." => {}
            b".." => above.truncate(above.len().saturating_sub(1).max(1)),
            name => {
                let entry = reader.lookup(above.last()?, name).ok()??;
                let inode = reader.inode(entry.inode).ok()?;
                let Kind::Symlink(target) = &inode.kind else {
                    above.push(inode);
                    continue;
                };
                links = links.saturating_add(1);
                if links > LINKS {
                    return None;
                }
                if target.starts_with(b"/") {
                    above.truncate(1);
                }
                left.extend(names(target));
            }
        }
    }
    above.pop()
}

/// What the first program is for that a walk meets, by the order of names.
fn first_of_all(reader: &Reader) -> Option<Architecture> {
    let mut walk = Walk { reader, entries: ENTRIES, files: FILES };
    match walk.below(&reader.inode(reader.root()).ok()?, DEPTH) {
        ControlFlow::Break(found) => found,
        ControlFlow::Continue(()) => None,
    }
}

struct Walk<'r> {
    reader: &'r Reader,
    /// How many entries may still be passed.
    entries: usize,
    /// How many files may still be read.
    files: usize,
}

impl Walk<'_> {
    fn below(&mut self, directory: &Inode, depth: usize) -> ControlFlow<Option<Architecture>> {
        let Ok(entries) = self.reader.entries(directory, Position::default()) else {
            return ControlFlow::Continue(());
        };
        for entry in entries.map_while(Result::ok) {
            let (Some(left), Ok(inode)) =
                (self.entries.checked_sub(1), self.reader.inode(entry.inode))
            else {
                return ControlFlow::Break(None);
            };
            self.entries = left;
            match &inode.kind {
                Kind::Directory(_) if depth > 0 => self.below(&inode, depth.saturating_sub(1))?,
                Kind::File(_) if inode.mode & 0o111 != 0 => self.look(&inode)?,
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn look(&mut self, file: &Inode) -> ControlFlow<Option<Architecture>> {
        let Some(left) = self.files.checked_sub(1) else { return ControlFlow::Break(None) };
        self.files = left;
        match architecture(self.reader, file) {
            None => ControlFlow::Continue(()),
            found => ControlFlow::Break(found),
        }
    }
}
