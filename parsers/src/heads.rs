//! What the first bytes of a match can be, and which of many patterns a text's first bytes allow.
//!
//! A pattern that must begin at the start of the text has a *head*: for each of the first places the
//! bytes that can stand there, such as `\d\d/[A-Z]…` of a date. Patterns without a literal that is
//! worth an index nearly all have one. [`Heads`] holds those of many patterns as columns of bits, so
//! that a text is compared with all of them at once, one look-up for each byte, mostly a few.
//!
//! Owns one promise: what matches is among the candidates.

use crate::span::ByteSet;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// The places that are looked at; dates take 24, and what follows them tells most.
const PLACES: usize = 32;
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

    fn of(parts: &[&Hir]) -> Self {
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

/// The heads of many patterns.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// For each bit the number that its pattern was added with.
    numbers: Vec<u32>,
    heads: Vec<Head>,
    /// Words of bits for one class of bytes at one place.
    words: usize,
    /// Which class a byte is of: bytes of one class are alike in all heads.
    classes: Vec<u8>,
    class_count: usize,
    /// For each place and class: the bits that allow it.
    columns: Vec<u64>,
    /// For each place: the bits of heads that end before it.
    ended: Vec<u64>,
}

impl Heads {
    /// Adds a pattern; without heads it is a candidate for every text.
    pub(crate) fn add(&mut self, heads: Option<&[Head]>, number: u32) {
        let anything = [Head::default()];
        for head in heads.unwrap_or(&anything) {
            self.numbers.push(number);
            self.heads.push(head.clone());
        }
    }

    /// Makes the columns, once all are added.
    pub(crate) fn seal(&mut self) {
        let places = self.heads.iter().map(|head| head.0.len()).max().unwrap_or_default();
        let heads = std::mem::take(&mut self.heads);
        self.words = heads.len().div_ceil(64);
        let column_of = |byte: u8| -> Vec<u64> {
            let mut column = vec![0; places * self.words];
            for (bit, head) in heads.iter().enumerate() {
                for place in 0..places {
                    if head.0.get(place).is_none_or(|set| set.contains(byte)) {
                        column[place * self.words + bit / 64] |= 1 << (bit % 64);
                    }
                }
            }
            column
        };
        let mut known: Vec<Vec<u64>> = Vec::new();
        self.classes = (0..=u8::MAX)
            .map(|byte| {
                let column = column_of(byte);
                let class = known.iter().position(|known| *known == column);
                class.unwrap_or_else(|| {
                    known.push(column);
                    known.len() - 1
                }) as u8
            })
            .collect();
        self.class_count = known.len();
        for place in 0..places {
            let part = place * self.words..(place + 1) * self.words;
            known.iter().for_each(|column| self.columns.extend_from_slice(&column[part.clone()]));
        }
        for place in 0..=places {
            for word in 0..self.words {
                let bits = heads.iter().skip(word * 64).take(64).enumerate();
                let ended = bits.filter(|(_, head)| head.0.len() <= place);
                self.ended.push(ended.fold(0, |mask, (bit, _)| mask | 1 << bit));
            }
        }
    }

    /// Appends the numbers of the patterns that `text` may match, in the order in which they were
    /// added; one may come more than once.
    pub(crate) fn find(&self, text: &[u8], found: &mut Vec<u32>) {
        for word in 0..self.words {
            let count = (self.numbers.len() - word * 64).min(64);
            let mut allowed = u64::MAX >> (64 - count);
            let mut place = 0;
            loop {
                let ended = self.ended[place * self.words + word];
                // Those that look at more than this have to go on.
                if allowed & !ended == 0 {
                    break;
                }
                let Some(byte) = text.get(place) else {
                    allowed &= ended;
                    break;
                };
                let class = usize::from(self.classes[usize::from(*byte)]);
                allowed &= self.columns[(place * self.class_count + class) * self.words + word];
                place += 1;
            }
            while allowed != 0 {
                found.push(self.numbers[word * 64 + allowed.trailing_zeros() as usize]);
                allowed &= allowed - 1;
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
            let mut filter = Heads::default();
            filter.add(Some(&heads), 7);
            filter.seal();
            let found = |text: &str| {
                let mut found = Vec::new();
                filter.find(text.as_bytes(), &mut found);
                !found.is_empty()
            };
            for text in fit {
                assert!(fits(text) && found(text), "{pattern} {text}");
            }
            for text in others {
                assert!(!fits(text) && !found(text), "{pattern} {text}");
            }
        }
        assert!(heads("a").is_none() && heads("(?m:^)a").is_none() && heads("(?:^|b)a").is_none());
    }

    #[test]
    fn of_many_patterns_those_are_found_whose_heads_fit() {
        let mut filter = Heads::default();
        let patterns: Vec<String> = (0..200).map(|n| format!(r"^\d{{{}}}-", n % 40)).collect();
        for (number, pattern) in patterns.iter().enumerate() {
            filter.add(heads(pattern).as_deref(), number as u32);
        }
        filter.add(None, 200);
        filter.seal();
        let mut found = Vec::new();
        filter.find(b"123-", &mut found);
        assert_eq!(found, [3, 43, 83, 123, 163, 200]);
        found.clear();
        filter.find(b"", &mut found);
        assert_eq!(found, [200]);
        found.clear();
        filter.find(&[b'1'; 40], &mut found);
        let far: Vec<u32> = (0..200).filter(|n| n % 40 >= 32).chain([200]).collect();
        assert_eq!(found, far);
        found.clear();
        Heads::default().find(b"x", &mut found);
        assert!(found.is_empty());
    }
}
