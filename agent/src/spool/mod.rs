//! The spool: messages on disk from when they are accepted until Kafka has acknowledged them.
//!
//! Segments, `<base offset>.seg`, are only ever appended to, by one write per batch; a start begins a
//! new segment and never touches an old one. Owns SPL-1: what [`Spool::append`] has taken survives a
//! kill of the process at once, and a power cut after [`Spool::sync`]. Owns SPL-2: the offsets go up
//! without repeating, across restarts. Knows nothing of the network or of Kafka.

mod record;

pub(crate) use record::{Found, Message, decode, encode};

use crate::accounting::{DropReason, Drops};
use crate::sync::lock;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A segment is this part of the spool, but not larger than the second number: space is given back
/// a segment at a time.
const SEGMENT_SHARE: (u64, u64) = (16, 64 << 20);

/// Why messages were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("the spool is full")]
    Full,
    #[error("the spool cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Spool {
    name: String,
    directory: PathBuf,
    bytes_max: u64,
    segment_bytes: u64,
    sync_interval: Duration,
    state: Mutex<State>,
    /// The offset behind the last message; readers go up to here.
    end: AtomicU64,
    /// Messages that are or were in the spool since the start.
    appended: AtomicU64,
    drops: Mutex<Drops>,
}

#[derive(Debug)]
struct State {
    /// In order, without overlap; the last one is written to.
    segments: VecDeque<Segment>,
    /// Set when the last segment cannot be trusted any more; the next append begins another.
    abandoned: bool,
    synced_to: u64,
    synced_at: Instant,
}

#[derive(Debug, Clone)]
struct Segment {
    base: u64,
    length: u64,
    file: Arc<File>,
}

impl Segment {
    fn end(&self) -> u64 {
        self.base + self.length
    }
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
}

