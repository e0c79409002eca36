//! Rules of other programs as a pack of ours: Logstash's grok, Fluent Bit's parsers, Wazuh's decoders.
//!
//! Nothing is lost silently: what has no counterpart stands as a comment at its place in the pack and
//! is noted with file and line. What is written loads, because every rule is tried alone before, and
//! the whole at the end; a rule that does not load is written as a comment with the reason.

mod fields;
mod fluentbit;
mod logstash;
mod osregex;
mod pack;
mod pattern;
pub(crate) mod times;
mod wazuh;
mod xml;

use logweir_document::{Diagnostic, Source, Span};
use pack::Pack;
use std::sync::Arc;

/// Whose rules are converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Logstash: filters of a pipeline, and files of grok patterns.
    Grok,
    /// Fluent Bit: `parsers.conf`.
    FluentBit,
    /// Wazuh (and OSSEC): decoders.
    Wazuh,
}

/// What came of a conversion.
#[derive(Debug)]
pub struct Conversion {
    pub yaml: String,
    /// How many rules and fragments came over.
    pub rules: usize,
    pub fragments: usize,
    /// What did not, and why.
    pub notes: Vec<Diagnostic>,
    /// Why the whole does not load, although each of its rules does.
    pub faults: Vec<Diagnostic>,
}

/// Converts files, given by name and text, into a pack called `name` for the given programs.
#[must_use]
pub fn convert(
    from: From,
    name: &str,
    programs: &[String],
    files: &[(String, String)],
) -> Conversion {
    // Names of fields are looked up all the while.
    let _held = crate::ecs::table();
    let mut pack = Pack::new(name, programs);
    let mut notes = Notes::default();
    // Patterns come before what uses them.
    let mut files: Vec<_> =
        files.iter().map(|(file, text)| (file, text.trim_start_matches('\u{feff}'))).collect();
    if from == From::Grok {
        files.sort_by_key(|(_, text)| logstash::is_pipeline(text));
    }
    for (file, text) in files {
        notes.source = Arc::new(Source { name: file.clone(), text: text.to_owned() });
        match from {
            From::Grok => logstash::read(text, &mut pack, &mut notes),
            From::FluentBit => fluentbit::read(text, &mut pack, &mut notes),
            From::Wazuh => wazuh::read(text, &mut pack, &mut notes),
        }
        pack.read(&notes.source);
    }
    pack.finish(notes)
}

/// What could not be carried over.
#[derive(Debug)]
struct Notes {
    source: Arc<Source>,
    list: Vec<Diagnostic>,
}

impl Default for Notes {
    fn default() -> Self {
        let source = Source { name: String::new(), text: String::new() };
        Self { source: Arc::new(source), list: Vec::new() }
    }
}

impl Notes {
    /// What follows is noted of another file.
    fn of(&mut self, source: Option<&Arc<Source>>) {
        if let Some(source) = source {
            self.source = source.clone();
        }
    }

