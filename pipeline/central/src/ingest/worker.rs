//! One worker: one consumer on one thread, and a writer for each partition that it has.
//!
//! The rebalance callback runs inside `poll`, on the worker's own thread, so the state that both
//! share is never contended; the mutex only proves it to the compiler. It must not be held while
//! polling.

use super::config::IngestConfig;
use super::dead_letter::{DeadLetter, Place};
use super::lag::now_ms;
use super::other_group;
use super::statistics::{Statistics, Taken};
use anyhow::{Context as _, Result, anyhow, bail};
use logweir_kafka::token;
use logweir_kafka::trouble::{Explanation, Operation};
use logweir_service::beat;
use logweir_store::{CommitError, Counts, PartitionWriter, Pushed, Table};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The longest that a worker waits for records before it looks at its flush interval.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often a worker tells what it holds.
const TELL_INTERVAL: Duration = Duration::from_millis(250);
/// Between two reasons that are told.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);
/// How long Kafka is left alone after it did not take the offsets of the group.
const TELL_KAFKA_PAUSE: Duration = Duration::from_secs(1);
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Worker {
    consumer: BaseConsumer<Context>,
    config: Arc<IngestConfig>,
    stop: Arc<AtomicBool>,
    /// Why no records arrive, as it was told last, and when.
    trouble: Option<(String, Instant)>,
}

/// What the consumer's callbacks need: the state of the worker.
struct Context {
    state: Mutex<State>,
    /// What the client last said of its connections.
    said: Mutex<String>,
}

struct State {
    index: usize,
    config: Arc<IngestConfig>,
    table: Arc<Table>,
    statistics: Arc<Statistics>,
    dead_letter: DeadLetter,
    partitions: BTreeMap<i32, Partition>,
    /// Bytes of records, of all partitions, since the last flush.
    held: u64,
    /// When the first record came that is held.
    oldest: Option<Instant>,
    told: Instant,
    /// When Kafka is to be told again where the partitions are: it did not take it, or they are new.
    tell_kafka_at: Option<Instant>,
    /// An error inside a callback, for the loop to end with.
    failure: Option<anyhow::Error>,
}

/// Why an ingest ends whose topic is not the one that its table has read.
pub(super) fn created_anew(
    topic: &str,
    (partition, position): (i32, i64),
    but: &str,
) -> anyhow::Error {
    anyhow!(
        "the table holds partition {partition} of `{topic}` up to offset {position}, but {but}: it was \
         deleted and created anew; choose another `group.id` for the new topic"
    )
}

/// A partition of a commit: what its records became, and the offset behind them.
type Done = (i32, Counts, i64);

struct Partition {
    writer: PartitionWriter,
    taken: Taken,
    /// The offset of the next record, if none is missing; `None` before the first of a new group.
    expected: Option<i64>,
    /// What was not there since the last flush: from which offset, and up to which.
    leaps: Vec<(i64, i64)>,
}

impl Partition {
    /// Takes the records as far as this offset for gone, if they have not come.
    fn reach(&mut self, offset: i64) {
        if let Some(expected) = self.expected.filter(|expected| *expected < offset) {
            self.leaps.push((expected, offset));
        }
        self.expected = self.expected.max(Some(offset));
    }

    /// Tells apart why records were not there: those in front of `first`, the first record of the topic,
    /// have expired; the others were compacted, or are the marks of transactions.
    fn expire(&mut self, first: i64) -> Vec<(i64, i64)> {
        let leaps = std::mem::take(&mut self.leaps).into_iter();
        let expired = leaps.map(|(from, until)| (from, until.min(first)));
        let expired: Vec<_> = expired.filter(|(from, until)| from < until).collect();
        expired.iter().for_each(|(from, until)| self.writer.expire(*from, *until));
        expired
    }
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

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        // That all brokers are down says nothing about why.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            reason.clone_into(&mut self.said.lock().unwrap_or_else(|lock| lock.into_inner()));
        }
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::info!(%error, "Kafka did not take the offsets of the group; they are sent again");
            self.state().tell_kafka_at = Some(Instant::now() + TELL_KAFKA_PAUSE);
        }
    }

    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let mut state = self.state();
        let outcome = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                state.assign(consumer, partitions)
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                state.revoke(consumer, partitions)
            }
            other => Err(anyhow!("rebalance failed: {}", RDKafkaErrorCode::from(other))),
        };
        if let Err(error) = outcome {
            state.failure.get_or_insert(error);
        }
    }
}

