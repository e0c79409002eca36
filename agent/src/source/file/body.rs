//! What a source of type file reads: the bytes of a file, or those that an archive holds.

use super::Encoding;
use super::archive::Archive;
use super::identity::{HEAD_BYTES, read_at};
use super::open_files::Slot;
use crate::delivery::{GUARD_BYTES, Guard, content_hash};
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};

/// By so much the end of a file is looked at.
pub(super) const BLOCK_BYTES: usize = 4096;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Bytes,
    _slot: Slot,
}

#[derive(Debug)]
enum Bytes {
    Plain(File),
    Archive(Archive),
}

impl Body {
    pub(super) fn plain(file: File, slot: Slot) -> Self {
        Self { bytes: Bytes::Plain(file), _slot: slot }
    }

    pub(super) fn archive(archive: Archive, slot: Slot) -> Self {
        Self { bytes: Bytes::Archive(archive), _slot: slot }
    }

    /// The archive, if it is one.
    pub(super) fn as_archive(&self) -> Option<&Archive> {
        match &self.bytes {
            Bytes::Plain(_) => None,
            Bytes::Archive(archive) => Some(archive),
        }
    }

    /// Fills `buffer` from `offset` as far as the content goes; returns how far.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.bytes {
            Bytes::Plain(file) => read_at(file, buffer, offset),
            Bytes::Archive(archive) => archive.read_at(buffer, offset),
        }
    }

    /// The encoding that the content's beginning tells, else `configured`; `None` while it has not begun.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn encoding(&self, configured: Encoding) -> io::Result<Option<Encoding>> {
        let mut head = [0; 2];
        let count = self.read_at(&mut head, 0)?;
        Ok(Encoding::told_by(&head[..count], configured))
    }

    /// Whether the file's bytes from `offset` on are 0, by the last ones: a file that was made in advance,
    /// to be filled with lines. Behind a hole that a writer has left there are some.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn is_blank_from(&self, offset: u64) -> io::Result<bool> {
        let size = self.metadata()?.len();
        let length = size.saturating_sub(offset).min(BLOCK_BYTES as u64) as usize;
        let mut last = [0; BLOCK_BYTES];
        self.read_at(&mut last[..length], size - length as u64)?;
        Ok(last == [0; BLOCK_BYTES])
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_at(buffer, offset)? < buffer.len() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// The file as the kernel has it, compressed or not.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        match &self.bytes {
            Bytes::Plain(file) => file.metadata(),
            Bytes::Archive(archive) => archive.file().metadata(),
        }
    }

    /// The guard of a place in the content.
    ///
    /// # Errors
    /// What the kernel says, or that the content ends before.
    pub(super) fn guard_at(&self, offset: u64) -> io::Result<Guard> {
        let length = offset.min(GUARD_BYTES);
        let mut bytes = [0; GUARD_BYTES as usize];
        let bytes = &mut bytes[..length as usize];
        self.read_exact_at(bytes, offset - length)?;
        Ok(Guard::of(bytes))
    }

    /// Number and hash of the content's first bytes: those before `known`, and the whole lines behind it,
    /// which are written to no more; at most [`HEAD_BYTES`].
    ///
    /// # Errors
    /// What the kernel says, or that the content ends before `known`.
    pub(super) fn head_of_lines(&self, known: u64) -> io::Result<(u16, u64)> {
        let mut bytes = [0; HEAD_BYTES as usize];
        let count = self.read_at(&mut bytes, 0)?;
        let lines = memchr::memrchr(b'\n', &bytes[..count]).map_or(0, |at| at as u64 + 1);
        self.head(lines.max(known))
    }

    /// Number and hash of the content's first bytes, at most [`HEAD_BYTES`] and not beyond `limit`.
    ///
    /// # Errors
    /// What the kernel says, or that the content ends before.
    pub(super) fn head(&self, limit: u64) -> io::Result<(u16, u64)> {
        let length = limit.min(HEAD_BYTES);
        let mut bytes = [0; HEAD_BYTES as usize];
        let bytes = &mut bytes[..length as usize];
        self.read_exact_at(bytes, 0)?;
        Ok((length as u16, content_hash(bytes)))
    }
}
