//! The buffer that members are written to before they go to the caller's.
//!
//! It always has room for a block behind what was written, so that a short text is copied as a block
//! or two of a fixed size, which takes a few instructions, and not by a call.

use std::fmt;

/// How many bytes a source of [`Out::padded`] has behind each text in it.
pub(crate) const PAD: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Out {
    /// Its length is its capacity; what stands behind `len` has no meaning.
    buffer: Vec<u8>,
    len: usize,
}

impl Out {
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Puts bytes in front of what stands `at` there.
    #[cold]
    pub(crate) fn insert(&mut self, at: usize, bytes: &[u8]) {
        let behind = self.written()[at..].to_vec();
        self.truncate(at);
        self.text(bytes);
        self.text(&behind);
    }

    pub(crate) fn written(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Makes room for `bytes` and a block behind them.
    #[inline]
    fn reserve(&mut self, bytes: usize) {
        if self.buffer.len() - self.len < bytes + PAD {
            self.grow(bytes);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        self.buffer.resize((self.len + bytes + PAD) * 2, 0);
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) {
        self.array(&[byte]);
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.block(bytes, N);
    }

    /// Appends the first `used` of these bytes.
    #[inline]
    pub(crate) fn block<const N: usize>(&mut self, bytes: &[u8; N], used: usize) {
        match self.room() {
            Some(room) => {
                *room = *bytes;
                self.len += used;
            }
            None => self.long(&bytes[..used]),
        }
    }

    /// Appends what `fill` puts into the free space, of which it gives back the rest; `false`, and nothing
    /// is done, if it gives none.
    #[inline]
    pub(crate) fn fill<'o>(
        &'o mut self,
        fill: impl FnOnce(&'o mut [u8]) -> Option<&'o mut [u8]>,
    ) -> bool {
        let capacity = self.buffer.len();
        let Some(rest) = fill(&mut self.buffer[self.len..]) else { return false };
        self.len = capacity - rest.len();
        true
    }

    /// What is free, if it is as much.
    #[inline]
    fn room<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.buffer.get_mut(self.len..)?.first_chunk_mut()
    }

    #[inline]
    pub(crate) fn text(&mut self, text: &[u8]) {
        self.reserve(text.len());
        self.buffer[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    /// Appends the `len` bytes from `start` of `source`, which goes on for [`PAD`] bytes behind them.
    #[inline]
    pub(crate) fn padded(&mut self, source: &[u8], start: usize, len: usize) {
        if len <= PAD
            && let Some(block) = source.get(start..).and_then(|rest| rest.first_chunk::<PAD>())
            && let Some(room) = self.room()
        {
            *room = *block;
            self.len += len;
        } else {
            self.long(&source[start..start + len]);
        }
    }

    /// Appends a short beginning, a short text and a shorter end, of which `end_len` bytes count, all
    /// at once; the first two are parts of sources that go on for [`PAD`] bytes behind them. `false`, and
    /// nothing is done, if they are longer or there is no room.
    #[inline]
    pub(crate) fn short_member(
        &mut self,
        (keys, key, key_len): (&[u8], usize, usize),
        (source, start, len): (&[u8], usize, usize),
        (end, end_len): (&[u8; 4], usize),
    ) -> bool {
        if key_len <= PAD
            && len <= PAD
            && let Some(opening) = keys.get(key..key + PAD)
            && let Some(text) = source.get(start..start + PAD)
            && let Some(room) = self.buffer.get_mut(self.len..self.len + 3 * PAD)
        {
            room[..PAD].copy_from_slice(opening);
            room[key_len..key_len + PAD].copy_from_slice(text);
            room[key_len + len..key_len + len + end.len()].copy_from_slice(end);
            self.len += key_len + len + end_len;
            return true;
        }
        false
    }

    #[inline(never)]
    fn long(&mut self, text: &[u8]) {
        self.text(text);
    }

    /// Appends what was written from `start` on once more.
    pub(crate) fn repeat(&mut self, start: usize, end: usize) {
        self.reserve(end - start);
        self.buffer.copy_within(start..end, self.len);
        self.len += end - start;
    }

    /// Appends a whole number in decimal.
    pub(crate) fn integer(&mut self, number: i64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            at -= 1;
            digits[at] = b'-';
        }
        self.text(&digits[at..]);
    }
}

impl fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn what_is_appended_stands_there_whatever_its_length() {
        let source: Vec<u8> = (0..200).chain([0; PAD]).collect();
        let (mut out, mut expected) = (Out::default(), Vec::new());
        for len in 0..200 {
            out.padded(&source, 200 - len, len);
            expected.extend_from_slice(&source[200 - len..200]);
            out.text(&source[..len]);
            expected.extend_from_slice(&source[..len]);
            out.block(b"abcdefgh", len % 9);
            expected.extend_from_slice(&b"abcdefgh"[..len % 9]);
            assert_eq!(out.written(), expected, "{len}");
        }
        out.clear();
        for number in [0, 7, -1, 1_234_567_890, i64::MAX, i64::MIN] {
            let before = out.len();
            out.integer(number);
            assert_eq!(&out.written()[before..], number.to_string().as_bytes());
        }
        write!(out, "{}", 1.5).unwrap();
        let (start, end) = (out.len() - 3, out.len());
        out.repeat(start, end);
        assert!(out.written().ends_with(b"1.51.5"));
    }
}
