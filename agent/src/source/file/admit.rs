//! Taking files into the table: which content a file has, where to begin in it, and what to do when
//! it is replaced.

use super::archive::is_compressed;
use super::body::Body;
use super::heads::HEAD_KEPT_BYTES;
use super::identity::{Key, begins, born_ns, end_of_lines, holds};
use super::scanner::Scanner;
use super::tail::{FileTail, Start};
use super::way::open_regular;
use crate::checkpoint::{Checkpoint, Content, Entry, FileContent};
use crate::config::{FileConfig, ReadFrom};
use crate::delivery::Position;
use crate::dormant::Among;
use crate::sync::{read, write};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a file that looks like a copy of one that is read may take to become one, or not.
const COPY_WAIT: Duration = Duration::from_secs(10);

impl Scanner {
    /// Begins to read a file, where the checkpoint says or anew.
    pub(super) fn begin(
        &mut self,
        config: &Arc<FileConfig>,
        path: &Path,
        first_look: bool,
    ) -> std::io::Result<()> {
        let slot = self.room().ok_or(ErrorKind::ResourceBusy)?;
        let (file, metadata) = self.open_files.note(open_regular(path, config.follow_links))?;
        let key = Key::of(&metadata);
        if read(&self.tails).contains_key(&key) {
            return Ok(());
        }
        if is_compressed(&file)? {
            self.archives.push((config.clone(), path.to_owned()));
            return Ok(());
        }
        let body = Arc::new(Body::plain(file, slot));
        let content = FileContent::new(path, key, born_ns(&metadata));
        let (path, place) = (path.to_owned(), path.to_owned());
        let (position, undecided) = (Position::default(), true);
        let mut start =
            Start { key, path, place, body: Some(body.clone()), content, position, undecided };
        let known = match claim(&self.context.checkpoint, key, start.content.born_ns) {
            // What cannot be read now is not known to be other content: it stays remembered.
            Some(entry) => self
                .go_on(config, &mut start, &body, &entry)
                .inspect_err(|_| self.context.checkpoint.remember(entry.clone()))?
                .then_some(entry),
            None => {
                if first_look && config.read_from == ReadFrom::End {
                    start.position = last_line_end(config, &body, metadata.len())?;
                    start.undecided = start.position.offset == 0;
                }
                None
            }
        };
        self.add(config, start, known.as_ref());
        Ok(())
    }

    /// Has a file go on where its entry says; returns whether it has that content still.
    fn go_on(
        &self,
        config: &FileConfig,
        start: &mut Start,
        body: &Body,
        entry: &Entry,
    ) -> std::io::Result<bool> {
        let (Some(known), position) = (entry.file(), entry.position()) else { return Ok(false) };
        if entry.is_passed_over() {
            let size = body.metadata()?.len();
            if size >= position.offset {
                start.position = last_line_end(config, body, position.offset)?;
            }
        } else if holds(body, known, &position)? {
            start.content = FileContent { device: start.key.device, ..known.clone() };
            start.position = position;
        } else {
            tracing::info!(
                path = %start.path.display(),
                "the file was truncated or rewritten meanwhile; it is read from its beginning"
            );
            start.content.epoch = known.epoch + 1;
            start.undecided = false;
            let content = Content::File(FileContent { replaced: true, ..known.clone() });
            self.context.checkpoint.remember(Entry { content, ..entry.clone() });
            return Ok(false);
        }
        start.undecided = start.position.offset == 0;
        Ok(true)
    }

    /// What cannot be begun at the first look at a source, and is not to be read but for what comes
    /// later, is remembered with its size of now.
    pub(super) fn pass_over(&self, path: &Path, metadata: &Metadata) {
        let (key, born_ns) = (Key::of(metadata), born_ns(metadata));
        if let Some(known) = claim(&self.context.checkpoint, key, born_ns) {
            return self.context.checkpoint.remember(known);
        }
        let position = Position { offset: metadata.len(), ..Position::default() };
        let content = Content::File(FileContent::new(path, key, born_ns));
        let entry = Entry::new(self.context.new_file_id(), (position, None), content);
        self.context.checkpoint.remember(entry);
    }

    /// Finds out whose content a new file has: its own, which is then read, or that of another,
    /// as the copy has that is made before a truncation. A copy, also one that is still being made,
    /// is left alone until its original is truncated, or it is clear that it will not be.
    pub(super) fn decide(&mut self, key: Key) {
        let Some(tail) = read(&self.tails).get(&key).cloned() else { return };
        let Some(body) = self.body_of(&tail) else { return };
        let size = match body.metadata() {
            Ok(metadata) if metadata.len() > 0 && tail.is_undecided() => metadata.len(),
            _ => return,
        };
        if let Some(entry) = adopt(&self.context.checkpoint, &body) {
            self.copies.remove(&key);
            return self.continue_copy(&tail, body, &entry);
        }
        if self.is_copy_of_live(key, &body, size) {
            let now = Instant::now();
            let (since, known) = self.copies.entry(key).or_insert((now, size));
            if *known != size {
                (*since, *known) = (now, size);
            }
            if since.elapsed() < COPY_WAIT {
                return;
            }
        }
        self.copies.remove(&key);
        tail.decide();
        self.wake(&tail);
    }

    /// Looks at the copies that are waited for.
    pub(super) fn decide_copies(&mut self) {
        let keys: Vec<Key> = self.copies.keys().copied().collect();
        keys.into_iter().for_each(|key| self.decide(key));
    }

