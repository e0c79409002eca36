//! One file of a partition's log: batches back to back, named after the offset it begins at.
//!
//! The file is opened with `O_APPEND`: a writer that kept its own position once overwrote the head of
//! a segment after a restart. The index is sparse and lives in memory, rebuilt by a scan at open; a
//! look-up walks from the nearest entry. Only the newest segment keeps its file open, so that a long
//! log needs no more descriptors than a short one.
//!
//! Invariant: `bytes` is the length of the file up to its last whole batch; a write that fails half
//! way is cut off again before anything else happens.

use super::batch::BatchHeader;
use super::scan::{Depth, Scan};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Least distance between two index entries of the segment that is written: how exactly the bytes
/// behind an offset are known, against 24 bytes of memory per entry.
const SPACING_BYTES_ACTIVE: u64 = 512;
/// The same once it is closed: at most 800 KiB of memory per GiB of log.
const SPACING_BYTES_CLOSED: u64 = 32 << 10;
/// Read at once on the way from an index entry to the wanted batch.
const LOOKUP_READ_BYTES: usize = 4 << 10;
const EXTENSION: &str = "log";

#[derive(Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    base_offset: i64,
    next_offset: i64,
    bytes: u64,
    index: Vec<IndexEntry>,
    max_timestamp: i64,
    /// When the last batch was appended.
    appended: SystemTime,
    /// Only while this is the newest segment.
    file: Option<Arc<File>>,
}

#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    base_offset: i64,
    position: u64,
}

/// A place in a segment, readable without the lock of its log and even after its removal.
#[derive(Debug)]
pub(crate) struct Slice {
    file: Arc<File>,
    /// Start of a batch at or before the wanted offset.
    position: u64,
    end: u64,
    offset: i64,
}

impl Segment {
    /// Creates an empty segment that begins at `base_offset`; a leftover of that name is emptied.
    pub(crate) fn create(directory: &Path, base_offset: i64) -> io::Result<Self> {
        let path = directory.join(file_name(base_offset));
        let file = open_for_append(&path)?;
        file.set_len(0)?;
        File::open(directory)?.sync_all()?;
        Ok(Self {
            path,
            base_offset,
            next_offset: base_offset,
            bytes: 0,
            index: Vec::new(),
            max_timestamp: -1,
            appended: SystemTime::now(),
            file: Some(Arc::new(file)),
        })
    }

    /// Opens an existing segment and hands each of its batches to `visit`.
    ///
    /// The newest one is cut behind its last sound batch, an older one is only read up to there.
    pub(crate) fn open(
        directory: &Path,
        base_offset: i64,
        newest: bool,
        mut visit: impl FnMut(&BatchHeader),
    ) -> io::Result<Self> {
        let path = directory.join(file_name(base_offset));
        let file = if newest { open_for_append(&path)? } else { File::open(&path)? };
        let metadata = file.metadata()?;
        let mut segment = Self {
            path,
            base_offset,
            next_offset: base_offset,
            bytes: 0,
            index: Vec::new(),
            max_timestamp: -1,
            appended: metadata.modified()?,
            file: None,
        };
        let depth = if newest { Depth::Checksums } else { Depth::Headers };
        let mut scan = Scan::new(&file, metadata.len(), 0, Some(base_offset), depth);
        while let Some((_, header)) = scan.next()? {
            segment.note(&header, if newest { SPACING_BYTES_ACTIVE } else { SPACING_BYTES_CLOSED });
            visit(&header);
        }
        if segment.bytes < metadata.len() {
            segment.report_tail(metadata.len(), newest);
        }
        if newest {
            file.set_len(segment.bytes)?;
            segment.file = Some(Arc::new(file));
        }
        Ok(segment)
    }

    fn report_tail(&self, file_bytes: u64, newest: bool) {
        let what = if newest { "cut an unfinished batch off" } else { "a segment is damaged" };
        tracing::warn!(
            path = %self.path.display(),
            bytes = file_bytes - self.bytes,
            next_offset = self.next_offset,
            "{what}"
        );
    }

    /// Offset of the first record that can be in here.
    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Offset behind the last record.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn appended(&self) -> SystemTime {
        self.appended
    }

    /// The file, for syncing; `None` once closed, when it has been synced.
    pub(crate) fn file(&self) -> Option<&Arc<File>> {
        self.file.as_ref()
    }

    /// Appends a batch that was placed at [`Segment::next_offset`].
    ///
    /// # Errors
    /// Nothing of the batch is in the file then.
    ///
    /// # Panics
    /// If the segment is closed.
    pub(crate) fn append(&mut self, batch: &[u8], header: &BatchHeader) -> Result<(), AppendError> {
        let file = self.file.as_ref().expect("only the newest segment is appended to");
        if let Err(error) = (&**file).write_all(batch) {
            return Err(match file.set_len(self.bytes) {
                Ok(()) => AppendError::Refused(error),
                Err(uncut) => AppendError::Torn(uncut),
            });
        }
        self.appended = SystemTime::now();
        self.note(header, SPACING_BYTES_ACTIVE);
        Ok(())
    }

