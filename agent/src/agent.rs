//! The agent put together: state directory, checkpoint, courier, workers, sources.
//!
//! Start: take the state directory, load what is on disk, then begin to read. Stop: no more input,
//! what is read goes out (within the grace), the checkpoint is written last.

use crate::accounting::{Counts, ListenerSnapshot, Snapshot, SourceSnapshot};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::{Common, Config, FileConfig, RulesConfig, SourceConfig};
use crate::delivery::Courier;
use crate::metrics;
use crate::parsing::Rules;
use crate::reload;
use crate::report::Reporter;
use crate::source::file::Discovery;
use crate::source::journald::{self, Journald};
use crate::source::spooled::SpoolTail;
use crate::source::stdin::Stdin;
use crate::source::syslog::{Addresses, Syslog};
use crate::source::{Context, lane_snapshot};
use crate::spool::Settings;
use crate::state_dir::{StateDir, StateDirError};
use crate::status::StatusSocket;
use crate::sync::lock;
use crate::tap::{Tap, TapSocket};
use crate::workers::{Queue, Work, Workers};
use logweir_kafka::producer::ProducerError;
use logweir_service::{Endpoint, Listen, Pulse, beat};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a stop may take for what is read to go out.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// Descriptors that are kept free for what is no log file.
const OPEN_FILES_ELSE: usize = 256;

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Kafka(#[from] ProducerError),
    #[error("cannot listen for questions after metrics: {0}; see `metrics.listen`")]
    Metrics(io::Error),
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    parts: Arc<Parts>,
    workers: Mutex<Option<Workers>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stop: Arc<AtomicBool>,
    pulse: Pulse,
    rules: (Rules, RulesConfig),
    /// Answers until the agent is gone.
    metrics: Option<Endpoint>,
    /// Last, so that the directory is free only when nothing is written there any more.
    state_dir: StateDir,
}

/// What the threads of an agent share.
#[derive(Debug)]
struct Parts {
    context: Arc<Context>,
    discovery: Discovery,
    inputs: Inputs,
    rules: Rules,
}

/// The sources that go through spools, and the journal.
#[derive(Debug, Default)]
struct Inputs {
    syslog: Vec<Syslog>,
    stdin: Option<Stdin>,
    journald: Vec<Journald>,
    /// Spools of inputs that are not configured any more: what is left in them goes out.
    orphans: Vec<Arc<SpoolTail>>,
}

