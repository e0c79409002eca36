//! JSON objects (RFC 8259), flattened: the keys of nested objects are joined by dots. A list of
//! plain values is a list, one with objects is a list of their JSON texts.

use super::{FieldSink, SubValue};

const DEPTH_MAX: usize = 32;
const ITEMS_MAX: usize = 256;
/// Longer keys are no names; each field carries all of its path, so the path has to be short.
const PATH_BYTES_MAX: usize = 512;

/// `input` has to be one object, with nothing but white space around it.
pub fn parse(input: &[u8], sink: &mut dyn FieldSink) -> bool {
    let mut reader = Reader { text: input, at: 0, path: Vec::new() };
    reader.space();
    if reader.peek() != Some(b'{') || reader.object(0, sink).is_none() {
        return false;
    }
    reader.space();
    reader.at == input.len()
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    path: Vec<u8>,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn object(&mut self, depth: usize, sink: &mut dyn FieldSink) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        self.expect(b'{')?;
        self.space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.space();
            let parent = self.path.len();
            if parent > 0 {
                self.path.push(b'.');
            }
            match self.string()? {
                SubValue::Text(key) => self.path.extend_from_slice(key),
                SubValue::Owned(key) => self.path.extend_from_slice(&key),
                _ => return None,
            }
            if self.path.len() > PATH_BYTES_MAX {
                return None;
            }
            self.expect(b':')?;
            self.space();
            if self.peek()? == b'{' {
                self.object(depth + 1, sink)?;
            } else {
                let value = self.value(depth + 1)?;
                sink.field(&self.path, value);
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

    fn value(&mut self, depth: usize) -> Option<SubValue<'t>> {
        match self.peek()? {
            b'"' => self.string(),
            b'[' => self.list(depth),
            b't' => self.word(b"true", SubValue::Boolean(true)),
            b'f' => self.word(b"false", SubValue::Boolean(false)),
            b'n' => self.word(b"null", SubValue::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8], value: SubValue<'t>) -> Option<SubValue<'t>> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            value
        })
    }

    fn number(&mut self) -> Option<SubValue<'t>> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).ok()?;
        if let Ok(number) = text.parse() {
            return Some(SubValue::Integer(number));
        }
        let number: f64 = text.parse().ok()?;
        let whole = !text.contains(['.', 'e', 'E']);
        // What a number cannot hold stays as it was written.
        Some(if whole || !number.is_finite() {
            SubValue::Text(&self.text[start..self.at])
        } else {
            SubValue::Float(number)
        })
    }

    fn string(&mut self) -> Option<SubValue<'t>> {
        self.expect(b'"')?;
        let start = self.at;
        let length = memchr::memchr2(b'"', b'\\', &self.text[start..])?;
        self.at += length;
        if self.text[self.at] == b'"' {
            self.at += 1;
            return Some(SubValue::Text(&self.text[start..start + length]));
        }
        let mut out = self.text[start..self.at].to_vec();
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(SubValue::Owned(out));
                }
                b'\\' => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                other => {
                    out.push(other);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => {
                let mut code = self.hex4()?;
                if (0xd800..0xdc00).contains(&code) && self.text[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.hex4()?;
                    code = 0x10000
                        + ((code - 0xd800) << 10)
                        + low.checked_sub(0xdc00).filter(|n| *n < 0x400)?;
                }
                let c = char::from_u32(code).unwrap_or('\u{fffd}');
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            // `\"`, `\\`, `\/`; others are no JSON but are found, and kept.
            other => out.push(other),
        }
        Some(())
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |code, b| Some(code << 4 | (*b as char).to_digit(16)?))
    }

    fn list(&mut self, depth: usize) -> Option<SubValue<'t>> {
        if depth >= DEPTH_MAX {
            return None;
        }
        self.expect(b'[')?;
        let mut items = Vec::new();
        self.space();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(SubValue::List(items));
        }
        loop {
            self.space();
            let start = self.at;
            let item = match self.peek()? {
                b'{' => {
                    let path = std::mem::take(&mut self.path);
                    let fine = self.object(depth + 1, &mut Nowhere);
                    self.path = path;
                    fine?;
                    SubValue::Text(&self.text[start..self.at])
                }
                b'[' => {
                    self.list(depth + 1)?;
                    SubValue::Text(&self.text[start..self.at])
                }
                _ => self.value(depth + 1)?,
            };
            if items.len() < ITEMS_MAX {
                items.push(item);
            }
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(SubValue::List(items));
                }
                _ => return None,
            }
        }
    }
}

/// For objects inside lists: only their extent matters.
struct Nowhere;

impl FieldSink for Nowhere {
    fn field(&mut self, _: &[u8], _: SubValue<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::parse;

    #[test]
    fn objects_are_flattened() {
        check(
            r#" {"a":1,"b":{"c":"x\ny","d":[1,"z"]},"e":null,"f":true,"g":1.5,"h":[{"i":2}],"j":{}} "#,
            parse,
            true,
            &["a=#1", "b.c=x\ny", "b.d=[#1,z]", "e=null", "f=?true", "g=#1.5", "h=[{\"i\":2}]"],
        );
        check(r#"{"k":"\u00e9\ud83d\ude00"}"#, parse, true, &["k=é😀"]);
        check(
            r#"{"a":18446744073709551615,"b":1e999,"c":-1}"#,
            parse,
            true,
            &["a=18446744073709551615", "b=1e999", "c=#-1"],
        );
        let long = format!("{{\"{}\":1}}", "k".repeat(600));
        assert!(!parse(long.as_bytes(), &mut super::Nowhere));
        for broken in ["", "{", "[1]", "{\"a\":}", "{\"a\":1}x", "{a:1}", "{\"a\":tru}"] {
            check(broken, parse, false, &[]);
        }
        assert!(!parse("{\"a\":".repeat(100).as_bytes(), &mut super::Nowhere));
    }
}
