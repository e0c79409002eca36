//! What the demo shows while it runs: a small table that is redrawn in place on a terminal, a line
//! every few seconds elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

const REDRAW_INTERVAL: Duration = Duration::from_millis(500);
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// One look at the whole path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub read: u64,
    pub parsed: u64,
    pub unparsed: u64,
    /// Acknowledged by Kafka.
    pub in_kafka: u64,
    pub stored: u64,
    /// In Kafka, not yet in the table.
    pub lag: u64,
    pub dropped: u64,
    /// Gaps that the ledger knows of.
    pub missing: u64,
    pub sources: usize,
}

/// Draws figures at a bounded rate.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    started: Instant,
    drawn: Option<(Instant, Figures)>,
    lines_above: usize,
}

impl Screen {
    #[must_use]
    pub fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            started: Instant::now(),
            drawn: None,
            lines_above: 0,
        }
    }

    /// Draws `figures` if the last drawing is old enough.
    pub fn show(&mut self, figures: Figures) {
        let interval = if self.terminal { REDRAW_INTERVAL } else { LINE_INTERVAL };
        if self.drawn.is_some_and(|(at, _)| at.elapsed() < interval) {
            return;
        }
        self.draw(figures);
    }

    /// Draws `figures` whatever the age of the last drawing: the last word.
    pub fn finish(&mut self, figures: Figures) {
        self.draw(figures);
    }

    fn draw(&mut self, figures: Figures) {
        let rate = self.drawn.map_or(0, |(at, before)| {
            let seconds = at.elapsed().as_secs_f64().max(0.001);
            (figures.stored.saturating_sub(before.stored) as f64 / seconds).round() as u64
        });
        let text = if self.terminal {
            self.table(figures, rate)
        } else {
            line(figures, rate, self.started.elapsed())
        };
        let mut out = std::io::stdout().lock();
        // A closed pipe ends the view, not the pipeline.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.drawn = Some((Instant::now(), figures));
    }

    fn table(&mut self, f: Figures, rate: u64) -> String {
        let mut out = String::new();
        if self.lines_above > 0 {
            let _ = write!(out, "\x1b[{}A", self.lines_above);
        }
        let seconds = self.started.elapsed().as_secs();
        let share = percent(f.parsed, f.parsed + f.unparsed);
        let missing = if f.missing == 0 {
            "\x1b[32mnothing\x1b[0m".into()
        } else {
            format!("\x1b[31m{} gaps\x1b[0m", f.missing)
        };
        let rows = [
            format!(
                "\x1b[1mlogweir demo\x1b[0m  {:>3}m{:02}s   Ctrl-C drains and prints the audit",
                seconds / 60,
                seconds % 60
            ),
            String::new(),
            format!("  agent    read      {:>12}   from {} sources", grouped(f.read), f.sources),
            format!(
                "           parsed    {:>12}   {share} by a rule, {} unparsed",
                grouped(f.parsed),
                grouped(f.unparsed)
            ),
            format!("           dropped   {:>12}", grouped(f.dropped)),
            format!(
                "  kafka    in Kafka  {:>12}   {} held by the agent",
                grouped(f.in_kafka),
                grouped(f.read.saturating_sub(f.in_kafka + f.dropped))
            ),
            format!("  ingest   stored    {:>12}   {}/s", grouped(f.stored), grouped(rate)),
            format!("           lag       {:>12}", grouped(f.lag)),
            format!("  ledger   missing   {missing}"),
            String::new(),
        ];
        self.lines_above = rows.len();
        for row in rows {
            let _ = writeln!(out, "\x1b[2K{row}");
        }
        out
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

fn line(f: Figures, rate: u64, elapsed: Duration) -> String {
    format!(
        "{:>4}s read {} parsed {} ({}) unparsed {} in Kafka {} stored {} ({}/s) lag {} dropped {} missing {}\n",
        elapsed.as_secs(),
        f.read,
        f.parsed,
        percent(f.parsed, f.parsed + f.unparsed),
        f.unparsed,
        f.in_kafka,
        f.stored,
        rate,
        f.lag,
        f.dropped,
        f.missing
    )
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".into() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

/// `1234567` as `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")]
        {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn a_line_names_every_figure() {
        let figures = Figures { read: 10, parsed: 6, unparsed: 2, lag: 3, ..Figures::default() };
        let shown = line(figures, 4, Duration::from_secs(5));
        for part in ["read 10", "parsed 6 (75.0 %)", "unparsed 2", "lag 3", "missing 0", "(4/s)"] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }
}
