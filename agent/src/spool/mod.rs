//! The spool: messages on disk from when they are accepted until Kafka has acknowledged them.
//!
//! Segments, `<base offset>.seg`, are only appended to, by one write per batch; a start begins a
//! new segment and never touches an old one. Up to where the content is delivered stands in the
//! checkpoint, a file in two generations; segments in front of that are given back, and the first that
//! stays tells so, whatever becomes of the checkpoint. A start reads the
//! headers of the segments and at most two segments, whatever the backlog.
//!
//! Owns SPL-1: what [`Spool::append`] has taken survives a kill of the process at once, and a power
//! cut after [`Spool::sync`]. Owns SPL-2: the offsets go up without repeating, across restarts. After
//! a power cut the disk may know less than Kafka: records were delivered and are gone from the disk.
//! So a start leaves a gap of [`START_GAP`] offsets, more than can have been lost, in front of what
//! it appends; and the name of a segment, which is on the disk before anything in it is sent, tells
//! where the last gap was, even if there is nothing in it any more. Knows nothing of the network or of Kafka.

mod disk;
pub(crate) mod inspect;
mod loss;
mod record;
mod segment;
mod sync;

pub(crate) use record::{Found, Message, decode, encode};
pub(crate) use segment::SpoolError;

use crate::accounting::{DropReason, Drops};
use crate::sync::lock;
use disk::Room;
use loss::lost_in;
use segment::{HEADER_BYTES, Header, Segment, load, segment_name};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A segment is this part of the spool, but not larger than the second number, unless there would be
/// more than a thousand: space is given back a segment at a time.
const SEGMENT_SHARE: (u64, u64, u64) = (16, 64 << 20, 1024);
/// Larger than what can be in Kafka and not on the disk: a segment is synced before the next begins.
const START_GAP: u64 = 1 << 36;

/// What becomes of messages that find the spool full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Senders that can wait do; messages of others are dropped and counted.
    Block,
    /// All are dropped and counted; what is in the spool stays.
    DropNewest,
}

/// The bounds of one spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) bytes_max: u64,
    pub(crate) when_full: WhenFull,
    /// So much of the disk is left to others, the checkpoint above all.
    pub(crate) disk_free_min: u64,
    /// A power cut takes at most what came in this time …
    pub(crate) sync_interval: Duration,
    /// … or somewhat more than so many bytes, whichever is less.
    pub(crate) sync_bytes: u64,
}

impl Settings {
    /// For a spool that is only read.
    pub(crate) fn of_nothing() -> Self {
        Self {
            bytes_max: 0,
            when_full: WhenFull::Block,
            disk_free_min: 0,
            sync_interval: Duration::from_secs(1),
            sync_bytes: 1,
        }
    }
}

/// Why messages were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("the spool is full")]
    Full,
    #[error(transparent)]
    DiskFull(#[from] DiskFull),
    #[error("the spool cannot be written: {0}")]
    Io(#[from] io::Error),
}

impl AppendError {
    /// As what messages count that cannot wait.
    pub(crate) fn reason(&self) -> DropReason {
        match self {
            Self::Full | Self::DiskFull(_) => DropReason::SpoolFull,
            Self::Io(_) => DropReason::SpoolError,
        }
    }
}

/// The disk of a spool has less free than is left to others.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} MiB of the disk of `{}` are free, and the spool leaves {} MiB to others; free some, or set \
     `agent.state_dir` to another disk or `spool.disk_free_min` lower",
    free >> 20, directory.display(), free_min >> 20
)]
pub(crate) struct DiskFull {
    directory: PathBuf,
    free: u64,
    free_min: u64,
}

