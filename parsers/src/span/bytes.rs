//! Sets of bytes.

use crate::swar;

/// A set of bytes: a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(crate) fn of(byte: u8) -> Self {
        let mut set = Self::default();
        set.insert_range(byte, byte);
        set
    }

    pub(crate) fn insert_range(&mut self, low: u8, high: u8) {
        for byte in low..=high {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    #[inline]
    pub(crate) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// All of them, if they are up to three; else the first four.
    pub(super) fn few(&self) -> Vec<u8> {
        (0..=u8::MAX).filter(|byte| self.contains(*byte)).take(4).collect()
    }

    /// How many bytes are in it.
    pub(crate) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// A set whose runs are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    set: ByteSet,
    stop: Stop,
}

/// What ends a run; the usual ones are found eight bytes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    End,
    One(u8),
    Two(u8, u8),
    /// A blank: the set is `\S`.
    Space,
    /// No digit: the set is `\d`.
    NoDigit,
    Many,
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | b' ')
}

impl Class {
    pub(super) fn new(set: ByteSet) -> Self {
        let absent: Vec<u8> = (0..=u8::MAX).filter(|byte| !set.contains(*byte)).collect();
        let is =
            |holds: fn(u8) -> bool| (0..=u8::MAX).all(|byte| set.contains(byte) == holds(byte));
        let stop = match *absent {
            [] => Stop::End,
            [one] => Stop::One(one),
            [one, two] => Stop::Two(one, two),
            _ if is(|byte| !is_space(byte)) => Stop::Space,
            _ if is(|byte| byte.is_ascii_digit()) => Stop::NoDigit,
            _ => Stop::Many,
        };
        Self { set, stop }
    }

    #[inline]
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.set.contains(byte)
    }

    /// Where the run of the set's bytes that begins at `at` ends, `end` at the latest. `text` may go
    /// on behind `end`, which is of use.
    #[inline]
    pub(super) fn run(&self, text: &[u8], at: usize, end: usize) -> usize {
        match self.stop {
            Stop::End => end,
            Stop::One(one) => self.blocks(text, at, end, |block| swar::equal(block, one)),
            Stop::Two(one, two) => self
                .blocks(text, at, end, |block| swar::equal(block, one) | swar::equal(block, two)),
            // With the other control characters, which are seldom.
            Stop::Space => self.blocks(text, at, end, |block| {
                swar::less(block, b'\r' + 1) | swar::equal(block, b' ')
            }),
            Stop::NoDigit => self.blocks(text, at, end, swar::no_digit),
            Stop::Many => self.bytes(text, at, end),
        }
    }

    /// `stops` tells what ends the run, and possibly more.
    #[inline]
    fn blocks(&self, text: &[u8], mut at: usize, end: usize, stops: impl Fn(u64) -> u64) -> usize {
        while at < end {
            let Some(block) = swar::block(text, at) else { return self.bytes(text, at, end) };
            let found = stops(block);
            at += swar::place(found);
            if found == 0 {
                continue;
            }
            if at >= end || !self.set.contains(text[at]) {
                break;
            }
            at += 1;
        }
        at.min(end)
    }

    #[inline]
    fn bytes(&self, text: &[u8], at: usize, end: usize) -> usize {
        let rest = &text[at..end];
        at + rest.iter().position(|byte| !self.set.contains(*byte)).unwrap_or(rest.len())
    }
}
