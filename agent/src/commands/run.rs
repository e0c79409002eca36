//! Run the agent: read the configured sources and deliver to Kafka.

use std::process::ExitCode;

/// Run the agent: read the configured sources and deliver to Kafka.
#[derive(Debug, clap::Args)]
pub struct Run {}

impl Run {
    pub fn execute(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}
