//! Takes the keys of a sub-parser into the event.

use super::run::Run;
use crate::event::{Origin, Text, Value, write_f64, write_i64};
use crate::rule::{Rule, SubParse};
use crate::sub::{FieldSink, SubValue};

/// How many keys that no field is named for one sub-parser keeps. Those of `fields` are not counted: however
/// many others a line has in front of them, rules see them.
const REST_KEYS_MAX: usize = 1024;
/// How many items of a list are kept.
pub(super) const LIST_ITEMS_MAX: usize = 256;

pub(super) struct Keys<'k, 'r, 'p, 'l> {
    run: &'k mut Run<'r, 'p, 'l>,
    rule: &'k Rule,
    parse: &'k SubParse,
    /// How many keys of no field there were.
    others: usize,
    /// Where the items of the next list begin.
    items: u32,
}

impl FieldSink for Keys<'_, '_, '_, '_> {
    fn field(&mut self, key: &[u8], value: SubValue<'_>) {
        let (from, list) = (self.items, matches!(value, SubValue::List));
        let target = match self.parse.fields.get(key) {
            Some(None) => return self.forget_items(),
            Some(Some(field)) => Some(*field),
            None if self.parse.rest.is_none() => return self.forget_items(),
            None if self.others == REST_KEYS_MAX => return self.forget_items(),
            None => None,
        };
        self.others += usize::from(target.is_none());
        let value = if list { self.list(from) } else { self.value(&value) };
        self.items = self.run.state.event.list_start();
        let Some(value) = value else { return };
        match (target, &self.parse.rest) {
            (Some(field), _) => self.run.state.event.set(field, value, Origin::Rule),
            (None, Some(prefix)) => self.run.state.event.keep(key, prefix, value),
            (None, None) => {}
        }
    }

    fn wants(&self, key: &[u8]) -> bool {
        match self.parse.fields.get(key) {
            Some(target) => target.is_some(),
            None => self.parse.rest.is_some(),
        }
    }

    fn item(&mut self, item: SubValue<'_>) {
        if (self.run.state.event.list_start() - self.items) as usize == LIST_ITEMS_MAX {
            return;
        }
        let text = match item {
            SubValue::Text(text) => self.text(text),
            SubValue::List | SubValue::Null => None,
            number => {
                let mut scratch = std::mem::take(&mut self.run.state.scratch);
                scratch.clear();
                match number {
                    SubValue::Integer(number) => write_i64(&mut scratch, number),
                    SubValue::Float(number) => write_f64(&mut scratch, number),
                    SubValue::Boolean(true) => scratch.extend_from_slice(b"true"),
                    _ => scratch.extend_from_slice(b"false"),
                }
                let text = self.run.state.event.store(&scratch);
                self.run.state.scratch = scratch;
                Some(text)
            }
        };
        if let Some(text) = text {
            self.run.state.event.push_item(text);
        }
    }
}

impl<'k, 'r, 'p, 'l> Keys<'k, 'r, 'p, 'l> {
    pub(super) fn new(run: &'k mut Run<'r, 'p, 'l>, rule: &'k Rule, parse: &'k SubParse) -> Self {
        let items = run.state.event.list_start();
        Self { run, rule, parse, others: 0, items }
    }

    fn value(&mut self, value: &SubValue<'_>) -> Option<Value> {
        match value {
            SubValue::Null | SubValue::List => None,
            SubValue::Integer(number) => Some(Value::Integer(*number)),
            SubValue::Float(number) => Some(Value::Float(*number)),
            SubValue::Boolean(truth) => Some(Value::Boolean(*truth)),
            SubValue::Text(text) => self.text(text).map(Value::Text),
        }
    }

    fn list(&self, from: u32) -> Option<Value> {
        let event = &self.run.state.event;
        (event.list_start() > from).then(|| event.list_since(from))
    }

    /// The items of a list that has no use.
    fn forget_items(&mut self) {
        self.run.state.event.truncate_items(self.items);
    }

    fn text(&mut self, text: &[u8]) -> Option<Text> {
        let null = text.is_empty() || self.rule.is_null(text);
        (!null).then(|| self.run.place(text))
    }
}
