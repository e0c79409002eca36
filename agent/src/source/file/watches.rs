//! The kernel's notifications about directories, as far as they are to be had.
//!
//! They only save time: whatever is missed, the next rescan finds.

use crossbeam_channel::{Receiver, Sender, bounded};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many notifications wait at most.
const EVENTS_MAX: usize = 16_384;

/// After how long it is tried again to have notifications.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: Option<RecommendedWatcher>,
    watched: HashSet<PathBuf>,
    sender: Sender<notify::Result<notify::Event>>,
    pub(super) events: Receiver<notify::Result<notify::Event>>,
    /// More was told than can wait.
    missed: Arc<AtomicBool>,
    /// When there were none to be had; told once.
    failed: Option<Instant>,
}

impl Watches {
    pub(super) fn new() -> Self {
        let (sender, events) = bounded(EVENTS_MAX);
        let missed = Arc::default();
        Self { watcher: None, watched: HashSet::new(), sender, events, missed, failed: None }
    }

    /// Whether every directory is watched.
    pub(super) fn are_whole(&self) -> bool {
        self.watcher.is_some()
    }

    /// Whether notifications were lost since the last call, so that everything has to be looked at.
    pub(super) fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    /// Watches these directories and no others. Where that cannot be, none is, and it is tried again
    /// after a while.
    pub(super) fn set(&mut self, directories: HashSet<PathBuf>) {
        if self.watcher.is_none() && self.failed.is_some_and(|at| at.elapsed() < RETRY_INTERVAL) {
            return;
        }
        match self.watch(&directories) {
            Ok(()) => {
                self.watched = directories;
                if self.failed.take().is_some() {
                    tracing::info!("file notifications work again");
                }
            }
            Err(error) => {
                if self.failed.replace(Instant::now()).is_none() {
                    tracing::warn!(
                        %error,
                        "no file notifications; files are looked at every second \
                         (raise fs.inotify.max_user_watches or max_user_instances)"
                    );
                }
                self.watcher = None;
                self.watched.clear();
            }
        }
    }

    fn watch(&mut self, directories: &HashSet<PathBuf>) -> notify::Result<()> {
        let mut watcher = match self.watcher.take() {
            Some(watcher) => watcher,
            None => self.watcher()?,
        };
        for gone in self.watched.difference(directories) {
            let _ = watcher.unwatch(gone);
        }
        for new in directories.difference(&self.watched) {
            match watcher.watch(new, RecursiveMode::NonRecursive) {
                // It went meanwhile; what is above it tells if it comes back.
                Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => {}
                outcome => outcome?,
            }
        }
        self.watcher = Some(watcher);
        Ok(())
    }

    fn watcher(&self) -> notify::Result<RecommendedWatcher> {
        let (sender, missed) = (self.sender.clone(), self.missed.clone());
        notify::recommended_watcher(move |event| {
            if sender.try_send(event).is_err() {
                missed.store(true, Ordering::Release);
            }
        })
    }
}
