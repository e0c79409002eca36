//! `multiline`: which lines of a file belong together.

use logweir_document::{Faults, Table};
use regex::bytes::{Regex, RegexBuilder};
use std::time::Duration;

/// How long nothing may come before a record counts as whole.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
const LINES_MAX_DEFAULT: u64 = 500;
/// A pattern that compiles to more is refused: matching costs time in proportion to it.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Patterns of lines that continue a record, by a name for them.
const PRESETS: [(&str, &str); 4] = [
    ("indented", r"^[ \t]"),
    (
        "java",
        r"^(?:[ \t]+(?:at|\.\.\.)[ \t]|[ \t]*(?:Caused by|Suppressed):|[A-Za-z_$][\w$]*(?:\.[\w$]+)+(?:Exception|Error)\b)",
    ),
    (
        "python",
        r"^(?:[ \t]|Traceback \(most recent|During handling of the above|The above exception was|[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)(?::|$)|$)",
    ),
    (
        "go",
        r"^(?:[ \t]|goroutine \d+ \[|\[signal |created by |exit status \d|[\w./*()\[\]-]+\(.*\)$|$)",
    ),
];

/// Their names.
pub(super) const PRESET_NAMES: [&str; 4] = [PRESETS[0].0, PRESETS[1].0, PRESETS[2].0, PRESETS[3].0];

/// What the pattern says about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// It begins a record.
    Start,
    /// It belongs to the record before it.
    Continue,
    /// It ends a record.
    End,
}

/// How lines are put together.
#[derive(Debug, Clone)]
pub(crate) struct Multiline {
    pub grouping: Grouping,
    pattern: Regex,
    /// The pattern says so where it does not match.
    pub negate: bool,
    pub timeout: Duration,
    pub lines_max: u64,
    /// At most what is kept of a line.
    pub bytes_max: usize,
}

impl Multiline {
    /// # Errors
    /// Why the pattern is none.
    pub(crate) fn new(grouping: Grouping, pattern: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_BYTES_MAX).build();
        let pattern = built.map_err(|error| {
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })?;
        Ok(Self {
            grouping,
            pattern,
            negate: false,
            timeout: TIMEOUT_DEFAULT,
            lines_max: LINES_MAX_DEFAULT,
            bytes_max: usize::MAX,
        })
    }

    /// Whether the pattern says what [`Multiline::grouping`] is about `line`.
    pub(crate) fn matches(&self, line: &[u8]) -> bool {
        self.pattern.is_match(line) != self.negate
    }

    /// Reads the section, if there is one.
    pub(super) fn read(
        source: &mut Table<'_>,
        line_bytes_max: usize,
        faults: &mut Faults,
    ) -> Option<Self> {
        let mut table = source.table("multiline", faults)?;
        let mut found = Vec::new();
        for (name, grouping) in
            [("start", Grouping::Start), ("continue", Grouping::Continue), ("end", Grouping::End)]
        {
            if let Some(pattern) = table.string(name, faults) {
                let span = table.node(name).map_or(table.span(), |node| node.span);
                found.push((grouping, pattern, span));
            }
        }
        if let Some(index) = table.choice("preset", &PRESET_NAMES, faults) {
            found.push((Grouping::Continue, PRESETS[index].1, table.span()));
        }
        let negate = table.boolean("negate", faults).unwrap_or(false);
        let timeout = table.duration("timeout", faults).unwrap_or(TIMEOUT_DEFAULT);
        let lines_max = table.integer("lines_max", 1..=100_000, faults);
        let bytes_max = table.byte_size("bytes_max", faults);
        let (path, span) = (table.path().to_owned(), table.span());
        table.finish(faults);
        if bytes_max.is_some_and(|max| max == 0 || max > line_bytes_max as u64) {
            faults
                .error(span, format!("`{path}.bytes_max` is more than `line_bytes_max`"))
                .remedy = Some(format!("give at most {line_bytes_max}, or raise `line_bytes_max`"));
        }
        let [(grouping, pattern, place)] = found.as_slice() else {
            faults.error(span, format!("`{path}` has {} patterns", found.len())).remedy =
                Some("give one of `start`, `continue`, `end` and `preset`".into());
            return None;
        };
        match Self::new(*grouping, pattern) {
            Ok(multiline) => Some(Self {
                negate,
                timeout,
                lines_max: lines_max.unwrap_or(LINES_MAX_DEFAULT),
                bytes_max: bytes_max.map_or(line_bytes_max, |max| max as usize),
                ..multiline
            }),
            Err(reason) => {
                faults.error(*place, format!("`{pattern}` is no pattern: {reason}")).remedy =
                    Some("the syntax is that of the Rust crate `regex`, over bytes".into());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_continue_what_their_languages_print() {
        let check = |preset: &str, line: &str, continues: bool| {
            let (_, pattern) = PRESETS.iter().find(|(name, _)| *name == preset).unwrap();
            let rule = Multiline::new(Grouping::Continue, pattern).unwrap();
            assert_eq!(rule.matches(line.as_bytes()), continues, "{preset}: {line}");
        };
        check("java", "\tat com.example.Main.main(Main.java:12)", true);
        check("java", "Caused by: java.io.IOException: no", true);
        check("java", "\t... 12 more", true);
        check("java", "java.lang.IllegalStateException: odd", true);
        check("java", "2026-11-28 07:00:00 ERROR Main - failed", false);
        check("python", "Traceback (most recent call last):", true);
        check("python", "  File \"a.py\", line 1, in <module>", true);
        check("python", "ValueError: bad", true);
        check("python", "ERROR:root:failed", false);
        check("go", "goroutine 1 [running]:", true);
        check("go", "main.main()", true);
        check("go", "\t/src/main.go:4 +0x1d", true);
        check("go", "panic: runtime error: index out of range", false);
        check("indented", "  more", true);
        check("indented", "next", false);
    }
}
