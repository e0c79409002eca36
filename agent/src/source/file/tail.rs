//! One file being read: a chunk per turn, from where Kafka has it.
//!
//! Every read begins a little before the position and must find the bytes there that were there
//! before; so truncation and replacement are noticed even when the file has grown beyond the old
//! position meanwhile, at no extra system call. Survives: a producer that fails (reads again from
//! the acknowledged position), partial lines, lines longer than any buffer.

use super::Encoding;
use super::archive::Archive;
use super::body::{BLOCK_BYTES, Body};
use super::heads::{HEAD_KEPT_BYTES, Heads};
use super::identity::{HEAD_BYTES, Key, born_ns, holds};
use super::lines::cut;
use super::open_files::OpenFiles;
use super::records::Records;
use super::way::open_regular;
use crate::accounting::DropReason;
use crate::checkpoint::{Content, Entry, FileContent, Tracked};
use crate::config::FileConfig;
use crate::confine;
use crate::delivery::{Guard, Lane, Position};
use crate::limits::Pace;
use crate::parsing::Line;
use crate::pipeline::{Route, unterminated};
use crate::sync::lock;
use crate::workers::{Readiness, Rewind, Turn, Work, Worker};
use crossbeam_channel::Sender;
use jiff::Timestamp;
use logweir_record::SourceId;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How much is read at once: few system calls, and what is read is still in the cache when parsed.
const CHUNK_BYTES: usize = 128 << 10;
/// How many chunks of a line without end are looked through in one turn.
const LONG_LINE_CHUNKS: usize = 64;
/// How long a file rests after it could not be read: the first time, and at most, when each time it was
/// twice as long as before.
const REST_AFTER_ERROR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How often it is told at most that a file cannot be read.
const TELL_ERROR: Duration = Duration::from_secs(60);
/// How many ends of unacknowledged records are kept that their content does not tell.
const CUTS_MAX: usize = 16;

/// What a tail tells the discovery.
#[derive(Debug)]
pub(super) enum Notice {
    /// Other files are to be read, or as another configuration says.
    Configured(Vec<FileConfig>),
    /// The content was replaced in place.
    Replaced(Key),
    /// There is content, and it is not known yet whose it is.
    Undecided(Key),
    /// A file that was closed is not at its place.
    Moved,
    /// There is no room to open a file again; it is woken when there is.
    Crowded(Key),
    /// A record is not at its end.
    Unfinished(Key, Unfinished),
}

/// A record that ends where its lines do so far, unless more of it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unfinished {
    /// Whose content it is of: a file that was truncated has other content.
    pub(super) source: SourceId,
    pub(super) end: u64,
    /// How much of the file was there when it was read.
    pub(super) seen: u64,
    pub(super) due: Instant,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct FileTail {
    key: Key,
    path: PathBuf,
    config: Arc<FileConfig>,
    route: Route,
    is_archive: bool,
    /// Where it is opened again.
    place: Mutex<PathBuf>,
    /// `None` while the file is at rest and closed.
    body: Mutex<Option<Arc<Body>>>,
    open_files: OpenFiles,
    content: Mutex<FileContent>,
    /// A cut that holds once the checkpoint has it.
    proposed: Mutex<Option<u64>>,
    /// Held by a worker for a whole turn, so also while Kafka is away.
    reading: Mutex<Reading>,
    /// When something was last read, or the file last grew.
    quiet_since: Mutex<Instant>,
    /// The content may be a copy of another file's that is being made; nothing is read yet.
    undecided: AtomicBool,
    /// Nothing more is read: the configuration has changed, or the file is lost.
    leaving: AtomicBool,
    /// The end of what an archive holds was reached, and is known.
    has_end: AtomicBool,
    /// An archive cannot be read to the end of what it holds.
    damaged: AtomicBool,
    readiness: Readiness,
    /// The size of the file when it was last looked at, without what is blank at its end.
    end_offset: AtomicU64,
    /// The size of the file when it was seen that it is blank behind that.
    blank_to: AtomicU64,
    /// The most that the content was seen to have.
    known_end: AtomicU64,
    notices: Sender<Notice>,
    heads: Arc<Heads>,
}

