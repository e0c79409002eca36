//! Messages that name their own values: JSON objects and `key=value` pairs. All of a program become
//! one rule with a sub-parser, whatever the keys' order and number.

use super::names::{Around, name};
use super::rule::Draft;
use super::scan::{Kind, TIMES, Token, classify};
use crate::yaml::quoted;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// More keys of one program than these are left out.
const KEYS_MAX: usize = 128;
/// More programs than these are taken as text.
const RECORDS_MAX: usize = 256;
/// Fewer pairs are a sentence that holds a pair.
const PAIRS_MIN: usize = 3;
/// How many keys tell a program's JSON from others.
const JSON_KEYS_MAX: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Json,
    Kv,
}

#[derive(Debug, Default)]
struct Key {
    lines: u64,
    kinds: u32,
    formats: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Record {
    lines: u64,
    first: u64,
    keys: BTreeMap<String, Key>,
    /// The key that the lines begin with; empty if it varies.
    leading: String,
    examples: Vec<String>,
}

/// The records found so far, by program and form.
#[derive(Debug, Default)]
pub(super) struct Records {
    found: BTreeMap<(Option<String>, Form), Record>,
}

impl Records {
    /// Whether the message is a record, which is then taken in.
    pub(super) fn add(
        &mut self,
        program: Option<&str>,
        line: &str,
        message: &str,
        tokens: &[Token<'_>],
        number: u64,
    ) -> bool {
        let (form, pairs) = match json(message) {
            Some(pairs) => (Form::Json, pairs),
            None => match pairs(tokens) {
                Some(pairs) => (Form::Kv, pairs),
                None => return false,
            },
        };
        let key = (program.map(str::to_owned), form);
        if self.found.len() == RECORDS_MAX && !self.found.contains_key(&key) {
            return false;
        }
        let leading = pairs.first().map(|(key, _)| key.clone()).unwrap_or_default();
        let record = self.found.entry(key).or_insert_with(|| Record {
            first: number,
            leading: leading.clone(),
            ..Record::default()
        });
        record.take(line, &leading, pairs);
        true
    }

    pub(super) fn finish(self) -> Vec<Draft> {
        self.found
            .into_iter()
            .filter_map(|((program, form), record)| record.draft(program, form))
            .collect()
    }
}

impl Record {
    fn take(&mut self, line: &str, leading: &str, pairs: Vec<(String, String)>) {
        self.lines += 1;
        if self.leading != leading {
            self.leading.clear();
        }
        if self.examples.is_empty() || self.examples.len() == 1 && self.examples[0] != line {
            self.examples.push(line.to_owned());
        }
        for (name, value) in pairs {
            if self.keys.len() == KEYS_MAX && !self.keys.contains_key(&name) {
                continue;
            }
            let key = self.keys.entry(name).or_default();
            key.lines += 1;
            if !value.is_empty() {
                key.kinds |= classify(&value).unwrap_or(Kind::Quoted).bit();
                key.formats.extend(time_format(&value));
            }
        }
    }

    fn draft(self, program: Option<String>, form: Form) -> Option<Draft> {
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut formats = BTreeSet::new();
        for (name, key) in self.keys.iter().filter(|(_, key)| key.kinds != 0) {
            let field = if is_time(name) && !key.formats.is_empty() && formats.is_empty() {
                formats.extend(key.formats.iter().cloned());
                "_time".to_owned()
            } else {
                self.field(name, key, &fields)
            };
            fields.push((name.clone(), field));
        }
        let common: Vec<&String> = self
            .keys
            .iter()
            .filter(|(_, key)| key.lines == self.lines)
            .map(|(name, _)| name)
            .collect();
        let top_level = common.iter().filter(|name| !name.contains('.'));
        let json_keys: Vec<String> =
            top_level.take(JSON_KEYS_MAX).map(|name| (*name).clone()).collect();
        let pattern = match form {
            Form::Json if json_keys.is_empty() && program.is_none() => return None,
            Form::Json => None,
            Form::Kv if self.leading.is_empty() => Some(r"^[\w.-]+=".to_owned()),
            Form::Kv => Some(format!("^{}=", super::rule::escape(&self.leading))),
        };
        let list: Vec<String> =
            fields.iter().map(|(name, field)| format!("{}: {field}", quoted(name))).collect();
        let word = if form == Form::Json { "json" } else { "kv" };
        let separators =
            if form == Form::Kv { "        pair_separators: \" \\t,;\"\n" } else { "" };
        Some(Draft {
            words: vec![word.to_owned()],
            lines: self.lines,
            first: self.first,
            literal: usize::MAX,
            signature: pattern.clone().unwrap_or_default(),
            json_keys: if form == Form::Json { json_keys } else { Vec::new() },
            program,
            pattern,
            parse: format!(
                "    parse:\n      - as: {word}\n{separators}        fields:\n{}",
                list.iter().map(|pair| format!("          {pair}\n")).collect::<String>()
            ),
            times: formats.into_iter().collect(),
            unsure: false,
            fields: fields.into_iter().map(|(_, field)| field).collect(),
            examples: self.examples,
        })
    }

