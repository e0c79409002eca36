//! Sub-parsers: texts of a known form into keys and values.
//!
//! Each says whether its input had the form, never panics, and hands keys to a [`FieldSink`] as they
//! come; keys that came before a fault was found have been handed over.

pub mod auditd;
pub mod cef;
pub mod csv;
pub mod json;
pub mod kv;
pub mod leef;
mod saddr;
pub mod xml;

pub use csv::CsvOptions;
pub use kv::KvOptions;

/// Takes keys and values in.
pub trait FieldSink {
    fn field(&mut self, key: &[u8], value: SubValue<'_>);

    /// Whether there is a use for the value of `key`; if not, the items of a list need not be told.
    fn wants(&self, key: &[u8]) -> bool;

    /// The next item of a list; [`SubValue::List`] closes it and gives it its key.
    fn item(&mut self, item: SubValue<'_>);
}

/// Working space that sub-parsers use again from line to line.
#[derive(Debug, Default)]
pub struct Space {
    /// A key that is put together.
    path: Vec<u8>,
    /// A text that was unescaped or decoded.
    text: Vec<u8>,
    /// The elements that are open.
    open: Vec<xml::Open>,
    /// Their texts, as far as those stand in several pieces.
    pieces: Vec<u8>,
    /// The pairs of a record, and those that give others of them a name.
    pairs: Vec<cef::Pair>,
    labels: Vec<cef::Pair>,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum SubValue<'a> {
    /// Stands in the input as it is, or was unescaped or decoded.
    Text(&'a [u8]),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// Of the items that were told since the last field.
    List,
    Null,
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{FieldSink, Space, SubValue};

    /// Collects `key=value` texts.
    #[derive(Default)]
    pub(crate) struct Collected {
        pub(crate) fields: Vec<String>,
        items: Vec<String>,
    }

    impl FieldSink for Collected {
        fn field(&mut self, key: &[u8], value: SubValue<'_>) {
            let items = std::mem::take(&mut self.items);
            let value = match value {
                SubValue::List => format!("[{}]", items.join(",")),
                value => show(&value),
            };
            self.fields.push(format!("{}={value}", String::from_utf8_lossy(key)));
        }

        fn wants(&self, _: &[u8]) -> bool {
            true
        }

        fn item(&mut self, item: SubValue<'_>) {
            self.items.push(show(&item));
        }
    }

    fn show(value: &SubValue<'_>) -> String {
        match value {
            SubValue::Text(text) => String::from_utf8_lossy(text).into_owned(),
            SubValue::Integer(number) => format!("#{number}"),
            SubValue::Float(number) => format!("#{number}"),
            SubValue::Boolean(truth) => format!("?{truth}"),
            SubValue::List => "a list in a list".into(),
            SubValue::Null => "null".into(),
        }
    }

    /// Runs `parse` and compares what it said and gave.
    pub(crate) fn check(
        input: &str,
        parse: impl Fn(&[u8], &mut Space, &mut dyn FieldSink) -> bool,
        said: bool,
        gave: &[&str],
    ) {
        let (mut collected, mut space) = (Collected::default(), Space::default());
        assert_eq!(parse(input.as_bytes(), &mut space, &mut collected), said, "{input}");
        if said {
            assert_eq!(collected.fields, gave, "{input}");
        }
        for end in 0..input.len() {
            let _ = parse(&input.as_bytes()[..end], &mut space, &mut Collected::default());
        }
    }
}
