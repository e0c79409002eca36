//! Writing texts into rule files.

use serde_json::Value;

/// A text as a YAML scalar: single quotes, or double quotes where signs have to be escaped.
pub(crate) fn quoted(text: &str) -> String {
    if text
        .chars()
        .any(|c| (c.is_control() && c != '\t') || "\u{85}\u{2028}\u{2029}\u{feff}".contains(c))
    {
        return escaped(text);
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// In double quotes, with the escapes of YAML 1.2, 5.7.
fn escaped(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || "\u{85}\u{2028}\u{2029}\u{feff}".contains(c) => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value of an event as a sample expects it.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(self::value).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A text for a comment: one line, nothing that could end it.
pub(crate) fn comment(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || "\u{85}\u{2028}\u{2029}".contains(c) { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in
            ["", "a", "it's", "a: b #c", "x\ty", "q\"\\\u{1}\n\u{85}", "ü\u{2028}", "- a", "\u{7f}"]
        {
            let document = logweir_document::parse("x", format!("a: {}\n", quoted(text))).unwrap();
            let node = document.root.get("a").unwrap();
            let logweir_document::Value::Scalar(scalar) = &node.value else { panic!() };
            assert_eq!(scalar.text, text, "{}", quoted(text));
        }
    }
}
