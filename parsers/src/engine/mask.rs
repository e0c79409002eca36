//! Hiding: what rules mask is hidden in its fields, wherever else the same text stands in the event and,
//! in place, in the line.
//!
//! It comes last, so that nothing is derived from what hides a text, and what was derived before is
//! hidden, too.

use super::run::Run;
use crate::event::{Origin, Text, Value, View};
use crate::fields::FieldId;
use crate::rule::Action;
use std::cmp::Reverse;

/// A text to hide.
struct Secret {
    text: Vec<u8>,
    /// What takes its place; the line has stars.
    hidden: String,
    /// Whether the line may have it in another form, such as with escapes: wherever that is.
    in_another_form: bool,
}

impl Run<'_, '_, '_> {
    /// Hides what the rules that have matched mask. Where the line has one of the texts in another form, all
    /// of the line and the message go.
    #[inline(never)]
    pub(super) fn mask(&mut self) {
        let masking = std::mem::take(&mut self.state.masking);
        let mut secrets = Vec::new();
        let mut fields = Vec::new();
        for number in &masking {
            let Some(Action::Mask { fields: own, hash }) = &self.rules.rule(*number).action else {
                continue;
            };
            for field in own {
                let hidden = self.add_secrets(*field, *hash, &mut secrets);
                fields.extend(hidden.map(|hidden| (*field, hidden)));
            }
        }
        self.state.masking = masking;
        // One may hold another.
        secrets.sort_by_key(|secret| Reverse(secret.text.len()));
        for secret in &secrets {
            self.hide(secret);
        }
        for (field, hidden) in fields {
            self.put(field, &hidden);
        }
    }

    /// Adds the texts of a field; returns what takes the place of them all, `None` if there are none.
    fn add_secrets(&self, field: FieldId, hash: bool, secrets: &mut Vec<Secret>) -> Option<String> {
        let view = View { line: self.line, constants: &self.rules.constants };
        let event = &self.state.event;
        let value = match event.get(field) {
            Value::Absent if field == self.rules.header.message => {
                Value::Text(Text::in_line(self.line, self.header.message)?)
            }
            Value::Absent => {
                event.extra(self.line, self.rules.fields.get(field).name.as_bytes())?
            }
            value => value,
        };
        let mut whole = Vec::new();
        event.write_text(view, value, &mut whole);
        if whole.is_empty() {
            return None;
        }
        let hidden = match hash {
            true => blake3::hash(&whole).to_hex()[..16].to_owned(),
            false => "redacted".to_owned(),
        };
        let mut add = |text: &[u8], in_another_form| {
            if !text.is_empty() {
                secrets.push(Secret {
                    text: text.to_vec(),
                    hidden: hidden.clone(),
                    in_another_form,
                });
            }
        };
        // A rule may have made it of what stands in the line.
        let is_made = |text| matches!(text, Text::Arena { .. });
        match value {
            Value::List { start, end } => {
                for item in event.items(start, end) {
                    add(event.bytes(self.line, *item), is_made(*item));
                }
            }
            Value::Text(text) | Value::Address(text) | Value::Number(text) => {
                add(&whole, is_made(text));
            }
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Time(_) => {
                add(&whole, !self.is_in_line(&whole));
            }
            // A rule's own word, which the line need not have.
            Value::Constant(_) => add(&whole, false),
            Value::Absent | Value::InBlock => {}
        }
        Some(hidden)
    }

    fn is_in_line(&self, text: &[u8]) -> bool {
        memchr::memmem::find(self.line, text).is_some()
    }

    fn hide(&mut self, secret: &Secret) {
        let Secret { text, hidden, in_another_form } = secret;
        if *in_another_form {
            self.state.masked.push((0, self.line.len()));
            self.put(self.rules.header.message, hidden);
        }
        let places = memchr::memmem::find_iter(self.line, text);
        self.state.masked.extend(places.map(|at| (at, at + text.len())));
        self.state.event.hide(self.line, text, hidden.as_bytes());
    }

    /// Puts what hides a text into its field, if that can hold it. An address, which cannot, still has an
    /// `X.address`.
    fn put(&mut self, field: FieldId, hidden: &str) {
        let event = &mut self.state.event;
        let text = Value::Text(event.store(hidden.as_bytes()));
        event.set(field, text, Origin::Rule);
        if let (_, Some(end)) = self.rules.fields.derivation(field)
            && event.get(end.address) == Value::Absent
        {
            event.set(end.address, text, Origin::Rule);
        }
    }
}
