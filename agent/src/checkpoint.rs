//! The checkpoint: up to where each source is acknowledged, kept over restarts.
//!
//! One file in two generations, `checkpoint.0` and `checkpoint.1`, written in turn: a temporary file,
//! synced, renamed, and the directory synced. Whatever a crash leaves, one of the two is whole; the
//! whole one with the higher sequence counts. Each begins with a line
//! `logweir-checkpoint <version> <sequence> <body length> <CRC-32C of the body>`, and the body is
//! JSON. Each entry is kept as it was written, and made anew only when its source has changed, so that
//! ten thousand quiet files cost nothing but their bytes. A version that is not known is refused and left
//! alone; damaged files are set aside as `.bad`. Owns SPL-3 for this file: the loader takes any bytes.
//!
//! When nothing usable is found, a new salt goes into every source id: positions would start over,
//! and the table must not take new events for repeats of old ones. The same goes for a machine that was
//! made as a copy of another, checkpoint included ([`Checkpoint::bind`]): files with the same identity
//! grow differently on each.

use crate::delivery::{Guard, Lane, Position};
use crate::dormant::{Among, Dormant};
use crate::sync::{Changes, lock};
use logweir_record::SourceId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const MAGIC: &str = "logweir-checkpoint";
const VERSION: u32 = 1;
/// How a body ends behind its entries, which are its last member.
const ENTRIES_END: &[u8] = b"]}";
/// How long a source that is not there any more is remembered.
const DORMANT_DAYS_MAX: u64 = 7;

/// One source in the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The source id, in hexadecimal digits.
    pub source: String,
    pub offset: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<u64>,
    pub guard_length: u16,
    pub guard_hash: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// When the source was last there, see [`Calendar`].
    pub seen_day: u64,
    pub content: Content,
}

/// What the source is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    File(FileContent),
    Spool {
        name: String,
    },
    /// What one journald has numbered, over boots and rotations.
    Journal {
        seqnum_id: String,
        /// See [`crate::config::JournaldConfig::reads`].
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reads: String,
    },
}

/// A file, by what identifies it and what it begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileContent {
    /// Where it was first found.
    pub path: String,
    pub device: u64,
    pub inode: u64,
    /// Birth time in nanoseconds since 1970; 0 where the file system has none.
    pub born_ns: u64,
    /// Counts how often the file's content was replaced in place.
    pub epoch: u32,
    /// The first bytes of the file, by number and hash.
    pub head_length: u16,
    pub head_hash: u64,
    /// The file has other content by now; what is left of this may be in a copy of it.
    #[serde(default)]
    pub replaced: bool,
    /// How many bytes were known to be there and were not acknowledged: they are missed if it does not come
    /// back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread: u64,
    /// Offsets behind the position where a record of several lines, or a last line without its line end,
    /// ends because nothing more came in time. They are written before the record is sent, so that it
    /// ends there also when it is read again with more behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Entry {
    /// See [`FileContent::unread`].
    #[must_use]
    pub(crate) fn bytes_unread(&self) -> u64 {
        self.file().map_or(0, |file| file.unread)
    }

    #[must_use]
    pub(crate) fn new(
        source: SourceId,
        (position, partition): (Position, Option<i32>),
        content: Content,
    ) -> Self {
        Self {
            source: source.to_string(),
            offset: position.offset,
            prev: position.prev,
            guard_length: position.guard.length,
            guard_hash: position.guard.hash,
            partition,
            seen_day: 0,
            content,
        }
    }

    /// It is acknowledged up to a place further on.
    fn advance(&mut self, acked: Position) {
        if let Content::File(file) = &mut self.content {
            file.unread = file.unread.saturating_sub(acked.offset - self.offset);
        }
        (self.offset, self.prev) = (acked.offset, acked.prev);
        (self.guard_length, self.guard_hash) = (acked.guard.length, acked.guard.hash);
    }

    /// The same content as a source of its own, of which nothing was sent.
    fn moved(&self, salt: &str) -> Self {
        let source = SourceId::derive(&[b"moved", salt.as_bytes(), self.source.as_bytes()]);
        Self { source: source.to_string(), prev: None, partition: None, ..self.clone() }
    }

    /// Whether this is a file that could not be opened when it was first found, and is to be read behind
    /// the size that it had: what stands before that is not known.
    #[must_use]
    pub(crate) fn is_passed_over(&self) -> bool {
        self.offset > 0 && self.guard_length == 0 && self.file().is_some()
    }

    #[must_use]
    pub(crate) fn position(&self) -> Position {
        let guard = Guard { length: self.guard_length, hash: self.guard_hash };
        Position { offset: self.offset, prev: self.prev, guard }
    }

    /// The source id; `None` if the text is none, which no checkpoint that was written here has.
    #[must_use]
    pub(crate) fn source_id(&self) -> Option<SourceId> {
        self.source.parse().ok()
    }

    #[must_use]
    pub(crate) fn file(&self) -> Option<&FileContent> {
        match &self.content {
            Content::File(file) => Some(file),
            Content::Spool { .. } | Content::Journal { .. } => None,
        }
    }
}

