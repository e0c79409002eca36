//! Span programs: patterns as a few operations on runs of bytes, for matching with captures.
//!
//! ```text
//! ^Accepted (\S+) for (.*) from   ─►  Start · Literal · Save · Span(\S, 1..) · Save · Literal · …
//! ```
//!
//! An automaton of a log pattern takes tens of kilobytes; with a thousand of them live, most steps
//! miss the cache. A span program takes some hundred bytes. Most spans are *deterministic*: what
//! follows cannot begin with a byte of the run, so the longest run is the only one. The others are
//! backtracked in the order of preference of the pattern, which is leftmost-first by definition.
//!
//! Owns one promise: what is said of a text is what `regex::bytes` says, with the same slots; or it
//! is [`Outcome::OutOfFuel`], and the caller asks `regex`. The fuel is linear in the text's length.
//! What has no place here (classes beyond bytes, loops over what may be empty, very large programs)
//! does not compile.

mod bytes;
mod compile;
mod first;
mod lower;
mod run;
#[cfg(test)]
mod tests;

use crate::swar;
pub(crate) use bytes::ByteSet;
use bytes::{Class, Stop};
use first::First;
use regex_syntax::hir::{Hir, Look};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Program {
    steps: Box<[Step]>,
    /// The runs that may have to be given back or taken further.
    spans: Box<[Loose]>,
    /// The choices that more than a short literal decides.
    splits: Box<[Split]>,
    classes: Box<[Class]>,
    /// What can begin at the places where a choice is made.
    firsts: Box<[First]>,
    literals: Literals,
    slots: usize,
    start: Start,
    /// The first step of an attempt; that the text starts there is known.
    begin: u16,
}

/// What became of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Match,
    NoMatch,
    /// Too many steps for the text's length; nothing is said about it.
    OutOfFuel,
}

/// Working space of a search, to be used again for any program.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    slots: Vec<u32>,
    frames: Vec<run::Frame>,
    /// A copy of a text that nothing follows.
    text: Vec<u8>,
}

/// Where a group of a match stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group([u32; 2]);

impl Group {
    /// Of a group as [`regex`] tells it; texts are shorter than 4 GiB.
    pub(crate) fn of(place: Option<(usize, usize)>) -> Self {
        Self(place.map_or([UNSET; 2], |(start, end)| [start as u32, end as u32]))
    }

    /// `None`: it took no part.
    pub(crate) fn place(self) -> Option<(usize, usize)> {
        let [start, end] = self.0;
        (start != UNSET && end != UNSET).then_some((start as usize, end as usize))
    }

    /// `None`: it took no part, or it has no text.
    #[inline]
    pub(crate) fn text(self) -> Option<(u32, u32)> {
        let [start, end] = self.0;
        (start < end && end != UNSET).then_some((start, end))
    }

    /// A text that ends at `seen` ends at `end` instead.
    pub(crate) fn go_on(&mut self, seen: u32, end: u32) {
        if self.0[0] < seen && self.0[1] == seen {
            self.0[1] = end;
        }
    }
}

impl Scratch {
    /// As [`Scratch::group`], of any group of the program.
    #[inline]
    pub(crate) fn span(&self, number: usize) -> Group {
        Group(self.slots.as_chunks().0[number])
    }

    /// Where a group of the last match stands; `None` if it took no part.
    #[must_use]
    #[inline]
    pub fn group(&self, number: usize) -> Option<(usize, usize)> {
        Group(*self.slots.as_chunks().0.get(number)?).place()
    }
}

impl Program {
    /// Compiles `pattern` as the engine compiles its rules: bytes, ASCII classes, `.` is any byte.
    /// `None`: there is no such program, or `pattern` is no regex.
    #[must_use]
    pub fn compile(pattern: &str) -> Option<Self> {
        let hir = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .dot_matches_new_line(true)
            .build()
            .parse(pattern)
            .ok()?;
        Self::of(&hir)
    }

    /// Compiles what `regex-syntax` made of a pattern.
    #[must_use]
    pub fn of(hir: &Hir) -> Option<Self> {
        compile::program(hir)
    }

