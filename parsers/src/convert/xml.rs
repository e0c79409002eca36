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

/// The elements of `text`; those that are not closed end with it.
pub(super) fn parse(text: &str) -> Vec<Element> {
    let mut open: Vec<Element> = vec![Element::default()];
    let mut rest = text;
    let line_of = |rest: &str| text[..text.len() - rest.len()].matches('\n').count() + 1;
    while let Some(at) = rest.find('<') {
        add_text(&mut open, &rest[..at]);
        let line = line_of(&rest[at..]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("<!--") {
            rest = after.split_once("-->").map_or("", |(_, after)| after);
        } else if let Some(after) = rest.strip_prefix("<![CDATA[") {
            let (inner, after) = after.split_once("]]>").unwrap_or((after, ""));
            if let Some(element) = open.last_mut() {
                element.text.push_str(inner);
            }
            rest = after;
        } else if is_tag(rest) {
            let Some((tag, after)) = rest[1..].split_once('>') else { break };
            rest = after;
            take_tag(&mut open, tag, line);
        } else {
            // A `<` inside an expression.
            add_text(&mut open, "<");
            rest = &rest[1..];
        }
    }
    add_text(&mut open, rest);
    while open.len() > 1 {
        close(&mut open);
    }
    open.pop().map(|root| root.children).unwrap_or_default()
}

fn is_tag(text: &str) -> bool {
    let next = text[1..].chars().next();
    next.is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '?' | '!'))
}

fn take_tag(open: &mut Vec<Element>, tag: &str, line: usize) {
    if tag.starts_with(['?', '!']) {
        return;
    }
    if let Some(name) = tag.strip_prefix('/') {
        if open.len() > 1 && open.last().is_some_and(|element| element.name == name.trim()) {
            close(open);
        }
        return;
    }
    let closed = tag.ends_with('/');
    let tag = tag.trim_end_matches('/');
    let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let element = Element {
        name: name.to_owned(),
        attributes: read_attributes(attributes),
        line,
        ..Element::default()
    };
    if closed || open.len() > DEPTH_MAX {
        if let Some(parent) = open.last_mut() {
            parent.children.push(element);
        }
    } else {
        open.push(element);
    }
}

fn read_attributes(text: &str) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let Some(quote) = after.chars().next().filter(|c| matches!(c, '"' | '\'')) else { break };
        let Some((value, after)) = after[1..].split_once(quote) else { break };
        attributes.push((name.trim().to_owned(), unescape(value)));
        rest = after.trim_start();
    }
    attributes
}

fn close(open: &mut Vec<Element>) {
    if let Some(element) = open.pop()
        && let Some(parent) = open.last_mut()
    {
        parent.children.push(element);
    }
}

fn add_text(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(&unescape(text));
    }
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
        let found = parse(
            "<!-- <a> -->\n<decoder name=\"x\">\n <regex type='pcre2' offset=\"after\">a &lt; < b</regex>\n <e/>\n</decoder>\n<decoder name='y'>",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].attribute("name"), Some("x"));
        let regex = found[0].child("regex").unwrap();
        assert_eq!((regex.text.as_str(), regex.line), ("a < < b", 3));
        assert_eq!(regex.attribute("offset"), Some("after"));
        assert!(found[0].child("e").is_some());
    }
}