/// A source that the checkpoint follows.
pub(crate) trait Tracked: Send + Sync {
    /// Its entry as of now, but for [`Entry::seen_day`]. Whatever changes it notes that, see
    /// [`Checkpoint::changes`].
    fn entry(&self) -> Entry;
    fn lane(&self) -> &Lane;
}

/// Why there is no checkpoint to work with.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error(
        "`{path}` is of version {version}, and this program knows version {VERSION} only; \
         use the program that wrote it, or move the file away to read everything anew"
    )]
    Version { path: String, version: u32 },
    #[error(
        "the checkpoint `{path}` cannot be read: {error}; mend the disk or the rights, or move the \
         file away to go on with the older one"
    )]
    Read { path: String, error: io::Error },
    #[error("cannot write the checkpoint in `{path}`: {error}")]
    Write { path: String, error: io::Error },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    /// 32 hexadecimal digits, part of every source id.
    salt: String,
    /// The inputs that have been looked at before, so that `read_from: end` means the first time.
    #[serde(default)]
    known_inputs: Vec<String>,
    /// The machine that it is of, see [`crate::state_dir::machine`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    /// The last member, see [`ENTRIES_END`].
    entries: Vec<Entry>,
}

/// A source that is followed, and its entry as it was last written.
struct Followed {
    source: Arc<dyn Tracked>,
    written: Option<Written>,
}

struct Written {
    /// Of the lane, and the day, as of then.
    as_of: (u64, u64),
    entry: Box<[u8]>,
}

impl Followed {
    /// Appends its entry as of now, of today.
    fn write(&mut self, today: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let as_of = (self.source.lane().version(), today);
        if let Some(written) = self.written.as_ref().filter(|written| written.as_of == as_of) {
            out.extend_from_slice(&written.entry);
            return Ok(());
        }
        let start = out.len();
        serde_json::to_writer(&mut *out, &Entry { seen_day: today, ..self.source.entry() })?;
        self.written = Some(Written { as_of, entry: out[start..].into() });
        Ok(())
    }
}

/// See the module's description.
pub(crate) struct Checkpoint {
    directory: PathBuf,
    /// Of the tracked sources.
    changes: Changes,
    state: Mutex<State>,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("directory", &self.directory).finish()
    }
}

struct State {
    sequence: u64,
    salt: String,
    known_inputs: Vec<String>,
    machine: Option<String>,
    /// Sources that are not there at the moment.
    dormant: Dormant,
    /// Those that were claimed and are not followed yet: a checkpoint of that moment has them, too.
    claimed: Vec<Entry>,
    /// Something besides the tracked sources changed since the last write.
    changed: bool,
    /// The changes of tracked sources and the day, as of then.
    saved: Option<(u64, u64)>,
    tracked: BTreeMap<SourceId, Followed>,
    /// How long the last body was, about as long as the next one.
    body_bytes: usize,
    calendar: Calendar,
    errors: u64,
    /// The last attempt to write it failed.
    fails: bool,
}

impl Checkpoint {
    /// Loads the checkpoint of `directory`, or begins one.
    ///
    /// # Errors
    /// A version that is not known, or a directory that cannot be written.
    pub(crate) fn open(directory: &Path) -> Result<Self, CheckpointError> {
        let Slots { best, damaged } = slots(directory)?;
        damaged.iter().for_each(|(path, what)| set_aside(path, what));
        let fresh = best.is_none();
        if fresh && !damaged.is_empty() {
            tracing::error!(
                directory = %directory.display(),
                "no checkpoint is left: all sources begin as at the first start of an agent, and what is \
                 read again is delivered under new identities"
            );
        }
        let (sequence, body) = best.unwrap_or_else(|| {
            (0, Body { salt: crate::state_dir::random_hex(), ..Body::default() })
        });
        let newest = body.entries.iter().map(|entry| entry.seen_day).max();
        let dormant = body.entries.into_iter().collect();
        let state = State {
            sequence,
            salt: body.salt,
            known_inputs: body.known_inputs,
            machine: body.machine,
            dormant,
            claimed: Vec::new(),
            changed: true,
            saved: None,
            tracked: BTreeMap::new(),
            body_bytes: 0,
            calendar: Calendar::new(newest, wall_day()),
            errors: 0,
            fails: false,
        };
        let (directory, changes) = (directory.to_owned(), Changes::default());
        let checkpoint = Self { directory, changes, state: Mutex::new(state) };
        if fresh {
            checkpoint.save_first()?;
        }
        Ok(checkpoint)
    }

