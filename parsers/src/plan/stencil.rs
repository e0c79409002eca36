//! Events that are composed but for the texts of a line, and those that were seen lately.

use super::{Key, Place, Places, TIME_BIT, TextNumber};
use crate::json::{write_content, write_part};
use crate::out::{Out, PAD};
use crate::time::Stamp;
use crate::write::Source;

/// How many stencils a parser keeps of one pattern, and of all: some hundred bytes each. A plan that
/// would have more begins anew.
const OF_PATTERN_MAX: usize = 32;
const ALL_MAX: usize = 2_048;

/// The members of an event, up to its original line, with holes.
#[derive(Debug)]
pub(crate) struct Stencil {
    pieces: Box<[Piece]>,
    /// What follows the last hole.
    end: Box<[u8]>,
    /// Whether what stands behind the header is the message.
    with_message: bool,
}

/// A short text, and the hole behind it. Copied as one block of which a part counts, it costs a few
/// instructions and no look at where it stands.
#[derive(Debug, Clone, Copy)]
struct Piece {
    block: [u8; PAD],
    len: u8,
    hole: TextNumber,
}

/// The number of the hole for a time that is a member behind others.
pub(super) const TIME_HOLE: TextNumber = TIME_BIT as TextNumber;
/// What stands behind a piece that a piece follows.
const NO_HOLE: TextNumber = TIME_HOLE + 1;
/// Added to the number of a text that is made, and stands elsewhere.
pub(super) const MADE_HOLE: TextNumber = NO_HOLE + 1;

impl Stencil {
    /// Of what was written but for the holes, which are told by where they stand in it.
    pub(super) fn new(written: &[u8], holes: &[(usize, TextNumber)], with_message: bool) -> Self {
        let mut pieces = Vec::new();
        let mut from = 0;
        for (at, hole) in holes {
            let mut text = &written[from..*at];
            loop {
                let (part, rest) = text.split_at(text.len().min(PAD));
                let mut block = [0; PAD];
                block[..part.len()].copy_from_slice(part);
                let hole = if rest.is_empty() { *hole } else { NO_HOLE };
                pieces.push(Piece { block, len: part.len() as u8, hole });
                text = rest;
                if rest.is_empty() {
                    break;
                }
            }
            from = *at;
        }
        Self { pieces: pieces.into(), end: written[from..].into(), with_message }
    }

    pub(crate) fn with_message(&self) -> bool {
        self.with_message
    }

    /// Writes the members with the texts of a line, and the `time` where it is one of them.
    #[inline]
    pub(crate) fn write(
        &self,
        places: &Places,
        source: Source<'_>,
        (time, stamp): (Option<i64>, &mut Stamp),
        out: &mut Out,
    ) {
        if !(source.plain && out.fill(|room| self.fill(places, source.padded, room))) {
            self.write_any(places, source, (time, stamp), out);
        }
    }

    /// As [`Stencil::write`], if all texts are written as they are; what is left of `room`, `None` if
    /// that does not do.
    #[inline]
    fn fill<'r>(
        &self,
        places: &Places,
        padded: &[u8],
        mut room: &'r mut [u8],
    ) -> Option<&'r mut [u8]> {
        // So long that neither a piece nor a short text behind it has to ask whether there is room.
        const WINDOW: usize = 4 * PAD;
        for Piece { block, len, hole } in &self.pieces {
            let window = room.first_chunk_mut::<WINDOW>()?;
            *window.first_chunk_mut()? = *block;
            let len = usize::from(*len) % (2 * PAD);
            let mut used = len;
            if *hole < TIME_HOLE {
                let (start, end) = places.place(*hole);
                let (start, text_len) = (start as usize, (end - start) as usize);
                used += text_len;
                if text_len <= PAD {
                    window[len..len + PAD].copy_from_slice(padded.get(start..start + PAD)?);
                } else {
                    let text = padded.get(start..start + text_len)?;
                    room.get_mut(len..used)?.copy_from_slice(text);
                }
            } else if *hole != NO_HOLE {
                used += places.write_made(*hole, room.get_mut(len..)?)?;
            }
            room = room.get_mut(used..)?;
        }
        let (end, rest) = room.split_at_mut_checked(self.end.len())?;
        end.copy_from_slice(&self.end);
        Some(rest)
    }

    #[inline(never)]
    fn write_any(
        &self,
        places: &Places,
        source: Source<'_>,
        (time, stamp): (Option<i64>, &mut Stamp),
        out: &mut Out,
    ) {
        for Piece { block, len, hole } in &self.pieces {
            out.block(block, usize::from(*len));
            match *hole {
                NO_HOLE => {}
                TIME_HOLE => stamp.write(time.unwrap_or_default(), out),
                MADE_HOLE.. => write_content(out, places.bytes(&places.made, *hole - MADE_HOLE)),
                hole => {
                    let (start, end) = places.place(hole);
                    write_part(out, source.padded, start as usize, (end - start) as usize);
                }
            }
        }
        out.text(&self.end);
    }
}

