//! A compressed file, read at offsets of what it holds as if it were not compressed.
//!
//! What is decompressed only goes forward. A window of what came last is kept, so that going back a
//! little (to the guard before a position, to the beginning of a long line) costs nothing; going
//! back further begins anew. However much an archive holds, no more than the window is in memory.
//! One that is damaged, or cut off, ends where it cannot be read on.

use super::identity::read_at;
use crate::sync::lock;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::Mutex;

/// How far back costs nothing: more than one turn of a tail reads.
const WINDOW_BYTES: usize = 768 << 10;
/// How much is decompressed at once.
const STEP_BYTES: usize = 64 << 10;
/// What begins like this is compressed and is no log that grows.
const COMPRESSED: &[&[u8]] = &[GZIP, ZSTD, b"\xfd7zXZ\0", b"BZh"];
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Whether the file's content is compressed, in whatever way.
///
/// # Errors
/// What the kernel says.
pub(super) fn is_compressed(file: &File) -> io::Result<bool> {
    let mut head = [0; 6];
    let count = read_at(file, &mut head, 0)?;
    Ok(COMPRESSED.iter().any(|magic| head[..count].starts_with(magic)))
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    stream: Mutex<Stream>,
}

struct Stream {
    reader: Box<dyn Read + Send>,
    window: Vec<u8>,
    /// Where the window begins.
    start: u64,
    ended: bool,
    /// Why it ended, if not because it is whole.
    damage: Option<io::Error>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("start", &self.start).field("ended", &self.ended).finish()
    }
}

impl Archive {
    /// Opens the archive; `None` if it is not of a kind that can be read here (gzip and zstd can).
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open(file: File) -> io::Result<Option<Self>> {
        let Some(reader) = reader(&file)? else { return Ok(None) };
        let stream = Stream { reader, window: Vec::new(), start: 0, ended: false, damage: None };
        Ok(Some(Self { file, stream: Mutex::new(stream) }))
    }

    /// The compressed file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Fills `buffer` from `offset` as far as the archive goes; returns how far.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let stream = &mut *lock(&self.stream);
        if offset < stream.start {
            let reader = reader(&self.file)?.ok_or(ErrorKind::InvalidData)?;
            *stream = Stream { reader, window: Vec::new(), start: 0, ended: false, damage: None };
        }
        let mut filled = 0;
        loop {
            let from = (offset + filled as u64 - stream.start) as usize;
            if let Some(found) = stream.window.get(from..) {
                let count = found.len().min(buffer.len() - filled);
                buffer[filled..filled + count].copy_from_slice(&found[..count]);
                filled += count;
            }
            if filled == buffer.len() || !stream.pull()? {
                return Ok(filled);
            }
        }
    }

    /// Why the content ends before the archive is whole; told once.
    pub(super) fn take_damage(&self) -> Option<io::Error> {
        lock(&self.stream).damage.take()
    }
}

impl Stream {
    /// Decompresses a little more; returns `false` at the end.
    fn pull(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.window.len() >= 2 * WINDOW_BYTES {
            let surplus = self.window.len() - WINDOW_BYTES;
            self.window.drain(..surplus);
            self.start += surplus as u64;
        }
        let old = self.window.len();
        self.window.resize(old + STEP_BYTES, 0);
        let outcome = self.reader.read(&mut self.window[old..]);
        self.window.truncate(old + *outcome.as_ref().unwrap_or(&0));
        match outcome {
            Ok(count) => self.ended = count == 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // An error of the disk has a number, one of the content has none.
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(error) => {
                self.ended = true;
                self.damage = Some(error);
            }
        }
        Ok(!self.ended)
    }
}

/// What decompresses the file from its beginning.
fn reader(file: &File) -> io::Result<Option<Box<dyn Read + Send>>> {
    let mut bytes = BufReader::new(At { file: file.try_clone()?, offset: 0 });
    let head = bytes.fill_buf()?;
    if head.starts_with(GZIP) {
        return Ok(Some(Box::new(MultiGzDecoder::new(bytes))));
    }
    if head.starts_with(ZSTD) {
        return Ok(Some(Box::new(zstd::stream::read::Decoder::with_buffer(bytes)?)));
    }
    Ok(None)
}

/// A file read from an offset of its own.
#[derive(Debug)]
struct At {
    file: File,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = read_at(&self.file, buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn archive(bytes: &[u8]) -> Archive {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Archive::open(file).unwrap().unwrap()
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn content() -> Vec<u8> {
        (0..600_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
    }

    #[test]
    fn any_place_of_the_content_can_be_read_in_any_order() {
        let content = content();
        let (front, back) = content.split_at(1_000_000);
        // Two members, as one that was appended to has.
        let members = [gzip(front), gzip(back)].concat();
        let zstd = zstd::stream::encode_all(&content[..], 1).unwrap();
        for archive in [archive(&members), archive(&zstd)] {
            for (offset, length) in
                [(0, 10), (999_990, 20), (2_300_000, 200_000), (5, 5), (2_399_990, 100), (9, 0)]
            {
                let mut buffer = vec![0; length];
                let count = archive.read_at(&mut buffer, offset as u64).unwrap();
                let wanted = &content[offset..content.len().min(offset + length)];
                assert!(buffer[..count] == *wanted, "{offset} {length}");
            }
            let mut rest = vec![0; 3_000_000];
            assert_eq!(archive.read_at(&mut rest, 0).unwrap(), content.len());
            assert!(lock(&archive.stream).window.len() <= 2 * WINDOW_BYTES + STEP_BYTES);
        }
    }

    #[test]
    fn an_archive_that_is_cut_off_ends_there() {
        let whole = gzip(&content());
        let archive = archive(&whole[..whole.len() / 2]);
        let mut buffer = vec![0; 3_000_000];
        let count = archive.read_at(&mut buffer, 0).unwrap();
        assert!(count > 500_000 && buffer[..count] == content()[..count]);
        assert_eq!(archive.take_damage().unwrap().kind(), ErrorKind::UnexpectedEof);
        assert!(archive.take_damage().is_none());
        assert_eq!(archive.read_at(&mut buffer, 0).unwrap(), count);
    }

    #[test]
    fn what_cannot_be_read_is_no_archive() {
        for bytes in [&b"line\n"[..], b"\xfd7zXZ\0...", b"", b"\x1f"] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            assert!(Archive::open(file).unwrap().is_none());
        }
    }
}
