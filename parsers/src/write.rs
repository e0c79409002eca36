//! The event's table as JSON members.

use crate::ecs::{Kind, Type};
use crate::event::{Event, Text, Value, View};
use crate::fields::{FieldId, Relation, Shape};
use crate::ip::is_ip;
use crate::json::{is_plain_part, write_content, write_part, write_string};
use crate::out::Out;
use crate::rule::RuleSet;
use crate::swar;
use crate::time::{Stamp, is_date};
use std::fmt::Write as _;

/// Up to here a float tells all whole numbers apart.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// What the values of an event stand in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'s> {
    pub(crate) view: View<'s>,
    /// The line with [`crate::out::PAD`] bytes behind it.
    pub(crate) padded: &'s [u8],
    /// Whether nothing in the line needs an escape.
    pub(crate) plain: bool,
}

impl Event {
    /// Appends every emitted field as `"name":value,`.
    pub(crate) fn write(
        &self,
        source: Source<'_>,
        rules: &RuleSet,
        stamp: &mut Stamp,
        out: &mut Out,
    ) {
        let mut writer = Writer { event: self, source, rules, stamp, out };
        for id in self.fields() {
            let shape = rules.fields.shape(*id);
            if !shape.emitted {
                continue;
            }
            match self.get(*id) {
                Value::Text(Text::Line { start, end }) => writer.line_member(shape, start, end),
                value => writer.member(shape, value),
            }
        }
        if !self.extras().is_empty() {
            writer.extras();
        }
        writer.related(&rules.header.related);
    }
}

/// Writes members, each with a comma behind it.
pub(crate) struct Writer<'w> {
    pub(crate) event: &'w Event,
    pub(crate) source: Source<'w>,
    pub(crate) rules: &'w RuleSet,
    pub(crate) stamp: &'w mut Stamp,
    pub(crate) out: &'w mut Out,
}

