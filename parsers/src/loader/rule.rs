//! Reading one rule.

use super::builder::Builder;
use crate::blocks::look;
use crate::convert::times::from_joda;
use crate::ecs::{self, Kind};
use crate::fields::{Field, FieldId, check_expected, check_name, check_prefix, may_name};
use crate::matcher::Matcher;
use crate::pattern::{self, Expanded, Pattern, PatternFault};
use crate::rule::{
    Action, Block, ByText, Condition, DROP_REASONS_MAX, End, Form, On, Onward, Part, Rule, Sample,
    SetValue, Shift, SubParse, Test, Then, TimeRule, ValueMap,
};
use crate::sub::{CsvOptions, KvOptions};
use crate::time::{self, TimeFormat, Zone, dates};
use crate::transform::{Gsub, NAMES, Transform};
use logweir_document::{Faults, Node, Span, Style, Table, Value, nearest};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The longest reason for drops.
const DROP_REASON_BYTES_MAX: usize = 48;
/// The engine keeps one bit for each of them.
const TRANSFORMS_MAX: usize = 64;
const TIMES_MAX: usize = 64;

/// What a rule takes from its pack.
pub(super) struct PackContext<'n> {
    pub(super) number: usize,
    pub(super) file: Arc<str>,
    pub(super) vendor: Vec<String>,
    pub(super) patterns: BTreeMap<String, String>,
    /// Where the pack has the fragments of its own.
    pub(super) fragments: Option<&'n Node>,
    pub(super) null_values: Arc<[Vec<u8>]>,
    pub(super) chains: BTreeMap<String, usize>,
    pub(super) sets: Vec<(FieldId, SetValue)>,
    pub(super) times: Option<&'n Node>,
    /// The chain that the rules which are read stand in: what the pack says of all its rules then comes
    /// with the outermost one.
    pub(super) in_chain: Option<usize>,
}

pub(super) fn read_list(
    builder: &mut Builder,
    context: &PackContext<'_>,
    nodes: &[Node],
    faults: &mut Faults,
) -> Vec<usize> {
    let mut numbers = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let Some(table) = Table::open(node, format!("rules[{at}]"), faults) else { continue };
        let span = table.span();
        if let Some(rule) = (Reader { builder, context, faults }).rule(table)
            && let Some(number) = builder.add_rule(rule, span, faults)
        {
            numbers.push(number);
        }
    }
    numbers
}

/// Tells what is wrong with the pack's fragments that nothing uses; that of the others is told by then.
pub(super) fn check_fragments(
    builder: &mut Builder,
    context: &PackContext<'_>,
    faults: &mut Faults,
) {
    let Some(Value::Mapping(entries)) = context.fragments.map(|node| &node.value) else { return };
    let source = faults.source().clone();
    let used =
        |name: &str| ['}', ':'].iter().any(|end| source.text.contains(&format!("%{{{name}{end}")));
    let mut reader = Reader { builder, context, faults };
    for (_, node) in entries.iter().filter(|(key, _)| !used(&key.name)) {
        if let Some(text) = node.text()
            && let Some(expanded) = reader.expanded(node, text)
        {
            reader.compiled(node, &expanded, true);
        }
    }
}

/// The pack's `set`, without templates.
pub(super) fn pack_sets(
    builder: &mut Builder,
    context: &PackContext<'_>,
    table: &mut Table<'_>,
    faults: &mut Faults,
) -> Vec<(FieldId, SetValue)> {
    let mut sets = Reader { builder, context, faults }.sets(table);
    if sets.iter().any(|(_, value)| matches!(value, SetValue::Template(_))) {
        faults.error(table.span(), "a template in the pack's `set`").remedy =
            Some("templates belong to rules".into());
        sets.clear();
    }
    sets
}

/// Notes a fault of a pattern at its place inside the scalar.
pub(super) fn pattern_fault(node: &Node, fault: &PatternFault, faults: &mut Faults) {
    let span = pattern_span(node, fault.at);
    let fault = faults.at(span, fault.message.clone()).with_remedy(fault.remedy.clone());
    faults.push_once(fault);
}

/// The place of a character of a pattern, where the file has it as it is.
fn pattern_span(node: &Node, at: usize) -> Span {
    let mut span = node.span;
    if let Value::Scalar(scalar) = &node.value
        && matches!(scalar.style, Style::Plain | Style::SingleQuoted)
        && !scalar.text.contains('\n')
    {
        // A quote in single quotes stands there twice.
        let single = scalar.style == Style::SingleQuoted;
        let doubled = scalar.text.chars().take(at).filter(|c| single && *c == '\'').count();
        span.column += usize::from(single) + at + doubled;
        let whole = span.width.saturating_sub(2 * usize::from(single)).max(1);
        span.width = if at == 0 { whole } else { 1 };
    }
    span
}

/// Whether an unknown key, which is told as such, was to say what a rule matches.
fn is_meant_to_match(key: &str) -> bool {
    nearest(key, ["pattern", "patterns", "parse", "when"]).is_some()
}

/// Whether a rule's patterns or sub-parsers fill `field`.
fn takes(patterns: &[(Pattern, Box<[FieldId]>)], parses: &[SubParse], field: FieldId) -> bool {
    patterns.iter().any(|(_, fields)| fields.contains(&field))
        || parses.iter().any(|parse| parse.fields.values().any(|known| *known == Some(field)))
}

struct Reader<'b, 'c, 'f, 'n> {
    builder: &'b mut Builder,
    context: &'c PackContext<'n>,
    faults: &'f mut Faults,
}

