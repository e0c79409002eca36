//! The event's table as JSON members.

use crate::ecs::{Kind, Type};
use crate::event::{Event, Value, View, write_f64, write_i64};
use crate::fields::{FieldId, Relation};
use crate::ip::is_ip;
use crate::json::write_string;
use crate::rule::RuleSet;
use crate::time::write_rfc3339;

impl Event {
    /// Appends every emitted field as `"name":value,`.
    pub(crate) fn write(&self, view: View<'_>, rules: &RuleSet, out: &mut Vec<u8>) {
        let fields = &rules.fields;
        for id in self.fields() {
            let field = fields.get(*id);
            if field.emitted {
                self.write_field(view, &field.key, field.kind, self.get(*id), out);
            }
        }
        for (at, (name, value)) in self.extras().iter().enumerate() {
            let name = self.bytes(view.line, *name);
            // The first of several keys of one name stays, and so does a field that a rule names.
            let repeated =
                self.extras()[..at].iter().any(|(n, _)| self.bytes(view.line, *n) == name);
            let named = fields.find(name).is_some_and(|id| self.get(id) != Value::Absent);
            if repeated || named {
                continue;
            }
            let before = out.len();
            write_string(out, name);
            out.push(b':');
            if !self.write_value(view, Type::TEXT, *value, out) {
                out.truncate(before);
            }
        }
        self.write_related(view.line, &rules.header.related, out);
    }

    fn write_field(&self, view: View<'_>, key: &[u8], kind: Type, value: Value, out: &mut Vec<u8>) {
        if matches!(value, Value::Absent | Value::InBlock) {
            return;
        }
        let before = out.len();
        out.extend_from_slice(key);
        if !self.write_value(view, kind, value, out) {
            out.truncate(before);
        }
    }

    /// Appends the value and a comma; `false` if it cannot be written as `kind`.
    fn write_value(&self, view: View<'_>, kind: Type, value: Value, out: &mut Vec<u8>) -> bool {
        let written = match value {
            Value::Constant(number) => {
                out.extend_from_slice(&view.constants[number as usize].json);
                true
            }
            Value::List { start, end } => self.write_list(view.line, kind.kind, start, end, out),
            single => {
                if kind.list {
                    out.push(b'[');
                }
                let written = self.write_single(view.line, kind.kind, single, out);
                if kind.list {
                    out.push(b']');
                }
                written
            }
        };
        if written {
            out.push(b',');
        }
        written
    }

    fn write_list(&self, line: &[u8], kind: Kind, start: u32, end: u32, out: &mut Vec<u8>) -> bool {
        out.push(b'[');
        let mut any = false;
        for item in self.items(start, end) {
            let before = out.len();
            if any {
                out.push(b',');
            }
            if self.write_single(line, kind, Value::Text(*item), out) {
                any = true;
            } else {
                out.truncate(before);
            }
        }
        out.push(b']');
        any
    }

    /// `false` if the value cannot be written as `kind`.
    fn write_single(&self, line: &[u8], kind: Kind, value: Value, out: &mut Vec<u8>) -> bool {
        match value {
            Value::Text(text) => return write_typed(kind, self.bytes(line, text), out),
            Value::Address(text) => {
                quoted(out, |out| out.extend_from_slice(self.bytes(line, text)))
            }
            Value::Time(nanos) => quoted(out, |out| write_rfc3339(out, nanos)),
            Value::Integer(number) if matches!(kind, Kind::Integer | Kind::Float) => {
                write_i64(out, number);
            }
            Value::Integer(number) => quoted(out, |out| write_i64(out, number)),
            Value::Float(number) if !number.is_finite() => return false,
            Value::Float(number) if kind == Kind::Float => write_f64(out, number),
            Value::Float(number) if kind == Kind::Integer => write_i64(out, number as i64),
            Value::Float(number) => quoted(out, |out| write_f64(out, number)),
            Value::Boolean(truth) if kind == Kind::Boolean => out.extend_from_slice(word(truth)),
            Value::Boolean(truth) => quoted(out, |out| out.extend_from_slice(word(truth))),
            Value::Absent | Value::InBlock | Value::Constant(_) | Value::List { .. } => {
                return false;
            }
        }
        true
    }

    fn write_related(&self, line: &[u8], lists: &[(Relation, FieldId); 4], out: &mut Vec<u8>) {
        if self.related().is_empty() {
            return;
        }
        for (relation, field) in *lists {
            // A rule that fills the list itself has the last word.
            if self.get(field) != Value::Absent {
                continue;
            }
            let name = relation.list();
            let mut any = false;
            for (_, text) in self.related().iter().filter(|(other, _)| *other == relation) {
                if any {
                    out.push(b',');
                } else {
                    out.push(b'"');
                    out.extend_from_slice(name.as_bytes());
                    out.extend_from_slice(b"\":[");
                }
                write_string(out, self.bytes(line, *text));
                any = true;
            }
            if any {
                out.extend_from_slice(b"],");
            }
        }
    }
}

/// Writes a text as a JSON value of `kind`; `false` if it is none.
fn write_typed(kind: Kind, text: &[u8], out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Text | Kind::Date => write_string(out, text),
        Kind::Ip if is_ip(text) => quoted(out, |out| out.extend_from_slice(text)),
        Kind::Integer => match integer(text) {
            Some(number) => write_i64(out, number),
            None => return false,
        },
        Kind::Float => {
            match std::str::from_utf8(text).ok().and_then(|t| t.trim().parse::<f64>().ok()) {
                Some(number) if number.is_finite() => write_f64(out, number),
                _ => return false,
            }
        }
        Kind::Boolean => match text {
            b"true" | b"True" | b"TRUE" | b"yes" | b"Yes" | b"1" | b"on" => {
                out.extend_from_slice(word(true))
            }
            b"false" | b"False" | b"FALSE" | b"no" | b"No" | b"0" | b"off" => {
                out.extend_from_slice(word(false))
            }
            _ => return false,
        },
        Kind::Ip | Kind::Object => return false,
    }
    true
}

/// A whole number in decimal; a fraction of zeros is allowed (`200.0`).
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    if (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')));
    }
    let text = std::str::from_utf8(text).ok()?.trim();
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

fn word(truth: bool) -> &'static [u8] {
    if truth { b"true" } else { b"false" }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}
