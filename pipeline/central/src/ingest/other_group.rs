//! A group that the table does not know yet reads a topic from its first record on. That is wanted of one that
//! was made anew; of one that another group has stored, it would store every event once more.

use super::config::IngestConfig;
use anyhow::{Context as _, Result, bail};
use logweir_service::beat;
use logweir_store::PartitionWriter;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// How long the record is waited for by which the topic is known.
const TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Refuses to begin with a partition whose records, of which `start..end` are there, another group has
/// stored, as the last of them shows: it is judged as that group itself would judge it.
///
/// # Errors
/// Which group that is; or it cannot be told.
pub(super) fn refuse(
    config: &IngestConfig,
    writer: &PartitionWriter,
    partition: i32,
    (start, end): (i64, i64),
) -> Result<()> {
    let others = writer.of_other_groups().context("cannot read what other groups have stored")?;
    for (group, other) in others {
        let Some(position) = other.position().filter(|at| start < *at && *at <= end) else {
            continue;
        };
        let (topic, own) = (&config.topic, &config.group);
        let last = record_at(config, partition, position - 1).with_context(|| {
            format!(
                "`{group}` has stored partition {partition} of `{topic}` in this table, and whether it is \
                 still the same topic cannot be told"
            )
        })?;
        if other.knows(&last) {
            bail!(
                "the table holds partition {partition} of `{topic}` up to offset {position}, stored with \
                 `group.id: {group}`; with `group.id: {own}` every event that is still there would be stored \
                 once more: set `group.id: {group}` again, or give `{own}` a table of its own (`store.path`)"
            );
        }
    }
    Ok(())
}

/// The first record from that offset on.
fn record_at(config: &IngestConfig, partition: i32, offset: i64) -> Result<Vec<u8>> {
    let mut properties = config.kafka.clone();
    properties.set("queued.min.messages", "1");
    let consumer = logweir_kafka::consumer(&properties)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&config.topic, partition, Offset::Offset(offset))?;
    consumer.assign(&assignment)?;
    let until = Instant::now() + TIMEOUT;
    while Instant::now() < until {
        beat();
        match consumer.poll(POLL_INTERVAL) {
            Some(Ok(message)) => return Ok(message.payload().unwrap_or_default().to_vec()),
            Some(Err(error)) => tracing::debug!(%error, "while a record is read to know its topic"),
            None => {}
        }
    }
    bail!("the record at offset {offset} did not come within {} s", TIMEOUT.as_secs())
}
