//! What a source is called, and which partition it goes to.

use std::fmt;
use std::str::FromStr;

/// The identity of a source's content: for a file its agent, device, inode and generation, for a
/// spool its listener and epoch. 128 bits, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId([u8; 16]);

impl SourceId {
    /// Derives the id from what identifies the content, in order; the parts are length-prefixed, so
    /// that no two lists of parts run into each other. BLAKE3, cut to 128 bits.
    #[must_use]
    pub fn derive(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(id)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceId({self})")
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a source id is 32 hexadecimal digits")]
pub struct SourceIdError;

impl FromStr for SourceId {
    type Err = SourceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(SourceIdError);
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let high = (pair[0] as char).to_digit(16).ok_or(SourceIdError)?;
            let low = (pair[1] as char).to_digit(16).ok_or(SourceIdError)?;
            *byte = (high << 4 | low) as u8;
        }
        Ok(Self(id))
    }
}

/// The partition that all events of a source go to, out of `partitions` (at least 1).
#[must_use]
pub fn partition_of(source: &SourceId, partitions: u32) -> i32 {
    let mut word = [0; 8];
    word.copy_from_slice(&source.0[..8]);
    (u64::from_le_bytes(word) % u64::from(partitions.max(1))) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_differ_by_the_cut_between_parts() {
        let id = SourceId::derive(&[b"ab", b"c"]);
        assert_eq!(id.to_string().parse::<SourceId>(), Ok(id));
        assert_ne!(id, SourceId::derive(&[b"a", b"bc"]));
        assert_eq!("xyz".parse::<SourceId>(), Err(SourceIdError));
        assert_eq!("g".repeat(32).parse::<SourceId>(), Err(SourceIdError));
    }

    #[test]
    fn partitions_are_stable_in_range_and_all_used() {
        let mut used = [false; 6];
        for n in 0..200u32 {
            let id = SourceId::derive(&[&n.to_le_bytes()]);
            let partition = partition_of(&id, 6);
            assert_eq!(partition, partition_of(&id, 6));
            used[usize::try_from(partition).unwrap()] = true;
        }
        assert_eq!(used, [true; 6]);
    }
}
