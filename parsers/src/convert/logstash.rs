//! Logstash: files of grok patterns (`NAME regex` lines), and the filters of a pipeline.
//!
//! Filters run one after the other there, rules are alternatives here. So a `grok` is a rule; what
//! follows in the same block (`date`, `mutate`) is added to the rules before it; a `grok` on a field
//! that an earlier one captures becomes a chain behind that one. What stands under a condition changes
//! copies of the rules, which ask for that condition.

mod draft;
mod syntax;

use super::Notes;
use super::fields::field;
use super::pack::{Fragment, Pack};
use super::pattern::{Named, rewrite};
use super::times::from_joda;
use crate::pattern;
use crate::yaml::quoted;
use draft::{Changed, Draft, Parse, plain};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use syntax::{Item, Setting};

/// With more rules than that under a condition there are no copies: each condition doubles them.
const COPIES_MAX: usize = 16;

pub(super) fn read(text: &str, pack: &mut Pack, notes: &mut Notes) {
    if is_pipeline(text) {
        let (items, fault) = syntax::parse(text);
        let mut reader = Reader::new(pack, notes);
        let mut scope = Scope::default();
        for item in &items {
            if let Item::Block { name, items, .. } = item
                && name == "filter"
            {
                reader.block(items, &mut scope);
            }
        }
        reader.finish();
        if let Some((line, message)) = fault {
            let comment = notes.add(line, format!("{message}; what follows is not read"));
            pack.comments.push(comment);
        }
        return;
    }
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once([' ', '\t']) {
            Some((name, pattern))
                if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
            {
                pack.fragments.push(fragment(name, pattern.trim(), number + 1, notes));
            }
            _ => {
                let comment = notes.add(number + 1, "not a grok pattern: `NAME regex` is expected");
                pack.comments.push(comment);
            }
        }
    }
}

fn fragment(name: &str, pattern: &str, line: usize, notes: &Notes) -> Fragment {
    let text = rewrite(pattern, |named| Named { name: field(&named.name), ..named });
    Fragment { name: name.to_owned(), text, line, source: notes.source.clone() }
}

/// Whether a line begins with `filter {` or the like, the brace on the same line or below.
pub(super) fn is_pipeline(text: &str) -> bool {
    ["filter", "input", "output"].iter().any(|word| {
        text.match_indices(word).any(|(at, _)| {
            let before = text[..at].trim_end_matches([' ', '\t']);
            (before.is_empty() || before.ends_with('\n'))
                && text[at + word.len()..].trim_start().starts_with('{')
        })
    })
}

/// The rules of a block and the blocks in it, by number.
#[derive(Debug, Default, Clone)]
struct Scope {
    rules: Vec<usize>,
    /// Rules before the block that only a `grok` in it may go on from: whether they are meant, a condition
    /// says that was not carried over.
    before: Vec<usize>,
}

/// What a condition asks for: names of Logstash and their values.
type Tests = Vec<(String, Vec<String>)>;

/// A condition that is in force.
struct Condition {
    text: String,
    line: usize,
    tests: Tests,
    /// That it was not carried over.
    comment: Option<String>,
}

struct Reader<'p> {
    pack: &'p mut Pack,
    notes: &'p mut Notes,
    drafts: Vec<Draft>,
    /// The drafts that count, as they are written.
    order: Vec<usize>,
    conditions: Vec<Condition>,
}

impl<'p> Reader<'p> {
    fn new(pack: &'p mut Pack, notes: &'p mut Notes) -> Self {
        Self { pack, notes, drafts: Vec::new(), order: Vec::new(), conditions: Vec::new() }
    }

    fn finish(mut self) {
        for at in self.order {
            let draft = std::mem::take(&mut self.drafts[at]);
            let chain = draft.chain;
            let mut rule = draft.finish();
            rule.id = self.pack.id(&format!("line {}", rule.line));
            if let Some(chain) = chain {
                self.pack.chains[chain].1.push(rule);
                continue;
            }
            rule.programs.iter().for_each(|program| self.pack.add_program(program.clone()));
            self.pack.rules.push(rule);
        }
    }

    fn block(&mut self, items: &[Item], scope: &mut Scope) {
        let mut rest = items;
        while let [first, behind @ ..] = rest {
            rest = behind;
            match first {
                Item::Block { name, line, settings, .. } => {
                    self.filter(name, *line, settings, scope);
                }
                Item::Condition { .. } => {
                    let count = behind.iter().take_while(|item| goes_on(item)).count();
                    self.branches([first].into_iter().chain(&behind[..count]), scope);
                    rest = &behind[count..];
                }
            }
        }
    }

