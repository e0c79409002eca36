//! The expressions of Wazuh and OSSEC (OS_Regex and OS_Match) as ours.
//!
//! Documented in Wazuh's "Regular Expression Syntax": classes are `\w \d \s \t \p \W \D \S \.`, where
//! `\.` is any sign; `+` and `*` repeat a class; `^ $ | ( )` as usual; everything else is itself.

/// One expression: what of it is anchored, and the regex without the anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Whether it begins where the search begins.
    pub(super) anchored: bool,
    pub(super) regex: String,
}

/// An OS_Regex whose groups capture `fields`; each alternative counts its groups anew.
pub(super) fn os_regex(text: &str, fields: &[String]) -> Part {
    let alternatives = split(text, false).into_iter().map(|text| {
        let (anchored, body) = anchor(text);
        Part { anchored, regex: os_regex_body(body, fields) }
    });
    Part::any(alternatives.collect())
}

fn os_regex_body(body: &str, fields: &[String]) -> String {
    let mut fields = fields.iter();
    let chars: Vec<char> = body.chars().collect();
    let mut regex = String::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        at += 1;
        match c {
            '\\' => {
                let Some(next) = chars.get(at) else { break };
                at += 1;
                let class = match next {
                    'w' => r"[\w@-]",
                    'd' => r"\d",
                    's' => " ",
                    't' => r"\t",
                    'p' => r##"[()*+,.:;<=>?\[\]!"'#$%&|{}-]"##,
                    'W' => r"[^\w@-]",
                    'D' => r"\D",
                    'S' => r"\S",
                    '.' => ".",
                    other => {
                        regex.push_str(&crate::suggest::escape(&other.to_string()));
                        continue;
                    }
                };
                regex.push_str(class);
                if let Some(sign @ ('+' | '*')) = chars.get(at) {
                    at += 1;
                    regex.push(*sign);
                    // It stops as soon as what follows fits; at the end it takes all.
                    let last = chars[at..].iter().all(|c| matches!(c, ')' | '$'));
                    if *next == '.' && !last {
                        regex.push('?');
                    }
                }
            }
            '(' => regex.push_str(&group(fields.next())),
            ')' | '|' | '$' | '^' => regex.push(c),
            other => regex.push_str(&crate::suggest::escape(&other.to_string())),
        }
    }
    regex
}

/// An OS_Match: plain texts with `^`, `$` and `|`.
pub(super) fn os_match(text: &str) -> Part {
    let alternatives = text.split('|').map(|text| {
        let (anchored, body) = anchor(text);
        let (body, end) = body.strip_suffix('$').map_or((body, ""), |body| (body, "$"));
        Part { anchored, regex: format!("{}{end}", crate::suggest::escape(body)) }
    });
    Part::any(alternatives.collect())
}

/// A PCRE2 expression whose groups, named or not, capture `fields`.
pub(super) fn pcre2(text: &str, fields: &[String]) -> Part {
    let (flags, text) = flags(text).unwrap_or(("", text));
    let mut fields = fields.iter();
    let alternatives = split(text, true).into_iter().map(|text| {
        let (anchored, body) = anchor(text);
        Part { anchored, regex: pcre2_body(body, &mut fields) }
    });
    let all = Part::any(alternatives.collect());
    if flags.is_empty() { all } else { Part { regex: format!("(?{flags}:{})", all.regex), ..all } }
}

/// `(?i)` in front of an expression.
fn flags(text: &str) -> Option<(&str, &str)> {
    let (flags, rest) = text.strip_prefix("(?")?.split_once(')')?;
    // With `x`, a comment may run to the end.
    flags.bytes().all(|b| b"imsU-".contains(&b)).then_some((flags, rest))
}

fn pcre2_body<'f>(body: &str, fields: &mut impl Iterator<Item = &'f String>) -> String {
    let mut regex = String::new();
    let mut rest = body;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            // Here these ask for the edge of a word.
            '\\' if rest.starts_with(['<', '>']) => {}
            '\\' => {
                let end = rest.chars().next().map_or(0, char::len_utf8);
                regex.push(c);
                regex.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            '(' if !in_class && !rest.starts_with(['?', '*']) => {
                regex.push_str(&group(fields.next()));
            }
            '(' if !in_class && let Some(inner) = named(rest) => {
                regex.push_str(&group(fields.next()));
                rest = inner;
            }
            c => {
                in_class = match c {
                    '[' => true,
                    ']' => false,
                    _ => in_class,
                };
                regex.push(c);
            }
        }
    }
    regex
}

/// What stands in a named group, behind its name.
fn named(text: &str) -> Option<&str> {
    let name = ["?<", "?P<", "?'"].iter().find_map(|open| text.strip_prefix(open))?;
    let (_, inner) = name.split_once(['>', '\'']).filter(|_| !name.starts_with(['=', '!']))?;
    Some(inner)
}

