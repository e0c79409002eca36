//! What is wrong, where, and what to do about it.

use crate::node::{Document, Source, Span};
use crate::reference::Section;
use crate::secret::may_hold_secret;
use crate::table::Shape;
use crate::terminal::visible;
use std::fmt::Write as _;
use std::sync::Arc;

/// How bad a fault is: an error keeps the document from being used, a warning does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}

/// One fault of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// The file as the user named it.
    pub file: String,
    /// 1-based; 0 if the fault is in no line (a missing file).
    pub line: usize,
    /// 1-based, in characters; 0 if the fault is in no line.
    pub column: usize,
    /// Lower case, no full stop; names the value.
    pub message: String,
    /// What the user can do.
    pub remedy: Option<String>,
    /// What is shown of the line that the fault stands in.
    pub snippet: Option<Snippet>,
}

impl Diagnostic {
    /// A fault of a file as a whole, such as one that cannot be read.
    #[must_use]
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            message: message.into(),
            remedy: None,
            snippet: None,
        }
    }

    /// A fault at `span` of `source`.
    #[must_use]
    pub fn at(source: &Source, span: Span, message: impl Into<String>) -> Self {
        let before = span.column.saturating_sub(1);
        let snippet = source.line(span.line).map(|line| Snippet::of(line, before, span.width));
        Self {
            severity: Severity::Error,
            file: source.name.clone(),
            line: span.line,
            column: span.column,
            message: message.into(),
            remedy: None,
            snippet,
        }
    }

    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The fault for a person: place and message, the line with the fault underlined, the remedy.
    /// Control characters of the snippet are shown as `␛`-like symbols, never sent to the terminal.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let (bold, red, dim, reset) = if colour {
            let tone = if self.severity == Severity::Error { "\x1b[1;31m" } else { "\x1b[1;33m" };
            ("\x1b[1m", tone, "\x1b[2m", "\x1b[0m")
        } else {
            ("", "", "", "")
        };
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut out = String::new();
        let _ = write!(out, "{bold}{}", visible(&self.file));
        if self.line > 0 {
            let _ = write!(out, ":{}:{}", self.line, self.column);
        }
        let _ = writeln!(out, ":{reset} {red}{word}:{reset} {}", visible(&self.message));
        if let Some(shown) = &self.snippet {
            let number = self.line.to_string();
            let pad = " ".repeat(number.len());
            let marker = " ".repeat(shown.before);
            let carets = "^".repeat(shown.width);
            let _ = writeln!(out, "{dim} {number} |{reset} {}", visible(&shown.text));
            let _ = writeln!(out, "{dim} {pad} |{reset} {marker}{red}{carets}{reset}");
        }
        if let Some(remedy) = &self.remedy {
            let _ = writeln!(out, "  {bold}help:{reset} {}", visible(remedy));
        }
        out
    }
}

/// The characters of a longer line that are shown at most, and those of them in front of the fault.
const SHOWN_MAX: usize = 200;
const SHOWN_BEFORE: usize = 60;

/// What is shown of a line, and where the fault stands in it: no more is kept, for a file of one line may
/// have thousands of faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    text: String,
    before: usize,
    width: usize,
}

impl Snippet {
    /// A line around a fault; signs stand for what is left out of a long one.
    fn of(line: &str, before: usize, width: usize) -> Self {
        let start = match line.chars().nth(SHOWN_MAX) {
            Some(_) => before.saturating_sub(SHOWN_BEFORE),
            None => 0,
        };
        let mut rest = line.chars().skip(start);
        let mut text = String::from(if start > 0 { "…" } else { "" });
        let before = before - start + text.chars().count();
        text.extend(rest.by_ref().take(SHOWN_MAX));
        let width = width.min(text.chars().count().saturating_sub(before)).max(1);
        if rest.next().is_some() {
            text.push('…');
        }
        Self { text, before, width }
    }
}

/// All diagnostics, in the order of their places, and a last line that counts them.
#[must_use]
pub fn render_all(diagnostics: &[Diagnostic], colour: bool) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    let mut out = String::new();
    for diagnostic in &sorted {
        out.push_str(&diagnostic.render(colour));
    }
    let count = |severity| sorted.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => {}
        (_, 0) => out.push_str(&format!("{}\n", plural(errors, "error"))),
        (0, _) => out.push_str(&format!("{}\n", plural(warnings, "warning"))),
        _ => {
            out.push_str(&format!("{}, {}\n", plural(errors, "error"), plural(warnings, "warning")))
        }
    }
    out
}

