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
mod other_group;
mod pin;
mod reference;
mod statistics;
mod status;
mod worker;

pub(crate) use dead_letter::{DeadLetter, Place};
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
use std::time::{Duration, Instant};
use worker::Worker;

/// How long a stop waits, once the workers have ended, for the sinks, which may be waiting for a server that
/// does not answer, and for the upkeep, which may be joining files. To leave them behind loses nothing: a
/// sink's offsets have not moved over what it holds, and files that are not committed are none.
const OTHERS_STOP: Duration = Duration::from_secs(10);
/// Between two looks at them.
const STEP: Duration = Duration::from_millis(20);

/// A running ingest: its workers, until [`Ingest::stop`].
#[derive(Debug)]
pub struct Ingest {
    workers: Vec<JoinHandle<Result<()>>>,
    sinks: Vec<JoinHandle<Result<()>>>,
    pulse: Pulse,
    /// Threads beside the workers, whose end loses nothing.
    helpers: Vec<JoinHandle<Result<()>>>,
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
        let cores = if config.pin { pin::cores()? } else { Vec::new() };
        for index in 0..config.workers.get() {
            let worker = Worker::new(
                index,
                config.clone(),
                table.clone(),
                statistics.clone(),
                stop.clone(),
            )?;
            let pulse = pulse.clone();
            let core = cores.get(index % cores.len().max(1)).copied();
            let thread = std::thread::Builder::new()
                .name(format!("ingest-{index}"))
                .spawn(move || {
                    let _beating = pulse.join();
                    if let Some(core) = core {
                        pin::stay_on(core)?;
                    }
                    worker.run()
                })
                .context("cannot start a worker thread")?;
            workers.push(thread);
        }
        let (mut sinks, mut sink_workers) = (Vec::new(), Vec::new());
        for sink in &config.sinks {
            let sink_statistics = Arc::new(SinkStatistics::default());
            for index in 0..sink.workers {
                let worker = SinkWorker::new(
                    &config,
                    sink.clone(),
                    index,
                    sink_statistics.clone(),
                    DeadLetter::new(&config.kafka, statistics.clone()),
                    stop.clone(),
                )?;
                let thread = std::thread::Builder::new()
                    .name(format!("{}-{index}", sink.name))
                    .spawn(move || worker.run())
                    .context("cannot start a worker thread")?;
                sink_workers.push(thread);
            }
            sinks.push((sink.name.clone(), sink_statistics));
        }
        let maintenance = maintenance::start(table.clone(), config.retention, stop.clone())
            .context("cannot start the maintenance thread")?;
        let lag = lag::start(&config.kafka, &config.topic, statistics.clone(), stop.clone())?;
        let helpers = vec![maintenance, lag];
        let sources = Arc::new(Sources { config, started_at_ms, statistics, sinks });
        Ok(Self { workers, sinks: sink_workers, pulse, helpers, stop, table, sources })
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

    /// Whether a thread has ended, which it does by itself only on an error.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.workers.iter().chain(&self.sinks).chain(&self.helpers).any(JoinHandle::is_finished)
    }

    /// Lets the workers write what they hold and leave the group; the sinks too, if they can soon.
    ///
    /// # Errors
    /// The first error of a thread.
    pub fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcomes: Vec<Result<()>> = self.workers.into_iter().map(joined).collect();
        self.helpers.iter().for_each(|helper| helper.thread().unpark());
        let until = Instant::now() + OTHERS_STOP;
        while Instant::now() < until
            && !(self.sinks.iter().all(JoinHandle::is_finished)
                && self.helpers.iter().all(JoinHandle::is_finished))
        {
            std::thread::sleep(STEP);
        }
        for sink in self.sinks {
            if sink.is_finished() {
                outcomes.push(joined(sink));
            } else {
                let worker = sink.thread().name().unwrap_or_default();
                tracing::warn!(
                    worker,
                    "a sink still waits for its server; it repeats its batch later"
                );
            }
        }
        outcomes.extend(self.helpers.into_iter().filter(JoinHandle::is_finished).map(joined));
        outcomes.into_iter().collect()
    }
}

fn joined(thread: JoinHandle<Result<()>>) -> Result<()> {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    match thread.join() {
        Ok(result) => result,
        Err(_) => bail!("`{name}` panicked; what it had in hand is taken up at the next start"),
    }
}
