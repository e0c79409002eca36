//! `logweir search`: finds events in the table by field, counts them, and follows what comes.

mod follow;
mod stats;

use super::{open_table, report};
use anyhow::{Result, anyhow};
use clap::Args;
use jiff::Timestamp;
use logweir_agent::outln;
use logweir_store::{
    Event, Format, Formatter, Order, Query, QueryError, SearchOptions, Table, around, count,
    parse_time, search,
};
use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

/// Find events, newest first: logweir search 'source.ip:10.0.0.0/8 and event.outcome:failure'
#[derive(Debug, Args)]
pub struct SearchCommand {
    /// Fields, CIDR, ranges, wildcards, "phrases", and/or/not; see docs/search.md; empty matches all
    #[arg(default_value = "")]
    query: String,
    /// Not older than this: 15m, 2h, 7d (ago), 2026-11-28, or RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Older than this
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most this many events [default: 100], or groups of --stats [default: 20]
    #[arg(long)]
    limit: Option<usize>,
    /// Oldest first
    #[arg(long)]
    oldest_first: bool,
    /// table, json (one event per line) or csv
    #[arg(long, default_value = "table", value_parser = ["table", "json", "csv"])]
    format: String,
    /// Only these fields, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "FIELD")]
    fields: Vec<String>,
    /// Print the number of matching events only
    #[arg(long, conflicts_with = "count_by")]
    count: bool,
    /// Count the matching events by the values of a field: short for --stats 'count() by FIELD'
    #[arg(long, value_name = "FIELD", conflicts_with = "stats")]
    count_by: Option<String>,
    /// Statistics of the matching events, such as 'count(), sum(source.bytes) by source.ip'
    #[arg(long, value_name = "STATS")]
    stats: Option<String>,
    /// Statistics for each interval of this length: 30s, 5m, 1h, 1d
    #[arg(long, value_name = "INTERVAL")]
    every: Option<String>,
    /// Show events as they come into the table, until interrupted or --limit
    #[arg(long, conflicts_with_all = ["since", "until", "oldest_first", "count", "count_by", "stats", "every", "around"])]
    follow: bool,
    /// Show what is around an event in its file or stream, named SOURCE:OFFSET by its
    /// `logweir.source` and `log.offset`
    #[arg(long, value_name = "EVENT", conflicts_with_all = ["query", "since", "until", "oldest_first", "count", "count_by", "stats", "every"])]
    around: Option<String>,
    /// How many events before and after --around
    #[arg(long, value_name = "EVENTS", default_value_t = 10, requires = "around")]
    context: usize,
    /// The table [default: $LOGWEIR_STORE, /var/lib/logweir/table, or that of the demo here]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

impl SearchCommand {
    pub fn execute(self) -> ExitCode {
        report(self.run())
    }

    fn run(self) -> Result<ExitCode> {
        let query = match Query::parse(&self.query) {
            Ok(query) => query,
            Err(error) => return Ok(wrong("the query", &self.query, &error)),
        };
        let now_us = Timestamp::now().as_microsecond();
        let time = |text: &Option<String>, option: &str| -> Result<Option<i64>> {
            let Some(text) = text else { return Ok(None) };
            parse_time(text, now_us).map(Some).ok_or_else(|| {
                anyhow!(
                    "{option} `{text}` is no time; write 15m, 2h, 7d (ago), 2026-11-28 or RFC 3339"
                )
            })
        };
        let format: Format = self.format.parse().map_err(|_| anyhow!("unknown format"))?;
        let formatter = Formatter::new(format, &self.fields, std::io::stdout().is_terminal());
        let options = SearchOptions {
            since: time(&self.since, "--since")?,
            until: time(&self.until, "--until")?,
            limit: self.limit.unwrap_or(EVENTS_DEFAULT),
            order: if self.oldest_first { Order::OldestFirst } else { Order::NewestFirst },
            columns: formatter.fields().to_vec(),
            ..SearchOptions::default()
        };
        let table = open_table(self.store.as_deref())?;
        if self.count {
            outln!("{}", count(&table, &query, &options)?);
            return Ok(ExitCode::SUCCESS);
        }
        let counted = self.count_by.as_ref().map(|field| format!("count() by {field}"));
        let asked = self.stats.clone().or(counted);
        if let Some(text) = asked.or_else(|| self.every.as_ref().map(|_| "count()".to_owned())) {
            let asked =
                stats::Asked { text: &text, every: self.every.as_deref(), groups: self.limit };
            return stats::print(&table, &query, &options, &asked, format);
        }
        if self.follow {
            return follow::print(&table, query, self.limit, formatter);
        }
        if let Some(event) = &self.around {
            let event = event.parse().map_err(|message: String| anyhow!("--around: {message}"))?;
            return print_around(&table, event, self.context, formatter);
        }
        print_events(&table, &query, &options, formatter)
    }
}

/// How many events are shown unless told.
const EVENTS_DEFAULT: usize = 100;

/// Shows what is wrong with a text that the user has written, and where.
fn wrong(what: &str, text: &str, error: &QueryError) -> ExitCode {
    eprintln!("logweir: in {what}, column {}: {}", error.column, error.message);
    eprintln!("  {text}\n  {}^", " ".repeat(error.column.saturating_sub(1)));
    eprintln!("  help: {}", error.remedy);
    ExitCode::from(2)
}

fn print_around(
    table: &Table,
    event: Event,
    context: usize,
    mut formatter: Formatter,
) -> Result<ExitCode> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut written = formatter.header(&mut out);
    let fields = formatter.fields();
    let found = around(table, event, (context, context), &fields, &mut |row| {
        written = formatter.row(&mut out, &row);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let _ = written.and_then(|()| formatter.finish(&mut out)).and_then(|()| out.flush());
    if !found {
        eprintln!("logweir: the event itself is not in the table");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_events(
    table: &Table,
    query: &Query,
    options: &SearchOptions,
    mut formatter: Formatter,
) -> Result<ExitCode> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut written = formatter.header(&mut out);
    let summary = search(table, query, options, &mut |row| {
        if written.is_ok() {
            written = formatter.row(&mut out, &row);
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    // A reader that has seen enough (`| head`) is no error.
    if written.and_then(|()| formatter.finish(&mut out)).and_then(|()| out.flush()).is_err() {
        return Ok(ExitCode::SUCCESS);
    }
    if std::io::stderr().is_terminal() {
        let more = if summary.exact { "" } else { ", there may be more (--limit)" };
        eprintln!(
            "{} events{more}; read {} of {} files",
            summary.shown,
            summary.files - summary.files_pruned,
            summary.files
        );
    }
    Ok(ExitCode::SUCCESS)
}
