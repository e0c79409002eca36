//! Finding text: a substring regardless of case, and wildcard patterns.

use super::syntax::Piece;
use arrow_array::{Array as _, StringArray};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use regex::bytes::{Regex, RegexBuilder};

/// A substring, regardless of case.
#[derive(Debug, Clone)]
pub(crate) struct Contains {
    /// `None`: the empty text, which is in every text.
    regex: Option<Regex>,
    /// All matches are of one length, so that the leftmost one says all about a place.
    is_literal: bool,
}

impl Contains {
    /// `None` if the text is too long to be looked for.
    pub(crate) fn new(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self { regex: None, is_literal: true });
        }
        compile(&regex::escape(text), text.is_ascii())
            .map(|regex| Self { regex: Some(regex), is_literal: true })
    }

    /// As a pattern that may begin and end anywhere.
    pub(crate) fn of_pattern(pieces: &[Piece]) -> Option<Self> {
        let (source, ascii) = source_of(pieces);
        compile(&source, ascii).map(|regex| Self { regex: Some(regex), is_literal: false })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.as_ref().is_none_or(|regex| regex.is_match(text.as_bytes()))
    }

    /// One bit per row. The rows lie one behind the other in memory and are searched in one go, which
    /// for rare text is several times faster than row by row; a match that spans rows is none.
    pub(crate) fn rows(&self, array: &StringArray) -> BooleanBuffer {
        let Some(regex) = &self.regex else {
            let valid = array.nulls().map(|nulls| nulls.inner().clone());
            return valid.unwrap_or_else(|| BooleanBuffer::new_set(array.len()));
        };
        if !self.is_literal {
            return BooleanBuffer::collect_bool(array.len(), |row| {
                array.is_valid(row) && regex.is_match(array.value(row).as_bytes())
            });
        }
        let mut mask = BooleanBufferBuilder::new(array.len());
        mask.append_n(array.len(), false);
        let (offsets, bytes) = (array.value_offsets(), array.value_data());
        let end = offsets[array.len()] as usize;
        let (mut at, mut row) = (offsets[0] as usize, 0);
        while let Some(found) = regex.find_at(&bytes[..end], at) {
            while offsets[row + 1] as usize <= found.start() {
                row += 1;
            }
            let row_end = offsets[row + 1] as usize;
            if found.end() > row_end {
                // Another match may begin one byte on, within the row.
                at = found.start() + 1;
                continue;
            }
            mask.set_bit(row, array.is_valid(row));
            at = row_end;
            if at >= end {
                break;
            }
        }
        mask.finish()
    }
}

/// A whole text with `*` and `?`, regardless of case.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    regex: Regex,
}

impl Glob {
    pub(crate) fn new(pieces: &[Piece]) -> Option<Self> {
        let (source, ascii) = source_of(pieces);
        compile(&format!(r"\A(?:{source})\z"), ascii).map(|regex| Self { regex })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }
}

fn source_of(pieces: &[Piece]) -> (String, bool) {
    let mut source = String::new();
    let mut ascii = true;
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => {
                ascii &= literal.is_ascii();
                source.push_str(&regex::escape(literal));
            }
            Piece::Any => source.push_str("(?s-u:.)*"),
            // One character, of however many bytes.
            Piece::One => source.push_str("(?su:.)"),
        }
    }
    (source, ascii)
}

/// Text of ASCII alone is matched by bytes, which is faster.
fn compile(source: &str, ascii: bool) -> Option<Regex> {
    RegexBuilder::new(source).case_insensitive(true).unicode(!ascii).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_substring_is_found_in_its_row_and_not_across_rows() {
        let rows = ["Failed password", "fail", "ed PASSWORD", "", "aab", "Größe ß"];
        let array: StringArray = rows.iter().map(Some).chain([None]).collect();
        for (text, expected) in [
            ("failed", vec![0]),
            ("PASSWORD", vec![0, 2]),
            ("fail", vec![0, 1]),
            ("led", vec![0]),
            ("ab", vec![4]),
            ("GRÖSSE", vec![]),
            ("größe", vec![5]),
            ("GRÖ", vec![5]),
            ("", vec![0, 1, 2, 3, 4, 5]),
            ("zzz", vec![]),
            ("da", vec![]),
        ] {
            let contains = Contains::new(text).unwrap();
            let found: Vec<usize> = contains.rows(&array).set_indices().collect();
            assert_eq!(found, expected, "{text}");
            let one_by_one = rows.iter().enumerate().filter(|(_, row)| contains.is_match(row));
            assert_eq!(one_by_one.map(|(at, _)| at).collect::<Vec<_>>(), expected, "{text}");
            let tail = array.slice(1, 5);
            let found: Vec<usize> = contains.rows(&tail).set_indices().map(|at| at + 1).collect();
            let later: Vec<usize> = expected.into_iter().filter(|at| *at > 0).collect();
            assert_eq!(found, later, "{text} in a slice");
        }
    }

    #[test]
    fn wildcards_stand_for_any_text_or_one_character() {
        let literal = |text: &str| Piece::Literal(text.into());
        for (pieces, text, expected) in [
            (vec![literal("adm"), Piece::Any], "Administrator", true),
            (vec![literal("adm"), Piece::Any], "xadm", false),
            (vec![Piece::Any, literal(".exe")], "a\nb.EXE", true),
            (vec![literal("a"), Piece::One, literal("c")], "aéc", true),
            (vec![literal("a"), Piece::One, literal("c")], "ac", false),
            (vec![literal("a+"), Piece::Any], "aa", false),
        ] {
            assert_eq!(Glob::new(&pieces).unwrap().is_match(text), expected, "{pieces:?} {text}");
        }
    }
}
