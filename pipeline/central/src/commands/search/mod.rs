//! `logweir search`: finds events in the table by field, counts them, and follows what comes.

mod follow;
mod stats;

use super::{open_table, report, time};
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use logweir_agent::{errln, outln};
use logweir_store::{
    Event, Format, Formatter, Order, Query, QueryError, SearchOptions, Table, around, check_field,
    count, search,
};
use std::io::{self, IsTerminal as _, Write};
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
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Older than this
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
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
    #[arg(long, conflicts_with_all = ["count_by", "stats", "every"])]
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
    around: Option<Event>,
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
        if let Err(error) = check_fields(&self.fields) {
            return Ok(wrong("--fields", &self.fields.join(","), &error));
        }
        let format: Format = self.format.parse().map_err(|_| anyhow!("unknown format"))?;
        let formatter = Formatter::new(format, &self.fields, io::stdout().is_terminal());
        let options = SearchOptions {
            since: self.since,
            until: self.until,
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
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.follow {
            return follow::print(&table, query, self.limit, formatter, &mut out);
        }
        if let Some(event) = self.around {
            return print_around(&table, event, self.context, formatter, &mut out);
        }
        print_events(&table, &query, &options, formatter, &mut out)
    }
}

/// How many events are shown unless told.
const EVENTS_DEFAULT: usize = 100;

/// Whether there may be fields of these names, which are written with commas between them.
fn check_fields(fields: &[String]) -> Result<(), QueryError> {
    let mut column = 1;
    fields.iter().try_for_each(|field| {
        check_field(field, column)?;
        column += field.chars().count() + 1;
        Ok(())
    })
}

/// Whether all was written that was to be. A reader that has seen enough (`| head`) is no error; nobody
/// may take half of the output for all of it for any other reason.
fn all_written(written: io::Result<()>) -> Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.context("standard output cannot be written").map(|()| true),
    }
}

/// Shows what is wrong with a text that the user has written, and where.
fn wrong(what: &str, text: &str, error: &QueryError) -> ExitCode {
    errln!("logweir: in {what}, column {}: {}", error.column, error.message);
    errln!("  {text}\n  {}^", " ".repeat(error.column.saturating_sub(1)));
    errln!("  help: {}", error.remedy);
    ExitCode::from(2)
}

fn print_around(
    table: &Table,
    event: Event,
    context: usize,
    mut formatter: Formatter,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let mut written = formatter.header(out);
    let fields = formatter.fields();
    let found = around(table, event, (context, context), &fields, &mut |row| {
        if written.is_ok() {
            written = formatter.row(out, &row);
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    all_written(written.and_then(|()| formatter.finish(out)))?;
    if !found {
        errln!("logweir: the event itself is not in the table");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_events(
    table: &Table,
    query: &Query,
    options: &SearchOptions,
    mut formatter: Formatter,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let mut written = formatter.header(out);
    let summary = search(table, query, options, &mut |row| {
        if written.is_ok() {
            written = formatter.row(out, &row);
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if !all_written(written.and_then(|()| formatter.finish(out)))? {
        return Ok(ExitCode::SUCCESS);
    }
    if io::stderr().is_terminal() {
        let more = if summary.exact { "" } else { ", there may be more (--limit)" };
        errln!(
            "{} events{more}; read {} of {} files",
            summary.shown,
            summary.files - summary.files_pruned,
            summary.files
        );
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use logweir_record::SourceId;
    use logweir_store::{PartitionWriter, Stats, StatsTable, TableOptions};
    use std::sync::Arc;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        search: SearchCommand,
    }

    /// An output that cannot be written.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_cannot_be_written_is_an_error_unless_its_reader_has_gone() {
        let directory = tempfile::tempdir().unwrap();
        let location = directory.path().display().to_string();
        let table = Arc::new(Table::open_or_create(&location, TableOptions::default()).unwrap());
        let mut writer = PartitionWriter::open(table.clone(), "g", "t", 0).unwrap();
        let event = Event { source: SourceId::derive(&[b"s"]), offset: 0 };
        let record = format!(r#"{{"logweir.source":"{}","log.offset":0}}"#, event.source);
        writer.push(0, record.as_bytes());
        table.commit(vec![writer.seal().unwrap()]).unwrap();

        let query = || Query::parse("").unwrap();
        let options = SearchOptions::default();
        let statistics = Stats::parse("count()", None).unwrap();
        for format in [Format::Table, Format::Json, Format::Csv] {
            let formatter = || Formatter::new(format, &[], false);
            let all = |kind: io::ErrorKind| {
                let out = &mut Broken(kind);
                let counted = logweir_store::stats(&table, &query(), &options, &statistics, 1);
                let counted: StatsTable = counted.unwrap();
                let columns = statistics.columns();
                let written =
                    stats::write(&counted, &mut Formatter::new(format, &columns, false), out);
                let mut outcomes = vec![
                    print_events(&table, &query(), &options, formatter(), out).map(|_| ()),
                    print_around(&table, event, 1, formatter(), out).map(|_| ()),
                    all_written(written).map(|_| ()),
                ];
                // The others write nothing before something comes.
                if format == Format::Csv {
                    let follow = follow::print(&table, query(), None, formatter(), out);
                    outcomes.push(follow.map(|_| ()));
                }
                outcomes
            };
            for outcome in all(io::ErrorKind::StorageFull) {
                let told = super::super::told(&outcome.unwrap_err());
                assert_eq!(told, "standard output cannot be written: no storage space");
            }
            assert!(all(io::ErrorKind::BrokenPipe).iter().all(Result::is_ok), "{format:?}");
        }
    }

    #[test]
    fn what_is_no_field_time_or_event_is_wrong_usage_with_a_remedy() {
        let names = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        check_fields(&names("user.name,labels.anything,vendor.some_thing,message")).unwrap();
        let error = check_fields(&names("host.name,user.nam")).unwrap_err();
        assert_eq!((error.column, error.remedy.as_str()), (11, "did you mean `user.name`?"));
        let error = check_fields(&names("quux")).unwrap_err();
        assert!(error.remedy.contains("such as `source.ip`"), "{error}");
        for words in [["--stats", "count()"], ["--every", "1h"], ["--count-by", "user.name"]] {
            let words = ["x", "--count"].iter().chain(&words);
            assert_eq!(Command::try_parse_from(words).unwrap_err().exit_code(), 2);
        }
        for words in [["--since", "foo"], ["--until", "yesterday"], ["--around", "9d3c"]] {
            let error = Command::try_parse_from(["x"].iter().chain(&words)).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("write "), "{error}");
        }
    }
}
