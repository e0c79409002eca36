//! Running the rules on lines.
//!
//! A line is taken apart as syslog, the packs that fit are tried in order, and the first rule that
//! matches fills the event; then the event is written as JSON members into the caller's buffer.
//! Parsing never fails: what no rule matches is written with its original text and the tag
//! `unparsed`. A [`Parser`] belongs to one thread and reuses everything from line to line.

use crate::event::{Event, Origin, Text, Value, View, integer};
use crate::fields::FieldId;
use crate::header::{self, Header};
use crate::rule::{Action, Form, On, Part, Rule, RuleList, RuleSet, SetValue, SubParse, Test, TimeRule};
use crate::sub::{self, FieldSink, SubValue};
use crate::time::{TimeContext, Zone, write_rfc3339};
use crate::transform::Transform;
use base64::Engine as _;
use logweir_record::{ECS_VERSION, write_member, write_u64};
use regex::bytes::CaptureLocations;
use std::sync::Arc;

/// What rules see of a message at most; regex time is line length times pattern size.
const RULE_BYTES_MAX: usize = 16 << 10;
/// How deep chains may lead to chains.
const CHAIN_DEPTH_MAX: usize = 4;
/// How many sub-parser keys one event takes in.
const KEYS_MAX: usize = 1024;

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

/// One rule that was tried, for `rules explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub rule: usize,
    pub matched: bool,
    /// Why not.
    pub reason: &'static str,
}

/// Parses lines with one rule set; one per thread.
#[derive(Debug)]
pub struct Parser {
    rules: Arc<RuleSet>,
    event: Event,
    locations: Vec<Vec<CaptureLocations>>,
    scratch: Vec<u8>,
    tried: Vec<usize>,
    samples_seen: u64,
    trace: Option<Vec<Attempt>>,
}

impl Parser {
    #[must_use]
    pub fn new(rules: Arc<RuleSet>) -> Self {
        let locations = rules
            .rules
            .iter()
            .map(|rule| rule.patterns.iter().map(|(p, _)| p.regex.capture_locations()).collect())
            .collect();
        Self {
            rules,
            event: Event::default(),
            locations,
            scratch: Vec::new(),
            tried: Vec::new(),
            samples_seen: 0,
            trace: None,
        }
    }

    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Appends the members of the event of `line` to `out`, without braces: `"a":1,"b":"…"`.
    pub fn parse(&mut self, line: &[u8], context: &LineContext<'_>, out: &mut Vec<u8>) -> Parsed {
        let rules = self.rules.clone();
        self.event.clear(rules.fields.len());
        let time = TimeContext { received_unix_nanos: context.received_unix_nanos, zone: context.zone };
        let header = header::parse(line, &time);
        let mut run = Run { rules: &rules, parser: self, line, header: &header, time, depth: 0 };
        run.fill_header();
        let (pack, rule) = run.find(context.pack);
        if let Some(disposition) = run.act(rule) {
            return Parsed { rule, pack, disposition };
        }
        run.finish(pack, rule);
        self.write(&rules, line, context, &header, rule, out);
        Parsed { rule, pack, disposition: Disposition::Deliver }
    }

    /// As [`Parser::parse`], and which rules were tried.
    pub fn explain(
        &mut self,
        line: &[u8],
        context: &LineContext<'_>,
        out: &mut Vec<u8>,
    ) -> (Parsed, Vec<Attempt>) {
        self.trace = Some(Vec::new());
        let parsed = self.parse(line, context, out);
        (parsed, self.trace.take().unwrap_or_default())
    }

