//! The short way from captures to JSON, for rules that capture, map what they captured to constants,
//! read a time from it and set fields to constants, to templates or to what they captured.
//!
//! Such a rule needs no table of fields: which members it writes, in which order, and what follows
//! from them is known as soon as a few questions about the line are answered, such as which captures
//! have a text and whether that is an address. The answers are the line's [`Key`]; for each key that
//! was seen, the members are composed once, as a [`Stencil`] with holes for the texts of the line, and
//! lines with the same answers only have the holes filled. A line takes this way if its rule has a
//! plan and [`Plan::prepare`] and [`Plan::key`] find nothing in it that the plan does not foresee. Owns
//! one promise: what is written is byte for byte what the table would be written as.

mod build;
mod compose;
mod stencil;

use crate::direction::direction;
use crate::ecs::Kind;
use crate::event::Text;
use crate::fields::{Relation, Shape};
use crate::header::Header;
use crate::ip::{has_zeros, is_ip, with_more};
use crate::rule::{Rule, RuleSet};
use crate::span::Group;
use crate::time::TimeContext;
use crate::transform::Transform;
use crate::write::{integer, is_canonical, is_canonical_fraction, is_canonical_text};
pub(crate) use stencil::{Cut, Stencils};

/// What becomes of the captures of one pattern.
#[derive(Debug)]
pub(crate) struct Plan {
    slots: Box<[Slot]>,
    maps: Box<[Mapped]>,
    sets: Box<[Set]>,
    /// The one of them that tells which way traffic goes.
    directed: Option<usize>,
    /// Each gives the event's time; the last that can be read counts.
    times: Box<[Vec<TimePart>]>,
    nulls: Nulls,
    /// What the conditions of the rule look at.
    asked: Box<[Source]>,
    checks: Option<Box<Checks>>,
    /// Texts that are made of others.
    made: Box<[Made]>,
    /// What the rule puts in the place of texts of the header.
    over: Option<Box<Over>>,
    /// The captures that are the message, instead of what stands behind the header.
    message: Captures,
    /// What has to be known of texts, if the line has them.
    questions: Box<[(TextNumber, Question)]>,
    /// The number of the header's first text; before it stand the captures.
    header: TextNumber,
}

/// What the texts that stand for nothing are like; few others are.
#[derive(Debug)]
struct Nulls {
    len_max: usize,
    /// By bit, the low six bits of their first bytes.
    firsts: u64,
}

impl Nulls {
    fn of(texts: &[Vec<u8>]) -> Self {
        let firsts = texts.iter().filter_map(|text| text.first());
        Self {
            len_max: texts.iter().map(Vec::len).max().unwrap_or(0),
            firsts: firsts.fold(0, |firsts, first| firsts | 1 << (first & 63)),
        }
    }

    /// Whether a text, which is not empty, may be one of them.
    #[inline]
    fn may_be(&self, text: &[u8]) -> bool {
        text.len() <= self.len_max && self.firsts >> (text[0] & 63) & 1 == 1
    }
}

/// A text of the line: a capture of the pattern by its place among them or, behind these, a text of the
/// header or, behind all of these, one that is made.
type TextNumber = u8;

/// Captures of one field. Once they are prepared, one of them has a text at most.
type Captures = Box<[TextNumber]>;

/// A part of the line: from and to.
type Place = (u32, u32);

/// Bits of a [`Key`]: one for each text and for each question about one, and one for the time.
const BITS_MAX: usize = 64;
/// The bit of a time that is a member of its own, behind others.
const TIME_BIT: u32 = 63;

/// Longer lines are left to the table, which watches how long the values get that it makes; of others,
/// none gets too long, or the rule has no plan.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Where the texts of a line stand, to be used again.
#[derive(Debug)]
pub(crate) struct Places {
    at: [Place; BITS_MAX],
    /// Which of them there are, by bit; of the others, nothing is known.
    present: u64,
    /// What is made, one behind the other; the places of these texts are places in here.
    made: Vec<u8>,
}

impl Default for Places {
    fn default() -> Self {
        Self { at: [(0, 0); BITS_MAX], present: 0, made: Vec::new() }
    }
}

/// What is asked of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    IsIp,
    Integer,
    Float,
}

