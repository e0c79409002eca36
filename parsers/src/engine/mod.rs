//! Running the rules on lines.
//!
//! A line is taken apart as syslog, the packs that fit are tried in order, and the first rule that
//! matches fills the event; then the event is written as JSON members into the caller's buffer.
//! Parsing never fails: what no rule matches is written with its original text and the tag
//! `unparsed`. A [`Parser`] belongs to one thread and reuses everything from line to line: once it
//! has seen lines of every kind, it allocates nothing.

mod apply;
mod counts;
mod keys;
mod mask;
mod run;
mod trace;
mod unsure;

use crate::event::{Event, Value, View, range_in};
use crate::header;
use crate::json::{is_plain, write_content};
use crate::out::{Out, PAD};
use crate::pattern::Pattern;
use crate::plan::{Cut, Places, Stencils};
use crate::rule::{ORIGINAL, Rule, RuleSet};
use crate::span::{Group, Outcome, Scratch};
use crate::sub::Space;
use crate::time::{Stamp, TimeContext, Zone, write_rfc3339};
use crate::write::Source;
use base64::Engine as _;
use counts::Counts;
pub use counts::RuleCounts;
use logweir_record::ECS_VERSION;
use regex::bytes::CaptureLocations;
use run::Run;
pub(crate) use run::seen;
use rustc_hash::FxHashMap;
use std::ops::Range;
use std::sync::Arc;
use trace::Trace;
pub use trace::{Attempt, Step};
use unsure::Unsure;

/// How deep rules may lead to rules.
const CHAIN_DEPTH_MAX: usize = 8;

/// What is known of a line beside its text.
#[derive(Debug, Clone, Copy)]
pub struct LineContext<'c> {
    /// The pack that the user named for this source, see [`RuleSet::pack_named`].
    pub pack: Option<usize>,
    /// When the line was read: nanoseconds since 1970.
    pub received_unix_nanos: i64,
    /// For times without a zone.
    pub zone: &'c Zone,
    /// The length of the line before it was cut, if it was.
    pub original_bytes: Option<u64>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    /// The rule that matched, by its number.
    pub rule: Option<usize>,
    /// The pack that the line belongs to, by its number.
    pub pack: Option<usize>,
    pub disposition: Disposition,
}

/// Whether the event is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Deliver,
    /// A rule drops it; see [`RuleSet::drop_reason`]. Nothing was written.
    Drop(usize),
    /// A rule delivers only a sample, and this is none. Nothing was written.
    SampledOut,
}

/// Parses lines with one rule set; one per thread.
#[derive(Debug)]
pub struct Parser {
    rules: Arc<RuleSet>,
    state: State,
}

/// What is reused from line to line.
#[derive(Debug, Default)]
struct State {
    /// The line and [`PAD`] bytes behind it.
    padded: Vec<u8>,
    out: Out,
    stamp: Stamp,
    /// The table of fields, for what has no plan.
    event: Event,
    /// Whether the header is in the table; if not, nothing is.
    filled: bool,
    /// The rule with a plan that matched.
    planned: Option<Planned>,
    /// Where the texts of a planned line stand.
    places: Places,
    stencils: Stencils,
    header_memo: header::Memo,
    unsure: Unsure,
    /// The header's time, if it may be another one, too.
    unsure_time: Option<i64>,
    /// Whether the header has a time that there is not.
    time_invalid: bool,
    span_scratch: Scratch,
    /// By the patterns' numbers, made when a regex is first needed: few patterns ever need one.
    locations: FxHashMap<usize, CaptureLocations>,
    /// Where the captures of the last match stand, in the order of the pattern's captures.
    spans: Vec<Group>,
    /// Candidates, for each level of chains.
    found: [Vec<u32>; CHAIN_DEPTH_MAX + 1],
    /// Candidates among the packs, for each level.
    probes: [(Vec<u32>, Scratch); CHAIN_DEPTH_MAX + 1],
    /// Packs that were tried.
    tried: Vec<usize>,
    scratch: Vec<u8>,
    other_scratch: Vec<u8>,
    space: Space,
    /// Space for texts that rules look at and that stand nowhere in the line.
    copies: Vec<Vec<u8>>,
    /// The rules that have matched and mask something.
    masking: Vec<usize>,
    /// Where masked texts stand in the line.
    masked: Vec<(usize, usize)>,
    /// Which transforms of the rule have run, by bit.
    transformed: u64,
    /// Lines of rules that deliver a sample, by the rules' numbers.
    samples_seen: FxHashMap<usize, u64>,
    created: Created,
    trace: Option<Trace>,
    counts: Counts,
    /// Whether a pattern of the rule that is tried has used up its fuel.
    over_budget: bool,
}

