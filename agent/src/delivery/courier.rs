//! The courier: keeps a link to Kafka up, ships chunks over it and hears what became of them.

use super::lane::Lane;
use super::open::{Entry, OpenPartitions};
use crate::pipeline::Batch;
use crate::sync::{lock, read, write};
use logweir_kafka::producer::{
    DeliveryListener, Failure, FailureKind, Producer, ProducerError, SendError, Trouble,
};
use logweir_kafka::properties::Properties;
use logweir_record::{FIELD_OFFSET, FIELD_SOURCE, SourceId, TOPIC_DEAD_LETTER, partition_of};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long one question about the cluster may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait between two questions while there is no answer.
const METADATA_RETRY: Duration = Duration::from_millis(500);
/// How often the topic's partitions are counted again.
const PARTITIONS_RECHECK: Duration = Duration::from_secs(60);
/// Between two attempts with a new producer after failures, doubling from the first to the second.
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// How often the same trouble is told.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a worker waits when the producer's queue is full before it tries again.
const QUEUE_FULL_PAUSE: (Duration, Duration) =
    (Duration::from_micros(500), Duration::from_millis(20));
/// Marks the tag of a dead letter.
const TAG_DEAD_LETTER: usize = 1 << 63;
/// Marks the tag of a message that opens a partition.
const TAG_OPENS: usize = 1 << 62;
/// Marks the tag of the last message of a chunk.
const TAG_LAST: usize = 1 << 61;
const TAG_MARKS: usize = TAG_DEAD_LETTER | TAG_OPENS | TAG_LAST;

/// What is known about Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum KafkaState {
    Connecting,
    Up,
    Unreachable,
    TopicMissing,
}

impl KafkaState {
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Unreachable => "unreachable",
            Self::TopicMissing => "topic_missing",
        }
    }
}

/// The link could not take the whole chunk; the lane will start over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShipError {
    Broken,
    Stopped,
}

/// A chunk that is to be shipped: its events and what the lane must know about it.
#[derive(Debug)]
pub(crate) struct Shipment<'b> {
    pub lane: &'b Arc<Lane>,
    pub end: super::Position,
    pub batch: &'b Batch,
}

/// One producer while it works.
#[derive(Debug)]
struct Link {
    producer: Producer,
    generation: u64,
    partitions: u32,
    open: Arc<OpenPartitions>,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Courier {
    shared: Arc<Shared>,
    topic: String,
    event_bytes_max: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    lanes: RwLock<HashMap<u32, Arc<Lane>>>,
    next_slot: Mutex<u32>,
    link: Mutex<Option<Arc<Link>>>,
    changed: Condvar,
    stop: AtomicBool,
    state: AtomicU8,
    generation: AtomicU64,
    brokers: String,
    restarts: AtomicU64,
    /// Chunks acknowledged since the link came up: what tells a working link from a broken one.
    acknowledged: AtomicU64,
    batch_bytes: AtomicUsize,
    last_trouble: Mutex<Option<Instant>>,
}

impl Courier {
    /// Starts the courier's thread; the link comes up when Kafka is there.
    ///
    /// # Errors
    /// Properties that do not go together.
    pub(crate) fn start(properties: Properties, topic: String) -> Result<Self, ProducerError> {
        let batch_bytes = properties.effective("batch.size").and_then(|text| text.parse().ok());
        let shared = Arc::new(Shared {
            lanes: RwLock::default(),
            next_slot: Mutex::new(1),
            link: Mutex::new(None),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            state: AtomicU8::new(KafkaState::Connecting as u8),
            generation: AtomicU64::new(0),
            brokers: properties.get("bootstrap.servers").unwrap_or_default().to_owned(),
            restarts: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            batch_bytes: AtomicUsize::new(batch_bytes.unwrap_or(1_000_000)),
            last_trouble: Mutex::new(None),
        });
        let mut keeper = Keeper { shared: shared.clone(), properties, topic: topic.clone() };
        // The first one is made here, so that properties that do not go together end the start.
        let first = keeper.create()?;
        let event_bytes_max = first.0.payload_bytes_max();
        let thread = std::thread::Builder::new()
            .name("courier".into())
            .spawn(move || keeper.run(first))
            .expect("a thread can be started");
        Ok(Self { shared, topic, event_bytes_max, thread: Mutex::new(Some(thread)) })
    }

    /// Registers a lane; outcomes reach it by the returned slot.
    pub(crate) fn register(&self, lane: &Arc<Lane>) -> u32 {
        let slot = {
            let mut next = lock(&self.shared.next_slot);
            *next += 1;
            *next - 1
        };
        write(&self.shared.lanes).insert(slot, lane.clone());
        slot
    }

