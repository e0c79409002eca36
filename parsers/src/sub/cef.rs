//! ArcSight's Common Event Format: `CEF:0|vendor|product|version|class|name|severity|extension`.
//!
//! In the header `\|` and `\\` are escapes, in the extension `\=`, `\\`, `\n` and `\r`. Values of the
//! extension hold spaces; a value ends before the next ` key=`.

use super::{FieldSink, SubValue};

const HEADER: [&[u8]; 7] = [
    b"cef.version",
    b"cef.device.vendor",
    b"cef.device.product",
    b"cef.device.version",
    b"cef.device.event_class_id",
    b"cef.name",
    b"cef.severity",
];

/// The format has some twenty fields with a label.
const LABELS_MAX: usize = 64;

/// `CEF:` may stand behind other text.
pub fn parse(input: &[u8], sink: &mut dyn FieldSink) -> bool {
    let Some(start) = memchr::memmem::find(input, b"CEF:") else { return false };
    let mut rest = &input[start + 4..];
    for (at, key) in HEADER.iter().enumerate() {
        let last = at + 1 == HEADER.len();
        let Some(end) = unescaped(rest, b'|').or(last.then_some(rest.len())) else { return false };
        sink.field(key, unescape(rest[..end].trim_ascii()));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    extension(rest, sink);
    true
}

/// Where `byte` stands without a backslash in front.
fn unescaped(text: &[u8], byte: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            found if *found == byte => return Some(at),
            _ => at += 1,
        }
    }
}

fn extension(text: &[u8], sink: &mut dyn FieldSink) {
    let text = text.trim_ascii();
    let mut labels: Vec<(&[u8], Vec<u8>)> = Vec::new();
    let mut values: Vec<(&[u8], SubValue<'_>)> = Vec::new();
    let Some(mut equals) = unescaped(text, b'=') else { return };
    let mut key_start = 0;
    loop {
        let key = text[key_start..equals].trim_ascii();
        let value_start = equals + 1;
        let next = next_key(text, value_start);
        let end = next.map_or(text.len(), |(start, _)| start);
        let value = unescape(text[value_start..end].trim_ascii());
        if let Some(of) = key.strip_suffix(b"Label") {
            if labels.len() < LABELS_MAX {
                labels.push((of, bytes_of(&value).to_vec()));
            }
        } else {
            values.push((key, value.clone()));
        }
        sink.field(key, value);
        let Some((start, at)) = next else { break };
        (key_start, equals) = (start, at);
    }
    for (key, value) in values {
        if let Some((_, label)) = labels.iter().find(|(of, _)| *of == key) {
            sink.field(&[b"label.", label.as_slice()].concat(), value);
        }
    }
}

fn bytes_of<'v>(value: &'v SubValue<'_>) -> &'v [u8] {
    match value {
        SubValue::Text(text) => text,
        SubValue::Owned(text) => text,
        _ => b"",
    }
}

/// The next ` key=` from `from` on: where the key begins, and its equals sign.
fn next_key(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        let equals = at + unescaped(&text[at..], b'=')?;
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

fn unescape(text: &[u8]) -> SubValue<'_> {
    if !text.contains(&b'\\') {
        return SubValue::Text(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(escaped @ (b'\\' | b'|' | b'=')) => out.push(*escaped),
            Some(other) => out.extend_from_slice(&[b'\\', *other]),
            None => out.push(b'\\'),
        }
    }
    SubValue::Owned(out)
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
        check("CEF:0|a|b", parse, false, &[]);
        check("nothing", parse, false, &[]);
    }
}
