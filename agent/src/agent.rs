//! The agent put together: state directory, checkpoint, courier, workers, sources.
//!
//! Start: take the state directory, load what is on disk, then begin to read. Stop: no more input,
//! what is read goes out (within the grace), the checkpoint is written last.

use crate::accounting::{Counts, Snapshot, SourceSnapshot};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::{Config, SourceConfig};
use crate::delivery::Courier;
use crate::parsing::Rules;
use crate::source::file::Discovery;
use crate::source::{Context, lane_snapshot};
use crate::state_dir::{StateDir, StateDirError};
use crate::sync::lock;
use crate::workers::{Queue, Workers};
use logweir_document::{Diagnostic, render_all};
use logweir_kafka::producer::ProducerError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a stop may take for what is read to go out.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("{}", render_all(.0, false))]
    Rules(Vec<Diagnostic>),
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Kafka(#[from] ProducerError),
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    context: Arc<Context>,
    discovery: Discovery,
    workers: Mutex<Option<Workers>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<AtomicBool>,
    /// Last, so that the directory is free only when nothing is written there any more.
    _state_dir: StateDir,
}

impl Agent {
    /// Starts with what is on disk; Kafka need not be there.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn start(config: Config) -> Result<Self, AgentError> {
        let rules = Rules::load(&config.rules).map_err(AgentError::Rules)?;
        let state_dir = StateDir::open(&config.state_dir)?;
        raise_file_limit();
        let checkpoint = Arc::new(Checkpoint::open(state_dir.path())?);
        let courier = Arc::new(Courier::start(config.kafka, config.topic)?);
        let queue = Queue::default();
        let agent = logweir_record::Agent {
            id: state_dir.agent_id().to_owned(),
            name: config.name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host_name: config.host_name,
        };
        let context =
            Arc::new(Context::new(agent, checkpoint, courier.clone(), queue.clone(), rules));
        let workers = Workers::start(config.workers, &queue, &courier);
        let mut files = Vec::new();
        for source in config.sources {
            match source {
                SourceConfig::File(file) => files.push(file),
                SourceConfig::Syslog(_) | SourceConfig::Stdin(_) => {}
            }
        }
        let discovery = Discovery::start(context.clone(), files);
        let stop = Arc::new(AtomicBool::new(false));
        let keeper = keep(context.clone(), stop.clone(), config.checkpoint_interval);
        Ok(Self {
            context,
            discovery,
            workers: Mutex::new(Some(workers)),
            keeper: Mutex::new(Some(keeper)),
            stop,
            _state_dir: state_dir,
        })
    }

    /// The state of this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (past, mut sources) = self.context.retired();
        sources.extend(self.discovery.tails().iter().map(|tail| {
            let name = tail.path().display().to_string();
            lane_snapshot(&tail.route().lane, "file", name, Some(tail.end_offset()))
        }));
        let mut counts: Counts = past;
        sources.iter().for_each(|source: &SourceSnapshot| counts.add(&source.counts));
        sources.sort_by(|a, b| (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id)));
        Snapshot {
            agent_id: self.context.agent.id.clone(),
            agent_name: self.context.agent.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            kafka: self.context.courier.state().word(),
            kafka_in_flight: self.context.courier.in_flight() as u64,
            kafka_restarts: self.context.courier.restarts(),
            checkpoint_errors: self.context.checkpoint.errors(),
            counts,
            sources,
        }
    }

    /// Stops: no more input, then what is read goes out, at most `grace` long. Returns whether all
    /// of it did; what did not is read again at the next start.
    pub fn stop(&self, grace: Duration) -> bool {
        if self.stop.swap(true, Ordering::AcqRel) {
            return true;
        }
        self.discovery.stop();
        self.context.courier.begin_stop();
        if let Some(workers) = lock(&self.workers).take() {
            workers.stop();
        }
        let all_out = self.context.courier.stop(grace);
        if let Some(keeper) = lock(&self.keeper).take() {
            let _ = keeper.join();
        }
        self.context.save_checkpoint();
        all_out
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// The thread that writes the checkpoint; less often if writing takes long.
fn keep(context: Arc<Context>, stop: Arc<AtomicBool>, interval: Duration) -> JoinHandle<()> {
    let run = move || {
        let mut wait = interval;
        let mut last = Instant::now();
        while !stop.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(50).min(interval));
            if last.elapsed() < wait {
                continue;
            }
            let started = Instant::now();
            context.save_checkpoint();
            context.sweep();
            wait = interval.max(started.elapsed() * 20);
            last = Instant::now();
        }
    };
    std::thread::Builder::new()
        .name("checkpoint".into())
        .spawn(run)
        .expect("a thread can be started")
}

/// Each file that is read is an open one: as many are allowed as the system allows this process.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
