//! The executor: follows the operations, keeps what is left to try in frames, and counts its steps.

use super::{NO_MAX, NO_SLOT, Op, Outcome, Program, Scratch, Span, Split, Start, Take, UNSET};
use regex_syntax::hir::Look;

/// Steps that a search may take: the base, and so many for each byte. Rules as they are written take
/// less than one for each byte.
const FUEL_BASE: usize = 256;
const FUEL_PER_BYTE: usize = 8;
/// A step of fuel for so many bytes of a run.
const BYTES_PER_STEP: usize = 8;
/// What is left to try at most; 12 bytes each.
const FRAMES_MAX: usize = 1 << 14;

/// In place of where a span ends: it does not stand there.
const NOWHERE: usize = usize::MAX;

/// Something to go back to; texts are shorter than 4 GiB.
#[derive(Debug, Clone, Copy)]
pub(super) enum Frame {
    /// The other branch of a split.
    Branch { op: u16, at: u32 },
    /// A slot as it was.
    Slot { slot: u16, old: u32 },
    /// A run that may be given back, down to `low` and below `high`.
    Longer { op: u16, low: u32, high: u32 },
    /// A run that may be taken beyond `at`, up to `high`.
    Shorter { op: u16, at: u32, high: u32 },
}

/// Searches the first `end` bytes of `text`.
pub(super) fn search(program: &Program, text: &[u8], end: usize, scratch: &mut Scratch) -> Outcome {
    if u32::try_from(text.len()).is_err() {
        return Outcome::OutOfFuel;
    }
    if scratch.slots.len() < program.slots {
        scratch.slots.resize(program.slots, UNSET);
    }
    let fuel = FUEL_BASE + FUEL_PER_BYTE * end;
    let Scratch { slots, frames } = scratch;
    let mut run = Run { program, text, end, slots, frames, fuel };
    if program.start == Start::Text {
        return outcome(run.attempt(0)).unwrap_or(Outcome::NoMatch);
    }
    let first = &program.firsts[0];
    let mut from = 0;
    while from <= end {
        let Some(start) = first.next(&program.literals, text, from, (end, end)) else { break };
        // An attempt costs a step, even one that ends at once.
        if run.spend(1).is_none() {
            return Outcome::OutOfFuel;
        }
        if let Some(outcome) = outcome(run.attempt(start)) {
            return outcome;
        }
        from = match program.start {
            Start::Run(set) => program.classes[usize::from(set)].run(text, start, end) + 1,
            Start::Text | Start::Any => start + 1,
        };
    }
    Outcome::NoMatch
}

/// What an attempt says of the whole search, if it says something.
fn outcome(attempt: Option<bool>) -> Option<Outcome> {
    match attempt {
        Some(true) => Some(Outcome::Match),
        Some(false) => None,
        None => Some(Outcome::OutOfFuel),
    }
}

struct Run<'r> {
    program: &'r Program,
    text: &'r [u8],
    /// Where the text ends; what stands behind it has no meaning.
    end: usize,
    slots: &'r mut [u32],
    frames: &'r mut Vec<Frame>,
    fuel: usize,
}

impl<'r> Run<'r> {
    /// Whether there is a match that begins at `start`; `None` when the fuel is used up.
    ///
    /// What costs fuel is what can be repeated: spans, branches, and what is tried again.
    fn attempt(&mut self, start: usize) -> Option<bool> {
        self.frames.clear();
        self.slots[..self.program.slots].fill(UNSET);
        let (program, text, end) = (self.program, self.text, self.end);
        let (mut op, mut at) = (0_u16, start);
        loop {
            // Whatever goes on does so from within; what fails goes back.
            match &program.ops[usize::from(op)] {
                Op::Literal { at: place, len } => {
                    if program.literals.stands(*place, *len, text, at, end) {
                        (op, at) = (op + 1, at + usize::from(*len));
                        continue;
                    }
                }
                Op::One { set } => {
                    if at < end && program.classes[usize::from(*set)].contains(text[at]) {
                        (op, at) = (op + 1, at + 1);
                        continue;
                    }
                }
                Op::Span(span) => {
                    let reached = self.span(span, op, at)?;
                    if reached != NOWHERE {
                        (op, at) = (op + 1, reached);
                        continue;
                    }
                }
                Op::Save { slot, restored } => {
                    let old = std::mem::replace(&mut self.slots[usize::from(*slot)], at as u32);
                    if *restored && !self.frames.is_empty() {
                        self.keep(Frame::Slot { slot: *slot, old })?;
                    }
                    op += 1;
                    continue;
                }
                Op::Split(split) => {
                    if let Some(to) = self.split(split, op, at)? {
                        op = to;
                        continue;
                    }
                }
                Op::Jump { to } => {
                    op = *to;
                    continue;
                }
                Op::Look(look) => {
                    if look_at(*look, &text[..end], at) {
                        op += 1;
                        continue;
                    }
                }
                Op::Match => {
                    (self.slots[0], self.slots[1]) = (start as u32, at as u32);
                    return Some(true);
                }
            }
            match self.back()? {
                Some(next) => (op, at) = next,
                None => return Some(false),
            }
        }
    }

    #[inline]
    fn spend(&mut self, steps: usize) -> Option<()> {
        self.fuel = self.fuel.checked_sub(steps)?;
        Some(())
    }

    /// Which branch is taken, if one can be.
    #[inline]
    fn split(&mut self, split: &Split, op: u16, at: usize) -> Option<Option<u16>> {
        self.spend(1)?;
        self.clear(split);
        let allows = |first: u16| {
            let first = &self.program.firsts[usize::from(first)];
            first.allows(&self.program.literals, self.text, at, self.end)
        };
        if !allows(split.one_first) {
            // What begins there finds out whether it can.
            return Some(Some(split.other));
        }
        if allows(split.other_first) {
            self.keep(Frame::Branch { op, at: at as u32 })?;
        }
        Some(Some(split.one))
    }