    /// `if`, `else if` and `else`.
    fn branches<'i>(&mut self, branches: impl Iterator<Item = &'i Item>, scope: &mut Scope) {
        let rest = scope.rules.clone();
        let mut all_asked = true;
        let mut branches = branches.peekable();
        while let Some(branch) = branches.next() {
            let Item::Condition { text, line, last_line, items } = branch else { continue };
            let tests = self.tests(text, &rest).filter(|_| all_asked);
            all_asked &= tests.is_some();
            // What was not matched before: so it is with rules anyway.
            let failed = text == "\"_grokparsefailure\" in [tags]";
            if tests.is_none() && !failed && !makes_rules(items) {
                self.leave_out(text, *line..=*last_line, scope);
                continue;
            }
            let mut inner = Scope::default();
            let pairs = match &tests {
                Some(tests) => self.copies(&rest, tests),
                None => {
                    inner.before = rest.iter().chain(&scope.before).copied().collect();
                    Vec::new()
                }
            };
            inner.rules = pairs.iter().map(|(_, copy)| *copy).collect();
            let tests = tests.unwrap_or_default();
            let outside = self.conditions.len();
            if !failed {
                let condition = Condition { text: text.clone(), line: *line, tests, comment: None };
                self.conditions.push(condition);
            }
            self.block(items, &mut inner);
            self.conditions.truncate(outside);
            let last = branches.peek().is_none();
            inner
                .rules
                .retain(|rule| !(rest.contains(rule) || last && self.is_needless(*rule, &pairs)));
            scope.rules.extend(inner.rules);
        }
    }

    /// A copy of the rules for lines for which the tests hold, with the number of each one's original.
    fn copies(&mut self, rules: &[usize], tests: &Tests) -> Vec<(usize, usize)> {
        if tests.is_empty() {
            return rules.iter().map(|rule| (*rule, *rule)).collect();
        }
        let mut pairs = Vec::new();
        for rule in rules {
            let mut copy = self.drafts[*rule].clone();
            let holds = tests.iter().all(|(name, values)| {
                let field = if is_program(name) { Some(field(name)) } else { copy.asks(name) };
                field.is_some_and(|field| copy.when(&field, values))
            });
            if holds {
                self.drafts.push(copy);
                let number = self.drafts.len() - 1;
                let at = self.order.iter().position(|known| known == rule).unwrap_or_default();
                self.order.insert(at, number);
                pairs.push((*rule, number));
            }
        }
        pairs
    }

    /// Drops a copy that nothing was done to.
    fn is_needless(&mut self, rule: usize, pairs: &[(usize, usize)]) -> bool {
        let Some((original, _)) = pairs.iter().find(|(_, copy)| *copy == rule) else {
            return false;
        };
        let same = self.drafts[rule].does_as(&self.drafts[*original]);
        if same {
            self.order.retain(|known| *known != rule);
            let known = self.drafts[*original].rule.comments.len();
            let comments: Vec<String> =
                self.drafts[rule].rule.comments.iter().skip(known).cloned().collect();
            self.drafts[*original].rule.comments.extend(comments);
        }
        same
    }

    /// What is done under a condition that cannot be asked is not done at all; it stands as a comment.
    fn leave_out(&mut self, text: &str, lines: RangeInclusive<usize>, scope: &Scope) {
        let message = format!("the condition `{text}` and what is done under it");
        self.note(*lines.start(), message, scope);
        let source = self.notes.source.clone();
        let lines = lines.filter_map(|line| source.line(line)).map(|line| format!("  {line}"));
        self.comments(scope).extend(lines);
    }

    /// The tests of a condition, if rules can ask for them; none for `else`.
    fn tests(&mut self, text: &str, rules: &[usize]) -> Option<Tests> {
        let text = text.strip_prefix("else if ").unwrap_or(text);
        if text == "else" {
            return Some(Tests::new());
        }
        let tests: Tests = text.split(" and ").map(test).collect::<Option<_>>()?;
        let asked = tests.iter().all(|(name, _)| {
            is_program(name) || rules.iter().any(|rule| self.drafts[*rule].asks(name).is_some())
        });
        (asked && rules.len() <= COPIES_MAX).then_some(tests)
    }

    fn filter(&mut self, name: &str, line: usize, settings: &[Setting], scope: &mut Scope) {
        let mut settings: Vec<&Setting> = settings.iter().collect();
        settings.sort_by_key(|setting| ORDER.iter().position(|known| *known == setting.name));
        match name {
            "grok" => self.grok(line, &settings, scope),
            "date" => self.date(line, &settings, scope),
            "mutate" => self.mutate(&settings, scope),
            "json" => self.sub_parser("json", line, &settings, scope),
            "kv" => self.sub_parser("kv", line, &settings, scope),
            "csv" => self.sub_parser("csv", line, &settings, scope),
            "drop" if settings.is_empty() && !scope.rules.is_empty() => {
                scope.rules.iter().for_each(|rule| self.drafts[*rule].rule.drops = true);
            }
            other => {
                let message = format!("the filter `{other}` has no counterpart");
                self.note(line, message, scope);
            }
        }
    }

    /// The comments above the last rule, or the pack.
    fn comments(&mut self, scope: &Scope) -> &mut Vec<String> {
        match scope.rules.last() {
            Some(rule) => &mut self.drafts[*rule].rule.comments,
            None => &mut self.pack.comments,
        }
    }

    fn note(&mut self, line: usize, message: impl Into<String>, scope: &Scope) {
        let comment = self.notes.add(line, message);
        self.comments(scope).push(comment);
    }

    /// Changes the rules that have something to change; that none has is noted.
    fn each(
        &mut self,
        line: usize,
        what: &str,
        name: &str,
        scope: &Scope,
        change: impl Fn(&mut Draft) -> Changed,
    ) {
        let (mut touched, mut refused) = (false, None);
        for rule in &scope.rules {
            match change(&mut self.drafts[*rule]) {
                Ok(done) => touched |= done,
                Err(message) => refused = Some(message),
            }
        }
        match refused {
            Some(message) => self.note(line, message, scope),
            None if touched => {}
            None => self.nothing(line, what, name, scope),
        }
    }

    fn nothing(&mut self, line: usize, what: &str, name: &str, scope: &Scope) {
        let message = format!(
            "`{what}` of `{name}`: no rule that came of the filters before has what it needs"
        );
        self.note(line, message, scope);
    }

    fn grok(&mut self, line: usize, settings: &[&Setting], scope: &mut Scope) {
        for setting in settings.iter().filter(|setting| setting.name == "pattern_definitions") {
            for (name, pattern) in setting.value.pairs() {
                self.pack.fragments.push(fragment(&name, &pattern, setting.line, self.notes));
            }
        }
        let matches: Vec<(String, Vec<String>)> = settings
            .iter()
            .filter(|setting| setting.name == "match")
            .flat_map(|setting| setting.value.lists())
            .collect();
        if matches.is_empty() {
            self.note(line, "a grok without a `match` that can be read", scope);
        }
        for (source, patterns) in matches {
            self.grok_on(&source, &patterns, line, scope);
        }
        for setting in settings {
            match setting.name.as_str() {
                "match" | "pattern_definitions" | "overwrite" | "named_captures_only"
                | "keep_empty_captures" | "timeout_millis" => {}
                "break_on_match" if setting.value.text().as_deref() == Some("true") => {}
                "break_on_match" => self.note(
                    setting.line,
                    "`break_on_match`: only the first pattern that matches counts; join them in one",
                    scope,
                ),
                "patterns_dir" | "patterns_files_glob" => self.note(
                    setting.line,
                    "`patterns_dir`: give those files to this command as well, or name them in `pattern_files`",
                    scope,
                ),
                _ => self.common(setting, scope),
            }
        }
    }

    /// A draft with the conditions that are in force.
    fn draft(&mut self, line: usize, from: &[usize]) -> Draft {
        let mut draft = Draft::new(line, self.pack.definitions());
        for rule in from {
            draft.follow(&self.drafts[*rule]);
        }
        let mut conditions = std::mem::take(&mut self.conditions);
        for condition in &mut conditions {
            let asked = condition.tests.iter().filter(|(name, values)| {
                let field = if is_program(name) { Some(field(name)) } else { draft.known(name) };
                field.is_some_and(|field| draft.when(&field, values))
            });
            if asked.count() < condition.tests.len() || condition.tests.is_empty() {
                draft.rule.comments.push(self.unasked(condition));
            }
        }
        self.conditions = conditions;
        draft
    }

    /// Notes, once, that rules do not ask for a condition.
    fn unasked(&mut self, condition: &mut Condition) -> String {
        let Condition { text, line, comment, .. } = condition;
        let note = || {
            let message =
                format!("the condition `{text}`: say it in `applies`, `when` or the pattern");
            self.notes.add(*line, message)
        };
        comment.get_or_insert_with(note).clone()
    }

    fn add_draft(&mut self, draft: Draft, scope: &mut Scope) {
        self.drafts.push(draft);
        self.order.push(self.drafts.len() - 1);
        scope.rules.push(self.drafts.len() - 1);
    }

    fn grok_on(&mut self, source: &str, patterns: &[String], line: usize, scope: &mut Scope) {
        let mut from: Vec<usize> = scope.rules.iter().chain(&scope.before).copied().collect();
        from.retain(|rule| self.drafts[*rule].own(source).is_some());
        if from.is_empty() && !is_message(source) {
            return self.nothing(line, "grok", source, scope);
        }
        let name = self.pack.chain(&format!("line {line}"));
        let mut chains = Vec::new();
        let mut second = from.is_empty() && !scope.rules.is_empty();
        for rule in &from {
            let field = self.drafts[*rule].own(source);
            let then = &mut self.drafts[*rule].rule.then;
            let (known, chain) = then.get_or_insert_with(|| (field.clone(), name.clone())).clone();
            if known == field {
                second |= chain != name;
                chains.push(Some(self.pack.chain_number(&chain)));
            } else {
                let message = format!(
                    "a `grok` on `{source}`: the rule goes on with another field already; say it in the rule's pattern"
                );
                self.note(line, message, scope);
            }
        }
        if from.is_empty() {
            chains.push(None);
        }
        chains.sort_unstable();
        chains.dedup();
        let mut draft = self.draft(line, &from);
        let said = draft.add_patterns(patterns);
        if from.is_empty() && draft.rule.patterns.iter().any(|text| wants_header(text)) {
            draft.rule.on = Some("line".into());
        }
        for chain in &chains {
            draft.chain = *chain;
            self.add_draft(draft.clone(), scope);
        }
        let second = second.then(|| {
            format!(
                "a second `grok` on `{source}`: of the rules the first that matches counts; join their patterns where both do"
            )
        });
        for message in second.into_iter().chain(said).filter(|_| !chains.is_empty()) {
            self.note(line, message, scope);
        }
    }

    fn date(&mut self, line: usize, settings: &[&Setting], scope: &Scope) {
        let Some(of) = find(settings, "match").map(|setting| setting.value.list()) else {
            return self.note(line, "a `date` without `match`", scope);
        };
        let Some((source, formats)) = of.split_first() else {
            return self.note(line, "a `date` with an empty `match`", scope);
        };
        let mut list = Vec::new();
        for format in formats {
            match from_joda(format) {
                Ok(format) => list.push(quoted(&format)),
                Err(message) => self.note(line, message, scope),
            }
        }
        let zone = text(settings, "timezone");
        let zone = zone.map(|zone| format!(", zone: {}", quoted(&zone))).unwrap_or_default();
        let into = text(settings, "target").filter(|target| target != "@timestamp");
        let into =
            into.map(|target| format!(", into: {}", quoted(&field(&target)))).unwrap_or_default();
        let rest = format!(", formats: [{}]{zone}{into}", list.join(", "));
        if !list.is_empty() {
            self.each(line, "date", source, scope, |draft| draft.time(source, &rest));
        }
        for setting in settings {
            if !["match", "timezone", "target", "locale"].contains(&setting.name.as_str()) {
                self.common(setting, scope);
            }
        }
    }

    fn mutate(&mut self, settings: &[&Setting], scope: &Scope) {
        for setting in settings {
            let Setting { name, line, value } = setting;
            match name.as_str() {
                "rename" => {
                    for (from, to) in value.pairs() {
                        self.each(*line, name, &from, scope, |draft| draft.rename(&from, &to));
                    }
                }
                "convert" => self.convert(setting, scope),
                "lowercase" | "uppercase" | "strip" => {
                    let step = if name == "strip" { "trim" } else { name };
                    for of in value.list() {
                        self.each(*line, name, &of, scope, |draft| draft.transform(&of, step));
                    }
                }
                "split" => {
                    for (of, separator) in value.pairs() {
                        let step = format!("{{split: {}}}", quoted(&separator));
                        self.each(*line, name, &of, scope, |draft| draft.transform(&of, &step));
                    }
                }
                "gsub" => self.gsub(setting, scope),
                "replace" | "update" => {
                    for (of, value) in value.pairs() {
                        self.each(*line, name, &of, scope, |draft| {
                            match draft.replace(&of, &value)? {
                                false if name == "replace" => draft.add(&of, &value),
                                done => Ok(done),
                            }
                        });
                    }
                }
                "copy" => {
                    for (from, to) in value.pairs() {
                        let value = format!("%{{{from}}}");
                        self.each(*line, name, &from, scope, |draft| draft.add(&to, &value));
                    }
                }
                _ => self.common(setting, scope),
            }
        }
    }

    /// Settings that every filter has.
    fn common(&mut self, setting: &Setting, scope: &Scope) {
        let Setting { name, line, value } = setting;
        match name.as_str() {
            "add_field" => {
                for (of, value) in value.pairs() {
                    self.each(*line, name, &of, scope, |draft| draft.add(&of, &value));
                }
            }
            "remove_field" => {
                for of in value.list() {
                    if !matches!(plain(&of).as_str(), "message" | "@version" | "event.original") {
                        self.each(*line, name, &of, scope, |draft| draft.remove(&of));
                    }
                }
            }
            "id" | "tag_on_failure" | "enable_metric" | "periodic_flush" => {}
            name => {
                self.note(*line, format!("`{name}` has no counterpart"), scope);
            }
        }
    }

    fn convert(&mut self, setting: &Setting, scope: &Scope) {
        for (name, kind) in setting.value.pairs() {
            let kind = match kind.as_str() {
                "integer" | "integer_eu" => "int",
                "float" | "float_eu" => "float",
                "boolean" => "bool",
                "string" => "string",
                other => {
                    self.note(setting.line, format!("`convert` to `{other}`"), scope);
                    continue;
                }
            };
            self.each(setting.line, "convert", &name, scope, |draft| draft.convert(&name, kind));
        }
    }

    fn gsub(&mut self, setting: &Setting, scope: &Scope) {
        for part in setting.value.list().chunks(3) {
            match part {
                [name, from, to] if can_gsub(from, to) => {
                    let plain = regex::escape(from) == *from;
                    let step = if plain { "replace" } else { "gsub" };
                    let step = format!("{{{step}: [{}, {}]}}", quoted(from), quoted(to));
                    self.each(setting.line, "gsub", name, scope, |draft| {
                        draft.transform(name, &step)
                    });
                }
                _ => self.note(
                    setting.line,
                    "a `gsub` by a pattern that has no like, or with what it captures in the new text",
                    scope,
                ),
            }
        }
    }

    fn sub_parser(
        &mut self,
        form: &'static str,
        line: usize,
        settings: &[&Setting],
        scope: &mut Scope,
    ) {
        let source = text(settings, "source").unwrap_or_else(|| "message".into());
        let target = text(settings, "target").map(|target| plain(&target));
        let mut parse = Parse { form, ..Parse::default() };
        parse.prefix = target.iter().map(|target| format!("{target}.")).collect();
        let options = [
            ("kv", "field_split", "pair_separators"),
            ("kv", "value_split", "key_value_separator"),
            ("csv", "separator", "separator"),
        ];
        for (_, name, ours) in options.iter().filter(|(of, ..)| *of == form) {
            let option = text(settings, name).map(|value| format!(", {ours}: {}", quoted(&value)));
            parse.options.extend(option);
        }
        let columns = find(settings, "columns").map(|setting| setting.value.list());
        let columns = columns.filter(|_| form == "csv").unwrap_or_default();
        if form == "csv" {
            let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
            parse.options.push_str(&format!(", columns: [{}]", names.join(", ")));
        } else {
            let parts = std::iter::once(self.pack.vendor()).chain(target);
            parse.rest = Some(parts.collect::<Vec<_>>().join("."));
        }
        let from: Vec<usize> = scope.rules.clone();
        let from: Vec<(usize, Option<String>)> = from
            .into_iter()
            .filter_map(|rule| match self.drafts[rule].own(&source) {
                None if !is_message(&source) => None,
                field => Some((rule, field)),
            })
            .collect();
        let add = |draft: &mut Draft, field| {
            let mut parse = Parse { field, ..parse.clone() };
            for name in &columns {
                let field = draft.add_column(&format!("{}{name}", parse.prefix));
                parse.fields.insert(name.clone(), field);
            }
            draft.parse.push(parse);
        };
        for (rule, field) in &from {
            add(&mut self.drafts[*rule], field.clone());
        }
        if from.is_empty() && is_message(&source) {
            let mut draft = self.draft(line, &[]);
            add(&mut draft, None);
            self.add_draft(draft, scope);
        } else if from.is_empty() {
            self.nothing(line, form, &source, scope);
        }
        for setting in settings {
            let known = [
                "source",
                "field_split",
                "value_split",
                "columns",
                "separator",
                "target",
                "skip_on_invalid_json",
            ];
            match setting.name.as_str() {
                "convert" => self.convert(setting, scope),
                name if known.contains(&name) => {}
                _ => self.common(setting, scope),
            }
        }
    }
}

