//! What a request does to a disk's files: looked up, checked as a kernel would, and done.
//!
//! Not here: reading requests and answering them ([`super::serve`]).

use super::files::{Node, Op};
use super::{State, nameless};
use fuser::{Errno, FileAttr, FileType, INodeNo, RenameFlags, Request, TimeOrNow};
use rustix::time::{ClockId, clock_gettime};
use std::ffi::{OsStr, OsString};
use std::time::{Duration, UNIX_EPOCH};

pub(super) type Outcome<T> = Result<T, Errno>;

impl State {
    pub(super) fn act(&mut self, op: Op) {
        self.files.apply(&op);
        self.log.push(op);
    }

    pub(super) fn spelled(&self, name: &OsStr) -> OsString {
        if self.manner.folds { name.to_ascii_lowercase() } else { name.to_owned() }
    }

    pub(super) fn node(&self, number: INodeNo) -> Outcome<&Node> {
        self.files.nodes.get(&number.0).ok_or(Errno::ESTALE)
    }

    pub(super) fn find(&self, parent: INodeNo, name: &OsStr) -> Outcome<u64> {
        self.files.find(parent.0, &self.spelled(name)).ok_or(Errno::ENOENT)
    }

    pub(super) fn attributes(&self, number: u64) -> Outcome<FileAttr> {
        let node = self.node(INodeNo(number))?;
        let size = node.link.as_ref().map_or(node.bytes.len(), |text| text.len()) as u64;
        let kind = match (&node.names, &node.link) {
            (Some(_), _) => FileType::Directory,
            (_, Some(_)) => FileType::Symlink,
            _ => FileType::RegularFile,
        };
        let [access, change] = node.times.map(|(seconds, more)| {
            UNIX_EPOCH + Duration::new(seconds.try_into().unwrap_or_default(), more)
        });
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: access,
            mtime: change,
            ctime: change,
            crtime: change,
            kind,
            perm: u16::try_from(node.mode & 0o7777).unwrap_or_default(),
            nlink: node.names_of_it,
            uid: node.owner.0,
            gid: node.owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// Makes a file, with a name or without one.
    pub(super) fn begin(
        &mut self,
        asked: &Request,
        parent: INodeNo,
        name: &OsStr,
        node: Node,
    ) -> Outcome<u64> {
        if !nameless::is_nameless(name) {
            return self.make(asked, parent, name, node);
        }
        if self.manner.is_plain {
            return Err(Errno::EOPNOTSUPP);
        }
        let number = self.files.next;
        let made = made_by(asked, node);
        self.act(Op::Begin { node: number, made });
        Ok(number)
    }

    pub(super) fn make(
        &mut self,
        asked: &Request,
        parent: INodeNo,
        name: &OsStr,
        node: Node,
    ) -> Outcome<u64> {
        if self.find(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let number = self.files.next;
        let made = made_by(asked, node);
        let name = self.spelled(name);
        self.act(Op::Make { node: number, parent: parent.0, name, made });
        Ok(number)
    }

    pub(super) fn remove(&mut self, parent: INodeNo, name: &OsStr, directory: bool) -> Outcome<()> {
        let number = self.find(parent, name)?;
        match &self.node(INodeNo(number))?.names {
            Some(_) if !directory => return Err(Errno::EISDIR),
            Some(names) if !names.is_empty() => return Err(Errno::ENOTEMPTY),
            None if directory => return Err(Errno::ENOTDIR),
            _ => {}
        }
        let name = self.spelled(name);
        self.act(Op::Remove { node: number, parent: parent.0, name });
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        (from, old): (INodeNo, &OsStr),
        (to, new): (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> Outcome<()> {
        let number = self.find(from, old)?;
        if let Ok(there) = self.find(to, new) {
            if flags.contains(RenameFlags::RENAME_NOREPLACE) {
                return Err(Errno::EEXIST);
            }
            if self.node(INodeNo(there))?.names.as_ref().is_some_and(|names| !names.is_empty()) {
                return Err(Errno::ENOTEMPTY);
            }
        }
        let (old, new) = (self.spelled(old), self.spelled(new));
        self.act(Op::Rename { node: number, from: from.0, old, to: to.0, new });
        Ok(())
    }
}

/// A node as the one who asks for it makes it now.
fn made_by(asked: &Request, node: Node) -> Box<Node> {
    Box::new(Node { owner: (asked.uid(), asked.gid()), times: [now(); 2], ..node })
}

pub(super) fn now() -> (i64, u32) {
    let now = clock_gettime(ClockId::Realtime);
    (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or_default())
}

pub(super) fn time(wanted: TimeOrNow) -> (i64, u32) {
    match wanted {
        TimeOrNow::Now => now(),
        TimeOrNow::SpecificTime(at) => {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            (i64::try_from(since.as_secs()).unwrap_or_default(), since.subsec_nanos())
        }
    }
}
