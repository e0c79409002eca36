//! Rules and packs as they are run: everything by number, everything rendered that can be.

use crate::ecs::{Kind, Type};
use crate::event::Constant;
use crate::fields::{FieldId, FieldTable, Relation};
use crate::index::{LiteralIndex, Need};
use crate::matcher::Matcher;
use crate::out::{Out, PAD};
use crate::pattern::Pattern;
use crate::plan::Plan;
use crate::sub::{CsvOptions, KvOptions};
use crate::time::{TimeFormat, Zone};
use crate::transform::Transform;
use logweir_document::Span;
use memchr::memmem::Finder;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// How many reasons for drops a rule set may have: each is a counter of every source.
pub const DROP_REASONS_MAX: usize = 64;

/// A rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    /// The file and the place of its id there.
    pub(crate) place: (Arc<str>, Span),
    pub(crate) pack: usize,
    /// The number of its first pattern among those of all rules.
    pub(crate) first_pattern: usize,
    /// Tried in order; empty: the rule has no pattern.
    pub(crate) patterns: Vec<(Pattern, Vec<FieldId>)>,
    /// One for each pattern if the rule needs no table of fields; else none.
    pub(crate) plans: Vec<Plan>,
    pub(crate) on: On,
    pub(crate) parse: Vec<SubParse>,
    pub(crate) when: Vec<Condition>,
    pub(crate) then: Option<Then>,
    pub(crate) maps: Vec<ValueMap>,
    /// Constants that nothing else in the rule concerns.
    pub(crate) block: Block,
    /// The rule's other ones, then those of the pack for other fields.
    pub(crate) sets: Vec<(FieldId, SetValue)>,
    pub(crate) transforms: Vec<(FieldId, Vec<Transform>)>,
    pub(crate) times: Vec<TimeRule>,
    pub(crate) action: Option<Action>,
    pub(crate) null_values: Vec<Vec<u8>>,
    /// What follows the fields of an event of this rule, up to the beginning of the original line:
    /// the block, the rule's name and `"event.original":"`; behind it there is [`PAD`].
    pub(crate) tail: Vec<u8>,
    pub(crate) samples: Vec<Sample>,
}

/// What a rule's patterns are matched against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Message,
    Line,
    Field(FieldId),
}

#[derive(Debug)]
pub(crate) struct SubParse {
    pub(crate) form: Form,
    pub(crate) on: On,
    pub(crate) fields: FxHashMap<Vec<u8>, Option<FieldId>>,
    /// Where keys that are not in `fields` are kept.
    pub(crate) rest: Option<Vec<u8>>,
    pub(crate) optional: bool,
}

#[derive(Debug)]
pub(crate) enum Form {
    Json,
    Kv(KvOptions),
    Csv(CsvOptions),
    Cef,
    Leef,
    Xml,
    Auditd,
}

#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) field: FieldId,
    pub(crate) test: Test,
}

#[derive(Debug)]
pub(crate) enum Test {
    Exists,
    Absent,
    AnyOf(Vec<Matcher>),
}

#[derive(Debug)]
pub(crate) struct Then {
    pub(crate) field: Option<FieldId>,
    pub(crate) chain: usize,
}

#[derive(Debug)]
pub(crate) struct ValueMap {
    pub(crate) from: FieldId,
    pub(crate) into: FieldId,
    pub(crate) exact: FxHashMap<Vec<u8>, u32>,
    pub(crate) others: Vec<(Matcher, u32)>,
    pub(crate) default: Option<u32>,
}

#[derive(Debug)]
pub(crate) enum SetValue {
    /// By its number.
    Constant(u32),
    Template(Vec<Part>),
}

#[derive(Debug)]
pub(crate) enum Part {
    Text(Vec<u8>),
    Field(FieldId),
}

#[derive(Debug)]
pub(crate) struct TimeRule {
    pub(crate) from: Vec<Part>,
    pub(crate) formats: Vec<TimeFormat>,
    pub(crate) zone: Option<Zone>,
    pub(crate) into: FieldId,
}

#[derive(Debug)]
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
    rules: Vec<usize>,
    index: LiteralIndex,
}

impl RuleList {
    pub(crate) fn new(numbers: Vec<usize>, rules: &[Rule]) -> Self {
        let needs: Vec<Need> = numbers.iter().map(|number| rules[*number].need()).collect();
        Self { rules: numbers, index: LiteralIndex::new(&needs) }
    }

    /// The rules' numbers, in their order.
    pub(crate) fn numbers(&self) -> &[usize] {
        &self.rules
    }

    /// Calls `visit` with the rules that may match `text`, in order, until it returns `true`;
    /// returns whether it did. `found` is working space.
    pub(crate) fn visit(
        &self,
        text: &[u8],
        found: &mut Vec<u32>,
        mut visit: impl FnMut(usize) -> bool,
    ) -> bool {
        self.index.visit(text, found, |position| visit(self.rules[position as usize]))
    }
}

