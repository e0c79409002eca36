//! The commands of `logweir`, one module each; each ends in an exit code:
//! 0 done, 1 failed or found something missing, 2 wrong usage, 78 (`EX_CONFIG`) bad configuration.

pub mod agents;
pub mod audit;
pub mod broker;
pub mod config;
pub mod demo;
pub mod ingest;
pub mod search;
mod topic;
pub mod topics;
pub mod verify;

use anyhow::{Result, anyhow};
use logweir_document::{Diagnostic, Faults, parse, render_all};
use logweir_kafka::properties::{Properties, Role};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The exit code of a faulty configuration, as systemd's `RestartPreventExitStatus=78` knows it.
const EXIT_CONFIG: u8 = 78;

/// Prints an error with its causes and turns it into an exit code.
fn report(outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("logweir: {error:#}");
        ExitCode::FAILURE
    })
}

/// Prints every fault of a configuration.
fn report_faults(faults: &[Diagnostic]) -> ExitCode {
    eprint!("{}", render_all(faults, std::io::stderr().is_terminal()));
    ExitCode::from(EXIT_CONFIG)
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

fn name_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}

/// Names come from hosts that may be hostile: no control character reaches the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Client properties from the command line.
pub(crate) fn kafka_properties(
    bootstrap_server: &str,
    extra: &[(String, String)],
    role: Role,
) -> Result<Properties> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut text = format!("bootstrap.servers: {}\n", quoted(bootstrap_server));
    for (name, value) in extra {
        text.push_str(&format!("{}: {}\n", quoted(name), quoted(value)));
    }
    let document = parse("command line", &text).map_err(|fault| anyhow!(fault.message.clone()))?;
    let mut faults = Faults::new(document.source.clone());
    let properties = Properties::read(&document.root, "", role, &mut faults);
    let errors = faults.has_errors();
    match properties {
        Some(properties) if !errors => Ok(properties),
        _ => {
            let list: Vec<String> = faults
                .into_list()
                .into_iter()
                .map(|fault| match fault.remedy {
                    Some(remedy) => format!("{}; {remedy}", fault.message),
                    None => fault.message,
                })
                .collect();
            Err(anyhow!("{}", list.join("; ")))
        }
    }
}
