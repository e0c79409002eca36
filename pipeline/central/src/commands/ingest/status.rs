//! `logweir ingest status`: what a running ingest has received, stored and holds, and how far each of
//! its partitions is behind.

use super::super::visible;
use crate::ingest::IngestConfig;
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use logweir_agent::{out, outln};
use serde_json::Value;
use std::process::ExitCode;

/// Ask the running ingest how it is
#[derive(Debug, Args)]
pub(super) struct StatusCommand {
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    /// The status as the ingest gives it
    Json,
}

impl StatusCommand {
    /// # Errors
    /// No ingest answers at the socket of the configuration.
    pub(super) fn execute(&self, config: &IngestConfig) -> Result<ExitCode> {
        let path = config.status.path();
        let text = logweir_service::ask(path).with_context(|| {
            format!("no ingest answers at {}; is it running? see `status.socket`", path.display())
        })?;
        match self.format {
            Format::Json => outln!("{text}"),
            Format::Text => {
                let status = serde_json::from_str(&text).context("the answer is damaged")?;
                out!("{}", shown(&status));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(status: &Value) -> String {
    let text = |name: &str| visible(status[name].as_str().unwrap_or_default());
    let count = |name: &str| status[name].as_u64().unwrap_or(0);
    let at_ms = status["at_ms"].as_i64().unwrap_or(0);
    let up = at_ms - status["started_at_ms"].as_i64().unwrap_or(at_ms);
    let (letters, reasons) = dead_letters(&status["dead_letters"]);
    let mut out = format!(
        "ingest {}, process {}, up {}\ngroup {}  topic {}  table {}\n\
         received {} = stored {} + duplicates {} + dead letters {letters}{reasons} + held {} + given back {}\n\
         lag {}, {}  {:.0} events/s\n{}\n",
        text("version"),
        count("process"),
        seconds(up as u64),
        text("group"),
        text("topic"),
        text("store"),
        count("received"),
        count("stored"),
        count("duplicates"),
        count("held"),
        count("given_back"),
        known(&status["lag"], |lag| format!("{lag} events")),
        known(&status["lag_ms"], seconds),
        status["rate"].as_f64().unwrap_or(0.0),
        commits(&status["commits"], at_ms),
    );
    if count("suspect") > 0 {
        out.push_str(&format!(
            "{} of those stored have a time far from their arrival: see tags:timestamp_suspect\n",
            count("suspect")
        ));
    }
    if count("expired") > 0 {
        out.push_str(&format!(
            "{} records were removed by Kafka before they were read: raise retention.ms of the topic\n",
            count("expired")
        ));
    }
    if count("letters_refused") > 0 {
        out.push_str(&format!(
            "{} dead letters were refused by logweir.dead_letter: the log names their records\n",
            count("letters_refused")
        ));
    }
    out.push_str(&format!(
        "{:>6} {:>9} {:>12} {:>9} {:>9} {:>9} {:>14}\n",
        "worker", "partition", "lag", "behind", "events/s", "held", "stored"
    ));
    let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let mut partitions = list("partitions");
    partitions.sort_by_key(|of| (of["worker"].as_u64(), of["partition"].as_u64()));
    for of in &partitions {
        out.push_str(&format!(
            "{:>6} {:>9} {:>12} {:>9} {:>9.0} {:>9} {:>14}\n",
            of["worker"].as_u64().unwrap_or(0),
            of["partition"].as_u64().unwrap_or(0),
            known(&of["lag"], |lag| lag.to_string()),
            known(&of["lag_ms"], seconds),
            of["rate"].as_f64().unwrap_or(0.0),
            of["held"].as_u64().unwrap_or(0),
            of["stored"].as_u64().unwrap_or(0),
        ));
    }
    for sink in list("sinks") {
        out.push_str(&format!(
            "sink {}  written {}  dead letters {}  retries {}\n",
            visible(sink["name"].as_str().unwrap_or_default()),
            sink["written"],
            sink["dead_letters"],
            sink["retries"],
        ));
    }
    out
}

fn dead_letters(by_reason: &Value) -> (u64, String) {
    let reasons: Vec<(&String, u64)> = by_reason
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(reason, count)| Some((reason, count.as_u64()?)))
        .collect();
    let list: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{} {count}", visible(reason))).collect();
    let shown = if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) };
    (reasons.iter().map(|(_, count)| count).sum(), shown)
}

fn commits(commits: &Value, at_ms: i64) -> String {
    let refused = &commits["refused"];
    match commits["last_at_ms"].as_i64() {
        None => format!("no commit yet  refused {refused}"),
        Some(last) => format!(
            "commits {}  refused {refused}  the last {} ago: {} events in {} ms",
            commits["commits"],
            seconds((at_ms - last) as u64),
            commits["last_rows"],
            commits["last_took_ms"],
        ),
    }
}

fn known(value: &Value, shown: impl Fn(u64) -> String) -> String {
    value.as_u64().map_or_else(|| "unknown".to_owned(), shown)
}

/// Milliseconds for people.
fn seconds(ms: u64) -> String {
    match ms / 1000 {
        0..100 => format!("{:.1} s", ms as f64 / 1000.0),
        s @ 100..7200 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_status_shows_the_balance_and_each_partition_and_steers_no_terminal() {
        let status = json!({
            "version": "1", "process": 7, "group": "g\u{1b}[2J", "topic": "t", "store": "s",
            "started_at_ms": 0, "at_ms": 5000, "received": 9, "stored": 5, "suspect": 3, "duplicates": 1,
            "dead_letters": {"not_json": 2}, "held": 1, "given_back": 0, "letters_refused": 8, "expired": 6, "lag": 4, "lag_ms": 1500,
            "rate": 2.4, "commits": {"commits": 3, "refused": 0, "last_at_ms": 4000,
            "last_rows": 5, "last_took_ms": 12}, "sinks": [],
            "partitions": [{"partition": 1, "worker": 0, "lag": null, "lag_ms": null, "rate": 0.0,
            "held": 1, "stored": 5}],
        });
        let text = shown(&status);
        assert!(text.contains("received 9 = stored 5 + duplicates 1 + dead letters 2 (not_json 2) + held 1 + given back 0"), "{text}");
        assert!(text.contains("3 of those stored have a time far"), "{text}");
        assert!(text.contains("6 records were removed by Kafka"), "{text}");
        assert!(text.contains("8 dead letters were refused"), "{text}");
        assert!(text.contains("lag 4 events, 1.5 s  2 events/s"), "{text}");
        assert!(text.contains("the last 1.0 s ago: 5 events in 12 ms"), "{text}");
        assert!(text.contains("unknown") && !text.contains('\u{1b}'), "{text}");
    }
}
