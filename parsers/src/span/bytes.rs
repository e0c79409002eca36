//! Sets of bytes.

use crate::lanes::{Lanes, first};

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

    /// Those that are not in the other.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut set = *self;
        set.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine &= !theirs);
        set
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// All of them, if they are up to three; else the first four.
    pub(super) fn few(&self) -> Vec<u8> {
        (0..=u8::MAX).filter(|byte| self.contains(*byte)).take(4).collect()
    }

    /// Its bytes, ascending.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> {
        let words = self.0.into_iter().zip([0_u8, 64, 128, 192]);
        words.flat_map(|(mut word, base)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as u8)?;
                word &= word - 1;
                Some(base + bit)
            })
        })
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

/// What ends a run; the usual ones are found sixteen bytes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    End,
    One(u8),
    Two(u8, u8),
    /// A blank: the set is `\S`.
    Space,
    /// So, or this byte.
    SpaceOr(u8),
    /// No digit: the set is `\d`.
    NoDigit,
    Many,
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | b' ')
}

/// How many bytes [`is_space`] says that of.
const SPACES: usize = 6;

impl Class {
    pub(super) fn new(set: ByteSet) -> Self {
        let absent: Vec<u8> = (0..=u8::MAX).filter(|byte| !set.contains(*byte)).collect();
        let is =
            |holds: fn(u8) -> bool| (0..=u8::MAX).all(|byte| set.contains(byte) == holds(byte));
        let others: Vec<u8> = absent.iter().copied().filter(|byte| !is_space(*byte)).collect();
        let blanks = absent.len() - others.len() == SPACES;
        let stop = match *absent {
            [] => Stop::End,
            [one] => Stop::One(one),
            [one, two] => Stop::Two(one, two),
            _ if is(|byte| !is_space(byte)) => Stop::Space,
            _ if blanks && others.len() == 1 => Stop::SpaceOr(others[0]),
            _ if is(|byte| byte.is_ascii_digit()) => Stop::NoDigit,
            _ => Stop::Many,
        };
        Self { set, stop }
    }

    #[inline]
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.set.contains(byte)
    }

    /// What ends a run.
    pub(super) fn stop(&self) -> Stop {
        self.stop
    }

    /// Where the run of the set's bytes that begins at `at` ends, `end` at the latest. `text` may go
    /// on behind `end`, which is of use. Apart from where it is needed: the usual steps have their own
    /// [`Stop::run`].
    #[inline(never)]
    pub(super) fn run(&self, text: &[u8], at: usize, end: usize) -> usize {
        self.stop.run(|| self, text, at, end)
    }

    #[inline(never)]
    fn bytes(&self, text: &[u8], at: usize, end: usize) -> usize {
        let rest = &text[at..end];
        at + rest.iter().position(|byte| !self.set.contains(*byte)).unwrap_or(rest.len())
    }
}

impl Stop {
    /// As [`Class::run`] of the class that this is of, which is seldom needed.
    #[inline(always)]
    pub(super) fn run<'c>(
        self,
        class: impl FnOnce() -> &'c Class,
        text: &[u8],
        at: usize,
        end: usize,
    ) -> usize {
        match self {
            Self::End => end,
            Self::One(one) => first(text, at, end, |lanes| lanes.equal(one)),
            Self::Two(one, two) => {
                first(text, at, end, |lanes| lanes.equal(one) | lanes.equal(two))
            }
            Self::Space => first(text, at, end, Lanes::blank),
            Self::SpaceOr(one) => first(text, at, end, |lanes| lanes.blank() | lanes.equal(one)),
            Self::NoDigit => first(text, at, end, Lanes::no_digit),
            Self::Many => class().bytes(text, at, end),
        }
    }
}
