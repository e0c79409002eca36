//! The short way from captures to JSON, for rules that do nothing but capture.
//!
//! Such a rule needs no table of fields: which members it writes, in which order, and what follows
//! from them is known when the rules are loaded. A line takes this way if its rule has a plan and no
//! transform of the rule would change a text. Owns one promise: what is written is byte for byte what
//! the table would be written as.

use crate::event::{Text, Value};
use crate::fields::{FieldId, FieldTable, Relation, Shape};
use crate::header::Header;
use crate::ip::is_ip;
use crate::rule::{HeaderFields, On, Rule, RuleSet};
use crate::transform::Transform;
use crate::write::Writer;
use memchr::memmem;

/// What becomes of the captures of one pattern.
#[derive(Debug)]
pub(crate) struct Plan {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    /// Its place among the pattern's captures.
    capture: usize,
    shape: Shape,
    role: Role,
    /// Each has to leave the text as it is.
    transforms: Vec<Transform>,
}

/// What follows from a value.
#[derive(Debug, Clone, Copy)]
enum Role {
    Plain,
    Related(Relation),
    /// `X.address`: it is an `X.ip` or an `X.domain`.
    Address {
        ip: Shape,
        domain: Shape,
    },
    /// `X.ip`; what is no address becomes `X.address` and `X.domain`.
    Ip {
        address: Shape,
        domain: Shape,
    },
}

/// What follows from the values of a line, to be used again.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    /// Members behind those of the captures.
    members: Vec<(Shape, Value)>,
    /// Of these, the ends of connections by their names or addresses.
    ends: Vec<(Relation, Text)>,
    related: [Vec<Text>; Relation::ALL.len()],
}

impl Plan {
    /// `None` if the rule needs the table for this pattern. `fields` are the pattern's captures.
    fn of(
        rule: &Rule,
        fields: &[FieldId],
        table: &FieldTable,
        header: &HeaderFields,
    ) -> Option<Self> {
        let only_captures = !matches!(rule.on, On::Field(_))
            && rule.parse.is_empty()
            && rule.when.is_empty()
            && rule.then.is_none()
            && rule.maps.is_empty()
            && rule.sets.is_empty()
            && rule.times.is_empty()
            && rule.action.is_none();
        let constants_last = rule.block.complete && !rule.block.marked;
        let transformed = rule.transforms.iter().all(|(field, steps)| {
            fields.contains(field) && steps.iter().all(|step| keeps(step, b"").is_some())
        });
        if !(only_captures && constants_last && transformed) {
            return None;
        }
        let slots: Option<Vec<Slot>> = (0..fields.len())
            .map(|capture| Slot::of(rule, fields, capture, table, header))
            .collect();
        let mut slots = slots?;
        slots.retain(|slot| slot.shape.emitted);
        Some(Self { slots })
    }

    /// One for each pattern of the rule; none if the rule needs the table for one of them.
    pub(crate) fn all_of(rule: &Rule, table: &FieldTable, header: &HeaderFields) -> Vec<Self> {
        let plans = rule.patterns.iter().map(|(_, fields)| Self::of(rule, fields, table, header));
        plans.collect::<Option<Vec<Self>>>().unwrap_or_default()
    }

    /// Whether no transform changes a text; `spans` tells where the captures stand in `on`.
    pub(crate) fn fits(&self, on: &[u8], spans: &[Option<(usize, usize)>]) -> bool {
        self.slots.iter().all(|slot| {
            slot.transforms.is_empty()
                || spans[slot.capture].is_none_or(|(start, end)| {
                    let text = &on[start..end];
                    slot.transforms.iter().all(|step| keeps(step, text) == Some(true))
                })
        })
    }

    /// Writes the members of the header, of the captures, and what follows from them. What was
    /// captured stands `offset` bytes further in the line.
    pub(crate) fn write(
        &self,
        rule: &Rule,
        header: &Header<'_>,
        (spans, offset): (&[Option<(usize, usize)>], usize),
        derived: &mut Derived,
        writer: &mut Writer<'_>,
    ) {
        let line = writer.source.view.line;
        derived.clear();
        write_header(header, derived, writer);
        for slot in &self.slots {
            let Some((start, end)) = spans[slot.capture] else { continue };
            let bytes = &line[offset + start..offset + end];
            if bytes.is_empty() || rule.null_values.iter().any(|null| null == bytes) {
                continue;
            }
            let place = ((offset + start) as u32, (offset + end) as u32);
            derived.slot(slot, place, bytes, writer);
        }
        derived.write(writer);
    }
}

impl Slot {
    fn of(
        rule: &Rule,
        fields: &[FieldId],
        capture: usize,
        table: &FieldTable,
        header: &HeaderFields,
    ) -> Option<Self> {
        let id = fields[capture];
        let others = || fields.iter().enumerate().filter(|(at, _)| *at != capture);
        let taken = |id: FieldId| others().any(|(_, other)| *other == id);
        let field = table.get(id);
        let hidden = !field.emitted && (field.relation.is_some() || field.endpoint.is_some());
        if header.has(id) || taken(id) || hidden {
            return None;
        }
        let role = match field.endpoint {
            Some(end) => {
                let siblings = [end.address, end.ip, end.domain].into_iter();
                if siblings.filter(|sibling| *sibling != id).any(taken) {
                    return None;
                }
                let shape = |id| table.shape(id);
                if id == end.address {
                    Role::Address { ip: shape(end.ip), domain: shape(end.domain) }
                } else {
                    Role::Ip { address: shape(end.address), domain: shape(end.domain) }
                }
            }
            None => field.relation.map_or(Role::Plain, Role::Related),
        };
        let transforms = rule.transforms.iter().filter(|(field, _)| *field == id);
        Some(Self {
            capture,
            shape: table.shape(id),
            role,
            transforms: transforms.flat_map(|(_, steps)| steps.iter().cloned()).collect(),
        })
    }
}

