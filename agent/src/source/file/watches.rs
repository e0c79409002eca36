//! The kernel's notifications about directories, as far as they are to be had.
//!
//! They only save time: whatever is missed, the next rescan finds.

use crossbeam_channel::{Receiver, Sender, unbounded};
use notify::event::ModifyKind;
use notify::{ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many notifications wait at most.
const EVENTS_MAX: usize = 16_384;

/// After how long it is tried again to have notifications.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// File systems that other hosts, or programs behind the kernel, write to: NFS, SMB 1 to 3, FUSE, 9P,
/// AFS, Ceph. The numbers are `f_type` of statfs(2).
const SHARED_TYPES: [u64; 7] =
    [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x0102_1997, 0x5346_414f, 0x00c3_6400];

/// See the module's description.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: Option<RecommendedWatcher>,
    watched: HashSet<PathBuf>,
    /// Those of them where other hosts may write, of which nothing is told.
    shared: HashSet<PathBuf>,
    sender: Sender<notify::Result<notify::Event>>,
    pub(super) events: Receiver<notify::Result<notify::Event>>,
    /// More was told than can wait.
    missed: Arc<AtomicBool>,
    /// When there were none to be had; told once.
    failed: Option<Instant>,
}

impl Watches {
    pub(super) fn new() -> Self {
        // The places of a bounded one are there from the start: a megabyte that hardly any host needs.
        let (sender, events) = unbounded();
        let missed = Arc::default();
        let (watched, shared) = (HashSet::new(), HashSet::new());
        Self { watcher: None, watched, shared, sender, events, missed, failed: None }
    }

    /// Whether every directory is watched, and all that is written there told.
    pub(super) fn are_whole(&self) -> bool {
        self.watcher.is_some() && self.shared.is_empty()
    }

    /// Whether notifications were lost since the last call, so that everything has to be looked at.
    pub(super) fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    /// Watches these directories and no others; returns whether any was not watched before, and so may
    /// have got files that were not told. Where they cannot be watched, none is, and it is tried again after
    /// a while.
    pub(super) fn set(&mut self, directories: HashSet<PathBuf>) -> bool {
        if self.watcher.is_none() && self.failed.is_some_and(|at| at.elapsed() < RETRY_INTERVAL) {
            return false;
        }
        match self.watch(&directories) {
            Ok(()) => {
                let any_new = !directories.is_subset(&self.watched);
                self.watched = directories;
                if self.failed.take().is_some() {
                    tracing::info!("file notifications work again");
                }
                any_new
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
                self.shared.clear();
                false
            }
        }
    }

    /// A directory that was removed or renamed is watched no more, so that what takes its place is.
    pub(super) fn forget(&mut self, event: &notify::Event) {
        if !matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
            return;
        }
        for path in &event.paths {
            if self.watched.remove(path)
                && let Some(watcher) = &mut self.watcher
            {
                // The kernel has forgotten it already if it was removed.
                let _ = watcher.unwatch(path);
                self.shared.remove(path);
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
            self.shared.remove(gone);
        }
        for new in directories.difference(&self.watched) {
            match watcher.watch(new, RecursiveMode::NonRecursive) {
                // It went meanwhile; what is above it tells if it comes back.
                Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => {}
                outcome => outcome?,
            }
            if is_shared(new) {
                self.shared.insert(new.clone());
            }
        }
        self.watcher = Some(watcher);
        Ok(())
    }

    fn watcher(&self) -> notify::Result<RecommendedWatcher> {
        let (sender, missed) = (self.sender.clone(), self.missed.clone());
        notify::recommended_watcher(move |event| {
            // Only this thread sends, so there are never more.
            if sender.len() >= EVENTS_MAX || sender.send(event).is_err() {
                missed.store(true, Ordering::Release);
            }
        })
    }
}

fn is_shared(directory: &Path) -> bool {
    let kind = rustix::fs::statfs(directory).map(|found| found.f_type as u64 & 0xffff_ffff);
    kind.is_ok_and(|kind| SHARED_TYPES.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::Event;
    use notify::event::RemoveKind;

    #[test]
    fn a_directory_is_new_until_it_is_watched_and_again_when_it_was_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let mut watches = Watches::new();
        let set = |watches: &mut Watches| watches.set(HashSet::from([path.clone()]));
        assert!(set(&mut watches));
        assert!(!set(&mut watches));
        watches.forget(&Event::new(EventKind::Remove(RemoveKind::Folder)).add_path(path.clone()));
        assert!(set(&mut watches));
    }
}
