//! `logweir-agent tap`: events of the running agent, live.

use super::out::printable;
use super::report_faults;
use crate::Config;
use crate::errln;
use crate::tap::{FULL, Filter, MISSED, WATCHERS_MAX, watch};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show events as the running agent hands them to Kafka; never slows it
#[derive(Debug, clap::Args)]
pub struct Tap {
    /// The configuration of the agent; only the place of its sockets is used
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/agent.yaml")]
    config: PathBuf,
    /// Only events that no rule matched
    #[arg(long)]
    unparsed: bool,
    /// End after so many events
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
    /// Texts that have to be in the event as it is sent, such as '"user.name":"root"'
    #[arg(value_name = "TEXT")]
    contains: Vec<String>,
}

impl Tap {
    pub fn execute(self) -> ExitCode {
        let socket_dir = match Config::socket_dir_in(&self.config) {
            Ok(socket_dir) => socket_dir,
            Err(faults) => return report_faults(&faults),
        };
        let filter = Filter { unparsed: self.unparsed, contains: self.contains };
        let lines = match watch(&socket_dir, &filter) {
            Ok(lines) => lines.lines(),
            Err(error) => {
                errln!("logweir-agent: {}", super::no_agent(&socket_dir, &error));
                return ExitCode::FAILURE;
            }
        };
        let terminal = io::stdout().is_terminal();
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut out = io::stdout().lock();
        for line in lines.map_while(Result::ok).filter(|line| !line.is_empty()) {
            if left == 0 {
                break;
            }
            if let Some(count) = line.strip_prefix(MISSED) {
                errln!("({count} events were faster than this reader)");
                continue;
            }
            if line == FULL {
                errln!(
                    "logweir-agent: {WATCHERS_MAX} watch already, or many ask at once; try again when one has \
                     ended"
                );
                return ExitCode::FAILURE;
            }
            left -= 1;
            // Who closes the pipe has seen enough.
            // JSON escapes what is below the space already; what is left can steer a terminal, too.
            let shown = if terminal { printable(&line) } else { line };
            if writeln!(out, "{shown}").and_then(|()| out.flush()).is_err() || left == 0 {
                return ExitCode::SUCCESS;
            }
        }
        errln!("logweir-agent: the agent has ended");
        ExitCode::FAILURE
    }
}
