//! The fields that a rule set uses, each with a number, so that an event is a table indexed by it.

use crate::ecs::{self, Kind, Type};
use crate::out::{Out, PAD};
use logweir_document::nearest;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// A field's number within a rule set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FieldId(pub(crate) u32);

impl FieldId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which `related.*` list a field's value also goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Ip,
    User,
    Host,
    Hash,
}

impl Relation {
    pub(crate) const ALL: [Self; 4] = [Self::Ip, Self::User, Self::Host, Self::Hash];

    /// The list's name.
    pub(crate) fn list(self) -> &'static str {
        match self {
            Self::Ip => "related.ip",
            Self::User => "related.user",
            Self::Host => "related.hosts",
            Self::Hash => "related.hash",
        }
    }

    /// Appends the beginning of the list as a member, up to its first text.
    #[inline]
    pub(crate) fn write_opening(self, out: &mut Out) {
        match self {
            Self::Ip => out.array(b"\"related.ip\":[\""),
            Self::User => out.array(b"\"related.user\":[\""),
            Self::Host => out.array(b"\"related.hosts\":[\""),
            Self::Hash => out.array(b"\"related.hash\":[\""),
        }
    }
}

/// One field: its name, how it is written, and what follows from it.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// `"name":`, ready to be written.
    pub(crate) key: Vec<u8>,
    pub(crate) kind: Type,
    /// Whether ECS says the type; else captures do, and what is not of it is a text.
    pub(crate) of_ecs: bool,
    /// Names that begin with `_` are not emitted.
    pub(crate) emitted: bool,
    /// Whether ECS has it for one value: fields that it does not have may hold lists.
    pub(crate) single: bool,
    /// Whether it may follow from another field's value, see [`crate::event::Event::derive`].
    pub(crate) derived: bool,
    pub(crate) relation: Option<Relation>,
    /// For `X.address` and `X.ip`: the siblings (`X.ip`, `X.domain`, `X.address`).
    pub(crate) endpoint: Option<Endpoint>,
}

/// The fields of one end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) address: FieldId,
    pub(crate) ip: FieldId,
    pub(crate) domain: FieldId,
    pub(crate) port: FieldId,
}

/// What follows from a field's value: the list that it goes to, and its siblings.
pub(crate) type Derivation = (Option<Relation>, Option<Endpoint>);

/// What is needed of a field to write it, small and side by side with the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Where `"name":"`, with a `[` for lists, begins among the keys.
    key: u32,
    /// The length of `"name":`.
    name_len: u16,
    /// The length of all of it.
    open_len: u16,
    pub(crate) kind: Type,
    pub(crate) emitted: bool,
    pub(crate) derives: bool,
}

impl Shape {
    /// Whether the field is a single whole number.
    #[inline]
    pub(crate) fn is_integer(self) -> bool {
        self.kind == Type { kind: Kind::Integer, list: false }
    }
}

/// All fields of a rule set.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldTable {
    fields: Vec<Field>,
    by_name: FxHashMap<String, FieldId>,
    shapes: Vec<Shape>,
    /// What follows from each field's value, likewise side by side.
    derivations: Vec<Derivation>,
    /// For the shapes; at the end there is [`PAD`].
    keys: Vec<u8>,
}

impl FieldTable {
    /// Makes the shapes, once all fields and their types are known.
    pub(crate) fn seal(&mut self) {
        self.fields.shrink_to_fit();
        self.shapes = Vec::with_capacity(self.fields.len());
        self.derivations =
            self.fields.iter().map(|field| (field.relation, field.endpoint)).collect();
        self.keys.clear();
        for field in &self.fields {
            let key = self.keys.len() as u32;
            self.keys.extend_from_slice(&field.key);
            if field.kind.list {
                self.keys.push(b'[');
            }
            self.keys.push(b'"');
            self.shapes.push(Shape {
                key,
                name_len: field.key.len() as u16,
                open_len: (self.keys.len() - key as usize) as u16,
                kind: field.kind,
                emitted: field.emitted,
                derives: field.endpoint.is_some() || field.relation.is_some(),
            });
        }
        self.keys.extend_from_slice(&[0; PAD]);
        self.keys.shrink_to_fit();
        self.by_name.shrink_to_fit();
    }

    #[inline]
    pub(crate) fn shape(&self, id: FieldId) -> Shape {
        self.shapes[id.index()]
    }

    /// The list and the siblings of the field, if it has some.
    #[inline]
    pub(crate) fn derivation(&self, id: FieldId) -> Derivation {
        self.derivations[id.index()]
    }

    /// Appends `"name":`.
    #[inline]
    pub(crate) fn write_name(&self, shape: Shape, out: &mut Out) {
        let (keys, start, len) = self.name(shape);
        out.padded(keys, start, len);
    }

    /// Where `"name":` stands.
    #[inline]
    pub(crate) fn name(&self, shape: Shape) -> (&[u8], usize, usize) {
        (&self.keys, shape.key as usize, usize::from(shape.name_len))
    }

