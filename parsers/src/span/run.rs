//! The executor: follows the operations, keeps what is left to try in frames, and counts its steps.

use super::{NO_MAX, Op, Outcome, Program, Scratch, Start, Take, UNSET};
use regex_syntax::hir::Look;

/// Steps that a search may take: the base, and so many for each byte. Rules as they are written take
/// less than one for each byte.
const FUEL_BASE: usize = 256;
const FUEL_PER_BYTE: usize = 8;
/// A step of fuel for so many bytes of a run.
const BYTES_PER_STEP: usize = 8;
/// What is left to try at most; 24 bytes each.
const FRAMES_MAX: usize = 1 << 14;

/// Something to go back to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Frame {
    /// The other branch.
    Branch { op: u16, at: usize },
    /// A slot as it was.
    Slot { slot: u16, old: usize },
    /// A run that may be given back, down to `low` and below `high`.
    Longer { op: u16, low: usize, high: usize },
    /// A run that may be taken beyond `at`, up to `high`.
    Shorter { op: u16, at: usize, high: usize },
}

pub(super) fn search(program: &Program, haystack: &[u8], scratch: &mut Scratch) -> Outcome {
    let fuel = FUEL_BASE + FUEL_PER_BYTE * haystack.len();
    let mut run = Run { program, haystack, scratch, fuel };
    let first = &program.firsts[0];
    let mut from = 0;
    loop {
        let start = match program.start {
            Start::Text => 0,
            Start::Any | Start::Run(_) => {
                match first.next(&program.literals, haystack, from, haystack.len()) {
                    Some(start) => start,
                    None => return Outcome::NoMatch,
                }
            }
        };
        // An attempt costs a step, even one that ends at once.
        if run.spend(1).is_none() {
            return Outcome::OutOfFuel;
        }
        match run.attempt(start) {
            Some(true) => return Outcome::Match,
            None => return Outcome::OutOfFuel,
            Some(false) => {}
        }
        from = match program.start {
            Start::Text => return Outcome::NoMatch,
            Start::Any => start + 1,
            Start::Run(set) => {
                start + program.classes[usize::from(set)].run(&haystack[start..]) + 1
            }
        };
        if from > haystack.len() {
            return Outcome::NoMatch;
        }
    }
}

struct Run<'r> {
    program: &'r Program,
    haystack: &'r [u8],
    scratch: &'r mut Scratch,
    fuel: usize,
}

