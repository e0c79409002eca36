//! `logweir topics`: how large the topics have to be, making them so, and looking at them.

mod alter;
mod create;
mod describe;
mod plan;

use super::{kafka_properties, name_value, report};
use anyhow::Result;
use clap::{Args, Subcommand};
use logweir_kafka::properties::Role;
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

/// Which cluster.
#[derive(Debug, Args)]
struct ClusterArguments {
    /// Brokers to begin with, HOST:PORT separated by commas
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: String,
    /// Client properties under Kafka's own names, such as `security.protocol=SSL`; may be given
    /// several times
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = name_value)]
    property: Vec<(String, String)>,
}

impl ClusterArguments {
    fn connect(&self) -> Result<Topics> {
        let properties = kafka_properties(&self.bootstrap_server, &self.property, Role::Consumer)?;
        Ok(Topics::connect(&properties)?)
    }
}