    /// Forgets a lane that has nothing on its way.
    pub(crate) fn unregister(&self, slot: u32) {
        write(&self.shared.lanes).remove(&slot);
    }

    /// Counts producers; a lane asks by it whether it must start over.
    #[must_use]
    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// The largest event that is taken.
    #[must_use]
    pub(crate) fn event_bytes_max(&self) -> usize {
        self.event_bytes_max
    }

    /// The link, as soon as there is one; `None` when the courier is told to stop.
    fn link(&self) -> Option<Arc<Link>> {
        let mut link = lock(&self.shared.link);
        loop {
            if self.shared.stop.load(Ordering::Acquire) {
                return None;
            }
            if let Some(link) = link.as_ref().filter(|link| !link.producer.is_broken()) {
                return Some(link.clone());
            }
            link = self
                .shared
                .changed
                .wait_timeout(link, Duration::from_millis(500))
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
    }

    /// Ships a chunk: hands it over to its lane, then every message to the producer. Waits while
    /// the producer's queue is full.
    ///
    /// # Errors
    /// The link broke, or the courier was stopped while it waited.
    pub(crate) fn ship(&self, slot: u32, shipment: &Shipment<'_>) -> Result<(), ShipError> {
        let Shipment { lane, end, batch } = shipment;
        let dead_letters = batch.dead_letters();
        let sequence = lane.hand_over(*end, batch.tally(), dead_letters.len() as u32);
        if batch.events().len() == 0 && dead_letters.is_empty() {
            return Ok(());
        }
        let link = self.link().ok_or(ShipError::Stopped)?;
        if link.generation != lane.generation() {
            return Err(ShipError::Broken);
        }
        let link = &*link;
        let partition =
            lane.partition(link.partitions, || partition_of(&lane.id(), link.partitions));
        let tag = (slot as usize) << 32 | sequence as usize;
        for payload in dead_letters {
            self.send(link, TOPIC_DEAD_LETTER, None, payload, tag | TAG_DEAD_LETTER)?;
        }
        let events = batch.events();
        let last = events.len().saturating_sub(1);
        for (index, payload) in events.enumerate() {
            let mut tag = if index == last { tag | TAG_LAST } else { 0 };
            let opens = index == 0 && self.begins(link, partition)?;
            if opens {
                tag |= TAG_OPENS | (slot as usize) << 32;
            }
            self.send(link, &self.topic, Some(partition), payload, tag)?;
            if opens {
                self.begins(link, partition)?;
            }
        }
        Ok(())
    }

    /// Waits until the partition is open; returns `true` to the one who has to open it, with a
    /// message that goes alone.
    fn begins(&self, link: &Link, partition: i32) -> Result<bool, ShipError> {
        loop {
            match link.open.enter(partition) {
                Entry::Open => return Ok(false),
                Entry::Yours => return Ok(true),
                Entry::Wait if self.shared.stop.load(Ordering::Acquire) => {
                    return Err(ShipError::Stopped);
                }
                Entry::Wait if link.producer.is_broken() => return Err(ShipError::Broken),
                Entry::Wait => {}
            }
        }
    }

    fn send(
        &self,
        link: &Link,
        topic: &str,
        partition: Option<i32>,
        payload: &[u8],
        tag: usize,
    ) -> Result<(), ShipError> {
        let (mut pause, pause_max) = QUEUE_FULL_PAUSE;
        loop {
            match link.producer.send(topic, partition, payload, tag) {
                Ok(()) => return Ok(()),
                Err(SendError::QueueFull) => {
                    if self.shared.stop.load(Ordering::Acquire) {
                        return Err(ShipError::Stopped);
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(pause_max);
                }
                // The batch leaves out what is larger than the link takes.
                Err(SendError::TooLarge | SendError::Broken(_)) => {
                    link.producer.abandon();
                    self.shared.changed.notify_all();
                    return Err(ShipError::Broken);
                }
            }
        }
    }

    #[must_use]
    pub(crate) fn state(&self) -> KafkaState {
        self.shared.state()
    }

    /// How often a producer had to be made anew.
    #[must_use]
    pub(crate) fn restarts(&self) -> u64 {
        self.shared.restarts.load(Ordering::Relaxed)
    }

    /// Messages queued or on their way.
    #[must_use]
    pub(crate) fn in_flight(&self) -> usize {
        lock(&self.shared.link).as_ref().map_or(0, |link| link.producer.in_flight())
    }

    /// Wakes workers that wait for Kafka: they give up their chunks.
    pub(crate) fn begin_stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.changed.notify_all();
    }

    /// Waits until all is out, at most `grace`, and ends the courier. Returns whether all is out.
    pub(crate) fn stop(&self, grace: Duration) -> bool {
        self.begin_stop();
        let link = lock(&self.shared.link).clone();
        let out = link.is_none_or(|link| link.producer.flush(grace));
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
        *lock(&self.shared.link) = None;
        out
    }
}

impl Shared {
    fn state(&self) -> KafkaState {
        match self.state.load(Ordering::Relaxed) {
            0 => KafkaState::Connecting,
            1 => KafkaState::Up,
            2 => KafkaState::Unreachable,
            _ => KafkaState::TopicMissing,
        }
    }

