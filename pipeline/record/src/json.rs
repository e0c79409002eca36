//! Writing JSON into a byte buffer without building values.

/// Appends `text` as the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD.
pub fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        write_escaped_str(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn write_escaped_str(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        start = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[start..]);
}

/// The longest beginning of `text`, of whole characters, that takes at most `room` bytes once it is
/// written by [`write_escaped`].
#[must_use]
pub fn escaped_beginning(text: &[u8], room: usize) -> &[u8] {
    let (mut end, mut written) = (0, 0);
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().chars().map(|char| (char.len_utf8(), escaped_len(char)));
        let invalid = Some((chunk.invalid().len(), '\u{fffd}'.len_utf8()));
        for (bytes, escaped) in valid.chain(invalid.filter(|(bytes, _)| *bytes > 0)) {
            written += escaped;
            if written > room {
                return &text[..end];
            }
            end += bytes;
        }
    }
    text
}

fn escaped_len(char: char) -> usize {
    match char {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        '\0'..' ' => 6,
        _ => char.len_utf8(),
    }
}

/// Appends `"key":"value"`; `key` must need no escaping.
pub fn write_member(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":\"");
    write_escaped(out, value);
    out.push(b'"');
}

/// Appends a number in decimal.
pub fn write_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_written_is_read_back_by_serde_json() {
        for text in ["", "plain", "a\"b\\c\n\r\t\u{1}\u{1f}", "ünï\u{2028}", "\u{1b}[31m"] {
            let mut out = vec![b'{'];
            write_member(&mut out, "k", text.as_bytes());
            out.push(b'}');
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(value["k"], text);
        }
        let mut out = Vec::new();
        write_escaped(&mut out, b"a\xff\xfeb");
        assert_eq!(out, "a\u{fffd}\u{fffd}b".as_bytes());
    }

    #[test]
    fn a_beginning_is_as_long_as_there_is_room_for_it_once_it_is_written() {
        let text = b"a\"\\\n\x01\x1f \xc3\xbc\xff\xe2\x82b\xf0\x9f\x99\x82";
        let mut before = 0;
        for room in 0..40 {
            let beginning = escaped_beginning(text, room);
            let mut out = Vec::new();
            write_escaped(&mut out, beginning);
            assert!(out.len() <= room && room < out.len() + 6 || beginning == text, "{room}");
            assert!(beginning.len() >= before);
            before = beginning.len();
        }
        assert_eq!(before, text.len());
        assert_eq!(escaped_beginning("ü".as_bytes(), 1), b"");
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 4096, u64::MAX] {
            let mut out = Vec::new();
            write_u64(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
