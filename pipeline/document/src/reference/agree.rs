//! What differs between the tables and what a reader asks for. For the tests of those who have tables.

use super::{Kind, Section};
use crate::diagnostic::Asked;
use crate::table::Shape;
use std::collections::BTreeSet;

/// Where `asked`, of a configuration in which every section stands, and `reference` differ, each in
/// words; empty if they agree.
#[must_use]
pub fn disagreements(reference: &Section, asked: &[Asked]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut read = BTreeSet::new();
    for Asked { section, key, shape } in asked {
        let place = format!("{}.{key}", without_numbers(section));
        read.insert(place.clone());
        let sections = reference.at(section);
        let known: Vec<_> = sections.iter().filter_map(|section| section.key(key)).collect();
        if known.is_empty() {
            wrong.push(format!("{place} is read and not described"));
        } else if !known.iter().any(|key| key.kind.fits(shape)) {
            wrong
                .push(format!("{place} is read as {shape:?} and described as {:?}", known[0].kind));
        }
    }
    let mut described = BTreeSet::new();
    describe(reference, "", &mut described);
    wrong.extend(described.difference(&read).map(|place| format!("{place} is not read")));
    wrong
}

fn describe(section: &Section, path: &str, found: &mut BTreeSet<String>) {
    let others = section.other_names();
    for key in section.keys.iter().filter(|key| others.iter().all(|other| other.name != key.name)) {
        let path = format!("{path}.{}", key.name);
        found.insert(path.clone());
        let inner = if matches!(key.kind, Kind::List(_)) { format!("{path}[]") } else { path };
        key.kind.sections().into_iter().for_each(|section| describe(section, &inner, found));
    }
}

/// `sources[2].spool` as `.sources[].spool`.
fn without_numbers(path: &str) -> String {
    let mut out = String::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        out.push('.');
        match part.split_once('[') {
            Some((name, _)) => out.push_str(&format!("{name}[]")),
            None => out.push_str(part),
        }
    }
    out
}

impl Kind {
    fn fits(&self, shape: &Shape) -> bool {
        match (self, shape) {
            (Self::Boolean, Shape::Boolean)
            | (Self::Texts, Shape::Texts)
            | (Self::Section(_) | Self::TextOr(_), Shape::Section)
            | (Self::List(_), Shape::List)
            | (Self::Text, Shape::Text) => true,
            (Self::Integer(from, to), Shape::Integer(range)) => (*from..=*to) == *range,
            (Self::Size(from, to), Shape::Size(range)) => (*from..=*to) == *range,
            (Self::Duration(from, to), Shape::Duration(range)) => (*from..=*to) == *range,
            (Self::Choice(words), Shape::Choice(read)) => read == words,
            // Whoever looks at a value himself describes it as what it is.
            (_, Shape::Any) => true,
            _ => false,
        }
    }
}

/// The sample with every setting put to use.
#[must_use]
pub fn uncommented(sample: &str) -> String {
    let line = |line: &str| match line.trim_start() {
        setting if setting.starts_with('#') && !setting.starts_with("# ") => {
            line.replacen('#', "", 1)
        }
        _ => line.to_owned(),
    };
    sample.lines().map(line).collect::<Vec<_>>().join("\n")
}
