//! What can begin at an operation: the bytes, the end of the text, or anything.

use super::Op;
use super::bytes::ByteSet;
use regex_syntax::hir::Look;

/// What can stand where an operation begins, if the rest of the program matches from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct First {
    pub(super) bytes: ByteSet,
    /// The byte, if it is just one.
    pub(super) single: Option<u8>,
    /// The literal that stands there, if it is one operation: where it begins, and its length.
    pub(super) literal: Option<(u32, u16)>,
    /// The end of the text can.
    pub(super) end: bool,
    /// Anything can: the rest may match without a byte.
    pub(super) open: bool,
}

impl First {
    /// Of the operation `at`.
    pub(super) fn of(ops: &[Op], literals: &[u8], sets: &[ByteSet], at: usize) -> Self {
        let mut first = Self::default();
        let mut seen = vec![false; ops.len()];
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match ops[at] {
                Op::Literal { at, .. } => first.bytes.join(&ByteSet::of(literals[at as usize])),
                Op::One { set } => first.bytes.join(&sets[usize::from(set)]),
                Op::Span { set, min, .. } => {
                    first.bytes.join(&sets[usize::from(set)]);
                    if min == 0 {
                        open.push(at + 1);
                    }
                }
                Op::Split { one, other, .. } => open.extend([usize::from(one), usize::from(other)]),
                Op::Jump { to } => open.push(usize::from(to)),
                Op::Look(Look::End) => first.end = true,
                // Others are passed through: what they forbid is found out when they are run.
                Op::Look(_) | Op::Save { .. } => open.push(at + 1),
                Op::Match => first.open = true,
            }
        }
        first.single = first.bytes.single().filter(|_| !first.open);
        first.literal = literal_at(ops, at);
        first
    }

    /// Whether the literal, if there is one, stands at `at` in `haystack`.
    #[inline]
    fn confirms(&self, literals: &[u8], haystack: &[u8], at: usize) -> bool {
        self.literal.is_none_or(|(place, len)| {
            let literal = &literals[place as usize..][..usize::from(len)];
            haystack[at..].starts_with(literal)
        })
    }

    /// Whether `haystack` can go on at `at`.
    #[inline]
    pub(super) fn allows(&self, haystack: &[u8], at: usize) -> bool {
        self.open || haystack.get(at).map_or(self.end, |byte| self.bytes.contains(*byte))
    }

    /// The first place from `from` to `to` at which `haystack` can go on.
    pub(super) fn next(
        &self,
        literals: &[u8],
        haystack: &[u8],
        mut from: usize,
        to: usize,
    ) -> Option<usize> {
        if self.open {
            return (from <= to).then_some(from);
        }
        let window_end = haystack.len().min(to + 1);
        loop {
            let window = haystack.get(from..window_end)?;
            let found = match self.single {
                Some(byte) => memchr::memchr(byte, window),
                None => window.iter().position(|byte| self.bytes.contains(*byte)),
            };
            match found {
                Some(offset) if self.confirms(literals, haystack, from + offset) => {
                    return Some(from + offset);
                }
                Some(offset) => from += offset + 1,
                None => return (self.end && to >= haystack.len()).then_some(haystack.len()),
            }
        }
    }

    /// The last such place.
    pub(super) fn last(
        &self,
        literals: &[u8],
        haystack: &[u8],
        from: usize,
        to: usize,
    ) -> Option<usize> {
        if self.open || (self.end && to == haystack.len()) {
            return (from <= to).then_some(to);
        }
        let mut window = haystack.get(from..haystack.len().min(to + 1))?;
        loop {
            let offset = match self.single {
                Some(byte) => memchr::memrchr(byte, window),
                None => window.iter().rposition(|byte| self.bytes.contains(*byte)),
            }?;
            if self.confirms(literals, haystack, from + offset) {
                return Some(from + offset);
            }
            window = &window[..offset];
        }
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