impl Agent {
    /// Starts with what is on disk; Kafka need not be there.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn start(config: Config) -> Result<Self, AgentError> {
        let state_dir = StateDir::open(&config.state_dir)?;
        raise_file_limit();
        let checkpoint = Arc::new(Checkpoint::open(state_dir.path())?);
        let reporter = Reporter::new(config.kafka.clone());
        let courier = Arc::new(Courier::start(config.kafka, config.topic)?);
        let queue = Queue::default();
        let agent = logweir_record::Agent {
            id: state_dir.agent_id().to_owned(),
            name: config.name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host_name: config.host_name,
        };
        let context = Arc::new(Context::new(
            agent,
            config.seal_key,
            checkpoint,
            courier.clone(),
            queue.clone(),
        ));
        let spools = state_dir.path().join("spool");
        let limits: Vec<_> = config
            .sources
            .iter()
            .map(|source| (source.place(), source.common().limits.clone()))
            .collect();
        let (inputs, files) = Inputs::start(&context, &spools, config.sources)?;
        // Source ids must be in the checkpoint before anything is sent under them.
        context.save_checkpoint();
        let pulse = Pulse::default();
        let workers = Workers::start(config.workers, &queue, &courier, &config.rules, &pulse);
        let discovery =
            Discovery::start(context.clone(), files, open_files_max(config.open_files_max));
        let rules = config.rules.clone();
        let parts = Arc::new(Parts { context: context.clone(), discovery, inputs, rules });
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = vec![
            keep(parts.clone(), stop.clone(), pulse.clone(), config.checkpoint_interval),
            answer(parts.clone(), StatusSocket::bind(state_dir.path())?, stop.clone()),
            watch(context.courier.tap().clone(), TapSocket::bind(state_dir.path())?, stop.clone()),
            report(parts.clone(), reporter, stop.clone()),
        ];
        let metrics = config.metrics.map(|listen| serve_metrics(parts.clone(), &listen));
        let rules = (config.rules.clone(), config.rules_from.clone());
        threads.extend(reload::start(config.rules, config.rules_from, stop.clone()));
        let limits = config.path.map(|path| reload::start_limits(path, limits, stop.clone()));
        threads.extend(limits);
        Ok(Self {
            parts,
            workers: Mutex::new(Some(workers)),
            threads: Mutex::new(threads),
            stop,
            pulse,
            rules,
            metrics: metrics.transpose().map_err(AgentError::Metrics)?,
            state_dir,
        })
    }

    /// Where state is kept.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.state_dir.path()
    }

    /// Where syslog is listened for, per source.
    #[must_use]
    pub fn syslog_addresses(&self) -> Vec<Addresses> {
        self.parts.inputs.syslog.iter().map(Syslog::addresses).collect()
    }

    /// Where metrics are answered, if at an address.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(Endpoint::address)
    }

    /// A thread that has not come round for longer than `limit`, though it waits for no one.
    #[must_use]
    pub fn stalled(&self, limit: Duration) -> Option<String> {
        self.pulse.stalled(limit)
    }

    /// Looks at the rules now; what has faults is told, and the rules in use stay.
    pub fn reload_rules(&self) {
        let (rules, from) = &self.rules;
        reload::reload(rules, from);
    }

    /// Whether there is nothing more to do: the only source was standard input, it has ended, and
    /// all of it is acknowledged.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.parts.discovery.is_unused()
            && self.parts.inputs.syslog.is_empty()
            && self.parts.inputs.journald.is_empty()
            && self.parts.inputs.stdin.as_ref().is_some_and(Stdin::is_finished)
    }

    /// Whether all that the file at `path` holds now is acknowledged; `None` if it is not read yet.
    pub(crate) fn is_read_out(&self, path: &Path) -> Option<bool> {
        self.parts.discovery.is_read_out(path)
    }

    /// The state of this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.parts.snapshot()
    }

    /// Stops: no more input, then what is read goes out, at most `grace` long. Returns whether all
    /// of it did; what did not is read again at the next start.
    pub fn stop(&self, grace: Duration) -> bool {
        if self.stop.swap(true, Ordering::AcqRel) {
            return true;
        }
        let Parts { context, discovery, inputs, .. } = &*self.parts;
        inputs.stop();
        discovery.stop();
        context.courier.begin_stop();
        if let Some(workers) = lock(&self.workers).take() {
            workers.stop();
        }
        let all_out = context.courier.stop(grace);
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
        context.save_checkpoint();
        inputs.tails().for_each(|tail| tail.spool().sync(true));
        // The client may have sent all that it had while a worker gave up the rest of its chunk.
        all_out && self.parts.snapshot().counts.held == 0
    }
}

impl Parts {
    /// The state of this moment.
    fn snapshot(&self) -> Snapshot {
        let (past, mut sources) = self.context.retired();
        sources.extend(self.discovery.tails().iter().map(|tail| {
            let name = tail.path().display().to_string();
            lane_snapshot(&tail.route().lane, "file", name, Some(tail.end_offset()))
        }));
        sources.extend(self.inputs.tails().map(|tail| tail.snapshot()));
        let journals = self.inputs.journald.iter().flat_map(Journald::tails);
        sources.extend(journals.map(|tail| tail.snapshot()));
        let mut counts: Counts = past;
        sources.iter().for_each(|source: &SourceSnapshot| counts.add(&source.counts));
        sources.sort_by(|a, b| (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id)));
        Snapshot {
            agent_id: self.context.agent.id.clone(),
            agent_name: self.context.agent.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            kafka: self.context.courier.state().word(),
            open_files: self.discovery.open_files() as u64,
            kafka_reason: self.context.courier.reason(),
            kafka_in_flight: self.context.courier.in_flight() as u64,
            kafka_restarts: self.context.courier.restarts(),
            checkpoint_errors: self.context.checkpoint.errors(),
            counts,
            listeners: self.inputs.syslog.iter().map(ListenerSnapshot::of).collect(),
            sources,
            rules: self.rules.counts(),
        }
    }
}

impl Parts {
    fn wake_all(&self) {
        let files = self.discovery.tails().into_iter().map(|tail| tail as Arc<dyn Work>);
        let spools = self.inputs.tails().map(|tail| tail.clone() as Arc<dyn Work>);
        files.chain(spools).for_each(|work| self.context.queue.wake(&work));
        let journals = self.inputs.journald.iter().flat_map(Journald::tails).collect();
        journald::wake(journals, &self.context.queue);
    }
}

