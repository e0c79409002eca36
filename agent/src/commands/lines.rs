//! Lines of a file or of standard input, one at a time, with a bound on their length.

use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The most that is kept of a line; the rest is read over and counted.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A line without its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'l> {
    pub(crate) bytes: &'l [u8],
    /// The full length if it was cut.
    pub(crate) original_bytes: Option<u64>,
}

/// What the file holds: decompressed, if its beginning says that it is compressed.
fn plain(file: File) -> io::Result<Box<dyn Read>> {
    let mut input = BufReader::new(file);
    let head = input.fill_buf()?;
    Ok(if head.starts_with(b"\x1f\x8b") {
        Box::new(MultiGzDecoder::new(input))
    } else if head.starts_with(b"\x28\xb5\x2f\xfd") {
        Box::new(zstd::stream::read::Decoder::with_buffer(input)?)
    } else {
        Box::new(input)
    })
}

/// What the lines are read from.
pub(crate) struct Lines {
    input: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
}

impl Lines {
    /// Opens a file, which may be compressed (gzip, zstd); `-` is standard input.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let input: Box<dyn Read> =
            if path.as_os_str() == "-" { Box::new(io::stdin()) } else { plain(File::open(path)?)? };
        Ok(Self::new(input))
    }

    fn new(input: Box<dyn Read>) -> Self {
        Self { input: BufReader::with_capacity(64 << 10, input), line: Vec::new() }
    }

    /// The next line; `None` at the end. The last one needs no line end.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut length = 0_u64;
        let mut ended = false;
        while !ended {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            let (part, used) = match memchr::memchr(b'\n', buffer) {
                Some(at) => {
                    ended = true;
                    (&buffer[..at], at + 1)
                }
                None => (buffer, buffer.len()),
            };
            length += part.len() as u64;
            let room = LINE_BYTES_MAX - self.line.len();
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            self.input.consume(used);
        }
        if length == 0 && !ended {
            return Ok(None);
        }
        let original_bytes = (length > LINE_BYTES_MAX as u64).then_some(length);
        let bytes = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        Ok(Some(Line { bytes, original_bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], expected: &[&[u8]]) {
        let mut lines = Lines::new(Box::new(io::Cursor::new(input.to_vec())));
        let mut got = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            got.push((line.bytes.to_vec(), line.original_bytes));
        }
        let expected: Vec<_> = expected.iter().map(|line| (line.to_vec(), None)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn lines_end_with_a_line_feed_or_with_the_file() {
        check(b"", &[]);
        check(b"a\nb\r\n\nc", &[b"a", b"b", b"", b"c"]);
        check(b"a\n", &[b"a"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_its_length_told() {
        let mut input = vec![b'x'; LINE_BYTES_MAX + 5];
        input.extend_from_slice(b"\nnext\n");
        let mut lines = Lines::new(Box::new(io::Cursor::new(input)));
        let line = lines.next_line().unwrap().unwrap();
        assert_eq!(line.bytes.len(), LINE_BYTES_MAX);
        assert_eq!(line.original_bytes, Some(LINE_BYTES_MAX as u64 + 5));
        assert_eq!(lines.next_line().unwrap().unwrap().bytes, b"next");
    }
}
