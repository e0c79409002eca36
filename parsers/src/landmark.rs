//! What every match of a pattern holds, also where no one literal is in all of them.
//!
//! Signatures of packs are asked of lines of any kind, and those that begin with anything, such as
//! `^\S.*? \S+ [^\[]*\[\d\d/[A-Z][a-z]{2}/\d{4}:`, read much of a line before they say no. But a match
//! holds one of a few *landmarks*: places of known bytes side by side, some of which are a literal.
//! Looking for the literals costs little, and then nothing of the kind is mostly found.
//!
//! Owns one promise: a text that matches holds one of the landmarks.

use crate::span::ByteSet;
use memchr::memmem::Finder;
use regex_syntax::hir::{Class, Hir, HirKind};
use std::cmp::Reverse;

/// More landmarks than this cost as much as what they spare.
const LANDMARKS_MAX: usize = 6;
/// A longer one tells no more.
const PLACES_MAX: usize = 32;
/// Shorter literals stand everywhere.
const LITERAL_BYTES_MIN: usize = 3;
/// Longer literals are no seldomer.
const LITERAL_BYTES_ENOUGH: usize = 4;

/// A literal with what can stand around it.
#[derive(Debug)]
pub(crate) struct Landmark {
    literal: Finder<'static>,
    before: Vec<ByteSet>,
    behind: Vec<ByteSet>,
}

/// What can stand at some places side by side.
type Places = Vec<ByteSet>;

impl Landmark {
    /// Those of a pattern; none if it is not known to hold any.
    pub(crate) fn all_of(hir: &Hir) -> Vec<Self> {
        best(hir).map_or_else(Vec::new, |any| any.iter().map(|places| Self::new(places)).collect())
    }

    fn new(places: &[ByteSet]) -> Self {
        let (start, end) = literal(places);
        let bytes: Vec<u8> = places[start..end].iter().flat_map(ByteSet::bytes).collect();
        Self {
            literal: Finder::new(&bytes).into_owned(),
            before: places[..start].to_vec(),
            behind: places[end..].to_vec(),
        }
    }

    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| self.literal.find(rest)) {
            let (before, rest) = text.split_at(from + at);
            let behind = &rest[self.literal.needle().len()..];
            let fit = |sets: &[ByteSet], bytes: &[u8]| {
                sets.iter().zip(bytes).all(|(set, byte)| set.contains(*byte))
            };
            let begins = before.len().checked_sub(self.before.len());
            if begins.is_some_and(|begins| fit(&self.before, &before[begins..]))
                && behind.len() >= self.behind.len()
                && fit(&self.behind, behind)
            {
                return true;
            }
            from += at + 1;
        }
        false
    }
}

/// The places of which every match holds one; `None` if there are none that tell enough.
fn best(hir: &Hir) -> Option<Vec<Places>> {
    let found = match hir.kind() {
        HirKind::Capture(capture) => best(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => best(&repetition.sub),
        HirKind::Alternation(branches) => {
            branches.iter().map(best).collect::<Option<Vec<_>>>().map(|all| all.concat())
        }
        HirKind::Concat(parts) => of_parts(parts),
        _ => None,
    };
    let whole = fixed(hir).into_iter();
    whole.chain(found).filter(|any| tells(any)).max_by_key(|any| worth(any))
}

/// The best of what stands side by side in a sequence, and of each part alone.
fn of_parts(parts: &[Hir]) -> Option<Vec<Places>> {
    let (mut all, mut open) = (Vec::new(), vec![Places::new()]);
    for part in parts {
        let fixed = fixed(part);
        match fixed.as_ref().and_then(|fixed| product(&open, fixed)) {
            Some(longer) => open = longer,
            None => {
                all.extend(best(part));
                all.push(std::mem::replace(&mut open, fixed.unwrap_or(vec![Places::new()])));
            }
        }
    }
    all.push(open);
    all.into_iter().filter(|any| tells(any)).max_by_key(|any| worth(any))
}

/// The sequences of which a match is one, if they are few and short.
fn fixed(hir: &Hir) -> Option<Vec<Places>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(vec![Places::new()]),
        HirKind::Literal(literal) if literal.0.len() <= PLACES_MAX => {
            Some(vec![literal.0.iter().map(|byte| ByteSet::of(*byte)).collect()])
        }
        HirKind::Class(Class::Bytes(class)) => {
            let mut set = ByteSet::default();
            class.iter().for_each(|range| set.insert_range(range.start(), range.end()));
            Some(vec![vec![set]])
        }
        HirKind::Capture(capture) => fixed(&capture.sub),
        HirKind::Repetition(repetition)
            if repetition.max == Some(repetition.min) && repetition.min as usize <= PLACES_MAX =>
        {
            let once = fixed(&repetition.sub)?;
            (0..repetition.min).try_fold(vec![Places::new()], |all, _| product(&all, &once))
        }
        HirKind::Alternation(branches) => {
            let all = branches.iter().map(fixed).collect::<Option<Vec<_>>>()?.concat();
            (all.len() <= LANDMARKS_MAX).then_some(all)
        }
        HirKind::Concat(parts) => {
            parts.iter().try_fold(vec![Places::new()], |all, part| product(&all, &fixed(part)?))
        }
        _ => None,
    }
}

