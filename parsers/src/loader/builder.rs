//! What grows while the files are read, and the rule set that it becomes.

use super::pack;
use crate::blocks::{Leading, Outer};
use crate::direction::{self, Network};
use crate::dispatch::Dispatch;
use crate::ecs::{self, Kind, Type};
use crate::event::Constant;
use crate::fields::{Field, FieldId, FieldTable};
use crate::packed::Packed;
use crate::rule::{ByText, HeaderFields, Pack, Rule, RuleList, RuleSet, SetValue, Words};
use logweir_document::{Diagnostic, Document, Faults, Key, Span, nearest};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::{Arc, OnceLock};

/// Tables of which equal ones are kept once.
#[derive(Debug)]
pub(crate) struct Shared<V>(Vec<ByText<V>>);

impl<V> Default for Shared<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: PartialEq> Shared<V> {
    /// Puts the known table in the place of an equal one.
    pub(crate) fn share(&mut self, table: &mut ByText<V>) {
        match self.0.iter().find(|known| *known == table) {
            Some(known) => *table = known.clone(),
            None => self.0.push(table.clone()),
        }
    }
}

/// Which rule has an id, and where that stands.
#[derive(Debug)]
struct Given {
    rule: usize,
    directory: usize,
    file: Arc<str>,
    line: usize,
}

/// The type that a capture was the first to give a field that ECS does not have, and where.
#[derive(Debug)]
struct Typed {
    kind: Type,
    file: Arc<str>,
    line: usize,
}

/// A rule set in the making.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) fields: FieldTable,
    pub(super) header: HeaderFields,
    /// With their numbers; in a set that is to be run only, those that cannot be packed.
    rules: Vec<(usize, Rule)>,
    /// Those of the file that is read.
    of_file: Vec<(usize, Rule)>,
    packed: Vec<Packed>,
    /// How many rules there are, and how many patterns in them.
    rules_len: usize,
    patterns_len: usize,
    /// By the rules' numbers.
    leading: FxHashMap<usize, Leading>,
    pub(super) drop_reasons: Vec<String>,
    pub(super) internal_networks: Vec<Network>,
    /// Whether the samples of the rules go into the set.
    pub(super) keeps_samples: bool,
    /// What sub-parsers make fields of, and what value maps stand for; of the file that is read, if its
    /// rules are packed then.
    pub(super) parsed_fields: Shared<Option<FieldId>>,
    pub(super) mapped_values: Shared<u32>,
    /// The names for use inside rules that some rule gives a value.
    pub(super) given_inside: FxHashSet<FieldId>,
    /// And those that the rules of the pack that is read name, and where.
    pub(super) asked_inside: Vec<(FieldId, Span)>,
    constants: Vec<Constant>,
    constant_numbers: FxHashMap<Vec<u8>, u32>,
    packs: Vec<Pack>,
    /// The numbers of each pack's rules, and of each chain's.
    pack_rules: Vec<Vec<usize>>,
    chains: Vec<Vec<usize>>,
    /// (pack, chain) → the chain's number, so that a later file of the same pack adds to its chains.
    chain_numbers: FxHashMap<(String, String), usize>,
    /// Which chains rules lead to: those of a chain, or those that are in none. And what is to be said of
    /// chains that no line comes to.
    pub(super) led_to: FxHashSet<(Option<usize>, usize)>,
    pub(super) dead_ends: Vec<(usize, Diagnostic)>,
    types: FxHashMap<FieldId, Typed>,
    /// Where each rule id was given.
    ids: FxHashMap<String, Given>,
    /// How many directories were begun, see [`Builder::begin_directory`].
    directory: usize,
    faults: Vec<Diagnostic>,
    hasher: blake3::Hasher,
    /// Held for as long as names of fields are looked up.
    ecs: Arc<ecs::Table>,
}

impl Default for Builder {
    fn default() -> Self {
        let ecs = ecs::table();
        let mut fields = FieldTable::default();
        let header = HeaderFields::new(&mut fields);
        Self {
            fields,
            header,
            rules: Vec::new(),
            of_file: Vec::new(),
            packed: Vec::new(),
            rules_len: 0,
            patterns_len: 0,
            leading: FxHashMap::default(),
            drop_reasons: Vec::new(),
            internal_networks: Vec::new(),
            keeps_samples: true,
            parsed_fields: Shared::default(),
            mapped_values: Shared::default(),
            given_inside: FxHashSet::default(),
            asked_inside: Vec::new(),
            constants: Vec::new(),
            constant_numbers: FxHashMap::default(),
            packs: Vec::new(),
            pack_rules: Vec::new(),
            chains: Vec::new(),
            chain_numbers: FxHashMap::default(),
            led_to: FxHashSet::default(),
            dead_ends: Vec::new(),
            types: FxHashMap::default(),
            ids: FxHashMap::default(),
            directory: 0,
            faults: Vec::new(),
            hasher: blake3::Hasher::new(),
            ecs,
        }
    }
}