    /// Notes a fault in a line and returns the comment for the pack.
    fn add(&mut self, line: usize, message: impl Into<String>) -> String {
        let message = message.into();
        let text = self.source.line(line).unwrap_or_default();
        let start = text.chars().take_while(|c| c.is_whitespace()).count();
        let span = Span { file: 0, line, column: start + 1, width: usize::MAX };
        self.list.push(Diagnostic::at(&self.source, span, message.clone()).as_warning());
        format!("not carried over (line {line}): {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{LineContext, Parser, write_event};
    use crate::rule::RuleSet;
    use crate::samples::RECEIVED_UNIX_NANOS;
    use crate::time::Zone;
    use serde_json::Value;

    /// The pack loads, turns each line into an event with these fields, and the notes are these.
    pub(super) fn check(
        from: From,
        text: &str,
        lines: &[(&str, &[(&str, &str)])],
        notes: &[(usize, &str)],
    ) {
        let files = [("in.conf".to_owned(), text.to_owned())];
        let found = convert(from, "shop", &[], &files);
        let rules = RuleSet::of_text("out", &found.yaml).unwrap_or_else(|faults| {
            panic!("{}\n{}", logweir_document::render_all(&faults, false), found.yaml)
        });
        let rules = Arc::new(rules);
        let zone = Zone::utc();
        let context = LineContext {
            pack: rules.pack_named("shop"),
            received_unix_nanos: RECEIVED_UNIX_NANOS,
            zone: &zone,
            original_bytes: None,
        };
        for (line, expected) in lines {
            let mut out = Vec::new();
            write_event(&mut Parser::new(rules.clone()), line.as_bytes(), &context, &mut out);
            let dropped = out.is_empty();
            let event: Value =
                serde_json::from_slice(if dropped { b"null" } else { &out }).unwrap();
            for (field, value) in *expected {
                let got = match &event[*field] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                assert_eq!(got, *value, "{field} of {line}\n{event:#}\n{}", found.yaml);
            }
        }
        let got: Vec<(usize, &str)> =
            found.notes.iter().map(|note| (note.line, note.message.as_str())).collect();
        assert_eq!(got.len(), notes.len(), "{got:#?}\n{}", found.yaml);
        for ((line, message), (wanted_line, part)) in got.iter().zip(notes) {
            assert!(line == wanted_line && message.contains(part), "{got:#?}");
            let comment = format!("(line {line}): {message}");
            assert!(found.yaml.contains(&comment), "{comment} is not in\n{}", found.yaml);
        }
    }

    #[test]
    fn several_files_make_one_pack_that_loads() {
        let chained = |begin: &str| {
            format!(
                "filter {{ grok {{ match => {{ 'message' => '^{begin} %{{GREEDYDATA:body}} %{{ORD}}' }} }}\n\
                 grok {{ match => {{ 'body' => 'user=%{{WORD:user}}' }} }}\n\
                 mutate {{ remove_field => ['order'] }} }}"
            )
        };
        let files = [
            ("one".to_owned(), chained("A")),
            ("two".to_owned(), chained("B")),
            ("patterns".to_owned(), "ORD o%{INT:order}\nBAD (?=x)y\n".to_owned()),
            (
                "three".to_owned(),
                "filter { grok { match => { 'message' => '%{NO}' } } }".to_owned(),
            ),
        ];
        let found = convert(From::Grok, "shop", &[], &files);
        assert!(found.faults.is_empty(), "{:?}\n{}", found.faults, found.yaml);
        assert_eq!((found.rules, found.fragments), (4, 1), "{}", found.yaml);
        let notes = found.notes.iter().map(|note| (note.file.as_str(), note.line));
        assert_eq!(notes.collect::<Vec<_>>(), [("patterns", 2), ("three", 1)], "{:?}", found.notes);
    }

    #[test]
    fn any_bytes_are_converted_without_panic() {
        let texts = [
            "",
            "{",
            "}",
            "filter {",
            "filter { grok { match => ",
            "\"",
            "'",
            "[",
            "<",
            "<decoder",
            "<decoder name=\"a\"><regex>(</regex></decoder>",
            "[PARSER]\nRegex",
            "&#x110000;",
            "<decoder name='x'><order>a,b</order><regex>(\\",
            "filter { if { } } }",
            "A %{A}\n",
            "[PARSER]\nName a\nFormat regex\nRegex ^(?<a",
            "filter{grok{match=>{\"message\"=>[\"%{\"]}}}",
            "filter{grok{match=>{'message'=>'%{WORD:a}'}} if [a]=='x'{json{source=>a}} else{mutate{rename=>{a=>b}}}}",
        ];
        for text in texts {
            for from in [From::Grok, From::FluentBit, From::Wazuh] {
                for end in 0..=text.len() {
                    let Some(part) = text.get(..end) else { continue };
                    let found = convert(from, "x", &[], &[("f".into(), part.into())]);
                    assert!(RuleSet::of_text("x", &found.yaml).is_ok(), "{part}\n{}", found.yaml);
                }
            }
        }
    }
}
