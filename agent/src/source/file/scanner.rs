//! The look through the directories: finds files, wakes those that have changed, and looks after
//! those that left their path.

use super::adopt::{asks_for_archives, is_named_archive};
use super::heads::Heads;
use super::identity::{Key, born_ns};
use super::open_files::{OpenFiles, Waiting};
use super::rest::Lost;
use super::tail::{FileTail, Notice, Unfinished};
use super::watches::Watches;
use super::way::{is_unfollowed, open_regular};
use super::{Glob, Look};
use crate::checkpoint::Entry;
use crate::config::{FileConfig, ReadFrom};
use crate::confine;
use crate::source::Context;
use crate::sync::read;
use crate::workers::Work;
use crossbeam_channel::Sender;
use notify::EventKind;
use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

/// Between two rescans at least.
const RESCAN_INTERVAL: Duration = Duration::from_secs(1);
/// More if a rescan takes long, so that it costs at most 2 % of a core, but not more than this.
const RESCAN_UNWATCHED: (Duration, u32) = (Duration::from_secs(15), 50);
/// The same while the kernel tells what changes and no archive waits for a look, so that nothing waits for
/// it: at most 0.2 %.
const RESCAN_WATCHED: (Duration, u32) = (Duration::from_secs(60), 500);
/// The same while files wait for others to be closed: at most 10 %.
const RESCAN_CROWDED: (Duration, u32) = (Duration::from_millis(100), 9);
/// Between two looks at the files that have left their path: at most 2 % of a core.
const LOOK_AT_LEFT: (Duration, u32) = (Duration::from_secs(1), 50);
/// How long a record waits that could not be ended.
const END_AGAIN: Duration = Duration::from_secs(1);
/// Changes of directories are gathered for so long, and for so many times what a rescan takes.
const GATHER: (Duration, u32) = (Duration::from_millis(20), 4);

/// How long to wait after a rescan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rescanned {
    /// Until the next one.
    pub(super) interval: Duration,
    /// After a change of a directory, for more of them.
    pub(super) gather: Duration,
}

/// A file that is at its path no more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) since: Instant,
    /// A glob finds it elsewhere.
    in_glob: bool,
}

/// The files that are read.
pub(super) type Tails = Arc<RwLock<HashMap<Key, Arc<FileTail>>>>;

/// The table of files, and what is known about their paths.
pub(super) struct Scanner {
    pub(super) context: Arc<Context>,
    pub(super) configs: Vec<Arc<FileConfig>>,
    pub(super) tails: Tails,
    /// Where each file was seen last.
    pub(super) paths: HashMap<PathBuf, Key>,
    /// Files that are at their path no more.
    pub(super) left: HashMap<Key, Left>,
    /// When these are looked at next.
    pub(super) left_due: Instant,
    pub(super) heads: Arc<Heads>,
    /// Files that look like copies of others: (since when they have not grown, size).
    pub(super) copies: HashMap<Key, (Instant, u64)>,
    /// Records of several lines that end if nothing more comes.
    pub(super) unfinished: HashMap<Key, Unfinished>,
    /// Paths that could not be opened; each is told once.
    pub(super) refused: HashSet<PathBuf>,
    /// Compressed files that have been found and not been looked into.
    pub(super) archives: Vec<(Arc<FileConfig>, PathBuf)>,
    /// Compressed files that there is nothing to read of, by their size.
    pub(super) passed_over: HashMap<Key, u64>,
    pub(super) open_files: OpenFiles,
    /// How many files wait to be begun until others can be closed.
    pub(super) crowded: usize,
    pub(super) crowded_told: Option<Instant>,
    /// All files that there are were looked for since the start.
    pub(super) were_all_begun: bool,
    /// When files are looked for next that can be closed.
    pub(super) room_due: Instant,
    pub(super) waiting: Waiting,
    /// Sources that want files which others read: these, and the others; each pair is told once.
    pub(super) contested: HashSet<(String, String)>,
    /// Files that are not read on as they were.
    pub(super) leaving: Vec<Arc<FileTail>>,
    /// Files that are not followed may have been renamed meanwhile.
    pub(super) renamed_due: bool,
    pub(super) notice_sender: Sender<Notice>,
    /// How often more changed than could be told.
    pub(super) overflows: Arc<AtomicU64>,
    pub(super) lost: Arc<Lost>,
    /// Content that is not there though not all of it was read, by its source, and since when.
    pub(super) missed: HashMap<String, Instant>,
}

