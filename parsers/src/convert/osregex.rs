//! The expressions of Wazuh and OSSEC (OS_Regex and OS_Match) as ours.
//!
//! Documented in Wazuh's "Regular Expression Syntax": classes are `\w \d \s \t \p \W \D \S \.`, where
//! `\.` is any sign; `+` and `*` repeat a class; `^ $ | ( )` as usual; everything else is itself.

/// One expression: what of it is anchored, and the regex without the anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Whether it begins where the search begins.
    pub(super) anchored: bool,
    /// Groups are `\u{1}` at their beginning, for names to be put in.
    pub(super) regex: String,
}

/// The sign that stands for the beginning of a capturing group.
pub(super) const GROUP: char = '\u{1}';

/// An OS_Regex.
pub(super) fn os_regex(text: &str) -> Part {
    let anchored = text.starts_with('^') && !text.contains('|');
    let body = if anchored { &text[1..] } else { text };
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
            '(' => regex.extend(['(', GROUP]),
            ')' | '|' | '$' | '^' => regex.push(c),
            other => regex.push_str(&crate::suggest::escape(&other.to_string())),
        }
    }
    part(anchored, text, regex)
}

/// An OS_Match: plain texts with `^`, `$` and `|`.
pub(super) fn os_match(text: &str) -> Part {
    let anchored = text.starts_with('^') && !text.contains('|');
    let body = if anchored { &text[1..] } else { text };
    let mut regex = String::new();
    for c in body.chars() {
        match c {
            '|' | '^' | '$' => regex.push(c),
            other => regex.push_str(&crate::suggest::escape(&other.to_string())),
        }
    }
    part(anchored, text, regex)
}

/// A PCRE2 expression: only groups are marked.
pub(super) fn pcre2(text: &str) -> Part {
    let top_level = text.contains('|');
    let anchored = text.starts_with('^') && !top_level;
    let body = if anchored { &text[1..] } else { text };
    let mut regex = String::new();
    let mut chars = body.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        // Here these ask for the edge of a word.
        if c == '\\' && chars.as_str().starts_with(['<', '>']) {
            continue;
        }
        regex.push(c);
        match c {
            '\\' => regex.extend(chars.next()),
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class && !chars.as_str().starts_with('?') => regex.push(GROUP),
            _ => {}
        }
    }
    part(anchored, text, regex)
}

/// `text` is what the regex was made of.
fn part(anchored: bool, text: &str, regex: String) -> Part {
    let regex = if text.contains('|') { format!("(?:{regex})") } else { regex };
    Part { anchored, regex }
}

impl Part {
    /// Nothing at the beginning.
    pub(super) fn start() -> Self {
        Self { anchored: true, regex: String::new() }
    }

    /// `self`, and `next` somewhere behind it, or right behind it if that is anchored.
    pub(super) fn then(&self, next: &Self) -> Self {
        let between =
            if next.anchored || (self.regex.is_empty() && !self.anchored) { "" } else { ".*?" };
        let anchored = self.anchored && (next.anchored || !self.regex.is_empty());
        let between = if self.regex.is_empty() && !next.anchored { "" } else { between };
        Self { anchored, regex: format!("{}{between}{}", self.regex, next.regex) }
    }

    /// The groups as captures of these fields, in order; groups without a field capture nothing.
    pub(super) fn pattern(&self, fields: &[String]) -> String {
        let mut out = String::from(if self.anchored { "^" } else { "" });
        let mut fields = fields.iter();
        for c in self.regex.chars() {
            match c {
                GROUP => match fields.next() {
                    Some(field) => out.push_str(&format!("?<{field}>")),
                    None => out.push_str("?:"),
                },
                c => out.push(c),
            }
        }
        out
    }

    /// Without captures.
    pub(super) fn plain(&self) -> Self {
        Self { anchored: self.anchored, regex: self.regex.replace(GROUP, "?:") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_become_patterns() {
        let fields = ["a".to_owned(), "b".to_owned()];
        for (part, expected) in [
            (
                os_regex(r"^Failed \S+ for (\S+) from (\S+)"),
                r"^Failed \S+ for (?<a>\S+) from (?<b>\S+)",
            ),
            (os_regex(r"(\.+): \.+$"), r"(?<a>.+?): .+$"),
            (
                os_regex(r"a.b[\p] (\w+)"),
                r##"a\.b\[[()*+,.:;<=>?\[\]!"'#$%&|{}-]\] (?<a>[\w@-]+)"##,
            ),
            (os_match("^a|b$"), "(?:^a|b$)"),
            (pcre2(r"^x (?:y|z) ([(]) \((\d+)"), r"(?:^x (?:y|z) (?<a>[(]) \((?<b>\d+))"),
            (pcre2(r"^\<(\d+)\> \\"), r"^<(?<a>\d+)> \\"),
            (os_regex("^one").then(&os_regex(r"^ two (\d)")), r"^one two (?<a>\d)"),
            (os_regex("^one").then(&os_regex(r"two (\d)")), r"^one.*?two (?<a>\d)"),
            (os_regex("one").plain().then(&os_regex(r"^(\d)")), r"one(?<a>\d)"),
            (Part::start().then(&os_regex("x")), "x"),
            (Part::start().then(&os_regex("^x")), "^x"),
        ] {
            assert_eq!(part.pattern(&fields), expected);
        }
    }
}
