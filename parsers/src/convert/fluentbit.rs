//! Fluent Bit's `parsers.conf`: one rule per `[PARSER]`.

use super::Notes;
use super::fields::{field, label};
use super::pack::{Pack, Rule};
use super::pattern::{Named, rewrite};
use super::times::from_strptime;
use crate::time::TimeFormat;
use crate::yaml::quoted;

struct Section {
    name: String,
    line: usize,
    keys: Vec<(String, String, usize)>,
}

impl Section {
    fn get(&self, wanted: &str) -> Option<(&str, usize)> {
        let found = self.keys.iter().find(|(name, ..)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value, line)| (value.as_str(), *line))
    }
}

pub(super) fn read(text: &str, pack: &mut Pack, notes: &mut Notes) {
    if let Some(line) = yaml(text) {
        let message =
            "a configuration in YAML is not read: write its parsers as `[PARSER]` sections";
        let comment = notes.add(line, message);
        return pack.comments.push(comment);
    }
    let mut parsers = 0;
    for section in sections(text, pack, notes) {
        if section.name.eq_ignore_ascii_case("parser") {
            parser(&section, pack, notes);
            parsers += 1;
            if parsers == 2 {
                let message = "an input names its parser; here they are tried one after the other, and the \
                               first that matches counts: those for other lines go into a pack of their own";
                let comment = notes.add(section.line, message);
                pack.comments.push(comment);
            }
        } else {
            let message = format!("the section `[{}]` has no counterpart", section.name);
            let comment = notes.add(section.line, message);
            pack.comments.push(comment);
        }
    }
    // Pairs are found in nearly any line, JSON is not.
    let takes_all = |rule: &Rule| rule.parse.iter().any(|parse| parse.starts_with("{as: kv"));
    pack.rules.sort_by_key(takes_all);
}

/// The first line of a text in YAML.
fn yaml(text: &str) -> Option<usize> {
    let (at, line) = text.lines().enumerate().find(|(_, line)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    })?;
    (line == "---" || line.trim_end().ends_with(':')).then_some(at + 1)
}

fn sections(text: &str, pack: &mut Pack, notes: &mut Notes) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let (number, line) = (at + 1, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push(Section { name: name.to_owned(), line: number, keys: Vec::new() });
            continue;
        }
        match (sections.last_mut(), line.split_once([' ', '\t'])) {
            (Some(section), Some((name, value))) => {
                section.keys.push((name.to_owned(), value.trim().to_owned(), number));
            }
            _ => {
                let comment = notes.add(number, "not `key value` in a section");
                pack.comments.push(comment);
            }
        }
    }
    sections
}

fn parser(section: &Section, pack: &mut Pack, notes: &mut Notes) {
    let name = section.get("Name").map_or("parser", |(name, _)| name);
    let mut rule = Rule { id: pack.id(name), line: section.line, ..Rule::default() };
    let (format, line) = section.get("Format").unwrap_or(("", section.line));
    let rest = pack.vendor();
    match format.to_ascii_lowercase().as_str() {
        "regex" => match section.get("Regex") {
            Some((regex, line)) => {
                rule.line = line;
                let pattern = pattern(regex, section, &mut rule, notes);
                rule.patterns.push(pattern);
            }
            None => {
                let comment =
                    notes.add(section.line, format!("the parser `{name}` has no `Regex`"));
                return pack.comments.push(comment);
            }
        },
        form @ ("json" | "logfmt" | "ltsv") => {
            let options = match form {
                "json" => "as: json",
                "logfmt" => "as: kv",
                _ => "as: kv, pair_separators: \"\\t\", key_value_separator: ':'",
            };
            let mut known =
                vec![("level", "log.level"), ("msg", "message"), ("message", "message")];
            if let Some((key, _)) = time_key(section) {
                known.retain(|(name, _)| *name != key);
                known.push((key, "_time"));
            }
            let fields: Vec<String> =
                known.iter().map(|(key, field)| format!("{}: {field}", quoted(key))).collect();
            rule.parse.push(format!(
                "{{{options}, fields: {{{}}}, rest: {}}}",
                fields.join(", "),
                quoted(&rest)
            ));
            types_of_keys(section, &mut rule, notes);
        }
        other => {
            let message = format!("the parser `{name}` has the format `{other}`");
            let comment = notes.add(line, message);
            return pack.comments.push(comment);
        }
    }
    time(section, &mut rule, notes);
    others(section, &mut rule, notes);
    pack.rules.push(rule);
}

