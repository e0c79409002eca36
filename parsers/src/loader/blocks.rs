//! Finds the constants of each rule that nothing else concerns, and renders them in one piece.
//!
//! A constant may go into the block if no capture, map, template, condition, transform or time of
//! the rule or of a rule that leads to it can see or set its field. Whatever stays behind is set one by one.

use crate::event::Constant;
use crate::fields::{FieldId, FieldTable};
use crate::rule::{Action, HeaderFields, On, Part, Rule, SetValue, Words};
use crate::transform::Transform;
use rustc_hash::{FxHashMap, FxHashSet};

/// Moves constants from `sets` into the block of every rule. `packs` gives `event.dataset` and
/// `event.module` of each pack; `chains` the rules that stand in each chain.
pub(super) fn build(
    rules: &mut [Rule],
    packs: &[[(FieldId, u32); 2]],
    chains: &[Vec<usize>],
    constants: &[Constant],
    fields: &FieldTable,
    header: &HeaderFields,
    words: &Words,
) {
    let outer = Outer::new(rules, chains);
    for (number, rule) in rules.iter_mut().enumerate() {
        // What a chain's rules set comes first, so nothing of the outer rule is certain.
        if rule.then.is_some() {
            continue;
        }
        let outer = outer.of(number);
        let in_chain = outer.is_some();
        let mut looked_at = FxHashSet::default();
        look(rule, &mut looked_at);
        let own: FxHashSet<FieldId> = filled(rule).collect();
        let free = |id: FieldId| {
            let field = fields.get(id);
            field.emitted
                && field.relation.is_none()
                && field.endpoint.is_none()
                && !field.name.starts_with("related.")
                && !looked_at.contains(&id)
                && !own.contains(&id)
                && !outer.as_ref().is_some_and(|outer| outer.contains(&id))
                && !header.has(id)
        };
        let mut certain: Vec<(FieldId, u32)> = Vec::new();
        rule.sets.retain(|(field, value)| match value {
            SetValue::Constant(number) if free(*field) => {
                certain.push((*field, *number));
                false
            }
            _ => true,
        });
        let of_every_event = [packs[rule.pack][0], packs[rule.pack][1], (header.kind, words.event)];
        let left = |field: &FieldId| rule.sets.iter().any(|(known, _)| known == field);
        rule.block.complete =
            !in_chain && of_every_event.iter().all(|(field, _)| free(*field) && !left(field));
        if rule.block.complete {
            for (field, constant) in of_every_event {
                if !certain.iter().any(|(known, _)| *known == field) {
                    certain.push((field, constant));
                }
            }
        }
        rule.block.marked = in_chain || rule.parse.iter().any(|parse| parse.rest.is_some());
        for (field, constant) in certain {
            rule.block.fields.push(field);
            rule.block.members.extend_from_slice(&fields.get(field).key);
            rule.block.members.extend_from_slice(&constants[constant as usize].json);
            rule.block.members.push(b',');
        }
    }
}

/// For each rule that stands in chains, the fields that rules on the way to it read or fill.
struct Outer {
    chains: FxHashMap<usize, Vec<usize>>,
    fields: Vec<FxHashSet<FieldId>>,
}

impl Outer {
    fn new(rules: &[Rule], chains: &[Vec<usize>]) -> Self {
        let mut members: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
        for (chain, numbers) in chains.iter().enumerate() {
            numbers.iter().for_each(|number| members.entry(*number).or_default().push(chain));
        }
        let mut outer = Self { chains: members, fields: vec![FxHashSet::default(); chains.len()] };
        // A chain leads to a chain at most so often as there are chains; it is over when nothing is new.
        let mut before = usize::MAX;
        loop {
            for (number, rule) in rules.iter().enumerate() {
                let Some(then) = &rule.then else { continue };
                let mut fields = outer.of(number).unwrap_or_default();
                look(rule, &mut fields);
                fields.extend(filled(rule));
                outer.fields[then.chain].extend(fields);
            }
            let known = outer.fields.iter().map(FxHashSet::len).sum();
            if std::mem::replace(&mut before, known) == known {
                return outer;
            }
        }
    }

    /// `None` if the rule stands in no chain.
    fn of(&self, rule: usize) -> Option<FxHashSet<FieldId>> {
        let chains = self.chains.get(&rule)?;
        Some(chains.iter().flat_map(|chain| &self.fields[*chain]).copied().collect())
    }
}

/// The fields that something reads.
fn look(rule: &Rule, out: &mut FxHashSet<FieldId>) {
    let mut on = |on: &On| {
        if let On::Field(field) = on {
            out.insert(*field);
        }
    };
    on(&rule.on);
    rule.parse.iter().for_each(|parse| on(&parse.on));
    out.extend(rule.when.iter().map(|condition| condition.field));
    out.extend(rule.maps.iter().map(|map| map.from));
    for (field, steps) in &rule.transforms {
        out.insert(*field);
        out.extend(steps.iter().filter_map(|step| match step {
            Transform::Add(other) => Some(*other),
            _ => None,
        }));
    }
    out.extend(rule.then.iter().filter_map(|then| then.field));
    if let Some(Action::Mask { fields, .. }) = &rule.action {
        out.extend(fields);
    }
    for (_, value) in &rule.sets {
        if let SetValue::Direction(ends) = value {
            out.extend(ends.iter().flat_map(|end| [end.ip, end.address]));
        }
    }
    out.extend(rule.times.iter().filter_map(|time| Some(time.shift?.by())));
    let templates = rule.sets.iter().filter_map(|(_, value)| match value {
        SetValue::Template(parts) => Some(parts),
        SetValue::Constant(_) | SetValue::Direction(_) => None,
    });
    for part in templates.chain(rule.times.iter().map(|time| &time.from)).flatten() {
        if let Part::Field(field) = part {
            out.insert(*field);
        }
    }
}

/// The fields that a rule fills from the line.
fn filled(rule: &Rule) -> impl Iterator<Item = FieldId> + '_ {
    let captured = rule.patterns.iter().flat_map(|(_, fields)| fields.iter().copied());
    let parsed = rule.parse.iter().flat_map(|parse| parse.fields.values().copied().flatten());
    let mapped = rule.maps.iter().map(|map| map.into);
    let times = rule.times.iter().map(|time| time.into);
    captured.chain(parsed).chain(mapped).chain(times)
}
