//! Looking into `extra`: the JSON object of the fields without a column.

use crate::record::Key;
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Finds one field by its name.
#[derive(Debug)]
pub(crate) struct Finder<'n> {
    name: &'n str,
    /// The name in quotes: rows without these bytes need no parsing.
    needle: memchr::memmem::Finder<'static>,
}

impl<'n> Finder<'n> {
    pub(crate) fn new(name: &'n str) -> Self {
        let mut quoted = vec![b'"'];
        logweir_record::write_escaped(&mut quoted, name.as_bytes());
        quoted.extend_from_slice(b"\":");
        Self { name, needle: memchr::memmem::Finder::new(&quoted).into_owned() }
    }

    /// Whether the field, or an element of it, passes.
    pub(crate) fn any(&self, json: &str, passes: impl Fn(&str) -> bool) -> bool {
        let mut any = false;
        self.each(json, |value| any |= passes(value));
        any
    }

    /// Hands out the field's value, or each element of it.
    pub(crate) fn each(&self, json: &str, mut take: impl FnMut(&str)) {
        if self.needle.find(json.as_bytes()).is_none() {
            return;
        }
        members(json, |name, raw| {
            if name == self.name {
                values(raw.get(), &mut take);
            }
        });
    }
}

fn values(raw: &str, take: &mut impl FnMut(&str)) {
    match raw.as_bytes().first() {
        Some(b'n') | None => {}
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
            elements.iter().for_each(|element| take(&scalar(element.get())));
        }
        _ => take(&scalar(raw)),
    }
}

/// The text of a string; all else as JSON.
pub(crate) fn scalar(raw: &str) -> Cow<'_, str> {
    match raw.starts_with('"') {
        true => serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw), Cow::Owned),
        false => Cow::Borrowed(raw),
    }
}

/// Hands out the members of an object; what is none has none.
pub(crate) fn members(json: &str, take: impl FnMut(&str, &RawValue)) {
    struct Members<F>(F);
    impl<'de, F: FnMut(&str, &RawValue)> Visitor<'de> for Members<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(Key(name)) = map.next_key()? {
                (self.0)(&name, map.next_value::<&RawValue>()?);
            }
            Ok(())
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let _ = deserializer.deserialize_map(Members(take));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name_and_its_elements_one_by_one() {
        let json = r#"{"a.b":"x","c":["y",2],"labels.a.b":"z","q\"":true,"n":null}"#;
        for (name, expected) in [
            ("a.b", vec!["x"]),
            ("c", vec!["y", "2"]),
            ("b", vec![]),
            ("labels.a.b", vec!["z"]),
            ("q\"", vec!["true"]),
            ("n", vec![]),
        ] {
            let mut found = Vec::new();
            Finder::new(name).each(json, |value| found.push(value.to_owned()));
            assert_eq!(found, expected, "{name}");
        }
        Finder::new("a").each("{\"a\":", |_| panic!("not complete"));
        Finder::new("a").each("no json \"a\":1", |_| panic!("no object"));
    }
}