impl Worker {
    pub(super) fn new(
        index: usize,
        config: Arc<IngestConfig>,
        table: Arc<Table>,
        statistics: Arc<Statistics>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let mut properties = config.kafka.clone();
        if let Some(instance) = config.kafka.get("group.instance.id") {
            let own = format!("{instance}-{index}");
            properties.set("group.instance.id", &own);
        }
        if properties.get("queued.max.messages.kbytes").is_none() {
            let kbytes = (config.fetched_max() >> 10).to_string();
            properties.set("queued.max.messages.kbytes", &kbytes);
        }
        let dead_letter = DeadLetter::new(&config.kafka, statistics.clone());
        let state = State {
            index,
            config: config.clone(),
            table,
            statistics,
            dead_letter,
            partitions: BTreeMap::new(),
            held: 0,
            oldest: None,
            told: Instant::now(),
            tell_kafka_at: None,
            failure: None,
        };
        let context = Context { state: Mutex::new(state), said: Mutex::default() };
        let consumer: BaseConsumer<Context> =
            properties.client_config().create_with_context(context)?;
        consumer.subscribe(&[&config.topic])?;
        Ok(Self { consumer, config, stop, trouble: None })
    }

    /// Polls until told to stop, then writes what is held and leaves the group.
    pub(super) fn run(mut self) -> Result<()> {
        let outcome = self.poll_until_stopped();
        let last = match outcome {
            Ok(()) => self.consumer.context().state().flush(&self.consumer),
            Err(error) => Err(error),
        };
        // What the client still holds was never stored; without this it would be handed over and
        // thrown away while the consumer closes.
        self.consumer.context().state().partitions.clear();
        let _ = self.consumer.unassign();
        last
    }

    fn poll_until_stopped(&mut self) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            match self.consumer.poll(POLL_INTERVAL) {
                Some(Ok(message)) => {
                    let payload = message.payload().unwrap_or_default();
                    let place = (message.partition(), message.offset());
                    let time_ms = message.timestamp().to_millis();
                    self.consumer.context().state().push(
                        &self.consumer,
                        place,
                        time_ms,
                        payload,
                    )?;
                    self.reached();
                }
                Some(Err(error)) => {
                    beat();
                    self.note(error)?;
                }
                None => beat(),
            }
            let mut state = self.consumer.context().state();
            if let Some(failure) = state.failure.take() {
                return Err(failure);
            }
            let now = Instant::now();
            if state.tell_kafka_at.is_some_and(|at| at <= now) {
                state.tell_kafka_at = None;
                state.tell_kafka(&self.consumer);
            }
            let Some(since) = state.oldest else { continue };
            if now - since >= self.config.flush_interval {
                state.flush(&self.consumer)?;
            } else if now - state.told >= TELL_INTERVAL {
                state.tell();
            }
        }
        Ok(())
    }

    /// Says what keeps the records away, each reason once a minute; ends on what cannot heal.
    fn note(&mut self, error: KafkaError) -> Result<()> {
        if let KafkaError::MessageConsumptionFatal(code) = error {
            if code == RDKafkaErrorCode::UnreleasedInstanceId {
                bail!(
                    "`group.instance.id` is still that of a process that was killed, until \
                     `consumer.session.timeout.ms` of the group is over, or of one that runs: start \
                     this one again, or give it another"
                );
            }
            return Err(error).context("the consumer cannot go on");
        }
        let topic = &self.config.topic;
        let properties = &self.config.kafka;
        let why = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Explanation {
                reason: format!("there is no topic {topic}"),
                remedy: "create it with `logweir topics create`".to_owned(),
            },
            Some(RDKafkaErrorCode::UnknownPartition) => {
                self.look_for_partitions()?;
                Explanation {
                    reason: format!("a partition of {topic} is gone"),
                    remedy: "was it deleted and created anew? choose another `group.id` then"
                        .to_owned(),
                }
            }
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed,
            ) => Explanation::forbidden(Operation::Read, topic, properties),
            _ => {
                let said = self.consumer.context().said.lock();
                let said = said.unwrap_or_else(|lock| lock.into_inner()).clone();
                let said = if said.is_empty() { error.to_string() } else { said };
                Explanation::of_connection(&said, properties)
            }
        };
        let told = self
            .trouble
            .as_ref()
            .is_some_and(|(reason, at)| *reason == why.reason || at.elapsed() < TROUBLE_INTERVAL);
        if !told {
            let Explanation { reason, remedy } = why;
            tracing::warn!(topic, reason, help = remedy, "no records arrive; trying on");
            self.trouble = Some((reason, Instant::now()));
        }
        Ok(())
    }

    /// Partitions are never taken out of a topic: one of fewer is another topic of the name.
    fn look_for_partitions(&self) -> Result<()> {
        let topic = &self.config.topic;
        let Ok(metadata) = self.consumer.fetch_metadata(Some(topic), WATERMARK_TIMEOUT) else {
            return Ok(());
        };
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let count = found.map_or(0, |found| found.partitions().len());
        let state = self.consumer.context().state();
        let last = state.partitions.last_key_value();
        if let Some((&partition, Partition { writer, .. })) = last
            && (1..=partition).contains(&(count as i32))
        {
            let position = writer.position().unwrap_or(0);
            return Err(created_anew(topic, (partition, position), "there is no such partition"));
        }
        Ok(())
    }

    fn reached(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!("records arrive again");
        }
    }
}

