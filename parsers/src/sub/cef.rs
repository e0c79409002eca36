//! ArcSight's Common Event Format: `CEF:0|vendor|product|version|class|name|severity|extension`.
//!
//! In the header `\|` and `\\` are escapes, in the extension `\=`, `\\`, `\n` and `\r`. Values of the
//! extension hold spaces; a value ends before the next ` key=`.

use super::{FieldSink, Space, SubValue};
use std::ops::Range;

const HEADER: [&[u8]; 7] = [
    b"cef.version",
    b"cef.device.vendor",
    b"cef.device.product",
    b"cef.device.version",
    b"cef.device.event_class_id",
    b"cef.name",
    b"cef.severity",
];

const LABEL: &[u8] = b"Label";
/// The format has some twenty fields with a label.
const LABELS_MAX: usize = 64;

/// `CEF:` may stand behind other text.
pub fn parse(input: &[u8], space: &mut Space, sink: &mut dyn FieldSink) -> bool {
    let Some(start) = memchr::memmem::find(input, b"CEF:") else { return false };
    let mut rest = &input[start + 4..];
    for (at, key) in HEADER.iter().enumerate() {
        let last = at + 1 == HEADER.len();
        let Some(end) = find_unescaped(rest, b'|').or(last.then_some(rest.len())) else {
            return false;
        };
        sink.field(key, unescape(rest[..end].trim_ascii(), &mut space.text));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    extension(rest, space, sink);
    true
}

/// Where `byte` stands without a backslash in front.
fn find_unescaped(text: &[u8], byte: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(byte, b'\\', text.get(at..)?)?;
        if text[at] == byte {
            return Some(at);
        }
        at += 2;
    }
}

/// Where in the extension a key and its value stand.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    key: Range<usize>,
    value: Range<usize>,
}

fn extension(text: &[u8], space: &mut Space, sink: &mut dyn FieldSink) {
    let text = text.trim_ascii();
    let Space { path, text: unescaped, pairs, labels, .. } = space;
    pairs.clear();
    labels.clear();
    let Some(mut equals) = find_unescaped(text, b'=') else { return };
    let mut key_start = 0;
    loop {
        let key = trimmed(text, key_start..equals);
        let value_start = equals + 1;
        let next = next_key(text, value_start);
        let value = trimmed(text, value_start..next.map_or(text.len(), |(start, _)| start));
        sink.field(&text[key.clone()], unescape(&text[value.clone()], unescaped));
        match text[key.clone()].strip_suffix(LABEL) {
            None => pairs.push(Pair { key, value }),
            Some(_) if labels.len() < LABELS_MAX && !value.is_empty() => {
                labels.push(Pair { key, value })
            }
            Some(_) => {}
        }
        let Some((start, at)) = next else { break };
        (key_start, equals) = (start, at);
    }
    if labels.is_empty() {
        return;
    }
    for pair in pairs.iter() {
        let key = &text[pair.key.clone()];
        let of = |label: &&Pair| {
            label.key.len() == key.len() + LABEL.len() && text[label.key.clone()].starts_with(key)
        };
        if let Some(label) = labels.iter().find(of) {
            path.clear();
            path.extend_from_slice(b"label.");
            path.extend_from_slice(unescaped_bytes(&text[label.value.clone()], unescaped));
            sink.field(path, unescape(&text[pair.value.clone()], unescaped));
        }
    }
}

fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let end = range.start + text[range.clone()].trim_ascii_end().len();
    end - text[range.start..end].trim_ascii_start().len()..end
}

/// The next ` key=` from `from` on: where the key begins, and its equals sign.
fn next_key(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        let equals = at + find_unescaped(&text[at..], b'=')?;
        let before = &text[from..equals];
        let word = before
            .iter()
            .rev()
            .take_while(|b| {
                b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'[' | b']')
            })
            .count();
        let start = equals - word;
        if word > 0 && start > from && text[start - 1] == b' ' {
            return Some((start, equals));
        }
        at = equals + 1;
    }
}

fn unescape<'t>(text: &'t [u8], space: &'t mut Vec<u8>) -> SubValue<'t> {
    SubValue::Text(unescaped_bytes(text, space))
}

fn unescaped_bytes<'t>(text: &'t [u8], space: &'t mut Vec<u8>) -> &'t [u8] {
    if memchr::memchr(b'\\', text).is_none() {
        return text;
    }
    space.clear();
    // Of a path that was not escaped, `\n` is the beginning of a name.
    let path = matches!(text, [drive, b':', b'\\', name, ..]
        if drive.is_ascii_alphabetic() && *name != b'\\');
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            space.push(*byte);
            continue;
        }
        match bytes.next() {
            Some(other @ (b'n' | b'r')) if path => space.extend_from_slice(&[b'\\', *other]),
            Some(b'n') => space.push(b'\n'),
            Some(b'r') => space.push(b'\r'),
            Some(escaped @ (b'\\' | b'|' | b'=')) => space.push(*escaped),
            Some(other) => space.extend_from_slice(&[b'\\', *other]),
            None => space.push(b'\\'),
        }
    }
    space
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::parse;

    #[test]
    fn header_and_extension_are_taken_apart() {
        check(
            r"x CEF:0|Sec\|urity|tm|1.0|100|worm stopped|10|src=10.0.0.1 msg=a \= b c cs1Label=Rule Name cs1=my rule",
            parse,
            true,
            &[
                "cef.version=0",
                "cef.device.vendor=Sec|urity",
                "cef.device.product=tm",
                "cef.device.version=1.0",
                "cef.device.event_class_id=100",
                "cef.name=worm stopped",
                "cef.severity=10",
                "src=10.0.0.1",
                "msg=a = b c",
                "cs1Label=Rule Name",
                "cs1=my rule",
                "label.Rule Name=my rule",
            ],
        );
        check(
            r"CEF:0|a|b|1|2|c|3|filePath=C:\new\x sproc=C:\new\read.exe msg=a\nb",
            parse,
            true,
            &[
                "cef.version=0",
                "cef.device.vendor=a",
                "cef.device.product=b",
                "cef.device.version=1",
                "cef.device.event_class_id=2",
                "cef.name=c",
                "cef.severity=3",
                r"filePath=C:\new\x",
                r"sproc=C:\new\read.exe",
                "msg=a\nb",
            ],
        );
        check("CEF:0|a|b", parse, false, &[]);
        check("nothing", parse, false, &[]);
    }
}
