//! `logweir-agent top`: a live table of the running agent's sources, and of the rules at work.

use super::status::{text, troubles};
use super::{no_agent, report_faults};
use crate::Config;
use crate::status::ask;
use crate::{errln, out};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The alternate screen without a cursor, cutting long lines, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Watch the sources of the running agent: rates, lag, drops, rule hits
#[derive(Debug, clap::Args)]
pub struct Top {
    /// The configuration of the agent; only the place of its sockets is used
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/agent.yaml")]
    config: PathBuf,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Lines that are shown at most; on a terminal 24 if not given
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// End after so many looks
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
}

impl Top {
    pub fn execute(self) -> ExitCode {
        let socket_dir = match Config::socket_dir_in(&self.config) {
            Ok(socket_dir) => socket_dir,
            Err(faults) => return report_faults(&faults),
        };
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            if let Err(error) = flag::register(signal, stop.clone()) {
                errln!("logweir-agent: cannot install a signal handler: {error}");
                return ExitCode::FAILURE;
            }
        }
        let terminal = io::stdout().is_terminal();
        let mut screen = Screen::new(terminal);
        let mut before = Look::default();
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 && !stop.load(Ordering::Relaxed) {
            let asked = ask(&socket_dir).and_then(|text| Ok(serde_json::from_str::<Value>(&text)?));
            let status = match asked {
                Ok(status) => status,
                Err(error) => {
                    drop(screen);
                    errln!("logweir-agent: {}", no_agent(&socket_dir, &error));
                    return ExitCode::FAILURE;
                }
            };
            let now = Look::of(&status);
            let rows = self.rows.unwrap_or(if terminal { 24 } else { usize::MAX });
            let table = table(&status, &before, &now, rows);
            if screen.show(&table).is_err() {
                return ExitCode::SUCCESS;
            }
            before = now;
            left -= 1;
            let until = Instant::now() + Duration::from_secs(self.every);
            while left > 0 && Instant::now() < until && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        ExitCode::SUCCESS
    }
}

/// The terminal while it shows the table; it is as before when this is dropped.
struct Screen(bool);

impl Screen {
    fn new(terminal: bool) -> Self {
        if terminal {
            out!("{ENTER}");
        }
        Self(terminal)
    }

    fn show(&mut self, table: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.0 {
            // Line by line over what was there, then nothing below: no flicker.
            true => write!(out, "\x1b[H{}\x1b[J", table.replace('\n', "\x1b[K\r\n"))?,
            false => writeln!(out, "{table}")?,
        }
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.0 {
            let _ = write!(io::stdout(), "{LEAVE}").and_then(|()| io::stdout().flush());
        }
    }
}

/// As many rules are shown at most.
const RULES_SHOWN_MAX: usize = 8;
/// On a lower screen, sources have all the room.
const ROWS_WITH_RULES_MIN: usize = 16;

/// What had been read and delivered at a moment, in all and by source, and what the rules had tried
/// and matched.
#[derive(Default)]
struct Look {
    at: Option<Instant>,
    counts: HashMap<String, (u64, u64)>,
    rules: HashMap<String, (u64, u64)>,
}

impl Look {
    fn of(status: &Value) -> Self {
        let entry =
            |of: &Value, id: &str| (id.to_owned(), (number(of, "read"), number(of, "delivered")));
        let sources = status["sources"].as_array().into_iter().flatten();
        let sources =
            sources.map(|source| entry(source, source["id"].as_str().unwrap_or_default()));
        let counts = sources.chain(std::iter::once(entry(status, ""))).collect();
        let rules = status["rules"].as_array().into_iter().flatten();
        let hits = |rule: &Value| (number(rule, "matched"), number(rule, "tried"));
        let rules = rules.map(|rule| (text(&rule["id"]), hits(rule))).collect();
        Self { at: Some(Instant::now()), counts, rules }
    }

    /// Events read and delivered per second since an earlier look.
    fn rates(&self, before: &Self, id: &str) -> (f64, f64) {
        match (self.counts.get(id), before.counts.get(id)) {
            (Some(now), Some(then)) => self.per_second(before, *now, *then),
            _ => (0.0, 0.0),
        }
    }

    /// Rules with what they matched and tried per second since an earlier look, the most first.
    fn rules_at_work(&self, before: &Self) -> Vec<(&str, (f64, f64))> {
        let rates = self.rules.iter().map(|(id, now)| {
            let then = before.rules.get(id).copied().unwrap_or_default();
            (id.as_str(), self.per_second(before, *now, then))
        });
        let mut rates: Vec<_> = rates.filter(|(_, (_, tried))| *tried > 0.0).collect();
        rates.sort_by(|(a, (_, tried_a)), (b, (_, tried_b))| {
            tried_b.total_cmp(tried_a).then_with(|| a.cmp(b))
        });
        rates
    }

    fn per_second(&self, before: &Self, now: (u64, u64), then: (u64, u64)) -> (f64, f64) {
        let (Some(at), Some(earlier)) = (self.at, before.at) else { return (0.0, 0.0) };
        let seconds = (at - earlier).as_secs_f64().max(0.001);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        (rate(now.0, then.0), rate(now.1, then.1))
    }
}

fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or(0)
}

