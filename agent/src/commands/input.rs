//! What the commands that work on lines are given: rules, what is known of the lines, files.

use super::lines::{Line, Lines};
use super::out::printable;
use super::{report_faults, show};
use crate::errln;
use logweir_parsers::{LineContext, RuleSet, Zone};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Rules, lines and what is known of them.
#[derive(Debug, clap::Args)]
pub(crate) struct InputArguments {
    #[command(flatten)]
    rules: RuleArguments,
    #[command(flatten)]
    line: LineArguments,
    /// The lines; `-` is standard input
    #[arg(default_value = "-", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// [`InputArguments`], checked and loaded.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) rules: Arc<RuleSet>,
    pub(crate) settings: LineSettings,
    files: Vec<PathBuf>,
}

impl InputArguments {
    pub(crate) fn open(self) -> Result<Input, ExitCode> {
        let rules = self.rules.load()?;
        let settings = self.line.check(&rules)?;
        Ok(Input { rules, settings, files: self.files })
    }
}

impl Input {
    /// Calls `visit` with every line of every file, until it cannot write what it makes of one. A file
    /// that cannot be read ends it and is reported.
    pub(crate) fn for_each_line(
        &self,
        mut visit: impl FnMut(Line<'_>) -> io::Result<()>,
    ) -> ExitCode {
        for file in &self.files {
            let mut all = || {
                let mut lines = Lines::open(file)?;
                while let Some(line) = lines.next_line()? {
                    if let Err(error) = visit(line) {
                        return Ok(Some(error));
                    }
                }
                Ok(None)
            };
            match all() {
                Ok(None) => {}
                Ok(Some(error)) => return written(Err(error)),
                Err(error) => {
                    let error: io::Error = error;
                    errln!("logweir-agent: {}: {error}", printable(file.display()));
                    return ExitCode::FAILURE;
                }
            }
        }
        ExitCode::SUCCESS
    }
}

/// What follows from an output that was written, or not: a reader of it that went away is no fault.
pub(crate) fn written(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            errln!("logweir-agent: standard output cannot be written: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Which rules to use; shared by all commands that need rules.
#[derive(Debug, clap::Args)]
pub(crate) struct RuleArguments {
    /// A directory of rule packs, or one pack; may be given several times. Its rules add to the
    /// packs inside the program and replace those with the same ids
    #[arg(long = "rules", value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Leave out the packs inside the program
    #[arg(long)]
    no_shipped: bool,
}

impl RuleArguments {
    /// Loads the rules, and shows what is wrong with them on standard error.
    pub(crate) fn load(&self) -> Result<Arc<RuleSet>, ExitCode> {
        load(&self.directories, !self.no_shipped)
    }
}

/// Loads rules, and shows what is wrong with them on standard error.
pub(crate) fn load(directories: &[PathBuf], shipped: bool) -> Result<Arc<RuleSet>, ExitCode> {
    match RuleSet::load(directories, shipped) {
        Ok(loaded) => {
            show(&loaded.warnings);
            Ok(Arc::new(loaded.rules))
        }
        Err(faults) => Err(report_faults(&faults)),
    }
}

fn time(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| "write RFC 3339, such as 2026-11-28T01:00:00Z".into())
}

/// What is known of the lines; shared by the commands that parse.
#[derive(Debug, clap::Args)]
pub(crate) struct LineArguments {
    /// The pack to try first: its name, dataset or alias
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// When the lines count as read, RFC 3339; now by default. It decides the year of times that
    /// have none
    #[arg(long, value_name = "TIME", value_parser = time)]
    received: Option<jiff::Timestamp>,
    /// The zone of times that name none, such as Europe/Berlin or +02:00
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
}

/// [`LineArguments`], checked.
#[derive(Debug)]
pub(crate) struct LineSettings {
    pack: Option<usize>,
    received_unix_nanos: i64,
    zone: Zone,
}

impl LineArguments {
    pub(crate) fn check(&self, rules: &RuleSet) -> Result<LineSettings, ExitCode> {
        let usage = |message: String| {
            errln!("logweir-agent: {message}");
            ExitCode::from(2)
        };
        let pack = match &self.dataset {
            Some(name) => Some(rules.pack_named(name).ok_or_else(|| {
                let near = logweir_document::nearest(name, rules.pack_names());
                let help =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                usage(format!("no pack is called `{name}`{help}"))
            })?),
            None => None,
        };
        let zone = Zone::parse(&self.zone).map_err(|_| {
            usage(format!(
                "unknown zone `{}`: write a name such as Europe/Berlin or +02:00",
                self.zone
            ))
        })?;
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let nanos = self.received.map_or_else(|| now() as i128, jiff::Timestamp::as_nanosecond);
        Ok(LineSettings { pack, received_unix_nanos: nanos as i64, zone })
    }
}

impl LineSettings {
    pub(crate) fn context(&self, original_bytes: Option<u64>) -> LineContext<'_> {
        LineContext {
            pack: self.pack,
            received_unix_nanos: self.received_unix_nanos,
            zone: &self.zone,
            original_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_none_is_told_how_to_write_one() {
        assert_eq!(time("1970-01-01T00:00:01Z").unwrap().as_second(), 1);
        assert!(time("yesterday").unwrap_err().contains("RFC 3339, such as "));
    }
}
