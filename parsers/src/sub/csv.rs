//! Columns separated by one byte: comma (RFC 4180), tab, space.

use super::{FieldSink, Space, SubValue};
use serde::{Deserialize, Serialize};

/// How the columns are written and called.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CsvOptions {
    pub separator: u8,
    /// Between two of these, the separator is text, and two of them are one.
    pub quote: Option<u8>,
    /// `_` or an empty name: the column is passed over.
    pub columns: Vec<String>,
    /// A run of separators counts as one.
    pub collapse: bool,
}

/// `true` if there are at least two columns. Columns beyond the named ones are passed over.
pub fn parse(
    input: &[u8],
    options: &CsvOptions,
    space: &mut Space,
    sink: &mut dyn FieldSink,
) -> bool {
    let mut rest = Some(input);
    let mut found = 0;
    for name in &options.columns {
        let Some(text) = rest else { break };
        let (value, after) = column(text, options, &mut space.text);
        rest = after;
        found += 1;
        if !name.is_empty() && name != "_" {
            sink.field(name.as_bytes(), value);
        }
    }
    found > 1
}

fn column<'t: 's, 's>(
    text: &'t [u8],
    options: &CsvOptions,
    space: &'s mut Vec<u8>,
) -> (SubValue<'s>, Option<&'t [u8]>) {
    if let Some(quote) = options.quote
        && text.first() == Some(&quote)
        && let Some((inner, doubled)) = quoted(&text[1..], quote)
    {
        let rest = &text[inner.len() + 2..];
        let end = memchr::memchr(options.separator, rest);
        // What stands between the closing quote and the separator belongs to the column.
        let more = rest[..end.unwrap_or(rest.len())].trim_ascii_end();
        let value: &[u8] = if doubled || !more.is_empty() {
            halved(inner, quote, space);
            space.extend_from_slice(more);
            space
        } else {
            inner
        };
        return (SubValue::Text(value), end.map(|end| behind(&rest[end + 1..], options)));
    }
    match memchr::memchr(options.separator, text) {
        Some(end) => (SubValue::Text(&text[..end]), Some(behind(&text[end + 1..], options))),
        None => (SubValue::Text(text), None),
    }
}

/// What follows a separator that `text` stands behind.
fn behind<'t>(text: &'t [u8], options: &CsvOptions) -> &'t [u8] {
    let mut rest = text;
    while options.collapse && rest.first() == Some(&options.separator) {
        rest = &rest[1..];
    }
    rest
}

/// What stands in front of the closing quote, and whether there are doubled ones in it.
fn quoted(text: &[u8], quote: u8) -> Option<(&[u8], bool)> {
    let mut at = 0;
    let mut doubled = false;
    loop {
        at += memchr::memchr(quote, &text[at..])?;
        if text.get(at + 1) != Some(&quote) {
            return Some((&text[..at], doubled));
        }
        doubled = true;
        at += 2;
    }
}

/// Puts the text with one quote for two into `space`.
fn halved(text: &[u8], quote: u8, space: &mut Vec<u8>) {
    space.clear();
    let mut second = false;
    for byte in text {
        second = *byte == quote && !second;
        if *byte != quote || second {
            space.push(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::{CsvOptions, parse};

    #[test]
    fn columns_are_named_quoted_and_skipped() {
        let columns = |names: &str| names.split(',').map(str::to_owned).collect();
        let comma = CsvOptions {
            separator: b',',
            quote: Some(b'"'),
            columns: columns("a,_,b,c"),
            collapse: false,
        };
        check(
            r#"1,x,"two, ""2""",,end"#,
            |i, p, s| parse(i, &comma, p, s),
            true,
            &["a=1", "b=two, \"2\"", "c="],
        );
        for (text, gave) in [
            (r#""x"yz,_,"a""b"c"d ,e"#, ["a=xyz", "b=a\"bc\"d", "c=e"]),
            (r#""x" ,_,"", "a""#, ["a=x", "b=", "c= \"a\""]),
        ] {
            check(text, |i, p, s| parse(i, &comma, p, s), true, &gave);
        }
        check("only", |i, p, s| parse(i, &comma, p, s), false, &[]);
        let space =
            CsvOptions { separator: b' ', quote: None, columns: columns("a,b"), collapse: true };
        check("1   2", |i, p, s| parse(i, &space, p, s), true, &["a=1", "b=2"]);
    }
}
