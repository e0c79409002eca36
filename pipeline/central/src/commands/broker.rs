//! `logweir broker`: the embedded single-node broker as a process of its own.

use super::ingest::signals;
use super::report;
use anyhow::Result;
use clap::Args;
use logweir_agent::outln;
use logweir_broker::{Broker, BrokerConfig};
use logweir_service::{LogConfig, start_log};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run the embedded single-node broker (for one machine: no replication)
#[derive(Debug, Args)]
pub struct BrokerCommand {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9092")]
    listen: SocketAddr,
    /// Where the topics are kept
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

impl BrokerCommand {
    pub fn execute(self) -> ExitCode {
        report(self.run())
    }

    fn run(self) -> Result<ExitCode> {
        start_log("logweir", &LogConfig::default());
        let signal = signals()?;
        let broker = Broker::start(BrokerConfig::new(self.listen, self.data))?;
        outln!("listening on {}", broker.address());
        // An error means that the handler is gone, which ends the broker as well.
        let _ = signal.recv();
        broker.shutdown();
        Ok(ExitCode::SUCCESS)
    }
}
