//! From lines to records: lines that belong together, such as a stack trace, are one event.
//!
//! Nothing is kept from turn to turn. A record that is not at its end is left in the file, and
//! where the reading goes on is where it begins; so it is whole after any restart. What ends a
//! record depends on its bytes alone, so that what is read again falls into the same records; the
//! one exception, an end because nothing more came, is a [cut](crate::checkpoint::FileContent) in
//! the checkpoint before the record is sent.

use super::Encoding;
use super::lines::{Lines, RawLine};
use crate::config::Multiline;

/// The records of a buffer that begins at a record's beginning, as far as the first hole.
#[derive(Debug)]
pub(super) struct Records<'d, 'c> {
    data: &'d [u8],
    encoding: Encoding,
    lines: Lines<'d, 'c>,
    multiline: Option<&'c Multiline>,
    /// Ends of records, and of their last lines, in the buffer, that their content does not tell.
    cuts: &'c [usize],
    /// Read, but not yet part of a record.
    peeked: Option<Span<'d>>,
    consumed: usize,
    last: bool,
    unfinished: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Span<'d> {
    line: RawLine<'d>,
    /// Behind its line end.
    end: usize,
}

impl<'d, 'c> Records<'d, 'c> {
    /// Nothing follows the buffer if it is the `last`.
    pub(super) fn new(
        data: &'d [u8],
        encoding: Encoding,
        last: bool,
        multiline: Option<&'c Multiline>,
        cuts: &'c [usize],
    ) -> Self {
        Self {
            data,
            encoding,
            lines: Lines::new(data, encoding, last, cuts),
            multiline,
            cuts,
            peeked: None,
            consumed: 0,
            last,
            unfinished: None,
        }
    }

    /// How much of the buffer has been used up.
    pub(super) fn consumed(&self) -> usize {
        self.consumed
    }

    /// Where the whole lines end of a record that may go on behind the buffer.
    pub(super) fn unfinished(&self) -> Option<usize> {
        self.unfinished
    }

    fn line(&mut self) -> Option<Span<'d>> {
        self.peeked.take().or_else(|| {
            let line = self.lines.next()?;
            Some(Span { line, end: self.lines.consumed() })
        })
    }

    fn give(&mut self, start: usize, end: usize) -> RawLine<'d> {
        self.consumed = end;
        RawLine { start, bytes: self.encoding.strip_line_end(&self.data[start..end]) }
    }

    fn record(&mut self, rule: &Multiline) -> Option<RawLine<'d>> {
        let first = self.line()?;
        let (start, mut end, mut count) = (first.line.start, first.end, 1);
        let mut newest = first.line;
        loop {
            let last = self.encoding.decode(newest.bytes);
            if rule.ends_with(&last) || self.cuts.contains(&end) {
                return Some(self.give(start, end));
            }
            let Some(next) = self.line() else { break };
            let begins = rule.begins_with(&self.encoding.decode(next.line.bytes), &last);
            let full = count >= rule.lines_max || next.end - start > rule.bytes_max;
            if begins || full {
                self.peeked = Some(next);
                return Some(self.give(start, end));
            }
            (end, newest, count) = (next.end, next.line, count + 1);
        }
        if self.last || self.lines.is_before_hole() || self.data.len() - start > rule.bytes_max {
            return Some(self.give(start, end));
        }
        self.unfinished = Some(end);
        None
    }
}