    /// The copy stands for the content that its original had: what was not delivered of that is
    /// read there.
    fn continue_copy(&self, copy: &Arc<FileTail>, body: Arc<Body>, entry: &Entry) {
        let Some(original) = entry.file() else {
            return self.context.checkpoint.remember(entry.clone());
        };
        self.retire(copy, false);
        let place = copy.content();
        let content = FileContent {
            device: place.device,
            inode: place.inode,
            born_ns: place.born_ns,
            replaced: false,
            ..original.clone()
        };
        let start = Start {
            key: copy.key(),
            path: copy.path().to_owned(),
            place: copy.place(),
            body: Some(body),
            content,
            position: entry.position(),
            undecided: false,
        };
        self.add(copy.config(), start, Some(entry));
    }

    fn is_copy_of_live(&self, key: Key, body: &Body, size: u64) -> bool {
        let mut beginning = [0; HEAD_KEPT_BYTES];
        let Ok(count) = body.read_at(&mut beginning, 0) else { return false };
        let candidates = self.heads.beginning_with(&beginning[..count]);
        let tails = read(&self.tails);
        candidates.iter().filter(|candidate| **candidate != key).any(|candidate| {
            let Some(tail) = tails.get(candidate) else { return false };
            let (acked, content) = (tail.route().lane.acked(), tail.content());
            if size < acked.offset.max(u64::from(content.head_length)) {
                let original = tail.body();
                original.and_then(|original| begins(body, size, &original)).unwrap_or(false)
            } else {
                holds(body, &content, &acked).unwrap_or(false)
            }
        })
    }

    /// Puts a file into the table and has it read. `known` is the checkpoint's entry that it
    /// continues.
    pub(super) fn add(&self, config: &Arc<FileConfig>, start: Start, known: Option<&Entry>) {
        let content = &start.content;
        let id = known.and_then(Entry::source_id).unwrap_or_else(|| self.context.new_file_id());
        let partition = known.and_then(|entry| entry.partition);
        let lane = Arc::new(self.context.lane(id, start.position, partition));
        let path = content.path.clone();
        let members = [("log.file.path", path.as_bytes())];
        let route = self.context.route(lane, "file", &members, &config.common);
        let key = start.key;
        let tail = FileTail::new(
            start,
            route,
            config.clone(),
            self.notice_sender.clone(),
            self.heads.clone(),
            self.open_files.clone(),
        );
        let tail = Arc::new(tail);
        self.context.checkpoint.track(id, tail.clone());
        tracing::debug!(path, source = %id, "reading a file");
        write(&self.tails).insert(key, tail.clone());
        self.wake(&tail);
    }

    /// The content of a file was replaced in place: the old content's lane is left to end by
    /// itself, and the new content is another source, in the same open file.
    pub(super) fn replace(&mut self, key: Key) {
        let Some(tail) = read(&self.tails).get(&key).cloned() else { return };
        self.heads.remove(key);
        let old = tail.content();
        tail.mark_replaced();
        self.retire(&tail, true);
        if tail.is_leaving() {
            // It is begun as the configuration says by now.
            return;
        }
        let content = FileContent {
            epoch: old.epoch + 1,
            head_length: 0,
            head_hash: 0,
            unread: 0,
            cuts: Vec::new(),
            ..old
        };
        let start = Start {
            key,
            path: tail.path().to_owned(),
            place: tail.place(),
            body: tail.take_body(),
            content,
            position: Position::default(),
            undecided: false,
        };
        self.add(tail.config(), start, None);
    }

    /// A file is not read any more.
    pub(super) fn let_go(&self, tail: &Arc<FileTail>, may_come_back: bool) {
        self.heads.remove(tail.key());
        self.retire(tail, may_come_back);
    }

    pub(super) fn retire(&self, tail: &Arc<FileTail>, may_come_back: bool) {
        self.context.checkpoint.untrack(tail.route().lane.id(), may_come_back);
        // Under one lock, so that at every moment it is among those that are read or the retired.
        let mut tails = write(&self.tails);
        tails.remove(&tail.key());
        self.context.retire(tail.route(), "file", &tail.path().display().to_string());
    }
}

/// The checkpoint's entry for a file. The device's number may differ after a restart of the
/// machine, so it only decides between entries.
pub(super) fn claim(checkpoint: &Checkpoint, key: Key, born_ns: u64) -> Option<Entry> {
    checkpoint.claim(Among::Inode(key.inode), |entry| {
        let file = entry.file()?;
        let same = file.inode == key.inode && file.born_ns == born_ns && !file.replaced;
        same.then_some((file.device == key.device, file.epoch))
    })
}

/// Where to begin so that only lines that come after the first `size` bytes are read.
fn last_line_end(config: &FileConfig, body: &Body, size: u64) -> std::io::Result<Position> {
    let offset = end_of_lines(body, size, config)?;
    Ok(Position { offset, prev: None, guard: body.guard_at(offset)? })
}

/// The entry of content that was replaced in place, if the new file has it: then the file is the
/// copy that was made before, and what is left of the content is read there.
fn adopt(checkpoint: &Checkpoint, body: &Body) -> Option<Entry> {
    checkpoint.claim(Among::Replaced, |entry| {
        let known = entry.file()?;
        let is_copy = usize::from(known.head_length) >= HEAD_KEPT_BYTES
            && holds(body, known, &entry.position()).unwrap_or(false);
        is_copy.then_some(known.epoch)
    })
}
