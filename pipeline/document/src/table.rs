//! Taking a mapping apart: each key is asked for with its type; what was not asked for is unknown.

use crate::diagnostic::Faults;
use crate::nearest::nearest;
use crate::node::{Key, Node, Span, Style, Value};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// As what a key is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// The one who asks looks at it himself.
    Any,
    Text,
    Boolean,
    Integer(RangeInclusive<u64>),
    Duration(RangeInclusive<Duration>),
    /// In bytes.
    Size(RangeInclusive<u64>),
    Choice(Vec<String>),
    Texts,
    List,
    Section,
}

/// No bound.
pub const DURATION_MAX: Duration = Duration::MAX;

/// One mapping of a document while it is being read. Every getter notes a fault and returns `None`
/// when the value is of another type, so that all faults of a document come out together; call
/// [`Table::finish`] last, for the unknown keys.
#[derive(Debug)]
pub struct Table<'n> {
    entries: &'n [(Key, Node)],
    asked: Vec<(String, Shape)>,
    span: Span,
    /// What this section is called in messages, such as `kafka` or `sources[2]`.
    path: String,
}

impl<'n> Table<'n> {
    /// Opens `node` as a mapping; nothing (an empty section) counts as an empty one.
    pub fn open(node: &'n Node, path: impl Into<String>, faults: &mut Faults) -> Option<Self> {
        let path = path.into();
        let entries: &[(Key, Node)] = match &node.value {
            Value::Mapping(entries) => entries,
            Value::Scalar(_) if node.is_null() => &[],
            _ => {
                let shown =
                    if path.is_empty() { "the document".into() } else { format!("`{path}`") };
                let fault =
                    faults.error(node.span, format!("{shown} is {}, not a mapping", node.kind()));
                fault.remedy = Some("write `key: value` lines".into());
                return None;
            }
        };
        Some(Self { entries, asked: Vec::new(), span: node.span, path })
    }

