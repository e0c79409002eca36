//! A signed head: how far an agent's sources had come in Kafka at some time, over its signature.
//!
//! One line of text, `logweir-heads SIGNATURE BODY`: the signature in hexadecimal digits, over the bytes of
//! the body as they stand there; the body is JSON. Nothing of a body is looked at before its signature holds.

use crate::keys::{KeyError, PublicKeys, SIGNATURE_BYTES, SigningKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// `input.type` of the source whose lines are heads.
pub const HEADS_INPUT: &str = "heads";
/// The sources in one head at most: a line stays below 64 KiB.
pub const HEAD_SOURCES_MAX: usize = 1000;

const WORD: &str = "logweir-heads";
const PURPOSE: &[u8] = b"logweir heads";

/// What an agent puts its name to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// The agent's id.
    pub agent: String,
    /// When it was signed, RFC 3339.
    pub at: String,
    /// The next one follows after so long.
    pub every_seconds: u64,
    /// For each source, by id, the offset of the last event that Kafka had acknowledged.
    pub ends: BTreeMap<String, u64>,
}

/// Why a line is no head that can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHead {
    #[error("no signed head")]
    Unknown,
    #[error("the signature is not by a key that is trusted here")]
    Signature,
}

impl Heads {
    /// The signed line.
    ///
    /// # Errors
    /// OpenSSL has no memory.
    pub fn sign(&self, key: &SigningKey) -> Result<String, KeyError> {
        let body = serde_json::to_string(self).unwrap_or_default();
        let mut line = format!("{WORD} ");
        for byte in key.sign(PURPOSE, body.as_bytes())? {
            let _ = write!(line, "{byte:02x}");
        }
        line.push(' ');
        line.push_str(&body);
        Ok(line)
    }

    /// The head of a line that one of `keys` has signed.
    ///
    /// # Errors
    /// See [`NoHead`].
    pub fn of_line(line: &str, keys: &[PublicKeys]) -> Result<Self, NoHead> {
        let rest = line.strip_prefix(WORD).and_then(|rest| rest.strip_prefix(' '));
        let (signature, body) =
            rest.and_then(|rest| rest.split_once(' ')).ok_or(NoHead::Unknown)?;
        let signature = bytes_of(signature).ok_or(NoHead::Unknown)?;
        if !keys.iter().any(|keys| keys.verify(PURPOSE, body.as_bytes(), &signature)) {
            return Err(NoHead::Signature);
        }
        serde_json::from_str(body).map_err(|_| NoHead::Unknown)
    }
}

fn bytes_of(digits: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let mut bytes = [0; SIGNATURE_BYTES];
    let digits = digits.as_bytes();
    if digits.len() != 2 * SIGNATURE_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_from_its_line_and_from_no_other() {
        let key = SigningKey::generate().unwrap();
        let (own, other) = (key.public().unwrap(), SigningKey::generate().unwrap());
        let (own, other) = ([own], [other.public().unwrap()]);
        let ends = BTreeMap::from([("ab".to_owned(), 7), ("cd".to_owned(), u64::MAX)]);
        let heads = Heads { agent: "a".into(), at: "now".into(), every_seconds: 60, ends };
        let line = heads.sign(&key).unwrap();
        assert_eq!(Heads::of_line(&line, &own), Ok(heads));
        assert_eq!(Heads::of_line(&line, &other), Err(NoHead::Signature));
        assert_eq!(Heads::of_line(&line, &[]), Err(NoHead::Signature));
        assert_eq!(Heads::of_line(&line.replace(":7", ":6"), &own), Err(NoHead::Signature));
        for length in 0..line.len() {
            assert!(Heads::of_line(&line[..length], &own).is_err(), "{length}");
        }
        assert_eq!(Heads::of_line(&format!(" {line}"), &own), Err(NoHead::Unknown));
    }

    #[test]
    fn the_largest_head_is_a_line_of_a_size_that_all_take() {
        let ends = (0..HEAD_SOURCES_MAX).map(|n| (format!("{n:032x}"), u64::MAX)).collect();
        let heads = Heads { agent: "a".repeat(36), at: "now".into(), every_seconds: 60, ends };
        let line = heads.sign(&SigningKey::generate().unwrap()).unwrap();
        assert!(line.len() < 64 << 10, "{}", line.len());
    }
}