    /// What a branch that failed has set is nothing that the other one has found.
    #[inline]
    fn clear(&mut self, split: &Split) {
        let from = usize::from(split.cleared);
        for slot in from..from + usize::from(split.cleared_len) {
            self.slots[slot] = UNSET;
        }
    }

    /// Where a span that begins at `at` ends, or [`NOWHERE`].
    #[inline]
    fn span(&mut self, span: &Span, op: u16, at: usize) -> Option<usize> {
        let max = usize::from(span.max);
        let limit = if span.max == NO_MAX { self.end } else { self.end.min(at + max) };
        let low = at + usize::from(span.min);
        if low > limit {
            return Some(NOWHERE);
        }
        // Only as much is read as is needed: a lazy run ends early as a rule.
        let lazy = matches!(span.take, Take::Shortest | Take::Lazy);
        let until = if lazy { low } else { limit };
        let reached = self.program.classes[usize::from(span.set)].run(self.text, at, until);
        self.spend(1 + (reached - at) / BYTES_PER_STEP)?;
        if reached < low {
            return Some(NOWHERE);
        }
        if span.slot != NO_SLOT {
            self.slots[usize::from(span.slot)] = at as u32;
        }
        match span.take {
            Take::Longest | Take::Shortest => Some(self.taken(span, reached)),
            Take::Greedy => self.shrink(span, op, low, reached),
            Take::Lazy => self.grow(span, op, low, limit),
        }
    }

    /// Notes the end of a span.
    #[inline]
    fn taken(&mut self, span: &Span, at: usize) -> usize {
        if span.slot != NO_SLOT {
            self.slots[usize::from(span.slot) + 1] = at as u32;
        }
        at
    }

    #[inline]
    fn keep(&mut self, frame: Frame) -> Option<()> {
        if self.frames.len() >= FRAMES_MAX {
            return None;
        }
        self.frames.push(frame);
        Some(())
    }

    /// The longest of the runs that end from `low` to `high` with which the text can go on.
    fn shrink(&mut self, span: &Span, op: u16, low: usize, high: usize) -> Option<usize> {
        let first = &self.program.firsts[usize::from(span.next)];
        let Some(at) = first.last(&self.program.literals, self.text, low, (high, self.end)) else {
            self.spend((high - low) / BYTES_PER_STEP)?;
            return Some(NOWHERE);
        };
        self.spend((high - at) / BYTES_PER_STEP)?;
        if at > low {
            self.keep(Frame::Longer { op, low: low as u32, high: at as u32 })?;
        }
        Some(self.taken(span, at))
    }

    /// The shortest of the runs that end from `at` to `high` with which the text can go on.
    fn grow(&mut self, span: &Span, op: u16, at: usize, high: usize) -> Option<usize> {
        let first = &self.program.firsts[usize::from(span.next)];
        let Some(found) = first.next(&self.program.literals, self.text, at, (high, self.end))
        else {
            self.spend((high - at) / BYTES_PER_STEP)?;
            return Some(NOWHERE);
        };
        self.spend((found - at) / BYTES_PER_STEP)?;
        if self.program.classes[usize::from(span.set)].run(self.text, at, found) < found {
            return Some(NOWHERE);
        }
        if found < high {
            self.keep(Frame::Shorter { op, at: found as u32, high: high as u32 })?;
        }
        Some(self.taken(span, found))
    }

    /// Goes back to what was left to try last.
    fn back(&mut self) -> Option<Option<(u16, usize)>> {
        while let Some(frame) = self.frames.pop() {
            let (op, reached) = match frame {
                Frame::Slot { slot, old } => {
                    self.slots[usize::from(slot)] = old;
                    continue;
                }
                Frame::Branch { op, at } => {
                    let Op::Split(split) = &self.program.ops[usize::from(op)] else {
                        unreachable!("only splits have branches")
                    };
                    self.clear(split);
                    return Some(Some((split.other, at as usize)));
                }
                Frame::Longer { op, low, high } => {
                    self.spend(1)?;
                    let span = self.span_at(op);
                    (op, self.shrink(span, op, low as usize, high as usize - 1)?)
                }
                Frame::Shorter { op, at, high } => {
                    self.spend(1)?;
                    let (at, high) = (at as usize, high as usize);
                    let span = self.span_at(op);
                    let set = &self.program.classes[usize::from(span.set)];
                    if at >= self.end || !set.contains(self.text[at]) {
                        continue;
                    }
                    (op, self.grow(span, op, at + 1, high)?)
                }
            };
            if reached != NOWHERE {
                return Some(Some((op + 1, reached)));
            }
        }
        Some(None)
    }

    fn span_at(&self, op: u16) -> &'r Span {
        match &self.program.ops[usize::from(op)] {
            Op::Span(span) => span,
            _ => unreachable!("only spans are given back or taken further"),
        }
    }
}

fn look_at(look: Look, haystack: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| haystack[before]);
    let after = haystack.get(at).copied();
    let word = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    match look {
        Look::Start => before.is_none(),
        Look::End => after.is_none(),
        Look::StartLF => before.is_none_or(|b| b == b'\n'),
        Look::EndLF => after.is_none_or(|b| b == b'\n'),
        Look::WordAscii => word(before) != word(after),
        Look::WordAsciiNegate => word(before) == word(after),
        _ => unreachable!("the compiler refuses other assertions"),
    }
}
