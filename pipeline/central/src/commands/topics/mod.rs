//! `logweir topics`: how large the topics have to be, making them so, and looking at them.

mod alter;
mod create;
mod describe;
mod plan;

use super::cluster::ClusterArguments;
use super::{name_value, report};
use anyhow::Result;
use clap::{Args, Subcommand};
use logweir_kafka::topics::Topics;
use std::process::ExitCode;

/// Plan, create, change and describe the topics that agents write to and ingest reads from
#[derive(Debug, Args)]
pub struct TopicsCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(plan::Plan),
    Create(create::Create),
    Alter(alter::Alter),
    Describe(describe::Describe),
}

impl TopicsCommand {
    pub fn execute(self) -> ExitCode {
        report(match self.command {
            Command::Plan(plan) => plan.run(),
            Command::Create(create) => create.run(),
            Command::Alter(alter) => alter.run(),
            Command::Describe(describe) => describe.run(),
        })
    }
}

fn connect(cluster: &ClusterArguments) -> Result<Topics> {
    Ok(Topics::connect(&cluster.properties()?)?)
}