impl Builder {
    /// What is read from here on may replace rules of what was read before.
    pub(super) fn begin_directory(&mut self) {
        self.directory += 1;
    }

    /// Reads one file.
    pub(super) fn add(&mut self, document: &Document) {
        self.note_text(&document.source.text);
        let mut faults = Faults::new(document.source.clone());
        pack::read(self, &document.root, &mut faults);
        self.faults.extend(faults.into_list());
    }

    /// Takes down what is to be said of a chain if no rule leads to it that lines come to.
    pub(super) fn note_chain(&mut self, chain: usize, key: &Key, faults: &Faults) {
        if !self.led_to.contains(&(None, chain)) {
            let fault = faults.at(key.span, format!("no rule leads to the chain `{}`", key.name));
            let remedy = format!("give a rule `then: {{chain: {}}}`", key.name);
            self.dead_ends.push((chain, fault.as_warning().with_remedy(remedy)));
        }
    }

    /// Tells which names for use inside rules have a value nowhere, once all rules of a pack are read:
    /// what asks for them never happens.
    pub(super) fn end_names(&mut self, faults: &mut Faults) {
        let mut asked = std::mem::take(&mut self.asked_inside);
        asked.retain(|(id, _)| !self.given_inside.contains(id));
        for (id, span) in asked {
            let name = &self.fields.get(id).name;
            let known = self.given_inside.iter().map(|id| &*self.fields.get(*id).name);
            let remedy = nearest(name, known).map_or_else(
                || format!("capture it, such as by `(?<{name}>\\S+)`"),
                |near| format!("did you mean `{near}`?"),
            );
            let fault = faults.at(span, format!("nothing gives `{name}` a value"));
            faults.push_once(fault.as_warning().with_remedy(remedy));
        }
    }

    /// Puts the rules of a file away, once its document is gone.
    pub(super) fn end_file(&mut self) {
        if !self.keeps_samples {
            self.packed.extend(Packed::pack(&mut self.of_file));
            (self.parsed_fields, self.mapped_values) = (Shared::default(), Shared::default());
        }
        self.rules.append(&mut self.of_file);
    }

    /// Takes a text that rules depend on into the digest.
    pub(super) fn note_text(&mut self, text: &str) {
        self.hasher.update(text.as_bytes());
        self.hasher.update(&[0]);
    }

    pub(super) fn next_pack(&self) -> usize {
        self.packs.len()
    }

    pub(super) fn add_pack(&mut self, pack: Pack, rules: Vec<usize>) {
        self.packs.push(pack);
        self.pack_rules.push(rules);
    }

    /// The number of a pack's chain, so that rules may name chains that come later.
    pub(super) fn chain(&mut self, pack: &str, name: &str) -> usize {
        let next = self.chains.len();
        let number = *self.chain_numbers.entry((pack.to_owned(), name.to_owned())).or_insert(next);
        if number == next {
            self.chains.push(Vec::new());
        }
        number
    }

    pub(super) fn fill_chain(&mut self, chain: usize, rules: Vec<usize>) {
        self.chains[chain].extend(rules);
    }

    /// Takes in the type that a capture gives a field, unless ECS does. An index has one type for a field,
    /// so those of captures that differ become one that holds the values of all of them.
    pub(super) fn note_type(
        &mut self,
        id: FieldId,
        kind: Type,
        (file, span): (&Arc<str>, Span),
        faults: &mut Faults,
    ) {
        let Field { name, kind: now, of_ecs: false, .. } = self.fields.get(id) else { return };
        let Some(first) = self.types.get(&id) else {
            self.types.insert(id, Typed { kind, file: file.clone(), line: span.line });
            return self.fields.set_kind(id, kind);
        };
        if first.kind == kind {
            return;
        }
        let common = common_type(*now, kind);
        let [here, there, both] = [kind, first.kind, common].map(|of| of.kind.name());
        let message =
            format!("`{name}` is {here} here and {there} in {}:{}", first.file, first.line);
        let remedy = format!("write one type in both places; as it is, the field is {both}");
        faults.push_once(faults.at(span, message).as_warning().with_remedy(remedy));
        self.fields.set_kind(id, common);
    }

    /// Takes a rule in. One whose id another directory has given replaces that one where it stands and
    /// gives no number of its own.
    pub(super) fn add_rule(
        &mut self,
        rule: Rule,
        span: Span,
        faults: &mut Faults,
    ) -> Option<usize> {
        let (file, directory, line) = (rule.file.clone(), self.directory, span.line);
        match self.ids.get_mut(&rule.id) {
            Some(known) if known.directory == directory => {
                let place = match &known.file {
                    same if *same == file => format!("line {}", known.line),
                    other => format!("{other}:{}", known.line),
                };
                let fault = faults.error(span, format!("the id `{}` is taken", rule.id));
                fault.remedy = Some(format!("the rule in {place} has it; choose another"));
                None
            }
            Some(known) => {
                let number = known.rule;
                *known = Given { rule: number, directory, file, line };
                self.rules.retain(|(known, _)| *known != number);
                self.packed.iter_mut().for_each(|packed| packed.forget(number));
                self.leading.remove(&number);
                self.take(number, rule);
                None
            }
            None => {
                let number = self.rules_len;
                self.rules_len += 1;
                let given = Given { rule: number, directory, file, line };
                self.ids.insert(rule.id.clone(), given);
                self.take(number, rule);
                Some(number)
            }
        }
    }