impl Writer<'_> {
    /// Appends one field. A value that cannot be written as what the field is, is written as a text where
    /// ECS does not say what that is, and else left out.
    pub(crate) fn member(&mut self, shape: Shape, value: Value) {
        let fields = &self.rules.fields;
        match value {
            Value::Absent | Value::InBlock => {}
            // What nearly all values are.
            Value::Text(text) if shape.kind.kind == Kind::Text => {
                fields.write_opening(shape, self.out);
                self.content(text);
                self.close(shape.kind.list);
            }
            Value::Address(text) => {
                fields.write_opening(shape, self.out);
                self.content(text);
                self.close(shape.kind.list);
            }
            Value::Number(Text::Line { start, end }) if shape.is_integer() => {
                fields.write_name(shape, self.out);
                self.out.padded(self.source.padded, start as usize, (end - start) as usize);
                self.out.byte(b',');
            }
            Value::Constant(number) => {
                fields.write_name(shape, self.out);
                self.out.text(&self.source.view.constants[number as usize].json);
                self.out.byte(b',');
            }
            value => {
                let before = self.out.len();
                fields.write_name(shape, self.out);
                let after = self.out.len();
                if self.value(shape.kind, value) {
                    return;
                }
                self.out.truncate(after);
                if fields.is_of_ecs(shape) || !self.value(Type::TEXT, value) {
                    self.out.truncate(before);
                }
            }
        }
    }

    /// As [`Writer::member`], of a part of the line.
    #[inline]
    pub(crate) fn line_member(&mut self, shape: Shape, start: u32, end: u32) {
        if shape.kind.kind == Kind::Text {
            self.line_text(shape, start, end);
        } else {
            self.line_other(shape, start, end);
        }
    }

    #[inline(never)]
    fn line_other(&mut self, shape: Shape, start: u32, end: u32) {
        let (padded, at, len) = (self.source.padded, start as usize, (end - start) as usize);
        let text = Text::Line { start, end };
        if !shape.is_integer() || !is_canonical(padded, at, len) {
            self.member(shape, Value::Text(text));
            return;
        }
        let name = self.rules.fields.name(shape);
        if !self.out.short_member(name, (padded, at, len), (b",   ", 1)) {
            self.member(shape, Value::Number(text));
        }
    }

    /// Appends a part of the line, which is known to be what the field is, between quotes.
    #[inline]
    pub(crate) fn line_text(&mut self, shape: Shape, start: u32, end: u32) {
        let (from, len) = (start as usize, (end - start) as usize);
        let (opening, close) = (self.rules.fields.opening(shape), closing(shape.kind.list));
        let padded = self.source.padded;
        let written = (self.source.plain || is_plain_part(padded, from, len))
            && self.out.short_member(opening, (padded, from, len), close);
        if !written {
            self.long_line_text(shape, start, end);
        }
    }

    /// As [`Writer::line_text`], of any length and with escapes. A function of its own, because nearly
    /// no text needs it: what it keeps in registers is not saved for the others.
    #[inline(never)]
    fn long_line_text(&mut self, shape: Shape, start: u32, end: u32) {
        self.rules.fields.write_opening(shape, self.out);
        self.content(Text::Line { start, end });
        self.close(shape.kind.list);
    }

    #[inline]
    fn close(&mut self, list: bool) {
        let (end, len) = closing(list);
        self.out.block(end, len);
    }

    /// A text without its quotes.
    #[inline]
    pub(crate) fn content(&mut self, text: Text) {
        match text {
            Text::Line { start, end } if self.source.plain => {
                let (start, end) = (start as usize, end as usize);
                self.out.padded(self.source.padded, start, end - start);
            }
            Text::Line { start, end } => {
                write_part(self.out, self.source.padded, start as usize, (end - start) as usize);
            }
            text => write_content(self.out, self.event.bytes(self.source.view.line, text)),
        }
    }

    /// The fields that no rule names.
    fn extras(&mut self) {
        let (event, line) = (self.event, self.source.view.line);
        for (at, (name, value)) in event.extras().iter().enumerate() {
            let name = event.bytes(line, *name);
            // The last of several keys of one name stays, and so does a field that a rule names.
            let repeated =
                event.extras()[at + 1..].iter().any(|(n, _)| event.bytes(line, *n) == name);
            let named =
                self.rules.fields.find(name).is_some_and(|id| event.get(id) != Value::Absent);
            if repeated || named {
                continue;
            }
            let before = self.out.len();
            write_string(self.out, name);
            self.out.byte(b':');
            if !self.value(Type::TEXT, *value) {
                self.out.truncate(before);
            }
        }
    }

    /// Appends the value and a comma; `false` if it cannot be written as `kind`.
    fn value(&mut self, kind: Type, value: Value) -> bool {
        let written = match value {
            Value::List { start, end } => self.list(kind.kind, start, end),
            single => {
                if kind.list {
                    self.out.byte(b'[');
                }
                let written = self.single(kind.kind, single);
                if kind.list {
                    self.out.byte(b']');
                }
                written
            }
        };
        if written {
            self.out.byte(b',');
        }
        written
    }

    fn list(&mut self, kind: Kind, start: u32, end: u32) -> bool {
        self.out.byte(b'[');
        let mut any = false;
        for item in self.event.items(start, end) {
            let before = self.out.len();
            if any {
                self.out.byte(b',');
            }
            if self.single(kind, Value::Text(*item)) {
                any = true;
            } else {
                self.out.truncate(before);
            }
        }
        self.out.byte(b']');
        any
    }

    /// `false` if the value cannot be written as `kind`.
    fn single(&mut self, kind: Kind, value: Value) -> bool {
        let is_truth = matches!(value, Value::Boolean(_));
        let is_number = matches!(value, Value::Number(_) | Value::Integer(_) | Value::Float(_));
        let is_other = match kind {
            Kind::Ip | Kind::Date => is_truth || is_number,
            Kind::Integer | Kind::Float => is_truth,
            Kind::Boolean => is_number,
            _ => false,
        };
        // JSON may hold a value of any kind under any name.
        if is_other {
            return false;
        }
        match value {
            Value::Text(text) => return self.typed(kind, text),
            Value::Number(text) if matches!(kind, Kind::Integer | Kind::Float) => {
                self.content(text);
            }
            Value::Address(text) | Value::Number(text) => {
                self.quoted(|writer| writer.content(text));
            }
            Value::Time(nanos) => self.quoted(|writer| writer.stamp.write(nanos, writer.out)),
            Value::Integer(number) if matches!(kind, Kind::Integer | Kind::Float) => {
                self.out.integer(number);
            }
            Value::Integer(number) => self.quoted(|writer| writer.out.integer(number)),
            Value::Float(number) if !number.is_finite() => return false,
            Value::Float(number) if kind == Kind::Float => self.float(number),
            Value::Float(number) if kind == Kind::Integer => {
                if number.fract() != 0.0 || number.abs() > INTEGER_MAX {
                    return false;
                }
                self.out.integer(number as i64);
            }
            Value::Float(number) => self.quoted(|writer| writer.float(number)),
            Value::Boolean(truth) if kind == Kind::Boolean => self.out.text(word(truth)),
            Value::Boolean(truth) => self.quoted(|writer| writer.out.text(word(truth))),
            Value::Absent | Value::InBlock | Value::Constant(_) | Value::List { .. } => {
                return false;
            }
        }
        true
    }

    /// Writes a text as a JSON value of `kind`; `false` if it is none.
    fn typed(&mut self, kind: Kind, place: Text) -> bool {
        let text = self.event.bytes(self.source.view.line, place);
        match kind {
            Kind::Text => self.quoted(|writer| writer.content(place)),
            Kind::Date if is_date(text) => self.quoted(|writer| writer.content(place)),
            Kind::Ip if is_ip(text) => self.quoted(|writer| writer.content(place)),
            Kind::Integer => {
                // As it stands there, if it is written as JSON has it.
                match integer(text) {
                    _ if is_canonical_text(text) => self.out.text(text),
                    Some(number) => self.out.integer(number),
                    None => return false,
                }
            }
            Kind::Float => {
                match std::str::from_utf8(text).ok().and_then(|t| t.trim().parse::<f64>().ok()) {
                    Some(number) if number.is_finite() => self.float(number),
                    _ => return false,
                }
            }
            Kind::Boolean => match text {
                b"true" | b"True" | b"TRUE" | b"yes" | b"Yes" | b"1" | b"on" => {
                    self.out.text(word(true));
                }
                b"false" | b"False" | b"FALSE" | b"no" | b"No" | b"0" | b"off" => {
                    self.out.text(word(false));
                }
                _ => return false,
            },
            Kind::Ip | Kind::Date | Kind::Object => return false,
        }
        true
    }

    fn float(&mut self, number: f64) {
        // Writing to memory cannot fail.
        let _ = write!(self.out, "{number}");
    }

    fn quoted(&mut self, write: impl FnOnce(&mut Self)) {
        self.out.byte(b'"');
        write(self);
        self.out.byte(b'"');
    }

    fn related(&mut self, lists: &[(Relation, FieldId); 4]) {
        for (relation, field) in *lists {
            // A rule that fills the list itself has the last word.
            if self.event.get(field) == Value::Absent {
                self.relation(relation, self.event.related(relation));
            }
        }
    }

    /// Appends a list of related values, if there are any.
    fn relation(&mut self, relation: Relation, texts: &[Text]) {
        let Some((first, others)) = texts.split_first() else { return };
        relation.write_opening(self.out);
        self.content(*first);
        for text in others {
            self.out.array(b"\",\"");
            self.content(*text);
        }
        self.out.array(b"\"],");
    }
}

