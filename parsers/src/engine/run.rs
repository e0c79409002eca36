//! One line on its way through the rules.

use super::keys::Keys;
use super::{CHAIN_DEPTH_MAX, Planned, State};
use crate::event::{Mark, Origin, Text, Value, View, range_in};
use crate::fields::FieldId;
use crate::header::structured::{self, Param};
use crate::header::{self, Header};
use crate::rule::{Action, Condition, Form, On, Onward, Rule, RuleList, RuleSet, SubParse};
use crate::sub;
use crate::time::TimeContext;
use crate::write::{integer, is_canonical};

/// What patterns see of a text at most; regex time is line length times pattern size.
const SEEN_BYTES_MAX: usize = 16 << 10;
/// How many parameters of structured data one event takes in.
const PARAMS_MAX: usize = 256;

/// What rules see of a text: no blanks at its end, which many programs leave there and no pattern reckons
/// with.
pub(super) fn for_rules(text: &[u8]) -> &[u8] {
    text.trim_ascii_end()
}

/// What patterns see of a text [for rules](for_rules): not all of a very long one.
#[inline]
pub(crate) fn seen(text: &[u8]) -> &[u8] {
    if text.len() <= SEEN_BYTES_MAX { text } else { for_rules(&text[..SEEN_BYTES_MAX]) }
}

/// Why a rule does not match a text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mismatch {
    Condition,
    Pattern,
    Parse,
}

pub(super) struct Run<'r, 'p, 'l> {
    pub(super) rules: &'r RuleSet,
    pub(super) state: &'p mut State,
    pub(super) line: &'l [u8],
    /// The line and what stands behind it.
    pub(super) padded: &'l [u8],
    /// The line, or the text in it that is tried as one.
    pub(super) whole: &'l [u8],
    pub(super) header: Header<'l>,
    pub(super) time: TimeContext<'l>,
    pub(super) depth: usize,
    /// Where in [`State::tried`] the packs begin that were tried on `whole`.
    pub(super) tried_from: usize,
    /// What is in the table since then is of `whole`; `None`: all that there is.
    pub(super) mark: Option<Mark>,
    /// Whether the program stands elsewhere than in `whole`.
    pub(super) program_given: bool,
}

/// A text that a rule looks at: a part of the line or of the given text, or a copy.
pub(super) enum Input<'t> {
    Slice(&'t [u8]),
    Copy(Vec<u8>),
}

impl Input<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Slice(slice) => slice,
            Self::Copy(copy) => copy,
        }
    }
}

impl<'l> Run<'_, '_, 'l> {
    /// The pack of the line and the first rule that matches.
    ///
    /// A date in front of a line may be an application's own and not syslog's: before the packs for
    /// any syslog line, and at the end, the line is tried as a whole if there was no priority.
    pub(super) fn find(&mut self, wanted: Option<usize>) -> (Option<usize>, Option<usize>) {
        let doubtful = self.header_is_doubtful();
        self.forget();
        self.note_start();
        match self.find_specific(wanted) {
            (pack, None) => self.find_otherwise(wanted, pack, doubtful),
            found => found,
        }
    }

    /// As [`Run::find`], of what no pack for its program or with a sign of its own has a rule for; `first`
    /// is the pack that it belongs to all the same.
    #[inline(never)]
    fn find_otherwise(
        &mut self,
        wanted: Option<usize>,
        first: Option<usize>,
        doubtful: bool,
    ) -> (Option<usize>, Option<usize>) {
        if doubtful {
            let without = self.without_header();
            if let Some(found) = self.find_behind(without, wanted) {
                return found;
            }
        }
        let rules = self.rules;
        let general = if self.has_header() { rules.dispatch.syslog() } else { &[] };
        for pack in general {
            let pack = *pack as usize;
            if let Some(rule) = self.try_list(&rules.packs[pack].list, self.header.message) {
                return (Some(pack), Some(rule));
            }
        }
        let of_program = self.header_of_program();
        let found = of_program.and_then(|header| self.find_behind(header, wanted));
        found.unwrap_or((first, None))
    }

    /// As [`Run::find_specific`], behind another header, which is the line's if a rule matches.
    fn find_behind(
        &mut self,
        header: Header<'l>,
        wanted: Option<usize>,
    ) -> Option<(Option<usize>, Option<usize>)> {
        let before = std::mem::replace(&mut self.header, header);
        self.forget();
        let found = self.find_specific(wanted);
        if found.1.is_none() {
            self.header = before;
            self.forget();
        }
        found.1.is_some().then_some(found)
    }

