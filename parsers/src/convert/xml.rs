//! As much XML as files of decoders have: elements, attributes, texts, comments; several roots.

/// How deep elements may nest.
const DEPTH_MAX: usize = 32;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    pub(super) text: String,
    pub(super) line: usize,
}

impl Element {
    pub(super) fn attribute(&self, wanted: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    pub(super) fn child(&self, wanted: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == wanted)
    }
}

/// The elements of `text`, and what is wrong with it, by line.
pub(super) fn parse(text: &str) -> (Vec<Element>, Vec<(usize, String)>) {
    let mut reader = Reader { line: 1, ..Reader::default() };
    let mut rest = text;
    let mut counted = 0;
    while let Some(at) = rest.find('<') {
        let before = &rest[..at];
        reader.add_text(before);
        rest = &rest[at..];
        let here = text.len() - rest.len();
        reader.line += text[counted..here].matches('\n').count();
        counted = here;
        if let Some(after) = rest.strip_prefix("<!--") {
            rest = reader.up_to("-->", "the comment", after).1;
        } else if let Some(after) = rest.strip_prefix("<![CDATA[") {
            let (inner, after) = reader.up_to("]]>", "`<![CDATA[`", after);
            reader.top().text.push_str(inner);
            rest = after;
        } else if is_tag(rest) && !before.ends_with('\\') {
            let end = rest[1..].find(['<', '>']).map_or(rest.len(), |end| end + 1);
            let tag = &rest[1..end];
            rest = &rest[end..];
            match rest.strip_prefix('>') {
                Some(after) => rest = after,
                None => reader.fault(format!("`<{}` has no `>`", tag.trim_end())),
            }
            reader.take_tag(tag.trim_end());
        } else {
            // A `<` inside an expression.
            reader.add_text("<");
            rest = &rest[1..];
        }
    }
    reader.add_text(rest);
    reader.close_early(reader.open.len());
    // A line of thousands of unclosed decoders has one fault.
    reader.faults.dedup();
    (reader.root.children, reader.faults)
}

fn is_tag(text: &str) -> bool {
    let next = text[1..].chars().next();
    next.is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '?' | '!'))
}

#[derive(Default)]
struct Reader {
    /// Holds what stands in no other.
    root: Element,
    /// What is not closed yet, outermost first.
    open: Vec<Element>,
    faults: Vec<(usize, String)>,
    line: usize,
}

impl Reader {
    fn fault(&mut self, message: String) {
        self.faults.push((self.line, message));
    }

    fn up_to<'t>(&mut self, end: &str, what: &str, rest: &'t str) -> (&'t str, &'t str) {
        rest.split_once(end).unwrap_or_else(|| {
            self.fault(format!(
                "{what} is not closed, and all behind it is taken for its text: write `{end}`"
            ));
            (rest, "")
        })
    }

    fn take_tag(&mut self, tag: &str) {
        if tag.starts_with(['?', '!']) {
            return;
        }
        if let Some(name) = tag.strip_prefix('/') {
            return self.end(name.trim());
        }
        let closed = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        self.close_early(self.ended_by(name));
        let (attributes, rest) = read_attributes(attributes);
        if !rest.is_empty() {
            self.fault(format!("`{rest}` is not `name=\"value\"`"));
        }
        let element =
            Element { name: name.to_owned(), attributes, line: self.line, ..Element::default() };
        if closed || self.open.len() >= DEPTH_MAX {
            self.top().children.push(element);
        } else {
            self.open.push(element);
        }
    }

    /// Ends the innermost element of this name; if none is open, the name is taken for misspelt.
    fn end(&mut self, name: &str) {
        if let Some(at) = self.open.iter().rposition(|element| element.name == name) {
            self.close_early(self.open.len() - at - 1);
        } else if let Some(Element { name: other, line, .. }) = self.open.last() {
            self.fault(format!("`</{name}>` closes `<{other}>` of line {line}"));
        } else {
            self.fault(format!("`</{name}>` closes nothing"));
        }
        self.close();
    }

    /// How many open elements end where one of this name begins: decoders hold no decoders, and what
    /// they hold holds texts.
    fn ended_by(&self, name: &str) -> usize {
        let decoder = self.open.iter().position(|element| element.name == "decoder");
        decoder.map_or(0, |at| {
            let keeps = if name == "decoder" { at } else { at + 1 };
            self.open.len() - keeps
        })
    }

    fn close_early(&mut self, count: usize) {
        for _ in 0..count {
            let Element { name, line, .. } = self.top();
            let fault = (*line, format!("`<{name}>` is not closed: write `</{name}>` behind it"));
            self.faults.push(fault);
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(element) = self.open.pop() {
            self.top().children.push(element);
        }
    }

    fn add_text(&mut self, text: &str) {
        self.top().text.push_str(&unescape(text));
    }

    /// The innermost open element.
    fn top(&mut self) -> &mut Element {
        self.open.last_mut().unwrap_or(&mut self.root)
    }
}

