//! The digests of blob and tar, off the thread that reads: one helper thread for each conversion.
//!
//! Buffers go there shared and come back to be used again; the queue is short, so the reader
//! waits for the digests, never runs away from them. Not here: what the digests must be.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use orlop_oci::digest::{Algorithm, Digest, Hasher};

/// Pieces under way to the helper at most: where few layers are converted, and where many are.
const QUEUES: (usize, usize) = (8, 2);
/// How many layers are few: beyond, what each keeps in memory counts, not how long it waits.
const FEW: usize = 8;

/// What a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Blob,
    Tar,
}

/// The helper of one conversion.
#[derive(Debug)]
pub(crate) struct Hashing<'scope> {
    pieces: SyncSender<(Of, Arc<Vec<u8>>)>,
    returned: Receiver<Arc<Vec<u8>>>,
    thread: ScopedJoinHandle<'scope, (Digest, Digest)>,
}

impl<'scope> Hashing<'scope> {
    /// Starts the helper of one of so many conversions; the algorithms are those of the blob's digest
    /// and of the diff_id.
    pub(crate) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        conversions: usize,
        blob: Algorithm,
        tar: Algorithm,
    ) -> io::Result<Self> {
        let queue = if conversions > FEW { QUEUES.1 } else { QUEUES.0 };
        let (pieces, incoming) = sync_channel(queue);
        let (outgoing, returned) = channel();
        let thread = Builder::new()
            .name("digest".to_owned())
            .spawn_scoped(scope, move || hash(&incoming, &outgoing, blob, tar))?;
        Ok(Self { pieces, returned, thread })
    }

    /// Hands on a piece.
    pub(crate) fn hash(&self, of: Of, piece: &Arc<Vec<u8>>) {
        // Fails only when the helper has panicked, which `finish` notices.
        drop(self.pieces.send((of, Arc::clone(piece))));
    }

    /// A buffer of `length` bytes that hold anything, of one that came back if there is one.
    pub(crate) fn buffer(&self, length: usize) -> Vec<u8> {
        let returned = self.returned.try_recv().ok();
        let mut buffer = returned.and_then(|piece| Arc::try_unwrap(piece).ok()).unwrap_or_default();
        buffer.resize(length, 0);
        buffer
    }

    /// The digests of blob and tar.
    pub(crate) fn finish(self) -> io::Result<(Digest, Digest)> {
        drop(self.pieces);
        self.thread.join().map_err(|_| io::Error::other("the digest thread panicked"))
    }
}

fn hash(
    incoming: &Receiver<(Of, Arc<Vec<u8>>)>,
    outgoing: &Sender<Arc<Vec<u8>>>,
    blob: Algorithm,
    tar: Algorithm,
) -> (Digest, Digest) {
    let mut blob = Hasher::new(blob);
    let mut tar = Hasher::new(tar);
    while let Ok((of, piece)) = incoming.recv() {
        match of {
            Of::Blob => blob.update(&piece),
            Of::Tar => tar.update(&piece),
        }
        // Nobody takes buffers back once the reader is done.
        drop(outgoing.send(piece));
    }
    (blob.finish(), tar.finish())
}
