//! The command line of the central side: what was typed goes to the command that does it.

use clap::{CommandFactory as _, Parser, Subcommand};
use logweir::commands;
use logweir_agent::commands::assist;
use logweir_agent::commands::config::ConfigCommand;
use std::process::ExitCode;

/// Brings agents' events from Kafka into the table, exactly once, and finds them again.
#[derive(Debug, Parser)]
#[command(name = "logweir", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::DemoCommand),
    Topics(commands::topics::TopicsCommand),
    Ingest(commands::ingest::IngestCommand),
    Search(commands::search::SearchCommand),
    Table(commands::table::TableCommand),
    Audit(commands::audit::AuditCommand),
    Verify(commands::verify::VerifyCommand),
    Agents(commands::agents::AgentsCommand),
    Keygen(commands::keygen::KeygenCommand),
    Rules(commands::rules::RulesCommand),
    Broker(commands::broker::BrokerCommand),
    Config(ConfigCommand),
    Completions(assist::Completions),
    #[command(hide = true)]
    Man(assist::Man),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo(command) => command.execute(),
        Command::Topics(command) => command.execute(),
        Command::Ingest(command) => command.execute(),
        Command::Search(command) => command.execute(),
        Command::Table(command) => command.execute(),
        Command::Audit(command) => command.execute(),
        Command::Verify(command) => command.execute(),
        Command::Agents(command) => command.execute(),
        Command::Keygen(command) => command.execute(),
        Command::Rules(command) => command.execute(),
        Command::Broker(command) => command.execute(),
        Command::Config(command) => command.execute_for(&commands::config::INGEST),
        Command::Completions(command) => command.execute(Arguments::command()),
        Command::Man(command) => command.execute(Arguments::command()),
    }
}
