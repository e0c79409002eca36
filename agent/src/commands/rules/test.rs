//! `rules test`: what the samples become, against what is expected of them.

use super::{counted, load_named};
use crate::commands::{report_faults, show};
use crate::{out, outln};
use logweir_document::{Diagnostic, Severity};
use logweir_parsers::samples::{self, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

const XML_HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Run the samples of rule packs and show what differs
///
/// Exit code 1 if a sample does not hold, 78 if the packs do not load.
#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Directories of packs, or single packs; by default the packs inside the program
    directories: Vec<PathBuf>,
    /// Test them together with the packs inside the program
    #[arg(long)]
    with_shipped: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One object per sample
    Json,
    /// Annotations of GitHub Actions
    Github,
    /// XML as JUnit writes it
    Junit,
}

impl Test {
    pub(super) fn execute(self) -> ExitCode {
        let shipped = self.with_shipped || self.directories.is_empty();
        let loaded = match load_named(&self.directories, shipped) {
            Ok(loaded) => loaded,
            Err(faults) => {
                out!("{}", render_faults(&faults, self.format));
                return report_faults(&faults);
            }
        };
        show(&loaded.warnings);
        let rules = Arc::new(loaded.rules);
        let outcomes = samples::run(&rules);
        out!("{}", render(&outcomes, self.format));
        let failed = outcomes.iter().filter(|outcome| !outcome.holds()).count();
        if self.format != Format::Json && self.format != Format::Junit {
            let (samples, rules) = (outcomes.len(), rules.len());
            outln!("{} of {}, {failed} failed", counted(samples, "sample"), counted(rules, "rule"));
        }
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn render(outcomes: &[Outcome], format: Format) -> String {
    let failed = outcomes.iter().filter(|outcome| !outcome.holds());
    match format {
        Format::Text => failed.map(Outcome::to_string).collect(),
        Format::Github => failed.map(github).collect(),
        Format::Json => outcomes.iter().map(|outcome| json_line(outcome) + "\n").collect(),
        Format::Junit => junit(outcomes),
    }
}

/// The faults of packs that do not load, for what reads the result; people find them on standard error.
fn render_faults(faults: &[Diagnostic], format: Format) -> String {
    match format {
        Format::Text => String::new(),
        Format::Github => faults.iter().map(github_fault).collect(),
        Format::Json => faults.iter().map(|fault| json_fault(fault) + "\n").collect(),
        Format::Junit => junit_faults(faults),
    }
}

fn with_remedy(fault: &Diagnostic) -> String {
    let remedy = fault.remedy.as_ref().map_or(String::new(), |remedy| format!("; {remedy}"));
    format!("{}{remedy}", fault.message)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Workflow commands end at a line break and take `%` as an escape.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As [`escaped`], before the message: what ends a property is escaped, too.
fn property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

fn github_fault(fault: &Diagnostic) -> String {
    let place = match (fault.line, fault.column) {
        (0, _) => String::new(),
        (line, column) => format!(",line={line},col={column}"),
    };
    let (kind, file) = (word(fault.severity), property(&fault.file));
    format!("::{kind} file={file}{place},title=rules::{}\n", escaped(&with_remedy(fault)))
}

fn json_fault(fault: &Diagnostic) -> String {
    json!({
        "fault": fault.message,
        "severity": word(fault.severity),
        "file": fault.file,
        "line": fault.line,
        "column": fault.column,
        "remedy": fault.remedy,
        "passed": false,
    })
    .to_string()
}

fn junit_faults(faults: &[Diagnostic]) -> String {
    let errors: Vec<_> = faults.iter().filter(|fault| fault.severity == Severity::Error).collect();
    let case = |fault: &&Diagnostic| {
        let file = xml(&fault.file);
        let (line, column) = (fault.line, fault.column);
        let message = xml(&with_remedy(fault));
        let body = xml(&fault.render(false));
        format!(
            "  <testcase classname=\"{file}\" name=\"loads, line {line}, column {column}\">\n    \
             <error message=\"{message}\">{body}</error>\n  </testcase>\n"
        )
    };
    let count = errors.len();
    let head =
        format!("<testsuite name=\"rules\" tests=\"{count}\" failures=\"0\" errors=\"{count}\">");
    let cases: String = errors.iter().map(case).collect();
    format!("{XML_HEAD}{head}\n{cases}</testsuite>\n")
}

/// With the reasons, which are what the one who reads the annotation has to know.
fn github(outcome: &Outcome) -> String {
    let (file, line) = &outcome.place;
    let lines = std::iter::once(outcome.summary()).chain(outcome.notes.iter().cloned());
    let message = escaped(&lines.collect::<Vec<_>>().join("\n"));
    let (file, rule) = (property(file), property(&outcome.rule));
    format!("::error file={file},line={line},title={rule}::{message}\n")
}

fn json_line(outcome: &Outcome) -> String {
    let differences: Vec<Value> = outcome
        .differences
        .iter()
        .map(|d| json!({"field": d.field, "expected": d.expected, "got": d.got}))
        .collect();
    json!({
        "rule": outcome.rule,
        "file": outcome.place.0,
        "line": outcome.place.1,
        "sample": outcome.line,
        "matched": outcome.matched,
        "passed": differences.is_empty(),
        "differences": differences,
        "notes": outcome.notes,
    })
    .to_string()
}

fn junit(outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter(|outcome| !outcome.holds()).count();
    let mut out = format!(
        "{XML_HEAD}<testsuite name=\"rules\" tests=\"{}\" failures=\"{failed}\" errors=\"0\">\n",
        outcomes.len()
    );
    let mut named = BTreeMap::new();
    for outcome in outcomes {
        let (file, line) = &outcome.place;
        let mut name = format!("{} line {line}", outcome.rule);
        // Several samples may stand in one line, and readers take cases of one name for one.
        let number = named.entry((file, name.clone())).and_modify(|n| *n += 1).or_insert(1);
        if *number > 1 {
            name.push_str(&format!(" ({number})"));
        }
        let _ = write!(out, "  <testcase classname=\"{}\" name=\"{}\"", xml(file), xml(&name));
        if outcome.differences.is_empty() {
            out.push_str("/>\n");
        } else {
            let message = xml(&outcome.summary());
            let body = xml(&outcome.to_string());
            let _ = writeln!(
                out,
                ">\n    <failure message=\"{message}\">{body}</failure>\n  </testcase>"
            );
        }
    }
    out.push_str("</testsuite>\n");
    out
}

/// Escapes for XML; characters that XML does not have become U+FFFD.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            _ if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_parsers::samples::Difference;

    fn outcome(differences: Vec<Difference>) -> Outcome {
        Outcome {
            rule: "a.b".into(),
            place: ("x,y.yaml".into(), 7),
            line: "l<1>\u{1b}[0m".into(),
            matched: None,
            differences,
            notes: Vec::new(),
        }
    }

    #[test]
    fn each_format_names_place_field_and_both_values() {
        let bad = Difference { field: "user.name".into(), expected: Some("a%".into()), got: None };
        let outcomes = [outcome(vec![bad]), outcome(Vec::new())];
        for (format, expected) in [
            (
                Format::Text,
                "x,y.yaml:7: a.b\n  line: l<1>\\u{1b}[0m\n  user.name\n    expected \"a%\"\n    got      nothing\n",
            ),
            (
                Format::Github,
                "::error file=x%2Cy.yaml,line=7,title=a.b::user.name: expected \"a%25\", got nothing\n",
            ),
        ] {
            assert_eq!(render(&outcomes, format), expected);
        }
        let lines = render(&outcomes, Format::Json);
        let passed: Vec<bool> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["passed"].as_bool().unwrap())
            .collect();
        assert_eq!(passed, [false, true]);
        let report = render(&outcomes, Format::Junit);
        assert!(report.contains("tests=\"2\" failures=\"1\""), "{report}");
        assert!(report.contains("expected &quot;a%&quot;, got nothing"), "{report}");
        // The two samples stand in one line.
        assert!(
            report.contains("name=\"a.b line 7\"") && report.contains("name=\"a.b line 7 (2)\"")
        );
    }

    #[test]
    fn an_annotation_says_why() {
        let bad = Difference { field: "user.name".into(), expected: Some("a".into()), got: None };
        let notes = vec!["its pattern fits up to `x: 5%`".into()];
        assert_eq!(
            render(&[Outcome { notes, ..outcome(vec![bad]) }], Format::Github),
            "::error file=x%2Cy.yaml,line=7,title=a.b::user.name: expected \"a\", got nothing\
             %0Aits pattern fits up to `x: 5%25`\n"
        );
    }

    #[test]
    fn packs_that_do_not_load_are_told_in_each_format() {
        let text = "pack: a\nrules:\n  - {id: a.x, pattern: '(', sample: []}\n";
        let faults = logweir_parsers::RuleSet::of_text("a<b>.yaml", text).unwrap_err();
        assert_eq!(
            render_faults(&faults, Format::Github),
            "::error file=a<b>.yaml,line=3,col=25,title=rules::unclosed group; close the group, or write \
             `\\(` for the sign\n::error file=a<b>.yaml,line=3,col=29,title=rules::unknown key `sample` in \
             `rules[0]`; did you mean `samples`?\n"
        );
        let lines = render_faults(&faults, Format::Json);
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!((&first["line"], &first["passed"]), (&json!(3), &json!(false)));
        let report = render_faults(&faults, Format::Junit);
        assert!(report.contains("tests=\"2\" failures=\"0\" errors=\"2\""), "{report}");
        assert!(report.contains("classname=\"a&lt;b&gt;.yaml\" name=\"loads, line 3, column 25\""));
        assert_eq!(render_faults(&faults, Format::Text), "");
    }
}
