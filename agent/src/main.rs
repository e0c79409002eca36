//! The command line of the per-host agent: what was typed goes to the command that does it.

use clap::{CommandFactory as _, Parser, Subcommand};
use logweir_agent::commands;
use std::process::ExitCode;

/// Reads logs on this host, parses them into ECS events and delivers them to Kafka without loss.
#[derive(Debug, Parser)]
#[command(name = "logweir-agent", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(commands::init::Init),
    Discover(commands::discover::Discover),
    Check(commands::check::Check),
    Run(commands::run::Run),
    Backfill(commands::backfill::Backfill),
    Status(commands::status::Status),
    Parse(commands::parse::Parse),
    Rules(commands::rules::Rules),
    Spool(commands::spool::Spool),
    Config(commands::config::ConfigCommand),
    Completions(commands::assist::Completions),
    #[command(hide = true)]
    Man(commands::assist::Man),
    Top(commands::top::Top),
    Tap(commands::tap::Tap),
    Doctor(commands::doctor::Doctor),
    Reference(commands::reference::Reference),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Init(init) => init.execute(),
        Command::Discover(discover) => discover.execute(),
        Command::Check(check) => check.execute(),
        Command::Run(run) => run.execute(),
        Command::Backfill(backfill) => backfill.execute(),
        Command::Status(status) => status.execute(),
        Command::Parse(parse) => parse.execute(),
        Command::Rules(rules) => rules.execute(),
        Command::Spool(spool) => spool.execute(),
        Command::Config(config) => config.execute(),
        Command::Completions(completions) => completions.execute(Arguments::command()),
        Command::Man(man) => man.execute(Arguments::command()),
        Command::Top(top) => top.execute(),
        Command::Tap(tap) => tap.execute(),
        Command::Doctor(doctor) => doctor.execute(),
        Command::Reference(reference) => reference.execute(),
    }
}
