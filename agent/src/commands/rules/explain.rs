//! `rules explain`: which rules were tried on a line, how far each came, and what came of it.

use crate::commands::input::{LineArguments, RuleArguments};
use crate::{out, outln};
use logweir_document::visible;
use logweir_parsers::{Attempt, Disposition, Explanation, Parser, RuleSet, Stop};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;

/// How many rules that were passed over are named of each pack.
const PASSED_OVER_MAX: usize = 8;

/// Show which rules are tried on a line, where they stop, and the event that it becomes
///
/// Exit code 1 if no rule matches, or only the one for any line of syslog.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    rules: RuleArguments,
    #[command(flatten)]
    line_arguments: LineArguments,
    /// Show every step: what pattern, sub-parsers, transforms, maps and constants did to the event
    #[arg(long)]
    trace: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The line
    line: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people; with colours on a terminal
    Text,
    /// One JSON object
    Json,
}

impl Explain {
    pub(super) fn execute(self) -> ExitCode {
        let rules = match self.rules.load() {
            Ok(rules) => rules,
            Err(code) => return code,
        };
        let settings = match self.line_arguments.check(&rules) {
            Ok(settings) => settings,
            Err(code) => return code,
        };
        let mut parser = Parser::new(rules.clone());
        let mut event = vec![b'{'];
        let context = settings.context(None);
        let found = parser.explain(self.line.as_bytes(), &context, &mut event);
        event.push(b'}');
        let event: Map<String, Value> = serde_json::from_slice(&event).unwrap_or_default();
        match self.format {
            Format::Text => {
                let colours = Colours { on: std::io::stdout().is_terminal() };
                let page = Page { rules: &rules, found: &found, line: &self.line, colours };
                out!("{}", page.render(self.trace, &event));
            }
            Format::Json => outln!("{}", as_json(&rules, &found, self.trace, event)),
        }
        let matched = found.parsed.rule.is_some_and(|rule| !rules.is_last_resort(rule));
        if matched { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Escape sequences, or nothing.
#[derive(Debug, Clone, Copy)]
struct Colours {
    on: bool,
}

/// Colours of captures, in turn.
const CAPTURES: [&str; 5] = ["36", "33", "35", "34", "32"];

impl Colours {
    fn paint(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

struct Page<'p> {
    rules: &'p RuleSet,
    found: &'p Explanation,
    line: &'p str,
    colours: Colours,
}

impl Page<'_> {
    fn render(&self, trace: bool, event: &Map<String, Value>) -> String {
        let mut out = String::new();
        self.header(&mut out);
        self.packs(&mut out);
        for (attempt, stop) in &self.found.attempts {
            self.attempt(&mut out, attempt, stop.as_ref());
        }
        for (rule, wanted) in &self.found.elsewhere {
            let _ = writeln!(
                out,
                "hint     `{}` matches, but its pack is not tried: `applies` wants {}",
                self.rules.rule_id(*rule),
                visible(wanted)
            );
        }
        for hint in &self.found.hints {
            let _ = writeln!(out, "hint     {}", visible(hint));
        }
        if trace {
            self.steps(&mut out);
        }
        self.result(&mut out, event);
        out
    }

    fn header(&self, out: &mut String) {
        if self.found.header.is_empty() {
            out.push_str("header   none: the line is all message\n");
            return;
        }
        let fields: Vec<String> = self
            .found
            .header
            .iter()
            .map(|(name, value)| format!("{name} {}", visible(value)))
            .collect();
        let _ = writeln!(out, "header   {}", fields.join(", "));
        let _ = writeln!(out, "message  {}", visible(&self.found.message));
    }

    fn packs(&self, out: &mut String) {
        for tried in &self.found.packs {
            let (name, dataset) = self.rules.pack(tried.pack);
            let _ = writeln!(out, "pack     {name}, dataset {dataset}: {}", tried.why);
            for (rule, need) in tried.passed_over.iter().take(PASSED_OVER_MAX) {
                let why = if need.is_empty() {
                    String::new()
                } else {
                    format!(": it needs a text that {}", visible(need))
                };
                let _ = writeln!(out, "  - {}{why}", self.rules.rule_id(*rule));
            }
            if tried.passed_over.len() > PASSED_OVER_MAX {
                let more = tried.passed_over.len() - PASSED_OVER_MAX;
                let _ = writeln!(out, "  - {more} more that need texts which the message lacks");
            }
        }
        let others = self.rules.packs().count() - self.found.packs.len();
        let _ = writeln!(out, "         {others} other packs do not fit or come later");
    }

    fn attempt(&self, out: &mut String, attempt: &Attempt, stop: Option<&Stop>) {
        let indent = "  ".repeat(attempt.depth + 1);
        let id = self.rules.rule_id(attempt.rule);
        match &attempt.failure {
            None => {
                let _ = writeln!(
                    out,
                    "{indent}{}",
                    self.colours.paint("1;32", &format!("✓ {id} matches"))
                );
                self.captures(out, attempt, &indent);
            }
            Some(reason) => {
                let _ = writeln!(
                    out,
                    "{indent}{}",
                    self.colours.paint("1;31", &format!("✗ {id}: {}", visible(reason)))
                );
                if let Some(stop) = stop {
                    self.stop(out, attempt, stop, &indent);
                }
            }
        }
    }

    /// The text with what each capture has taken.
    fn captures(&self, out: &mut String, attempt: &Attempt, indent: &str) {
        if attempt.captures.is_empty() {
            return;
        }
        if self.colours.on {
            let mut at = 0;
            let mut text = String::new();
            for (number, (_, start, end)) in attempt.captures.iter().enumerate() {
                if *start < at {
                    continue;
                }
                text.push_str(&lossy(&attempt.text[at..*start]));
                let colour = CAPTURES[number % CAPTURES.len()];
                text.push_str(&self.colours.paint(colour, &lossy(&attempt.text[*start..*end])));
                at = *end;
            }
            text.push_str(&lossy(&attempt.text[at..]));
            let _ = writeln!(out, "{indent}    {text}");
        }
        for (number, (field, start, end)) in attempt.captures.iter().enumerate() {
            let value = lossy(&attempt.text[*start..*end]);
            let value = self.colours.paint(CAPTURES[number % CAPTURES.len()], &value);
            let _ = writeln!(out, "{indent}    {field} = {value}");
        }
    }

    /// The text, a caret under where the pattern stops, and what it wants there.
    fn stop(&self, out: &mut String, attempt: &Attempt, stop: &Stop, indent: &str) {
        let (fits, rest) = attempt.text.split_at(stop.matched.min(attempt.text.len()));
        let fits = lossy(fits);
        let column = self.column(attempt, stop);
        let _ = writeln!(out, "{indent}    {}{}", self.colours.paint("32", &fits), lossy(rest));
        let caret = self.colours.paint("1;31", "^");
        let _ = writeln!(
            out,
            "{indent}    {}{caret} column {column}",
            " ".repeat(fits.chars().count())
        );
        let wants = if stop.wants == "$" {
            "the end".to_owned()
        } else {
            format!("`{}`", visible(&stop.wants))
        };
        let _ = writeln!(
            out,
            "{indent}    the pattern wants here: {}",
            self.colours.paint("1;31", &wants)
        );
        let fits = if stop.fits.is_empty() {
            "nothing".to_owned()
        } else {
            format!("`{}`", visible(&stop.fits))
        };
        let _ = writeln!(out, "{indent}    of it fits: {}", self.colours.paint("32", &fits));
    }

    /// In characters of the line if the text stands in it, else of the text; 1-based.
    fn column(&self, attempt: &Attempt, stop: &Stop) -> usize {
        match attempt.offset {
            Some(offset) => {
                lossy(&self.line.as_bytes()[..offset + stop.matched]).chars().count() + 1
            }
            None => lossy(&attempt.text[..stop.matched]).chars().count() + 1,
        }
    }

    fn steps(&self, out: &mut String) {
        out.push_str("steps\n");
        for step in &self.found.steps {
            let indent = "  ".repeat(step.depth + 1);
            let _ = writeln!(out, "{indent}{} {}", step.rule, self.colours.paint("1", step.stage));
            for (field, value) in &step.changes {
                let value = value.as_deref().map_or_else(|| "(none)".to_owned(), visible);
                let _ = writeln!(out, "{indent}    {field} = {value}");
            }
        }
    }

    fn result(&self, out: &mut String, event: &Map<String, Value>) {
        match self.found.parsed.disposition {
            Disposition::Deliver => {
                let rule =
                    self.found.parsed.rule.map_or("no rule", |rule| self.rules.rule_id(rule));
                let _ = writeln!(out, "event    by {rule}");
                for (name, value) in event.iter().collect::<std::collections::BTreeMap<_, _>>() {
                    let _ = writeln!(out, "    {name}: {value}");
                }
            }
            Disposition::Drop(reason) => {
                let _ = writeln!(out, "dropped: {}", visible(self.rules.drop_reason(reason)));
            }
            Disposition::SampledOut => out.push_str("not among the sample that is delivered\n"),
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    visible(&String::from_utf8_lossy(bytes))
}

fn as_json(rules: &RuleSet, found: &Explanation, trace: bool, event: Map<String, Value>) -> Value {
    let packs: Vec<Value> = found
        .packs
        .iter()
        .map(|tried| {
            let (name, dataset) = rules.pack(tried.pack);
            let passed: Vec<Value> = tried
                .passed_over
                .iter()
                .map(|(rule, need)| json!({"rule": rules.rule_id(*rule), "needs": need}))
                .collect();
            json!({"pack": name, "dataset": dataset, "why": tried.why, "passed_over": passed})
        })
        .collect();
    let attempts: Vec<Value> = found
        .attempts
        .iter()
        .map(|(attempt, stop)| {
            let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&attempt.text[range]).into_owned();
            let captures: Vec<Value> = attempt
                .captures
                .iter()
                .map(|(field, start, end)| json!({"field": field, "start": start, "end": end, "text": text(*start..*end)}))
                .collect();
            let stop = stop.as_ref().map(|stop| {
                json!({"matched_bytes": stop.matched, "fits": stop.fits, "wants": stop.wants})
            });
            json!({
                "rule": rules.rule_id(attempt.rule),
                "depth": attempt.depth,
                "matched": attempt.failure.is_none(),
                "failure": attempt.failure,
                "text": String::from_utf8_lossy(&attempt.text),
                "offset": attempt.offset,
                "captures": captures,
                "stop": stop,
            })
        })
        .collect();
    let header: Map<String, Value> =
        found.header.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let elsewhere: Vec<Value> = found
        .elsewhere
        .iter()
        .map(|(rule, wanted)| json!({"rule": rules.rule_id(*rule), "applies": wanted}))
        .collect();
    let mut out = json!({
        "header": header,
        "message": found.message,
        "packs": packs,
        "attempts": attempts,
        "matches_elsewhere": elsewhere,
        "hints": found.hints,
        "rule": found.parsed.rule.map(|rule| rules.rule_id(rule)),
    });
    match found.parsed.disposition {
        Disposition::Deliver => out["event"] = Value::Object(event),
        Disposition::Drop(reason) => out["dropped"] = json!(rules.drop_reason(reason)),
        Disposition::SampledOut => out["dropped"] = json!("sampled"),
    }
    if trace {
        out["steps"] = found
            .steps
            .iter()
            .map(|step| {
                let changes: Map<String, Value> =
                    step.changes.iter().map(|(field, value)| (field.clone(), json!(value))).collect();
                json!({"rule": step.rule, "depth": step.depth, "stage": step.stage, "changes": changes})
            })
            .collect();
    }
    out
}
