//! Rewriting the names of captures in a pattern.

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

/// The names of all captures.
pub(super) fn names(pattern: &str) -> Vec<String> {
    let mut names = Vec::new();
    rewrite(pattern, |named| {
        names.push(named.name.clone());
        named
    });
    names
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