impl Spool {
    /// Opens the spool in `directory`, whose content has been delivered up to `acked`.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub(crate) fn open(
        directory: &Path,
        name: &str,
        acked: u64,
        bytes_max: u64,
        sync_interval: Duration,
    ) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let segments = load(directory)?;
        let end = segments.back().map_or(0, Segment::end).max(acked);
        let segment_bytes = (bytes_max / SEGMENT_SHARE.0).min(SEGMENT_SHARE.1);
        let state = State { segments, abandoned: true, synced_to: end, synced_at: Instant::now() };
        let spool = Self {
            name: name.to_owned(),
            directory: directory.to_owned(),
            bytes_max,
            segment_bytes,
            sync_interval,
            state: Mutex::new(state),
            end: AtomicU64::new(end),
            appended: AtomicU64::new(0),
            drops: Mutex::default(),
        };
        spool.release(acked);
        spool.appended.store(spool.count_from(acked), Ordering::Relaxed);
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
            .map(|segment| segment.base.max(offset))
            .next()
            .unwrap_or_else(|| offset.max(self.end()))
    }

    /// Messages taken since the start, with those that the start found.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Acquire)
    }

    /// Counts messages that were not taken.
    pub(crate) fn count_drop(&self, reason: DropReason, count: u64) {
        lock(&self.drops).add(reason, count);
    }

    pub(crate) fn drops(&self) -> Drops {
        *lock(&self.drops)
    }

    /// Appends `count` encoded records, all or none.
    ///
    /// # Errors
    /// The spool or the disk is full, or the disk fails.
    pub(crate) fn append(&self, records: &[u8], count: u64) -> Result<(), AppendError> {
        let state = &mut *lock(&self.state);
        let kept: u64 = state.segments.iter().map(|segment| segment.length).sum();
        if kept + records.len() as u64 > self.bytes_max {
            return Err(AppendError::Full);
        }
        let full = state.segments.back().is_none_or(|last| last.length >= self.segment_bytes);
        if full || state.abandoned {
            self.begin_segment(state)?;
        }
        let Some(last) = state.segments.back_mut() else { return Err(AppendError::Full) };
        if let Err(error) = last.file.write_all_at(records, last.length) {
            // What was written of it is cut off; if that fails too, the segment ends here and what
            // stands behind its end is skipped as damaged by whoever reads it after a restart.
            state.abandoned = last.file.set_len(last.length).is_err();
            return Err(match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::Full,
                _ => AppendError::Io(error),
            });
        }
        last.length += records.len() as u64;
        self.appended.fetch_add(count, Ordering::Release);
        self.end.store(last.end(), Ordering::Release);
        Ok(())
    }

    fn begin_segment(&self, state: &mut State) -> io::Result<()> {
        if let Some(last) = state.segments.back() {
            last.file.sync_data()?;
        }
        let base = self.end();
        let path = self.directory.join(segment_name(base));
        let mut options = OpenOptions::new();
        // An empty segment of the same base may be there from an earlier start.
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = Arc::new(options.open(path)?);
        File::open(&self.directory)?.sync_all()?;
        state.segments.retain(|segment| segment.base != base);
        state.segments.push_back(Segment { base, length: 0, file });
        state.abandoned = false;
        Ok(())
    }

    /// Syncs if the interval is over; a segment that cannot be synced is written to no more.
    pub(crate) fn sync(&self, now: bool) {
        let (file, end) = {
            let mut state = lock(&self.state);
            let end = self.end();
            let due = now || state.synced_at.elapsed() >= self.sync_interval;
            if !due || state.synced_to >= end {
                return;
            }
            state.synced_at = Instant::now();
            let Some(last) = state.segments.back() else { return };
            (last.file.clone(), end)
        };
        let outcome = file.sync_data();
        let mut state = lock(&self.state);
        match outcome {
            Ok(()) => state.synced_to = end,
            Err(error) => {
                // The kernel forgets what it could not write after telling once, so trying again
                // would prove nothing.
                tracing::error!(spool = self.name, %error, "the spool cannot be synced; a new segment is begun");
                state.abandoned = true;
                state.synced_to = end;
            }
        }
    }

    /// Gives back the segments that end at or before `acked`, but for the one that is written to.
    pub(crate) fn release(&self, acked: u64) {
        let mut state = lock(&self.state);
        while state.segments.len() > 1
            && let Some(first) = state.segments.front()
            && first.end() <= acked
        {
            let path = self.directory.join(segment_name(first.base));
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a segment cannot be removed");
                return;
            }
            state.segments.pop_front();
        }
    }

    /// Reads into `buffer` from `offset`, at most up to the end of a segment. `None` if nothing is
    /// there (yet).
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<Option<Piece>> {
        let (segment, is_last) = {
            let state = lock(&self.state);
            let mut segments = state.segments.iter();
            let Some(segment) = segments.find(|segment| segment.end() > offset) else {
                return Ok(None);
            };
            (segment.clone(), segments.next().is_none() && !state.abandoned)
        };
        let offset = offset.max(segment.base);
        let available = segment.end() - offset;
        let wanted = buffer.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        segment.file.read_exact_at(&mut buffer[..wanted], offset - segment.base)?;
        let last = wanted as u64 == available && !is_last;
        Ok(Some(Piece { offset, length: wanted, last }))
    }

    /// Counts what a reader will find from `offset` on.
    fn count_from(&self, offset: u64) -> u64 {
        let mut buffer = vec![0; 1 << 20];
        let (mut offset, mut count) = (offset, 0);
        while let Ok(Some(piece)) = self.read(offset, &mut buffer) {
            let data = &buffer[..piece.length];
            let mut at = 0;
            while at < data.len() {
                at = match decode(data, at, piece.last) {
                    Found::Message { end, .. } | Found::Damaged { end } => end,
                    Found::Incomplete => break,
                };
                count += 1;
            }
            if at == 0 {
                break;
            }
            offset = piece.offset + at as u64;
        }
        count
    }
}

fn segment_name(base: u64) -> String {
    format!("{base:020}.seg")
}

