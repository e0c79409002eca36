//! One event while it is being made: a table of values indexed by field, and its way into JSON.
//!
//! Everything is reused from line to line: values point into the line, into an arena of bytes that
//! transforms wrote, or to constants that were rendered when the rules were loaded.

use crate::ecs::Kind;
use crate::fields::{FieldId, FieldTable, Relation};
use logweir_record::{write_escaped, write_u64};
use std::io::Write as _;
use std::net::IpAddr;

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    /// In the line that is being parsed.
    Line { start: u32, end: u32 },
    /// In the event's arena.
    Arena { start: u32, end: u32 },
}

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    Absent,
    Text(Text),
    /// Rendered at load, by its number.
    Constant(u32),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// Nanoseconds since 1970.
    Time(i64),
    /// Several texts, by their range in the event's items.
    List { start: u32, end: u32 },
}

/// Where a value came from: what comes from a rule replaces what comes from the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    Header,
    Rule,
}

/// A constant of a rule: as text, for conditions and templates, and as the JSON to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Constant {
    pub(crate) text: Vec<u8>,
    pub(crate) json: Vec<u8>,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Event {
    values: Vec<(Value, Option<Origin>)>,
    order: Vec<FieldId>,
    pub(crate) arena: Vec<u8>,
    items: Vec<Text>,
    /// Fields that no rule names: (key, value), as sub-parsers keep them under a prefix.
    extras: Vec<(Text, Value)>,
    related: Vec<(Relation, Text)>,
    /// What each change replaced, for [`Event::reset`].
    changes: Vec<(FieldId, (Value, Option<Origin>))>,
}

impl Event {
    pub(crate) fn clear(&mut self, fields: usize) {
        for field in self.order.drain(..) {
            if let Some(value) = self.values.get_mut(field.index()) {
                *value = (Value::Absent, None);
            }
        }
        self.values.resize(fields, (Value::Absent, None));
        self.arena.clear();
        self.items.clear();
        self.extras.clear();
        self.related.clear();
        self.changes.clear();
    }

