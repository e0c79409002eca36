//! Patterns that begin with `(?:^|: )`: at the start of the text or behind a literal.
//!
//! Searched for at every place of the text, they cost as much as all else together where lines are
//! told apart; but where they can begin is known beforehand, and mostly their first bytes do not fit.

use crate::heads::Head;
use crate::span::{Outcome, Program, Scratch};
use memchr::memmem::Finder;
use regex_syntax::hir::{Hir, HirKind, Look, LookSet};

/// Attempts at one text; each may read all of it.
const ATTEMPTS_MAX: usize = 16;

/// What such a pattern is, taken apart.
#[derive(Debug)]
pub(crate) struct Lead {
    literal: Finder<'static>,
    /// What follows, at the start of its text.
    rest: Program,
    heads: Vec<Head>,
}

impl Lead {
    /// `None` if the pattern is none of these, or if what follows asks for what stands before it.
    pub(crate) fn of(hir: &Hir) -> Option<Self> {
        let HirKind::Concat(parts) = hir.kind() else { return None };
        let (first, rest) = parts.split_first()?;
        let HirKind::Alternation(branches) = first.kind() else { return None };
        let literal = match branches.as_slice() {
            [one, other] => match (one.kind(), other.kind()) {
                (HirKind::Look(Look::Start), HirKind::Literal(literal))
                | (HirKind::Literal(literal), HirKind::Look(Look::Start)) => &literal.0,
                _ => return None,
            },
            _ => return None,
        };
        let looks = rest
            .iter()
            .fold(LookSet::empty(), |looks, part| looks.union(part.properties().look_set()));
        if !looks.subtract(LookSet::singleton(Look::End)).is_empty() {
            return None;
        }
        let anchored = std::iter::once(Hir::look(Look::Start)).chain(rest.iter().cloned());
        let anchored = Hir::concat(anchored.collect());
        Some(Self {
            literal: Finder::new(literal).into_owned(),
            rest: Program::of(&anchored)?,
            heads: Head::all_of(&anchored)?,
        })
    }

    /// Whether the pattern matches the first `len` bytes of `padded`, as [`Program::search_padded`] says;
    /// out of fuel also after too many attempts.
    pub(crate) fn search(&self, padded: &[u8], len: usize, scratch: &mut Scratch) -> Outcome {
        let text = &padded[..len];
        let behind = |at| at + self.literal.needle().len();
        let places = Overlapping { finder: &self.literal, text, from: 0 }.map(behind);
        let mut attempts = 0;
        for place in std::iter::once(0).chain(places) {
            let rest = &text[place..];
            if !self.heads.iter().any(|head| head.fits(rest)) {
                continue;
            }
            attempts += 1;
            if attempts > ATTEMPTS_MAX {
                return Outcome::OutOfFuel;
            }
            match self.rest.search_padded(&padded[place..], rest.len(), scratch) {
                Outcome::NoMatch => {}
                found => return found,
            }
        }
        Outcome::NoMatch
    }
}

/// All places of a literal, overlapping ones, too.
struct Overlapping<'t> {
    finder: &'t Finder<'static>,
    text: &'t [u8],
    from: usize,
}

impl Iterator for Overlapping<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let at = self.from + self.finder.find(self.text.get(self.from..)?)?;
        self.from = at + 1;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::bytes::RegexBuilder;

    fn parse(pattern: &str) -> Hir {
        let mut builder = regex_syntax::ParserBuilder::new();
        builder.unicode(false).utf8(false).build().parse(pattern).unwrap()
    }

    #[test]
    fn a_lead_says_what_the_regex_says() {
        let mut scratch = Scratch::default();
        for pattern in [r"(?:^|: )(?:ab|cd)?(?:\[\d+\])?X_\w+: ", "(?:: |^)a+b$", "(?:^|x)[a-c]x"] {
            let lead = Lead::of(&parse(pattern)).unwrap();
            let regex = RegexBuilder::new(pattern).unicode(false).build().unwrap();
            for text in [
                "",
                "X_a: ",
                "ab[1]X_b: c",
                "yab[1]X_b: c",
                "y: ab[1]X_b: c",
                ": : X_: ",
                ": : : X_1: ",
                "aab",
                "x: ab",
                "x: abc",
                "xax",
                "xxbx",
                "axxx",
                "zax",
                ": a: a: ab",
            ] {
                let expected =
                    if regex.is_match(text.as_bytes()) { Outcome::Match } else { Outcome::NoMatch };
                // Whatever stands behind it.
                for behind in ["", ": ab[1]X_b: xaxab", ": aaaaaaaaaaaaaaaaaaaaaaab"] {
                    let padded = format!("{text}{behind}");
                    let found = lead.search(padded.as_bytes(), text.len(), &mut scratch);
                    assert_eq!(found, expected, "{pattern} {text} {behind}");
                }
            }
        }
        let mut search =
            |lead: &Lead, text: &str| lead.search(text.as_bytes(), text.len(), &mut scratch);
        let lead = Lead::of(&parse("(?:^|: )a")).unwrap();
        assert_eq!(search(&lead, &": b".repeat(99)), Outcome::NoMatch);
        let lead = Lead::of(&parse("(?:^|: )a.*b")).unwrap();
        assert_eq!(search(&lead, &": a".repeat(99)), Outcome::OutOfFuel);
    }

    #[test]
    fn what_asks_for_its_surroundings_is_none() {
        for pattern in
            [r"(?:^|: )\ba", "(?:^|: )(?m:^)a", "(?:^|a|b)c", "^a", "(?:^|:+)a", "(?:^|: )"]
        {
            assert!(Lead::of(&parse(pattern)).is_none(), "{pattern}");
        }
    }
}
