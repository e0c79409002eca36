//! What a line with certain answers becomes: its members, and holes for its texts.

use super::stencil::{Composed, MADE_HOLE, Stencil, Stencils, TIME_HOLE};
use super::{
    Cut, HeaderText, Key, Piece, Places, Plan, Question, Role, Set, SetTo, SlotKind, TextNumber,
    UNMAPPED, any, has,
};
use crate::ecs::Kind;
use crate::event::{Event, Value, View};
use crate::fields::{FieldId, Relation, Shape};
use crate::out::Out;
use crate::rule::{Rule, RuleSet};
use crate::time::Stamp;
use crate::write::{Source, Writer, closing};

impl Plan {
    /// How a line of this key is written. `pattern` is the number of the plan's pattern among all.
    pub(crate) fn cut(
        &self,
        (rule, rules, pattern): (&Rule, &RuleSet, usize),
        key: &Key,
        (line, places): (&[u8], &Places),
        stencils: &mut Stencils,
    ) -> Cut {
        stencils.find(pattern, key, (line, places), || {
            let same = |one, other| places.bytes(line, one) == places.bytes(line, other);
            self.compose(rule, rules, key, same)
        })
    }

    /// `same` tells whether two texts of the line are equal.
    #[cold]
    fn compose(
        &self,
        rule: &Rule,
        rules: &RuleSet,
        key: &Key,
        same: impl Fn(TextNumber, TextNumber) -> bool,
    ) -> Composed {
        let (event, mut stamp, mut out) = (Event::default(), Stamp::default(), Out::default());
        let view = View { line: b"", constants: &rules.constants };
        let source = Source { view, padded: b"", plain: true };
        let writer = Writer { event: &event, source, rules, stamp: &mut stamp, out: &mut out };
        let (holes, related) = (Vec::new(), Default::default());
        let (members, ends) = (Vec::new(), Vec::new());
        let mut composer = Composer { plan: self, key, writer, holes, related, members, ends };
        composer.members();
        let pairs = composer.related(same);
        let holes = composer.holes;
        rule.write_tail(&mut out);
        let with_message = any(key.bits, &self.message).is_none();
        (pairs, Stencil::new(out.written(), &holes, with_message))
    }
}

struct Composer<'c> {
    plan: &'c Plan,
    key: &'c Key,
    writer: Writer<'c>,
    holes: Vec<(usize, TextNumber)>,
    /// The texts of each list, by the relation's number.
    related: [Vec<TextNumber>; Relation::ALL.len()],
    /// Members behind those of the captures.
    members: Vec<(Shape, TextNumber)>,
    /// Of these, the ends of connections by their names or addresses.
    ends: Vec<(Relation, TextNumber)>,
}