/// Each of the one followed by each of the other, if they are few and short.
fn product(one: &[Places], other: &[Places]) -> Option<Vec<Places>> {
    let both = one.iter().flat_map(|first| other.iter().map(move |then| [&**first, then].concat()));
    let all: Vec<Places> = both.take(LANDMARKS_MAX + 1).collect();
    let few = all.len() <= LANDMARKS_MAX && all.iter().all(|places| places.len() <= PLACES_MAX);
    few.then_some(all)
}

/// Where the longest literal among the places begins and ends.
fn literal(places: &[ByteSet]) -> (usize, usize) {
    let mut longest = (0, 0);
    let mut start = 0;
    for (at, set) in places.iter().enumerate() {
        if set.len() != 1 {
            start = at + 1;
        } else if at + 1 - start > longest.1 - longest.0 {
            longest = (start, at + 1);
        }
    }
    longest
}

fn shortest_literal(any: &[Places]) -> usize {
    let lengths = any.iter().map(|places| literal(places)).map(|(start, end)| end - start);
    lengths.min().unwrap_or(0)
}

fn tells(any: &[Places]) -> bool {
    any.len() <= LANDMARKS_MAX && shortest_literal(any) >= LITERAL_BYTES_MIN
}

/// Long literals, few landmarks, many places.
fn worth(any: &[Places]) -> (usize, Reverse<usize>, usize) {
    let places = any.iter().map(Vec::len).min().unwrap_or(0);
    (shortest_literal(any).min(LITERAL_BYTES_ENOUGH), Reverse(any.len()), places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::bytes::RegexBuilder;

    fn landmarks(pattern: &str) -> Vec<Landmark> {
        let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
        Landmark::all_of(&parser.parse(pattern).unwrap())
    }

    #[test]
    fn literals_with_what_stands_around_them_are_landmarks() {
        for (pattern, held, others) in [
            (
                r#"^(?:\{.*"(?:body|user)" ?:|\S.*? \[\d{2}/\d{4}:\d{2}\] ")"#,
                &[r#"x"user"y"#, r#"x [22/2026:10] ""#][..],
                &["", r#""us er""#, r#" [22/2026:1] ""#, r#"2/2026:10] ""#][..],
            ),
            (r"^(?:\S+ )?\S+ (?:TR|WF) ", &["a TR b", " WF "], &["TR b", "a TRb", " WF"]),
            (r"a\d+(?:xy){2}z*", &["xyxy"], &["xy", "xy xy"]),
            (r":::\d", &["::::1", ":::1"], &[":::", ":::x"]),
        ] {
            let landmarks = landmarks(pattern);
            assert!(!landmarks.is_empty(), "{pattern}");
            let held_by = |text: &str| landmarks.iter().any(|mark| mark.is_in(text.as_bytes()));
            assert!(held.iter().all(|text| held_by(text)), "{pattern}");
            assert!(others.iter().all(|text| !held_by(text)), "{pattern}");
        }
    }

    #[test]
    fn what_holds_no_literal_has_none() {
        for pattern in ["a", r"\d{4}", "ab", "(?:abc)?", "(?:abc|d)", "(?:abc)*", "(?i:abc)"] {
            assert!(landmarks(pattern).is_empty(), "{pattern}");
        }
    }

    #[test]
    fn what_matches_holds_a_landmark() {
        let patterns = [
            r"(?:abc|cda)(?:\d|x)[a-c]{2}",
            r"^(?:ab c|\d.*cda) ?x",
            r"abc(?:c|d|)(?:x|ab)\d",
            r"(?:abc[cd]+)+x|^cda.*abc",
            r"\babc\d(?:ab|c){1,2}$",
            r"[a-d]{3}abc[a-d]\d",
        ];
        let parts = ["abc", "cda", "ab", "c", "a", "x", " ", "1", "22"];
        let mut state = 1_u32;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as usize % below
        };
        let mut matched = 0;
        for pattern in patterns {
            let regex = RegexBuilder::new(pattern).unicode(false).build().unwrap();
            let landmarks = landmarks(pattern);
            assert!(!landmarks.is_empty(), "{pattern}");
            for _ in 0..10_000 {
                let text: Vec<&str> = (0..draw(9)).map(|_| parts[draw(parts.len())]).collect();
                let text = text.concat();
                if regex.is_match(text.as_bytes()) {
                    matched += 1;
                    let held = landmarks.iter().any(|mark| mark.is_in(text.as_bytes()));
                    assert!(held, "{pattern} {text}");
                }
            }
        }
        assert!(matched > 500, "{matched}");
    }
}
