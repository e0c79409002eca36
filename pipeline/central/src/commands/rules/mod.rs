//! `logweir rules`: rule sets published to agents, signed, through Kafka.
//!
//! What is published is the latest record of each group in the topic of the rules. Numbers of versions
//! go up, so that an agent can refuse an old set that somebody sends once more; withdrawing is a version,
//! too.

mod publish;
mod published;
mod topic;
mod withdraw;

use super::keygen::KeygenCommand;
use super::report;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// The group of those who name none.
const GROUP_DEFAULT: &str = "default";

/// Publish rule packs to agents, signed, and see what is published
#[derive(Debug, Args)]
pub struct RulesCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Publish(publish::Publish),
    Published(published::Published),
    Withdraw(withdraw::Withdraw),
    Keygen(KeygenCommand),
}

impl RulesCommand {
    pub fn execute(self) -> ExitCode {
        match self.command {
            Command::Publish(command) => report(command.run()),
            Command::Published(command) => report(command.run()),
            Command::Withdraw(command) => report(command.run()),
            Command::Keygen(command) => command.execute(),
        }
    }
}

/// The name of a group.
fn group(text: &str) -> Result<String, String> {
    logweir_signed::check_group(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}