    /// Where the mapping begins.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The entries themselves, for mappings whose keys are the user's own.
    #[must_use]
    pub fn entries(&self) -> &'n [(Key, Node)] {
        self.entries
    }

    /// Notes as what a key is asked for; what is said first holds, but for [`Shape::Any`].
    fn ask(&mut self, name: &str, shape: Shape) {
        match self.asked.iter_mut().find(|(asked, _)| asked == name) {
            Some((_, known)) if *known == Shape::Any => *known = shape,
            Some(_) => {}
            None => self.asked.push((name.to_owned(), shape)),
        }
    }

    /// The node under `name`, if it is there and not empty.
    pub fn node(&mut self, name: &str) -> Option<&'n Node> {
        self.ask(name, Shape::Any);
        let (_, node) = self.entries.iter().find(|(key, _)| key.name == name)?;
        (!node.is_null()).then_some(node)
    }

    /// As [`Table::node`], and a fault if it is missing.
    pub fn required(&mut self, name: &str, faults: &mut Faults) -> Option<&'n Node> {
        let node = self.node(name);
        if node.is_none() {
            let of =
                if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
            faults.error(self.span, format!("missing `{name}`{of}")).remedy =
                Some(format!("add a line `{name}: …`"));
        }
        node
    }

    pub fn string(&mut self, name: &str, faults: &mut Faults) -> Option<&'n str> {
        self.ask(name, Shape::Text);
        let node = self.node(name)?;
        self.scalar(name, node, faults)
    }

    pub fn required_string(&mut self, name: &str, faults: &mut Faults) -> Option<&'n str> {
        self.ask(name, Shape::Text);
        let node = self.required(name, faults)?;
        self.scalar(name, node, faults)
    }

    /// A path that must be there; an empty one would be the directory that the process happens to be in.
    pub fn required_path(&mut self, name: &str, faults: &mut Faults) -> Option<PathBuf> {
        let text = self.required_string(name, faults)?;
        if text.is_empty() {
            let span = self.node(name).map_or(self.span, |node| node.span);
            faults.error(span, format!("`{name}` is empty")).remedy = Some("name a path".into());
            return None;
        }
        Some(text.into())
    }

    fn scalar(&self, name: &str, node: &'n Node, faults: &mut Faults) -> Option<&'n str> {
        if node.text().is_none() {
            self.wrong(name, node, "a text", faults);
        }
        node.text()
    }

    /// `true` or `false`, unquoted.
    pub fn boolean(&mut self, name: &str, faults: &mut Faults) -> Option<bool> {
        self.ask(name, Shape::Boolean);
        let node = self.node(name)?;
        match &node.value {
            Value::Scalar(s) if s.style == Style::Plain && s.text == "true" => Some(true),
            Value::Scalar(s) if s.style == Style::Plain && s.text == "false" => Some(false),
            _ => {
                self.wrong(name, node, "`true` or `false`", faults);
                None
            }
        }
    }

    /// A whole number within `range`; `_` may group digits.
    pub fn integer(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
        faults: &mut Faults,
    ) -> Option<u64> {
        self.ask(name, Shape::Integer(range.clone()));
        let node = self.node(name)?;
        let number = node.text().and_then(|text| text.replace('_', "").parse::<u64>().ok());
        match number {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                let wanted = format!("a whole number from {} to {}", range.start(), range.end());
                self.wrong(name, node, &wanted, faults);
                None
            }
        }
    }

    /// A duration such as `250ms`, `10s`, `5m`, `2h`, `7d`.
    pub fn duration(&mut self, name: &str, faults: &mut Faults) -> Option<Duration> {
        self.duration_within(name, Duration::ZERO..=DURATION_MAX, faults)
    }

    /// A duration within `range`.
    pub fn duration_within(
        &mut self,
        name: &str,
        range: RangeInclusive<Duration>,
        faults: &mut Faults,
    ) -> Option<Duration> {
        self.ask(name, Shape::Duration(range.clone()));
        let node = self.node(name)?;
        let duration = node.text().and_then(parse_duration);
        match duration {
            None => {
                let wanted = "a duration such as `250ms`, `10s`, `5m`, `2h` or `7d`";
                self.wrong(name, node, wanted, faults);
            }
            Some(duration) if !range.contains(&duration) => {
                let bounds = bounds(&range, Duration::ZERO, DURATION_MAX, show_duration);
                self.wrong(name, node, &format!("a duration {bounds}"), faults);
            }
            Some(_) => {}
        }
        duration.filter(|duration| range.contains(duration))
    }

    /// A number of bytes such as `4096`, `64KiB`, `8MiB`, `1GiB`.
    pub fn byte_size(&mut self, name: &str, faults: &mut Faults) -> Option<u64> {
        self.byte_size_within(name, 0..=u64::MAX, faults)
    }

    /// A number of bytes within `range`.
    pub fn byte_size_within(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
        faults: &mut Faults,
    ) -> Option<u64> {
        self.ask(name, Shape::Size(range.clone()));
        let node = self.node(name)?;
        let size = node.text().and_then(parse_byte_size);
        match size {
            None => {
                let wanted = "a size such as `4096`, `64KiB`, `8MiB` or `1GiB`";
                self.wrong(name, node, wanted, faults);
            }
            Some(size) if !range.contains(&size) => {
                let bounds = bounds(&range, 0, u64::MAX, show_byte_size);
                self.wrong(name, node, &format!("a size {bounds}"), faults);
            }
            Some(_) => {}
        }
        size.filter(|size| range.contains(size))
    }

    /// One of `words`, by its index.
    pub fn choice(&mut self, name: &str, words: &[&str], faults: &mut Faults) -> Option<usize> {
        self.ask(name, Shape::Choice(words.iter().map(|word| (*word).to_owned()).collect()));
        let node = self.node(name)?;
        let found = node.text().and_then(|text| words.iter().position(|word| *word == text));
        if found.is_none() {
            let list = words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
            self.wrong(name, node, &format!("one of {list}"), faults);
        }
        found
    }

    /// A list of texts with their places; a single text counts as a list of one.
    pub fn strings(&mut self, name: &str, faults: &mut Faults) -> Option<Vec<(&'n str, Span)>> {
        let nodes = self.texts(name, faults)?;
        Some(nodes.into_iter().filter_map(|node| Some((node.text()?, node.span))).collect())
    }

    /// As [`Table::strings`], as they stand in the document.
    pub fn texts(&mut self, name: &str, faults: &mut Faults) -> Option<Vec<&'n Node>> {
        self.ask(name, Shape::Texts);
        let node = self.node(name)?;
        if node.text().is_some() {
            return Some(vec![node]);
        }
        let Value::Sequence(items) = &node.value else {
            self.wrong(name, node, "a list of texts", faults);
            return None;
        };
        let (texts, others): (Vec<_>, Vec<_>) =
            items.iter().partition(|item| item.text().is_some());
        others.into_iter().for_each(|item| self.wrong(name, item, "a text", faults));
        Some(texts)
    }

    /// The items of a list.
    pub fn sequence(&mut self, name: &str, faults: &mut Faults) -> Option<&'n [Node]> {
        self.ask(name, Shape::List);
        let node = self.node(name)?;
        match &node.value {
            Value::Sequence(items) => Some(items),
            _ => {
                self.wrong(name, node, "a list", faults);
                None
            }
        }
    }

    /// A section: a mapping under `name`.
    pub fn table(&mut self, name: &str, faults: &mut Faults) -> Option<Table<'n>> {
        let path = self.child(name);
        self.ask(name, Shape::Section);
        let node = self.node(name)?;
        Table::open(node, path, faults)
    }

    /// Notes a fault for every key that was not asked for, with the name that it has here, or the
    /// nearest one that was asked for.
    pub fn finish(self, faults: &mut Faults) {
        for (key, _) in self.entries {
            let asked = || self.asked.iter().map(|(name, _)| name.as_str());
            if asked().any(|name| name == key.name) {
                continue;
            }
            let of =
                if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
            let renamed = faults.renamed(&self.path, &key.name);
            let near = || nearest(&key.name, asked()).map(|name| format!("did you mean `{name}`?"));
            let known = || {
                let mut names: Vec<&str> = asked().collect();
                names.sort_unstable();
                format!("known keys: {}", names.join(", "))
            };
            let remedy = renamed.map(|name| format!("it is called `{name}` here"));
            let remedy = remedy.or_else(near).unwrap_or_else(known);
            faults.error(key.span, format!("unknown key `{}`{of}", key.name)).remedy = Some(remedy);
        }
        faults.note_asked(&self.path, self.asked);
    }

    /// As [`Table::finish`], where somebody else reads the keys that were not asked for.
    pub fn leave_others(self, faults: &mut Faults) {
        faults.note_asked(&self.path, self.asked);
    }

    fn child(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn wrong(&self, name: &str, node: &Node, wanted: &str, faults: &mut Faults) {
        let got = node.text().map_or_else(|| node.kind().to_owned(), |text| format!("`{text}`"));
        faults.error(node.span, format!("`{}` is {got}", self.child(name))).remedy =
            Some(format!("write {wanted}"));
    }
}