/// The segments of a directory in order; other files are left alone.
fn load(directory: &Path) -> io::Result<VecDeque<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let base = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".seg"))
            .and_then(|digits| digits.parse::<u64>().ok());
        if let Some(base) = base {
            let file = Arc::new(File::open(&path)?);
            let length = file.metadata()?.len();
            segments.push(Segment { base, length, file });
        }
    }
    segments.sort_by_key(|segment| segment.base);
    // What a segment has beyond the beginning of the next one was never part of the spool.
    for index in 1..segments.len() {
        let next = segments[index].base;
        let segment = &mut segments[index - 1];
        segment.length = segment.length.min(next - segment.base);
    }
    Ok(segments.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn open(directory: &Path, acked: u64) -> Spool {
        Spool::open(directory, "test", acked, 64 << 10, Duration::from_secs(1)).unwrap()
    }

    fn append(spool: &Spool, texts: &[&str]) -> Result<(), AppendError> {
        let mut records = Vec::new();
        for text in texts {
            let received_at = Timestamp::from_second(1).unwrap();
            let bytes = text.as_bytes();
            encode(
                &Message { received_at, original_bytes: None, sender: b"", bytes },
                &mut records,
            );
        }
        spool.append(&records, texts.len() as u64)
    }

    /// Everything from `offset` on with the offsets, and where it ends.
    fn replay(spool: &Spool, mut offset: u64) -> (Vec<(u64, String)>, u64) {
        let mut messages = Vec::new();
        let mut buffer = vec![0; 4096];
        while let Some(piece) = spool.read(offset, &mut buffer).unwrap() {
            let data = &buffer[..piece.length];
            let mut at = 0;
            while at < data.len() {
                match decode(data, at, piece.last) {
                    Found::Message { message, end } => {
                        let text = String::from_utf8(message.bytes.to_vec()).unwrap();
                        messages.push((piece.offset + at as u64, text));
                        at = end;
                    }
                    Found::Damaged { end } => at = end,
                    Found::Incomplete => break,
                }
            }
            offset = piece.offset + at as u64;
        }
        (messages, offset)
    }

    fn texts(messages: &[(u64, String)]) -> Vec<&str> {
        messages.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn what_was_appended_is_replayed_in_order_across_reopening_until_it_is_released() {
        let directory = tempfile::tempdir().unwrap();
        let spool = open(directory.path(), 0);
        append(&spool, &["a", "b"]).unwrap();
        append(&spool, &["c"]).unwrap();
        let (messages, end) = replay(&spool, 0);
        assert_eq!(texts(&messages), ["a", "b", "c"]);
        drop(spool);
        let spool = open(directory.path(), messages[1].0);
        assert_eq!(spool.appended(), 2);
        append(&spool, &["d"]).unwrap();
        let (again, _) = replay(&spool, messages[1].0);
        assert_eq!(texts(&again), ["b", "c", "d"]);
        assert_eq!(again[0].0, messages[1].0);
        assert!(again[2].0 >= end);
        spool.release(end);
        drop(spool);
        let spool = open(directory.path(), end);
        assert_eq!(texts(&replay(&spool, end).0), ["d"]);
        assert_eq!(spool.first_from(0), end);
    }

    #[test]
    fn offsets_go_on_even_if_the_directory_was_lost() {
        let directory = tempfile::tempdir().unwrap();
        let spool = open(&directory.path().join("x"), 5000);
        append(&spool, &["a"]).unwrap();
        assert_eq!(replay(&spool, 5000).0, [(5000, "a".to_owned())]);
    }

    #[test]
    fn a_full_spool_takes_nothing_until_something_is_released() {
        let directory = tempfile::tempdir().unwrap();
        let spool = open(directory.path(), 0);
        let text = "x".repeat(3000);
        let mut taken = 0;
        let error = loop {
            match append(&spool, &[&text]) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AppendError::Full));
        assert_eq!(taken, (64 << 10) / (3000 + 29));
        let (messages, end) = replay(&spool, 0);
        assert_eq!(messages.len(), taken);
        spool.release(end);
        append(&spool, &[&text]).unwrap();
    }

    #[test]
    fn any_bytes_in_a_segment_are_survived() {
        let directory = tempfile::tempdir().unwrap();
        let spool = open(directory.path(), 0);
        append(&spool, &["a", "b", "c"]).unwrap();
        let (messages, end) = replay(&spool, 0);
        drop(spool);
        let path = directory.path().join(segment_name(0));
        let whole = fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let spool = open(directory.path(), 0);
            append(&spool, &["d"]).unwrap();
            let (found, _) = replay(&spool, 0);
            let kept = messages.iter().filter(|(offset, _)| {
                let next = messages.iter().map(|m| m.0).find(|next| next > offset);
                next.unwrap_or(end) <= length as u64
            });
            assert_eq!(found.len(), kept.count() + 1, "{length}");
            assert_eq!(found.last().unwrap().1, "d");
            drop(spool);
            for other in fs::read_dir(directory.path()).unwrap() {
                fs::remove_file(other.unwrap().path()).unwrap();
            }
        }
    }
}
