//! A draft pack from lines that no rule knows.
//!
//! ```text
//! line ─► header ─► JSON or key=value? ─► one rule per program with a sub-parser
//!                 └► tokens ─► templates ─► one rule per template
//! ```
//!
//! What comes out loads and holds its own samples, because it is tried before it is handed out: a rule
//! that takes another's lines is put behind it, and one that does not hold its samples is left out and
//! counted. Memory is bounded whatever the input; equal lines in equal order give an equal draft.

mod cluster;
mod dates;
mod names;
mod records;
mod rule;
mod scan;

use crate::engine::{LineContext, Parser, write_event};
use crate::header;
use crate::rule::RuleSet;
use crate::samples;
use crate::time::{TimeContext, Zone};
use crate::yaml;
use cluster::Clusters;
pub(crate) use names::identifier;
use records::Records;
use rule::Draft;
pub(crate) use rule::escape;
use scan::TIMES;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// Longer lines are looked at up to here.
const LINE_BYTES_MAX: usize = 4096;
/// How often rules are put in another order before those that still fail are left out.
const ROUNDS_MAX: usize = 64;

/// What the pack is called and how much goes into it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The pack's name, and the beginning of its rules' ids.
    pub name: String,
    /// `event.dataset`; the name if `None`.
    pub dataset: Option<String>,
    /// At most so many rules.
    pub top: usize,
    /// Rules for fewer lines are left out.
    pub lines_min: u64,
}

/// A pack to be completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    pub yaml: String,
    pub rules: usize,
    /// How many lines were given, and how many of them the draft is for.
    pub lines: u64,
    pub covered: u64,
    /// Rules that were dropped because they did not hold their own samples.
    pub failed: usize,
}

/// Takes lines and drafts rules for them.
#[derive(Debug, Default)]
pub struct Suggester {
    clusters: Clusters,
    records: Records,
    lines: u64,
}

impl Suggester {
    /// Takes one line in.
    pub fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        let line = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES_MAX)]);
        let zone = Zone::utc();
        let context =
            TimeContext { received_unix_nanos: samples::RECEIVED_UNIX_NANOS, zone: &zone };
        let header = header::parse(line.as_bytes(), &context);
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let program = header.program.map(text).filter(|program| !program.is_empty());
        let message = text(header.message);
        if message.trim().is_empty() {
            return;
        }
        let tokens = scan::scan(message);
        if !self.records.add(program, &line, message, &tokens, self.lines) {
            self.clusters.add(program, &line, self.lines, &tokens);
        }
    }

    /// The draft; `None` if no line is left that a rule could be written for.
    #[must_use]
    pub fn finish(self, options: &Options) -> Option<Suggestion> {
        // The drafts are loaded again and again.
        let _held = crate::ecs::table();
        let mut drafts: Vec<Draft> = self.records.finish();
        drafts.extend(self.clusters.finish().into_iter().map(Draft::of));
        drafts.retain(|draft| draft.lines >= options.lines_min.max(1));
        drafts.sort_by_key(|draft| (std::cmp::Reverse(draft.lines), draft.first));
        drafts.truncate(options.top);
        let drafted = drafts.len();
        let pack = Pack { options, lines: self.lines };
        let (yaml, drafts) = pack.hold(drafts)?;
        Some(Suggestion {
            yaml,
            rules: drafts.len(),
            lines: self.lines,
            covered: drafts.iter().map(|draft| draft.lines).sum(),
            failed: drafted - drafts.len(),
        })
    }
}

struct Pack<'o> {
    options: &'o Options,
    lines: u64,
}