/// The order in which Logstash does what a `mutate` says, and what filters have in common.
const ORDER: [&str; 12] = [
    "rename",
    "update",
    "replace",
    "convert",
    "gsub",
    "uppercase",
    "lowercase",
    "strip",
    "split",
    "copy",
    "add_field",
    "remove_field",
];

fn find<'s>(settings: &[&'s Setting], name: &str) -> Option<&'s Setting> {
    settings.iter().find(|setting| setting.name == name).copied()
}

fn text(settings: &[&Setting], name: &str) -> Option<String> {
    find(settings, name)?.value.text()
}

/// Whether a condition is an alternative to the one before it.
fn goes_on(item: &Item) -> bool {
    matches!(item, Item::Condition { text, .. } if text == "else" || text.starts_with("else if "))
}

fn is_message(source: &str) -> bool {
    matches!(source, "message" | "log" | "event.original" | "[event][original]")
}

fn is_program(name: &str) -> bool {
    field(name) == "process.name"
}

/// Whether a filter in a block may become a rule.
fn makes_rules(items: &[Item]) -> bool {
    items.iter().any(|item| match item {
        Item::Block { name, .. } => matches!(name.as_str(), "grok" | "json" | "kv" | "csv"),
        Item::Condition { items, .. } => makes_rules(items),
    })
}