    fn write(
        &self,
        rules: &RuleSet,
        line: &[u8],
        context: &LineContext<'_>,
        header: &Header<'_>,
        rule: Option<usize>,
        out: &mut Vec<u8>,
    ) {
        let view = View { line, constants: &rules.constants };
        self.event.write(view, &rules.fields, out);
        if self.event.get(rules.header.timestamp) == Value::Absent {
            out.extend_from_slice(b"\"@timestamp\":\"");
            write_rfc3339(out, context.received_unix_nanos);
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(b"\"event.created\":\"");
        write_rfc3339(out, context.received_unix_nanos);
        out.extend_from_slice(b"\",\"ecs.version\":\"");
        out.extend_from_slice(ECS_VERSION.as_bytes());
        out.extend_from_slice(b"\",");
        self.write_original(rules, line, header, rule, out);
        match rule {
            Some(number) => {
                out.push(b',');
                out.extend_from_slice(&rules.rules[number].member);
                if context.original_bytes.is_some() {
                    out.extend_from_slice(b",\"tags\":[\"truncated\"]");
                }
            }
            None if context.original_bytes.is_some() => {
                out.extend_from_slice(b",\"tags\":[\"unparsed\",\"truncated\"]");
            }
            None => out.extend_from_slice(b",\"tags\":[\"unparsed\"]"),
        }
        if let Some(bytes) = context.original_bytes {
            out.extend_from_slice(b",\"logweir.original_bytes\":");
            write_u64(out, bytes);
        }
    }

    fn write_original(
        &self,
        rules: &RuleSet,
        line: &[u8],
        header: &Header<'_>,
        rule: Option<usize>,
        out: &mut Vec<u8>,
    ) {
        if let Some(Action::Mask { fields, .. }) =
            rule.and_then(|number| rules.rules[number].action.as_ref())
        {
            write_masked(line, &self.scratch, out);
            debug_assert!(!fields.is_empty());
            return;
        }
        write_member(out, "event.original", line);
        if header.message.len() < line.len() && !header.message.is_empty() {
            out.push(b',');
            write_member(out, "message", header.message);
        }
        if std::str::from_utf8(line).is_err() {
            let encoded = base64::engine::general_purpose::STANDARD.encode(line);
            out.push(b',');
            write_member(out, "logweir.original_base64", encoded.as_bytes());
        }
    }
}

/// The original with every masked stretch as stars; `stretches` are pairs of little-endian u32.
fn write_masked(line: &[u8], stretches: &[u8], out: &mut Vec<u8>) {
    let mut masked = line.to_vec();
    for pair in stretches.chunks_exact(8) {
        let number = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&pair[at..at + 4]);
            u32::from_le_bytes(bytes) as usize
        };
        masked[number(0)..number(4)].fill(b'*');
    }
    write_member(out, "event.original", &masked);
}

/// One line on its way through the rules.
struct Run<'r, 'p, 'l> {
    rules: &'r RuleSet,
    parser: &'p mut Parser,
    line: &'l [u8],
    header: &'l Header<'l>,
    time: TimeContext<'l>,
    depth: usize,
}

