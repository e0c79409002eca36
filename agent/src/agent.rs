//! The agent put together: state directory, checkpoint, courier, workers, sources.
//!
//! Start: take the state directory, load what is on disk, then begin to read. Stop: no more input,
//! what is read goes out (within the grace), the checkpoint is written last.

use crate::accounting::{ConfiguredSnapshot, Counts, Snapshot};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::{Config, RulesConfig, SourceConfig};
use crate::confine;
use crate::delivery::Courier;
use crate::inputs::{Inputs, Sources};
use crate::metrics;
use crate::parsing::Rules;
use crate::pipeline::Route;
use crate::published::Published;
use crate::reload::{self, LimitsInUse, Watched};
use crate::report::Reporter;
use crate::socket_dir::{self, SocketDirError};
use crate::source::file::{Discovery, FileTail};
use crate::source::syslog::Addresses;
use crate::source::{Context, lane_snapshot};
use crate::state_dir::{self, StateDir, StateDirError};
use crate::status::StatusSocket;
use crate::sync::lock;
use crate::tap::{Tap, TapSocket};
use crate::workers::{Queue, Work, Workers};
use logweir_document::Diagnostic;
use logweir_kafka::producer::ProducerError;
use logweir_service::{Endpoint, Listen, Pulse, beat};
use std::cmp::Reverse;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a stop may take for what is read to go out.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// How often the keeper looks around.
const KEEPER_PAUSE: Duration = Duration::from_millis(50);
/// The longest that it leaves the disk alone: spools get their room back only when it comes round.
const KEEPER_REST_MAX: Duration = Duration::from_secs(10);
/// Descriptors that are kept free for what is no log file.
const OPEN_FILES_ELSE: usize = 256;

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error(transparent)]
    SocketDir(#[from] SocketDirError),
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
    rules: (Rules, RulesConfig, Arc<Watched>),
    configuration: Option<Arc<Watched>>,
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
    limits: LimitsInUse,
    published: Option<Arc<Published>>,
}

