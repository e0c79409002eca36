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
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum SubValue<'a> {
    /// Stands in the input as it is.
    Text(&'a [u8]),
    /// Was unescaped or decoded.
    Owned(Vec<u8>),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<SubValue<'a>>),
    Null,
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{FieldSink, SubValue};

    /// Collects `key=value` texts.
    #[derive(Default)]
    pub(crate) struct Collected(pub(crate) Vec<String>);

    impl FieldSink for Collected {
        fn field(&mut self, key: &[u8], value: SubValue<'_>) {
            self.0.push(format!("{}={}", String::from_utf8_lossy(key), show(&value)));
        }
    }

    fn show(value: &SubValue<'_>) -> String {
        match value {
            SubValue::Text(text) => String::from_utf8_lossy(text).into_owned(),
            SubValue::Owned(text) => String::from_utf8_lossy(text).into_owned(),
            SubValue::Integer(number) => format!("#{number}"),
            SubValue::Float(number) => format!("#{number}"),
            SubValue::Boolean(truth) => format!("?{truth}"),
            SubValue::List(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(","))
            }
            SubValue::Null => "null".into(),
        }
    }

    /// Runs `parse` and compares what it said and gave.
    pub(crate) fn check(
        input: &str,
        parse: impl Fn(&[u8], &mut dyn FieldSink) -> bool,
        said: bool,
        gave: &[&str],
    ) {
        let mut collected = Collected::default();
        assert_eq!(parse(input.as_bytes(), &mut collected), said, "{input}");
        if said {
            assert_eq!(collected.0, gave, "{input}");
        }
        for end in 0..input.len() {
            let _ = parse(&input.as_bytes()[..end], &mut Collected::default());
        }
    }
}
