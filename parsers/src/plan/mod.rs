//! The short way from captures to JSON, for rules that capture, map what they captured to constants,
//! read a time from it and set fields to constants, to templates or to what they captured.
//!
//! Such a rule needs no table of fields: which members it writes, in which order, and what follows
//! from them is known when the rules are loaded. A line takes this way if its rule has a plan and
//! [`Plan::prepare`] finds nothing in the captures that the plan does not foresee. Owns one promise:
//! what is written is byte for byte what the table would be written as.

mod build;
mod derived;

use crate::direction::direction;
use crate::event::{Text, Value};
use crate::fields::{FieldId, Relation, Shape};
use crate::header::Header;
use crate::ip::is_ip;
use crate::rule::{Rule, RuleSet};
use crate::time::TimeContext;
use crate::transform::Transform;
use crate::write::{Writer, integer};
pub(crate) use derived::Derived;
use derived::Role;

/// What becomes of the captures of one pattern.
#[derive(Debug)]
pub(crate) struct Plan {
    slots: Box<[Slot]>,
    maps: Box<[Mapped]>,
    sets: Box<[Set]>,
    /// Each gives the event's time; the last that can be read counts.
    times: Box<[Vec<TimePart>]>,
    /// The length of the longest text that stands for nothing.
    null_len: usize,
    checks: Option<Box<Checks>>,
    /// What the rule puts in the place of texts of the header.
    over: Option<Box<Over>>,
    /// The captures that are the message, instead of what stands behind the header.
    message: Captures,
}

/// Captures of one field. Once they are prepared, one of them has a text at most.
type Captures = Box<[usize]>;

/// A part of the line: from and to.
type Place = (u32, u32);

/// Where captures stand, relative to the text that was searched.
type Spans = [Option<(usize, usize)>];

/// What [`Plan::prepare`] does.
#[derive(Debug, Default)]
struct Checks {
    /// Captures of one field: the last that has a text is the value, in the place of the first.
    merged: Vec<Captures>,
    /// Each has to leave a part of the text.
    transforms: Vec<(Captures, Vec<Transform>)>,
    /// These have to be addresses.
    addresses: Vec<usize>,
    /// One of these has to have a text.
    present: Captures,
}

/// A text of the line: what was captured or, if nothing was, what the header has.
#[derive(Debug)]
struct Source {
    captures: Captures,
    header: Option<HeaderText>,
}

/// Texts of the header that are fields of the event; numbers of [`Own`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderText {
    Hostname,
    Program,
    MessageId,
    StructuredData,
    Pid,
}

/// Where the header's texts stand.
type Own = [Option<Place>; 5];

#[derive(Debug)]
struct Slot {
    /// Its place among the pattern's captures.
    capture: u16,
    shape: Shape,
    kind: SlotKind,
}

#[derive(Debug)]
enum SlotKind {
    Field(Role),
    /// Written with the header if that has a text for it.
    OfHeader(HeaderText, Role),
    /// The event's time, if the header has none.
    Time,
}

/// A map of the rule, in the rule's order.
#[derive(Debug)]
struct Mapped {
    from: Source,
    into: Shape,
}

/// What is written if its field has no value yet.
#[derive(Debug)]
struct Set {
    shape: Shape,
    value: SetTo,
    captures: Captures,
    /// The map that may have filled the field.
    map: Option<u8>,
    /// The field is one of the header's, and written with it if that has a text for it.
    of_header: Option<(HeaderText, bool)>,
}

#[derive(Debug)]
enum SetTo {
    Constant(u32),
    Copy(Box<(Source, Role)>),
    /// Texts and, between them, what other fields have.
    Template(Box<[Piece]>),
    /// Which way traffic goes, from the first of these to the second.
    Direction(Box<[Captures; 4]>),
}

#[derive(Debug)]
enum Piece {
    /// As JSON has it.
    Text(Vec<u8>),
    Field(Source),
}

#[derive(Debug)]
enum TimePart {
    Text(Vec<u8>),
    Field(Source),
}

#[derive(Debug, Default)]
struct Over {
    /// By [`HeaderText`].
    captures: [Captures; 5],
    program: Option<u32>,
    /// Of `log.syslog.appname`.
    appname: Option<Source>,
}

/// What a pattern has captured: `spans` are parts of what begins at `offset` in the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Captured<'c> {
    pub(crate) line: &'c [u8],
    pub(crate) spans: &'c Spans,
    pub(crate) offset: usize,
}

impl<'c> Captured<'c> {
    #[inline]
    fn place(self, capture: usize) -> Option<Place> {
        let (start, end) = self.spans[capture]?;
        Some(((self.offset + start) as u32, (self.offset + end) as u32))
    }

    fn any(self, captures: &[usize]) -> Option<Place> {
        captures.iter().find_map(|capture| self.place(*capture))
    }

    fn of(self, source: &Source, own: &Own) -> Option<Place> {
        self.any(&source.captures).or_else(|| own[source.header? as usize])
    }

    fn bytes(self, (start, end): Place) -> &'c [u8] {
        &self.line[start as usize..end as usize]
    }
}

