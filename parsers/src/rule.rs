//! Rules and packs as they are run: everything by number, everything rendered that can be.

use crate::blocks::{self, Outer};
use crate::direction::Network;
use crate::ecs::{Kind, Type};
use crate::event::Constant;
use crate::fields::{FieldId, FieldTable, Relation};
use crate::index::{LiteralIndex, Need};
use crate::matcher::Matcher;
use crate::out::{Out, PAD};
use crate::packed::Packed;
use crate::pattern::Pattern;
use crate::plan::Plan;
use crate::signs::Sign;
use crate::sub::{CsvOptions, KvOptions};
use crate::time::{TimeContext, TimeFormat, Zone};
use crate::transform::Transform;
use logweir_document::Span;
use memchr::memmem::Finder;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// How many reasons for drops a rule set may have: each is a counter of every source.
pub const DROP_REASONS_MAX: usize = 64;

/// A rule. What a line asks of each rule that it is tried on comes first and stands side by side: rules
/// are many, and which of them is next nothing foretells, so every cache line of one has to be fetched.
#[derive(Debug, Serialize, Deserialize)]
#[repr(C)]
pub(crate) struct Rule {
    /// Tried in order; empty: the rule has no pattern.
    pub(crate) patterns: Box<[(Pattern, Box<[FieldId]>)]>,
    /// The number of its first pattern; no pattern of another rule has it.
    pub(crate) first_pattern: usize,
    /// How many of `when` do not depend on what the rule itself takes from the line.
    pub(crate) known_before: usize,
    pub(crate) on: On,
    /// See [`Rule::plan`]; made for the first line.
    #[serde(skip)]
    pub(crate) plans: OnceLock<Box<[Option<Plan>]>>,
    pub(crate) maps: Vec<ValueMap>,
    /// The pack's.
    #[serde(skip)]
    pub(crate) null_values: Arc<[Vec<u8>]>,
    pub(crate) times: Vec<TimeRule>,
    /// First those that are known before.
    pub(crate) when: Vec<Condition>,
    pub(crate) parse: Vec<SubParse>,
    /// See [`Rule::signs`]; made for the first line.
    #[serde(skip)]
    pub(crate) signs: OnceLock<Box<[Sign]>>,
    pub(crate) then: Option<Then>,
    /// The rule's other ones, then those of the pack for other fields.
    pub(crate) sets: Vec<(FieldId, SetValue)>,
    pub(crate) transforms: Vec<(FieldId, Vec<Transform>)>,
    pub(crate) action: Option<Action>,
    /// Constants that nothing else in the rule concerns.
    #[serde(skip)]
    pub(crate) block: Block,
    /// What follows the fields of an event of this rule, up to the beginning of the original line:
    /// the block, the rule's name and `"event.original":"`; behind it there is [`PAD`].
    #[serde(skip)]
    pub(crate) tail: Box<[u8]>,
    pub(crate) id: String,
    #[serde(skip)]
    pub(crate) file: Arc<str>,
    /// Where its id stands in the file.
    pub(crate) span: Span,
    pub(crate) pack: usize,
    /// None in a set that was loaded to be run only.
    #[serde(skip)]
    pub(crate) samples: Box<[Sample]>,
}

/// Values by texts; rules of a pack often have the same ones, and then share them.
pub(crate) type ByText<V> = Arc<FxHashMap<Box<[u8]>, V>>;

