//! Reads and writes that move less than was asked for: done here, with the process's own file.

use nix::libc::{self, seccomp_notif};
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use rustix::fs::FileType;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

/// What a read or write of a regular file returned that was cut to `most` bytes; `None` when it is
/// no such call, which is then done as it is.
pub(super) fn moved(asked: &seccomp_notif, most: usize) -> Option<i64> {
    let [number, address, length, offset, ..] = asked.data.args;
    let length = usize::try_from(length).ok()?.min(most);
    let mut file = file_of(asked.pid, number)?;
    let base = usize::try_from(address).ok()?;
    let there = [RemoteIoVec { base, len: length }];
    let thread = Pid::from_raw(i32::try_from(asked.pid).ok()?);
    let mut bytes = vec![0; length];
    let call = i64::from(asked.data.nr);
    let done = if call == libc::SYS_read || call == libc::SYS_pread64 {
        let read = if call == libc::SYS_read {
            file.read(&mut bytes)
        } else {
            file.read_at(&mut bytes, offset)
        };
        let read = read.ok()?;
        let there = [RemoteIoVec { base, len: read }];
        process_vm_writev(thread, &[IoSlice::new(&bytes[..read])], &there).ok()?
    } else if call == libc::SYS_write || call == libc::SYS_pwrite64 {
        process_vm_readv(thread, &mut [IoSliceMut::new(&mut bytes)], &there).ok()?;
        let written = if call == libc::SYS_write {
            file.write(&bytes)
        } else {
            file.write_at(&bytes, offset)
        };
        written.ok()?
    } else {
        return None;
    };
    i64::try_from(done).ok()
}

/// The open file of a descriptor, if it is a regular one.
fn file_of(thread: u32, number: u64) -> Option<File> {
    let process = super::decide::process_of(thread)?;
    let process = rustix::process::Pid::from_raw(i32::try_from(process).ok()?)?;
    let held: OwnedFd = pidfd_open(process, PidfdFlags::empty()).ok()?;
    let number = i32::try_from(number).ok()?;
    let file = pidfd_getfd(&held, number, PidfdGetfdFlags::empty()).ok()?;
    let kind = rustix::fs::fstat(&file).ok()?.st_mode;
    (FileType::from_raw_mode(kind) == FileType::RegularFile).then(|| File::from(file))
}
