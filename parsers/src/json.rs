//! Texts into JSON strings, sixteen bytes at a time.

use logweir_record::write_escaped;

/// The bytes that are looked at together; the compiler makes one vector comparison of them.
const BLOCK: usize = 16;

/// Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let plain = plain_prefix(rest);
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        match rest.first() {
            None => break,
            Some(byte) if byte.is_ascii() => {
                write_escaped(out, &rest[..1]);
                rest = &rest[1..];
            }
            // From here on it has to be decoded.
            Some(_) => {
                write_escaped(out, rest);
                break;
            }
        }
    }
    out.push(b'"');
}

/// How many bytes at the beginning are written as they are.
fn plain_prefix(text: &[u8]) -> usize {
    let mut at = 0;
    let mut blocks = text.chunks_exact(BLOCK);
    for block in &mut blocks {
        let any = block.iter().fold(0, |any, byte| any | compared(*byte));
        if any != 0 {
            return at + first_special(block);
        }
        at += BLOCK;
    }
    at + first_special(blocks.remainder())
}

fn first_special(text: &[u8]) -> usize {
    text.iter().position(|byte| special(*byte) != 0).unwrap_or(text.len())
}

/// As [`special`], by comparisons that sixteen bytes go through at once.
fn compared(byte: u8) -> u8 {
    u8::from(byte < 0x20)
        | u8::from(byte >= 0x80)
        | u8::from(byte == b'"')
        | u8::from(byte == b'\\')
}

/// Not 0 for control characters, quote, backslash, and what is not ASCII.
fn special(byte: u8) -> u8 {
    SPECIAL[usize::from(byte)]
}

const SPECIAL: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if byte < 0x20 || byte >= 0x80 || byte == b'"' as usize || byte == b'\\' as usize {
            table[byte] = 1;
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_back_by_serde_json() {
        for text in [
            "",
            "plain",
            "exactly 16 bytes",
            "a\"b\\c\n\r\t\u{1}\u{1f}",
            "sixteen bytes and ünï\u{2028} and a \"quote\" behind them",
            "a line that is longer than two blocks, \\ and has it late",
            "\u{1b}[31m",
        ] {
            for start in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
                let mut out = Vec::new();
                write_string(&mut out, &text.as_bytes()[start..]);
                let value: String = serde_json::from_slice(&out).unwrap();
                assert_eq!(value, text[start..]);
            }
        }
        let mut out = Vec::new();
        write_string(&mut out, b"a\xff\xfe\"b");
        assert_eq!(out, "\"a\u{fffd}\u{fffd}\\\"b\"".as_bytes());
    }
}