/// How a line goes to its event without the table of fields; its texts are in [`State::places`].
#[derive(Debug, Clone, Copy)]
struct Planned {
    cut: Cut,
    /// The time that the rule has read.
    time: Option<i64>,
}

/// `event.created` as it was written last: lines of a chunk share their time of reading.
#[derive(Debug, Default)]
struct Created {
    unix_nanos: i64,
    text: Vec<u8>,
}

impl Parser {
    #[must_use]
    pub fn new(rules: Arc<RuleSet>) -> Self {
        let mut state = State::default();
        state.event.clear(rules.fields.len());
        state.counts = Counts::new(rules.len());
        Self { rules, state }
    }

    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Calls `visit` with the number of each rule that was tried since the last call, and what came of
    /// it; then counting begins anew.
    pub fn take_counts(&mut self, visit: impl FnMut(usize, RuleCounts)) {
        self.state.counts.take(visit);
    }

    /// Appends the members of the event of `line` to `out`, without braces: `"a":1,"b":"…"`.
    pub fn parse(&mut self, line: &[u8], context: &LineContext<'_>, out: &mut Vec<u8>) -> Parsed {
        let mut padded = std::mem::take(&mut self.state.padded);
        padded.clear();
        padded.extend_from_slice(line);
        // Blanks are written as they are, see `is_plain`.
        padded.extend_from_slice(&[b' '; PAD]);
        let parsed = self.parse_padded(&padded, context, out);
        self.state.padded = padded;
        parsed
    }

    fn parse_padded(
        &mut self,
        padded: &[u8],
        context: &LineContext<'_>,
        out: &mut Vec<u8>,
    ) -> Parsed {
        let line = &padded[..padded.len() - PAD];
        let Self { rules, state } = self;
        let rules: &RuleSet = rules;
        let time =
            TimeContext { received_unix_nanos: context.received_unix_nanos, zone: context.zone };
        let header = header::parse_with(line, &time, &mut state.header_memo);
        let mut run = Run {
            rules,
            state,
            line,
            padded,
            whole: line,
            header,
            time,
            depth: 0,
            tried_from: 0,
            mark: None,
            program_given: false,
        };
        let (mut pack, rule) = run.find(context.pack);
        if run.state.planned.is_none() {
            // A rule may lead to one of another pack.
            pack = rule.map(|rule| rules.pack_of(rule)).or(pack);
            if let Some(disposition) = run.complete(pack, rule) {
                return Parsed { rule, pack, disposition };
            }
        }
        let header = run.header;
        let view = View { line, constants: &rules.constants };
        let source = Source { view, padded, plain: is_plain(padded, line.len()) };
        state.out.clear();
        state.unsure_time = state.unsure.time(&header, context.zone);
        state.time_invalid = header.time_invalid;
        match state.planned {
            Some(planned) => state.write_planned(source, context, &header, planned),
            None => state.write(rules, source, context, header.message, rule),
        }
        out.extend_from_slice(state.out.written());
        Parsed { rule, pack, disposition: Disposition::Deliver }
    }

    /// The next line of the rule, which delivers one of so many, is this one.
    pub(crate) fn deliver_next_of(&mut self, rule: usize, many: u64) {
        self.state.samples_seen.insert(rule, many - 1);
    }

