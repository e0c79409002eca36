//! Tamper evidence: a keyed seal over an event's identity, its link to the event before it, and the line
//! as it was read.
//!
//! The seals of a source make a chain without any state but the one that the agent keeps anyway: each
//! seal covers the offset of its event and that of the one before it. So an altered line, an event that
//! was moved or put in, and one that is missing in between are all found by whoever has the key, from any
//! place on, and a restart of the agent or events sent twice change nothing.
//!
//! seal = the first 16 bytes of BLAKE3, keyed with the agent's key, over: the source (16 bytes), the
//! offset, the offset before and the length of the line (8 bytes each, little-endian), 1 or 0 for whether
//! there is one before, `event.original`, and `logweir.original_base64` as it stands if it is there.
//! `docs/integrity.md` says what it proves and what it does not.

use crate::SourceId;
use std::fmt;
use std::str::FromStr;

/// What the keys of agents are derived for; another use of a master key gives other keys.
const CONTEXT: &str = "logweir 2026-11-28 key of an agent for the seals of its events";

/// A secret of 256 bits. Never shown, and compared by nobody.
#[derive(Clone)]
pub struct SealKey([u8; 32]);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(hidden)")
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hexadecimal digits, such as `openssl rand -hex 32` gives")]
pub struct SealKeyError;

impl FromStr for SealKey {
    type Err = SealKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text.trim()).map(|hash| Self(hash.into())).map_err(|_| SealKeyError)
    }
}

impl SealKey {
    /// The key of one agent, from a master key that no agent has: a host that is taken over gives away
    /// its own key and no other.
    #[must_use]
    pub fn of_agent(&self, agent_id: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.0).update(agent_id.as_bytes());
        Self(hasher.finalize().into())
    }

    /// The key as a key file has it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        blake3::Hash::from(self.0).to_hex().to_string()
    }

    /// The seal of an event.
    #[must_use]
    pub fn seal(
        &self,
        source: &SourceId,
        offset: u64,
        prev: Option<u64>,
        line: SealedLine<'_>,
    ) -> Seal {
        let mut head = [0; 41];
        head[..16].copy_from_slice(source.as_bytes());
        head[16..24].copy_from_slice(&offset.to_le_bytes());
        head[24..32].copy_from_slice(&prev.unwrap_or(0).to_le_bytes());
        head[32..40].copy_from_slice(&(line.original.len() as u64).to_le_bytes());
        head[40] = u8::from(prev.is_some());
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&head).update(line.original.as_bytes()).update(line.base64.as_bytes());
        let mut seal = [0; 16];
        seal.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Seal(seal)
    }
}

/// The line of an event, as it is delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SealedLine<'l> {
    /// `event.original`
    pub original: &'l str,
    /// `logweir.original_base64`, or nothing
    pub base64: &'l str,
}

/// 128 bits, shown as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal([u8; 16]);

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Seal {
    /// Appends the digits.
    pub fn write(&self, out: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for byte in self.0 {
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(original: &str) -> SealedLine<'_> {
        SealedLine { original, base64: "" }
    }

    fn key(digit: &str) -> SealKey {
        digit.repeat(64).parse().unwrap()
    }

    #[test]
    fn a_seal_covers_the_key_and_everything_it_is_over() {
        let (source, other) = (SourceId::derive(&[b"a"]), SourceId::derive(&[b"b"]));
        let seal = key("1").seal(&source, 7, Some(3), line("line"));
        assert_eq!(seal, key("1").seal(&source, 7, Some(3), line("line")));
        for changed in [
            key("2").seal(&source, 7, Some(3), line("line")),
            key("1").of_agent("x").seal(&source, 7, Some(3), line("line")),
            key("1").seal(&other, 7, Some(3), line("line")),
            key("1").seal(&source, 8, Some(3), line("line")),
            key("1").seal(&source, 7, Some(4), line("line")),
            key("1").seal(&source, 7, None, line("line")),
            key("1").seal(&source, 7, Some(3), line("Line")),
            key("1").seal(&source, 7, Some(3), SealedLine { original: "lin", base64: "e" }),
        ] {
            assert_ne!(seal, changed);
        }
        assert_ne!(
            key("1").seal(&source, 7, None, line("line")),
            key("1").seal(&source, 7, Some(0), line("line"))
        );
    }

    #[test]
    fn keys_are_read_from_text_and_never_shown_by_chance() {
        let read = "ab".repeat(32).parse::<SealKey>().unwrap();
        assert_eq!(read.to_hex(), "ab".repeat(32));
        assert_eq!(format!("{read:?}"), "SealKey(hidden)");
        assert_ne!(read.of_agent("a").to_hex(), read.of_agent("b").to_hex());
        for wrong in ["", "ab", &"zz".repeat(32)] {
            assert_eq!(wrong.parse::<SealKey>().unwrap_err(), SealKeyError);
        }
        let mut written = Vec::new();
        let seal = read.seal(&SourceId::derive(&[]), 0, None, line(""));
        seal.write(&mut written);
        assert_eq!(written, seal.to_string().as_bytes());
    }
}
