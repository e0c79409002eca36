//! Transforms of one text into another; a text that a transform cannot work on stays as it is.

use crate::event::{VALUE_BYTES_MAX, write_f64, write_i64};
use crate::fields::FieldId;
use crate::pattern::Pattern;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Transform {
    Lowercase,
    Uppercase,
    Trim,
    UrlDecode,
    Base64Decode,
    HexDecode,
    First,
    Last,
    Basename,
    Split(Vec<u8>),
    StripPrefix(Vec<u8>),
    StripSuffix(Vec<u8>),
    Replace(Vec<u8>, Vec<u8>),
    Gsub(Gsub),
    Multiply(f64),
    Divide(f64),
    /// The number of another field is added.
    Add(FieldId),
    Integer(u32),
    Duration,
}

/// Another text in the place of each that a pattern finds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Gsub {
    /// It does not find the empty text.
    pub(crate) pattern: Pattern,
    pub(crate) to: Vec<u8>,
}

impl Gsub {
    /// As [`Transform::apply`].
    pub(crate) fn apply(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let found = self.pattern.regex().find_iter(text).map(|found| found.range());
        substitute(text, found, &self.to, out)
    }
}

/// The names of the steps without an argument.
pub(crate) const NAMES: [(&str, Transform); 10] = [
    ("lowercase", Transform::Lowercase),
    ("uppercase", Transform::Uppercase),
    ("trim", Transform::Trim),
    ("url_decode", Transform::UrlDecode),
    ("base64_decode", Transform::Base64Decode),
    ("hex_decode", Transform::HexDecode),
    ("first", Transform::First),
    ("last", Transform::Last),
    ("basename", Transform::Basename),
    ("duration", Transform::Duration),
];

impl Transform {
    /// Whether [`Transform::part`] may know a part.
    pub(crate) fn may_leave_part(&self) -> bool {
        matches!(
            self,
            Self::Lowercase
                | Self::Uppercase
                | Self::Trim
                | Self::UrlDecode
                | Self::First
                | Self::Last
                | Self::Basename
                | Self::StripPrefix(_)
                | Self::StripSuffix(_)
                | Self::Replace(..)
        )
    }

    /// Whether it makes a text of its own, of no signs but those of the text it is made of, digits, a point
    /// and a minus.
    pub(crate) fn makes_plain(&self) -> bool {
        matches!(
            self,
            Self::Lowercase
                | Self::Uppercase
                | Self::Trim
                | Self::Basename
                | Self::Multiply(_)
                | Self::Divide(_)
                | Self::Integer(_)
                | Self::Duration
        )
    }

    /// The part of a single text, by its start and length, that the transform would make of it; `None`
    /// if it would make something else or has to be run to tell.
    pub(crate) fn part(&self, text: &[u8]) -> Option<(usize, usize)> {
        let same = |same: bool| same.then_some((0, text.len()));
        match self {
            Self::Lowercase => same(!text.iter().any(u8::is_ascii_uppercase)),
            Self::Uppercase => same(!text.iter().any(u8::is_ascii_lowercase)),
            Self::Trim => {
                Some((text.len() - text.trim_ascii_start().len(), text.trim_ascii().len()))
            }
            Self::UrlDecode => same(!text.contains(&b'%')),
            Self::First | Self::Last => same(true),
            Self::Basename => {
                let start = text.iter().rposition(|byte| matches!(byte, b'/' | b'\\'));
                let start = start.map_or(0, |at| at + 1);
                Some((start, text.len() - start))
            }
            Self::StripPrefix(prefix) => {
                let start = if text.starts_with(prefix) { prefix.len() } else { 0 };
                Some((start, text.len() - start))
            }
            Self::StripSuffix(suffix) => {
                let cut = if text.ends_with(suffix) { suffix.len() } else { 0 };
                Some((0, text.len() - cut))
            }
            // What is shorter than what is looked for needs no search.
            Self::Replace(from, _) => same(
                !from.is_empty() && (text.len() < from.len() || memmem::find(text, from).is_none()),
            ),
            _ => None,
        }
    }