/// Reads `250ms`, `10s`, `5m`, `2h`, `7d`, and sums such as `1h30m`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit_len =
            rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let factor_ms: u64 = match &rest[digits..digits + unit_len] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(factor_ms)?))?;
        rest = &rest[digits + unit_len..];
    }
    Some(total)
}

/// A duration as [`parse_duration`] reads it, in the largest unit that is exact.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    match units.iter().find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// A size as [`parse_byte_size`] reads it, in the largest binary unit that is exact.
#[must_use]
pub fn show_byte_size(size: u64) -> String {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| size > 0 && size.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", size / unit),
        None => size.to_string(),
    }
}

/// What `range` says in words; ends at `least` and `most` are no bounds.
pub(crate) fn bounds<T: PartialEq + Copy>(
    range: &RangeInclusive<T>,
    least: T,
    most: T,
    show: impl Fn(T) -> String,
) -> String {
    let (start, end) = (*range.start(), *range.end());
    match (start == least, end == most) {
        (true, true) => String::new(),
        (false, true) => format!("of at least {}", show(start)),
        (true, false) => format!("of at most {}", show(end)),
        (false, false) => format!("from {} to {}", show(start), show(end)),
    }
}

/// Reads `4096`, `64KiB`, `8MiB`, `1GiB`, and the decimal `kB`, `MB`, `GB`.
#[must_use]
pub fn parse_byte_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let number: u64 = text[..digits].replace('_', "").parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" | "T" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Severity, parse, render_all};

    #[test]
    fn every_fault_of_a_document_is_reported_with_its_place() {
        let text = "lingr_ms: 5\nbatch: [1]\nflag: \"true\"\nwait: 5x\nsize: 8MiB\n";
        let document = parse("agent.yaml", text).unwrap();
        let mut faults = Faults::new(document.source.clone());
        let mut table = Table::open(&document.root, "", &mut faults).unwrap();
        table.integer("linger_ms", 0..=10, &mut faults);
        table.string("batch", &mut faults);
        table.boolean("flag", &mut faults);
        table.duration("wait", &mut faults);
        assert_eq!(table.byte_size("size", &mut faults), Some(8 << 20));
        table.required_string("name", &mut faults);
        table.finish(&mut faults);
        let list = faults.into_list();
        let shown = render_all(&list, false);
        for expected in [
            "agent.yaml:1:1: error: unknown key `lingr_ms`\n",
            "  help: did you mean `linger_ms`?",
            "agent.yaml:2:8: error: `batch` is a list",
            "agent.yaml:3:7: error: `flag` is `true`",
            "agent.yaml:4:7: error: `wait` is `5x`",
            "missing `name`",
            " 4 | wait: 5x\n   |       ^^\n",
            "5 errors\n",
        ] {
            assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
        }
        assert!(list.iter().all(|fault| fault.severity == Severity::Error));
    }

    #[test]
    fn syntax_faults_and_duplicates_name_their_place() {
        for (text, line, part) in [
            ("a: 1\na: 2\n", 2, "duplicate key `a`"),
            ("a: [1\nb: 2\n", 2, "not YAML"),
            ("a: 1\nb: x\n\tc: 1\n", 3, "tab"),
            ("a:\n\t- b\n", 2, "tab"),
            ("a: *x\n", 1, ""),
        ] {
            let fault = parse("f.yaml", text).unwrap_err();
            assert_eq!(fault.line, line, "{text:?}: {fault:?}");
            assert!(fault.message.contains(part), "{text:?}: {fault:?}");
        }
    }

    #[test]
    fn nested_aliases_are_refused_before_they_fill_the_memory() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..10 {
            let refs = vec![format!("*a{}", level - 1); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
        }
        assert!(parse("bomb.yaml", &text).unwrap_err().message.contains("nodes"));
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("5"), None);
        assert_eq!(parse_duration(""), None);
        assert_eq!(parse_byte_size("64KiB"), Some(65536));
        assert_eq!(parse_byte_size("1_000"), Some(1000));
        assert_eq!(parse_byte_size("12x"), None);
    }
}
