//! Keys of value maps and conditions: exact texts, globs and ranges of whole numbers.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Matcher {
    Exact(Vec<u8>),
    /// As most globs are written: `text*`, `*text` and `*text*`, the text not empty.
    Begin(Vec<u8>),
    End(Vec<u8>),
    Hold(Vec<u8>),
    /// `?` stands for one character, `*` for any number.
    Glob(Vec<u8>),
    /// Both ends included.
    Range(i64, i64),
}

impl Matcher {
    pub(crate) fn new(text: &str) -> Self {
        if let Some((low, high)) = text.split_once('-')
            && let (Ok(low), Ok(high)) = (low.parse(), high.parse())
            && low <= high
        {
            return Self::Range(low, high);
        }
        let (rest, open_before) = text.strip_prefix('*').map_or((text, false), |rest| (rest, true));
        let (rest, open_behind) = rest.strip_suffix('*').map_or((rest, false), |rest| (rest, true));
        let plain = !rest.is_empty() && !rest.contains(['?', '*']);
        let bytes = if plain { rest } else { text }.as_bytes().to_vec();
        match (open_before, open_behind) {
            (false, true) if plain => Self::Begin(bytes),
            (true, false) if plain => Self::End(bytes),
            (true, true) if plain => Self::Hold(bytes),
            (false, false) if plain || text.is_empty() => Self::Exact(bytes),
            _ => Self::Glob(bytes),
        }
    }

    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text == value,
            Self::Begin(text) => value.starts_with(text),
            Self::End(text) => value.ends_with(text),
            Self::Hold(text) => holds(value, text),
            Self::Glob(pattern) => glob(pattern, value),
            Self::Range(low, high) => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok())
                .is_some_and(|number: i64| (*low..=*high).contains(&number)),
        }
    }
}

/// As it is written in a rule.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, text, behind) = match self {
            Self::Range(low, high) => return write!(f, "{low}-{high}"),
            Self::Exact(text) | Self::Glob(text) => ("", text, ""),
            Self::Begin(text) => ("", text, "*"),
            Self::End(text) => ("*", text, ""),
            Self::Hold(text) => ("*", text, "*"),
        };
        write!(f, "{before}{}{behind}", String::from_utf8_lossy(text))
    }
}

/// Whether a short text stands in another; nothing is made ready for the search, which costs more than that.
fn holds(text: &[u8], literal: &[u8]) -> bool {
    let Some((first, behind)) = literal.split_first() else { return true };
    let mut rest = text;
    while let Some(at) = memchr::memchr(*first, rest) {
        rest = &rest[at + 1..];
        if rest.starts_with(behind) {
            return true;
        }
    }
    false
}

/// Whether `pattern` (with `?` and `*`) covers all of `text`; linear but for the last `*`.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == b'?' {
            p += 1;
            t += character(&text[t..]);
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((after, from)) = star {
            t = from + character(&text[from..]);
            star = Some((after, t));
            p = after + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// How long the first character is, in UTF-8; one byte, if it is none.
fn character(text: &[u8]) -> usize {
    let following = text.iter().skip(1).take(3).take_while(|byte| **byte & 0xc0 == 0x80);
    if text[0] < 0xc0 { 1 } else { 1 + following.count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_exact_globs_or_ranges() {
        for (key, value, expected) in [
            ("Accepted", "Accepted", true),
            ("Accepted", "accepted", false),
            ("4??", "404", true),
            ("4??", "4040", false),
            ("*fail*", "auth failure", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("1-1023", "80", true),
            ("1-1023", "1024", false),
            ("1-1023", "x", false),
            ("*", "", true),
            ("**", "", true),
            ("", "", true),
            ("", "x", false),
            ("?", "x", true),
            ("*?", "", false),
            ("?", "ü", true),
            ("??", "ü", false),
            ("a?€*", "aü€", true),
            ("*??", "ü", false),
            ("*??x", "üxx", true),
            ("*?ü", "ü", false),
            ("*aab*", "aaab", true),
            ("*aab*", "aaa", false),
            ("aab*", "xaab", false),
            ("*aab", "aabx", false),
        ] {
            assert_eq!(Matcher::new(key).to_string(), key);
            assert_eq!(Matcher::new(key).matches(value.as_bytes()), expected, "{key} {value}");
            if !matches!(Matcher::new(key), Matcher::Range(..)) {
                assert_eq!(glob(key.as_bytes(), value.as_bytes()), expected, "{key} {value}");
            }
        }
    }
}
