//! Sets of bytes.

/// A set of bytes: a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) const ALL: Self = Self([u64::MAX; 4]);

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

    /// How many bytes of the set `text` begins with.
    #[inline]
    pub(super) fn run(&self, text: &[u8]) -> usize {
        if *self == Self::ALL {
            return text.len();
        }
        text.iter().position(|byte| !self.contains(*byte)).unwrap_or(text.len())
    }
}
