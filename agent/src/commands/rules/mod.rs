//! `logweir-agent rules`: work on rule packs before they go live.

mod convert;
mod coverage;
mod explain;
mod output;
mod schema;
mod suggest;
mod test;

use crate::commands::input::load;
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
    Check(Check),
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

/// A pack's name: lower case, digits, `.`, `_`, `-`.
fn pack_name(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if text.bytes().all(allowed) && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        Ok(text.to_owned())
    } else {
        Err("write lower-case letters, digits, `.`, `_` and `-`, a letter first".into())
    }
}

/// Load rule packs and say what is in them
///
/// Every fault of every file is shown at once; exit code 78 if there is any.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Directories of packs, or single packs; by default the packs inside the program
    directories: Vec<PathBuf>,
}

impl Check {
    fn execute(self) -> ExitCode {
        let rules = match load(&self.directories, self.directories.is_empty()) {
            Ok(rules) => rules,
            Err(code) => return code,
        };
        for (pack, dataset, count) in rules.packs() {
            println!("{pack:<24} {dataset:<24} {count:>5} rules");
        }
        let without: Vec<&str> = rules.rules_without_samples().collect();
        if !without.is_empty() {
            println!("without samples: {}", without.join(", "));
        }
        let dropping: Vec<&str> = rules.dropping_rules().collect();
        if !dropping.is_empty() {
            println!("not delivering all they match: {}", dropping.join(", "));
        }
        println!("{} rules, hash {}", rules.len(), rules.hash());
        ExitCode::SUCCESS
    }
}