    fn take(&mut self, number: usize, mut rule: Rule) {
        rule.first_pattern = self.patterns_len;
        self.patterns_len += rule.patterns.len();
        self.leading.extend(Leading::of(&rule).map(|leading| (number, leading)));
        self.of_file.push((number, rule));
    }

    pub(super) fn constant(&mut self, value: &serde_json::Value, kind: Type) -> u32 {
        let constant = RuleSet::constant(value, kind);
        let mut key = constant.json.clone();
        key.push(0);
        key.extend_from_slice(&constant.text);
        *self.constant_numbers.entry(key).or_insert_with(|| {
            self.constants.push(constant);
            (self.constants.len() - 1) as u32
        })
    }

    pub(super) fn field_constant(&mut self, name: &str, text: &str) -> (FieldId, u32) {
        let id = self.fields.intern(name);
        let kind = self.fields.get(id).kind;
        (id, self.constant(&serde_json::Value::String(text.to_owned()), kind))
    }

    /// Adds what the pack sets to what a rule does, for fields that the rule does not set.
    pub(super) fn merge_sets(own: &mut Vec<(FieldId, SetValue)>, pack: &[(FieldId, SetValue)]) {
        for (field, value) in pack {
            if !own.iter().any(|(known, _)| known == field) {
                own.push((*field, value.clone()));
            }
        }
    }

    pub(super) fn finish(mut self) -> (RuleSet, Vec<Diagnostic>) {
        let words = self.words();
        let reached = reached(&self.led_to);
        let dead = |(chain, _): &(usize, Diagnostic)| !reached.contains(chain);
        self.faults.extend(self.dead_ends.into_iter().filter(dead).map(|(_, fault)| fault));
        // What only reading needed leaves its room to what is made now.
        drop((self.led_to, self.ecs, self.ids, self.constant_numbers, self.chain_numbers));
        drop((
            self.types,
            self.parsed_fields,
            self.mapped_values,
            self.given_inside,
            self.asked_inside,
        ));
        self.constants.shrink_to_fit();
        self.fields.seal();
        let mut packs = self.packs;
        for (pack, numbers) in packs.iter_mut().zip(self.pack_rules) {
            pack.list = RuleList::new(numbers);
        }
        let chains: Box<[_]> = self.chains.into_iter().map(RuleList::new).collect();
        let outer = Outer::new(&self.leading, &chains);
        let dispatch = Dispatch::new(&packs);
        let rules = RuleSet {
            fields: self.fields,
            constants: self.constants,
            rules: std::iter::repeat_with(OnceLock::new).take(self.rules_len).collect(),
            packed: self.packed.into(),
            outer,
            packs: packs.into(),
            chains,
            drop_reasons: self.drop_reasons,
            internal_networks: self.internal_networks,
            header: self.header,
            words,
            dispatch,
            hash: self.hasher.finalize().to_hex()[..32].to_owned(),
        };
        self.rules.into_iter().for_each(|(number, rule)| rules.put(number, rule));
        (rules, self.faults)
    }

    fn words(&mut self) -> Words {
        let mut word = |text: &str| {
            let value = serde_json::Value::String(text.to_owned());
            self.constant(&value, Type::TEXT)
        };
        Words {
            event: word("event"),
            unparsed: word("unparsed"),
            severities: SEVERITIES.iter().map(|name| word(name)).collect(),
            facilities: FACILITIES.iter().map(|name| word(name)).collect(),
            version: word("1"),
            directions: direction::WORDS.iter().map(|name| word(name)).collect(),
        }
    }
}

/// The type that holds the values of both.
fn common_type(one: Type, other: Type) -> Type {
    let number = |of: Type| matches!(of.kind, Kind::Integer | Kind::Float);
    match one == other {
        true => one,
        false if number(one) && number(other) => Type { kind: Kind::Float, list: false },
        false => Type::TEXT,
    }
}

/// The chains that lines come to, from rules that are in none on.
fn reached(led_to: &FxHashSet<(Option<usize>, usize)>) -> FxHashSet<usize> {
    let mut reached = FxHashSet::default();
    let mut open = vec![None];
    while let Some(from) = open.pop() {
        let led = led_to.iter().filter(|(rule, _)| *rule == from).map(|(_, to)| *to);
        let new: Vec<usize> = led.filter(|to| reached.insert(*to)).collect();
        open.extend(new.into_iter().map(Some));
    }
    reached
}

/// Names of the codes of RFC 5424, table 2.
const SEVERITIES: [&str; 8] =
    ["Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"];

/// Names of the codes of RFC 5424, table 1, by their usual short forms.
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];