/// Whether a transform leaves `text` as it is; `None` if it would have to be run to tell.
fn keeps(step: &Transform, text: &[u8]) -> Option<bool> {
    match step {
        Transform::Trim => Some(text.trim_ascii().len() == text.len()),
        Transform::UrlDecode => Some(!text.contains(&b'%')),
        Transform::StripPrefix(prefix) => Some(!text.starts_with(prefix)),
        Transform::StripSuffix(suffix) => Some(!text.ends_with(suffix)),
        // What is shorter than what is looked for needs no search.
        Transform::Replace(from, _) => Some(
            !from.is_empty() && (text.len() < from.len() || memmem::find(text, from).is_none()),
        ),
        _ => None,
    }
}

impl Derived {
    fn clear(&mut self) {
        self.members.clear();
        self.ends.clear();
        self.related.iter_mut().for_each(Vec::clear);
    }

    /// Writes one capture and notes what follows from it.
    #[inline]
    fn slot(
        &mut self,
        slot: &Slot,
        (start, end): (u32, u32),
        bytes: &[u8],
        writer: &mut Writer<'_>,
    ) {
        let text = Text::Line { start, end };
        let value = Value::Text(text);
        match slot.role {
            Role::Plain => writer.line_member(slot.shape, start, end),
            Role::Related(relation) => {
                writer.line_member(slot.shape, start, end);
                if relation != Relation::Ip || is_ip(bytes) {
                    self.relate(writer, relation, text);
                }
            }
            Role::Address { ip, domain } => {
                writer.line_member(slot.shape, start, end);
                if is_ip(bytes) {
                    self.members.push((ip, Value::Address(text)));
                    self.ends.push((Relation::Ip, text));
                } else {
                    self.members.push((domain, value));
                    self.ends.push((Relation::Host, text));
                }
            }
            Role::Ip { address, domain } => {
                if is_ip(bytes) {
                    writer.member(slot.shape, Value::Address(text));
                    self.relate(writer, Relation::Ip, text);
                } else {
                    self.members.extend([(address, value), (domain, value)]);
                    self.ends.push((Relation::Host, text));
                }
            }
        }
    }

    /// Each text once.
    fn relate(&mut self, writer: &Writer<'_>, relation: Relation, text: Text) {
        let list = &mut self.related[relation as usize];
        if !list.iter().any(|known| writer.bytes(*known) == writer.bytes(text)) {
            list.push(text);
        }
    }

    fn write(&mut self, writer: &mut Writer<'_>) {
        for (shape, value) in &self.members {
            writer.member(*shape, *value);
        }
        for at in 0..self.ends.len() {
            let (relation, text) = self.ends[at];
            self.relate(writer, relation, text);
        }
        for relation in Relation::ALL {
            writer.relation(relation, &self.related[relation as usize]);
        }
    }
}

fn write_header(header: &Header<'_>, derived: &mut Derived, writer: &mut Writer<'_>) {
    let rules: &RuleSet = writer.rules;
    let fields = &rules.header;
    let line = writer.source.view.line;
    let place = |text: Option<&[u8]>| {
        Text::in_line(line, text.filter(|text| !text.is_empty() && *text != b"-")?)
    };
    let hostname = place(header.hostname);
    if let Some(hostname) = hostname {
        derived.relate(writer, Relation::Host, hostname);
    }
    let mut member = |field: FieldId, text: Option<Text>| {
        if let Some(Text::Line { start, end }) = text {
            writer.line_member(rules.fields.shape(field), start, end);
        }
    };
    member(fields.hostname, hostname);
    member(fields.program, place(header.program));
    member(fields.message_id, place(header.message_id));
    member(fields.structured_data, place(header.structured_data));
    member(fields.pid, place(header.pid));
    let Some(priority) = header.priority else { return };
    member(fields.syslog_hostname, hostname);
    member(fields.syslog_program, place(header.program));
    member(fields.syslog_pid, place(header.pid));
    let (facility, severity) = (usize::from(priority >> 3), usize::from(priority & 7));
    let values = [
        (fields.priority, Some(Value::Integer(i64::from(priority)))),
        (fields.facility_code, Some(Value::Integer(facility as i64))),
        (fields.severity_code, Some(Value::Integer(severity as i64))),
        (fields.severity_name, Some(Value::Constant(rules.words.severities[severity]))),
        (fields.facility_name, rules.words.facilities.get(facility).copied().map(Value::Constant)),
    ];
    for (field, value) in values {
        if let Some(value) = value {
            writer.member(rules.fields.shape(field), value);
        }
    }
}
