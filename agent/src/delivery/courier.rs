//! The courier: keeps a link to Kafka up, ships chunks over it and hears what became of them.

use super::keeper::Keeper;
use super::lane::Lane;
use super::open::OpenPartitions;
use super::shared::{KafkaState, Shared};
use super::shares::{Load, Shares};
use crate::pipeline::Batch;
use crate::sync::{lock, write};
use crate::tap::Tap;
use logweir_kafka::producer::{Producer, ProducerError, SendError};
use logweir_kafka::properties::Properties;
use logweir_record::TOPIC_DEAD_LETTER;
use logweir_service::beat;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a worker waits when the producer's queue is full before it tries again.
const QUEUE_FULL_PAUSE: (Duration, Duration) =
    (Duration::from_micros(500), Duration::from_millis(20));
/// How long a source waits for the checkpoint to hold its partition until it asks again: as a rule, and while
/// the checkpoint cannot be written.
const RECORD_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Marks the tag of a dead letter.
pub(super) const TAG_DEAD_LETTER: usize = 1 << 63;
/// Marks the tag of the last message of a chunk.
pub(super) const TAG_LAST: usize = 1 << 62;
pub(super) const TAG_MARKS: usize = TAG_DEAD_LETTER | TAG_LAST;

/// The link did not take the whole chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShipError {
    /// The lane starts over, with another producer.
    Broken,
    Stopped,
    /// Nothing of it was sent, and the lane does not have it: see [`Courier::pause_of`].
    NotYet,
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
    pub(super) shares: Arc<Shares>,
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
        let shared = Arc::new(Shared::new(properties.clone(), batch_bytes));
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

    /// How long a lane has to wait before it sends more; `None` if it need not.
    #[must_use]
    pub(crate) fn pause_of(&self, lane: &Lane) -> Option<Duration> {
        let link = lock(&self.shared.link).clone()?;
        match lane.partition(link.partitions) {
            Some(partition) => link.open.pause(partition).or_else(|| link.shares.pause(partition)),
            None => {
                self.shared.chosen.ring();
                let fails = self.shared.recording_fails.load(Ordering::Relaxed);
                Some(if fails { RECORD_PAUSE.1 } else { RECORD_PAUSE.0 })
            }
        }
    }

    /// Whether the lane's next chunk must be of one event, which opens its partition.
    #[must_use]
    pub(crate) fn is_one_wanted(&self, lane: &Lane) -> bool {
        let link = lock(&self.shared.link).clone();
        link.is_some_and(|link| {
            let partition = lane.partition(link.partitions);
            partition.is_some_and(|partition| !link.open.is_open(partition))
        })
    }

    /// Waits, at most for `patience`, until a source has a partition that the checkpoint does not
    /// hold; returns whether one has.
    pub(crate) fn await_choice(&self, patience: Duration) -> bool {
        self.shared.chosen.wait(patience)
    }

    /// Whether the checkpoint takes choices at the moment.
    pub(crate) fn note_recording(&self, works: bool) {
        self.shared.recording_fails.store(!works, Ordering::Relaxed);
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
    /// there is no link or the producer's queue is full.
    ///
    /// # Errors
    /// See [`ShipError`].
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
        let events = batch.events();
        let partition = if events.len() == 0 {
            None
        } else if let Some(partition) = Self::entered(link, lane, events.len() == 1) {
            Some(partition)
        } else {
            lane.hand_back(sequence);
            return Err(ShipError::NotYet);
        };
        let tag = (slot as usize) << 32 | sequence as usize;
        for payload in dead_letters {
            self.send(link, TOPIC_DEAD_LETTER, None, payload, tag | TAG_DEAD_LETTER)?;
        }
        self.tap.offer(batch.events());
        if let Some(partition) = partition {
            let bytes = batch.events().map(<[u8]>::len).sum();
            link.shares.queue(partition, Load { bytes, messages: events.len() });
        }
        let last = events.len().saturating_sub(1);
        for (index, payload) in events.enumerate() {
            let tag = if index == last { tag | TAG_LAST } else { 0 };
            self.send(link, &self.topic, partition, payload, tag)?;
        }
        Ok(())
    }

    /// The lane's partition, if a chunk may be sent to it now; `one` if it is of one event only. Not
    /// before the checkpoint holds it and it is open, or this chunk can open it.
    fn entered(link: &Link, lane: &Lane, one: bool) -> Option<i32> {
        lane.partition(link.partitions).filter(|partition| link.open.enter(*partition, one))
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

    /// What is known about Kafka, and why nothing is delivered and what to do; the latter is empty
    /// while all is well.
    #[must_use]
    pub(crate) fn standing(&self) -> (KafkaState, String) {
        self.shared.standing()
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

    /// How many partitions have acknowledged nothing for ten seconds, though there was something to.
    #[must_use]
    pub(crate) fn partitions_stuck(&self) -> usize {
        lock(&self.shared.link).as_ref().map_or(0, |link| link.shares.stuck().len())
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
