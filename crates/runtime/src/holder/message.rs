//! What a caller and a holder say to each other: JSON in `SEQPACKET` messages, and descriptors.
//!
//! ```text
//! starter -> process: Start  + directory, listening socket, pidfd, [cache], [the image's cache],
//!                     image's files
//! joiner  -> holder:  Join   + pidfd
//! holder  -> both:    Answer + user namespace, mount        (Ready alone has descriptors)
//! ```
//!
//! A message carries 253 descriptors at most (`SCM_MAX_FD`); what is more goes before it in
//! messages of one space.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Mapping, Names};

/// Descriptors of one message.
const DESCRIPTORS: usize = 200;
/// Bytes of one message.
const BYTES: usize = 128 << 10;
/// A message that carries descriptors alone.
const MORE: &[u8] = b" ";

/// What a process needs to become a holder.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    /// Name of the socket in the directory.
    pub(super) socket: String,
    pub(super) mapping: Mapping,
    /// Milliseconds.
    pub(super) grace_ms: u64,
    /// Name of the image in the cache's `unpacked/`, when it may be unpacked.
    pub(super) unpacked: Option<String>,
    pub(super) image: Parts,
    /// The image's names in the cache that it lies in.
    pub(super) stay: Option<Names>,
}

/// What the image's files are.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Parts {
    /// One file.
    File { offset: u64, length: u64 },
    /// A recipe and its segments.
    Recipe,
}

/// A caller wants to use the mount.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Join;

/// What a holder says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Here they are.
    Ready { is_unpacked: bool },
    /// It is unpacking: wait on.
    Working,
    /// It failed and ends.
    Failed { step: Step, errno: Option<i32>, message: String },
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    UserNamespace,
    Fuse,
    Gone,
    Other,
}

/// Sends a message.
///
/// # Errors
/// The system's; `BrokenPipe` when the other side is gone.
pub(super) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
    let mut rest = descriptors;
    while let Some((part, after)) = rest.split_at_checked(DESCRIPTORS) {
        send_one(&socket, MORE, part)?;
        rest = after;
    }
    send_one(&socket, &bytes, rest)
}

fn send_one(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for a message.
///
/// # Errors
/// `UnexpectedEof` when the other side is gone, `WouldBlock` at the socket's time limit,
/// `InvalidData` for what is no message; else the system's.
pub(super) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut buffer = vec![0; BYTES];
    let mut descriptors = Vec::new();
    loop {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received =
            rustix::io::retry_on_intr(|| recvmsg(&socket, &mut parts, &mut control, flags))?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        let cut = ReturnFlags::TRUNC | ReturnFlags::CTRUNC;
        if received.flags.intersects(cut) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match buffer.get(..received.bytes) {
            None | Some([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(MORE) => {}
            Some(bytes) => return Ok((serde_json::from_slice(bytes)?, descriptors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::{Answer, Step, receive, send};

    #[test]
    fn more_descriptors_than_a_message_holds_arrive_in_order() {
        let (here, there) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("sockets");
        let file = tempfile::tempfile().expect("a file");
        let mut sent = vec![file.as_fd(); 449];
        sent.push(here.as_fd());
        let answer = Answer::Failed { step: Step::Other, errno: Some(5), message: "no".to_owned() };
        send(&here, &answer, &sent).expect("sent");
        let (received, descriptors) = receive::<Answer>(&there).expect("received");
        assert!(matches!(received, Answer::Failed { step: Step::Other, errno: Some(5), .. }));
        assert_eq!(descriptors.len(), 450);
        let inode =
            |fd: &dyn std::os::fd::AsFd| rustix::fs::fstat(fd.as_fd()).expect("stat").st_ino;
        assert_eq!(inode(&descriptors[448]), inode(&file));
        assert_eq!(inode(&descriptors[449]), inode(&here));
        drop((here, descriptors));
        let gone = receive::<Answer>(&there).expect_err("nobody there");
        assert_eq!(gone.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}
