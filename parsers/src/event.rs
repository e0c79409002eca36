//! One event while it is being made: a table of values indexed by field.
//!
//! Everything is reused from line to line: values point into the line, into an arena of bytes that
//! transforms wrote, or to constants that were rendered when the rules were loaded. How the table
//! becomes JSON is in [`crate::write`].

use crate::fields::{Derivation, FieldId, FieldTable, Relation};
use crate::ip::{has_zeros, is_ip, with_more, without_zeros};
use crate::rule::Part;
use crate::secrets::Secrets;
use logweir_record::write_u64;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::ops::Range;

/// The most that a rule may make for a value: of a short line, six replacements by ten times as much make
/// gigabytes.
pub(crate) const VALUE_BYTES_MAX: usize = 1 << 20;
/// The most that all rules may make for an event, but for what they were at when it was reached.
const MADE_BYTES_MAX: usize = 16 << 20;

/// Lists of more related texts are looked up by hashes.
const LOOKED_THROUGH_MAX: usize = 32;

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    /// In the line that is being parsed.
    Line { start: u32, end: u32 },
    /// In the event's arena.
    Arena { start: u32, end: u32 },
}

impl Text {
    /// The place of a slice of the line; `None` if it is none.
    pub(crate) fn in_line(line: &[u8], text: &[u8]) -> Option<Self> {
        let Range { start, end } = range_in(line, text)?;
        Some(Self::Line { start: start as u32, end: end as u32 })
    }

    /// A part of it, by where that begins and ends in it.
    fn part(self, from: usize, to: usize) -> Self {
        let (from, to) = (from as u32, to as u32);
        match self {
            Self::Line { start, .. } => Self::Line { start: start + from, end: start + to },
            Self::Arena { start, .. } => Self::Arena { start: start + from, end: start + to },
        }
    }
}

