//! `logweir audit`: is anything missing of what agents numbered? Per source, from the ledger that is
//! committed with the data, and by the files that the table has to have. What agents dropped before has no number; `logweir agents` counts it.

use super::{open_table, report, time, unknown_host, visible};
use anyhow::{Result, bail};
use clap::Args;
use logweir_agent::{err, out, outln};
use logweir_document::parse_duration;
use logweir_store::{
    Audit, Losses, LostFile, PartitionAudit, SourceAudit, audit, format_time, lost_files,
};
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
        let mut known = self.asked_for(audit(&table, None, None)?)?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        if let Some(least) = self.silent {
            known.partitions.clear();
            known.sources = newest_of_each_name(known.sources);
            known.sources.retain(|source| {
                silence(source, now_us).is_some_and(|silence| silence.is_long(least))
            });
        }
        let lost = if self.silent.is_some() { Vec::new() } else { lost_files(&table)? };
        if self.format == "json" {
            known.sources.iter().for_each(|source| outln!("{}", json(source)));
            let lossy = known.partitions.iter().filter(|of| of.losses != Losses::default());
            lossy.for_each(|partition| outln!("{}", json_of_partition(partition)));
            err!("{}{}", removed_text(&known), lost_text(&lost));
        } else if self.silent.is_some() {
            out!("{}", silent_text(&known.sources, now_us));
        } else {
            out!("{}{DROPPED_BEFORE}", text(&known, &lost));
        }
        let well = match self.silent {
            Some(_) => known.sources.is_empty(),
            None => known.is_complete() && lost.is_empty(),
        };
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl AuditCommand {
    /// The sources that are asked for. Of none at all it would be said that nothing is missing, so what
    /// narrows them to none is an error.
    fn asked_for(&self, mut known: Audit) -> Result<Audit> {
        let sources = &mut known.sources;
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
            for partition in &mut known.partitions {
                let losses = &mut partition.losses;
                losses.expired.retain(|expired| expired.at_us >= since);
                if losses.forgotten_seen_us < since {
                    (losses.forgotten_incomplete, losses.forgotten_gaps) = (0, 0);
                }
            }
        }
        Ok(known)
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

/// What no source can tell.
fn losses_text(partitions: &[PartitionAudit]) -> String {
    let mut out = String::new();
    for PartitionAudit { topic, partition, losses, .. } in partitions {
        for expired in &losses.expired {
            out.push_str(&format!(
                "    {} records of partition {partition} of {} expired unread: offsets {} to {}, \
                 noticed at {}; completeness is not proved\n",
                expired.records,
                visible(topic),
                expired.from,
                expired.until - 1,
                format_time(expired.at_us)
            ));
        }
        if losses.forgotten > 0 {
            out.push_str(&format!(
                "    {} sources of partition {partition} of {} were forgotten, as nothing had come of them for \
                 long or there were too many; {} of them were not complete, with {} gaps\n",
                losses.forgotten,
                visible(topic),
                losses.forgotten_incomplete,
                losses.forgotten_gaps
            ));
        }
    }
    out
}

/// The audit for people: a row a source, the gaps below theirs, what no source tells, the files that are
/// lost, and the verdict.
pub fn text(known: &Audit, lost: &[LostFile]) -> String {
    let mut sorted: Vec<&SourceAudit> = known.sources.iter().collect();
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
    out.push_str(&losses_text(&known.partitions));
    out.push_str(&lost_text(lost));
    let rows: u64 = sorted.iter().map(|source| source.rows).sum();
    let duplicates: u64 = sorted.iter().map(|source| source.duplicates).sum();
    out.push_str(&removed_text(known));
    let verdict = verdict(known, lost);
    out.push_str(&format!(
        "{} sources, {rows} events, {duplicates} duplicates dropped: {verdict}\n",
        sorted.len()
    ));
    out
}

/// That the table has fewer rows than came, which the ledger alone would not show.
fn removed_text(known: &Audit) -> String {
    let came: u64 = known.sources.iter().map(|source| source.rows).sum();
    match known.rows {
        Some(rows) if rows < came => format!(
            "    the table has {rows} of the {came} events that came: retention or `logweir table expire` \
             has taken the others, or somebody has (`logweir verify`)\n"
        ),
        _ => String::new(),
    }
}

fn verdict(known: &Audit, lost: &[LostFile]) -> String {
    let gaps: usize = known.sources.iter().map(|source| source.gaps.len()).sum();
    let expired = known.partitions.iter().flat_map(|partition| &partition.losses.expired);
    let expired: u64 = expired.map(|expired| expired.records).sum();
    let losses = known.partitions.iter().map(|partition| &partition.losses);
    let forgotten: u64 = losses.map(|losses| losses.forgotten_incomplete).sum();
    let mut faults = Vec::new();
    if gaps > 0 {
        faults.push(format!("{gaps} gaps"));
    }
    if expired > 0 {
        faults.push(format!("{expired} records expired unread"));
    }
    if forgotten > 0 {
        faults.push(format!("{forgotten} sources forgotten that were not complete"));
    }
    if !lost.is_empty() {
        let files = lost.len();
        faults.push(format!("{files} files of the table are lost; restore them from a backup"));
    }
    if known.rows == Some(0) && !known.sources.is_empty() {
        faults.push("nothing is left in the table".to_owned());
    }
    match faults.as_slice() {
        [] if known.sources.is_empty() => "nothing has come, and nothing is proved".into(),
        [] if known.is_complete() => "nothing is missing of what agents numbered".into(),
        [] => "completeness is not proved".into(),
        faults => faults.join(", and "),
    }
}

/// What no source of the partition can tell.
fn json_of_partition(of: &PartitionAudit) -> serde_json::Value {
    serde_json::json!({
        "group": of.group,
        "topic": of.topic,
        "partition": of.partition,
        "complete": of.losses.are_none(),
        "forgotten": of.losses.forgotten,
        "forgotten_incomplete": of.losses.forgotten_incomplete,
        "forgotten_gaps": of.losses.forgotten_gaps,
        "expired": of.losses.expired.iter().map(|expired| serde_json::json!({
            "from": expired.from,
            "until": expired.until,
            "records": expired.records,
            "noticed": format_time(expired.at_us),
        })).collect::<Vec<_>>(),
    })
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
    use logweir_store::Expired;

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
            newest_day: None,
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
            let asked = Command::try_parse_from(words).unwrap().audit.asked_for(known(sources));
            asked.map(|known| known.sources)
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

    fn known(sources: Vec<SourceAudit>) -> Audit {
        Audit { sources, ..Audit::default() }
    }

    fn with_rows(sources: Vec<SourceAudit>, rows: u64) -> Audit {
        Audit { rows: Some(rows), ..known(sources) }
    }

    fn with_forgotten(sources: Vec<SourceAudit>, forgotten_incomplete: u64) -> Audit {
        let mut known = with_expired(sources);
        known.partitions[0].losses = Losses {
            forgotten: 7,
            forgotten_incomplete,
            forgotten_gaps: 3 * forgotten_incomplete,
            forgotten_seen_us: 5_000_000,
            ..Losses::default()
        };
        known
    }

    /// Of records that expired at second 5.
    fn with_expired(sources: Vec<SourceAudit>) -> Audit {
        let expired = vec![Expired { from: 40, until: 51, records: 11, at_us: 5_000_000 }];
        let losses = Losses { expired, ..Losses::default() };
        let (group, topic) = ("g".into(), "t".into());
        let partitions = vec![PartitionAudit { group, topic, partition: 3, losses }];
        Audit { partitions, ..known(sources) }
    }

    #[test]
    fn the_verdict_claims_no_more_than_the_chains_prove() {
        let whole = || vec![source("/a", 1, 0, 5)];
        let mut unchained = source("/a", 1, 0, 5);
        unchained.unchained = 1;
        let path = "date=2026-11-28/x".to_owned();
        let lost = [LostFile { path, bytes: 9, rows: Some(3), found: None }];
        for (known, lost, line, verdict) in [
            (known(whole()), &[][..], "", ": nothing is missing of what agents numbered\n"),
            (known(Vec::new()), &[], "", ": nothing has come, and nothing is proved\n"),
            (known(vec![unchained]), &[], "", ": completeness is not proved\n"),
            (
                known(whole()),
                &lost,
                "    lost: date=2026-11-28/x is not there, with 3 events\n",
                ": 1 files of the table are lost; restore them from a backup\n",
            ),
            (
                with_expired(whole()),
                &[],
                "    11 records of partition 3 of t expired unread: offsets 40 to 50, noticed at \
                 1970-01-01T00:00:05.000Z; completeness is not proved\n",
                ": 11 records expired unread\n",
            ),
            (
                with_rows(vec![source("/a", 9, 0, 5)], 4),
                &[],
                "    the table has 4 of the 9 events that came: retention or `logweir table expire` has ",
                ": nothing is missing of what agents numbered\n",
            ),
            (
                with_rows(whole(), 0),
                &[],
                "has 0 of the 1 events",
                ": nothing is left in the table\n",
            ),
            (
                with_forgotten(whole(), 0),
                &[],
                "; 0 of them were not complete, with 0 gaps\n",
                ": nothing is missing of what agents numbered\n",
            ),
            (
                with_forgotten(whole(), 2),
                &[],
                "    7 sources of partition 3 of t were forgotten, as nothing had come of them for long or \
                 there were too many; 2 of them were not complete, with 6 gaps\n",
                ": 2 sources forgotten that were not complete\n",
            ),
        ] {
            let told = text(&known, lost);
            assert!(told.contains(line) && told.ends_with(verdict), "{told}");
        }
    }

    #[test]
    fn what_no_source_can_tell_is_of_every_host_and_of_its_time() {
        for (options, complete) in [
            (&[][..], false),
            (&["--host", "web1"], false),
            (&["--since", "1970-01-01T00:00:05Z"], false),
            (&["--since", "1970-01-01T00:00:06Z"], true),
        ] {
            let words = ["x"].iter().chain(options);
            let command = Command::try_parse_from(words).unwrap().audit;
            let sources = || vec![source("/a", 1, 0, 9)];
            for known in [with_expired(sources()), with_forgotten(sources(), 1)] {
                let known = command.asked_for(known).unwrap();
                assert_eq!(known.is_complete(), complete, "{options:?} {known:?}");
            }
        }
    }
}
