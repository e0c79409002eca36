//! `key=value` pairs, as FortiGate, netfilter, logfmt and many others write them.

use super::{FieldSink, Space, SubValue};
use serde::{Deserialize, Serialize};

/// How pairs are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KvOptions {
    /// Any of these bytes ends a pair.
    pub pair_separators: Vec<u8>,
    pub key_value_separator: u8,
    /// An unquoted value runs until the next `key=`.
    pub spaces_in_values: bool,
    /// Bytes that are taken off both ends of keys and values.
    pub trim: Vec<u8>,
}

impl Default for KvOptions {
    fn default() -> Self {
        Self {
            pair_separators: vec![b' ', b'\t'],
            key_value_separator: b'=',
            spaces_in_values: false,
            trim: Vec::new(),
        }
    }
}

const KEY_BYTES_MAX: usize = 128;

/// What each byte ends.
struct Ends([u8; 256]);

/// A pair.
const PAIR: u8 = 1;
/// A key that has a value.
const KEY: u8 = 2;

impl Ends {
    fn new(options: &KvOptions) -> Self {
        let mut ends = [0; 256];
        options.pair_separators.iter().for_each(|byte| ends[usize::from(*byte)] = PAIR);
        ends[usize::from(options.key_value_separator)] |= KEY;
        Self(ends)
    }

    fn of(&self, byte: u8) -> u8 {
        self.0[usize::from(byte)]
    }

    fn pair(&self, byte: u8) -> bool {
        self.of(byte) & PAIR != 0
    }

    /// Where the first byte stands that ends a pair; the end of the text if there is none.
    fn pair_end(&self, text: &[u8]) -> usize {
        text.iter().position(|byte| self.pair(*byte)).unwrap_or(text.len())
    }

    /// Where the key that a text begins with ends, if it is followed by its separator.
    fn key_end(&self, text: &[u8]) -> Option<usize> {
        let window = &text[..text.len().min(KEY_BYTES_MAX)];
        let stop = window.iter().position(|byte| self.of(*byte) != 0)?;
        (self.of(window[stop]) & KEY != 0 && stop > 0).then_some(stop)
    }
}

/// `true` if there is at least one pair. Words without a separator between pairs are passed over.
pub fn parse(
    input: &[u8],
    options: &KvOptions,
    space: &mut Space,
    sink: &mut dyn FieldSink,
) -> bool {
    let ends = Ends::new(options);
    let mut any = false;
    let mut at = 0;
    while at < input.len() {
        if ends.pair(input[at]) {
            at += 1;
            continue;
        }
        let Some(key_len) = ends.key_end(&input[at..]) else {
            at += ends.pair_end(&input[at..]);
            continue;
        };
        let key = trim(&input[at..at + key_len], &options.trim);
        let (value, next) = value(input, at + key_len + 1, (options, &ends), &mut space.text);
        if !key.is_empty() {
            sink.field(key, value);
            any = true;
        }
        at = next;
    }
    any
}

fn value<'t>(
    input: &'t [u8],
    start: usize,
    (options, ends): (&KvOptions, &Ends),
    space: &'t mut Vec<u8>,
) -> (SubValue<'t>, usize) {
    let rest = &input[start..];
    if let Some(quote @ (b'"' | b'\'')) = rest.first().copied()
        && let Some((value, length)) = quoted(rest, quote)
    {
        return (value.unescaped(quote, space), start + length);
    }
    let end = match options.spaces_in_values {
        true => spaced_end(input, start, options),
        false => start + ends.pair_end(rest),
    };
    (SubValue::Text(trim(&input[start..end], &options.trim)), end)
}

/// What stands between quotes, in which a backslash escapes.
struct Quoted<'t> {
    inner: &'t [u8],
    escaped: bool,
}

fn quoted(text: &[u8], quote: u8) -> Option<(Quoted<'_>, usize)> {
    let mut at = 1;
    let mut escaped = false;
    loop {
        at += memchr::memchr2(quote, b'\\', text.get(at..)?)?;
        if text[at] == quote {
            break;
        }
        escaped = true;
        at += 2;
    }
    Some((Quoted { inner: &text[1..at], escaped }, at + 1))
}

impl<'t> Quoted<'t> {
    fn unescaped(&self, quote: u8, space: &'t mut Vec<u8>) -> SubValue<'t> {
        if !self.escaped {
            return SubValue::Text(self.inner);
        }
        space.clear();
        let mut bytes = self.inner.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => match bytes.next() {
                    Some(next) if *next == quote || *next == b'\\' => space.push(*next),
                    Some(next) => space.extend_from_slice(&[b'\\', *next]),
                    None => space.push(b'\\'),
                },
                other => space.push(*other),
            }
        }
        SubValue::Text(space)
    }
}

/// The end of a value that may hold separators: before the last word in front of the next `=`.
fn spaced_end(input: &[u8], start: usize, options: &KvOptions) -> usize {
    let mut word = start;
    for (at, byte) in input.iter().enumerate().skip(start) {
        if options.pair_separators.contains(byte) {
            word = at + 1;
        } else if *byte == options.key_value_separator && word > start && at > word {
            let key = &input[word..at];
            if key
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'[' | b']'))
            {
                let mut end = word;
                while end > start && options.pair_separators.contains(&input[end - 1]) {
                    end -= 1;
                }
                return end;
            }
        }
    }
    let mut end = input.len();
    while end > start && options.pair_separators.contains(&input[end - 1]) {
        end -= 1;
    }
    end
}

fn trim<'t>(text: &'t [u8], bytes: &[u8]) -> &'t [u8] {
    let mut text = text;
    if bytes.is_empty() {
        return text;
    }
    while let Some((_, rest)) = text.split_first().filter(|(b, _)| bytes.contains(b)) {
        text = rest;
    }
    while let Some((_, rest)) = text.split_last().filter(|(b, _)| bytes.contains(b)) {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::{KvOptions, parse};

    #[test]
    fn pairs_are_found_in_their_dialects() {
        let plain = KvOptions::default();
        check(
            r#"IN=eth0 OUT= a="x \"y\" z" junk b='q' c=1=2"#,
            |i, p, s| parse(i, &plain, p, s),
            true,
            &["IN=eth0", "OUT=", "a=x \"y\" z", "b=q", "c=1=2"],
        );
        let spaced = KvOptions { spaces_in_values: true, ..KvOptions::default() };
        check(
            "act=blocked msg=a b = c src=1.2.3.4 last=x y ",
            |i, p, s| parse(i, &spaced, p, s),
            true,
            &["act=blocked", "msg=a b = c", "src=1.2.3.4", "last=x y"],
        );
        let comma = KvOptions {
            pair_separators: b", ".to_vec(),
            key_value_separator: b':',
            trim: b"<>".to_vec(),
            ..plain.clone()
        };
        check(
            "to:<a@b>, relay:none",
            |i, p, s| parse(i, &comma, p, s),
            true,
            &["to=a@b", "relay=none"],
        );
        check("no pairs here", |i, p, s| parse(i, &plain, p, s), false, &[]);
        check("a=\"open", |i, p, s| parse(i, &plain, p, s), true, &["a=\"open"]);
    }
}
