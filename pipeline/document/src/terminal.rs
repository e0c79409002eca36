//! Text from outside on a terminal, which it must not be able to steer.

/// Whether a character acts on a terminal instead of being shown: control characters, and those that
/// break the line or reorder what is around them.
#[must_use]
pub fn acts_on_terminal(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Control characters as `␛`-like symbols of one column each.
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
            c if acts_on_terminal(c) => '\u{fffd}',
            _ => c,
        })
        .collect()
}
