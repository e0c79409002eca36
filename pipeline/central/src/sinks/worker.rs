//! A worker of a sink: one consumer on one thread, one batch in memory.
//!
//! While a batch is not taken, the partitions are paused and the consumer is polled on, so that the group
//! keeps its member; what is lost in a rebalance leaves the batch, its new owner reads it again.

use super::identity::Identity;
use super::{Held, NotNow, Origin, Sink, SinkConfig, SinkRecord};
use crate::ingest::{DeadLetter, IngestConfig, Place};
use anyhow::{Context as _, Result, anyhow, bail};
use logweir_kafka::token;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Between two attempts at a batch, doubling from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long Kafka is left alone after it did not take offsets.
const TELL_KAFKA_PAUSE: Duration = Duration::from_secs(1);
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(10);
/// What a batch needs besides its bytes is bounded too.
const RECORDS_MAX: usize = 20_000;

/// What a sink has done; shared by its workers.
#[derive(Debug, Default)]
pub(crate) struct SinkStatistics {
    pub(crate) written: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Attempts at a batch that failed.
    pub(crate) retries: AtomicU64,
}

pub(crate) struct SinkWorker {
    consumer: BaseConsumer<Context>,
    config: SinkConfig,
    topic: Arc<str>,
    statistics: Arc<SinkStatistics>,
    stop: Arc<AtomicBool>,
    dead_letter: DeadLetter,
    batch: Vec<SinkRecord>,
    bytes: u64,
    since: Option<Instant>,
    untold: Untold,
    /// What the sink had of a partition when it was taken over; goes once its last event was read again.
    held: BTreeMap<i32, Held>,
}

/// Offsets that Kafka did not take, and when it is asked again.
#[derive(Debug, Default)]
struct Untold {
    ends: BTreeMap<i32, i64>,
    due: Option<Instant>,
}

struct Context {
    topic: String,
    state: Mutex<State>,
}

struct State {
    sink: Box<dyn Sink>,
    prepared: bool,
    revoked: Vec<i32>,
    /// Since they were last looked at.
    assigned: Vec<i32>,
}

impl Context {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|lock| lock.into_inner())
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, path: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::of_file(path)
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let mut state = self.state();
        let outcome = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                state.assigned.extend(partitions.elements().iter().map(|e| e.partition()));
                consumer.incremental_assign(partitions)
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                state.revoked.extend(partitions.elements().iter().map(|e| e.partition()));
                consumer.incremental_unassign(partitions)
            }
            _ => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, topic = self.topic, "a rebalance of a sink failed");
        }
    }
}

impl SinkWorker {
    /// Joins the group of the sink.
    ///
    /// # Errors
    /// A property that the client refuses, or a certificate that cannot be used.
    pub(crate) fn new(
        ingest: &IngestConfig,
        config: SinkConfig,
        index: usize,
        statistics: Arc<SinkStatistics>,
        dead_letter: DeadLetter,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let group = format!("{}.{}", ingest.group, config.name);
        let mut properties = ingest.kafka.clone();
        properties.set("group.id", &group);
        if let Some(instance) = ingest.kafka.get("group.instance.id") {
            let own = format!("{instance}-{}-{index}", config.name);
            properties.set("group.instance.id", &own);
        }
        // One batch is in hand and the next one is enough to wait for it.
        let kbytes = (2 * config.batch_bytes / 1024).max(1024).to_string();
        properties.set("queued.max.messages.kbytes", &kbytes);
        let origin = Origin { group: group.clone(), topic: ingest.topic.clone() };
        let sink =
            config.open(&origin).map_err(|error| anyhow!("sink `{}`: {error}", config.name))?;
        let guarantee = sink.guarantee();
        let state = State { sink, prepared: false, revoked: Vec::new(), assigned: Vec::new() };
        let context = Context { topic: ingest.topic.clone(), state: Mutex::new(state) };
        let consumer: BaseConsumer<Context> =
            properties.client_config().create_with_context(context)?;
        consumer.subscribe(&[&ingest.topic])?;
        tracing::info!(sink = config.name, group, %guarantee, "sink starts");
        Ok(Self {
            consumer,
            config,
            topic: ingest.topic.as_str().into(),
            statistics,
            stop,
            dead_letter,
            batch: Vec::new(),
            bytes: 0,
            since: None,
            untold: Untold::default(),
            held: BTreeMap::new(),
        })
    }