impl Scanner {
    /// Handles one notification; returns whether the directories have to be looked through.
    pub(super) fn event(&mut self, event: notify::Result<notify::Event>) -> bool {
        let Ok(event) = event else { return true };
        if event.need_rescan() {
            return self.overflowed();
        }
        match event.kind {
            EventKind::Access(_) => false,
            EventKind::Modify(notify::event::ModifyKind::Data(_)) => {
                let unknown = event.paths.iter().any(|path| !self.wake_path(path));
                unknown && event.paths.iter().any(|path| self.is_wanted(path))
            }
            _ => true,
        }
    }

    /// More changed than was told: `true`, all has to be looked at.
    pub(super) fn overflowed(&self) -> bool {
        if self.overflows.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::info!(
                "more files changed than the kernel could tell; all are looked at, as each time from \
                 now on (raise fs.inotify.max_queued_events if it happens often)"
            );
        }
        true
    }

    fn wake_path(&self, path: &Path) -> bool {
        let tail = self.paths.get(path).and_then(|key| read(&self.tails).get(key).cloned());
        tail.map(|tail| self.wake(&tail)).is_some()
    }

    /// Takes over a changed configuration. A file that is not at its path any more is read to its end
    /// as it was begun: nothing would find it again.
    pub(super) fn configure(&mut self, configs: Vec<FileConfig>) {
        let mut old = std::mem::take(&mut self.configs);
        let kept = |config: FileConfig| {
            let same = |known: &Arc<FileConfig>| known.common.said == config.common.said;
            old.iter().position(same).map_or_else(|| Arc::new(config), |at| old.swap_remove(at))
        };
        self.configs = configs.into_iter().map(kept).collect();
        // What waits to be looked into is found again.
        self.archives.clear();
        let is_kept = |tail: &FileTail| self.configs.iter().any(|c| Arc::ptr_eq(c, tail.config()));
        let tails = read(&self.tails);
        let leaving = tails.values().filter(|tail| !is_kept(tail) && tail.is_at_its_place());
        self.leaving.extend(leaving.inspect(|tail| tail.leave()).cloned());
        drop(tails);
        self.refused.clear();
        self.contested.clear();
    }

    /// Lets go of files that are not read on and have all out; returns whether there were any, which
    /// another source may want.
    pub(super) fn let_leaving_go(&mut self) -> bool {
        let (left, leaving): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.leaving).into_iter().partition(|tail| tail.has_left());
        self.leaving = leaving;
        for tail in &left {
            self.left.remove(&tail.key());
            // It may have been replaced meanwhile, which has ended it already.
            if read(&self.tails).get(&tail.key()).is_some_and(|now| Arc::ptr_eq(now, tail)) {
                self.let_go(tail, true);
            }
        }
        self.renamed_due |= !left.is_empty();
        !left.is_empty()
    }

    pub(super) fn wake(&self, tail: &Arc<FileTail>) {
        let work: Arc<dyn Work> = tail.clone();
        self.context.queue.wake(&work);
    }

    pub(super) fn is_wanted(&self, path: &Path) -> bool {
        self.configs.iter().any(|config| {
            config.paths.iter().any(|glob| glob.matches(path))
                && !config.exclude.iter().any(|glob| glob.matches(path))
        })
    }

    /// Ends the records that nothing more came for in time.
    pub(super) fn finish_records(&mut self) {
        let now = Instant::now();
        let tails = read(&self.tails);
        let is_there = |key: &Key, record: &Unfinished| {
            tails.get(key).is_some_and(|tail| tail.route().lane.id() == record.source)
        };
        self.unfinished.retain(|key, record| is_there(key, record));
        let mut due: Vec<_> = self.unfinished.extract_if(|_, record| record.due <= now).collect();
        let tail = |key: &Key| tails.get(key).cloned();
        // What has come meanwhile, however late it is read, is looked at first.
        due.retain(|(key, record)| {
            let grown = tail(key).filter(|tail| tail.has_grown(record.seen));
            grown.inspect(|tail| self.wake(tail)).is_none()
        });
        let ends = due.iter().filter_map(|(key, record)| Some((tail(key)?, record.end))).collect();
        drop(tails);
        let due: HashMap<Key, Unfinished> = due.into_iter().collect();
        for (tail, _) in self.end_at(ends) {
            let record = Unfinished { due: now + END_AGAIN, ..due[&tail.key()] };
            self.unfinished.insert(tail.key(), record);
        }
    }

    /// Has what reaches to these places end there: once the checkpoint says so, so that it ends there also
    /// when it is read again. Returns those that do not end.
    fn end_at(&self, ends: Vec<(Arc<FileTail>, u64)>) -> Vec<(Arc<FileTail>, u64)> {
        let (ends, mut open): (Vec<_>, Vec<_>) =
            ends.into_iter().partition(|(tail, end)| tail.propose_cut(*end));
        let is_saved = ends.is_empty() || self.context.save_checkpoint();
        ends.iter().for_each(|(tail, _)| tail.settle_cut(is_saved));
        if is_saved {
            ends.iter().for_each(|(tail, _)| self.wake(tail));
        } else {
            open.extend(ends);
        }
        open
    }

    /// All paths that the globs find, by source, and the directories that they look into.
    fn expand(&mut self) -> (Vec<(Arc<FileConfig>, Vec<PathBuf>)>, HashSet<PathBuf>) {
        let mut directories = HashSet::new();
        let (mut found, mut unfollowed) = (Vec::new(), Vec::new());
        for config in &self.configs {
            let mut paths = Vec::new();
            for glob in &config.paths {
                glob.expand(&mut |path| paths.push(path), &mut |directory, look| match look {
                    Look::Listed | Look::Asked => _ = directories.insert(directory.to_owned()),
                    Look::Refused => {}
                    Look::Unfollowed(error) => unfollowed.push((directory.to_owned(), error)),
                });
            }
            paths.retain(|path| !config.exclude.iter().any(|glob| glob.matches(path)));
            found.push((config.clone(), paths));
        }
        for (path, error) in unfollowed {
            self.refuse(&path, &error);
        }
        (found, directories)
    }

    /// Looks through all directories.
    pub(super) fn rescan(&mut self, watches: &mut Watches) -> Rescanned {
        let started = Instant::now();
        self.crowded = 0;
        self.open_files.try_more();
        let mut seen: HashMap<Key, PathBuf> = HashMap::new();
        let (mut found, directories) = self.expand();
        // Before the files are looked at, so that what changes after that is told. What came into a directory
        // before it was watched is not: it is found by another look.
        if watches.set(directories) {
            found = self.expand().0;
        }
        let globs = self.configs.iter().flat_map(|config| &config.paths).map(Glob::as_str);
        let is_new = |glob: &&str| self.context.checkpoint.first_look(glob);
        let new: HashSet<String> = globs.filter(is_new).map(str::to_owned).collect();
        for (config, paths) in found {
            for path in paths {
                // Where a path was looked at before, what comes to light is new.
                let mut finding = config.paths.iter().filter(|glob| glob.matches(&path));
                let first_look = !new.is_empty() && finding.all(|glob| new.contains(glob.as_str()));
                self.look_at(&config, path, first_look, &mut seen);
            }
        }
        self.paths = seen.iter().map(|(key, path)| (path.clone(), *key)).collect();
        if std::mem::take(&mut self.renamed_due) {
            self.find_renamed(&seen);
        }
        self.look_after(&seen);
        self.look_into_archives();
        self.tell_missed();
        self.were_all_begun |= self.are_all_begun();
        if self.were_all_begun {
            self.context.checkpoint.forget_old();
        }
        self.passed_over.retain(|key, _| seen.contains_key(key));
        self.refused.retain(|path| path.symlink_metadata().is_ok());
        self.copies.retain(|key, _| read(&self.tails).contains_key(key));
        if !new.is_empty() {
            // What was skipped the first time must not be skipped again after a crash.
            self.context.save_checkpoint();
        }
        let took = started.elapsed();
        let is_told = watches.are_whole() && !self.have_archives_to_read();
        let (max, mut cost) = if is_told { RESCAN_WATCHED } else { RESCAN_UNWATCHED };
        let mut min = RESCAN_INTERVAL;
        if self.crowded > 0 {
            // It ends as soon as some files are delivered.
            (min, cost) = RESCAN_CROWDED;
            self.tell_crowded();
        }
        Rescanned {
            interval: (took * cost).clamp(min, max),
            gather: GATHER.0.max(took * GATHER.1).min(min),
        }
    }

    /// Whether no file waits to be looked into.
    pub(super) fn are_all_begun(&self) -> bool {
        self.crowded == 0 && !self.have_archives_to_read()
    }

    /// One path that a glob found: wakes the file if it is known and has changed, else begins it.
    fn look_at(
        &mut self,
        config: &Arc<FileConfig>,
        path: PathBuf,
        first_look: bool,
        seen: &mut HashMap<Key, PathBuf>,
    ) {
        let metadata = match path.metadata() {
            Ok(metadata) if metadata.is_file() => metadata,
            _ => return,
        };
        let key = Key::of(&metadata);
        if seen.contains_key(&key) {
            return self.tell_if_contested(config, &path, key);
        }
        let mut known = read(&self.tails).get(&key).cloned();
        if let Some(tail) = known.take_if(|tail| !tail.is_of(&metadata)) {
            // It was closed, is gone, and its number was given to another file.
            self.lose(&tail);
        }
        if let Some(tail) = known {
            // Where it is opened anew.
            if !tail.is_at(&path)
                && let Err(error) = open_regular(&path, config.follow_links)
                && is_unfollowed(&error)
            {
                return self.refuse(&path, &error);
            }
            if !tail.is_archive() && tail.note_size(metadata.len()) {
                self.wake(&tail);
            }
            tail.set_place(&path);
            seen.insert(key, path);
            return;
        }
        if self.passed_over.get(&key) == Some(&metadata.len()) {
            seen.insert(key, path);
            return;
        }
        if self.is_too_old(config, &metadata, key) {
            return;
        }
        // With no room for one file there is none for the next.
        let begun = if self.crowded > 0 {
            Err(ErrorKind::ResourceBusy.into())
        } else {
            self.begin(config, &path, first_look)
        };
        if begun.is_err() && first_look && config.read_from == ReadFrom::End {
            self.pass_over(&path, &metadata);
        }
        match begun {
            Ok(()) => {
                self.refused.remove(&path);
                seen.insert(key, path);
            }
            Err(error) if error.kind() == ErrorKind::ResourceBusy => self.crowded += 1,
            Err(error) => {
                self.context.checkpoint.renew(key.inode);
                self.refuse(&path, &error);
            }
        }
    }

    /// A file is read once: as the first source that finds it says. Tells once for each two sources if
    /// this one is not it.
    fn tell_if_contested(&mut self, config: &Arc<FileConfig>, path: &Path, key: Key) {
        let Some(tail) = read(&self.tails).get(&key).cloned() else { return };
        let names = |config: &FileConfig| {
            config.paths.first().map(Glob::as_str).unwrap_or_default().to_owned()
        };
        let (reads, wants) = (names(tail.config()), names(config));
        if !Arc::ptr_eq(tail.config(), config)
            && self.contested.insert((wants.clone(), reads.clone()))
        {
            tracing::warn!(
                path = %path.display(),
                reads,
                wants,
                "two sources name this file; it is read once, as the first of them says (if that is not \
                 meant, `exclude` it there)"
            );
        }
    }

    /// Tells once why a file is not read.
    pub(super) fn refuse(&mut self, path: &Path, error: &std::io::Error) {
        if self.refused.insert(path.to_owned()) {
            let is_denied = error.kind() == ErrorKind::PermissionDenied;
            let hint = if is_denied { confine::hint(path) } else { "" };
            tracing::warn!(
                path = %path.display(),
                %error,
                "the file is not read; it is tried again with every look{hint}"
            );
        }
    }

    /// Whether nobody has written to a file for so long that it is not to be begun.
    fn is_too_old(&self, config: &FileConfig, metadata: &Metadata, key: Key) -> bool {
        let Some(limit) = config.ignore_older else { return false };
        let age = metadata.modified().ok().and_then(|written| written.elapsed().ok());
        age.is_some_and(|age| age > limit) && !self.context.checkpoint.knows_inode(key.inode)
    }

    /// At the start, and when files were let go of to be begun anew: those of the checkpoint that no glob
    /// finds may have been renamed in their directory, or compressed; what is left of them is read.
    fn find_renamed(&mut self, seen: &HashMap<Key, PathBuf>) {
        let lost = self.context.checkpoint.dormant(|entry| entry.file().is_some());
        let mut by_directory: HashMap<PathBuf, HashMap<(u64, u64), Entry>> = HashMap::new();
        for entry in lost {
            let Some(file) = entry.file() else { continue };
            let Some(directory) = Path::new(&file.path).parent().map(Path::to_owned) else {
                continue;
            };
            // A new file often has the inode of the one that was deleted for it.
            let identity = (file.inode, file.born_ns);
            by_directory.entry(directory).or_default().insert(identity, entry);
        }
        for (directory, entries) in by_directory {
            let Ok(found) = std::fs::read_dir(&directory) else { continue };
            for found in found.filter_map(Result::ok) {
                let Ok(metadata) = found.metadata() else { continue };
                let key = Key::of(&metadata);
                if seen.contains_key(&key) || !metadata.is_file() {
                    continue;
                }
                let path = found.path();
                let renamed = entries.get(&(key.inode, born_ns(&metadata)));
                let any = || entries.values().next().filter(|_| is_named_archive(&path));
                let Some(config) = renamed.or_else(any).and_then(|entry| self.config_of(entry))
                else {
                    continue;
                };
                let Some(renamed) = renamed else {
                    // Read only if it holds the rest of a file that is known.
                    self.archives.push((config, path));
                    continue;
                };
                let has_more = metadata.len() > renamed.offset;
                match self.begin(&config, &path, false) {
                    Ok(()) => self.left_behind(key),
                    Err(error) if error.kind() == ErrorKind::ResourceBusy && has_more => {
                        self.crowded += 1;
                        self.renamed_due = true;
                    }
                    Err(_) => {}
                }
            }
        }
    }

    fn left_behind(&self, key: Key) {
        let tails = read(&self.tails);
        let Some(tail) = tails.get(&key) else { return };
        let path = tail.path().display();
        // Most have been read to their end before the start.
        if tail.bytes_behind() > 0 {
            tracing::info!(%path, "a file renamed meanwhile is read to its end");
        } else {
            tracing::debug!(%path, "a file renamed meanwhile was read to its end before");
        }
    }

    fn config_of(&self, entry: &Entry) -> Option<Arc<FileConfig>> {
        let path = entry.file().map(|file| PathBuf::from(&file.path))?;
        let of = |config: &&Arc<FileConfig>| config.paths.iter().any(|glob| glob.matches(&path));
        self.configs.iter().find(of).cloned()
    }

    /// Finds out which files are not at their path any more, and looks after them.
    fn look_after(&mut self, seen: &HashMap<Key, PathBuf>) {
        let tails: Vec<Arc<FileTail>> = read(&self.tails).values().cloned().collect();
        let mut missing = Vec::new();
        for tail in tails {
            let key = tail.key();
            let found = seen.get(&key);
            if tail.is_archive() {
                if tail.is_open() || tail.is_archive_done() {
                    self.look_after_archive(&tail, found.is_some());
                } else if found.is_some() {
                    self.wake(&tail);
                } else {
                    missing.push(tail);
                }
                continue;
            }
            if found.is_some_and(|path| path == tail.path()) {
                self.left.remove(&key);
                continue;
            }
            let in_glob = found.is_some();
            let now = Left { since: Instant::now(), in_glob };
            self.left.entry(key).or_insert(now).in_glob = in_glob;
            // Where it is, its size was noted; else it has to be looked for.
            if !tail.is_open() && !in_glob {
                missing.push(tail);
            }
        }
        self.look_after_left();
        self.find_missing(missing);
        self.left.retain(|key, _| read(&self.tails).contains_key(key));
    }

    /// Looks after the files that have left their path, more often than a rescan does: no notification
    /// comes of what is still written to them, and one that was deleted takes room on the disk.
    pub(super) fn look_after_left_when_due(&mut self) {
        if !self.left.is_empty() && Instant::now() >= self.left_due {
            self.look_after_left();
        }
    }

    /// The files that have left their path are read to the end, then let go.
    fn look_after_left(&mut self) {
        let started = Instant::now();
        let tails = read(&self.tails);
        let with_tail = |(key, left): (&Key, &Left)| Some((tails.get(key)?.clone(), *left));
        let all: Vec<(Arc<FileTail>, Left)> = self.left.iter().filter_map(with_tail).collect();
        drop(tails);
        let mut ends = Vec::new();
        for (tail, left) in all {
            if !tail.is_open() {
                continue;
            }
            let Ok((size, named)) = tail.look() else {
                if !tail.is_open() {
                    // Its server has forgotten it: whatever names it now is looked for. Without a
                    // receiver the agent stops.
                    let _ = self.notice_sender.send(Notice::Moved);
                }
                continue;
            };
            if tail.note_size(size) {
                self.wake(&tail);
            }
            let wait = tail.config().rotate_wait;
            if left.since.elapsed() < wait || tail.quiet() < wait {
                continue;
            }
            if let Some(end) = tail.open_end() {
                ends.push((tail, end));
            } else if !left.in_glob && tail.is_through() {
                self.left.remove(&tail.key());
                // Of one that is deleted there may be an archive.
                self.let_go(&tail, named || asks_for_archives(tail.config()));
                tracing::debug!(path = %tail.path().display(), "a rotated file is read to its end");
            }
        }
        // Those that do not end are looked at again.
        self.end_at(ends);
        let (pause, cost) = LOOK_AT_LEFT;
        self.left_due = Instant::now() + pause.max(started.elapsed() * cost).min(RESCAN_WATCHED.0);
    }
}