    /// Notes the state; what changed is said once.
    fn enter(&self, state: KafkaState, topic: &str, detail: &str) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if before == state as u8 {
            return;
        }
        match state {
            KafkaState::Up if before == KafkaState::Connecting as u8 => {
                tracing::info!(topic, "kafka is reached");
            }
            KafkaState::Up => tracing::info!(topic, "kafka is back; delivery goes on"),
            KafkaState::Unreachable => tracing::warn!(
                brokers = self.brokers,
                detail,
                "kafka cannot be reached; files wait where they are, the spool takes what it can \
                 hold, and delivery goes on by itself"
            ),
            KafkaState::TopicMissing => tracing::warn!(
                topic,
                "there is no such topic; create it with `logweir topics create`"
            ),
            KafkaState::Connecting => {}
        }
    }

    /// Says what is wrong, but not more often than every [`TROUBLE_INTERVAL`].
    fn tell(&self, reason: &str) {
        let mut last = lock(&self.last_trouble);
        if last.is_none_or(|at| at.elapsed() >= TROUBLE_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!(reason, "kafka: delivery has a problem and is tried again");
        } else {
            tracing::debug!(reason, "kafka: delivery has a problem");
        }
    }

    /// Sleeps, but not into a stop.
    fn pause(&self, duration: Duration) {
        let deadline = Instant::now() + duration;
        while !self.stop.load(Ordering::Acquire) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20).min(duration));
        }
    }
}

/// The courier's thread: makes producers and replaces those that broke.
struct Keeper {
    shared: Arc<Shared>,
    properties: Properties,
    topic: String,
}

impl Keeper {
    fn create(&mut self) -> Result<(Producer, Arc<Listener>), ProducerError> {
        let generation = self.shared.generation.load(Ordering::Relaxed) + 1;
        let batch_bytes = self.shared.batch_bytes.load(Ordering::Relaxed);
        let listener = Arc::new(Listener {
            open: Arc::default(),
            shared: self.shared.clone(),
            topic: self.topic.clone(),
            generation,
            frozen: AtomicBool::new(false),
            batch_bytes,
            shrunk: AtomicBool::new(false),
        });
        let mut properties = self.properties.clone();
        properties.set("batch.size", &batch_bytes.to_string());
        let producer = Producer::create(&properties, listener.clone())?;
        self.shared.generation.store(generation, Ordering::Release);
        Ok((producer, listener))
    }