impl DiskFull {
    /// What is wrong with the disk of `directory`, if anything.
    pub(crate) fn on(directory: &Path, free_min: u64) -> Option<Self> {
        let free = disk::free(directory).ok()?;
        (free <= free_min).then(|| Self { directory: directory.to_owned(), free, free_min })
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Spool {
    name: String,
    directory: PathBuf,
    settings: Settings,
    segment_bytes: u64,
    state: Mutex<State>,
    /// The offset behind the last message; readers go up to here.
    end: AtomicU64,
    /// The number of the first message that was not delivered when the spool was opened.
    opened_at: u64,
    /// The number of the next message.
    next_number: AtomicU64,
    drops: Mutex<Drops>,
}

#[derive(Debug)]
struct State {
    /// In order, without overlap; the last one is written to.
    segments: VecDeque<Segment>,
    /// Set when the last segment cannot be written to; the next append begins another.
    abandoned: bool,
    /// Set when messages that were accepted could not be synced, nor rewritten elsewhere: nothing is
    /// taken until they can.
    failed: bool,
    /// Nothing was appended since the start, so the next segment stands behind a gap.
    fresh: bool,
    /// The place behind the last message that is safe from a power cut.
    synced: Mark,
    synced_at: Instant,
    room: Room,
}

/// A place between two records: its offset, and the number of the record behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    offset: u64,
    number: u64,
}

/// A piece of the spool to read from.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The offset of the first byte.
    pub(crate) offset: u64,
    /// How many bytes were read.
    pub(crate) length: usize,
    /// No byte will ever follow the piece in its segment.
    pub(crate) last: bool,
    /// How many records in front of the piece are lost with the segment that held them.
    pub(crate) lost: u64,
}

/// How a spool is at a moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SpoolSnapshot {
    pub segments: u64,
    /// On disk, delivered or not: space is given back a segment at a time.
    pub bytes: u64,
    pub bytes_max: u64,
    /// Not delivered yet.
    pub backlog_bytes: u64,
    /// What a power cut at this moment would take.
    pub unsynced_bytes: u64,
    /// What a power cut takes at most, by time and by size.
    pub sync_interval_ms: u64,
    pub sync_bytes: u64,
    /// The disk failed and nothing is taken.
    pub failed: bool,
}

