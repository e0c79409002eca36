//! The courier: keeps a link to Kafka up, ships chunks over it and hears what became of them.

use super::keeper::Keeper;
use super::lane::Lane;
use super::open::{Entry, OpenPartitions};
use super::shared::{KafkaState, Shared};
use crate::pipeline::Batch;
use crate::sync::{lock, write};
use crate::tap::Tap;
use logweir_kafka::producer::{Producer, ProducerError, SendError};
use logweir_kafka::properties::Properties;
use logweir_record::{TOPIC_DEAD_LETTER, partition_of};
use logweir_service::beat;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a worker waits when the producer's queue is full before it tries again.
const QUEUE_FULL_PAUSE: (Duration, Duration) =
    (Duration::from_micros(500), Duration::from_millis(20));
/// Marks the tag of a dead letter.
pub(super) const TAG_DEAD_LETTER: usize = 1 << 63;
/// Marks the tag of a message that opens a partition.
const TAG_OPENS: usize = 1 << 62;
/// Marks the tag of the last message of a chunk.
pub(super) const TAG_LAST: usize = 1 << 61;
pub(super) const TAG_MARKS: usize = TAG_DEAD_LETTER | TAG_OPENS | TAG_LAST;

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
pub(super) struct Link {
    pub(super) producer: Producer,
    pub(super) generation: u64,
    pub(super) partitions: u32,
    pub(super) open: Arc<OpenPartitions>,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Courier {
    shared: Arc<Shared>,
    topic: String,
    event_bytes_max: usize,
    tap: Arc<Tap>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
            properties: properties.clone(),
            restarts: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            batch_bytes: AtomicUsize::new(batch_bytes.unwrap_or(1_000_000)),
            last_trouble: Mutex::new(None),
            last_error: Mutex::default(),
            reason: Mutex::default(),
            write_refused: AtomicBool::new(false),
        });
        let mut keeper = Keeper::new(shared.clone(), properties, topic.clone());
        // The first one is made here, so that properties that do not go together end the start.
        let first = keeper.create()?;
        let event_bytes_max = first.0.payload_bytes_max();
        let thread = std::thread::Builder::new()
            .name("courier".into())
            .spawn(move || keeper.run(first))
            .expect("a thread can be started");
        Ok(Self {
            shared,
            topic,
            event_bytes_max,
            tap: Arc::default(),
            thread: Mutex::new(Some(thread)),
        })
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

    /// Where events can be watched.
    pub(crate) fn tap(&self) -> &Arc<Tap> {
        &self.tap
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
            beat();
            if let Some(link) = link.as_ref().filter(|link| !link.producer.is_broken()) {
                return Some(link.clone());
            }
            link = self
                .shared
                .changed
                .wait_timeout(link, Duration::from_millis(500))
                .unwrap_or_else(PoisonError::into_inner)
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
        self.tap.offer(batch.events());
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
            beat();
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
                    beat();
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

    /// Why nothing is delivered, and what to do; empty while all is well.
    #[must_use]
    pub(crate) fn reason(&self) -> String {
        lock(&self.shared.reason).clone()
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
