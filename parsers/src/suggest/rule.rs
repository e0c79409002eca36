//! A template as a rule: its pattern, the names of its captures, the words for its id.

use super::cluster::{Cluster, Slot};
use super::dates;
use super::names::{Around, identifier, name};
use super::scan::{Kind, TIMES, Token, scan};

/// A time in front of the line stands among its first places, behind the name of a file and the like.
const TIME_SLOTS_MAX: usize = 8;
/// How many places of a pattern go into the pack's signature, at least.
const SIGNATURE_BYTES: usize = 12;

/// A rule to be written.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// For the id.
    pub(super) words: Vec<String>,
    pub(super) lines: u64,
    pub(super) first: u64,
    /// How many bytes the pattern demands; a rule with more of them is tried earlier.
    pub(super) literal: usize,
    pub(super) program: Option<String>,
    /// What tells the lines that have no program.
    pub(super) signature: String,
    pub(super) json_keys: Vec<String>,
    pub(super) pattern: Option<String>,
    /// The `parse:` section, ready to be written.
    pub(super) parse: String,
    /// Formats of `_time`.
    pub(super) times: Vec<String>,
    /// Whether the lines do not tell the day from the month in them.
    pub(super) unsure: bool,
    pub(super) fields: Vec<String>,
    pub(super) examples: Vec<String>,
}

impl Draft {
    pub(super) fn of(cluster: Cluster) -> Self {
        let mut pattern = Pattern::default();
        for at in 0..cluster.slots.len() {
            pattern.slot(&cluster.slots, at);
        }
        pattern.text.push('$');
        let (times, unsure) = formats(pattern.times, &cluster.examples);
        let words: Vec<String> = cluster
            .slots
            .iter()
            .filter_map(|slot| match slot {
                Slot::Word(word) => Some(identifier(word)),
                _ => None,
            })
            .filter(|word| {
                word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !word.is_empty()
            })
            .take(4)
            .collect();
        Self {
            words,
            lines: cluster.lines,
            first: cluster.first,
            literal: pattern.literal,
            program: cluster.program,
            signature: pattern.signature.unwrap_or_else(|| format!("^{}", pattern.plain)),
            json_keys: Vec::new(),
            pattern: Some(format!("^{}", pattern.text)),
            parse: String::new(),
            times,
            unsure,
            fields: pattern.fields,
            examples: cluster.examples,
        }
    }
}

#[derive(Debug, Default)]
struct Pattern {
    text: String,
    /// As `text`, without captures.
    plain: String,
    /// The beginning of `plain` that is demanding enough.
    signature: Option<String>,
    literal: usize,
    /// The kinds of the value that is `_time`.
    times: u32,
    fields: Vec<String>,
}

impl Pattern {
    fn slot(&mut self, slots: &[Slot], at: usize) {
        match &slots[at] {
            Slot::Blank(Some(text)) if text == " " => self.literal(" "),
            Slot::Blank(Some(text)) if text.bytes().all(|b| b == b'\t') => {
                self.literal(&r"\t".repeat(text.len()));
            }
            Slot::Blank(_) => self.literal(r"\s+"),
            Slot::Sign(sign) => {
                self.literal += 1;
                self.literal(&escape(&sign.to_string()));
            }
            Slot::Word(word) => {
                self.literal += word.len();
                self.literal(&escape(word));
                if self.signature.is_none() && self.literal >= SIGNATURE_BYTES {
                    self.signature = Some(format!("^{}", self.plain));
                }
            }
            Slot::Value(kinds) => self.value(*kinds, slots, at),
        }
    }

    fn literal(&mut self, text: &str) {
        self.text.push_str(text);
        self.plain.push_str(text);
    }

    fn value(&mut self, kinds: u32, slots: &[Slot], at: usize) {
        let inner = value_pattern(kinds, slots.get(at + 1));
        self.plain.push_str(&inner);
        let only_times = TIMES.iter().fold(kinds, |rest, kind| rest & !kind.bit()) == 0;
        let name = if only_times && at < TIME_SLOTS_MAX && self.times == 0 {
            self.times = kinds;
            "_time".to_owned()
        } else {
            self.name(kinds, slots, at)
        };
        let number = name.starts_with("labels.")
            && kinds & !(Kind::Integer.bit() | Kind::Signed.bit() | Kind::Float.bit()) == 0;
        let kind = match number {
            true if kinds & Kind::Float.bit() != 0 => ":float",
            true => ":int",
            false => "",
        };
        self.text.push_str(&format!("(?<{name}{kind}>{inner})"));
        self.fields.push(name);
    }

    fn name(&self, kinds: u32, slots: &[Slot], at: usize) -> String {
        let around = Around { last: self.fields.last().map(String::as_str), ..around(slots, at) };
        unique(&name(kinds, &around), |name| !self.fields.iter().any(|field| field == name))
    }
}

/// The formats of times of these kinds, and whether day and month may stand the other way round.
fn formats(kinds: u32, examples: &[String]) -> (Vec<String>, bool) {
    let has = |kind: &Kind| kinds & kind.bit() != 0;
    let seen: Vec<Kind> = TIMES.into_iter().filter(has).collect();
    let fixed = seen.iter().filter_map(|kind| kind.time()).filter_map(|(_, _, format)| format);
    let mut formats: Vec<String> = fixed.map(str::to_owned).collect();
    let orders: Vec<Kind> = [Kind::YearFirst, Kind::MonthFirst, Kind::DayFirst]
        .into_iter()
        .filter(|kind| seen.contains(kind))
        .collect();
    let unsure = match orders.as_slice() {
        [] => seen.contains(&Kind::EitherFirst),
        list => list.len() > 1,
    };
    for (kind, text) in examples.iter().filter_map(|line| dated(line)).filter(|(kind, _)| has(kind))
    {
        let format = dates::format(orders.first().copied().unwrap_or(kind), text);
        formats.extend((!formats.contains(&format)).then_some(format));
    }
    (formats, unsure)
}

