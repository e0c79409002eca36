//! The document itself: nodes with their places.

use crate::diagnostic::Diagnostic;
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// The most nodes that one document may have: far above any real file, and low enough that a file
/// of nested aliases cannot fill the memory.
pub const NODES_MAX: usize = 1_000_000;
/// The most levels of nesting.
pub const DEPTH_MAX: usize = 64;

/// A file's name and text, shared by everything that points into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub text: String,
}

impl Source {
    /// The text of a 1-based line.
    #[must_use]
    pub fn line(&self, line: usize) -> Option<&str> {
        line.checked_sub(1).and_then(|index| self.text.lines().nth(index))
    }
}

/// A place: line and column are 1-based, in characters; the width is of the first line covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Span {
    /// Which of the texts of a document that is put together of several; 0 is the first.
    pub file: u16,
    pub line: usize,
    pub column: usize,
    pub width: usize,
}

/// How a scalar was written; it decides whether `no` is a word or a boolean, and whether
/// backslashes were escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
    Folded,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    pub text: String,
    pub style: Style,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Scalar(Scalar),
    /// As mappings shared with what aliases stand for: packs of rules have large ones, and many.
    Sequence(Arc<Vec<Node>>),
    /// In the order of the file; keys are unique.
    Mapping(Arc<Vec<(Key, Node)>>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

impl Node {
    /// The text of a scalar that is not an empty plain one (YAML's null).
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if !self.is_null() => Some(&scalar.text),
            _ => None,
        }
    }

    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(s)
            if s.style == Style::Plain && matches!(s.text.as_str(), "" | "~" | "null"))
    }

    /// What the node is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(_) if self.is_null() => "nothing",
            Value::Scalar(_) => "a value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// The value under `name`, if the node is a mapping that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => {
                entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
            }
            _ => None,
        }
    }
}

/// A parsed document.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its text, the first of them if it is put together of several.
    pub source: Arc<Source>,
    /// The further texts, by `Span::file - 1`.
    pub more: Vec<Arc<Source>>,
    pub root: Node,
    /// Where a further document of the text begins, which is not read.
    pub second: Option<Span>,
}

impl Document {
    /// The text that `span` points into.
    #[must_use]
    pub fn source_of(&self, span: Span) -> &Arc<Source> {
        usize::from(span.file)
            .checked_sub(1)
            .and_then(|index| self.more.get(index))
            .unwrap_or(&self.source)
    }
}

/// Parses the first YAML document of `text`; an empty text is an empty mapping.
///
/// # Errors
/// The first place that is not YAML, a duplicate key, a key that is not a scalar, a tag, or a
/// document beyond [`NODES_MAX`] or [`DEPTH_MAX`].
pub fn parse(name: &str, text: impl Into<String>) -> Result<Document, Box<Diagnostic>> {
    let (document, duplicates) = parse_with_duplicates(name, text)?;
    duplicates.into_iter().next().map_or(Ok(document), |fault| Err(Box::new(fault)))
}

/// As [`parse`], for whoever wants the other faults of the document, too: of keys that stand twice the
/// first is taken, and a fault is given for each of the others.
///
/// # Errors
/// Those of [`parse`], but for duplicate keys.
pub fn parse_with_duplicates(
    name: &str,
    text: impl Into<String>,
) -> Result<(Document, Vec<Diagnostic>), Box<Diagnostic>> {
    let source = Arc::new(Source { name: name.to_owned(), text: text.into() });
    let mut builder = Builder {
        source: &source,
        parser: Parser::new_from_str(&source.text),
        anchors: HashMap::new(),
        nodes: 0,
        duplicates: Vec::new(),
        second: None,
    };
    let root = builder.document()?;
    let (duplicates, second) = (builder.duplicates, builder.second);
    Ok((Document { source, more: Vec::new(), root, second }, duplicates))
}