    /// Two for each group, the whole match included.
    #[must_use]
    pub fn slots_len(&self) -> usize {
        self.slots
    }

    /// The program's size in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.steps)
            + size_of_val(&*self.spans)
            + size_of_val(&*self.splits)
            + size_of_val(&*self.classes)
            + size_of_val(&*self.firsts)
            + self.literals.0.len()
    }

    /// Searches `haystack`; on a match, `scratch` tells where the groups stand.
    pub fn search(&self, haystack: &[u8], scratch: &mut Scratch) -> Outcome {
        run::search(self, haystack, haystack.len(), scratch)
    }

    /// As [`Program::search`], of the first `len` bytes of `padded`. What stands behind them has no
    /// meaning; a search is quicker if there are some.
    #[inline]
    pub fn search_padded(&self, padded: &[u8], len: usize, scratch: &mut Scratch) -> Outcome {
        run::search(self, padded, len, scratch)
    }

    /// Searches `haystack`. On a match, `slots` holds the starts and ends of the groups, numbered as
    /// in `regex::bytes`: 0 and 1 for the whole match, then two for each group, `None` for a group
    /// that took no part. Slots that do not fit in are not told; on anything but a match, `slots` is
    /// left as it was.
    pub fn captures(
        &self,
        haystack: &[u8],
        slots: &mut [Option<usize>],
        scratch: &mut Scratch,
    ) -> Outcome {
        let outcome = self.search(haystack, scratch);
        if outcome == Outcome::Match {
            let found = scratch.slots[..self.slots].iter();
            let found = found.map(|at| (*at != UNSET).then_some(*at as usize));
            for (slot, at) in slots.iter_mut().zip(found.chain(std::iter::repeat(None))) {
                *slot = at;
            }
        }
        outcome
    }
}

/// A slot of a group that took no part; no text is so long.
const UNSET: u32 = u32::MAX;

/// The literals of a program, one behind the other, and a block behind the last.
#[derive(Debug, Clone, Default)]
struct Literals(Box<[u8]>);

impl Literals {
    fn new(mut bytes: Vec<u8>) -> Self {
        bytes.extend_from_slice(&[0; swar::BYTES]);
        Self(bytes.into())
    }

    fn bytes(&self, at: u32, len: u16) -> &[u8] {
        &self.0[at as usize..][..usize::from(len)]
    }

    /// The first block of a literal; what is not its own has no meaning.
    fn block(&self, place: u32) -> u64 {
        swar::load(&self.0, place as usize)
    }

    /// Whether a literal, which is not empty, stands at `at` in `text`, which ends at `end`.
    #[inline(always)]
    fn stands(&self, place: u32, len: u16, text: &[u8], at: usize, end: usize) -> bool {
        let size = usize::from(len);
        let begins = swar::same(self.block(place), swar::load(text, at), size.min(swar::BYTES));
        begins
            && at + size <= end
            && (size <= swar::BYTES || text[at..at + size] == *self.bytes(place, len))
    }
}

/// Where a match may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// At the start of the text only.
    Text,
    /// Wherever the first of `firsts` allows.
    Any,
    /// So, and the program begins with an unbounded run of this set: an attempt that failed at the
    /// start of a run also fails everywhere within it.
    Run(u16),
}

/// One operation of a pattern; the next one follows, unless another is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    /// These bytes of the program's literals.
    Literal {
        at: u32,
        len: u16,
    },
    One {
        set: u16,
    },
    Span(Span),
    Save {
        slot: u8,
        /// Whether the slot has to be set back when what follows fails.
        restored: bool,
    },
    Split(Split),
    Jump {
        to: u16,
    },
    Look(Look),
    Match,
}

/// Between `min` and `max` bytes of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    set: u16,
    /// What follows, as one of the program's firsts.
    next: u16,
    min: u16,
    /// [`NO_MAX`]: any number.
    max: u16,
    take: Take,
    /// How the end of the shortest is found.
    until: Until,
    /// Where the span stands goes to this slot and the one behind it, unless it is [`NO_SLOT`].
    slot: u8,
    /// Where it goes on, and how many bytes behind its end: the literal that was looked for stands
    /// there, if it is one.
    to: u16,
    behind: u16,
    /// The first slot of those that only what follows can have set: they are set back when it failed.
    later: u8,
}

