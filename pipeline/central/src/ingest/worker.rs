//! One worker: one consumer on one thread, and a writer for each partition that it has.
//!
//! The rebalance callback runs inside `poll`, on the worker's own thread, so the state that both
//! share is never contended; the mutex only proves it to the compiler. It must not be held while
//! polling.

use super::config::IngestConfig;
use super::dead_letter::DeadLetter;
use super::statistics::Statistics;
use anyhow::{Context as _, Result, anyhow, bail};
use logweir_service::beat;
use logweir_store::{CommitError, PartitionWriter, Pushed, Table};
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The longest that a worker waits for records before it looks at its flush interval.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Worker {
    consumer: BaseConsumer<Context>,
    config: Arc<IngestConfig>,
    stop: Arc<AtomicBool>,
    unreachable: bool,
}

/// What the consumer's callbacks need: the state of the worker.
struct Context {
    state: Mutex<State>,
}

struct State {
    index: usize,
    config: Arc<IngestConfig>,
    table: Arc<Table>,
    statistics: Arc<Statistics>,
    dead_letter: DeadLetter,
    writers: BTreeMap<i32, PartitionWriter>,
    oldest: Option<Instant>,
    /// An error inside a callback, for the loop to end with.
    failure: Option<anyhow::Error>,
}

impl Context {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|lock| lock.into_inner())
    }
}

