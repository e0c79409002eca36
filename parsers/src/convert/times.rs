//! Formats of times: Joda's letters (Logstash) and strptime's (Fluent Bit) in our own.

use crate::time::TimeFormat;

/// A format of Logstash's `date` filter.
///
/// # Errors
/// The letters that have no counterpart.
pub(crate) fn from_joda(format: &str) -> Result<String, String> {
    match format {
        "ISO8601" => return Ok("rfc3339".into()),
        "UNIX" => return Ok("unix".into()),
        "UNIX_MS" => return Ok("unix_ms".into()),
        _ => {}
    }
    let mut out = String::new();
    let chars: Vec<char> = format.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c == '\'' {
            let end =
                chars[at + 1..].iter().position(|c| *c == '\'').map_or(chars.len(), |n| at + 1 + n);
            literal(&mut out, &chars[at + 1..end]);
            at = end + 1;
            continue;
        }
        if !c.is_ascii_alphabetic() {
            literal(&mut out, &[c]);
            at += 1;
            continue;
        }
        let length = chars[at..].iter().take_while(|next| **next == c).count();
        at += length;
        let letter = match (c, length) {
            ('y' | 'Y' | 'u', 2) => "%y",
            ('y' | 'Y' | 'u', _) => "%Y",
            ('M' | 'L', 1 | 2) => "%m",
            ('M' | 'L', 3) => "%b",
            ('M' | 'L', _) => "%B",
            ('d', 1) => "%e",
            ('d', _) => "%d",
            ('H' | 'k', _) => "%H",
            ('h' | 'K', _) => "%I",
            ('m', _) => "%M",
            ('s', _) => "%S",
            ('S' | 'n', _) => "%f",
            ('a', _) => "%p",
            ('E' | 'e', 4) => "%A",
            ('E' | 'e', _) => "%a",
            ('D', _) => "%j",
            ('Z' | 'X' | 'x', _) => "%z",
            ('z', _) => "%Z",
            _ => {
                return Err(format!(
                    "the letter `{c}` of the time format `{format}` has no counterpart"
                ));
            }
        };
        out.push_str(letter);
    }
    match TimeFormat::compile(&out) {
        Ok(_) => Ok(out),
        Err(why) => Err(format!("the time format `{format}`: {why}")),
    }
}

/// A format of strptime, with Fluent Bit's `%L`.
pub(super) fn from_strptime(format: &str) -> String {
    let mut out = format.to_owned();
    for (from, to) in [
        ("%T", "%H:%M:%S"),
        ("%R", "%H:%M"),
        ("%F", "%Y-%m-%d"),
        ("%D", "%m/%d/%y"),
        ("%h", "%b"),
        ("%k", "%H"),
        ("%l", "%I"),
        ("%L", "%f"),
        ("%N", "%f"),
    ] {
        out = out.replace(from, to);
    }
    out
}

fn literal(out: &mut String, text: &[char]) {
    for c in text {
        // One blank in a format stands for any number.
        if *c == ' ' && out.ends_with(' ') {
            continue;
        }
        if *c == '%' {
            out.push('%');
        }
        out.push(*c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{TimeContext, Zone, write_rfc3339};

    #[test]
    fn converted_formats_read_what_they_are_for() {
        let zone = Zone::utc();
        let context = TimeContext { received_unix_nanos: 1_795_867_200_000_000_000, zone: &zone };
        let check = |format: &str, text: &str, expected: &str| {
            let compiled = TimeFormat::compile(format).unwrap();
            let nanos = compiled.parse(text.as_bytes(), &context);
            let mut out = Vec::new();
            write_rfc3339(&mut out, nanos.unwrap_or_else(|| panic!("{format} {text}")));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{format}");
        };
        let joda = |format: &str| from_joda(format).unwrap();
        check(
            &joda("dd/MMM/yyyy:HH:mm:ss Z"),
            "28/Nov/2026:10:15:02 +0100",
            "2026-11-28T09:15:02.000Z",
        );
        check(
            &joda("yyyy-MM-dd'T'HH:mm:ss.SSSZ"),
            "2026-11-28T10:15:02.250+00:00",
            "2026-11-28T10:15:02.250Z",
        );
        check(
            &joda("yyyy-MM-dd HH:mm:ss,SSS"),
            "2026-11-28 10:15:02,250",
            "2026-11-28T10:15:02.250Z",
        );
        check(&joda("MMM  d HH:mm:ss"), "Nov  8 10:15:02", "2026-11-08T10:15:02.000Z");
        check(&from_strptime("%FT%T.%L%z"), "2026-11-28T10:15:02.250Z", "2026-11-28T10:15:02.250Z");
        check(
            &from_strptime("%d/%b/%Y:%T %z"),
            "28/Nov/2026:10:15:02 +0000",
            "2026-11-28T10:15:02.000Z",
        );
        assert!(from_joda("yyyy-ww").is_err() && from_joda("HH:mm:ss").is_err());
    }
}
