//! What follows from a match: maps, constants, transforms, times, actions.

use super::Disposition;
use super::run::Run;
use crate::direction::direction;
use crate::event::{Event, Origin, VALUE_BYTES_MAX, Value, View, range_in};
use crate::fields::FieldId;
use crate::ip;
use crate::rule::{Action, End, Part, Rule, SetValue, Shift, TimeRule, ValueMap};
use crate::time::{TimeContext, TimeFormat, Zone, header_zone};
use crate::transform::{Transform, add};
use std::sync::OnceLock;

impl Run<'_, '_, '_> {
    /// Everything but the block, in the order that docs/rules.md names.
    pub(super) fn apply(&mut self, rule: &Rule) {
        self.transform_fields(rule, true);
        self.note_step(rule, "transform");
        for map in &rule.maps {
            self.map(map);
        }
        self.note_step(rule, "map");
        for (field, value) in &rule.sets {
            if self.state.event.is_set_by_rule(*field) {
                continue;
            }
            let value = match value {
                SetValue::Constant(number) => Some(Value::Constant(*number)),
                SetValue::Template(parts) => self.template(parts),
                SetValue::Direction(ends) => self.direction(*ends),
            };
            if let Some(value) = value {
                self.state.event.set(*field, value, Origin::Rule);
            }
        }
        self.note_step(rule, "set");
        self.transform_fields(rule, false);
        self.note_step(rule, "transform");
        // The times of an inner rule stay; of a rule's own list, the last that can be read counts.
        let kept = rule
            .times
            .iter()
            .enumerate()
            .filter(|(_, time)| self.has_time(time.into))
            .fold(0_u64, |kept, (at, _)| kept | 1 << (at % 64));
        for (at, time) in rule.times.iter().enumerate() {
            if kept >> (at % 64) & 1 == 0 {
                self.read_time(time);
            }
        }
        self.note_step(rule, "time");
    }

    fn has_time(&self, field: FieldId) -> bool {
        let event = &self.state.event;
        event.is_set_by_rule(field) && matches!(event.get(field), Value::Time(_))
    }

    /// Runs the transforms of the text that a rule leads on with, before it does.
    pub(super) fn transform_text(&mut self, rule: &Rule) {
        let own = rule.transforms.iter().filter(|(field, _)| rule.leads_with(*field));
        for (field, steps) in own {
            steps.iter().for_each(|step| self.transform(*field, step));
        }
    }

    /// Runs the transforms of the fields that have a value by now (`early`), or of the others.
    fn transform_fields(&mut self, rule: &Rule, early: bool) {
        if rule.transforms.is_empty() {
            return;
        }
        let mut done = if early { 0 } else { self.state.transformed };
        for (at, (field, steps)) in rule.transforms.iter().enumerate() {
            let bit = 1_u64 << (at % 64);
            if rule.leads_with(*field) {
                continue;
            }
            if early {
                if self.state.event.get(*field) == Value::Absent {
                    continue;
                }
                done |= bit;
            } else if done & bit != 0 {
                continue;
            }
            steps.iter().for_each(|step| self.transform(*field, step));
        }
        self.state.transformed = done;
    }

    fn map(&mut self, map: &ValueMap) {
        let view = View { line: self.line, constants: &self.rules.constants };
        let value = self.state.event.text(view, map.from, &mut self.state.scratch);
        let Some(number) = map.constant(value) else { return };
        if map.from == map.into {
            self.state.event.set(map.into, Value::Constant(number), Origin::Rule);
        } else {
            self.fill(map.into, number);
        }
    }

    fn fill(&mut self, field: FieldId, constant: u32) {
        if !self.state.event.is_set_by_rule(field) {
            self.state.event.set(field, Value::Constant(constant), Origin::Rule);
        }
    }

    fn template(&mut self, parts: &[Part]) -> Option<Value> {
        // One field alone needs no copy.
        if let [Part::Field(field)] = parts {
            return match self.state.event.get(*field) {
                Value::Absent | Value::InBlock => None,
                value => Some(value),
            };
        }
        if self.state.event.is_full() {
            return None;
        }
        let view = View { line: self.line, constants: &self.rules.constants };
        self.state.event.render(view, parts, &mut self.state.scratch)?;
        Some(Value::Text(self.state.event.store(&self.state.scratch)))
    }

    /// Which way traffic goes between two ends, if both are addresses.
    fn direction(&mut self, ends: [End; 2]) -> Option<Value> {
        let view = View { line: self.line, constants: &self.rules.constants };
        let event = &self.state.event;
        let text = |end: End, scratch| {
            let set = event.get(end.ip) != Value::Absent;
            event.text(view, if set { end.ip } else { end.address }, scratch)
        };
        let source = ip::part(text(ends[0], &mut self.state.scratch)?);
        let destination = ip::part(text(ends[1], &mut self.state.other_scratch)?);
        let found = direction(source, destination, &self.rules.internal_networks)?;
        Some(Value::Constant(self.rules.words.directions[found as usize]))
    }

    fn transform(&mut self, field: FieldId, step: &Transform) {
        if self.state.event.is_full() {
            return;
        }
        if let Value::Constant(number) = self.state.event.get(field)
            && self.rules.constants[number as usize].is_several()
        {
            self.take_apart(field, number);
        }
        let view = View { line: self.line, constants: &self.rules.constants };
        let (scratch, out) = (&mut self.state.scratch, &mut self.state.other_scratch);
        let event = &mut self.state.event;
        let changed = match (event.get(field), step) {
            (Value::List { start, end }, Transform::First) => {
                event.items(start, end).first().map(|text| Value::Text(*text))
            }
            (Value::List { start, end }, Transform::Last) => {
                event.items(start, end).last().map(|text| Value::Text(*text))
            }
            (_, Transform::Add(other)) => {
                let Some(text) = event.text(view, field, scratch) else { return };
                out.clear();
                out.extend_from_slice(text);
                let ends = out.len();
                out.extend_from_slice(event.text(view, *other, scratch).unwrap_or_default());
                let (one, other) = out.split_at(ends);
                scratch.clear();
                let sum = add(one, other, scratch);
                // Half of a sum is none.
                Some(if sum { Value::Text(event.store(scratch)) } else { Value::Absent })
            }
            (Value::List { start, end }, step) => each(event, view, step, start..end, out),
            (_, step) => {
                let Some(text) = event.text(view, field, scratch) else { return };
                out.clear();
                match step {
                    Transform::Split(separator) => {
                        out.extend_from_slice(text);
                        Some(split(event, out, separator))
                    }
                    step if !step.apply(text, out) => None,
                    // It stays where it stands in the line.
                    _ if *out == text => None,
                    // What a transform leaves empty is absent, as an empty capture is.
                    _ if out.is_empty() => Some(Value::Absent),
                    _ => Some(Value::Text(event.store(out))),
                }
            }
        };
        if let Some(value) = changed {
            event.set(field, value, Origin::Rule);
        }
    }

    /// Makes a list of a constant that is one, so that each of its items can be transformed.
    #[cold]
    fn take_apart(&mut self, field: FieldId, constant: u32) {
        let event = &mut self.state.event;
        let items = self.rules.constants[constant as usize].items();
        if items.len() > 1 {
            let first = event.list_start();
            for item in items {
                let text = event.store(item.as_bytes());
                event.push_item(text);
            }
            event.set(field, event.list_since(first), Origin::Rule);
        }
    }

    fn read_time(&mut self, time: &TimeRule) {
        let view = View { line: self.line, constants: &self.rules.constants };
        if self.state.event.render(view, &time.from, &mut self.state.scratch).is_none() {
            return;
        }
        let of_header = if time.header_zone { self.header_zone() } else { None };
        let zone = of_header.as_ref().or(time.zone.as_ref()).unwrap_or(self.time.zone);
        let context = TimeContext { zone, ..self.time };
        let found = time.read(&self.state.scratch, &context);
        let found = found.and_then(|nanos| match time.shift {
            Some(shift) => self.moved(nanos, shift),
            None => Some(nanos),
        });
        match found {
            Some(nanos) => self.state.event.set(time.into, Value::Time(nanos), Origin::Rule),
            None if time.into == self.rules.header.timestamp => self.forget_text_as_time(),
            None => {}
        }
    }

    /// The zone that the time in front of the message has, if that is one with a zone.
    fn header_zone(&self) -> Option<Zone> {
        let message = range_in(self.whole, self.header.message)?;
        header_zone(&self.whole[..message.start])
    }

    /// A time, so much later or earlier as a field of whole nanoseconds says.
    fn moved(&mut self, nanos: i64, shift: Shift) -> Option<i64> {
        let view = View { line: self.line, constants: &self.rules.constants };
        let text = self.state.event.text(view, shift.by(), &mut self.state.scratch)?;
        let by: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        match shift {
            Shift::Later(_) => nanos.checked_add(by),
            Shift::Earlier(_) => nanos.checked_sub(by),
        }
    }

    /// A timestamp that is none must not be written as one.
    fn forget_text_as_time(&mut self) {
        let field = self.rules.header.timestamp;
        if !matches!(self.state.event.get(field), Value::Absent | Value::Time(_)) {
            let of_header = self.header.timestamp.map(|time| Value::Time(time.unix_nanos));
            self.state.event.set(field, of_header.unwrap_or(Value::Absent), Origin::Rule);
        }
    }

    /// What an event that is in the table needs before it is written; why it is not, if it is not.
    #[inline(never)]
    pub(super) fn complete(
        &mut self,
        pack: Option<usize>,
        rule: Option<usize>,
    ) -> Option<Disposition> {
        let disposition = self.act(rule);
        if disposition.is_none() {
            self.fill_header();
            self.finish(pack, rule);
            if !self.state.masking.is_empty() {
                self.mask();
            }
        }
        disposition
    }

    /// What the action of the innermost rule says; `None`: deliver. All masks come [later](Run::mask).
    fn act(&mut self, rule: Option<usize>) -> Option<Disposition> {
        let number = rule?;
        match self.rules.rule(number).action.as_ref()? {
            Action::Drop(reason) => Some(Disposition::Drop(*reason)),
            Action::Sample(of) => {
                let seen = self.state.samples_seen.entry(number).or_default();
                *seen += 1;
                (!seen.is_multiple_of(*of)).then_some(Disposition::SampledOut)
            }
            Action::Mask { .. } => None,
        }
    }

    /// What every event has.
    fn finish(&mut self, pack: Option<usize>, rule: Option<usize>) {
        match rule {
            Some(rule) => self.finish_constants(rule),
            None => self.finish_of_pack(pack),
        }
        match self.state.event.get(self.rules.header.timestamp) {
            Value::Absent | Value::Time(_) => {}
            // Of JSON it may be anything.
            _ => self.read_captured_time(),
        }
        let view = View { line: self.line, constants: &self.rules.constants };
        self.state.event.derive(view, &self.rules.fields);
    }

    /// What every event of a rule's pack has, unless that is among the rule's own constants.
    pub(super) fn finish_constants(&mut self, rule: usize) {
        let rule = self.rules.rule(rule);
        if !rule.block.complete {
            self.finish_of_pack(Some(rule.pack));
        }
    }

    /// What every event of a pack has; `None`: the line is of none.
    fn finish_of_pack(&mut self, pack: Option<usize>) {
        let (fields, words) = (self.rules.header, &self.rules.words);
        let (event, unparsed) = (words.event, words.unparsed);
        match pack {
            Some(pack) => {
                for (field, constant) in self.rules.packs[pack].constants {
                    self.fill(field, constant);
                }
            }
            None => self.fill(fields.dataset, unparsed),
        }
        self.fill(fields.kind, event);
    }

    /// Captured without a `time`: the usual forms are tried.
    fn read_captured_time(&mut self) {
        static FORMATS: OnceLock<Vec<TimeFormat>> = OnceLock::new();
        let compile = |name: &&str| TimeFormat::compile(name).ok();
        let formats = FORMATS
            .get_or_init(|| ["rfc3339", "rfc3164", "clf"].iter().filter_map(compile).collect());
        let field = self.rules.header.timestamp;
        let view = View { line: self.line, constants: &self.rules.constants };
        let text = self.state.event.text(view, field, &mut self.state.scratch).unwrap_or_default();
        let found = formats.iter().find_map(|format| format.parse(text, &self.time));
        match found {
            Some(nanos) => self.state.event.set(field, Value::Time(nanos), Origin::Rule),
            None => self.forget_text_as_time(),
        }
    }
}

