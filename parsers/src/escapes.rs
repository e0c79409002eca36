//! Texts without the escapes of JSON, URLs and XML, whichever of them it is.

use crate::sub::xml::entity;

/// What a text says without its escapes; `None` if it has none.
pub(crate) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let (mut new, mut rest) = (Vec::new(), text);
    while let Some(at) = memchr::memchr3(b'\\', b'%', b'&', rest) {
        new.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (length, character) = match rest[0] {
            b'\\' => backslash(rest),
            b'%' => hex(rest, 1, 2).map(|byte| (3, Sign::Byte(byte as u8))),
            _ => entity(rest).map(|(character, length)| (length, Sign::Character(character))),
        }
        .unwrap_or((1, Sign::Byte(rest[0])));
        match character {
            Sign::Byte(byte) => new.push(byte),
            Sign::Character(character) => {
                new.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        rest = &rest[length..];
    }
    new.extend_from_slice(rest);
    // Each escape is longer than what it stands for.
    (new.len() < text.len()).then_some(new)
}

enum Sign {
    Byte(u8),
    Character(char),
}

/// What a backslash and what follows it stand for, and their length.
fn backslash(text: &[u8]) -> Option<(usize, Sign)> {
    Some(match *text.get(1)? {
        b'u' if let Some(high) = hex(text, 2, 4) => {
            let low = hex(text, 8, 4).filter(|_| text[6..].starts_with(b"\\u"));
            let pair =
                low.and_then(|low| char::decode_utf16([high as u16, low as u16]).next()?.ok());
            match (char::from_u32(high), pair) {
                (Some(alone), _) => (6, Sign::Character(alone)),
                (None, Some(both)) => (12, Sign::Character(both)),
                (None, None) => (6, Sign::Character(char::REPLACEMENT_CHARACTER)),
            }
        }
        b'x' if let Some(byte) = hex(text, 2, 2) => (4, Sign::Byte(byte as u8)),
        b'n' => (2, Sign::Byte(b'\n')),
        b'r' => (2, Sign::Byte(b'\r')),
        b't' => (2, Sign::Byte(b'\t')),
        other => (2, Sign::Byte(other)),
    })
}

/// The number that so many hexadecimal digits are.
fn hex(text: &[u8], from: usize, digits: usize) -> Option<u32> {
    let digits = text.get(from..from + digits)?;
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_once() {
        for (text, said) in [
            (r#"a\u0062\/\"\\n"#, Some(r#"ab/"\n"#)),
            (r"\ud83d\ude00\ud83d\u0061", Some("😀\u{fffd}a")),
            (r"\x41\n\x4", Some("A\nx4")),
            ("%C3%A9 100%", Some("é 100%")),
            ("&lt;&#97;&b;", Some("<a&b;")),
            ("plain 5% & more\\", None),
            ("", None),
        ] {
            assert_eq!(decoded(text.as_bytes()).as_deref(), said.map(str::as_bytes), "{text}");
        }
    }
}
