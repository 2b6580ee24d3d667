//! The thread that answers the calls of one command and of all that it started.
#![expect(unsafe_code, reason = "the kernel's questions and answers go by ioctl")]

use super::decide::{Shared, Verdict};
use super::short;
use nix::libc::{seccomp_notif, seccomp_notif_resp};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

mod calls {
    nix::ioctl_readwrite!(question, b'!', 0, nix::libc::seccomp_notif);
    nix::ioctl_readwrite!(answer, b'!', 1, nix::libc::seccomp_notif_resp);
}

/// A control descriptor that no program's own will be mistaken for.
const CONTROL: i32 = 700;

/// Starts the thread; it ends with the last process of the command. Returns what the command's
/// filter sends its listener over.
pub(super) fn listen(shared: Arc<Mutex<Shared>>, node: u32) -> OwnedFd {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let (own, theirs) =
        socketpair(AddressFamily::UNIX, kind, flags, None).expect("sockets can be made");
    let control = fcntl_dupfd_cloexec(&theirs, CONTROL).expect("descriptors are left");
    drop(theirs);
    #[expect(clippy::disallowed_methods, reason = "the kit's own thread")]
    std::thread::spawn(move || {
        if let Some(listener) = receive(&own) {
            serve(&Arc::new(listener), &shared, node);
        }
    });
    control
}

fn receive(control: &OwnedFd) -> Option<OwnedFd> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(control, &mut bytes, &mut message, RecvFlags::CMSG_CLOEXEC).ok()?;
    message.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut all) => all.next(),
        _ => None,
    })
}

fn serve(listener: &Arc<OwnedFd>, shared: &Mutex<Shared>, node: u32) {
    loop {
        let mut look = [PollFd::new(&**listener, PollFlags::IN)];
        match poll(&mut look, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let seen = look[0].revents();
        if seen.contains(PollFlags::IN) {
            if let Some(question) = question(listener) {
                serve_one(listener, shared, node, &question);
            }
        } else if seen.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return;
        }
    }
}

fn serve_one(listener: &Arc<OwnedFd>, shared: &Mutex<Shared>, node: u32, question: &seccomp_notif) {
    let verdict = shared.lock().unwrap_or_else(PoisonError::into_inner).decide(node, question);
    match verdict {
        Verdict::Hold => {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.held.push((Arc::clone(listener), question.id));
        }
        Verdict::Short(most) => {
            let moved = short::moved(question, most);
            answer(listener, question.id, moved.map_or(Verdict::Go, Verdict::Answer));
        }
        verdict => answer(listener, question.id, verdict),
    }
}

fn question(listener: &OwnedFd) -> Option<seccomp_notif> {
    // SAFETY: the structure is numbers alone, and the kernel wants it zeroed.
    let mut question: seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is a listener, and the structure is the one that this call fills.
    let asked = unsafe { calls::question(listener.as_raw_fd(), &raw mut question) };
    // A process that was killed meanwhile asks nothing.
    asked.ok().map(|_| question)
}

/// Tells the kernel what becomes of a call.
pub(super) fn answer(listener: &OwnedFd, id: u64, verdict: Verdict) {
    let mut answer = seccomp_notif_resp { id, val: 0, error: 0, flags: 0 };
    match verdict {
        Verdict::Error(with) => answer.error = -with.raw_os_error(),
        Verdict::Answer(value) => answer.val = value,
        _ => answer.flags = 1, // SECCOMP_USER_NOTIF_FLAG_CONTINUE
    }
    // SAFETY: as in `question`. That the process is gone is no matter.
    let _answered = unsafe { calls::answer(listener.as_raw_fd(), &raw mut answer) };
}
