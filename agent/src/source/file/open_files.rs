//! How many files are open: never more than allowed. One that is at rest is closed to make room for
//! another, and opened again when it changes.

use super::identity::Key;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module's description.
#[derive(Debug, Clone)]
pub(super) struct OpenFiles {
    max: usize,
    /// Less than `max` after the system would not open as many.
    limit: Arc<AtomicUsize>,
    count: Arc<AtomicUsize>,
}

impl OpenFiles {
    #[must_use]
    pub(super) fn new(max: usize) -> Self {
        Self { max, limit: Arc::new(AtomicUsize::new(max)), count: Arc::default() }
    }

    /// Room for one more, which is given back when the slot is dropped; `None` if there is none.
    pub(super) fn take(&self) -> Option<Slot> {
        let limit = self.limit();
        let more = |count| (count < limit).then_some(count + 1);
        self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Slot(self.count.clone()))
    }

    /// Passes on what came of opening a file with a slot. If the system opens no more, no more are
    /// tried than there are, so that others of the agent's descriptors find room.
    ///
    /// # Errors
    /// Those of `opened`.
    pub(super) fn note<T>(&self, opened: io::Result<T>) -> io::Result<T> {
        opened.inspect_err(|error| {
            if error.kind() == io::ErrorKind::ResourceBusy {
                let others = self.count().saturating_sub(1);
                self.limit.fetch_min(others.max(1), Ordering::AcqRel);
            }
        })
    }

    /// The system may have more again.
    pub(super) fn try_more(&self) {
        let more = |limit: usize| (limit < self.max).then(|| self.max.min(2 * limit));
        // Nothing to do is no failure.
        let _ = self.limit.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    fn limit(&self) -> usize {
        self.limit.load(Ordering::Acquire)
    }

    #[must_use]
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// How many files are open.
    #[must_use]
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// For how many more there is room.
    #[must_use]
    pub(super) fn room(&self) -> usize {
        self.limit().saturating_sub(self.count())
    }

    /// How many files have to be closed so that `waiting` ones, and some more, can be opened.
    pub(super) fn surplus(&self, waiting: usize) -> usize {
        (self.count() + waiting + self.max / 16).saturating_sub(self.limit())
    }
}

/// Files that wait for room: who came first goes first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    order: VecDeque<Key>,
    known: HashSet<Key>,
}

impl Waiting {
    pub(super) fn add(&mut self, key: Key) {
        if self.known.insert(key) {
            self.order.push_back(key);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The first `count`, which do not wait any more.
    pub(super) fn take(&mut self, count: usize) -> Vec<Key> {
        let first: Vec<Key> = self.order.drain(..count.min(self.order.len())).collect();
        first.iter().for_each(|key| {
            self.known.remove(key);
        });
        first
    }
}

/// The right to have one file open.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_files_are_open_than_allowed() {
        let files = OpenFiles::new(32);
        let slots: Vec<Slot> = std::iter::from_fn(|| files.take()).collect();
        assert_eq!((slots.len(), files.count(), files.surplus(0)), (32, 32, 2));
        assert_eq!((files.surplus(5), files.room()), (7, 0));
        drop(slots);
        assert_eq!((files.count(), files.surplus(0), files.room()), (0, 0, 32));
    }

    #[test]
    fn what_the_system_does_not_open_is_not_tried_for_a_while() {
        let files = OpenFiles::new(32);
        let opened: Vec<Slot> = (0..10).map(|_| files.take().unwrap()).collect();
        let refused = files.take().unwrap();
        assert!(files.note::<()>(Err(io::ErrorKind::ResourceBusy.into())).is_err());
        drop(refused);
        assert!(files.take().is_none() && files.room() == 0);
        assert!(files.note::<()>(Err(io::ErrorKind::NotFound.into())).is_err());
        files.try_more();
        assert_eq!((opened.len(), files.room()), (10, 10));
        (0..9).for_each(|_| files.try_more());
        assert_eq!(files.room(), 22);
    }

    #[test]
    fn who_waits_is_known_once_and_goes_in_order() {
        let key = |inode| Key { device: 0, inode };
        let mut waiting = Waiting::default();
        [1, 2, 1, 3, 2].map(key).into_iter().for_each(|key| waiting.add(key));
        assert_eq!((waiting.len(), waiting.take(2)), (3, vec![key(1), key(2)]));
        waiting.add(key(1));
        assert_eq!(waiting.take(9), [key(3), key(1)]);
    }
}