/// What a rule's patterns are matched against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum On {
    Message,
    Line,
    Field(FieldId),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SubParse {
    pub(crate) form: Form,
    pub(crate) on: On,
    pub(crate) fields: ByText<Option<FieldId>>,
    /// Where keys that are not in `fields` are kept.
    pub(crate) rest: Option<Vec<u8>>,
    pub(crate) optional: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Form {
    Json,
    Kv(KvOptions),
    Csv(CsvOptions),
    Cef,
    Leef,
    Xml,
    Auditd,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Condition {
    pub(crate) field: FieldId,
    pub(crate) test: Test,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Test {
    Exists,
    Absent,
    AnyOf(Vec<Matcher>),
}

impl Test {
    /// Whether it holds of a field's value; `None`: the field has none.
    pub(crate) fn holds(&self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::AnyOf(matchers) => {
                value.is_some_and(|value| matchers.iter().any(|matcher| matcher.matches(value)))
            }
        }
    }
}

/// As what a condition wants a value.
impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("to be there"),
            Self::Absent => f.write_str("to be absent"),
            Self::AnyOf(matchers) => {
                let shown: Vec<String> = matchers.iter().map(|one| format!("`{one}`")).collect();
                write!(f, "to be {}", shown.join(" or "))
            }
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Then {
    pub(crate) field: Option<FieldId>,
    pub(crate) to: Onward,
}

/// What goes on with a text that a rule has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Onward {
    /// The rules of a chain, by its number.
    Chain(usize),
    /// All packs: the text is a line of its own, of the program that this field names if its header
    /// names none.
    Packs { program: Option<FieldId> },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ValueMap {
    pub(crate) from: FieldId,
    pub(crate) into: FieldId,
    pub(crate) exact: ByText<u32>,
    pub(crate) others: Vec<(Matcher, u32)>,
    pub(crate) default: Option<u32>,
}

impl ValueMap {
    /// The number of the constant that stands for the value of `from`.
    pub(crate) fn constant(&self, value: Option<&[u8]>) -> Option<u32> {
        let Some(value) = value else {
            return self.default.filter(|_| self.from != self.into);
        };
        let among = || self.others.iter().find(|(matcher, _)| matcher.matches(value));
        let found = self.exact.get(value).copied();
        found.or_else(|| among().map(|(_, number)| *number)).or(self.default)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum SetValue {
    /// By its number.
    Constant(u32),
    Template(Vec<Part>),
    /// Which way traffic goes, from the first of these to the second.
    Direction([End; 2]),
}

/// An end of traffic as a rule may have captured it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) ip: FieldId,
    pub(crate) address: FieldId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Part {
    Text(Vec<u8>),
    Field(FieldId),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TimeRule {
    pub(crate) from: Vec<Part>,
    pub(crate) formats: Vec<TimeFormat>,
    pub(crate) zone: Option<Zone>,
    /// The zone of the header's time goes before `zone`.
    pub(crate) header_zone: bool,
    /// A duration in nanoseconds by which the time is moved; without its value there is no time.
    pub(crate) shift: Option<Shift>,
    pub(crate) into: FieldId,
}

impl TimeRule {
    /// Whether the text is made of this field.
    pub(crate) fn reads(&self, field: FieldId) -> bool {
        self.from.iter().any(|part| matches!(part, Part::Field(known) if *known == field))
    }

    /// Reads a text that `from` has given; the time is not moved yet.
    pub(crate) fn read(&self, text: &[u8], context: &TimeContext<'_>) -> Option<i64> {
        let text = text.trim_ascii();
        self.formats.iter().find_map(|format| format.parse(text, context))
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Shift {
    Later(FieldId),
    Earlier(FieldId),
}

impl Shift {
    pub(crate) fn by(self) -> FieldId {
        match self {
            Self::Later(field) | Self::Earlier(field) => field,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Action {
    /// By its reason.
    Drop(usize),
    /// One of so many is delivered.
    Sample(u64),
    Mask {
        fields: Vec<FieldId>,
        hash: bool,
    },
}

/// A line and what is expected of its event.
#[derive(Debug, Clone)]
pub struct Sample {
    pub line: String,
    /// (field, JSON value; `None` for absent).
    pub expect: Vec<(String, Option<serde_json::Value>)>,
    /// The file of the pack and the line in it.
    pub place: (String, usize),
}

/// Rules that are tried in order.
#[derive(Debug, Default)]
pub(crate) struct RuleList {
    rules: Box<[usize]>,
    /// Made for the first text: of all packs, a host has lines for a few.
    index: OnceLock<Box<LiteralIndex>>,
}

impl RuleList {
    pub(crate) fn new(numbers: Vec<usize>) -> Self {
        Self { rules: numbers.into(), index: OnceLock::new() }
    }

    /// The rules' numbers, in their order.
    pub(crate) fn numbers(&self) -> &[usize] {
        &self.rules
    }

    /// The index over the list, whose positions [`RuleList::number`] knows. `set` is that of the
    /// rules.
    #[inline]
    pub(crate) fn index(&self, set: &RuleSet) -> &LiteralIndex {
        self.index.get_or_init(|| self.index_of(set))
    }

    /// The rule at a position.
    #[inline]
    pub(crate) fn number(&self, position: u32) -> usize {
        self.rules[position as usize]
    }

    #[cold]
    fn index_of(&self, set: &RuleSet) -> Box<LiteralIndex> {
        let needs: Vec<Need> = self.rules.iter().map(|number| set.rule(*number).need()).collect();
        Box::new(LiteralIndex::new(&needs))
    }
}

/// How the member with the original line begins.
pub(crate) const ORIGINAL: &[u8] = b"\"event.original\":\"";

impl Rule {
    /// Whether a text stands for nothing.
    #[inline(never)]
    pub(crate) fn is_null(&self, text: &[u8]) -> bool {
        self.null_values.iter().any(|null| null == text)
    }

    /// Gives back what its lists have in reserve: there are thousands of them.
    pub(crate) fn shrink(&mut self) {
        self.parse.shrink_to_fit();
        self.when.shrink_to_fit();
        self.maps.shrink_to_fit();
        self.sets.shrink_to_fit();
        self.transforms.shrink_to_fit();
        self.times.shrink_to_fit();
    }

    /// Whether all that was read of it can be packed: no zone by name.
    pub(crate) fn can_be_packed(&self) -> bool {
        self.times.iter().all(|time| time.zone.as_ref().is_none_or(Zone::is_fixed))
    }

    /// How to write what one of the patterns captures, unless that needs the table of fields. `set` is
    /// that of the rule.
    pub(crate) fn plan(&self, pattern: usize, set: &RuleSet) -> Option<&Plan> {
        self.plans.get_or_init(|| Plan::all_of(self, set))[pattern].as_ref()
    }

    /// What the text must hold for its conditions to hold behind its sub-parsers.
    pub(crate) fn signs(&self) -> &[Sign] {
        self.signs.get_or_init(|| Sign::all_of(self))
    }

    /// Whether this is the field whose text the rule leads on with.
    pub(crate) fn leads_with(&self, field: FieldId) -> bool {
        self.then.as_ref().is_some_and(|then| then.field == Some(field))
    }

    /// Whether it may match is known before the event's fields are: the patterns come first and look
    /// at the line.
    pub(crate) fn begins_with_pattern(&self) -> bool {
        !self.patterns.is_empty() && !matches!(self.on, On::Field(_))
    }

    /// Renders the tail, once the block is known.
    pub(crate) fn seal(&mut self) {
        let mut tail = std::mem::take(&mut self.block.members);
        tail.extend_from_slice(b"\"logweir.rule\":\"");
        logweir_record::write_escaped(&mut tail, self.id.as_bytes());
        tail.extend_from_slice(b"\",");
        tail.extend_from_slice(ORIGINAL);
        tail.extend_from_slice(&[0; PAD]);
        self.tail = tail.into();
    }

    pub(crate) fn write_tail(&self, out: &mut Out) {
        out.padded(&self.tail, 0, self.tail.len() - PAD);
    }

    /// What the message must hold for the rule to match.
    pub(crate) fn need(&self) -> Need {
        if self.on != On::Message {
            return Need::default();
        }
        let needs: Vec<Need> = self.patterns.iter().map(|(pattern, _)| pattern.need()).collect();
        Need::any_of(needs.iter())
    }
}

/// The members that are the same for every event of a rule, in one piece of JSON.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// `"name":value,` for each, until the tail is rendered.
    pub(crate) members: Vec<u8>,
    pub(crate) fields: Vec<FieldId>,
    /// Whether the fields have to be marked as set, because something else may look at them.
    pub(crate) marked: bool,
    /// Whether `event.dataset`, `event.module` and `event.kind` are among them.
    pub(crate) complete: bool,
}

/// The priority from which on a pack knows a product; below it stand packs for what no product's pack
/// takes.
const PRIORITY_LAST_RESORT: u64 = 10;

/// A pack: which lines are its, and its rules.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) name: String,
    pub(crate) dataset: String,
    pub(crate) names: Vec<String>,
    pub(crate) priority: u64,
    pub(crate) applies: Applies,
    pub(crate) list: RuleList,
    /// `event.dataset` and `event.module` as constants.
    pub(crate) constants: [(FieldId, u32); 2],
}

/// See docs/rules.md, "Which lines".
#[derive(Debug, Default)]
pub(crate) struct Applies {
    pub(crate) programs: Vec<String>,
    pub(crate) starts: Vec<Vec<u8>>,
    pub(crate) contains: Vec<Finder<'static>>,
    /// `"key"` for each.
    pub(crate) json_keys: Vec<Finder<'static>>,
    pub(crate) signatures: Vec<Pattern>,
    pub(crate) syslog: bool,
}

impl Applies {
    pub(crate) fn names_program(&self, program: &[u8]) -> bool {
        self.programs.iter().any(|name| crate::matcher::glob(name.as_bytes(), program))
    }
}

/// All rules, ready to run; immutable and shared by all threads.
#[derive(Debug)]
pub struct RuleSet {
    pub(crate) fields: FieldTable,
    pub(crate) constants: Vec<Constant>,
    /// By number; see [`RuleSet::rule`].
    pub(crate) rules: Box<[OnceLock<Box<Rule>>]>,
    /// Those of files of which no rule was asked for yet, and of the other ones, too.
    pub(crate) packed: Box<[Packed]>,
    /// What goes before the rules in chains.
    pub(crate) outer: Outer,
    pub(crate) packs: Box<[Pack]>,
    pub(crate) chains: Box<[RuleList]>,
    pub(crate) drop_reasons: Vec<String>,
    /// Those that packs name, see [`crate::direction`].
    pub(crate) internal_networks: Vec<Network>,
    pub(crate) header: HeaderFields,
    pub(crate) words: Words,
    pub(crate) dispatch: crate::dispatch::Dispatch,
    pub(crate) hash: String,
}

/// Constants of the engine itself, by their numbers.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    /// `event` of `event.kind`.
    pub(crate) event: u32,
    /// `unparsed` of `event.dataset`.
    pub(crate) unparsed: u32,
    /// By their codes.
    pub(crate) severities: Vec<u32>,
    pub(crate) facilities: Vec<u32>,
    /// `1` of `log.syslog.version`, the only one that was published.
    pub(crate) version: u32,
    /// By [`crate::direction::Direction`].
    pub(crate) directions: Vec<u32>,
}

/// The fields that the syslog header fills.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderFields {
    pub(crate) timestamp: FieldId,
    pub(crate) hostname: FieldId,
    pub(crate) program: FieldId,
    pub(crate) pid: FieldId,
    pub(crate) message_id: FieldId,
    /// What stands behind the header, unless a rule says otherwise.
    pub(crate) message: FieldId,
    pub(crate) syslog_hostname: FieldId,
    pub(crate) syslog_program: FieldId,
    pub(crate) syslog_pid: FieldId,
    pub(crate) version: FieldId,
    pub(crate) priority: FieldId,
    pub(crate) facility_code: FieldId,
    pub(crate) facility_name: FieldId,
    pub(crate) severity_code: FieldId,
    pub(crate) severity_name: FieldId,
    /// The lists that are filled from other fields.
    pub(crate) related: [(Relation, FieldId); 4],
    pub(crate) kind: FieldId,
    pub(crate) dataset: FieldId,
    pub(crate) module: FieldId,
}

impl HeaderFields {
    /// Whether a header fills `field`.
    pub(crate) fn has(&self, field: FieldId) -> bool {
        field != self.kind && field != self.dataset && field != self.module && field <= self.module
    }

    pub(crate) fn new(fields: &mut FieldTable) -> Self {
        let mut field = |name: &str| fields.intern(name);
        Self {
            timestamp: field("@timestamp"),
            hostname: field("host.hostname"),
            program: field("process.name"),
            pid: field("process.pid"),
            message_id: field("log.syslog.msgid"),
            message: field("message"),
            syslog_hostname: field("log.syslog.hostname"),
            syslog_program: field("log.syslog.appname"),
            syslog_pid: field("log.syslog.procid"),
            version: field("log.syslog.version"),
            priority: field("log.syslog.priority"),
            facility_code: field("log.syslog.facility.code"),
            facility_name: field("log.syslog.facility.name"),
            severity_code: field("log.syslog.severity.code"),
            severity_name: field("log.syslog.severity.name"),
            related: Relation::ALL.map(|relation| (relation, field(relation.list()))),
            kind: field("event.kind"),
            dataset: field("event.dataset"),
            module: field("event.module"),
        }
    }
}

impl RuleSet {
    /// The number of rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule of a number. The first that is asked for of a file is unpacked with all others of it:
    /// of all packs, a host has lines for a few.
    #[inline]
    pub(crate) fn rule(&self, number: usize) -> &Rule {
        match self.rules[number].get() {
            Some(rule) => rule,
            None => self.unpack(number),
        }
    }

    /// All rules, in the order of their numbers.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        (0..self.len()).map(|number| self.rule(number))
    }

    #[cold]
    #[inline(never)]
    fn unpack(&self, number: usize) -> &Rule {
        if let Some(packed) = self.packed.iter().find(|packed| packed.has(number)) {
            packed.unpack().into_iter().for_each(|(number, rule)| self.put(number, rule));
        }
        self.rules[number].get().expect("a rule stands in the set or is packed")
    }

    /// Takes in a rule as it was read, unless another thread did so meanwhile.
    pub(crate) fn put(&self, number: usize, mut rule: Rule) {
        blocks::build(number, &mut rule, self);
        rule.seal();
        self.rules[number].get_or_init(|| Box::new(rule));
    }

    /// The id of a rule by its number.
    #[must_use]
    pub fn rule_id(&self, rule: usize) -> &str {
        &self.rule(rule).id
    }

    /// The file of a rule and the line in it.
    #[must_use]
    pub fn rule_place(&self, rule: usize) -> (&str, usize) {
        let rule = self.rule(rule);
        (&rule.file, rule.span.line)
    }

    /// Whether a rule is of a pack for any line of a kind: any syslog line, or a priority below
    /// [`PRIORITY_LAST_RESORT`]. What it matches, nothing knows.
    #[must_use]
    pub fn is_last_resort(&self, rule: usize) -> bool {
        let pack = &self.packs[self.rule(rule).pack];
        pack.applies.syslog || pack.priority < PRIORITY_LAST_RESORT
    }

    /// The dataset of a pack by its number.
    #[must_use]
    pub fn dataset(&self, pack: usize) -> &str {
        &self.packs[pack].dataset
    }

    /// The datasets of the packs for the lines of a program, in the order of the packs' names.
    #[must_use]
    pub fn datasets_of_program(&self, program: &str) -> Vec<&str> {
        let fits = |pack: &&Pack| pack.applies.names_program(program.as_bytes());
        let mut datasets: Vec<&str> =
            self.packs.iter().filter(fits).map(|pack| pack.dataset.as_str()).collect();
        datasets.sort_unstable();
        datasets.dedup();
        datasets
    }

    /// The name and the dataset of a pack by its number.
    #[must_use]
    pub fn pack(&self, pack: usize) -> (&str, &str) {
        (&self.packs[pack].name, &self.packs[pack].dataset)
    }

    /// Names and descriptions of the packs, for listings: (name, dataset, rules).
    pub fn packs(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        self.packs.iter().enumerate().map(|(number, pack)| {
            let rules = self.rules().filter(|rule| rule.pack == number).count();
            (pack.name.as_str(), pack.dataset.as_str(), rules)
        })
    }

    /// The pack that a name given by the user means: a pack's name, dataset or alias.
    #[must_use]
    pub fn pack_named(&self, name: &str) -> Option<usize> {
        self.packs.iter().position(|pack| pack.names.iter().any(|known| known == name))
    }

    /// All names by which packs can be chosen.
    pub fn pack_names(&self) -> impl Iterator<Item = &str> {
        self.packs.iter().flat_map(|pack| pack.names.iter().map(String::as_str))
    }

    /// The samples of every rule: (rule's number, sample).
    pub fn samples(&self) -> impl Iterator<Item = (usize, &Sample)> {
        self.rules()
            .enumerate()
            .flat_map(|(number, rule)| rule.samples.iter().map(move |sample| (number, sample)))
    }

    /// All reasons for drops, in the order of their numbers; at most [`DROP_REASONS_MAX`].
    pub fn drop_reasons(&self) -> impl Iterator<Item = &str> {
        self.drop_reasons.iter().map(String::as_str)
    }

    /// The reason for drops by its number.
    #[must_use]
    pub fn drop_reason(&self, reason: usize) -> &str {
        &self.drop_reasons[reason]
    }

    /// A digest of everything that was loaded: equal sets have equal hashes.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Renders a JSON value for a field, as its type wants it.
    pub(crate) fn constant(value: &serde_json::Value, kind: Type) -> Constant {
        let items: Vec<serde_json::Value> = match value {
            serde_json::Value::Array(items) => items.iter().map(|item| typed(item, kind)).collect(),
            single => vec![typed(single, kind)],
        };
        let texts: Vec<String> = items
            .iter()
            .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            .collect();
        let list = kind.list || value.is_array();
        let json =
            if list { serde_json::Value::Array(items).to_string() } else { items[0].to_string() };
        Constant { text: texts.join(",").into_bytes(), json: json.into_bytes() }
    }
}

/// `22` for a text field is the text `22`, and the other way round.
fn typed(value: &serde_json::Value, kind: Type) -> serde_json::Value {
    use serde_json::Value as Json;
    match (value, kind.kind) {
        (Json::Number(_) | Json::Bool(_), Kind::Text | Kind::Ip | Kind::Date) => {
            Json::String(value.to_string())
        }
        (Json::String(text), Kind::Integer) => {
            text.parse::<i64>().map_or_else(|_| value.clone(), Json::from)
        }
        (Json::String(text), Kind::Float) => {
            text.parse::<f64>().map_or_else(|_| value.clone(), Json::from)
        }
        _ => value.clone(),
    }
}