impl Pack<'_> {
    /// Puts the rules in an order in which every one gets its own samples, and writes them.
    fn hold(&self, mut drafts: Vec<Draft>) -> Option<(String, Vec<Draft>)> {
        for round in 0.. {
            if drafts.is_empty() {
                return None;
            }
            let ids = self.ids(&drafts);
            let rules = RuleSet::of_text("draft", &self.write(&drafts, &ids, None)).ok()?;
            let rules = Arc::new(rules);
            let taken = taken(&rules, &ids);
            if taken.is_empty() {
                let yaml = self.write(&drafts, &ids, Some(&rules));
                return Some((yaml, drafts));
            }
            reorder(&mut drafts, &taken, round >= ROUNDS_MAX);
        }
        None
    }

    fn ids(&self, drafts: &[Draft]) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for draft in drafts {
            let words =
                if draft.words.is_empty() { "line".to_owned() } else { draft.words.join("_") };
            let stem = format!("{}.{words}", self.options.name);
            let free = |id: &String| !ids.contains(id);
            let numbered = (2..).map(|number| format!("{stem}_{number}"));
            ids.extend(std::iter::once(stem.clone()).chain(numbered).find(free));
        }
        ids
    }

    /// The pack's text; what the samples' events hold comes from `rules`, if they are given.
    fn write(&self, drafts: &[Draft], ids: &[String], rules: Option<&Arc<RuleSet>>) -> String {
        let mut out = String::new();
        let name = &self.options.name;
        let dataset = self.options.dataset.as_ref().unwrap_or(name);
        let _ = write!(
            out,
            "# Drafted from {} lines. What is marked `complete` is yours to fill in; see docs/rules.md.\n\
             pack: {}\ndescription: Complete - what writes these lines\ndataset: {}\n",
            self.lines,
            yaml::quoted(name),
            yaml::quoted(dataset),
        );
        applies(&mut out, drafts);
        fragments(&mut out, drafts);
        out.push_str(
            "set:\n  event.kind: event\n  # complete: what all these lines are about\n  # event.category: [web]\nrules:\n",
        );
        let mut parser = rules.map(|rules| Parser::new(rules.clone()));
        for (draft, id) in drafts.iter().zip(ids) {
            self.write_rule(&mut out, draft, id, parser.as_mut());
        }
        out
    }

    fn write_rule(&self, out: &mut String, draft: &Draft, id: &str, parser: Option<&mut Parser>) {
        let share = draft.lines as f64 * 100.0 / self.lines.max(1) as f64;
        let plural = if draft.lines == 1 { "" } else { "s" };
        let _ = writeln!(out, "  # {} line{plural}, {share:.1} %", draft.lines);
        let _ = writeln!(out, "  - id: {}", yaml::quoted(id));
        if let Some(pattern) = &draft.pattern {
            let _ = writeln!(out, "    pattern: {}", yaml::quoted(pattern));
        }
        out.push_str(&draft.parse);
        if !draft.times.is_empty() {
            let formats: Vec<String> =
                draft.times.iter().map(|format| yaml::quoted(format)).collect();
            let mark = if draft.unsure {
                "# complete: is the day in front, or the month?\n    # "
            } else {
                ""
            };
            let formats = formats.join(", ");
            let _ = writeln!(out, "    {mark}time: {{field: _time, formats: [{formats}]}}");
        }
        let _ = writeln!(
            out,
            "    # complete: what the line says, such as\n    # set: {}",
            hint(draft)
        );
        out.push_str("    samples:\n");
        let mut parser = parser;
        for example in &draft.examples {
            let _ = writeln!(out, "      - line: {}", yaml::quoted(example));
            if let Some(parser) = parser.as_deref_mut() {
                expect(out, parser, example, draft);
            }
        }
    }
}

/// Which lines are the pack's.
fn applies(out: &mut String, drafts: &[Draft]) {
    let programs: BTreeSet<&str> =
        drafts.iter().filter_map(|draft| draft.program.as_deref()).collect();
    let others = || drafts.iter().filter(|draft| draft.program.is_none());
    let signatures: BTreeSet<&str> = others()
        .filter(|draft| draft.json_keys.is_empty())
        .map(|draft| draft.signature.as_str())
        .collect();
    out.push_str("applies:\n");
    if !programs.is_empty() {
        let names: Vec<String> = programs.into_iter().map(yaml::quoted).collect();
        let _ = writeln!(out, "  program: [{}]", names.join(", "));
    }
    for keys in others().map(|draft| &draft.json_keys).filter(|keys| !keys.is_empty()) {
        let keys: Vec<String> = keys.iter().map(|key| yaml::quoted(key)).collect();
        let _ = writeln!(out, "  json_keys: [{}]", keys.join(", "));
    }
    if !signatures.is_empty() {
        out.push_str("  signature:\n");
    }
    for text in signatures {
        let _ = writeln!(out, "    - {}", yaml::quoted(text));
    }
}

