//! The log of one partition: its segments, its bounds, and what it remembers of producers.
//!
//! Offsets are dense from append to append and survive restarts; the start moves forward only, by
//! retention (whole closed segments) or on request (durably, before it is answered). Retention by time
//! goes by when a segment was last appended to, not by the producers' time stamps: events replayed from
//! old files are not deleted before anyone could read them.
//!
//! A disk that fails in the middle of a write stops the log: it answers no appends until it is opened
//! anew, which cuts the torn end off.

use super::batch::{BatchHeader, place, stamp};
use super::producers::{Producers, SequenceFault, Verdict};
use super::segment::{self, AppendError, Segment, Slice};
use crate::files;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const START_FILE: &str = "start-offset";

/// How large segments grow and how long they are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLimits {
    pub(crate) segment_bytes: u64,
    /// The oldest segments go while the others hold at least so much.
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) retention: Option<Duration>,
    /// The time of a record is that of its arrival, and not its producer's.
    pub(crate) stamps: bool,
}

#[derive(Debug)]
pub(crate) struct PartitionLog {
    directory: PathBuf,
    /// Oldest first, never empty; the last one is written to.
    segments: Vec<Segment>,
    start_offset: i64,
    producers: Producers,
    /// Something was appended since the last [`PartitionLog::take_unsynced`].
    unsynced: bool,
    /// The disk has failed.
    stopped: bool,
}

/// The answer to an append.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of the batch's first record, be it new or from before.
    pub(crate) base_offset: i64,
    pub(crate) duplicate: bool,
}

/// Why the log refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Sequence(#[from] SequenceFault),
    #[error("offset {offset} is not within {start} to {end}")]
    OutOfRange { offset: i64, start: i64, end: i64 },
    #[error("storage: {0}")]
    Storage(#[from] io::Error),
    #[error("stopped after the disk failed; restart the broker once the disk is sound")]
    Stopped,
}