    /// Of a line without a header: the program that stands in front of it, `su: …`, if a pack names it. A
    /// word and a colon are the beginning of many a message, so nothing else may have a rule for it.
    fn header_of_program(&self) -> Option<Header<'l>> {
        if self.header.message.len() != self.whole.len() {
            return None;
        }
        let (program, message) = self.rules.dispatch.program_in_front(self.whole)?;
        Some(Header { program: Some(program), message, ..Header::default() })
    }

    /// Whether the line is one of syslog's. A date alone does not make a text within another one so.
    fn has_header(&self) -> bool {
        let Header { priority, timestamp, program, .. } = &self.header;
        let named = program.is_some() && !self.program_given;
        priority.is_some() || if self.depth == 0 { timestamp.is_some() } else { named }
    }

    /// Nothing is known of the line any more.
    fn forget(&mut self) {
        match self.mark {
            None => self.state.forget(self.rules.fields.len()),
            Some(mark) => {
                self.state.event.reset(mark);
                self.state.filled = false;
            }
        }
    }

    /// The header of a line that has none.
    fn without_header(&self) -> Header<'l> {
        let program = self.header.program.filter(|_| self.program_given);
        Header { program, message: self.whole, ..Header::default() }
    }

    /// Whether what was read as a header may be the beginning of an application's own line.
    fn header_is_doubtful(&self) -> bool {
        let header = &self.header;
        // With a date that applications do not write, or a host, a program and the number of its process.
        let of_syslog = header.program.is_some()
            && header.timestamp.is_some()
            && (self.whole.first().is_some_and(u8::is_ascii_alphabetic)
                || header.hostname.is_some() && header.pid.is_some());
        header.priority.is_none() && header.message.len() < self.whole.len() && !of_syslog
    }

    /// As [`Run::find`], without the packs for any syslog line.
    fn find_specific(&mut self, wanted: Option<usize>) -> (Option<usize>, Option<usize>) {
        self.state.tried.truncate(self.tried_from);
        if let Some(matched) = wanted.and_then(|pack| self.try_pack(pack)) {
            return matched;
        }
        let rules = self.rules;
        let program = self.header.program;
        for pack in program.map_or(&[][..], |program| rules.dispatch.named(program)) {
            if let Some(matched) = self.try_pack(*pack as usize) {
                return matched;
            }
        }
        let mut matched = None;
        let (mut probes, mut scratch) = std::mem::take(&mut self.state.probes[self.depth]);
        let message = self.header.message;
        // A sign that no rule would see is none.
        let padded = (self.with_pad(message), seen(for_rules(message)).len());
        let space = (&mut probes, &mut scratch);
        rules.dispatch.visit_others(&rules.packs, program, padded, space, |pack| {
            matched = self.try_pack(pack);
            matched.is_some()
        });
        self.state.probes[self.depth] = (probes, scratch);
        matched.unwrap_or_else(|| (wanted.or_else(|| self.pack_of_program()), None))
    }

    /// The pack and its first rule that matches, unless the pack was tried before.
    fn try_pack(&mut self, pack: usize) -> Option<(Option<usize>, Option<usize>)> {
        if self.state.tried[self.tried_from..].contains(&pack) {
            return None;
        }
        self.state.tried.push(pack);
        let rules = self.rules;
        let rule = self.try_list(&rules.packs[pack].list, self.header.message)?;
        Some((Some(pack), Some(rule)))
    }

    /// The pack of a line that no rule matched: only a program's name is proof enough; a literal or
    /// a pattern that happens to fit is not.
    fn pack_of_program(&self) -> Option<usize> {
        let program = self.header.program?;
        let names = |pack: &&usize| self.rules.packs[**pack].applies.names_program(program);
        self.state.tried[self.tried_from..].iter().find(names).copied()
    }

    /// Takes the header into the table, unless that was done.
    pub(super) fn fill_header(&mut self) {
        if std::mem::replace(&mut self.state.filled, true) {
            return;
        }
        let fields = self.rules.header;
        if let Some(time) = self.header.timestamp {
            self.set_header(fields.timestamp, Value::Time(time.unix_nanos));
        }
        let texts = [
            (fields.hostname, self.header.hostname),
            (fields.program, self.header.program),
            (fields.message_id, self.header.message_id),
        ];
        for (field, text) in texts {
            if let Some(text) = text.filter(|text| !text.is_empty() && *text != b"-") {
                let value = Value::Text(self.place(text));
                self.set_header(field, value);
            }
        }
        if let Some(pid) = self.header.pid.and_then(|pid| self.number(pid)) {
            self.set_header(fields.pid, pid);
        }
        if let Some(data) = self.header.structured_data {
            self.fill_structured_data(data);
        }
        // Lines of files have no priority; for them the names would only stand there twice.
        let protocol = self.header.priority.is_some();
        let names = [
            (fields.syslog_hostname, self.header.hostname),
            (fields.syslog_program, self.header.program),
            (fields.syslog_pid, self.header.pid),
        ];
        for (field, text) in names.into_iter().filter(|_| protocol) {
            if let Some(text) = text.filter(|text| !text.is_empty() && *text != b"-") {
                let value = Value::Text(self.place(text));
                self.set_header(field, value);
            }
        }
        if let Some(priority) = self.header.priority {
            let words = &self.rules.words;
            match self.header.version {
                0 => {}
                1 => self.set_header(fields.version, Value::Constant(words.version)),
                other => {
                    let text = self.state.event.store(other.to_string().as_bytes());
                    self.set_header(fields.version, Value::Text(text));
                }
            }
            let (facility, severity) = (usize::from(priority >> 3), usize::from(priority & 7));
            self.set_header(fields.priority, Value::Integer(i64::from(priority)));
            self.set_header(fields.facility_code, Value::Integer(facility as i64));
            self.set_header(fields.severity_code, Value::Integer(severity as i64));
            self.set_header(fields.severity_name, Value::Constant(words.severities[severity]));
            if let Some(name) = words.facilities.get(facility) {
                self.set_header(fields.facility_name, Value::Constant(*name));
            }
        }
    }

    /// Each parameter under the name that ECS has for it, and no empty one.
    #[inline(never)]
    fn fill_structured_data(&mut self, data: &[u8]) {
        let mut key = std::mem::take(&mut self.state.scratch);
        let params = structured::params(data).filter(|param| !param.value.is_empty());
        for Param { element, name, value } in params.take(PARAMS_MAX) {
            key.clear();
            key.extend_from_slice(element);
            key.push(b'.');
            key.extend_from_slice(name);
            let value = Value::Text(self.place(value));
            self.state.event.keep(&key, b"log.syslog.structured_data", value);
        }
        self.state.scratch = key;
    }

    /// A part of the line as a number; `None` if it is none.
    fn number(&self, text: &[u8]) -> Option<Value> {
        match Text::in_line(self.line, text) {
            Some(place @ Text::Line { start, .. })
                if is_canonical(self.padded, start as usize, text.len()) =>
            {
                Some(Value::Number(place))
            }
            _ => integer(text).map(Value::Integer),
        }
    }

    /// What a rule has captured stays: the header may be that of a text in the line.
    fn set_header(&mut self, field: FieldId, value: Value) {
        if self.state.event.is_set_by_rule(field) {
            return;
        }
        self.state.event.set(field, value, Origin::Header);
    }

    /// A slice of the line by its place; a copy if it is none.
    pub(super) fn place(&mut self, text: &[u8]) -> Text {
        Text::in_line(self.line, text).unwrap_or_else(|| self.state.event.store(text))
    }

    /// Where in the line `text` begins, if it is a slice of it.
    fn offset(&self, text: &[u8]) -> Option<usize> {
        range_in(self.line, text).map(|range| range.start)
    }

    /// A text with what stands behind it; the text alone if it is no slice of the line.
    fn with_pad<'t>(&self, text: &'t [u8]) -> &'t [u8]
    where
        'l: 't,
    {
        self.offset(text).map_or(text, |start| &self.padded[start..])
    }

    /// The innermost rule that matches, from `list` or the chains that it leads to.
    fn try_list(&mut self, list: &RuleList, text: &[u8]) -> Option<usize> {
        let text = for_rules(text);
        let on = seen(text);
        let index = list.index(self.rules);
        let mut candidates = index.candidates(on);
        while let Some(position) = candidates.next_sure() {
            let innermost = self.try_rule(list.number(position), text);
            if innermost.is_some() {
                return innermost;
            }
        }
        if candidates.is_done() {
            return None;
        }
        let mut found = std::mem::take(&mut self.state.found[self.depth]);
        let mut innermost = None;
        index.visit_others(
            on,
            &candidates,
            &mut found,
            |_| true,
            |position| {
                innermost = self.try_rule(list.number(position), text);
                innermost.is_some()
            },
        );
        self.state.found[self.depth] = found;
        innermost
    }

    fn try_rule(&mut self, number: usize, text: &[u8]) -> Option<usize> {
        self.state.over_budget = false;
        let rule = self.rules.rule(number);
        let mut found = None;
        if self.depth == 0 && self.state.may_plan() && rule.begins_with_pattern() {
            // Most rules that are tried end here, before anything is filled in.
            if rule.known_before == 0 || self.header_allows(rule) {
                found = self.find_pattern(rule, text);
            }
            let planned = found.is_some_and(|pattern| self.take_plan(rule, pattern, text));
            if planned || found.is_none() {
                self.state.counts.count(number, planned, self.state.over_budget);
                return planned.then_some(number);
            }
        }
        self.try_with_table(number, rule, found, text)
    }

    /// Whether the conditions on what is known beforehand can hold, as far as the header tells.
    #[inline(never)]
    fn header_allows(&self, rule: &Rule) -> bool {
        let (fields, header) = (&self.rules.header, &self.header);
        rule.when[..rule.known_before].iter().all(|condition| {
            let text = match condition.field {
                field if field == fields.program => header.program,
                field if field == fields.hostname => header.hostname,
                field if field == fields.message_id => header.message_id,
                _ => return true,
            };
            condition.test.holds(text.filter(|text| !text.is_empty() && *text != b"-"))
        })
    }

    /// As [`Run::try_rule`] of what has no plan, or of a line that needs the table. Apart from it: it is
    /// longer than what most lines take, which stays in the cache so. `found` is as in [`Run::mismatch`].
    #[inline(never)]
    fn try_with_table(
        &mut self,
        number: usize,
        rule: &Rule,
        found: Option<usize>,
        text: &[u8],
    ) -> Option<usize> {
        self.fill_header();
        let mark = self.state.event.mark();
        let reason = self.mismatch(rule, found, text);
        self.state.counts.count(number, reason.is_none(), self.state.over_budget);
        self.note_attempt(number, reason, text);
        if reason.is_some() {
            self.state.event.reset(mark);
            self.note_start();
            return None;
        }
        self.transform_text(rule);
        let innermost = self.follow(rule, text).unwrap_or(number);
        // Rules that lead to others still look at what these have set.
        if innermost == number && (rule.block.marked || self.depth > 0) {
            for field in &rule.block.fields {
                self.state.event.set(*field, Value::InBlock, Origin::Rule);
            }
        }
        self.apply(rule);
        if matches!(rule.action, Some(Action::Mask { .. })) {
            self.state.masking.push(number);
        }
        Some(innermost)
    }

    /// What a rule that [begins with its pattern](Rule::begins_with_pattern) searches: `text`, which is
    /// [for rules](for_rules), or the line.
    #[inline]
    fn searched<'t>(&self, rule: &Rule, text: &'t [u8]) -> &'t [u8]
    where
        'l: 't,
    {
        if rule.on == On::Line { for_rules(self.whole) } else { text }
    }

    /// The first pattern of such a rule that matches; the captures stand in [`State::spans`].
    fn find_pattern(&mut self, rule: &Rule, text: &[u8]) -> Option<usize> {
        self.search_patterns(rule, self.searched(rule, text))
    }

    /// Whether the line can be written as the plan of the pattern that has just been found says.
    fn take_plan(&mut self, rule: &Rule, pattern: usize, text: &[u8]) -> bool {
        let Some(plan) = rule.plan(pattern, self.rules) else { return false };
        let Some(offset) = self.offset(self.searched(rule, text)) else { return false };
        let State { spans, places, stencils, scratch, .. } = &mut *self.state;
        let (line, header) = (self.line, &self.header);
        if !plan.prepare(rule, line, (spans, offset), header, places) {
            return false;
        }
        let time = plan.time(rule, (line, places), &self.time, scratch);
        // A time that the header does not have stands behind what the rule fills in before it.
        let late = time.is_some() && header.timestamp.is_none();
        let Some(key) = plan.key(rule, self.rules, header, (self.padded, places), late) else {
            return false;
        };
        let names = (rule, self.rules, rule.first_pattern + pattern);
        let cut = plan.cut(names, &key, (line, places), stencils);
        self.state.planned = Some(Planned { cut, time });
        true
    }

    /// The innermost rule that matches of those that `rule` leads to.
    fn follow(&mut self, rule: &Rule, text: &[u8]) -> Option<usize> {
        let then = rule.then.as_ref().filter(|_| self.depth < CHAIN_DEPTH_MAX)?;
        let on = then.field.map_or(On::Message, On::Field);
        let input = self.input(on, text)?;
        self.depth += 1;
        let found = match then.to {
            Onward::Chain(chain) => self.try_list(&self.rules.chains[chain], input.bytes()),
            Onward::Packs { program } => {
                let program = program.and_then(|field| self.input(On::Field(field), text));
                let name = program.as_ref().map(Input::bytes).filter(|name| !name.is_empty());
                let found = self.find_within(input.bytes(), name);
                program.into_iter().for_each(|program| self.give_back(program));
                found
            }
        };
        self.depth -= 1;
        self.give_back(input);
        found
    }

    /// The innermost rule that matches a text of the line as if it were one. `program` is whose it is if
    /// it does not say so itself.
    #[inline(never)]
    fn find_within(&mut self, text: &[u8], program: Option<&[u8]>) -> Option<usize> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        // It stood behind the program and a blank, which some keep.
        let text = text.strip_prefix(b" ").filter(|_| program.is_some()).unwrap_or(text);
        let mut header = header::parse_with(text, &self.time, &mut self.state.header_memo);
        let program_given = header.program.is_none() && program.is_some();
        header.program = header.program.or(program);
        let tried_from = self.state.tried.len();
        let mark = self.state.event.mark();
        let timestamp = self.rules.header.timestamp;
        let outer_time = self.state.event.get(timestamp);
        let mut inner = Run {
            rules: self.rules,
            state: &mut *self.state,
            line: self.line,
            padded: self.padded,
            whole: text,
            header,
            time: self.time,
            depth: self.depth,
            tried_from,
            mark: Some(mark),
            program_given,
        };
        let (_, found) = inner.find(None);
        let message = inner.header.message;
        self.state.tried.truncate(tried_from);
        self.state.filled = true;
        let Some(rule) = found else {
            self.state.event.reset(mark);
            return None;
        };
        let field = self.rules.header.message;
        let behind = !message.is_empty() && message.len() < text.len();
        if behind && !self.state.event.is_set_by_rule(field) {
            let message = Value::Text(self.place(message));
            self.state.event.set(field, message, Origin::Rule);
        }
        if matches!(outer_time, Value::Text(_)) {
            // What runs the application tells the time with its zone; many an application does not.
            self.state.event.set(timestamp, outer_time, Origin::Rule);
        }
        self.finish_constants(rule);
        Some(rule)
    }

    /// Why the rule does not match; `None` if it does. Fields are set on the way. `found` is the pattern
    /// that matches, if that is known.
    fn mismatch(&mut self, rule: &Rule, found: Option<usize>, text: &[u8]) -> Option<Mismatch> {
        let (known, own) = rule.when.split_at(rule.known_before);
        if !self.holds(known) {
            return Some(Mismatch::Condition);
        }
        if let Some(pattern) = found {
            self.capture(rule, pattern, self.searched(rule, text));
        } else if !rule.patterns.is_empty() && !self.match_patterns(rule, text) {
            return Some(Mismatch::Pattern);
        }
        self.note_step(rule, "pattern");
        if !rule.parse.is_empty() && self.lacks_sign(rule, text) {
            return Some(Mismatch::Condition);
        }
        for parse in &rule.parse {
            if !self.sub_parse(rule, parse, text) && !parse.optional {
                return Some(Mismatch::Parse);
            }
            self.note_step(rule, "parse");
        }
        (!self.holds(own)).then_some(Mismatch::Condition)
    }

    /// Whether the conditions cannot hold, whatever the sub-parsers find in the text. Who asks for an
    /// explanation is told what the sub-parsers say.
    fn lacks_sign(&self, rule: &Rule, text: &[u8]) -> bool {
        let text = |on| if on == On::Line { self.whole } else { text };
        let event = &self.state.event;
        self.state.trace.is_none()
            && rule
                .signs()
                .iter()
                .any(|sign| event.get(sign.field) == Value::Absent && !sign.is_in(text(sign.on)))
    }

    pub(super) fn holds(&mut self, conditions: &[Condition]) -> bool {
        let view = View { line: self.line, constants: &self.rules.constants };
        conditions.iter().all(|condition| {
            let value = self.state.event.text(view, condition.field, &mut self.state.scratch);
            condition.test.holds(value)
        })
    }

    fn match_patterns(&mut self, rule: &Rule, text: &[u8]) -> bool {
        let Some(input) = self.input(rule.on, text) else { return false };
        let on = for_rules(input.bytes());
        let found = self.search_patterns(rule, on);
        if let Some(pattern) = found {
            self.capture(rule, pattern, on);
        }
        self.give_back(input);
        found.is_some()
    }

    /// The first pattern of the rule that matches what it sees of a text. What a capture holds up to where
    /// that ends, goes on to where the text does.
    pub(super) fn search_patterns(&mut self, rule: &Rule, text: &[u8]) -> Option<usize> {
        let on = seen(text);
        let padded = self.with_pad(on);
        let found = rule.patterns.iter().enumerate().position(|(at, (pattern, _))| {
            self.state.search(rule.first_pattern + at, pattern, on, padded)
        });
        if on.len() < text.len() {
            let (seen, end) = (on.len() as u32, text.len() as u32);
            self.state.spans.iter_mut().for_each(|group| group.go_on(seen, end));
        }
        found
    }

    /// Takes the captures of a pattern, which was searched in `on`, into the table.
    fn capture(&mut self, rule: &Rule, pattern: usize, on: &[u8]) {
        for (at, field) in rule.patterns[pattern].1.iter().enumerate() {
            let Some((start, end)) = self.state.spans[at].text() else { continue };
            let value = &on[start as usize..end as usize];
            if rule.is_null(value) {
                continue;
            }
            let text = self.place(value);
            self.state.event.set(*field, Value::Text(text), Origin::Rule);
        }
    }

    fn sub_parse(&mut self, rule: &Rule, parse: &SubParse, text: &[u8]) -> bool {
        let Some(input) = self.input(parse.on, text) else { return false };
        let parsed = self.sub_parse_on(rule, parse, input.bytes());
        self.give_back(input);
        parsed
    }

    fn sub_parse_on(&mut self, rule: &Rule, parse: &SubParse, input: &[u8]) -> bool {
        let mut space = std::mem::take(&mut self.state.space);
        let mut keys = Keys::new(self, rule, parse);
        let parsed = match &parse.form {
            Form::Json => sub::json::parse(input, &mut space, &mut keys),
            Form::Kv(options) => sub::kv::parse(input, options, &mut space, &mut keys),
            Form::Csv(options) => sub::csv::parse(input, options, &mut space, &mut keys),
            Form::Cef => sub::cef::parse(input, &mut space, &mut keys),
            Form::Leef => sub::leef::parse(input, &mut keys),
            Form::Xml => sub::xml::parse(input, &mut space, &mut keys),
            Form::Auditd => sub::auditd::parse(input, &mut space, &mut keys),
        };
        self.state.space = space;
        parsed
    }

    /// The text that a rule names; no copy if it stands in the line.
    pub(super) fn input<'t>(&mut self, on: On, text: &'t [u8]) -> Option<Input<'t>>
    where
        'l: 't,
    {
        match on {
            On::Message => Some(Input::Slice(text)),
            On::Line => Some(Input::Slice(self.whole)),
            On::Field(field) => match self.state.event.get(field) {
                Value::Text(Text::Line { start, end }) => {
                    Some(Input::Slice(&self.line[start as usize..end as usize]))
                }
                _ => {
                    let view = View { line: self.line, constants: &self.rules.constants };
                    let value = self.state.event.text(view, field, &mut self.state.scratch)?;
                    let mut copy = self.state.copies.pop().unwrap_or_default();
                    copy.extend_from_slice(value);
                    Some(Input::Copy(copy))
                }
            },
        }
    }

    /// Lets the space of a copy be used again.
    fn give_back(&mut self, input: Input<'_>) {
        if let Input::Copy(mut copy) = input {
            copy.clear();
            self.state.copies.push(copy);
        }
    }
}
