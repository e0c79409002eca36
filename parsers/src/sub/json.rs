//! JSON objects (RFC 8259), flattened: the keys of nested objects are joined by dots. A list of
//! plain values is a list, one with objects is a list of their JSON texts.

use super::{FieldSink, Space, SubValue};
use crate::swar;

/// What stands deeper is passed over.
const DEPTH_MAX: usize = 32;
/// Longer keys are no names; each field carries all of its path, so the path has to be short. What has a
/// longer one is passed over: a line that lets its sender name a key must not be lost by it.
const PATH_BYTES_MAX: usize = 512;

/// `input` has to be one object, with nothing but white space around it.
pub fn parse(input: &[u8], space: &mut Space, sink: &mut dyn FieldSink) -> bool {
    let Space { path, text: unescaped, .. } = space;
    path.clear();
    let mut reader = Reader { text: input, at: 0, path, unescaped };
    reader.space();
    if reader.peek() != Some(b'{') || reader.object(0, sink).is_none() {
        return false;
    }
    reader.space();
    reader.at == input.len()
}

struct Reader<'t, 's> {
    text: &'t [u8],
    at: usize,
    /// The keys of the objects that are open, joined by dots; behind them, what is open of a value that is
    /// passed over.
    path: &'s mut Vec<u8>,
    /// The last text that had escapes.
    unescaped: &'s mut Vec<u8>,
}

/// A value; an unescaped text stands in [`Reader::unescaped`].
enum Found<'t> {
    Value(SubValue<'t>),
    Unescaped,
    /// Its items have been told.
    List,
}