impl ClientContext for Context {}

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
        let state = State {
            index,
            config: config.clone(),
            table,
            statistics,
            dead_letter: DeadLetter::new(&config.kafka),
            writers: BTreeMap::new(),
            oldest: None,
            failure: None,
        };
        let context = Context { state: Mutex::new(state) };
        let consumer: BaseConsumer<Context> =
            properties.client_config().create_with_context(context)?;
        consumer.subscribe(&[&config.topic])?;
        Ok(Self { consumer, config, stop, unreachable: false })
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
        self.consumer.context().state().writers.clear();
        let _ = self.consumer.unassign();
        last
    }

    fn poll_until_stopped(&mut self) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            match self.consumer.poll(POLL_INTERVAL) {
                Some(Ok(message)) => {
                    let payload = message.payload().unwrap_or_default();
                    let place = (message.partition(), message.offset());
                    self.consumer.context().state().push(&self.consumer, place, payload)?;
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
            if state.oldest.is_some_and(|since| since.elapsed() >= self.config.flush_interval) {
                state.flush(&self.consumer)?;
            }
        }
        Ok(())
    }

    /// Says once that the cluster is away, and once that it is back; ends on what cannot heal.
    fn note(&mut self, error: KafkaError) -> Result<()> {
        if let KafkaError::MessageConsumptionFatal(_) = error {
            return Err(error).context("the consumer cannot go on");
        }
        if let Some(RDKafkaErrorCode::UnknownTopicOrPartition) = error.rdkafka_error_code()
            && !self.unreachable
        {
            tracing::warn!(
                topic = self.config.topic,
                "the topic does not exist; create it with `logweir topics create`; waiting for it"
            );
            self.unreachable = true;
        } else if !self.unreachable {
            tracing::warn!(%error, "cannot reach the cluster; trying on");
            self.unreachable = true;
        }
        Ok(())
    }

    fn reached(&mut self) {
        if std::mem::take(&mut self.unreachable) {
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
            self.writers.remove(&partition);
            self.statistics.update(partition, |statistics| statistics.assigned = false);
            tracing::info!(worker = self.index, partition, "partition revoked");
        }
        consumer.incremental_unassign(partitions)?;
        flushed
    }

    /// A writer for the partition, and where its consumer has to begin.
    fn open(&mut self, consumer: &BaseConsumer<Context>, partition: i32) -> Result<Offset> {
        let (group, topic) = (&self.config.group, &self.config.topic);
        let writer = PartitionWriter::open(self.table.clone(), group, topic, partition)
            .with_context(|| {
                format!("cannot read the table's position of partition {partition}")
            })?;
        let position = writer.position();
        self.writers.insert(partition, writer);
        let (start, end) =
            consumer.fetch_watermarks(topic, partition, WATERMARK_TIMEOUT).unwrap_or((0, i64::MAX));
        if let Some(position) = position.filter(|position| *position > end) {
            bail!(
                "the table holds partition {partition} of `{topic}` up to offset {position}, but the \
                 topic ends at {end}: it was deleted and created anew; choose another `group.id` \
                 for the new topic"
            );
        }
        let index = self.index;
        self.statistics.update(partition, |statistics| {
            statistics.worker = index;
            statistics.assigned = true;
            statistics.stored_offset = position.unwrap_or(start);
        });
        Ok(position.map_or(Offset::Beginning, Offset::Offset))
    }

    fn push(
        &mut self,
        consumer: &BaseConsumer<Context>,
        (partition, offset): (i32, i64),
        payload: &[u8],
    ) -> Result<()> {
        let Some(writer) = self.writers.get_mut(&partition) else {
            // Handed over by the client after the partition was revoked: its new owner reads it.
            return Ok(());
        };
        if let Pushed::Undecodable(reason) = writer.push(offset, payload) {
            let place = (self.config.topic.as_str(), partition, offset);
            self.dead_letter.send(place, &reason, payload)?;
            self.statistics.update(partition, |statistics| statistics.undecodable += 1);
        }
        self.oldest.get_or_insert_with(Instant::now);
        if writer.bytes() as u64 >= self.config.flush_bytes {
            self.flush(consumer)?;
        }
        Ok(())
    }

    /// Seals every writer and commits all in one table commit, then tells Kafka for lag tools.
    fn flush(&mut self, consumer: &BaseConsumer<Context>) -> Result<()> {
        beat();
        self.oldest = None;
        self.dead_letter.flush()?;
        let mut batches = Vec::new();
        for writer in self.writers.values_mut().filter(|writer| writer.has_pending()) {
            batches.push(writer.seal().context("cannot write to the table")?);
        }
        if batches.is_empty() {
            return Ok(());
        }
        let counts: Vec<_> =
            batches.iter().map(|batch| (batch.partition(), batch.counts())).collect();
        let ends: Vec<_> =
            batches.iter().map(|batch| (batch.partition(), batch.next_offset())).collect();
        match self.table.commit(batches) {
            Ok(()) => {}
            Err(CommitError::Fenced { partition, .. }) => {
                tracing::warn!(
                    worker = self.index,
                    partition,
                    "another worker has written this partition; what was held of it is dropped here"
                );
                return self.reopen_all(consumer);
            }
            Err(error) => return Err(error).context("cannot commit to the table"),
        }
        for (partition, counts) in counts {
            self.statistics.update(partition, |statistics| {
                statistics.rows += counts.rows;
                statistics.duplicates += counts.duplicates;
            });
        }
        self.tell_kafka(consumer, &ends);
        Ok(())
    }

    /// After a refused commit nothing that is held can be trusted: every partition starts again from
    /// where the table ends.
    fn reopen_all(&mut self, consumer: &BaseConsumer<Context>) -> Result<()> {
        let partitions: Vec<i32> = self.writers.keys().copied().collect();
        for partition in partitions {
            let offset = self.open(consumer, partition)?;
            consumer.seek(&self.config.topic, partition, offset, WATERMARK_TIMEOUT)?;
        }
        Ok(())
    }

    fn tell_kafka(&self, consumer: &BaseConsumer<Context>, ends: &[(i32, i64)]) {
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in ends {
            self.statistics.update(*partition, |statistics| statistics.stored_offset = *next);
            let _ =
                offsets.add_partition_offset(&self.config.topic, *partition, Offset::Offset(*next));
        }
        if let Err(error) = consumer.commit(&offsets, CommitMode::Async) {
            tracing::debug!(%error, "the group's offsets were not committed to Kafka");
        }
    }
}