    /// Makes it one of this machine, before any source is followed. If it is of another one, of which
    /// this is a copy, sources go on where they were, but under identities of their own; returns whether
    /// that is so.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(crate) fn bind(&self, machine: &str) -> Result<bool, CheckpointError> {
        {
            let state = &mut *lock(&self.state);
            let before = state.machine.replace(machine.to_owned());
            if before.as_deref() == Some(machine) {
                return Ok(false);
            }
            state.changed = true;
            if before.is_none() {
                return Ok(false);
            }
            state.salt = crate::state_dir::random_hex();
            let moved = state.dormant.values().map(|entry| entry.moved(&state.salt));
            state.dormant = moved.collect();
        }
        self.save_first().map(|()| true)
    }

    /// What source ids are made of must be on disk before the first of them goes out.
    fn save_first(&self) -> Result<(), CheckpointError> {
        self.save().map_err(|error| CheckpointError::Write {
            path: self.directory.display().to_string(),
            error,
        })
    }

    /// Where sources note what changes in their entries.
    #[must_use]
    pub(crate) fn changes(&self) -> Changes {
        self.changes.clone()
    }

    #[must_use]
    pub(crate) fn salt(&self) -> String {
        lock(&self.state).salt.clone()
    }

    /// Whether `input` is looked at for the first time ever.
    #[must_use]
    pub(crate) fn first_look(&self, input: &str) -> bool {
        let state = &mut *lock(&self.state);
        let known = &mut state.known_inputs;
        // The paths of a source were once one name.
        let is_in = |name: &String| format!(" {name} ").contains(&format!(" {input} "));
        if known.iter().any(|name| name == input) || known.iter().any(is_in) {
            return false;
        }
        known.push(input.to_owned());
        state.changed = true;
        true
    }

    /// Takes the entry that `choose` ranks highest among sources that are not there. It stays in the
    /// checkpoint until its source is followed, or remembered again.
    #[must_use]
    pub(crate) fn claim<R: Ord>(
        &self,
        among: Among,
        choose: impl Fn(&Entry) -> Option<R>,
    ) -> Option<Entry> {
        let state = &mut *lock(&self.state);
        let claimed = state.dormant.claim(among, choose);
        state.claimed.extend(claimed.clone());
        state.changed |= claimed.is_some();
        claimed
    }

    /// Whether there is such a source, or was one that may come back.
    #[must_use]
    pub(crate) fn knows(&self, id: SourceId) -> bool {
        let state = lock(&self.state);
        state.tracked.contains_key(&id) || state.not_there().any(|e| e.source_id() == Some(id))
    }

    /// Whether a file that is not there had this inode.
    #[must_use]
    pub(crate) fn knows_inode(&self, inode: u64) -> bool {
        lock(&self.state).dormant.has_inode(inode)
    }

    /// A file with this inode is there, though it cannot be begun: what is known of it stays.
    pub(crate) fn renew(&self, inode: u64) {
        let state = &mut *lock(&self.state);
        let today = state.calendar.today();
        state.changed |= state.dormant.renew(inode, today);
    }

    /// A look at the sources that are not there.
    #[must_use]
    pub(crate) fn dormant(&self, mut wanted: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        lock(&self.state).dormant.values().filter(|entry| wanted(entry)).cloned().collect()
    }

    /// What was not read of a source that is not there was told: it is not missed any more.
    pub(crate) fn give_up(&self, source: &str) {
        let state = &mut *lock(&self.state);
        if let Some(mut entry) = state.dormant.remove(source) {
            if let Content::File(file) = &mut entry.content {
                file.unread = 0;
            }
            state.dormant.insert(entry);
            state.changed = true;
        }
    }

    /// A source that is remembered, and of which something was on its way, is acknowledged up to here.
    pub(crate) fn advance(&self, source: SourceId, acked: Position) {
        let state = &mut *lock(&self.state);
        let Some(entry) = state.dormant.get_mut(&source.to_string()) else { return };
        if entry.offset < acked.offset {
            entry.advance(acked);
            state.changed = true;
        }
    }

    /// Remembers a source that is not there.
    pub(crate) fn remember(&self, entry: Entry) {
        let state = &mut *lock(&self.state);
        let seen_day = state.calendar.today();
        state.settle(&entry.source);
        state.dormant.insert(Entry { seen_day, ..entry });
        state.changed = true;
    }

    /// Follows a source from now on. Returns `false`, and says so, if it follows one of this id already:
    /// the position of only one of them would be kept.
    pub(crate) fn track(&self, id: SourceId, source: Arc<dyn Tracked>) -> bool {
        let state = &mut *lock(&self.state);
        if state.tracked.contains_key(&id) {
            tracing::error!(source = %id, "two sources are the same; the second one is not delivered");
            return false;
        }
        state.settle(&id.to_string());
        state.tracked.insert(id, Followed { source, written: None });
        state.changed = true;
        true
    }

    /// Stops following a source; it is remembered if it may come back.
    pub(crate) fn untrack(&self, id: SourceId, may_come_back: bool) {
        let state = &mut *lock(&self.state);
        state.changed = true;
        if let Some(followed) = state.tracked.remove(&id)
            && may_come_back
        {
            let seen_day = state.calendar.today();
            state.dormant.insert(Entry { seen_day, ..followed.source.entry() });
        }
    }

    /// Where it is written.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Failures to write since the start.
    #[must_use]
    pub(crate) fn errors(&self) -> u64 {
        lock(&self.state).errors
    }

    /// For every source, also those that are not there, the last event that Kafka has acknowledged.
    #[must_use]
    pub(crate) fn ends(&self) -> Vec<(SourceId, u64)> {
        let state = lock(&self.state);
        let dormant = state.not_there().filter_map(|entry| Some((entry.source_id()?, entry.prev?)));
        let tracked = state.tracked.iter();
        let acked = |followed: &Followed| followed.source.lane().acked();
        let tracked = tracked.filter_map(|(id, followed)| Some((*id, acked(followed).prev?)));
        tracked.chain(dormant).collect()
    }

    /// Forgets what has not been there for long. Not to be called before all sources that are there
    /// could be looked for.
    pub(crate) fn forget_old(&self) {
        let state = &mut *lock(&self.state);
        let today = state.calendar.today();
        state.changed |= state.dormant.forget_before(today.saturating_sub(DORMANT_DAYS_MAX));
    }

    /// Whether the last attempt to write it failed.
    #[must_use]
    pub(crate) fn fails(&self) -> bool {
        lock(&self.state).fails
    }

    /// Writes the checkpoint if something changed. After it, sources may be sent to the partitions
    /// that were chosen before. If it could not be written, that goes for what would have its id again
    /// without it, since a disk that is full must not hold up a spool that fills it; a file waits.
    ///
    /// # Errors
    /// The directory cannot be written; the older checkpoint is still whole.
    pub(crate) fn save(&self) -> io::Result<()> {
        let state = &mut *lock(&self.state);
        let now = Some((self.changes.count(), state.calendar.today()));
        if !state.changed && state.saved == now {
            return Ok(());
        }
        let chosen = state.chosen();
        let written = self.write(state);
        if written.is_ok() {
            (state.changed, state.saved) = (false, now);
        }
        for (source, partition) in chosen {
            if written.is_ok() || source.entry().file().is_none() {
                source.lane().record(partition);
            }
        }
        state.fails = written.is_err();
        written
    }

    fn write(&self, state: &mut State) -> io::Result<()> {
        let body = state.body()?;
        let sequence = state.sequence + 1;
        let header =
            format!("{MAGIC} {VERSION} {sequence} {} {:08x}\n", body.len(), crc32c::crc32c(&body));
        match write_slot(&self.directory, (sequence % 2) as u32, header.as_bytes(), &body) {
            Ok(()) => {
                state.sequence = sequence;
                Ok(())
            }
            Err(error) => {
                state.errors += 1;
                Err(error)
            }
        }
    }
}

