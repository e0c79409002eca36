//! XML events, flattened: elements are joined by dots, attributes follow their element, and
//! `<Data Name="X">v</Data>` of Windows events is `EventData.X=v`. The outermost element is left out. Of a
//! document type nothing is taken, so no entity but those of XML itself stands for anything.

use super::{FieldSink, Space, SubValue};

/// What stands deeper is passed over.
const DEPTH_MAX: usize = 32;
/// Longer names are none; each field carries all of its path, so names have to be short. What stands under
/// a longer one is passed over.
const NAME_BYTES_MAX: usize = 128;

/// `input` begins with `<` and is well-formed enough to be followed to its end.
pub fn parse(input: &[u8], space: &mut Space, sink: &mut dyn FieldSink) -> bool {
    let input = input.trim_ascii();
    let mut rest = input;
    let Space { path: key, text: unescaped, open: elements, pieces, .. } = space;
    key.clear();
    elements.clear();
    pieces.clear();
    let mut path = Path { open: elements, named: 0, key, pieces };
    let mut opened = false;
    while let Some(start) = memchr::memchr(b'<', rest) {
        let text = &rest[..start];
        rest = &rest[start..];
        if !rest.starts_with(b"</") && !path.open.is_empty() {
            append_unescaped(text, path.pieces);
        }
        if let Some(after) = skipped(rest) {
            rest = after;
            continue;
        }
        if !opened && let Some(after) = behind_document_type(rest) {
            rest = after;
            continue;
        }
        if let Some(inner) = rest.strip_prefix(CDATA) {
            let Some(end) = memchr::memmem::find(inner, b"]]>") else { return false };
            if path.open.is_empty() {
                return false;
            }
            rest = &inner[end + 3..];
            // Alone in its element it stays as it stands there.
            let last = rest.trim_ascii_start().starts_with(b"</");
            if last && path.pieces().trim_ascii().is_empty() {
                path.emit(SubValue::Text(&inner[..end]), sink);
            } else {
                path.pieces.extend_from_slice(&inner[..end]);
            }
            continue;
        }
        let Some(end) = tag_end(rest) else { return false };
        let tag = &rest[1..end];
        let start = input.len() - rest.len() + 1;
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix(b"/") {
            let named = |open: &Open| &input[open.start..open.end] == name.trim_ascii();
            if !path.open.last().is_some_and(named) {
                return false;
            }
            path.emit_text(text, unescaped, sink);
            path.close();
            continue;
        }
        let empty = tag.last() == Some(&b'/');
        let tag = tag.strip_suffix(b"/").unwrap_or(tag);
        if !open((tag, start), &mut path, unescaped, sink) {
            return false;
        }
        opened = true;
        if empty {
            path.close();
        }
    }
    opened && path.open.is_empty()
}

/// The elements that are open, and their names joined to a key, without the outermost.
struct Path<'s> {
    open: &'s mut Vec<Open>,
    /// How many of them, from the outermost, are neither too deep nor under too long a name.
    named: usize,
    key: &'s mut Vec<u8>,
    /// The texts of the open elements, one behind the other, as far as more than one piece makes them.
    pieces: &'s mut Vec<u8>,
}

/// An open element: where its name stands in the input, and the lengths of key and pieces in front of it.
#[derive(Debug)]
pub(super) struct Open {
    start: usize,
    end: usize,
    before: usize,
    pieces: usize,
}

impl Path<'_> {
    fn open(&mut self, name: &[u8], start: usize) {
        let depth = self.open.len();
        let (before, pieces) = (self.key.len(), self.pieces.len());
        self.open.push(Open { start, end: start + name.len(), before, pieces });
        if self.named < depth || depth >= DEPTH_MAX || name.len() > NAME_BYTES_MAX {
            return;
        }
        self.named += 1;
        if depth > 0 {
            self.join(name);
        }
    }

    fn is_named(&self) -> bool {
        self.named == self.open.len()
    }

    /// Calls the innermost element something else in the key.
    fn rename(&mut self, name: &[u8]) {
        if let [_, .., open] = self.open.as_slice()
            && self.is_named()
        {
            self.key.truncate(open.before);
            self.join(name);
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            self.key.truncate(open.before);
            self.pieces.truncate(open.pieces);
            self.named = self.named.min(self.open.len());
        }
    }

    fn join(&mut self, name: &[u8]) {
        if !self.key.is_empty() {
            self.key.push(b'.');
        }
        self.key.extend_from_slice(name);
    }

    /// What the innermost element has of its text so far, but for its last piece.
    fn pieces(&self) -> &[u8] {
        self.open.last().map_or(&[], |open| &self.pieces[open.pieces..])
    }

    /// The text of an element, of which `last` is the last piece, and mostly the only one.
    fn emit_text(&mut self, last: &[u8], unescaped: &mut Vec<u8>, sink: &mut dyn FieldSink) {
        let alone = self.pieces().trim_ascii().is_empty();
        if !alone {
            append_unescaped(last, self.pieces);
        }
        let value = match alone {
            true => unescape(last.trim_ascii(), unescaped),
            false => SubValue::Text(self.pieces().trim_ascii()),
        };
        if value != SubValue::Text(b"") {
            self.emit(value, sink);
        }
    }

    fn emit(&self, value: SubValue<'_>, sink: &mut dyn FieldSink) {
        if self.is_named() {
            sink.field(if self.key.is_empty() { b"text" } else { self.key }, value);
        }
    }

    fn emit_attribute(&mut self, name: &[u8], value: SubValue<'_>, sink: &mut dyn FieldSink) {
        let before = self.key.len();
        self.join(name);
        self.emit(value, sink);
        self.key.truncate(before);
    }
}

