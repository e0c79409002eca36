//! From operations to what is run of them: jumps are gone, literals stand in their steps, and what has
//! only one way to go on needs no more than that. Steps have the numbers of their operations; what a
//! literal is longer than its step stands behind them all.

use super::bytes::Class;
use super::first::First;
use super::{Goal, Literals, Loose, NO_MAX, Op, Skip, Span, Split, Step, Take, Until, Word};
use crate::swar;
use regex_syntax::hir::Look;

/// What a program is made of.
pub(super) struct Parts {
    pub(super) steps: Box<[Step]>,
    pub(super) spans: Box<[Loose]>,
    pub(super) splits: Box<[Split]>,
}

pub(super) fn lower(ops: &[Op], literals: &Literals, classes: &[Class], firsts: &[First]) -> Parts {
    let (spans, splits, rests) = (Vec::new(), Vec::new(), Vec::new());
    let mut lowering = Lowering { ops, literals, classes, firsts, spans, splits, rests };
    let mut steps: Vec<Step> = (0..ops.len() as u16).map(|number| lowering.step(number)).collect();
    steps.append(&mut lowering.rests);
    let Lowering { spans, splits, .. } = lowering;
    Parts { steps: steps.into(), spans: spans.into(), splits: splits.into() }
}

struct Lowering<'o> {
    ops: &'o [Op],
    literals: &'o Literals,
    classes: &'o [Class],
    firsts: &'o [First],
    spans: Vec<Loose>,
    splits: Vec<Split>,
    /// The rests of literals; they follow the operations.
    rests: Vec<Step>,
}

impl Lowering<'_> {
    fn step(&mut self, number: u16) -> Step {
        let ops = self.ops;
        let to = target(ops, number + 1);
        match ops[usize::from(number)] {
            Op::Literal { at, len } => self.literal(at, len, to),
            Op::One { set } => Step::One { set, to },
            Op::Span(span) => self.span(span),
            Op::Save { slot, restored } => Step::Save { slot, restored, to },
            Op::Split(split) => self.split(split),
            Op::Jump { to } => Step::Again { to },
            Op::Look(Look::End) if ops.get(usize::from(to)) == Some(&Op::Match) => Step::MatchAtEnd,
            Op::Look(Look::End) => Step::End { to },
            Op::Look(look) => Step::Look { look, to },
            Op::Match => Step::Match,
        }
    }

    fn literal(&mut self, at: u32, len: u16, to: u16) -> Step {
        const WORD: u16 = swar::BYTES as u16;
        if len <= WORD {
            return Step::Word { word: self.word(at, len), to };
        }
        let second = self.word(at + u32::from(WORD), (len - WORD).min(WORD));
        let to = self.rest(at, len, 2 * WORD, to);
        Step::Words { first: self.literals.block(at), second, to }
    }

    /// The step behind the first `done` bytes of a literal: of what is left of it, or `to`.
    fn rest(&mut self, at: u32, len: u16, done: u16, to: u16) -> u16 {
        if len <= done {
            return to;
        }
        let rest = self.literal(at + u32::from(done), len - done, to);
        self.rests.push(rest);
        (self.ops.len() + self.rests.len() - 1) as u16
    }

    /// The first bytes of a literal, up to eight.
    fn word(&self, at: u32, len: u16) -> Word {
        let len = len.min(swar::BYTES as u16) as u8;
        Word { block: self.literals.block(at), len, shift: 64 - 8 * len }
    }

    fn span(&mut self, span: Span) -> Step {
        let to = target(self.ops, span.to);
        let Span { set: class, slot, min, .. } = span;
        let stop = self.classes[usize::from(class)].stop();
        match span.take {
            Take::Longest if span.max == NO_MAX => match (self.ops[usize::from(to)], min) {
                (Op::Literal { at, len }, 0..=255) => {
                    let word = self.word(at, len);
                    let to = self.rest(at, len, word.len.into(), target(self.ops, to + 1));
                    Step::Field { stop, class, slot, min: min as u8, word, to }
                }
                _ => Step::Run { stop, class, slot, min, to, max: u32::MAX },
            },
            Take::Longest => Step::Run { stop, class, slot, min, to, max: span.max.into() },
            Take::Shortest => Step::Run { stop, class, slot, min, to, max: min.into() },
            Take::Greedy | Take::Lazy => {
                self.spans.push(self.loose(span, to));
                let number = (self.spans.len() - 1) as u16;
                match span.take {
                    Take::Greedy => Step::Greedy { span: number, to },
                    _ => Step::Lazy { span: number, to },
                }
            }
        }
    }

    fn loose(&self, span: Span, to: u16) -> Loose {
        let Span { set, next, min, slot, behind, later, .. } = span;
        let goal = match (span.until, self.firsts[usize::from(next)].literal) {
            (Until::Class(class), _) => Goal::Class(class),
            (Until::Literal, Some((at, len))) => {
                let word = self.word(at, len);
                let done = u16::from(word.len);
                let rest = (len > done).then(|| (at + u32::from(done), len - done));
                Goal::Literal { word, rest }
            }
            (Until::Literal, None) => Goal::Anywhere,
        };
        let max = if span.max == NO_MAX { u32::MAX } else { span.max.into() };
        Loose { set, min, max, goal, next, slot, later, to, behind }
    }

    fn split(&mut self, split: Split) -> Step {
        let ops = self.ops;
        let (one, other) = (target(ops, split.one), target(ops, split.other));
        let literal = split.literal.map(|skip| Skip { to: target(ops, skip.to), ..skip });
        self.splits.push(Split { one, other, literal, ..split });
        let number = (self.splits.len() - 1) as u16;
        if let Some(Skip { at, len, to }) = literal {
            let word = self.word(at, len);
            let whole = split.exclusive && usize::from(len) <= swar::BYTES;
            return Step::Either {
                word,
                whole,
                split: number,
                to,
                other,
                ended: at_end(ops, other),
            };
        }
        let first = &self.firsts[usize::from(split.one_first)];
        let apart = first.is_apart(&self.firsts[usize::from(split.other_first)]);
        Step::Split { split: number, first: split.one_first, apart, one, other }
    }
}

/// The operation that `to` leads to. A jump back closes a loop and stays a step.
fn target(ops: &[Op], mut to: u16) -> u16 {
    while let Some(Op::Jump { to: further }) = ops.get(usize::from(to))
        && *further > to
    {
        to = *further;
    }
    to
}

/// Where `to` leads at the end of the text: past what may be left out there and cannot begin.
fn at_end(ops: &[Op], mut to: u16) -> u16 {
    while let Some(Op::Split(Split { literal: Some(_), other, .. })) = ops.get(usize::from(to))
        && *other > to
    {
        to = target(ops, *other);
    }
    to
}
