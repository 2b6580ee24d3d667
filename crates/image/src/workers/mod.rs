//! Threads that compress blocks, shared by all conversions; the one home of this crate's threads.
//!
//! What is in flight is bounded, for all conversions together: a block counts from when it is
//! handed in until it is written, so memory does not depend on the size of a layer, and a fast
//! source waits for a slow disk. Conversions have their turns (`turns`). Blocks are written in the
//! order they were handed in ([`crate::sink`]), so the bytes do not depend on the number of threads.
//! Not here: what a block holds ([`crate::blocks`]).

mod encode;
mod hashing;
mod precedence;
mod syncing;
mod turns;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use orlop_oci::Digest;

use crate::sink::{Made, Sink};
use encode::Encoded;
pub(crate) use encode::{BlockKind, Encoder};
pub(crate) use hashing::{Hashing, Of};
pub(crate) use precedence::{Pace, Task};
use precedence::{Precedence, Waiting};
pub(crate) use syncing::{Syncing, Written};
use turns::Turns;

/// Bytes of blocks in flight at most, before compression, all conversions together.
const IN_FLIGHT_BYTES: usize = 32 << 20;
/// Blocks in flight for each thread: one at work, the others keep it fed while the order is kept.
const BLOCKS_PER_THREAD: usize = 6;

/// A handle on the threads; clones share them, the last one ends them.
#[derive(Clone)]
pub struct Workers {
    team: Arc<Team>,
    /// Who waits for what is done, where that is known.
    _waiting: Option<Arc<Waiting>>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("threads", &self.team.threads.len()).finish()
    }
}

struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// A job came, or the end.
    work: Condvar,
    /// A block was written.
    room: Condvar,
    threads: usize,
    precedence: Arc<Precedence>,
    /// Conversions under way.
    conversions: AtomicUsize,
}

/// One of the conversions under way; until it is dropped.
pub(crate) struct Conversion {
    shared: Arc<Shared>,
    /// How many there are with this one, when it began.
    pub(crate) count: usize,
}

impl Drop for Conversion {
    fn drop(&mut self) {
        self.shared.conversions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Queue {
    jobs: Turns<Job>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
    ended: bool,
}

struct Job {
    input: Vec<u8>,
    kind: BlockKind,
    number: u64,
    sink: Arc<Sink>,
}

impl Job {
    /// Whose block it is.
    fn of(&self) -> turns::Of {
        Arc::as_ptr(&self.sink).addr()
    }
}

impl Workers {
    /// Starts `threads` threads, at least one. Where the system refuses a thread there are fewer;
    /// with none at all, blocks are compressed by the thread that hands them in.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            threads: threads.max(1),
            precedence: Arc::default(),
            conversions: AtomicUsize::new(0),
        });
        let start = |number: usize| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("compress {number}"));
            thread.spawn(move || shared.work_through()).ok()
        };
        let threads = (0..threads.max(1)).map_while(start).collect();
        Self { team: Arc::new(Team { shared, threads }), _waiting: None }
    }

    /// The same threads for the layers of an image that lacks these, of so many bytes each: as long
    /// as the handle or a clone of it lives, what only larger images wait for gives way to them.
    #[must_use]
    pub fn for_image(&self, missing: &[(Digest, u64)]) -> Self {
        let waiting = self.team.shared.precedence.wait_for(missing);
        Self { team: Arc::clone(&self.team), _waiting: Some(Arc::new(waiting)) }
    }

    /// Counts a conversion.
    pub(crate) fn begin(&self) -> Conversion {
        let shared = Arc::clone(&self.team.shared);
        let count = shared.conversions.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Conversion { shared, count }
    }

    /// The pace of a layer's reader.
    pub(crate) fn pace(&self, digest: &Digest, bytes: u64) -> Pace {
        self.team.shared.precedence.pace(digest, bytes)
    }

    /// Frees the buffers that are kept for later.
    pub fn release(&self) {
        let spare = std::mem::take(&mut self.team.shared.lock().spare);
        drop(spare);
    }

    /// A buffer for a block, empty.
    pub(crate) fn buffer(&self, capacity: usize) -> Vec<u8> {
        let mut buffer = self.team.shared.lock().spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve(capacity);
        buffer
    }

    /// Hands in a block; waits while too many are in flight.
    pub(crate) fn submit(&self, input: Vec<u8>, kind: BlockKind, number: u64, sink: &Arc<Sink>) {
        let shared = &self.team.shared;
        let job = Job { input, kind, number, sink: Arc::clone(sink) };
        sink.task().begin();
        if self.team.threads.is_empty() {
            shared.process(job, &mut Encoder::default());
            return;
        }
        let by_bytes = IN_FLIGHT_BYTES.checked_div(sink.block_size()).unwrap_or(1);
        let by_threads = shared.threads.saturating_mul(BLOCKS_PER_THREAD);
        let most = by_bytes.min(by_threads.max(8)).max(shared.threads.min(by_bytes)).max(2);
        let mut queue = shared.lock();
        while !queue.jobs.has_room(job.of(), most) {
            queue = shared.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.jobs.push(job.of(), job);
        drop(queue);
        shared.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life.
    fn work_through(&self) {
        let mut encoder = Encoder::default();
        loop {
            let mut queue = self.lock();
            let job = loop {
                if let Some(job) = queue.jobs.pop() {
                    break job;
                }
                if queue.ended {
                    return;
                }
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            drop(queue);
            self.process(job, &mut encoder);
        }
    }

    fn process(&self, job: Job, encoder: &mut Encoder) {
        let of = job.of();
        let Job { input, kind, number, sink } = job;
        let mut output = self.lock().spare.pop().unwrap_or_default();
        let (made, spare) = match encoder.encode(&input, kind, sink.method(), &mut output) {
            Ok(Encoded { size, checksum, is_raw }) => {
                let (bytes, spare) = if is_raw { (input, output) } else { (output, input) };
                (Made::Block { bytes, size, checksum, kind }, spare)
            }
            Err(cause) => (Made::Failed(cause), input),
        };
        self.recycle(spare);
        sink.put(number, made, &mut |buffer| {
            self.written(of, buffer);
            sink.task().end();
        });
    }

    /// A block was written: its buffer is free, and there is room for another.
    fn written(&self, of: turns::Of, buffer: Vec<u8>) {
        let mut queue = self.lock();
        queue.jobs.written(of);
        keep(&mut queue.spare, buffer, self.threads);
        drop(queue);
        self.room.notify_all();
    }

    fn recycle(&self, buffer: Vec<u8>) {
        keep(&mut self.lock().spare, buffer, self.threads);
    }
}

/// Keeps a buffer for later, unless there are enough.
fn keep(spare: &mut Vec<Vec<u8>>, buffer: Vec<u8>, threads: usize) {
    if spare.len() < threads.saturating_mul(BLOCKS_PER_THREAD) {
        spare.push(buffer);
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has left its conversion unfinished, which is noticed there.
            drop(thread.join());
        }
    }
}

/// Runs `helper` on up to `helpers` threads of its own beside `main`, and waits for all of them.
/// Where the system refuses a thread there are fewer: `main` has to be able to do it all.
pub(crate) fn side_by_side(helpers: usize, helper: &(dyn Fn() + Sync), main: &mut dyn FnMut()) {
    std::thread::scope(|scope| {
        for number in 0..helpers {
            let thread = std::thread::Builder::new().name(format!("assemble {number}"));
            if thread.spawn_scoped(scope, helper).is_err() {
                break;
            }
        }
        main();
    });
}