const CDATA: &[u8] = b"<![CDATA[";

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

/// Behind a document type, with what it declares.
fn behind_document_type(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"<!DOCTYPE")?;
    let mut declares = false;
    loop {
        if rest.starts_with(b"<!--") || rest.starts_with(b"<?") {
            rest = skipped(rest)?;
            continue;
        }
        let (first, after) = rest.split_first()?;
        rest = after;
        match first {
            b'>' if !declares => return Some(rest),
            b'[' | b']' => declares = *first == b'[',
            b'"' | b'\'' => rest = &rest[memchr::memchr(*first, rest)? + 1..],
            _ => {}
        }
    }
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

/// Opens the element whose tag starts there in the input: its name goes onto the path, its attributes to the sink.
fn open(
    (tag, start): (&[u8], usize),
    path: &mut Path<'_>,
    unescaped: &mut Vec<u8>,
    sink: &mut dyn FieldSink,
) -> bool {
    let end = tag.iter().position(u8::is_ascii_whitespace).unwrap_or(tag.len());
    let name = &tag[..end];
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
    if name.is_empty() || !name.iter().all(plain) {
        return false;
    }
    path.open(name, start);
    let mut rest = tag[end..].trim_ascii();
    while let Some(equals) = memchr::memchr(b'=', rest) {
        let key = rest[..equals].trim_ascii();
        let after = rest[equals + 1..].trim_ascii_start();
        let Some((quote, inner)) = after.split_first() else { break };
        let Some(close) = memchr::memchr(*quote, inner) else { break };
        let value = &inner[..close];
        if key == b"Name" && name == b"Data" && value.len() <= NAME_BYTES_MAX {
            // The name of a datum stands for its element.
            path.rename(value);
        } else if !key.starts_with(b"xmlns") {
            path.emit_attribute(key, unescape(value, unescaped), sink);
        }
        rest = inner[close + 1..].trim_ascii_start();
    }
    true
}

/// Replaces the five named entities and numbered characters; what is none of them stays.
fn unescape<'t>(text: &'t [u8], space: &'t mut Vec<u8>) -> SubValue<'t> {
    if !text.contains(&b'&') {
        return SubValue::Text(text);
    }
    space.clear();
    append_unescaped(text, space);
    SubValue::Text(space)
}

fn append_unescaped(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        match entity(rest) {
            Some((character, length)) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[length..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
}

/// The character that `&…;` at the start of `text` stands for, and the length of that.
pub(crate) fn entity(text: &[u8]) -> Option<(char, usize)> {
    let inner = text.strip_prefix(b"&")?;
    let end = inner.iter().take(10).position(|b| *b == b';')?;
    let character = match &inner[..end] {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => numbered(digits, 16)?,
        [b'#', digits @ ..] => numbered(digits, 10)?,
        _ => return None,
    };
    Some((character, end + 2))
}

fn numbered(digits: &[u8], radix: u32) -> Option<char> {
    let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?;
    char::from_u32(code)
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
        check(
            "<e><m>a&#10;b&#x41;&x;</m><d><![CDATA[<p> & </p>]]></d></e>",
            parse,
            true,
            &["m=a\nbA&x;", "d=<p> & </p>"],
        );
        for broken in ["", "text", "<a>", "<a></b>", "<a", "< a></ a>"] {
            check(broken, parse, false, &[]);
        }
    }

    #[test]
    fn all_pieces_of_a_text_are_its_elements() {
        for (text, gave) in [
            ("<e><m>a<!-- c --> b</m></e>", &["m=a b"][..]),
            ("<e><m>a &amp; <b k='&lt;'>x</b> &gt;</m></e>", &["m.b.k=<", "m.b=x", "m=a &  >"]),
            ("<e><m>a<![CDATA[<b>]]>c<![CDATA[ d]]></m></e>", &["m=a<b>c d"]),
            (
                "<e><m><![CDATA[a]]><![CDATA[b]]></m><n> <![CDATA[ c ]]> </n></e>",
                &["m=ab", "n= c "],
            ),
            ("<e>a<m>b</m><n/> <?p?> </e>", &["m=b", "text=a"]),
            ("<e><m> <n/> <o>1</o> </m></e>", &["m.o=1"]),
        ] {
            check(text, parse, true, gave);
        }
    }

    #[test]
    fn a_document_type_is_passed_over_and_none_of_its_entities_is_replaced() {
        for doctype in [
            "<!DOCTYPE e>",
            "<!DOCTYPE e SYSTEM 'a>b.dtd'>",
            "<!DOCTYPE e [<!ENTITY x \"]>\"> <!-- don't ]> --> <?p ' ]>?>]>",
        ] {
            let text = format!("<?xml version='1.0'?>{doctype}<e><a>&x;</a></e>");
            check(&text, parse, true, &["a=&x;"]);
        }
        for broken in
            ["<!DOCTYPE e", "<!DOCTYPE e [<!--><e/>", "<!DOCTYPE '><e/>", "<e><!DOCTYPE e></e>"]
        {
            check(broken, parse, false, &[]);
        }
    }

    #[test]
    fn what_is_too_deep_or_under_too_long_a_name_is_passed_over() {
        let (long, open, close) = ("n".repeat(200), "<a>".repeat(40), "</a>".repeat(40));
        for passed in [
            format!("<{long} k='v'><b>1</b></{long}>"),
            format!("{open}<Data Name='X' k='v'>1</Data><![CDATA[2]]>{close}"),
        ] {
            let text = format!("<e><x>1</x>{passed}<y>2</y></e>");
            check(&text, parse, true, &["x=1", "y=2"]);
            check(&text.replace("</y>", "</z>"), parse, false, &[]);
        }
    }
}