impl State {
    /// Takes over partitions: each from where the table ends.
    fn assign(
        &mut self,
        consumer: &BaseConsumer<Context>,
        partitions: &TopicPartitionList,
    ) -> Result<()> {
        let mut assignment = TopicPartitionList::new();
        for element in partitions.elements() {
            let partition = element.partition();
            let offset = self.open(consumer, partition)?;
            assignment.add_partition_offset(&self.config.topic, partition, offset)?;
            tracing::info!(worker = self.index, partition, ?offset, "partition assigned");
        }
        consumer.incremental_assign(&assignment)?;
        // Whoever had them before may have died before it told Kafka.
        self.tell_kafka_at = Some(Instant::now() + TELL_KAFKA_PAUSE);
        Ok(())
    }

    /// Writes what is held of the partitions, then lets go of them.
    fn revoke(
        &mut self,
        consumer: &BaseConsumer<Context>,
        partitions: &TopicPartitionList,
    ) -> Result<()> {
        // A lost assignment may belong to another worker already: its commit decides, and ours, if
        // it came too late, is refused by the table.
        let flushed = self.flush(consumer);
        for element in partitions.elements() {
            let partition = element.partition();
            let lost = self.partitions.remove(&partition);
            self.statistics.update(partition, |statistics| {
                statistics.assigned = false;
                // Only after an error is anything left.
                if let Some(mut partition) = lost {
                    partition.taken.give_back(statistics);
                }
            });
            tracing::info!(worker = self.index, partition, "partition revoked");
        }
        consumer.incremental_unassign(partitions)?;
        flushed
    }

    /// A writer for the partition, and where its consumer has to begin: at the last record that the table
    /// has taken, if it is still there, to see that it is still the same.
    fn open(&mut self, consumer: &BaseConsumer<Context>, partition: i32) -> Result<Offset> {
        let (group, topic) = (&self.config.group, &self.config.topic);
        let writer = PartitionWriter::open(self.table.clone(), group, topic, partition)
            .with_context(|| {
                format!("cannot read the table's position of partition {partition}")
            })?;
        let position = writer.position();
        let watermarks = consumer.fetch_watermarks(topic, partition, WATERMARK_TIMEOUT).ok();
        let expected = position.or(watermarks.map(|(start, _)| start));
        let (start, end) = watermarks.unwrap_or((0, i64::MAX));
        if position.is_none() {
            other_group::refuse(&self.config, &writer, partition, (start, end))?;
        }
        if let Some(position) = position.filter(|position| *position > end) {
            let but = format!("the topic ends at {end}");
            return Err(created_anew(topic, (partition, position), &but));
        }
        let taken = Taken::default();
        let mut partition_now = Partition { writer, taken, expected, leaps: Vec::new() };
        if watermarks.is_some() {
            partition_now.reach(start);
        }
        if !partition_now.leaps.is_empty() {
            // To be told and written even if no record comes.
            self.oldest.get_or_insert_with(Instant::now);
        }
        let before = self.partitions.insert(partition, partition_now);
        let index = self.index;
        self.statistics.update(partition, |statistics| {
            if let Some(mut before) = before {
                before.taken.give_back(statistics);
            }
            statistics.worker = index;
            statistics.assigned = true;
            statistics.take_up(position, start);
        });
        Ok(match position {
            Some(position) if position > start => Offset::Offset(position - 1),
            Some(_) => Offset::Offset(start),
            None => Offset::Beginning,
        })
    }

    fn push(
        &mut self,
        consumer: &BaseConsumer<Context>,
        (partition, offset): (i32, i64),
        time_ms: Option<i64>,
        payload: &[u8],
    ) -> Result<()> {
        let Some(of) = self.partitions.get_mut(&partition) else {
            // Handed over by the client after the partition was revoked: its new owner reads it.
            return Ok(());
        };
        let writer = &of.writer;
        if let Some(position) = writer.position().filter(|position| offset < *position) {
            if writer.knows(payload) {
                return Ok(());
            }
            let but = format!("another record has the offset {offset} now");
            return Err(created_anew(&self.config.topic, (partition, position), &but));
        }
        of.reach(offset);
        of.expected = Some(offset.saturating_add(1));
        let Partition { writer, taken, .. } = of;
        taken.receive(time_ms);
        if let Pushed::Undecodable { word, reason } = writer.push(offset, payload) {
            let place = Place { topic: self.config.topic.as_str().into(), partition, offset };
            self.dead_letter.send(place, &format!("{word}: {reason}"), payload)?;
            taken.bury(word);
        }
        self.oldest.get_or_insert_with(Instant::now);
        self.held += payload.len() as u64;
        let full = writer.bytes() as u64 >= self.config.flush_bytes;
        if full || self.held >= self.config.held_max() {
            self.flush(consumer)?;
        }
        Ok(())
    }

