//! The members of a JSON object, in one pass and without copies.
//!
//! Most of what ingest does with a record is to find where its members end, so that is done here: texts
//! without escapes and whole numbers by hand; what is rarer (escapes, fractions, lists, objects) by
//! serde_json, so that exactly what is JSON for it is JSON here. A test holds both side by side.

use serde::de::Error as _;
use serde_json::Error;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A value as it stands in the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw<'a> {
    pub(crate) text: &'a str,
    pub(crate) form: Form,
}

/// What a value is, as far as it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A string that means what stands between its quotes.
    Plain,
    /// A string with escapes.
    Escaped,
    /// Anything else.
    Other,
}

impl<'a> Raw<'a> {
    /// The text of a string, or the digits of a number or the word of a boolean.
    pub(crate) fn scalar(self) -> Option<Cow<'a, str>> {
        match self.form {
            Form::Plain => Some(Cow::Borrowed(&self.text[1..self.text.len() - 1])),
            Form::Escaped => serde_json::from_str::<String>(self.text).ok().map(Cow::Owned),
            Form::Other if self.text.starts_with(['[', '{', 'n']) => None,
            Form::Other => Some(Cow::Borrowed(self.text)),
        }
    }
}

impl<'a> Raw<'a> {
    /// Gives each element of a list to `take`; `None` if it is none, or `take` says so.
    pub(crate) fn elements(self, mut take: impl FnMut(Raw<'a>) -> Option<()>) -> Option<()> {
        let mut cursor = Cursor { text: self.text, at: 0 };
        cursor.expect(b'[').ok()?;
        while cursor.peek()? != b']' {
            take(cursor.value().ok()?)?;
            if cursor.peek()? == b',' {
                cursor.at += 1;
            }
        }
        Some(())
    }
}

impl<'a> From<&'a RawValue> for Raw<'a> {
    fn from(value: &'a RawValue) -> Self {
        let text = value.get();
        let form = match (text.as_bytes().first(), memchr::memchr(b'\\', text.as_bytes())) {
            (Some(b'"'), None) => Form::Plain,
            (Some(b'"'), Some(_)) => Form::Escaped,
            _ => Form::Other,
        };
        Self { text, form }
    }
}

/// Gives each member of the object that `payload` is to `take`, in its order.
///
/// # Errors
/// `payload` is no JSON object (and nothing else), or `take` says so.
pub(crate) fn members<'a>(
    payload: &'a [u8],
    mut take: impl FnMut(Cow<'a, str>, Raw<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    let text = std::str::from_utf8(payload).map_err(Error::custom)?;
    let mut cursor = Cursor { text, at: 0 };
    cursor.expect(b'{')?;
    if cursor.peek() == Some(b'}') {
        cursor.at += 1;
        return cursor.end();
    }
    loop {
        if cursor.peek() != Some(b'"') {
            return Err(cursor.fault("a name"));
        }
        let key = cursor.value()?;
        let key = match key.form {
            Form::Plain => Cow::Borrowed(&key.text[1..key.text.len() - 1]),
            _ => Cow::Owned(serde_json::from_str(key.text)?),
        };
        cursor.expect(b':')?;
        let value = cursor.value()?;
        take(key, value)?;
        match cursor.peek() {
            Some(b',') => cursor.at += 1,
            Some(b'}') => {
                cursor.at += 1;
                return cursor.end();
            }
            _ => return Err(cursor.fault("`,` or `}`")),
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            return Err(self.fault(&format!("`{}`", char::from(byte))));
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        self.peek().map_or(Ok(()), |_| Err(self.fault("the end")))
    }

    fn fault(&self, wanted: &str) -> Error {
        Error::custom(format_args!("expected {wanted} at byte {}", self.at))
    }

    fn value(&mut self) -> Result<Raw<'a>, Error> {
        let first = self.peek();
        let start = self.at;
        let (end, form) = match first {
            Some(b'"') => (plain_end(self.text.as_bytes(), start + 1), Form::Plain),
            Some(b'-' | b'0'..=b'9') => {
                (whole_number_end(self.text.as_bytes(), start), Form::Other)
            }
            _ => (None, Form::Other),
        };
        if let Some(end) = end {
            self.at = end;
            return Ok(Raw { text: &self.text[start..end], form });
        }
        let mut values =
            serde_json::Deserializer::from_str(&self.text[start..]).into_iter::<&'a RawValue>();
        let value = values.next().unwrap_or_else(|| Err(self.fault("a value")))?;
        // What the deserializer passes over behind the value is looked at again, by `peek`.
        self.at = start + value.get().len();
        Ok(Raw::from(value))
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Behind the quote that ends a string without escapes; `None` if it has some, or a control character.
fn plain_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    // Eight bytes at a time, until one of them needs a look. A byte is marked that is zero in `word ^
    // (byte wanted)`, or less than a space; borrows may mark bytes behind it, too, never before it.
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let escape = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quote | escape | control) & HIGH;
        if found != 0 {
            at += (found.trailing_zeros() / 8) as usize;
            return (bytes[at] == b'"').then_some(at + 1);
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' | ..0x20 => return None,
            _ => at += 1,
        }
    }
    None
}

