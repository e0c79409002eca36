//! Cutting a piece of a file into lines.

use super::Encoding;

/// The lines of a buffer that begins at a line's beginning, as far as the first hole: bytes with the value 0
/// where a line would begin. What has no line end is left for later, unless there is a cut.
#[derive(Debug)]
pub(crate) struct Lines<'d, 'c> {
    data: &'d [u8],
    encoding: Encoding,
    /// Where lines end in the buffer though they have no line end there.
    cuts: &'c [usize],
    at: usize,
    /// Nothing follows the buffer: what has no line end is a line, too.
    last: bool,
}

/// A line without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawLine<'d> {
    /// Where it begins in the buffer.
    pub(crate) start: usize,
    pub(crate) bytes: &'d [u8],
}

impl<'d, 'c> Lines<'d, 'c> {
    pub(crate) fn new(data: &'d [u8], encoding: Encoding, last: bool, cuts: &'c [usize]) -> Self {
        Self { data, encoding, cuts, at: 0, last }
    }

    /// Whether a hole is next.
    pub(crate) fn is_before_hole(&self) -> bool {
        self.encoding.is_unit(&self.data[self.at..], 0)
    }

    /// How much of the buffer has been used up.
    pub(crate) fn consumed(&self) -> usize {
        self.at
    }
}

impl<'d> Iterator for Lines<'d, '_> {
    type Item = RawLine<'d>;

    fn next(&mut self) -> Option<RawLine<'d>> {
        if self.is_before_hole() {
            return None;
        }
        let start = self.at;
        let cut = self.cuts.iter().copied().filter(|cut| *cut > start).min();
        let cut = cut.filter(|cut| *cut <= self.data.len());
        let rest = &self.data[start..cut.unwrap_or(self.data.len())];
        let line = match self.encoding.line_end(rest) {
            Some(end) => &rest[..end + self.encoding.width()],
            None if (self.last || cut.is_some()) && !rest.is_empty() => rest,
            None => return None,
        };
        self.at = start + line.len();
        Some(RawLine { start, bytes: self.encoding.strip_line_end(line) })
    }
}

/// The first `max` bytes of `line` or a few less, so that no UTF-8 character is cut.
pub(crate) fn cut(line: &[u8], max: usize) -> &[u8] {
    if line.len() <= max {
        return line;
    }
    let continued = |at: usize| line[at] & 0xc0 == 0x80;
    let at = (max.saturating_sub(3)..=max).rev().find(|at| !continued(*at)).unwrap_or(max);
    &line[..at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_newlines_and_nothing_else() {
        let check = |data: &str, last: bool, expected: &[(usize, &str)], consumed: usize| {
            let mut lines = Lines::new(data.as_bytes(), Encoding::Utf8, last, &[]);
            let found: Vec<(usize, String)> = lines
                .by_ref()
                .map(|line| (line.start, String::from_utf8_lossy(line.bytes).into_owned()))
                .collect();
            let expected: Vec<(usize, String)> =
                expected.iter().map(|(start, text)| (*start, (*text).to_owned())).collect();
            assert_eq!(found, expected, "{data:?}");
            assert_eq!(lines.consumed(), consumed, "{data:?}");
        };
        check("", false, &[], 0);
        check("a\nbc\n", false, &[(0, "a"), (2, "bc")], 5);
        check("a\nbc", false, &[(0, "a")], 2);
        check("a\nbc", true, &[(0, "a"), (2, "bc")], 4);
        check("a\r\n\r\n\n", false, &[(0, "a"), (3, ""), (5, "")], 6);
        check("a\rb\n", false, &[(0, "a\rb")], 4);
        check("a\n\0b\n", false, &[(0, "a")], 2);
        check("a\n\0\0", true, &[(0, "a")], 2);
        check("\0\0a\n", true, &[], 0);
    }

    #[test]
    fn a_line_without_its_end_ends_at_a_cut() {
        let check = |data: &str, cuts: &[usize], expected: &[&str]| {
            let lines = Lines::new(data.as_bytes(), Encoding::Utf8, false, cuts);
            let found: Vec<&[u8]> = lines.map(|line| line.bytes).collect();
            let expected: Vec<&[u8]> = expected.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(found, expected, "{data:?} {cuts:?}");
        };
        check("ab", &[2], &["ab"]);
        check("ab", &[0, 3], &[]);
        check("abcd\ne", &[2], &["ab", "cd"]);
        check("abcd\n", &[4, 2], &["ab", "cd", ""]);
        check("ab\ncd\n", &[3], &["ab", "cd"]);
    }

    #[test]
    fn a_cut_keeps_characters_whole() {
        for (line, max, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "abc"),
            ("aé", 2, "a"),
            ("aé", 3, "aé"),
            ("a€", 3, "a"),
            ("😀😀", 7, "😀"),
        ] {
            assert_eq!(cut(line.as_bytes(), max), expected.as_bytes(), "{line} {max}");
        }
        assert_eq!(cut(&[0x80; 9], 5).len(), 5);
    }
}
