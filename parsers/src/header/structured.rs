//! The parameters of structured data (RFC 5424 §6.3), with the freedoms that implementations take: blanks
//! around `=`, and anything before the next element.

/// `name="value"` of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Param<'l> {
    pub(crate) element: &'l [u8],
    pub(crate) name: &'l [u8],
    /// As it stands in the line, escapes (`\"`, `\\`, `\]`) included: many senders write a backslash that is
    /// none.
    pub(crate) value: &'l [u8],
}

/// The parameters of all elements, in order. An element goes on up to what is no parameter.
pub(crate) fn params(mut text: &[u8]) -> impl Iterator<Item = Param<'_>> {
    let mut element: Option<&[u8]> = None;
    std::iter::from_fn(move || {
        loop {
            let Some(id) = element else {
                text = text.strip_prefix(b"[")?;
                let (id, rest) = split(text, |byte| matches!(byte, b' ' | b']'));
                (element, text) = (Some(id), rest);
                continue;
            };
            let name_and_more = text.trim_ascii_start();
            let (name, rest) = split(name_and_more, |byte| matches!(byte, b'=' | b' ' | b']'));
            let value = rest.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii_start);
            let value = value.and_then(|value| value.strip_prefix(b"\""));
            let Some(rest) = value.filter(|_| !name.is_empty() && !id.is_empty()) else {
                // Where the next element begins, if there is one.
                let next = memchr::memmem::find(text, b"][");
                text = next.map_or(&[][..], |at| &text[at + 1..]);
                element = None;
                continue;
            };
            let end = end_of_value(rest)?;
            text = &rest[end + 1..];
            return Some(Param { element: id, name, value: &rest[..end] });
        }
    })
}

fn split(text: &[u8], ends: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| ends(*byte)).unwrap_or(text.len()))
}

/// Where the quote stands that ends a value.
fn end_of_value(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown = |Param { element, name, value }: Param<'_>| {
            format!("{}.{}={}", text_of(element), text_of(name), text_of(value))
        };
        params(text.as_bytes()).map(shown).collect()
    }

    #[test]
    fn parameters_are_found_with_their_elements() {
        for (text, expected) in [
            (
                r#"[ex@1 iut="3" src= "App"][prio@2 class="high"]"#,
                &["ex@1.iut=3", "ex@1.src=App", "prio@2.class=high"][..],
            ),
            (r#"[a b="\"\\\]" c="\n" d="][x y="]"#, &[r#"a.b=\"\\\]"#, r"a.c=\n", "a.d=][x y="]),
            (r#"[a][b c=""]"#, &["b.c="]),
            (r#"[a odd b="1"][c d="2"]"#, &["c.d=2"]),
            (r#"[a b="1"#, &[]),
            (r#"[a ="1"][]"#, &[]),
            (r#"[ b="1"]"#, &[]),
            (r#"[a b="\"#, &[]),
            ("", &[]),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