/// Where a slice of a text stands in it; `None` if it is none.
pub(crate) fn range_in(text: &[u8], slice: &[u8]) -> Option<Range<usize>> {
    let start = (slice.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    let end = start.checked_add(slice.len()).filter(|end| *end <= text.len())?;
    Some(start..end)
}

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    Absent,
    Text(Text),
    /// A text that is known to be an IP address.
    Address(Text),
    /// A text that is known to be a whole number as JSON has it.
    Number(Text),
    /// Rendered at load, by its number.
    Constant(u32),
    /// Part of the rule's block of constant members; written with it.
    InBlock,
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// Nanoseconds since 1970.
    Time(i64),
    /// Several texts, by their range in the event's items.
    List {
        start: u32,
        end: u32,
    },
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

impl Constant {
    /// Whether it is a list of several.
    pub(crate) fn is_several(&self) -> bool {
        self.json.starts_with(b"[") && self.text.contains(&b',')
    }

    /// The texts of a list; none if it is a single value.
    pub(crate) fn items(&self) -> Vec<String> {
        let items: Vec<serde_json::Value> = serde_json::from_slice(&self.json).unwrap_or_default();
        let text = |item: &serde_json::Value| {
            item.as_str().map_or_else(|| item.to_string(), str::to_owned)
        };
        items.iter().map(text).collect()
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

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Event {
    values: Vec<(Value, Option<Origin>)>,
    /// Every field that has or had a value, once.
    order: Vec<FieldId>,
    arena: Vec<u8>,
    items: Vec<Text>,
    /// Fields that no rule names: (name, value), as sub-parsers keep them under a prefix.
    extras: Vec<(Text, Value)>,
    /// What belongs to each `related.*` list, by the relation's number.
    related: [Vec<Text>; Relation::ALL.len()],
    /// Hashes of the texts of each such list that is too long to be looked through.
    related_hashes: [HashSet<u64>; Relation::ALL.len()],
    hasher: RandomState,
    /// What each change of a field that had a value replaced, for [`Event::reset`].
    changes: Vec<(FieldId, (Value, Option<Origin>))>,
}

impl Event {
    /// Empties the table and makes it fit for `fields` fields.
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
        self.related.iter_mut().for_each(Vec::clear);
        self.related_hashes.iter_mut().for_each(HashSet::clear);
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
        for field in self.order.drain(mark.order..) {
            self.values[field.index()] = (Value::Absent, None);
        }
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
        if slot.1.is_none() {
            self.order.push(field);
        } else {
            self.changes.push((field, *slot));
        }
        *slot = (value, Some(origin));
    }

    /// Every field that has or had a value, in the order in which they got one.
    pub(crate) fn fields(&self) -> &[FieldId] {
        &self.order
    }

    /// The fields that no rule names.
    pub(crate) fn extras(&self) -> &[(Text, Value)] {
        &self.extras
    }

    /// The value of such a field.
    pub(crate) fn extra(&self, line: &[u8], name: &[u8]) -> Option<Value> {
        let mut named = self.extras.iter().rev().filter(|(key, _)| self.bytes(line, *key) == name);
        named.next().map(|(_, value)| *value)
    }

    pub(crate) fn related(&self, relation: Relation) -> &[Text] {
        &self.related[relation as usize]
    }

    /// Whether rules may make no more for this event.
    pub(crate) fn is_full(&self) -> bool {
        self.arena.len() > MADE_BYTES_MAX
    }

    /// Copies bytes that stand nowhere else.
    pub(crate) fn store(&mut self, bytes: &[u8]) -> Text {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        Text::Arena { start, end: self.arena.len() as u32 }
    }

    /// Where the next item of a list that is being made will stand.
    pub(crate) fn list_start(&self) -> u32 {
        self.items.len() as u32
    }

    pub(crate) fn push_item(&mut self, text: Text) {
        self.items.push(text);
    }

    pub(crate) fn truncate_items(&mut self, len: u32) {
        self.items.truncate(len as usize);
    }

    /// What was pushed since [`Event::list_start`] gave `start`.
    pub(crate) fn list_since(&self, start: u32) -> Value {
        let end = self.items.len() as u32;
        if start < end { Value::List { start, end } } else { Value::Absent }
    }

    pub(crate) fn items(&self, start: u32, end: u32) -> &[Text] {
        &self.items[start as usize..end as usize]
    }

    /// Takes in a field that no rule names. Empty parts of its key are left out, and so is a key that has
    /// no others: a field has a name between any two dots. What is no UTF-8 in it is what will be written
    /// for it, so that two keys which are written alike are one.
    pub(crate) fn keep(&mut self, key: &[u8], prefix: &[u8], value: Value) {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(prefix);
        for part in key.split(|byte| *byte == b'.').filter(|part| !part.is_empty()) {
            self.arena.push(b'.');
            if part.is_ascii() {
                self.arena.extend_from_slice(part);
                continue;
            }
            for chunk in part.utf8_chunks() {
                let invalid = if chunk.invalid().is_empty() { "" } else { "\u{fffd}" };
                self.arena.extend([chunk.valid(), invalid].into_iter().flat_map(str::bytes));
            }
        }
        if self.arena.len() == start as usize + prefix.len() {
            return;
        }
        let name = Text::Arena { start, end: self.arena.len() as u32 };
        self.extras.push((name, value));
    }

    pub(crate) fn bytes<'b>(&'b self, line: &'b [u8], text: Text) -> &'b [u8] {
        match text {
            Text::Line { start, end } => &line[start as usize..end as usize],
            Text::Arena { start, end } => &self.arena[start as usize..end as usize],
        }
    }

    /// A field's value as text; `scratch` takes it if it stands nowhere as such.
    pub(crate) fn text<'b>(
        &'b self,
        view: View<'b>,
        field: FieldId,
        scratch: &'b mut Vec<u8>,
    ) -> Option<&'b [u8]> {
        match self.get(field) {
            Value::Absent | Value::InBlock => None,
            Value::Text(text) | Value::Address(text) | Value::Number(text) => {
                Some(self.bytes(view.line, text))
            }
            Value::Constant(number) => Some(&view.constants[number as usize].text),
            other => {
                scratch.clear();
                self.write_text(view, other, scratch);
                Some(scratch)
            }
        }
    }

    /// Appends a value as text.
    pub(crate) fn write_text(&self, view: View<'_>, value: Value, out: &mut Vec<u8>) {
        match value {
            Value::Absent | Value::InBlock => {}
            Value::Text(text) | Value::Address(text) | Value::Number(text) => {
                out.extend_from_slice(self.bytes(view.line, text));
            }
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
    }

    /// Renders a template into `out`; `None` if one of its fields has no value, or if it gets too long.
    pub(crate) fn render(&self, view: View<'_>, parts: &[Part], out: &mut Vec<u8>) -> Option<()> {
        out.clear();
        for part in parts {
            match part {
                Part::Text(literal) => out.extend_from_slice(literal),
                Part::Field(field) => match self.get(*field) {
                    Value::Absent | Value::InBlock => return None,
                    value => self.write_text(view, value, out),
                },
            }
            if out.len() > VALUE_BYTES_MAX {
                return None;
            }
        }
        Some(())
    }

    /// The values that rules gave a field before the one that it has.
    pub(crate) fn former(&self, field: FieldId) -> impl DoubleEndedIterator<Item = Value> + '_ {
        let by_rules = |origin: Option<Origin>| origin == Some(Origin::Rule);
        let changes = self.changes.iter();
        changes
            .filter(move |(changed, before)| *changed == field && by_rules(before.1))
            .map(|(_, before)| before.0)
    }

    /// Hides the secrets in every text and in the names that no rule has given; addresses and numbers
    /// that are one go. Tells whether a value that stands in the arena had one: what that was made of may have
    /// it in another form.
    pub(crate) fn hide(&mut self, line: &[u8], secrets: &Secrets) -> bool {
        let made = self.values_made().any(|text| secrets.are_in(self.bytes(line, text)));
        for at in 0..self.order.len() {
            let index = self.order[at].index();
            self.values[index].0 = self.without(line, self.values[index].0, secrets);
        }
        for at in 0..self.extras.len() {
            let (name, value) = self.extras[at];
            self.extras[at] =
                (self.hidden(line, name, secrets), self.without(line, value, secrets));
        }
        for at in 0..self.items.len() {
            self.items[at] = self.hidden(line, self.items[at], secrets);
        }
        for relation in Relation::ALL {
            self.related_hashes[relation as usize].clear();
            for text in std::mem::take(&mut self.related[relation as usize]) {
                let new = self.hidden(line, text, secrets);
                if new == text || relation != Relation::Ip {
                    self.relate(line, relation, new);
                }
            }
        }
        made
    }

    /// The texts of values that stand in the arena.
    fn values_made(&self) -> impl Iterator<Item = Text> + '_ {
        let values = self.order.iter().map(|field| self.get(*field));
        let values = values.chain(self.extras.iter().map(|(_, value)| *value));
        let texts = values.filter_map(|value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        });
        texts.chain(self.items.iter().copied()).filter(|text| matches!(text, Text::Arena { .. }))
    }

    /// A value without the secrets, if it is a text; else it goes if it is one.
    fn without(&mut self, line: &[u8], value: Value, secrets: &Secrets) -> Value {
        match value {
            Value::Text(text) => Value::Text(self.hidden(line, text, secrets)),
            Value::Address(_) | Value::Number(_) | Value::Integer(_) | Value::Float(_) => {
                let mut text = Vec::new();
                self.write_text(View { line, constants: &[] }, value, &mut text);
                if secrets.has(&text) { Value::Absent } else { value }
            }
            value => value,
        }
    }

    /// A text without the secrets; itself if there is none in it.
    fn hidden(&mut self, line: &[u8], text: Text, secrets: &Secrets) -> Text {
        match secrets.hidden_in(self.bytes(line, text)) {
            Some(new) => self.store(&new),
            None => text,
        }
    }

    /// Fills `X.ip` or `X.domain` from `X.address`, moves an `X.ip` that is no address there, collects
    /// what belongs to `related.*`, and leaves one item of a list where a field holds one value.
    pub(crate) fn derive(&mut self, view: View<'_>, fields: &FieldTable) {
        let line = view.line;
        let with_lists = !self.items.is_empty();
        let mut at = 0;
        while let Some(&id) = self.order.get(at) {
            at += 1;
            if with_lists {
                self.derive_from_list(line, fields, id);
            }
            let shape = fields.shape(id);
            if !shape.derives {
                continue;
            }
            let text = match self.get(id) {
                Value::Text(text) | Value::Number(text) => text,
                Value::Address(text) => {
                    self.relate(line, Relation::Ip, text);
                    continue;
                }
                Value::Absent | Value::InBlock | Value::List { .. } => continue,
                value => self.rendered(view, value),
            };
            if shape.kind.list {
                self.relate_each(line, fields.derivation(id), text);
                continue;
            }
            let derivation = fields.derivation(id);
            let Some(end) = derivation.1 else {
                self.relate_as(line, derivation, text);
                continue;
            };
            if let Some((ip, port)) = self.parts_of_address(line, text) {
                if id == end.ip {
                    self.set(id, Value::Address(ip), Origin::Rule);
                    self.fill(end.address, Value::Text(text));
                }
                self.fill(end.ip, Value::Address(ip));
                if let Some(port) = port {
                    self.fill(end.port, Value::Number(port));
                }
                self.relate(line, Relation::Ip, ip);
                continue;
            }
            let text = match has_zeros(self.bytes(line, text)) {
                true => match self.decimal(line, text) {
                    Some(decimal) => {
                        self.set(id, Value::Text(decimal), Origin::Rule);
                        decimal
                    }
                    None if id == end.ip => {
                        self.set(id, Value::Absent, Origin::Rule);
                        self.fill(end.address, Value::Text(text));
                        continue;
                    }
                    None => continue,
                },
                false => text,
            };
            match (is_ip(self.bytes(line, text)), id == end.address) {
                (true, true) if self.get(end.ip) == Value::Absent => {
                    self.set(end.ip, Value::Address(text), Origin::Rule);
                    // Where another text has stood for one, it is not looked at again.
                    if self.order[..at].contains(&end.ip) {
                        self.relate(line, Relation::Ip, text);
                    }
                }
                (true, true) => self.relate(line, Relation::Ip, text),
                (true, false) => {
                    self.values[id.index()].0 = Value::Address(text);
                    self.relate(line, Relation::Ip, text);
                }
                (false, true) => self.fill(end.domain, Value::Text(text)),
                (false, false) => {
                    self.set(id, Value::Absent, Origin::Rule);
                    self.fill(end.address, Value::Text(text));
                    self.fill(end.domain, Value::Text(text));
                }
            }
        }
    }

    /// An IPv4 address without the zeros in front of its numbers.
    fn decimal(&mut self, line: &[u8], text: Text) -> Option<Text> {
        let address = without_zeros(self.bytes(line, text))?;
        let start = self.arena.len() as u32;
        // Writing to a vector cannot fail.
        let _ = write!(self.arena, "{address}");
        Some(Text::Arena { start, end: self.arena.len() as u32 })
    }

    /// Relates each item of a field's value, if it is a list; of a field that holds one value, the first
    /// is that.
    #[inline(never)]
    fn derive_from_list(&mut self, line: &[u8], fields: &FieldTable, id: FieldId) {
        let Value::List { start, end } = self.get(id) else { return };
        for at in start..end {
            self.relate_as(line, fields.derivation(id), self.items[at as usize]);
        }
        if fields.get(id).single {
            self.set(id, Value::Text(self.items[start as usize]), Origin::Rule);
        }
    }

    /// Relates each part of a text: of a list that is a constant, the items stand side by side.
    fn relate_each(&mut self, line: &[u8], derivation: Derivation, text: Text) {
        let (mut from, len) = (0, self.bytes(line, text).len());
        while from < len {
            let rest = &self.bytes(line, text)[from..];
            let to = memchr::memchr(b',', rest).map_or(len, |comma| from + comma);
            self.relate_as(line, derivation, text.part(from, to));
            from = to + 1;
        }
    }

    /// A constant or a number as a text of its own.
    fn rendered(&mut self, view: View<'_>, value: Value) -> Text {
        // It stands elsewhere, and is written behind what is there.
        let mut arena = std::mem::take(&mut self.arena);
        let start = arena.len() as u32;
        self.write_text(view, value, &mut arena);
        self.arena = arena;
        Text::Arena { start, end: self.arena.len() as u32 }
    }

    /// Puts the text of a field, or the address in it, where the field's values belong.
    fn relate_as(&mut self, line: &[u8], (relation, endpoint): Derivation, text: Text) {
        let (relation, text) = match (relation, endpoint) {
            (_, Some(_)) => match self.parts_of_address(line, text) {
                Some((ip, _)) => (Relation::Ip, ip),
                None if is_ip(self.bytes(line, text)) => (Relation::Ip, text),
                None if has_zeros(self.bytes(line, text)) => return,
                None => (Relation::Host, text),
            },
            (Some(Relation::Ip), None) if !is_ip(self.bytes(line, text)) => return,
            (Some(relation), None) => (relation, text),
            (None, None) => return,
        };
        self.relate(line, relation, text);
    }

    /// An address that has more behind it, and the port if that is one.
    fn parts_of_address(&self, line: &[u8], text: Text) -> Option<(Text, Option<Text>)> {
        let bytes = self.bytes(line, text);
        let ((from, to), port) = with_more(bytes)?;
        Some((text.part(from, to), port.map(|port| text.part(port, bytes.len()))))
    }

    fn fill(&mut self, field: FieldId, value: Value) {
        if self.get(field) == Value::Absent {
            self.set(field, value, Origin::Rule);
        }
    }

    fn relate(&mut self, line: &[u8], relation: Relation, text: Text) {
        let bytes = self.bytes(line, text);
        if bytes.is_empty() {
            return;
        }
        let related = self.related(relation);
        let known = if related.len() < LOOKED_THROUGH_MAX {
            // The same place, or the same text at another.
            related.iter().any(|known| *known == text || self.bytes(line, *known) == bytes)
        } else {
            self.is_hashed(line, relation, text)
        };
        if !known {
            self.related[relation as usize].push(text);
        }
    }

    /// Whether a text is one of a list that is too long to be looked through; from now on it is.
    #[cold]
    fn is_hashed(&mut self, line: &[u8], relation: Relation, text: Text) -> bool {
        let mut hashes = std::mem::take(&mut self.related_hashes[relation as usize]);
        let hash = |text: &Text| self.hasher.hash_one(self.bytes(line, *text));
        if hashes.is_empty() {
            hashes.extend(self.related(relation).iter().map(hash));
        }
        let known = !hashes.insert(hash(&text));
        self.related_hashes[relation as usize] = hashes;
        known
    }
}

pub(crate) fn write_i64(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    write_u64(out, number.unsigned_abs());
}

pub(crate) fn write_f64(out: &mut Vec<u8>, number: f64) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{number}");
}