impl Question {
    /// `None`: what the text stands for is written in another way, which the table knows.
    #[inline]
    fn ask(self, padded: &[u8], (start, end): Place) -> Option<bool> {
        let (start, end) = (start as usize, end as usize);
        match self {
            Self::IsIp => is_ip_or_other(&padded[start..end]),
            Self::Integer if is_canonical(padded, start, end - start) => Some(true),
            Self::Integer => integer_otherwise(&padded[start..end]),
            Self::Float => is_canonical_fraction(&padded[start..end]).then_some(true),
        }
    }
}

/// Whether a text is an address; `None` if more stands behind it, or zeros in front of its numbers.
#[inline]
fn is_ip_or_other(text: &[u8]) -> Option<bool> {
    if is_ip(text) {
        return Some(true);
    }
    (with_more(text).is_none() && !has_zeros(text)).then_some(false)
}

/// Whether a text that is no number in its usual form is one; `None` as in [`Question::ask`].
#[inline(never)]
fn integer_otherwise(text: &[u8]) -> Option<bool> {
    if is_canonical_text(text) { Some(true) } else { integer(text).is_none().then_some(false) }
}

/// The answers that decide which members are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    bits: u64,
    told: [u32; TOLD],
}

/// The constants of the maps, and [`MAPS_MAX`] for the rest.
const TOLD: usize = MAPS_MAX + 1;
/// How many maps a plan may have.
const MAPS_MAX: usize = 5;
/// In the place of a constant: there is none.
const UNMAPPED: u32 = u32::MAX;

/// What [`Plan::prepare`] does.
#[derive(Debug, Default)]
struct Checks {
    /// Captures of one field: the last that has a text is the value, in the place of the first.
    merged: Vec<Captures>,
    /// Each has to leave a part of the text.
    transforms: Vec<(Captures, Vec<Transform>)>,
    /// These have to be addresses.
    addresses: Vec<TextNumber>,
    /// One of these has to have a text.
    present: Captures,
}

/// What a transform makes of a capture.
#[derive(Debug)]
struct Made {
    from: Captures,
    step: Transform,
    kind: Kind,
}

/// A text of the line: what was captured or, if nothing was, what the header has.
#[derive(Debug)]
struct Source {
    captures: Captures,
    header: Option<HeaderText>,
}

/// Texts of the header that are fields of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderText {
    Hostname,
    Program,
    MessageId,
    Pid,
}

const HEADER_TEXTS: usize = 4;

#[derive(Debug)]
struct Slot {
    capture: TextNumber,
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

/// What follows from a value.
#[derive(Debug)]
enum Role {
    Plain,
    Related(Relation),
    /// `X.address`: it is an `X.ip` or an `X.domain`, unless the rule captures these themselves.
    Address(Box<Siblings>),
    /// `X.ip`; what is no address becomes `X.address` and `X.domain`.
    Ip {
        address: Shape,
        domain: Shape,
    },
    /// `X.ip` of a rule that captures more of that end: known to be an address.
    SureIp,
}

/// Of an `X.address`.
#[derive(Debug)]
struct Siblings {
    ip: Sibling,
    domain: Sibling,
}

/// Another field of the same end, and the captures of it.
#[derive(Debug)]
struct Sibling {
    shape: Shape,
    captures: Captures,
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
    captures: [Captures; HEADER_TEXTS],
    program: Option<u32>,
    /// Of `log.syslog.appname`.
    appname: Option<Source>,
}

impl Places {
    fn set(&mut self, text: usize, place: Place) {
        self.at[text] = place;
        self.present |= 1 << text;
    }

    #[inline]
    fn place(&self, text: TextNumber) -> Place {
        self.at[usize::from(text) % BITS_MAX]
    }

    #[inline]
    fn bytes<'l>(&self, line: &'l [u8], text: TextNumber) -> &'l [u8] {
        let (start, end) = self.place(text);
        &line[start as usize..end as usize]
    }

    /// Leaves the last text, in the place of the first.
    fn merge(&mut self, captures: &[TextNumber]) {
        let mut present = captures.iter().filter(|capture| has(self.present, **capture));
        let Some(first) = present.next() else { return };
        if let Some(last) = present.next_back() {
            self.at[usize::from(*first)] = self.at[usize::from(*last)];
            for capture in captures.iter().filter(|capture| *capture != first) {
                self.present &= !(1 << capture);
            }
        }
    }
}

/// Whether the text is there.
#[inline]
fn has(present: u64, text: TextNumber) -> bool {
    present >> text & 1 == 1
}

/// The first of them that is there.
fn any(present: u64, captures: &[TextNumber]) -> Option<TextNumber> {
    captures.iter().copied().find(|capture| has(present, *capture))
}