    fn run(mut self, first: (Producer, Arc<Listener>)) {
        let mut next = Some(first);
        let (mut pause, pause_max) = RESTART_PAUSE;
        while !self.stopped() {
            let Some((producer, listener)) = next.take().or_else(|| self.create_or_wait()) else {
                continue;
            };
            let before = self.shared.acknowledged.load(Ordering::Relaxed);
            self.serve(producer, &listener);
            if self.stopped() {
                return;
            }
            self.shared.restarts.fetch_add(1, Ordering::Relaxed);
            if self.shared.acknowledged.load(Ordering::Relaxed) > before {
                pause = RESTART_PAUSE.0;
            }
            self.shared.pause(pause);
            pause = (pause * 2).min(pause_max);
        }
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn create_or_wait(&mut self) -> Option<(Producer, Arc<Listener>)> {
        self.create()
            .inspect_err(|error| {
                self.shared.tell(&error.to_string());
                self.shared.pause(RESTART_PAUSE.1);
            })
            .ok()
    }

    /// Offers the producer as the link until it breaks or the courier stops.
    fn serve(&mut self, producer: Producer, listener: &Listener) {
        let Some(partitions) = self.partitions(&producer) else { return };
        let generation = listener.generation;
        let open = listener.open.clone();
        let link = Arc::new(Link { producer, generation, partitions, open });
        for lane in read(&self.shared.lanes).values() {
            lane.settle(generation);
        }
        *lock(&self.shared.link) = Some(link.clone());
        self.shared.changed.notify_all();
        self.watch(&link);
        if !self.stopped() {
            listener.frozen.store(true, Ordering::Release);
            *lock(&self.shared.link) = None;
            link.producer.abandon();
        }
    }

    /// Asks for the topic until it is there.
    fn partitions(&self, producer: &Producer) -> Option<u32> {
        while !self.stopped() && !producer.is_broken() {
            match producer.partitions(&self.topic, METADATA_TIMEOUT) {
                Ok(Some(partitions)) => {
                    self.shared.enter(KafkaState::Up, &self.topic, "");
                    return Some(partitions);
                }
                Ok(None) => self.shared.enter(KafkaState::TopicMissing, &self.topic, ""),
                Err(error) => {
                    self.shared.enter(KafkaState::Unreachable, &self.topic, &error.to_string());
                }
            }
            self.shared.pause(METADATA_RETRY);
        }
        None
    }

    fn watch(&self, link: &Link) {
        let mut checked = Instant::now();
        let mut told = link.partitions;
        while !self.stopped() && !link.producer.is_broken() {
            {
                let guard = lock(&self.shared.link);
                let _ = self.shared.changed.wait_timeout(guard, Duration::from_millis(200));
            }
            if checked.elapsed() < PARTITIONS_RECHECK {
                continue;
            }
            checked = Instant::now();
            let found = link.producer.partitions(&self.topic, METADATA_TIMEOUT);
            if let Ok(Some(found)) = found
                && found != told
            {
                told = found;
                tracing::warn!(
                    topic = self.topic,
                    partitions = found,
                    "the topic has another number of partitions; sources that were read before keep \
                     theirs, new ones use all of them after a restart"
                );
            }
        }
    }
}

/// Hears the outcomes of one producer.
struct Listener {
    open: Arc<OpenPartitions>,
    shared: Arc<Shared>,
    topic: String,
    generation: u64,
    /// A message failed: nothing behind it counts any more.
    frozen: AtomicBool,
    /// What this producer's batches hold at most.
    batch_bytes: usize,
    /// The next producer's batches are smaller.
    shrunk: AtomicBool,
}

impl DeliveryListener for Listener {
    fn delivered(&self, tag: usize) {
        if self.frozen.load(Ordering::Acquire) {
            return;
        }
        let slot = ((tag & !TAG_MARKS) >> 32) as u32;
        let sequence = tag as u32;
        let Some(lane) = read(&self.shared.lanes).get(&slot).cloned() else { return };
        if tag & TAG_LAST != 0 {
            lane.events_acked(self.generation, sequence);
        }
        if tag & TAG_DEAD_LETTER != 0 {
            lane.dead_letter_acked(self.generation, sequence);
        } else if let (_, Some(partition)) = lane.progress() {
            self.open.acknowledge(partition);
        }
        self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.shared.enter(KafkaState::Up, &self.topic, "");
    }

    fn failed(&self, failure: &Failure<'_>) {
        self.frozen.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        match failure.kind {
            FailureKind::Abandoned => {}
            FailureKind::Refused => self.refused(failure),
            FailureKind::Other => {
                self.shared.tell(&format!("{}: {}", failure.topic, failure.reason))
            }
        }
    }

    fn trouble(&self, trouble: &Trouble<'_>) {
        match trouble {
            Trouble::AllBrokersDown(reason) => {
                self.shared.enter(KafkaState::Unreachable, &self.topic, reason);
            }
            Trouble::Error(reason) if self.shared.state() == KafkaState::Up => {
                self.shared.tell(reason);
            }
            Trouble::Error(_) => {}
        }
    }
}

impl Listener {
    /// The broker refused a batch. A message as large as a batch may be was alone in it and becomes
    /// a dead letter; otherwise batches get smaller, until the refused ones are alone.
    fn refused(&self, failure: &Failure<'_>) {
        if failure.payload.len() >= self.batch_bytes {
            self.refused_alone(failure);
        } else if !self.shrunk.swap(true, Ordering::Relaxed) {
            let smaller = (self.batch_bytes / 2).max(1);
            tracing::info!(
                batch_bytes = smaller,
                reason = failure.reason,
                "the broker refuses a batch; batches get smaller until it is found which event it is"
            );
            self.shared.batch_bytes.store(smaller, Ordering::Relaxed);
        }
    }

    fn refused_alone(&self, failure: &Failure<'_>) {
        let Some((source, offset)) = identity(failure.payload) else { return };
        let lanes = read(&self.shared.lanes);
        let Some(lane) = lanes.values().find(|lane| lane.id() == source) else { return };
        let topic = failure.topic;
        let reason = &failure.reason;
        if topic == TOPIC_DEAD_LETTER {
            tracing::error!(%source, offset, topic, reason, "a dead letter is refused; it is dropped");
        } else {
            tracing::warn!(%source, offset, topic, reason, "an event is refused; it becomes a dead letter");
        }
        lane.refuse(offset, reason.clone());
    }
}

/// Which event a payload is.
fn identity(payload: &[u8]) -> Option<(SourceId, u64)> {
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let source = value.get(FIELD_SOURCE)?.as_str()?.parse().ok()?;
    Some((source, value.get(FIELD_OFFSET)?.as_u64()?))
}