/// Ruby's regex as ours: `\h` is a hexadecimal digit there.
fn pattern(text: &str, section: &Section, rule: &mut Rule, notes: &mut Notes) -> String {
    let slashes = text.strip_prefix('/').and_then(|text| text.rsplit_once('/'));
    let (bare, options) = slashes
        .filter(|(_, options)| options.bytes().all(|option| b"imxo".contains(&option)))
        .unwrap_or((text, ""));
    // `m` is always so here, `o` tells when the regex is compiled.
    let mut out = match options.replace(['m', 'o'], "") {
        options if options.is_empty() => options,
        options => format!("(?{options})"),
    };
    let mut in_class = false;
    let mut chars = bare.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('h') if in_class => out.push_str("0-9A-Fa-f"),
                Some('h') => out.push_str("[0-9A-Fa-f]"),
                Some(next) => out.extend(['\\', next]),
                None => out.push(c),
            },
            '[' => {
                in_class = true;
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            '%' if chars.as_str().starts_with('{') => out.push_str("[%]"),
            c => out.push(c),
        }
    }
    let types: Vec<(String, String)> = section
        .get("Types")
        .map(|(text, _)| text.split_whitespace().filter_map(|part| part.split_once(':')))
        .into_iter()
        .flatten()
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    rewrite(&out, |named| {
        if named.name == "pri" {
            // What it looks for stands in front of the message.
            rule.on = Some("line".to_owned());
        }
        let mut field = field(&named.name);
        if is_time(&field) && time_key(section).is_none_or(|(key, _)| key != named.name) {
            field = label(&named.name);
        }
        let kind =
            types.iter().find(|(name, _)| *name == named.name).map(|(_, kind)| kind.as_str());
        let kind = match kind {
            Some("integer") => Some("int"),
            Some("float") => Some("float"),
            Some("bool") => Some("bool"),
            Some("string") => Some("string"),
            Some("hex") => {
                rule.transforms.entry(field.clone()).or_default().push("{int: 16}".into());
                Some("int")
            }
            Some(other) => {
                let comment =
                    notes.add(rule.line, format!("the type `{other}` of `{}`", named.name));
                rule.comments.push(comment);
                None
            }
            None => None,
        };
        Named { name: field, kind: kind.map(str::to_owned) }
    })
}

/// Values of JSON have their types; those of pairs are texts.
fn types_of_keys(section: &Section, rule: &mut Rule, notes: &mut Notes) {
    if let Some((_, line)) = section.get("Types") {
        let comment =
            notes.add(line, "`Types` of a parser without a regex: the fields' own types count");
        rule.comments.push(comment);
    }
}

fn time(section: &Section, rule: &mut Rule, notes: &mut Notes) {
    let Some((key, format)) = time_key(section) else { return };
    let from = if rule.parse.is_empty() { field(key) } else { "_time".to_owned() };
    let zone = match section.get("Time_Offset") {
        None => String::new(),
        Some((offset, line)) => match offset_zone(offset) {
            Some(zone) => format!(", zone: {}", quoted(&zone)),
            None => {
                let comment = notes.add(line, format!("the offset `{offset}`: write it as +0200"));
                rule.comments.push(comment);
                String::new()
            }
        },
    };
    let format = from_strptime(format);
    if let Err(why) = TimeFormat::compile(&format) {
        let line = section.get("Time_Format").map_or(0, |(_, line)| line);
        let comment = notes.add(line, format!("the time format `{format}`: {why}"));
        return rule.comments.push(comment);
    }
    let mut formats = quoted(&format);
    if format.starts_with("%Y") && format.ends_with(['S', 'f']) {
        // Fluent Bit leaves what follows the format, such as the Z of Docker's times.
        formats = format!("{formats}, {}", quoted(&format!("{format}%z")));
    }
    rule.times.push(format!("{{field: {}, formats: [{formats}]{zone}}}", quoted(&from)));
    if section.get("Time_Keep").is_some_and(|(keep, _)| is_on(keep)) && is_time(&from) {
        rule.sets.push((label(key), format!("{{{from}}}")));
    }
}

/// The key that holds the time, and its format.
fn time_key(section: &Section) -> Option<(&str, &str)> {
    let (format, _) = section.get("Time_Format")?;
    Some((section.get("Time_Key").map_or("time", |(key, _)| key), format))
}

/// Whether a field is for the time of the event only.
fn is_time(field: &str) -> bool {
    field.starts_with('_')
}

fn is_on(value: &str) -> bool {
    ["on", "true", "yes"].iter().any(|on| value.eq_ignore_ascii_case(on))
}

/// `+0200` as `+02:00`.
fn offset_zone(text: &str) -> Option<String> {
    let digits = text.strip_prefix(['+', '-'])?;
    let fits = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| format!("{}{}:{}", &text[..1], &digits[..2], &digits[2..]))
}

