//! `logweir audit`: is anything missing? Per source, from the ledger that is committed with the data.

use super::{report, store_location};
use anyhow::{Context as _, Result};
use clap::Args;
use logweir_store::{SourceAudit, Table, TableOptions, audit, format_time};
use std::path::PathBuf;
use std::process::ExitCode;

/// Prove that nothing is missing, or name what is; exit code 1 if something is
#[derive(Debug, Args)]
pub struct AuditCommand {
    /// The table [default: $LOGWEIR_STORE, /var/lib/logweir/table, or that of the demo here]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Only sources of this host
    #[arg(long)]
    host: Option<String>,
    /// table, or json (one object per source and line)
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

impl AuditCommand {
    pub fn execute(self) -> ExitCode {
        report(self.run())
    }

    fn run(self) -> Result<ExitCode> {
        let location = store_location(self.store.as_deref())?;
        let table = Table::open(&location, TableOptions::default())
            .with_context(|| format!("cannot open the table in {location}"))?;
        let mut sources = audit(&table, None, None)?;
        if let Some(host) = &self.host {
            sources.retain(|source| source.host == *host);
        }
        if self.format == "json" {
            for source in &sources {
                println!("{}", json(source));
            }
        } else {
            print!("{}", text(&sources));
        }
        Ok(if complete(&sources) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Whether the ledger can prove that nothing is missing.
pub fn complete(sources: &[SourceAudit]) -> bool {
    sources.iter().all(SourceAudit::is_complete)
}

/// The audit for people: a row a source, the gaps below theirs, and the verdict.
pub fn text(sources: &[SourceAudit]) -> String {
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
            printable(&source.host),
            printable(&source.path),
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
            printable(&source.path),
            source.unchained
        ));
    }
    let rows: u64 = sorted.iter().map(|source| source.rows).sum();
    let duplicates: u64 = sorted.iter().map(|source| source.duplicates).sum();
    let gaps: usize = sorted.iter().map(|source| source.gaps.len()).sum();
    let verdict = match gaps {
        0 if complete(sources) => "nothing is missing".into(),
        0 => "completeness is not proved".into(),
        _ => format!("{gaps} gaps"),
    };
    out.push_str(&format!(
        "{} sources, {rows} events, {duplicates} duplicates dropped: {verdict}\n",
        sorted.len()
    ));
    out
}

fn json(source: &SourceAudit) -> serde_json::Value {
    serde_json::json!({
        "host.name": source.host,
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

/// Names come from hosts that may be hostile: no control character reaches the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