impl Composer<'_> {
    /// The members of the header, of the captures, of maps and of what is set, the time if it is one,
    /// and the ends of connections.
    fn members(&mut self) {
        let Self { plan, key, .. } = *self;
        let present = key.bits;
        let mut time = key.has_late_time();
        self.header();
        for slot in &plan.slots {
            if !has(present, slot.capture) {
                continue;
            }
            match &slot.kind {
                SlotKind::OfHeader(text, _) if plan.of_header(present, *text).is_some() => {}
                SlotKind::Field(role) | SlotKind::OfHeader(_, role) => {
                    self.value(slot.shape, role, slot.capture);
                }
                SlotKind::Time => self.time(&mut time),
            }
        }
        for (mapped, constant) in plan.maps.iter().zip(key.told) {
            if constant != UNMAPPED && mapped.into.emitted {
                self.writer.member(mapped.into, Value::Constant(constant));
            }
        }
        for set in &plan.sets {
            let by_header = set.of_header.is_some_and(|(text, by_priority)| {
                plan.of_header(present, text).is_some()
                    && (!by_priority || key.priority().is_some())
            });
            let mapped = set.map.is_some_and(|map| key.told[usize::from(map)] != UNMAPPED);
            let known = by_header || mapped || any(present, &set.captures).is_some();
            if !known && set.shape.emitted {
                self.set(set);
            }
        }
        self.time(&mut time);
        for (shape, text) in std::mem::take(&mut self.members) {
            self.text(shape, text);
        }
        for (relation, text) in std::mem::take(&mut self.ends) {
            self.relate(relation, text);
        }
    }

    fn header(&mut self) {
        let Self { plan, key, .. } = *self;
        let rules: &RuleSet = self.writer.rules;
        let fields = &rules.header;
        use HeaderText::{Hostname, MessageId, Pid, Program};
        let own = [Hostname, Program, MessageId, Pid].map(|text| plan.of_header(key.bits, text));
        let mut texts = own;
        let mut program = None;
        let mut appname = own[Program as usize];
        if let Some(over) = &plan.over {
            for (text, captures) in texts.iter_mut().zip(&over.captures) {
                *text = text.map(|text| any(key.bits, captures).unwrap_or(text));
            }
            program = over.program;
            let other = over.appname.as_ref().and_then(|source| plan.text(key.bits, source));
            appname = appname.map(|own| other.unwrap_or(own));
        }
        let [hostname, program_name, message_id, pid] = texts;
        if let Some(hostname) = hostname {
            self.relate(Relation::Host, hostname);
        }
        self.of_header(fields.hostname, hostname);
        match program.filter(|_| program_name.is_some()) {
            Some(constant) => {
                let shape = rules.fields.shape(fields.program);
                self.writer.member(shape, Value::Constant(constant));
            }
            None => self.of_header(fields.program, program_name),
        }
        self.of_header(fields.message_id, message_id);
        self.of_header(fields.pid, pid);
        let Some(priority) = key.priority() else { return };
        self.of_header(fields.syslog_hostname, own[Hostname as usize]);
        self.of_header(fields.syslog_program, appname);
        self.of_header(fields.syslog_pid, own[Pid as usize]);
        let (facility, severity) = (usize::from(priority >> 3), usize::from(priority & 7));
        let words = &rules.words;
        let version = (key.version() == 1).then_some(Value::Constant(words.version));
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
                self.writer.member(rules.fields.shape(field), value);
            }
        }
    }

    fn of_header(&mut self, field: FieldId, text: Option<TextNumber>) {
        if let Some(text) = text {
            self.text(self.writer.rules.fields.shape(field), text);
        }
    }

    /// One value and what follows from it.
    fn value(&mut self, shape: Shape, role: &Role, text: TextNumber) {
        match role {
            Role::Plain => self.text(shape, text),
            Role::Related(relation) => {
                self.text(shape, text);
                if *relation != Relation::Ip || self.is_ip(text) {
                    self.relate(*relation, text);
                }
            }
            Role::Address(siblings) => {
                self.text(shape, text);
                let (sibling, relation) = if self.is_ip(text) {
                    (&siblings.ip, Relation::Ip)
                } else {
                    (&siblings.domain, Relation::Host)
                };
                if any(self.key.bits, &sibling.captures).is_none() {
                    self.members.push((sibling.shape, text));
                    self.ends.push((relation, text));
                } else if relation == Relation::Ip {
                    self.relate(relation, text);
                }
            }
            Role::Ip { address, domain } => {
                if self.is_ip(text) {
                    self.text(shape, text);
                    self.relate(Relation::Ip, text);
                } else {
                    self.members.extend([(*address, text), (*domain, text)]);
                    self.ends.push((Relation::Host, text));
                }
            }
            Role::SureIp => {
                self.quoted(shape, text);
                self.relate(Relation::Ip, text);
            }
        }
    }

    fn is_ip(&self, text: TextNumber) -> bool {
        self.plan.answer(self.key.bits, text, Question::IsIp)
    }

    /// A member with a text of the line; none if that is not what ECS says of the field.
    fn text(&mut self, shape: Shape, text: TextNumber) {
        let fits = match shape.kind.kind {
            Kind::Ip => self.is_ip(text),
            Kind::Integer => self.plan.answer(self.key.bits, text, Question::Integer),
            _ => true,
        };
        match shape.kind.kind {
            _ if !fits && self.writer.rules.fields.is_of_ecs(shape) => {}
            Kind::Integer | Kind::Float if fits => {
                let (open, close): (_, &[u8]) =
                    if shape.kind.list { (&b"["[..], b"],") } else { (&b""[..], b",") };
                self.writer.rules.fields.write_name(shape, self.writer.out);
                self.writer.out.text(open);
                self.hole(text);
                self.writer.out.text(close);
            }
            _ => self.quoted(shape, text),
        }
    }

    fn quoted(&mut self, shape: Shape, text: TextNumber) {
        self.writer.rules.fields.write_opening(shape, self.writer.out);
        self.hole(text);
        self.close(shape);
    }

    fn close(&mut self, shape: Shape) {
        let (end, len) = closing(shape.kind.list);
        self.writer.out.text(&end[..len]);
    }

    fn hole(&mut self, text: TextNumber) {
        let hole = if self.plan.is_made(text) { MADE_HOLE + text } else { text };
        self.holes.push((self.writer.out.len(), hole));
    }

    fn set(&mut self, set: &Set) {
        let Self { plan, key, .. } = *self;
        match &set.value {
            SetTo::Constant(number) => self.writer.member(set.shape, Value::Constant(*number)),
            SetTo::Copy(copy) => {
                let (source, role) = &**copy;
                if let Some(text) = plan.text(key.bits, source) {
                    self.value(set.shape, role, text);
                }
            }
            SetTo::Template(pieces) => {
                let given = |piece: &Piece| match piece {
                    Piece::Text(_) => true,
                    Piece::Field(source) => plan.text(key.bits, source).is_some(),
                };
                if !pieces.iter().all(given) {
                    return;
                }
                self.writer.rules.fields.write_opening(set.shape, self.writer.out);
                for piece in pieces {
                    match piece {
                        Piece::Text(json) => self.writer.out.text(json),
                        Piece::Field(source) => {
                            plan.text(key.bits, source)
                                .into_iter()
                                .for_each(|text| self.hole(text));
                        }
                    }
                }
                self.close(set.shape);
            }
            SetTo::Direction(_) => {
                if let Some(way) = key.direction().checked_sub(1) {
                    let word = self.writer.rules.words.directions[way];
                    self.writer.member(set.shape, Value::Constant(word));
                }
            }
        }
    }

    /// The time, once.
    fn time(&mut self, time: &mut bool) {
        if std::mem::take(time) {
            let shape = self.writer.rules.fields.shape(self.writer.rules.header.timestamp);
            self.quoted(shape, TIME_HOLE);
        }
    }

    fn relate(&mut self, relation: Relation, text: TextNumber) {
        let list = &mut self.related[relation as usize];
        if !list.contains(&text) {
            list.push(text);
        }
    }

    /// The lists, each text once. Tells which texts were compared.
    fn related(
        &mut self,
        same: impl Fn(TextNumber, TextNumber) -> bool,
    ) -> Vec<(TextNumber, TextNumber)> {
        let mut pairs = Vec::new();
        for relation in Relation::ALL {
            let texts = std::mem::take(&mut self.related[relation as usize]);
            let mut first = true;
            for (at, text) in texts.iter().enumerate() {
                let before = &texts[..at];
                pairs.extend(before.iter().map(|known| (*known, *text)));
                if before.iter().any(|known| same(*known, *text)) {
                    continue;
                }
                if std::mem::take(&mut first) {
                    relation.write_opening(self.writer.out);
                } else {
                    self.writer.out.text(b"\",\"");
                }
                self.hole(*text);
            }
            if !first {
                self.writer.out.text(b"\"],");
            }
        }
        pairs
    }
}