#[derive(Debug)]
struct Reading {
    position: Position,
    /// Up to here a long line has been looked through for its end.
    scanned: u64,
    replaced: bool,
    /// Known once the file has begun.
    encoding: Option<Encoding>,
    pace: Pace,
    /// Why it rests, if it cannot be read.
    trouble: Option<Trouble>,
    trouble_told: Option<Instant>,
}

#[derive(Debug)]
struct Trouble {
    rest: Duration,
    is_told: bool,
}

/// Where a tail begins.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) key: Key,
    pub(super) path: PathBuf,
    /// Where it is now.
    pub(super) place: PathBuf,
    /// `None`: it is opened when it is read.
    pub(super) body: Option<Arc<Body>>,
    pub(super) content: FileContent,
    pub(super) position: Position,
    /// Nothing is read before [`FileTail::decide`].
    pub(super) undecided: bool,
}

impl FileTail {
    pub(super) fn new(
        start: Start,
        route: Route,
        config: Arc<FileConfig>,
        notices: Sender<Notice>,
        heads: Arc<Heads>,
        open_files: OpenFiles,
    ) -> Self {
        let pace = config.common.limits.pace();
        let is_archive = start.body.as_ref().is_some_and(|body| body.as_archive().is_some());
        let body = start.body.clone();
        let known_end = start.position.offset + start.content.unread;
        let reading = Reading {
            position: start.position,
            scanned: start.position.offset,
            replaced: false,
            encoding: None,
            pace,
            trouble: None,
            trouble_told: None,
        };
        let tail = Self {
            key: start.key,
            place: Mutex::new(start.place),
            path: start.path,
            config,
            route,
            is_archive,
            body: Mutex::new(start.body),
            open_files,
            content: Mutex::new(start.content),
            proposed: Mutex::default(),
            quiet_since: Mutex::new(Instant::now()),
            end_offset: AtomicU64::new(start.position.offset),
            blank_to: AtomicU64::new(u64::MAX),
            known_end: AtomicU64::new(known_end),
            reading: Mutex::new(reading),
            undecided: AtomicBool::new(start.undecided),
            leaving: AtomicBool::new(false),
            has_end: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            readiness: Readiness::default(),
            notices,
            heads,
        };
        if tail.content().head_length as usize >= HEAD_KEPT_BYTES
            && let Some(body) = body
        {
            tail.tell_head(&body);
        }
        tail
    }

    pub(super) fn is_undecided(&self) -> bool {
        self.undecided.load(Ordering::Acquire)
    }

    /// The content is this file's own.
    pub(super) fn decide(&self) {
        self.undecided.store(false, Ordering::Release);
    }

    /// What is read; opens the file if it was closed.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::NotFound`] if the file is at its place no more, and
    /// [`io::ErrorKind::ResourceBusy`] if too many files are open.
    pub(super) fn body(&self) -> io::Result<Arc<Body>> {
        let open = &mut *lock(&self.body);
        if let Some(body) = open {
            return Ok(body.clone());
        }
        let slot = self.open_files.take().ok_or(io::ErrorKind::ResourceBusy)?;
        let opened = open_regular(&lock(&self.place), self.config.follow_links);
        let (file, metadata) = self.open_files.note(opened)?;
        if !self.is_same(&metadata) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let body = if self.is_archive {
            Body::archive(Archive::open(file)?.ok_or(io::ErrorKind::InvalidData)?, slot)
        } else {
            Body::plain(file, slot)
        };
        Ok(open.insert(Arc::new(body)).clone())
    }

    pub(super) fn is_open(&self) -> bool {
        lock(&self.body).is_some()
    }

