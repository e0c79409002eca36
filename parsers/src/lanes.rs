//! Sixteen bytes at a time, in a vector register: which of them are looked for.
//!
//! Most runs and most distances to what is looked for are shorter than that, so one step tells; a
//! register of eight bytes, see [`crate::swar`], takes two.
//!
//! A text has to go on behind its end for [`BEHIND`] bytes, which have no meaning: so there is no way
//! of its own for what is left of it, which would take registers from all others.

use std::ops::{BitAnd, BitOr};
use wide::u8x16;

pub(crate) const BYTES: usize = 16;
/// What is read behind the end of a text at most: of a pair at its end, the second.
pub(crate) const BEHIND: usize = BYTES + 1;

/// Sixteen bytes of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lanes(u8x16);

impl Lanes {
    #[inline(always)]
    pub(crate) fn of(bytes: &[u8; BYTES]) -> Self {
        Self(u8x16::new(*bytes))
    }

    /// Those from `at` on.
    #[inline(always)]
    fn at(text: &[u8], at: usize) -> Self {
        Self::of(text[at..at + BYTES].first_chunk().expect("it has this length"))
    }

    /// Control characters, quote, backslash, and what is not ASCII: what JSON does not have as it is, or
    /// what has to be looked at.
    #[inline(always)]
    pub(crate) fn special(self) -> Found {
        let control = self.within(0, 0x1f);
        let high = Found(self.0.max(u8x16::splat(0x80)).simd_eq(self.0));
        control | high | self.equal(b'"') | self.equal(b'\\')
    }

    #[inline(always)]
    pub(crate) fn equal(self, byte: u8) -> Found {
        Found(self.0.simd_eq(u8x16::splat(byte)))
    }

    /// `low` and the `more` bytes above it.
    #[inline(always)]
    pub(crate) fn within(self, low: u8, more: u8) -> Found {
        // What is less than `low` wraps around to what is large.
        let above = self.0 - u8x16::splat(low);
        Found(above.min(u8x16::splat(more)).simd_eq(above))
    }

    /// The blanks of `\s`.
    #[inline(always)]
    pub(crate) fn blank(self) -> Found {
        self.within(b'\t', b'\r' - b'\t') | self.equal(b' ')
    }

    #[inline(always)]
    pub(crate) fn no_digit(self) -> Found {
        let above = self.0 - u8x16::splat(b'0');
        Found(above.max(u8x16::splat(10)).simd_eq(above))
    }
}

/// Which of the sixteen bytes are looked for: all bits of those are set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found(u8x16);

impl Found {
    /// A bit for each of the sixteen.
    #[inline(always)]
    pub(crate) fn bits(self) -> u32 {
        self.0.to_bitmask()
    }

    /// Whether there is none.
    #[inline(always)]
    pub(crate) fn is_none(self) -> bool {
        self.bits() == 0
    }

    /// The first of them; 16 if there is none.
    #[inline(always)]
    pub(crate) fn place(self) -> usize {
        (self.bits() | 1 << BYTES).trailing_zeros() as usize
    }
}

impl BitOr for Found {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Found {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The first place from `at` on that `found` tells of sixteen bytes, `end` at the latest, behind which
/// `text` goes on.
#[inline(always)]
pub(crate) fn first(
    text: &[u8],
    mut at: usize,
    end: usize,
    found: impl Fn(Lanes) -> Found,
) -> usize {
    while at < end {
        let found = found(Lanes::at(text, at));
        at += found.place();
        if !found.is_none() {
            break;
        }
    }
    at.min(end)
}

/// The first place from `at` on where one byte and behind it the other stands, `end` at the latest,
/// behind which `text` goes on.
#[inline(always)]
pub(crate) fn pair(text: &[u8], at: usize, end: usize, (one, other): (u8, u8)) -> usize {
    let mut at = at;
    while at < end {
        let found = Lanes::at(text, at).equal(one) & Lanes::at(text, at + 1).equal(other);
        at += found.place();
        if !found.is_none() {
            break;
        }
    }
    at.min(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(bytes: &[u8; BYTES], looked_for: impl Fn(u8) -> bool) -> u32 {
        let found = bytes.iter().enumerate().filter(|(_, byte)| looked_for(**byte));
        found.fold(0, |bits, (at, _)| bits | 1 << at)
    }

    #[test]
    fn each_bit_says_what_its_byte_is() {
        for start in 0..=u8::MAX {
            let bytes: [u8; BYTES] =
                std::array::from_fn(|at| start.wrapping_add((at * 37 % 41) as u8));
            let lanes = Lanes::at(&bytes, 0);
            for byte in [b'\t', b'\r', b'0', 0, 255, start] {
                assert_eq!(
                    lanes.equal(byte).bits(),
                    bits(&bytes, |other| other == byte),
                    "{bytes:x?}"
                );
                for more in [0, 1, 9, 127, 128, 255 - byte] {
                    let within = |other: u8| {
                        (u32::from(byte)..=u32::from(byte) + u32::from(more))
                            .contains(&u32::from(other))
                    };
                    if u32::from(byte) + u32::from(more) <= 255 {
                        assert_eq!(
                            lanes.within(byte, more).bits(),
                            bits(&bytes, within),
                            "{bytes:x?}"
                        );
                    }
                }
            }
            let blank = |byte: u8| matches!(byte, b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | b' ');
            assert_eq!(lanes.blank().bits(), bits(&bytes, blank), "{bytes:x?}");
            assert_eq!(lanes.no_digit().bits(), bits(&bytes, |byte| !byte.is_ascii_digit()));
        }
    }

    #[test]
    fn the_first_place_is_found_up_to_the_end() {
        let text = b"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
        for end in 0..=text.len() - BEHIND {
            for at in 0..=end {
                for letter in b'a'..=b'y' {
                    let is = |at: &usize| text[*at] == letter;
                    let expected = (at..end).find(is).unwrap_or(end);
                    let found = first(text, at, end, |lanes| lanes.equal(letter));
                    assert_eq!(found, expected, "{letter} from {at} to {end}");
                    let pairs = |at: &usize| is(at) && text[*at + 1] == letter + 1;
                    let expected = (at..end).find(pairs).unwrap_or(end);
                    assert_eq!(pair(text, at, end, (letter, letter + 1)), expected);
                }
            }
        }
    }

    #[test]
    fn what_is_found_is_joined_by_byte() {
        let lanes = Lanes::at(b"abcdefghijklmnopabc", 0);
        assert_eq!(lanes.equal(b'x').place(), BYTES);
        assert!(lanes.equal(b'x').is_none());
        assert_eq!((lanes.equal(b'c') | lanes.equal(b'b')).place(), 1);
        assert!((lanes.equal(b'c') & lanes.equal(b'b')).is_none());
    }
}
