//! `logweir-agent spool`: what is in the spools, without an agent.
//!
//! `check` and `export` only read, and may be used while an agent runs; `repair` takes the state
//! directory for itself.

use super::out::printable;
use super::report_faults;
use crate::Config;
use crate::checkpoint::{self, Content, Look};
use crate::spool::Message;
use crate::spool::inspect::{Fault, Inspection, inspect, set_aside, spools};
use crate::state_dir::StateDir;
use crate::{errln, outln};
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Look into the spools on disk, or make damaged ones usable again
#[derive(Debug, clap::Args)]
pub struct Spool {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read everything and tell what is there and what is wrong; exit code 1 if something is
    Check(Check),
    /// Write the messages that are not delivered to standard output or a file
    Export(Export),
    /// Set aside what keeps the agent from starting; nothing is deleted
    Repair(Place),
}

/// Where the spools are.
#[derive(Debug, clap::Args)]
struct Place {
    /// The state directory of the agent
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "config")]
    state_dir: Option<PathBuf>,
    /// The configuration of the agent; only its state directory is used
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/agent.yaml")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Check {
    #[command(flatten)]
    place: Place,
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    format: CheckFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    Text,
    /// One JSON object per spool
    Json,
}

#[derive(Debug, clap::Args)]
struct Export {
    #[command(flatten)]
    place: Place,
    #[arg(long, value_enum, default_value_t = ExportFormat::Ndjson)]
    format: ExportFormat,
    /// Only this spool, by its name as `check` shows it
    #[arg(long, value_name = "NAME")]
    spool: Option<String>,
    /// A file to make instead of standard output; one that is there is not overwritten
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// One JSON object per message, with spool, offset, time and sender
    Ndjson,
    /// The messages as they came, one per line
    Raw,
}

impl Spool {
    pub fn execute(self) -> ExitCode {
        let (place, run): (&Place, &dyn Fn(&Path) -> io::Result<ExitCode>) = match &self.command {
            Command::Check(check) => (&check.place, &|state_dir| check.run(state_dir)),
            Command::Export(export) => (&export.place, &|state_dir| export.run(state_dir)),
            Command::Repair(place) => (place, &repair),
        };
        let state_dir = match &place.state_dir {
            Some(path) => path.clone(),
            None => match Config::state_dir_in(&place.config) {
                Ok(path) => path,
                Err(faults) => return report_faults(&faults),
            },
        };
        if !state_dir.is_dir() {
            let path = state_dir.display();
            errln!(
                "logweir-agent: there is no state directory `{path}`; name the one of the agent \
                 with --state-dir, or its configuration with --config"
            );
            return ExitCode::FAILURE;
        }
        run(&state_dir).unwrap_or_else(|error| {
            // Whoever reads our output may have had enough.
            if error.kind() != io::ErrorKind::BrokenPipe {
                errln!("logweir-agent: {error}");
            }
            ExitCode::FAILURE
        })
    }
}

/// Up to where the spool `name` is delivered.
fn frontier(look: &Look, name: &str) -> u64 {
    let entries = look.entries.iter();
    let of_spool = |content: &Content| matches!(content, Content::Spool { name: n } if n == name);
    entries.filter(|entry| of_spool(&entry.content)).map(|entry| entry.offset).max().unwrap_or(0)
}

fn look(state_dir: &Path) -> io::Result<Look> {
    checkpoint::look(state_dir).map_err(io::Error::other)
}

