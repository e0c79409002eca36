//! What the first bytes of a match can be.
//!
//! A pattern that must begin at the start of the text has a *head*: for each of the first places the
//! bytes that can stand there, such as `\d\d/[A-Z]…` of a date. Patterns without a literal that is
//! worth an index nearly all have one; [`crate::decide`] tells those of many patterns apart.
//!
//! Owns one promise: what matches fits one of the heads.

use crate::span::ByteSet;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// The places that are looked at; dates take 24, and what follows them tells most.
pub(crate) const PLACES: usize = 32;
/// More alternatives than this are not told apart.
const ALTERNATIVES_MAX: usize = 16;

/// What can stand at each of the first places of a match, up to where one can end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head(Vec<ByteSet>);

impl Head {
    /// The heads of a pattern, one for each alternative: a match begins at the start of the text with
    /// one of them. `None` if matches may begin elsewhere.
    pub(crate) fn all_of(hir: &Hir) -> Option<Vec<Self>> {
        let anchored = hir.properties().look_set_prefix().contains(Look::Start);
        anchored.then(|| alternatives(hir).iter().map(|parts| Self::of(parts)).collect())
    }

    /// Of texts that begin with `literal`.
    pub(crate) fn literal(literal: &[u8]) -> Self {
        Self(literal.iter().take(PLACES).map(|byte| ByteSet::of(*byte)).collect())
    }

    /// What can stand at a place; `None` where a match can have ended.
    pub(crate) fn at(&self, place: usize) -> Option<&ByteSet> {
        self.0.get(place)
    }

    /// Of what begins at the start with these, one behind the other.
    pub(crate) fn of(parts: &[&Hir]) -> Self {
        let mut sets = [ByteSet::default(); PLACES];
        let ends = parts.iter().fold(1, |starts, part| walk(part, starts, &mut sets));
        // Thousands of them are kept: each as long as it is.
        Self(sets[..PLACES.min(ends.trailing_zeros() as usize)].to_vec())
    }

    /// Whether few texts of other kinds begin so: it tells as much as three bytes.
    pub(crate) fn is_selective(&self) -> bool {
        self.0.iter().map(|set| 8 - set.len().max(1).ilog2()).sum::<u32>() >= 3 * 8
    }

    /// Whether some text begins as both say.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| mine.overlaps(theirs))
    }

    /// Whether `text` begins so.
    pub(crate) fn fits(&self, text: &[u8]) -> bool {
        self.0.len() <= text.len() && self.0.iter().zip(text).all(|(set, byte)| set.contains(*byte))
    }
}

/// Kinds of bytes that are told apart in a [`Sketch`].
const KINDS: usize = 8;

const fn kind(byte: u8) -> usize {
    match byte {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => 1,
        b'a'..=b'z' => 2,
        b' ' | b'\t' => 3,
        b'-' => 4,
        b':' | b'.' => 5,
        b'[' | b'<' | b'(' | b'{' | b'|' | b'"' => 6,
        _ => 7,
    }
}

/// Of what kinds the first bytes of a text are: for each kind one bit for each place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sketch {
    kinds: [Places; KINDS],
    len: usize,
}

impl Sketch {
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut kinds = [0; KINDS];
        for (at, byte) in text.iter().take(PLACES).enumerate() {
            kinds[kind(*byte)] |= 1 << at;
        }
        Self { kinds, len: text.len() }
    }
}

/// What heads of one pattern do not allow, of the kinds of bytes: a text that fits one of them is allowed. It
/// is small, where heads of many patterns would not fit the cache.
#[derive(Debug)]
pub(crate) struct Outlines {
    /// What none of them allows.
    all: Outline,
    each: Box<[Outline]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outline {
    forbidden: [Places; KINDS],
    len: usize,
}

impl Outlines {
    /// `None`: there are no heads.
    pub(crate) fn of(heads: &[Head]) -> Option<Self> {
        let mut each: Vec<Outline> = Vec::new();
        for outline in heads.iter().map(Outline::of) {
            if !each.contains(&outline) {
                each.push(outline);
            }
        }
        let all = each.iter().copied().reduce(Outline::both)?;
        Some(Self { all, each: each.into() })
    }