    /// A point to return to if a rule turns out not to match.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            order: self.order.len(),
            changes: self.changes.len(),
            arena: self.arena.len(),
            items: self.items.len(),
            extras: self.extras.len(),
        }
    }

    /// Takes back everything that was set after `mark`.
    pub(crate) fn reset(&mut self, mark: Mark) {
        for (field, before) in self.changes.drain(mark.changes..).rev() {
            self.values[field.index()] = before;
        }
        self.order.truncate(mark.order);
        self.arena.truncate(mark.arena);
        self.items.truncate(mark.items);
        self.extras.truncate(mark.extras);
    }

    pub(crate) fn get(&self, field: FieldId) -> Value {
        self.values[field.index()].0
    }

    pub(crate) fn is_set_by_rule(&self, field: FieldId) -> bool {
        self.values[field.index()].1 == Some(Origin::Rule)
    }

    pub(crate) fn set(&mut self, field: FieldId, value: Value, origin: Origin) {
        let slot = &mut self.values[field.index()];
        self.changes.push((field, *slot));
        if slot.1.is_none() {
            self.order.push(field);
        }
        *slot = (value, Some(origin));
    }

    /// Copies bytes that stand nowhere else.
    pub(crate) fn store(&mut self, bytes: &[u8]) -> Text {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        Text::Arena { start, end: self.arena.len() as u32 }
    }

    pub(crate) fn store_list<'t>(&mut self, texts: impl Iterator<Item = &'t [u8]>) -> Value {
        let start = self.items.len() as u32;
        for text in texts {
            let text = self.store(text);
            self.items.push(text);
        }
        Value::List { start, end: self.items.len() as u32 }
    }

    pub(crate) fn list_of(&mut self, texts: &[Text]) -> Value {
        let start = self.items.len() as u32;
        self.items.extend_from_slice(texts);
        Value::List { start, end: self.items.len() as u32 }
    }

    pub(crate) fn items(&self, start: u32, end: u32) -> &[Text] {
        &self.items[start as usize..end as usize]
    }

    pub(crate) fn keep(&mut self, key: &[u8], prefix: &[u8], value: Value) {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(prefix);
        self.arena.push(b'.');
        self.arena.extend_from_slice(key);
        let name = Text::Arena { start, end: self.arena.len() as u32 };
        self.extras.push((name, value));
    }

    pub(crate) fn bytes<'b>(&'b self, line: &'b [u8], text: Text) -> &'b [u8] {
        match text {
            Text::Line { start, end } => &line[start as usize..end as usize],
            Text::Arena { start, end } => &self.arena[start as usize..end as usize],
        }
    }

    /// Appends the value as text; `false` if there is none.
    pub(crate) fn write_text(&self, view: View<'_>, field: FieldId, out: &mut Vec<u8>) -> bool {
        match self.get(field) {
            Value::Absent => return false,
            Value::Text(text) => out.extend_from_slice(self.bytes(view.line, text)),
            Value::Constant(number) => out.extend_from_slice(&view.constants[number as usize].text),
            Value::Integer(number) => write_i64(out, number),
            Value::Float(number) => write_f64(out, number),
            Value::Boolean(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
            Value::Time(nanos) => crate::time::write_rfc3339(out, nanos),
            Value::List { start, end } => {
                for (at, item) in self.items(start, end).iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(self.bytes(view.line, *item));
                }
            }
        }
        true
    }

    /// Fills `X.ip` or `X.domain` from `X.address`, moves an `X.ip` that is no address there, and
    /// collects what belongs to `related.*`.
    pub(crate) fn derive(&mut self, line: &[u8], fields: &FieldTable) {
        let mut at = 0;
        while let Some(&id) = self.order.get(at) {
            at += 1;
            let field = fields.get(id);
            let Value::Text(text) = self.get(id) else { continue };
            if let Some(end) = field.endpoint {
                let is_ip = is_ip(self.bytes(line, text));
                if id == end.ip && !is_ip {
                    self.set(id, Value::Absent, Origin::Rule);
                    self.fill(end.address, text);
                    self.fill(end.domain, text);
                    continue;
                }
                if id == end.address {
                    self.fill(if is_ip { end.ip } else { end.domain }, text);
                }
            }
            if let Some(relation) = field.relation {
                self.relate(line, relation, text);
            }
        }
    }

    fn fill(&mut self, field: FieldId, text: Text) {
        if self.get(field) == Value::Absent {
            self.set(field, Value::Text(text), Origin::Rule);
        }
    }

    fn relate(&mut self, line: &[u8], relation: Relation, text: Text) {
        let bytes = self.bytes(line, text);
        if bytes.is_empty() || relation == Relation::Ip && !is_ip(bytes) {
            return;
        }
        let known = self
            .related
            .iter()
            .any(|(other, known)| *other == relation && self.bytes(line, *known) == bytes);
        if !known {
            self.related.push((relation, text));
        }
    }

    /// Appends every emitted field as `"name":value,`.
    pub(crate) fn write(&self, view: View<'_>, fields: &FieldTable, out: &mut Vec<u8>) {
        for id in &self.order {
            let field = fields.get(*id);
            if field.emitted {
                self.write_field(view, &field.key, field.kind, self.get(*id), out);
            }
        }
        for (name, value) in &self.extras {
            let mut key = vec![b'"'];
            write_escaped(&mut key, self.bytes(view.line, *name));
            key.extend_from_slice(b"\":");
            self.write_field(view, &key, crate::ecs::Type::TEXT, *value, out);
        }
        self.write_related(view.line, out);
    }

    fn write_field(
        &self,
        view: View<'_>,
        key: &[u8],
        kind: crate::ecs::Type,
        value: Value,
        out: &mut Vec<u8>,
    ) {
        let before = out.len();
        out.extend_from_slice(key);
        let written = match value {
            Value::Constant(number) => {
                out.extend_from_slice(&view.constants[number as usize].json);
                true
            }
            Value::List { start, end } => self.write_list(view.line, kind.kind, start, end, out),
            single => {
                if kind.list {
                    out.push(b'[');
                }
                let written = self.write_single(view.line, kind.kind, single, out);
                if kind.list {
                    out.push(b']');
                }
                written
            }
        };
        if written {
            out.push(b',');
        } else {
            out.truncate(before);
        }
    }

    fn write_list(&self, line: &[u8], kind: Kind, start: u32, end: u32, out: &mut Vec<u8>) -> bool {
        out.push(b'[');
        let mut any = false;
        for item in self.items(start, end) {
            let before = out.len();
            if any {
                out.push(b',');
            }
            if self.write_single(line, kind, Value::Text(*item), out) {
                any = true;
            } else {
                out.truncate(before);
            }
        }
        out.push(b']');
        any
    }

    /// `false` if the value cannot be written as `kind`.
    fn write_single(&self, line: &[u8], kind: Kind, value: Value, out: &mut Vec<u8>) -> bool {
        let text = match value {
            Value::Text(text) => self.bytes(line, text),
            Value::Time(nanos) => {
                out.push(b'"');
                crate::time::write_rfc3339(out, nanos);
                out.push(b'"');
                return true;
            }
            Value::Integer(number) if matches!(kind, Kind::Integer | Kind::Float) => {
                write_i64(out, number);
                return true;
            }
            Value::Float(number) if kind == Kind::Float && number.is_finite() => {
                write_f64(out, number);
                return true;
            }
            Value::Float(number) if kind == Kind::Integer && number.is_finite() => {
                write_i64(out, number as i64);
                return true;
            }
            Value::Boolean(truth) if kind == Kind::Boolean => {
                out.extend_from_slice(if truth { b"true" } else { b"false" });
                return true;
            }
            Value::Integer(number) => return quoted(out, |out| write_i64(out, number)),
            Value::Float(number) => return quoted(out, |out| write_f64(out, number)),
            Value::Boolean(truth) => {
                return quoted(out, |out| {
                    out.extend_from_slice(if truth { b"true" } else { b"false" });
                });
            }
            Value::Absent | Value::Constant(_) | Value::List { .. } => return false,
        };
        write_typed(kind, text, out)
    }

    fn write_related(&self, line: &[u8], out: &mut Vec<u8>) {
        let lists = [
            (Relation::Ip, "\"related.ip\":["),
            (Relation::User, "\"related.user\":["),
            (Relation::Host, "\"related.hosts\":["),
            (Relation::Hash, "\"related.hash\":["),
        ];
        for (relation, key) in lists {
            let mut any = false;
            for (_, text) in self.related.iter().filter(|(other, _)| *other == relation) {
                out.extend_from_slice(if any { b"," } else { key.as_bytes() });
                out.push(b'"');
                write_escaped(out, self.bytes(line, *text));
                out.push(b'"');
                any = true;
            }
            if any {
                out.extend_from_slice(b"],");
            }
        }
    }
}

