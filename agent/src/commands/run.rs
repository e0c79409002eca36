//! `logweir-agent run`: the agent until a signal.

use super::{report_faults, show};
use crate::{Agent, Config, STOP_GRACE};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Read the configured sources and deliver to Kafka until a signal
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The configuration, see docs/agent.md
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/agent.yaml")]
    config: PathBuf,
}

impl Run {
    pub fn execute(self) -> ExitCode {
        match Config::load(&self.config) {
            Ok((config, warnings)) => {
                show(&warnings);
                run(config)
            }
            Err(faults) => report_faults(&faults),
        }
    }
}

fn run(config: Config) -> ExitCode {
    start_logging();
    let (sender, signal) = crossbeam_channel::bounded(1);
    // The first signal asks for a stop, the second one ends the process at once.
    let handler = move || {
        if sender.try_send(()).is_err() {
            std::process::exit(1);
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("logweir-agent: cannot install a signal handler: {error}");
        return ExitCode::FAILURE;
    }
    let agent = match Agent::start(config) {
        Ok(agent) => agent,
        Err(error) => {
            eprintln!("logweir-agent: {error}");
            return ExitCode::FAILURE;
        }
    };
    while !agent.is_finished() && signal.recv_timeout(Duration::from_millis(200)).is_err() {}
    tracing::info!("stopping: sending what is read");
    let all_out = agent.stop(STOP_GRACE);
    let counts = agent.snapshot().counts;
    tracing::info!(
        read = counts.read,
        delivered = counts.delivered,
        held = counts.held,
        dropped = counts.dropped_total(),
        all_out,
        "stopped; what is held is read again at the next start"
    );
    ExitCode::SUCCESS
}

/// Log lines to standard error, with a level from `LOGWEIR_LOG` (default `info`).
fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("LOGWEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
