//! A blob's bytes on their way: from an asynchronous stream to a blocking reader, kept on disk as
//! they pass, so that a download goes on where it stopped.
//!
//! What came earlier is read from the partial file first. Nothing of it is trusted: the digest of
//! the whole decides. Not here: requests (`orlop-registry`); what is made of the bytes.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use orlop_oci::Descriptor;
use orlop_registry::{BlobStream, Position, Sources};
use orlop_store::{Partial, PartialReader};
use tokio::sync::mpsc;

use crate::counts::Count;
use crate::flights::Facts;

/// Pieces that wait for the reader.
const AHEAD: usize = 16;
/// Bytes read at a time from what is there already.
const PIECE: usize = 1 << 20;

/// A partial file that the two ends share; none where another process writes it.
pub(super) type Shared = Arc<Mutex<Option<Partial>>>;

/// The end that reads.
#[derive(Debug)]
pub(super) struct Reader {
    had: Option<PartialReader>,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

/// The end that writes.
pub(super) struct Feed {
    stream: BlobStream,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    partial: Shared,
    at: u64,
}

/// Hashes what is there already; the position from which the rest is asked for. Blocks.
///
/// # Errors
/// When the partial file cannot be read.
pub(super) fn position(
    descriptor: &Descriptor,
    partial: &Shared,
) -> Result<Position, orlop_store::Error> {
    let mut position = Position::start(descriptor.digest.algorithm());
    let Some(mut reader) = reader(partial)? else { return Ok(position) };
    let mut buffer = vec![0; PIECE];
    // A file that cannot be read any more counts as far as it could: the rest is fetched.
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        position.advance(buffer.get(..count).unwrap_or_default());
    }
    Ok(position)
}

fn reader(partial: &Shared) -> Result<Option<PartialReader>, orlop_store::Error> {
    let partial = partial.lock().unwrap_or_else(PoisonError::into_inner);
    partial.as_ref().filter(|partial| partial.have() > 0).map(Partial::reader).transpose()
}

/// Joins a blob's stream and a reader of all its bytes.
///
/// # Errors
/// When the partial file cannot be read.
pub(super) fn join(
    sources: &Sources,
    descriptor: &Descriptor,
    position: Position,
    partial: &Shared,
) -> Result<(Feed, Reader), orlop_store::Error> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let at = position.offset();
    let had = if at > 0 { reader(partial)? } else { None };
    let stream = sources.fetch_blob(descriptor, position);
    let feed = Feed { stream, pieces: sender, partial: Arc::clone(partial), at };
    Ok((feed, Reader { had, pieces: receiver, piece: Bytes::new() }))
}

impl Feed {
    /// Passes all bytes on, until the stream or the reader ends.
    ///
    /// # Errors
    /// What ended the stream. A disk that is full ends nothing here: the reader's own writes tell.
    pub(super) async fn run(
        mut self,
        facts: &Facts,
        fetched: &Count,
    ) -> Result<(), orlop_registry::Error> {
        facts.set_bytes(self.at);
        loop {
            let piece = tokio::select! {
                piece = self.stream.next() => piece,
                // The source may be silent for long: a reader that has failed is not kept waiting.
                () = self.pieces.closed() => return Ok(()),
            };
            let Some(piece) = piece else { return Ok(()) };
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    let cause = io::Error::other("the transfer broke off");
                    // A reader that is gone has its own reason.
                    drop(self.pieces.send(Err(cause)).await);
                    return Err(error);
                }
            };
            self.keep(&piece);
            self.at = self.at.saturating_add(piece.len() as u64);
            fetched.add(piece.len() as u64);
            facts.set_bytes(self.at);
            if self.pieces.send(Ok(piece)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Appends to the partial file. Without room for it the download goes on unkept.
    fn keep(&self, piece: &Bytes) {
        tokio::task::block_in_place(|| {
            let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(kept) = partial.as_mut()
                && let Err(error) = kept.append(piece)
            {
                tracing::debug!(%error, "the download is not kept any more");
                if let Some(partial) = partial.take() {
                    drop(partial.discard());
                }
            }
        });
    }
}

/// Bytes that are here already, counted as they are read.
#[derive(Debug)]
pub(super) struct Counted<'a, R> {
    from: R,
    read: u64,
    facts: &'a Facts,
}

impl<'a, R> Counted<'a, R> {
    /// Tells `facts` how far `from` was read.
    pub(super) fn new(from: R, facts: &'a Facts) -> Self {
        Self { from, read: 0, facts }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.read = self.read.saturating_add(count as u64);
        self.facts.set_bytes(self.read);
        Ok(count)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(had) = &mut self.had {
            match had.read(buffer)? {
                0 => self.had = None,
                count => return Ok(count),
            }
        }
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        let taken = self.piece.split_to(count);
        if let Some(room) = buffer.get_mut(..count) {
            room.copy_from_slice(&taken);
        }
        Ok(count)
    }
}