fn dropped(of: &Value) -> u64 {
    of["dropped"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum()
}

fn behind(source: &Value) -> u64 {
    match source["spool"].is_object() {
        true => number(&source["spool"], "backlog_bytes"),
        false => number(source, "end_offset").saturating_sub(number(source, "acked_offset")),
    }
}

/// The table: the agent, then its sources, the busiest first, in at most `rows` lines.
fn table(status: &Value, before: &Look, now: &Look, rows: usize) -> String {
    let (read, delivered) = now.rates(before, "");
    let mut lines = vec![
        format!(
            "agent {}  kafka {}  {read:.0} events/s read, {delivered:.0}/s delivered",
            text(&status["agent_name"]),
            text(&status["kafka"]),
        ),
        format!(
            "read {}  delivered {}  held {}  dropped {}  unparsed {}",
            number(status, "read"),
            number(status, "delivered"),
            number(status, "held"),
            dropped(status),
            number(status, "unparsed"),
        ),
    ];
    let reasons = status["dropped"].as_object().into_iter().flatten();
    let reasons: Vec<String> = reasons.map(|(reason, count)| format!("{reason} {count}")).collect();
    if !reasons.is_empty() {
        lines.push(format!("drops: {}", reasons.join(", ")));
    }
    lines.extend(troubles(status));
    lines.push(format!(
        "{:>10} {:>10} {:>9} {:>13} {:>9} {:>9}  source",
        "read/s", "sent/s", "held", "bytes behind", "dropped", "unparsed"
    ));
    let mut sources: Vec<(&Value, (f64, f64))> = status["sources"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|source| (source, now.rates(before, source["id"].as_str().unwrap_or_default())))
        .collect();
    sources.sort_by(|(a, rate_a), (b, rate_b)| {
        rate_b.0.total_cmp(&rate_a.0).then_with(|| behind(b).cmp(&behind(a)))
    });
    let rules = if rows < ROWS_WITH_RULES_MIN { Vec::new() } else { rules(before, now) };
    let room = rows.saturating_sub(lines.len() + 1 + rules.len());
    let hidden = sources.len().saturating_sub(room);
    for (source, (read, delivered)) in sources.iter().take(room) {
        lines.push(format!(
            "{read:>10.0} {delivered:>10.0} {:>9} {:>13} {:>9} {:>9}  {} {}",
            number(source, "held"),
            behind(source),
            dropped(source),
            number(source, "unparsed"),
            text(&source["kind"]),
            text(&source["name"]),
        ));
    }
    if hidden > 0 {
        lines.push(format!("… and {hidden} more; `logweir-agent status` has all"));
    }
    lines.extend(rules);
    lines.join("\n")
}

/// The rules that are tried most: what is tried and does not match costs for nothing.
fn rules(before: &Look, now: &Look) -> Vec<String> {
    let at_work = now.rules_at_work(before);
    if at_work.is_empty() {
        return Vec::new();
    }
    let shown = at_work.iter().take(RULES_SHOWN_MAX);
    let lines = shown.map(|(id, (matched, tried))| format!("{tried:>10.0} {matched:>10.0}  {id}"));
    std::iter::once(format!("{:>10} {:>10}  rule", "tried/s", "matched/s")).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_fits_the_screen_shows_the_busiest_first_and_steers_no_terminal() {
        let source = |id: &str, name: &str, read: u64| json!({"id": id, "kind": "file", "name": name, "read": read, "delivered": read, "held": 0, "dropped": {}, "end_offset": 9, "acked_offset": 4});
        let at = |a: u64, b: u64| json!({"agent_name": "h", "kafka": "up", "read": a + b, "delivered": a + b, "held": 0, "dropped": {"empty_line": 2}, "sources": [source("1", "/quiet", a), source("2", "/busy\x1b[2J", b), source("3", "/idle", 0)]});
        let (first, second) = (at(1, 1), at(2, 101));
        let table = table(&second, &Look::of(&first), &Look::of(&second), 7);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 7, "{table}");
        assert!(lines[2].contains("empty_line 2"), "{table}");
        assert!(lines[4].ends_with("/busy\u{fffd}[2J") && !table.contains('\x1b'), "{table}");
        assert!(lines[5].ends_with("/quiet"), "{table}");
        assert!(lines[6].contains("1 more"), "{table}");
    }

    #[test]
    fn rules_at_work_stand_below_the_sources_where_there_is_room() {
        let at = |n: u64| {
            json!({"read": 0, "sources": [{"id": "1"}], "rules": [
                {"id": "idle", "tried": 7, "matched": 7},
                {"id": "a.hit", "tried": 2 * n, "matched": n},
                {"id": "b.most", "tried": 9 * n, "matched": 0},
            ]})
        };
        let (before, after) = (Look::of(&at(1)), Look::of(&at(1_001)));
        let shown = table(&at(1_001), &before, &after, 24);
        let lines: Vec<&str> = shown.lines().rev().collect();
        assert!(lines[0].ends_with("  a.hit") && lines[1].ends_with("  b.most"), "{shown}");
        assert!(lines[2].ends_with("matched/s  rule") && !shown.contains("idle"), "{shown}");
        assert!(!table(&at(1_001), &before, &after, 15).contains("a.hit"));
    }
}
