//! The executor: follows the operations, keeps what is left to try in frames, and counts its steps.

use super::{Goal, Loose, Outcome, Program, SLOTS, Scratch, Skip, Start, Step, UNSET, Word};
use crate::lanes::{BEHIND, pair};
use crate::swar;
use regex_syntax::hir::Look;

/// Steps that a search may take: the base, and so many for each byte. Rules as they are written take
/// less than one for each byte.
const FUEL_BASE: usize = 256;
const FUEL_PER_BYTE: usize = 8;
/// A step of fuel for so many bytes of a run.
const BYTES_PER_STEP: usize = 8;
/// What is left to try at most; 12 bytes each.
const FRAMES_MAX: usize = 1 << 14;

/// Something to go back to; texts are shorter than 4 GiB.
#[derive(Debug, Clone, Copy)]
pub(super) enum Frame {
    /// The other branch of a split.
    Branch { split: u16, at: u32 },
    /// A slot as it was.
    Slot { slot: u8, old: u32 },
    /// A run that may be given back, down to `low` and below `high`.
    Longer { span: u16, low: u32, high: u32 },
    /// A run that may be taken beyond `at`, up to `high`.
    Shorter { span: u16, at: u32, high: u32 },
}

/// Searches the first `end` bytes of `text`.
#[inline]
pub(super) fn search(program: &Program, text: &[u8], end: usize, scratch: &mut Scratch) -> Outcome {
    if text.len() < end + BEHIND {
        return search_copy(program, &text[..end], scratch);
    }
    if u32::try_from(text.len()).is_err() {
        return Outcome::OutOfFuel;
    }
    if scratch.slots.len() < SLOTS {
        scratch.slots.resize(SLOTS, UNSET);
    }
    let fuel = (FUEL_BASE + FUEL_PER_BYTE * end) as isize;
    let Scratch { slots, frames, .. } = scratch;
    let slots = slots.first_chunk_mut().expect("it was made so long");
    let mut run = Run { program, text, end, slots, frames, fuel };
    if program.start == Start::Text {
        return run.attempt(0);
    }
    let first = &program.firsts[0];
    let mut from = 0;
    while from <= end {
        let Some(start) = first.next(&program.literals, text, from, (end, end)) else { break };
        match run.attempt(start) {
            Outcome::NoMatch => {}
            outcome => return outcome,
        }
        from = match program.start {
            Start::Run(set) => program.classes[usize::from(set)].run(text, start, end) + 1,
            Start::Text | Start::Any => start + 1,
        };
    }
    Outcome::NoMatch
}

/// Searches a text that does not go on behind its end.
#[inline(never)]
fn search_copy(program: &Program, text: &[u8], scratch: &mut Scratch) -> Outcome {
    let mut copy = std::mem::take(&mut scratch.text);
    copy.clear();
    copy.extend_from_slice(text);
    copy.extend_from_slice(&[0; BEHIND]);
    let outcome = search(program, &copy, text.len(), scratch);
    scratch.text = copy;
    outcome
}

/// All that any program has, so that no number of one has to be compared with how many there are.
type Slots = [u32; SLOTS];

struct Run<'r> {
    program: &'r Program,
    text: &'r [u8],
    /// Where the text ends; what stands behind it has no meaning.
    end: usize,
    slots: &'r mut Slots,
    frames: &'r mut Vec<Frame>,
    /// Below zero: used up, and nothing that was left to try is tried.
    fuel: isize,
}

