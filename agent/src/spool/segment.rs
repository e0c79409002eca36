//! A segment: a file of records behind a header that says where in the spool they stand.
//!
//! Header, 44 bytes, little-endian: magic (8 bytes), version (u32, 1), zero (u32), offset of the first
//! record (u64), offset behind the last record of the segment before (u64), number of the first record
//! since the spool began (u64), CRC-32C of the 40 bytes before (u32). Magic and version stay where they
//! are in every version. The records are described in `record.rs`. Before segments are given back, the
//! second of the offsets becomes 0 in the first one that stays: all in front of it is delivered.
//!
//! Two segments need not touch: a start leaves a gap (see `mod.rs`). The numbers tell such a gap from a
//! lost segment, and say exactly how many records a damaged stretch held. Owns SPL-3 for this file.

use super::record::{Found, decode};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

pub(super) const HEADER_BYTES: u64 = 44;
const MAGIC: [u8; 8] = *b"LWSPOOL\n";
const VERSION: u32 = 1;
/// What is read at once when a segment is walked over; larger than any record.
const WALK_BYTES: usize = 1 << 20;

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("the spool `{path}` cannot be used: {error}")]
    Io { path: String, error: io::Error },
    #[error(
        "the spool `{path}` is a symbolic link, which could lead anywhere; remove the link, or set \
         `agent.state_dir` to where the data shall be"
    )]
    Symlink { path: String },
    #[error(
        "the spool segment `{path}` is of version {version}, and this program knows version \
         {VERSION} only; use the program that wrote it, or set the segment aside with \
         `logweir-agent spool repair`"
    )]
    Version { path: String, version: u32 },
}

impl SpoolError {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |error| Self::Io { path: path.display().to_string(), error }
    }
}

impl From<SpoolError> for io::Error {
    fn from(error: SpoolError) -> Self {
        Self::other(error)
    }
}

/// What stands before the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The offset of the first record.
    pub(super) base: u64,
    /// The offset behind the last record before this segment.
    pub(super) after: u64,
    /// How many records the spool had before this segment.
    pub(super) first: u64,
}

/// Why there is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// The file ends within it, so nothing was written behind it either.
    Short,
    Damaged,
    Version(u32),
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for number in [self.base, self.after, self.first] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of the segment whose name says that it begins at `base`.
    pub(super) fn decode(bytes: &[u8], base: u64) -> Result<Self, HeaderFault> {
        let Some(bytes) = bytes.get(..HEADER_BYTES as usize) else {
            return Err(HeaderFault::Short);
        };
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let version = number(8) as u32;
        if bytes.starts_with(&MAGIC) && version != VERSION {
            return Err(HeaderFault::Version(version));
        }
        let mut crc = [0; 4];
        crc.copy_from_slice(&bytes[40..]);
        let header = Self { base: number(16), after: number(24), first: number(32) };
        let whole = bytes.starts_with(&MAGIC)
            && crc32c::crc32c(&bytes[..40]) == u32::from_le_bytes(crc)
            && header.base == base
            && header.after <= base;
        if whole { Ok(header) } else { Err(HeaderFault::Damaged) }
    }
}

/// A segment that is there, open.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) header: Header,
    /// Bytes of records.
    pub(super) length: u64,
    pub(super) file: Arc<File>,
    /// Of this length.
    walked: Arc<OnceLock<(u64, Walked)>>,
}

/// What a walk over the records found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Walked {
    pub(super) records: u64,
    /// Stretches that hold no record that can be read.
    pub(super) stretches: u64,
    pub(super) damaged_bytes: u64,
    /// Where the first of them begins.
    pub(super) first_stretch: Option<u64>,
}

impl Walked {
    /// Records, and one for each stretch.
    pub(super) fn items(&self) -> u64 {
        self.records + self.stretches
    }
}

impl Segment {
    pub(super) fn new(header: Header, length: u64, file: File) -> Self {
        Self { header, length, file: Arc::new(file), walked: Arc::default() }
    }

