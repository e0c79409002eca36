//! Ingest: a consumer group, one worker thread per core, from the topic into the table.
//!
//! ```text
//! partition ─► worker (its own consumer) ─► partition writer: decode, ledger, columns
//!                                              └─ seal ─► one table commit: files + offsets + ledger
//! ```
//!
//! The table's own offsets are the only truth: a worker that gets a partition seeks to where the
//! table ends, and a commit whose first offset is not the table's next one is refused (a zombie).
//! Kafka's committed offsets follow afterwards, for lag tools only. A worker that loses a partition
//! writes what it holds before it lets go.

mod config;
mod dead_letter;
mod lag;
mod maintenance;
mod metrics;
mod reference;
mod statistics;
mod status;
mod worker;

pub(crate) use dead_letter::DeadLetter;
pub(crate) use metrics::METRICS;

pub use config::{
    FLUSH_BYTES_DEFAULT, FLUSH_INTERVAL_DEFAULT, GROUP_DEFAULT, IngestConfig, cores, layers,
};
pub use reference::REFERENCE;
pub use statistics::{Commits, PartitionStatistics, Seen, Statistics, Tally};
pub use status::{Counter, PartitionStatus, SOCKET_DEFAULT, SinkStatus, Status, StatusPlace};

use crate::sinks::{SinkStatistics, SinkWorker};
use anyhow::{Context as _, Result, bail};
use logweir_service::Pulse;
use logweir_store::{Table, TableOptions};
use status::Sources;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use worker::Worker;

/// A running ingest: its workers, until [`Ingest::stop`].
#[derive(Debug)]
pub struct Ingest {
    workers: Vec<JoinHandle<Result<()>>>,
    pulse: Pulse,
    /// Threads beside the workers, whose end loses nothing.
    helpers: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    table: Arc<Table>,
    sources: Arc<Sources>,
}

impl Ingest {
    /// Opens the table and starts the workers.
    ///
    /// # Errors
    /// The table cannot be opened, or a property is refused by the client.
    pub fn start(config: IngestConfig) -> Result<Self> {
        let location = config.store.to_string_lossy().into_owned();
        let table = Table::open_or_create(&location, TableOptions::default())
            .with_context(|| format!("cannot open the table in {}", config.store.display()))?;
        let table = Arc::new(table);
        let stop = Arc::new(AtomicBool::new(false));
        let statistics = Arc::new(Statistics::default());
        let started_at_ms = lag::now_ms();
        let config = Arc::new(config);
        let (mut workers, pulse) = (Vec::new(), Pulse::default());
        for index in 0..config.workers.get() {
            let worker = Worker::new(
                index,
                config.clone(),
                table.clone(),
                statistics.clone(),
                stop.clone(),
            )?;
            let pulse = pulse.clone();
            let thread = std::thread::Builder::new()
                .name(format!("ingest-{index}"))
                .spawn(move || {
                    let _beating = pulse.join();
                    worker.run()
                })
                .context("cannot start a worker thread")?;
            workers.push(thread);
        }
        let mut sinks = Vec::new();
        for sink in &config.sinks {
            let statistics = Arc::new(SinkStatistics::default());
            for index in 0..sink.workers {
                let worker = SinkWorker::new(
                    &config,
                    sink.clone(),
                    index,
                    statistics.clone(),
                    stop.clone(),
                )?;
                let thread = std::thread::Builder::new()
                    .name(format!("{}-{index}", sink.name))
                    .spawn(move || worker.run())
                    .context("cannot start a worker thread")?;
                workers.push(thread);
            }
            sinks.push((sink.name.clone(), statistics));
        }
        let maintenance = maintenance::start(table.clone(), config.retention, stop.clone())
            .context("cannot start the maintenance thread")?;
        let lag = lag::start(&config.kafka, &config.topic, statistics.clone(), stop.clone())?;
        let helpers = vec![maintenance, lag];
        let sources = Arc::new(Sources { config, started_at_ms, statistics, sinks });
        Ok(Self { workers, pulse, helpers, stop, table, sources })
    }

    #[must_use]
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.sources.statistics
    }

    /// How it goes, at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        self.sources.status()
    }

    /// Opens the places where the configuration says that it can be asked how it goes.
    ///
    /// # Errors
    /// One that the configuration names cannot be had.
    pub fn answer(&self) -> Result<Counter> {
        Counter::open(self.sources.clone())
    }

    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// A worker that has not come round for longer than `limit`.
    #[must_use]
    pub fn stalled(&self, limit: Duration) -> Option<String> {
        self.pulse.stalled(limit)
    }

    /// Whether a worker has ended, which it does by itself only on an error.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Lets the workers write what they hold and leave the group.
    ///
    /// # Errors
    /// The first error of a worker.
    pub fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for helper in self.helpers {
            helper.thread().unpark();
            // A panic there was told by its thread and loses nothing.
            let _ = helper.join();
        }
        let mut first = Ok(());
        for worker in self.workers {
            let result = match worker.join() {
                Ok(result) => result,
                Err(_) => bail!("a worker panicked; its partitions are taken up at the next start"),
            };
            if first.is_ok() {
                first = result;
            }
        }
        first
    }
}
