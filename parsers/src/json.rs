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
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (block, len) = match rest.first_chunk() {
            Some(block) => (*block, swar::BYTES),
            None => {
                let mut block = [b' '; swar::BYTES];
                block[..rest.len()].copy_from_slice(rest);
                (block, rest.len())
            }
        };
        at += write_block(out, u64::from_le_bytes(block), len);
        if at < text.len() && !is_written(text[at]) {
            at += write_other(out, &text[at..]);
        }
    }
}

/// Whether [`write_block`] can write this byte.
fn is_written(byte: u8) -> bool {
    !is_special(byte) || matches!(byte, b'"' | b'\\')
}

/// Writes the first `len` bytes of a block, quotes and backslashes among them, up to one that needs
/// more; returns how many.
#[inline]
fn write_block(out: &mut Out, mut block: u64, len: usize) -> usize {
    let mut special = specials(block);
    let mut left = len;
    loop {
        let plain = swar::place(special);
        if plain >= left {
            out.block(&block.to_le_bytes(), left);
            return len;
        }
        let byte = block.to_le_bytes()[plain];
        if !matches!(byte, b'"' | b'\\') {
            out.block(&block.to_le_bytes(), plain);
            return len - left + plain;
        }
        // Up to the byte and over it.
        let mut escaped = [0; swar::BYTES + 2];
        escaped[..swar::BYTES].copy_from_slice(&block.to_le_bytes());
        escaped[plain..plain + 2].copy_from_slice(&[b'\\', byte]);
        out.block(&escaped, plain + 2);
        left -= plain + 1;
        if left == 0 {
            return len;
        }
        block >>= 8 * (plain + 1);
        special >>= 8 * (plain + 1);
    }
}

/// Writes the control character, or what is not ASCII, at the start of `text`; returns its length.
fn write_other(out: &mut Out, text: &[u8]) -> usize {
    if text[0].is_ascii() {
        escape(out, text[0]);
        return 1;
    }
    let run = text.iter().position(u8::is_ascii).unwrap_or(text.len());
    for chunk in text[..run].utf8_chunks() {
        out.text(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.text("\u{fffd}".as_bytes());
        }
    }
    run
}

/// Whether all of the first `len` bytes of `padded` are written as they are. Behind them stand at least
/// a block's bytes more that are written as they are.
pub(crate) fn is_plain(padded: &[u8], len: usize) -> bool {
    // Without an early end and in whole blocks, so that the compiler compares many bytes at once.
    const BLOCK: usize = 16;
    let blocks = &padded[..len.next_multiple_of(BLOCK)];
    !blocks.iter().fold(false, |any, byte| any | is_special(*byte))
}

/// Control characters, quote, backslash, and what is not ASCII.
fn is_special(byte: u8) -> bool {
    // As a signed number, what is not ASCII is less than any control character.
    (byte.cast_signed() < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// The bytes of the block that are special: the highest bit of each is set, and no other.
fn specials(block: u64) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; swar::BYTES]);
    const LOW: u64 = EACH * 0x7f;
    // No sum carries into the byte above, so every bit is right.
    let low = block & LOW;
    let no_control = low + EACH * (0x80 - 0x20);
    let no_quote = (low ^ (EACH * u64::from(b'"'))) + LOW;
    let no_backslash = (low ^ (EACH * u64::from(b'\\'))) + LOW;
    (!(no_control & no_quote & no_backslash) | block) & !LOW
}

fn escape(out: &mut Out, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
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
            "\"\"\"\"\"\"\"\"\"\"",
            r#"{"key":"value","k\\ey":"\"v\""}"#,
            "\"\u{1}\\é\"\"\u{80}",
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
                let padded = format!("{}{}", &text[start..], " ".repeat(16));
                let plain = as_it_is && text[start..].is_ascii();
                assert_eq!(is_plain(padded.as_bytes(), text.len() - start), plain, "{text}");
            }
        }
        for byte in 0..=255 {
            let block = u64::from_le_bytes([b'a', byte, byte, b'b', b'~', byte, b'c', byte]);
            let expected = if is_special(byte) { 0x8000_8000_0080_8000 } else { 0 };
            assert_eq!(specials(block), expected, "{byte}");
        }
        let mut out = Out::default();
        write_string(&mut out, b"a\xff\xfe\"b");
        assert_eq!(out.written(), "\"a\u{fffd}\u{fffd}\\\"b\"".as_bytes());
    }
}
