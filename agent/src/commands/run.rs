//! `logweir-agent run`: the agent until a signal.

use super::supervision::Supervision;
use super::{kafka_faults, report_faults, show};
use crate::config::Loaded;
use crate::confine::confine;
use crate::{Agent, AgentError, Config, STOP_GRACE};
use crate::{errln, socket_dir, state_dir};
use crossbeam_channel::{Receiver, bounded};
use logweir_kafka::producer::ProducerError;
use logweir_kafka::properties::client_fault;
use logweir_service::{start_log, tell_repeats};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
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

/// What a signal asks for.
enum Request {
    Stop,
    Reload,
}

impl Run {
    pub fn execute(self) -> ExitCode {
        // Before anything that takes time: a signal that comes meanwhile waits.
        let signals = match Signals::new([SIGHUP, SIGINT, SIGTERM]) {
            Ok(signals) => signals,
            Err(error) => return no_handler(&error),
        };
        match Loaded::from_file(&self.config) {
            Ok((loaded, warnings)) => {
                show(&warnings);
                run(self.config, loaded, signals)
            }
            Err(faults) => report_faults(&faults),
        }
    }
}

fn no_handler(error: &io::Error) -> ExitCode {
    errln!("logweir-agent: cannot install a signal handler: {error}");
    ExitCode::FAILURE
}

fn run(path: PathBuf, loaded: Loaded, signals: Signals) -> ExitCode {
    start_log("logweir-agent", &loaded.config.log);
    if let Err(error) = prepare(&loaded.config) {
        errln!("logweir-agent: {error}");
        return ExitCode::FAILURE;
    }
    // Before there are threads: those that are there keep their rights.
    confine(&loaded);
    let requests = match requests(signals) {
        Ok(requests) => requests,
        Err(error) => return no_handler(&error),
    };
    let agent = match Agent::start(loaded.config) {
        Ok(agent) => agent,
        Err(AgentError::Kafka(ProducerError::Create(error))) => {
            return report_faults(&kafka_faults(&loaded.document, |section, faults| {
                client_fault(section, &error, faults);
            }));
        }
        Err(error) => {
            errln!("logweir-agent: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut supervision = Supervision::new(path, loaded.document);
    supervision.started(&agent);
    while !agent.is_finished() {
        match requests.recv_timeout(Duration::from_millis(200)) {
            Ok(Request::Stop) => break,
            Ok(Request::Reload) => supervision.reload(&agent),
            Err(_) => {}
        }
        supervision.look(&agent);
        tell_repeats(false);
    }
    supervision.stopping();
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
    tell_repeats(true);
    ExitCode::SUCCESS
}

/// Makes the directories that have to be there before the process confines itself to them.
fn prepare(config: &Config) -> Result<(), AgentError> {
    state_dir::prepare(&config.state_dir)?;
    Ok(socket_dir::prepare(&config.socket_dir)?)
}

/// SIGINT and SIGTERM ask for a stop, the second of them ends the process at once; SIGHUP asks for a
/// reload.
fn requests(mut signals: Signals) -> io::Result<Receiver<Request>> {
    let (sender, receiver) = bounded(1);
    let listen = move || {
        let mut stops = false;
        for signal in signals.forever() {
            if signal == SIGHUP {
                // One that is asked for while another waits is the same.
                let _ = sender.try_send(Request::Reload);
            } else if std::mem::replace(&mut stops, true) {
                std::process::exit(1);
            } else if sender.send(Request::Stop).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen)?;
    Ok(receiver)
}