impl State {
    /// The sources that are not followed.
    fn not_there(&self) -> impl Iterator<Item = &Entry> {
        self.dormant.values().chain(&self.claimed)
    }

    /// What becomes of a source that was claimed is known.
    fn settle(&mut self, source: &str) {
        self.claimed.retain(|entry| entry.source != source);
    }

    /// The sources with a partition that no checkpoint holds.
    fn chosen(&self) -> Vec<(Arc<dyn Tracked>, i32)> {
        let unrecorded = |followed: &Followed| {
            Some((followed.source.clone(), followed.source.lane().unrecorded()?))
        };
        self.tracked.values().filter_map(unrecorded).collect()
    }

    /// A [`Body`], as it stands in the file.
    fn body(&mut self) -> io::Result<Vec<u8>> {
        let today = self.calendar.today();
        let head = Body {
            salt: self.salt.clone(),
            known_inputs: self.known_inputs.clone(),
            machine: self.machine.clone(),
            entries: Vec::new(),
        };
        let mut body = Vec::with_capacity(self.body_bytes + self.body_bytes / 8);
        serde_json::to_writer(&mut body, &head)?;
        debug_assert!(body.ends_with(ENTRIES_END), "the entries are the last member");
        body.truncate(body.len() - ENTRIES_END.len());
        let start = body.len();
        for followed in self.tracked.values_mut() {
            followed.write(today, &mut body)?;
            body.push(b',');
        }
        for entry in self.not_there() {
            serde_json::to_writer(&mut body, entry)?;
            body.push(b',');
        }
        if body.len() > start {
            body.pop();
        }
        body.extend_from_slice(ENTRIES_END);
        self.body_bytes = body.len();
        Ok(body)
    }
}

/// Days, counted while the agent runs: however long it stood still, and wherever the clock of the host
/// jumped meanwhile, that is one day at most. So nothing is forgotten before it was looked for.
#[derive(Debug)]
struct Calendar {
    first: u64,
    started: Instant,
}