/// A list with every item transformed; `None` if it gets too long. `out` is working space.
fn each(
    event: &mut Event,
    view: View<'_>,
    step: &Transform,
    items: std::ops::Range<u32>,
    out: &mut Vec<u8>,
) -> Option<Value> {
    let first = event.list_start();
    let mut left = VALUE_BYTES_MAX;
    for at in items {
        let item = event.items(at, at + 1)[0];
        out.clear();
        let changed = step.apply(event.bytes(view.line, item), out);
        // What a transform leaves empty is absent.
        if !(changed && out.is_empty()) {
            let same = !changed || *out == event.bytes(view.line, item);
            let new = if same {
                item
            } else {
                left = left.checked_sub(out.len())?;
                event.store(out)
            };
            event.push_item(new);
        }
    }
    Some(event.list_since(first))
}

/// The parts of `text` without the blanks around them and without empty ones.
fn split(event: &mut Event, text: &[u8], separator: &[u8]) -> Value {
    let first = event.list_start();
    let mut start = 0;
    let push = |event: &mut Event, part: &[u8]| {
        let part = part.trim_ascii();
        if !part.is_empty() {
            let text = event.store(part);
            event.push_item(text);
        }
    };
    if !separator.is_empty() {
        for at in memchr::memmem::find_iter(text, separator) {
            push(event, &text[start..at]);
            start = at + separator.len();
        }
    }
    push(event, &text[start..]);
    event.list_since(first)
}
