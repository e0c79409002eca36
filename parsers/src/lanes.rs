//! Sixteen bytes at a time, in a vector register: which of them are looked for.
//!
//! Most runs and most distances to what is looked for are shorter than that, so one step tells; a
//! register of eight bytes, see [`crate::swar`], takes two.

use std::ops::{BitAnd, BitOr};
use wide::u8x16;

pub(crate) const BYTES: usize = 16;

/// Sixteen bytes of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lanes(u8x16);

impl Lanes {
    /// Those from `at` on, with zeros where `text` has ended.
    #[inline(always)]
    pub(crate) fn load(text: &[u8], at: usize) -> Self {
        let bytes = text.get(at..at + BYTES).and_then(<[u8]>::first_chunk);
        // By value: what goes through memory costs more than the rest of a search.
        let bytes = bytes.map_or_else(|| last(text, at), |bytes| u128::from_ne_bytes(*bytes));
        Self(u8x16::new(bytes.to_ne_bytes()))
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

#[cold]
#[inline(never)]
fn last(text: &[u8], at: usize) -> u128 {
    let mut bytes = [0; BYTES];
    bytes.iter_mut().zip(text.iter().skip(at)).for_each(|(to, from)| *to = *from);
    u128::from_ne_bytes(bytes)
}

/// Which of the sixteen bytes are looked for: all bits of those are set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found(u8x16);

impl Found {
    /// A bit for each of the sixteen.
    #[inline(always)]
    fn bits(self) -> u32 {
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
            let lanes = Lanes::load(&bytes, 0);
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
    fn places_are_counted_from_the_first_and_what_is_behind_the_text_is_zero() {
        let text = b"abcdefghijklmnopabc";
        assert_eq!(Lanes::load(text, 0).equal(b'c').place(), 2);
        assert_eq!(Lanes::load(text, 3).equal(b'c').place(), 15);
        assert_eq!(Lanes::load(text, 3).equal(b'x').place(), BYTES);
        assert!(Lanes::load(text, 3).equal(b'x').is_none());
        assert_eq!(Lanes::load(text, 17).equal(0).place(), 2);
        assert_eq!(Lanes::load(text, 40).equal(0).bits(), (1 << BYTES) - 1);
        let lanes = Lanes::load(text, 0);
        assert_eq!((lanes.equal(b'c') | lanes.equal(b'b')).place(), 1);
        assert!((lanes.equal(b'c') & lanes.equal(b'b')).is_none());
    }
}