impl Plan {
    /// Finds the texts of the line; `false` if this line needs the table. `spans` tells where the
    /// captures stand behind `offset`; what has no text or stands for nothing is left out, what
    /// transforms cut off is cut off.
    pub(crate) fn prepare(
        &self,
        rule: &Rule,
        line: &[u8],
        (spans, offset): (&[Group], usize),
        header: &Header<'_>,
        places: &mut Places,
    ) -> bool {
        let is_long = line.len() > LINE_BYTES_MAX;
        if is_long || header.structured_data.is_some() || header.version > 1 {
            return false;
        }
        places.present = 0;
        for (at, span) in spans.iter().enumerate() {
            let Some((start, end)) = span.text() else { continue };
            let (start, end) = (start + offset as u32, end + offset as u32);
            let text = &line[start as usize..end as usize];
            if !(self.nulls.may_be(text) && rule.is_null(text)) {
                places.set(at, (start, end));
            }
        }
        if self.checks.as_ref().is_some_and(|checks| !checks.pass(line, places)) {
            return false;
        }
        let texts = [header.hostname, header.program, header.message_id, header.pid];
        for (text, at) in texts.into_iter().zip(usize::from(self.header)..) {
            if let Some(text) = text.filter(|text| !text.is_empty() && *text != b"-")
                && let Some(Text::Line { start, end }) = Text::in_line(line, text)
            {
                places.set(at, (start, end));
            }
        }
        (self.asked.is_empty() || self.holds(rule, line, places))
            && (self.made.is_empty() || self.make(line, places))
    }

    /// Whether the conditions of the rule hold.
    #[inline(never)]
    fn holds(&self, rule: &Rule, line: &[u8], places: &Places) -> bool {
        rule.when.iter().zip(&self.asked).all(|(condition, source)| {
            let text = self.text(places.present, source);
            condition.test.holds(text.map(|text| places.bytes(line, text)))
        })
    }

    /// Makes what is made; `false` if that is not what it should be.
    #[inline(never)]
    fn make(&self, line: &[u8], places: &mut Places) -> bool {
        let mut made = std::mem::take(&mut places.made);
        made.clear();
        let all = self.made.iter().zip(self.first_made()..).all(|(text, number)| {
            let Some(from) = any(places.present, &text.from) else { return true };
            let start = made.len();
            let fits = text.make(places.bytes(line, from), &mut made);
            places.set(usize::from(number), (start as u32, made.len() as u32));
            fits
        });
        places.made = made;
        all
    }

    /// The number of the first text that is made; behind these stand the answers to questions.
    fn first_made(&self) -> TextNumber {
        self.header + HEADER_TEXTS as TextNumber
    }

    fn first_question(&self) -> usize {
        usize::from(self.first_made()) + self.made.len()
    }

    fn is_made(&self, text: TextNumber) -> bool {
        (usize::from(self.first_made())..self.first_question()).contains(&usize::from(text))
    }

    /// The time that the captures tell; `space` is working space.
    #[inline]
    pub(crate) fn time(
        &self,
        rule: &Rule,
        texts: (&[u8], &Places),
        context: &TimeContext<'_>,
        space: &mut Vec<u8>,
    ) -> Option<i64> {
        if self.times.is_empty() { None } else { self.read_time(rule, texts, context, space) }
    }

