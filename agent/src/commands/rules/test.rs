//! `rules test`: what the samples become, against what is expected of them.

use crate::commands::input::load;
use crate::{out, outln};
use logweir_parsers::samples::{self, Difference, Outcome, shown};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

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
        let rules = match load(&self.directories, shipped) {
            Ok(rules) => rules,
            Err(code) => return code,
        };
        let outcomes = samples::run(&rules);
        out!("{}", render(&outcomes, self.format));
        let failed = outcomes.iter().filter(|outcome| !outcome.holds()).count();
        if self.format != Format::Json && self.format != Format::Junit {
            outln!("{} samples of {} rules, {failed} failed", outcomes.len(), rules.len());
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

fn summary(differences: &[Difference]) -> String {
    let one = |difference: &Difference| {
        let (expected, got) = (shown(&difference.expected), shown(&difference.got));
        format!("{}: expected {expected}, got {got}", difference.field)
    };
    differences.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Workflow commands end at a line break and take `%` as an escape.
fn github(outcome: &Outcome) -> String {
    let (file, line) = &outcome.place;
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let message = escape(&summary(&outcome.differences));
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
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
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"rules\" tests=\"{}\" failures=\"{failed}\">\n",
        outcomes.len()
    );
    for outcome in outcomes {
        let (file, line) = &outcome.place;
        let name = format!("{} line {line}", outcome.rule);
        let _ = write!(out, "  <testcase classname=\"{}\" name=\"{}\"", xml(file), xml(&name));
        if outcome.differences.is_empty() {
            out.push_str("/>\n");
        } else {
            let message = xml(&summary(&outcome.differences));
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
            _ if c.is_control() => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