    /// Appends the new text to `out`; `false` if the text stays as it is, and then `out` may hold
    /// anything. `split`, `first` and `last` concern lists, `add` another field: they are the engine's.
    pub(crate) fn apply(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Self::Lowercase => out.extend(text.iter().map(u8::to_ascii_lowercase)),
            Self::Uppercase => out.extend(text.iter().map(u8::to_ascii_uppercase)),
            Self::Trim => out.extend_from_slice(text.trim_ascii()),
            Self::UrlDecode => return url_decode(text, out),
            Self::Base64Decode => return STANDARD.decode_vec(text, out).is_ok(),
            Self::HexDecode => return hex_decode(text, out),
            Self::Basename => {
                let name = text.rsplit(|b| matches!(b, b'/' | b'\\')).next();
                out.extend_from_slice(name.unwrap_or(text));
            }
            Self::StripPrefix(prefix) => {
                let Some(rest) = text.strip_prefix(prefix.as_slice()) else { return false };
                out.extend_from_slice(rest);
            }
            Self::StripSuffix(suffix) => {
                let Some(rest) = text.strip_suffix(suffix.as_slice()) else { return false };
                out.extend_from_slice(rest);
            }
            Self::Replace(from, to) => {
                let found = memmem::find_iter(text, from).map(|at| at..at + from.len());
                return substitute(text, found, to, out);
            }
            Self::Gsub(gsub) => return gsub.apply(text, out),
            Self::Multiply(factor) => return changed(text, |number| number * factor, out),
            Self::Divide(divisor) => return changed(text, |number| number / divisor, out),
            Self::Integer(base) => return from_base(text, *base, out),
            Self::Duration => match duration_nanos(text) {
                Some(nanos) => write_i64(out, nanos),
                None => return false,
            },
            Self::Split(_) | Self::First | Self::Last | Self::Add(_) => return false,
        }
        true
    }
}

/// Appends the sum of two numbers; `false` if one of the texts is none.
pub(crate) fn add(text: &[u8], other: &[u8], out: &mut Vec<u8>) -> bool {
    let sum = number(text).zip(number(other)).map(|(one, other)| one + other);
    sum.is_some_and(|sum| write_number(sum, out))
}

fn changed(text: &[u8], change: impl Fn(f64) -> f64, out: &mut Vec<u8>) -> bool {
    number(text).is_some_and(|number| write_number(change(number), out))
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

fn write_number(number: f64, out: &mut Vec<u8>) -> bool {
    if !number.is_finite() {
        return false;
    }
    // Of two decimals that are rounded to binary, the result may be off by so much: 0.029 * 1e9 is whole.
    let rounding = number.abs() * 4.0 * f64::EPSILON;
    let whole = (number - number.round()).abs() <= rounding;
    if whole && number.abs() < 9e15 {
        write_i64(out, number.round() as i64);
    } else {
        write_f64(out, number);
    }
    true
}

fn from_base(text: &[u8], base: u32, out: &mut Vec<u8>) -> bool {
    let Ok(digits) = std::str::from_utf8(text).map(str::trim) else { return false };
    let digits = digits.strip_prefix("0x").or(digits.strip_prefix("0X")).unwrap_or(digits);
    match i64::from_str_radix(digits, base) {
        Ok(number) => {
            write_i64(out, number);
            true
        }
        Err(_) => false,
    }
}

fn url_decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let digit = |at: usize| text.get(at).and_then(|b| (*b as char).to_digit(16));
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            out.push((high << 4 | low) as u8);
            at += 3;
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    true
}

fn hex_decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return false;
    }
    let digit = |byte: u8| (byte as char).to_digit(16);
    text.chunks_exact(2).all(|pair| match (digit(pair[0]), digit(pair[1])) {
        (Some(high), Some(low)) => {
            out.push((high << 4 | low) as u8);
            true
        }
        _ => false,
    })
}

/// Puts `to` in the place of each part that was found; `false` if there is none, or if that gets too long.
fn substitute(
    text: &[u8],
    found: impl Iterator<Item = Range<usize>>,
    to: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let mut start = 0;
    for part in found {
        out.extend_from_slice(&text[start..part.start]);
        out.extend_from_slice(to);
        start = part.end;
        if out.len() > VALUE_BYTES_MAX {
            return false;
        }
    }
    out.extend_from_slice(&text[start..]);
    start > 0 && out.len() <= VALUE_BYTES_MAX
}