fn group(field: Option<&String>) -> String {
    field.map_or("(?:".to_owned(), |field| format!("(?<{field}>"))
}

fn anchor(text: &str) -> (bool, &str) {
    text.strip_prefix('^').map_or((false, text), |body| (true, body))
}

/// The alternatives of an expression that stand in no group, and in no class if there are `classes`.
fn split(text: &str, classes: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth, mut in_class, mut escaped) = (0, 0_usize, false, false);
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match c {
            '\\' => escaped = true,
            ']' => in_class = false,
            _ if in_class => {}
            '[' => in_class = classes,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl Part {
    /// Nothing at the beginning.
    pub(super) fn start() -> Self {
        Self { anchored: true, regex: String::new() }
    }

    /// The first of `parts` that matches: where only some begin where the search begins, the others
    /// are looked for from there.
    pub(super) fn any(mut parts: Vec<Self>) -> Self {
        parts.dedup();
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let anchored = parts.iter().any(|part| part.anchored);
        let of = |part: &Self| match part.anchored {
            false if anchored => format!(".*?{}", part.regex),
            _ => part.regex.clone(),
        };
        let all: Vec<String> = parts.iter().map(of).collect();
        Self { anchored, regex: format!("(?:{})", all.join("|")) }
    }

    /// `self`, and `next` somewhere behind it, or right behind it if that is anchored.
    pub(super) fn then(&self, next: &Self) -> Self {
        if self.regex.is_empty() && self.anchored {
            return next.clone();
        }
        Self { anchored: self.anchored, regex: format!("{}{}", self.regex, next.behind()) }
    }

    /// `self`, and `next` behind it if it is there.
    pub(super) fn maybe(&self, next: &Self) -> Self {
        Self { anchored: self.anchored, regex: format!("{}(?:{})?", self.regex, next.behind()) }
    }

    fn behind(&self) -> String {
        format!("{}{}", if self.anchored { "" } else { ".*?" }, self.regex)
    }

    pub(super) fn pattern(&self) -> String {
        format!("{}{}", if self.anchored { "^" } else { "" }, self.regex)
    }

    /// Whether it asks for the beginning of the text elsewhere than at its own.
    pub(super) fn asks_for_start(&self) -> bool {
        self.regex.replace(r"\^", "").replace("[^", "").contains('^')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_become_patterns() {
        let fields = ["a".to_owned(), "b".to_owned()];
        let os = |text: &str| os_regex(text, &fields);
        let plain = |text: &str| os_regex(text, &[]);
        let pcre = |text: &str| pcre2(text, &fields);
        for (part, expected) in [
            (os(r"^Failed \S+ for (\S+) from (\S+)"), r"^Failed \S+ for (?<a>\S+) from (?<b>\S+)"),
            (os(r"(\.+): \.+$"), r"(?<a>.+?): .+$"),
            (os(r"a.b[\p] (\w+)"), r##"a\.b\[[()*+,.:;<=>?\[\]!"'#$%&|{}-]\] (?<a>[\w@-]+)"##),
            (os(r"^in (\d)|^out (\d)"), r"^(?:in (?<a>\d)|out (?<a>\d))"),
            (os(r"^x (\d)|y\|(\d)"), r"^(?:x (?<a>\d)|.*?y\|(?<a>\d))"),
            (os_match("^a|b$"), "^(?:a|.*?b$)"),
            (pcre(r"^x (?:y|z) ([(]) \((\d+)"), r"^x (?:y|z) (?<a>[(]) \((?<b>\d+)"),
            (pcre(r"(\d)|([|])"), r"(?:(?<a>\d)|(?<b>[|]))"),
            (pcre(r"(?i)^x(?<n>\d)(?:z)(?'m'y)"), r"^(?i:x(?<a>\d)(?:z)(?<b>y))"),
            (pcre(r"^\<(\d+)\> \\"), r"^<(?<a>\d+)> \\"),
            (plain("^one").then(&os(r"^ two (\d)")), r"^one two (?<a>\d)"),
            (plain("^one").then(&os(r"two (\d)")), r"^one.*?two (?<a>\d)"),
            (plain("^a|^b").then(&os(r"^ (\d)|^=(\d)")), r"^(?:a|b)(?: (?<a>\d)|=(?<a>\d))"),
            (plain("one(\\d)").then(&os(r"^(\d)")), r"one(?:\d)(?<a>\d)"),
            (plain("one").maybe(&os(r"(\d)")).maybe(&os("^x")), r"one(?:.*?(?<a>\d))?(?:x)?"),
            (Part::start().then(&plain("x")), "x"),
            (Part::start().then(&plain("^x")), "^x"),
        ] {
            assert_eq!(part.pattern(), expected);
        }
    }
}
