//! `rules convert`: rules of other programs as a pack.

use super::counted;
use super::output::OutputArguments;
use crate::commands::show;
use crate::errln;
use clap::ValueEnum as _;
use logweir_parsers::convert::{From, convert};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The most that one file may hold.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Convert rules of Logstash, Fluent Bit or Wazuh to a rule pack
///
/// What has no counterpart stands as a comment at its place in the pack and is shown on standard error
/// with file, line and reason. Exit code 1 if nothing came over or what was written does not load.
#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// Whose rules they are
    #[arg(long, value_enum)]
    from: Origin,
    /// The files, all into one pack; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
    /// The name of the pack, which also begins the ids of its rules
    #[arg(long, default_value = "converted", value_parser = super::pack_name)]
    name: String,
    /// A program whose lines are this pack's; may be given several times
    #[arg(long = "program", value_name = "NAME")]
    programs: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Origin {
    /// Logstash: filters of a pipeline, files of grok patterns
    Grok,
    /// Fluent Bit: parsers.conf
    Fluentbit,
    /// Wazuh and OSSEC: decoders
    Wazuh,
}

impl Convert {
    pub(super) fn execute(self) -> ExitCode {
        let mut files = Vec::new();
        for path in &self.files {
            match read(path) {
                Ok(text) => files.push((path.display().to_string(), text)),
                Err(message) => {
                    errln!("logweir-agent: {}: {message}", path.display());
                    return ExitCode::FAILURE;
                }
            }
        }
        let from = match self.from {
            Origin::Grok => From::Grok,
            Origin::Fluentbit => From::FluentBit,
            Origin::Wazuh => From::Wazuh,
        };
        let found = convert(from, &self.name, &self.programs, &files);
        show(&found.notes);
        if found.rules + found.fragments == 0 {
            let from = self.from.to_possible_value();
            let from = from.as_ref().map_or("", |value| value.get_name());
            errln!("logweir-agent: nothing came over; is it a file for --from {from}?");
            return ExitCode::FAILURE;
        }
        if let Err(message) = self.output.write(&found.yaml) {
            errln!("logweir-agent: {message}");
            return ExitCode::FAILURE;
        }
        if !found.faults.is_empty() {
            show(&found.faults);
            errln!("logweir-agent: what was written does not load: mend it at the places above");
            return ExitCode::FAILURE;
        }
        errln!(
            "{} and {} came over, {}; write samples, then run `rules test`",
            counted(found.rules, "rule"),
            counted(found.fragments, "pattern"),
            counted(found.notes.len(), "note")
        );
        ExitCode::SUCCESS
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {} MiB: split it", FILE_BYTES_MAX >> 20));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