/// `[a] == "b"` and `[a] in ["b", "c"]`.
fn test(text: &str) -> Option<(String, Vec<String>)> {
    let (name, rest) = text.split_at(text.find([' ', '=', '!'])?);
    let literal = |value: &str| {
        let value = value.trim();
        let inner =
            ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        let number = value.bytes().all(|b| b.is_ascii_digit()).then_some(value);
        // Without the signs of globs, ranges and escapes.
        let plain = |value: &&str| {
            !value.is_empty()
                && !value.contains(['*', '?', '"', '\'', '\\'])
                && !value.starts_with(|c: char| c.is_ascii_digit() && value.contains('-'))
        };
        inner.or(number).filter(plain).map(str::to_owned)
    };
    let values = match rest.trim().strip_prefix("==") {
        Some(value) => vec![literal(value)?],
        None => {
            let list = rest.trim().strip_prefix("in ")?.trim().strip_prefix('[')?;
            list.strip_suffix(']')?.split(',').map(literal).collect::<Option<_>>()?
        }
    };
    (name.starts_with('[') && name.ends_with(']')).then(|| (plain(name), values))
}

/// Whether a pattern is for lines with their header: it begins with the time and the host of one, or has
/// the program of one in it.
fn wants_header(pattern: &str) -> bool {
    let wanted = r"^\^?(?:<%\{[^>]*>)?%\{(?:SYSLOG(?:TIMESTAMP|BASE|LINE|5424)|TIMESTAMP_ISO8601[^}]*\}(?: |\\s)\S*%\{(?:SYSLOGHOST|(?:IPOR)?HOST))|%\{(?:SYSLOGHOST|SYSLOGPROG|PROG)\b|^\^?[\w./-]+(?:\(\?:)?\\\[\S*?\\\](?:\)\?)?:";
    regex::bytes::Regex::new(wanted).is_ok_and(|wanted| wanted.is_match(pattern.as_bytes()))
}