impl Run<'_, '_, '_> {
    fn fill_header(&mut self) {
        let fields = self.rules.header;
        let header = self.header;
        if let Some(time) = header.timestamp {
            self.set_header(fields.timestamp, Value::Time(time.unix_nanos));
        }
        let texts = [
            (fields.hostname, header.hostname),
            (fields.program, header.program),
            (fields.message_id, header.message_id),
            (fields.structured_data, header.structured_data),
        ];
        for (field, text) in texts {
            if let Some(text) = text.filter(|text| !text.is_empty() && *text != b"-") {
                let value = Value::Text(self.place(text));
                self.set_header(field, value);
            }
        }
        if let Some(pid) = header.pid.and_then(integer) {
            self.set_header(fields.pid, Value::Integer(pid));
        }
        if let Some(priority) = header.priority {
            self.set_header(fields.priority, Value::Integer(i64::from(priority)));
            self.set_header(fields.facility_code, Value::Integer(i64::from(priority >> 3)));
            self.set_header(fields.severity_code, Value::Integer(i64::from(priority & 7)));
            let severity = SEVERITIES[usize::from(priority & 7)];
            let text = self.parser.event.store(severity.as_bytes());
            self.set_header(fields.severity_name, Value::Text(text));
            if let Some(facility) = FACILITIES.get(usize::from(priority >> 3)) {
                let text = self.parser.event.store(facility.as_bytes());
                self.set_header(fields.facility_name, Value::Text(text));
            }
        }
    }

    fn set_header(&mut self, field: FieldId, value: Value) {
        self.parser.event.set(field, value, Origin::Header);
    }

    /// A slice of the line by its place; a copy if it is none.
    fn place(&mut self, text: &[u8]) -> Text {
        let base = self.line.as_ptr() as usize;
        let start = (text.as_ptr() as usize).wrapping_sub(base);
        if start.checked_add(text.len()).is_some_and(|end| end <= self.line.len()) {
            Text::Line { start: start as u32, end: (start + text.len()) as u32 }
        } else {
            self.parser.event.store(text)
        }
    }

    /// The first rule that matches, with the pack of the line.
    fn find(&mut self, wanted: Option<usize>) -> (Option<usize>, Option<usize>) {
        let rules = self.rules;
        let header = self.header;
        let mut first = wanted;
        let mut matched = None;
        self.parser.tried.clear();
        let mut visit = |pack: usize| {
            if self.parser.tried.contains(&pack) {
                return false;
            }
            self.parser.tried.push(pack);
            first = first.or(Some(pack));
            matched = self.try_list(&rules.packs[pack].list, header.message).map(|rule| (pack, rule));
            matched.is_some()
        };
        if !wanted.is_some_and(&mut visit) {
            rules.dispatch.visit(&rules.packs, header, visit);
        }
        match matched {
            Some((pack, rule)) => (Some(pack), Some(rule)),
            None => (first, None),
        }
    }

    /// The innermost rule that matched, from `list` or the chains that it leads to.
    fn try_list(&mut self, list: &RuleList, text: &[u8]) -> Option<usize> {
        let text = &text[..text.len().min(RULE_BYTES_MAX)];
        for number in list.candidates(text) {
            if let Some(innermost) = self.try_rule(number, text) {
                return Some(innermost);
            }
        }
        None
    }

    fn try_rule(&mut self, number: usize, text: &[u8]) -> Option<usize> {
        let rules = self.rules;
        let rule = &rules.rules[number];
        let mark = self.parser.event.mark();
        let reason = self.matches(number, rule, text);
        if let Some(trace) = &mut self.parser.trace {
            trace.push(Attempt { rule: number, matched: reason.is_none(), reason: reason.unwrap_or("") });
        }
        if reason.is_some() {
            self.parser.event.reset(mark);
            return None;
        }
        let mut innermost = number;
        if let Some(then) = &rule.then
            && self.depth < CHAIN_DEPTH_MAX
        {
            self.depth += 1;
            let body = match then.field {
                Some(field) => self.text_of(field),
                None => Some(text.to_vec()),
            };
            // The chain's text is a copy unless it stands in the line, so that captures can point
            // into it while the event changes.
            if let Some(body) = body {
                let list = &rules.chains[then.chain];
                let found = match self.slice_of(then.field, text) {
                    Some(slice) => self.try_list(list, slice),
                    None => self.try_list(list, &body),
                };
                innermost = found.unwrap_or(number);
            }
            self.depth -= 1;
        }
        self.apply(rule);
        Some(innermost)
    }

    /// Why the rule does not match; `None` if it does. Fields are set on the way.
    fn matches(&mut self, number: usize, rule: &Rule, text: &[u8]) -> Option<&'static str> {
        if !rule.patterns.is_empty() && !self.match_patterns(number, rule, text) {
            return Some("the pattern does not match");
        }
        for parse in &rule.parse {
            if !self.sub_parse(rule, parse, text) && !parse.optional {
                return Some("the text does not have the form of `parse`");
            }
        }
        for condition in &rule.when {
            let mut value = std::mem::take(&mut self.parser.scratch);
            value.clear();
            let there = self.parser.event.write_text(self.view(), condition.field, &mut value);
            let fits = match &condition.test {
                Test::Exists => there,
                Test::Absent => !there,
                Test::AnyOf(matchers) => there && matchers.iter().any(|matcher| matcher.matches(&value)),
            };
            self.parser.scratch = value;
            if !fits {
                return Some("a condition of `when` fails");
            }
        }
        None
    }

    fn match_patterns(&mut self, number: usize, rule: &Rule, text: &[u8]) -> bool {
        let line = self.line;
        let owned;
        let on: &[u8] = match rule.on {
            On::Message => text,
            On::Line => &line[..line.len().min(RULE_BYTES_MAX)],
            On::Field(field) => match self.slice_of(Some(field), text) {
                Some(slice) => slice,
                None => match self.text_of(field) {
                    Some(text) => {
                        owned = text;
                        &owned
                    }
                    None => return false,
                },
            },
        };
        for (at, (pattern, fields)) in rule.patterns.iter().enumerate() {
            if pattern.required.as_ref().is_some_and(|part| part.find(on).is_none()) {
                continue;
            }
            let locations = &mut self.parser.locations[number][at];
            if pattern.regex.captures_read(locations, on).is_none() {
                continue;
            }
            for (group, field) in pattern.groups.iter().zip(fields) {
                let Some((start, end)) = self.parser.locations[number][at].get(*group) else { continue };
                let value = &on[start..end];
                if value.is_empty() || rule.null_values.iter().any(|null| null == value) {
                    continue;
                }
                let text = self.place(value);
                self.parser.event.set(*field, Value::Text(text), Origin::Rule);
            }
            return true;
        }
        false
    }

    fn view(&self) -> View<'_> {
        View { line: self.line, constants: &self.rules.constants }
    }

    /// A field's value as a new text.
    fn text_of(&self, field: FieldId) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        self.parser.event.write_text(self.view(), field, &mut text).then_some(text)
    }

    /// A field's value where it stands in the line, so that no copy is needed.
    fn slice_of<'t>(&self, field: Option<FieldId>, text: &'t [u8]) -> Option<&'t [u8]>
    where
        Self: 't,
    {
        let Some(field) = field else { return Some(text) };
        let Value::Text(Text::Line { start, end }) = self.parser.event.get(field) else { return None };
        // The text itself stands in the line: the part of it is found by its distance.
        let base = (text.as_ptr() as usize).checked_sub(self.line.as_ptr() as usize)?;
        let (start, end) = ((start as usize).checked_sub(base)?, (end as usize).checked_sub(base)?);
        text.get(start..end)
    }

    fn sub_parse(&mut self, rule: &Rule, parse: &SubParse, text: &[u8]) -> bool {
        let line = self.line;
        let owned;
        let input: &[u8] = match parse.on {
            On::Message => text,
            On::Line => line,
            On::Field(field) => match self.slice_of(Some(field), text) {
                Some(slice) => slice,
                None => match self.text_of(field) {
                    Some(text) => {
                        owned = text;
                        &owned
                    }
                    None => return false,
                },
            },
        };
        let mut keys = Keys { run: self, rule, parse, count: 0 };
        match &parse.form {
            Form::Json => sub::json::parse(input, &mut keys),
            Form::Kv(options) => sub::kv::parse(input, options, &mut keys),
            Form::Csv(options) => sub::csv::parse(input, options, &mut keys),
            Form::Cef => sub::cef::parse(input, &mut keys),
            Form::Leef => sub::leef::parse(input, &mut keys),
            Form::Xml => sub::xml::parse(input, &mut keys),
            Form::Auditd => sub::auditd::parse(input, &mut keys),
        }
    }

    /// Everything that follows from a match: maps, constants, transforms, times.
    fn apply(&mut self, rule: &Rule) {
        for map in &rule.maps {
            let Some(value) = self.text_of(map.from) else {
                if let Some(default) = map.default.filter(|_| map.from != map.into) {
                    self.fill(map.into, default);
                }
                continue;
            };
            let found = map.exact.get(value.as_slice()).copied().or_else(|| {
                map.others.iter().find(|(matcher, _)| matcher.matches(&value)).map(|(_, number)| *number)
            });
            let Some(number) = found.or(map.default) else { continue };
            if map.from == map.into {
                self.parser.event.set(map.into, Value::Constant(number), Origin::Rule);
            } else {
                self.fill(map.into, number);
            }
        }
        for (field, value) in &rule.sets {
            if self.parser.event.is_set_by_rule(*field) {
                continue;
            }
            let value = match value {
                SetValue::Constant(number) => Some(Value::Constant(*number)),
                SetValue::Template(parts) => self.template(parts),
            };
            if let Some(value) = value {
                self.parser.event.set(*field, value, Origin::Rule);
            }
        }
        for (field, steps) in &rule.transforms {
            for step in steps {
                self.transform(*field, step);
            }
        }
        for time in &rule.times {
            self.read_time(time);
        }
    }

    fn fill(&mut self, field: FieldId, constant: u32) {
        if !self.parser.event.is_set_by_rule(field) {
            self.parser.event.set(field, Value::Constant(constant), Origin::Rule);
        }
    }

    fn template(&mut self, parts: &[Part]) -> Option<Value> {
        let text = self.render(parts)?;
        Some(Value::Text(self.parser.event.store(&text)))
    }

    fn render(&self, parts: &[Part]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        for part in parts {
            match part {
                Part::Text(literal) => text.extend_from_slice(literal),
                Part::Field(field) => {
                    if !self.parser.event.write_text(self.view(), *field, &mut text) {
                        return None;
                    }
                }
            }
        }
        Some(text)
    }

    fn transform(&mut self, field: FieldId, step: &Transform) {
        let value = self.parser.event.get(field);
        let event = &mut self.parser.event;
        let changed = match (value, step) {
            (Value::Absent, _) => None,
            (Value::List { start, end }, Transform::First) => {
                event.items(start, end).first().map(|text| Value::Text(*text))
            }
            (Value::List { start, end }, Transform::Last) => {
                event.items(start, end).last().map(|text| Value::Text(*text))
            }
            (Value::List { start, end }, step) => {
                let texts: Vec<Vec<u8>> = event
                    .items(start, end)
                    .iter()
                    .map(|item| {
                        let text = event.bytes(self.line, *item);
                        step.apply(text).unwrap_or_else(|| text.to_vec())
                    })
                    .collect();
                Some(event.store_list(texts.iter().map(Vec::as_slice)))
            }
            (_, Transform::Split(separator)) => {
                let text = self.text_of(field).unwrap_or_default();
                let parts: Vec<Vec<u8>> = split(&text, separator);
                Some(self.parser.event.store_list(parts.iter().map(Vec::as_slice)))
            }
            (_, step) => {
                let text = self.text_of(field).unwrap_or_default();
                let new = step.apply(&text);
                new.map(|new| Value::Text(self.parser.event.store(&new)))
            }
        };
        if let Some(value) = changed {
            self.parser.event.set(field, value, Origin::Rule);
        }
    }

    fn read_time(&mut self, time: &TimeRule) {
        let Some(text) = self.render(&time.from) else { return };
        let context = TimeContext {
            received_unix_nanos: self.time.received_unix_nanos,
            zone: time.zone.as_ref().unwrap_or(self.time.zone),
        };
        let found = time.formats.iter().find_map(|format| format.parse(text.trim_ascii(), &context));
        let into_timestamp = time.into == self.rules.header.timestamp;
        match found {
            Some(nanos) => self.parser.event.set(time.into, Value::Time(nanos), Origin::Rule),
            // A timestamp that is none must not be written as one.
            None if into_timestamp && matches!(self.parser.event.get(time.into), Value::Text(_)) => {
                let value = self.header.timestamp.map_or(Value::Absent, |t| Value::Time(t.unix_nanos));
                self.parser.event.set(time.into, value, Origin::Rule);
            }
            None => {}
        }
    }

    /// What the rule's action says; `None`: deliver.
    fn act(&mut self, rule: Option<usize>) -> Option<Disposition> {
        match self.rules.rules[rule?].action.as_ref()? {
            Action::Drop(reason) => Some(Disposition::Drop(*reason)),
            Action::Sample(of) => {
                self.parser.samples_seen += 1;
                (!self.parser.samples_seen.is_multiple_of(*of)).then_some(Disposition::SampledOut)
            }
            Action::Mask { fields, hash } => {
                self.mask(fields, *hash);
                None
            }
        }
    }

    /// Hides the fields, and remembers where they stand in the line.
    fn mask(&mut self, fields: &[FieldId], hash: bool) {
        let mut stretches = Vec::new();
        for field in fields {
            let Some(text) = self.text_of(*field) else { continue };
            for at in memchr::memmem::find_iter(self.line, &text) {
                stretches.extend_from_slice(&(at as u32).to_le_bytes());
                stretches.extend_from_slice(&((at + text.len()) as u32).to_le_bytes());
            }
            let hidden = if hash {
                blake3::hash(&text).to_hex()[..16].to_owned()
            } else {
                "redacted".to_owned()
            };
            let text = self.parser.event.store(hidden.as_bytes());
            self.parser.event.set(*field, Value::Text(text), Origin::Rule);
        }
        self.parser.scratch = stretches;
    }

    /// What every event has.
    fn finish(&mut self, pack: Option<usize>, rule: Option<usize>) {
        let fields = self.rules.header;
        match pack {
            Some(pack) => {
                for (field, constant) in self.rules.packs[pack].constants {
                    self.fill(field, constant);
                }
            }
            None => {
                let text = self.parser.event.store(b"unparsed");
                self.parser.event.set(fields.dataset, Value::Text(text), Origin::Rule);
            }
        }
        if self.parser.event.get(fields.kind) == Value::Absent {
            let text = self.parser.event.store(b"event");
            self.parser.event.set(fields.kind, Value::Text(text), Origin::Rule);
        }
        let text = matches!(self.parser.event.get(fields.timestamp), Value::Text(_));
        if rule.is_some() && text {
            // Captured without a `time`: the usual forms are tried.
            self.read_time_of_capture();
        }
        self.parser.event.derive(self.line, &self.rules.fields);
    }

    fn read_time_of_capture(&mut self) {
        let field = self.rules.header.timestamp;
        let text = self.text_of(field).unwrap_or_default();
        let found = ["rfc3339", "rfc3164", "clf"]
            .iter()
            .filter_map(|name| crate::time::TimeFormat::compile(name).ok())
            .find_map(|format| format.parse(&text, &self.time));
        let value = found.or(self.header.timestamp.map(|t| t.unix_nanos)).map_or(Value::Absent, Value::Time);
        self.parser.event.set(field, value, Origin::Rule);
    }
}

