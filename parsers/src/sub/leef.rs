//! IBM's Log Event Extended Format: `LEEF:1.0|vendor|product|version|event id|key=value<tab>…`, and 2.0
//! with a delimiter of its own (`^`, `x09` or `0x09` in hexadecimal, or `\t`) in a sixth field.

use super::{FieldSink, SubValue};

const HEADER: [&[u8]; 5] =
    [b"leef.version", b"leef.vendor", b"leef.product", b"leef.product_version", b"leef.event_id"];

/// `LEEF:` may stand behind other text.
pub fn parse(input: &[u8], sink: &mut dyn FieldSink) -> bool {
    let Some(start) = memchr::memmem::find(input, b"LEEF:") else { return false };
    let mut rest = &input[start + 5..];
    let second = rest.starts_with(b"2");
    for key in HEADER {
        let Some(end) = memchr::memchr(b'|', rest) else { return false };
        sink.field(key, SubValue::Text(rest[..end].trim_ascii()));
        rest = &rest[end + 1..];
    }
    let mut delimiter = b'\t';
    if second
        && let Some(end) = rest.iter().take(8).position(|b| *b == b'|')
        && let Some(given) = delimiter_of(&rest[..end])
    {
        delimiter = given;
        rest = &rest[end + 1..];
    }
    for pair in rest.split(|b| *b == delimiter) {
        if let Some(equals) = memchr::memchr(b'=', pair) {
            let key = pair[..equals].trim_ascii();
            if !key.is_empty() {
                sink.field(key, SubValue::Text(pair[equals + 1..].trim_ascii()));
            }
        }
    }
    true
}

fn delimiter_of(text: &[u8]) -> Option<u8> {
    match text {
        [] | b"\\t" => Some(b'\t'),
        [byte] => Some(*byte),
        [b'x' | b'X', digits @ ..] | [b'0', b'x' | b'X', digits @ ..] => {
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::parse;

    #[test]
    fn both_versions_are_taken_apart() {
        let header =
            ["leef.vendor=V", "leef.product=P", "leef.product_version=1", "leef.event_id=E"];
        let with = |version: &'static str, rest: &[&'static str]| {
            [&[version], header.as_slice(), rest].concat()
        };
        check(
            "LEEF:1.0|V|P|1|E|src=1.1.1.1\tmsg=a b",
            |i, _, s| parse(i, s),
            true,
            &with("leef.version=1.0", &["src=1.1.1.1", "msg=a b"]),
        );
        check(
            "LEEF:2.0|V|P|1|E|^|src=1.1.1.1^x=y",
            |i, _, s| parse(i, s),
            true,
            &with("leef.version=2.0", &["src=1.1.1.1", "x=y"]),
        );
        for delimiter in ["", "x09", "0x09", "0x0009", "\\t"] {
            check(
                &format!("LEEF:2.0|V|P|1|E|{delimiter}|src=a\tx=y"),
                |i, _, s| parse(i, s),
                true,
                &with("leef.version=2.0", &["src=a", "x=y"]),
            );
        }
        check("LEEF:1.0|V", |i, _, s| parse(i, s), false, &[]);
    }
}
