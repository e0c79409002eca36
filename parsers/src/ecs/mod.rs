//! The fields of the Elastic Common Schema: which names there are and how their values are written.
//!
//! The table is data (`fields.tsv`, packed by the build script), parsed once. What a pack may name beyond it is decided in
//! [`crate::fields`].

use flate2::read::DeflateDecoder;
use rustc_hash::FxHashMap;
use std::io::Read as _;
use std::sync::OnceLock;

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

fn table() -> &'static FxHashMap<&'static str, Type> {
    static TABLE: OnceLock<FxHashMap<&'static str, Type>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut text = String::new();
        let read = DeflateDecoder::new(PACKED).read_to_string(&mut text);
        read.expect("the build packed it");
        // The table stays as long as the process.
        text.leak().lines().filter_map(row).collect()
    })
}

fn row(line: &'static str) -> Option<(&'static str, Type)> {
    let (name, kind) = line.split_once('\t')?;
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
    Some((name, Type { kind, list }))
}

/// The type of an ECS field; `None` if ECS has no such field.
#[must_use]
pub fn type_of(name: &str) -> Option<Type> {
    table().get(name).copied()
}

/// All names, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    table().keys().copied()
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
        assert_eq!(type_of("source.ipp"), None);
    }
}
