//! Walks the batches of a segment file from its start, as far as they are sound.
//!
//! Used when a log is opened and to look a time up. It survives any content: what is not a batch ends
//! the walk. Checksums are checked where the file may end in a torn write, which is only the newest
//! segment; older ones were synced before the next was begun, and there bodies are skipped unread.

use super::batch::{BatchHeader, HEADER_BYTES};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once: small batches come many at a time, a large one costs one read of its header.
const READ_BYTES: usize = 256 << 10;

/// How much of each batch is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The header only.
    Headers,
    /// Header and checksum.
    Checksums,
}

/// The walk; `position` ends behind the last sound batch.
#[derive(Debug)]
pub(crate) struct Scan<'f> {
    file: &'f File,
    depth: Depth,
    file_bytes: u64,
    position: u64,
    /// Offset that the next batch must have: the checksum does not cover it. `None`: any.
    expected_offset: Option<i64>,
    read_bytes: usize,
    buffer: Vec<u8>,
    buffer_from: u64,
}

impl<'f> Scan<'f> {
    /// Begins at `position`, where a batch is expected, of that offset if it is given.
    pub(crate) fn new(
        file: &'f File,
        file_bytes: u64,
        position: u64,
        expected_offset: Option<i64>,
        depth: Depth,
    ) -> Self {
        Self {
            file,
            depth,
            file_bytes,
            position,
            expected_offset,
            read_bytes: READ_BYTES,
            buffer: Vec::new(),
            buffer_from: 0,
        }
    }

    /// Reads less at once, where only few batches will be visited.
    pub(crate) fn set_read_bytes(&mut self, read_bytes: usize) {
        self.read_bytes = read_bytes;
    }

    /// Behind the last batch that [`Scan::next`] has returned.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch and its position; `None` at the end and where the bytes are not a batch.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, BatchHeader)>> {
        let position = self.position;
        if self.file_bytes - position < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let Ok(header) = BatchHeader::read(self.bytes(position, HEADER_BYTES)?) else {
            return Ok(None);
        };
        let in_order = self.expected_offset.is_none_or(|offset| offset == header.base_offset);
        if !in_order || self.file_bytes - position < header.bytes as u64 {
            return Ok(None);
        }
        if self.depth == Depth::Checksums {
            let whole = self.bytes(position, header.bytes)?;
            if BatchHeader::read_checked(whole).is_err() {
                return Ok(None);
            }
        }
        self.position = position + header.bytes as u64;
        self.expected_offset = Some(header.next_offset());
        Ok(Some((position, header)))
    }

    /// `length` bytes at `position`, which lie within the file.
    fn bytes(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let buffer_end = self.buffer_from + self.buffer.len() as u64;
        if position < self.buffer_from || position + length as u64 > buffer_end {
            let left = self.file_bytes - position;
            let read_bytes = left.min(length.max(self.read_bytes) as u64) as usize;
            self.buffer.resize(read_bytes, 0);
            self.file.read_exact_at(&mut self.buffer, position)?;
            self.buffer_from = position;
        }
        let from = (position - self.buffer_from) as usize;
        Ok(&self.buffer[from..from + length])
    }
}
