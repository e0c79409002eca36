//! Knowing files again.

use super::body::{BLOCK_BYTES, Body};
use crate::checkpoint::FileContent;
use crate::config::FileConfig;
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
pub(super) fn end_of_lines(body: &Body, size: u64, config: &FileConfig) -> io::Result<u64> {
    // What has no whole byte order mark yet has no line either.
    let Some(encoding) = body.encoding(config.encoding)? else { return Ok(0) };
    // Of whole code units.
    let width = encoding.width() as u64;
    let size = filled_size(body, size)?.next_multiple_of(width).min(size / width * width);
    let window = size.min(config.common.line_bytes_max as u64 & !1);
    let mut bytes = vec![0; window as usize];
    let count = body.read_at(&mut bytes, size - window)?;
    let end = encoding.behind_last_line(&bytes[..count]);
    Ok(end.map_or(size, |end| size - window + end as u64))
}

/// The size of a file without the blocks at its end that are still to be filled, if it was made in advance.
fn filled_size(body: &Body, size: u64) -> io::Result<u64> {
    if !body.is_blank_from(0)? {
        return Ok(size);
    }
    let block_bytes = BLOCK_BYTES as u64;
    let (mut filled, mut end) = (0, size);
    while filled < end {
        let middle = (filled + end) / 2 / block_bytes * block_bytes;
        let mut block = [0; BLOCK_BYTES];
        body.read_at(&mut block, middle)?;
        match block.iter().rposition(|byte| *byte != 0) {
            None => end = middle,
            Some(_) if middle + block_bytes < end => filled = middle + block_bytes,
            Some(last) => return Ok(middle + last as u64 + 1),
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::super::Encoding;
    use super::super::open_files::OpenFiles;
    use super::*;
    use std::io::Write as _;

    fn plain(content: &[u8]) -> Body {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Body::plain(file, OpenFiles::new(1).take().unwrap())
    }

    #[test]
    fn lines_from_now_on_begin_behind_a_whole_line_end() {
        let mut config = FileConfig::default();
        config.common.line_bytes_max = 64;
        for (content, end) in [
            (&b""[..], 0),
            (b"\xff", 0),
            (b"a\nb\n", 4),
            (b"a\nbc", 2),
            (b"abc", 3),
            (b"\xff\xfea\0\n\0", 6),
            (b"\xff\xfea\0\n\0b\0c", 6),
            // U+0A0A and U+0A00 hold the byte of a line end, at both places.
            (b"\xff\xfe\n\0\x0a\x0a\0\x0a", 4),
            (b"\xfe\xff\0a\0\n\x0a\0", 6),
            (b"\xfe\xff\0a", 4),
        ] {
            let size = content.len() as u64;
            assert_eq!(end_of_lines(&plain(content), size, &config).unwrap(), end, "{content:?}");
        }
        // Made in advance, to be filled with lines.
        for lines in [0, 1, 1000, 1024, 15_872] {
            let mut content = b"0123456\n".repeat(lines);
            content.resize(1 << 17, 0);
            let end = end_of_lines(&plain(&content), 1 << 17, &config).unwrap();
            assert_eq!(end, 8 * lines as u64);
        }
        let mut content = [&b"\xff\xfe"[..], &b"a\0\n\0".repeat(1000)].concat();
        content.resize(1 << 14, 0);
        assert_eq!(end_of_lines(&plain(&content), 1 << 14, &config).unwrap(), 4002);
        config.encoding = Encoding::Utf16Be;
        assert_eq!(end_of_lines(&plain(b"\0a\0\n\0"), 5, &config).unwrap(), 4);
    }
}