struct Builder<'t> {
    source: &'t Source,
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    duplicates: Vec<Diagnostic>,
    second: Option<Span>,
}

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, Box<Diagnostic>> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => {
                    return Ok(Node { span, value: Value::Mapping(Arc::default()) });
                }
                event => {
                    let node = self.node(event, span, 0)?;
                    // The rest is read for its syntax errors only.
                    loop {
                        match self.next()? {
                            (Event::StreamEnd, _) => return Ok(node),
                            (Event::DocumentStart(_), span) => match self.next()?.0 {
                                // A last line of `---`.
                                Event::Scalar(text, ..) if text.is_empty() => {}
                                _ => {
                                    self.second = Some(span);
                                    return Ok(node);
                                }
                            },
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Box<Diagnostic>> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let width = if span.start.line() == span.end.line() {
                    span.end.col().saturating_sub(span.start.col()).max(1)
                } else {
                    usize::MAX
                };
                let place =
                    Span { file: 0, line: span.start.line(), column: span.start.col() + 1, width };
                Ok((event, place))
            }
            Some(Err(error)) => {
                let (line, column) = (error.marker().line(), error.marker().col() + 1);
                // A tab is told where the value before it begins.
                let tab = error.info().contains("tab").then(|| self.tab(line)).flatten();
                let (line, column) = tab.unwrap_or((line, column));
                let span = Span { file: 0, line, column, width: 1 };
                let remedy = if error.info().contains("tab") {
                    "indent with spaces; YAML forbids tabs there"
                } else if error.info().contains("escape character") {
                    "use single quotes: in double quotes a backslash begins an escape of YAML's"
                } else if error.info().contains("mapping values are not allowed") {
                    "put the text in single quotes if it holds a colon and a space; else check indentation"
                } else {
                    "check indentation, quotes and the colon after each key"
                };
                Err(Box::new(
                    Diagnostic::at(self.source, span, format!("not YAML: {}", error.info()))
                        .with_remedy(remedy),
                ))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// Line and column of the first tab that a line is indented with, from `line` on.
    fn tab(&self, line: usize) -> Option<(usize, usize)> {
        let mut lines = self.source.text.lines().enumerate().skip(line.saturating_sub(1));
        lines.find_map(|(at, text)| {
            let column = text.find(|c| c != ' ')?;
            text[column..].starts_with('\t').then_some((at + 1, column + 1))
        })
    }

    fn node(
        &mut self,
        event: Event<'t>,
        span: Span,
        depth: usize,
    ) -> Result<Node, Box<Diagnostic>> {
        self.count(1, span)?;
        if depth >= DEPTH_MAX {
            return Err(self.fault(span, format!("nested more than {DEPTH_MAX} levels deep")));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let scalar = Scalar { text: owned(text), style: style_of(style) };
                (anchor, Value::Scalar(scalar))
            }
            Event::SequenceStart(anchor, _) => {
                (anchor, Value::Sequence(Arc::new(self.sequence(depth)?)))
            }
            Event::MappingStart(anchor, _) => {
                (anchor, Value::Mapping(Arc::new(self.mapping(depth)?)))
            }
            Event::Alias(id) => {
                let target = self.anchors.get(&id).cloned();
                let Some(node) = target else {
                    return Err(self.fault(span, "an alias to an anchor that is not defined"));
                };
                self.count(size(&node), span)?;
                return Ok(Node { span, value: node.value });
            }
            other => return Err(self.fault(span, format!("unexpected {other:?}"))),
        };
        let node = Node { span, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Node>, Box<Diagnostic>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => {
                    items.shrink_to_fit();
                    return Ok(items);
                }
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, Box<Diagnostic>> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let name = match event {
                Event::MappingEnd => {
                    entries.shrink_to_fit();
                    return Ok(entries);
                }
                Event::Scalar(text, ..) => owned(text),
                _ => {
                    let mut fault = self.fault(span, "a key must be a plain word");
                    fault.remedy = Some("quote the key if it begins with a special sign".into());
                    return Err(fault);
                }
            };
            if let Some((first, _)) = entries.iter().find(|(key, _)| key.name == name) {
                let line = first.span.line;
                let fault = self.fault(span, format!("duplicate key `{name}`"));
                let remedy = format!("the first one is in line {line}; keep one of them");
                self.duplicates.push(fault.with_remedy(remedy));
                let (event, value_span) = self.next()?;
                self.node(event, value_span, depth + 1)?;
                continue;
            }
            let (event, value_span) = self.next()?;
            let mut node = self.node(event, value_span, depth + 1)?;
            if node.is_null() {
                node.span = span;
            }
            entries.push((Key { name, span }, node));
        }
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Box<Diagnostic>> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(self.fault(span, format!("more than {NODES_MAX} nodes in one document")));
        }
        Ok(())
    }

    fn fault(&self, span: Span, message: impl Into<String>) -> Box<Diagnostic> {
        Box::new(Diagnostic::at(self.source, span, message))
    }
}

/// Without what it has in reserve: the tree of a large file sets the most that the process ever takes.
fn owned(text: Cow<'_, str>) -> String {
    let mut text = text.into_owned();
    text.shrink_to_fit();
    text
}

fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::Sequence(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Mapping(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
    }
}