/// The time whose format its text tells.
fn dated(line: &str) -> Option<(Kind, &str)> {
    scan(line).into_iter().find_map(|token| match token {
        Token::Value(kind, text) if kind.time().is_some_and(|(.., format)| format.is_none()) => {
            Some((kind, text))
        }
        _ => None,
    })
}

/// `wanted`, or a label made of it with a number if it is taken.
pub(super) fn unique(wanted: &str, free: impl Fn(&str) -> bool) -> String {
    if free(wanted) {
        return wanted.to_owned();
    }
    let stem = match wanted.strip_prefix("labels.") {
        Some(stem) => stem.to_owned(),
        None => wanted.replace('.', "_"),
    };
    (2..)
        .map(|number| format!("labels.{stem}_{number}"))
        .find(|name| free(name))
        .unwrap_or_else(|| wanted.to_owned())
}

fn around(slots: &[Slot], at: usize) -> Around<'_> {
    let before = &slots[..at];
    // Quotes and brackets belong to the value.
    let before = match before {
        [rest @ .., Slot::Sign('"' | '\'' | '[' | '(' | '<')] => rest,
        all => all,
    };
    let key = match before {
        [.., Slot::Word(key), Slot::Sign('=' | ':')]
        | [.., Slot::Word(key), Slot::Sign(':' | '='), Slot::Blank(_)]
        | [.., Slot::Word(key), Slot::Blank(_), Slot::Sign('='), Slot::Blank(_)] => {
            Some(key.as_str())
        }
        _ => None,
    };
    let (near, earlier) = match before {
        [.., Slot::Word(earlier), Slot::Blank(_), Slot::Word(near), Slot::Blank(_)] => {
            (Some(near.as_str()), Some(earlier.as_str()))
        }
        [.., Slot::Word(near), Slot::Blank(_)] => (Some(near.as_str()), None),
        _ => (None, None),
    };
    let after = match &slots[at + 1..] {
        [Slot::Word(word), ..] | [Slot::Blank(_), Slot::Word(word), ..] => Some(word.as_str()),
        _ => None,
    };
    let joined = matches!(slots[..at], [.., Slot::Value(_), Slot::Sign(':' | '#')]);
    let bracketed = matches!(slots[..at], [.., Slot::Sign('[')])
        && matches!(slots.get(at + 1), Some(Slot::Sign(']')));
    Around { key, before: near, earlier, after, last: None, joined, bracketed }
}

/// What matches values of these kinds in front of `next`.
fn value_pattern(kinds: u32, next: Option<&Slot>) -> String {
    let only =
        |allowed: &[Kind]| kinds & !allowed.iter().fold(0, |bits, kind| bits | kind.bit()) == 0;
    let has = |kind: Kind| kinds & kind.bit() != 0;
    let mut times: Vec<String> = TIMES
        .iter()
        .filter(|kind| has(**kind))
        .filter_map(|kind| kind.time())
        .map(|(name, ..)| format!("%{{{name}}}"))
        .collect();
    times.dedup();
    if only(&TIMES) {
        return if times.len() == 1 { times.concat() } else { format!("(?:{})", times.join("|")) };
    }
    let fixed = [
        (&[Kind::Integer][..], r"\d+"),
        (&[Kind::Integer, Kind::Signed], r"-?\d+"),
        (&[Kind::Integer, Kind::Signed, Kind::Float], r"-?[\d.]+"),
        (&[Kind::Hex, Kind::Integer], "(?:0x)?[0-9A-Fa-f]+"),
        (&[Kind::Uuid], "[0-9A-Fa-f-]{36}"),
        (&[Kind::Ipv4], r"[\d.]+"),
        (&[Kind::Ipv4, Kind::Ipv6], "[0-9A-Fa-f:.]+"),
        (&[Kind::Mac], "[0-9A-Fa-f:]+"),
        (&[Kind::Clock], "[0-9:.,]+"),
        (&[Kind::Date], dates::DATE),
        (&[Kind::Level], r"\w+"),
        (&[Kind::Rest], ".*"),
    ];
    if let Some((_, pattern)) = fixed.iter().find(|(allowed, _)| only(allowed)) {
        return (*pattern).to_owned();
    }
    if has(Kind::Rest) {
        return ".*".to_owned();
    }
    let blanks = [Kind::Quoted, Kind::Apostrophed, Kind::Date];
    match next {
        Some(Slot::Sign('"')) => r#"(?:[^"\\]|\\.)+"#.to_owned(),
        Some(Slot::Sign('\'')) => "[^']+".to_owned(),
        _ if blanks.into_iter().any(has) || !times.is_empty() => ".+?".to_owned(),
        Some(Slot::Sign(sign)) => {
            let signs = [Kind::Url, Kind::Ipv6, Kind::Mac, Kind::Clock, Kind::Path];
            let inside = "_.-@/$%+#~\\*".contains(*sign) || signs.iter().any(|kind| has(*kind));
            if inside || !sign.is_ascii() {
                r"\S+?".to_owned()
            } else {
                format!(r"[^\s{}]+", class_escape(*sign))
            }
        }
        _ => r"\S+".to_owned(),
    }
}

fn class_escape(sign: char) -> String {
    match sign {
        '[' | ']' | '^' | '\\' | '-' | '&' | '~' => format!("\\{sign}"),
        sign => sign.to_string(),
    }
}

/// A literal text in a pattern.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        match c {
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}
