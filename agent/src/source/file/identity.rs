//! Knowing files again.

use super::body::Body;
use crate::checkpoint::FileContent;
use crate::delivery::{GUARD_BYTES, Position};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// How much of a file's beginning tells it from others.
pub(super) const HEAD_BYTES: u64 = 1024;

/// A file as the kernel knows it: valid while it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl Key {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl FileContent {
    /// What a file that is begun now is known by.
    pub(super) fn new(path: &Path, key: Key, born_ns: u64) -> Self {
        Self {
            path: path.display().to_string(),
            device: key.device,
            inode: key.inode,
            born_ns,
            epoch: 0,
            head_length: 0,
            head_hash: 0,
            replaced: false,
            unread: 0,
            cuts: Vec::new(),
        }
    }
}

/// Birth time in nanoseconds since 1970; 0 where the file system keeps none.
pub(super) fn born_ns(metadata: &Metadata) -> u64 {
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    born.map_or(0, |since| since.as_nanos() as u64)
}

/// Fills `buffer` from `offset` as far as the file goes; returns how far.
///
/// # Errors
/// What the kernel says.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether the file begins as `content` says and has the bytes of `position` before it: the same
/// content, perhaps grown.
///
/// # Errors
/// What the kernel says: then it is not known.
pub(super) fn holds(body: &Body, content: &FileContent, position: &Position) -> io::Result<bool> {
    let is_alike = || -> io::Result<bool> {
        let (_, hash) = body.head(u64::from(content.head_length))?;
        Ok(hash == content.head_hash && body.guard_at(position.offset)? == position.guard)
    };
    match is_alike() {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        outcome => outcome,
    }
}

/// Whether the `size` bytes that there are of `body` are the first ones of `original`, by their
/// beginning and end. Where `original` is shorter, it has just been emptied, and nothing can be said.
///
/// # Errors
/// What the kernel says.
pub(super) fn begins(body: &Body, size: u64, original: &Body) -> io::Result<bool> {
    let (head, tail) = (size.min(HEAD_BYTES), size.min(GUARD_BYTES));
    for (start, length) in [(0, head), (size - tail, tail)] {
        let (mut ours, mut theirs) = (vec![0; length as usize], vec![0; length as usize]);
        let ours_count = body.read_at(&mut ours, start)?;
        let theirs_count = original.read_at(&mut theirs, start)?;
        let count = ours_count.min(theirs_count);
        if ours[..count] != theirs[..count] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where to begin so that only lines from now on are read: behind the last line end.
///
/// # Errors
/// What the kernel says.
pub(super) fn end_of_lines(body: &Body, size: u64, line_bytes_max: usize) -> io::Result<u64> {
    let window = size.min(line_bytes_max as u64);
    let mut bytes = vec![0; window as usize];
    let count = body.read_at(&mut bytes, size - window)?;
    let newline = memchr::memrchr(b'\n', &bytes[..count]);
    Ok(newline.map_or(size, |at| size - window + at as u64 + 1))
}