/// What values refer to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'v> {
    pub(crate) line: &'v [u8],
    pub(crate) constants: &'v [Constant],
}

/// See [`Event::mark`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    order: usize,
    changes: usize,
    arena: usize,
    items: usize,
    extras: usize,
}

/// Writes a text as a JSON value of `kind`; `false` if it is none.
pub(crate) fn write_typed(kind: Kind, text: &[u8], out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Text | Kind::Date => quoted(out, |out| write_escaped(out, text)),
        Kind::Ip => is_ip(text) && quoted(out, |out| out.extend_from_slice(text)),
        Kind::Integer => match integer(text) {
            Some(number) => {
                write_i64(out, number);
                true
            }
            None => false,
        },
        Kind::Float => match std::str::from_utf8(text).ok().and_then(|t| t.trim().parse::<f64>().ok()) {
            Some(number) if number.is_finite() => {
                write_f64(out, number);
                true
            }
            _ => false,
        },
        Kind::Boolean => {
            let truth = match text {
                b"true" | b"True" | b"TRUE" | b"yes" | b"Yes" | b"1" | b"on" => "true",
                b"false" | b"False" | b"FALSE" | b"no" | b"No" | b"0" | b"off" => "false",
                _ => return false,
            };
            out.extend_from_slice(truth.as_bytes());
            true
        }
        Kind::Object => false,
    }
}

/// A whole number in decimal; a fraction of zeros is allowed (`200.0`).
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

pub(crate) fn is_ip(text: &[u8]) -> bool {
    let plausible = (2..=45).contains(&text.len())
        && text.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':'));
    plausible && std::str::from_utf8(text).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    out.push(b'"');
    write(out);
    out.push(b'"');
    true
}

pub(crate) fn write_i64(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    write_u64(out, number.unsigned_abs());
}

fn write_f64(out: &mut Vec<u8>, number: f64) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{number}");
}
