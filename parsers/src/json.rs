//! Texts into JSON strings, sixteen bytes at a time.

use crate::lanes::{BYTES, Lanes};
use crate::out::{Out, PAD};

/// Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn write_string(out: &mut Out, text: &[u8]) {
    out.byte(b'"');
    write_content(out, text);
    out.byte(b'"');
}

/// As [`write_string`], without the quotes.
pub(crate) fn write_content(out: &mut Out, text: &[u8]) {
    let mut at = 0;
    while let Some(block) = text[at..].first_chunk() {
        let special = Lanes::of(block).special().bits();
        if special == 0 {
            out.block(block, BYTES);
            at += BYTES;
        } else {
            at += write_block(out, (*block, special), &text[at..], BYTES);
        }
    }
    let rest = &text[at..];
    if !rest.is_empty() {
        let mut block = [b' '; BYTES];
        block[..rest.len()].copy_from_slice(rest);
        write_block(out, (block, Lanes::of(&block).special().bits()), rest, rest.len());
    }
}

/// As [`write_content`], of a part of `source`, which goes on for [`PAD`] bytes behind it.
#[inline]
pub(crate) fn write_part(out: &mut Out, source: &[u8], start: usize, len: usize) {
    if len <= PAD && is_plain_part(source, start, len) {
        out.padded(source, start, len);
    } else {
        write_content(out, &source[start..start + len]);
    }
}

/// Whether a short part of `source`, which goes on for [`PAD`] bytes behind it, is written as it is; up to
/// [`PAD`] bytes.
#[inline]
pub(crate) fn is_plain_part(source: &[u8], start: usize, len: usize) -> bool {
    let Some((first, second)) = source
        .get(start..start + PAD)
        .and_then(|all| all.first_chunk::<BYTES>().zip(all.last_chunk::<BYTES>()))
    else {
        return false;
    };
    let first = Lanes::of(first).special().place();
    // The second half is not looked at in vain.
    first >= len || first == BYTES && BYTES + Lanes::of(second).special().place() >= len
}

/// Writes the first `len` bytes of a block, which `text` begins with and of which the `special` ones, by bit,
/// need more; returns how many bytes of `text` were written, which may be some behind the block.
#[inline(never)]
fn write_block(
    out: &mut Out,
    (block, mut special): ([u8; BYTES], u32),
    text: &[u8],
    len: usize,
) -> usize {
    let mut block = u128::from_le_bytes(block);
    let mut done = 0;
    loop {
        let plain = (special.trailing_zeros() as usize).min(len - done);
        out.block(&block.to_le_bytes(), plain);
        done += plain;
        if done >= len {
            return done;
        }
        let taken = write_special(out, &text[done..]);
        done += taken;
        if done >= len {
            return done;
        }
        block >>= 8 * (plain + taken);
        special >>= plain + taken;
    }
}

/// Writes what stands at the start of `text` and needs more than its bytes; returns its length.
#[inline]
fn write_special(out: &mut Out, text: &[u8]) -> usize {
    match text[0] {
        byte @ (b'"' | b'\\') => {
            out.array(&[b'\\', byte]);
            1
        }
        _ => write_other(out, text),
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
            "thirty-two bytes are what a part",
            "a quote as the last of a part \"",
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
                // Whatever stands behind it.
                for behind in [" ", "\"", "\u{1}"] {
                    let (len, mut part) = (text.len() - start, Out::default());
                    let padded = format!("x{}{}", &text[start..], behind.repeat(PAD));
                    write_part(&mut part, padded.as_bytes(), 1, len);
                    assert_eq!(part.written(), &out.written()[1..out.len() - 1], "{text}");
                    let found = len <= PAD && is_plain_part(padded.as_bytes(), 1, len);
                    assert_eq!(found, plain && len <= PAD, "{text}");
                }
            }
        }
        for byte in 0..=255 {
            let mut block = [b'~'; BYTES];
            [0, 3, 4, BYTES - 1].into_iter().for_each(|at| block[at] = byte);
            let expected = if is_special(byte) { 0x8019 } else { 0 };
            assert_eq!(Lanes::of(&block).special().bits(), expected, "{byte}");
        }
        let mut out = Out::default();
        write_string(&mut out, b"a\xff\xfe\"b");
        assert_eq!(out.written(), "\"a\u{fffd}\u{fffd}\\\"b\"".as_bytes());
    }
}