/// What is run of a [`Span`] that may have to be given back or taken further.
#[derive(Debug, Clone, Copy)]
struct Loose {
    set: u16,
    min: u16,
    max: u32,
    goal: Goal,
    /// As in [`Span`].
    next: u16,
    slot: u8,
    later: u8,
    to: u16,
    behind: u16,
}

/// Where a lazy run may end.
#[derive(Debug, Clone, Copy)]
enum Goal {
    Anywhere,
    /// Where this stands, and the rest of the literal, of which there may be one.
    Literal {
        word: Word,
        rest: Option<(u32, u16)>,
    },
    /// Where a run of the class ends, which is what of the set cannot follow.
    Class(u16),
}

/// First one, then the other, each if it can begin here (places among the program's firsts).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Split {
    one: u16,
    other: u16,
    one_first: u16,
    other_first: u16,
    /// As in [`Span`].
    later: u8,
    /// The literal that `one` begins with, if it is all that can stand there.
    literal: Option<Skip>,
    /// Whether the other branch cannot begin where that literal stands.
    exclusive: bool,
}

/// A literal that is compared before its operation is reached, which is then passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Skip {
    at: u32,
    len: u16,
    /// What follows it.
    to: u16,
}

/// What is run of an operation; `to` is the step that follows.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A literal of up to eight bytes.
    Word {
        word: Word,
        to: u16,
    },
    /// Two words, of which the first has eight bytes.
    Words {
        first: u64,
        second: Word,
        to: u16,
    },
    One {
        set: u16,
        to: u16,
    },
    /// The longest run of the class, and never less; where it stands goes to `slot` and the one
    /// behind it.
    Run {
        stop: Stop,
        class: u16,
        slot: u8,
        min: u16,
        to: u16,
        max: u32,
    },
    /// Such a run of any length from `min` on, and a literal of up to eight bytes behind it.
    Field {
        stop: Stop,
        class: u16,
        slot: u8,
        min: u8,
        word: Word,
        to: u16,
    },
    /// One of the program's spans that may be given back.
    Greedy {
        span: u16,
        to: u16,
    },
    /// One of the program's spans that may be taken further.
    Lazy {
        span: u16,
        to: u16,
    },
    Save {
        slot: u8,
        restored: bool,
        to: u16,
    },
    /// A split whose first branch begins with these bytes: where they do not stand, it is the other
    /// one. Where they do, it is what follows them if nothing else can be, else the split decides.
    Either {
        word: Word,
        /// Whether the word is all that has to be compared where two branches part.
        whole: bool,
        split: u16,
        to: u16,
        other: u16,
        /// What the other one leads to where the text has ended.
        ended: u16,
    },
    /// One of the program's splits. Where none of the bytes of `first`, a place among the firsts,
    /// stands, it is the other branch. Where one does and the branches are `apart`, it is the one.
    Split {
        split: u16,
        first: u16,
        apart: bool,
        one: u16,
        other: u16,
    },
    /// Back to the begin of a loop.
    Again {
        to: u16,
    },
    End {
        to: u16,
    },
    Look {
        look: Look,
        to: u16,
    },
    Match,
    /// The end of the text, and a match.
    MatchAtEnd,
}

/// A literal of up to eight bytes. Beside it, a step has no room to spare.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed)]
struct Word {
    block: u64,
    len: u8,
    /// By how many bits a block is shifted so that only the literal's bytes are left.
    shift: u8,
}

/// More slots than this have no program; those of what is not captured are the last two.
const SLOTS: usize = 256;
const NO_SLOT: u8 = (SLOTS - 2) as u8;

const NO_MAX: u16 = u16::MAX;

/// How the end of a lazy run is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// By the literal that follows.
    Literal,
    /// As the end of a run of this class: what of the set cannot follow.
    Class(u16),
}

/// How much of a run is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    /// All, and never less.
    Longest,
    /// The least, and never more.
    Shortest,
    /// The longest with which the rest matches.
    Greedy,
    /// The shortest with which the rest matches.
    Lazy,
}