impl Inputs {
    /// Starts what goes through spools, and returns the file sources.
    fn start(
        context: &Arc<Context>,
        spools: &Path,
        sources: Vec<SourceConfig>,
    ) -> io::Result<(Self, Vec<FileConfig>)> {
        let mut inputs = Self::default();
        let mut files = Vec::new();
        for source in sources {
            match source {
                SourceConfig::File(file) => files.push(file),
                SourceConfig::Syslog(syslog) => {
                    inputs.syslog.push(Syslog::start(context, spools, &syslog)?);
                }
                SourceConfig::Journald(journald) => {
                    inputs.journald.push(Journald::start(context, *journald)?);
                }
                SourceConfig::Stdin(stdin) => {
                    inputs.stdin = Some(Stdin::start(context, spools, &stdin)?);
                }
            }
        }
        inputs.adopt_orphans(context, spools)?;
        Ok((inputs, files))
    }

    fn adopt_orphans(&mut self, context: &Context, spools: &Path) -> io::Result<()> {
        let Ok(found) = std::fs::read_dir(spools) else { return Ok(()) };
        let used: Vec<String> = self.tails().map(|tail| tail.spool().name().to_owned()).collect();
        for name in found.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            // `logweir-agent spool repair` sets aside under such names.
            if used.contains(&name) || name.contains(".bad") {
                continue;
            }
            let kind = if name.starts_with("stdin") { "stdin" } else { "syslog" };
            let common = Common::default();
            let tail =
                SpoolTail::open(context, spools, (kind, &name), &common, Settings::of_nothing())?;
            if !tail.is_drained() {
                tracing::info!(spool = name, "delivering what an earlier configuration left");
            }
            let work: Arc<dyn Work> = tail.clone();
            context.queue.wake(&work);
            self.orphans.push(tail);
        }
        Ok(())
    }

    fn tails(&self) -> impl Iterator<Item = &Arc<SpoolTail>> {
        let syslog = self.syslog.iter().flat_map(Syslog::tails);
        let stdin = self.stdin.iter().flat_map(Stdin::tails);
        syslog.chain(stdin).chain(&self.orphans)
    }

    fn stop(&self) {
        self.syslog.iter().for_each(Syslog::stop);
        self.journald.iter().for_each(Journald::stop);
        if let Some(stdin) = &self.stdin {
            stdin.stop();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// The thread that syncs spools and writes the checkpoint; this less often if it takes long.
fn keep(
    parts: Arc<Parts>,
    stop: Arc<AtomicBool>,
    pulse: Pulse,
    interval: Duration,
) -> JoinHandle<()> {
    let run = move || {
        let _beating = pulse.join();
        let Parts { context, inputs, .. } = &*parts;
        let mut wait = interval;
        let mut last = Instant::now();
        let mut generation = 0;
        while !stop.load(Ordering::Acquire) {
            beat();
            std::thread::sleep(Duration::from_millis(50).min(interval));
            let now = context.courier.generation();
            if std::mem::replace(&mut generation, now) != now {
                // What the producer before it had is to be read again.
                parts.wake_all();
            }
            inputs.tails().for_each(|tail| tail.spool().sync(false));
            if last.elapsed() < wait {
                continue;
            }
            let started = Instant::now();
            let acked: Vec<u64> = inputs.tails().map(|tail| tail.acked_offset()).collect();
            context.save_checkpoint();
            for (tail, acked) in inputs.tails().zip(acked) {
                tail.spool().release(acked);
            }
            context.sweep();
            wait = interval.max(started.elapsed() * 20);
            last = Instant::now();
        }
    };
    thread("keeper", run)
}

/// The thread that answers at the status socket.
fn answer(parts: Arc<Parts>, socket: StatusSocket, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    thread("status", move || socket.serve(&stop, || parts.snapshot()))
}

fn serve_metrics(parts: Arc<Parts>, listen: &Listen) -> io::Result<Endpoint> {
    Endpoint::start(listen, move || metrics::render(&parts.snapshot()))
}

/// The thread that serves those who watch events.
fn watch(tap: Arc<Tap>, socket: TapSocket, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    thread("tap", move || socket.serve(&tap, &stop))
}

/// The thread that sends reports about the agent.
fn report(parts: Arc<Parts>, mut reporter: Reporter, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    thread("report", move || {
        while !stop.load(Ordering::Acquire) {
            reporter.report(&|| parts.snapshot());
            std::thread::sleep(Duration::from_millis(100));
        }
    })
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.into()).spawn(run).expect("a thread can be started")
}

/// How many log files may be open: what is asked for, as far as the system leaves room besides for
/// connections, spools and the rest.
fn open_files_max(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    let room = limit - OPEN_FILES_ELSE.min(limit / 2);
    if room < wanted {
        tracing::info!(
            wanted,
            limit,
            open_files_max = room,
            "the system allows this process fewer open files than `agent.open_files_max`"
        );
    }
    wanted.min(room)
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
