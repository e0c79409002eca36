//! Logstash: files of grok patterns (`NAME regex` lines), and the filters of a pipeline.
//!
//! Filters run one after the other there, rules are alternatives here. So a `grok` is a rule; what
//! follows in the same block (`date`, `mutate`) is added to the rules before it; a `grok` on a field
//! that an earlier one captures becomes a chain behind that one.

mod syntax;

use super::Notes;
use super::fields::field;
use super::pack::{Pack, Rule};
use super::pattern::{Named, names, rewrite};
use super::times::from_joda;
use crate::pattern;
use crate::yaml::quoted;
use std::collections::BTreeMap;
use syntax::{Item, Setting};

pub(super) fn read(text: &str, pack: &mut Pack, notes: &mut Notes) {
    if is_pipeline(text) {
        let items = match syntax::parse(text) {
            Ok(items) => items,
            Err((line, message)) => {
                let comment = notes.add(line, message);
                pack.comments.push(comment);
                return;
            }
        };
        let filters = items.iter().filter_map(|item| match item {
            Item::Block { name, items, .. } if name == "filter" => Some(items),
            _ => None,
        });
        for items in filters {
            let mut reader = Reader { pack, notes, conditions: Vec::new() };
            let mut scope = Scope::default();
            reader.block(items, &mut scope);
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
                let pattern =
                    rewrite(pattern.trim(), |named| Named { name: field(&named.name), ..named });
                pack.fragments.push((name.to_owned(), pattern));
            }
            _ => {
                let comment = notes.add(number + 1, "not a grok pattern: `NAME regex` is expected");
                pack.comments.push(comment);
            }
        }
    }
}

fn is_pipeline(text: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| {
        ["filter", "input", "output"].iter().any(|word| {
            line.strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with('{'))
        })
    })
}

/// Where a rule stands: its chain (`None` for the pack's list) and its number there.
type Place = (Option<usize>, usize);

/// The rules of a block and the blocks in it.
#[derive(Debug, Default, Clone)]
struct Scope {
    rules: Vec<Place>,
    /// Names of Logstash that were renamed.
    renamed: BTreeMap<String, String>,
}

struct Reader<'p> {
    pack: &'p mut Pack,
    notes: &'p mut Notes,
    /// Conditions that are in force and were not carried over.
    conditions: Vec<String>,
}

