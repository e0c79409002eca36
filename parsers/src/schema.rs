//! The JSON Schema of packs, by which editors complete and check them as they are written.
//!
//! Draft 7, which is what the language servers for YAML know. It sees less than the loader: nothing of
//! patterns, ids and chains. That both know the same keys is tested.

use crate::ecs::{self, Kind, WITH_ALLOWED, allowed};
use crate::time;
use crate::transform;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Steps of `transform` that take an argument.
const STEPS: [&str; 8] =
    ["split", "strip_prefix", "strip_suffix", "multiply", "divide", "add", "int", "replace"];

/// The schema of a pack.
#[must_use]
pub fn schema() -> Value {
    let mut pack = object(json!({
        "pack": {"type": "string", "pattern": "^[a-z0-9._-]+$", "description": "its name, lower case"},
        "description": about("one line"),
        "dataset": about("event.dataset of its events; by default the name"),
        "module": about("event.module of its events; by default the name up to its first dot"),
        "aliases": reference("texts"),
        "priority": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 50},
        "vendor": reference("texts"),
        "applies": reference("applies"),
        "set": reference("set"),
        "patterns": {"type": "object", "additionalProperties": reference("text")},
        "pattern_files": reference("texts"),
        "internal_networks": reference("texts"),
        "null_values": reference("texts"),
        "time": reference("times"),
        "rules": reference("rules"),
        "chains": {"type": "object", "additionalProperties": reference("rules")},
    }));
    let head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A rule pack of Logweir",
        "required": ["pack"],
        "anyOf": [{"required": ["rules"]}, {"required": ["internal_networks"]}],
        "definitions": definitions(),
    });
    merge(&mut pack, head);
    pack
}

