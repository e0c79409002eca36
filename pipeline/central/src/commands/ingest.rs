//! `logweir ingest`: the workers of one machine, until a signal.

use super::{document, report, report_faults, start_logging};
use crate::ingest::{Ingest, IngestConfig, LagMonitor};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use logweir_service::Notifier;
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
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/ingest.yaml")]
    config: PathBuf,
}

impl IngestCommand {
    pub fn execute(self) -> ExitCode {
        let config = document(&self.config).and_then(|document| IngestConfig::read(&document));
        match config {
            Ok(config) => report(run(config)),
            Err(faults) => report_faults(&faults),
        }
    }
}

fn run(config: IngestConfig) -> Result<ExitCode> {
    start_logging();
    let signal = signals()?;
    let monitor = LagMonitor::new(&config.kafka, &config.topic)?;
    tracing::info!(
        topic = config.topic,
        group = config.group,
        workers = config.workers,
        store = %config.store.display(),
        "ingest starts"
    );
    let notifier = Notifier::from_environment();
    let ingest = Ingest::start(config)?;
    notifier.ready("reads from the topic");
    let mut reported = 0;
    while let Err(RecvTimeoutError::Timeout) = signal.recv_timeout(STATUS_INTERVAL) {
        if ingest.has_failed() {
            ingest.stop()?;
            bail!("a worker ended unasked");
        }
        if ingest.stalled(STALLED_AFTER).is_none() {
            notifier.feed_watchdog();
        }
        let (rows, duplicates, undecodable) = ingest.statistics().totals();
        if rows != reported {
            let lag = monitor.lag(ingest.statistics());
            tracing::info!(stored = rows, duplicates, undecodable, lag, "events in the table");
            let rate = rows.saturating_sub(reported) / STATUS_INTERVAL.as_secs();
            notifier.status(&format!(
                "{rate} events/s; lag {}; stored {rows}, duplicates {duplicates}, undecodable {undecodable}",
                lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string()),
            ));
            reported = rows;
            for (sink, written, refused, retries) in ingest.sinks() {
                tracing::info!(sink, written, refused, retries, "events in the sink");
            }
        }
    }
    notifier.stopping();
    tracing::info!("stopping: writing what is held");
    let statistics = ingest.statistics().clone();
    ingest.stop()?;
    let (rows, duplicates, undecodable) = statistics.totals();
    tracing::info!(stored = rows, duplicates, undecodable, "ingest stopped");
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