/// What closes a text between quotes, and how much of it counts.
#[inline]
pub(crate) fn closing(list: bool) -> (&'static [u8; 4], usize) {
    if list { (b"\"], ", 3) } else { (b"\",  ", 2) }
}

/// Whether the `len` bytes from `start` are a whole number as JSON has it, and a short one.
#[inline]
pub(crate) fn is_canonical(padded: &[u8], start: usize, len: usize) -> bool {
    let Some(block) = swar::block(padded, start).filter(|_| (1..=swar::BYTES).contains(&len))
    else {
        return false;
    };
    swar::place(swar::no_digit(block)) >= len && (len == 1 || padded[start] != b'0')
}

/// As [`is_canonical`], of any length that is sure to be a number here.
pub(crate) fn is_canonical_text(text: &[u8]) -> bool {
    (1..=18).contains(&text.len())
        && (text[0] != b'0' || text.len() == 1)
        && text.iter().all(u8::is_ascii_digit)
}

/// Whether the text is a number in decimal as it would be written again: without a sign, with no zeros
/// that could be left out, and with no more digits than a float tells apart.
pub(crate) fn is_canonical_fraction(text: &[u8]) -> bool {
    const DIGITS_MAX: usize = 15;
    let dot = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = text.split_at(dot.unwrap_or(text.len()));
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    text.len() <= DIGITS_MAX
        && digits(whole)
        && (whole.len() == 1 || whole[0] != b'0')
        && (dot.is_none() || digits(&fraction[1..]) && fraction.last() != Some(&b'0'))
}

/// A whole number in decimal; a fraction of zeros is allowed (`200.0`).
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    if (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')));
    }
    let text = std::str::from_utf8(text).ok()?.trim();
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

fn word(truth: bool) -> &'static [u8] {
    if truth { b"true" } else { b"false" }
}