/// The faults found so far in one document.
#[derive(Debug)]
pub struct Faults {
    /// Of one text, or of those that the document is put together of.
    sources: Vec<Arc<Source>>,
    list: Vec<Diagnostic>,
    reference: Option<&'static Section>,
    asked: Vec<Asked>,
    /// Lines that no fault may show.
    hidden: Vec<Span>,
}

/// A key that was asked for, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Of the section, such as `sources[2].spool`.
    pub section: String,
    pub key: String,
    pub shape: Shape,
}

impl Faults {
    #[must_use]
    pub fn new(source: Arc<Source>) -> Self {
        Self {
            sources: vec![source],
            list: Vec::new(),
            reference: None,
            asked: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// For a document whose keys stand in `reference`: a key that once had another name, or has one
    /// elsewhere, is told by it. What is asked for is kept, see [`Faults::asked`]. Lines that may hold a secret
    /// are kept out of every fault.
    #[must_use]
    pub fn of(document: &Document, reference: &'static Section) -> Self {
        let mut sources = vec![document.source.clone()];
        sources.extend(document.more.iter().cloned());
        let hidden = (0..).zip(&sources).flat_map(|(file, source)| {
            let lines = (1..).zip(source.text.lines());
            let secret = lines.filter(|(_, line)| may_hold_secret(line));
            secret.map(move |(line, _)| Span { file, line, ..Span::default() })
        });
        Self {
            hidden: hidden.collect(),
            sources,
            list: Vec::new(),
            reference: Some(reference),
            asked: Vec::new(),
        }
    }

    /// The document that the faults are found in, the first of its texts.
    #[must_use]
    pub fn source(&self) -> &Arc<Source> {
        &self.sources[0]
    }

    /// The name that `key` of the section at `path` has here, if it is one that it had once, or has
    /// elsewhere.
    #[must_use]
    pub fn renamed(&self, path: &str, key: &str) -> Option<&'static str> {
        self.reference?.renamed(path, key)
    }

    pub(crate) fn note_asked(&mut self, section: &str, keys: Vec<(String, Shape)>) {
        if self.reference.is_some() {
            let section = || section.to_owned();
            let asked = |(key, shape)| Asked { section: section(), key, shape };
            self.asked.extend(keys.into_iter().map(asked));
        }
    }

    /// Every key that was asked for, if there is a reference to compare it with.
    #[must_use]
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// A diagnostic at `span` that is not noted yet.
    #[must_use]
    pub fn at(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        let source = self.sources.get(usize::from(span.file)).unwrap_or(&self.sources[0]);
        Diagnostic::at(source, span, message)
    }

    /// Notes an error at `span`; the returned reference takes a remedy.
    pub fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.list.push(self.at(span, message));
        self.list.last_mut().expect("just pushed")
    }

    /// Notes a warning at `span`.
    pub fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.list.push(self.at(span, message).as_warning());
        self.list.last_mut().expect("just pushed")
    }

    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Notes a fault unless it is noted already.
    pub fn push_once(&mut self, diagnostic: Diagnostic) {
        if !self.list.contains(&diagnostic) {
            self.list.push(diagnostic);
        }
    }

    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// Keeps the line of `span` out of every fault, whatever else is wrong in it: it holds a secret.
    pub fn hide_line(&mut self, span: Span) {
        self.hidden.push(span);
    }

    #[must_use]
    pub fn into_list(mut self) -> Vec<Diagnostic> {
        for span in &self.hidden {
            let source = self.sources.get(usize::from(span.file)).unwrap_or(&self.sources[0]);
            let here =
                |fault: &&mut Diagnostic| fault.file == source.name && fault.line == span.line;
            self.list.iter_mut().filter(here).for_each(|fault| fault.snippet = None);
        }
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_line_the_part_with_the_fault_is_shown() {
        let whole = Snippet { text: "key: ä".to_owned(), before: 5, width: 1 };
        assert_eq!(Snippet::of("key: ä", 5, 1), whole);
        let line = format!("{}ä!{}", "a".repeat(1_000), "b".repeat(1_000));
        let cut = Snippet::of(&line, 1_001, 5_000);
        assert!(cut.text.starts_with("…aaa") && cut.text.ends_with("bbb…"), "{cut:?}");
        assert_eq!(cut.text.chars().count(), SHOWN_MAX + 2);
        assert_eq!(cut.text.chars().nth(cut.before), Some('!'));
        assert_eq!(cut.before + cut.width, SHOWN_MAX + 1, "{cut:?}");
        let end = Snippet::of(&line, 2_002, 1);
        assert!(end.text.ends_with("bbb") && end.before == 61 && end.width == 1, "{end:?}");
        let start = Snippet::of(&line, 0, 3);
        assert!(
            start.text.starts_with("aaa") && start.before == 0 && start.width == 3,
            "{start:?}"
        );
    }
}