    /// Where `"name":"` or `"name":["` stands.
    #[inline]
    pub(crate) fn opening(&self, shape: Shape) -> (&[u8], usize, usize) {
        (&self.keys, shape.key as usize, usize::from(shape.open_len))
    }

    /// Appends `"name":"` or `"name":["`.
    #[inline]
    pub(crate) fn write_opening(&self, shape: Shape, out: &mut Out) {
        out.padded(&self.keys, shape.key as usize, usize::from(shape.open_len));
    }

    pub(crate) fn get(&self, id: FieldId) -> &Field {
        &self.fields[id.index()]
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// The number of the field of this name, if a rule has named it.
    pub(crate) fn find(&self, name: &[u8]) -> Option<FieldId> {
        std::str::from_utf8(name).ok().and_then(|name| self.by_name.get(name)).copied()
    }

    /// Whether ECS says the type of the field of this shape, for the few values that are not of it.
    #[cold]
    pub(crate) fn is_of_ecs(&self, shape: Shape) -> bool {
        let found = self.shapes.binary_search_by_key(&shape.key, |known| known.key);
        found.is_ok_and(|index| self.fields[index].of_ecs)
    }

    /// Says what a field is that ECS does not have.
    pub(crate) fn set_kind(&mut self, id: FieldId, kind: Type) {
        self.fields[id.index()].kind = kind;
    }

    /// The number of `name`, given now if it has none yet.
    pub(crate) fn intern(&mut self, name: &str) -> FieldId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = FieldId(self.fields.len() as u32);
        let mut key = vec![b'"'];
        logweir_record::write_escaped(&mut key, name.as_bytes());
        key.extend_from_slice(b"\":");
        key.shrink_to_fit();
        let of_ecs = ecs::type_of(name);
        self.fields.push(Field {
            name: name.to_owned(),
            key,
            kind: of_ecs.unwrap_or(Type::TEXT),
            of_ecs: of_ecs.is_some(),
            emitted: !name.starts_with('_'),
            single: of_ecs.is_some_and(|kind| !kind.list),
            derived: name.starts_with("related."),
            relation: relation(name),
            endpoint: None,
        });
        self.by_name.insert(name.to_owned(), id);
        self.link_endpoint(name, id);
        id
    }

    fn link_endpoint(&mut self, name: &str, id: FieldId) {
        let Some((end, "address" | "ip")) = name.split_once('.') else { return };
        if !matches!(end, "source" | "destination" | "client" | "server") {
            return;
        }
        let endpoint = Endpoint {
            address: self.intern(&format!("{end}.address")),
            ip: self.intern(&format!("{end}.ip")),
            domain: self.intern(&format!("{end}.domain")),
            port: self.intern(&format!("{end}.port")),
        };
        for id in [endpoint.address, endpoint.ip, endpoint.domain, endpoint.port] {
            self.fields[id.index()].derived = true;
        }
        self.fields[id.index()].endpoint = Some(endpoint);
    }
}

/// Members that the agent writes into every event, or into every one of a kind of source: an event
/// must not have them twice.
const RESERVED: [&str; 12] = [
    "agent.id",
    "agent.name",
    "agent.type",
    "agent.version",
    "ecs.version",
    "event.created",
    "event.original",
    "input.type",
    "log.file.path",
    "log.offset",
    "log.source.address",
    "tls.client.subject",
];

/// Whether what stands between the dots of a name is there everywhere.
fn has_all_parts(name: &str) -> bool {
    name.split('.').all(|part| !part.is_empty())
}

/// Whether a pack may keep fields of its own under a prefix: what is wrong if not, and the remedy. Under a
/// root of ECS they would stand among fields that others write, and a line that names its own fields could
/// forge these.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), (String, String)> {
    if !has_all_parts(prefix) || prefix.starts_with('_') {
        let message = format!("`{prefix}` is no prefix of fields");
        return Err((message, "write a name such as `acme` or `acme.audit`".into()));
    }
    let root = |name: &str| name.split('.').next() == prefix.split('.').next();
    if root("logweir") || RESERVED.into_iter().any(root) || ecs::table().names().any(root) {
        let message = format!("`{prefix}` is where ECS or the agent has fields");
        let own = prefix.trim_start_matches("labels").trim_start_matches('.').replace('.', "_");
        let own = if own.is_empty() { "acme" } else { &own };
        let remedy = format!(
            "choose a prefix of your own, such as `acme`, or keep them under `labels.{own}`"
        );
        return Err((message, remedy));
    }
    Ok(())
}

/// Why a rule may not name a field.
enum Unfit {
    Reserved,
    Object,
    Parted,
    Unknown,
}

