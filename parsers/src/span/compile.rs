//! From the syntax tree of `regex-syntax` to operations.

use super::bytes::{ByteSet, Class};
use super::first::First;
use super::lower::{Parts, lower};
use super::{Literals, NO_MAX, NO_SLOT, Op, Program, Skip, Span, Split, Start, Take, Until};
use crate::heads::Head;
use regex_syntax::hir::{self, Hir, HirKind, Look, Repetition};

/// The rules that people write take 10 to 40; what is larger is better served by an automaton.
const OPS_MAX: usize = 1024;

/// `None` if the pattern has no place here.
pub(super) fn program(hir: &Hir) -> Option<Program> {
    let mut compiler = Compiler { opened: 1, looped: 1, ..Compiler::default() };
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
    /// The first group that was not yet begun.
    opened: u32,
    /// The first group behind the last loop.
    looped: u32,
}

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
        let later = self.later()?;
        self.push(Op::Split(Split { later, ..Split::default() }))
    }

    fn set_split(&mut self, at: usize, greedy: bool, inside: u16, behind: u16) {
        if let Op::Split(split) = &mut self.ops[at] {
            let (one, other) = if greedy { (inside, behind) } else { (behind, inside) };
            (split.one, split.other) = (one, other);
        }
    }

    /// The first slot that only later operations set. In a loop, what stands in it is none of them, for
    /// there a group keeps what it was in the turn before; it is set back when a turn fails.
    fn later(&self) -> Option<u8> {
        u8::try_from(self.opened.max(self.looped).checked_mul(2)?).ok()
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
                let slot = u8::try_from(capture.index.checked_mul(2)?).ok()?;
                let slot = Some(slot).filter(|slot| *slot < NO_SLOT)?;
                self.opened = self.opened.max(capture.index + 1);
                let behind = slot + 1;
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
        for branch in others {
            let split = self.push_split()?;
            let inside = self.here();
            self.hir(branch)?;
            jumps.push(self.push(Op::Jump { to: 0 })?);
            let behind = self.here();
            self.set_split(split, true, inside, behind);
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
        self.looped = self.looped.max(last_group(&repetition.sub) + 1);
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

    fn span(&mut self, set: ByteSet, repetition: &Repetition, slot: u8) -> Option<()> {
        let set = self.set(set);
        let min = u16::try_from(repetition.min).ok().filter(|min| *min < NO_MAX)?;
        let max = match repetition.max {
            Some(max) => u16::try_from(max).ok().filter(|max| *max < NO_MAX)?,
            None => NO_MAX,
        };
        let take = if repetition.greedy { Take::Greedy } else { Take::Lazy };
        let to = self.here() + 1;
        let until = Until::Literal;
        let later = self.later()?;
        self.push(Op::Span(Span {
            set,
            next: 0,
            min,
            max,
            take,
            slot,
            to,
            until,
            behind: 0,
            later,
        }))?;
        Some(())
    }

    /// `L: split(in, out); in: x; jump L; out:`, and where one byte of `x` is a run: `run; L: split(in,
    /// out); in: the rest of x; run; jump L; out:`.
    fn endless(&mut self, repetition: &Repetition) -> Option<()> {
        let run = run_among(&repetition.sub);
        let turns = Repetition { min: 0, max: None, ..repetition.clone() };
        if let Some((set, _)) = run {
            self.span(set, &turns, NO_SLOT)?;
        }
        let split = self.push_split()?;
        let inside = self.here();
        match run {
            Some((set, others)) => {
                self.alternation(&others)?;
                self.span(set, &turns, NO_SLOT)?;
            }
            None => self.hir(&repetition.sub)?,
        }
        self.push(Op::Jump { to: split as u16 })?;
        let behind = self.here();
        self.set_split(split, repetition.greedy, inside, behind);
        Some(())
    }

    /// `count` times `split(in, out); in: x` with one `out` for all.
    fn optional(&mut self, repetition: &Repetition, count: u32) -> Option<()> {
        let mut splits = Vec::new();
        for _ in 0..count {
            let split = self.push_split()?;
            splits.push((split, self.here()));
            self.hir(&repetition.sub)?;
        }
        let behind = self.here();
        for (split, inside) in splits {
            self.set_split(split, repetition.greedy, inside, behind);
        }
        Some(())
    }

    /// Resolves what depends on what follows.
    fn finish(mut self, hir: &Hir, slots: usize) -> Option<Program> {
        let literals = Literals::new(std::mem::take(&mut self.literals));
        let mut firsts = vec![First::of(&self.ops, &literals, &self.sets, 0)];
        for at in 0..self.ops.len() {
            match self.ops[at] {
                Op::Span(mut span) => {
                    let first = First::of(&self.ops, &literals, &self.sets, at + 1);
                    let set = &self.sets[usize::from(span.set)];
                    span.take = settled(&self.ops, set, &first, at + 1, span.take);
                    // The others never ask what follows.
                    if matches!(span.take, Take::Greedy | Take::Lazy) {
                        let sought = first.open || first.literal.is_some_and(|(_, len)| len > 1);
                        if span.take == Take::Lazy && !sought {
                            let set = self.sets[usize::from(span.set)].without(&first.bytes);
                            span.until = Until::Class(self.set(set));
                        }
                        span.next = number(&mut firsts, first);
                        if let Some(skip) = skip(&self.ops, at + 1) {
                            (span.to, span.behind) = (skip.to, skip.len);
                        }
                    }
                    self.ops[at] = Op::Span(span);
                }
                Op::Split(mut split) => {
                    let mut first = |at: u16| {
                        let at = usize::from(at);
                        number(&mut firsts, First::of(&self.ops, &literals, &self.sets, at))
                    };
                    (split.one_first, split.other_first) = (first(split.one), first(split.other));
                    split.literal = skip(&self.ops, usize::from(split.one));
                    split.exclusive = split.literal.is_some_and(|skip| {
                        let literal = literals.bytes(skip.at, skip.len);
                        excludes(&self.ops, &literals, &self.sets, split.other, literal)
                    });
                    self.ops[at] = Op::Split(split);
                }
                _ => {}
            }
        }
        let start = start(&self.ops, hir);
        let known = start == Start::Text && self.ops[0] == Op::Look(Look::Start);
        let classes: Box<[Class]> = self.sets.into_iter().map(Class::new).collect();
        let Parts { steps, spans, splits } = lower(&self.ops, &literals, &classes, &firsts);
        Some(Program {
            begin: u16::from(known),
            steps,
            spans,
            splits,
            classes,
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

/// The literal at an operation, if it is compared there and nothing else is done before.
fn skip(ops: &[Op], mut at: usize) -> Option<Skip> {
    loop {
        match ops[at] {
            Op::Literal { at: place, len } => {
                return Some(Skip { at: place, len, to: at as u16 + 1 });
            }
            Op::Jump { to } if usize::from(to) > at => at = usize::from(to),
            _ => return None,
        }
    }
}

/// Whether the program cannot go on from the operation `from` where `literal` stands: it is followed
/// along the literal's bytes, and ends before them.
fn excludes(ops: &[Op], literals: &Literals, sets: &[ByteSet], from: u16, literal: &[u8]) -> bool {
    // Places in the program: an operation, and how many bytes of its literal are behind.
    let mut places = vec![(usize::from(from), 0_usize)];
    for byte in literal {
        let mut next = Vec::new();
        let mut seen = vec![false; ops.len()];
        while let Some((at, done)) = places.pop() {
            if done == 0 && std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match ops[at] {
                Op::Literal { at: place, len } => {
                    let bytes = literals.bytes(place, len);
                    if bytes[done] == *byte {
                        let whole = done + 1 == bytes.len();
                        next.push(if whole { (at + 1, 0) } else { (at, done + 1) });
                    }
                }
                Op::One { set } => {
                    if sets[usize::from(set)].contains(*byte) {
                        next.push((at + 1, 0));
                    }
                }
                // How long a run may be is not counted: it ends or goes on everywhere.
                Op::Span(Span { set, min, .. }) => {
                    if sets[usize::from(set)].contains(*byte) {
                        next.extend([(at, 0), (at + 1, 0)]);
                    }
                    if min == 0 {
                        places.push((at + 1, 0));
                    }
                }
                Op::Split(Split { one, other, .. }) => {
                    places.extend([(usize::from(one), 0), (usize::from(other), 0)]);
                }
                Op::Jump { to } => places.push((usize::from(to), 0)),
                // The text goes on.
                Op::Look(Look::End) => {}
                Op::Look(_) | Op::Save { .. } => places.push((at + 1, 0)),
                Op::Match => return false,
            }
        }
        places = next;
    }
    places.is_empty()
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

/// The number of the last group in `hir`; 0 if there is none.
fn last_group(hir: &Hir) -> u32 {
    match hir.kind() {
        HirKind::Capture(capture) => capture.index.max(last_group(&capture.sub)),
        HirKind::Repetition(repetition) => last_group(&repetition.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(last_group).max().unwrap_or(0)
        }
        _ => 0,
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

/// Of alternatives that a loop goes through, such as `[^"\\]|\\.`: the bytes of the one that is one byte
/// long, and the others, if none of these begins with such a byte. Turns of the one are a run then.
fn run_among(hir: &Hir) -> Option<(ByteSet, Vec<Hir>)> {
    let HirKind::Alternation(branches) = hir.kind() else { return None };
    let at = branches.iter().position(|branch| set_of(branch).is_some())?;
    let set = set_of(&branches[at])?;
    let others = [&branches[..at], &branches[at + 1..]].concat();
    let apart = |other: &Hir| {
        let first = Head::of(&[other]);
        first.at(0).is_some_and(|first| !first.overlaps(&set))
    };
    let captures = hir.properties().explicit_captures_len() > 0;
    (!captures && others.iter().all(apart)).then_some((set, others))
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