/// `1h2m3s`, `1d 2h`, `00:05:10`, `5:10`, `1.5s`, `250ms` in nanoseconds.
fn duration_nanos(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.contains(':') {
        let mut seconds = 0.0;
        for part in text.split(':') {
            // Without signs, exponents and the like: `-1:30` would be 30 seconds less one minute.
            let plain = part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            seconds = seconds * 60.0 + part.parse::<f64>().ok().filter(|_| plain)?;
        }
        return whole_nanos(seconds * 1e9);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let after = rest[digits..].trim_start();
        let unit = after.find(|c: char| !c.is_alphabetic() && c != 'µ').unwrap_or(after.len());
        let factor = match &after[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" | "sec" | "secs" | "seconds" => 1e9,
            "m" | "min" | "mins" | "minutes" => 6e10,
            "h" | "hours" => 3.6e12,
            "d" | "days" => 8.64e13,
            _ => return None,
        };
        total += number * factor;
        rest = after[unit..].trim_start();
    }
    whole_nanos(total).filter(|_| total > 0.0 || text.starts_with('0'))
}

/// `None` if there are too many to be told.
fn whole_nanos(nanos: f64) -> Option<i64> {
    (nanos < i64::MAX as f64).then_some(nanos.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{compile, expand};
    use std::collections::BTreeMap;

    #[test]
    fn each_transform_does_its_work_or_leaves_the_text() {
        let check = |transform: Transform, text: &str, expected: Option<&str>| {
            let mut out = Vec::new();
            let done = transform.apply(text.as_bytes(), &mut out);
            let got = done.then(|| String::from_utf8(out).unwrap());
            assert_eq!(got.as_deref(), expected, "{transform:?} {text}");
            if let Some((start, len)) = transform.part(text.as_bytes()) {
                assert_eq!(&text[start..start + len], got.as_deref().unwrap_or(text));
                assert!(transform.may_leave_part());
            }
        };
        check(Transform::Lowercase, "TCP", Some("tcp"));
        check(Transform::StripPrefix(b"x-".to_vec()), "y", None);
        check(Transform::HexDecode, "6x", None);
        check(Transform::Trim, " a ", Some("a"));
        check(Transform::UrlDecode, "a%20b%", Some("a b%"));
        check(Transform::Base64Decode, "aGk=", Some("hi"));
        check(Transform::Base64Decode, "!", None);
        check(Transform::HexDecode, "6869", Some("hi"));
        check(Transform::Basename, "/usr/bin/id", Some("id"));
        check(Transform::Basename, "/usr/bin/", Some(""));
        check(Transform::StripPrefix(b"x-".to_vec()), "x-y", Some("y"));
        check(Transform::StripSuffix(b"-x".to_vec()), "y-x", Some("y"));
        check(Transform::Uppercase, "TCP", Some("TCP"));
        check(Transform::Replace(b",".to_vec(), b".".to_vec()), "1,5", Some("1.5"));
        let expanded = expand(r"%{INT}|\s+", &BTreeMap::new()).unwrap();
        let pattern = compile(&expanded, false).unwrap();
        let gsub = Transform::Gsub(Gsub { pattern, to: b"#".to_vec() });
        check(gsub.clone(), "a1 b  -22", Some("a##b##"));
        check(gsub, "ab", None);
        check(Transform::Multiply(1000.0), "1.5", Some("1500"));
        check(Transform::Multiply(1e9), "0.029", Some("29000000"));
        check(Transform::Multiply(1.0), "0.0000001", Some("0.0000001"));
        check(Transform::Multiply(0.1), "30", Some("3"));
        check(Transform::Multiply(10.0), "99999999999.95", Some("999999999999.5"));
        check(Transform::Divide(8.0), "16", Some("2"));
        check(Transform::Divide(10.0), "3", Some("0.3"));
        check(Transform::Integer(16), "0x1f", Some("31"));
        check(Transform::Duration, "1h2m3s", Some("3723000000000"));
        check(Transform::Duration, "0:00:30", Some("30000000000"));
        check(Transform::Duration, "5:10.5", Some("310500000000"));
        let long = "9".repeat(400);
        for none in ["soon", "nan:1", "1:inf", "-1:30", "1:-30", "+1:30", "1e3:00", ":30", &long] {
            check(Transform::Duration, none, None);
            check(Transform::Duration, &format!("{none}s"), None);
        }
        check(Transform::Duration, &format!("{long}:00"), None);
    }
}
