//! The fields of the Elastic Common Schema: which names there are and how their values are written.
//!
//! The table is data (`fields.tsv`, packed by the build script). It is there while someone holds it, as the
//! loader of rules does; an agent at rest has no use for it. What a pack may name beyond it is decided in
//! [`crate::fields`].

mod allowed;

pub(crate) use allowed::{FIELDS as WITH_ALLOWED, allowed};
use flate2::read::DeflateDecoder;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError, Weak};

const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fields.deflate"));

/// How a value is written, and what it has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Float,
    Boolean,
    Date,
    Ip,
    /// An object: only sub-fields are written.
    Object,
}

impl Kind {
    /// The word for it, as in `rules schema`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text | Self::Object => "text",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Ip => "ip",
        }
    }
}

/// A field's type; a list field is always written as a JSON array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type {
    pub kind: Kind,
    pub list: bool,
}

impl Type {
    /// A single text, which is what a field without a known type is.
    pub const TEXT: Self = Self { kind: Kind::Text, list: false };
}

/// All fields.
#[derive(Debug)]
pub struct Table {
    /// A field in each line, by its name.
    text: String,
    /// Where the lines begin.
    rows: Vec<u32>,
}

/// The table; it is unpacked if no one holds it.
#[must_use]
pub fn table() -> Arc<Table> {
    static HELD: Mutex<Weak<Table>> = Mutex::new(Weak::new());
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(table) = held.upgrade() {
        return table;
    }
    let mut text = String::new();
    DeflateDecoder::new(PACKED).read_to_string(&mut text).expect("the build packed it");
    let table = Arc::new(Table::of(text));
    *held = Arc::downgrade(&table);
    table
}

impl Table {
    fn of(text: String) -> Self {
        let start = |line: &str| (line.as_ptr() as usize - text.as_ptr() as usize) as u32;
        let fields = text.lines().filter(|line| line.contains('\t'));
        let rows: Vec<u32> = fields.map(start).collect();
        let table = Self { text, rows };
        debug_assert!(table.names().is_sorted(), "fields.tsv is not in order");
        table
    }

    fn row(&self, start: u32) -> (&str, &str) {
        let rest = &self.text[start as usize..];
        let end =
            |byte: u8, text: &str| memchr::memchr(byte, text.as_bytes()).unwrap_or(text.len());
        let name = end(b'\t', rest);
        let kind = rest.get(name + 1..).unwrap_or_default();
        (&rest[..name], &kind[..end(b'\n', kind)])
    }

    /// The type of a field; `None` if ECS has no such field.
    #[must_use]
    pub fn type_of(&self, name: &str) -> Option<Type> {
        let found = self.rows.binary_search_by(|start| self.row(*start).0.cmp(name)).ok()?;
        kind(self.row(self.rows[found]).1)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|start| self.row(*start).0)
    }
}

/// The type that a letter stands for.
fn kind(kind: &str) -> Option<Type> {
    let list = kind.ends_with('[');
    let kind = match kind.as_bytes().first()? {
        b'k' => Kind::Text,
        b'l' => Kind::Integer,
        b'f' => Kind::Float,
        b'b' => Kind::Boolean,
        b'd' => Kind::Date,
        b'i' => Kind::Ip,
        _ => Kind::Object,
    };
    Some(Type { kind, list })
}

/// See [`Table::type_of`].
pub(crate) fn type_of(name: &str) -> Option<Type> {
    table().type_of(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_fields_have_their_types() {
        for (name, kind, list) in [
            ("source.ip", Kind::Ip, false),
            ("source.port", Kind::Integer, false),
            ("event.category", Kind::Text, true),
            ("@timestamp", Kind::Date, false),
            ("related.ip", Kind::Ip, true),
        ] {
            assert_eq!(type_of(name), Some(Type { kind, list }), "{name}");
        }
        for unknown in ["source.ipp", "", "#", "zzz"] {
            assert_eq!(type_of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn every_field_is_found_by_its_name_in_one_table() {
        let table = table();
        assert!(table.names().count() > 2_000);
        assert!(table.names().all(|name| type_of(name).is_some()));
        assert!(Arc::ptr_eq(&table, &super::table()), "it is unpacked once while it is held");
    }
}