    /// Whether all that the file holds now is acknowledged.
    pub(super) fn is_read_out(&self) -> bool {
        if self.is_archive {
            return self.is_archive_done();
        }
        let size = lock(&self.place).metadata().map_or(0, |metadata| metadata.len());
        self.is_through() && self.route.lane.acked().offset >= size
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    fn is_same(&self, metadata: &Metadata) -> bool {
        Key::of(metadata) == self.key && born_ns(metadata) == lock(&self.content).born_ns
    }

    /// Whether this is what `metadata` is of. Of a file that is open its key tells; the key of one
    /// that is closed may be another's by now.
    pub(super) fn is_of(&self, metadata: &Metadata) -> bool {
        match &*lock(&self.body) {
            Some(_) => Key::of(metadata) == self.key,
            None => self.is_same(metadata),
        }
    }

    /// Closes the file; it must be found again where it is.
    pub(super) fn close(&self) {
        drop(self.take_body());
    }

    /// The open file, which is another tail's from now on.
    pub(super) fn take_body(&self) -> Option<Arc<Body>> {
        lock(&self.body).take()
    }

    /// Where it was seen last.
    pub(super) fn place(&self) -> PathBuf {
        lock(&self.place).clone()
    }

    /// The file was seen there.
    pub(super) fn set_place(&self, path: &Path) {
        let place = &mut *lock(&self.place);
        if place != path {
            path.clone_into(place);
        }
    }

    /// Whether this is where it was seen last.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        *lock(&self.place) == path
    }

    /// Whether it would be found again if it were closed now.
    pub(super) fn is_at_its_place(&self) -> bool {
        let place = lock(&self.place).metadata();
        place.is_ok_and(|metadata| Key::of(&metadata) == self.key)
    }

    /// Whether there is nothing to do for this file until it changes, so that it can be closed.
    pub(super) fn is_at_rest(&self) -> bool {
        // One whose content is not decided upon has more than was read.
        let is_begun = || !self.is_undecided() || self.look().is_ok_and(|(size, _)| size == 0);
        !self.is_archive
            && self.is_through()
            && self.read_offset() == self.end_offset()
            && is_begun()
    }

    fn tell_head(&self, body: &Body) {
        let mut head = [0; HEAD_KEPT_BYTES];
        if body.read_at(&mut head, 0).is_ok_and(|count| count == head.len()) {
            self.heads.set(self.key, head);
        }
    }

    /// The path under which the file was first found.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// The size of the file when it was last looked at.
    #[must_use]
    pub(crate) fn end_offset(&self) -> u64 {
        self.end_offset.load(Ordering::Relaxed)
    }

