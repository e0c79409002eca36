//! Finds the constants of each rule that nothing else concerns, and renders them in one piece.
//!
//! A constant may go into the block if no capture, map, template, condition, transform or time of
//! the rule or of a rule that leads to it can see or set its field, nothing follows from its value, and the
//! field's from no other. Whatever stays behind is set one by one.

use crate::fields::FieldId;
use crate::rule::{Action, On, Onward, Part, Rule, RuleList, RuleSet, SetValue};
use crate::transform::Transform;
use rustc_hash::{FxHashMap, FxHashSet};

/// Moves constants from `sets` into the block of a rule. `set` is that which the rule is to stand in.
pub(crate) fn build(number: usize, rule: &mut Rule, set: &RuleSet) {
    // What a chain's rules set comes first, so nothing of the outer rule is certain.
    if rule.then.is_some() {
        return;
    }
    let RuleSet { fields, constants, header, words, .. } = set;
    let outer = set.outer.of(number, &set.chains);
    let in_chain = outer.is_some();
    let mut looked_at = FxHashSet::default();
    look(rule, &mut looked_at);
    let own: FxHashSet<FieldId> = filled(rule).collect();
    let free = |id: FieldId| {
        let field = fields.get(id);
        field.emitted
            && field.relation.is_none()
            && !field.derived
            && !looked_at.contains(&id)
            && !own.contains(&id)
            && !outer.as_ref().is_some_and(|outer| outer.contains(&id))
            && !set.outer.of_packs.contains(&id)
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
    rule.sets.shrink_to_fit();
    let [dataset, module] = set.packs[rule.pack].constants;
    let of_every_event = [dataset, module, (header.kind, words.event)];
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
    let has_one = |(field, _): &(FieldId, u32)| certain.iter().any(|(known, _)| known == field);
    rule.block.marked = in_chain
        || rule.parse.iter().any(|parse| parse.rest.is_some())
        || !rule.block.complete && of_every_event.iter().any(has_one);
    for (field, constant) in certain {
        rule.block.fields.push(field);
        rule.block.members.extend_from_slice(&fields.get(field).key);
        rule.block.members.extend_from_slice(&constants[constant as usize].json);
        rule.block.members.push(b',');
    }
}

/// A rule that leads to others: to which, and the fields that it reads or fills.
#[derive(Debug)]
pub(crate) struct Leading {
    to: Onward,
    fields: FxHashSet<FieldId>,
}

impl Leading {
    /// `None` if the rule leads nowhere.
    pub(crate) fn of(rule: &Rule) -> Option<Self> {
        let to = rule.then.as_ref()?.to;
        let mut fields = filled(rule).collect();
        look(rule, &mut fields);
        Some(Self { to, fields })
    }
}

/// The fields that rules on the way to others read or fill.
#[derive(Debug)]
pub(crate) struct Outer {
    of_chains: Box<[Box<[FieldId]>]>,
    /// On the way to any pack.
    of_packs: FxHashSet<FieldId>,
}

impl Outer {
    /// `leading` are the rules that lead to others, by number.
    pub(crate) fn new(leading: &FxHashMap<usize, Leading>, chains: &[RuleList]) -> Self {
        let mut of_chains = vec![FxHashSet::default(); chains.len()];
        let mut of_packs = FxHashSet::default();
        // A chain leads to a chain at most so often as there are chains; it is over when nothing is new.
        let mut before = usize::MAX;
        loop {
            for (number, leading) in leading {
                let mut fields = leading.fields.clone();
                for chain in standing_in(*number, chains) {
                    fields.extend(&of_chains[chain]);
                }
                match leading.to {
                    Onward::Chain(chain) => of_chains[chain].extend(fields),
                    Onward::Packs { .. } => of_packs.extend(fields),
                }
            }
            let known = of_packs.len() + of_chains.iter().map(FxHashSet::len).sum::<usize>();
            if std::mem::replace(&mut before, known) == known {
                let of_chains = of_chains.into_iter().map(|fields| fields.into_iter().collect());
                return Self { of_chains: of_chains.collect(), of_packs };
            }
        }
    }

    /// `None` if the rule stands in no chain.
    fn of(&self, rule: usize, chains: &[RuleList]) -> Option<FxHashSet<FieldId>> {
        let mut outer = standing_in(rule, chains).map(|chain| &self.of_chains[chain]).peekable();
        outer.peek()?;
        Some(outer.flatten().copied().collect())
    }
}

/// The chains that a rule stands in.
fn standing_in(rule: usize, chains: &[RuleList]) -> impl Iterator<Item = usize> {
    let chains = chains.iter().enumerate();
    chains.filter(move |(_, list)| list.numbers().contains(&rule)).map(|(chain, _)| chain)
}

/// The fields that something in a rule reads.
pub(crate) fn look(rule: &Rule, out: &mut FxHashSet<FieldId>) {
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
    out.extend(rule.then.iter().filter_map(|then| match then.to {
        Onward::Packs { program } => program,
        Onward::Chain(_) => None,
    }));
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
