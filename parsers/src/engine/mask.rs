//! Hiding: what rules mask is hidden in its fields, wherever else the same text stands in the event and,
//! in place, in the line.
//!
//! It comes last, so that nothing is derived from what hides a text, and what was derived before is
//! hidden, too.

use super::keys::LIST_ITEMS_MAX;
use super::run::Run;
use crate::ecs::Kind;
use crate::event::{Event, Origin, Text, Value, View};
use crate::fields::FieldId;
use crate::rule::{Action, Rule, SetValue};
use crate::secrets::Secrets;

/// What is to be hidden of an event.
#[derive(Default)]
struct Hiding {
    /// The texts, and what takes their place.
    texts: Vec<(Vec<u8>, String)>,
    /// The fields that are masked, and what takes the place of their values.
    fields: Vec<(FieldId, String)>,
    /// Whether the line has, or may have, one of the texts in another form, such as with escapes: wherever
    /// that is.
    all: bool,
}

impl Run<'_, '_, '_> {
    /// Hides what the rules that have matched mask. Where the line has one of the texts in another form, all
    /// of the line and the message go.
    #[inline(never)]
    pub(super) fn mask(&mut self) {
        let masking = std::mem::take(&mut self.state.masking);
        let mut hiding = Hiding::default();
        for number in &masking {
            let rule = self.rules.rule(*number);
            if let Some(Action::Mask { fields, hash }) = &rule.action {
                fields.iter().for_each(|field| self.look_at(rule, *field, *hash, &mut hiding));
            }
        }
        self.state.masking = masking;
        let Hiding { texts, mut fields, mut all } = hiding;
        let secrets = Secrets::new(texts);
        let places = secrets.places(self.line);
        self.state.masked.extend(places.iter().map(|(place, _)| *place));
        all |= self.state.event.hide(self.line, &secrets);
        all |= secrets.are_escaped_in(self.line, &places);
        if let Some((_, hidden)) = fields.first().filter(|_| all) {
            self.state.masked.push((0, self.line.len()));
            fields.push((self.rules.header.message, hidden.clone()));
        }
        for (field, hidden) in fields {
            self.put(field, &hidden);
        }
    }

    /// Takes down what there is to hide of a field that a rule masks: its value, and what it was made of.
    fn look_at(&self, rule: &Rule, field: FieldId, hash: bool, hiding: &mut Hiding) {
        let view = View { line: self.line, constants: &self.rules.constants };
        let event = &self.state.event;
        let former = || event.former(field);
        let value = match event.get(field) {
            Value::Absent => {
                let last = former().rfind(|value| *value != Value::Absent);
                match last.or_else(|| self.elsewhere(field)) {
                    Some(value) => value,
                    None => return,
                }
            }
            value => value,
        };
        let mut whole = Vec::new();
        event.write_text(view, value, &mut whole);
        if whole.is_empty() {
            return;
        }
        let hidden = match hash {
            true => blake3::hash(&whole).to_hex()[..16].to_owned(),
            false => "redacted".to_owned(),
        };
        let from = rule.maps.iter().filter(|map| map.into == field && map.from != field);
        let from = from.map(|map| map.from).filter(|_| matches!(value, Value::Constant(_)));
        let of_maps = from.flat_map(|from| event.former(from).chain([event.get(from)]));
        let mut made = self.is_of_another_rule(rule, field, value);
        for value in former().chain([value]).chain(of_maps) {
            made |= self.add(event, value, &hidden, &mut hiding.texts);
        }
        hiding.all |= made;
        hiding.fields.push((field, hidden));
    }

    /// The value of a field that is not in the table.
    fn elsewhere(&self, field: FieldId) -> Option<Value> {
        if field == self.rules.header.message {
            return Text::in_line(self.line, self.header.message).map(Value::Text);
        }
        let name = self.rules.fields.get(field).name.as_bytes();
        self.state.event.extra(self.line, name)
    }

    /// Whether it is the word of a rule that led here, or was led to: what the line has for it, that one
    /// knows.
    fn is_of_another_rule(&self, rule: &Rule, field: FieldId, value: Value) -> bool {
        let Value::Constant(number) = value else { return false };
        let sets = |(known, set): &(FieldId, SetValue)| {
            *known == field && matches!(set, SetValue::Constant(own) if *own == number)
        };
        !rule.sets.iter().any(sets) && !rule.maps.iter().any(|map| map.into == field)
    }

    /// Adds the texts of a value. Tells whether the line may have one in another form, because a rule has
    /// made it of what stands there.
    fn add(
        &self,
        event: &Event,
        value: Value,
        hidden: &str,
        texts: &mut Vec<(Vec<u8>, String)>,
    ) -> bool {
        let view = View { line: self.line, constants: &self.rules.constants };
        if let Value::List { start, end } = value {
            // The line may have more of them.
            let mut made = (end - start) as usize >= LIST_ITEMS_MAX;
            for item in event.items(start, end) {
                made |= self.add(event, Value::Text(*item), hidden, texts);
            }
            return made;
        }
        let mut text = Vec::new();
        event.write_text(view, value, &mut text);
        let other = match value {
            Value::Text(text) | Value::Address(text) | Value::Number(text) => {
                matches!(text, Text::Arena { .. })
            }
            Value::Integer(number) => is_spelled_otherwise(self.line, number as f64, &text),
            Value::Float(number) => is_spelled_otherwise(self.line, number, &text),
            Value::Boolean(_) | Value::Time(_) => memchr::memmem::find(self.line, &text).is_none(),
            // A rule's own word, which the line need not have.
            Value::Constant(_) | Value::Absent | Value::InBlock | Value::List { .. } => false,
        };
        texts.push((text, hidden.to_owned()));
        other
    }

    /// Puts what hides a text into its field, if that can hold it. An address, which cannot, still has an
    /// `X.address`.
    fn put(&mut self, field: FieldId, hidden: &str) {
        let of_field = self.rules.fields.get(field);
        let event = &mut self.state.event;
        let text = match of_field.kind.kind {
            Kind::Date => Value::Absent,
            _ => Value::Text(event.store(hidden.as_bytes())),
        };
        event.set(field, text, Origin::Rule);
        if let Some(end) = of_field.endpoint
            && event.get(end.address) == Value::Absent
        {
            event.set(end.address, text, Origin::Rule);
        }
    }
}

/// Whether the line has a number other than as it would be written: `12.50` or `0012`.
fn is_spelled_otherwise(line: &[u8], number: f64, written: &[u8]) -> bool {
    let of_number =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E');
    let mut found = false;
    for word in line.split(|byte| !of_number(byte)) {
        let parsed = || std::str::from_utf8(word).ok()?.parse::<f64>().ok();
        if word == written {
            found = true;
        } else if parsed() == Some(number) {
            return true;
        }
    }
    !found
}