impl<'t> Reader<'t, '_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn object(&mut self, depth: usize, sink: &mut dyn FieldSink) -> Option<()> {
        self.expect(b'{')?;
        self.space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        let parent = self.path.len();
        loop {
            if parent > 0 {
                self.path.push(b'.');
            }
            self.key()?;
            self.expect(b':')?;
            self.space();
            let object = self.peek()? == b'{';
            if self.path.len() > PATH_BYTES_MAX || object && depth + 1 >= DEPTH_MAX {
                self.skip()?;
            } else if object {
                self.object(depth + 1, sink)?;
            } else {
                let found = self.value(sink)?;
                sink.field(self.path, found.of(self.unescaped));
            }
            self.path.truncate(parent);
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Passes over a value of any depth.
    fn skip(&mut self) -> Option<()> {
        let outer = self.path.len();
        loop {
            self.space();
            let opening = self.peek()?;
            if matches!(opening, b'{' | b'[') {
                self.at += 1;
                self.path.push(opening);
                self.space();
                if !matches!((opening, self.peek()?), (b'{', b'}') | (b'[', b']')) {
                    self.skip_key()?;
                    continue;
                }
            } else {
                self.plain_value()?;
            }
            while self.path.len() > outer {
                self.space();
                let byte = self.peek()?;
                self.at += 1;
                match (self.path.last()?, byte) {
                    (_, b',') => break,
                    (b'{', b'}') | (b'[', b']') => self.path.pop(),
                    _ => return None,
                };
            }
            if self.path.len() == outer {
                return Some(());
            }
            self.skip_key()?;
        }
    }

    /// Passes over a key, if what is open innermost has some.
    fn skip_key(&mut self) -> Option<()> {
        if self.path.last() != Some(&b'{') {
            return Some(());
        }
        self.space();
        self.string()?;
        self.expect(b':')
    }

    /// Appends a key to the path.
    fn key(&mut self) -> Option<()> {
        self.expect(b'"')?;
        let (text, closed) = self.plain()?;
        self.path.extend_from_slice(text);
        if closed {
            return Some(());
        }
        self.unescaped.clear();
        self.escaped()?;
        self.path.extend_from_slice(self.unescaped);
        Some(())
    }

    /// A value that is no object.
    fn value(&mut self, sink: &mut dyn FieldSink) -> Option<Found<'t>> {
        if self.peek()? != b'[' {
            return self.plain_value();
        }
        if sink.wants(self.path) { self.list(sink) } else { self.skip() }.map(|()| Found::List)
    }

    fn plain_value(&mut self) -> Option<Found<'t>> {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.word(b"true", SubValue::Boolean(true)),
            b'f' => self.word(b"false", SubValue::Boolean(false)),
            b'n' => self.word(b"null", SubValue::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8], value: SubValue<'t>) -> Option<Found<'t>> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            Found::Value(value)
        })
    }

    fn number(&mut self) -> Option<Found<'t>> {
        const DIGITS: usize = 18;
        let start = self.at;
        let mut number = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek()
            && self.at - start < DIGITS
        {
            number = number * 10 + i64::from(digit - b'0');
            self.at += 1;
        }
        let more = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        if self.at > start && !self.peek().is_some_and(more) {
            return Some(Found::Value(SubValue::Integer(number)));
        }
        while self.peek().is_some_and(more) {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).ok()?;
        if let Ok(number) = text.parse() {
            return Some(Found::Value(SubValue::Integer(number)));
        }
        let number: f64 = text.parse().ok()?;
        let whole = !text.contains(['.', 'e', 'E']);
        // What a number cannot hold stays as it was written.
        Some(Found::Value(if whole || !number.is_finite() {
            SubValue::Text(&self.text[start..self.at])
        } else {
            SubValue::Float(number)
        }))
    }

    /// What stands up to the next quote or backslash, and whether it is a quote, which is passed over.
    #[inline]
    fn plain(&mut self) -> Option<(&'t [u8], bool)> {
        let start = self.at;
        let end = loop {
            let Some(block) = swar::block(self.text, self.at) else {
                let rest = &self.text[self.at..];
                break self.at + rest.iter().position(|b| matches!(b, b'"' | b'\\'))?;
            };
            let found = swar::equal(block, b'"') | swar::equal(block, b'\\');
            if found != 0 {
                break self.at + swar::place(found);
            }
            self.at += swar::BYTES;
        };
        let closed = self.text[end] == b'"';
        self.at = end + usize::from(closed);
        Some((&self.text[start..end], closed))
    }

    fn string(&mut self) -> Option<Found<'t>> {
        self.expect(b'"')?;
        let (text, closed) = self.plain()?;
        if closed {
            return Some(Found::Value(SubValue::Text(text)));
        }
        self.unescaped.clear();
        self.unescaped.extend_from_slice(text);
        self.escaped()?;
        Some(Found::Unescaped)
    }

    /// Appends the text from a backslash to the closing quote to the unescaped one.
    fn escaped(&mut self) -> Option<()> {
        loop {
            self.at += 1;
            self.escape()?;
            let (text, closed) = self.plain()?;
            self.unescaped.extend_from_slice(text);
            if closed {
                return Some(());
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b'n' => self.unescaped.push(b'\n'),
            b't' => self.unescaped.push(b'\t'),
            b'r' => self.unescaped.push(b'\r'),
            b'b' => self.unescaped.push(8),
            b'f' => self.unescaped.push(12),
            b'u' => {
                let mut code = self.hex4()?;
                if (0xd800..0xdc00).contains(&code) && self.text[self.at..].starts_with(b"\\u") {
                    let behind = self.at;
                    self.at += 2;
                    match self.hex4()?.checked_sub(0xdc00).filter(|low| *low < 0x400) {
                        Some(low) => code = 0x10000 + ((code - 0xd800) << 10) + low,
                        // A half alone, as cut texts have it: what follows is a character of its own.
                        None => self.at = behind,
                    }
                }
                let c = char::from_u32(code).unwrap_or('\u{fffd}');
                self.unescaped.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            b'"' | b'\\' | b'/' | b'\'' => self.unescaped.push(byte),
            // No JSON, but found: both signs are kept, as they are in a path that nobody has escaped. With that, a
            // word is in a text as it is or with `\u00` in it.
            other => self.unescaped.extend_from_slice(&[b'\\', other]),
        }
        Some(())
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |code, b| Some(code << 4 | (*b as char).to_digit(16)?))
    }

    fn list(&mut self, sink: &mut dyn FieldSink) -> Option<()> {
        self.expect(b'[')?;
        self.space();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.space();
            let start = self.at;
            let found = match self.peek()? {
                b'{' | b'[' => {
                    self.skip()?;
                    Found::Value(SubValue::Text(&self.text[start..self.at]))
                }
                _ => self.plain_value()?,
            };
            sink.item(found.of(self.unescaped));
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }
}