    /// Bytes of the file that are not acknowledged.
    #[must_use]
    pub(crate) fn bytes_behind(&self) -> u64 {
        self.end_offset().saturating_sub(self.route.lane.acked().offset)
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    pub(super) fn config(&self) -> &Arc<FileConfig> {
        &self.config
    }

    /// The file has other content by now.
    pub(super) fn mark_replaced(&self) {
        lock(&self.content).replaced = true;
        self.route.lane.note_change();
    }

    pub(super) fn content(&self) -> FileContent {
        lock(&self.content).clone()
    }

    /// Looks at the open file itself; returns (size, whether it has a name left).
    pub(super) fn look(&self) -> io::Result<(u64, bool)> {
        let metadata = self.body()?.metadata().inspect_err(|error| self.close_if_stale(error))?;
        Ok((metadata.len(), metadata.nlink() > 0))
    }

    /// Whether this is what an archive holds: nothing is ever added to it.
    pub(super) fn is_archive(&self) -> bool {
        self.is_archive
    }

    /// Whether all of an archive is delivered.
    pub(super) fn is_archive_done(&self) -> bool {
        let has_end = self.is_archive && self.has_end.load(Ordering::Acquire);
        has_end && self.is_through() && self.bytes_unread() == 0
    }

    /// Bytes that are known to be in the file and were not read.
    pub(super) fn bytes_unread(&self) -> u64 {
        self.end_offset().saturating_sub(self.read_offset())
    }

    /// Notes the size that the file was seen to have; returns whether there is other to read than was.
    pub(super) fn note_size(&self, size: u64) -> bool {
        if size == self.blank_to.load(Ordering::Relaxed) {
            let has_more = self.read_offset() != self.end_offset() || self.is_filled_on();
            return has_more || self.has_other_content();
        }
        // What is of other content by now says nothing of how much there was of this.
        if size > self.known_end.load(Ordering::Relaxed) && !self.has_other_content() {
            self.note_known(size);
        }
        self.note_end(size);
        size != self.read_offset()
    }

    fn note_known(&self, end: u64) {
        if self.known_end.fetch_max(end, Ordering::Relaxed) < end {
            self.route.lane.note_change();
        }
    }

    /// Whether something is where the file was blank.
    fn is_filled_on(&self) -> bool {
        let mut block = [0; BLOCK_BYTES];
        let read = self.body().and_then(|body| body.read_at(&mut block, self.end_offset()));
        read.is_err() || block != [0; BLOCK_BYTES]
    }

    /// Whether the file, if it is open, does not hold what was delivered of it any more.
    fn has_other_content(&self) -> bool {
        let open = lock(&self.body).clone();
        let holds = |body: Arc<Body>| holds(&body, &self.content(), &self.route.lane.acked());
        !open.is_none_or(|body| holds(body).unwrap_or(true))
    }

    /// Notes that a file of this size is blank behind `end`.
    fn note_blank(&self, end: u64, size: u64) {
        self.blank_to.store(size, Ordering::Relaxed);
        if self.known_end.swap(end, Ordering::Relaxed) != end {
            self.route.lane.note_change();
        }
        self.note_end(end);
    }

    fn note_end(&self, end: u64) {
        if self.end_offset.swap(end, Ordering::Relaxed) != end {
            *lock(&self.quiet_since) = Instant::now();
        }
    }

    /// Whether nothing is added to what is there.
    fn is_complete(&self) -> bool {
        self.is_archive || self.config.once
    }

    fn read_offset(&self) -> u64 {
        self.route.lane.read_offset()
    }

    /// How long the file has not grown and nothing has been read.
    pub(super) fn quiet(&self) -> Duration {
        lock(&self.quiet_since).elapsed()
    }

    /// Whether more is there than was `seen` of it, which is to be read before it is judged what ends.
    pub(super) fn has_grown(&self, seen: u64) -> bool {
        let is_more = |size| size > seen && size != self.blank_to.load(Ordering::Relaxed);
        self.look().is_ok_and(|(size, _)| is_more(size))
    }

    /// Where the last line ends so far, if it has no line end.
    pub(super) fn open_end(&self) -> Option<u64> {
        let end = self.end_offset();
        (self.read_offset() < end).then_some(end)
    }

    /// Proposes that what reaches to `offset` ends there. Returns whether there is room for that; if not,
    /// too many such ends are not acknowledged yet.
    pub(super) fn propose_cut(&self, offset: u64) -> bool {
        let acked = self.route.lane.acked().offset;
        let cuts = &mut lock(&self.content).cuts;
        cuts.retain(|cut| *cut > acked);
        let room = cuts.len() < CUTS_MAX;
        if room && !cuts.contains(&offset) && self.read_offset() < offset {
            *lock(&self.proposed) = Some(offset);
            self.route.lane.note_change();
        }
        room
    }

    /// What was proposed is in the checkpoint, and holds from now on; or it is not to be.
    pub(super) fn settle_cut(&self, is_saved: bool) {
        let cuts = &mut lock(&self.content).cuts;
        let proposed = lock(&self.proposed).take();
        // What was read beyond it meanwhile did not end there.
        let holds = proposed.filter(|cut| is_saved && self.read_offset() < *cut);
        cuts.extend(holds);
        if holds != proposed {
            self.route.lane.note_change();
        }
    }

    /// Nothing more is read; what is read goes out.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Whether nothing more is read, and all that was is acknowledged.
    pub(super) fn has_left(&self) -> bool {
        self.is_leaving() && self.is_through()
    }

    /// Whether all that was read is acknowledged and no worker has the file.
    pub(super) fn is_through(&self) -> bool {
        self.readiness.is_idle() && self.route.lane.is_settled()
    }
}

impl Tracked for FileTail {
    fn lane(&self) -> &Lane {
        &self.route.lane
    }

