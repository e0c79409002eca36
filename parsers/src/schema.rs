//! The JSON Schema of packs, by which editors complete and check them as they are written.
//!
//! Draft 7, which is what the language servers for YAML know. It sees less than the loader: nothing of
//! patterns, ids and chains. That both know the same keys is tested.

use crate::ecs::{self, Kind, WITH_ALLOWED, allowed};
use crate::time;
use crate::transform;
use flate2::read::DeflateDecoder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read as _;

/// `schema.json`: what of it depends on nothing; what is filled in is empty there.
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.deflate"));

/// The schema of a pack.
///
/// # Panics
/// Never: it is part of the program, and tested.
#[must_use]
pub fn schema() -> Value {
    let mut text = String::new();
    DeflateDecoder::new(PACKED).read_to_string(&mut text).expect("the build packed it");
    let mut schema: Value = serde_json::from_str(&text).expect("the text is JSON");
    let formats = time::NAMES.split(' ').map(Value::from).collect();
    let steps = transform::NAMES.iter().map(|(name, _)| Value::from(*name)).collect();
    let definitions = &mut schema["definitions"];
    definitions["field"] = field();
    definitions["set"]["properties"] = words();
    definitions["format"]["anyOf"][0]["enum"] = Value::Array(formats);
    definitions["step"]["anyOf"][0]["enum"] = Value::Array(steps);
    schema
}

/// Names that a rule may give a field: those of ECS, and others outside of what ECS has.
fn field() -> Value {
    let table = ecs::table();
    let values = |name: &&str| table.type_of(name).is_some_and(|kind| kind.kind != Kind::Object);
    let names: Vec<&str> = table.names().filter(values).collect();
    let roots: BTreeSet<&str> =
        names.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    let roots: Vec<&str> = roots.into_iter().filter(|root| *root != "labels").collect();
    let others = format!("^_|^(?!(?:{})\\.)[^.]+\\..", roots.join("|"));
    json!({"anyOf": [{"enum": names}, {"type": "string", "pattern": others}]})
}

/// The fields of which ECS allows certain words, one or a list of them.
fn words() -> Value {
    let words = WITH_ALLOWED.into_iter().filter_map(|name| {
        // A template may become any of them.
        let word =
            json!({"anyOf": [{"enum": allowed(name)?}, {"type": "string", "pattern": "\\{"}]});
        let list = json!({"type": "array", "items": word});
        Some((name.to_owned(), json!({"anyOf": [word, list]})))
    });
    Value::Object(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::RuleSet;

    /// The keys that the loader lists where it meets one that it does not know.
    fn loaded(text: &str) -> BTreeSet<String> {
        let faults = RuleSet::of_text("p.yaml", text).unwrap_err();
        let remedies = faults.iter().filter_map(|fault| fault.remedy.as_deref());
        let lists = remedies.filter_map(|remedy| remedy.strip_prefix("known keys: "));
        lists.flat_map(|list| list.split(", ").map(str::to_owned)).collect()
    }

    #[test]
    fn it_has_the_keys_that_the_loader_knows() {
        let rule = |what: &str| {
            loaded(&format!("pack: p\nrules:\n  - {{id: p.a, pattern: '(?<_x>x)', {what}}}\n"))
        };
        let mut parse = rule("parse: [{as: kv, qqqqqqqqqqqq: 1}, {as: csv, qqqqqqqqqqqq: 1}]");
        parse.extend(rule("parse: [{as: json, qqqqqqqqqqqq: 1}]"));
        let schema = schema();
        for (place, known) in [
            ("", loaded("pack: p\nrules: []\nqqqqqqqqqqqq: 1\n")),
            ("/definitions/applies", loaded("pack: p\nrules: []\napplies: {qqqqqqqqqqqq: 1}\n")),
            ("/definitions/rule", rule("qqqqqqqqqqqq: 1")),
            ("/definitions/rule/properties/then", rule("then: {qqqqqqqqqqqq: 1, chain: c}")),
            (
                "/definitions/rule/properties/samples/items",
                rule("samples: [{line: x, qqqqqqqqqqqq: 1}]"),
            ),
            ("/definitions/parse", parse),
            ("/definitions/step/anyOf/1", rule("transform: {_x: [{qqqqqqqqqqqq: 1}]}")),
            (
                "/definitions/map/anyOf/0",
                rule("map: {_y: {from: _x, values: {}, qqqqqqqqqqqq: 1}}"),
            ),
            ("/definitions/time", rule("time: {field: _x, qqqqqqqqqqqq: 1}")),
            ("/definitions/action", rule("action: {sample: 2, qqqqqqqqqqqq: 1}")),
        ] {
            let properties = schema.pointer(&format!("{place}/properties"));
            let keys = properties.and_then(Value::as_object).expect(place).keys().cloned();
            assert_eq!(keys.collect::<BTreeSet<_>>(), known, "{place}");
        }
    }

    #[test]
    fn a_rule_needs_what_the_loader_wants() {
        let schema = schema();
        let wanted = schema["definitions"]["rule"]["anyOf"].as_array().unwrap();
        let keys = wanted.iter().filter_map(|one| one["required"][0].as_str());
        assert!(keys.eq(["pattern", "patterns", "parse", "when", "then"]), "{wanted:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let schema = schema();
        let text = schema.to_string();
        let names = text.split("#/definitions/").skip(1).filter_map(|rest| rest.split('"').next());
        for name in names {
            assert!(schema["definitions"][name].is_object(), "{name}");
        }
    }
}