fn others(section: &Section, rule: &mut Rule, notes: &mut Notes) {
    const KNOWN: [&str; 9] = [
        "name",
        "format",
        "regex",
        "types",
        "time_key",
        "time_format",
        "time_offset",
        "time_keep",
        "skip_empty_values",
    ];
    for (name, _, line) in &section.keys {
        if !KNOWN.contains(&name.to_ascii_lowercase().as_str()) {
            let comment = notes.add(*line, format!("`{name}` has no counterpart"));
            rule.comments.push(comment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::From;
    use super::super::tests::check;

    #[test]
    fn parsers_become_rules() {
        check(
            From::FluentBit,
            r"# Two parsers of a shop.
[PARSER]
    Name        shop
    Format      regex
    Regex       ^(?<host>[^ ]*) \[(?<time>[^\]]*)\] (?<code>\d+) (?<size>[^ ]*) (?<trace>\h{4})(?: (?<left>[^ ]+))?$
    Time_Key    time
    Time_Format %d/%b/%Y:%H:%M:%S.%L %z
    Types       code:integer size:integer left:hex
    Decode_Field json log

[PARSER]
    Name   app_json
    Format json
    Time_Key ts
    Time_Format %Y-%m-%dT%H:%M:%S
    Time_Offset +0200

[PARSER]
    Name   look
    Format regex
    Regex  ^(?<a>x)(?=y)

[PARSER]
    Name   header
    Format regex
    Regex  /^\<(?<pri>[0-9]+)\>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<host>[^ ]*) (?<ident>[a-z]*): (?<message>.*)$/

[MULTILINE_PARSER]
    name java
",
            &[
                (
                    "web1 [28/Nov/2026:10:15:02.5 +0000] 200 77 beef 0x1f",
                    &[
                        ("host.hostname", "web1"),
                        ("http.response.status_code", "200"),
                        ("http.response.body.bytes", "77"),
                        ("labels.trace", "beef"),
                        ("labels.left", "31"),
                        ("@timestamp", "2026-11-28T10:15:02.500Z"),
                    ],
                ),
                (
                    r#"{"ts":"2026-11-28T10:15:02","msg":"hi","level":"warn","n":5}"#,
                    &[
                        ("@timestamp", "2026-11-28T08:15:02.000Z"),
                        ("message", "hi"),
                        ("shop.n", "5"),
                    ],
                ),
                (
                    "<13>Nov 28 10:15:02 web1 shopd: up",
                    &[("labels.pri", "13"), ("message", "up"), ("labels.time", "Nov 28 10:15:02")],
                ),
            ],
            &[
                (9, "`Decode_Field`"),
                (11, "names its parser"),
                (28, "`[MULTILINE_PARSER]`"),
                (21, "look-around"),
            ],
        );
    }

    #[test]
    fn times_and_options_are_as_fluent_bit_has_them() {
        let check = |text: &str, line: &str, expected: &[(&str, &str)]| {
            check(From::FluentBit, text, &[(line, expected)], &[]);
        };
        check(
            r"[PARSER]
    Name docker
    Format json
    Time_Key time
    Time_Format %Y-%m-%dT%H:%M:%S.%L
    Time_Keep On",
            r#"{"log":"hi","time":"2026-11-28T10:15:02.123456789Z"}"#,
            &[
                ("@timestamp", "2026-11-28T10:15:02.123456789Z"),
                ("labels.time", "2026-11-28T10:15:02.123456789Z"),
            ],
        );
        let json = "[PARSER]\nName j\nFormat json\n";
        let line = r#"{"time":"2026-11-28T10:15:02","n":5}"#;
        check(json, line, &[("shop.time", "2026-11-28T10:15:02")]);
        check(
            &format!("{json}Time_Format %Y-%m-%dT%H:%M:%S"),
            line,
            &[("@timestamp", "2026-11-28T10:15:02.000Z"), ("shop.n", "5")],
        );
        for (regex, line) in [
            (r"/^sl (?<a>\d)$/i", "SL 5"),
            (r"/^SL (?<a>\d)/m", "SL 5"),
            ("/^ SL\\ (?<a>.)/mx", "SL 5"),
        ] {
            let text = format!("[PARSER]\nName r\nFormat regex\nRegex {regex}");
            check(&text, line, &[("labels.a", "5")]);
        }
    }

    #[test]
    fn pairs_are_looked_for_last_and_yaml_is_told() {
        check(
            From::FluentBit,
            "[PARSER]\nName a\nFormat ltsv\n[PARSER]\nName b\nFormat regex\nRegex ^(?<level>\\w+):[ ]",
            &[("info: a:b\tc:d", &[("log.level", "info")]), ("a:b\tc:d", &[("shop.a", "b")])],
            &[(4, "names its parser")],
        );
        check(From::FluentBit, "# x\nservice:\n  flush: 1\n", &[], &[(2, "YAML")]);
    }
}