impl Reader<'_> {
    fn block(&mut self, items: &[Item], scope: &mut Scope) {
        for item in items {
            match item {
                Item::Condition { text, line, items } => {
                    let comment = self.condition(text, *line);
                    let known = comment.is_none();
                    self.conditions.extend(comment);
                    let mut inner = Scope { rules: Vec::new(), ..scope.clone() };
                    let outer = scope.rules.clone();
                    let without = !items
                        .iter()
                        .any(|item| matches!(item, Item::Block { name, .. } if name == "grok"));
                    if without {
                        inner.rules = outer;
                    }
                    self.block(items, &mut inner);
                    if !without {
                        scope.rules.extend(inner.rules);
                    }
                    if !known {
                        self.conditions.pop();
                    }
                }
                Item::Block { name, line, settings, .. } => {
                    self.filter(name, *line, settings, scope)
                }
            }
        }
    }

    /// A condition on the program says which lines the pack is for; others are noted.
    fn condition(&mut self, text: &str, line: usize) -> Option<String> {
        let names = ["[program]", "[process][name]", "[syslog_program]", "[process.name]"];
        let compared =
            names.iter().find_map(|name| text.strip_prefix(name)?.trim().strip_prefix("=="));
        let program = compared.map(|value| value.trim().trim_matches(['"', '\'']));
        match program.filter(|value| !value.is_empty() && !value.contains(['"', '\'', ' '])) {
            Some(program) => {
                self.pack.add_program(program.to_owned());
                None
            }
            None => Some(self.notes.add(
                line,
                format!("the condition `{text}`: say it in `applies`, `when` or the pattern"),
            )),
        }
    }

    fn filter(&mut self, name: &str, line: usize, settings: &[Setting], scope: &mut Scope) {
        match name {
            "grok" => self.grok(line, settings, scope),
            "date" => self.date(line, settings, scope),
            "mutate" => self.mutate(settings, scope),
            "json" | "kv" | "csv" => self.sub_parser(name, line, settings, scope),
            other => {
                let message = format!("the filter `{other}` has no counterpart");
                self.note(line, message, scope);
            }
        }
    }

    /// Notes what is left out, as a comment above the last rule or the pack.
    fn note(&mut self, line: usize, message: impl Into<String>, scope: &Scope) {
        let comment = self.notes.add(line, message);
        match scope.rules.last() {
            Some(place) => self.rule(*place).comments.push(comment),
            None => self.pack.comments.push(comment),
        }
    }

    fn rule(&mut self, (chain, number): Place) -> &mut Rule {
        match chain {
            Some(chain) => &mut self.pack.chains[chain].1[number],
            None => &mut self.pack.rules[number],
        }
    }

    fn grok(&mut self, line: usize, settings: &[Setting], scope: &mut Scope) {
        for setting in settings.iter().filter(|setting| setting.name == "pattern_definitions") {
            for (name, pattern) in setting.value.pairs() {
                let pattern =
                    rewrite(&pattern, |named| Named { name: field(&named.name), ..named });
                self.pack.fragments.push((name, pattern));
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
            self.grok_on(&source, patterns, line, scope);
        }
        for setting in settings {
            match setting.name.as_str() {
                "match" | "pattern_definitions" | "overwrite" | "break_on_match" | "tag_on_failure" | "id"
                | "named_captures_only" | "keep_empty_captures" | "timeout_millis" => {}
                "patterns_dir" | "patterns_files_glob" => self.note(
                    setting.line,
                    "`patterns_dir`: give those files to this command as well, or name them in `pattern_files`",
                    scope,
                ),
                _ => self.common(setting, scope),
            }
        }
    }

    fn grok_on(&mut self, source: &str, patterns: Vec<String>, line: usize, scope: &mut Scope) {
        let from = scope.renamed.get(source).cloned().unwrap_or_else(|| field(source));
        let captures = |rule: &Rule| rule.patterns.iter().any(|text| names(text).contains(&from));
        let outer: Vec<Place> = scope.rules.clone();
        let outer: Vec<Place> =
            outer.into_iter().filter(|place| captures(self.rule(*place))).collect();
        let mut rule = Rule {
            id: self.pack.id(&format!("line {line}")),
            line,
            comments: self.conditions.clone(),
            patterns: patterns
                .iter()
                .map(|text| rewrite(text, |named| Named { name: field(&named.name), ..named }))
                .collect(),
            ..Rule::default()
        };
        if outer.is_empty() {
            if !matches!(source, "message" | "log" | "event.original" | "[event][original]") {
                rule.on = Some(from);
            } else if rule.patterns.iter().any(|text| begins_with_header(text)) {
                rule.on = Some("line".into());
            }
            self.pack.rules.push(rule);
            scope.rules.push((None, self.pack.rules.len() - 1));
            return;
        }
        let chain = self.pack.chains.len();
        let name = format!("line_{line}");
        for place in outer {
            self.rule(place).then = Some((Some(from.clone()), name.clone()));
        }
        self.pack.chains.push((name, vec![rule]));
        scope.rules.push((Some(chain), 0));
    }

    fn date(&mut self, line: usize, settings: &[Setting], scope: &Scope) {
        let text = |name: &str| {
            settings
                .iter()
                .find(|setting| setting.name == name)
                .and_then(|setting| setting.value.text())
        };
        let Some(of) = settings
            .iter()
            .find(|setting| setting.name == "match")
            .map(|setting| setting.value.list())
        else {
            return self.note(line, "a `date` without `match`", scope);
        };
        let Some((source, formats)) = of.split_first() else {
            return self.note(line, "a `date` with an empty `match`", scope);
        };
        let from = scope.renamed.get(source).cloned().unwrap_or_else(|| field(source));
        let mut list = Vec::new();
        for format in formats {
            match from_joda(format) {
                Ok(format) => list.push(quoted(&format)),
                Err(message) => self.note(line, message, scope),
            }
        }
        let zone =
            text("timezone").map(|zone| format!(", zone: {}", quoted(&zone))).unwrap_or_default();
        let into = text("target")
            .filter(|target| target != "@timestamp")
            .map(|target| format!(", into: {}", quoted(&field(&target))))
            .unwrap_or_default();
        let time =
            format!("{{field: {}, formats: [{}]{zone}{into}}}", quoted(&from), list.join(", "));
        if scope.rules.is_empty() {
            return self.note(line, "a `date` with no grok before it", scope);
        }
        let captures = |rule: &Rule| {
            rule.parse.iter().any(|parse| parse.contains(&quoted(&from)))
                || rule.patterns.iter().any(|text| {
                    names(text).contains(&from)
                        || text.contains("APACHELOG")
                        || text.contains("SYSLOGBASE")
                })
        };
        for place in scope.rules.clone() {
            let rule = self.rule(place);
            if !list.is_empty() && captures(rule) {
                rule.times.push(time.clone());
            }
        }
    }

    fn mutate(&mut self, settings: &[Setting], scope: &mut Scope) {
        for setting in settings {
            match setting.name.as_str() {
                "rename" => {
                    for (from, to) in setting.value.pairs() {
                        let (old, new) = (field(&from), field(&to));
                        self.rename(scope, &old, &new);
                        scope.renamed.insert(from, new);
                    }
                }
                "convert" => {
                    for (name, kind) in setting.value.pairs() {
                        self.convert(scope, &field(&name), &kind, setting.line);
                    }
                }
                "lowercase" | "uppercase" | "strip" => {
                    let step = if setting.name == "strip" { "trim" } else { &setting.name };
                    for name in setting.value.list() {
                        self.transform(scope, &name, step);
                    }
                }
                "split" => {
                    for (name, separator) in setting.value.pairs() {
                        self.transform(scope, &name, &format!("{{split: {}}}", quoted(&separator)));
                    }
                }
                "gsub" => self.gsub(setting, scope),
                "remove_field" => self.remove(setting, scope),
                _ => self.common(setting, scope),
            }
        }
    }

    /// Settings that every filter has.
    fn common(&mut self, setting: &Setting, scope: &Scope) {
        match setting.name.as_str() {
            "add_field" | "replace" | "update" => {
                for (name, value) in setting.value.pairs() {
                    let value = template(&value, &scope.renamed);
                    for place in scope.rules.clone() {
                        self.rule(place).sets.push((field(&name), value.clone()));
                    }
                }
                if scope.rules.is_empty() {
                    self.note(
                        setting.line,
                        format!("`{}` with no grok before it", setting.name),
                        scope,
                    );
                }
            }
            "remove_field" => self.remove(setting, scope),
            name => {
                self.note(setting.line, format!("`{name}` has no counterpart"), scope);
            }
        }
    }

    fn rename(&mut self, scope: &Scope, old: &str, new: &str) {
        for place in scope.rules.clone() {
            let rule = self.rule(place);
            for text in &mut rule.patterns {
                *text = rewrite(text, |named| match named.name == old {
                    true => Named { name: new.to_owned(), ..named },
                    false => named,
                });
            }
            if let Some((Some(field), _)) = &mut rule.then
                && field == old
            {
                *field = new.to_owned();
            }
        }
    }

    fn convert(&mut self, scope: &Scope, name: &str, kind: &str, line: usize) {
        let kind = match kind {
            "integer" | "integer_eu" => "int",
            "float" | "float_eu" => "float",
            "boolean" => "bool",
            "string" => "string",
            other => return self.note(line, format!("`convert` to `{other}`"), scope),
        };
        for place in scope.rules.clone() {
            for text in &mut self.rule(place).patterns {
                *text = rewrite(text, |named| match named.name == name {
                    true => Named { kind: Some(kind.to_owned()), ..named },
                    false => named,
                });
            }
        }
    }

    fn transform(&mut self, scope: &Scope, name: &str, step: &str) {
        let field = scope.renamed.get(name).cloned().unwrap_or_else(|| field(name));
        for place in scope.rules.clone() {
            self.rule(place).transforms.entry(field.clone()).or_default().push(step.to_owned());
        }
    }

    fn gsub(&mut self, setting: &Setting, scope: &Scope) {
        for part in setting.value.list().chunks(3) {
            match part {
                [name, from, to] if can_gsub(from, to) => {
                    let plain = regex::escape(from) == *from;
                    let step = if plain { "replace" } else { "gsub" };
                    let step = format!("{{{step}: [{}, {}]}}", quoted(from), quoted(to));
                    self.transform(scope, name, &step);
                }
                _ => self.note(
                    setting.line,
                    "a `gsub` by a pattern that has no like, or with what it captures in the new text",
                    scope,
                ),
            }
        }
    }

    /// A removed capture gets a name that is not emitted.
    fn remove(&mut self, setting: &Setting, scope: &Scope) {
        for name in setting.value.list() {
            let old = scope.renamed.get(&name).cloned().unwrap_or_else(|| field(&name));
            if old.starts_with('_')
                || matches!(name.as_str(), "message" | "@version" | "[event][original]")
            {
                continue;
            }
            let new = format!("_{}", crate::suggest::identifier(&old));
            self.rename(scope, &old, &new);
        }
    }

    fn sub_parser(&mut self, form: &str, line: usize, settings: &[Setting], scope: &mut Scope) {
        let text = |name: &str| {
            settings
                .iter()
                .find(|setting| setting.name == name)
                .and_then(|setting| setting.value.text())
        };
        let source = text("source").unwrap_or_else(|| "message".into());
        let mut parse = format!("{{as: {form}");
        if let Some(separator) = text("field_split").filter(|_| form == "kv") {
            parse.push_str(&format!(", pair_separators: {}", quoted(&separator)));
        }
        if let Some(separator) = text("value_split").filter(|_| form == "kv") {
            parse.push_str(&format!(", key_value_separator: {}", quoted(&separator)));
        }
        if form == "csv" {
            let columns = settings.iter().find(|setting| setting.name == "columns");
            let columns: Vec<String> =
                columns.map(|setting| setting.value.list()).unwrap_or_default();
            let mapped: Vec<String> = columns.iter().map(|name| quoted(&field(name))).collect();
            parse.push_str(&format!(", columns: [{}]", mapped.join(", ")));
            if let Some(separator) = text("separator") {
                parse.push_str(&format!(", separator: {}", quoted(&separator)));
            }
        } else {
            parse.push_str(&format!(", rest: {}", quoted(&self.pack.vendor())));
        }
        for setting in settings {
            let known =
                ["source", "field_split", "value_split", "columns", "separator", "target", "id"];
            if !known.contains(&setting.name.as_str()) {
                self.common(setting, scope);
            }
        }
        let from = scope.renamed.get(&source).cloned().unwrap_or_else(|| field(&source));
        let places: Vec<Place> = scope.rules.clone();
        let outer: Vec<Place> = places
            .into_iter()
            .filter(|place| {
                self.rule(*place).patterns.iter().any(|text| names(text).contains(&from))
            })
            .collect();
        if outer.is_empty() {
            let id = self.pack.id(&format!("line {line}"));
            let comments = self.conditions.clone();
            self.pack.rules.push(Rule {
                id,
                line,
                comments,
                parse: vec![parse + "}"],
                ..Rule::default()
            });
            return scope.rules.push((None, self.pack.rules.len() - 1));
        }
        parse.push_str(&format!(", field: {}, optional: true}}", quoted(&from)));
        for place in outer {
            self.rule(place).parse.push(parse.clone());
        }
    }
}

/// Whether a pattern is for lines with their syslog header.
fn begins_with_header(pattern: &str) -> bool {
    let begin = pattern.trim_start_matches('^');
    let begin = begin
        .strip_prefix("<%{")
        .map_or(begin, |rest| rest.split_once('>').map_or(begin, |(_, rest)| rest));
    ["%{SYSLOGTIMESTAMP", "%{SYSLOGBASE", "%{SYSLOGLINE", "%{SYSLOG5424"]
        .iter()
        .any(|name| begin.starts_with(name))
}

/// `%{a} b` as `{a} b`.
fn template(text: &str, renamed: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("%{") {
        let Some(end) = rest[at..].find('}').map(|end| at + end) else { break };
        out.push_str(&rest[..at].replace('{', "{{").replace('}', "}}"));
        let name = &rest[at + 2..end];
        out.push_str(&format!("{{{}}}", renamed.get(name).cloned().unwrap_or_else(|| field(name))));
        rest = &rest[end + 1..];
    }
    out.push_str(&rest.replace('{', "{{").replace('}', "}}"));
    out
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
}