impl Places {
    /// Puts the text for a hole of what is made to the beginning of `room`; its length, `None` if it is no
    /// such hole or there is no room.
    #[inline(never)]
    fn write_made(&self, hole: TextNumber, room: &mut [u8]) -> Option<usize> {
        let text = self.bytes(&self.made, hole.checked_sub(MADE_HOLE)?);
        room.get_mut(..text.len())?.copy_from_slice(text);
        Some(text.len())
    }
}

/// The stencils that lines have needed, by the patterns' numbers.
#[derive(Debug, Default)]
pub(crate) struct Stencils {
    of: Vec<Vec<Form>>,
    kept: usize,
}

/// The stencils of one key.
#[derive(Debug)]
struct Form {
    key: Key,
    /// The texts that have to be compared, because of equal ones one is written.
    pairs: Box<[(TextNumber, TextNumber)]>,
    /// By which pairs are equal.
    cuts: Vec<(u64, Stencil)>,
}

/// Where a stencil is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pattern: u32,
    form: u16,
    at: u16,
}

/// What was composed for a line: the pairs of texts that were compared, and the stencil.
pub(super) type Composed = (Vec<(TextNumber, TextNumber)>, Stencil);

impl Stencils {
    /// The stencil of a pattern for a line; made by `compose` if it is new.
    #[inline]
    pub(super) fn find(
        &mut self,
        pattern: usize,
        key: &Key,
        (line, places): (&[u8], &Places),
        compose: impl FnOnce() -> Composed,
    ) -> Cut {
        let equal = |(one, other): &(TextNumber, TextNumber)| {
            let len = |(start, end): Place| end - start;
            len(places.place(*one)) == len(places.place(*other))
                && places.bytes(line, *one) == places.bytes(line, *other)
        };
        let equals = |pairs: &[(TextNumber, TextNumber)]| {
            pairs.iter().rev().fold(0, |bits, pair| bits << 1 | u64::from(equal(pair)))
        };
        let forms = self.of.get(pattern).map_or(&[][..], Vec::as_slice);
        let form = forms.iter().position(|form| form.key == *key);
        if let Some(form) = form {
            let Form { pairs, cuts, .. } = &forms[form];
            let bits = equals(pairs);
            if let Some(at) = cuts.iter().position(|(known, _)| *known == bits) {
                return Cut { pattern: pattern as u32, form: form as u16, at: at as u16 };
            }
        }
        let (pairs, stencil) = compose();
        let bits = equals(&pairs);
        self.keep(pattern, key, (pairs, bits, stencil))
    }

    #[cold]
    fn keep(
        &mut self,
        pattern: usize,
        key: &Key,
        (pairs, bits, stencil): (Vec<(TextNumber, TextNumber)>, u64, Stencil),
    ) -> Cut {
        if self.kept >= ALL_MAX {
            (self.of, self.kept) = (Vec::new(), 0);
        }
        if self.of.len() <= pattern {
            self.of.resize_with(pattern + 1, Vec::new);
        }
        let forms = &mut self.of[pattern];
        let kept = forms.iter().map(|form| form.cuts.len()).sum::<usize>();
        if kept >= OF_PATTERN_MAX {
            forms.clear();
            self.kept -= kept;
        }
        self.kept += 1;
        let form = forms.iter().position(|form| form.key == *key).unwrap_or_else(|| {
            forms.push(Form { key: *key, pairs: pairs.into(), cuts: Vec::new() });
            forms.len() - 1
        });
        let cuts = &mut forms[form].cuts;
        cuts.push((bits, stencil));
        Cut { pattern: pattern as u32, form: form as u16, at: (cuts.len() - 1) as u16 }
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    pub(crate) fn get(&self, cut: Cut) -> &Stencil {
        &self.of[cut.pattern as usize][usize::from(cut.form)].cuts[usize::from(cut.at)].1
    }
}