/// Whether the transform of that name does what Logstash's does.
fn can_gsub(from: &str, to: &str) -> bool {
    let expanded = pattern::expand(from, &BTreeMap::new()).ok();
    let expanded = expanded.filter(|expanded| expanded.captures.is_empty());
    let compiled = expanded.and_then(|expanded| pattern::compile(&expanded, false).ok());
    // `\1` stands for what was captured.
    compiled.is_some_and(|pattern| !pattern.may_find_nothing()) && !to.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::super::From;
    use super::super::tests::check;

    #[test]
    fn a_pipeline_becomes_rules_with_chains_times_and_changes() {
        check(
            From::Grok,
            r#"
input { beats { port => 5044 } }
filter {
  if [type] == "shop" {
    grok {
      # The header, then the body.
      match => { "message" => "^%{TIMESTAMP_ISO8601:logdate} \[%{LOGLEVEL:level}\] %{GREEDYDATA:body}" }
      add_tag => [ "shop" ]
    }
    date { match => [ "logdate", "ISO8601" ] timezone => "Europe/Berlin" }
    grok {
      match => { "body" => [
        "user %{WORD:who} paid %{NUMBER:cents:int} from %{IP:client}",
        "%{ORDER:order} lost" ] }
      pattern_definitions => { "ORDER" => "ORD-[0-9]{3,5}" }
    }
    mutate {
      rename => { "who" => "[user][name]" }
      add_field => { "[event][action]" => "paid-%{order}" "[service][name]" => "shop" }
      lowercase => [ "level" ]
      remove_field => [ "logdate", "message" ]
    }
    geoip { source => "client" }
  }
}
output { stdout {} }
"#,
            &[
                (
                    "2026-01-02 10:00:00 [WARN] user Bob paid 12 from 10.0.0.1",
                    &[
                        ("user.name", "Bob"),
                        ("labels.cents", "12"),
                        ("source.ip", "10.0.0.1"),
                        ("@timestamp", "2026-01-02T09:00:00.000Z"),
                        ("log.level", "warn"),
                        ("service.name", "shop"),
                        ("event.action", "null"),
                    ],
                ),
                (
                    "2026-01-02 10:00:00 [INFO] ORD-123 lost",
                    &[("labels.order", "ORD-123"), ("event.action", "paid-ORD-123")],
                ),
            ],
            &[
                (4, "the condition `[type] == \"shop\"`"),
                (8, "`add_tag` has no counterpart"),
                (23, "the filter `geoip`"),
            ],
        );
    }

    #[test]
    fn programs_header_patterns_and_sub_parsers_come_over() {
        check(
            From::Grok,
            r#"filter {
  if [program] == "shopd" {
    grok { match => { "message" => "%{SYSLOGTIMESTAMP:ts} %{SYSLOGHOST:host} %{PROG:program}: a=%{INT:a:int} (?<rest>.*)" } }
    kv { source => "rest" field_split => " ;" }
    mutate { convert => { "a" => "float" } gsub => ["host", "[.]", "_", "host", "x", "y", "host", "(w)e", "\\1"] }
  }
}"#,
            &[(
                "Nov 28 10:15:02 xweb.shop shopd: a=5 b=6;c=7",
                &[
                    ("labels.a", "5"),
                    ("host.hostname", "yweb_shop"),
                    ("shop.b", "6"),
                    ("shop.c", "7"),
                ],
            )],
            &[(5, "`gsub` by a pattern")],
        );
    }

    #[test]
    fn pattern_files_become_fragments() {
        check(
            From::Grok,
            "# comment\nORDER ORD-%{INT:order:int}\nBAD (?=x)y\n\nUSES %{BAD}\n!! x\n",
            &[],
            &[(6, "not a grok pattern"), (3, "`BAD`"), (5, "`USES`")],
        );
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        check(From::Grok, "filter {\n  grok { match => }\n}", &[], &[(2, "a value")]);
    }

    #[test]
    fn what_is_done_to_a_field_is_done_wherever_it_is_named() {
        check(
            From::Grok,
            r#"filter {
  grok { match => { "message" => "^a=%{INT:a} t=%{NOTSPACE:evt} s=%{WORD:s} u=%{WORD:u} (?<kvs>.*)$" } }
  kv { source => "kvs" target => "kv" }
  date { match => ["evt", "ISO8601"] remove_field => ["evt"] }
  mutate { add_field => { "both" => "%{a}-%{s}" } lowercase => ["s"] }
  mutate { rename => { "s" => "text" } remove_field => ["a", "kvs", "absent"] }
  mutate { replace => { "u" => "was %{u}" } add_field => { "both" => "twice" } }
}"#,
            &[(
                "a=1 t=2026-01-02T03:04:05Z s=Hi u=bob k=v",
                &[
                    ("labels.both", "1-hi"),
                    ("labels.text", "hi"),
                    ("labels.u", "was bob"),
                    ("shop.kv.k", "v"),
                    ("@timestamp", "2026-01-02T03:04:05.000Z"),
                    ("labels.a", "null"),
                    ("labels.kvs", "null"),
                    ("labels.evt", "null"),
                ],
            )],
            &[(6, "`remove_field` of `absent`"), (7, "a second value for `both`")],
        );
        check(
            From::Grok,
            r#"filter {
  grok { match => { "message" => "%{COMMONAPACHELOG} %{OWN}" } pattern_definitions => { "OWN" => "n=%{INT:n}" } }
  date { match => ["timestamp", "dd/MMM/yyyy:HH:mm:ss Z"] }
  mutate { rename => { "clientip" => "[client][ip]" } convert => { "n" => "integer" } remove_field => ["auth"] }
}"#,
            &[(
                r#"10.0.0.1 - bob [28/Nov/2026:10:15:02 +0100] "GET /x HTTP/1.1" 200 77 n=5"#,
                &[
                    ("client.ip", "10.0.0.1"),
                    ("source.address", "null"),
                    ("user.name", "null"),
                    ("labels.n", "5"),
                    ("@timestamp", "2026-11-28T09:15:02.000Z"),
                ],
            )],
            &[],
        );
    }

    #[test]
    fn keys_of_sub_parsers_are_fields_of_later_filters() {
        check(
            From::Grok,
            r#"filter {
  mutate { lowercase => ["message"] }
  json { source => "message" target => "app" }
  date { match => ["[app][timestamp]", "ISO8601"] }
  mutate { rename => { "[app][u]" => "user" } remove_field => ["[app][password]"] convert => { "[app][n]" => "integer" } }
  grok { match => { "[app][msg]" => "^from %{IP:src_ip}" } }
  kv { source => "other" }
  kv { source => "[app][more]" }
}"#,
            &[(
                r#"{"timestamp":"2026-01-02T03:04:05Z","u":"bob","n":"5","password":"x","msg":"from 10.0.0.1","more":"k=v","rest":1}"#,
                &[
                    ("@timestamp", "2026-01-02T03:04:05.000Z"),
                    ("user.name", "bob"),
                    ("source.ip", "10.0.0.1"),
                    ("shop.app.rest", "1"),
                    ("shop.k", "v"),
                    ("shop.app.password", "null"),
                    ("labels.app_password", "null"),
                ],
            )],
            &[
                (2, "`lowercase` of `message`"),
                (5, "`convert`: a key"),
                (5, "`remove_field` of `[app][password]`: if that is an object"),
                (7, "`kv` of `other`"),
            ],
        );
        check(
            From::Grok,
            r#"filter {
  grok { match => { "message" => "^%{USER:user} (?<body>.*)" } }
  json { source => "body" }
  mutate { rename => { "u" => "user" } }
}"#,
            &[
                (r#"bob {"u":"eve"}"#, &[("user.name", "eve")]),
                (r#"bob {"v":1}"#, &[("user.name", "bob")]),
                ("bob x", &[("user.name", "bob")]),
            ],
            &[],
        );
    }

    #[test]
    fn conditions_are_asked_by_copies_or_left_out() {
        check(
            From::Grok,
            r#"filter {
  grok { match => { "message" => "^%{WORD:level} n=%{INT:n} %{GREEDYDATA:body}" } }
  if [level] in ["error", "fatal"] {
    mutate { add_field => { "alert" => "yes" } remove_field => ["n"] }
    grok { match => { "body" => "^code %{INT:c}" } }
  } else if [level] == "warn" {
    mutate { add_field => { "alert" => "no" } }
  } else {
    mutate { add_field => { "alert" => "none" } }
  }
  if [n] =~ /^{9}/ {
    mutate { add_field => { "nine" => "yes" } }
  }
  if [level] == "debug" and [n] == 1 { drop { } }
}"#,
            &[
                (
                    "fatal n=9 code 7",
                    &[
                        ("labels.alert", "yes"),
                        ("labels.n", "null"),
                        ("labels.c", "7"),
                        ("labels.nine", "null"),
                    ],
                ),
                (
                    "warn n=9 code 7",
                    &[("labels.alert", "no"), ("labels.n", "9"), ("labels.c", "null")],
                ),
                ("info n=9 code 7", &[("labels.alert", "none")]),
                ("debug n=1 x", &[("event.kind", "null")]),
            ],
            &[(11, "the condition `[n] =~ /^{9}/` and what is done under it")],
        );
        check(
            From::Grok,
            r#"filter {
  if [program] == "a" {
    grok { match => { "message" => "^n=%{INT:n}" } }
  } else if [program] == "b" {
    grok { match => { "message" => "^n=%{INT:m}" } }
  }
}
filter { mutate { add_field => { "k" => "v" } } }"#,
            &[
                ("Nov 28 10:15:02 h b[1]: n=5", &[("labels.m", "5"), ("labels.k", "v")]),
                ("Nov 28 10:15:02 h a[1]: n=5", &[("labels.n", "5")]),
            ],
            &[],
        );
    }

    #[test]
    fn what_rules_cannot_do_one_after_the_other_is_told() {
        check(
            From::Grok,
            r#"filter {
  if [program] == "a" { grok { match => { "message" => "^%{DATA:a}[|]%{GREEDYDATA:b}" } } }
  grok { match => { "a" => "user=%{WORD:user}" "b" => "ip=%{IP:src_ip}" } }
  grok { match => { "a" => "auth=%{WORD:auth}" } break_on_match => false }
  grok { match => { "message" => ["%{WORD:user} or %{WORD:auth}", "(?:u=%{WORD:username}|a=%{WORD:auth})"] } }
  if "_grokparsefailure" in [tags] { grok { match => { "message" => "^(?<last>.)" } } }
}"#,
            &[
                ("Nov 28 10:15:02 h a[1]: auth=bob|ip=10.0.0.1", &[("user.name", "bob")]),
                ("bob or ldap", &[("user.name", "bob"), ("labels.auth", "ldap")]),
                ("u=eve", &[("user.name", "eve")]),
                ("?", &[("labels.last", "?")]),
            ],
            &[
                (3, "a `grok` on `b`"),
                (4, "a second `grok` on `a`"),
                (4, "`break_on_match`"),
                (5, "a second `grok` on `message`"),
                (5, "`auth`: `user` is `user.name` already"),
                (5, "`shop.line_5` is for any program"),
            ],
        );
    }

    #[test]
    fn patterns_with_a_header_are_for_the_line() {
        for pattern in [
            r"sshd\[%{POSINT:pid}\]: user=%{WORD:user}",
            r"%{SYSLOGTIMESTAMP} %{SYSLOGHOST:host} sshd(?:\[%{POSINT:pid}\])?: user=%{WORD:user}",
            r"^%{SYSLOGTIMESTAMP} h %{PROG:program}\[7\]: user=%{WORD:user}",
            "user=%{WORD:user}",
        ] {
            check(
                From::Grok,
                &format!("filter\n{{ grok {{ match => {{ 'message' => '{pattern}' }} }} }}"),
                &[("Nov 28 10:15:02 h sshd[7]: user=bob", &[("user.name", "bob")])],
                &[],
            );
        }
        check(
            From::Grok,
            r#"filter { grok { match => { "message" => "%{TIMESTAMP_ISO8601:ts} %{SYSLOGHOST:host} app: user=%{WORD:user}" } }
  grok { match => { "message" => "%{SYSLOGLINE}" } } }"#,
            &[
                ("2026-01-02T03:04:05Z web1 app: user=bob", &[("user.name", "bob")]),
                ("Nov 28 10:15:02 h app[7]: hello", &[("message", "hello")]),
            ],
            &[(2, "a second `grok`")],
        );
    }

    #[test]
    fn what_stands_before_a_fault_comes_over() {
        check(
            From::Grok,
            "\u{feff}filter { if [a] =~ /it's \\/#{/ { drop {} } grok { match => { 'message' => 'ok %{WORD:a}' } } }\nfilter {\n  grok { match => [\n}",
            &[("ok x", &[("labels.a", "x")])],
            &[(1, "the condition"), (4, "a value is expected; what follows is not read")],
        );
    }
}