impl<'r> Run<'r> {
    /// Whether there is a match that begins at `start`.
    ///
    /// What costs fuel is what can be repeated: going back and what was read since then, the turns of
    /// a loop, and runs of which only a part is taken.
    #[inline(never)]
    fn attempt(&mut self, start: usize) -> Outcome {
        self.frames.clear();
        self.unset(0);
        let (program, text, end) = (self.program, self.text, self.end);
        // Stores to the slots do not make it be loaded again.
        let steps: &[Step] = &program.steps;
        let (mut step, mut at, mut since) = (program.begin, start, start);
        loop {
            // Whatever goes on does so from within; what fails goes back.
            match &steps[usize::from(step)] {
                Step::Word { word, to } => {
                    if let Some(behind) = word.stands(text, at, end) {
                        (step, at) = (*to, behind);
                        continue;
                    }
                }
                Step::Words { first, second, to } => {
                    let second_at = at + swar::BYTES;
                    if *first == block(text, at)
                        && let Some(behind) = second.stands(text, second_at, end)
                    {
                        (step, at) = (*to, behind);
                        continue;
                    }
                }
                Step::One { set, to } => {
                    if at < end && program.classes[usize::from(*set)].contains(text[at]) {
                        (step, at) = (*to, at + 1);
                        continue;
                    }
                }
                Step::Run { stop, class, slot, min, to, max } => {
                    let limit = end.min(at + *max as usize);
                    let class = || &program.classes[usize::from(*class)];
                    let reached = stop.run(class, text, at, limit);
                    if reached >= at + usize::from(*min) {
                        self.save(*slot, at, reached);
                        (step, at) = (*to, reached);
                        continue;
                    }
                }
                Step::Field { stop, class, slot, min, word, to } => {
                    let class = || &program.classes[usize::from(*class)];
                    let reached = stop.run(class, text, at, end);
                    if reached >= at + usize::from(*min)
                        && let Some(behind) = word.stands(text, reached, end)
                    {
                        self.save(*slot, at, reached);
                        (step, at) = (*to, behind);
                        continue;
                    }
                    self.fuel -= steps_of(reached - at);
                }
                Step::Greedy { span, to } => {
                    if let Some(reached) = self.greedy(*span, at) {
                        (step, at) = (*to, reached);
                        continue;
                    }
                }
                Step::Lazy { span, to } => {
                    if let Some(reached) = self.lazy(*span, at) {
                        (step, at) = (*to, reached);
                        continue;
                    }
                }
                Step::Save { slot, restored, to } => {
                    let old = std::mem::replace(&mut self.slots[usize::from(*slot)], at as u32);
                    if *restored && !self.frames.is_empty() {
                        self.keep(Frame::Slot { slot: *slot, old });
                    }
                    step = *to;
                    continue;
                }
                Step::Either { word, whole, split, to, other, ended } => {
                    if at >= end {
                        step = *ended;
                        continue;
                    }
                    (step, at) = match word.stands(text, at, end) {
                        Some(behind) if *whole => (*to, behind),
                        Some(_) => self.split(*split, at),
                        None => (*other, at),
                    };
                    continue;
                }
                Step::Split { split, first, apart, one, other } => {
                    if at >= end {
                        (step, at) = self.split(*split, at);
                    } else if program.firsts[usize::from(*first)].forbids(text[at]) {
                        step = *other;
                    } else if *apart {
                        step = *one;
                    } else {
                        (step, at) = self.split(*split, at);
                    }
                    continue;
                }
                Step::Again { to } => {
                    self.fuel -= 1;
                    step = *to;
                    continue;
                }
                Step::End { to } => {
                    if at == end {
                        step = *to;
                        continue;
                    }
                }
                Step::Look { look, to } => {
                    if look_at(*look, &text[..end], at) {
                        step = *to;
                        continue;
                    }
                }
                Step::MatchAtEnd if at != end => {}
                Step::Match | Step::MatchAtEnd => {
                    self.save(0, start, at);
                    return Outcome::Match;
                }
            }
            self.fuel -= steps_of(at - since) + 1;
            // Most rules that fail have nothing left to try.
            let next = if self.frames.is_empty() { None } else { self.back() };
            match next {
                Some((to, reached)) => (step, at) = (to, reached as usize),
                None if self.fuel < 0 => return Outcome::OutOfFuel,
                None => return Outcome::NoMatch,
            }
            since = at;
        }
    }

    /// Notes where a run stands.
    #[inline(always)]
    fn save(&mut self, slot: u8, from: usize, to: usize) {
        // An even number, so there is one behind it.
        self.slots[usize::from(slot)] = from as u32;
        self.slots[usize::from(slot | 1)] = to as u32;
    }

