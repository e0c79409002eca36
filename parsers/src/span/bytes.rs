//! Sets of bytes.

/// A set of bytes: a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) fn of(byte: u8) -> Self {
        let mut set = Self::default();
        set.insert_range(byte, byte);
        set
    }

    pub(super) fn insert_range(&mut self, low: u8, high: u8) {
        for byte in low..=high {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    #[inline]
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// The byte, if there is just one.
    pub(super) fn single(&self) -> Option<u8> {
        let mut bytes = (0..=u8::MAX).filter(|byte| self.contains(*byte));
        let byte = bytes.next()?;
        bytes.next().is_none().then_some(byte)
    }
}

/// A set whose runs are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    set: ByteSet,
    stop: Stop,
}

/// What ends a run: up to three bytes are found faster than a set is asked for each byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    End,
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
    /// A set that patterns often have: these bits of [`PLANES`].
    Plane(u8),
    Many,
}

/// The sets that patterns often have, a bit for each: whether a byte is in them is one look-up.
const PLANES: [u8; 256] = {
    let mut planes = [0; 256];
    let mut number = 0;
    while number < 256 {
        let byte = number as u8;
        let space = matches!(byte, b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | b' ');
        let word = byte.is_ascii_alphanumeric() || byte == b'_';
        planes[number] = (!space as u8)
            | (byte.is_ascii_digit() as u8) << 1
            | (word as u8) << 2
            | (byte.is_ascii_hexdigit() as u8) << 3
            | ((word || byte == b'.' || byte == b'-') as u8) << 4
            | ((byte.is_ascii_hexdigit() || byte == b'.' || byte == b':') as u8) << 5
            | ((!space && byte != b',') as u8) << 6
            | ((!space && byte != b':') as u8) << 7;
        number += 1;
    }
    planes
};

/// The bit of a set among [`PLANES`], if it is one of them.
fn plane(set: &ByteSet) -> Option<u8> {
    let is = |bit: &u8| {
        (0..=u8::MAX).all(|byte| set.contains(byte) == (PLANES[usize::from(byte)] & bit != 0))
    };
    (0..8).map(|number| 1 << number).find(is)
}

impl Class {
    pub(super) fn new(set: ByteSet) -> Self {
        let absent: Vec<u8> = (0..=u8::MAX).filter(|byte| !set.contains(*byte)).take(4).collect();
        let stop = match *absent {
            [] => Stop::End,
            [one] => Stop::One(one),
            [one, two] => Stop::Two(one, two),
            [one, two, three] => Stop::Three(one, two, three),
            _ => plane(&set).map_or(Stop::Many, Stop::Plane),
        };
        Self { set, stop }
    }

    #[inline]
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.set.contains(byte)
    }

    /// How many bytes of the set `text` begins with.
    #[inline]
    pub(super) fn run(&self, text: &[u8]) -> usize {
        let end = match self.stop {
            Stop::End => None,
            Stop::One(one) => memchr::memchr(one, text),
            Stop::Two(one, two) => memchr::memchr2(one, two, text),
            Stop::Three(one, two, three) => memchr::memchr3(one, two, three, text),
            Stop::Plane(bit) => text.iter().position(|byte| PLANES[usize::from(*byte)] & bit == 0),
            Stop::Many => text.iter().position(|byte| !self.set.contains(*byte)),
        };
        end.unwrap_or(text.len())
    }
}
