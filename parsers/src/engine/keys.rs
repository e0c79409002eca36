//! Takes the keys of a sub-parser into the event.

use super::run::Run;
use crate::event::{Origin, Text, Value, write_f64, write_i64};
use crate::rule::{Rule, SubParse};
use crate::sub::{FieldSink, SubValue};

/// How many keys one event takes in.
const KEYS_MAX: usize = 1024;

pub(super) struct Keys<'k, 'r, 'p, 'l> {
    pub(super) run: &'k mut Run<'r, 'p, 'l>,
    pub(super) rule: &'k Rule,
    pub(super) parse: &'k SubParse,
    pub(super) count: usize,
}

impl FieldSink for Keys<'_, '_, '_, '_> {
    fn field(&mut self, key: &[u8], value: SubValue<'_>) {
        let target = self.parse.fields.get(key);
        if target == Some(&None) || (target.is_none() && self.parse.rest.is_none()) {
            return;
        }
        self.count += 1;
        if self.count > KEYS_MAX {
            return;
        }
        let Some(value) = self.value(&value) else { return };
        match (target, &self.parse.rest) {
            (Some(Some(field)), _) => self.run.state.event.set(*field, value, Origin::Rule),
            (_, Some(prefix)) => self.run.state.event.keep(key, prefix, value),
            _ => {}
        }
    }
}

impl Keys<'_, '_, '_, '_> {
    fn value(&mut self, value: &SubValue<'_>) -> Option<Value> {
        match value {
            SubValue::Null => None,
            SubValue::Integer(number) => Some(Value::Integer(*number)),
            SubValue::Float(number) => Some(Value::Float(*number)),
            SubValue::Boolean(truth) => Some(Value::Boolean(*truth)),
            SubValue::Text(text) => self.text(text).map(Value::Text),
            SubValue::Owned(text) => self.text(text).map(Value::Text),
            SubValue::List(items) => {
                let start = self.run.state.event.list_start();
                for item in items {
                    if let Some(text) = self.item(item) {
                        self.run.state.event.push_item(text);
                    }
                }
                let list = self.run.state.event.list_since(start);
                (self.run.state.event.list_start() > start).then_some(list)
            }
        }
    }

    fn text(&mut self, text: &[u8]) -> Option<Text> {
        let null = text.is_empty() || self.rule.null_values.iter().any(|null| null == text);
        (!null).then(|| self.run.place(text))
    }

    fn item(&mut self, item: &SubValue<'_>) -> Option<Text> {
        let mut scratch = std::mem::take(&mut self.run.state.scratch);
        scratch.clear();
        match item {
            SubValue::Integer(number) => write_i64(&mut scratch, *number),
            SubValue::Float(number) => write_f64(&mut scratch, *number),
            SubValue::Boolean(truth) => {
                scratch.extend_from_slice(if *truth { b"true" } else { b"false" });
            }
            SubValue::Text(_) | SubValue::Owned(_) | SubValue::List(_) | SubValue::Null => {}
        }
        let text = match item {
            SubValue::Text(text) => self.text(text),
            SubValue::Owned(text) => self.text(text),
            SubValue::List(_) | SubValue::Null => None,
            SubValue::Integer(_) | SubValue::Float(_) | SubValue::Boolean(_) => {
                Some(self.run.state.event.store(&scratch))
            }
        };
        self.run.state.scratch = scratch;
        text
    }
}