    /// As [`Parser::parse`], and which rules were tried and what they did.
    pub(crate) fn trace(
        &mut self,
        line: &[u8],
        context: &LineContext<'_>,
        out: &mut Vec<u8>,
    ) -> (Parsed, Vec<Attempt>, Vec<Step>) {
        self.state.trace = Some(Trace::default());
        let parsed = self.parse(line, context, out);
        let trace = self.state.trace.take().unwrap_or_default();
        (parsed, trace.attempts, trace.steps)
    }
}

/// Appends `{`, the event's members and `}`: an event as it stands without an agent's envelope.
pub fn write_event(
    parser: &mut Parser,
    line: &[u8],
    context: &LineContext<'_>,
    out: &mut Vec<u8>,
) -> Parsed {
    let before = out.len();
    out.push(b'{');
    let parsed = parser.parse(line, context, out);
    if parsed.disposition == Disposition::Deliver {
        out.push(b'}');
    } else {
        out.truncate(before);
    }
    parsed
}

impl State {
    /// Nothing is known of the line any more; the table is fit for `fields` fields.
    fn forget(&mut self, fields: usize) {
        self.planned = None;
        self.masking.clear();
        if std::mem::take(&mut self.filled) {
            self.event.clear(fields);
        }
    }

    /// Whether rules may be tried without the table and take their plans: what is traced shows in the
    /// table.
    fn may_plan(&self) -> bool {
        self.trace.is_none()
    }

    /// Whether the pattern matches; where its captures stand is then in `spans`. `padded` is the text
    /// and what stands behind it.
    fn search(&mut self, number: usize, pattern: &Pattern, text: &[u8], padded: &[u8]) -> bool {
        let machine = pattern.machine();
        if !machine.may_match(text) {
            return false;
        }
        let outcome = match &machine.program {
            Some(program) => program.search_padded(padded, text.len(), &mut self.span_scratch),
            None => Outcome::OutOfFuel,
        };
        match outcome {
            Outcome::NoMatch => false,
            Outcome::Match => {
                let scratch = &self.span_scratch;
                self.spans.clear();
                self.spans.extend(pattern.groups.iter().map(|group| scratch.span(*group)));
                true
            }
            Outcome::OutOfFuel => {
                self.over_budget |= machine.program.is_some();
                self.search_by_regex(number, pattern, text)
            }
        }
    }

    fn search_by_regex(&mut self, number: usize, pattern: &Pattern, text: &[u8]) -> bool {
        let regex = pattern.regex();
        let made = || regex.capture_locations();
        let locations = self.locations.entry(number).or_insert_with(made);
        if regex.captures_read(locations, text).is_none() {
            return false;
        }
        self.spans.clear();
        let groups = pattern.groups.iter();
        self.spans.extend(groups.map(|group| Group::of(locations.get(*group))));
        true
    }

    #[inline(never)]
    fn write(
        &mut self,
        rules: &RuleSet,
        source: Source<'_>,
        context: &LineContext<'_>,
        message: &[u8],
        rule: Option<usize>,
    ) {
        let time = self.event.get(rules.header.timestamp);
        if time == Value::Absent {
            self.write_timestamp(context.received_unix_nanos);
        }
        self.unsure_time = self.unsure_time.filter(|unsure| time == Value::Time(*unsure));
        self.time_invalid &= time == Value::Absent;
        self.event.write(source, rules, &mut self.stamp, &mut self.out);
        let with_message = self.event.get(rules.header.message) == Value::Absent;
        self.write_end(
            source,
            context,
            message,
            rule.map(|number| rules.rule(number)),
            with_message,
        );
    }

    /// As [`State::write`] after the same line went through the table.
    fn write_planned(
        &mut self,
        source: Source<'_>,
        context: &LineContext<'_>,
        header: &header::Header<'_>,
        planned: Planned,
    ) {
        let Planned { cut, time } = planned;
        let of_header = header.timestamp.map(|time| time.unix_nanos);
        self.unsure_time = self.unsure_time.filter(|_| time.is_none());
        self.time_invalid &= time.is_none();
        // Else it is one of the stencil's members.
        if time.is_none() || of_header.is_some() {
            self.write_timestamp(time.or(of_header).unwrap_or(context.received_unix_nanos));
        }
        let stencil = self.stencils.get(cut);
        stencil.write(&self.places, source, (time, &mut self.stamp), &mut self.out);
        let with_message = stencil.with_message();
        self.write_original(source, header.message, with_message);
        self.write_marks(context, true);
    }

