//! The configuration in effect: what is written, what holds otherwise, and where each comes from.

use crate::node::{Document, Node, Style, Value};
use crate::reference::{self, Kind, Section};
use crate::secret::url_has_user;
use std::fmt::Write as _;
use std::sync::Arc;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The values.
    Values,
    /// Behind each value where it comes from.
    Origins,
}

/// The configuration in effect, as YAML; no secret is in it.
#[must_use]
pub fn show(document: &Document, reference: &'static Section, shown: Shown) -> String {
    let mut writer = Writer { document, shown, out: String::new() };
    writer.section(&document.root, &[reference], 0, &[]);
    writer.out
}

/// Instead of a secret.
const HIDDEN: &str = "(hidden)";

struct Writer<'d> {
    document: &'d Document,
    shown: Shown,
    out: String,
}

impl Writer<'_> {
    /// The keys of `node`, which may be those of any of `sections`, but for those named in `told`.
    fn section(&mut self, node: &Node, sections: &[&'static Section], depth: usize, told: &[&str]) {
        let mut first = false;
        for section in sections {
            for key in section.keys.iter().filter(|key| !told.contains(&key.name)) {
                let value = node.get(key.name).filter(|value| !value.is_null());
                let inner: Vec<&'static Section> = match &key.kind {
                    Kind::Section(inner) | Kind::TextOr(inner) => vec![inner],
                    _ => Vec::new(),
                };
                match (&key.kind, value) {
                    (Kind::Section(_), None) if depth == 0 => {
                        self.line(key.name, "", None, depth, &mut first);
                        let nothing =
                            Node { span: node.span, value: Value::Mapping(Arc::default()) };
                        self.section(&nothing, &inner, depth + 1, &[]);
                    }
                    (Kind::Secret, Some(value)) => self.secret(key.name, value, depth, &mut first),
                    (Kind::List(list), Some(value)) => {
                        self.line(key.name, "", None, depth, &mut first);
                        self.list(value, list, depth + 1);
                    }
                    (_, Some(value)) => match &value.value {
                        Value::Mapping(_) if !inner.is_empty() => {
                            self.line(key.name, "", None, depth, &mut first);
                            self.section(value, &inner, depth + 1, &[]);
                        }
                        _ => {
                            let origin = self.document.place(value.span);
                            self.line(key.name, &text(value), Some(&origin), depth, &mut first);
                        }
                    },
                    (_, None) => match key.value {
                        reference::Value::Default(default) => {
                            self.line(key.name, default, Some("default"), depth, &mut first);
                        }
                        reference::Value::Computed(words, _) => {
                            let indent = "  ".repeat(depth);
                            let words = words.replace('`', "");
                            let _ = writeln!(self.out, "{indent}# {}: {words}", key.name);
                        }
                        _ => {}
                    },
                }
            }
            self.others(node, section, depth, &mut first);
        }
    }

    fn others(&mut self, node: &Node, section: &Section, depth: usize, first: &mut bool) {
        for other in section.other_names() {
            if section.key(&other.name).is_some() {
                continue;
            }
            match (node.get(&other.name).filter(|value| !value.is_null()), other.default) {
                (Some(value), _) if other.secret => self.secret(&other.name, value, depth, first),
                (Some(value), _) => {
                    let origin = self.document.place(value.span);
                    self.line(&other.name, &text(value), Some(&origin), depth, first);
                }
                (None, Some(default)) => {
                    self.line(&other.name, default, Some("default"), depth, first);
                }
                (None, None) => {}
            }
        }
    }

    /// Where a secret is, if it is where it belongs.
    fn secret(&mut self, name: &str, value: &Node, depth: usize, first: &mut bool) {
        let points = value.get("file").or(value.get("credential")).is_some();
        let shown = if points { text(value) } else { HIDDEN.to_owned() };
        let origin = self.document.place(value.span);
        self.line(name, &shown, Some(&origin), depth, first);
    }

    fn list(&mut self, node: &Node, list: &reference::List, depth: usize) {
        let Value::Sequence(items) = &node.value else { return };
        for item in items.iter() {
            let kind = item.get("type").and_then(Node::text).unwrap_or_default();
            let variant = list.variants.iter().find(|variant| variant.name == kind);
            let mut first = true;
            let origin = self.document.place(item.span);
            self.line("type", kind, Some(&origin), depth, &mut first);
            let Some(variant) = variant else { continue };
            self.section(item, &[variant.section, list.common], depth + 1, &["type"]);
        }
    }

    fn line(
        &mut self,
        name: &str,
        value: &str,
        origin: Option<&str>,
        depth: usize,
        item: &mut bool,
    ) {
        let dash = if std::mem::take(item) { "- " } else { "" };
        let mut line = format!("{}{dash}{name}: {value}", "  ".repeat(depth));
        line.truncate(line.trim_end().len());
        if let (Shown::Origins, Some(origin)) = (self.shown, origin) {
            let width = line.chars().count().max(40);
            line = format!("{line:<width$}  # {origin}");
        }
        self.out.push_str(&line);
        self.out.push('\n');
    }
}

/// A value in one line.
fn text(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) if scalar.text.contains("://") && url_has_user(&scalar.text) => {
            HIDDEN.to_owned()
        }
        Value::Scalar(scalar) if scalar.style == Style::Plain => quoted_if_odd(&scalar.text),
        Value::Scalar(scalar) => quoted(&scalar.text),
        Value::Sequence(items) => {
            let items: Vec<String> = items.iter().map(text).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Mapping(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, node)| format!("{}: {}", quoted_if_odd(&key.name), text(node)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// A plain text stays plain where that is the same in a list, too.
fn quoted_if_odd(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/+@ ".contains(c);
    if !text.is_empty()
        && text.chars().all(plain)
        && !text.starts_with(['-', '@', ' '])
        && !text.ends_with(' ')
    {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Single quotes where they can hold it: there, nothing is an escape. No control character is
/// written as it is.
fn quoted(text: &str) -> String {
    if text.chars().any(char::is_control) {
        let mut out = String::from("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c.is_control() => {
                    let _ = write!(out, "\\u{:04x}", c as u32);
                }
                c => out.push(c),
            }
        }
        out.push('"');
        return out;
    }
    format!("'{}'", text.replace('\'', "''"))
}
