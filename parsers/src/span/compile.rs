//! From the syntax tree of `regex-syntax` to operations.

use super::bytes::{ByteSet, Class};
use super::first::First;
use super::{Literals, NO_MAX, NO_SLOT, Op, Program, Span, Split, Start, Take};
use regex_syntax::hir::{self, Hir, HirKind, Look, Repetition};

/// The rules that people write take 10 to 40; what is larger is better served by an automaton.
const OPS_MAX: usize = 1024;

/// `None` if the pattern has no place here.
pub(super) fn program(hir: &Hir) -> Option<Program> {
    let mut compiler = Compiler::default();
    compiler.hir(hir)?;
    compiler.push(Op::Match)?;
    let groups = hir.properties().explicit_captures_len() + 1;
    compiler.finish(hir, groups * 2)
}

#[derive(Default)]
struct Compiler {
    ops: Vec<Op>,
    sets: Vec<ByteSet>,
    literals: Vec<u8>,
    /// In how many loops the operations that are pushed stand.
    loops: usize,
}

/// The slots that only a part of the pattern sets: from here, so many.
type Slots = (u16, u16);

impl Compiler {
    fn here(&self) -> u16 {
        self.ops.len() as u16
    }

    fn push(&mut self, op: Op) -> Option<usize> {
        if self.ops.len() >= OPS_MAX {
            return None;
        }
        self.ops.push(op);
        Some(self.ops.len() - 1)
    }

    /// A split whose branches are not known yet.
    fn push_split(&mut self) -> Option<usize> {
        self.push(Op::Split(Split::default()))
    }

    fn set_split(&mut self, at: usize, greedy: bool, inside: u16, behind: u16, slots: Slots) {
        let (one, other) = if greedy { (inside, behind) } else { (behind, inside) };
        let (cleared, cleared_len) = slots;
        self.ops[at] = Op::Split(Split { one, other, cleared, cleared_len, ..Split::default() });
    }

    /// What the branches of a split have to begin without. In a loop that is nothing, for there a
    /// group keeps what it was in the turn before; it is set back when a turn fails.
    fn slots_of(&self, branches: &[Hir]) -> Option<Slots> {
        let groups: usize =
            branches.iter().map(|branch| branch.properties().explicit_captures_len()).sum();
        if self.loops > 0 || groups == 0 {
            return Some((0, 0));
        }
        let first = branches.iter().find_map(first_group)?;
        Some((u16::try_from(first).ok()?.checked_mul(2)?, u16::try_from(groups * 2).ok()?))
    }

