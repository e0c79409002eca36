//! What follows from the values of a planned line: addresses and names of the ends of connections,
//! and what belongs to the `related.*` lists.

use super::Place;
use crate::event::Text;
use crate::fields::{Relation, Shape};
use crate::ip::is_ip;
use crate::write::Writer;

/// How many values of a line one plan may relate in one way.
pub(super) const RELATED_MAX: usize = 8;

/// What follows from a value.
#[derive(Debug)]
pub(super) enum Role {
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
pub(super) struct Siblings {
    pub(super) ip: Sibling,
    pub(super) domain: Sibling,
}

/// Another field of the same end, and the captures of it.
#[derive(Debug)]
pub(super) struct Sibling {
    pub(super) shape: Shape,
    pub(super) captures: Box<[usize]>,
}

impl Sibling {
    fn is_absent(&self, spans: &[Option<(usize, usize)>]) -> bool {
        self.captures.iter().all(|capture| spans[*capture].is_none())
    }
}

/// What follows from the values of a line, to be used again. All of it stands in the line.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    /// Members behind those of the captures, which are known to be what their fields are.
    members: Vec<(Shape, Place)>,
    /// Of these, the ends of connections by their names or addresses.
    ends: Vec<(Relation, Place)>,
    related: [Places; Relation::ALL.len()],
}

#[derive(Debug, Default)]
struct Places {
    places: [Place; RELATED_MAX],
    len: usize,
}

impl Places {
    #[inline]
    fn known(&self) -> &[Place] {
        &self.places[..self.len.min(RELATED_MAX)]
    }
}

impl Derived {
    pub(super) fn clear(&mut self) {
        self.members.clear();
        self.ends.clear();
        self.related.iter_mut().for_each(|places| places.len = 0);
    }

    /// Writes one value and notes what follows from it.
    #[inline]
    pub(super) fn value(
        &mut self,
        (shape, role): (Shape, &Role),
        place: Place,
        spans: &[Option<(usize, usize)>],
        writer: &mut Writer<'_>,
    ) {
        let (start, end) = place;
        let is_ip =
            |writer: &Writer<'_>| is_ip(&writer.source.view.line[start as usize..end as usize]);
        match role {
            Role::Plain => writer.line_member(shape, start, end),
            Role::Related(relation) => {
                writer.line_member(shape, start, end);
                if *relation != Relation::Ip || is_ip(writer) {
                    self.relate(writer, *relation, place);
                }
            }
            Role::Address(siblings) => {
                writer.line_member(shape, start, end);
                let (sibling, relation) = if is_ip(writer) {
                    (&siblings.ip, Relation::Ip)
                } else {
                    (&siblings.domain, Relation::Host)
                };
                if sibling.is_absent(spans) {
                    self.members.push((sibling.shape, place));
                    self.ends.push((relation, place));
                }
            }
            Role::Ip { address, domain } => {
                if is_ip(writer) {
                    writer.line_text(shape, start, end);
                    self.relate(writer, Relation::Ip, place);
                } else {
                    self.members.extend([(*address, place), (*domain, place)]);
                    self.ends.push((Relation::Host, place));
                }
            }
            Role::SureIp => {
                writer.line_text(shape, start, end);
                self.relate(writer, Relation::Ip, place);
            }
        }
    }

    /// Each text once.
    #[inline]
    pub(super) fn relate(&mut self, writer: &Writer<'_>, relation: Relation, place: Place) {
        let line = writer.source.view.line;
        let bytes = |(start, end): Place| &line[start as usize..end as usize];
        let list = &mut self.related[relation as usize];
        let same =
            |known: &Place| known.1 - known.0 == place.1 - place.0 && bytes(*known) == bytes(place);
        if list.known().iter().any(same) {
            return;
        }
        if let Some(free) = list.places.get_mut(list.len) {
            *free = place;
            list.len += 1;
        }
    }

    pub(super) fn write(&mut self, writer: &mut Writer<'_>) {
        for (shape, (start, end)) in &self.members {
            writer.line_text(*shape, *start, *end);
        }
        for at in 0..self.ends.len() {
            let (relation, place) = self.ends[at];
            self.relate(writer, relation, place);
        }
        for relation in Relation::ALL {
            let places = self.related[relation as usize].known().iter();
            writer.relations(
                relation,
                places.map(|(start, end)| Text::Line { start: *start, end: *end }),
            );
        }
    }
}
