//! What the threads of a scan do next: test a row group of an open file, or open the next file. Row
//! groups come first, so few files are open at once, and all threads work on a single large file.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Files by their places in a list, and the row groups of those that are open.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    next_file: usize,
    files: usize,
    /// Files that threads are opening: they may bring row groups.
    opening: usize,
    row_groups: VecDeque<T>,
}

/// What a thread is to do.
#[derive(Debug)]
pub(super) enum Job<'q, T> {
    Open(Opening<'q, T>),
    Test(T),
}

/// A file that is being opened. Dropping it says that it brings nothing, so that no thread waits for
/// one that has failed.
#[derive(Debug)]
pub(super) struct Opening<'q, T> {
    queue: &'q Queue<T>,
    pub(super) file: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(files: usize) -> Self {
        let state = State { next_file: 0, files, opening: 0, row_groups: VecDeque::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next thing to do; waits for files that are being opened. `None`: nothing is left.
    pub(super) fn next(&self) -> Option<Job<'_, T>> {
        let mut state = self.state();
        loop {
            if let Some(row_group) = state.row_groups.pop_front() {
                return Some(Job::Test(row_group));
            }
            if state.next_file < state.files {
                let file = state.next_file;
                state.next_file += 1;
                state.opening += 1;
                return Some(Job::Open(Opening { queue: self, file }));
            }
            if state.opening == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Nothing more is to be done.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.next_file = state.files;
        state.row_groups.clear();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<T> Opening<'_, T> {
    /// The file is open and has these row groups.
    pub(super) fn opened(self, row_groups: impl IntoIterator<Item = T>) {
        self.queue.state().row_groups.extend(row_groups);
    }
}

impl<T> Drop for Opening<'_, T> {
    fn drop(&mut self) {
        self.queue.state().opening -= 1;
        self.queue.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn every_row_group_of_every_file_is_done_once_by_some_thread() {
        for (files, row_groups) in [(1, 50), (50, 1), (7, 3), (0, 0), (20, 0)] {
            let queue = Queue::new(files);
            let done: Vec<AtomicU32> = (0..files * row_groups).map(|_| AtomicU32::new(0)).collect();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        while let Some(job) = queue.next() {
                            match job {
                                Job::Open(opening) => {
                                    let first = opening.file * row_groups;
                                    opening.opened(first..first + row_groups);
                                }
                                Job::Test(row_group) => {
                                    done[row_group].fetch_add(1, Ordering::Relaxed);
                                }
                            }
                        }
                    });
                }
            });
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn a_stopped_queue_has_nothing_and_a_dropped_file_holds_nobody_up() {
        let queue: Queue<u8> = Queue::new(2);
        let Some(Job::Open(first)) = queue.next() else { panic!() };
        drop(first);
        let Some(Job::Open(second)) = queue.next() else { panic!() };
        second.opened([1, 2]);
        assert!(matches!(queue.next(), Some(Job::Test(1))));
        queue.stop();
        assert!(queue.next().is_none());
    }
}