fn split(text: &[u8], separator: &[u8]) -> Vec<Vec<u8>> {
    if separator.is_empty() {
        return vec![text.to_vec()];
    }
    let mut parts = Vec::new();
    let mut start = 0;
    for at in memchr::memmem::find_iter(text, separator) {
        parts.push(text[start..at].trim_ascii().to_vec());
        start = at + separator.len();
    }
    parts.push(text[start..].trim_ascii().to_vec());
    parts.retain(|part| !part.is_empty());
    parts
}

/// Takes the keys of a sub-parser into the event.
struct Keys<'k, 'r, 'p, 'l> {
    run: &'k mut Run<'r, 'p, 'l>,
    rule: &'k Rule,
    parse: &'k SubParse,
    count: usize,
}

impl FieldSink for Keys<'_, '_, '_, '_> {
    fn field(&mut self, key: &[u8], value: SubValue<'_>) {
        let target = self.parse.fields.get(key);
        if target == Some(&None) || (target.is_none() && self.parse.rest.is_none()) {
            return;
        }
        self.count += 1;
        if self.count > KEYS_MAX {
            return;
        }
        let Some(value) = self.value(value) else { return };
        match (target, &self.parse.rest) {
            (Some(Some(field)), _) => self.run.parser.event.set(*field, value, Origin::Rule),
            (_, Some(prefix)) => self.run.parser.event.keep(key, prefix, value),
            _ => {}
        }
    }
}

