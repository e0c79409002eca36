//! How many files are open: never more than allowed. One that is at rest is closed to make room for
//! another, and opened again when it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module's description.
#[derive(Debug, Clone)]
pub(super) struct OpenFiles {
    max: usize,
    count: Arc<AtomicUsize>,
}

impl OpenFiles {
    #[must_use]
    pub(super) fn new(max: usize) -> Self {
        Self { max, count: Arc::default() }
    }

    /// Room for one more, which is given back when the slot is dropped; `None` if there is none.
    pub(super) fn take(&self) -> Option<Slot> {
        let more = |count| (count < self.max).then_some(count + 1);
        self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Slot(self.count.clone()))
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

    /// How many files have to be closed so that some can be opened without waiting.
    pub(super) fn surplus(&self) -> usize {
        (self.count() + self.max / 16).saturating_sub(self.max)
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
        assert_eq!((slots.len(), files.count(), files.surplus()), (32, 32, 2));
        drop(slots);
        assert_eq!((files.count(), files.surplus()), (0, 0));
    }
}