    #[inline(never)]
    fn read_time(
        &self,
        rule: &Rule,
        (line, places): (&[u8], &Places),
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
                        let text = any(places.present, &source.captures)?;
                        space.extend_from_slice(places.bytes(line, text));
                    }
                }
            }
            let zone = time.zone.as_ref().unwrap_or(context.zone);
            time.read(space, &TimeContext { zone, ..*context })
        })
    }

    /// What decides how the line is written; `None` if it needs the table. `late`: its time is a member
    /// behind others.
    pub(crate) fn key(
        &self,
        rule: &Rule,
        rules: &RuleSet,
        header: &Header<'_>,
        (padded, places): (&[u8], &Places),
        late: bool,
    ) -> Option<Key> {
        let mut bits = places.present | u64::from(late) << TIME_BIT;
        for (bit, (text, question)) in (self.first_question()..).zip(&self.questions) {
            if has(places.present, *text) {
                bits |= u64::from(question.ask(padded, places.place(*text))?) << bit;
            }
        }
        // It is no number to the rule, but a text to the header.
        let pid = self.header + HeaderText::Pid as TextNumber;
        if self.over.is_some() && has(bits, pid) && !self.answer(bits, pid, Question::Integer) {
            bits &= !(1 << pid);
            if header.priority.is_some() {
                return None;
            }
        }
        let mut told = [UNMAPPED; TOLD];
        for ((mapped, map), told) in self.maps.iter().zip(&rule.maps).zip(&mut told) {
            let value = self.text(places.present, &mapped.from);
            let value = value.map(|text| places.bytes(padded, text));
            *told = map.constant(value).unwrap_or(UNMAPPED);
        }
        let way = self.directed.and_then(|set| self.sets[set].direction(padded, places, rules));
        let priority = header.priority.map_or(0, |priority| u32::from(priority) + 1);
        told[MAPS_MAX] =
            priority << 16 | u32::from(header.version) << 8 | u32::from(way.unwrap_or(0));
        Some(Key { bits, told })
    }

    /// The answer to a question about a text. What is made is what it should be.
    fn answer(&self, bits: u64, text: TextNumber, question: Question) -> bool {
        let asked = self.questions.iter().position(|asked| *asked == (text, question));
        asked.is_some_and(|at| bits >> (self.first_question() + at) & 1 == 1) || self.is_made(text)
    }

    /// The text of a source.
    fn text(&self, present: u64, source: &Source) -> Option<TextNumber> {
        any(present, &source.captures).or_else(|| self.of_header(present, source.header?))
    }

    /// The header's own text.
    fn of_header(&self, present: u64, text: HeaderText) -> Option<TextNumber> {
        let number = self.header + text as TextNumber;
        has(present, number).then_some(number)
    }
}

impl Key {
    fn has_late_time(&self) -> bool {
        has(self.bits, TIME_BIT as TextNumber)
    }

    fn priority(&self) -> Option<u8> {
        ((self.told[MAPS_MAX] >> 16) as u8).checked_sub(1)
    }

    fn version(&self) -> u8 {
        (self.told[MAPS_MAX] >> 8) as u8
    }

    /// By its place among the words, from 1 on.
    fn direction(&self) -> usize {
        usize::from(self.told[MAPS_MAX] as u8)
    }
}

impl Checks {
    fn is_empty(&self) -> bool {
        self.merged.is_empty()
            && self.transforms.is_empty()
            && self.addresses.is_empty()
            && self.present.is_empty()
    }

    #[inline(never)]
    fn pass(&self, line: &[u8], places: &mut Places) -> bool {
        for captures in &self.merged {
            places.merge(captures);
        }
        for (captures, steps) in &self.transforms {
            let Some(text) = any(places.present, captures) else { continue };
            for step in steps {
                let (start, _) = places.place(text);
                let part = step.part(places.bytes(line, text)).filter(|part| part.1 > 0);
                let Some((before, len)) = part else { return false };
                let start = start + before as u32;
                places.at[usize::from(text)] = (start, start + len as u32);
            }
        }
        let mut addresses = self.addresses.iter().filter(|text| has(places.present, **text));
        addresses.all(|text| is_ip(places.bytes(line, *text)))
            && (self.present.is_empty() || any(places.present, &self.present).is_some())
    }
}

impl Made {
    /// Appends what the transform makes of `text`; `false` if it cannot work on it, or if that is no value
    /// of its kind as such a value is usually written.
    fn make(&self, text: &[u8], made: &mut Vec<u8>) -> bool {
        let start = made.len();
        let done = self.step.apply(text, made);
        let text = &made[start..];
        done && match self.kind {
            Kind::Integer => is_canonical_text(text),
            Kind::Float => is_canonical_fraction(text),
            _ => !text.is_empty(),
        }
    }
}

impl Set {
    /// Which way traffic goes if this set tells it: its place among the words, from 1 on.
    #[inline(never)]
    fn direction(&self, line: &[u8], places: &Places, rules: &RuleSet) -> Option<u8> {
        let SetTo::Direction(ends) = &self.value else { return None };
        let [source_ip, source, destination_ip, destination] = &**ends;
        let text = |ip: &[TextNumber], address: &[TextNumber]| {
            let text = any(places.present, ip).or_else(|| any(places.present, address))?;
            Some(places.bytes(line, text))
        };
        let (from, to) = text(source_ip, source).zip(text(destination_ip, destination))?;
        direction(from, to, &rules.internal_networks).map(|found| found as u8 + 1)
    }
}