impl Keys<'_, '_, '_, '_> {
    fn value(&mut self, value: SubValue<'_>) -> Option<Value> {
        match value {
            SubValue::Null => None,
            SubValue::Integer(number) => Some(Value::Integer(number)),
            SubValue::Float(number) => Some(Value::Float(number)),
            SubValue::Boolean(truth) => Some(Value::Boolean(truth)),
            SubValue::Text(text) => self.text(text).map(Value::Text),
            SubValue::Owned(text) => self.text(&text).map(Value::Text),
            SubValue::List(items) => {
                let texts: Vec<Text> = items.iter().filter_map(|item| self.item(item)).collect();
                (!texts.is_empty()).then(|| self.run.parser.event.list_of(&texts))
            }
        }
    }

    fn text(&mut self, text: &[u8]) -> Option<Text> {
        let null = text.is_empty() || self.rule.null_values.iter().any(|null| null == text);
        (!null).then(|| self.run.place(text))
    }

    fn item(&mut self, item: &SubValue<'_>) -> Option<Text> {
        match item {
            SubValue::Text(text) => self.text(text),
            SubValue::Owned(text) => self.text(text),
            SubValue::Integer(number) => Some(self.run.parser.event.store(number.to_string().as_bytes())),
            SubValue::Float(number) => Some(self.run.parser.event.store(number.to_string().as_bytes())),
            SubValue::Boolean(truth) => Some(self.run.parser.event.store(truth.to_string().as_bytes())),
            SubValue::List(_) | SubValue::Null => None,
        }
    }
}

/// Names as in RFC 5424, table 2, by their usual short forms.
const SEVERITIES: [&str; 8] =
    ["Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"];

/// Names as in RFC 5424, table 1, by their usual short forms.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Appends `{`, the event's members and `}`: an event as it stands without an agent's envelope.
pub fn write_event(parser: &mut Parser, line: &[u8], context: &LineContext<'_>, out: &mut Vec<u8>) -> Parsed {
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

