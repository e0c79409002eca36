//! `logweir table`: what is in the table by day, and by hand what the ingest does at its times: join small
//! files, drop old days, remove what nothing refers to.
//!
//! Each may run beside ingests and searches. Nothing here asks before it acts, so `expire` has to be told
//! the day.

use super::{open_table, report};
use anyhow::Result;
use clap::{Args, Subcommand};
use jiff::civil::Date;
use logweir_agent::{out, outln};
use logweir_store::{CompactOptions, Day, GRACE_MIN, compact, expire, vacuum};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Look at the table by day, join its small files, drop old days, remove what nothing refers to
#[derive(Debug, Args)]
pub struct TableCommand {
    #[command(subcommand)]
    command: Command,
    /// The table [default: $LOGWEIR_STORE, /var/lib/logweir/table, or that of the demo here]
    #[arg(long, value_name = "DIR", global = true)]
    store: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show files, rows and bytes of each day, and the version
    Describe {
        /// table, or json (one object)
        #[arg(long, default_value = "table", value_parser = ["table", "json"])]
        format: String,
    },
    /// Join small files of a day into large ones, sorted; the ingest does it every two minutes
    Compact,
    /// Take the days before a day out of the table; the ingest does it with `store.retention`
    Expire {
        /// The first day that stays, YYYY-MM-DD
        #[arg(long, value_name = "DAY")]
        before: Date,
    },
    /// Remove files that nothing has referred to for an hour; the ingest does it every hour
    Vacuum,
}

impl TableCommand {
    pub fn execute(self) -> ExitCode {
        report(self.run())
    }

    fn run(self) -> Result<ExitCode> {
        let table = open_table(self.store.as_deref())?;
        match self.command {
            Command::Describe { format } => {
                let (version, days) = (table.version(), table.days()?);
                match format.as_str() {
                    "json" => outln!("{}", json!({"version": version, "days": days})),
                    _ => out!("{}", text(version, &days)),
                }
            }
            Command::Compact => {
                // Who asks for it by hand does not wait for more small files.
                let options = CompactOptions { files_min: 2, ..CompactOptions::default() };
                let done = compact(&table, &options)?;
                outln!(
                    "{} files ({} bytes, {} rows) joined into {} ({} bytes)",
                    done.files_before,
                    done.bytes_before,
                    done.rows,
                    done.files_after,
                    done.bytes_after
                );
            }
            Command::Expire { before } => {
                let files = expire(&table, &before.to_string())?;
                outln!("{files} files of days before {before} taken out of the table");
            }
            Command::Vacuum => {
                let done = vacuum(&table, GRACE_MIN)?;
                outln!("{} files removed, {} bytes", done.files_removed, done.bytes_removed);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(version: u64, days: &[Day]) -> String {
    let mut out = format!("{:10}  {:>8}  {:>14}  {:>16}\n", "DAY", "FILES", "ROWS", "BYTES");
    let (mut files, mut rows, mut bytes) = (0, Some(0), 0);
    for day in days {
        out.push_str(&line(&day.date, day.files, day.rows, day.bytes));
        files += day.files;
        rows = rows.zip(day.rows).map(|(sum, rows)| sum + rows);
        bytes += day.bytes;
    }
    out.push_str(&line("all", files, rows, bytes));
    out.push_str(&format!("version {version}\n"));
    out
}

fn line(name: &str, files: u64, rows: Option<u64>, bytes: u64) -> String {
    let rows = rows.map_or_else(|| "–".to_owned(), |rows| rows.to_string());
    format!("{name:10}  {files:>8}  {rows:>14}  {bytes:>16}\n")
}