    fn entry(&self) -> Entry {
        let progress = self.route.lane.progress();
        // Under one lock, or a cut that is settled meanwhile is in neither.
        let mut content = {
            let content = lock(&self.content);
            let proposed = *lock(&self.proposed);
            let cuts = content.cuts.iter().copied().chain(proposed).collect();
            FileContent { cuts, ..content.clone() }
        };
        content.cuts.retain(|cut| *cut > progress.0.offset);
        let behind = self.known_end.load(Ordering::Relaxed).saturating_sub(progress.0.offset);
        // Of an archive, the size says nothing.
        content.unread = if self.is_archive { 0 } else { behind };
        Entry::new(self.route.lane.id(), progress, Content::File(content))
    }
}

impl Work for FileTail {
    fn turn(&self, worker: &mut Worker<'_>) -> Turn {
        if self.is_undecided() {
            if !self.leaving.load(Ordering::Acquire) {
                // Without a receiver the agent stops.
                let _ = self.notices.send(Notice::Undecided(self.key));
            }
            return Turn::Idle;
        }
        let reading = &mut *lock(&self.reading);
        if reading.replaced {
            return Turn::Idle;
        }
        match worker.rewind(&self.route.lane) {
            Rewind::Onward => {}
            Rewind::To(position) => reading.restart(position),
            Rewind::NotYet(pause) => return Turn::Later(pause),
        }
        if self.leaving.load(Ordering::Acquire) {
            return Turn::Idle;
        }
        if let Some(wait) = reading.pace.wait() {
            return Turn::Later(wait);
        }
        let body = match self.body() {
            Ok(body) => body,
            Err(error) => return self.not_open(reading, &error),
        };
        match self.chunk(reading, worker, &body) {
            Ok(turn) => turn,
            Err(error) => self.rest(reading, &error),
        }
    }

    fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

impl FileTail {
    /// The file's encoding; `None` while it has not begun, and may still.
    fn encoding(&self, reading: &mut Reading, body: &Body) -> io::Result<Option<Encoding>> {
        if reading.encoding.is_none() {
            reading.encoding = body.encoding(self.config.encoding)?;
        }
        let has_ended = self.is_complete() || !lock(&self.content).cuts.is_empty();
        Ok(reading.encoding.or_else(|| has_ended.then_some(self.config.encoding)))
    }

    fn chunk(
        &self,
        reading: &mut Reading,
        worker: &mut Worker<'_>,
        body: &Body,
    ) -> io::Result<Turn> {
        let position = reading.position;
        let guard_length = usize::from(position.guard.length);
        let wanted = guard_length + CHUNK_BYTES.max(self.config.common.line_bytes_max + 1);
        worker.buffer.resize(wanted, 0);
        let buffer = std::mem::take(worker.buffer);
        let turn = self.chunk_in(reading, worker, body, buffer, guard_length);
        if turn.is_ok() {
            self.can_be_read(reading);
        }
        turn
    }

    fn chunk_in(
        &self,
        reading: &mut Reading,
        worker: &mut Worker<'_>,
        body: &Body,
        mut buffer: Vec<u8>,
        guard_length: usize,
    ) -> io::Result<Turn> {
        let position = reading.position;
        let start = position.offset - guard_length as u64;
        let read = body.read_at(&mut buffer, start);
        let outcome = read.and_then(|count| {
            let mut at_end = count < buffer.len();
            let mut bytes = &buffer[..count];
            if count < guard_length {
                self.look_whether_shorter(body, position.offset)?;
            }
            let is_other = || Guard::of(&bytes[..guard_length]) != position.guard;
            if count < guard_length || is_other() || self.begins_anew(body, position)? {
                return Ok(self.replaced(reading));
            }
            if let Some(text) = self.text_before_blank(reading, body, &bytes[guard_length..])? {
                (bytes, at_end) = (&bytes[..guard_length + text], true);
                self.note_blank(position.offset + text as u64, body.metadata()?.len());
            } else if at_end {
                self.note_known(start + count as u64);
                self.note_end(start + count as u64);
                self.has_end.store(self.is_archive, Ordering::Release);
                self.tell_damage(body);
            }
            self.lines(reading, worker, body, bytes, guard_length, at_end)
        });
        *worker.buffer = buffer;
        outcome
    }

    /// Whether content that nothing went out of has made place for other. There is no guard in front of
    /// it, but it was looked at.
    fn begins_anew(&self, body: &Body, position: Position) -> io::Result<bool> {
        if position.offset > 0 || self.is_archive {
            return Ok(false);
        }
        let is_shorter = body.metadata()?.len() < self.known_end.load(Ordering::Relaxed);
        Ok(is_shorter || !holds(body, &self.content(), &position)?)
    }

