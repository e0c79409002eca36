//! Running the samples of rules: what a sample line becomes, compared with what is expected.
//!
//! Values are compared as texts, because whether `5` is a number is ECS's decision and not the
//! sample's; lists in order, but for `related.*`; times as instants.

use crate::engine::{Disposition, LineContext, Parser, write_event};
use crate::explain;
use crate::loader;
use crate::rule::{Action, RuleSet, Sample};
use crate::time::{TimeContext, Zone};
use logweir_document::{Diagnostic, acts_on_terminal};
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// When sample lines count as read: 2026-07-01T00:00:00Z, so that years that lines leave out do not
/// depend on the day of the test.
pub const RECEIVED_UNIX_NANOS: i64 = 1_782_864_000_000_000_000;

/// A field whose value is not what the sample says; `None` is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub field: String,
    pub expected: Option<Value>,
    pub got: Option<Value>,
}

/// What came of one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The id of the rule that the sample belongs to.
    pub rule: String,
    /// The file of the pack and the line in it.
    pub place: (String, usize),
    pub line: String,
    /// The id of the rule that matched.
    pub matched: Option<String>,
    /// Empty: the sample holds.
    pub differences: Vec<Difference>,
    /// Why it may not hold: where the pattern stops, what was captured in vain.
    pub notes: Vec<String>,
}

impl Outcome {
    #[must_use]
    pub fn holds(&self) -> bool {
        self.differences.is_empty()
    }

    /// The differences in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let one = |difference: &Difference| {
            let (expected, got) = (shown(&difference.expected), shown(&difference.got));
            format!("{}: expected {expected}, got {got}", difference.field)
        };
        self.differences.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// The fault of a pack that its sample does not hold.
    #[must_use]
    pub fn fault(&self) -> Diagnostic {
        let (file, line) = &self.place;
        let message = format!("the sample of `{}` does not hold: {}", self.rule, self.summary());
        let remedy = match self.notes.as_slice() {
            [] => "correct the rule or what the sample expects".to_owned(),
            notes => notes.join("; "),
        };
        let fault = Diagnostic::of_file(file.clone(), message).with_remedy(remedy);
        Diagnostic { line: *line, column: 1, ..fault }
    }
}

/// The place, the line, each difference and each note, on lines of their own.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = &self.place;
        writeln!(f, "{file}:{line}: {}\n  line: {}", self.rule, visible(&self.line))?;
        for Difference { field, expected, got } in &self.differences {
            let (expected, got) = (shown(expected), shown(got));
            writeln!(f, "  {field}\n    expected {expected}\n    got      {got}")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  note: {}", visible(note)))
    }
}

/// A value of a difference, for people.
#[must_use]
pub fn shown(value: &Option<Value>) -> String {
    value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string)
}

