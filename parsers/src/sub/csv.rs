//! Columns separated by one byte: comma (RFC 4180), tab, space.

use super::{FieldSink, SubValue};

/// How the columns are written and called.
#[derive(Debug, Clone)]
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
pub fn parse(input: &[u8], options: &CsvOptions, sink: &mut dyn FieldSink) -> bool {
    let mut rest = Some(input);
    let mut found = 0;
    for name in &options.columns {
        let Some(text) = rest else { break };
        let (value, after) = column(text, options);
        rest = after;
        found += 1;
        if !name.is_empty() && name != "_" {
            sink.field(name.as_bytes(), value);
        }
    }
    found > 1
}

fn column<'t>(text: &'t [u8], options: &CsvOptions) -> (SubValue<'t>, Option<&'t [u8]>) {
    if let Some(quote) = options.quote
        && text.first() == Some(&quote)
        && let Some((value, length)) = quoted(&text[1..], quote)
    {
        return (value, after(&text[1 + length..], options));
    }
    match memchr::memchr(options.separator, text) {
        Some(end) => (SubValue::Text(&text[..end]), after(&text[end..], options)),
        None => (SubValue::Text(text), None),
    }
}

/// What follows the separator at the start of `text`.
fn after<'t>(text: &'t [u8], options: &CsvOptions) -> Option<&'t [u8]> {
    let start = memchr::memchr(options.separator, text)?;
    let mut rest = &text[start + 1..];
    while options.collapse && rest.first() == Some(&options.separator) {
        rest = &rest[1..];
    }
    Some(rest)
}

/// Up to the closing quote; the length includes it.
fn quoted(text: &[u8], quote: u8) -> Option<(SubValue<'_>, usize)> {
    let mut at = 0;
    let mut doubled = false;
    loop {
        at += memchr::memchr(quote, &text[at..])?;
        if text.get(at + 1) != Some(&quote) {
            break;
        }
        doubled = true;
        at += 2;
    }
    let inner = &text[..at];
    if !doubled {
        return Some((SubValue::Text(inner), at + 1));
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut skip = false;
    for byte in inner {
        skip = *byte == quote && !skip && {
            out.push(*byte);
            true
        } || {
            if *byte != quote {
                out.push(*byte);
            }
            false
        };
    }
    Some((SubValue::Owned(out), at + 1))
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
            |i, s| parse(i, &comma, s),
            true,
            &["a=1", "b=two, \"2\"", "c="],
        );
        check("only", |i, s| parse(i, &comma, s), false, &[]);
        let space =
            CsvOptions { separator: b' ', quote: None, columns: columns("a,b"), collapse: true };
        check("1   2", |i, s| parse(i, &space, s), true, &["a=1", "b=2"]);
    }
}
