//! Transforms of one text into another; a text that a transform cannot work on stays as it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One step.
#[derive(Debug, Clone, PartialEq)]
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
    Multiply(f64),
    Divide(f64),
    Integer(u32),
    Duration,
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
    /// The new text; `None` if it stays. `split`, `first` and `last` concern lists and are the
    /// engine's.
    pub(crate) fn apply(&self, text: &[u8]) -> Option<Vec<u8>> {
        let scaled = |factor: f64| {
            let number: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
            let scaled = number * factor;
            let whole = (scaled - scaled.round()).abs() < 1e-6 && scaled.abs() < 9e15;
            Some(if whole { format!("{}", scaled.round() as i64) } else { format!("{scaled}") }.into_bytes())
        };
        match self {
            Self::Lowercase => text.iter().any(u8::is_ascii_uppercase).then(|| text.to_ascii_lowercase()),
            Self::Uppercase => text.iter().any(u8::is_ascii_lowercase).then(|| text.to_ascii_uppercase()),
            Self::Trim => Some(text.trim_ascii().to_vec()),
            Self::UrlDecode => url_decode(text),
            Self::Base64Decode => STANDARD.decode(text).ok(),
            Self::HexDecode => hex_decode(text),
            Self::Basename => text.rsplit(|b| matches!(b, b'/' | b'\\')).next().map(<[u8]>::to_vec),
            Self::StripPrefix(prefix) => text.strip_prefix(prefix.as_slice()).map(<[u8]>::to_vec),
            Self::StripSuffix(suffix) => text.strip_suffix(suffix.as_slice()).map(<[u8]>::to_vec),
            Self::Replace(from, to) => replace(text, from, to),
            Self::Multiply(factor) => scaled(*factor),
            Self::Divide(divisor) => scaled(1.0 / divisor),
            Self::Integer(base) => {
                let digits = std::str::from_utf8(text).ok()?.trim();
                let digits = digits.strip_prefix("0x").or(digits.strip_prefix("0X")).unwrap_or(digits);
                i64::from_str_radix(digits, *base).ok().map(|number| number.to_string().into_bytes())
            }
            Self::Duration => duration_nanos(text).map(|nanos| nanos.to_string().into_bytes()),
            Self::Split(_) | Self::First | Self::Last => None,
        }
    }
}

fn url_decode(text: &[u8]) -> Option<Vec<u8>> {
    if !text.contains(&b'%') {
        return None;
    }
    let digit = |at: usize| text.get(at).and_then(|b| (*b as char).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
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
    Some(out)
}

fn hex_decode(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2)
        .map(|pair| {
            let high = (pair[0] as char).to_digit(16)?;
            let low = (pair[1] as char).to_digit(16)?;
            Some((high << 4 | low) as u8)
        })
        .collect()
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    memchr::memmem::find(text, from)?;
    let mut out = Vec::with_capacity(text.len());
    let mut start = 0;
    for at in memchr::memmem::find_iter(text, from) {
        out.extend_from_slice(&text[start..at]);
        out.extend_from_slice(to);
        start = at + from.len();
    }
    out.extend_from_slice(&text[start..]);
    Some(out)
}

/// `1h2m3s`, `1d 2h`, `00:05:10`, `5:10`, `1.5s`, `250ms` in nanoseconds.
fn duration_nanos(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.contains(':') {
        let mut seconds = 0.0;
        for part in text.split(':') {
            seconds = seconds * 60.0 + part.parse::<f64>().ok()?;
        }
        return Some((seconds * 1e9).round() as i64);
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
    (total > 0.0 || text.starts_with('0')).then_some(total.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transform_does_its_work_or_leaves_the_text() {
        let check = |transform: Transform, text: &str, expected: Option<&str>| {
            let got = transform.apply(text.as_bytes()).map(|b| String::from_utf8(b).unwrap());
            assert_eq!(got.as_deref(), expected, "{transform:?} {text}");
        };
        check(Transform::Lowercase, "TCP", Some("tcp"));
        check(Transform::Lowercase, "tcp", None);
        check(Transform::Trim, " a ", Some("a"));
        check(Transform::UrlDecode, "a%20b%", Some("a b%"));
        check(Transform::Base64Decode, "aGk=", Some("hi"));
        check(Transform::Base64Decode, "!", None);
        check(Transform::HexDecode, "6869", Some("hi"));
        check(Transform::Basename, "/usr/bin/id", Some("id"));
        check(Transform::StripPrefix(b"x-".to_vec()), "x-y", Some("y"));
        check(Transform::Replace(b",".to_vec(), b".".to_vec()), "1,5", Some("1.5"));
        check(Transform::Multiply(1000.0), "1.5", Some("1500"));
        check(Transform::Multiply(1e9), "0.029", Some("29000000"));
        check(Transform::Divide(8.0), "16", Some("2"));
        check(Transform::Integer(16), "0x1f", Some("31"));
        check(Transform::Duration, "1h2m3s", Some("3723000000000"));
        check(Transform::Duration, "0:00:30", Some("30000000000"));
        check(Transform::Duration, "soon", None);
    }
}