/// Control characters as escapes, so that a sample cannot steer the terminal.
fn visible(line: &str) -> String {
    line.chars()
        .flat_map(|c| if acts_on_terminal(c) { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// Runs every sample of `rules`, in the order of the rules.
#[must_use]
pub fn run(rules: &Arc<RuleSet>) -> Vec<Outcome> {
    run_where(rules, |_| true)
}

/// As [`run`], the samples of the packs that stand in files of the host: neither those inside the program
/// nor what was published to it.
#[must_use]
pub fn run_of_host(rules: &Arc<RuleSet>) -> Vec<Outcome> {
    run_where(rules, |sample| loader::is_of_host(&sample.place.0))
}

fn run_where(rules: &Arc<RuleSet>, wanted: impl Fn(&Sample) -> bool) -> Vec<Outcome> {
    let mut parser = Parser::new(rules.clone());
    let samples = rules.samples().filter(|(_, sample)| wanted(sample));
    samples.map(|(rule, sample)| outcome(&mut parser, rule, sample)).collect()
}

fn outcome(parser: &mut Parser, number: usize, sample: &Sample) -> Outcome {
    let zone = Zone::utc();
    let context = LineContext {
        pack: None,
        received_unix_nanos: RECEIVED_UNIX_NANOS,
        zone: &zone,
        original_bytes: None,
    };
    let mut out = Vec::new();
    let mut write =
        |parser: &mut Parser| write_event(parser, sample.line.as_bytes(), &context, &mut out);
    let mut parsed = write(parser);
    let rules = parser.rules().clone();
    if let (Disposition::SampledOut, Some(number)) = (parsed.disposition, parsed.rule)
        && let Some(Action::Sample(many)) = &rules.rule(number).action
    {
        parser.deliver_next_of(number, *many);
        parsed = write(parser);
    }
    let (mut event, twice) = members(&out);
    let dropped = match parsed.disposition {
        Disposition::Drop(reason) => Some(rules.drop_reason(reason).to_owned()),
        Disposition::Deliver | Disposition::SampledOut => None,
    };
    event.extend(dropped.iter().map(|reason| ("dropped".to_owned(), reason.as_str().into())));
    let mut differences: Vec<Difference> =
        sample.expect.iter().filter_map(|(field, value)| compare(&event, field, value)).collect();
    let once = |field: &String| event.get(field).cloned();
    differences.extend(twice.into_iter().map(|(field, got)| Difference {
        expected: once(&field),
        got: Some(Value::Array(vec![got, once(&field).unwrap_or_default()])),
        field,
    }));
    let rule = rules.rule(number);
    // A rule that goes on with a chain is seldom the innermost one itself.
    if parsed.rule != Some(number) && rule.then.is_none() {
        differences.insert(
            0,
            Difference {
                field: "logweir.rule".into(),
                expected: Some(rule.id.clone().into()),
                got: parsed.rule.map(|number| rules.rule_id(number).into()),
            },
        );
    }
    let id = rule.id.clone();
    let missed = parsed.rule != Some(number) && rule.then.is_none();
    let mut notes = Vec::new();
    if missed {
        notes = explain::missed(parser, number, sample.line.as_bytes(), &context);
    } else if !differences.is_empty() {
        let (_, attempts, _) = parser.trace(sample.line.as_bytes(), &context, &mut Vec::new());
        let time = TimeContext { received_unix_nanos: RECEIVED_UNIX_NANOS, zone: &zone };
        notes = explain::losses(&rules, attempts.iter(), &time);
    }
    if let Some(reason) = dropped.filter(|_| !differences.is_empty()) {
        notes.push(format!("the line is dropped, and has no event: expect `dropped: {reason}`"));
    }
    Outcome {
        rule: id,
        place: sample.place.clone(),
        line: sample.line.clone(),
        matched: parsed.rule.map(|number| rules.rule_id(number).to_owned()),
        differences,
        notes,
    }
}

/// The members of an event, and those that stand there once more, as they stand first. Readers of JSON
/// take one of two without a word.
fn members(event: &[u8]) -> (Map<String, Value>, Vec<(String, Value)>) {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = (Map<String, Value>, Vec<(String, Value)>);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an event")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let (mut event, mut twice) = (Map::new(), Vec::new());
            while let Some((name, value)) = members.next_entry::<String, Value>()? {
                if let Some(first) = event.insert(name.clone(), value) {
                    twice.push((name, first));
                }
            }
            Ok((event, twice))
        }
    }
    serde_json::Deserializer::from_slice(event).deserialize_map(Members).unwrap_or_default()
}

fn compare(
    event: &Map<String, Value>,
    field: &str,
    expected: &Option<Value>,
) -> Option<Difference> {
    let got = event.get(field).filter(|value| !value.is_null());
    let equal = match (expected, got) {
        (None, None) => true,
        (Some(expected), Some(got)) => same(field, expected, got),
        _ => false,
    };
    let difference =
        || Difference { field: field.to_owned(), expected: expected.clone(), got: got.cloned() };
    (!equal).then(difference)
}

fn same(field: &str, expected: &Value, got: &Value) -> bool {
    let is_number = got.is_number();
    let (mut expected, mut got) = (texts(expected), texts(got));
    if field.starts_with("related.") {
        expected.sort_unstable();
        got.sort_unstable();
    }
    let ([one], [other]) = (expected.as_slice(), got.as_slice()) else { return expected == got };
    one == other || same_instant(one, other) || is_number && same_number(one, other)
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Number(number)
            if number.as_f64().is_some_and(|n| n.fract() == 0.0 && n.abs() < 9e15) =>
        {
            vec![format!("{:.0}", number.as_f64().unwrap_or_default())]
        }
        other => vec![other.to_string()],
    }
}