/// The attributes, and the rest of `text` that is none.
fn read_attributes(text: &str) -> (Vec<(String, String)>, &str) {
    let mut attributes = Vec::new();
    let mut rest = text.trim();
    while let Some((name, value, after)) = attribute(rest) {
        attributes.push((name.to_owned(), unescape(value)));
        rest = after.trim_start();
    }
    (attributes, rest)
}

fn attribute(text: &str) -> Option<(&str, &str, &str)> {
    let (name, after) = text.split_once('=')?;
    let after = after.trim_start();
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (value, after) = after[1..].split_once(quote)?;
    Some((name.trim(), value, after))
}

fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
    {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_attributes_texts_and_lines() {
        let (found, faults) = parse(
            "<!-- <a> -->\n<decoder name=\"x\">\n <regex type='pcre2' offset=\"after\">a &lt; < \\<b></regex>\n <e/>\n</decoder>\n<decoder name='y'></decoder>",
        );
        assert_eq!(faults, []);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].attribute("name"), Some("x"));
        let regex = found[0].child("regex").unwrap();
        assert_eq!((regex.text.as_str(), regex.line), ("a < < \\<b>", 3));
        assert_eq!(regex.attribute("offset"), Some("after"));
        assert!(found[0].child("e").is_some());
    }

    #[test]
    fn what_is_broken_is_told_and_takes_nothing_else_along() {
        for (text, names, expected) in [
            (
                "<decoder>\n<a>x</b>\n<c/></decoder>",
                "ac",
                vec![(2, "`</b>` closes `<a>` of line 2")],
            ),
            ("<decoder><a>x\n<c>y</c></decoder>", "ac", vec![(1, "`<a>` is not closed")]),
            ("<decoder><a/>\n<decoder><c/></decoder>", "a;c", vec![(1, "`<decoder>` is not")]),
            ("<decoder><a/><decoder><b/><decoder>", "a;b;", vec![(1, "`<decoder>` is not")]),
            ("<decoder\n<a/></decoder>", "a", vec![(1, "`<decoder` has no `>`")]),
            ("<decoder><a/></decoder></x>", "a", vec![(1, "`</x>` closes nothing")]),
            ("<decoder><a/>\n<!-- <c/></decoder>", "a", vec![(2, "comment"), (1, "`<decoder>`")]),
            ("<decoder><a b=c/></decoder>", "a", vec![(1, "`b=c` is not")]),
            ("<decoder><a/></decoder", "a", vec![(1, "`</decoder` has no")]),
        ] {
            let (found, faults) = parse(text);
            let of = |element: &Element| {
                element.children.iter().map(|child| child.name.as_str()).collect::<String>()
            };
            assert_eq!(found.iter().map(of).collect::<Vec<_>>().join(";"), names, "{text}");
            assert_eq!(faults.len(), expected.len(), "{faults:?}");
            for ((line, message), (wanted_line, part)) in faults.iter().zip(expected) {
                assert!(*line == wanted_line && message.contains(part), "{faults:?}");
            }
        }
    }
}