    /// Tells what was received and is held.
    fn tell(&mut self) {
        self.told = Instant::now();
        for (id, Partition { writer, taken, .. }) in &mut self.partitions {
            self.statistics.update(*id, |statistics| taken.tell(writer.bytes() as u64, statistics));
        }
    }

    /// Seals every writer and commits all in one table commit, then tells Kafka for lag tools.
    fn flush(&mut self, consumer: &BaseConsumer<Context>) -> Result<()> {
        beat();
        let began = Instant::now();
        self.oldest = None;
        self.held = 0;
        self.dead_letter.flush()?;
        self.expire(consumer);
        let mut batches = Vec::new();
        for Partition { writer, .. } in self.partitions.values_mut() {
            if writer.has_pending() {
                batches.push(writer.seal().context("cannot write to the table")?);
            }
        }
        if batches.is_empty() {
            return Ok(());
        }
        let done: Vec<Done> = batches
            .iter()
            .map(|batch| (batch.partition(), batch.counts(), batch.next_offset()))
            .collect();
        match self.table.commit(batches) {
            Ok(()) => {}
            Err(CommitError::Fenced { partition, .. }) => {
                tracing::warn!(
                    worker = self.index,
                    partition,
                    "another worker has written this partition; what was held of it is dropped here"
                );
                self.statistics.refused();
                return self.reopen_all(consumer);
            }
            Err(error @ CommitError::Aged { .. }) => {
                tracing::warn!(
                    worker = self.index,
                    %error,
                    "what was held is dropped here and read again: has this process stood still?"
                );
                self.statistics.refused();
                return self.reopen_all(consumer);
            }
            Err(error) => return Err(error).context("cannot commit to the table"),
        }
        let rows = done.iter().map(|(_, counts, _)| counts.rows).sum();
        self.statistics.committed(now_ms(), rows, began.elapsed());
        for (id, counts, next) in &done {
            if let Some(Partition { taken, .. }) = self.partitions.get_mut(id) {
                self.statistics.update(*id, |statistics| taken.commit(*counts, *next, statistics));
            }
        }
        self.tell_kafka(consumer);
        Ok(())
    }

    /// Notes what Kafka removed before it was read. If Kafka does not say what it has, all that was not
    /// there counts as removed: nothing is missing in silence.
    fn expire(&mut self, consumer: &BaseConsumer<Context>) {
        let topic = &self.config.topic;
        for (partition, of) in &mut self.partitions {
            if of.leaps.is_empty() {
                continue;
            }
            let watermarks = consumer.fetch_watermarks(topic, *partition, WATERMARK_TIMEOUT);
            for (from, until) in of.expire(watermarks.map_or(i64::MAX, |(first, _)| first)) {
                tracing::warn!(
                    topic,
                    partition,
                    from,
                    until,
                    help = "raise `retention.ms` of the topic; `logweir audit` keeps telling it",
                    "Kafka has removed {} records that the table does not have",
                    until - from
                );
            }
        }
    }

    /// After a refused commit nothing that is held can be trusted: every partition starts again from
    /// where the table ends.
    fn reopen_all(&mut self, consumer: &BaseConsumer<Context>) -> Result<()> {
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for partition in partitions {
            let offset = self.open(consumer, partition)?;
            consumer.seek(&self.config.topic, partition, offset, WATERMARK_TIMEOUT)?;
        }
        Ok(())
    }

    /// Tells Kafka where the table ends, for those who look at the group's lag. Nothing depends on it;
    /// what is not taken is told again.
    fn tell_kafka(&mut self, consumer: &BaseConsumer<Context>) {
        let mut offsets = TopicPartitionList::new();
        for (partition, Partition { writer, .. }) in &self.partitions {
            if let Some(next) = writer.position() {
                let next = Offset::Offset(next);
                let _ = offsets.add_partition_offset(&self.config.topic, *partition, next);
            }
        }
        if offsets.count() == 0 {
            return;
        }
        if let Err(error) = consumer.commit(&offsets, CommitMode::Async) {
            tracing::debug!(%error, "the group's offsets were not committed to Kafka");
            self.tell_kafka_at = Some(Instant::now() + TELL_KAFKA_PAUSE);
        }
    }
}