    /// A field for a key that no other key has got.
    fn field(&self, key: &str, of: &Key, taken: &[(String, String)]) -> String {
        let last = key.rsplit('.').next().unwrap_or(key);
        let wanted = name(of.kinds, &Around { key: Some(last), ..Around::default() });
        let free = |name: &str| !taken.iter().any(|(_, field)| field == name);
        if free(&wanted) {
            return wanted;
        }
        let whole = format!("labels.{}", super::names::identifier(key));
        super::rule::unique(&whole, free)
    }
}

/// The scalars and lists of a JSON object, nested keys joined by dots.
fn json(message: &str) -> Option<Vec<(String, String)>> {
    if !message.trim_start().starts_with('{') {
        return None;
    }
    let Ok(Value::Object(members)) = serde_json::from_str(message.trim()) else { return None };
    let mut pairs = Vec::new();
    for (key, value) in &members {
        flatten(key.clone(), value, &mut pairs);
    }
    Some(pairs)
}

fn flatten(key: String, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                flatten(format!("{key}.{name}"), value, out);
            }
        }
        Value::String(text) => out.push((key, text.clone())),
        Value::Number(_) | Value::Bool(_) | Value::Array(_) => out.push((key, value.to_string())),
        Value::Null => out.push((key, String::new())),
    }
}

/// The pairs of a message that holds hardly anything else.
fn pairs(tokens: &[Token<'_>]) -> Option<Vec<(String, String)>> {
    if !matches!(tokens, [Token::Word(_), Token::Sign('='), ..]) {
        return None;
    }
    let mut pairs = Vec::new();
    let mut others = 0;
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            [Token::Word(key), Token::Sign('='), rest @ ..] => {
                let (value, length) = match rest {
                    [Token::Sign('"' | '\''), Token::Value(_, text), Token::Sign(_), ..] => {
                        (*text, 3)
                    }
                    [Token::Sign('"' | '\''), Token::Sign(_), ..] => ("", 2),
                    [Token::Value(_, text), ..] => (*text, 1),
                    _ => ("", 0),
                };
                pairs.push(((*key).to_owned(), value.to_owned()));
                at += 2 + length;
            }
            [Token::Word(_) | Token::Value(..), ..] => {
                others += 1;
                at += 1;
            }
            _ => at += 1,
        }
    }
    (pairs.len() >= PAIRS_MIN && 3 * others <= pairs.len()).then_some(pairs)
}

fn is_time(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).trim_start_matches('@').to_ascii_lowercase();
    matches!(
        last.as_str(),
        "time"
            | "timestamp"
            | "ts"
            | "t"
            | "date"
            | "datetime"
            | "eventtime"
            | "event_time"
            | "created"
    )
}

/// The format of a text that is a time, with times since 1970 among them.
fn time_format(value: &str) -> Option<String> {
    if let Some(kind) = classify(value).filter(|kind| TIMES.contains(kind)) {
        let fixed = kind.time().and_then(|(_, _, format)| format).map(str::to_owned);
        let told = kind != Kind::EitherFirst;
        return fixed.or_else(|| told.then(|| super::dates::format(kind, value)));
    }
    let whole = value.split('.').next().unwrap_or(value);
    let digits = whole.bytes().all(|b| b.is_ascii_digit());
    let name = match whole.len() {
        _ if !digits => None,
        10 => Some("unix"),
        13 => Some("unix_ms"),
        16 => Some("unix_us"),
        19 => Some("unix_ns"),
        _ => None,
    };
    name.map(str::to_owned)
}