impl Plan {
    /// Makes captures fit to be written; `false` if this line needs the table. `spans` tells where
    /// they stand in `on`; what has no text or stands for nothing is taken out, what transforms cut
    /// off is cut off.
    pub(crate) fn prepare(&self, rule: &Rule, on: &[u8], spans: &mut Spans) -> bool {
        for span in spans.iter_mut() {
            if let Some((start, end)) = *span
                && end - start <= self.null_len
                && (start == end || rule.null_values.iter().any(|null| *null == on[start..end]))
            {
                *span = None;
            }
        }
        self.checks.as_ref().is_none_or(|checks| checks.pass(on, spans))
    }

    /// The time that the captures tell; `space` is working space.
    pub(crate) fn time(
        &self,
        rule: &Rule,
        captured: Captured<'_>,
        context: &TimeContext<'_>,
        space: &mut Vec<u8>,
    ) -> Option<i64> {
        let mut times = self.times.iter().zip(&rule.times).rev();
        times.find_map(|(parts, time)| {
            space.clear();
            for part in parts {
                match part {
                    TimePart::Text(text) => space.extend_from_slice(text),
                    TimePart::Field(source) => {
                        let place = captured.any(&source.captures)?;
                        space.extend_from_slice(captured.bytes(place));
                    }
                }
            }
            let zone = time.zone.as_ref().unwrap_or(context.zone);
            time.read(space, &TimeContext { zone, ..*context })
        })
    }

    /// Whether the rule has captured a message of its own.
    pub(crate) fn has_message(&self, captured: Captured<'_>) -> bool {
        captured.any(&self.message).is_some()
    }

    /// Writes the members of the header, of the captures, of maps and of what is set, the `time` if it
    /// is given, and what follows from all that.
    pub(crate) fn write(
        &self,
        rule: &Rule,
        header: &Header<'_>,
        captured: Captured<'_>,
        mut time: Option<i64>,
        derived: &mut Derived,
        writer: &mut Writer<'_>,
    ) {
        derived.clear();
        let mut own = own(header, captured.line);
        let pid = &mut own[HeaderText::Pid as usize];
        let procid = *pid;
        if self.over.is_some() {
            *pid = pid.filter(|pid| integer(captured.bytes(*pid)).is_some());
        }
        self.write_header(header, (&own, procid), captured, derived, writer);
        for slot in &self.slots {
            let Some(place) = captured.place(usize::from(slot.capture)) else { continue };
            match &slot.kind {
                SlotKind::Field(role) => {
                    derived.value((slot.shape, role), place, captured.spans, writer);
                }
                SlotKind::OfHeader(text, _) if own[*text as usize].is_some() => {}
                SlotKind::OfHeader(_, role) => {
                    derived.value((slot.shape, role), place, captured.spans, writer);
                }
                SlotKind::Time => write_time(time.take(), writer),
            }
        }
        let mut mapped = 0_u64;
        for (at, (planned, map)) in self.maps.iter().zip(&rule.maps).enumerate() {
            let value = captured.of(&planned.from, &own).map(|place| captured.bytes(place));
            if let Some(number) = map.constant(value) {
                mapped |= 1 << at;
                if planned.into.emitted {
                    writer.member(planned.into, Value::Constant(number));
                }
            }
        }
        for set in &self.sets {
            let by_header = set.of_header.is_some_and(|(text, by_priority)| {
                own[text as usize].is_some() && (!by_priority || header.priority.is_some())
            });
            let known = by_header
                || set.map.is_some_and(|map| mapped >> map & 1 == 1)
                || captured.any(&set.captures).is_some();
            if !known && set.shape.emitted {
                set.write(captured, &own, derived, writer);
            }
        }
        write_time(time, writer);
        derived.write(writer);
    }

    fn write_header(
        &self,
        header: &Header<'_>,
        (own, procid): (&Own, Option<Place>),
        captured: Captured<'_>,
        derived: &mut Derived,
        writer: &mut Writer<'_>,
    ) {
        let rules: &RuleSet = writer.rules;
        let fields = &rules.header;
        let mut texts = *own;
        let mut program = None;
        let mut appname = own[HeaderText::Program as usize];
        if let Some(over) = &self.over {
            for (text, captures) in texts.iter_mut().zip(&over.captures) {
                *text = text.map(|text| captured.any(captures).unwrap_or(text));
            }
            program = over.program;
            let other = over.appname.as_ref().and_then(|source| captured.of(source, own));
            appname = appname.map(|own| other.unwrap_or(own));
        }
        let [hostname, program_name, message_id, structured_data, pid] = texts;
        if let Some(hostname) = hostname {
            derived.relate(writer, Relation::Host, hostname);
        }
        let shape = |field: FieldId| rules.fields.shape(field);
        let member = |field: FieldId, place: Option<Place>, writer: &mut Writer<'_>| {
            if let Some((start, end)) = place {
                writer.line_member(shape(field), start, end);
            }
        };
        member(fields.hostname, hostname, writer);
        match program.filter(|_| program_name.is_some()) {
            Some(constant) => writer.member(shape(fields.program), Value::Constant(constant)),
            None => member(fields.program, program_name, writer),
        }
        member(fields.message_id, message_id, writer);
        member(fields.structured_data, structured_data, writer);
        member(fields.pid, pid, writer);
        let Some(priority) = header.priority else { return };
        member(fields.syslog_hostname, own[HeaderText::Hostname as usize], writer);
        member(fields.syslog_program, appname, writer);
        member(fields.syslog_pid, procid, writer);
        let (facility, severity) = (usize::from(priority >> 3), usize::from(priority & 7));
        let words = &rules.words;
        let version = (header.version == 1).then_some(Value::Constant(words.version));
        let values = [
            (fields.version, version),
            (fields.priority, Some(Value::Integer(i64::from(priority)))),
            (fields.facility_code, Some(Value::Integer(facility as i64))),
            (fields.severity_code, Some(Value::Integer(severity as i64))),
            (fields.severity_name, Some(Value::Constant(words.severities[severity]))),
            (fields.facility_name, words.facilities.get(facility).copied().map(Value::Constant)),
        ];
        for (field, value) in values {
            if let Some(value) = value {
                writer.member(shape(field), value);
            }
        }
    }
}

