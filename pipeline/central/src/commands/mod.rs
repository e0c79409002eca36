//! The commands of `logweir`, one module each; each ends in an exit code:
//! 0 done, 1 failed or found something missing, 2 wrong usage, 78 (`EX_CONFIG`) bad configuration.

pub mod agents;
pub mod audit;
pub mod broker;
mod cluster;
pub mod config;
pub mod demo;
pub mod ingest;
pub mod keygen;
pub mod rules;
pub mod search;
pub mod table;
mod topic;
pub mod topics;
pub mod verify;

pub(crate) use cluster::kafka_properties;

use anyhow::{Context as _, Result, anyhow};
use logweir_agent::{err, errln};
use logweir_document::{Diagnostic, nearest, render_all};
use logweir_store::{Table, TableOptions, parse_time, visible};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The exit code of a faulty configuration, as systemd's `RestartPreventExitStatus=78` knows it.
const EXIT_CONFIG: u8 = 78;

/// Prints an error with its causes and turns it into an exit code.
fn report(outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        errln!("logweir: {}", told(&error));
        ExitCode::FAILURE
    })
}

/// An error with its causes, without those that the text before them has told already: many libraries
/// quote the cause of an error in its own words.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let cause = cause.trim_end();
        if !told.contains(cause) {
            let sep = if told.is_empty() { "" } else { ": " };
            told.push_str(sep);
            told.push_str(cause);
        }
    }
    told
}

/// Prints every fault of a configuration, or of rules.
fn report_faults(faults: &[Diagnostic]) -> ExitCode {
    show(faults);
    ExitCode::from(EXIT_CONFIG)
}

fn show(diagnostics: &[Diagnostic]) {
    err!("{}", render_all(diagnostics, std::io::stderr().is_terminal()));
}

/// The table to read: as told, or where ingest and demo put it by default.
fn store_location(told: Option<&Path>) -> Result<String> {
    let is_url = |path: &Path| path.to_string_lossy().contains("://");
    let told =
        told.map(Path::to_owned).or_else(|| std::env::var_os("LOGWEIR_STORE").map(PathBuf::from));
    let candidates = match told {
        Some(path) => vec![path],
        None => vec![
            PathBuf::from("/var/lib/logweir/table"),
            Path::new(crate::demo::DIRECTORY_DEFAULT).join("table"),
        ],
    };
    let found = candidates.iter().find(|path| path.is_dir() || is_url(path)).ok_or_else(|| {
        let list: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        anyhow!("there is no table in {}; name it with --store DIR", list.join(" or "))
    })?;
    Ok(found.to_string_lossy().into_owned())
}

/// Opens the table that is told, or that is there.
fn open_table(told: Option<&Path>) -> Result<Table> {
    let location = store_location(told)?;
    Table::open(&location, TableOptions::default())
        .with_context(|| format!("cannot open the table in {location}"))
}

/// A time on the command line, in microseconds.
fn time(text: &str) -> Result<i64, String> {
    parse_time(text, jiff::Timestamp::now().as_microsecond())
        .ok_or_else(|| "write 15m, 2h, 7d (ago), 2026-11-28, or 2026-11-28T01:00:00Z".into())
}

/// That nothing is known of a host that was asked for; a mistyped name must not pass for a host that is
/// well.
fn unknown_host<'h>(
    host: &str,
    known: impl IntoIterator<Item = &'h str>,
    place: &str,
) -> anyhow::Error {
    let near = nearest(host, known).map(|near| format!("; did you mean `{}`?", visible(near)));
    anyhow!("{place} has nothing of a host `{}`{}", visible(host), near.unwrap_or_default())
}

fn name_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_each_cause_once_though_others_quote_it() {
        let cause = std::io::Error::other("no such bucket\n");
        let error = anyhow::Error::new(cause).context("PUT failed: no such bucket");
        assert_eq!(told(&error.context("no table")), "no table: PUT failed: no such bucket");
        let plain = anyhow!("refused").context("cannot connect");
        assert_eq!(told(&plain), "cannot connect: refused");
    }

    #[test]
    fn a_host_that_is_not_known_is_told_with_the_nearest_one() {
        let told = |host, known: &[&'static str]| {
            unknown_host(host, known.iter().copied(), "the table").to_string()
        };
        assert_eq!(
            told("web-typo", &["web-type\u{1b}", "db1"]),
            "the table has nothing of a host `web-typo`; did you mean `web-type\\x1b`?"
        );
        assert_eq!(told("x", &["web1"]), "the table has nothing of a host `x`");
    }
}
