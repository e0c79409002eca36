//! What `rules explain` learns from a run; nothing happens here unless a trace is asked for.

use super::run::{Mismatch, Run, for_rules};
use crate::event::{Text, View};
use crate::rule::{Condition, Rule};
use std::collections::BTreeMap;

/// One rule that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub rule: usize,
    /// 0, or how many chains lead to it.
    pub depth: usize,
    /// Why it did not match; `None` if it did.
    pub failure: Option<String>,
    /// What its patterns looked at, and where that stands in the line, if it is a part of it.
    pub text: Vec<u8>,
    pub offset: Option<usize>,
    /// Where the captures of the pattern that matched stand in `text`: (field, start, end).
    pub captures: Vec<(String, usize, usize)>,
}

/// What one step of a rule did to the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub rule: String,
    pub depth: usize,
    /// As the key in the rule is called: `pattern`, `parse`, `transform`, `map`, `set`, `time`.
    pub stage: &'static str,
    /// Field and new value; `None` if it is gone.
    pub changes: Vec<(String, Option<String>)>,
}

#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) attempts: Vec<Attempt>,
    pub(super) steps: Vec<Step>,
    before: BTreeMap<String, String>,
}

impl Run<'_, '_, '_> {
    /// Notes that a rule was tried on `text`.
    pub(super) fn note_attempt(&mut self, number: usize, mismatch: Option<Mismatch>, text: &[u8]) {
        if self.state.trace.is_none() {
            return;
        }
        let rule = self.rules.rule(number);
        let on = self.input(rule.on, text).map(|input| input.bytes().to_vec()).unwrap_or_default();
        let offset = match self.input(rule.on, text).map(|input| self.place(input.bytes())) {
            Some(Text::Line { start, .. }) => Some(start as usize),
            _ => None,
        };
        let failure = mismatch.map(|mismatch| self.told(rule, mismatch));
        let matched = failure.is_none().then(|| self.search_patterns(rule, for_rules(&on)));
        let mut captures = Vec::new();
        if let Some(pattern) = matched.flatten() {
            let fields = &rule.patterns[pattern].1;
            let named = fields.iter().zip(&self.state.spans).filter_map(|(field, span)| {
                let (start, end) = span.place()?;
                Some((self.rules.fields.get(*field).name.clone(), start, end))
            });
            captures.extend(named);
        }
        let depth = self.depth;
        if let Some(trace) = &mut self.state.trace {
            trace.attempts.push(Attempt {
                rule: number,
                depth,
                failure,
                text: on,
                offset,
                captures,
            });
        }
    }

    /// Why a rule does not match, while what it has taken from the line is in the table.
    fn told(&mut self, rule: &Rule, mismatch: Mismatch) -> String {
        match mismatch {
            Mismatch::Pattern => "the pattern does not match".to_owned(),
            Mismatch::Parse => "the text does not have the form of `parse`".to_owned(),
            Mismatch::Condition => {
                let fails = |condition: &&Condition| !self.holds(std::slice::from_ref(condition));
                rule.when.iter().find(fails).map_or_else(String::new, |one| self.told_of(one))
            }
        }
    }

    /// What a condition wants, and what there is.
    fn told_of(&self, Condition { field, test }: &Condition) -> String {
        let view = View { line: self.line, constants: &self.rules.constants };
        let mut scratch = Vec::new();
        let value = self.state.event.text(view, *field, &mut scratch);
        let found = value.map_or_else(
            || "absent".to_owned(),
            |value| format!("`{}`", String::from_utf8_lossy(value)),
        );
        format!("`when` wants `{}` {test}; it is {found}", self.rules.fields.get(*field).name)
    }

    /// Notes what has changed since the last step.
    #[inline]
    pub(super) fn note_step(&mut self, rule: &Rule, stage: &'static str) {
        if self.state.trace.is_some() {
            self.note_changes(rule, stage);
        }
    }

    #[cold]
    fn note_changes(&mut self, rule: &Rule, stage: &'static str) {
        let now = self.snapshot();
        let depth = self.depth;
        let Some(trace) = &mut self.state.trace else { return };
        let mut changes: Vec<(String, Option<String>)> = now
            .iter()
            .filter(|(field, value)| trace.before.get(*field) != Some(value))
            .map(|(field, value)| (field.clone(), Some(value.clone())))
            .collect();
        changes.extend(
            trace
                .before
                .keys()
                .filter(|field| !now.contains_key(*field))
                .map(|field| (field.clone(), None)),
        );
        trace.before = now;
        if !changes.is_empty() {
            trace.steps.push(Step { rule: rule.id.clone(), depth, stage, changes });
        }
    }

    /// What the event holds now is what the next step is compared with.
    pub(super) fn note_start(&mut self) {
        if self.state.trace.is_some() {
            self.fill_header();
            let now = self.snapshot();
            if let Some(trace) = &mut self.state.trace {
                trace.before = now;
            }
        }
    }

    fn snapshot(&self) -> BTreeMap<String, String> {
        let view = View { line: self.line, constants: &self.rules.constants };
        let mut scratch = Vec::new();
        let fields = self.state.event.fields().iter();
        fields
            .filter_map(|field| {
                let text = self.state.event.text(view, *field, &mut scratch)?;
                let value = String::from_utf8_lossy(text).into_owned();
                Some((self.rules.fields.get(*field).name.clone(), value))
            })
            .collect()
    }
}