    fn set(&mut self, set: ByteSet) -> u16 {
        let known = self.sets.iter().position(|known| *known == set);
        known.unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        }) as u16
    }

    fn hir(&mut self, hir: &Hir) -> Option<()> {
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => {
                let at = u32::try_from(self.literals.len()).ok()?;
                let len = u16::try_from(literal.0.len()).ok()?;
                self.literals.extend_from_slice(&literal.0);
                self.push(Op::Literal { at, len })?;
            }
            HirKind::Class(_) => {
                let set = set_of(hir)?;
                let set = self.set(set);
                self.push(Op::One { set })?;
            }
            HirKind::Look(look) => {
                let known = matches!(
                    look,
                    Look::Start
                        | Look::End
                        | Look::StartLF
                        | Look::EndLF
                        | Look::WordAscii
                        | Look::WordAsciiNegate
                );
                known.then_some(())?;
                self.push(Op::Look(*look))?;
            }
            HirKind::Repetition(repetition) => self.repetition(repetition)?,
            HirKind::Capture(capture) => {
                let slot = u16::try_from(capture.index.checked_mul(2)?).ok()?;
                let behind = slot.checked_add(1).filter(|slot| *slot < NO_SLOT)?;
                if let HirKind::Repetition(repetition) = capture.sub.kind()
                    && let Some(set) = set_of(&repetition.sub)
                    && self.loops == 0
                {
                    return self.span(set, repetition, slot);
                }
                let restored = self.loops > 0;
                self.push(Op::Save { slot, restored })?;
                self.hir(&capture.sub)?;
                self.push(Op::Save { slot: behind, restored })?;
            }
            HirKind::Concat(parts) => {
                for part in parts {
                    self.hir(part)?;
                }
            }
            HirKind::Alternation(branches) => self.alternation(branches)?,
        }
        Some(())
    }

    fn alternation(&mut self, branches: &[Hir]) -> Option<()> {
        let mut jumps = Vec::new();
        let (last, others) = branches.split_last()?;
        for (number, branch) in others.iter().enumerate() {
            let slots = self.slots_of(&branches[number..])?;
            let split = self.push_split()?;
            let inside = self.here();
            self.hir(branch)?;
            jumps.push(self.push(Op::Jump { to: 0 })?);
            let behind = self.here();
            self.set_split(split, true, inside, behind, slots);
        }
        self.hir(last)?;
        let to = self.here();
        for jump in jumps {
            self.ops[jump] = Op::Jump { to };
        }
        Some(())
    }

    fn repetition(&mut self, repetition: &Repetition) -> Option<()> {
        let (min, max) = (repetition.min, repetition.max);
        if let Some(set) = set_of(&repetition.sub) {
            return self.span(set, repetition, NO_SLOT);
        }
        // A turn of the loop that takes nothing has a meaning of its own in automata.
        let empty = repetition.sub.properties().minimum_len().is_none_or(|len| len == 0);
        if empty && max.is_none_or(|max| max > 1) {
            return None;
        }
        if max == Some(1) && min == 0 {
            return self.optional(repetition, 1);
        }
        self.loops += 1;
        for _ in 0..min {
            self.hir(&repetition.sub)?;
        }
        match max {
            None => self.endless(repetition)?,
            Some(max) => self.optional(repetition, max.checked_sub(min)?)?,
        }
        self.loops -= 1;
        Some(())
    }

    fn span(&mut self, set: ByteSet, repetition: &Repetition, slot: u16) -> Option<()> {
        let set = self.set(set);
        let min = u16::try_from(repetition.min).ok().filter(|min| *min < NO_MAX)?;
        let max = match repetition.max {
            Some(max) => u16::try_from(max).ok().filter(|max| *max < NO_MAX)?,
            None => NO_MAX,
        };
        let take = if repetition.greedy { Take::Greedy } else { Take::Lazy };
        self.push(Op::Span(Span { set, next: 0, min, max, take, slot }))?;
        Some(())
    }

    /// `L: split(in, out); in: x; jump L; out:`
    fn endless(&mut self, repetition: &Repetition) -> Option<()> {
        let split = self.push_split()?;
        let inside = self.here();
        self.hir(&repetition.sub)?;
        self.push(Op::Jump { to: split as u16 })?;
        let behind = self.here();
        self.set_split(split, repetition.greedy, inside, behind, (0, 0));
        Some(())
    }

    /// `count` times `split(in, out); in: x` with one `out` for all.
    fn optional(&mut self, repetition: &Repetition, count: u32) -> Option<()> {
        let slots = self.slots_of(std::slice::from_ref(&repetition.sub))?;
        let mut splits = Vec::new();
        for _ in 0..count {
            let split = self.push_split()?;
            splits.push((split, self.here()));
            self.hir(&repetition.sub)?;
        }
        let behind = self.here();
        for (split, inside) in splits {
            self.set_split(split, repetition.greedy, inside, behind, slots);
        }
        Some(())
    }

    /// Resolves what depends on what follows.
    fn finish(mut self, hir: &Hir, slots: usize) -> Option<Program> {
        let literals = Literals::new(self.literals);
        let mut firsts = vec![First::of(&self.ops, &literals, &self.sets, 0)];
        for at in 0..self.ops.len() {
            match self.ops[at] {
                Op::Span(mut span) => {
                    let first = First::of(&self.ops, &literals, &self.sets, at + 1);
                    let set = &self.sets[usize::from(span.set)];
                    span.take = settled(&self.ops, set, &first, at + 1, span.take);
                    // The others never ask what follows.
                    if matches!(span.take, Take::Greedy | Take::Lazy) {
                        span.next = number(&mut firsts, first);
                    }
                    self.ops[at] = Op::Span(span);
                }
                Op::Split(mut split) => {
                    let mut first = |at: u16| {
                        let at = usize::from(at);
                        number(&mut firsts, First::of(&self.ops, &literals, &self.sets, at))
                    };
                    (split.one_first, split.other_first) = (first(split.one), first(split.other));
                    self.ops[at] = Op::Split(split);
                }
                _ => {}
            }
        }
        let start = start(&self.ops, hir);
        Some(Program {
            ops: self.ops.into(),
            classes: self.sets.into_iter().map(Class::new).collect(),
            firsts: firsts.into(),
            literals,
            slots,
            start,
        })
    }
}

