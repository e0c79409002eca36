//! `logweir demo`: the whole path in one process, shown live, with the audit at the end.

use super::ingest::signals;
use super::{audit, report};
use crate::demo::{DIRECTORY_DEFAULT, Demo, DemoOptions, Drained, Screen};
use anyhow::{Context as _, Result};
use clap::Args;
use crossbeam_channel::RecvTimeoutError;
use logweir_agent::{out, outln};
use logweir_document::parse_duration;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Run agent, broker, ingest and table on this machine and watch its own logs arrive
#[derive(Debug, Args)]
pub struct DemoCommand {
    /// Where broker, agent and table keep their data; can be deleted afterwards
    #[arg(long, value_name = "DIR", default_value = DIRECTORY_DEFAULT)]
    dir: PathBuf,
    /// Where this machine's logs are; what this user may read of it is read
    #[arg(long, value_name = "DIR", default_value = "/var/log")]
    logs: PathBuf,
    /// Write this many log lines per second, such as 200/s [default: only if there are no logs]
    #[arg(long, value_name = "N/s", value_parser = rate)]
    generate: Option<u32>,
    /// Listen here for syslog, UDP and TCP
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5514")]
    syslog: SocketAddr,
    /// End by itself after this time, such as 60s
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
}

impl DemoCommand {
    pub fn execute(self) -> ExitCode {
        report(self.run())
    }

    fn run(self) -> Result<ExitCode> {
        let log_path = start_logging(&self.dir)?;
        let signal = signals()?;
        let options = DemoOptions {
            directory: self.dir,
            logs: self.logs,
            generate: self.generate,
            syslog: self.syslog,
        };
        let demo = Demo::start(&options)?;
        for note in &demo.notes {
            outln!("{note}");
        }
        outln!("messages in {}\n", log_path.display());
        let started = Instant::now();
        let mut screen = Screen::new();
        while let Err(RecvTimeoutError::Timeout) = signal.recv_timeout(LOOK_INTERVAL) {
            screen.show(demo.figures()?);
            if self.duration.is_some_and(|duration| started.elapsed() >= duration) {
                break;
            }
        }
        outln!("draining");
        let mut screen = Screen::new();
        let Drained { known, dropped } = demo.drain(&mut screen)?;
        out!("\n{}", audit::text(&known, &[]));
        for (reason, count) in &dropped {
            outln!("the agent dropped {count} lines on purpose: {reason}");
        }
        outln!("\nThe table stays: logweir search --store {}/table", options.directory.display());
        Ok(if known.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The demo's own messages go to a file, so that they do not tear the screen; it is outside what the
/// agent reads.
fn start_logging(directory: &std::path::Path) -> Result<PathBuf> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join("demo.messages");
    let mut file =
        std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "logweir demo {}", env!("CARGO_PKG_VERSION"))?;
    let filter = EnvFilter::try_from_env("LOGWEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::sync::Mutex::new(file))
        .with_ansi(false)
        .with_target(false)
        .try_init();
    Ok(path)
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    match number.parse() {
        Ok(rate) if (1..=1_000_000).contains(&rate) => Ok(rate),
        _ => Err("write a rate from 1/s to 1000000/s".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a time such as 60s or 5m".into())
}
