//! The broker as its owner sees it: start, look, shut down.

use crate::config::BrokerConfig;
use crate::groups::Coordinator;
use crate::producer_ids::ProducerIds;
use crate::server::Server;
use crate::topics::{PARTITIONS_MAX, Topics};
use std::fs::{File, TryLockError};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;
use thiserror::Error;

const LOCK_FILE: &str = "lock";

/// A running broker; dropping it shuts it down.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// `None` once shut down.
    server: Option<Server>,
    /// Held for as long as the broker may write.
    _lock: File,
}

/// Why a broker does not start.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// A value of the configuration is out of its range.
    #[error("{0}")]
    Config(String),
    /// Another broker has the data directory.
    #[error("{0} is in use by another broker; give each broker a directory of its own")]
    InUse(PathBuf),
    /// The data directory cannot be used.
    #[error("cannot use {path}: {source}", path = path.display())]
    Storage {
        /// The data directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// A topic at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicStatus {
    /// Its name.
    pub name: String,
    /// By number, from 0.
    pub partitions: Vec<PartitionStatus>,
}

/// A partition at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u32,
    /// Offset of the oldest record.
    pub start_offset: i64,
    /// Offset that the next record will get.
    pub end_offset: i64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// What the threads of a broker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: BrokerConfig,
    pub(crate) topics: Topics,
    pub(crate) groups: Coordinator,
    pub(crate) producer_ids: Mutex<ProducerIds>,
    pub(crate) arrivals: Arrivals,
    pub(crate) stopping: AtomicBool,
}

/// Wakes those who wait for new records.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Broker {
    /// Opens the data directory, listens, and serves in threads of its own.
    ///
    /// # Errors
    /// The configuration is unsound, or directory, address or threads cannot be had.
    pub fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        check(&config)?;
        let storage = |source| BrokerError::Storage { path: config.data_dir.clone(), source };
        std::fs::create_dir_all(&config.data_dir).map_err(storage)?;
        let lock = lock(&config.data_dir)?;
        let listen = |source| BrokerError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(listen)?;
        let shared = Arc::new(Shared::open(config.clone()).map_err(storage)?);
        let address = listener.local_addr().map_err(listen)?;
        let server = Server::start(listener, address, &shared);
        // A thread that was started before another could not be ends by this.
        let server = server.inspect_err(|_| shared.stop()).map_err(BrokerError::Thread)?;
        Ok(Self { shared, address, server: Some(server), _lock: lock })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All topics with their partitions, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicStatus> {
        let topics = self.shared.topics.all();
        let status = topics.iter().map(|topic| TopicStatus {
            name: topic.name().to_owned(),
            partitions: topic.partitions().iter().map(|partition| partition.status()).collect(),
        });
        status.collect()
    }

    /// Ends all connections and threads; what was acknowledged is on disk when this returns.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            self.shared.stop();
            server.join(&self.shared);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Opens what is in the data directory.
    pub(crate) fn open(config: BrokerConfig) -> io::Result<Self> {
        Ok(Self {
            topics: Topics::open(&config.data_dir)?,
            groups: Coordinator::open(&config.data_dir, config.rebalance_delay)?,
            producer_ids: Mutex::new(ProducerIds::open(&config.data_dir)?),
            arrivals: Arrivals::default(),
            stopping: AtomicBool::new(false),
            config,
        })
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends all waiting; no thread begins another request.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.groups.stop();
        self.arrivals.announce();
    }
}

impl Arrivals {
    /// Something has arrived.
    pub(crate) fn announce(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// How often something has arrived.
    pub(crate) fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until more than `seen` has arrived; returns false at `deadline`.
    pub(crate) fn wait(&self, seen: u64, deadline: Instant) -> bool {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let unchanged = |count: &mut u64| *count == seen;
        let waited = self.changed.wait_timeout_while(count, timeout, unchanged);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

fn check(config: &BrokerConfig) -> Result<(), BrokerError> {
    let rules = [
        (
            (1..=PARTITIONS_MAX).contains(&config.default_partitions),
            "the default number of partitions is 1 to 1000",
        ),
        (
            (4096..=i32::MAX as u64).contains(&config.segment_bytes),
            "a segment has 4096 to 2147483647 bytes",
        ),
        (
            (1024..=100 << 20).contains(&config.message_bytes_max),
            "the largest batch has 1024 to 104857600 bytes",
        ),
        (config.connections_max > 0, "at least one connection must be allowed"),
        (
            (1024..=i32::MAX as u32).contains(&config.request_bytes_max),
            "the largest request has 1024 to 2147483647 bytes",
        ),
    ];
    match rules.iter().find(|(kept, _)| !kept) {
        Some((_, rule)) => Err(BrokerError::Config((*rule).to_owned())),
        None => Ok(()),
    }
}

/// Makes sure that no other broker uses the directory.
fn lock(data_dir: &Path) -> Result<File, BrokerError> {
    let storage = |source| BrokerError::Storage { path: data_dir.to_owned(), source };
    let file = File::create(data_dir.join(LOCK_FILE)).map_err(storage)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BrokerError::InUse(data_dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(storage(error)),
    }
}