fn definitions() -> Value {
    let mut rule = object(json!({
        "id": {"type": "string", "description": "unique; by convention pack.what"},
        "pattern": about("a regex on the message, in single quotes; named captures are ECS fields"),
        "patterns": {"type": "array", "items": reference("text")},
        "on": about("`line`, or a field, instead of the message"),
        "parse": one_or_more(reference("parse")),
        "when": fields(json!({"anyOf": [reference("text"), list_of(reference("text"))]})),
        "transform": fields(one_or_more(reference("step"))),
        "map": fields(reference("map")),
        "set": reference("set"),
        "time": reference("times"),
        "then": merged(
            object(json!({"field": reference("text"), "chain": reference("text")})),
            json!({"required": ["chain"]}),
        ),
        "action": reference("action"),
        "unicode": {"type": "boolean"},
        "samples": list_of(merged(
            object(json!({"line": reference("text"), "expect": {"type": "object"}})),
            json!({"required": ["line"]}),
        )),
    }));
    let anything = ["pattern", "patterns", "parse", "when"].map(|key| json!({"required": [key]}));
    merge(&mut rule, json!({"required": ["id"], "anyOf": anything}));
    json!({
        "text": {"type": ["string", "number", "boolean"]},
        "texts": {"anyOf": [reference("text"), list_of(reference("text"))]},
        "value": {"anyOf": [reference("text"), list_of(reference("text"))]},
        "field": field(),
        "applies": object(json!({
            "program": reference("texts"),
            "starts": reference("texts"),
            "contains": reference("texts"),
            "json_keys": reference("texts"),
            "signature": about("a regex on the message, for formats with no mark"),
            "syslog": {"type": "boolean"},
        })),
        "rules": list_of(reference("rule")),
        "rule": rule,
        "parse": parse(),
        "step": step(),
        "map": {"type": "object", "anyOf": [
            merged(
                object(json!({
                    "from": reference("text"),
                    "values": {"type": "object", "additionalProperties": reference("value")},
                    "default": reference("value"),
                })),
                json!({"required": ["values"]}),
            ),
            {"additionalProperties": reference("value")},
        ]},
        "set": set(),
        "times": one_or_more(reference("time")),
        "time": object(json!({
            "field": about("the field, or a template of several; @timestamp by default"),
            "formats": {"anyOf": [reference("format"), list_of(reference("format"))]},
            "zone": about("for texts without a zone: Europe/Berlin, +02:00, UTC, or header"),
            "into": reference("text"),
            "add": reference("text"),
            "subtract": reference("text"),
        })),
        "format": {"anyOf": [
            {"enum": time::NAMES.split(' ').collect::<Vec<_>>()},
            {"type": "string", "pattern": "%"},
        ]},
        "action": object(json!({
            "drop": {"type": "string", "pattern": "^[a-z0-9_.-]{1,48}$"},
            "sample": {"type": "integer", "minimum": 2, "maximum": 1_000_000_000},
            "mask": reference("texts"),
            "with": {"enum": ["redact", "hash"]},
        })),
    })
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

/// A mapping whose keys are fields.
fn fields(value: Value) -> Value {
    json!({"type": "object", "propertyNames": reference("field"), "additionalProperties": value})
}

fn set() -> Value {
    let mut set = fields(json!({"anyOf": [
        reference("value"),
        object(json!({"direction": {"type": "array", "minItems": 2, "maxItems": 2,
            "items": {"enum": ["source", "destination", "client", "server"]}}})),
    ]}));
    let words = WITH_ALLOWED.into_iter().filter_map(|name| {
        // A template may become any of them.
        let word =
            json!({"anyOf": [{"enum": allowed(name)?}, {"type": "string", "pattern": "\\{"}]});
        Some((name.to_owned(), one_or_more(word)))
    });
    set["properties"] = Value::Object(words.collect());
    set
}

fn parse() -> Value {
    merged(
        object(json!({
            "as": {"enum": ["json", "kv", "csv", "cef", "leef", "xml", "auditd"]},
            "field": about("the message by default, or a field"),
            "rest": about("a prefix of `vendor` to keep other keys under, or `drop`"),
            "optional": {"type": "boolean"},
            "fields": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
            "pair_separators": reference("text"),
            "key_value_separator": reference("text"),
            "spaces_in_values": {"type": "boolean"},
            "trim": reference("text"),
            "separator": reference("text"),
            "quote": reference("text"),
            "columns": reference("texts"),
            "collapse": {"type": "boolean"},
        })),
        json!({"required": ["as"]}),
    )
}

fn step() -> Value {
    let names: Vec<&str> = transform::NAMES.iter().map(|(name, _)| *name).collect();
    let number = json!({"type": "number", "not": {"const": 0}});
    let argument = |name: &str| match name {
        "multiply" | "divide" => number.clone(),
        "int" => json!({"type": "integer", "minimum": 2, "maximum": 36}),
        "replace" => json!({"type": "array", "minItems": 2, "maxItems": 2}),
        _ => reference("text"),
    };
    let arguments: Map<String, Value> =
        STEPS.iter().map(|name| ((*name).to_owned(), argument(name))).collect();
    let with_argument =
        merged(object(Value::Object(arguments)), json!({"minProperties": 1, "maxProperties": 1}));
    json!({"anyOf": [{"enum": names}, with_argument]})
}

/// A mapping of these keys and no others.
fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

fn about(description: &str) -> Value {
    json!({"type": ["string", "number", "boolean"], "description": description})
}

fn list_of(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn one_or_more(item: Value) -> Value {
    json!({"anyOf": [item.clone(), list_of(item)]})
}

fn merge(to: &mut Value, more: Value) {
    if let (Value::Object(to), Value::Object(more)) = (to, more) {
        to.extend(more);
    }
}

fn merged(mut to: Value, more: Value) -> Value {
    merge(&mut to, more);
    to
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
    fn every_reference_leads_somewhere() {
        let schema = schema();
        let text = schema.to_string();
        let names = text.split("#/definitions/").skip(1).filter_map(|rest| rest.split('"').next());
        for name in names {
            assert!(schema["definitions"][name].is_object(), "{name}");
        }
    }
}