impl<'d> Iterator for Records<'d, '_> {
    type Item = RawLine<'d>;

    fn next(&mut self) -> Option<RawLine<'d>> {
        if let Some(rule) = self.multiline {
            return self.record(rule);
        }
        let span = self.line()?;
        Some(self.give(span.line.start, span.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Grouping;

    fn rule(grouping: Grouping, pattern: &str) -> Multiline {
        bounded(Multiline::new(grouping, pattern, false).unwrap())
    }

    fn bounded(mut rule: Multiline) -> Multiline {
        (rule.lines_max, rule.bytes_max) = (4, 40);
        rule
    }

    /// The records, what was consumed, and where an unfinished one ends so far.
    fn records<'d>(
        data: &'d str,
        last: bool,
        rule: &Multiline,
        cuts: &[usize],
    ) -> (Vec<(usize, &'d str)>, usize, Option<usize>) {
        let mut records = Records::new(data.as_bytes(), Encoding::Utf8, last, Some(rule), cuts);
        let found = records.by_ref().map(|r| (r.start, std::str::from_utf8(r.bytes).unwrap()));
        let found = found.collect();
        (found, records.consumed(), records.unfinished())
    }

    #[test]
    fn a_record_ends_where_the_next_one_begins() {
        for rule in [rule(Grouping::Start, "^[a-z]"), rule(Grouping::Continue, "^( |$)")] {
            let found = records("a\n 1\n\n 2\r\nb\n c\nd\n", false, &rule, &[]);
            assert_eq!(found, (vec![(0, "a\n 1\n\n 2"), (10, "b\n c")], 15, Some(17)));
            let found = records("a\n 1\nb", true, &rule, &[]);
            assert_eq!(found, (vec![(0, "a\n 1"), (5, "b")], 6, None));
            assert_eq!(records("a\n 1\nb", false, &rule, &[]), (vec![], 0, Some(5)));
        }
    }

    #[test]
    fn a_record_ends_with_the_line_that_says_so() {
        let rule = rule(Grouping::End, ";$");
        let found = records("a\nb;\nc;\nd\n", false, &rule, &[]);
        assert_eq!(found, (vec![(0, "a\nb;"), (5, "c;")], 8, Some(10)));
    }

    #[test]
    fn the_parts_of_a_containers_line_are_one_record() {
        let rule = Multiline::of_parts();
        let line = |stream: &str, tag: &str, text: &str| format!("1 {stream} {tag} {text}\n");
        let one = [line("stdout", "P", "a"), line("stdout", "P", "b"), line("stdout", "F", "c")];
        let others = [line("stderr", "P", "d"), line("stdout", "F", "e"), line("stdout", "P", "f")];
        let data = format!("{}{}", one.concat(), others.concat());
        let (found, consumed, unfinished) = records(&data, false, &rule, &[]);
        let texts: Vec<&str> = found.iter().map(|(_, text)| *text).collect();
        // What stands between the parts of another stream is not mixed with them.
        assert_eq!(texts, [one.concat().trim_end(), others[0].trim_end(), others[1].trim_end()]);
        assert_eq!((consumed, unfinished), (data.len() - others[2].len(), Some(data.len())));
    }

    #[test]
    fn a_pattern_can_be_negated() {
        let rule = bounded(Multiline::new(Grouping::Start, "^ ", true).unwrap());
        assert_eq!(records("a\n 1\nb\n", false, &rule, &[]).0, [(0, "a\n 1")]);
    }

    #[test]
    fn a_record_is_bounded_by_lines_and_by_bytes() {
        let never = rule(Grouping::Start, "^never$");
        let found = records("1\n2\n3\n4\n5\n", false, &never, &[]);
        assert_eq!(found, (vec![(0, "1\n2\n3\n4")], 8, Some(10)));
        let long = "x".repeat(30);
        let data = format!("a\n{long}\n{long}\n");
        assert_eq!(records(&data, false, &never, &[]).0, [(0, format!("a\n{long}").as_str())]);
        // The line that does not fit has no end yet.
        let data = format!("a\n{long}{long}");
        assert_eq!(records(&data, false, &never, &[]), (vec![(0, "a")], 2, None));
    }

    #[test]
    fn a_cut_ends_a_record_and_a_hole_does() {
        let rule = rule(Grouping::Start, "^[a-z]");
        let found = records("a\n 1\n 2\nb\n", false, &rule, &[5]);
        assert_eq!(found, (vec![(0, "a\n 1"), (5, " 2")], 8, Some(10)));
        assert_eq!(records("a\n\0\0 1\n", false, &rule, &[]), (vec![(0, "a")], 2, None));
    }
}