    pub(super) fn base(&self) -> u64 {
        self.header.base
    }

    pub(super) fn end(&self) -> u64 {
        self.header.base + self.length
    }

    /// Up to where all is known to be delivered by this segment being there.
    pub(super) fn delivered_before(&self) -> u64 {
        // Behind another segment `after` is never 0 unless it was set so.
        if self.header.after == 0 { self.base() } else { 0 }
    }

    /// Tells so, safe from a power cut; the segment is the one at `path`.
    pub(super) fn tell_all_before_delivered(&self, path: &Path) -> io::Result<()> {
        if self.header.after == 0 {
            return Ok(());
        }
        // Opened anew: an error of syncing is told once to each that has the file open, and the one
        // that the spool waits for must not be taken from it.
        let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let file = OpenOptions::new().write(true).custom_flags(nofollow).open(path)?;
        file.write_all_at(&Header { after: 0, ..self.header }.encode(), 0)?;
        file.sync_data()
    }

    /// Where the byte at `offset` of the spool stands in the file.
    pub(super) fn place(&self, offset: u64) -> u64 {
        HEADER_BYTES + (offset - self.header.base)
    }

    /// Fills `buffer` from `offset` on.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.place(offset))
    }

    /// Walks over what stands in front of `until`, and shows each find with its offset and length.
    pub(super) fn walk(
        &self,
        until: u64,
        mut show: impl FnMut(u64, u64, &Found<'_>),
    ) -> io::Result<Walked> {
        let mut walked = Walked::default();
        let mut buffer = Vec::new();
        let mut offset = self.base();
        let until = until.min(self.end());
        while offset < until {
            let wanted = (self.end() - offset).min(WALK_BYTES as u64) as usize;
            buffer.resize(wanted, 0);
            self.read(&mut buffer, offset)?;
            let last = offset + wanted as u64 == self.end();
            let mut at = 0;
            while at < wanted && offset + (at as u64) < until {
                let found = decode(&buffer, at, last);
                let end = match found {
                    Found::Message { end, .. } => {
                        walked.records += 1;
                        end
                    }
                    Found::Damaged { end } => {
                        walked.stretches += 1;
                        walked.damaged_bytes += (end - at) as u64;
                        walked.first_stretch.get_or_insert(offset + at as u64);
                        end
                    }
                    Found::Incomplete => break,
                };
                show(offset + at as u64, (end - at) as u64, &found);
                at = end;
            }
            if at == 0 {
                // Cannot be: no record is larger than what is read at once.
                break;
            }
            offset += at as u64;
        }
        Ok(walked)
    }

    #[cfg(test)]
    pub(super) fn was_walked(&self) -> bool {
        self.walked.get().is_some()
    }

    /// A walk over the whole segment; made once for a segment that does not grow.
    pub(super) fn walked(&self) -> io::Result<Walked> {
        if let Some((length, walked)) = self.walked.get()
            && *length == self.length
        {
            return Ok(*walked);
        }
        let walked = self.walk(u64::MAX, |_, _, _| {})?;
        let _ = self.walked.set((self.length, walked));
        Ok(walked)
    }
}

/// A file of a spool that may be a segment.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) base: u64,
    pub(super) path: PathBuf,
}

pub(super) fn segment_name(base: u64) -> String {
    format!("{base:020}.seg")
}

/// The segments in `directory` by their names, in order; other files are left alone.
pub(super) fn list(directory: &Path) -> Result<Vec<Listed>, SpoolError> {
    let fault = SpoolError::io(directory);
    let kind = fs::symlink_metadata(directory).map_err(&fault)?;
    if kind.is_symlink() {
        return Err(SpoolError::Symlink { path: directory.display().to_string() });
    }
    let mut listed = Vec::new();
    for entry in fs::read_dir(directory).map_err(&fault)? {
        let path = entry.map_err(&fault)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 20);
        if let Some(base) = digits.and_then(|digits| digits.parse().ok()) {
            listed.push(Listed { base, path });
        }
    }
    listed.sort_by_key(|listed| listed.base);
    Ok(listed)
}