impl Agent {
    /// Starts with what is on disk; Kafka need not be there.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn start(config: Config) -> Result<Self, AgentError> {
        let mut state_dir = StateDir::open(&config.state_dir)?;
        let (status_socket, tap_socket) = bind_sockets(&config.socket_dir)?;
        raise_file_limit();
        let checkpoint = Arc::new(Checkpoint::open(state_dir.path())?);
        if let Some(machine) = state_dir::machine()
            && checkpoint.bind(&machine)?
        {
            state_dir.renew_agent_id()?;
            tracing::warn!(
                state_dir = %state_dir.path().display(),
                agent_id = state_dir.agent_id(),
                "this machine is a copy of another: its agent gets an id of its own, and its files and streams \
                 are read on under identities of their own"
            );
        }
        let reporter = config.reports.then(|| Reporter::new(config.kafka.clone()));
        let published = config.published.map(|published| {
            let directory = state_dir.path().join("published");
            let rules = (config.rules.clone(), config.rules_from.clone());
            Published::open(published, &directory, state_dir.agent_id(), rules, &config.kafka)
        });
        let published = published.transpose()?;
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
        let limits = LimitsInUse::of(&config.sources);
        let mut sources = Sources::of(config.sources);
        let files = std::mem::take(&mut sources.files);
        let inputs = Inputs::start(&context, spools, sources, config.heads)?;
        // Source ids must be in the checkpoint before anything is sent under them.
        context.save_checkpoint();
        let pulse = Pulse::default();
        let workers = Workers::start(config.workers, &queue, &courier, &config.rules, &pulse);
        let discovery =
            Discovery::start(context.clone(), files, open_files_max(config.open_files_max));
        let rules = config.rules.clone();
        let parts = Arc::new(Parts {
            context: context.clone(),
            discovery,
            inputs,
            rules,
            limits: limits.clone(),
            published: published.clone(),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = vec![
            keep(parts.clone(), stop.clone(), pulse.clone(), config.checkpoint_interval),
            answer(parts.clone(), status_socket, stop.clone()),
            watch(context.courier.tap().clone(), tap_socket, stop.clone()),
        ];
        threads.extend(reporter.map(|reporter| report(parts.clone(), reporter, stop.clone())));
        threads.extend(published.map(|published| follow(parts.clone(), published, stop.clone())));
        let metrics = config.metrics.map(|listen| serve_metrics(parts.clone(), &listen));
        let (rules, from) = (config.rules, config.rules_from);
        let watched = Watched::rules(from.clone());
        let used = (rules.clone(), from.clone());
        threads.extend(reload::start(used, watched.clone(), stop.clone()));
        let configuration = config.path.map(|path| {
            let watched = Watched::configuration(path.clone());
            threads.push(reload::start_limits(path, limits, watched.clone(), stop.clone()));
            watched
        });
        Ok(Self {
            parts,
            workers: Mutex::new(Some(workers)),
            threads: Mutex::new(threads),
            stop,
            pulse,
            rules: (rules, from, watched),
            configuration,
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
        self.parts.inputs.syslog_addresses()
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

    /// Looks at the rules now; what has faults is told and returned, and the rules in use stay.
    pub fn reload_rules(&self) -> Vec<Diagnostic> {
        let (rules, from, watched) = &self.rules;
        watched.take_up(|| reload::reload(rules, from))
    }

    /// Loads the configuration anew by `load`; what it finds is no change any more.
    pub(crate) fn take_up_configuration<T>(&self, load: impl FnOnce() -> T) -> T {
        match &self.configuration {
            Some(watched) => watched.take_up(load),
            None => load(),
        }
    }

    /// Goes over to other sources. Those that are said as before are not touched but for their
    /// limits; of files and journals that are said otherwise, what is read goes out first. Returns
    /// what could not be done, for a person.
    pub(crate) fn reload_sources(&self, sources: Vec<SourceConfig>) -> Vec<String> {
        let Parts { context, discovery, inputs, limits, .. } = &*self.parts;
        let mut sources = Sources::of(limits.take_over(sources));
        discovery.configure(std::mem::take(&mut sources.files));
        inputs.reload(context, sources)
    }

    /// Whether there is nothing more to do: the only source was standard input, it has ended, and
    /// all of it is acknowledged.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.parts.discovery.is_unused() && self.parts.inputs.is_finished()
    }

    /// Whether the file at `path` is an archive that could not be read to the end of what it holds.
    pub(crate) fn is_damaged(&self, path: &Path) -> bool {
        self.parts.discovery.is_damaged(path)
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
        if let Some(published) = &self.parts.published {
            published.stopped();
        }
        context.sweep();
        context.save_checkpoint();
        inputs.tails().iter().for_each(|tail| tail.spool().sync(true));
        // The client may have sent all that it had while a worker gave up the rest of its chunk.
        all_out && self.parts.snapshot().counts.held == 0
    }
}

impl Parts {
    /// The state of this moment.
    fn snapshot(&self) -> Snapshot {
        self.snapshot_of(usize::MAX)
    }

    /// The state of this moment, naming at most so many files: those that are furthest behind. All
    /// are counted.
    fn snapshot_of(&self, files_max: usize) -> Snapshot {
        // Of one moment: what is let go of goes from those that are read to the retired.
        let (mut files, (inputs, (mut configured, mut sources))) =
            self.discovery.tails_with(|| self.inputs.tails_with(|| self.context.retired()));
        // One of which nothing was found yet is there with zeros.
        for place in self.limits.places() {
            configured.entry(place.into()).or_default();
        }
        let mut add = |to: &Arc<str>, counts: &Counts| {
            configured.entry(to.clone()).or_default().add(counts);
        };
        for tail in split_off_least_behind(&mut files, files_max) {
            add(&tail.route().configured, &tail.route().lane.counts().2);
        }
        sources.extend(files.iter().map(|tail| {
            let named = ("file", tail.path().display().to_string());
            let Route { lane, configured, .. } = tail.route();
            lane_snapshot(lane, configured, named, Some(tail.end_offset()))
        }));
        sources.extend(inputs.snapshots());
        sources.iter().for_each(|source| add(&source.configured, &source.counts));
        let mut counts = Counts::default();
        configured.values().for_each(|of| counts.add(of));
        sources.sort_by(|a, b| (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id)));
        let (kafka, kafka_reason) = self.context.courier.standing();
        let (files_lost, bytes_lost) = self.discovery.lost();
        Snapshot {
            agent_id: self.context.agent.id.clone(),
            agent_name: self.context.agent.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            kafka: kafka.word(),
            landlock: confine::state(),
            open_files: self.discovery.open_files() as u64,
            watch_overflows: self.discovery.overflows(),
            files_lost,
            bytes_lost,
            kafka_reason,
            kafka_in_flight: self.context.courier.in_flight() as u64,
            kafka_partitions_stuck: self.context.courier.partitions_stuck() as u64,
            kafka_restarts: self.context.courier.restarts(),
            checkpoint_errors: self.context.checkpoint.errors(),
            checkpoint_fails: self.context.checkpoint.fails(),
            counts,
            configured: configured.into_iter().map(ConfiguredSnapshot::from).collect(),
            listeners: self.inputs.listeners(),
            sources,
            rules: self.rules.counts(),
            rules_hash: self.rules.describe().1,
            rules_refused: self.rules.refused(),
            published: self.published.as_ref().map(|published| published.snapshot()),
        }
    }
}

impl Parts {
    fn wake_all(&self) {
        for tail in self.discovery.tails() {
            let work: Arc<dyn Work> = tail;
            self.context.queue.wake(&work);
        }
        self.inputs.wake(&self.context.queue);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// Leaves in `files` the `max` that are furthest behind, in no order; returns the others.
fn split_off_least_behind(files: &mut Vec<Arc<FileTail>>, max: usize) -> Vec<Arc<FileTail>> {
    if files.len() <= max {
        return Vec::new();
    }
    // Asked once each, as it changes meanwhile.
    let mut behind: Vec<_> =
        files.drain(..).map(|tail| (Reverse(tail.bytes_behind()), tail)).collect();
    behind.select_nth_unstable_by_key(max, |(behind, _)| *behind);
    let mut ranked = behind.into_iter().map(|(_, tail)| tail);
    files.extend(ranked.by_ref().take(max));
    ranked.collect()
}

/// The thread that syncs spools and writes the checkpoint: at once for sources that wait for their
/// partitions to be recorded, and less often if it takes long, up to [`KEEPER_REST_MAX`].
fn keep(
    parts: Arc<Parts>,
    stop: Arc<AtomicBool>,
    pulse: Pulse,
    interval: Duration,
) -> JoinHandle<()> {
    let run = move || {
        let _beating = pulse.join();
        let Parts { context, inputs, .. } = &*parts;
        let (mut took, mut chosen) = (Duration::ZERO, false);
        let mut last = Instant::now();
        let mut generation = 0;
        while !stop.load(Ordering::Acquire) {
            beat();
            chosen |= context.courier.await_choice(KEEPER_PAUSE.min(interval));
            let now = context.courier.generation();
            if std::mem::replace(&mut generation, now) != now {
                // What the producer before it had is to be read again.
                parts.wake_all();
            }
            inputs.tails().iter().for_each(|tail| tail.spool().sync(false));
            inputs.settle(context);
            let at_once = chosen && !context.checkpoint.fails();
            let rest = if at_once { took } else { interval.max((took * 20).min(KEEPER_REST_MAX)) };
            if last.elapsed() < rest {
                continue;
            }
            let started = Instant::now();
            let acked: Vec<_> =
                inputs.tails().into_iter().map(|tail| (tail.acked_offset(), tail)).collect();
            context.sweep();
            context.save_checkpoint();
            context.courier.note_recording(!context.checkpoint.fails());
            for (acked, tail) in acked {
                tail.spool().release(acked);
            }
            (took, chosen) = (started.elapsed(), false);
            last = Instant::now();
        }
    };
    thread("keeper", run)
}

fn bind_sockets(directory: &Path) -> Result<(StatusSocket, TapSocket), SocketDirError> {
    socket_dir::prepare(directory)?;
    let bind = || Ok((StatusSocket::bind(directory)?, TapSocket::bind(directory)?));
    bind().map_err(|error| SocketDirError::new(directory, error))
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
            reporter.report(&|files_max| parts.snapshot_of(files_max));
            std::thread::sleep(Duration::from_millis(100));
        }
    })
}

/// The thread that takes rules from the topic of the rules.
fn follow(parts: Arc<Parts>, published: Arc<Published>, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    thread("published", move || published.run(&stop, &|| parts.snapshot()))
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.into()).spawn(run).expect("a thread can be started")
}

/// How many log files may be open: what is asked for, as far as the system leaves room besides for
/// connections, spools and the rest.
fn open_files_max(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    let room = limit - OPEN_FILES_ELSE.min(limit / 4 * 3);
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
