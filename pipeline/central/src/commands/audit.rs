//! `logweir audit`: is anything missing of what agents numbered? Per source, from the ledger that is
//! committed with the data, and by the files that the table has to have. What agents dropped before has no number; `logweir agents` counts it.

use super::{open_table, report, time, unknown_host, visible};
use anyhow::{Result, bail};
use clap::Args;
use logweir_agent::{err, out, outln};
use logweir_document::parse_duration;
use logweir_store::{LostFile, SourceAudit, audit, format_time, lost_files};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Prove that nothing is missing of what agents numbered, or name what is; exit code 1 if something is
#[derive(Debug, Args)]
pub struct AuditCommand {
    /// The table [default: $LOGWEIR_STORE, /var/lib/logweir/table, or that of the demo here]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Only sources of this host: the `agent.name` of what reads there
    #[arg(long)]
    host: Option<String>,
    /// Only sources of which something came since: RFC 3339, a date, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Only sources that have fallen silent: nothing came for ten times their usual interval, and for
    /// this long at least
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10m", value_parser = duration)]
    silent: Option<Duration>,
    /// table, or json (one object per source and line)
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

impl AuditCommand {
    pub fn execute(self) -> ExitCode {
        report(self.run())
    }

    fn run(self) -> Result<ExitCode> {
        let table = open_table(self.store.as_deref())?;
        let mut sources = self.asked_for(audit(&table, None, None)?)?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        if let Some(least) = self.silent {
            sources = newest_of_each_name(sources);
            sources.retain(|source| {
                silence(source, now_us).is_some_and(|silence| silence.is_long(least))
            });
        }
        let lost = if self.silent.is_some() { Vec::new() } else { lost_files(&table)? };
        if self.format == "json" {
            for source in &sources {
                outln!("{}", json(source));
            }
            err!("{}", lost_text(&lost));
        } else if self.silent.is_some() {
            out!("{}", silent_text(&sources, now_us));
        } else {
            out!("{}{DROPPED_BEFORE}", text(&sources, &lost));
        }
        let well = match self.silent {
            Some(_) => sources.is_empty(),
            None => complete(&sources) && lost.is_empty(),
        };
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl AuditCommand {
    /// The sources that are asked for. Of none at all it would be said that nothing is missing, so what
    /// narrows them to none is an error.
    fn asked_for(&self, mut sources: Vec<SourceAudit>) -> Result<Vec<SourceAudit>> {
        if let Some(host) = &self.host {
            let hosts = || sources.iter().map(|source| source.host.as_str());
            if hosts().all(|known| known != host) {
                return Err(unknown_host(host, hosts(), "the table"));
            }
            sources.retain(|source| source.host == *host);
        }
        if let Some(since) = self.since {
            let newest = sources.iter().map(|source| source.last_seen).max();
            if newest.is_none_or(|newest| newest < since) {
                let newest = newest
                    .map(|newest| format!("; the last event came at {}", format_time(newest)));
                bail!(
                    "nothing has come since {}{}",
                    format_time(since),
                    newest.unwrap_or_default()
                );
            }
            sources.retain(|source| source.last_seen >= since);
        }
        Ok(sources)
    }
}

/// How long nothing has come of a source, and how long that usually takes, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Silence {
    silent: i64,
    usual: i64,
}

/// Events that an agent drops are in no chain, so the ledger cannot miss them.
const DROPPED_BEFORE: &str =
    "what agents dropped before they numbered it, and why: `logweir agents`\n";
/// A rhythm is not known from fewer events.
const RHYTHM_EVENTS_MIN: u64 = 10;
/// So many times the usual interval may pass.
const RHYTHM_FACTOR: i64 = 10;

impl Silence {
    fn is_long(self, least: Duration) -> bool {
        let least = i64::try_from(least.as_micros()).unwrap_or(i64::MAX);
        self.silent > least.max(self.usual.saturating_mul(RHYTHM_FACTOR))
    }
}

/// `None`: too little has come to know a rhythm.
fn silence(source: &SourceAudit, now_us: i64) -> Option<Silence> {
    if source.received < RHYTHM_EVENTS_MIN {
        return None;
    }
    let span = source.last_seen.saturating_sub(source.first_seen);
    let usual = span / i64::try_from(source.received - 1).ok()?;
    Some(Silence { silent: now_us.saturating_sub(source.last_seen), usual })
}

/// A file that was rotated away is silent for good; what counts is the one that has its name now.
fn newest_of_each_name(sources: Vec<SourceAudit>) -> Vec<SourceAudit> {
    let mut newest: BTreeMap<(String, String, String), SourceAudit> = BTreeMap::new();
    for source in sources {
        let name = (source.host.clone(), source.agent.clone(), source.path.clone());
        let known = newest.get(&name);
        if known.is_none_or(|known| known.last_seen < source.last_seen) {
            newest.insert(name, source);
        }
    }
    newest.into_values().collect()
}

fn silent_text(sources: &[SourceAudit], now_us: i64) -> String {
    let mut out = String::new();
    for source in sources {
        let Some(Silence { silent, usual }) = silence(source, now_us) else { continue };
        out.push_str(&format!(
            "{}  {}: nothing for {}, usually an event every {}; the last one came at {}\n",
            visible(&source.host),
            visible(&source.path),
            interval(silent),
            interval(usual),
            format_time(source.last_seen)
        ));
    }
    out.push_str(&format!("{} silent sources\n", sources.len()));
    out
}

fn interval(us: i64) -> String {
    match us / 1_000_000 {
        0 => format!("{} ms", us / 1000),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a time, such as 10m".into())
}

/// Whether the ledger can prove that nothing is missing of what agents numbered. A table in which
/// nothing is may be one that was lost.
pub fn complete(sources: &[SourceAudit]) -> bool {
    !sources.is_empty() && sources.iter().all(SourceAudit::is_complete)
}

/// Files that are named; the others are counted.
const LOST_SHOWN_MAX: usize = 100;

fn lost_text(lost: &[LostFile]) -> String {
    let mut out = String::new();
    for file in lost.iter().take(LOST_SHOWN_MAX) {
        let found = match file.found {
            Some(found) => format!("is cut to {found} of {} bytes", file.bytes),
            None => "is not there".to_owned(),
        };
        let rows = file.rows.map(|rows| format!(", with {rows} events")).unwrap_or_default();
        out.push_str(&format!("    lost: {} {found}{rows}\n", visible(&file.path)));
    }
    if lost.len() > LOST_SHOWN_MAX {
        out.push_str(&format!("    … and {} more files\n", lost.len() - LOST_SHOWN_MAX));
    }
    out
}

/// The audit for people: a row a source, the gaps below theirs, the files that are lost, and the verdict.
pub fn text(sources: &[SourceAudit], lost: &[LostFile]) -> String {
    let mut sorted: Vec<&SourceAudit> = sources.iter().collect();
    sorted.sort_by(|a, b| (&a.host, &a.path, a.source).cmp(&(&b.host, &b.path, b.source)));
    let width = |of: fn(&SourceAudit) -> &str, least: usize| {
        sorted.iter().map(|s| of(s).chars().count()).max().unwrap_or(0).clamp(least, 48)
    };
    let (host, path) = (width(|s| &s.host, 4), width(|s| &s.path, 6));
    let mut out = format!(
        "{:host$}  {:path$}  {:>12}  {:>10}  {:>6}  NEWEST EVENT\n",
        "HOST", "SOURCE", "ROWS", "DUPLICATES", "GAPS"
    );
    for source in &sorted {
        // Seconds are enough for people; JSON has it all.
        let newest = source
            .newest_event
            .map_or_else(|| "–".into(), |time| format!("{}Z", &format_time(time)[..19]));
        out.push_str(&format!(
            "{:host$}  {:path$}  {:>12}  {:>10}  {:>6}  {newest}\n",
            visible(&source.host),
            visible(&source.path),
            source.rows,
            source.duplicates,
            source.gaps.len()
        ));
        for gap in &source.gaps {
            let after = gap.after.map_or_else(
                || "before the first event seen".into(),
                |offset| format!("after the event at {offset}"),
            );
            out.push_str(&format!(
                "    missing: bytes {} to {} ({} bytes, {after}; last missing event at {})\n",
                gap.from,
                gap.until,
                gap.until.saturating_sub(gap.from),
                gap.last
            ));
        }
    }
    for source in sorted.iter().filter(|source| source.unchained > 0) {
        out.push_str(&format!(
            "    {}: {} events do not name the one before them; what is missing there is not known\n",
            visible(&source.path),
            source.unchained
        ));
    }
    out.push_str(&lost_text(lost));
    let rows: u64 = sorted.iter().map(|source| source.rows).sum();
    let duplicates: u64 = sorted.iter().map(|source| source.duplicates).sum();
    let gaps: usize = sorted.iter().map(|source| source.gaps.len()).sum();
    let verdict = match (gaps, lost.len()) {
        (0, 0) if sources.is_empty() => "nothing has come, and nothing is proved".into(),
        (0, 0) if complete(sources) => "nothing is missing of what agents numbered".into(),
        (0, 0) => "completeness is not proved".into(),
        (_, 0) => format!("{gaps} gaps"),
        (_, files) => format!(
            "{gaps} gaps, and {files} files of the table are lost; restore them from a backup"
        ),
    };
    out.push_str(&format!(
        "{} sources, {rows} events, {duplicates} duplicates dropped: {verdict}\n",
        sorted.len()
    ));
    out
}

fn json(source: &SourceAudit) -> serde_json::Value {
    serde_json::json!({
        "agent.name": source.host,
        "agent.id": source.agent,
        "path": source.path,
        "logweir.source": source.source.to_string(),
        "group": source.group,
        "topic": source.topic,
        "partition": source.partition,
        "received": source.received,
        "rows": source.rows,
        "duplicates": source.duplicates,
        "unchained": source.unchained,
        "complete": source.is_complete(),
        "newest_event": source.newest_event.map(format_time),
        "first_seen": format_time(source.first_seen),
        "last_seen": format_time(source.last_seen),
        "high_water": source.high_water,
        "gaps": source.gaps.iter().map(|gap| serde_json::json!({
            "after": gap.after,
            "from": gap.from,
            "until": gap.until,
            "last": gap.last,
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use logweir_record::SourceId;

    fn source(path: &str, received: u64, first_s: i64, last_s: i64) -> SourceAudit {
        SourceAudit {
            group: "g".into(),
            topic: "t".into(),
            partition: 0,
            source: SourceId::derive(&[path.as_bytes(), &first_s.to_le_bytes()]),
            host: "web1".into(),
            agent: "a".into(),
            path: path.into(),
            received,
            rows: received,
            duplicates: 0,
            healed: 0,
            unchained: 0,
            gaps: Vec::new(),
            gaps_merged: 0,
            high_water: 0,
            newest_event: None,
            first_seen: first_s * 1_000_000,
            last_seen: last_s * 1_000_000,
        }
    }

    #[test]
    fn a_source_is_silent_by_its_own_rhythm_and_a_rotated_file_is_none() {
        let now_us = 10_000 * 1_000_000;
        let least = Duration::from_secs(60);
        for (name, source, silent) in [
            ("every second, then nothing", source("/a", 101, 0, 100), true),
            ("every 1000 s", source("/b", 10, 0, 9_000), false),
            ("too few to know", source("/c", 3, 0, 100), false),
            ("still busy", source("/d", 1_000, 0, 9_990), false),
        ] {
            let found = silence(&source, now_us).is_some_and(|silence| silence.is_long(least));
            assert_eq!(found, silent, "{name}");
        }
        let names = newest_of_each_name(vec![source("/a", 1, 0, 5), source("/a", 1, 6, 9)]);
        assert_eq!(names.len(), 1);
        assert_eq!(names[0].last_seen, 9_000_000);
    }

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        audit: AuditCommand,
    }

    #[test]
    fn what_narrows_the_sources_to_none_is_no_proof_but_an_error() {
        let sources = || vec![source("/a", 1, 0, 5), source("/b", 1, 0, 9)];
        let asked = |options: &[&str], sources| {
            let words = ["x"].iter().chain(options);
            Command::try_parse_from(words).unwrap().audit.asked_for(sources)
        };
        assert_eq!(asked(&[], sources()).unwrap().len(), 2);
        assert_eq!(
            asked(&["--host", "web1", "--since", "1970-01-01T00:00:06Z"], sources()).unwrap().len(),
            1
        );
        let error = asked(&["--host", "web"], sources()).unwrap_err().to_string();
        assert!(error.ends_with("nothing of a host `web`; did you mean `web1`?"), "{error}");
        let error = asked(&["--since", "1h"], sources()).unwrap_err().to_string();
        assert!(error.ends_with("the last event came at 1970-01-01T00:00:09.000Z"), "{error}");
        assert_eq!(asked(&[], Vec::new()).unwrap(), []);
    }

    #[test]
    fn the_verdict_claims_no_more_than_the_chains_prove() {
        let told = text(&[source("/a", 1, 0, 5)], &[]);
        assert!(told.ends_with(": nothing is missing of what agents numbered\n"), "{told}");
        let mut gap = source("/a", 1, 0, 5);
        gap.unchained = 1;
        assert!(text(&[gap], &[]).ends_with(": completeness is not proved\n"));
        let path = "date=2026-11-28/x".to_owned();
        let lost = LostFile { path, bytes: 9, rows: Some(3), found: None };
        let told = text(&[source("/a", 1, 0, 5)], &[lost]);
        assert!(
            told.contains("    lost: date=2026-11-28/x is not there, with 3 events\n"),
            "{told}"
        );
        assert!(told.contains(": 0 gaps, and 1 files of the table are lost;"), "{told}");
    }
}
