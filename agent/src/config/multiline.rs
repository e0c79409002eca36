//! `multiline`: which lines of a file belong together.

use logweir_document::{Faults, Table};
use memchr::memmem;
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

/// The preset for what container runtimes divide.
const CONTAINER: &str = "container";

/// The names of all presets.
pub(super) const PRESET_NAMES: [&str; 5] =
    [PRESETS[0].0, PRESETS[1].0, PRESETS[2].0, PRESETS[3].0, CONTAINER];

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
    by: By,
    pub timeout: Duration,
    pub lines_max: u64,
    /// At most what is kept of a line.
    pub bytes_max: usize,
}

/// By what lines belong together.
#[derive(Debug, Clone)]
enum By {
    /// `negate`: the pattern says so where it does not match.
    Pattern { grouping: Grouping, pattern: Regex, negate: bool },
    /// By what a container runtime says of each, see [`Part`].
    Parts,
}

/// A line as a container runtime keeps it, which divides what is longer than 16 KiB.
#[derive(Debug, PartialEq, Eq)]
struct Part<'l> {
    stream: &'l [u8],
    /// The next line of that stream belongs to it.
    goes_on: bool,
}

impl<'l> Part<'l> {
    fn of(line: &'l [u8]) -> Option<Self> {
        match line.strip_prefix(b"{\"log\":\"") {
            Some(rest) => Self::of_docker(rest),
            None => Self::of_cri(line),
        }
    }

    /// `TIME stdout P TEXT`, the kubelet's format of CRI logs: `P` for a part, `F` for the last one or a whole
    /// line; other tags may follow behind colons.
    fn of_cri(line: &'l [u8]) -> Option<Self> {
        let mut words = line.splitn(4, |byte| *byte == b' ');
        let (time, stream, tags) = (words.next()?, words.next()?, words.next()?);
        let named = time.first()?.is_ascii_digit() && matches!(stream, b"stdout" | b"stderr");
        let goes_on = match tags.split(|byte| *byte == b':').next()? {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        named.then_some(Self { stream, goes_on })
    }

    /// `TEXT","stream":"stdout",…`, of Docker's driver `json-file`: only what has its line end is whole.
    fn of_docker(rest: &'l [u8]) -> Option<Self> {
        const STREAM: &[u8] = b"\",\"stream\":\"";
        let (text, behind) = rest.split_at(memmem::find(rest, STREAM)?);
        let stream = behind[STREAM.len()..].split(|byte| *byte == b'"').next()?;
        let escapes = |text: &[u8]| text.iter().rev().take_while(|byte| **byte == b'\\').count();
        let whole = text.strip_suffix(b"n").is_some_and(|text| escapes(text) % 2 == 1);
        Some(Self { stream, goes_on: !whole })
    }
}

impl Multiline {
    /// # Errors
    /// Why the pattern is none.
    pub(crate) fn new(grouping: Grouping, pattern: &str, negate: bool) -> Result<Self, String> {
        let built = RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_BYTES_MAX).build();
        let pattern = built.map_err(|error| {
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })?;
        Ok(Self::by(By::Pattern { grouping, pattern, negate }))
    }

    /// Puts together what a container runtime has divided.
    pub(crate) fn of_parts() -> Self {
        Self::by(By::Parts)
    }

    fn by(by: By) -> Self {
        let (timeout, lines_max, bytes_max) = (TIMEOUT_DEFAULT, LINES_MAX_DEFAULT, usize::MAX);
        Self { by, timeout, lines_max, bytes_max }
    }

    /// Whether the record ends with `line`, whatever follows.
    pub(crate) fn ends_with(&self, line: &[u8]) -> bool {
        match &self.by {
            By::Pattern { grouping: Grouping::End, pattern, negate } => {
                pattern.is_match(line) != *negate
            }
            By::Pattern { .. } => false,
            By::Parts => Part::of(line).is_none_or(|part| !part.goes_on),
        }
    }

