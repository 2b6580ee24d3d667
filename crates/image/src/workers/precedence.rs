//! Which layers give way: those that only large images wait for, while one that a smaller image
//! waits for is at work.
//!
//! A layer's reader sets the pace of all that is done for the layer: what it does not read is
//! neither hashed nor compressed. So it is the reader that gives way, before each piece of tar, as
//! long as a layer is at work for which an image waits that has fewer bytes left to read in all.
//! What a layer cannot use, because it waits for its bytes, is kept from nobody. Nobody starves: the
//! wait is bounded by what the piece before took. Layers of one image do not wait for each other.
//! Not here: blocks that wait for a thread ([`super::turns`]).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orlop_oci::Digest;

/// How many times as long as its last piece took a reader gives way at most: it keeps a tenth.
const PATIENCE: u32 = 9;
/// What a piece took at most, for this purpose.
const LONGEST: Duration = Duration::from_millis(20);

/// Images that are waited for and layers that are read.
#[derive(Debug, Default)]
pub(super) struct Precedence {
    state: Mutex<State>,
    /// A layer rests or has ended, or an image is waited for no more.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    images: Vec<Image>,
    layers: Vec<Layer>,
}

/// An image for which somebody waits.
#[derive(Debug)]
struct Image {
    layers: Vec<Digest>,
    /// Bytes of its layers that are still to be read.
    left: u64,
    /// How many wait for it.
    callers: usize,
}

/// A layer that is read.
#[derive(Debug)]
struct Layer {
    digest: Digest,
    left: u64,
    work: Arc<Work>,
}

/// What is being done for a layer: its reader, unless that waits, and blocks in flight.
#[derive(Debug, Default)]
struct Work(AtomicUsize);

impl State {
    /// Bytes that are left to read of the smallest image that waits for a layer, or of the layer.
    fn rank(&self, layer: &Layer) -> u64 {
        let waiting = self.images.iter().filter(|image| image.layers.contains(&layer.digest));
        waiting.map(|image| image.left).min().unwrap_or(layer.left)
    }

    fn layer(&self, work: &Arc<Work>) -> Option<&Layer> {
        self.layers.iter().find(|layer| Arc::ptr_eq(&layer.work, work))
    }

    /// Whether another layer goes first.
    fn has_to_give_way(&self, work: &Arc<Work>) -> bool {
        if self.layers.len() < 2 {
            return false;
        }
        let Some(own) = self.layer(work) else { return false };
        let rank = self.rank(own);
        self.layers.iter().any(|other| {
            let is_at_work = other.work.0.load(Ordering::Relaxed) > 0;
            is_at_work && !Arc::ptr_eq(&other.work, work) && self.rank(other) < rank
        })
    }

    fn read(&mut self, work: &Arc<Work>, bytes: u64) {
        let at = self.layers.iter_mut().find(|layer| Arc::ptr_eq(&layer.work, work));
        let Some(layer) = at else { return };
        layer.left = layer.left.saturating_sub(bytes);
        let images = self.images.iter_mut();
        for image in images.filter(|image| image.layers.contains(&layer.digest)) {
            image.left = image.left.saturating_sub(bytes);
        }
    }
}

impl Precedence {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that an image is waited for which lacks these layers, of so many bytes each.
    pub(super) fn wait_for(self: &Arc<Self>, missing: &[(Digest, u64)]) -> Waiting {
        let layers: Vec<Digest> = missing.iter().map(|(digest, _)| digest.clone()).collect();
        let mut state = self.lock();
        if let Some(image) = state.images.iter_mut().find(|image| image.layers == layers) {
            image.callers = image.callers.saturating_add(1);
        } else {
            let left = missing.iter().map(|(digest, size)| {
                let read = state.layers.iter().find(|layer| layer.digest == *digest);
                read.map_or(*size, |layer| layer.left)
            });
            let left = left.fold(0, u64::saturating_add);
            state.images.push(Image { layers: layers.clone(), left, callers: 1 });
        }
        drop(state);
        Waiting { of: Arc::clone(self), layers }
    }

    /// The pace of a reader that begins with a layer of so many bytes.
    pub(super) fn pace(self: &Arc<Self>, digest: &Digest, bytes: u64) -> Pace {
        let work = Arc::new(Work(AtomicUsize::new(1)));
        let layer = Layer { digest: digest.clone(), left: bytes, work: Arc::clone(&work) };
        self.lock().layers.push(layer);
        let task = Task { of: Arc::clone(self), work };
        Pace { task, begun: Instant::now(), waited: Duration::ZERO }
    }

    fn notify(&self) {
        // Under the lock, so that nobody is between its look and its wait.
        let state = self.lock();
        self.changed.notify_all();
        drop(state);
    }
}

/// Somebody waits for an image, as long as this lives.
#[derive(Debug)]
pub(super) struct Waiting {
    of: Arc<Precedence>,
    layers: Vec<Digest>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.of.lock();
        if let Some(at) = state.images.iter().position(|image| image.layers == self.layers)
            && let Some(image) = state.images.get_mut(at)
        {
            image.callers = image.callers.saturating_sub(1);
            if image.callers == 0 {
                state.images.swap_remove(at);
                self.of.changed.notify_all();
            }
        }
    }
}

