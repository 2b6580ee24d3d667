//! What lies where in a tar that is a file: headers are read, contents are passed over.
//!
//! The archives that hold whole images (`docker save`, OCI layouts) are read this way: their layers
//! are looked up by name and then read where they lie. Names are as they came, each entry in its
//! order. Not here: what a name leads to, links, and duplicates (`orlop-archive`).

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::{Bytes, Fault, Kind, Reader};
use crate::error::{Error, escaped};
use crate::limits::Limits;

/// Bytes read at a time: some headers, when the contents between them are small.
const PIECE: usize = 32 << 10;

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name, as it came.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
}

/// What an entry of an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A file whose content is one run of bytes.
    File {
        /// Where its content begins, in bytes of the archive.
        offset: u64,
        /// Bytes.
        size: u64,
    },
    /// A file stored with holes.
    Sparse,
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// A hard link to the entry of this name.
    HardLink(Vec<u8>),
    /// A directory.
    Directory,
    /// A device or FIFO.
    Special,
}

/// Lists the entries of the tar in `file`, at most `most` of them. Blocks; the file's own position
/// is not used.
///
/// # Errors
/// [`Error::Archive`]: not a tar, or one that is cut off; [`Error::ImageLimit`]; [`Error::Disk`].
pub fn members(file: &File, limits: &Limits, most: u64) -> Result<Vec<Member>, Error> {
    let disk = |cause| Error::Disk { what: "reading the archive", cause };
    let size = file.metadata().map_err(disk)?.len();
    let bytes = Seeking { file, size, at: 0, piece: Vec::new(), used: 0 };
    let mut reader = Reader::new(bytes, *limits);
    let mut found = Vec::new();
    loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(found),
            Err(fault) => return Err(error_of(fault, &reader)),
        };
        if found.len() as u64 >= most {
            let seen = most.saturating_add(1);
            return Err(Error::ImageLimit { key: "archive-entries", limit: most, seen });
        }
        let offset = reader.position();
        let is_sparse = reader.is_sparse();
        if entry.kind == Kind::File && !is_sparse && offset.saturating_add(entry.size) > size {
            let fault = Fault::invalid("the archive is cut off in a file's data");
            return Err(error_of(fault, &reader));
        }
        let kind = match entry.kind {
            Kind::File if is_sparse => MemberKind::Sparse,
            Kind::File => MemberKind::File { offset, size: entry.size },
            Kind::Symlink => MemberKind::Symlink(entry.link),
            Kind::HardLink => MemberKind::HardLink(entry.link),
            Kind::Directory => MemberKind::Directory,
            Kind::Char | Kind::Block | Kind::Fifo => MemberKind::Special,
        };
        found.push(Member { name: entry.name, kind });
    }
}

fn error_of(fault: Fault, reader: &Reader<Seeking<'_>>) -> Error {
    match fault {
        Fault::Invalid(fault) => Error::Archive {
            entry: escaped(reader.entry_name()),
            offset: reader.entry_offset(),
            fault,
        },
        Fault::Limit { key, limit, seen } => Error::ImageLimit { key, limit, seen },
        Fault::Other(error) => error,
    }
}

/// The bytes of a file, some at a time.
#[derive(Debug)]
struct Seeking<'a> {
    file: &'a File,
    size: u64,
    /// Where the piece ends in the file.
    at: u64,
    piece: Vec<u8>,
    used: usize,
}

impl Bytes for Seeking<'_> {
    fn fill(&mut self) -> Result<&[u8], Fault> {
        if self.used >= self.piece.len() {
            self.piece.resize(PIECE, 0);
            let got = self.file.read_at(&mut self.piece, self.at);
            let got = got.map_err(|cause| Error::Disk { what: "reading the archive", cause })?;
            self.piece.truncate(got);
            self.used = 0;
            self.at = self.at.saturating_add(got as u64);
        }
        Ok(self.piece.get(self.used..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.used = self.used.saturating_add(count);
    }

    fn pass(&mut self, count: u64) -> u64 {
        let here = self.piece.len().saturating_sub(self.used) as u64;
        // Never past the end: what is missing there has to be noticed.
        let ahead = here.saturating_add(self.size.saturating_sub(self.at));
        let passed = count.min(ahead);
        match usize::try_from(passed) {
            Ok(few) if passed <= here => self.used = self.used.saturating_add(few),
            _ => {
                self.at = self.at.saturating_add(passed.saturating_sub(here));
                self.piece.clear();
                self.used = 0;
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::testing::Tar;

    fn archive(tar: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(tar).unwrap();
        file
    }

    #[test]
    fn contents_are_passed_over_and_found_again() {
        let large = vec![7; 3 * PIECE + 11];
        let tar = Tar::new().file("./a", b"first").file("large", &large);
        let tar = tar.symlink("link", "../a").file("z", b"last").end();
        let file = archive(&tar);
        let found = members(&file, &Limits::default(), 10).unwrap();
        let names: Vec<_> = found.iter().map(|member| member.name.as_slice()).collect();
        assert_eq!(names, [&b"./a"[..], b"large", b"link", b"z"]);
        for (place, content) in [(0, &b"first"[..]), (1, &large), (3, b"last")] {
            let MemberKind::File { offset, size } = found[place].kind else { panic!("{found:?}") };
            let mut bytes = vec![0; usize::try_from(size).unwrap()];
            file.read_exact_at(&mut bytes, offset).unwrap();
            assert_eq!(bytes, content);
        }
        assert_eq!(found[2].kind, MemberKind::Symlink(b"../a".to_vec()));
    }

    #[test]
    fn an_archive_that_is_cut_off_or_too_long_is_refused() {
        let tar = Tar::new().file("a", &[7; 2000]).file("b", b"").end();
        let cut = members(&archive(&tar[..1024]), &Limits::default(), 10).unwrap_err();
        assert!(matches!(cut, Error::Archive { .. }), "{cut}");
        let many = members(&archive(&tar), &Limits::default(), 1).unwrap_err();
        assert!(matches!(many, Error::ImageLimit { key: "archive-entries", .. }), "{many}");
        let text = members(&archive(&[b'x'; 2048]), &Limits::default(), 10).unwrap_err();
        assert!(matches!(text, Error::Archive { .. }), "{text}");
    }
}
