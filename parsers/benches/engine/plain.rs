//! The plain way: what one would write first. The line's header by one regex, then the rules of its
//! program or dataset one after the other, each a regex of the crate `regex`, and what they capture
//! into a tree of JSON that is written at the end.

use super::{SSHD, measure, other};
use logweir_parsers::{RuleSet, Source};
use regex::bytes::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use std::collections::HashMap;

const HEADER: &str = r"^(?:<\d+>)?(\w{3} +\d+ \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+) (\S+) ([^\s\[:]+)(?:\[(\d+)\])?: (.*)$";

/// A rule as a regex, the fields that its groups fill, and the rules that it leads to.
struct Plain {
    regexes: Vec<(Regex, Vec<(usize, String)>)>,
    on: Option<String>,
    then: Vec<Plain>,
}

/// The rules of a rule set, the plain way.
pub(super) struct PlainRules {
    header: Regex,
    packs: HashMap<usize, Vec<Plain>>,
}

impl PlainRules {
    /// Of the patterns that look at the message or at a field; rules without one are left out.
    pub(super) fn new(rules: &RuleSet, packs: impl Iterator<Item = usize>) -> Self {
        let lists = packs.map(|pack| (pack, plain(rules, rules.rules_of(pack), 0)));
        Self { header: bytes_regex(HEADER), packs: lists.collect() }
    }

    /// Appends the event of a line that is known to be a pack's; `false` if no rule matches.
    pub(super) fn parse(&self, pack: usize, line: &[u8], out: &mut Vec<u8>) -> bool {
        let mut event = Map::new();
        event.insert("event.original".into(), text(line));
        let mut message = line;
        if let Some(parts) = self.header.captures(line) {
            let names = ["@timestamp", "host.hostname", "process.name", "process.pid"];
            for (at, name) in names.iter().enumerate() {
                if let Some(part) = parts.get(at + 1) {
                    event.insert((*name).into(), text(part.as_bytes()));
                }
            }
            message = parts.get(5).map_or(message, |part| part.as_bytes());
        }
        let found = find(&self.packs[&pack], message, &mut event);
        serde_json::to_writer(&mut *out, &event).expect("writing to memory");
        found
    }
}

fn plain(rules: &RuleSet, numbers: &[usize], depth: usize) -> Vec<Plain> {
    let mut list = Vec::new();
    for number in numbers {
        let outline = rules.outline(*number);
        let on = match outline.on {
            Source::Message => None,
            Source::Field(name) => Some(name.to_owned()),
            Source::Line => continue,
        };
        let regexes: Vec<_> = outline
            .regexes
            .into_iter()
            .map(|(regex, fields)| {
                let fields = fields.into_iter().map(|(group, name)| (group, name.to_owned()));
                (bytes_regex(regex), fields.collect())
            })
            .collect();
        if !regexes.is_empty() {
            let then = outline.then.filter(|_| depth < 4);
            let then = then.map_or_else(Vec::new, |(source, numbers)| {
                let mut inner = plain(rules, numbers, depth + 1);
                if let Source::Field(name) = source {
                    let own = inner.iter_mut().filter(|rule| rule.on.is_none());
                    own.for_each(|rule| rule.on = Some(name.to_owned()));
                }
                inner
            });
            list.push(Plain { regexes, on, then });
        }
    }
    list
}

/// The first rule that matches fills the event, and the first of those that it leads to.
fn find(list: &[Plain], message: &[u8], event: &mut Map<String, Value>) -> bool {
    for rule in list {
        let field;
        let on = match &rule.on {
            None => message,
            Some(name) => match event.get(name).and_then(Value::as_str) {
                Some(value) => {
                    field = value.to_owned();
                    field.as_bytes()
                }
                None => continue,
            },
        };
        let found = rule.regexes.iter().find_map(|(r, fields)| Some((r.captures(on)?, fields)));
        let Some((captures, fields)) = found else { continue };
        for (group, name) in fields {
            if let Some(part) = captures.get(*group) {
                event.insert(name.clone(), text(part.as_bytes()));
            }
        }
        find(&rule.then, message, event);
        return true;
    }
    false
}

fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into_owned().into()
}

fn bytes_regex(pattern: &str) -> Regex {
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(pattern.contains("(?u")).dot_matches_new_line(true);
    builder.build().expect("the engine compiled it")
}

/// sshd's messages against so many rules, in nanoseconds per line.
pub(super) fn of_sshd(rules: usize, lines: &[Vec<u8>]) -> f64 {
    let header = Regex::new(r"(?-u)^(\w{3} +\d+ \S+) (\S+) ([^\[:]+)(?:\[(\d+)\])?: (.*)$")
        .expect("a regex");
    let step = rules / SSHD.len();
    let list: Vec<Regex> = (0..rules)
        .map(|n| if n % step == 0 { SSHD[n / step].0.to_owned() } else { other(n) })
        .map(|pattern| Regex::new(&format!("(?-u){}", numbered(&pattern))).expect("a regex"))
        .collect();
    let mut out = Vec::with_capacity(1 << 20);
    measure(lines, |lines| {
        out.clear();
        for line in lines {
            let Some(parts) = header.captures(line) else { continue };
            let message = parts.get(5).map_or(&b""[..], |part| part.as_bytes());
            let mut event = Map::new();
            event.insert("event.original".into(), String::from_utf8_lossy(line).into());
            event.insert("host.hostname".into(), String::from_utf8_lossy(&parts[2]).into());
            if let Some(found) = list.iter().find_map(|regex| regex.captures(message)) {
                for (n, part) in found.iter().enumerate().skip(1) {
                    if let Some(part) = part {
                        let value = String::from_utf8_lossy(part.as_bytes()).into_owned();
                        event.insert(format!("field{n}"), value.into());
                    }
                }
            }
            serde_json::to_writer(&mut out, &event).expect("writing to memory");
        }
    })
}

/// Names that the crate `regex` takes: without colons and dots at their beginning.
fn numbered(pattern: &str) -> String {
    let mut out = String::new();
    for (n, part) in pattern.split("(?<").enumerate() {
        if n == 0 {
            out.push_str(part);
        } else {
            let rest = part.split_once('>').map_or(part, |(_, rest)| rest);
            out.push_str(&format!("(?<f{n}>{rest}"));
        }
    }
    out
}
