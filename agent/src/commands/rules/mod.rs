//! `logweir-agent rules`: work on rule packs before they go live.

mod check;
mod convert;
mod coverage;
mod explain;
mod output;
mod schema;
mod suggest;
mod test;

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

/// A pack's name: lower case, digits, `.`, `_`, `-`.
fn pack_name(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if text.bytes().all(allowed) && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        Ok(text.to_owned())
    } else {
        Err("write lower-case letters, digits, `.`, `_` and `-`, a letter first".into())
    }
}
