//! The kernel's notifications about directories, as far as they are to be had.
//!
//! They only save time: whatever is missed, the next rescan finds.

use crossbeam_channel::{Receiver, bounded};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashSet;
use std::path::PathBuf;

/// How many notifications wait at most.
const EVENTS_MAX: usize = 16_384;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: Option<RecommendedWatcher>,
    watched: HashSet<PathBuf>,
    pub(super) events: Receiver<notify::Result<notify::Event>>,
}

impl Watches {
    pub(super) fn new() -> Self {
        let (sender, events) = bounded(EVENTS_MAX);
        let tell = move |event| {
            // What does not fit, the next rescan finds.
            let _ = sender.try_send(event);
        };
        let watcher = notify::recommended_watcher(tell)
            .inspect_err(|error| {
                tracing::warn!(%error, "no file notifications; files are looked at every second");
            })
            .ok();
        Self { watcher, watched: HashSet::new(), events }
    }

    /// Whether every directory is watched.
    pub(super) fn are_whole(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches these directories and no others.
    pub(super) fn set(&mut self, directories: HashSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.watched.difference(&directories) {
            let _ = watcher.unwatch(gone);
        }
        for new in directories.difference(&self.watched) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(
                    path = %new.display(),
                    %error,
                    "no more file notifications; files are looked at every second \
                     (raise fs.inotify.max_user_watches)"
                );
                self.watcher = None;
                self.watched.clear();
                return;
            }
        }
        self.watched = directories;
    }
}
