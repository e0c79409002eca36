//! `logweir search`: finds events in the table by field.

use super::{report, store_location};
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use jiff::Timestamp;
use logweir_store::{
    Format, Formatter, Order, Query, SearchOptions, Table, TableOptions, count, count_by,
    parse_time, search, visible,
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
    /// At most this many events
    #[arg(long, default_value_t = 100)]
    limit: usize,
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
    /// Count the matching events by the values of a field
    #[arg(long, value_name = "FIELD")]
    count_by: Option<String>,
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
            Err(error) => {
                eprintln!("logweir: in the query, column {}: {}", error.column, error.message);
                eprintln!("  {}\n  {}^", self.query, " ".repeat(error.column.saturating_sub(1)));
                eprintln!("  help: {}", error.remedy);
                return Ok(ExitCode::from(2));
            }
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
            limit: self.limit,
            order: if self.oldest_first { Order::OldestFirst } else { Order::NewestFirst },
            columns: formatter.fields().to_vec(),
            ..SearchOptions::default()
        };
        let location = store_location(self.store.as_deref())?;
        let table = Table::open(&location, TableOptions::default())
            .with_context(|| format!("cannot open the table in {location}"))?;
        if self.count {
            println!("{}", count(&table, &query, &options)?);
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(field) = &self.count_by {
            for (value, count) in count_by(&table, &query, &options, field)?.iter().take(self.limit)
            {
                println!(
                    "{count:>10}  {}",
                    if value.is_empty() { "–".into() } else { visible(value) }
                );
            }
            return Ok(ExitCode::SUCCESS);
        }
        print_events(&table, &query, &options, formatter)
    }
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