impl Reader<'_, '_, '_, '_> {
    fn rule(&mut self, mut table: Table<'_>) -> Option<Rule> {
        let id = table.required_string("id", self.faults)?.to_owned();
        let span = table.node("id").map_or(table.span(), |node| node.span);
        let on = self.on(&mut table, "on");
        let unicode = table.boolean("unicode", self.faults).unwrap_or(false);
        let patterns = self.patterns(&mut table, unicode);
        let parse = self.parses(&mut table);
        if let (On::Field(field), Some(node)) = (on, table.node("on")) {
            self.check_on(field, node.span, takes(&patterns, &parse, field));
        }
        let when = self.conditions(&mut table);
        let then = self.then(&mut table);
        let maps = self.maps(&mut table);
        let mut sets = self.sets(&mut table);
        if self.context.in_chain.is_none() {
            Builder::merge_sets(&mut sets, &self.context.sets);
        }
        let transforms = self.transforms(&mut table);
        let of_pack = self.context.times.filter(|_| self.context.in_chain.is_none());
        let times = match table.node("time").or(of_pack) {
            Some(node) => self.times(node),
            None => Vec::new(),
        };
        let action = self.action(&mut table);
        let samples = self.samples(&mut table);
        self.note_given(&patterns, &parse, &maps, &sets, &times);
        if let Some(node) = table.node("pattern").or(table.node("patterns"))
            && then.is_none()
        {
            let made = |field| transforms.iter().any(|(known, _)| *known == field);
            let read = |field| times.iter().any(|time| time.reads(field));
            self.check_dates(node.span, &patterns, |field| made(field) || read(field));
        }
        // What leads on may take all, such as the last rule of a chain.
        let given = ["pattern", "patterns", "parse", "when", "then"];
        let given = given.into_iter().any(|key| table.node(key).is_some());
        if !given && !table.entries().iter().any(|(key, _)| is_meant_to_match(&key.name)) {
            self.faults.error(table.span(), format!("the rule `{id}` matches every line")).remedy =
                Some("give it a `pattern`, `parse` or `when`".into());
        }
        table.finish(self.faults);
        let mut rule = Rule {
            id,
            file: self.context.file.clone(),
            span,
            pack: self.context.number,
            first_pattern: 0,
            patterns,
            on,
            parse,
            when,
            known_before: 0,
            then,
            maps,
            block: Block::default(),
            plans: OnceLock::new(),
            signs: OnceLock::new(),
            sets,
            transforms,
            times,
            action,
            null_values: self.context.null_values.clone(),
            tail: Box::default(),
            samples,
        };
        self.look_into_rest(&mut rule);
        rule.when.sort_by_key(|asked| takes(&rule.patterns, &rule.parse, asked.field));
        let own = |asked: &Condition| takes(&rule.patterns, &rule.parse, asked.field);
        rule.known_before = rule.when.partition_point(|asked| !own(asked));
        rule.shrink();
        Some(rule)
    }

    /// The number of a field, after checking its name.
    fn field(&mut self, name: &str, span: Span) -> FieldId {
        if let Err((message, remedy)) = check_name(name, &self.context.vendor) {
            self.faults.error(span, message).remedy = Some(remedy);
        }
        let id = self.builder.fields.intern(name);
        if name.starts_with('_') {
            self.builder.asked_inside.push((id, span));
        }
        id
    }

    /// What is captured as a date, and nothing makes one of it, has to be able to be one.
    fn check_dates(
        &mut self,
        span: Span,
        patterns: &[(Pattern, Box<[FieldId]>)],
        is_made: impl Fn(FieldId) -> bool,
    ) {
        for (pattern, fields) in patterns {
            for (capture, field) in fields.iter().enumerate().filter(|(_, id)| !is_made(**id)) {
                let Field { name, kind, .. } = self.builder.fields.get(*field);
                if kind.kind == Kind::Date && !pattern.may_capture(capture, &dates()) {
                    let fault = format!("what is captured as `{name}` is never a date");
                    self.faults.warning(span, fault).remedy = Some(format!(
                        "dates are as 2026-11-28T10:15:02Z; read others by `time: {{field: {name}, \
                         formats: […], into: '{name}'}}`"
                    ));
                }
            }
        }
    }

    /// Takes down which names for use inside rules this one gives a value; that another asks for one is
    /// no fault, for rules share maps and times by aliases, and those of chains have what leads to them.
    fn note_given(
        &mut self,
        patterns: &[(Pattern, Box<[FieldId]>)],
        parses: &[SubParse],
        maps: &[ValueMap],
        sets: &[(FieldId, SetValue)],
        times: &[TimeRule],
    ) {
        let captured = patterns.iter().flat_map(|(_, fields)| fields.iter().copied());
        let parsed = parses.iter().flat_map(|parse| parse.fields.values().flatten().copied());
        let mapped = maps.iter().filter(|map| map.from != map.into).map(|map| map.into);
        let set = sets.iter().map(|(field, _)| *field);
        let read = times.iter().map(|time| time.into);
        let given = captured.chain(parsed).chain(mapped).chain(set).chain(read);
        let inside = given.filter(|id| self.builder.fields.get(*id).name.starts_with('_'));
        self.builder.given_inside.extend(inside.collect::<Vec<_>>());
    }