/// Opens a segment for reading: the file, the bytes of records, and its header.
pub(super) fn open(
    listed: &Listed,
) -> Result<(File, u64, Result<Header, HeaderFault>), SpoolError> {
    let fault = SpoolError::io(&listed.path);
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(nofollow).open(&listed.path);
    let file = match file {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(SpoolError::Symlink { path: listed.path.display().to_string() });
        }
        other => other.map_err(&fault)?,
    };
    let length = file.metadata().map_err(&fault)?.len();
    let mut bytes = vec![0; length.min(HEADER_BYTES) as usize];
    file.read_exact_at(&mut bytes, 0).map_err(&fault)?;
    let header = Header::decode(&bytes, listed.base);
    Ok((file, length.saturating_sub(HEADER_BYTES), header))
}

/// Opens all segments of a spool. One whose header is damaged or cut off is placed by its name and its
/// neighbours.
///
/// # Errors
/// The directory cannot be read, is a link, or holds a version that is not known.
pub(super) fn load(directory: &Path) -> Result<Vec<Segment>, SpoolError> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut unnumbered = Vec::new();
    for listed in list(directory)? {
        let (file, length, header) = open(&listed)?;
        let header = match header {
            Ok(header) => header,
            Err(HeaderFault::Version(version)) => {
                let path = listed.path.display().to_string();
                return Err(SpoolError::Version { path, version });
            }
            Err(fault) => {
                // A short one holds nothing: a kill or a power cut came before its header was safe.
                if fault == HeaderFault::Damaged {
                    tracing::error!(
                        path = %listed.path.display(),
                        "the header of a spool segment is damaged; its records are read all the same"
                    );
                }
                unnumbered.push(segments.len());
                Header { base: listed.base, after: listed.base, first: 0 }
            }
        };
        // What a segment has beyond the beginning of the next one was never part of the spool.
        if let Some(before) = segments.last_mut() {
            before.length = before.length.min(header.base - before.base());
        }
        segments.push(Segment::new(header, length, file));
    }
    let fault = SpoolError::io(directory);
    for &index in &unnumbered {
        let next = segments.get(index + 1).filter(|_| !unnumbered.contains(&(index + 1)));
        let next = next.map(|next| next.header.first);
        let (first, after) = match (index.checked_sub(1).map(|before| &segments[before]), next) {
            // Of the segments in front of it some may be given back already.
            (before, Some(next)) if segments[index].length == 0 => {
                (next, before.map_or(0, Segment::end))
            }
            (Some(before), _) => {
                let items = before.walked().map_err(&fault)?.items();
                (before.header.first + items, before.end())
            }
            // What was in front of it is not known, so nothing of that is told to be missing.
            (None, next) => {
                let own = segments[index].walked().map_err(&fault)?.items();
                (next.unwrap_or(own).saturating_sub(own), 0)
            }
        };
        segments[index].header.first = first;
        segments[index].header.after = after;
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_no_change_of_it_is_taken_for_another() {
        let header = Header { base: 70, after: 60, first: 5 };
        let bytes = header.encode();
        assert_eq!(bytes.len() as u64, HEADER_BYTES);
        assert_eq!(Header::decode(&bytes, 70), Ok(header));
        assert_eq!(Header::decode(&bytes, 71), Err(HeaderFault::Damaged));
        for length in 0..bytes.len() {
            assert_eq!(Header::decode(&bytes[..length], 70), Err(HeaderFault::Short));
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                8..12 => HeaderFault::Version(VERSION ^ (1 << (bit - 64))),
                _ => HeaderFault::Damaged,
            };
            assert_eq!(Header::decode(&bytes, 70), Err(expected), "bit {bit}");
        }
    }
}
