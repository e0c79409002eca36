//! Compacted topics that commands ask: reading one from its beginning to where it ends now, without a
//! group, and putting a record there.

use super::cluster::ClusterArguments;
use anyhow::{Context as _, Result, anyhow, bail};
use logweir_kafka::Asking;
use logweir_kafka::producer::{DeliveryListener, Failure, Producer, Trouble};
use logweir_kafka::properties::Role;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The cluster may be silent for as long before it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long the cluster may take to acknowledge a record.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Hands every record of the topic to `take`, those of a partition in their order.
///
/// # Errors
/// There is no such topic, or it cannot be read.
pub(super) fn read_to_end(
    consumer: &Asking,
    name: &str,
    mut take: impl FnMut(&BorrowedMessage<'_>),
) -> Result<()> {
    let metadata = consumer
        .fetch_metadata(None, REQUEST_TIMEOUT)
        .context("cannot reach the cluster; check --bootstrap-server")?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    let Some(topic) = topic else {
        bail!("there is no topic `{name}`; `logweir topics create` makes it")
    };
    let mut assignment = TopicPartitionList::new();
    let mut open: BTreeMap<i32, i64> = BTreeMap::new();
    for partition in topic.partitions() {
        let (first, end) = consumer.fetch_watermarks(name, partition.id(), REQUEST_TIMEOUT)?;
        if first < end {
            open.insert(partition.id(), end);
            assignment.add_partition_offset(name, partition.id(), Offset::Beginning)?;
        }
    }
    consumer.assign(&assignment)?;
    let mut heard = Instant::now();
    while !open.is_empty() {
        let Some(message) = consumer.poll(POLL_INTERVAL) else {
            if heard.elapsed() > SILENCE_MAX {
                bail!("`{name}` cannot be read to its end: nothing came for {SILENCE_MAX:?}");
            }
            continue;
        };
        let message = match message {
            // The client looks for the coordinator of a group that nothing here is asked of.
            Err(error) if error.rdkafka_error_code() == Some(Code::GroupAuthorizationFailed) => {
                continue;
            }
            message => message.with_context(|| format!("cannot read `{name}`"))?,
        };
        heard = Instant::now();
        let end = open.get(&message.partition()).copied();
        if end.is_some_and(|end| message.offset() < end) {
            take(&message);
        }
        if end.is_some_and(|end| message.offset() + 1 >= end) {
            open.remove(&message.partition());
        }
    }
    Ok(())
}

/// Puts a record into the topic, or takes its key off if there is no payload; returns when the cluster has
/// acknowledged it.
///
/// # Errors
/// The record is not known to be there.
pub(super) fn put(
    cluster: &ClusterArguments,
    topic: &str,
    key: &[u8],
    payload: Option<&[u8]>,
) -> Result<()> {
    let properties = cluster.properties()?.for_role(Role::Producer);
    let heard = Arc::new(Heard::default());
    let producer = Producer::create(&properties, heard.clone())?;
    producer.send_keyed(topic, key, payload)?;
    if producer.flush(SEND_TIMEOUT) && !producer.is_broken() {
        return Ok(());
    }
    producer.abandon();
    let reason = heard.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    let reason = reason.unwrap_or_else(|| "the cluster does not acknowledge it".to_owned());
    Err(anyhow!("what was sent is not known to be in `{topic}`: {reason}"))
}

/// Why the message did not arrive, or what was said of the connection.
#[derive(Debug, Default)]
struct Heard(Mutex<Option<String>>);

impl DeliveryListener for Heard {
    fn delivered(&self, _: usize) {}
    fn failed(&self, failure: &Failure<'_>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.reason.clone());
    }
    fn trouble(&self, trouble: &Trouble<'_>) {
        if let Trouble::Error(reason) = trouble {
            let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            heard.get_or_insert_with(|| (*reason).to_owned());
        }
    }
}
