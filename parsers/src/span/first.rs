//! What can begin at an operation: the bytes, the end of the text, or anything.

use super::bytes::ByteSet;
use super::{Literals, Op, Span, Split};
use crate::lanes::{Lanes, first, pair};
use regex_syntax::hir::Look;

/// What can stand where an operation begins, if the rest of the program matches from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct First {
    pub(super) bytes: ByteSet,
    find: Find,
    /// The literal that stands there, if it is one operation: where it begins, and its length.
    pub(super) literal: Option<(u32, u16)>,
    /// The end of the text can.
    pub(super) end: bool,
    /// Anything can: the rest may match without a byte.
    pub(super) open: bool,
}

/// How the bytes are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Find {
    /// One by one.
    #[default]
    Set,
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
    /// The first two of the literal.
    Pair(u8, u8),
}

impl First {
    /// Of the operation `at`.
    pub(super) fn of(ops: &[Op], literals: &Literals, sets: &[ByteSet], at: usize) -> Self {
        let mut first = Self::default();
        let mut seen = vec![false; ops.len()];
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match ops[at] {
                Op::Literal { at, .. } => first.bytes.join(&ByteSet::of(literals.bytes(at, 1)[0])),
                Op::One { set } => first.bytes.join(&sets[usize::from(set)]),
                Op::Span(Span { set, min, .. }) => {
                    first.bytes.join(&sets[usize::from(set)]);
                    if min == 0 {
                        open.push(at + 1);
                    }
                }
                Op::Split(Split { one, other, .. }) => {
                    open.extend([usize::from(one), usize::from(other)])
                }
                Op::Jump { to } => open.push(usize::from(to)),
                Op::Look(Look::End) => first.end = true,
                // Others are passed through: what they forbid is found out when they are run.
                Op::Look(_) | Op::Save { .. } => open.push(at + 1),
                Op::Match => first.open = true,
            }
        }
        first.literal = literal_at(ops, at);
        first.find = match (first.literal, first.bytes.few().as_slice()) {
            (Some((place, len @ 2..)), _) => {
                let literal = literals.bytes(place, len);
                Find::Pair(literal[0], literal[1])
            }
            (_, [one]) => Find::One(*one),
            (_, [one, two]) => Find::Two(*one, *two),
            (_, [one, two, three]) => Find::Three(*one, *two, *three),
            _ => Find::Set,
        };
        first
    }

    /// Whether the literal, if there is one, stands at `at` in `text`, which ends at `end`.
    fn confirms(&self, literals: &Literals, text: &[u8], at: usize, end: usize) -> bool {
        self.literal.is_none_or(|(place, len)| literals.stands(place, len, text, at, end))
    }

    /// Whether a text that goes on with `byte` does not match, whatever follows it.
    #[inline(always)]
    pub(super) fn forbids(&self, byte: u8) -> bool {
        !self.open && !self.bytes.contains(byte)
    }

    /// Whether one byte tells which of the two a text can go on with.
    pub(super) fn is_apart(&self, other: &Self) -> bool {
        !self.open && !other.open && !self.bytes.overlaps(&other.bytes)
    }

    /// Whether `text`, which ends at `end`, can go on at `at`.
    #[inline(always)]
    pub(super) fn allows(&self, literals: &Literals, text: &[u8], at: usize, end: usize) -> bool {
        if at >= end {
            return self.end || self.open;
        }
        (self.bytes.contains(text[at]) || self.open)
            && (self.literal.is_none() || self.confirms(literals, text, at, end))
    }

    /// The first place from `from` to `to` at which `text`, which ends at `end`, can go on.
    #[inline]
    pub(super) fn next(
        &self,
        literals: &Literals,
        text: &[u8],
        from: usize,
        (to, end): (usize, usize),
    ) -> Option<usize> {
        if self.open {
            return (from <= to).then_some(from);
        }
        let until = end.min(to + 1);
        let stands = |at| self.confirms(literals, text, at, end);
        let found = match self.find {
            Find::One(one) => {
                let one = |lanes: Lanes| lanes.equal(one);
                find(from, until, stands, |at| first(text, at, until, one))
            }
            Find::Two(one, two) => {
                let any = |lanes: Lanes| lanes.equal(one) | lanes.equal(two);
                find(from, until, stands, |at| first(text, at, until, any))
            }
            Find::Three(one, two, three) => {
                let any = |lanes: Lanes| lanes.equal(one) | lanes.equal(two) | lanes.equal(three);
                find(from, until, stands, |at| first(text, at, until, any))
            }
            Find::Pair(one, two) => {
                find(from, until, stands, |at| pair(text, at, until, (one, two)))
            }
            Find::Set => self.bytes(literals, text, from, (until, end)),
        };
        found.or_else(|| (self.end && to >= end && from <= end).then_some(end))
    }

    /// The first place from `at` on and before `until` with one of the bytes.
    fn bytes(
        &self,
        literals: &Literals,
        text: &[u8],
        at: usize,
        (until, end): (usize, usize),
    ) -> Option<usize> {
        let mut places = at..until;
        places.find(|at| self.bytes.contains(text[*at]) && self.confirms(literals, text, *at, end))
    }

    /// The last such place.
    pub(super) fn last(
        &self,
        literals: &Literals,
        text: &[u8],
        from: usize,
        (to, end): (usize, usize),
    ) -> Option<usize> {
        if self.open || (self.end && to == end) {
            return (from <= to).then_some(to);
        }
        let mut window = text.get(from..end.min(to + 1))?;
        loop {
            let offset = match self.find {
                Find::One(byte) | Find::Pair(byte, _) => memchr::memrchr(byte, window),
                _ => window.iter().rposition(|byte| self.bytes.contains(*byte)),
            }?;
            if self.confirms(literals, text, from + offset, end) {
                return Some(from + offset);
            }
            window = &window[..offset];
        }
    }
}

/// The first place from `at` on and before `until` that `next` leads to and at which `stands` says that
/// the rest stands, too.
#[inline(always)]
fn find(
    mut at: usize,
    until: usize,
    stands: impl Fn(usize) -> bool,
    next: impl Fn(usize) -> usize,
) -> Option<usize> {
    loop {
        at = next(at);
        if at >= until {
            return None;
        }
        if stands(at) {
            return Some(at);
        }
        at += 1;
    }
}

/// The literal at the operation `at`, but for what takes nothing.
fn literal_at(ops: &[Op], at: usize) -> Option<(u32, u16)> {
    let mut at = at;
    loop {
        match ops[at] {
            Op::Literal { at, len } => return Some((at, len)),
            Op::Save { .. } => at += 1,
            Op::Jump { to } if usize::from(to) > at => at = usize::from(to),
            _ => return None,
        }
    }
}