    /// Whether a text may fit one of the heads.
    pub(crate) fn allow(&self, text: &Sketch) -> bool {
        self.all.allows(text) && self.each.iter().any(|outline| outline.allows(text))
    }
}

impl Outline {
    fn of(head: &Head) -> Self {
        let mut forbidden = [0; KINDS];
        for (at, set) in head.0.iter().enumerate() {
            let allowed = set.bytes().fold(0_u32, |kinds, byte| kinds | 1 << kind(byte));
            for (kind, places) in forbidden.iter_mut().enumerate() {
                *places |= u32::from(allowed >> kind & 1 == 0) << at;
            }
        }
        Self { forbidden, len: head.0.len() }
    }

    /// What neither of the two allows.
    fn both(self, other: Self) -> Self {
        let mut forbidden = self.forbidden;
        forbidden.iter_mut().zip(other.forbidden).for_each(|(mine, theirs)| *mine &= theirs);
        Self { forbidden, len: self.len.min(other.len) }
    }

    #[inline]
    fn allows(&self, text: &Sketch) -> bool {
        let clashes = self.forbidden.iter().zip(&text.kinds).map(|(mine, theirs)| mine & theirs);
        clashes.fold(0, |all, places| all | places) == 0 && text.len >= self.len
    }
}

/// The pattern as sequences of parts of which one matches: alternatives and optional parts of its
/// beginning are multiplied out.
fn alternatives<'h>(hir: &'h Hir) -> Vec<Vec<&'h Hir>> {
    let mut done: Vec<Vec<&'h Hir>> = Vec::new();
    let mut open = vec![(0, vec![hir])];
    while let Some((at, parts)) = open.pop() {
        let (before, rest) = parts.split_at(at);
        let length = |part: &&Hir| part.properties().minimum_len().unwrap_or_default();
        let Some((part, behind)) = rest.split_first() else {
            done.push(parts);
            continue;
        };
        if before.iter().map(length).sum::<usize>() >= PLACES {
            done.push(parts);
            continue;
        }
        let with = |inner: &[&'h Hir]| [before, inner, behind].concat();
        let room = ALTERNATIVES_MAX.saturating_sub(done.len() + open.len());
        match part.kind() {
            HirKind::Capture(capture) => open.push((at, with(&[&capture.sub]))),
            HirKind::Concat(inner) => open.push((at, with(&inner.iter().collect::<Vec<_>>()))),
            HirKind::Alternation(branches) if branches.len() <= room => {
                open.extend(branches.iter().map(|branch| (at, with(&[branch]))));
            }
            HirKind::Repetition(optional)
                if optional.min == 0 && optional.max == Some(1) && room >= 2 =>
            {
                open.extend([(at, with(&[&optional.sub])), (at, with(&[]))]);
            }
            _ => open.push((at + 1, parts)),
        }
    }
    done
}

/// A set of places, one bit for each; those from [`PLACES`] on fall off.
type Places = u32;

fn later(places: Places, by: usize) -> Places {
    if by < PLACES { places << by } else { 0 }
}