fn unfit(name: &str, vendor: &[String]) -> Option<Unfit> {
    if !has_all_parts(name) && !name.starts_with('_') {
        return Some(Unfit::Parted);
    }
    if RESERVED.contains(&name) || name.starts_with("logweir.") {
        return Some(Unfit::Reserved);
    }
    let own = |prefix: &str| {
        name.len() > prefix.len() + 1
            && name.starts_with(prefix)
            && name.as_bytes()[prefix.len()] == b'.'
    };
    if name.starts_with('_') || own("labels") || vendor.iter().any(|prefix| own(prefix)) {
        return None;
    }
    match ecs::type_of(name) {
        None => Some(Unfit::Unknown),
        Some(kind) => (kind.kind == Kind::Object).then_some(Unfit::Object),
    }
}

/// Whether a rule may name this field.
pub(crate) fn may_name(name: &str, vendor: &[String]) -> bool {
    unfit(name, vendor).is_none()
}

/// As [`may_name`], and what is wrong if it may not: (message, remedy).
pub(crate) fn check_name(name: &str, vendor: &[String]) -> Result<(), (String, String)> {
    Err(match unfit(name, vendor) {
        None => return Ok(()),
        Some(Unfit::Reserved) => (
            format!("`{name}` is written by the agent itself"),
            "keep it under another name, such as one under `labels.`".into(),
        ),
        Some(Unfit::Parted) => (
            format!("`{name}` is no name of a field"),
            "write one dot between its parts, and none around them".into(),
        ),
        Some(Unfit::Object) => (
            format!("`{name}` is an object in ECS, not a value"),
            format!("name one of its fields, such as `{name}.…`"),
        ),
        Some(Unfit::Unknown) => {
            let remedy = match nearest(name, ecs::table().names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "use an ECS name (`rules schema` lists them), `labels.{}`, or declare a prefix in `vendor:`",
                    name.replace('.', "_")
                ),
            };
            (format!("`{name}` is not an ECS field"), remedy)
        }
    })
}

/// As [`check_name`], for a field that a sample expects: what the agent writes is among them, names for
/// use inside rules are not.
pub(crate) fn check_expected(name: &str, vendor: &[String]) -> Result<(), (String, String)> {
    if name.starts_with('_') {
        return Err((
            format!("`{name}` is for use inside the rule, and in no event"),
            "expect a field that is emitted".into(),
        ));
    }
    let written = RESERVED.contains(&name) || name.starts_with("logweir.") || name == "dropped";
    if written { Ok(()) } else { check_name(name, vendor) }
}

/// A type named in a capture, such as the `int` of `(?<labels.n:int>…)`.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    let kind = match name {
        "int" | "integer" | "long" => Kind::Integer,
        "float" => Kind::Float,
        "bool" | "boolean" => Kind::Boolean,
        "ip" => Kind::Ip,
        "string" | "text" | "keyword" => Kind::Text,
        _ => return None,
    };
    Some(Type { kind, list: false })
}

fn relation(name: &str) -> Option<Relation> {
    let tail = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    if name.starts_with("related.") {
        return None;
    }
    if tail(&[".ip"]) && !name.starts_with("agent.") && !name.starts_with("labels.") {
        return Some(Relation::Ip);
    }
    if name == "user.name"
        || (tail(&[".user.name"]) && ecs::type_of(name).is_some())
        || matches!(name, "user.target.name" | "user.effective.name" | "user.changes.name")
    {
        return Some(Relation::User);
    }
    if matches!(
        name,
        "host.hostname"
            | "host.name"
            | "source.domain"
            | "destination.domain"
            | "client.domain"
            | "server.domain"
            | "url.domain"
            | "observer.hostname"
            | "dns.question.name"
    ) {
        return Some(Relation::Host);
    }
    (name.contains(".hash.") && ecs::type_of(name).is_some()).then_some(Relation::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_ecs_are_refused_with_the_nearest_one() {
        assert!(check_name("source.ip", &[]).is_ok());
        assert!(check_name("labels.x", &[]).is_ok());
        assert!(check_name("_tmp", &[]).is_ok());
        assert!(check_name("cisco.asa.id", &["cisco".into()]).is_ok());
        let (message, remedy) = check_name("source.iq", &[]).unwrap_err();
        assert_eq!(message, "`source.iq` is not an ECS field");
        assert_eq!(remedy, "did you mean `source.ip`?");
        assert!(check_name("source.geo", &[]).is_err());
        for name in ["labels.a.", "labels..a", "labels.", "cisco.a..b", "cisco."] {
            assert!(check_name(name, &["cisco".into()]).is_err(), "{name}");
        }
    }

    #[test]
    fn an_address_knows_its_siblings() {
        let mut table = FieldTable::default();
        let address = table.intern("source.address");
        let endpoint = table.get(address).endpoint.unwrap();
        assert_eq!(table.get(endpoint.ip).name, "source.ip");
        assert_eq!(table.get(endpoint.domain).name, "source.domain");
        assert_eq!(table.intern("source.address"), address);
    }
}
