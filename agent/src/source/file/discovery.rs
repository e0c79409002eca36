//! Discovery: which files there are, which of them are known, and what became of those that left.
//!
//! One thread owns the table of files. The kernel's notifications wake single files at once; a
//! rescan finds whatever they did not tell, and is all there is where they are not to be had.

use super::identity::{Key, born_ns, end_of_lines, guard_at, holds, open_regular};
use super::tail::{FileTail, Notice, Start};
use crate::checkpoint::{Checkpoint, Content, Entry, FileContent};
use crate::config::{FileConfig, ReadFrom};
use crate::delivery::{Lane, Position};
use crate::source::Context;
use crate::sync::{lock, read, write};
use crate::workers::Work;
use crossbeam_channel::{Receiver, Sender, bounded, select_biased, tick, unbounded};
use logweir_record::SourceId;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two rescans at least; more if a rescan takes long, so that it costs at most 2 % of a core.
const RESCAN_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
const RESCAN_COST: u32 = 50;
/// Changes of directories are gathered for so long.
const GATHER: Duration = Duration::from_millis(20);
/// How many notifications wait at most.
const EVENTS_MAX: usize = 16_384;
/// How long a file that looks like a copy of one that is read may take to become one, or not.
const COPY_WAIT: Duration = Duration::from_secs(10);
/// Less content than this says nothing about being a copy.
const COPY_HEAD_BYTES_MIN: u16 = 64;
/// What begins like this is compressed and is no log that grows.
const COMPRESSED: &[&[u8]] = &[b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh"];

type Tails = Arc<RwLock<HashMap<Key, Arc<FileTail>>>>;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Discovery {
    unused: bool,
    tails: Tails,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Discovery {
    #[must_use]
    pub(crate) fn start(context: Arc<Context>, configs: Vec<FileConfig>) -> Self {
        let unused = configs.is_empty();
        let tails = Tails::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (notice_sender, notices) = unbounded();
        let scanner = Scanner {
            context,
            configs: configs.into_iter().map(Arc::new).collect(),
            tails: tails.clone(),
            paths: HashMap::new(),
            left: HashMap::new(),
            copies: HashMap::new(),
            refused: HashSet::new(),
            notice_sender,
        };
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("discovery".into())
            .spawn(move || run(scanner, &notices, &stopped))
            .expect("a thread can be started");
        Self { unused, tails, stop, thread: Mutex::new(Some(thread)) }
    }

    /// Whether no files are configured at all.
    pub(crate) fn is_unused(&self) -> bool {
        self.unused
    }

    /// The files that are read.
    #[must_use]
    pub(crate) fn tails(&self) -> Vec<Arc<FileTail>> {
        read(&self.tails).values().cloned().collect()
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

fn run(mut scanner: Scanner, notices: &Receiver<Notice>, stop: &AtomicBool) {
    let mut watches = Watches::new();
    let mut interval = scanner.rescan(&mut watches, true);
    let mut scanned = Instant::now();
    let beat = tick(Duration::from_millis(100));
    while !stop.load(Ordering::Acquire) {
        let mut structural = false;
        select_biased! {
            recv(notices) -> notice => {
                if let Ok(Notice::Replaced(key)) = notice {
                    scanner.replace(key);
                }
            }
            recv(watches.events) -> event => {
                if let Ok(event) = event {
                    structural = scanner.event(event);
                }
            }
            recv(beat) -> _ => {}
        }
        if structural && !stop.load(Ordering::Acquire) {
            std::thread::sleep(GATHER);
            while let Ok(event) = watches.events.try_recv() {
                scanner.event(event);
            }
        }
        if structural || scanned.elapsed() >= interval {
            interval = scanner.rescan(&mut watches, false);
            scanned = Instant::now();
        }
    }
}

/// The kernel's notifications, as far as they are to be had.
struct Watches {
    watcher: Option<RecommendedWatcher>,
    watched: HashSet<PathBuf>,
    events: Receiver<notify::Result<notify::Event>>,
}

impl Watches {
    fn new() -> Self {
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

    /// Watches these directories and no others.
    fn set(&mut self, directories: HashSet<PathBuf>) {
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

struct Scanner {
    context: Arc<Context>,
    configs: Vec<Arc<FileConfig>>,
    tails: Tails,
    /// Where each file was seen last.
    paths: HashMap<PathBuf, Key>,
    /// Files that are at their path no more, and since when.
    left: HashMap<Key, Instant>,
    /// Files that look like copies of others: (since when they have not grown, size).
    copies: HashMap<Key, (Instant, u64)>,
    /// Paths that could not be opened; each is told once.
    refused: HashSet<PathBuf>,
    notice_sender: Sender<Notice>,
}

impl Scanner {
    /// Handles one notification; returns whether the directories have to be looked through.
    fn event(&mut self, event: notify::Result<notify::Event>) -> bool {
        let Ok(event) = event else { return true };
        match event.kind {
            EventKind::Access(_) => false,
            EventKind::Modify(notify::event::ModifyKind::Data(_)) if !event.need_rescan() => {
                let unknown = event.paths.iter().any(|path| !self.wake_path(path));
                unknown && event.paths.iter().any(|path| self.is_wanted(path))
            }
            _ => true,
        }
    }

    fn wake_path(&self, path: &Path) -> bool {
        let tail = self.paths.get(path).and_then(|key| read(&self.tails).get(key).cloned());
        tail.map(|tail| self.wake(&tail)).is_some()
    }

    fn wake(&self, tail: &Arc<FileTail>) {
        let work: Arc<dyn Work> = tail.clone();
        self.context.queue.wake(&work);
    }

    fn is_wanted(&self, path: &Path) -> bool {
        self.configs.iter().any(|config| {
            config.paths.iter().any(|glob| glob.matches(path))
                && !config.exclude.iter().any(|glob| glob.matches(path))
        })
    }

    /// Looks through all directories; returns how long to wait until the next time.
    fn rescan(&mut self, watches: &mut Watches, first: bool) -> Duration {
        let started = Instant::now();
        let mut directories = HashSet::new();
        let mut seen: HashMap<Key, PathBuf> = HashMap::new();
        let mut any_first_look = false;
        for config in self.configs.clone() {
            let input: Vec<&str> = config.paths.iter().map(super::Glob::as_str).collect();
            let first_look = self.context.checkpoint.first_look(&input.join(" "));
            any_first_look |= first_look;
            let mut found = Vec::new();
            for glob in &config.paths {
                glob.expand(&mut |path| found.push(path), &mut |directory| {
                    directories.insert(directory.to_owned());
                });
            }
            found.retain(|path| !config.exclude.iter().any(|glob| glob.matches(path)));
            for path in found {
                self.look_at(&config, path, first_look, &mut seen);
            }
        }
        watches.set(directories);
        self.paths = seen.iter().map(|(key, path)| (path.clone(), *key)).collect();
        if first {
            self.find_renamed(&mut seen);
        }
        self.look_after(&seen);
        self.refused.retain(|path| path.symlink_metadata().is_ok());
        self.copies.retain(|key, _| !read(&self.tails).contains_key(key));
        if any_first_look {
            // What was skipped the first time must not be skipped again after a crash.
            self.context.save_checkpoint();
        }
        let (min, max) = RESCAN_INTERVAL;
        (started.elapsed() * RESCAN_COST).clamp(min, max)
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
            return;
        }
        let known = read(&self.tails).get(&key).cloned();
        if let Some(tail) = known {
            if tail.note_size(metadata.len()) {
                self.wake(&tail);
            }
            seen.insert(key, path);
            return;
        }
        match self.begin(config, &path, first_look) {
            Ok(()) => {
                self.refused.remove(&path);
                seen.insert(key, path);
            }
            Err(error) => {
                if self.refused.insert(path.clone()) {
                    tracing::warn!(
                        path = %path.display(),
                        %error,
                        "the file is not read; it is tried again with every look"
                    );
                }
            }
        }
    }

    /// Begins to read a file, where the checkpoint says or anew.
    fn begin(
        &mut self,
        config: &Arc<FileConfig>,
        path: &Path,
        first_look: bool,
    ) -> std::io::Result<()> {
        let (file, metadata) = open_regular(path)?;
        let key = Key::of(&metadata);
        if read(&self.tails).contains_key(&key) || is_compressed(&file) {
            return Ok(());
        }
        let born_ns = born_ns(&metadata);
        let claimed = claim(&self.context.checkpoint, key, born_ns);
        if claimed.is_none() {
            if self.is_copy_of_live(key, &file, metadata.len()) {
                return Ok(());
            }
            if let Some(entry) = adopt(&self.context.checkpoint, &file)
                && let Some(original) = entry.file()
            {
                let content = FileContent {
                    device: key.device,
                    inode: key.inode,
                    born_ns,
                    replaced: false,
                    ..original.clone()
                };
                let position = entry.position();
                self.add(
                    config,
                    Start { key, path: path.to_owned(), file, content, position },
                    Some(&entry),
                );
                return Ok(());
            }
        }
        let mut content = FileContent {
            path: path.display().to_string(),
            device: key.device,
            inode: key.inode,
            born_ns,
            epoch: 0,
            head_length: 0,
            head_hash: 0,
            replaced: false,
        };
        if let Some(entry) = &claimed
            && let Some(known) = entry.file()
        {
            if holds(&file, known, &entry.position()) {
                content = FileContent { device: key.device, ..known.clone() };
                let start =
                    Start { key, path: path.to_owned(), file, content, position: entry.position() };
                self.add(config, start, Some(entry));
                return Ok(());
            }
            tracing::info!(
                path = %path.display(),
                "the file was truncated or rewritten meanwhile; it is read from its beginning"
            );
            content.epoch = known.epoch + 1;
            let old = FileContent { replaced: true, ..known.clone() };
            let content = Content::File(old);
            self.context.checkpoint.remember(Entry { content, ..entry.clone() });
        }
        let mut position = Position::default();
        if first_look && config.read_from == ReadFrom::End && claimed.is_none() {
            position.offset = end_of_lines(&file, metadata.len(), config.common.line_bytes_max)?;
            position.guard = guard_at(&file, position.offset)?;
        }
        let start = Start { key, path: path.to_owned(), file, content, position };
        self.add(config, start, None);
        Ok(())
    }

    /// Whether a new file has the content of one that is read, as the copy has that is made before a
    /// truncation. It is left alone until the original is truncated, or it is clear that it will not
    /// be.
    fn is_copy_of_live(&mut self, key: Key, file: &File, size: u64) -> bool {
        let is_copy = read(&self.tails).values().any(|tail| {
            let content = tail.content();
            let acked = tail.route().lane.acked();
            content.head_length >= COPY_HEAD_BYTES_MIN && holds(file, &content, &acked)
        });
        if !is_copy {
            self.copies.remove(&key);
            return false;
        }
        let (since, known) = self.copies.entry(key).or_insert_with(|| (Instant::now(), size));
        if *known != size {
            (*since, *known) = (Instant::now(), size);
        }
        since.elapsed() < COPY_WAIT
    }

    /// Puts a file into the table and has it read. `known` is the checkpoint's entry that it
    /// continues.
    fn add(&self, config: &Arc<FileConfig>, start: Start, known: Option<&Entry>) {
        let content = &start.content;
        let id = known.and_then(Entry::source_id).unwrap_or_else(|| self.source_id(content));
        let lane = Arc::new(Lane::new(id, start.position, known.and_then(|entry| entry.partition)));
        let path = content.path.clone();
        let fresh_epoch = content.epoch > 0 && known.is_none();
        let members = [("log.file.path", path.as_bytes())];
        let route = self.context.route(lane, "file", &members, &config.common);
        let key = start.key;
        let tail = FileTail::new(start, route, config.clone(), self.notice_sender.clone());
        let tail = Arc::new(tail);
        self.context.checkpoint.track(id, tail.clone());
        if fresh_epoch {
            // The next epoch must not be taken for this one after a crash.
            self.context.save_checkpoint();
        }
        tracing::debug!(path, source = %id, "reading a file");
        write(&self.tails).insert(key, tail.clone());
        self.wake(&tail);
    }

    fn source_id(&self, content: &FileContent) -> SourceId {
        SourceId::derive(&[
            b"file",
            self.context.agent.id.as_bytes(),
            self.context.salt.as_bytes(),
            &content.device.to_le_bytes(),
            &content.inode.to_le_bytes(),
            &content.born_ns.to_le_bytes(),
            &content.epoch.to_le_bytes(),
        ])
    }

    /// The content of a file was replaced in place: the old content's lane is left to end by
    /// itself, and the new content is another source.
    fn replace(&mut self, key: Key) {
        let Some(tail) = write(&self.tails).remove(&key) else { return };
        let old = tail.content();
        tail.mark_replaced();
        self.retire(&tail, true);
        let path =
            self.paths.iter().find(|(_, known)| **known == key).map(|(path, _)| path.clone());
        let path = path.unwrap_or_else(|| tail.path().to_owned());
        let Ok((file, metadata)) = open_regular(&path) else { return };
        if Key::of(&metadata) != key {
            return;
        }
        let content = FileContent { epoch: old.epoch + 1, head_length: 0, head_hash: 0, ..old };
        let start = Start {
            key,
            path: tail.path().to_owned(),
            file,
            content,
            position: Position::default(),
        };
        self.add(tail.config(), start, None);
    }

    /// At the start: files of the checkpoint that no glob finds may have been renamed in their
    /// directory; what is left of them is read.
    fn find_renamed(&mut self, seen: &mut HashMap<Key, PathBuf>) {
        let lost = self.context.checkpoint.dormant(|entry| entry.file().is_some());
        let mut by_directory: HashMap<PathBuf, Vec<Entry>> = HashMap::new();
        for entry in lost {
            let Some(directory) =
                entry.file().and_then(|file| Path::new(&file.path).parent().map(Path::to_owned))
            else {
                continue;
            };
            by_directory.entry(directory).or_default().push(entry);
        }
        for (directory, entries) in by_directory {
            let Ok(found) = std::fs::read_dir(&directory) else { continue };
            for found in found.filter_map(Result::ok) {
                let Ok(metadata) = found.metadata() else { continue };
                let key = Key::of(&metadata);
                let wanted = |entry: &&Entry| {
                    entry.file().is_some_and(|file| {
                        file.inode == key.inode && file.born_ns == born_ns(&metadata)
                    })
                };
                let Some(entry) = entries.iter().find(wanted) else { continue };
                let Some(config) = self.config_of(entry) else { continue };
                if !seen.contains_key(&key) && self.begin(&config, &found.path(), false).is_ok() {
                    self.left_behind(key);
                }
            }
        }
    }

    fn left_behind(&self, key: Key) {
        if let Some(tail) = read(&self.tails).get(&key) {
            tracing::info!(path = %tail.path().display(), "a file renamed meanwhile is read to its end");
        }
    }

    fn config_of(&self, entry: &Entry) -> Option<Arc<FileConfig>> {
        let path = entry.file().map(|file| PathBuf::from(&file.path))?;
        let of = |config: &&Arc<FileConfig>| config.paths.iter().any(|glob| glob.matches(&path));
        self.configs.iter().find(of).cloned()
    }

    /// Looks after files that are not at their path any more: read to the end, then let go.
    fn look_after(&mut self, seen: &HashMap<Key, PathBuf>) {
        let tails: Vec<Arc<FileTail>> = read(&self.tails).values().cloned().collect();
        for tail in tails {
            let key = tail.key();
            let in_glob = seen.contains_key(&key);
            let at_its_path = seen.get(&key).is_some_and(|path| path == tail.path());
            if at_its_path {
                self.left.remove(&key);
                continue;
            }
            self.left.entry(key).or_insert_with(Instant::now);
            let Ok((size, named)) = tail.look() else { continue };
            if tail.note_size(size) {
                self.wake(&tail);
            }
            let since = self.left[&key].elapsed();
            let wait = tail.config().rotate_wait;
            if since < wait || tail.quiet() < wait {
                continue;
            }
            if tail.finish() {
                self.wake(&tail);
            } else if !in_glob && tail.is_through() {
                write(&self.tails).remove(&key);
                self.left.remove(&key);
                self.retire(&tail, named);
                tracing::debug!(path = %tail.path().display(), "a rotated file is read to its end");
            }
        }
        self.left.retain(|key, _| read(&self.tails).contains_key(key));
    }

    fn retire(&self, tail: &Arc<FileTail>, may_come_back: bool) {
        self.context.checkpoint.untrack(tail.route().lane.id(), may_come_back);
        self.context.retire(tail.route(), "file", &tail.path().display().to_string());
    }
}

/// The checkpoint's entry for a file. The device's number may differ after a restart of the
/// machine, so it only decides between entries.
fn claim(checkpoint: &Checkpoint, key: Key, born_ns: u64) -> Option<Entry> {
    checkpoint.claim(|entry| {
        let file = entry.file()?;
        let same = file.inode == key.inode && file.born_ns == born_ns && !file.replaced;
        same.then_some((file.device == key.device, file.epoch))
    })
}

/// The entry of content that was replaced in place, if the new file has it: then the file is the
/// copy that was made before, and what is left of the content is read there.
fn adopt(checkpoint: &Checkpoint, file: &File) -> Option<Entry> {
    checkpoint.claim(|entry| {
        let known = entry.file()?;
        let is_copy = known.replaced
            && known.head_length >= COPY_HEAD_BYTES_MIN
            && holds(file, known, &entry.position());
        is_copy.then_some(known.epoch)
    })
}

fn is_compressed(file: &File) -> bool {
    let mut head = [0; 6];
    let count = super::identity::read_at(file, &mut head, 0).unwrap_or(0);
    COMPRESSED.iter().any(|magic| head[..count].starts_with(magic))
}