    /// Until told to stop; what is held then is written if the sink takes it at once.
    ///
    /// # Errors
    /// The consumer cannot go on, or the dead-letter topic does not take what has to go there.
    pub(crate) fn run(mut self) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            self.poll()?;
            self.rebalanced()?;
            if self.untold.due.is_some_and(|due| due <= Instant::now()) {
                self.tell_kafka()?;
            }
            let due = self.since.is_some_and(|since| since.elapsed() >= self.config.interval);
            if due || self.bytes >= self.config.batch_bytes || self.batch.len() >= RECORDS_MAX {
                self.write_until_taken()?;
            }
        }
        let last = if self.batch.is_empty() { Ok(()) } else { self.attempt().map(|_| ()) };
        let _ = self.consumer.unassign();
        last
    }

    fn poll(&mut self) -> Result<()> {
        match self.consumer.poll(POLL_INTERVAL) {
            Some(Ok(message)) => {
                let payload = message.payload().unwrap_or_default().to_vec();
                let (partition, offset) = (message.partition(), message.offset());
                drop(message);
                if self.has(partition, offset, &payload)? {
                    return Ok(());
                }
                self.bytes += payload.len() as u64;
                self.since.get_or_insert_with(Instant::now);
                self.batch.push(SinkRecord { partition, offset, payload });
            }
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                return Err(error).context("the consumer of a sink cannot go on");
            }
            Some(Err(error)) => tracing::debug!(%error, sink = self.config.name, "poll"),
            None => {}
        }
        Ok(())
    }

    /// Whether the record is the last that the sink took of the partition, which is read again to see that it
    /// is still the same.
    fn has(&mut self, partition: i32, offset: i64, payload: &[u8]) -> Result<bool> {
        let last = |held: &Held| held.last.is_some() && offset == held.next - 1;
        if !self.held.get(&partition).is_some_and(last) {
            return Ok(false);
        }
        let Some(held) = self.held.remove(&partition) else { return Ok(false) };
        let found = Identity::of(payload).ok().map(|identity| identity.id());
        if found == held.last {
            return Ok(true);
        }
        let but = format!("another record has the offset {offset} now");
        self.begin_anew(partition, &held, &but)?;
        self.go_to(partition, Offset::Stored)?;
        Ok(true)
    }

    /// The topic is not the one that the sink has read: a group that is new begins with it.
    fn begin_anew(&self, partition: i32, held: &Held, but: &str) -> Result<()> {
        let (sink, topic, next) = (&self.config.name, &self.topic, held.next);
        if held.own {
            bail!(
                "the sink `{sink}` holds partition {partition} of `{topic}` up to offset {next}, but {but}: it \
                 was deleted and created anew; choose another `group.id` for the new topic, or another `name` \
                 for the sink if only the sink is older"
            );
        }
        self.consumer.context().state().sink.begin_anew(partition);
        Ok(())
    }

    fn go_to(&self, partition: i32, offset: Offset) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        self.consumer.incremental_unassign(&list)?;
        list.set_partition_offset(&self.topic, partition, offset)?;
        self.consumer.incremental_assign(&list)?;
        Ok(())
    }

    /// After a rebalance: forgets what is another's now, and goes to where the sink ends.
    fn rebalanced(&mut self) -> Result<()> {
        let (revoked, assigned) = {
            let mut state = self.consumer.context().state();
            (std::mem::take(&mut state.revoked), std::mem::take(&mut state.assigned))
        };
        if !revoked.is_empty() {
            self.batch.retain(|record| !revoked.contains(&record.partition));
            self.untold.ends.retain(|partition, _| !revoked.contains(partition));
            self.count_again();
        }
        self.go_to_positions(&assigned)
    }

    fn count_again(&mut self) {
        self.bytes = self.batch.iter().map(|record| record.payload.len() as u64).sum();
        if self.batch.is_empty() {
            self.since = None;
        } else {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// A sink that knows its position better than Kafka is asked for it before anything is written.
    fn go_to_positions(&mut self, partitions: &[i32]) -> Result<()> {
        for &partition in partitions {
            let found = self.patiently(|state| state.sink.position(partition))?;
            let Some(held) = found else {
                // Interrupted: asked again, unless the partition is another's now.
                let ours = self.consumer.assignment()?;
                let left = partitions
                    .iter()
                    .filter(|partition| ours.find_partition(&self.topic, **partition).is_some());
                self.consumer.context().state().assigned.extend(left);
                return Ok(());
            };
            let Some(held) = held else { continue };
            let (start, end) = self
                .consumer
                .fetch_watermarks(&self.topic, partition, WATERMARK_TIMEOUT)
                .unwrap_or((0, i64::MAX));
            if held.next > end {
                let but = format!("the topic ends at {end}");
                self.begin_anew(partition, &held, &but)?;
                continue;
            }
            let again = held.last.is_some() && held.next > start;
            let from = held.next - i64::from(again);
            self.held.insert(partition, held);
            self.batch.retain(|record| record.partition != partition);
            self.count_again();
            self.go_to(partition, Offset::Offset(from))?;
        }
        Ok(())
    }

    /// Repeats `what` until the sink takes it; `None` when told to stop, or when partitions were taken
    /// away meanwhile.
    fn patiently<T>(
        &mut self,
        mut what: impl FnMut(&mut State) -> Result<T, NotNow>,
    ) -> Result<Option<T>> {
        let (mut pause, pause_max) = PAUSE;
        loop {
            let outcome = self.consumer.context().state().ready().and_then(&mut what);
            let error = match outcome {
                Ok(done) => return Ok(Some(done)),
                Err(error) => error,
            };
            let before = self.statistics.retries.fetch_add(1, Ordering::Relaxed);
            if pause == PAUSE.0 || before.is_multiple_of(100) {
                tracing::warn!(sink = self.config.name, %error, "the sink takes nothing; trying on");
            }
            if !self.wait(pause)? {
                return Ok(None);
            }
            pause = (pause * 2).min(pause_max);
        }
    }

    /// Stays in the group without reading; `false` when there is a reason to look around.
    fn wait(&mut self, pause: Duration) -> Result<bool> {
        let assignment = self.consumer.assignment()?;
        self.consumer.pause(&assignment)?;
        let until = Instant::now() + pause;
        let mut go_on = true;
        while Instant::now() < until && go_on {
            // What was handed over before the pause took hold waits in the next batch.
            self.poll()?;
            let rebalanced = {
                let state = self.consumer.context().state();
                !state.assigned.is_empty() || !state.revoked.is_empty()
            };
            go_on = !rebalanced && !self.stop.load(Ordering::Relaxed);
        }
        let assignment = self.consumer.assignment()?;
        self.consumer.resume(&assignment)?;
        Ok(go_on)
    }

    fn write_until_taken(&mut self) -> Result<()> {
        while !self.batch.is_empty() && !self.stop.load(Ordering::Relaxed) {
            if self.attempt()? {
                return Ok(());
            }
            self.rebalanced()?;
        }
        Ok(())
    }

    /// Writes the batch, sends what was refused to the dead letters, and moves the offsets; `false` if
    /// it was interrupted.
    fn attempt(&mut self) -> Result<bool> {
        let batch = std::mem::take(&mut self.batch);
        let written = self.patiently(|state| state.sink.write(&batch))?;
        let Some(refused) = written else {
            self.batch.splice(0..0, batch);
            self.count_again();
            return Ok(false);
        };
        for one in &refused {
            let record = &batch[one.index];
            let &SinkRecord { partition, offset, .. } = record;
            let place = Place { topic: self.topic.clone(), partition, offset };
            let reason = format!("{}: {}", self.config.name, one.reason);
            self.dead_letter.send(place, &reason, &record.payload)?;
        }
        self.dead_letter.flush()?;
        self.statistics.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
        let taken = (batch.len() - refused.len()) as u64;
        self.statistics.written.fetch_add(taken, Ordering::Relaxed);
        for record in &batch {
            self.untold.ends.insert(record.partition, record.offset + 1);
        }
        self.tell_kafka()?;
        self.count_again();
        Ok(true)
    }

    /// Commits the offsets behind what the sink has; what Kafka does not take is told again.
    fn tell_kafka(&mut self) -> Result<()> {
        self.untold.due = None;
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in &self.untold.ends {
            offsets.add_partition_offset(&self.topic, *partition, Offset::Offset(*next))?;
        }
        if offsets.count() == 0 {
            return Ok(());
        }
        match self.consumer.commit(&offsets, CommitMode::Sync) {
            Ok(()) => self.untold.ends.clear(),
            Err(error) => {
                // Whoever reads on from the old offset repeats the batch, which the sink's guarantee covers.
                tracing::warn!(sink = self.config.name, %error, "offsets were not committed; they are sent again");
                self.untold.due = Some(Instant::now() + TELL_KAFKA_PAUSE);
            }
        }
        Ok(())
    }
}

impl State {
    fn ready(&mut self) -> Result<&mut Self, NotNow> {
        if !self.prepared {
            self.sink.prepare()?;
            self.prepared = true;
        }
        Ok(self)
    }
}