impl Check {
    fn run(&self, state_dir: &Path) -> io::Result<ExitCode> {
        let look = look(state_dir)?;
        let mut faults = look.damaged.len();
        let mut out = io::stdout().lock();
        if self.format == CheckFormat::Text {
            match look.sequence {
                Some(sequence) => writeln!(out, "checkpoint {sequence}")?,
                None => writeln!(out, "no checkpoint: nothing counts as delivered")?,
            }
        }
        for (path, what) in &look.damaged {
            errln!("{}: fault: {what}; the agent sets it aside", path.display());
        }
        for (name, directory) in spools(&state_dir.join("spool"))? {
            let acked = frontier(&look, &name);
            let found = inspect(&directory, acked, |_, _| Ok(()))?;
            faults += found.faults.len();
            match self.format {
                CheckFormat::Text => tell(&mut out, &name, acked, &found)?,
                CheckFormat::Json => writeln!(out, "{}", as_json(&name, acked, &found))?,
            }
        }
        Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn tell(out: &mut impl Write, name: &str, acked: u64, found: &Inspection) -> io::Result<()> {
    writeln!(
        out,
        "spool {}: {} segments, {} records, {} bytes, delivered up to offset {acked}, {} records not \
         delivered",
        printable(name),
        found.segments,
        found.records,
        found.bytes,
        found.unreleased
    )?;
    found.faults.iter().try_for_each(|fault| writeln!(out, "  {}", line(fault)))
}

fn as_json(name: &str, acked: u64, found: &Inspection) -> serde_json::Value {
    let faults = found.faults.iter().map(|fault| {
        json!({
            "file": fault.file.display().to_string(),
            "place": fault.place,
            "what": fault.what,
            "fatal": fault.fatal,
        })
    });
    json!({
        "spool": name,
        "segments": found.segments,
        "records": found.records,
        "bytes": found.bytes,
        "delivered_offset": acked,
        "not_delivered": found.unreleased,
        "faults": faults.collect::<Vec<_>>(),
    })
}

fn line(fault: &Fault) -> String {
    let file = printable(fault.file.display());
    let place = fault.place.map(|place| format!(" at byte {place}")).unwrap_or_default();
    let remedy = if fault.fatal {
        "; the agent does not start: use `logweir-agent spool repair`"
    } else {
        ""
    };
    format!("{file}{place}: fault: {}{remedy}", fault.what)
}

impl Export {
    fn run(&self, state_dir: &Path) -> io::Result<ExitCode> {
        let look = look(state_dir)?;
        let found = spools(&state_dir.join("spool"))?;
        if let Some(wanted) = &self.spool
            && !found.iter().any(|(name, _)| name == wanted)
        {
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(io::Error::other(format!(
                "there is no spool `{wanted}`; there are {names}"
            )));
        }
        let output: Box<dyn Write> = match &self.output {
            None => Box::new(io::stdout().lock()),
            Some(path) => Box::new(File::create_new(path).map_err(|error| {
                io::Error::other(format!("cannot make `{}`: {error}", path.display()))
            })?),
        };
        let escape = self.output.is_none() && io::stdout().is_terminal();
        let mut output = BufWriter::new(output);
        let (mut count, mut faults) = (0, 0);
        for (name, directory) in found {
            if self.spool.as_ref().is_some_and(|wanted| *wanted != name) {
                continue;
            }
            let found =
                inspect(&directory, frontier(&look, &name), |offset, message| match self.format {
                    ExportFormat::Ndjson => writeln!(output, "{}", record(&name, offset, message)),
                    ExportFormat::Raw if escape => {
                        let text = String::from_utf8_lossy(message.bytes);
                        writeln!(output, "{}", printable(&text))
                    }
                    ExportFormat::Raw => {
                        output.write_all(message.bytes).and_then(|()| output.write_all(b"\n"))
                    }
                })?;
            count += found.unreleased;
            faults += found.faults.len();
            found.faults.iter().for_each(|fault| errln!("{}", line(fault)));
        }
        output.flush()?;
        errln!("{count} messages exported");
        Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A message as JSON: as text if it is UTF-8, else by its bytes.
fn record(spool: &str, offset: u64, message: &Message<'_>) -> serde_json::Value {
    let mut record = json!({
        "spool": spool,
        "offset": offset,
        "received_at": message.received_at.to_string(),
    });
    if !message.sender.is_empty() {
        record["sender"] = String::from_utf8_lossy(message.sender).into();
    }
    if let Some(length) = message.original_bytes {
        record["original_bytes"] = length.into();
    }
    if message.unterminated {
        record["unterminated"] = true.into();
    }
    match std::str::from_utf8(message.bytes) {
        Ok(text) => record["message"] = text.into(),
        Err(_) => {
            let hex: String = message.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            record["message_hex"] = hex.into();
        }
    }
    record
}

/// Sets aside what keeps an agent from starting, and tells of the damage that one lives with.
fn repair(state_dir: &Path) -> io::Result<ExitCode> {
    let _ours = StateDir::open(state_dir).map_err(io::Error::other)?;
    let look = look(state_dir)?;
    let directory = state_dir.join("spool");
    if directory.is_symlink() {
        let aside = set_aside(&directory)?;
        outln!("{}: a symbolic link, set aside as {}", directory.display(), aside.display());
        return Ok(ExitCode::SUCCESS);
    }
    for (name, directory) in spools(&directory)? {
        let acked = frontier(&look, &name);
        let found = inspect(&directory, acked, |_, _| Ok(()))?;
        for fault in found.faults.iter().filter(|fault| fault.fatal) {
            let aside = set_aside(&fault.file)?;
            let file = printable(fault.file.display());
            outln!("{file}: {}; set aside as {}", fault.what, printable(aside.display()));
        }
        if !directory.is_dir() {
            continue;
        }
        let left = inspect(&directory, acked, |_, _| Ok(()))?;
        if let Some(fault) = left.faults.iter().find(|fault| fault.fatal) {
            return Err(io::Error::other(line(fault)));
        }
        tell(&mut io::stdout().lock(), &name, acked, &left)?;
        if !left.faults.is_empty() {
            outln!("  the agent counts what is missing as `spool_damaged` when it comes to it");
        }
    }
    Ok(ExitCode::SUCCESS)
}
