//! The kernel's requests to a disk, each turned into one operation on its files.

use super::acts::{Outcome, now, time};
use super::files::{Files, Node, Op};
use super::{PATIENCE, Shared, State, nameless};
use fuser::{
    Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The kernel asks each time: nothing that changes is remembered wrongly.
const KEPT: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);

#[derive(Debug)]
pub(super) struct Served {
    shared: Shared,
}

impl Served {
    pub(super) const fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// The state, once the disk does not hang.
    fn state(&self) -> MutexGuard<'_, State> {
        let (state, change) = &*self.shared;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        let waited = change.wait_timeout_while(state, PATIENCE, |state| state.manner.hangs);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        state
    }
}

impl Filesystem for Served {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        config
            .set_max_write(nameless::MOST)
            .map(drop)
            .map_err(|_| std::io::ErrorKind::InvalidInput.into())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let state = self.state();
        match state.find(parent, name).and_then(|number| state.attributes(number)) {
            Ok(found) => reply.entry(&KEPT, &found, GENERATION),
            Err(why) => reply.error(why),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.state().attributes(node.0) {
            Ok(found) => reply.attr(&KEPT, &found),
            Err(why) => reply.error(why),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        mode: Option<u32>,
        user: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        access: Option<TimeOrNow>,
        change: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.state();
        if let Some(mode) = mode {
            state.act(Op::Mode { node: node.0, mode });
        }
        if let Ok((own_user, own_group)) = state.node(node).map(|node| node.owner)
            && (user.is_some() || group.is_some())
        {
            let owner = (user.unwrap_or(own_user), group.unwrap_or(own_group));
            state.act(Op::Owner { node: node.0, owner });
        }
        if let Some(size) = size {
            state.act(Op::Size { node: node.0, size });
        }
        if let Some(found) = state.files.nodes.get_mut(&node.0) {
            for (at, wanted) in [access, change].into_iter().enumerate() {
                if let Some(wanted) = wanted {
                    found.times[at] = time(wanted);
                }
            }
        }
        match state.attributes(node.0) {
            Ok(found) => reply.attr(&KEPT, &found),
            Err(why) => reply.error(why),
        }
    }

    fn readlink(&self, _: &Request, node: INodeNo, reply: ReplyData) {
        let state = self.state();
        match state.node(node).map(|node| node.link.clone()) {
            Ok(Some(text)) => reply.data(text.as_encoded_bytes()),
            Ok(None) => reply.error(Errno::EINVAL),
            Err(why) => reply.error(why),
        }
    }

    fn mkdir(
        &self,
        asked: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let node = Node { names: Some(BTreeMap::new()), mode: mode & !umask, ..Node::default() };
        let mut state = self.state();
        let made = state.make(asked, parent, name, node);
        match made.and_then(|number| state.attributes(number)) {
            Ok(found) => reply.entry(&KEPT, &found, GENERATION),
            Err(why) => reply.error(why),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.state().remove(parent, name, false), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.state().remove(parent, name, true), reply);
    }

    fn symlink(
        &self,
        asked: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let node = Node { link: Some(target.into()), mode: 0o777, ..Node::default() };
        let mut state = self.state();
        let made = state.make(asked, parent, name, node);
        match made.and_then(|number| state.attributes(number)) {
            Ok(found) => reply.entry(&KEPT, &found, GENERATION),
            Err(why) => reply.error(why),
        }
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        done(self.state().rename((parent, name), (newparent, newname), flags), reply);
    }

    fn link(&self, _: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.state();
        if state.find(parent, name).is_ok() {
            return reply.error(Errno::EEXIST);
        }
        let name = state.spelled(name);
        state.act(Op::Name { node: node.0, parent: parent.0, name });
        match state.attributes(node.0) {
            Ok(found) => reply.entry(&KEPT, &found, GENERATION),
            Err(why) => reply.error(why),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        drop(self.state());
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn create(
        &self,
        asked: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut state = self.state();
        let node = Node { mode: mode & 0o7777 & !umask, ..Node::default() };
        let made = state.begin(asked, parent, name, node);
        match made.and_then(|number| state.attributes(number)) {
            Ok(found) => {
                let (handle, flags) = (FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
                reply.created(&KEPT, &found, GENERATION, handle, flags);
            }
            Err(why) => reply.error(why),
        }
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.state();
        match state.node(node) {
            Ok(node) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(node.bytes.len());
                let to = from.saturating_add(size as usize).min(node.bytes.len());
                reply.data(&node.bytes[from..to]);
            }
            Err(why) => reply.error(why),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state();
        state.act(Op::Write { node: node.0, at: offset, bytes: data.to_vec() });
        if let Some(found) = state.files.nodes.get_mut(&node.0) {
            found.times[1] = now();
        }
        reply.written(u32::try_from(data.len()).unwrap_or_default());
    }

    fn flush(&self, _: &Request, node: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        let state = self.state();
        let is_written =
            |op: &Op| matches!(op, Op::Write { node: written, .. } if *written == node.0);
        match state.manner.close.filter(|_| state.log.iter().any(is_written)) {
            Some(with) => reply.error(Errno::from_i32(with.raw_os_error())),
            None => reply.ok(),
        }
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.state().act(Op::SyncFile { node: node.0 });
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.state().act(Op::SyncDirectory { node: node.0 });
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let state = self.state();
        let listed = match state.node(node) {
            Ok(Node { names: Some(names), .. }) => names,
            Ok(_) => return reply.error(Errno::ENOTDIR),
            Err(why) => return reply.error(why),
        };
        let dots = [(OsString::from("."), node.0), (OsString::from(".."), node.0)];
        let all = dots.iter().map(|(name, number)| (name, number)).chain(listed);
        for (at, (name, number)) in all.enumerate().skip(usize::try_from(offset).unwrap_or(0)) {
            let kind = kind(&state.files, *number);
            if reply.add(INodeNo(*number), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        drop(self.state());
        reply.statfs(1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096);
    }
}

fn kind(files: &Files, number: u64) -> FileType {
    match files.nodes.get(&number) {
        Some(Node { names: Some(_), .. }) => FileType::Directory,
        Some(Node { link: Some(_), .. }) => FileType::Symlink,
        _ => FileType::RegularFile,
    }
}

fn done(outcome: Outcome<()>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(why) => reply.error(why),
    }
}