impl Calendar {
    /// Goes on behind the `newest` day that is in the checkpoint; days by the clock of the host.
    fn new(newest: Option<u64>, wall_day: u64) -> Self {
        let first =
            newest.map_or(wall_day, |newest| newest + wall_day.saturating_sub(newest).min(1));
        Self { first, started: Instant::now() }
    }

    fn today(&self) -> u64 {
        self.first + self.started.elapsed().as_secs() / 86_400
    }
}

/// The entries of the checkpoint in `directory` and what is wrong with its files; changes nothing.
///
/// # Errors
/// A version that is not known, or files that cannot be read.
pub(crate) fn look(directory: &Path) -> Result<Look, CheckpointError> {
    let Slots { best, damaged } = slots(directory)?;
    let sequence = best.as_ref().map(|(sequence, _)| *sequence);
    let entries = best.map(|(_, body)| body.entries).unwrap_or_default();
    Ok(Look { sequence, entries, damaged })
}

/// What [`look`] sees.
#[derive(Debug)]
pub(crate) struct Look {
    /// `None` if there is no whole checkpoint.
    pub(crate) sequence: Option<u64>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) damaged: Vec<(PathBuf, &'static str)>,
}

/// The two generations: the best whole one, and the damaged ones.
#[derive(Default)]
struct Slots {
    best: Option<(u64, Body)>,
    damaged: Vec<(PathBuf, &'static str)>,
}

fn slots(directory: &Path) -> Result<Slots, CheckpointError> {
    let mut slots = Slots::default();
    for slot in 0..2 {
        let path = slot_path(directory, slot);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Going on without it would mean to read everything anew.
            Err(error) => {
                return Err(CheckpointError::Read { path: path.display().to_string(), error });
            }
        };
        match decode(&bytes) {
            Ok((sequence, body)) => {
                if slots.best.as_ref().is_none_or(|(known, _)| *known < sequence) {
                    slots.best = Some((sequence, body));
                }
            }
            Err(Damage::Version(version)) => {
                let path = path.display().to_string();
                return Err(CheckpointError::Version { path, version });
            }
            Err(Damage::Broken(what)) => slots.damaged.push((path, what)),
        }
    }
    Ok(slots)
}

#[derive(Debug, PartialEq, Eq)]
enum Damage {
    Version(u32),
    Broken(&'static str),
}

fn decode(bytes: &[u8]) -> Result<(u64, Body), Damage> {
    let newline = memchr::memchr(b'\n', bytes).ok_or(Damage::Broken("there is no header"))?;
    let header = std::str::from_utf8(&bytes[..newline]).map_err(|_| Damage::Broken("no header"))?;
    let words: Vec<&str> = header.split(' ').collect();
    let [MAGIC, version, rest @ ..] = words.as_slice() else {
        return Err(Damage::Broken("the header is of another kind"));
    };
    let version = version.parse().map_err(|_| Damage::Broken("the version is no number"))?;
    if version != VERSION {
        return Err(Damage::Version(version));
    }
    let [sequence, length, crc] = rest else { return Err(Damage::Broken("the header is short")) };
    let sequence = sequence.parse().map_err(|_| Damage::Broken("the sequence is no number"))?;
    let length: usize = length.parse().map_err(|_| Damage::Broken("the length is no number"))?;
    let crc = u32::from_str_radix(crc, 16).map_err(|_| Damage::Broken("the CRC is no number"))?;
    let body = &bytes[newline + 1..];
    if body.len() != length || crc32c::crc32c(body) != crc {
        return Err(Damage::Broken("the CRC does not match"));
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| Damage::Broken("the body is odd"))?;
    Ok((sequence, body))
}

fn write_slot(directory: &Path, slot: u32, header: &[u8], body: &[u8]) -> io::Result<()> {
    let path = slot_path(directory, slot);
    let temporary = path.with_extension(format!("{slot}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(header)?;
    file.write_all(body)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, &path)?;
    File::open(directory)?.sync_all()
}

fn set_aside(path: &Path, what: &str) {
    tracing::error!(
        path = %path.display(),
        what,
        "a checkpoint is damaged; it is set aside as .bad, and the other one is used if it is whole"
    );
    let mut name = path.as_os_str().to_owned();
    name.push(".bad");
    if let Err(error) = fs::rename(path, name) {
        tracing::error!(path = %path.display(), %error, "the damaged checkpoint cannot be set aside");
    }
}

fn slot_path(directory: &Path, slot: u32) -> PathBuf {
    directory.join(format!("checkpoint.{slot}"))
}

fn wall_day() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::Tally;
    use crate::delivery::content_hash;

    struct Fixed(Mutex<Entry>, Lane);

    impl Tracked for Fixed {
        fn lane(&self) -> &Lane {
            &self.1
        }

        fn entry(&self) -> Entry {
            lock(&self.0).clone()
        }
    }

    fn entry(name: &str, offset: u64) -> Entry {
        let position = Position { offset, prev: Some(3), guard: Guard::of(b"abc") };
        let content = Content::Spool { name: name.into() };
        Entry::new(SourceId::derive(&[name.as_bytes()]), (position, Some(2)), content)
    }

    /// Of which nothing is known yet.
    fn file() -> FileContent {
        FileContent {
            path: "a.log".into(),
            device: 1,
            inode: 2,
            born_ns: 3,
            epoch: 0,
            head_length: 0,
            head_hash: 0,
            replaced: false,
            unread: 0,
            cuts: Vec::new(),
        }
    }

    #[test]
    fn what_was_on_its_way_when_its_source_went_is_not_missed_once_it_is_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let file = FileContent { replaced: true, unread: 100, ..file() };
        let known = Entry { content: Content::File(file), ..entry("a", 10) };
        let source = known.source_id().unwrap();
        checkpoint.remember(known);
        for (acked, offset, unread) in [(60, 60, 50), (20, 60, 50), (110, 110, 0), (120, 120, 0)] {
            checkpoint.advance(source, Position { offset: acked, ..Position::default() });
            let known = checkpoint.dormant(|_| true).remove(0);
            assert_eq!((known.offset, known.bytes_unread()), (offset, unread), "{acked}");
        }
    }