    fn write_timestamp(&mut self, unix_nanos: i64) {
        self.out.array(b"\"@timestamp\":\"");
        self.stamp.write(unix_nanos, &mut self.out);
        self.out.array(b"\",");
    }

    /// What stands behind the fields.
    fn write_end(
        &mut self,
        source: Source<'_>,
        context: &LineContext<'_>,
        message: &[u8],
        rule: Option<&Rule>,
        with_message: bool,
    ) {
        match rule {
            Some(rule) => rule.write_tail(&mut self.out),
            None => self.out.text(ORIGINAL),
        }
        self.write_original(source, message, with_message);
        self.write_marks(context, rule.is_some());
    }

    /// What is to be said of the line beside what it says, and when it was read.
    fn write_marks(&mut self, context: &LineContext<'_>, parsed: bool) {
        let out = &mut self.out;
        match (parsed, context.original_bytes) {
            (true, None) => {}
            (true, Some(_)) => tag_truncated(out),
            (false, Some(_)) => out.text(b",\"tags\":[\"unparsed\",\"truncated\"]"),
            (false, None) => out.text(b",\"tags\":[\"unparsed\"]"),
        }
        if let Some(bytes) = context.original_bytes {
            out.text(b",\"logweir.original_bytes\":");
            out.integer(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        if self.unsure_time.is_some() {
            out.text(b",\"logweir.time_ambiguous\":true");
        }
        if self.time_invalid {
            out.text(b",\"logweir.time_invalid\":true");
        }
        self.write_created(context.received_unix_nanos);
    }

    /// The line itself, behind the beginning of its member, and the message in it.
    fn write_original(&mut self, source: Source<'_>, message: &[u8], with_message: bool) {
        let line = source.view.line;
        if !source.plain || !self.masked.is_empty() {
            self.write_original_escaped(line, message, with_message);
            return;
        }
        let out = &mut self.out;
        out.text(line);
        out.byte(b'"');
        if with_message && !message.is_empty() && message.len() < line.len() {
            out.array(b",\"message\":\"");
            out.text(message);
            out.byte(b'"');
        }
    }

    /// As [`State::write_original`] of a line that is not written as it is.
    #[inline(never)]
    fn write_original_escaped(&mut self, line: &[u8], message: &[u8], with_message: bool) {
        let out = &mut self.out;
        let with_message = with_message && !message.is_empty() && message.len() < line.len();
        // Not always up to the end: a bracket may close behind it.
        let Range { start, end } = range_in(line, message).unwrap_or_default();
        if !self.masked.is_empty() {
            self.scratch.clear();
            self.scratch.extend_from_slice(line);
            for (start, end) in self.masked.drain(..) {
                self.scratch[start..end].fill(b'*');
            }
            write_content(out, &self.scratch);
            out.byte(b'"');
            if with_message {
                out.array(b",\"message\":\"");
                write_content(out, &self.scratch[start..end]);
                out.byte(b'"');
            }
            return;
        }
        let (before, behind) = (&line[..start], &line[end..]);
        // The message is written as it is in the line, unless a character goes over its bounds.
        let apart =
            before.last().is_some_and(u8::is_ascii) && behind.first().is_none_or(u8::is_ascii);
        let mut written = 0..0;
        if apart {
            write_content(out, before);
            written.start = out.len();
            write_content(out, message);
            written.end = out.len();
            write_content(out, behind);
        } else {
            write_content(out, line);
        }
        out.byte(b'"');
        if with_message {
            out.array(b",\"message\":\"");
            if apart {
                out.repeat(written.start, written.end);
            } else {
                write_content(out, message);
            }
            out.byte(b'"');
        }
        if std::str::from_utf8(line).is_err() {
            let encoded = base64::engine::general_purpose::STANDARD.encode(line);
            out.text(b",\"logweir.original_base64\":\"");
            out.text(encoded.as_bytes());
            out.byte(b'"');
        }
    }

    fn write_created(&mut self, unix_nanos: i64) {
        let created = &mut self.created;
        if created.unix_nanos != unix_nanos || created.text.is_empty() {
            created.unix_nanos = unix_nanos;
            created.text.clear();
            created.text.extend_from_slice(b",\"event.created\":\"");
            write_rfc3339(&mut created.text, unix_nanos);
            created.text.extend_from_slice(b"\",\"ecs.version\":\"");
            created.text.extend_from_slice(ECS_VERSION.as_bytes());
            created.text.push(b'"');
        }
        self.out.text(&created.text);
    }
}

/// A rule may have written tags.
#[cold]
fn tag_truncated(out: &mut Out) {
    const TAGS: &[u8] = b"\"tags\":[";
    match memchr::memmem::find(out.written(), TAGS) {
        Some(at) => out.insert(at + TAGS.len(), b"\"truncated\","),
        None => out.text(b",\"tags\":[\"truncated\"]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED_UNIX_NANOS: i64 = 1_795_867_200_123_456_789;

    /// Every pattern of every shipped pack on every sample line, from several places of it on.
    #[test]
    fn span_programs_and_regexes_say_the_same_of_all_samples() {
        let rules = RuleSet::shipped();
        let lines: Vec<&[u8]> = rules.samples().map(|(_, sample)| sample.line.as_bytes()).collect();
        let mut state = State::default();
        let (mut matches, mut programs) = (0, 0);
        for rule in rules.rules() {
            for (at, (pattern, _)) in rule.patterns.iter().enumerate() {
                let Some(program) = &pattern.machine().program else { continue };
                programs += 1;
                for line in &lines {
                    let starts = memchr::memmem::find_iter(line, b": ").map(|at| at + 2).take(2);
                    for start in std::iter::once(0).chain(starts) {
                        let text = &line[start..];
                        let mut slots = vec![None; program.slots_len()];
                        let outcome = program.captures(text, &mut slots, &mut state.span_scratch);
                        let found = state.search_by_regex(rule.first_pattern + at, pattern, text);
                        let spans: Vec<_> = pattern
                            .groups
                            .iter()
                            .map(|group| Some((slots[2 * group]?, slots[2 * group + 1]?)))
                            .map(Group::of)
                            .collect();
                        let expected = if found { Outcome::Match } else { Outcome::NoMatch };
                        assert!(
                            outcome == Outcome::OutOfFuel
                                || outcome == expected && (!found || spans == state.spans),
                            "{} on {}",
                            rule.id,
                            text.escape_ascii()
                        );
                        matches += usize::from(found);
                    }
                }
            }
        }
        assert!(programs > 100 && matches > lines.len(), "{programs} programs, {matches} matches");
    }

    /// A traced line never takes the short way, so the two are compared.
    struct Both {
        short: Parser,
        by_table: Parser,
        planned: usize,
        lines: usize,
    }

    impl Both {
        fn new(rules: &Arc<RuleSet>) -> Self {
            Self::of(rules, rules)
        }

        fn of(short: &Arc<RuleSet>, by_table: &Arc<RuleSet>) -> Self {
            let (short, by_table) = (Parser::new(short.clone()), Parser::new(by_table.clone()));
            Self { short, by_table, planned: 0, lines: 0 }
        }

        fn check(&mut self, line: &str) -> Parsed {
            let zone = Zone::utc();
            let context = LineContext {
                pack: None,
                received_unix_nanos: RECEIVED_UNIX_NANOS,
                zone: &zone,
                original_bytes: None,
            };
            let (mut short, mut long) = (Vec::new(), Vec::new());
            let parsed = self.short.parse(line.as_bytes(), &context, &mut short);
            let (expected, ..) = self.by_table.trace(line.as_bytes(), &context, &mut long);
            assert_eq!(parsed, expected, "{line}");
            assert_eq!(String::from_utf8_lossy(&short), String::from_utf8_lossy(&long), "{line}");
            self.planned += usize::from(self.short.state.planned.is_some());
            self.lines += 1;
            parsed
        }
    }

    #[test]
    fn what_a_plan_writes_is_what_the_table_is_written_as() {
        let rules = Arc::new(RuleSet::shipped());
        // Of rules as an agent has them, too: packed until a line comes for them.
        let packed = RuleSet::load_without_samples(&[], true, &[]).unwrap().rules;
        let mut both = Both::of(&Arc::new(packed), &rules);
        let (mut plans, mut taken) = (0, 0);
        for (_, sample) in rules.samples() {
            let line = sample.line.as_str();
            let before = both.planned;
            if let Some(rule) = both.check(line).rule.map(|number| rules.rule(number)) {
                let has_plan = |pattern| rule.plan(pattern, &rules).is_some();
                plans += usize::from(
                    (0..rule.patterns.len()).all(has_plan) && rule.begins_with_pattern(),
                );
                taken += both.planned - before;
            }
            let half =
                line.char_indices().nth(line.chars().count() * 3 / 4).map_or(0, |(at, _)| at);
            for variant in [
                format!("<38>{line}"),
                line[..half].to_owned(),
                line.replace("1", "\u{e9}\"").replace("a ", "a\\ "),
                line.replace(|c: char| c.is_ascii_digit(), "7"),
                line.replace('.', "-"),
                line.replace('2', "1"),
            ] {
                both.check(&variant);
            }
        }
        assert!(both.planned > both.lines / 3, "{} of {}", both.planned, both.lines);
        assert!(plans > 900 && taken > plans * 9 / 10, "{taken} of {plans}");
    }

    #[test]
    fn answers_of_many_kinds_are_written_right_and_few_are_kept() {
        let mut both = Both::new(&Arc::new(RuleSet::shipped()));
        for turn in 0..2 {
            for priority in 0..192 {
                both.check(&format!(
                    "<{priority}>Nov 28 10:15:02 web1 sshd[47]: Failed password for root from 203.0.113.{turn} port 41002 ssh2"
                ));
            }
        }
        assert_eq!(both.planned, both.lines);
        let kept = both.short.state.stencils.kept();
        assert!((1..=32).contains(&kept), "{kept}");
    }

    /// The event of a line: its rule, and its members without those that tell of the whole line.
    fn event_of(
        parser: &mut Parser,
        line: &str,
        context: &LineContext<'_>,
    ) -> (Parsed, serde_json::Value) {
        let mut out = Vec::new();
        let parsed = write_event(parser, line.as_bytes(), context, &mut out);
        let mut event = serde_json::from_slice(&out).unwrap_or_default();
        if let serde_json::Value::Object(members) = &mut event {
            members.retain(|name, _| !["message", "event.original"].contains(&name.as_str()));
        }
        (parsed, event)
    }

    #[test]
    fn a_line_in_a_containers_line_is_parsed_as_it_is_alone() {
        let rules = Arc::new(RuleSet::shipped());
        let mut parser = Parser::new(rules.clone());
        let zone = Zone::utc();
        let time = TimeContext { received_unix_nanos: RECEIVED_UNIX_NANOS, zone: &zone };
        let context = LineContext {
            pack: None,
            received_unix_nanos: RECEIVED_UNIX_NANOS,
            zone: &zone,
            original_bytes: None,
        };
        let general = rules.dispatch.syslog();
        let (mut same, mut planned) = (0, 0);
        for (_, sample) in rules.samples() {
            let line = sample.line.as_str();
            let (alone, mut event) = event_of(&mut parser, line, &context);
            planned += usize::from(parser.state.planned.is_some());
            // A date alone makes no line of syslog of a text within another.
            let header = header::parse(line.as_bytes(), &time);
            let dated = header.priority.is_none() && header.program.is_none();
            let (_, attempts, _) = parser.trace(line.as_bytes(), &context, &mut Vec::new());
            let general = |rule| general.contains(&(rules.pack_of(rule) as u32));
            let of_syslog =
                attempts.iter().any(|tried| tried.failure.is_none() && general(tried.rule));
            let escaped = serde_json::to_string(&format!("{line}\n")).unwrap();
            for outer in [
                format!("2026-11-28T10:15:02.5Z stdout F {line}"),
                format!(r#"{{"log":{escaped},"stream":"stdout","time":"2026-11-28T10:15:02.5Z"}}"#),
            ] {
                let (inside, mut other) = event_of(&mut parser, &outer, &context);
                if alone.rule.is_none() || dated && of_syslog {
                    continue;
                }
                if alone.disposition != Disposition::Deliver {
                    assert_eq!(inside, alone, "{outer}");
                    continue;
                }
                assert_eq!(other["@timestamp"], "2026-11-28T10:15:02.500Z", "{outer}");
                for event in [&mut event, &mut other] {
                    let members = event.as_object_mut().unwrap();
                    // What the container's line has, or what follows from its time.
                    for of_outer in ["@timestamp", "docker.stream", "event.start", "event.end"] {
                        members.remove(of_outer);
                    }
                    members.remove("logweir.time_ambiguous");
                }
                assert_eq!(other, event, "{outer}");
                assert_eq!((inside.rule, inside.pack), (alone.rule, alone.pack), "{outer}");
                same += 1;
            }
        }
        assert!(same > rules.samples().count() && planned > 0, "{same}");
    }

    /// The rules of a pack, all of which have plans.
    fn with_plans(pack: &str) -> Arc<RuleSet> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pack.yaml");
        std::fs::write(&path, pack).unwrap();
        let rules = match RuleSet::load(&[path], false) {
            Ok(loaded) => Arc::new(loaded.rules),
            Err(faults) => panic!("{}", logweir_document::render_all(&faults, false)),
        };
        for rule in rules.rules() {
            assert!(rule.plan(0, &rules).is_some(), "{}", rule.id);
        }
        rules
    }

    #[test]
    fn what_transforms_make_of_texts_is_planned_where_it_is_what_its_field_holds() {
        const PACK: &str = r#"
pack: made
applies: {contains: [made]}
rules:
  - id: made.texts
    pattern: '^made(?: d=(?<_d>\S*))?(?: l=(?<labels.l>\S*))?(?: p=(?<_p>\S*))?(?: b=(?<http.request.bytes>\S*))?(?: s=(?<event.risk_score>\S*))?(?: n=(?<_n>\S*))?$'
    set: {event.duration: '{_d}', file.name: '{_p}', event.sequence: '{_n}'}
    transform: {event.duration: [{multiply: 1000}], labels.l: [lowercase], file.name: [basename], http.request.bytes: [{divide: 2}], event.risk_score: [{multiply: 0.1}], event.sequence: [{int: 16}]}
"#;
        let mut both = Both::new(&with_plans(PACK));
        let long = "d/a-directory-with-a-name-longer-than-a-block/A-NAME-THAT-IS-SO-LONG-AS-WELL";
        for line in [
            "made d=1200 l=ABC p=/x/Y.z b=46 s=25 n=ff",
            "made d=0.25 l=abc p=y",
            "made l= p=/ n=0x10",
            "made",
            &format!("made l={long} p={long} b=0"),
            "made l=\u{e9}\"A\\ p=a/\"\\B",
        ] {
            both.check(line);
            both.check(&format!("<38>Nov 28 10:15:02 web1 app[47]: {line}"));
        }
        // What leaves nothing is left to the table.
        assert_eq!(both.planned, both.lines - 2);
        for line in [
            "made d=-3",
            "made d=0.0001",
            "made d=x b=3",
            "made b=3 s=1e9 n=",
            "made n=zz s=-1",
            "made n=-ff d=inf",
        ] {
            both.check(line);
        }
    }

    /// Everything that a plan knows, with each text there and not.
    #[test]
    fn a_plan_and_the_table_agree_on_every_mix_of_captures() {
        const PACK: &str = r#"
pack: mixed
applies: {contains: [mixed]}
null_values: ['-', none]
time: {formats: ['%d/%b/%Y:%H:%M:%S']}
rules:
  - id: mixed.ends
    pattern: '^mixed ends(?: a=(?<source.address>\S*))?(?: i=(?<source.ip>\S*))?(?: d=(?<source.domain>\S*))?(?: c=(?<client.ip>\S*))?(?: u=(?<user.name>\S*))?(?: v=(?<_v>\S*))?(?: u=(?<user.name>\S*))?$'
    set: {event.action: 'is-{_v} of {user.name}', event.outcome: unknown, network.direction: {direction: [source, client]}}
    map: {event.outcome: {from: user.name, values: {root: success, alice: failure}}}
  - id: mixed.header
    pattern: '^mixed header(?: h=(?<host.hostname>\S*))?(?: p=(?<process.pid>\S*))?(?: n=(?<process.name>\S*))?(?: t=(?<@timestamp>\S*))?(?: m=(?<message>.*))?$'
    set: {log.syslog.appname: '{process.name}', labels.host: '{host.hostname}', user.target.name: '{process.name}', labels.both: '{process.name}/{host.hostname}'}
    transform: {message: [trim, {strip_prefix: 'x'}]}
  - id: mixed.own
    pattern: '^mixed own(?: c=(?<server.ip>\S*))?(?: f=(?<file.path>\S*))?(?: f=(?<file.path>\S*))?(?: k=(?<labels.k>.*))?$'
    set: {process.name: own, server.address: '{file.path}', file.name: '{file.path}', labels.path: '"{file.path}"'}
    transform: {file.path: [{strip_prefix: '/x'}, basename, lowercase], labels.k: [{replace: ['++', ' ']}, uppercase]}
  - id: mixed.asked
    pattern: '^mixed asked(?: u=(?<user.name>\S*))?(?: v=(?<_v>\S*))?(?: n=(?<process.name>\S*))?(?: v=(?<_v>\S*))?$'
    when: {_v: [root, '*host*', '1-99'], user.name: exists, host.hostname: absent, process.name: [app, root, ho*]}
    set: {event.action: 'is-{_v}', labels.n: '{process.name}'}
"#;
        let rules = with_plans(PACK);
        let mut both = Both::new(&rules);
        let headers = [
            "",
            "<38>",
            "Nov 28 10:15:02 web1 app[47]: ",
            "<38>Nov 28 10:15:02 web1 app: ",
            "<38>1 2026-11-28T10:15:02.25Z - app x7 ID7 - ",
            "<38>1 2026-11-28T10:15:02.25Z web1 - - - - ",
        ];
        let rules: [(&str, &[&str]); 4] = [
            ("ends", &["a", "i", "d", "c", "u", "v", "u"]),
            ("header", &["h", "p", "n", "t", "m"]),
            ("own", &["c", "f", "f", "k"]),
            ("asked", &["u", "v", "n", "v"]),
        ];
        let values = [
            None,
            Some(""),
            Some("-"),
            Some("192.0.2.7"),
            Some("10.1.2.3"),
            Some("host.example"),
            Some("root"),
            Some("47"),
            Some("/x/Y/z"),
            Some("\u{e9}\"\\++"),
            Some("28/Nov/2026:10:15:03"),
        ];
        let mut random = 1_u64;
        let mut draw = |limit: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % limit as u64) as usize
        };
        for _ in 0..6_000 {
            let (rule, keys) = rules[draw(rules.len())];
            let mut line = format!("{}mixed {rule}", headers[draw(headers.len())]);
            for key in keys {
                if let Some(value) = values[draw(values.len())] {
                    line.push_str(&format!(" {key}={value}"));
                }
            }
            both.check(&line);
        }
        assert!(both.planned > both.lines / 4, "{} of {}", both.planned, both.lines);
    }
}