/// Behind a number without fraction and exponent; `None` for any other number.
fn whole_number_end(bytes: &[u8], start: usize) -> Option<usize> {
    let digits = start + usize::from(bytes[start] == b'-');
    let count = bytes[digits..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let canonical = count == 1 || (count > 1 && bytes[digits] != b'0');
    let end = digits + count;
    let ended = !matches!(bytes.get(end), Some(b'.' | b'e' | b'E'));
    (canonical && ended).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::{Deserializer, MapAccess, Visitor};
    use serde_json::Value;

    type Members = Vec<(String, String)>;

    fn own(payload: &[u8]) -> Option<Members> {
        let mut found = Members::new();
        let taken = members(payload, |key, value| {
            found.push((key.into_owned(), value.text.to_owned()));
            // A lone surrogate is JSON to serde_json until it is asked for the text.
            let real = serde_json::from_str(value.text).unwrap_or(Value::Null);
            let scalar = match &real {
                Value::String(text) => Some(text.as_str()),
                Value::Number(_) | Value::Bool(_) => Some(value.text),
                _ => None,
            };
            assert_eq!(value.scalar().as_deref(), scalar, "{value:?}");
            let length = real.as_array().map(Vec::len);
            if !real.is_null() {
                let mut count = 0;
                let list = value.elements(|_| {
                    count += 1;
                    Some(())
                });
                assert_eq!(list.map(|()| count), length, "{value:?}");
            }
            Ok(())
        });
        taken.ok().map(|()| found)
    }

    /// What serde_json makes of it.
    fn oracle(payload: &[u8]) -> Option<Members> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::new();
                while let Some(key) = map.next_key::<String>()? {
                    let value: &'de RawValue = map.next_value()?;
                    members.push((key, value.get().to_owned()));
                }
                Ok(members)
            }
        }
        let mut deserializer = serde_json::Deserializer::from_slice(payload);
        let members = deserializer.deserialize_map(All).ok()?;
        // Raw values are not looked into by serde_json; here they must be text, too.
        std::str::from_utf8(payload).ok()?;
        deserializer.end().ok().map(|()| members)
    }

    #[test]
    fn it_finds_what_serde_json_finds() {
        let whole = r#"{"a.b":"plain text that is longer than a word","":"","k\u0041\n":"es\"caped\\",
            "n":0,"m":-12,"o":1.5e3 , "l":["x",1,{"y":null}],"t":true,"f":false,"z":null,"ü":"grün€😀"}"#;
        assert_eq!(own(whole.as_bytes()).unwrap().len(), 11);
        for payload in [
            whole,
            "",
            "{",
            "{}",
            " {} ",
            "{} x",
            "{}{}",
            "[]",
            "7",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":-}",
            "{\"a\":1.}",
            "{\"a\":+1}",
            "{\"a\":1 2}",
            "{a:1}",
            "{\"a\":tru}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"12345678\u{1f}\"}",
            "{\"a\":\"\u{7f}\u{80}\"}",
            "{\"a\":\"x",
            "{\"a\\\":1}",
            "{\"a\":1e5}",
            "{\"a\":12x}",
            "{\"a\":[1}",
            "{\"a\":\"b\" \"c\":1}",
            "{\"a\" :\t1\r\n}",
        ] {
            assert_eq!(own(payload.as_bytes()), oracle(payload.as_bytes()), "{payload}");
        }
        // Every beginning, and every byte changed to what has a meaning or none.
        let mut bytes = whole.as_bytes().to_vec();
        for at in 0..bytes.len() {
            assert_eq!(own(&bytes[..at]), oracle(&bytes[..at]), "the first {at} bytes");
            let before = bytes[at];
            for byte in
                [b'"', b'\\', b'{', b'}', b',', b':', b' ', b'0', b'-', b'e', 0, 0x1f, 0x7f, 0xff]
            {
                bytes[at] = byte;
                assert_eq!(own(&bytes), oracle(&bytes), "{byte} at {at}");
            }
            bytes[at] = before;
        }
    }
}
