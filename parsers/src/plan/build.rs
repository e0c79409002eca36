//! Makes the plans of a rule, or finds that it needs the table of fields: nothing that a plan says may
//! look at what another part of the rule has filled in, except at captures and texts of the header.

use super::{
    BITS_MAX, Captures, Checks, HEADER_TEXTS, HeaderText, LINE_BYTES_MAX, MAPS_MAX, Made, Mapped,
    Nulls, Over, Piece, Plan, Question, Role, Set, SetTo, Sibling, Siblings, Slot, SlotKind,
    Source, TIME_BIT, TextNumber, TimePart,
};
use crate::ecs::Kind;
use crate::event::VALUE_BYTES_MAX;
use crate::fields::{FieldId, FieldTable, Relation, Shape};
use crate::json::write_content;
use crate::out::Out;
use crate::rule::{HeaderFields, On, Part, Rule, RuleSet, SetValue, TimeRule};
use crate::time::{TimeContext, Zone, write_rfc3339};
use crate::transform::Transform;

/// How many values of a line one plan may relate: each is compared with each.
const RELATED_MAX: usize = 8;

impl Plan {
    /// One for each pattern of the rule; `None` where it needs the table.
    pub(crate) fn all_of(rule: &Rule, set: &RuleSet) -> Box<[Option<Self>]> {
        rule.patterns.iter().map(|(_, fields)| Builder { rule, fields, set }.plan()).collect()
    }
}

/// What a plan is made of: a rule and what one of its patterns captures.
#[derive(Clone, Copy)]
struct Builder<'b> {
    rule: &'b Rule,
    fields: &'b [FieldId],
    set: &'b RuleSet,
}

impl<'b> Builder<'b> {
    fn plan(self) -> Option<Plan> {
        let rule = self.rule;
        let only_captures = !matches!(rule.on, On::Field(_))
            && rule.parse.is_empty()
            && rule.then.is_none()
            && rule.action.is_none();
        let constants_last = rule.block.complete && !rule.block.marked;
        if !(only_captures && constants_last && self.makes_little()) {
            return None;
        }
        let made = self.made();
        let mut checks = Checks { transforms: self.transforms(&made)?, ..Checks::default() };
        let slots: Option<Vec<Slot>> =
            (0..self.header_number()?).map(|capture| self.slot(capture, &mut checks)).collect();
        let mut slots = slots?;
        slots.retain(|slot| slot.shape.emitted);
        let first_made = self.header_number()? + HEADER_TEXTS as TextNumber;
        for (number, (field, _)) in (first_made..).zip(&made) {
            // Where it stands, there now stands what is made of it.
            let captured = slots.iter_mut().find(|slot| self.is_of(slot, *field));
            captured.into_iter().for_each(|slot| slot.capture = number);
        }
        let mut over = Over::default();
        for slot in &slots {
            if let SlotKind::OfHeader(text, _) = slot.kind {
                over.captures[text as usize] =
                    self.captures(self.fields[usize::from(slot.capture)]);
            }
        }
        let asked: Option<Vec<Source>> =
            rule.when.iter().map(|one| self.asked(one.field)).collect();
        let (maps, sets, times) = (self.maps()?, self.sets(&mut over, &made)?, self.times()?);
        for set in &sets {
            if let SetTo::Copy(copy) = &set.value
                && let (source, Role::SureIp) = &**copy
            {
                checks.addresses.extend(&source.captures);
            }
        }
        let slot_roles = slots.iter().filter_map(|slot| match &slot.kind {
            SlotKind::Field(role) | SlotKind::OfHeader(_, role) => Some(role),
            SlotKind::Time => None,
        });
        let set_roles = sets.iter().filter_map(|set| match &set.value {
            SetTo::Copy(copy) => Some(&copy.1),
            _ => None,
        });
        let roles = slot_roles.chain(set_roles);
        // One of them is the host's.
        if roles.filter(|role| !matches!(role, Role::Plain)).count() >= RELATED_MAX {
            return None;
        }
        for (at, field) in self.fields.iter().enumerate() {
            let captures = self.captures(*field);
            if captures.len() > 1 && usize::from(captures[0]) == at {
                checks.merged.push(captures);
            }
        }
        let questions = self.questions(&slots, &sets, made.len())?;
        let changed = over.program.is_some()
            || over.appname.is_some()
            || over.captures.iter().any(|captures| !captures.is_empty());
        let tells_way = |set: &Set| matches!(set.value, SetTo::Direction(_));
        Some(Plan {
            slots: slots.into(),
            directed: sets.iter().position(tells_way),
            maps: maps.into(),
            sets: sets.into(),
            times: times.into(),
            nulls: Nulls::of(&rule.null_values),
            asked: asked?.into(),
            checks: (!checks.is_empty()).then(|| Box::new(checks)),
            made: made.into_iter().map(|(_, made)| made).collect(),
            over: changed.then(|| Box::new(over)),
            message: self.captures(self.header().message),
            questions: questions.into(),
            header: self.header_number()?,
        })
    }