fn same_instant(a: &str, b: &str) -> bool {
    let instant = |text: &str| text.parse::<jiff::Timestamp>().ok();
    instant(a).is_some_and(|first| instant(b) == Some(first))
}

fn same_number(a: &str, b: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    number(a).is_some_and(|first| number(b) == Some(first))
}

impl RuleSet {
    /// The rules that keep lines from being delivered, by id.
    pub fn dropping_rules(&self) -> impl Iterator<Item = &str> {
        let drops =
            |action: &Option<Action>| matches!(action, Some(Action::Drop(_) | Action::Sample(_)));
        self.rules().filter(move |rule| drops(&rule.action)).map(|rule| rule.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_compared_by_what_they_mean() {
        for (field, expected, got, equal) in [
            ("user.id", json!(1000), json!("1000"), true),
            ("source.port", json!("22"), json!(22), true),
            ("x", json!(1.0), json!(1), true),
            ("x", json!("1.10"), json!(1.1), true),
            ("x", json!("1.10"), json!("1.1"), false),
            ("x", json!("a"), json!("A"), false),
            ("event.type", json!(["start"]), json!("start"), true),
            ("event.type", json!(["a", "b"]), json!(["b", "a"]), false),
            ("related.ip", json!(["a", "b"]), json!(["b", "a"]), true),
            (
                "@timestamp",
                json!("2026-01-01T01:00:00+01:00"),
                json!("2026-01-01T00:00:00.000Z"),
                true,
            ),
            ("@timestamp", json!("2026-01-01T01:00:00Z"), json!("2026-01-01T00:00:00.000Z"), false),
        ] {
            assert_eq!(same(field, &expected, &got), equal, "{field}: {expected} and {got}");
        }
    }

    #[test]
    fn a_sample_that_does_not_hold_says_what_its_rule_does_to_the_line() {
        let pack = r"
pack: p
applies: {program: [p]}
rules:
  - id: p.when
    pattern: '^A (?<source.port>\d+) (?<user.name>\S+)$'
    when: {source.port: '1-1023', user.name: [root, 'a*']}
    samples: [{line: 'p: A 5000 root'}, {line: 'p: A 80 bob'}, {line: 'p: A 80 alice'}]
  - id: p.there
    pattern: '^B'
    when: {host.name: exists}
    samples: [{line: 'p: B'}]
  - id: p.drop
    pattern: '^D (?<user.name>\S+)$'
    action: {drop: noise}
    samples:
      - {line: 'p: D bob', expect: {user.name: bob}}
      - {line: 'p: D bob', expect: {dropped: noise}}
  - id: p.sample
    pattern: '^S (?<user.name>\S+)$'
    action: {sample: 100}
    samples: [{line: 'p: S bob', expect: {user.name: bob}}, {line: 'p: S bob', expect: {user.name: bob}}]
";
        let rules = Arc::new(RuleSet::of_text("p.yaml", pack).unwrap());
        let outcomes = run(&rules);
        let notes: Vec<String> = outcomes.iter().map(|outcome| outcome.notes.join("; ")).collect();
        let expected = [
            "`when` wants `source.port` to be `1-1023`; it is `5000`",
            "`when` wants `user.name` to be `root` or `a*`; it is `bob`",
            "",
            "`when` wants `host.name` to be there; it is absent",
            "the line is dropped, and has no event: expect `dropped: noise`",
            "",
            "",
            "",
        ];
        assert_eq!(notes, expected);
        let held: Vec<bool> = outcomes.iter().map(Outcome::holds).collect();
        assert_eq!(held, expected.map(str::is_empty));
    }

    #[test]
    fn a_member_that_stands_twice_is_told() {
        let (event, twice) = members(br#"{"a":1,"b":2,"a":[3]}"#);
        assert_eq!((event["a"].clone(), twice), (json!([3]), vec![("a".to_owned(), json!(1))]));
    }

    #[test]
    fn an_absent_field_equals_null_only() {
        let event: Map<String, Value> = serde_json::from_str(r#"{"a":1,"b":null}"#).unwrap();
        assert!(compare(&event, "b", &None).is_none());
        assert!(compare(&event, "c", &None).is_none());
        assert!(compare(&event, "a", &None).is_some());
        assert!(compare(&event, "c", &Some(json!(1))).is_some());
    }
}
