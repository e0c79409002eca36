//! `logweir ingest`: the workers of one machine, until a signal; and `logweir ingest status`, which
//! asks them how it goes.

mod status;

use super::{report, report_faults};
use crate::ingest::{Ingest, IngestConfig, METRICS, layers};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use logweir_agent::out;
use logweir_service::{Notifier, start_log, tell_repeats};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// A worker that has not come round for so long stands still: a flush of a full worker into a slow
/// store takes seconds.
const STALLED_AFTER: Duration = Duration::from_secs(120);

/// Read events from Kafka into the table, one worker per core
#[derive(Debug, Args)]
pub struct IngestCommand {
    /// The configuration, see docs/ingest.md
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/ingest.yaml", global = true)]
    config: PathBuf,
    #[command(subcommand)]
    question: Option<Question>,
}

#[derive(Debug, Subcommand)]
enum Question {
    Status(status::StatusCommand),
    /// Print the table of the metrics, as in docs/ingest-status.md
    Reference,
}

impl IngestCommand {
    pub fn execute(self) -> ExitCode {
        let config =
            || layers(&self.config).read().and_then(|document| IngestConfig::read(&document));
        let outcome = match self.question {
            None => config().map(run),
            Some(Question::Status(command)) => config().map(|config| command.execute(&config)),
            Some(Question::Reference) => {
                out!("{}", logweir_service::reference(&METRICS));
                Ok(Ok(ExitCode::SUCCESS))
            }
        };
        outcome.map_or_else(|faults| report_faults(&faults), report)
    }
}

fn run(config: IngestConfig) -> Result<ExitCode> {
    start_log("logweir-ingest", &config.log);
    let signal = signals()?;
    tracing::info!(
        topic = config.topic,
        group = config.group,
        workers = config.workers,
        store = %config.store.display(),
        "ingest starts"
    );
    let notifier = Notifier::from_environment();
    let mut files = config.kafka.file_stamps();
    let mut ingest = Ingest::start(config.clone())?;
    let mut counter = ingest.answer()?;
    notifier.ready("reads from the topic");
    let mut reported = 0;
    while let Err(RecvTimeoutError::Timeout) = signal.recv_timeout(STATUS_INTERVAL) {
        tell_repeats(false);
        if ingest.has_failed() {
            ingest.stop()?;
            bail!("a worker ended unasked");
        }
        let now = config.kafka.file_stamps();
        if now != files {
            tracing::info!("certificates or secrets have changed; the workers start anew");
            files = now;
            drop(counter);
            ingest.stop()?;
            ingest = Ingest::start(config.refreshed())?;
            counter = ingest.answer()?;
            reported = 0;
        }
        if ingest.stalled(STALLED_AFTER).is_none() {
            notifier.feed_watchdog();
        }
        let status = ingest.status();
        let total = &status.total;
        if total.settled() != reported {
            let (stored, duplicates, dead_letters) =
                (total.stored, total.duplicates, total.dead_letters());
            tracing::info!(
                stored,
                duplicates,
                dead_letters,
                lag = status.lag,
                "events in the table"
            );
            notifier.status(&format!(
                "{:.0} events/s; lag {}; stored {stored}, duplicates {duplicates}, dead letters {dead_letters}",
                status.rate,
                status.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string()),
            ));
            reported = total.settled();
            for crate::ingest::SinkStatus { name, written, dead_letters, retries } in &status.sinks
            {
                tracing::info!(sink = name, written, dead_letters, retries, "events in the sink");
            }
        }
    }
    notifier.stopping();
    tracing::info!("stopping: writing what is held");
    drop(counter);
    let statistics = ingest.statistics().clone();
    ingest.stop()?;
    let total = statistics.total();
    let (stored, duplicates) = (total.stored, total.duplicates);
    tracing::info!(stored, duplicates, dead_letters = total.dead_letters(), "ingest stopped");
    tell_repeats(true);
    Ok(ExitCode::SUCCESS)
}

/// Receives once for each SIGINT or SIGTERM; the second one ends the process at once.
pub(super) fn signals() -> Result<Receiver<()>> {
    let (sender, receiver) = bounded(1);
    ctrlc::set_handler(move || {
        if sender.try_send(()).is_err() {
            std::process::exit(1);
        }
    })
    .context("cannot install a signal handler")?;
    Ok(receiver)
}