/// The forms of times that the rules name.
fn fragments(out: &mut String, drafts: &[Draft]) {
    let named = |name: &str| {
        let part = format!("%{{{name}}}");
        drafts.iter().any(|draft| draft.pattern.as_ref().is_some_and(|text| text.contains(&part)))
    };
    let mut used: Vec<_> =
        TIMES.iter().filter_map(|kind| kind.time()).filter(|(name, ..)| named(name)).collect();
    used.dedup();
    if !used.is_empty() {
        out.push_str("patterns:\n");
    }
    for (name, pattern, _) in used {
        let _ = writeln!(out, "  {name}: {}", yaml::quoted(pattern));
    }
}

/// What a line with these words might be, for the comment.
fn hint(draft: &Draft) -> String {
    let line = draft.examples.first().map(|line| line.to_lowercase()).unwrap_or_default();
    let any = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let category = match () {
        () if any(&["login", "logged", "password", "authent", "session"]) => "authentication",
        () if any(&["sql", "database", "query"]) => "database",
        () if any(&["http", "request"]) => "web",
        () if any(&["connect", "port ", "packet"]) => "network",
        () if any(&["file", "upload", "download"]) => "file",
        () => "process",
    };
    let kind = match () {
        () if any(&["denied", "refused", "blocked"]) => "denied",
        () if any(&["error", "fail", "exception"]) => "error",
        () if any(&["start", "open", "login", "logged in"]) => "start",
        () if any(&["stop", "close", "logout", "logged out"]) => "end",
        () => "info",
    };
    let outcome = if any(&["error", "fail", "denied", "refused", "invalid", "exception"]) {
        "failure"
    } else {
        "success"
    };
    let action = if draft.words.is_empty() { "…".to_owned() } else { draft.words.join("-") };
    yaml::comment(&format!(
        "{{event.action: {action}, event.category: [{category}], event.type: [{kind}], event.outcome: {outcome}}}"
    ))
}

/// The fields of the sample that the rule has captured.
fn expect(out: &mut String, parser: &mut Parser, line: &str, draft: &Draft) {
    let zone = Zone::utc();
    let context = LineContext {
        pack: None,
        received_unix_nanos: samples::RECEIVED_UNIX_NANOS,
        zone: &zone,
        original_bytes: None,
    };
    let mut event = Vec::new();
    write_event(parser, line.as_bytes(), &context, &mut event);
    let event: Map<String, Value> = serde_json::from_slice(&event).unwrap_or_default();
    let mut fields: Vec<&str> = draft.fields.iter().map(String::as_str).collect();
    if !draft.times.is_empty() && !draft.unsure {
        fields.push("@timestamp");
    }
    fields.sort_unstable();
    fields.dedup();
    let values: Vec<(&str, &Value)> =
        fields.into_iter().filter_map(|field| Some((field, event.get(field)?))).collect();
    if values.is_empty() {
        return;
    }
    out.push_str("        expect:\n");
    for (field, value) in values {
        let key = if field.starts_with('@') { yaml::quoted(field) } else { field.to_owned() };
        let _ = writeln!(out, "          {key}: {}", yaml::value(value));
    }
}

/// For each rule whose sample another rule takes, or none: (its place, the other's).
fn taken(rules: &Arc<RuleSet>, ids: &[String]) -> Vec<(usize, Option<usize>)> {
    let place = |id: &str| ids.iter().position(|known| known == id);
    samples::run(rules)
        .into_iter()
        .filter(|outcome| outcome.matched.as_ref() != Some(&outcome.rule))
        .filter_map(|outcome| {
            Some((place(&outcome.rule)?, outcome.matched.as_deref().and_then(place)))
        })
        .collect()
}