impl Checks {
    fn is_empty(&self) -> bool {
        self.merged.is_empty()
            && self.transforms.is_empty()
            && self.addresses.is_empty()
            && self.present.is_empty()
    }

    fn pass(&self, on: &[u8], spans: &mut Spans) -> bool {
        for captures in &self.merged {
            merge(captures, spans);
        }
        for (captures, steps) in &self.transforms {
            let present = captures.iter().find(|capture| spans[**capture].is_some());
            let Some(span) = present.and_then(|capture| spans[*capture].as_mut()) else { continue };
            for step in steps {
                let Some((before, len)) = step.part(&on[span.0..span.1]).filter(|part| part.1 > 0)
                else {
                    return false;
                };
                *span = (span.0 + before, span.0 + before + len);
            }
        }
        let sure =
            |capture: &usize| spans[*capture].is_none_or(|(start, end)| is_ip(&on[start..end]));
        let present = &self.present;
        self.addresses.iter().all(sure)
            && (present.is_empty() || present.iter().any(|capture| spans[*capture].is_some()))
    }
}

impl Set {
    fn write(
        &self,
        captured: Captured<'_>,
        own: &Own,
        derived: &mut Derived,
        writer: &mut Writer<'_>,
    ) {
        match &self.value {
            SetTo::Constant(number) => writer.member(self.shape, Value::Constant(*number)),
            SetTo::Copy(copy) => {
                let (source, role) = &**copy;
                if let Some(place) = captured.of(source, own) {
                    derived.value((self.shape, role), place, captured.spans, writer);
                }
            }
            SetTo::Template(pieces) => {
                let given = |piece: &Piece| match piece {
                    Piece::Text(_) => true,
                    Piece::Field(source) => captured.of(source, own).is_some(),
                };
                if !pieces.iter().all(given) {
                    return;
                }
                writer.pieces(self.shape, |writer| {
                    for piece in pieces {
                        match piece {
                            Piece::Text(json) => writer.out.text(json),
                            Piece::Field(source) => {
                                if let Some((start, end)) = captured.of(source, own) {
                                    writer.content(Text::Line { start, end });
                                }
                            }
                        }
                    }
                });
            }
            SetTo::Direction(ends) => {
                let [source_ip, source, destination_ip, destination] = &**ends;
                let text = |ip: &[usize], address: &[usize]| {
                    let place = captured.any(ip).or_else(|| captured.any(address))?;
                    Some(captured.bytes(place))
                };
                let rules = writer.rules;
                let found = text(source_ip, source)
                    .zip(text(destination_ip, destination))
                    .and_then(|(from, to)| direction(from, to, &rules.internal_networks));
                if let Some(found) = found {
                    let word = rules.words.directions[found as usize];
                    writer.member(self.shape, Value::Constant(word));
                }
            }
        }
    }
}

/// Leaves the last text, in the place of the first.
fn merge(captures: &[usize], spans: &mut Spans) {
    let mut present = captures.iter().filter(|capture| spans[**capture].is_some());
    let Some(first) = present.next() else { return };
    if let Some(last) = present.next_back() {
        spans[*first] = spans[*last];
        for capture in captures.iter().filter(|capture| *capture != first) {
            spans[*capture] = None;
        }
    }
}

fn write_time(time: Option<i64>, writer: &mut Writer<'_>) {
    if let Some(time) = time {
        let shape = writer.rules.fields.shape(writer.rules.header.timestamp);
        writer.member(shape, Value::Time(time));
    }
}

fn own(header: &Header<'_>, line: &[u8]) -> Own {
    let place = |text: Option<&[u8]>| {
        let text = text.filter(|text| !text.is_empty() && *text != b"-")?;
        match Text::in_line(line, text)? {
            Text::Line { start, end } | Text::Arena { start, end } => Some((start, end)),
        }
    };
    [
        place(header.hostname),
        place(header.program),
        place(header.message_id),
        place(header.structured_data),
        place(header.pid),
    ]
}