/// How the member with the original line begins.
pub(crate) const ORIGINAL: &[u8] = b"\"event.original\":\"";

impl Rule {
    /// Renders the tail, once the block is known.
    pub(crate) fn seal(&mut self) {
        let tail = &mut self.tail;
        tail.clone_from(&self.block.members);
        tail.extend_from_slice(b"\"logweir.rule\":\"");
        logweir_record::write_escaped(tail, self.id.as_bytes());
        tail.extend_from_slice(b"\",");
        tail.extend_from_slice(ORIGINAL);
        tail.extend_from_slice(&[0; PAD]);
    }

    pub(crate) fn write_tail(&self, out: &mut Out) {
        out.padded(&self.tail, 0, self.tail.len() - PAD);
    }

    /// What the message must hold for the rule to match.
    pub(crate) fn need(&self) -> Need {
        if self.on != On::Message {
            return Need::default();
        }
        Need::any_of(self.patterns.iter().map(|(pattern, _)| &pattern.need))
    }
}

/// The members that are the same for every event of a rule, in one piece of JSON.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// `"name":value,` for each.
    pub(crate) members: Vec<u8>,
    pub(crate) fields: Vec<FieldId>,
    /// Whether the fields have to be marked as set, because something else may look at them.
    pub(crate) marked: bool,
    /// Whether `event.dataset`, `event.module` and `event.kind` are among them.
    pub(crate) complete: bool,
}

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
    pub(crate) signature: Option<Signature>,
    pub(crate) syslog: bool,
}

impl Applies {
    pub(crate) fn names_program(&self, program: &[u8]) -> bool {
        self.programs.iter().any(|name| crate::matcher::glob(name.as_bytes(), program))
    }
}

#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) pattern: Pattern,
}

/// All rules, ready to run; immutable and shared by all threads.
#[derive(Debug)]
pub struct RuleSet {
    pub(crate) fields: FieldTable,
    pub(crate) constants: Vec<Constant>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) packs: Vec<Pack>,
    pub(crate) chains: Vec<RuleList>,
    pub(crate) drop_reasons: Vec<String>,
    pub(crate) header: HeaderFields,
    pub(crate) words: Words,
    /// How many patterns all rules have.
    pub(crate) pattern_count: usize,
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
}

/// The fields that the syslog header fills.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderFields {
    pub(crate) timestamp: FieldId,
    pub(crate) hostname: FieldId,
    pub(crate) program: FieldId,
    pub(crate) pid: FieldId,
    pub(crate) message_id: FieldId,
    pub(crate) structured_data: FieldId,
    /// What stands behind the header, unless a rule says otherwise.
    pub(crate) message: FieldId,
    pub(crate) syslog_hostname: FieldId,
    pub(crate) syslog_program: FieldId,
    pub(crate) syslog_pid: FieldId,
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
        let mut field = |name: &str| fields.intern(name, None);
        Self {
            timestamp: field("@timestamp"),
            hostname: field("host.hostname"),
            program: field("process.name"),
            pid: field("process.pid"),
            message_id: field("log.syslog.msgid"),
            structured_data: field("logweir.structured_data"),
            message: field("message"),
            syslog_hostname: field("log.syslog.hostname"),
            syslog_program: field("log.syslog.appname"),
            syslog_pid: field("log.syslog.procid"),
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

    /// The id of a rule by its number.
    #[must_use]
    pub fn rule_id(&self, rule: usize) -> &str {
        &self.rules[rule].id
    }

    /// The file of a rule and the line in it.
    #[must_use]
    pub fn rule_place(&self, rule: usize) -> (&str, usize) {
        let (file, span) = &self.rules[rule].place;
        (file, span.line)
    }

    /// Whether a rule is of a pack for any syslog line: what it matches, nothing knows.
    #[must_use]
    pub fn is_last_resort(&self, rule: usize) -> bool {
        self.packs[self.rules[rule].pack].applies.syslog
    }

    /// The dataset of a pack by its number.
    #[must_use]
    pub fn dataset(&self, pack: usize) -> &str {
        &self.packs[pack].dataset
    }

    /// The name and the dataset of a pack by its number.
    #[must_use]
    pub fn pack(&self, pack: usize) -> (&str, &str) {
        (&self.packs[pack].name, &self.packs[pack].dataset)
    }

    /// Names and descriptions of the packs, for listings: (name, dataset, rules).
    pub fn packs(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        self.packs.iter().enumerate().map(|(number, pack)| {
            let rules = self.rules.iter().filter(|rule| rule.pack == number).count();
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
        self.rules
            .iter()
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
        _ => value.clone(),
    }
}
