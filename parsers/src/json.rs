//! Texts into JSON strings, eight bytes at a time.

use crate::out::Out;
use crate::swar;

/// Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn write_string(out: &mut Out, text: &[u8]) {
    out.byte(b'"');
    write_content(out, text);
    out.byte(b'"');
}

/// As [`write_string`], without the quotes.
pub(crate) fn write_content(out: &mut Out, text: &[u8]) {
    let mut rest = text;
    loop {
        let special = match rest.first_chunk::<8>() {
            Some(block) => {
                let special = specials(u64::from_le_bytes(*block));
                let plain = swar::place(special);
                out.block(block, plain);
                rest = &rest[plain..];
                if special == 0 {
                    continue;
                }
                rest[0]
            }
            None => {
                let Some((byte, behind)) = rest.split_first() else { return };
                if !is_special(*byte) {
                    out.byte(*byte);
                    rest = behind;
                    continue;
                }
                *byte
            }
        };
        if special.is_ascii() {
            escape(out, special);
            rest = &rest[1..];
        } else {
            let run = rest.iter().position(u8::is_ascii).unwrap_or(rest.len());
            for chunk in rest[..run].utf8_chunks() {
                out.text(chunk.valid().as_bytes());
                if !chunk.invalid().is_empty() {
                    out.text("\u{fffd}".as_bytes());
                }
            }
            rest = &rest[run..];
        }
    }
}

/// Whether all of `text` is written as it is.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    // Without an early end, so that the compiler compares many bytes at once.
    !text.iter().fold(false, |any, byte| any | is_special(*byte))
}

/// Control characters, quote, backslash, and what is not ASCII.
fn is_special(byte: u8) -> bool {
    (byte.wrapping_sub(0x20) >= 0x60) | (byte == b'"') | (byte == b'\\')
}

/// The bytes of the block that are special, as [`swar`] tells it.
fn specials(block: u64) -> u64 {
    let controls = swar::less(block, b' ') | swar::high(block);
    controls | swar::equal(block, b'"') | swar::equal(block, b'\\')
}

fn escape(out: &mut Out, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.array(b"\\\""),
        b'\\' => out.array(b"\\\\"),
        b'\n' => out.array(b"\\n"),
        b'\r' => out.array(b"\\r"),
        b'\t' => out.array(b"\\t"),
        _ => {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.array(&[b'\\', b'u', b'0', b'0', HEX[high], HEX[low]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_back_by_serde_json() {
        let bytes: String = (0..=255).map(char::from).collect();
        for text in [
            &bytes,
            "",
            "plain",
            "exactly 16 bytes",
            "a\"b\\c\n\r\t\u{1}\u{1f}",
            "sixteen bytes and ünï\u{2028} and a \"quote\" behind them",
            "a line that is longer than two blocks, \\ and has it late",
            "\u{1b}[31m",
        ] {
            for start in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
                let mut out = Out::default();
                write_string(&mut out, &text.as_bytes()[start..]);
                let value: String = serde_json::from_slice(out.written()).unwrap();
                assert_eq!(value, text[start..]);
                let as_it_is = out.written()[1..=text.len() - start] == text.as_bytes()[start..];
                assert!(!is_plain(&text.as_bytes()[start..]) || as_it_is, "{text}");
            }
        }
        let mut out = Out::default();
        write_string(&mut out, b"a\xff\xfe\"b");
        assert_eq!(out.written(), "\"a\u{fffd}\u{fffd}\\\"b\"".as_bytes());
    }
}