    /// How much of `data` is there if all behind that, to the end of the file, is 0: a file that was made
    /// in advance is still to be filled there. What nothing is added to any more is taken as it is.
    fn text_before_blank(
        &self,
        reading: &mut Reading,
        body: &Body,
        data: &[u8],
    ) -> io::Result<Option<usize>> {
        let behind = reading.position.offset + data.len() as u64;
        if self.is_complete() || data.last() != Some(&0) || !body.is_blank_from(behind)? {
            return Ok(None);
        }
        let Some(encoding) = self.encoding(reading, body)? else { return Ok(None) };
        let text = encoding.text_length(data);
        Ok((text < data.len()).then_some(text))
    }

    /// Encodes and ships the lines behind the guard in `bytes`.
    fn lines(
        &self,
        reading: &mut Reading,
        worker: &mut Worker<'_>,
        body: &Body,
        bytes: &[u8],
        guard_length: usize,
        at_end: bool,
    ) -> io::Result<Turn> {
        let position = reading.position;
        let data = &bytes[guard_length..];
        let Some(encoding) = self.encoding(reading, body)? else { return Ok(Turn::Idle) };
        let is_last = at_end && self.is_complete();
        let line_bytes_max = self.config.common.line_bytes_max;
        worker.begin(&self.route, position.prev);
        let hole = encoding.hole(data);
        if hole > 0 {
            return self.hole(reading, worker, body, (bytes, guard_length, hole));
        }
        let received_at = Timestamp::now();
        let cuts: Vec<usize> = lock(&self.content)
            .cuts
            .iter()
            // The one that the position stands at has been.
            .filter(|cut| **cut > position.offset)
            .filter_map(|cut| usize::try_from(*cut - position.offset).ok())
            .collect();
        let unterminated = &[unterminated()];
        let multiline = self.config.multiline.as_ref();
        let mut records = Records::new(data, encoding, is_last, multiline, &cuts);
        if self.is_without_head() && records.next().is_some() {
            self.begin_head(records.consumed() as u64, body);
            return Ok(Turn::More);
        }
        while !worker.batch.is_full()
            && let Some(line) = records.next()
        {
            let offset = position.offset + line.start as u64;
            let raw = if offset == 0 { encoding.strip_bom(line.bytes) } else { line.bytes };
            let bytes = encoding.decode(raw);
            if bytes.is_empty() {
                worker.batch.skip(DropReason::EmptyLine);
                continue;
            }
            let kept = cut(&bytes, line_bytes_max);
            let original_bytes = (kept.len() < bytes.len()).then_some(raw.len() as u64);
            let line = Line { offset, bytes: kept, original_bytes, sender: None, received_at };
            let ends = encoding.ends_line(&data[..records.consumed()]);
            worker.push_with(&self.route, &line, if ends { &[] } else { unterminated });
        }
        let consumed = records.consumed();
        let unfinished = records.unfinished().map(|end| position.offset + end as u64);
        if at_end && let (Some(end), Some(multiline)) = (unfinished, multiline) {
            if self.is_without_head() {
                self.begin_head(end, body);
            }
            let record = Unfinished {
                source: self.route.lane.id(),
                end,
                seen: position.offset + data.len() as u64,
                due: *lock(&self.quiet_since) + multiline.timeout,
            };
            // Without a receiver the agent stops.
            let _ = self.notices.send(Notice::Unfinished(self.key, record));
        }
        if consumed == 0 {
            if data.len() > line_bytes_max && !at_end {
                let cut = cuts.iter().min().map(|cut| position.offset + *cut as u64);
                return self.long_line(reading, worker, body, (data, encoding), cut);
            }
            return Ok(Turn::Idle);
        }
        worker.batch.cover(consumed as u64, 0);
        let end = Position {
            offset: position.offset + consumed as u64,
            prev: worker.batch.prev(),
            guard: Guard::of(&bytes[..guard_length + consumed]),
        };
        let more = !at_end || (consumed < data.len() && unfinished.is_none());
        Ok(self.ship(reading, worker, body, end, more))
    }