    /// Whether nothing that is made of several texts gets longer than a value may be.
    fn makes_little(self) -> bool {
        let templates = self.rule.sets.iter().filter_map(|(_, value)| match value {
            SetValue::Template(parts) => Some(parts),
            _ => None,
        });
        let times = self.rule.times.iter().map(|time| &time.from);
        let parts = templates.chain(times).filter(|parts| parts.len() > 1).flatten();
        let longest = parts.map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Field(_) => LINE_BYTES_MAX,
        });
        longest.sum::<usize>() <= VALUE_BYTES_MAX
    }

    /// How many captures there are; `None` if they are too many.
    fn header_number(self) -> Option<TextNumber> {
        TextNumber::try_from(self.fields.len()).ok().filter(|count| usize::from(*count) < BITS_MAX)
    }

    /// What has to be known of texts for each key to say all; `None` if that is too much, or if values
    /// are written in a way that the table alone knows.
    fn questions(
        self,
        slots: &[Slot],
        sets: &[Set],
        made: usize,
    ) -> Option<Vec<(TextNumber, Question)>> {
        let header = self.header_number()?;
        let first_made = header + HEADER_TEXTS as TextNumber;
        let pid = (header + HeaderText::Pid as TextNumber, Question::Integer);
        let mut questions = vec![pid];
        let mut ask = |text: TextNumber, shape: Shape, role: &Role| {
            let question = match (shape.kind.kind, role) {
                (Kind::Boolean | Kind::Date | Kind::Object, _) => return None,
                (_, Role::SureIp) => return Some(()),
                (Kind::Integer, _) => Question::Integer,
                (Kind::Float, _) => Question::Float,
                (Kind::Ip, _)
                | (_, Role::Address(_) | Role::Ip { .. } | Role::Related(Relation::Ip)) => {
                    Question::IsIp
                }
                _ => return Some(()),
            };
            // Of these, nothing has to be known.
            if text >= first_made {
                return Some(());
            }
            if !questions.contains(&(text, question)) {
                questions.push((text, question));
            }
            Some(())
        };
        for slot in slots {
            if let SlotKind::Field(role) | SlotKind::OfHeader(_, role) = &slot.kind {
                ask(slot.capture, slot.shape, role)?;
            }
        }
        for set in sets {
            let SetTo::Copy(copy) = &set.value else { continue };
            let (source, role) = &**copy;
            for text in &source.captures {
                ask(*text, set.shape, role)?;
            }
            if let Some(text) = source.header {
                ask(header + text as TextNumber, set.shape, role)?;
            }
        }
        let bits = usize::from(first_made) + made + questions.len();
        (bits <= TIME_BIT as usize).then_some(questions)
    }

    fn table(self) -> &'b FieldTable {
        &self.set.fields
    }

    fn header(self) -> &'b HeaderFields {
        &self.set.header
    }

    fn captures(self, field: FieldId) -> Captures {
        let known = self.fields.iter().enumerate().filter(|(_, known)| **known == field);
        known.map(|(at, _)| at as TextNumber).collect()
    }

    fn is_captured(self, field: FieldId) -> bool {
        self.fields.contains(&field)
    }

    fn is_mapped(self, field: FieldId) -> bool {
        self.rule.maps.iter().any(|map| map.into == field)
    }

    fn is_set(self, field: FieldId) -> bool {
        self.rule.sets.iter().any(|(known, _)| *known == field)
    }

    /// What transforms make of captures, by the fields that they go to.
    fn made(self) -> Vec<(FieldId, Made)> {
        let transforms = self.rule.transforms.iter();
        let made = transforms.filter_map(|(field, steps)| {
            let [step] = steps.as_slice() else { return None };
            let from = self.only_source(*field).filter(|_| step.makes_plain())?;
            let kind = self.table().get(*field).kind;
            let single = matches!(kind.kind, Kind::Text | Kind::Integer | Kind::Float);
            let once = self.rule.transforms.iter().filter(|(known, _)| known == field).count() == 1;
            (single && once).then(|| (*field, Made { from, step: step.clone(), kind: kind.kind }))
        });
        made.collect()
    }

    /// The captures that are all that a field is filled from, if nothing follows from it or looks at it.
    fn only_source(self, field: FieldId) -> Option<Captures> {
        let alone = matches!(self.role(field)?, Role::Plain)
            && !self.is_mapped(field)
            && !self.header().has(field)
            && !self.is_read(field);
        let own = self.captures(field);
        let set = self.rule.sets.iter().find(|(known, _)| *known == field);
        match (own.len(), set) {
            (1, None) => Some(own),
            (0, Some((_, SetValue::Template(parts)))) => {
                let [Part::Field(from)] = parts.as_slice() else { return None };
                let source = self.late_source(*from).filter(|source| source.header.is_none())?;
                let transformed = self.rule.transforms.iter().any(|(known, _)| known == from);
                Some(source.captures).filter(|from| !from.is_empty() && !transformed)
            }
            _ => None,
        }
        .filter(|_| alone)
    }

    /// Whether a map, a time or something that is set looks at a field.
    fn is_read(self, field: FieldId) -> bool {
        let reads = |part: &Part| matches!(part, Part::Field(known) if *known == field);
        let rule = self.rule;
        rule.maps.iter().any(|map| map.from == field)
            || rule.times.iter().any(|time| time.into == field || time.reads(field))
            || rule.sets.iter().any(|(_, value)| match value {
                SetValue::Template(parts) => parts.iter().any(reads),
                SetValue::Direction(ends) => {
                    ends.iter().any(|end| end.ip == field || end.address == field)
                }
                SetValue::Constant(_) => false,
            })
    }

    /// Whether a slot is for captures of a field.
    fn is_of(self, slot: &Slot, field: FieldId) -> bool {
        self.fields.get(usize::from(slot.capture)) == Some(&field)
    }

    /// Transforms of what is captured, as far as they may leave a part of it and are not `made`.
    fn transforms(self, made: &[(FieldId, Made)]) -> Option<Vec<(Captures, Vec<Transform>)>> {
        let transforms = self.rule.transforms.iter();
        let left = transforms.filter(|(field, _)| !made.iter().any(|(known, _)| known == field));
        let planned = left.map(|(field, steps)| {
            let captured = self.is_captured(*field);
            // What was set instead is transformed, too.
            let set = self.rule.sets.iter().find(|(known, _)| known == field);
            let kept = set.is_none_or(|(_, value)| match value {
                SetValue::Constant(number) => {
                    let text = &self.set.constants[*number as usize].text;
                    steps.iter().all(|step| step.part(text) == Some((0, text.len())))
                }
                _ => false,
            });
            let fits = kept
                && !self.is_mapped(*field)
                && (!self.header().has(*field) || *field == self.header().message)
                && (!captured || steps.iter().all(Transform::may_leave_part));
            fits.then(|| (self.captures(*field), steps.clone()))
        });
        let all: Option<Vec<_>> = planned.collect();
        all.map(|all| all.into_iter().filter(|(captures, _)| !captures.is_empty()).collect())
    }

    fn header_text(self, field: FieldId) -> Option<HeaderText> {
        let header = self.header();
        let texts = [
            (header.hostname, HeaderText::Hostname),
            (header.program, HeaderText::Program),
            (header.message_id, HeaderText::MessageId),
            (header.pid, HeaderText::Pid),
        ];
        texts.into_iter().find(|(known, _)| *known == field).map(|(_, text)| text)
    }

    fn slot(self, capture: TextNumber, checks: &mut Checks) -> Option<Slot> {
        let (id, header) = (self.fields[usize::from(capture)], self.header());
        let kind = if let Some(text) = self.header_text(id) {
            SlotKind::OfHeader(text, self.role(id)?)
        } else if id == header.timestamp {
            self.own_time()?;
            checks.present = self.captures(id);
            SlotKind::Time
        } else if header.has(id) && id != header.message {
            return None;
        } else {
            SlotKind::Field(self.role(id)?)
        };
        if matches!(kind, SlotKind::Field(Role::SureIp)) {
            checks.addresses.push(capture);
        }
        Some(Slot { capture, shape: self.table().shape(id), kind })
    }

    /// What follows from a captured or copied text in this field; `None` if that depends on more.
    fn role(self, id: FieldId) -> Option<Role> {
        let field = self.table().get(id);
        let hidden = !field.emitted && (field.relation.is_some() || field.endpoint.is_some());
        if hidden {
            return None;
        }
        let Some(end) = field.endpoint else {
            return Some(field.relation.map_or(Role::Plain, Role::Related));
        };
        let shape = |id| self.table().shape(id);
        let sibling = |id| Some(Sibling { shape: shape(id), captures: self.filled_by(id)? });
        let (address, ip, domain) = (sibling(end.address)?, sibling(end.ip)?, sibling(end.domain)?);
        Some(if id == end.address {
            Role::Address(Box::new(Siblings { ip, domain }))
        } else if address.captures.is_empty() && domain.captures.is_empty() {
            Role::Ip { address: address.shape, domain: domain.shape }
        } else {
            Role::SureIp
        })
    }

    /// The captures by which a field has a value, if it is captured or a copy of what is.
    fn filled_by(self, field: FieldId) -> Option<Captures> {
        let own = self.captures(field);
        let Some((_, value)) = self.rule.sets.iter().find(|(known, _)| *known == field) else {
            return (!self.is_mapped(field)).then_some(own);
        };
        let SetValue::Template(parts) = value else { return None };
        let [Part::Field(from)] = parts.as_slice() else { return None };
        let source = self.late_source(*from).filter(|source| source.header.is_none())?;
        (!self.is_mapped(field)).then(|| own.iter().chain(&source.captures).copied().collect())
    }

    /// Where the text of a field comes from; `None` if something else than a capture or the header
    /// fills it.
    fn source(self, field: FieldId) -> Option<Source> {
        let header = self.header_text(field);
        // A number may be written in another way than it stands in the header.
        if self.is_mapped(field)
            || header == Some(HeaderText::Pid)
            || header.is_none() && self.header().has(field)
        {
            return None;
        }
        Some(Source { captures: self.captures(field), header })
    }

    /// As [`Builder::source`], once constants, templates and copies are set.
    fn late_source(self, field: FieldId) -> Option<Source> {
        self.source(field).filter(|_| !self.is_set(field))
    }

    /// As [`Builder::source`], of the field of a condition, which sees it before anything is made of it.
    fn asked(self, field: FieldId) -> Option<Source> {
        let transformed = self.rule.transforms.iter().any(|(known, _)| *known == field);
        self.source(field).filter(|_| !transformed)
    }

    /// Whether nothing follows from a constant of this field.
    fn is_plain(self, field: FieldId) -> bool {
        matches!(self.table().derivation(field), (None, None)) && !self.header().has(field)
    }

    fn maps(self) -> Option<Vec<Mapped>> {
        let maps = &self.rule.maps;
        let planned = maps.iter().enumerate().map(|(at, map)| {
            let once = maps[..at].iter().all(|other| other.into != map.into);
            if !once || !self.is_plain(map.into) || self.is_captured(map.into) {
                return None;
            }
            Some(Mapped { from: self.source(map.from)?, into: self.table().shape(map.into) })
        });
        planned.collect::<Option<Vec<_>>>().filter(|maps| maps.len() <= MAPS_MAX)
    }

    fn sets(self, over: &mut Over, made: &[(FieldId, Made)]) -> Option<Vec<Set>> {
        let sets = self.rule.sets.iter().map(|(field, value)| self.set(*field, value, over));
        let mut sets = sets.collect::<Option<Vec<_>>>()?;
        let first_made = self.header_number()? + HEADER_TEXTS as TextNumber;
        for (number, (field, _)) in (first_made..).zip(made) {
            let set = self.rule.sets.iter().position(|(known, _)| known == field);
            if let Some(SetTo::Copy(copy)) = set.map(|at| &mut sets[at].value) {
                copy.0.captures = [number].into();
            }
        }
        // A key has room for one direction.
        let ways = sets.iter().filter(|set| matches!(set.value, SetTo::Direction(_))).count();
        (ways <= 1).then_some(sets)
    }

    fn set(self, field: FieldId, value: &SetValue, over: &mut Over) -> Option<Set> {
        let header = self.header();
        let mut of_header = None;
        let value = match value {
            SetValue::Constant(number) => {
                if field == header.program && !self.is_captured(field) {
                    over.program = Some(*number);
                    of_header = Some((HeaderText::Program, false));
                } else if !self.is_plain(field) {
                    return None;
                }
                SetTo::Constant(*number)
            }
            SetValue::Template(parts) => match parts.as_slice() {
                [Part::Field(from)] if field == header.syslog_program => {
                    over.appname = Some(self.late_source(*from)?);
                    of_header = Some((HeaderText::Program, true));
                    SetTo::Copy(Box::new((self.late_source(*from)?, Role::Plain)))
                }
                _ if header.has(field) => return None,
                [Part::Field(from)] => {
                    let role = self.role(field)?;
                    SetTo::Copy(Box::new((self.late_source(*from)?, role)))
                }
                parts => SetTo::Template(self.template(field, parts)?.into()),
            },
            SetValue::Direction(ends) => {
                let [source, destination] = *ends;
                let captures = |field: FieldId| {
                    let free = !self.is_set(field) && !self.is_mapped(field);
                    free.then(|| self.captures(field))
                };
                if !self.is_plain(field) {
                    return None;
                }
                SetTo::Direction(Box::new([
                    captures(source.ip)?,
                    captures(source.address)?,
                    captures(destination.ip)?,
                    captures(destination.address)?,
                ]))
            }
        };
        let map = self.rule.maps.iter().position(|map| map.into == field);
        Some(Set {
            shape: self.table().shape(field),
            value,
            captures: self.captures(field),
            map: map.and_then(|map| u8::try_from(map).ok()),
            of_header,
        })
    }

    fn template(self, field: FieldId, parts: &[Part]) -> Option<Vec<Piece>> {
        let (relation, endpoint) = self.table().derivation(field);
        let text = self.table().get(field).kind.kind == Kind::Text;
        // Two texts side by side may be one character.
        let apart = parts.windows(2).all(|pair| {
            pair.iter()
                .any(|part| matches!(part, Part::Text(text) if !text.is_empty() && text.is_ascii()))
        });
        if relation.is_some() || endpoint.is_some() || !text || !apart {
            return None;
        }
        let piece = |part: &Part| match part {
            Part::Text(text) => {
                let mut json = Out::default();
                write_content(&mut json, text);
                Some(Piece::Text(json.written().to_vec()))
            }
            Part::Field(field) => self.late_source(*field).map(Piece::Field),
        };
        parts.iter().map(piece).collect()
    }

    fn times(self) -> Option<Vec<Vec<TimePart>>> {
        let timestamp = self.header().timestamp;
        let planned = self.rule.times.iter().map(|time| {
            if time.shift.is_some() || time.header_zone || time.into != timestamp {
                return None;
            }
            if time.reads(timestamp) {
                return self.own_time();
            }
            let part = |part: &Part| match part {
                Part::Text(text) => Some(TimePart::Text(text.clone())),
                Part::Field(field) => {
                    let source = self.late_source(*field)?;
                    source.header.is_none().then_some(TimePart::Field(source))
                }
            };
            time.from.iter().map(part).collect()
        });
        planned.collect()
    }

    /// The only time of a rule, which is read from where it goes to.
    fn own_time(self) -> Option<Vec<TimePart>> {
        let timestamp = self.header().timestamp;
        let [time] = self.rule.times.as_slice() else { return None };
        let captures = self.captures(timestamp);
        let alone = matches!(time.from.as_slice(), [Part::Field(_)]) && time.reads(timestamp);
        // Without a capture, the time of the header would be read.
        if !alone || captures.is_empty() && reads_rendered(time) {
            return None;
        }
        Some(vec![TimePart::Field(Source { captures, header: None })])
    }
}

/// Whether times as events have them are times to this rule, too.
fn reads_rendered(time: &TimeRule) -> bool {
    let context = TimeContext { received_unix_nanos: 0, zone: &Zone::utc() };
    [0, 1_000_000, 1_000, 1].into_iter().any(|nanos| {
        let mut text = Vec::new();
        write_rfc3339(&mut text, nanos);
        time.read(&text, &context).is_some()
    })
}