/// Where `hir` ends if it begins at one of `starts`; what it takes on the way goes into `sets`.
fn walk(hir: &Hir, starts: Places, sets: &mut [ByteSet]) -> Places {
    if starts == 0 {
        return 0;
    }
    let mut take = |from: Places, set: &ByteSet| {
        let at = |place: &usize| from >> place & 1 == 1;
        (0..PLACES).filter(at).for_each(|place| sets[place].join(set));
        later(from, 1)
    };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => starts,
        HirKind::Literal(literal) => {
            literal.0.iter().fold(starts, |places, byte| take(places, &ByteSet::of(*byte)))
        }
        HirKind::Class(Class::Bytes(class)) => {
            let mut set = ByteSet::default();
            class.iter().for_each(|range| set.insert_range(range.start(), range.end()));
            take(starts, &set)
        }
        // Of one to four bytes.
        HirKind::Class(Class::Unicode(_)) => {
            let mut any = ByteSet::default();
            any.insert_range(0, u8::MAX);
            let mut ends = 0;
            (0..4).fold(starts, |places, _| {
                let next = take(places, &any);
                ends |= next;
                next
            });
            ends
        }
        HirKind::Capture(capture) => walk(&capture.sub, starts, sets),
        HirKind::Concat(parts) => {
            parts.iter().fold(starts, |places, part| walk(part, places, sets))
        }
        HirKind::Alternation(branches) => {
            branches.iter().fold(0, |ends, branch| ends | walk(branch, starts, sets))
        }
        HirKind::Repetition(repetition) => {
            let (mut ends, mut places, mut turn) = (0, starts, 0);
            loop {
                if turn >= repetition.min {
                    // What was reached before leads nowhere new.
                    places &= !ends;
                    ends |= places;
                }
                if places == 0 || repetition.max.is_some_and(|max| turn >= max) {
                    return ends;
                }
                // More turns than places take nothing that is looked at, or nothing at all.
                if turn as usize > PLACES && turn < repetition.min {
                    return ends | places;
                }
                places = walk(&repetition.sub, places, sets);
                turn += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(pattern: &str) -> Option<Vec<Head>> {
        let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
        Head::all_of(&parser.parse(pattern).unwrap())
    }

    #[test]
    fn heads_tell_what_can_stand_at_each_place() {
        for (pattern, fit, others) in [
            (
                r"^\d\d/[A-Z]{3} x",
                &["12/ABC x", "12/ABC xyz"][..],
                &["", "12", "1a/ABC x", "12/ABc x"][..],
            ),
            (r"^(?:a\d|bcd)e", &["a1e", "bcde"], &["ae", "b1e", "acde", "bcd", "xcde"]),
            (r"^(?:\d+ )?q", &["q", "1 q", "11 q"], &["x", "1q", ""]),
            (r"^a*b", &["b", "ab", "aab"], &["c", ""]),
            (r"^(?:ab){2}c", &["ababc"], &["abab", "abbbc"]),
            (r"^(?:x?y?)*", &["", "anything"], &[]),
            (r"^.{3}z", &["abcz"], &["abz", "abcd"]),
            (r"^(?:a|)$", &["", "a", "b"], &[]),
        ] {
            let heads = heads(pattern).unwrap();
            let fits = |text: &str| heads.iter().any(|head| head.fits(text.as_bytes()));
            for text in fit {
                assert!(fits(text), "{pattern} {text}");
            }
            for text in others {
                assert!(!fits(text), "{pattern} {text}");
            }
        }
        assert!(heads("a").is_none() && heads("(?m:^)a").is_none() && heads("(?:^|b)a").is_none());
    }

    #[test]
    fn outlines_allow_what_is_of_the_same_kinds() {
        for (pattern, allowed, others) in [
            (
                r"^\d{4}-\d\d-\d\dT\d",
                &["2026-11-28T10", "2026-11-28Z10"][..],
                &["2026-11-28 10", "2026-11-28t10", "2026/11/28T10", "2026-11-28T", ""][..],
            ),
            (r"^(?:\[\w+\]|<\d+>) x", &["[ab] x", "<12> x", "<ab> x"], &["ab x", "[ab]: x"]),
            (r"^\S*: ", &["a: b", ": "], &["", ":", " : b"]),
        ] {
            let outlines = Outlines::of(&heads(pattern).unwrap()).unwrap();
            let allows = |text: &str| outlines.allow(&Sketch::of(text.as_bytes()));
            for text in allowed {
                assert!(allows(text), "{pattern} {text}");
            }
            for text in others {
                assert!(!allows(text), "{pattern} {text}");
            }
        }
        assert!(Outlines::of(&[]).is_none());
    }
}