    /// Bytes with the value 0 before the next line, or before more of them: the hole that a writer leaves
    /// that goes on at its old offset after a truncation. It is looked at once more: while a file that was
    /// made in advance is filled, a line may come in between the look at its beginning and at its end.
    fn hole(
        &self,
        reading: &mut Reading,
        worker: &mut Worker<'_>,
        body: &Body,
        (bytes, guard_length, hole): (&[u8], usize, usize),
    ) -> io::Result<Turn> {
        let position = reading.position;
        let mut again = vec![0; hole];
        let count = body.read_at(&mut again, position.offset)?;
        let bytes = &bytes[..guard_length + hole];
        if again[..count] != bytes[guard_length..] {
            return Ok(Turn::More);
        }
        if self.is_without_head() {
            self.begin_head(hole as u64, body);
            return Ok(Turn::More);
        }
        worker.batch.cover(hole as u64, hole as u64);
        let (offset, guard) = (position.offset + hole as u64, Guard::of(bytes));
        let end = Position { offset, guard, ..position };
        Ok(self.ship(reading, worker, body, end, true))
    }

    /// A line that does not fit the buffer: what is kept of it is at its beginning in `data`; its
    /// end, its line end or a cut, is looked for without keeping what is in between.
    fn long_line(
        &self,
        reading: &mut Reading,
        worker: &mut Worker<'_>,
        body: &Body,
        (data, encoding): (&[u8], Encoding),
        cut_at: Option<u64>,
    ) -> io::Result<Turn> {
        let position = reading.position;
        let width = encoding.width();
        let whole = data.len() - data.len() % width;
        let data = encoding.decode(&data[..whole]);
        let mut at = reading.scanned.max(position.offset + whole as u64);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut end = None;
        for _ in 0..LONG_LINE_CHUNKS {
            let count = body.read_at(&mut chunk, at)?;
            let cut = cut_at.filter(|cut| *cut <= at + count as u64);
            let seen = cut.map_or(count, |cut| cut.saturating_sub(at) as usize);
            if let Some(newline) = encoding.line_end(&chunk[..seen]) {
                let newline = at + newline as u64;
                end = Some((newline, newline + width as u64));
                break;
            }
            if let Some(cut) = cut {
                end = Some((cut, cut));
                break;
            }
            at += (count - count % width) as u64;
            reading.scanned = at;
            if count < chunk.len() {
                self.end_offset.store(at, Ordering::Relaxed);
                end = self.is_complete().then_some((at, at));
                if end.is_none() {
                    return Ok(Turn::Idle);
                }
                break;
            }
        }
        let Some((line_end, next)) = end else { return Ok(Turn::More) };
        if self.is_without_head() {
            self.begin_head(next, body);
            return Ok(Turn::More);
        }
        let line = Line {
            offset: position.offset,
            bytes: cut(&data, self.config.common.line_bytes_max),
            original_bytes: Some(line_end - position.offset),
            sender: None,
            received_at: Timestamp::now(),
        };
        worker.push(&self.route, &line);
        worker.batch.cover(next - position.offset, 0);
        let guard = body.guard_at(next)?;
        let end = Position { offset: next, prev: worker.batch.prev(), guard };
        Ok(self.ship(reading, worker, body, end, true))
    }

    fn ship(
        &self,
        reading: &mut Reading,
        worker: &mut Worker<'_>,
        body: &Body,
        end: Position,
        more: bool,
    ) -> Turn {
        let tally = worker.batch.tally();
        if worker.ship(&self.route, end).is_err() {
            return Turn::Later(Duration::from_millis(50));
        }
        let now = Instant::now();
        reading.pace.spend(tally.read, tally.bytes);
        reading.position = end;
        reading.scanned = end.offset;
        *lock(&self.quiet_since) = now;
        self.grow_head(end.offset, body);
        if more { Turn::More } else { Turn::Idle }
    }

    /// Whether neither the head nor the guard in front of the position tells this content from others: it
    /// would be taken for this one after a crash, and its lines for repeats of those that go out now.
    fn is_without_head(&self) -> bool {
        lock(&self.content).head_length == 0 && self.read_offset() == 0
    }