impl PartitionLog {
    /// Opens the log in `directory`, or begins one there.
    ///
    /// # Errors
    /// The directory cannot be created, read or written.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let start_file = files::read_number(&directory.join(START_FILE))?.unwrap_or(0);
        let mut producers = Producers::default();
        let base_offsets = segment::list(directory)?;
        let mut segments = Vec::with_capacity(base_offsets.len() + 1);
        for (index, base_offset) in base_offsets.iter().enumerate() {
            let newest = index + 1 == base_offsets.len();
            let remember = |header: &BatchHeader| producers.remember(header);
            segments.push(Segment::open(directory, *base_offset, newest, remember)?);
        }
        if segments.is_empty() {
            segments.push(Segment::create(directory, start_file)?);
        }
        let start_offset = start_file.max(segments[0].base_offset());
        let mut log = Self {
            directory: directory.to_owned(),
            segments,
            start_offset,
            producers,
            unsynced: false,
            stopped: false,
        };
        if log.end_offset() < start_offset {
            log.begin_segment_at(start_offset)?;
        }
        log.remove_below_start()?;
        Ok(log)
    }

    /// Offset of the oldest record that can be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// Offset that the next record gets.
    pub(crate) fn end_offset(&self) -> i64 {
        self.newest().next_offset()
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum()
    }

    /// Appends a checked batch, after writing its place into it.
    pub(crate) fn append(
        &mut self,
        batch: &mut [u8],
        header: &BatchHeader,
        leader_epoch: i32,
        limits: &LogLimits,
    ) -> Result<Appended, LogError> {
        if self.stopped {
            return Err(LogError::Stopped);
        }
        if let Verdict::Duplicate(base_offset) = self.producers.judge(header)? {
            return Ok(Appended { base_offset, duplicate: true });
        }
        let filled = self.newest().bytes();
        if filled > 0 && filled + batch.len() as u64 > limits.segment_bytes {
            self.begin_segment_at(self.end_offset())?;
        }
        let base_offset = self.end_offset();
        place(batch, base_offset, leader_epoch);
        let mut placed = BatchHeader { base_offset, ..*header };
        if limits.stamps {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            stamp(batch, &mut placed, now.as_millis() as i64);
        }
        match self.newest_mut().append(batch, &placed) {
            Ok(()) => {}
            Err(AppendError::Refused(error)) => return Err(LogError::Storage(error)),
            Err(AppendError::Torn(error)) => {
                self.stopped = true;
                return Err(LogError::Storage(error));
            }
        }
        self.unsynced = true;
        self.producers.remember(&placed);
        Ok(Appended { base_offset, duplicate: false })
    }

    /// Where the records from `offset` on are; `None` at the end of the log.
    pub(crate) fn slice(&self, offset: i64) -> Result<Option<Slice>, LogError> {
        let slice = self.from(offset)?.first().map(|segment| segment.slice(offset));
        Ok(slice.transpose()?)
    }

    /// Bytes from `offset` to the end, too many by less than the spacing of the index.
    pub(crate) fn bytes_from(&self, offset: i64) -> Result<u64, LogError> {
        Ok(self.from(offset)?.iter().map(|segment| segment.bytes_from(offset)).sum())
    }

    /// Offset and time of the first batch that holds a record of `timestamp` or later.
    ///
    /// The record itself may be a later one of that batch, which stays unopened.
    pub(crate) fn find_time(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        for segment in &self.segments {
            if let Some(header) = segment.find_time(timestamp, self.start_offset)? {
                let offset = header.base_offset.max(self.start_offset);
                return Ok(Some((offset, header.first_timestamp())));
            }
        }
        Ok(None)
    }

    /// Makes `offset` the start; what lies before it cannot be read any more.
    ///
    /// Returns the start, which does not move backwards.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Result<i64, LogError> {
        if offset > self.end_offset() || offset < 0 {
            return Err(self.out_of_range(offset));
        }
        if offset > self.start_offset {
            files::replace(&self.directory.join(START_FILE), offset.to_string().as_bytes())?;
            self.start_offset = offset;
            if offset == self.end_offset() && self.newest().bytes() > 0 {
                self.begin_segment_at(offset)?;
            }
            self.remove_below_start()?;
        }
        Ok(self.start_offset)
    }

    /// Removes what is over the limits; returns how many bytes that were.
    pub(crate) fn retain(&mut self, limits: &LogLimits, now: SystemTime) -> io::Result<u64> {
        let expired = |segment: &Segment| {
            let age = now.duration_since(segment.appended()).unwrap_or_default();
            limits.retention.is_some_and(|retention| age > retention)
        };
        if self.newest().bytes() > 0 && expired(self.newest()) {
            self.begin_segment_at(self.end_offset())?;
        }
        let mut kept_bytes = self.bytes();
        let bytes_before = kept_bytes;
        let closed = &self.segments[..self.segments.len() - 1];
        let over = closed.iter().take_while(|segment| {
            let rest = kept_bytes - segment.bytes();
            let goes = expired(segment) || limits.retention_bytes.is_some_and(|max| rest >= max);
            if goes {
                kept_bytes = rest;
            }
            goes
        });
        let removed = over.count();
        self.start_offset = self.start_offset.max(self.segments[removed].base_offset());
        self.remove_below_start()?;
        Ok(bytes_before - self.bytes())
    }

    /// The file to be synced, if something was appended since the last time.
    pub(crate) fn take_unsynced(&mut self) -> Option<Arc<File>> {
        let unsynced = std::mem::take(&mut self.unsynced);
        if unsynced { self.newest().file().cloned() } else { None }
    }

    /// Makes all that was appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        match self.take_unsynced().map_or(Ok(()), |file| file.sync_data()) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.stop();
                Err(LogError::Storage(error))
            }
        }
    }

    /// Takes no more appends: what has been acknowledged may not be on disk.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    fn begin_segment_at(&mut self, base_offset: i64) -> io::Result<()> {
        // The old one stays in use until the new one exists.
        self.newest().sync()?;
        let next = Segment::create(&self.directory, base_offset)?;
        self.newest_mut().close();
        self.segments.push(next);
        Ok(())
    }

    /// Removes the segments that lie wholly before the start.
    fn remove_below_start(&mut self) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments[1].base_offset() <= self.start_offset {
            self.segments.remove(0).remove()?;
        }
        Ok(())
    }

    /// The segments with records from `offset` on.
    fn from(&self, offset: i64) -> Result<&[Segment], LogError> {
        if !(self.start_offset..=self.end_offset()).contains(&offset) {
            return Err(self.out_of_range(offset));
        }
        let first = self.segments.partition_point(|segment| segment.next_offset() <= offset);
        Ok(&self.segments[first..])
    }

    fn out_of_range(&self, offset: i64) -> LogError {
        LogError::OutOfRange { offset, start: self.start_offset, end: self.end_offset() }
    }

    fn newest(&self) -> &Segment {
        self.segments.last().expect("a log has a segment to write to")
    }

    fn newest_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment to write to")
    }
}

#[cfg(test)]
mod tests;