impl Spool {
    /// Opens the spool in `directory`, whose content has been delivered up to `acked`.
    ///
    /// # Errors
    /// The directory cannot be used, or was written by a later version.
    pub(crate) fn open(
        directory: &Path,
        name: &str,
        acked: u64,
        settings: Settings,
    ) -> Result<Self, SpoolError> {
        let fault = SpoolError::io(directory);
        make(directory)?;
        if let Some(disk_full) = DiskFull::on(directory, settings.disk_free_min) {
            tracing::warn!(spool = name, "nothing is taken: {disk_full}");
        }
        let segments: VecDeque<Segment> = load(directory)?.into();
        remove_leftovers(directory).map_err(&fault)?;
        // The checkpoint may be older than what was given back.
        let acked = segments.iter().map(Segment::delivered_before).fold(acked, u64::max);
        let end = segments.back().map_or(0, Segment::end).max(acked);
        let number = match segments.back() {
            Some(last) => last.header.first + last.walked().map_err(&fault)?.items(),
            None => 0,
        };
        // A run that was killed may have left the last segment to the kernel; those before it are synced.
        let synced = segments.back().map_or(Mark { offset: end, number }, |last| Mark {
            offset: last.base(),
            number: last.header.first,
        });
        let (share, largest, count) = SEGMENT_SHARE;
        let segment_bytes =
            (settings.bytes_max / share).min(largest).max(settings.bytes_max / count);
        let state = State {
            // Where nothing was ever appended nothing was sent either.
            fresh: !segments.is_empty() || end > 0,
            segments,
            abandoned: true,
            failed: false,
            synced,
            synced_at: Instant::now(),
            room: Room::new(settings.disk_free_min),
        };
        let mut spool = Self {
            name: name.to_owned(),
            directory: directory.to_owned(),
            settings,
            segment_bytes,
            state: Mutex::new(state),
            end: AtomicU64::new(end),
            opened_at: number,
            next_number: AtomicU64::new(number),
            drops: Mutex::default(),
        };
        spool.release(acked);
        spool.opened_at = spool.number_at(acked).map_err(&fault)?.unwrap_or(number);
        spool.count_lost_front(acked);
        Ok(spool)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The offset behind the last message.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The first offset that there still is at or behind `offset`.
    pub(crate) fn first_from(&self, offset: u64) -> u64 {
        let state = lock(&self.state);
        let bases = state.segments.iter().filter(|segment| segment.end() > offset);
        bases
            .map(|segment| segment.base().max(offset))
            .next()
            .unwrap_or_else(|| offset.max(self.end()))
    }

    /// Messages taken since the start, with those that the start found.
    pub(crate) fn appended(&self) -> u64 {
        self.next_number.load(Ordering::Acquire) - self.opened_at
    }

    /// Counts messages that were not taken.
    pub(crate) fn count_drop(&self, reason: DropReason, count: u64) {
        lock(&self.drops).add(reason, count);
    }

    pub(crate) fn drops(&self) -> Drops {
        *lock(&self.drops)
    }

    /// How the spool is, delivered up to `acked`.
    pub(crate) fn snapshot(&self, acked: u64) -> SpoolSnapshot {
        let state = lock(&self.state);
        let behind = |offset: u64| -> u64 {
            let rest = |segment: &Segment| segment.end().saturating_sub(offset.max(segment.base()));
            state.segments.iter().map(rest).sum()
        };
        SpoolSnapshot {
            segments: state.segments.len() as u64,
            bytes: state.bytes(),
            bytes_max: self.settings.bytes_max,
            backlog_bytes: behind(acked),
            unsynced_bytes: behind(state.synced.offset),
            sync_interval_ms: self.settings.sync_interval.as_millis() as u64,
            sync_bytes: self.settings.sync_bytes,
            failed: state.failed,
        }
    }

    /// Appends `count` encoded records, all or none. Where the policy is to drop, they may be dropped
    /// and counted instead.
    ///
    /// # Errors
    /// The spool or the disk is full, or the disk fails.
    pub(crate) fn append(&self, records: &[u8], count: u64) -> Result<(), AppendError> {
        let taken = self.try_append(records, count, self.settings.bytes_max);
        if matches!(taken, Err(AppendError::Full | AppendError::DiskFull(_)))
            && self.settings.when_full == WhenFull::DropNewest
        {
            self.count_drop(DropReason::SpoolFull, count);
            return Ok(());
        }
        taken
    }

    /// Appends what whoever sent it will not send again, beyond `bytes_max` if need be; what the disk
    /// does not take is counted.
    pub(crate) fn append_last(&self, records: &[u8], count: u64) {
        if let Err(error) = self.try_append(records, count, u64::MAX) {
            tracing::warn!(spool = self.name, count, %error, "messages are dropped and counted");
            self.count_drop(error.reason(), count);
        }
    }

    fn try_append(&self, records: &[u8], count: u64, bytes_max: u64) -> Result<(), AppendError> {
        let state = &mut *lock(&self.state);
        if state.failed {
            return Err(io::Error::other("what was accepted could not be synced").into());
        }
        let length = records.len() as u64;
        if state.bytes() + length > bytes_max {
            return Err(AppendError::Full);
        }
        if !state.room.take(length, &self.directory)? {
            return Err(self.disk_full());
        }
        let full = state.segments.back().is_none_or(|last| last.length >= self.segment_bytes);
        if full || state.abandoned {
            self.begin_segment(state).map_err(|error| self.full_or_failing(error))?;
        }
        let Some(last) = state.segments.back_mut() else { return Err(AppendError::Full) };
        if let Err(error) = last.file.write_all_at(records, last.place(last.end())) {
            // What was written of it is cut off; if that fails too, the segment ends here and what
            // stands behind its end is skipped as damaged by whoever reads it after a restart.
            state.abandoned = last.file.set_len(HEADER_BYTES + last.length).is_err();
            return Err(self.full_or_failing(error));
        }
        last.length += length;
        self.next_number.fetch_add(count, Ordering::Release);
        self.end.store(last.end(), Ordering::Release);
        Ok(())
    }

    fn full_or_failing(&self, error: io::Error) -> AppendError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => self.disk_full(),
            _ => AppendError::Io(error),
        }
    }

    fn disk_full(&self) -> AppendError {
        AppendError::DiskFull(DiskFull {
            directory: self.directory.clone(),
            free: disk::free(&self.directory).unwrap_or(0),
            free_min: self.settings.disk_free_min,
        })
    }

    fn begin_segment(&self, state: &mut State) -> io::Result<()> {
        let end = Mark { offset: self.end(), number: self.next_number.load(Ordering::Acquire) };
        if let Some(last) = state.segments.back().cloned()
            && state.synced.offset < end.offset
        {
            if let Err(error) = last.file.sync_data() {
                self.rescue(state, &last, state.synced, &error)?;
            }
            state.synced = end;
        }
        let base = if state.fresh { end.offset + START_GAP } else { end.offset };
        let header = Header { base, after: end.offset, first: end.number };
        let segment = self.write_segment(header, None)?;
        state.segments.retain(|segment| segment.base() != base);
        state.segments.push_back(segment);
        state.abandoned = false;
        state.fresh = false;
        Ok(())
    }

    /// Makes a segment, with what stands in another one from the new one's base on.
    fn write_segment(&self, header: Header, content: Option<&Segment>) -> io::Result<Segment> {
        let temporary = self.directory.join(TEMPORARY);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&temporary)?;
        let mut segment = Segment::new(header, 0, file);
        segment.file.write_all_at(&header.encode(), 0)?;
        if let Some(content) = content {
            let mut buffer = vec![0; 1 << 20];
            while segment.end() < content.end() {
                let length = (content.end() - segment.end()).min(buffer.len() as u64);
                let piece = &mut buffer[..length as usize];
                content.read(piece, segment.end())?;
                segment.file.write_all_at(piece, segment.place(segment.end()))?;
                segment.length += length;
            }
            segment.file.sync_data()?;
        }
        fs::rename(&temporary, self.directory.join(segment_name(header.base)))?;
        File::open(&self.directory)?.sync_all()?;
        Ok(segment)
    }

    /// Gives back the segments that end at or before `acked`, but for the one that is written to. The
    /// first that stays tells so: the checkpoint may be behind `acked` for as long as it cannot be
    /// written, and what was given back must not be taken for missing then.
    pub(crate) fn release(&self, acked: u64) {
        let kept = {
            let state = lock(&self.state);
            let delivered = state.segments.iter().take_while(|segment| segment.end() <= acked);
            let count = delivered.count().min(state.segments.len().saturating_sub(1));
            if count == 0 {
                return;
            }
            state.segments[count].clone()
        };
        // Without the lock, as syncing may take long.
        if let Err(error) = kept.tell_all_before_delivered(&self.path_of(&kept)) {
            let path = self.path_of(&kept);
            tracing::warn!(path = %path.display(), %error, "a segment cannot be given back yet");
            return;
        }
        let mut state = lock(&self.state);
        let known = |segment: &Segment| Arc::ptr_eq(&segment.file, &kept.file);
        let Some(count) = state.segments.iter().position(known) else {
            // It was written anew meanwhile, and does not tell it.
            return;
        };
        state.segments[count].header.after = 0;
        for _ in 0..count {
            let Some(path) = state.segments.front().map(|first| self.path_of(first)) else {
                return;
            };
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a segment cannot be removed");
                return;
            }
            state.segments.pop_front();
        }
    }

    fn path_of(&self, segment: &Segment) -> PathBuf {
        self.directory.join(segment_name(segment.base()))
    }

    /// Reads into `buffer` from `offset`, at most up to the end of a segment. `None` if nothing is
    /// there (yet).
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<Option<Piece>> {
        let (before, segment, is_last) = {
            let state = lock(&self.state);
            // One without a record behind the offset is passed over: a kill may leave an empty one
            // that begins far behind what was delivered.
            let has_more = |segment: &Segment| segment.end() > offset.max(segment.base());
            let Some(index) = state.segments.iter().position(has_more) else {
                return Ok(None);
            };
            let is_last = index + 1 == state.segments.len() && !state.abandoned;
            let before = index.checked_sub(1).map(|before| state.segments[before].clone());
            (before, state.segments[index].clone(), is_last)
        };
        let lost = match before {
            Some(before) if offset < segment.base() && before.end() < segment.header.after => {
                let lost = lost_in(&before, segment.header.first)?;
                if lost.0.is_none() { lost.1 } else { 0 }
            }
            _ => 0,
        };
        let offset = offset.max(segment.base());
        let available = segment.end() - offset;
        let wanted = buffer.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        segment.read(&mut buffer[..wanted], offset)?;
        let last = wanted as u64 == available && !is_last;
        Ok(Some(Piece { offset, length: wanted, last, lost }))
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }
}

/// A segment that is being made.
const TEMPORARY: &str = "segment.new";

/// Makes the directory of a spool, safe from a power cut; neither it nor the one that holds all
/// spools may be a link.
fn make(directory: &Path) -> Result<(), SpoolError> {
    for path in directory.parent().into_iter().chain([directory]) {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => {
                return Err(SpoolError::Symlink { path: path.display().to_string() });
            }
            Ok(_) => {}
            Err(_) => fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(SpoolError::io(path))?,
        }
        // Also if it was there: the start that made it may have ended before it came to this.
        let holder = path.parent().unwrap_or(path);
        File::open(holder).and_then(|holder| holder.sync_all()).map_err(SpoolError::io(holder))?;
    }
    Ok(())
}

/// Removes what a crash left of a segment that was being made.
fn remove_leftovers(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(TEMPORARY)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