impl<'t> Found<'t> {
    fn of<'v>(self, unescaped: &'v [u8]) -> SubValue<'v>
    where
        't: 'v,
    {
        match self {
            Self::Value(value) => value,
            Self::Unescaped => SubValue::Text(unescaped),
            Self::List => SubValue::List,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Collected, check};
    use super::{Space, parse};

    #[test]
    fn objects_are_flattened() {
        check(
            r#" {"a":1,"b":{"c":"x\ny","d":[1,"z"]},"e":null,"f":true,"g":1.5,"h":[{"i":2}],"j":{}} "#,
            parse,
            true,
            &["a=#1", "b.c=x\ny", "b.d=[#1,z]", "e=null", "f=?true", "g=#1.5", "h=[{\"i\":2}]"],
        );
        check(
            r#"{"a\"b":{"c":[{"d":{"e":[1]}},[2,"x"],"\u0041\n",null]},"f":[],"a long key":"a long value"}"#,
            parse,
            true,
            &["a\"b.c=[{\"d\":{\"e\":[1]}},[2,\"x\"],A\n,null]", "f=[]", "a long key=a long value"],
        );
        // What is no escape stays.
        check(r#"{"C:\Users\x":"\'al\ert\'"}"#, parse, true, &[r"C:\Users\x='al\ert'"]);
        check(r#"{"k":"\u00e9\ud83d\ude00"}"#, parse, true, &["k=é😀"]);
        check(
            r#"{"k":"\ud83d\u2026","l":"\ud83d\ud83d\ude00"}"#,
            parse,
            true,
            &["k=\u{fffd}…", "l=\u{fffd}😀"],
        );
        check(
            r#"{"a":18446744073709551615,"b":1e999,"c":-1}"#,
            parse,
            true,
            &["a=18446744073709551615", "b=1e999", "c=#-1"],
        );
        for broken in ["", "{", "[1]", "{\"a\":}", "{\"a\":1}x", "{a:1}", "{\"a\":tru}"] {
            check(broken, parse, false, &[]);
        }
    }

    #[test]
    fn what_is_too_deep_or_has_too_long_a_path_is_passed_over() {
        let long = "k".repeat(600);
        let deep = |value: &str| format!("{}{value}{}", "{\"a\":".repeat(50), "}".repeat(50));
        for passed in [
            "1".to_owned(),
            r#""\u0041\"x""#.to_owned(),
            r#" [ ] "#.to_owned(),
            r#" { } "#.to_owned(),
            r#"{"b" : [ 1 , {"c":null, "d" :[[],{}]} ], "e":"f"}"#.to_owned(),
            format!("{}{}", "[".repeat(9000), "]".repeat(9000)),
            deep("1"),
        ] {
            let text = format!("{{\"x\":1,\"{long}\":{passed},\"y\":2}}");
            parses(&text, &["x=#1", "y=#2"]);
            parses(&format!("{{\"x\":{},\"y\":2}}", deep(&passed)), &["y=#2"]);
            parses(&format!("{{\"x\":[{passed}]}}"), &["x=["]);
        }
        for broken in [
            "",
            "{",
            "[1",
            "[1,]",
            "{\"a\"}",
            "{1:1}",
            "[1}",
            "{\"a\":1]",
            "tru",
            "\"\\u00x0\"",
            "1]",
        ] {
            let text = format!("{{\"x\":1,\"{long}\":{broken}}}");
            assert!(
                !parse(text.as_bytes(), &mut Space::default(), &mut Collected::default()),
                "{broken}"
            );
        }
    }

    /// A text that is JSON, and the beginnings of what it gives.
    fn parses(text: &str, gave: &[&str]) {
        let mut collected = Collected::default();
        assert!(parse(text.as_bytes(), &mut Space::default(), &mut collected), "{text}");
        assert_eq!(collected.fields.len(), gave.len(), "{text}: {:?}", collected.fields);
        assert!(collected.fields.iter().zip(gave).all(|(field, start)| field.starts_with(start)));
    }
}