/// Whatever is given back of the longest run begins with a byte of the run; if what follows
/// cannot, there is only the longest. If nothing but the match follows, the first choice is it.
fn settled(ops: &[Op], set: &ByteSet, next: &First, at: usize, take: Take) -> Take {
    if !next.open && !next.bytes.overlaps(set) {
        return Take::Longest;
    }
    match (matches_at_once(ops, at), take) {
        (true, Take::Greedy) => Take::Longest,
        (true, Take::Lazy) => Take::Shortest,
        (_, take) => take,
    }
}

fn matches_at_once(ops: &[Op], at: usize) -> bool {
    let mut at = at;
    loop {
        match ops[at] {
            Op::Match => return true,
            Op::Save { .. } => at += 1,
            // Only alternations jump forward, loops jump to a split.
            Op::Jump { to } => at = usize::from(to),
            _ => return false,
        }
    }
}

fn start(ops: &[Op], hir: &Hir) -> Start {
    if hir.properties().look_set_prefix().contains(Look::Start) {
        return Start::Text;
    }
    let leading = ops.iter().find(|op| !matches!(op, Op::Save { .. }));
    match leading {
        Some(Op::Span(Span { set, max: NO_MAX, .. })) => Start::Run(*set),
        _ => Start::Any,
    }
}

/// The number of the first group in `hir`; those in one part of a pattern follow each other.
fn first_group(hir: &Hir) -> Option<u32> {
    match hir.kind() {
        HirKind::Capture(capture) => Some(capture.index),
        HirKind::Repetition(repetition) => first_group(&repetition.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().find_map(first_group),
        _ => None,
    }
}

/// The place of `first` among `firsts`.
fn number(firsts: &mut Vec<First>, first: First) -> u16 {
    let known = firsts.iter().position(|known| *known == first);
    known.unwrap_or_else(|| {
        firsts.push(first);
        firsts.len() - 1
    }) as u16
}

/// The bytes of what is one byte long.
fn set_of(hir: &Hir) -> Option<ByteSet> {
    let mut set = ByteSet::default();
    match hir.kind() {
        HirKind::Literal(literal) => match *literal.0 {
            [byte] => set = ByteSet::of(byte),
            _ => return None,
        },
        HirKind::Class(hir::Class::Bytes(class)) => {
            for range in class.iter() {
                set.insert_range(range.start(), range.end());
            }
        }
        HirKind::Class(hir::Class::Unicode(class)) => {
            for range in class.iter() {
                let (low, high) = (u8::try_from(range.start()), u8::try_from(range.end()));
                let (Ok(low), Ok(high @ ..=0x7f)) = (low, high) else { return None };
                set.insert_range(low, high);
            }
        }
        _ => return None,
    }
    Some(set)
}