    fn saved(directory: &Path, offset: u64) {
        let checkpoint = Checkpoint::open(directory).unwrap();
        let claimed = checkpoint.claim(Among::All, |entry| Some(entry.offset));
        let claimed = claimed.unwrap_or_else(|| entry("a", 0));
        let id = claimed.source_id().unwrap();
        let lane = Lane::new(id, claimed.position(), None, checkpoint.changes());
        let source = Arc::new(Fixed(Mutex::new(claimed), lane));
        lock(&source.0).offset = offset;
        checkpoint.track(id, source);
        checkpoint.save().unwrap();
    }

    fn loaded(directory: &Path) -> Option<u64> {
        Checkpoint::open(directory)
            .unwrap()
            .claim(Among::All, |e| Some(e.offset))
            .map(|entry| entry.offset)
    }

    #[test]
    fn what_was_saved_is_loaded_and_the_salt_stays() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path(), 10);
        let salt = Checkpoint::open(directory.path()).unwrap().salt();
        saved(directory.path(), 20);
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        assert_eq!(checkpoint.salt(), salt);
        let claimed = checkpoint.claim(Among::All, |entry| Some(entry.offset)).unwrap();
        assert_eq!(claimed, Entry { offset: 20, seen_day: claimed.seen_day, ..entry("a", 0) });
        assert_eq!(checkpoint.claim(Among::All, |entry| Some(entry.offset)), None);
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_falls_back_to_the_older_generation() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path(), 10);
        saved(directory.path(), 20);
        let newest = [0, 1]
            .map(|slot| slot_path(directory.path(), slot))
            .into_iter()
            .max_by_key(|path| decode(&fs::read(path).unwrap()).unwrap().0)
            .unwrap();
        let whole = fs::read(&newest).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|n| whole[..n].to_vec()).collect();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            damaged.push(flipped);
        }
        for bytes in damaged {
            match decode(&bytes) {
                // A flipped bit in the sequence alone cannot be told from another sequence.
                Ok((_, body)) => assert_eq!(body.entries[0].offset, 20),
                Err(Damage::Version(_)) => {}
                Err(Damage::Broken(_)) => {
                    fs::write(&newest, &bytes).unwrap();
                    assert_eq!(loaded(directory.path()), Some(10));
                    assert!(
                        newest
                            .with_extension(format!(
                                "{}.bad",
                                newest.extension().unwrap().to_str().unwrap()
                            ))
                            .is_file()
                    );
                }
            }
        }
    }

    /// What the first version wrote. It is never changed: a later version has a file of its own beside it.
    const VERSION_1: &[u8] = include_bytes!("checkpoint.v1");

    #[test]
    fn a_checkpoint_of_the_first_version_is_read_in_full_and_still_written_so() {
        let file = FileContent {
            path: "/var/log/app.log".into(),
            device: 65_024,
            inode: 131_073,
            born_ns: 1_767_225_600_123_456_789,
            epoch: 2,
            head_length: 3,
            head_hash: content_hash(b"abc"),
            unread: 0,
            replaced: true,
            cuts: vec![1_100, 1_200],
        };
        let seqnum_id = "0123456789abcdef0123456789abcdef".to_owned();
        let contents = [
            Content::File(file.clone()),
            Content::File(FileContent { replaced: false, cuts: Vec::new(), ..file }),
            Content::Spool { name: "syslog 127.0.0.1:514".into() },
            Content::Journal { seqnum_id, reads: String::new() },
        ];
        let mut number = 0;
        let entries = contents.map(|content| {
            number += 1;
            let guard = Guard::of(b"the bytes before the position\n");
            let (prev, partition) = if number == 1 { (Some(900), Some(7)) } else { (None, None) };
            let position = Position { offset: 1_000 * number, prev, guard };
            let id = SourceId::derive(&[&[number as u8]]);
            Entry { seen_day: 20_454, ..Entry::new(id, (position, partition), content) }
        });
        let body = Body {
            salt: "00112233445566778899aabbccddeeff".into(),
            machine: None,
            known_inputs: vec!["/var/log/*.log /srv/*.log".into()],
            entries: entries.to_vec(),
        };
        assert_eq!(decode(VERSION_1), Ok((41, body.clone())));
        let text = serde_json::to_vec(&body).unwrap();
        assert!(VERSION_1.ends_with(&text), "the format has changed: it needs another version");
        // And the agent goes on with it.
        let directory = tempfile::tempdir().unwrap();
        fs::write(slot_path(directory.path(), 1), VERSION_1).unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        assert_eq!(checkpoint.salt(), body.salt);
        assert!(!checkpoint.first_look(&body.known_inputs[0]));
        let claimed = checkpoint.claim(Among::Inode(131_073), |entry| entry.prev);
        assert_eq!(claimed.as_ref(), Some(&entries[0]));
        checkpoint.remember(entries[0].clone());
        checkpoint.save().unwrap();
        let kept = look(directory.path()).unwrap();
        assert_eq!((kept.sequence, kept.entries.len()), (Some(42), 4));
        assert!(entries[1..].iter().all(|entry| kept.entries.contains(entry)));
    }

    #[test]
    fn an_unknown_version_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = slot_path(directory.path(), 1);
        fs::write(&path, "logweir-checkpoint 2 7 0 00000000\n").unwrap();
        let error = Checkpoint::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");
        assert!(path.is_file());
    }

    #[test]
    fn a_choice_is_recorded_by_the_next_checkpoint_or_but_for_files_by_its_failure() {
        let spool = Content::Spool { name: "a".into() };
        let file = Content::File(file());
        for (content, fails, recorded) in [
            (&spool, false, true),
            (&spool, true, true),
            (&file, false, true),
            (&file, true, false),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let checkpoint = Checkpoint::open(directory.path()).unwrap();
            let entry = Entry { content: content.clone(), ..entry("a", 10) };
            let id = entry.source_id().unwrap();
            let lane = Lane::new(id, entry.position(), None, checkpoint.changes());
            let source = Arc::new(Fixed(Mutex::new(entry), lane));
            checkpoint.track(id, source.clone());
            assert_eq!(source.lane().partition(8), None);
            if fails {
                fs::remove_dir_all(directory.path()).unwrap();
            }
            assert_eq!((checkpoint.save().is_err(), checkpoint.fails()), (fails, fails));
            assert_eq!(source.lane().partition(8).is_some(), recorded, "{content:?}");
            fs::create_dir_all(directory.path()).unwrap();
            assert!(checkpoint.save().is_ok() && !checkpoint.fails());
            assert!(source.lane().partition(8).is_some());
        }
    }

    #[test]
    fn it_is_written_for_each_change_and_for_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let sequence = || look(directory.path()).unwrap().sequence.unwrap();
        let entry = entry("a", 10);
        let id = entry.source_id().unwrap();
        let lane = Lane::new(id, entry.position(), Some(2), checkpoint.changes());
        let source = Arc::new(Fixed(Mutex::new(entry), lane));
        let lane = source.lane();
        let acknowledge = |offset| {
            let end = Position { offset, ..Position::default() };
            lane.hand_over(end, Tally { read: 1, sent: 1, ..Tally::default() }, 0)
        };
        assert!(checkpoint.track(id, source.clone()));
        assert!(!checkpoint.track(id, source.clone()), "a second source of that id");
        let mut before = sequence();
        let mut saved = |change: &str, is_written: bool| {
            checkpoint.save().unwrap();
            let now = sequence();
            assert_eq!(now, before + u64::from(is_written), "{change}");
            before = now;
        };
        saved("a new source", true);
        saved("nothing", false);
        let chunk = acknowledge(20);
        saved("what is read and not acknowledged", false);
        lane.events_acked(lane.generation(), chunk);
        saved("an acknowledgement", true);
        saved("nothing", false);
        lane.partition(2);
        saved("another partition", true);
        lane.note_change();
        saved("what the source knows itself", true);
        saved("nothing", false);
    }

    #[test]
    fn of_many_sources_each_is_written_as_it_is_now() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let sources: Vec<_> = (0..20)
            .map(|number| {
                let entry = entry(&number.to_string(), 0);
                let id = entry.source_id().unwrap();
                let lane = Lane::new(id, entry.position(), Some(2), checkpoint.changes());
                let source = Arc::new(Fixed(Mutex::new(entry), lane));
                checkpoint.track(id, source.clone());
                source
            })
            .collect();
        checkpoint.remember(entry("not there", 7));
        let written = || {
            checkpoint.save().unwrap();
            let entries = look(directory.path()).unwrap().entries;
            let mut found: Vec<_> =
                entries.iter().map(|entry| (entry.source.clone(), entry.offset)).collect();
            found.sort();
            found
        };
        let expected = |away: &[Entry]| {
            let there = sources.iter().map(|source| source.entry());
            let all = there.chain(away.iter().cloned());
            let mut all: Vec<_> = all.map(|entry| (entry.source.clone(), entry.offset)).collect();
            all.sort();
            all
        };
        let away = [entry("not there", 7)];
        assert_eq!(written(), expected(&away));
        for round in 0..100 {
            let changed = &sources[round * 7 % sources.len()];
            lock(&changed.0).offset += 1;
            changed.lane().note_change();
            assert_eq!(written(), expected(&away), "{round}");
        }
        for source in &sources {
            checkpoint.untrack(source.lane().id(), false);
        }
        assert_eq!(written(), [(away[0].source.clone(), 7)]);
    }

    #[test]
    fn what_is_claimed_stays_in_the_checkpoint_until_it_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path(), 7);
        let claim =
            |checkpoint: &Checkpoint| checkpoint.claim(Among::All, |entry| Some(entry.offset));
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let claimed = claim(&checkpoint).unwrap();
        assert_eq!(claim(&checkpoint).map(|entry| entry.offset), None);
        // Killed now.
        checkpoint.save().unwrap();
        assert_eq!(loaded(directory.path()), Some(7));
        let id = claimed.source_id().unwrap();
        let lane = Lane::new(id, claimed.position(), None, checkpoint.changes());
        checkpoint.track(id, Arc::new(Fixed(Mutex::new(claimed), lane)));
        checkpoint.untrack(id, false);
        checkpoint.save().unwrap();
        assert_eq!(loaded(directory.path()), None);
    }

    #[test]
    fn a_lost_checkpoint_gets_a_new_salt() {
        let directory = tempfile::tempdir().unwrap();
        let first = Checkpoint::open(directory.path()).unwrap().salt();
        for slot in 0..2 {
            let _ = fs::write(slot_path(directory.path(), slot), "garbage");
        }
        assert_ne!(Checkpoint::open(directory.path()).unwrap().salt(), first);
    }

    #[test]
    fn a_copy_of_a_machine_goes_on_where_that_was_under_identities_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path(), 10);
        let before = Checkpoint::open(directory.path()).unwrap();
        assert!(!before.bind("one").unwrap(), "it was nobody's");
        before.save().unwrap();
        let same = Checkpoint::open(directory.path()).unwrap();
        assert!(!same.bind("one").unwrap());
        assert_eq!(same.salt(), before.salt());
        let copy = Checkpoint::open(directory.path()).unwrap();
        assert!(copy.bind("two").unwrap());
        let again = Checkpoint::open(directory.path()).unwrap();
        assert!(!again.bind("two").unwrap());
        assert_ne!(again.salt(), before.salt());
        let of =
            |checkpoint: &Checkpoint| checkpoint.claim(Among::All, |e| Some(e.offset)).unwrap();
        let (of_before, of_copy) = (of(&same), of(&again));
        assert_eq!((of_copy.offset, of_copy.prev, of_copy.partition), (10, None, None));
        assert_eq!(of_copy.content, of_before.content);
        assert_ne!(of_copy.source, of_before.source);
    }

    #[test]
    fn positions_are_kept_however_long_the_agent_stood_still() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path(), 10);
        let path = slot_path(directory.path(), 0);
        let (sequence, mut body) = decode(&fs::read(&path).unwrap()).unwrap();
        body.entries[0].seen_day -= 400;
        let body = serde_json::to_vec(&body).unwrap();
        let (length, crc) = (body.len(), crc32c::crc32c(&body));
        let header = format!("{MAGIC} {VERSION} {sequence} {length} {crc:08x}\n");
        write_slot(directory.path(), 0, header.as_bytes(), &body).unwrap();
        // Something is saved before the sources are looked for.
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        assert!(checkpoint.first_look("a"));
        checkpoint.save().unwrap();
        assert_eq!(loaded(directory.path()), Some(10));
    }

    #[test]
    fn days_are_those_that_the_agent_runs() {
        let today = |newest, wall| Calendar::new(newest, wall).today();
        assert_eq!(today(None, 20_000), 20_000);
        assert_eq!(today(Some(20_000), 20_000), 20_000);
        assert_eq!(today(Some(20_000), 20_001), 20_001);
        assert_eq!(today(Some(20_000), 20_365), 20_001, "it stood still, or the clock jumped");
        assert_eq!(today(Some(20_000), 19_999), 20_000, "the clock jumped back");
    }

    #[test]
    fn an_input_is_new_once() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        assert!(checkpoint.first_look("a") && !checkpoint.first_look("a"));
        checkpoint.save().unwrap();
        assert!(!Checkpoint::open(directory.path()).unwrap().first_look("a"));
    }
}
