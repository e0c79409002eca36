//! Files at rest: closed when there are too many open ones, and looked for when they have left their
//! path meanwhile; and what becomes of those that nothing names any more.

use super::adopt::is_named_archive;
use super::body::Body;
use super::identity::Key;
use super::open_files::Slot;
use super::scanner::Scanner;
use super::tail::FileTail;
use crate::sync::read;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two looks for files that can be closed: at most 2 % of a core.
const MAKE_ROOM: (Duration, u32) = (Duration::from_millis(10), 50);
/// How long content that is missed may be under way: a copy waits for ten seconds to be told from others.
const COME_BACK: Duration = Duration::from_secs(15);
/// How often it is told at most that files wait for others.
const TELL_CROWDED: Duration = Duration::from_secs(60);

/// Files that nothing named any more before all that was known to be in them was read.
#[derive(Debug, Default)]
pub(super) struct Lost {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Lost {
    fn add(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many they are, and how many bytes of them were not read.
    #[must_use]
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.files.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Scanner {
    /// Room for one more open file, made by closing others if need be.
    pub(super) fn room(&mut self) -> Option<Slot> {
        self.open_files.take().or_else(|| {
            self.make_room();
            self.open_files.take()
        })
    }

    /// Makes room if files wait for it, not too often.
    pub(super) fn make_room_when_due(&mut self) {
        if Instant::now() >= self.room_due {
            self.make_room();
        }
    }

    /// When room is made next, if files wait for it.
    pub(super) fn room_due(&self) -> Option<Instant> {
        (self.waiting() > 0).then_some(self.room_due)
    }

    /// Closes files so that others can be opened: of those that are at rest at a path that is known,
    /// the ones that have been quiet for longest.
    pub(super) fn make_room(&mut self) {
        let started = Instant::now();
        let surplus = self.open_files.surplus(self.waiting());
        if surplus == 0 || started < self.room_due {
            return self.wake_waiting();
        }
        let stays = |tail: &FileTail| {
            let wait = 2 * tail.config().rotate_wait;
            self.left.get(&tail.key()).is_none_or(|left| left.since.elapsed() > wait)
        };
        let tails = read(&self.tails);
        let mut resting: Vec<_> = tails
            .values()
            .filter(|tail| tail.is_open() && stays(tail) && tail.is_at_rest())
            .map(|tail| (tail.quiet(), tail))
            .collect();
        resting.sort_unstable_by_key(|(quiet, _)| Reverse(*quiet));
        let resting = resting.iter().map(|(_, tail)| tail).filter(|tail| tail.is_at_its_place());
        resting.take(surplus).for_each(|tail| tail.close());
        drop(tails);
        let (pause, cost) = MAKE_ROOM;
        self.room_due = Instant::now() + pause.max(started.elapsed() * cost);
        self.wake_waiting();
    }

    /// How many files wait for room.
    fn waiting(&self) -> usize {
        self.waiting.len() + self.crowded
    }

    fn wake_waiting(&mut self) {
        for key in self.waiting.take(self.open_files.room()) {
            if let Some(tail) = read(&self.tails).get(&key) {
                self.wake(tail);
            }
        }
    }

    /// What is in a file, opened if there is room; else the file is looked at again soon.
    pub(super) fn body_of(&mut self, tail: &Arc<FileTail>) -> Option<Arc<Body>> {
        if !tail.is_open() {
            drop(self.room()?);
        }
        tail.body().ok()
    }

    pub(super) fn tell_crowded(&mut self) {
        if self.crowded_told.is_some_and(|at| at.elapsed() < TELL_CROWDED) {
            return;
        }
        self.crowded_told = Some(Instant::now());
        tracing::warn!(
            open_files_max = self.open_files.max(),
            "so many files are open and being read; others wait until some of them are delivered \
             (see `agent.open_files_max`, and the process's limit of open files)"
        );
    }

    /// Files that were closed and that no glob finds any more: renamed in their directory they are
    /// read on; otherwise they are let go, once it is sure that they are not there. What came in meanwhile
    /// may be in an archive.
    pub(super) fn find_missing(&mut self, missing: Vec<Arc<FileTail>>) {
        let mut by_directory: HashMap<PathBuf, HashMap<Key, Arc<FileTail>>> = HashMap::new();
        for tail in missing {
            let directory = tail.path().parent().unwrap_or(Path::new("/")).to_owned();
            by_directory.entry(directory).or_default().insert(tail.key(), tail);
        }
        for (directory, mut tails) in by_directory {
            let config = tails.values().next().map(|tail| tail.config().clone());
            let found = match list(&directory) {
                Ok(found) => found,
                // A mount that is gone may come back: the files are looked for again.
                Err(error) if error.kind() != io::ErrorKind::NotFound => continue,
                Err(_) => Vec::new(),
            };
            for (path, metadata) in found {
                let key = Key::of(&metadata);
                if tails.get(&key).is_some_and(|tail| tail.is_of(&metadata))
                    && let Some(tail) = tails.remove(&key)
                {
                    tail.set_place(&path);
                    // Open from now on: its path may go, and it is no more looked for.
                    let _ = self.body_of(&tail);
                    if tail.is_archive() || tail.note_size(metadata.len()) {
                        self.wake(&tail);
                    }
                } else if is_named_archive(&path)
                    && !self.passed_over.contains_key(&key)
                    && let Some(config) = &config
                {
                    self.archives.push((config.clone(), path));
                }
            }
            tails.values().for_each(|tail| self.lose(tail));
        }
    }

    /// Lets go of a file that was closed and that nothing names any more. If not all of it was read,
    /// that is told: an archive is only closed then, and of the others their size is known.
    pub(super) fn lose(&mut self, tail: &Arc<FileTail>) {
        self.left.remove(&tail.key());
        tail.leave();
        tail.route().lane.mark_gone();
        self.let_go(tail, true);
        let (path, unread_bytes) = (tail.path().display(), tail.bytes_unread());
        if !tail.is_archive() && unread_bytes == 0 {
            return tracing::debug!(%path, "a file at rest is gone");
        }
        self.lost.add(unread_bytes);
        self.context.checkpoint.give_up(&tail.route().lane.id().to_string());
        tracing::warn!(
            %path,
            unread_bytes,
            "the file is gone from its directory, and the file system does not know it any more as it \
             was open; what was not read of it is read only if it comes back where a source finds it"
        );
    }
}

impl Scanner {
    /// Tells of content that is not there, was not read up to the end that was known, and was not found in
    /// a copy, in an archive or under another name for a while.
    pub(super) fn tell_missed(&mut self) {
        let mut missed = self.context.checkpoint.dormant(|entry| entry.bytes_unread() > 0);
        // What is on its way may still be delivered.
        missed.retain(|entry| !self.context.is_leaving(&entry.source));
        self.missed.retain(|source, _| missed.iter().any(|entry| entry.source == *source));
        if !self.are_all_begun() {
            return;
        }
        for entry in missed {
            let since = *self.missed.entry(entry.source.clone()).or_insert_with(Instant::now);
            let Some(file) = entry.file().filter(|_| since.elapsed() >= COME_BACK) else {
                continue;
            };
            let path = Path::new(&file.path);
            let is_there = || path.metadata().is_ok_and(|now| Key::of(&now).inode == file.inode);
            if !self.is_wanted(path) || !file.replaced && is_there() {
                continue;
            }
            self.lost.add(entry.bytes_unread());
            self.context.checkpoint.give_up(&entry.source);
            tracing::warn!(
                path = %path.display(),
                unread_bytes = entry.bytes_unread(),
                "the file was {} before all that was known to be in it was delivered, and no copy of it is \
                 found; what was not is read only if it comes back where a source finds it",
                if file.replaced { "truncated or rewritten" } else { "removed" },
            );
        }
    }
}

/// What is in a directory, without what is removed meanwhile.
fn list(directory: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) => found.push((entry.path(), metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