    /// The slots from `first` on hold nothing any more.
    #[inline(always)]
    fn unset(&mut self, first: u8) {
        const MANY: usize = 16;
        let (slots, from) = (self.program.slots, usize::from(first));
        // More than there are, but at once.
        match self.slots[from..].first_chunk_mut::<MANY>() {
            Some(many) if slots <= from + MANY => *many = [UNSET; MANY],
            _ => unset_each(&mut self.slots[from..slots.max(from)]),
        }
    }

    /// What is left to try does not fit: then there is no going back, either.
    fn keep(&mut self, frame: Frame) {
        if self.frames.len() < FRAMES_MAX {
            self.fuel -= 1;
            self.frames.push(frame);
        } else {
            self.fuel = -1;
        }
    }

    /// Which branch is taken, and from where it goes on.
    #[inline(never)]
    fn split(&mut self, number: u16, at: usize) -> (u16, usize) {
        let program = self.program;
        let split = &program.splits[usize::from(number)];
        let allows = |first: u16| {
            let first = &program.firsts[usize::from(first)];
            first.allows(&program.literals, self.text, at, self.end)
        };
        let (allowed, to, reached) = match &split.literal {
            Some(Skip { at: place, len, to }) => {
                let stands = program.literals.stands(*place, *len, self.text, at, self.end);
                (stands, *to, at + usize::from(*len))
            }
            None => (allows(split.one_first), split.one, at),
        };
        if !allowed {
            // What begins there finds out whether it can.
            return (split.other, at);
        }
        if !split.exclusive && allows(split.other_first) {
            self.keep(Frame::Branch { split: number, at: at as u32 });
        }
        (to, reached)
    }

    #[inline(never)]
    fn greedy(&mut self, number: u16, at: usize) -> Option<usize> {
        let span = &self.program.spans[usize::from(number)];
        let limit = self.end.min(at + span.max as usize);
        let class = &self.program.classes[usize::from(span.set)];
        let reached = class.run(self.text, at, limit);
        let found = self.shrink(span, number, at + usize::from(span.min), reached)?;
        self.save(span.slot, at, found);
        Some(found + usize::from(span.behind))
    }

    #[inline(never)]
    fn lazy(&mut self, number: u16, at: usize) -> Option<usize> {
        let span = &self.program.spans[usize::from(number)];
        let limit = self.end.min(at + span.max as usize);
        let low = self.least(span, at, limit)?;
        let found = self.grow(span, number, low, limit)?;
        self.save(span.slot, at, found);
        Some(found + usize::from(span.behind))
    }

    /// The end of the longest of the runs that end from `low` to `high` with which the text can go on.
    #[inline]
    fn shrink(&mut self, span: &Loose, number: u16, low: usize, high: usize) -> Option<usize> {
        let first = &self.program.firsts[usize::from(span.next)];
        let found = first.last(&self.program.literals, self.text, low, (high, self.end));
        self.fuel -= steps_of(high.saturating_sub(found.unwrap_or(low)));
        let at = found?;
        if at > low {
            self.keep(Frame::Longer { span: number, low: low as u32, high: at as u32 });
        }
        Some(at)
    }

    /// Where the least of a run that begins at `at` ends, up to `limit`. No more is read than is needed.
    #[inline(always)]
    fn least(&self, span: &Loose, at: usize, limit: usize) -> Option<usize> {
        let low = at + usize::from(span.min);
        let set = || &self.program.classes[usize::from(span.set)];
        let of_set = match span.min {
            0 => at <= limit,
            1 => low <= limit && set().contains(self.text[at]),
            _ => low <= limit && set().run(self.text, at, low) >= low,
        };
        of_set.then_some(low)
    }

