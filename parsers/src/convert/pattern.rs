//! Rewriting the names of captures in a pattern.

use std::collections::BTreeMap;

/// A capture as it stands in a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) kind: Option<String>,
}

impl Named {
    fn write(&self) -> String {
        match &self.kind {
            Some(kind) => format!("{}:{kind}", self.name),
            None => self.name.clone(),
        }
    }
}

/// The pattern with every capture (`%{X:name:type}`, `(?<name>`) as `rename` says, and `\<` and `\>`, which
/// ask for the edge of a word here and for the signs elsewhere, as the signs.
pub(super) fn rewrite(pattern: &str, mut rename: impl FnMut(Named) -> Named) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    loop {
        let grok = rest.find("%{").map(|at| (at, "%{", '}'));
        let group = ["(?<", "(?P<"]
            .iter()
            .filter_map(|open| Some((find_group(rest, open)?, *open, '>')))
            .min();
        let next = match (grok, group) {
            (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
            (a, b) => a.or(b),
        };
        let Some((at, open, close)) = next else { break };
        let inside = at + open.len();
        let Some(end) = rest[inside..].find(close).map(|end| inside + end) else { break };
        out.push_str(&rest[..inside]);
        let inner = &rest[inside..end];
        match (close, inner.split_once(':')) {
            ('}', Some((name, field))) => {
                out.push_str(name);
                out.push(':');
                out.push_str(&rename(named(field)).write());
            }
            ('}', None) => out.push_str(inner),
            _ => out.push_str(&rename(named(inner)).write()),
        }
        out.push(close);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    bare_angles(&out)
}

fn bare_angles(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('\\', Some('<' | '>')) => {}
            ('\\', Some(escaped)) => {
                out.extend([c, escaped]);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

/// Where a named group opens: not a look-behind, not escaped.
fn find_group(text: &str, open: &str) -> Option<usize> {
    text.match_indices(open).map(|(at, _)| at).find(|at| {
        let behind = text[at + open.len()..].starts_with(['=', '!']);
        let slashes = text[..*at].bytes().rev().take_while(|b| *b == b'\\').count();
        !behind && slashes % 2 == 0
    })
}

fn named(text: &str) -> Named {
    match text.rsplit_once(':') {
        Some((name, kind)) => Named { name: name.to_owned(), kind: Some(kind.to_owned()) },
        None => Named { name: text.to_owned(), kind: None },
    }
}

/// A capture and where it stands.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) name: String,
    /// The groups around it, by number, and in which alternative of each.
    groups: Vec<(usize, usize)>,
}

impl Capture {
    /// Whether only one of them takes part in a match.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let differs = self.groups.iter().zip(&other.groups).find(|(one, other)| one != other);
        differs.is_some_and(|(one, other)| one.0 == other.0)
    }
}

/// All captures, in the order of the pattern.
pub(super) fn captures(pattern: &str) -> Vec<Capture> {
    let mut out = Vec::new();
    let marked = rewrite(pattern, |named| {
        out.push(Capture { name: named.name, groups: Vec::new() });
        Named { name: "\0".to_owned(), kind: None }
    });
    let mut captures = out.iter_mut();
    let mut groups = vec![(0, 0)];
    let (mut opened, mut in_class) = (0, false);
    let mut chars = marked.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            ']' => in_class = false,
            '[' => in_class = true,
            '\0' => captures.next().into_iter().for_each(|one| one.groups.clone_from(&groups)),
            _ if in_class => {}
            '(' => {
                opened += 1;
                groups.push((opened, 0));
            }
            ')' if groups.len() > 1 => drop(groups.pop()),
            '|' => groups.iter_mut().last().into_iter().for_each(|group| group.1 += 1),
            _ => {}
        }
    }
    out
}

/// The pattern with the definitions in it that capture a field in the place of their names.
pub(super) fn inline(text: &str, field: &str, definitions: &BTreeMap<String, String>) -> String {
    let captures = |text: &str| {
        crate::pattern::expand(text, definitions)
            .is_ok_and(|expanded| expanded.captures.iter().any(|one| one.name == field))
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, (inner, behind))) =
        rest.split_once("%{").and_then(|(a, b)| Some((a, b.split_once('}')?)))
    {
        let (name, capture) = inner.split_once(':').map_or((inner, None), |(a, b)| (a, Some(b)));
        let own = definitions.get(name).map(String::as_str);
        let definition =
            own.or_else(|| crate::grok::definition(name)).filter(|text| captures(text));
        out.push_str(before);
        out.push_str(&match (definition, capture) {
            (None, _) => format!("%{{{inner}}}"),
            (Some(text), None) => format!("(?:{})", inline(text, field, definitions)),
            (Some(text), Some(name)) => {
                format!("(?<{name}>{})", inline(text, field, definitions))
            }
        });
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_renamed_and_the_rest_stays() {
        let upper = |named: Named| Named { name: named.name.to_uppercase(), ..named };
        for (pattern, expected) in [
            ("%{INT:a:int} (?<b>x)%{WORD} (?P<c>y)", "%{INT:A:int} (?<B>x)%{WORD} (?P<C>y)"),
            (r"\(?<a>(?<=x)(?<!y)%{", r"\(?<a>(?<=x)(?<!y)%{"),
            ("é(?<ü", "é(?<ü"),
            (r"\<(?<pri>\d+)\> \\<", r"<(?<PRI>\d+)> \\<"),
        ] {
            assert_eq!(rewrite(pattern, upper), expected);
        }
    }
}