impl Run<'_> {
    /// Whether there is a match that begins at `start`; `None` when the fuel is used up.
    ///
    /// What costs fuel is what can be repeated: spans, branches, and what is tried again.
    fn attempt(&mut self, start: usize) -> Option<bool> {
        self.scratch.frames.clear();
        self.scratch.slots.clear();
        self.scratch.slots.resize(self.program.slots, UNSET);
        let (program, haystack) = (self.program, self.haystack);
        let (mut op, mut at) = (0_u16, start);
        loop {
            let next = op + 1;
            let goes_on = match program.ops[usize::from(op)] {
                Op::Literal { at: place, len } => {
                    let literal = &program.literals[place as usize..][..usize::from(len)];
                    let found = haystack[at..].starts_with(literal);
                    found.then_some((next, at + literal.len()))
                }
                Op::One { set } => {
                    let class = &program.classes[usize::from(set)];
                    let found = haystack.get(at).is_some_and(|byte| class.contains(*byte));
                    found.then_some((next, at + 1))
                }
                Op::Span { .. } => self.span(op, at)?,
                Op::Save { slot } => {
                    let slot_value = &mut self.scratch.slots[usize::from(slot)];
                    let old = std::mem::replace(slot_value, at);
                    if !self.scratch.frames.is_empty() {
                        self.keep(Frame::Slot { slot, old })?;
                    }
                    Some((next, at))
                }
                Op::Split { one, other, one_first, other_first } => {
                    self.spend(1)?;
                    let allows =
                        |first: u16| program.firsts[usize::from(first)].allows(haystack, at);
                    match (allows(one_first), allows(other_first)) {
                        (true, true) => {
                            self.keep(Frame::Branch { op: other, at })?;
                            Some((one, at))
                        }
                        (true, false) => Some((one, at)),
                        (false, true) => Some((other, at)),
                        (false, false) => None,
                    }
                }
                Op::Jump { to } => Some((to, at)),
                Op::Look(look) => look_at(look, haystack, at).then_some((next, at)),
                Op::Match => {
                    self.scratch.slots[0] = start;
                    self.scratch.slots[1] = at;
                    return Some(true);
                }
            };
            (op, at) = match goes_on {
                Some(next) => next,
                None => match self.back()? {
                    Some(next) => next,
                    None => return Some(false),
                },
            };
        }
    }

    fn spend(&mut self, steps: usize) -> Option<()> {
        self.fuel = self.fuel.checked_sub(steps)?;
        Some(())
    }

    /// A span: where to go on, or nowhere.
    #[inline]
    fn span(&mut self, op: u16, at: usize) -> Option<Option<(u16, usize)>> {
        let Op::Span { set, next: first, min, max, take, greedy } =
            self.program.ops[usize::from(op)]
        else {
            unreachable!("only spans are asked for")
        };
        let limit = self.haystack.len();
        let limit = if max == NO_MAX { limit } else { limit.min(at + usize::from(max)) };
        let low = at + usize::from(min);
        if low > limit {
            return Some(None);
        }
        // Only as much is read as is needed: a lazy run ends early as a rule.
        let lazy = take == Take::Shortest || (take == Take::Search && !greedy);
        let until = if lazy { low } else { limit };
        let class = &self.program.classes[usize::from(set)];
        let reached = at + class.run(&self.haystack[at..until]);
        self.spend(1 + (reached - at) / BYTES_PER_STEP)?;
        if reached < low {
            return Some(None);
        }
        match take {
            Take::Longest | Take::Shortest => Some(Some((op + 1, reached))),
            Take::Search if greedy => self.shrink(op, first, low, reached),
            Take::Search => self.grow(op, low, limit),
        }
    }

    fn keep(&mut self, frame: Frame) -> Option<()> {
        if self.scratch.frames.len() >= FRAMES_MAX {
            return None;
        }
        self.scratch.frames.push(frame);
        Some(())
    }

    /// The longest of the runs that end from `low` to `high` with which the text can go on.
    fn shrink(
        &mut self,
        op: u16,
        next: u16,
        low: usize,
        high: usize,
    ) -> Option<Option<(u16, usize)>> {
        let first = &self.program.firsts[usize::from(next)];
        let Some(at) = first.last(&self.program.literals, self.haystack, low, high) else {
            self.spend((high - low) / BYTES_PER_STEP)?;
            return Some(None);
        };
        self.spend((high - at) / BYTES_PER_STEP)?;
        if at > low {
            self.keep(Frame::Longer { op, low, high: at })?;
        }
        Some(Some((op + 1, at)))
    }

    /// The shortest of the runs that end from `at` to `high` with which the text can go on.
    fn grow(&mut self, op: u16, at: usize, high: usize) -> Option<Option<(u16, usize)>> {
        let Op::Span { set, next, .. } = self.program.ops[usize::from(op)] else {
            unreachable!("only spans are grown")
        };
        let first = &self.program.firsts[usize::from(next)];
        let Some(found) = first.next(&self.program.literals, self.haystack, at, high) else {
            self.spend((high - at) / BYTES_PER_STEP)?;
            return Some(None);
        };
        self.spend((found - at) / BYTES_PER_STEP)?;
        if self.program.classes[usize::from(set)].run(&self.haystack[at..found]) < found - at {
            return Some(None);
        }
        if found < high {
            self.keep(Frame::Shorter { op, at: found, high })?;
        }
        Some(Some((op + 1, found)))
    }

    /// Goes back to what was left to try last.
    fn back(&mut self) -> Option<Option<(u16, usize)>> {
        while let Some(frame) = self.scratch.frames.pop() {
            let found = match frame {
                Frame::Slot { slot, old } => {
                    self.scratch.slots[usize::from(slot)] = old;
                    continue;
                }
                Frame::Branch { op, at } => Some((op, at)),
                Frame::Longer { op, low, high } => {
                    let Op::Span { next, .. } = self.program.ops[usize::from(op)] else {
                        unreachable!("only spans are shrunk")
                    };
                    self.spend(1)?;
                    self.shrink(op, next, low, high - 1)?
                }
                Frame::Shorter { op, at, high } => {
                    let Op::Span { set, .. } = self.program.ops[usize::from(op)] else {
                        unreachable!("only spans are grown")
                    };
                    self.spend(1)?;
                    let set = &self.program.classes[usize::from(set)];
                    if self.haystack.get(at).is_some_and(|byte| set.contains(*byte)) {
                        self.grow(op, at + 1, high)?
                    } else {
                        None
                    }
                }
            };
            if found.is_some() {
                return Some(found);
            }
        }
        Some(None)
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