    /// Takes a batch that is in the file into account.
    fn note(&mut self, header: &BatchHeader, spacing_bytes: u64) {
        let far = |last: &IndexEntry| self.bytes - last.position >= spacing_bytes;
        if self.index.last().is_none_or(far) {
            let entry = IndexEntry { base_offset: header.base_offset, position: self.bytes };
            self.index.push(entry);
        }
        self.bytes += header.bytes as u64;
        self.next_offset = header.next_offset();
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
    }

    /// Makes all that was appended durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.sync_all())
    }

    /// Closes the synced file, after which nothing is appended.
    pub(crate) fn close(&mut self) {
        self.file = None;
        let mut kept_position = None;
        self.index.retain(|entry| {
            let keep =
                kept_position.is_none_or(|kept| entry.position - kept >= SPACING_BYTES_CLOSED);
            if keep {
                kept_position = Some(entry.position);
            }
            keep
        });
        self.index.shrink_to_fit();
    }

    /// Removes the file; readers that hold a [`Slice`] finish undisturbed.
    pub(crate) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    /// Where the batch with `offset`, or else the first one behind it, is to be found.
    pub(crate) fn slice(&self, offset: i64) -> io::Result<Slice> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::new(File::open(&self.path)?),
        };
        Ok(Slice { file, position: self.position_before(offset), end: self.bytes, offset })
    }

    /// Bytes from about `offset` to the end, too many by less than the spacing of the index.
    pub(crate) fn bytes_from(&self, offset: i64) -> u64 {
        if offset >= self.next_offset { 0 } else { self.bytes - self.position_before(offset) }
    }

    fn position_before(&self, offset: i64) -> u64 {
        let after = self.index.partition_point(|entry| entry.base_offset <= offset);
        after.checked_sub(1).map_or(0, |before| self.index[before].position)
    }

    /// The first batch with records from `offset_min` on that holds one of `timestamp` or later.
    pub(crate) fn find_time(
        &self,
        timestamp: i64,
        offset_min: i64,
    ) -> io::Result<Option<BatchHeader>> {
        if self.max_timestamp < timestamp {
            return Ok(None);
        }
        let slice = self.slice(self.base_offset)?;
        let mut scan =
            Scan::new(&slice.file, self.bytes, 0, Some(self.base_offset), Depth::Headers);
        while let Some((_, header)) = scan.next()? {
            if header.max_timestamp >= timestamp && header.last_offset() >= offset_min {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// The file is as it was.
    #[error("cannot append: {0}")]
    Refused(io::Error),
    /// The file ends in a piece of the batch; nothing may be appended until it has been opened anew.
    #[error("cannot remove a half written batch: {0}")]
    Torn(io::Error),
}

impl Slice {
    /// Whole batches from the wanted offset on, at most `bytes_max` of them together; with
    /// `first_whole` the first one even if it is larger.
    ///
    /// # Errors
    /// The file cannot be read, or was damaged since it was indexed.
    pub(crate) fn read(&self, bytes_max: usize, first_whole: bool) -> io::Result<Vec<u8>> {
        let mut scan = Scan::new(&self.file, self.end, self.position, None, Depth::Headers);
        scan.set_read_bytes(LOOKUP_READ_BYTES);
        let (start, first) = loop {
            match scan.next()? {
                Some((_, header)) if header.last_offset() < self.offset => {}
                Some(found) => break found,
                None if scan.position() == self.end => return Ok(Vec::new()),
                None => return Err(io::Error::other("a segment was damaged after it was opened")),
            }
        };
        let left = self.end - start;
        let least = if first_whole { first.bytes } else { 0 };
        let mut batches = vec![0; left.min(bytes_max.max(least) as u64) as usize];
        self.file.read_exact_at(&mut batches, start)?;
        batches.truncate(whole_batches(&batches));
        Ok(batches)
    }
}

/// Length of the whole batches that `bytes` begin with.
fn whole_batches(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Ok(header) = BatchHeader::read(&bytes[end..]) {
        if bytes.len() - end < header.bytes {
            break;
        }
        end += header.bytes;
    }
    end
}

/// The base offsets of the segments in a partition's directory, ascending.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<i64>> {
    let mut base_offsets = Vec::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            base_offsets.extend(stem.and_then(|digits| digits.parse::<i64>().ok()));
        }
    }
    base_offsets.retain(|base_offset| *base_offset >= 0);
    base_offsets.sort_unstable();
    Ok(base_offsets)
}

fn file_name(base_offset: i64) -> String {
    format!("{base_offset:020}.{EXTENSION}")
}

fn open_for_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}