    /// A text with its place.
    fn text<'t>(&mut self, table: &mut Table<'t>, key: &str) -> Option<(&'t str, Span)> {
        let text = table.string(key, self.faults)?;
        table.node(key).map(|node| (text, node.span))
    }

    /// The field that a key names.
    fn named(&mut self, table: &mut Table<'_>, key: &str) -> Option<FieldId> {
        self.text(table, key).map(|(name, span)| self.field(name, span))
    }

    fn on(&mut self, table: &mut Table<'_>, key: &str) -> On {
        match self.text(table, key) {
            None | Some(("message", _)) => On::Message,
            Some(("line", _)) => On::Line,
            Some((name, span)) => On::Field(self.field(name, span)),
        }
    }

    /// A rule that is in no chain finds in a field what the header has put there, or a rule that leads on
    /// with a line.
    fn check_on(&mut self, field: FieldId, span: Span, own: bool) {
        let name = self.builder.fields.get(field).name.clone();
        let given = self.context.in_chain.is_some() || self.builder.header.has(field);
        // A name that is none was told.
        if given || !may_name(&name, &self.context.vendor) {
            return;
        }
        let (fault, remedy) = if own {
            (
                self.faults
                    .at(span, format!("`{name}` is matched before the rule itself fills it")),
                "fill it in a rule with `then: {field: …, chain: …}`, and match it in one of the chain",
            )
        } else {
            (
                self.faults
                    .at(span, format!("nothing fills `{name}` before the rule"))
                    .as_warning(),
                "match `message` or `line`, or put the rule into a chain",
            )
        };
        self.faults.push(fault.with_remedy(remedy));
    }

    fn patterns(
        &mut self,
        table: &mut Table<'_>,
        unicode: bool,
    ) -> Box<[(Pattern, Box<[FieldId]>)]> {
        let mut nodes: Vec<&Node> = table.node("pattern").into_iter().collect();
        nodes.extend(table.sequence("patterns", self.faults).unwrap_or_default());
        if let (Some(_), Some(node)) = (table.node("pattern"), table.node("patterns")) {
            self.faults.error(node.span, "`patterns` beside a `pattern`").remedy =
                Some("write all of them under `patterns`".into());
        }
        nodes.into_iter().filter_map(|node| self.pattern(node, unicode)).collect()
    }

    fn pattern(&mut self, node: &Node, unicode: bool) -> Option<(Pattern, Box<[FieldId]>)> {
        let Some(text) = node.text() else {
            self.faults.error(node.span, format!("a pattern is {}", node.kind())).remedy =
                Some("write a regex in single quotes".into());
            return None;
        };
        let expanded = self.expanded(node, text)?;
        let mut fields = Vec::new();
        for capture in &expanded.captures {
            if let Err((message, remedy)) = check_name(&capture.name, &self.context.vendor) {
                let fault = PatternFault { at: capture.at, message, remedy };
                pattern_fault(node, &fault, self.faults);
            }
            if let (Some(given), Some(of_ecs)) = (capture.kind, ecs::type_of(&capture.name))
                && given.kind != of_ecs.kind
            {
                let message = format!("`{}` has its type from ECS", capture.name);
                let remedy = format!("it is {}; leave the type out", of_ecs.kind.name());
                let span = pattern_span(node, capture.at);
                self.faults.warning(span, message).remedy = Some(remedy);
            }
            let id = self.builder.fields.intern(&capture.name);
            if let Some(kind) = capture.kind {
                let place = (&self.context.file, pattern_span(node, capture.at));
                self.builder.note_type(id, kind, place, self.faults);
            }
            fields.push(id);
        }
        Some((self.compiled(node, &expanded, unicode)?, fields.into()))
    }

    /// The text of a pattern without what stands for others.
    fn expanded(&mut self, node: &Node, text: &str) -> Option<Expanded> {
        if let Value::Scalar(scalar) = &node.value
            && scalar.style == Style::DoubleQuoted
        {
            self.faults.warning(node.span, "a pattern in double quotes").remedy =
                Some("use single quotes: in double quotes YAML eats the backslashes".into());
        }
        let expanded = pattern::expand(text, &self.context.patterns);
        expanded.map_err(|fault| self.wrong_pattern(node, &fault)).ok()
    }

    fn compiled(&mut self, node: &Node, expanded: &Expanded, unicode: bool) -> Option<Pattern> {
        let compiled = pattern::compile(expanded, unicode);
        compiled.map_err(|fault| self.wrong_pattern(node, &fault)).ok()
    }

    /// Notes a fault of a pattern; at the fragment that has it, if it is one of the pack's, and once
    /// however many patterns use that.
    fn wrong_pattern(&mut self, node: &Node, fault: &PatternFault) {
        let rest = node.text().unwrap_or_default().chars().skip(fault.at).collect::<String>();
        let name = rest.strip_prefix("%{").and_then(|rest| rest.split([':', '}']).next());
        let fragment = name.and_then(|name| self.context.fragments?.get(name));
        let Some((fragment, text)) = fragment.and_then(|node| Some((node, node.text()?))) else {
            return pattern_fault(node, fault, self.faults);
        };
        let alone = pattern::expand(text, &self.context.patterns)
            .and_then(|expanded| pattern::compile(&expanded, false).map(|_| ()));
        match alone {
            Ok(()) => pattern_fault(node, fault, self.faults),
            // Of fragments that are wrong together, the first says enough.
            Err(own) if own.is_of_several() => pattern_fault(fragment, &own, self.faults),
            Err(own) => self.wrong_pattern(fragment, &own),
        }
    }

    fn parses(&mut self, table: &mut Table<'_>) -> Vec<SubParse> {
        let nodes = match table.node("parse") {
            None => return Vec::new(),
            Some(node) => items(node),
        };
        nodes.iter().filter_map(|node| self.parse(node)).collect()
    }

    fn parse(&mut self, node: &Node) -> Option<SubParse> {
        let mut table = Table::open(node, "parse", self.faults)?;
        let words = ["json", "kv", "csv", "cef", "leef", "xml", "auditd"];
        table.required("as", self.faults)?;
        let form = match table.choice("as", &words, self.faults)? {
            0 => Form::Json,
            1 => Form::Kv(self.kv_options(&mut table)),
            2 => {
                table.required("columns", self.faults);
                Form::Csv(self.csv_options(&mut table))
            }
            3 => Form::Cef,
            4 => Form::Leef,
            5 => Form::Xml,
            _ => Form::Auditd,
        };
        let on = self.on(&mut table, "field");
        let rest = self.rest(&mut table);
        let optional = table.boolean("optional", self.faults).unwrap_or(false);
        let mut fields = FxHashMap::default();
        if let Some(map) = table.table("fields", self.faults) {
            for (key, node) in map.entries() {
                let field = node.text().map(|name| self.field(name, node.span));
                fields.insert(key.name.as_bytes().into(), field);
            }
        }
        if let Form::Csv(options) = &form {
            self.columns_as_fields(&options.columns, &mut fields);
        }
        fields.shrink_to_fit();
        table.finish(self.faults);
        Some(SubParse { form, on, fields: Arc::new(fields), rest, optional })
    }

    /// Makes fields of the keys that a sub-parser would only keep, where the rule reads them and nothing else
    /// in it fills them.
    fn look_into_rest(&mut self, rule: &mut Rule) {
        let mut read = FxHashSet::default();
        look(rule, &mut read);
        read.retain(|field| !takes(&rule.patterns, &rule.parse, *field));
        for parse in &mut rule.parse {
            for field in parse.rest.iter().flat_map(|_| &read) {
                let name = self.builder.fields.get(*field).name.as_bytes();
                let behind = parse.rest.as_deref().and_then(|rest| name.strip_prefix(rest));
                if let Some(key) = behind.and_then(|behind| behind.strip_prefix(b".")) {
                    Arc::make_mut(&mut parse.fields).entry(key.into()).or_insert(Some(*field));
                }
            }
            self.builder.parsed_fields.share(&mut parse.fields);
        }
    }

    /// Where a sub-parser keeps the keys that no field is named for; `None`: nowhere.
    fn rest(&mut self, table: &mut Table<'_>) -> Option<Vec<u8>> {
        let (prefix, span) = self.text(table, "rest").filter(|(text, _)| *text != "drop")?;
        // What the pack declares and may not is told there. Right under `labels` are those that a source's
        // configuration gives.
        let own = prefix != "labels" && !prefix.starts_with('_');
        if !own || !may_name(&format!("{prefix}.x"), &self.context.vendor) {
            let root = prefix.split('.').next().unwrap_or(prefix);
            let (message, remedy) = check_prefix(prefix).err().unwrap_or_else(|| {
                let message = format!("`{prefix}` is no vendor prefix of this pack");
                (message, format!("declare it: `vendor: [{root}]`"))
            });
            self.faults.error(span, message).remedy = Some(remedy);
        }
        Some(prefix.as_bytes().to_vec())
    }

    /// A column that is called as a field, and that `fields` says nothing of, is that field.
    fn columns_as_fields(
        &mut self,
        columns: &[String],
        fields: &mut FxHashMap<Box<[u8]>, Option<FieldId>>,
    ) {
        for name in columns.iter().filter(|name| *name != "_") {
            if may_name(name, &self.context.vendor) {
                let id = self.builder.fields.intern(name);
                fields.entry(name.as_bytes().into()).or_insert(Some(id));
            }
        }
    }

    fn kv_options(&mut self, table: &mut Table<'_>) -> KvOptions {
        let mut options = KvOptions::default();
        if let Some(text) = table.string("pair_separators", self.faults) {
            options.pair_separators = text.as_bytes().to_vec();
        }
        if let Some(byte) = self.byte(table, "key_value_separator") {
            options.key_value_separator = byte;
        }
        if let Some(flag) = table.boolean("spaces_in_values", self.faults) {
            options.spaces_in_values = flag;
        }
        if let Some(text) = table.string("trim", self.faults) {
            options.trim = text.as_bytes().to_vec();
        }
        options
    }

    fn csv_options(&mut self, table: &mut Table<'_>) -> CsvOptions {
        let columns = table.strings("columns", self.faults).unwrap_or_default();
        CsvOptions {
            separator: self.byte(table, "separator").unwrap_or(b','),
            quote: match table.node("quote").and_then(Node::text) {
                Some("none") => None,
                Some(_) => self.byte(table, "quote"),
                None => Some(b'"'),
            },
            columns: columns.into_iter().map(|(name, _)| name.to_owned()).collect(),
            collapse: table.boolean("collapse", self.faults).unwrap_or(false),
        }
    }

    /// A single byte; `\t` is a tab.
    fn byte(&mut self, table: &mut Table<'_>, key: &str) -> Option<u8> {
        let node = table.node(key)?;
        match node.text().map(str::as_bytes) {
            Some(b"\\t") => Some(b'\t'),
            Some([byte]) => Some(*byte),
            _ => {
                self.faults.error(node.span, format!("`{key}` is not one character")).remedy =
                    Some("write one character in quotes, or '\\t' for a tab".into());
                None
            }
        }
    }

    fn conditions(&mut self, table: &mut Table<'_>) -> Vec<Condition> {
        let Some(table) = table.table("when", self.faults) else { return Vec::new() };
        let mut conditions = Vec::new();
        for (key, node) in table.entries() {
            let field = self.field(&key.name, key.span);
            let test = match (&node.value, node.text()) {
                (_, Some("exists")) => Test::Exists,
                (_, Some("absent")) => Test::Absent,
                (Value::Sequence(_), _) | (_, Some(_)) => {
                    let texts =
                        items(node).iter().filter_map(|item| Some((item.text()?, item.span)));
                    Test::AnyOf(texts.map(|(text, span)| self.matcher(text, span)).collect())
                }
                _ => {
                    self.faults
                        .error(node.span, format!("the condition is {}", node.kind()))
                        .remedy =
                        Some("write a value, a list of values, `exists` or `absent`".into());
                    continue;
                }
            };
            conditions.push(Condition { field, test });
        }
        conditions
    }

    /// What a condition or a map compares a value with.
    fn matcher(&mut self, text: &str, span: Span) -> Matcher {
        let ends = text.split_once('-').map(|(low, high)| (low.parse::<i64>(), high.parse()));
        if let Some((Ok(low), Ok(high))) = ends
            && low > high
        {
            self.faults.warning(span, format!("`{text}` is a text and no range")).remedy =
                Some(format!("write the lower end first: `{high}-{low}`"));
        }
        Matcher::new(text)
    }

    fn then(&mut self, table: &mut Table<'_>) -> Option<Then> {
        let mut table = table.table("then", self.faults)?;
        let field = self.named(&mut table, "field");
        let program = self.named(&mut table, "program");
        let chain = table.node("chain");
        let packs = table.choice("as", &["line"], self.faults).map(|_| Onward::Packs { program });
        if chain.is_some() == table.node("as").is_some() {
            let what = if chain.is_some() { "both `chain` and `as`" } else { "no `chain`" };
            self.faults.error(table.span(), format!("`then` has {what}")).remedy =
                Some("name a chain of the pack, or write `as: line` for all packs".into());
        }
        if let (Some(_), Some(node)) = (chain, table.node("program")) {
            self.faults.error(node.span, "`program` for the rules of a chain").remedy =
                Some("only `as: line` asks for it: packs are found by the program".into());
        }
        let to = chain.and_then(|node| self.chain(node)).map(Onward::Chain).or(packs);
        table.finish(self.faults);
        Some(Then { field, to: to? })
    }

    /// A chain of the pack by its number.
    fn chain(&mut self, node: &Node) -> Option<usize> {
        let name = node.text().unwrap_or_default();
        let chain = self.context.chains.get(name).copied();
        if chain.is_none() {
            let near = nearest(name, self.context.chains.keys().map(String::as_str));
            self.faults.error(node.span, format!("there is no chain `{name}`")).remedy =
                Some(near.map_or_else(
                    || "define it under `chains:`".into(),
                    |n| format!("did you mean `{n}`?"),
                ));
        }
        self.builder.led_to.extend(chain.map(|to| (self.context.in_chain, to)));
        chain
    }

    fn maps(&mut self, table: &mut Table<'_>) -> Vec<ValueMap> {
        let Some(table) = table.table("map", self.faults) else { return Vec::new() };
        let mut maps = Vec::new();
        for (key, node) in table.entries() {
            let into = self.field(&key.name, key.span);
            let Some(entry) = Table::open(node, format!("map.{}", key.name), self.faults) else {
                continue;
            };
            let entries = entry.entries();
            let nested = |(_, value): &(_, Node)| matches!(value.value, Value::Mapping(_));
            let long = node.get("values").is_some()
                || entries.iter().any(nested)
                || entries.iter().all(|(key, _)| matches!(key.name.as_str(), "from" | "default"));
            maps.push(if long {
                self.long_map(into, entry)
            } else {
                self.value_map(into, into, node)
            });
        }
        maps
    }

    fn long_map(&mut self, into: FieldId, mut table: Table<'_>) -> ValueMap {
        let from = self.named(&mut table, "from").unwrap_or(into);
        let mut map = match table.node("values") {
            Some(values) => self.value_map(from, into, values),
            None => {
                self.faults.error(table.span(), "a map without `values`").remedy =
                    Some("write `{from: FIELD, values: {text: value}}`".into());
                let exact = ByText::default();
                ValueMap { from, into, exact, others: Vec::new(), default: None }
            }
        };
        map.default = table.node("default").map(|node| self.constant(into, node));
        table.finish(self.faults);
        map
    }

    fn value_map(&mut self, from: FieldId, into: FieldId, node: &Node) -> ValueMap {
        let mut exact = FxHashMap::default();
        let mut others = Vec::new();
        if let Value::Mapping(entries) = &node.value {
            for (key, value) in entries.iter() {
                let constant = self.constant(into, value);
                match self.matcher(&key.name, key.span) {
                    Matcher::Exact(text) => {
                        exact.insert(text.into(), constant);
                    }
                    matcher => others.push((matcher, constant)),
                }
            }
        }
        exact.shrink_to_fit();
        let mut exact = Arc::new(exact);
        self.builder.mapped_values.share(&mut exact);
        ValueMap { from, into, exact, others, default: None }
    }

    fn sets(&mut self, table: &mut Table<'_>) -> Vec<(FieldId, SetValue)> {
        let Some(table) = table.table("set", self.faults) else { return Vec::new() };
        let mut sets = Vec::new();
        for (key, node) in table.entries() {
            let field = self.field(&key.name, key.span);
            if let Value::Mapping(entries) = &node.value {
                if let [(inner, nothing)] = entries.as_slice()
                    && nothing.is_null()
                {
                    let name = &inner.name;
                    self.faults.error(node.span, format!("`{{{name}}}` is a mapping")).remedy =
                        Some(format!("put a template in quotes: `'{{{name}}}'`"));
                    continue;
                }
                let ends = self.direction(&key.name, node);
                sets.extend(ends.map(|ends| (field, SetValue::Direction(ends))));
                continue;
            }
            let value = match node.text() {
                Some(text) if text.contains(['{', '}']) => match self.template(text, node.span) {
                    parts if parts.iter().any(|part| matches!(part, Part::Field(_))) => {
                        SetValue::Template(parts)
                    }
                    parts => {
                        let text: Vec<u8> = parts
                            .into_iter()
                            .flat_map(|part| match part {
                                Part::Text(text) => text,
                                Part::Field(_) => Vec::new(),
                            })
                            .collect();
                        let text = String::from_utf8_lossy(&text).into_owned();
                        let kind = self.builder.fields.get(field).kind;
                        SetValue::Constant(self.builder.constant(&Json::String(text), kind))
                    }
                },
                _ => SetValue::Constant(self.constant(field, node)),
            };
            sets.push((field, value));
        }
        sets
    }

    /// The number of a constant, after checking that it is one for the field.
    fn constant(&mut self, field: FieldId, node: &Node) -> u32 {
        let Field { name, kind, of_ecs, single, .. } = self.builder.fields.get(field);
        let (name, kind, of_ecs, single) = (name.clone(), *kind, *of_ecs, *single);
        for item in items(node) {
            if item.is_null() {
                self.faults.error(item.span, format!("no value for `{name}`")).remedy =
                    Some("write one, or leave the field out: it is absent then".into());
                continue;
            }
            let Some(text) = item.text() else { continue };
            let inner = text.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
            if inner.is_some_and(|(name, _)| !name.is_empty()) {
                self.faults.error(item.span, format!("`{text}` is no template here")).remedy =
                    Some("write templates under `set`, outside of lists".into());
                continue;
            }
            if of_ecs {
                self.check_type(&name, kind.kind, text, item.span);
            }
            self.check_allowed(&name, text, item.span);
        }
        match &node.value {
            Value::Sequence(items) if single && items.len() != 1 => {
                self.faults.error(node.span, format!("a list for `{name}`")).remedy =
                    Some("the field holds one value: write it without brackets".into());
                self.builder.constant(&Json::Null, kind)
            }
            Value::Sequence(items) if single => self.builder.constant(&json(&items[0]), kind),
            _ => self.builder.constant(&json(node), kind),
        }
    }

    /// `{direction: [source, destination]}`.
    fn direction(&mut self, name: &str, node: &Node) -> Option<[End; 2]> {
        let mut table = Table::open(node, format!("set.{name}"), self.faults)?;
        let ends = table.strings("direction", self.faults);
        table.finish(self.faults);
        let known = |name: &str| matches!(name, "source" | "destination" | "client" | "server");
        let ends = match ends.as_deref() {
            Some([one, other]) if known(one.0) && known(other.0) => [one.0, other.0],
            _ => {
                self.faults.error(node.span, "a direction without two ends").remedy =
                    Some("write `{direction: [source, destination]}`".into());
                return None;
            }
        };
        let mut field =
            |end: &str, what: &str| self.builder.fields.intern(&format!("{end}.{what}"));
        Some(ends.map(|end| End { ip: field(end, "ip"), address: field(end, "address") }))
    }

    /// A constant has to look like what the field's type says.
    fn check_type(&mut self, name: &str, kind: Kind, text: &str, span: Span) {
        let wanted = match kind {
            Kind::Integer if text.parse::<i64>().is_err() => "a whole number",
            Kind::Float if text.parse::<f64>().is_err() => "a number",
            Kind::Boolean if !matches!(text, "true" | "false") => "`true` or `false`",
            Kind::Ip if text.parse::<std::net::IpAddr>().is_err() => "an IP address",
            Kind::Date if text.parse::<jiff::Timestamp>().is_err() => {
                "a time such as 2026-11-28T10:15:02Z"
            }
            _ => return,
        };
        self.faults.error(span, format!("`{text}` is no value for `{name}`")).remedy =
            Some(format!("the field is {wanted}"));
    }

    /// ECS allows only certain words for the fields of categorisation.
    fn check_allowed(&mut self, name: &str, text: &str, span: Span) {
        let Some(allowed) = ecs::allowed(name).filter(|allowed| !allowed.contains(&text)) else {
            return;
        };
        let remedy = nearest(text, allowed.iter().copied()).map_or_else(
            || format!("one of {}", allowed.join(", ")),
            |n| format!("did you mean `{n}`?"),
        );
        self.faults.error(span, format!("`{text}` is no {name} of ECS")).remedy = Some(remedy);
    }

    fn template(&mut self, text: &str, span: Span) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.extend_from_slice(&rest.as_bytes()[..at]);
            let tail = &rest[at..];
            if tail.starts_with("{{") || tail.starts_with("}}") {
                literal.push(tail.as_bytes()[0]);
                rest = &tail[2..];
            } else if let Some(end) = tail.find('}').filter(|_| tail.starts_with('{')) {
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Field(self.field(&tail[1..end], span)));
                rest = &tail[end + 1..];
            } else {
                self.faults.error(span, "a single brace in a template").remedy =
                    Some("write `{field}`, or `{{` and `}}` for braces".into());
                rest = &tail[1..];
            }
        }
        literal.extend_from_slice(rest.as_bytes());
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal));
        }
        parts
    }

    fn transforms(&mut self, table: &mut Table<'_>) -> Vec<(FieldId, Vec<Transform>)> {
        let Some(table) = table.table("transform", self.faults) else { return Vec::new() };
        let mut transforms = Vec::new();
        for (key, node) in table.entries() {
            let field = self.field(&key.name, key.span);
            let steps = items(node).iter().filter_map(|item| self.transform(item)).collect();
            transforms.push((field, steps));
        }
        if transforms.len() > TRANSFORMS_MAX {
            let message = format!("more than {TRANSFORMS_MAX} fields with transforms in one rule");
            self.faults.error(table.span(), message).remedy = Some("split the rule".into());
        }
        transforms
    }

    fn transform(&mut self, node: &Node) -> Option<Transform> {
        if let Some(name) = node.text() {
            let found = NAMES.iter().find(|(known, _)| *known == name);
            if found.is_none() {
                let near = nearest(name, NAMES.iter().map(|(known, _)| *known));
                self.faults.error(node.span, format!("unknown transform `{name}`")).remedy =
                    Some(near.map_or_else(
                        || "see docs/rules.md".into(),
                        |n| format!("did you mean `{n}`?"),
                    ));
            }
            return found.map(|(_, transform)| transform.clone());
        }
        let mut table = Table::open(node, "transform", self.faults)?;
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let split = bytes(table.string("split", self.faults)).map(Transform::Split);
        if let (Some(Transform::Split(separator)), Some(node)) = (&split, table.node("split"))
            && separator.is_empty()
        {
            self.faults.error(node.span, "`split` at an empty text").remedy =
                Some("write what stands between the parts: `{split: ','}`".into());
        }
        let prefix = bytes(table.string("strip_prefix", self.faults)).map(Transform::StripPrefix);
        let suffix = bytes(table.string("strip_suffix", self.faults)).map(Transform::StripSuffix);
        let multiply = self.factor(&mut table, "multiply").map(Transform::Multiply);
        let divide = self.factor(&mut table, "divide").map(Transform::Divide);
        let add = self.named(&mut table, "add").map(Transform::Add);
        let base =
            table.integer("int", 2..=36, self.faults).map(|base| Transform::Integer(base as u32));
        let replace = self.replacement(&mut table).or_else(|| self.gsub(&mut table));
        let found =
            split.or(prefix).or(suffix).or(multiply).or(divide).or(add).or(base).or(replace);
        match table.entries() {
            [] => {
                self.faults.error(node.span, "a transform without a name").remedy =
                    Some("write a name such as `lowercase`, or `{split: ','}`".into());
            }
            [(key, _)] if NAMES.iter().any(|(name, _)| *name == key.name) => {
                let name = &key.name;
                let message = format!("the transform `{name}` takes no argument");
                self.faults.error(key.span, message).remedy = Some(format!("write `{name}` alone"));
                return None;
            }
            [_] => {}
            [_, (second, _), ..] => {
                self.faults.error(second.span, "two transforms in one step").remedy =
                    Some("make each an item of the list: `[{…: …}, {…: …}]`".into());
            }
        }
        table.finish(self.faults);
        found
    }

    /// What `multiply` and `divide` take.
    fn factor(&mut self, table: &mut Table<'_>, key: &str) -> Option<f64> {
        let node = table.node(key)?;
        let number = node.text().and_then(|text| text.parse::<f64>().ok());
        let number = number.filter(|number| number.is_finite() && *number != 0.0);
        if number.is_none() {
            let got = node.text().unwrap_or(node.kind());
            self.faults.error(node.span, format!("`{key}` is `{got}`")).remedy =
                Some("write a number other than 0".into());
        }
        number
    }

    /// What `replace` takes.
    fn replacement(&mut self, table: &mut Table<'_>) -> Option<Transform> {
        let node = table.node("replace")?;
        match table.strings("replace", self.faults)?.as_slice() {
            [(from, _), (to, _)] if !from.is_empty() => {
                Some(Transform::Replace(from.as_bytes().to_vec(), to.as_bytes().to_vec()))
            }
            _ => {
                self.faults.error(node.span, "`replace` is not two texts").remedy =
                    Some("write `{replace: [from, to]}`".into());
                None
            }
        }
    }

    /// What `gsub` takes.
    fn gsub(&mut self, table: &mut Table<'_>) -> Option<Transform> {
        let node = table.node("gsub")?;
        let items = match &node.value {
            Value::Sequence(items) => items.as_slice(),
            _ => &[],
        };
        let texts: Option<Vec<&str>> = items.iter().map(Node::text).collect();
        let (Some([from, to]), [of_pattern, _]) = (texts.as_deref(), items) else {
            self.faults.error(node.span, "`gsub` is not a pattern and a text").remedy =
                Some("write `{gsub: ['pattern', 'text']}`".into());
            return None;
        };
        let expanded = self.expanded(of_pattern, from)?;
        if let Some(capture) = expanded.captures.first() {
            let message = format!("`gsub` captures `{}`", capture.name);
            let remedy = "write `(?:…)`: what it finds is replaced and fills no field".into();
            pattern_fault(
                of_pattern,
                &PatternFault { at: capture.at, message, remedy },
                self.faults,
            );
            return None;
        }
        let pattern = self.compiled(of_pattern, &expanded, false)?;
        if pattern.may_find_nothing() {
            self.faults.error(of_pattern.span, "the pattern finds the empty text").remedy =
                Some("say what there is at least one of: `x+` instead of `x*`".into());
            return None;
        }
        Some(Transform::Gsub(Gsub { pattern, to: to.as_bytes().to_vec() }))
    }

    fn times(&mut self, node: &Node) -> Vec<TimeRule> {
        let times = items(node);
        if times.len() > TIMES_MAX {
            let message = format!("more than {TIMES_MAX} times in one rule");
            self.faults.error(node.span, message).remedy = Some("split the rule".into());
        }
        times.iter().filter_map(|item| self.time(item)).collect()
    }

    fn time(&mut self, node: &Node) -> Option<TimeRule> {
        let mut table = Table::open(node, "time", self.faults)?;
        let from = match self.text(&mut table, "field") {
            Some((text, span)) if text.contains('{') => self.template(text, span),
            Some((name, span)) => vec![Part::Field(self.field(name, span))],
            None => vec![Part::Field(self.builder.header.timestamp)],
        };
        let mut formats = Vec::new();
        for (text, span) in table.strings("formats", self.faults).unwrap_or_default() {
            match TimeFormat::compile(text) {
                Ok(format) => formats.push(format),
                Err(error) => {
                    // Letters without `%` are what Java and Logstash write.
                    let meant = from_joda(text).ok().filter(|format| {
                        !text.contains('%') && format.contains("%H") && format != text
                    });
                    self.faults.error(span, format!("the time format `{text}`: {error}")).remedy =
                        Some(
                            meant.as_deref().or(nearest(text, time::NAMES.split(' '))).map_or_else(
                                || "see docs/rules.md, \"Time\"".into(),
                                |format| format!("did you mean `{format}`?"),
                            ),
                        );
                }
            }
        }
        if formats.is_empty() {
            formats.extend(TimeFormat::compile("rfc3339"));
        }
        let mut header_zone = false;
        let zone = table.node("zone").and_then(|node| match Zone::parse(node.text()?) {
            Ok(zone) => Some(zone),
            Err(_) if node.text() == Some("header") => {
                header_zone = true;
                None
            }
            Err(error) => {
                let near = nearest_zone(node.text().unwrap_or_default());
                self.faults.error(node.span, error).remedy = Some(near.map_or_else(
                    || "write an IANA name such as Europe/Berlin, `+02:00`, UTC or header".into(),
                    |name| format!("did you mean `{name}`?"),
                ));
                None
            }
        });
        let into =
            self.text(&mut table, "into").map_or(self.builder.header.timestamp, |(name, span)| {
                if let Some(of_ecs) = ecs::type_of(name).filter(|kind| kind.kind != Kind::Date) {
                    let message = format!("`{name}` is no date but {}", of_ecs.kind.name());
                    self.faults.error(span, message).remedy =
                        Some("name a date such as `event.start`; `rules schema` lists them".into());
                }
                self.field(name, span)
            });
        let later = self.named(&mut table, "add").map(Shift::Later);
        let shift = later.or(self.named(&mut table, "subtract").map(Shift::Earlier));
        table.finish(self.faults);
        Some(TimeRule { from, formats, zone, header_zone, shift, into })
    }

    fn action(&mut self, table: &mut Table<'_>) -> Option<Action> {
        let mut table = table.table("action", self.faults)?;
        let drop = table.node("drop").and_then(|node| self.drop_reason(node));
        let sample = table.integer("sample", 2..=1_000_000_000, self.faults).map(Action::Sample);
        let mask = table.strings("mask", self.faults).map(|names| {
            names.into_iter().map(|(name, span)| self.masked(name, span)).collect::<Vec<_>>()
        });
        let hash = table.choice("with", &["redact", "hash"], self.faults) == Some(1);
        let mask = mask.map(|fields| Action::Mask { fields, hash });
        let kinds = ["drop", "sample", "mask"].map(|key| table.node(key));
        if let [_, second, ..] = kinds.into_iter().flatten().collect::<Vec<_>>().as_slice() {
            self.faults.error(second.span, "two actions in one rule").remedy =
                Some("keep one of `drop`, `sample` and `mask`".into());
        }
        table.finish(self.faults);
        drop.or(sample).or(mask)
    }

    /// A field to mask.
    fn masked(&mut self, name: &str, span: Span) -> FieldId {
        if name == "@timestamp" {
            self.faults.error(span, "`@timestamp` cannot be masked").remedy =
                Some("every event has a time: take it off the list".into());
        }
        self.field(name, span)
    }

    /// The number of a reason: a word, because it becomes the name of a counter.
    fn drop_reason(&mut self, node: &Node) -> Option<Action> {
        let is_word = |text: &&str| {
            text.len() <= DROP_REASON_BYTES_MAX
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b))
        };
        let Some(reason) = node.text().filter(is_word) else {
            self.faults.error(node.span, "the reason of a `drop` is not a word").remedy = Some(
                format!(
                    "it names a counter: at most {DROP_REASON_BYTES_MAX} of a-z, 0-9, `_`, `-` and `.`"
                ),
            );
            return None;
        };
        let reasons = &mut self.builder.drop_reasons;
        let known = reasons.iter().position(|known| known == reason);
        let number = known.unwrap_or(reasons.len());
        // The first is for what has no counter of its own.
        if number + 1 >= DROP_REASONS_MAX {
            let message = format!("more than {} reasons for drops", DROP_REASONS_MAX - 1);
            self.faults.error(node.span, message).remedy = Some("use one for several rules".into());
            return None;
        }
        if known.is_none() {
            reasons.push(reason.to_owned());
        }
        Some(Action::Drop(number))
    }

    /// The samples, if they are kept; they are read in any case, for their faults.
    fn samples(&mut self, table: &mut Table<'_>) -> Box<[Sample]> {
        let nodes = table.sequence("samples", self.faults).unwrap_or_default();
        let mut samples = Vec::new();
        for node in nodes {
            let Some(mut sample) = Table::open(node, "samples", self.faults) else { continue };
            let line = sample.required_string("line", self.faults).unwrap_or_default();
            let expected = sample.table("expect", self.faults);
            sample.finish(self.faults);
            for (key, node) in expected.iter().flat_map(Table::entries) {
                let checked = check_expected(&key.name, &self.context.vendor);
                let Err((message, remedy)) = checked else { continue };
                match key.name.split_once(':').filter(|_| node.is_null()) {
                    Some((field, value)) => {
                        let remedy = format!("write a blank behind the colon: `{field}: {value}`");
                        self.faults.error(key.span, format!("`{}` is one word", key.name)).remedy =
                            Some(remedy);
                    }
                    None => self.faults.warning(key.span, message).remedy = Some(remedy),
                }
            }
            if !self.builder.keeps_samples {
                continue;
            }
            let mut expect = Vec::new();
            if let Some(expected) = expected {
                for (key, node) in expected.entries() {
                    let value = (!node.is_null()).then(|| json(node));
                    expect.push((key.name.clone(), value));
                }
            }
            let line = line.to_owned();
            let place = (self.faults.source().name.clone(), node.span.line);
            samples.push(Sample { line, expect, place });
        }
        samples.into()
    }
}

/// What a list holds; a single value counts as a list of one.
fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::Sequence(items) => items,
        _ => std::slice::from_ref(node),
    }
}

/// The known zone whose name is most like this one.
fn nearest_zone(name: &str) -> Option<String> {
    let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
    nearest(name, known.iter().map(String::as_str)).map(str::to_owned)
}

/// A YAML value as JSON: plain scalars that are numbers or booleans there are such. What JSON would write in
/// another way, such as `0815` or `1.10`, is a text.
pub(super) fn json(node: &Node) -> Json {
    match &node.value {
        Value::Scalar(scalar) if scalar.style == Style::Plain => match scalar.text.as_str() {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            "" | "~" | "null" => Json::Null,
            text => match serde_json::from_str::<serde_json::Number>(text) {
                Ok(number) if number.to_string() == text => Json::Number(number),
                _ => Json::String(text.to_owned()),
            },
        },
        Value::Scalar(scalar) => Json::String(scalar.text.clone()),
        Value::Sequence(items) => Json::Array(items.iter().map(json).collect()),
        Value::Mapping(entries) => {
            Json::Object(entries.iter().map(|(key, node)| (key.name.clone(), json(node))).collect())
        }
    }
}