    /// Whether `next` begins a record behind one that its last line, `line`, does not end.
    pub(crate) fn begins_with(&self, next: &[u8], line: &[u8]) -> bool {
        let stream = |line| Part::of(line).map(|part| part.stream);
        match &self.by {
            By::Pattern { grouping, pattern, negate } => {
                let matches = || pattern.is_match(next) != *negate;
                match grouping {
                    Grouping::Start => matches(),
                    Grouping::Continue => !matches(),
                    Grouping::End => false,
                }
            }
            By::Parts => stream(next) != stream(line),
        }
    }

    /// Reads the section, if there is one.
    pub(super) fn read(
        source: &mut Table<'_>,
        line_bytes_max: usize,
        faults: &mut Faults,
    ) -> Option<Self> {
        let mut table = source.table("multiline", faults)?;
        let negate = table.boolean("negate", faults);
        let mut found = Vec::new();
        for (name, grouping) in
            [("start", Grouping::Start), ("continue", Grouping::Continue), ("end", Grouping::End)]
        {
            if let Some(pattern) = table.string(name, faults) {
                let span = table.node(name).map_or(table.span(), |node| node.span);
                found.push((Some((grouping, pattern)), span));
            }
        }
        if let Some(index) = table.choice("preset", &PRESET_NAMES, faults) {
            let pattern = PRESETS.get(index).map(|(_, pattern)| (Grouping::Continue, *pattern));
            found.push((pattern, table.span()));
        }
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
        let [(pattern, place)] = found.as_slice() else {
            faults.error(span, format!("`{path}` has {} patterns", found.len())).remedy =
                Some("give one of `start`, `continue`, `end` and `preset`".into());
            return None;
        };
        if pattern.is_none() && negate.is_some() {
            let message = format!("`{path}.negate` is for patterns, and `{CONTAINER}` is none");
            faults.error(*place, message).remedy = Some("leave it out".into());
        }
        let made = match pattern {
            Some((grouping, pattern)) => Self::new(*grouping, pattern, negate.unwrap_or(false))
                .map_err(|reason| format!("`{pattern}` is no pattern: {reason}")),
            None => Ok(Self::of_parts()),
        };
        match made {
            Ok(multiline) => Some(Self {
                timeout,
                lines_max: lines_max.unwrap_or(LINES_MAX_DEFAULT),
                bytes_max: bytes_max.map_or(line_bytes_max, |max| max as usize),
                ..multiline
            }),
            Err(message) => {
                faults.error(*place, message).remedy =
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
            let rule = Multiline::new(Grouping::Continue, pattern, false).unwrap();
            assert_eq!(!rule.begins_with(line.as_bytes(), b""), continues, "{preset}: {line}");
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

    #[test]
    fn a_container_runtimes_line_says_whether_it_is_a_part() {
        let check = |line: &str, expected: Option<(&str, bool)>| {
            let part = Part::of(line.as_bytes());
            let expected =
                expected.map(|(stream, goes_on)| Part { stream: stream.as_bytes(), goes_on });
            assert_eq!(part, expected, "{line}");
        };
        check("2026-11-28T10:15:02.5Z stdout P begin", Some(("stdout", true)));
        check("2026-11-28T10:15:02.5Z stderr F end", Some(("stderr", false)));
        check("2026-11-28T10:15:02.5Z stdout P:x text", Some(("stdout", true)));
        check("2026-11-28T10:15:02.5Z stdout F", Some(("stdout", false)));
        check("2026-11-28T10:15:02.5Z stdin F x", None);
        check("2026-11-28T10:15:02.5Z stdout X x", None);
        check("At stdout P x", None);
        let docker = |text: &str| {
            format!(r#"{{"log":"{text}","stream":"stdout","time":"2026-11-28T10:15:02.5Z"}}"#)
        };
        check(&docker(r"whole\n"), Some(("stdout", false)));
        check(&docker(r"a backslash and a letter\\n"), Some(("stdout", true)));
        check(&docker(r#"part \",\"stream\":\"stderr"#), Some(("stdout", true)));
        check(&docker(""), Some(("stdout", true)));
        check(r#"{"log":"x"}"#, None);
    }
}
