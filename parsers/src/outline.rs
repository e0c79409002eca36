//! What rules look for, told to those who would run it by other means than the engine.

use crate::fields::FieldId;
use crate::rule::{On, Onward, Rule, RuleSet};

/// One rule: its regexes, and the rules that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline<'r> {
    /// Each as the crate `regex` takes it, and the fields that its groups fill: (group, field).
    /// Tried in order, over bytes, with ASCII classes and `.` for any byte.
    pub regexes: Vec<(&'r str, Vec<(usize, &'r str)>)>,
    pub on: Source<'r>,
    /// Whether sub-parsers or conditions decide, too, or other packs.
    pub asks_more: bool,
    /// The text that the chained rules look at, and their numbers.
    pub then: Option<(Source<'r>, &'r [usize])>,
}

/// A text that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'r> {
    Message,
    Line,
    Field(&'r str),
}

impl RuleSet {
    /// The numbers of a pack's own rules, in order.
    #[must_use]
    pub fn rules_of(&self, pack: usize) -> &[usize] {
        self.packs[pack].list.numbers()
    }

    /// The number of the pack that a rule is of, chained or not.
    #[must_use]
    pub fn pack_of(&self, rule: usize) -> usize {
        self.rule(rule).pack
    }

    #[must_use]
    pub fn outline(&self, rule: usize) -> Outline<'_> {
        let rule = self.rule(rule);
        let on = |on: On| match on {
            On::Message => Source::Message,
            On::Line => Source::Line,
            On::Field(field) => Source::Field(self.name(field)),
        };
        let then = rule.then.as_ref().and_then(|then| {
            let text = then.field.map_or(Source::Message, |field| Source::Field(self.name(field)));
            match then.to {
                Onward::Chain(chain) => Some((text, self.chains[chain].numbers())),
                Onward::Packs { .. } => None,
            }
        });
        let to_packs =
            rule.then.as_ref().is_some_and(|then| matches!(then.to, Onward::Packs { .. }));
        Outline {
            regexes: self.regexes(rule),
            on: on(rule.on),
            asks_more: !rule.parse.is_empty() || !rule.when.is_empty() || to_packs,
            then,
        }
    }

    fn regexes<'r>(&'r self, rule: &'r Rule) -> Vec<(&'r str, Vec<(usize, &'r str)>)> {
        let patterns = rule.patterns.iter();
        patterns
            .map(|(pattern, fields)| {
                let names = fields.iter().map(|field| self.name(*field));
                (pattern.source(), pattern.groups.iter().copied().zip(names).collect())
            })
            .collect()
    }

    fn name(&self, field: FieldId) -> &str {
        &self.fields.get(field).name
    }
}
