//! XML events, flattened: elements are joined by dots, attributes follow their element, and
//! `<Data Name="X">v</Data>` of Windows events is `EventData.X=v`. The outermost element is left out.

use super::{FieldSink, SubValue};

const DEPTH_MAX: usize = 32;

/// `input` begins with `<` and is well-formed enough to be followed to its end.
pub fn parse(input: &[u8], sink: &mut dyn FieldSink) -> bool {
    let mut rest = input.trim_ascii();
    let mut path: Vec<Vec<u8>> = Vec::new();
    let mut opened = false;
    while let Some(start) = memchr::memchr(b'<', rest) {
        let text = rest[..start].trim_ascii();
        rest = &rest[start..];
        if let Some(after) = skipped(rest) {
            rest = after;
            continue;
        }
        let Some(end) = tag_end(rest) else { return false };
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix(b"/") {
            if path.is_empty() || !same_name(path.last(), name) {
                return false;
            }
            if !text.is_empty() {
                emit(&path, None, text, sink);
            }
            path.pop();
            continue;
        }
        let empty = tag.last() == Some(&b'/');
        let tag = tag.strip_suffix(b"/").unwrap_or(tag);
        if path.len() >= DEPTH_MAX || !open(tag, &mut path, sink) {
            return false;
        }
        opened = true;
        if empty {
            path.pop();
        }
    }
    opened && path.is_empty()
}

/// Behind a declaration or a comment.
fn skipped(text: &[u8]) -> Option<&[u8]> {
    let (begin, end): (&[u8], &[u8]) = if text.starts_with(b"<!--") {
        (b"<!--", b"-->")
    } else if text.starts_with(b"<?") {
        (b"<?", b"?>")
    } else {
        return None;
    };
    let at = memchr::memmem::find(&text[begin.len()..], end)?;
    Some(&text[begin.len() + at + end.len()..])
}

/// The `>` that ends the tag at the start of `text`, outside quotes.
fn tag_end(text: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), close) if open == *close => quote = None,
            _ => {}
        }
    }
    None
}

/// Opens an element: its name goes onto the path, its attributes to the sink.
fn open(tag: &[u8], path: &mut Vec<Vec<u8>>, sink: &mut dyn FieldSink) -> bool {
    let end = tag.iter().position(u8::is_ascii_whitespace).unwrap_or(tag.len());
    let name = &tag[..end];
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
    if name.is_empty() || !name.iter().all(plain) {
        return false;
    }
    path.push(name.to_vec());
    let mut rest = tag[end..].trim_ascii();
    while let Some(equals) = memchr::memchr(b'=', rest) {
        let key = rest[..equals].trim_ascii();
        let after = rest[equals + 1..].trim_ascii_start();
        let Some((quote, inner)) = after.split_first() else { break };
        let Some(close) = memchr::memchr(*quote, inner) else { break };
        let value = &inner[..close];
        if key == b"Name" && name == b"Data" {
            // The name of a datum stands for its element.
            if let Some(last) = path.last_mut() {
                *last = [b"Data\0", value].concat();
            }
        } else if !key.starts_with(b"xmlns") {
            emit(path, Some(key), value, sink);
        }
        rest = inner[close + 1..].trim_ascii_start();
    }
    true
}

fn same_name(open: Option<&Vec<u8>>, close: &[u8]) -> bool {
    let close = close.trim_ascii();
    open.is_some_and(|open| open == close || (close == b"Data" && open.starts_with(b"Data\0")))
}

fn emit(path: &[Vec<u8>], attribute: Option<&[u8]>, text: &[u8], sink: &mut dyn FieldSink) {
    let mut key: Vec<u8> = Vec::new();
    let names = path.iter().skip(1).map(|name| name.strip_prefix(b"Data\0").unwrap_or(name));
    for name in names.chain(attribute) {
        if !key.is_empty() {
            key.push(b'.');
        }
        key.extend_from_slice(name);
    }
    if key.is_empty() {
        key.extend_from_slice(b"text");
    }
    sink.field(&key, unescape(text));
}

fn unescape(text: &[u8]) -> SubValue<'_> {
    let text = text.strip_prefix(b"<![CDATA[").and_then(|t| t.strip_suffix(b"]]>")).unwrap_or(text);
    if !text.contains(&b'&') {
        return SubValue::Text(text);
    }
    const ENTITIES: [(&[u8], u8); 5] =
        [(b"&amp;", b'&'), (b"&lt;", b'<'), (b"&gt;", b'>'), (b"&quot;", b'"'), (b"&apos;", b'\'')];
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        match ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity)) {
            Some((entity, byte)) => {
                out.push(*byte);
                rest = &rest[entity.len()..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    SubValue::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::parse;

    #[test]
    fn windows_events_are_flattened() {
        check(
            "<?xml version='1.0'?><Event xmlns='u'><System><Provider Name='P'/><EventID>4625</EventID></System>\
             <EventData><Data Name='TargetUserName'>a&amp;b</Data><Data Name='E'/></EventData></Event>",
            parse,
            true,
            &["System.Provider.Name=P", "System.EventID=4625", "EventData.TargetUserName=a&b"],
        );
        for broken in ["", "text", "<a>", "<a></b>", "<a", "< a></ a>"] {
            check(broken, parse, false, &[]);
        }
    }
}