/// Puts rules in front of those that take their lines; with `give_up`, and where no rule takes the
/// line or the more demanding one does, leaves the rule out.
fn reorder(drafts: &mut Vec<Draft>, taken: &[(usize, Option<usize>)], give_up: bool) {
    let hopeless = |rule: usize, by: Option<usize>| match by {
        Some(by) => give_up || drafts[by].literal > drafts[rule].literal,
        None => true,
    };
    let out: BTreeSet<usize> =
        taken.iter().filter(|(rule, by)| hopeless(*rule, *by)).map(|(rule, _)| *rule).collect();
    if !out.is_empty() {
        let mut at = 0;
        drafts.retain(|_| {
            at += 1;
            !out.contains(&(at - 1))
        });
    } else if let Some((rule, Some(by))) = taken.first() {
        let draft = drafts.remove(*rule);
        drafts.insert(*by, draft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { name: "orders".into(), dataset: None, top: 50, lines_min: 1 }
    }

    fn suggest(lines: &[&str]) -> Suggestion {
        let mut suggester = Suggester::default();
        lines.iter().for_each(|line| suggester.add(line.as_bytes()));
        suggester.finish(&options()).expect("there are lines")
    }

    /// The draft loads without a warning, and its samples hold.
    fn check(lines: &[&str], parts: &[&str]) {
        let found = suggest(lines);
        for part in parts {
            assert!(found.yaml.contains(part), "{part} is not in\n{}", found.yaml);
        }
        assert_eq!(found.covered, lines.len() as u64, "{}", found.yaml);
        let rules = RuleSet::of_text("draft", &found.yaml).unwrap_or_else(|faults| {
            panic!("{}\n{}", logweir_document::render_all(&faults, false), found.yaml)
        });
        let outcomes = samples::run(&Arc::new(rules));
        assert!(outcomes.iter().all(|outcome| outcome.differences.is_empty()), "{outcomes:#?}");
        assert_eq!(suggest(lines), found);
    }

    #[test]
    fn syslog_lines_become_rules_with_named_captures() {
        check(
            &[
                "Nov 28 10:15:02 web1 orders[812]: user alice paid 1250 cents from 10.0.0.7 in 83 ms",
                "Nov 28 10:15:04 web1 orders[812]: user bob paid 90 cents from 10.0.0.9 in 7 ms",
                "Nov 28 10:15:03 web1 orders[812]: payment of bob refused: card expired",
                "Nov 28 10:15:05 web1 worker[9]: job 550e8400-e29b-41d4-a716-446655440000 done, it's \"all right\"",
            ],
            &[
                "program: ['orders', 'worker']",
                r"^user (?<user.name>\S+) paid (?<labels.cents:int>\d+) cents from (?<source.ip>[\d.]+) in (?<labels.duration_ms:int",
                "- id: 'orders.user_paid_cents_from'",
                "source.ip: '10.0.0.7'",
            ],
        );
    }

    #[test]
    fn an_applications_own_time_is_the_events_time() {
        check(
            &[
                "2026-11-28 10:15:02,123 ERROR [main] com.shop.Pay: no route to 10.0.0.1:443",
                "2026-11-28 10:15:03,007 ERROR [main] com.shop.Pay: no route to 10.0.0.2:443",
                "2026-11-28 10:15:04,000 INFO [exec-3] com.shop.Pay: started in 3.5 s",
            ],
            &[
                "time: {field: _time, formats: ['rfc3339']}",
                "(?<log.level>",
                "(?<destination.ip>",
                "(?<destination.port>",
                "signature:\n    - '",
                "'@timestamp': '2026-11-28T10:15:02.123Z'",
            ],
        );
    }

    #[test]
    fn a_time_behind_the_name_of_a_file_is_the_events_time() {
        check(
            &[
                "nova-api.log:53 2026-11-28 10:15:02.123 25746 INFO nova.wsgi took 5",
                "nova-api.log:54 2026-11-28 10:15:03.007 25746 INFO nova.wsgi took 7",
            ],
            &["(?<_time>%{ISO_TIME})", "'@timestamp': '2026-11-28T10:15:02.123Z'"],
        );
    }

    #[test]
    fn a_date_is_no_part_of_the_statement() {
        let lines = |first: &'static str, second: &'static str| {
            [format!("{first} user bob did 10 things"), format!("{second} user eve did 11 things")]
        };
        for (first, second, format) in [
            (
                "28/11/2026 10:15:02",
                "05/12/2026 10:15:03",
                "time: {field: _time, formats: ['%d/%m/%Y",
            ),
            ("[11/28/26 9:15:02 AM]", "[11/05/26 9:15:03 PM]", "formats: ['%m/%d/%y %I:%M:%S %p']"),
            (
                "28-Nov-2026 10:15:02,5",
                "1-Dec-2026 10:15:03,7",
                "formats: ['%d-%b-%Y %H:%M:%S,%f']",
            ),
            ("2026-11-28 10.15.02", "2026-12-01 10.15.03", "formats: ['%Y-%m-%d %H.%M.%S']"),
            ("28 Nov 2026 10:15:02", "29 Nov 2026 10:15:02", "formats: ['%d %b %Y %H:%M:%S']"),
            (
                "05/11/2026 10:15:02",
                "06/11/2026 10:15:02",
                "# time: {field: _time, formats: ['%d/%m",
            ),
            ("2026-11-28", "2026-11-29", "(?<labels.date>"),
        ] {
            let [one, other] = lines(first, second);
            check(&[&one, &other], &[format, "user (?<user.name>"]);
            assert!(!suggest(&[&one, &other]).yaml.contains("pattern: '^28"), "{first}");
        }
    }

    #[test]
    fn records_become_one_rule_with_a_sub_parser() {
        check(
            &[
                r#"{"ts":1795867200.5,"level":"info","user":"bob","client":{"ip":"10.0.0.1"},"n":5,"l":["a",1],"o":[{"x":1}]}"#,
                r#"{"ts":1795867201.5,"level":"warn","user":"eve","client":{"ip":"10.0.0.2"},"x":true}"#,
            ],
            &[
                "as: json",
                "'client.ip': source.ip",
                "labels.l: ['a', '1']",
                "'ts': _time",
                "json_keys: ['level', 'ts', 'user']",
            ],
        );
        check(
            &[
                r#"time=2026-11-28T10:15:02Z level=info msg="a b" srcip=10.0.0.1"#,
                r#"time=2026-11-28T10:15:03Z level=info dpt=22 msg="c""#,
            ],
            &["as: kv", "'srcip': source.ip", "'dpt': destination.port", "pattern: '^time='"],
        );
    }

    #[test]
    fn hostile_lines_still_give_a_draft_that_loads() {
        check(
            &[
                "weird: [%{x}] $^ (a|b)* \\d+ 'q' {{y}} <z> # ! & ~~ -- é ü",
                "tab\there  two   blanks",
                "\u{1b}[31mred\u{1b}[0m alert",
                "x=1 y=\"unclosed",
                "* * * *",
                ":",
                "a.b.c. d.e.f.",
            ],
            &[],
        );
        let mut suggester = Suggester::default();
        suggester.add(b"\xff\xfe broken \xe9 line");
        suggester.add(b"");
        suggester.add(&[b'x'; 100_000]);
        suggester.add("é ".repeat(5000).as_bytes());
        assert!(suggester.finish(&options()).is_some());
        assert!(Suggester::default().finish(&options()).is_none());
    }

    #[test]
    fn a_rule_that_would_take_anothers_lines_comes_after_it() {
        let mut lines = vec!["svc one two three four"];
        lines.extend(["svc a b c d", "svc a b c e", "svc a b c f", "svc a b c g", "svc a b c h"]);
        check(&lines, &[]);
    }
}
