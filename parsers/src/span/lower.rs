//! From operations to what is run of them: jumps are gone, literals stand in their steps, and what has
//! only one way to go on needs no more than that. Steps have the numbers of their operations.

use super::{Literals, NO_MAX, Op, Skip, Span, Split, Step, Take, Word};
use crate::swar;

/// What a program is made of.
pub(super) struct Parts {
    pub(super) steps: Box<[Step]>,
    pub(super) spans: Box<[Span]>,
    pub(super) splits: Box<[Split]>,
}

pub(super) fn lower(ops: &[Op], literals: &Literals) -> Parts {
    let (mut spans, mut splits) = (Vec::new(), Vec::new());
    let steps = ops.iter().zip(0_u16..).map(|(op, number)| {
        let to = target(ops, number + 1);
        match *op {
            Op::Literal { at, len } => match word(literals, at, len) {
                Some(word) => Step::Word { word, to },
                None => Step::Literal { at, len, to },
            },
            Op::One { set } => Step::One { set, to },
            Op::Span(span) => {
                let to = target(ops, span.to);
                let (class, slot, min) = (span.set, span.slot, span.min);
                match span.take {
                    Take::Longest => {
                        let max = if span.max == NO_MAX { u32::MAX } else { span.max.into() };
                        Step::Run { class, slot, min, to, max }
                    }
                    Take::Shortest => Step::Run { class, slot, min, to, max: min.into() },
                    Take::Greedy | Take::Lazy => {
                        spans.push(Span { to, ..span });
                        let last = (spans.len() - 1) as u16;
                        match span.take {
                            Take::Greedy => Step::Greedy { span: last },
                            _ => Step::Lazy { span: last },
                        }
                    }
                }
            }
            Op::Save { slot, restored } => Step::Save { slot, restored, to },
            Op::Split(split) => {
                let other = target(ops, split.other);
                let literal = split.literal.map(|skip| Skip { to: target(ops, skip.to), ..skip });
                let split = Split { one: target(ops, split.one), other, literal, ..split };
                splits.push(split);
                let number = (splits.len() - 1) as u16;
                match literal.map(|skip| (beginning(literals, skip, split.exclusive), skip.to)) {
                    Some((word, to)) => {
                        let ended = at_end(ops, other);
                        Step::Either { word, split: number, to, other, ended }
                    }
                    None => Step::Split { split: number, one: split.one_first, other },
                }
            }
            Op::Jump { to } => Step::Again { to },
            Op::Look(regex_syntax::hir::Look::End) => Step::End { to },
            Op::Look(look) => Step::Look { look, to },
            Op::Match => Step::Match,
        }
    });
    Parts { steps: steps.collect(), spans: spans.into(), splits: splits.into() }
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

fn word(literals: &Literals, at: u32, len: u16) -> Option<Word> {
    (usize::from(len) <= swar::BYTES).then(|| first_word(literals, at, len as u8))
}

/// The first bytes of a literal, up to eight.
fn first_word(literals: &Literals, at: u32, len: u8) -> Word {
    Word { block: literals.block(at), len, shift: 64 - 8 * len, whole: true }
}

/// What a literal begins with; `alone` if nothing else can stand where it does.
fn beginning(literals: &Literals, skip: Skip, alone: bool) -> Word {
    match word(literals, skip.at, skip.len) {
        Some(word) => Word { whole: alone, ..word },
        None => Word { whole: false, ..first_word(literals, skip.at, swar::BYTES as u8) },
    }
}
