//! What a text must hold for the sub-parsers of a rule to give what its conditions ask for.
//!
//! A product that writes JSON or columns has a rule for each kind of event, and each of them would read
//! all of a line before its `when` finds that the event is of another kind. But a value under a key needs
//! the key in the text, and a value that is one of a few words needs one of these. Looking for them costs a
//! small part of what reading the text does.
//!
//! Owns one promise: if a rule matches a text, each of its signs is in it or has its field from elsewhere.

use crate::fields::FieldId;
use crate::matcher::Matcher;
use crate::rule::{Condition, Form, On, Rule, SubParse, Test};
use memchr::memmem::Finder;

/// Shorter literals stand everywhere.
const BYTES_MIN: usize = 4;
/// Looking for more of them costs as much as what it spares.
const LITERALS_MAX: usize = 8;
/// How the escape of a character of ASCII begins in JSON: with it, a word may be written in other letters.
const ESCAPE: &[u8] = br"\u00";

/// That one of a few literals is in the text, or that the field has a value before it is read.
#[derive(Debug)]
pub(crate) struct Sign {
    pub(crate) field: FieldId,
    /// What the sub-parser reads that fills the field.
    pub(crate) on: On,
    literals: Box<[Finder<'static>]>,
}

impl Sign {
    /// Those of a rule; at most one for each of its conditions.
    pub(crate) fn all_of(rule: &Rule) -> Box<[Self]> {
        rule.when[rule.known_before..].iter().filter_map(|asked| Self::of(rule, asked)).collect()
    }

    fn of(rule: &Rule, condition: &Condition) -> Option<Self> {
        let field = condition.field;
        let fills = |parse: &&SubParse| parse.fields.values().any(|known| *known == Some(field));
        let mut filling = rule.parse.iter().filter(fills);
        let parse = filling.next()?;
        let captured = rule.patterns.iter().any(|(_, fields)| fields.contains(&field));
        if filling.next().is_some() || captured || matches!(parse.on, On::Field(_)) {
            return None;
        }
        let words = match &condition.test {
            Test::Absent => return None,
            Test::Exists => None,
            Test::AnyOf(matchers) => words(matchers),
        };
        let literals = match (&parse.form, words) {
            (Form::Json, Some(words)) => with_escape(words),
            (Form::Json, None) => with_escape(last_names(parse, field)?),
            (Form::Csv(_), words) => words?,
            _ => return None,
        };
        let all = !literals.is_empty() && literals.len() <= LITERALS_MAX;
        let literals = literals.iter().map(|literal| Finder::new(literal).into_owned());
        all.then(|| Self { field, on: parse.on, literals: literals.collect() })
    }

    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        self.literals.iter().any(|literal| literal.find(text).is_some())
    }
}

fn with_escape(mut literals: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    literals.push(ESCAPE.to_vec());
    literals
}

/// What a value has to be, if that is one of a few words which stand in any text as they are: letters first,
/// so that they are no numbers, which can be written in several ways.
fn words(matchers: &[Matcher]) -> Option<Vec<Vec<u8>>> {
    let word = |matcher: &Matcher| match matcher {
        Matcher::Exact(text) if is_word(text) && text[0].is_ascii_alphabetic() => {
            Some(text.clone())
        }
        _ => None,
    };
    matchers.iter().map(word).collect()
}

/// The ends of the keys that fill a field, with the quote behind them: of nested objects, or one with dots.
fn last_names(parse: &SubParse, field: FieldId) -> Option<Vec<Vec<u8>>> {
    let keys = parse.fields.iter().filter(|(_, known)| **known == Some(field));
    let name = |key: &[u8]| {
        let name = key.rsplit(|byte| *byte == b'.').next()?;
        (is_word(name) && !name.iter().all(u8::is_ascii_digit)).then(|| [name, b"\""].concat())
    };
    keys.map(|(key, _)| name(key)).collect()
}

fn is_word(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'@');
    text.len() >= BYTES_MIN && text.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use crate::RuleSet;

    /// The literals of each sign of the rule `t.a`.
    fn signs(rule: &str) -> Vec<Vec<String>> {
        let pack = format!("pack: t\nvendor: [v]\nrules:\n  - {{id: t.a, {rule}}}\n");
        let rules = RuleSet::of_text("t", &pack).unwrap_or_else(|faults| {
            panic!("{}", logweir_document::render_all(&faults, false));
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let signs = rules.rule(0).signs().iter();
        signs
            .map(|sign| sign.literals.iter().map(|literal| text(literal.needle())).collect())
            .collect()
    }

    #[test]
    fn signs_are_keys_or_words_that_stand_in_any_text_as_they_are() {
        let json = |fields: &str, when: &str| {
            let mut all = signs(&format!("parse: {{as: json, fields: {fields}}}, when: {when}"));
            all.iter_mut().for_each(|literals| literals.sort());
            all
        };
        for (fields, when, expected) in [
            ("{kind: event.action}", "{event.action: exists}", &[r"\u00", "kind\""][..]),
            ("{a.kind: _k, other: _k}", "{_k: exists}", &[r"\u00", "kind\"", "other\""]),
            ("{kind: _k}", "{_k: [alert, alarm]}", &[r"\u00", "alarm", "alert"]),
            // A glob, a number, a short word: its key is looked for.
            ("{kind: _k}", "{_k: 'al*'}", &[r"\u00", "kind\""]),
            ("{kind: _k}", "{_k: [alert, '4624']}", &[r"\u00", "kind\""]),
            ("{kind: _k}", "{_k: [GET, alert]}", &[r"\u00", "kind\""]),
            ("{kind: _k}", "{_k: absent}", &[]),
            ("{id: _k}", "{_k: exists}", &[]),
            ("{'a b c': _k}", "{_k: exists}", &[]),
            ("{list.1000: _k}", "{_k: exists}", &[]),
        ] {
            let expected: Vec<&[&str]> = [expected].into_iter().filter(|e| !e.is_empty()).collect();
            assert_eq!(json(fields, when), expected, "{fields} {when}");
        }
        let csv = |columns: &str, when: &str| {
            signs(&format!(
                "parse: {{as: csv, columns: {columns}, fields: {{type: _t}}}}, when: {when}"
            ))
        };
        assert_eq!(csv("[a, type]", "{_t: TRAFFIC}"), [["TRAFFIC"]]);
        assert!(csv("[a, type]", "{_t: exists}").is_empty());
        let pattern =
            "pattern: '^(?<_k>\\d)?', parse: {as: json, fields: {kind: _k}}, when: {_k: exists}";
        assert!(signs(pattern).is_empty());
        let twice = "parse: [{as: json, fields: {kind: _k}}, {as: kv, optional: true, fields: {kind: _k}}], when: {_k: exists}";
        assert!(signs(twice).is_empty());
    }
}
