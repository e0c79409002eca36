//! Whether an atomic group or a possessive quantifier can be dropped without changing what matches.
//!
//! They forbid an engine that backtracks to give up what they took. That changes nothing if there is
//! only one way for the group to match (each choice in it is settled by the next byte), or if nothing
//! behind it can fail. Everything else is refused: a linear engine has no such thing.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// What may come next.
#[derive(Debug, Clone)]
struct Follow {
    bytes: [bool; 256],
    /// Nothing more has to match.
    accepts: bool,
}

/// The marked groups (`a0`, `a1`, …) of a pattern that cannot be dropped, by number.
pub(crate) fn undroppable(hir: &Hir) -> Vec<usize> {
    let mut found = Vec::new();
    walk(hir, &Follow { bytes: [false; 256], accepts: true }, &mut found);
    found
}

fn walk(hir: &Hir, follow: &Follow, found: &mut Vec<usize>) {
    match hir.kind() {
        HirKind::Concat(parts) => {
            let mut follow = follow.clone();
            for part in parts.iter().rev() {
                walk(part, &follow, found);
                follow = before(part, &follow);
            }
        }
        HirKind::Alternation(branches) => {
            branches.iter().for_each(|branch| walk(branch, follow, found))
        }
        HirKind::Repetition(repetition) => {
            walk(&repetition.sub, &again(&repetition.sub, follow), found);
        }
        HirKind::Capture(capture) => {
            let number =
                capture.name.as_ref().and_then(|name| name.strip_prefix('a')?.parse().ok());
            if let Some(number) = number
                && !follow.accepts
                && !settled(&capture.sub, follow)
            {
                found.push(number);
            }
            walk(&capture.sub, follow, found);
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => {}
    }
}

/// Whether there is one way at most for `hir` to match in front of `follow`.
fn settled(hir: &Hir, follow: &Follow) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => true,
        HirKind::Capture(capture) => settled(&capture.sub, follow),
        HirKind::Concat(parts) => {
            let mut follow = follow.clone();
            parts.iter().rev().all(|part| {
                let one = settled(part, &follow);
                follow = before(part, &follow);
                one
            })
        }
        HirKind::Repetition(repetition) => {
            let fixed = repetition.max == Some(repetition.min);
            let (bytes, empty) = first(&repetition.sub);
            let apart = !empty && disjoint(&bytes, &follow.bytes);
            settled(&repetition.sub, &again(&repetition.sub, follow))
                && (fixed || repetition.greedy && apart)
        }
        HirKind::Alternation(branches) => {
            let mut seen = [false; 256];
            branches.iter().all(|branch| {
                let (bytes, empty) = first(branch);
                let apart = !empty && disjoint(&bytes, &seen);
                seen.iter_mut().zip(bytes).for_each(|(seen, new)| *seen |= new);
                apart && settled(branch, follow)
            })
        }
    }
}

/// What may come next in front of `hir`.
fn before(hir: &Hir, follow: &Follow) -> Follow {
    let (mut bytes, empty) = first(hir);
    if empty {
        bytes.iter_mut().zip(follow.bytes).for_each(|(byte, next)| *byte |= next);
    }
    // A condition may fail, so it is not nothing.
    let conditional = !hir.properties().look_set().is_empty();
    Follow { bytes, accepts: empty && follow.accepts && !conditional }
}

/// What may come behind one round of a repetition.
fn again(sub: &Hir, follow: &Follow) -> Follow {
    let (mut bytes, _) = first(sub);
    bytes.iter_mut().zip(follow.bytes).for_each(|(byte, next)| *byte |= next);
    Follow { bytes, accepts: false }
}

/// The bytes that `hir` may begin with, and whether it may be empty.
fn first(hir: &Hir) -> ([bool; 256], bool) {
    let mut bytes = [false; 256];
    let empty = match hir.kind() {
        HirKind::Empty => true,
        HirKind::Look(Look::Start | Look::End) => true,
        // What stands beside a word's edge is not looked into: anything.
        HirKind::Look(_) => {
            bytes = [true; 256];
            true
        }
        HirKind::Literal(literal) => {
            literal.0.first().iter().for_each(|byte| bytes[usize::from(**byte)] = true);
            literal.0.is_empty()
        }
        HirKind::Class(class) => {
            class_bytes(class, &mut bytes);
            false
        }
        HirKind::Capture(capture) => return first(&capture.sub),
        HirKind::Repetition(repetition) => {
            let (sub, empty) = first(&repetition.sub);
            bytes = sub;
            empty || repetition.min == 0
        }
        HirKind::Concat(parts) => {
            let mut empty = true;
            for part in parts {
                let (sub, none) = first(part);
                bytes.iter_mut().zip(sub).for_each(|(byte, new)| *byte |= new);
                empty = none;
                if !none {
                    break;
                }
            }
            empty
        }
        HirKind::Alternation(branches) => {
            let mut empty = false;
            for branch in branches {
                let (sub, none) = first(branch);
                bytes.iter_mut().zip(sub).for_each(|(byte, new)| *byte |= new);
                empty |= none;
            }
            empty
        }
    };
    (bytes, empty)
}

fn class_bytes(class: &Class, bytes: &mut [bool; 256]) {
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                bytes[usize::from(range.start())..=usize::from(range.end())].fill(true);
            }
        }
        Class::Unicode(class) => {
            for range in class.ranges() {
                let (start, end) = (range.start() as u32, range.end() as u32);
                (start..=end.min(0x7f)).for_each(|code| bytes[code as usize] = true);
                if end > 0x7f {
                    bytes[0x80..].fill(true);
                }
            }
        }
    }
}

fn disjoint(one: &[bool; 256], other: &[bool; 256]) -> bool {
    !one.iter().zip(other).any(|(one, other)| *one && *other)
}
