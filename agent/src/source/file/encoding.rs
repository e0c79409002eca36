//! How a file's bytes are text: where its lines end, and what they are in UTF-8.
//!
//! Lines are cut in the bytes as they are, so that positions are those of the file; only what is
//! delivered is decoded. What is meant to be UTF-8 is left as it is, valid or not: the event keeps
//! every byte.

use encoding_rs::{UTF_16BE, UTF_16LE};
use memchr::{memchr, memrchr};
use std::borrow::Cow;

const BOM_UTF8: &[u8] = b"\xef\xbb\xbf";
const BOM_UTF16LE: &[u8] = b"\xff\xfe";
const BOM_UTF16BE: &[u8] = b"\xfe\xff";
const HOLE_BLOCK: &[u8] = &[0; 4096];

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
    /// One in which the byte of a line end is nothing else.
    Other(&'static encoding_rs::Encoding),
}

impl Encoding {
    /// The encoding of a name as the web knows it (<https://encoding.spec.whatwg.org/#names-and-labels>),
    /// if lines can be told in it without decoding.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let encoding = encoding_rs::Encoding::for_label_no_replacement(name.as_bytes())?;
        match encoding {
            encoding if encoding == encoding_rs::UTF_8 => Some(Self::Utf8),
            encoding if encoding == UTF_16LE => Some(Self::Utf16Le),
            encoding if encoding == UTF_16BE => Some(Self::Utf16Be),
            encoding => encoding.is_ascii_compatible().then_some(Self::Other(encoding)),
        }
    }

    /// The encoding that a file's first bytes tell, else `configured`; `None` if they are too few.
    pub(super) fn told_by(head: &[u8], configured: Self) -> Option<Self> {
        match head {
            [] | [0xff | 0xfe] => None,
            head if head.starts_with(BOM_UTF16LE) => Some(Self::Utf16Le),
            head if head.starts_with(BOM_UTF16BE) => Some(Self::Utf16Be),
            _ => Some(configured),
        }
    }

    /// Bytes of a code unit.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Utf8 | Self::Other(_) => 1,
            Self::Utf16Le | Self::Utf16Be => 2,
        }
    }

    /// Whether `bytes` begins with this code unit.
    pub(super) fn is_unit(self, bytes: &[u8], unit: u8) -> bool {
        match self {
            Self::Utf8 | Self::Other(_) => bytes.first() == Some(&unit),
            Self::Utf16Le => bytes.starts_with(&[unit, 0]),
            Self::Utf16Be => bytes.starts_with(&[0, unit]),
        }
    }

    /// Where the first line end begins in `data`, which begins with a whole code unit.
    pub(super) fn line_end(self, data: &[u8]) -> Option<usize> {
        if self.width() == 1 {
            return memchr(b'\n', data);
        }
        let mut from = 0;
        while let Some(found) = memchr(b'\n', &data[from..]) {
            let at = (from + found) & !1;
            if self.is_unit(&data[at..], b'\n') {
                return Some(at);
            }
            from += found + 1;
        }
        None
    }

    /// Where the last line ends, its end included, in `data`, which begins with a whole code unit.
    pub(super) fn behind_last_line(self, data: &[u8]) -> Option<usize> {
        let mut to = data.len();
        while let Some(found) = memrchr(b'\n', &data[..to]) {
            let at = found - found % self.width();
            if self.is_unit(&data[at..], b'\n') {
                return Some(at + self.width());
            }
            to = found;
        }
        None
    }

    /// Whether `data` ends with a line end.
    pub(super) fn ends_line(self, data: &[u8]) -> bool {
        let last = data.len().checked_sub(self.width());
        last.is_some_and(|last| self.is_unit(&data[last..], b'\n'))
    }

    /// How many bytes of a hole, which are 0, `data` begins with.
    pub(super) fn hole(self, data: &[u8]) -> usize {
        // A hole can be gigabytes long: by blocks first.
        let blocks = data.chunks_exact(HOLE_BLOCK.len());
        let whole = blocks.take_while(|block| *block == HOLE_BLOCK).count() * HOLE_BLOCK.len();
        let rest = data[whole..].iter().take_while(|byte| **byte == 0).count();
        let zeros = whole + rest;
        // Half of a code unit is none of a hole.
        zeros & !(self.width() - 1)
    }

    /// The length of `data`, which begins with a whole code unit, without the units at its end that are 0.
    pub(super) fn text_length(self, data: &[u8]) -> usize {
        let blocks = data.rchunks_exact(HOLE_BLOCK.len());
        let blank = blocks.take_while(|block| *block == HOLE_BLOCK).count() * HOLE_BLOCK.len();
        let rest = &data[..data.len() - blank];
        let filled = rest.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let text = filled.next_multiple_of(self.width());
        // The first half of a unit says nothing.
        if text + self.width() <= data.len() { text } else { data.len() }
    }

    /// `line` without the line end that it may have.
    pub(super) fn strip_line_end(self, line: &[u8]) -> &[u8] {
        let mut line = line;
        for unit in [b'\n', b'\r'] {
            if let Some((rest, last)) = line.split_at_checked(line.len().wrapping_sub(self.width()))
                && self.is_unit(last, unit)
            {
                line = rest;
            }
        }
        line
    }

    /// The file's first line without its byte order mark.
    pub(super) fn strip_bom(self, line: &[u8]) -> &[u8] {
        let bom = match self {
            Self::Utf8 | Self::Other(_) => BOM_UTF8,
            Self::Utf16Le => BOM_UTF16LE,
            Self::Utf16Be => BOM_UTF16BE,
        };
        line.strip_prefix(bom).unwrap_or(line)
    }

    /// The text in UTF-8; what is none in the encoding becomes U+FFFD.
    pub(super) fn decode(self, text: &[u8]) -> Cow<'_, [u8]> {
        let encoding = match self {
            Self::Utf8 => return Cow::Borrowed(text),
            Self::Utf16Le => UTF_16LE,
            Self::Utf16Be => UTF_16BE,
            Self::Other(encoding) => encoding,
        };
        match encoding.decode_without_bom_handling(text).0 {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn lines_end_at_whole_code_units_only() {
        for (encoding, big) in [(Encoding::Utf16Le, false), (Encoding::Utf16Be, true)] {
            // U+0A0A and U+0A00 hold the byte of a line end.
            let data = utf16("\u{a0a}\u{a00}\u{100a}x\r\ny", big);
            assert_eq!(encoding.line_end(&data), Some(10), "{encoding:?}");
            assert_eq!(encoding.line_end(&data[..11]), None, "{encoding:?}");
            let line = encoding.strip_line_end(&data[..12]);
            assert_eq!(encoding.decode(line), "\u{a0a}\u{a00}\u{100a}x".as_bytes());
            assert_eq!(encoding.strip_line_end(&utf16("\r\n", big)), b"");
            assert_eq!(encoding.hole(&[&[0; 4], &utf16("a", big)[..]].concat()), 4);
        }
        assert_eq!(Encoding::Utf8.strip_line_end(b"a\r\n"), b"a");
        assert_eq!(Encoding::Utf8.hole(b"\0\0\0a"), 3);
        for (encoding, data, length) in [
            (Encoding::Utf8, &b"a\0b\0\0"[..], 3),
            (Encoding::Utf8, b"\0\0", 0),
            (Encoding::Utf16Le, b"\n\0\0\0", 2),
            (Encoding::Utf16Le, b"a", 1),
            (Encoding::Utf16Be, b"\0\n\0", 3),
            (Encoding::Utf16Be, b"\0\n\0\0\0", 2),
        ] {
            assert_eq!(encoding.text_length(data), length, "{encoding:?} {data:?}");
        }
    }

    #[test]
    fn text_of_other_encodings_becomes_utf_8() {
        let latin = Encoding::named("latin1").unwrap();
        assert_eq!(latin.decode(b"na\xefve"), "naïve".as_bytes());
        let cyrillic = Encoding::named("windows-1251").unwrap();
        assert_eq!(cyrillic.decode(b"\xef\xf0\xe8"), "при".as_bytes());
        assert_eq!(Encoding::Utf8.decode(b"\xff"), &b"\xff"[..]);
        assert_eq!(Encoding::named("utf-8"), Some(Encoding::Utf8));
        assert_eq!(Encoding::named("iso-2022-jp"), None);
        assert_eq!(Encoding::named("klingon"), None);
    }

    #[test]
    fn a_byte_order_mark_tells_the_encoding_once_it_is_whole() {
        let told = |head: &[u8]| Encoding::told_by(head, Encoding::Utf8);
        assert_eq!(told(b"\xff"), None);
        assert_eq!(told(b"\xff\xfe"), Some(Encoding::Utf16Le));
        assert_eq!(told(b"\xfe\xff\0a"), Some(Encoding::Utf16Be));
        assert_eq!(told(b"a"), Some(Encoding::Utf8));
        assert_eq!(Encoding::Utf8.strip_bom(b"\xef\xbb\xbfa"), b"a");
    }
}