/// What is done for a layer, by whoever does it.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    of: Arc<Precedence>,
    work: Arc<Work>,
}

impl Task {
    /// One thing more is being done.
    pub(super) fn begin(&self) {
        self.work.0.fetch_add(1, Ordering::Relaxed);
    }

    /// It is done.
    pub(super) fn end(&self) {
        if self.work.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.of.notify();
        }
    }

    /// Waits while others go first, at most so long.
    fn give_way(&self, at_most: Duration) {
        let until = Instant::now().checked_add(at_most);
        let mut state = self.of.lock();
        while state.has_to_give_way(&self.work) {
            let left = until.and_then(|until| until.checked_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| !left.is_zero()) else { return };
            let woken = self.of.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The pace of one layer's reader.
#[derive(Debug)]
pub(crate) struct Pace {
    task: Task,
    /// When the piece under way was begun, and how long its bytes were waited for.
    begun: Instant,
    waited: Duration,
}

impl Pace {
    /// What is done for the layer.
    pub(crate) fn task(&self) -> &Task {
        &self.task
    }

    /// Before a piece: lets others go first.
    pub(crate) fn piece(&mut self) {
        let took = self.begun.elapsed().saturating_sub(self.waited).min(LONGEST);
        let has_to = self.task.of.lock().has_to_give_way(&self.task.work);
        if has_to {
            self.task.end();
            self.task.give_way(took.saturating_mul(PATIENCE));
            self.task.begin();
        }
        (self.begun, self.waited) = (Instant::now(), Duration::ZERO);
    }

    /// Reads bytes of the blob, for which it may have to wait.
    pub(crate) fn reading<T>(&mut self, read: impl FnOnce() -> T) -> T {
        let since = Instant::now();
        self.task.end();
        let done = read();
        self.task.begin();
        self.waited = self.waited.saturating_add(since.elapsed());
        done
    }

    /// So many bytes of the blob were read.
    pub(crate) fn read(&self, bytes: u64) {
        self.task.of.lock().read(&self.task.work, bytes);
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        let mut state = self.task.of.lock();
        state.layers.retain(|layer| !Arc::ptr_eq(&layer.work, &self.task.work));
        self.task.of.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn digest(of: &str) -> Digest {
        Digest::sha256(of.as_bytes())
    }

    /// Two images and a reader of a layer of each.
    fn two() -> (Arc<Precedence>, [Waiting; 2], [Pace; 2]) {
        let all = Arc::new(Precedence::default());
        let (one, other) = (digest("big"), digest("small"));
        let images = [
            all.wait_for(&[(one.clone(), 1000), (digest("shared"), 20)]),
            all.wait_for(&[(other.clone(), 10)]),
        ];
        let paces = [all.pace(&one, 1000), all.pace(&other, 10)];
        (all, images, paces)
    }

    fn gives_way(pace: &Pace) -> bool {
        pace.task.of.lock().has_to_give_way(&pace.task.work)
    }

    #[test]
    fn the_image_with_less_to_read_goes_first_while_it_is_at_work() {
        let (_all, _images, [big, mut small]) = two();
        assert!(gives_way(&big) && !gives_way(&small));
        small.reading(|| assert!(!gives_way(&big), "the other waits for its bytes"));
        assert!(gives_way(&big));
        big.read(995);
        assert!(gives_way(&big), "another layer is to come");
        drop(small);
        assert!(!gives_way(&big));
    }

    #[test]
    fn layers_of_one_image_do_not_wait_for_each_other() {
        let (all, _images, [big, small]) = two();
        let shared = all.pace(&digest("shared"), 20);
        drop(small);
        assert!(!gives_way(&big) && !gives_way(&shared));
    }

    #[test]
    fn a_layer_that_a_smaller_image_waits_for_too_goes_first() {
        let (all, _images, [big, small]) = two();
        drop(small);
        let shared = all.pace(&digest("shared"), 20);
        let joined = all.wait_for(&[(digest("shared"), 20)]);
        let again = all.wait_for(&[(digest("shared"), 20)]);
        drop(joined);
        assert!(gives_way(&big) && !gives_way(&shared), "one still waits");
        drop(again);
        assert!(!gives_way(&big));
    }

    #[test]
    fn who_gives_way_goes_on_when_the_other_is_done() {
        let (_all, _images, [big, small]) = two();
        let since = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| big.task.give_way(LONG));
            drop(small);
        });
        assert!(since.elapsed() < LONG);
    }

    #[test]
    fn nobody_waits_longer_than_its_patience() {
        let (_all, _images, [big, _small]) = two();
        let since = Instant::now();
        big.task.give_way(Duration::from_millis(5));
        assert!(since.elapsed() >= Duration::from_millis(5));
        assert!(gives_way(&big), "still");
    }
}
