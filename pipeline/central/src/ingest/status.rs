//! The ingest as it is asked after: one snapshot, at a status socket and for metrics.

use super::lag::now_ms;
use super::statistics::{Commits, PartitionStatistics, Seen, Statistics, Tally};
use super::{IngestConfig, metrics};
use crate::sinks::SinkStatistics;
use anyhow::{Context as _, Result};
use logweir_service::{Endpoint, Socket};
use serde::Serialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Where the ingest is asked after unless the configuration says otherwise.
pub const SOCKET_DEFAULT: &str = "/run/logweir/ingest.sock";

/// Where to serve the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusPlace {
    /// [`SOCKET_DEFAULT`], if it can be made.
    Default,
    Told(PathBuf),
}

impl StatusPlace {
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Default => Path::new(SOCKET_DEFAULT),
            Self::Told(path) => path,
        }
    }
}

/// All that can be asked: who answers, and what it knows.
#[derive(Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub process: u32,
    pub group: String,
    pub topic: String,
    pub store: String,
    pub workers: usize,
    pub started_at_ms: i64,
    pub at_ms: i64,
    #[serde(flatten)]
    pub total: Tally,
    /// Of the partitions that this process has.
    pub lag: Option<u64>,
    pub lag_ms: Option<u64>,
    pub rate: f64,
    pub commits: Commits,
    pub letters_refused: u64,
    pub partitions: Vec<PartitionStatus>,
    pub sinks: Vec<SinkStatus>,
}

#[derive(Debug, Serialize)]
pub struct PartitionStatus {
    pub partition: i32,
    pub lag: Option<u64>,
    pub lag_ms: Option<u64>,
    #[serde(flatten)]
    pub seen: PartitionStatistics,
}

/// One sink: records taken, records refused for good, attempts that failed.
#[derive(Debug, Clone, Serialize)]
pub struct SinkStatus {
    pub name: String,
    pub written: u64,
    pub dead_letters: u64,
    pub retries: u64,
}

/// What a status is made from.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) config: Arc<IngestConfig>,
    pub(super) started_at_ms: i64,
    pub(super) statistics: Arc<Statistics>,
    pub(super) sinks: Vec<(String, Arc<SinkStatistics>)>,
}

impl Sources {
    pub(super) fn status(&self) -> Status {
        let seen = self.statistics.snapshot();
        let at_ms = now_ms();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            process: std::process::id(),
            group: self.config.group.clone(),
            topic: self.config.topic.clone(),
            store: self.config.store.to_string_lossy().into_owned(),
            workers: self.config.workers.get(),
            started_at_ms: self.started_at_ms,
            at_ms,
            total: seen.total(),
            lag: seen.lag(),
            lag_ms: seen.lag_ms(at_ms),
            rate: seen.assigned().map(|(_, seen)| seen.rate).sum(),
            commits: seen.commits.clone(),
            letters_refused: seen.letters_refused,
            partitions: partitions(&seen, at_ms),
            sinks: self.sinks(),
        }
    }

    pub(super) fn sinks(&self) -> Vec<SinkStatus> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let status = |(name, counts): &(String, Arc<SinkStatistics>)| SinkStatus {
            name: name.clone(),
            written: load(&counts.written),
            dead_letters: load(&counts.refused),
            retries: load(&counts.retries),
        };
        self.sinks.iter().map(status).collect()
    }
}

fn partitions(seen: &Seen, at_ms: i64) -> Vec<PartitionStatus> {
    let status = |(partition, seen): (i32, &PartitionStatistics)| PartitionStatus {
        partition,
        lag: seen.lag(),
        lag_ms: seen.lag_ms(at_ms),
        seen: seen.clone(),
    };
    seen.assigned().map(status).collect()
}

/// The places where the ingest is asked after, until this is dropped.
#[derive(Debug)]
pub struct Counter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _metrics: Option<Endpoint>,
}

impl Counter {
    /// # Errors
    /// A place that the configuration names cannot be had.
    pub(super) fn open(sources: Arc<Sources>) -> Result<Self> {
        let config = sources.config.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = status_socket(&config.status)?.map(|socket| {
            let (sources, stop) = (sources.clone(), stop.clone());
            let text = move || serde_json::to_vec(&sources.status()).unwrap_or_default();
            let serve = move || socket.serve(&stop, text);
            std::thread::Builder::new().name("status".into()).spawn(serve)
        });
        let metrics = config.metrics.as_ref().map(|listen| {
            Endpoint::start(listen, move || metrics::render(&sources.status()))
                .context("cannot answer at `metrics.listen`")
        });
        Ok(Self { stop, thread: thread.transpose()?, _metrics: metrics.transpose()? })
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn status_socket(place: &StatusPlace) -> Result<Option<Socket>> {
    let path = place.path();
    let error = match Socket::bind(path) {
        Ok(socket) => return Ok(Some(socket)),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            anyhow::anyhow!("another ingest serves it")
        }
        Err(error) => error.into(),
    };
    match place {
        StatusPlace::Default => {
            let path = path.display();
            tracing::info!(%path, %error, "no status socket; see `status.socket`");
            Ok(None)
        }
        StatusPlace::Told(_) => {
            Err(error).with_context(|| format!("cannot make `status.socket` {}", path.display()))
        }
    }
}
