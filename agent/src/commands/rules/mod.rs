//! `logweir-agent rules`: work on rule packs before they go live.

mod check;
mod convert;
mod coverage;
mod explain;
mod output;
mod schema;
mod suggest;
mod test;

use logweir_document::Diagnostic;
use logweir_parsers::{Loaded, RuleSet, without_packs};
use std::path::PathBuf;
use std::process::ExitCode;

/// Work on rule packs
#[derive(Debug, clap::Args)]
pub struct Rules {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Test(test::Test),
    Check(check::Check),
    Explain(explain::Explain),
    Coverage(coverage::Coverage),
    Schema(schema::Schema),
    Suggest(suggest::Suggest),
    Convert(convert::Convert),
}

impl Rules {
    pub fn execute(self) -> ExitCode {
        match self.command {
            Command::Test(command) => command.execute(),
            Command::Check(command) => command.execute(),
            Command::Explain(command) => command.execute(),
            Command::Coverage(command) => command.execute(),
            Command::Schema(command) => command.execute(),
            Command::Suggest(command) => command.execute(),
            Command::Convert(command) => command.execute(),
        }
    }
}

/// Loads rules to examine them: that there are none in a directory is a fault then.
fn load_named(directories: &[PathBuf], shipped: bool) -> Result<Loaded, Vec<Diagnostic>> {
    let mut faults = without_packs(directories);
    match RuleSet::load(directories, shipped) {
        Ok(loaded) if faults.is_empty() => Ok(loaded),
        Ok(_) => Err(faults),
        Err(found) => {
            faults.extend(found);
            Err(faults)
        }
    }
}

/// `1 rule`, `2 rules`.
fn counted(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// A pack's name: lower case, digits, `.`, `_`, `-`.
fn pack_name(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if text.bytes().all(allowed) && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        Ok(text.to_owned())
    } else {
        Err("write lower-case letters, digits, `.`, `_` and `-`, a letter first".into())
    }
}