    /// The end of the shortest of the runs that end from `at` to `high` with which the text can go on.
    #[inline(never)]
    fn grow(&mut self, span: &Loose, number: u16, at: usize, high: usize) -> Option<usize> {
        let set = || &self.program.classes[usize::from(span.set)];
        let (found, may_grow) = match &span.goal {
            Goal::Anywhere => (Some(at), true),
            Goal::Literal { word, rest } => {
                // All before it has to be of the set.
                let found = self.seek(*word, *rest, at, high);
                let covers = |found: &usize| set().run(self.text, at, *found) >= *found;
                (found.filter(covers), true)
            }
            Goal::Class(class) => {
                let class = &self.program.classes[usize::from(*class)];
                let next = &self.program.firsts[usize::from(span.next)];
                let mut at = at;
                loop {
                    at = class.run(self.text, at, high);
                    let of_set = at < high && set().contains(self.text[at]);
                    if next.allows(&self.program.literals, self.text, at, self.end) {
                        break (Some(at), of_set);
                    }
                    if !of_set {
                        break (None, false);
                    }
                    at += 1;
                }
            }
        };
        let Some(found) = found else {
            self.fuel -= steps_of(high - at);
            return None;
        };
        if may_grow && found < high {
            self.keep(Frame::Shorter { span: number, at: found as u32, high: high as u32 });
        }
        Some(found)
    }

    /// The first place from `at` to `high` where a literal of two bytes or more stands.
    #[inline(always)]
    fn seek(
        &self,
        word: Word,
        rest: Option<(u32, u16)>,
        mut at: usize,
        high: usize,
    ) -> Option<usize> {
        let [first, second, ..] = word.block.to_le_bytes();
        loop {
            at = pair(self.text, at, high + 1, (first, second));
            if at > high {
                return None;
            }
            if let Some(behind) = word.stands(self.text, at, self.end)
                && rest.is_none_or(|(place, len)| {
                    self.program.literals.stands(place, len, self.text, behind, self.end)
                })
            {
                return Some(at);
            }
            at += 1;
        }
    }

    /// Goes back to what was left to try last: the step, and where; `None` if nothing is left, or no
    /// fuel.
    #[inline(never)]
    fn back(&mut self) -> Option<(u16, u32)> {
        // What failed has set nothing that another way has found.
        while self.fuel >= 0 {
            let program = self.program;
            let (span, found) = match self.frames.pop()? {
                Frame::Slot { slot, old } => {
                    self.slots[usize::from(slot)] = old;
                    continue;
                }
                Frame::Branch { split, at } => {
                    let split = &program.splits[usize::from(split)];
                    self.unset(split.later);
                    return Some((split.other, at));
                }
                Frame::Longer { span: number, low, high } => {
                    let span = &program.spans[usize::from(number)];
                    self.unset(span.later);
                    self.fuel -= 1;
                    (span, self.shrink(span, number, low as usize, high as usize - 1))
                }
                Frame::Shorter { span: number, at, high } => {
                    let span = &program.spans[usize::from(number)];
                    self.unset(span.later);
                    self.fuel -= 1;
                    let (at, high) = (at as usize, high as usize);
                    let set = &program.classes[usize::from(span.set)];
                    if at >= self.end || !set.contains(self.text[at]) {
                        continue;
                    }
                    (span, self.grow(span, number, at + 1, high))
                }
            };
            if let Some(found) = found {
                self.slots[usize::from(span.slot | 1)] = found as u32;
                return Some((span.to, found as u32 + u32::from(span.behind)));
            }
        }
        None
    }
}

/// Apart from the usual case, which would go through the same call of `memset` else.
#[cold]
#[inline(never)]
fn unset_each(slots: &mut [u32]) {
    slots.fill(UNSET);
}

/// What reading so many bytes costs.
#[inline]
fn steps_of(bytes: usize) -> isize {
    (bytes / BYTES_PER_STEP) as isize
}

/// Eight bytes of the text; `at` is its end at most, behind which it goes on.
#[inline(always)]
fn block(text: &[u8], at: usize) -> u64 {
    swar::block(text, at).expect("the text goes on behind its end")
}

impl Word {
    /// Where it ends if it stands at `at` in `text`, which ends at `end`.
    #[inline(always)]
    fn stands(self, text: &[u8], at: usize, end: usize) -> Option<usize> {
        let behind = at + usize::from(self.len);
        let same = (self.block ^ block(text, at)) << self.shift == 0;
        (same && behind <= end).then_some(behind)
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