    /// Gives the content, of which what ends at `offset` is to go out, a head; nothing goes out until the
    /// checkpoint holds it.
    fn begin_head(&self, offset: u64, body: &Body) {
        self.grow_head(offset, body);
        self.route.lane.unrecord();
    }

    /// The head that tells this file from others covers more of it as it grows. It is not only what was
    /// shipped: a file may be copied and truncated while its first line is on its way.
    fn grow_head(&self, shipped: u64, body: &Body) {
        let mut content = lock(&self.content);
        let limit = shipped.min(HEAD_BYTES);
        if u64::from(content.head_length) < limit
            && let Ok((length, hash)) = body.head_of_lines(limit)
        {
            let told = usize::from(content.head_length) >= HEAD_KEPT_BYTES;
            content.head_length = length;
            content.head_hash = hash;
            self.route.lane.note_change();
            if !told && usize::from(length) >= HEAD_KEPT_BYTES {
                self.tell_head(body);
            }
        }
    }

    fn tell_damage(&self, body: &Body) {
        if let Some(error) = body.as_archive().and_then(Archive::take_damage) {
            self.damaged.store(true, Ordering::Release);
            tracing::warn!(
                path = %self.path.display(),
                %error,
                "the archive cannot be read further; what is before this is delivered"
            );
        }
    }

    fn replaced(&self, reading: &mut Reading) -> Turn {
        tracing::info!(
            path = %self.path.display(),
            offset = reading.position.offset,
            "the file was truncated or rewritten; it is read from its beginning"
        );
        reading.replaced = true;
        self.route.lane.mark_gone();
        // Without a receiver the agent stops; the next start finds the replacement itself.
        let _ = self.notices.send(Notice::Replaced(self.key));
        Turn::Idle
    }

    /// The file was closed and cannot be opened: it waits until there is room, or the discovery has
    /// found where it is.
    fn not_open(&self, reading: &mut Reading, error: &io::Error) -> Turn {
        let notice = match error.kind() {
            io::ErrorKind::ResourceBusy => Notice::Crowded(self.key),
            io::ErrorKind::NotFound => Notice::Moved,
            _ => return self.rest(reading, error),
        };
        // Without a receiver the agent stops.
        let _ = self.notices.send(notice);
        Turn::Idle
    }

    fn rest(&self, reading: &mut Reading, error: &io::Error) -> Turn {
        self.close_if_stale(error);
        let (first, max) = REST_AFTER_ERROR;
        let trouble = match reading.trouble.take() {
            Some(Trouble { rest, is_told }) => Trouble { rest: max.min(2 * rest), is_told },
            None => Trouble { rest: first, is_told: self.tell_trouble(reading, error) },
        };
        Turn::Later(reading.trouble.insert(trouble).rest)
    }

    /// Tells why the file cannot be read, unless that was told a moment ago.
    fn tell_trouble(&self, reading: &mut Reading, error: &io::Error) -> bool {
        if reading.trouble_told.is_some_and(|at| at.elapsed() < TELL_ERROR) {
            return false;
        }
        reading.trouble_told = Some(Instant::now());
        tracing::warn!(
            path = %self.path.display(),
            %error,
            "the file cannot be read; it is tried again, other sources go on{}",
            confine::hint(&self.path)
        );
        true
    }

    fn can_be_read(&self, reading: &mut Reading) {
        if reading.trouble.take().is_some_and(|trouble| trouble.is_told) {
            tracing::info!(path = %self.path.display(), "the file can be read again");
        }
    }

    /// The server of a network file system does not know the open file any more: it is opened again
    /// at its place.
    fn close_if_stale(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::StaleNetworkFileHandle {
            self.close();
        }
    }

    /// Fewer bytes came than there were before. That may be a network file system which is not up to
    /// date: only if the size says so, too, is the file shorter; else it is opened again, which asks
    /// the server.
    fn look_whether_shorter(&self, body: &Body, offset: u64) -> io::Result<()> {
        if self.is_archive || body.metadata()?.len() < offset {
            return Ok(());
        }
        self.close();
        let what = "its size says that there is more in it than can be read";
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, what))
    }
}

impl Reading {
    fn restart(&mut self, position: Position) {
        self.position = position;
        self.scanned = position.offset;
    }
}
