//! Reading a small topic from its beginning and onward, as long as the program runs.
//!
//! No group, nothing is committed: each start reads everything that the topic still has. The broker
//! holds a request back until there is something new, so that a silent topic costs a request every
//! [`FETCH_WAIT`].

use crate::properties::{Properties, Role};
use crate::{Asking, consumer};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the broker waits for something new.
const FETCH_WAIT: Duration = Duration::from_secs(20);
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// Memory is for this much that was fetched and not yet taken, and for one fetch.
const QUEUED_KBYTES_MAX: u32 = 4096;

/// A record of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Vec<u8>,
    /// `None` deletes the key.
    pub value: Option<Vec<u8>>,
}

/// Why a topic cannot be followed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FollowError {
    #[error("cannot make a Kafka client: {0}")]
    Create(KafkaError),
    #[error("no answer from the cluster: {0}")]
    Unreachable(KafkaError),
    #[error("there is no such topic")]
    NoTopic,
    #[error("this client may not read the topic")]
    Forbidden,
}

/// A reader of a topic.
pub struct Follower {
    consumer: Asking,
    /// What the partitions held at the start and is not read yet: where each ended.
    history: BTreeMap<i32, i64>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Follower")
    }
}

impl Follower {
    /// Begins at the first record of `topic`; nothing is created by asking.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub fn start(properties: &Properties, topic: &str) -> Result<Self, FollowError> {
        let consumer = consumer(&follower_properties(properties)).map_err(FollowError::Create)?;
        let metadata = consumer
            .fetch_metadata(Some(topic), METADATA_TIMEOUT)
            .map_err(FollowError::Unreachable)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let found = found.ok_or(FollowError::NoTopic)?;
        if found.error().map(RDKafkaErrorCode::from)
            == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
        {
            return Err(FollowError::Forbidden);
        }
        let mut assignment = TopicPartitionList::new();
        let mut history = BTreeMap::new();
        for partition in found.partitions() {
            let (first, end) = consumer
                .fetch_watermarks(topic, partition.id(), METADATA_TIMEOUT)
                .map_err(FollowError::Unreachable)?;
            if first < end {
                history.insert(partition.id(), end);
            }
            assignment
                .add_partition_offset(topic, partition.id(), Offset::Beginning)
                .map_err(FollowError::Create)?;
        }
        if assignment.count() == 0 {
            return Err(FollowError::NoTopic);
        }
        consumer.assign(&assignment).map_err(FollowError::Create)?;
        Ok(Self { consumer, history })
    }

    /// Whether everything is read that the topic held at the start: until then a record may be followed
    /// by another with its key that has long taken its place.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.history.is_empty()
    }

    /// The next record, if one comes within `wait`. Trouble that passes is waited for.
    ///
    /// # Errors
    /// The topic is gone, or may not be read any more.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Record>, FollowError> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => {
                self.history.retain(|partition, end| {
                    *partition != message.partition() || message.offset() + 1 < *end
                });
                Ok(Some(Record {
                    key: message.key().unwrap_or_default().to_vec(),
                    value: message.payload().map(<[u8]>::to_vec),
                }))
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Err(FollowError::Forbidden),
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
                ) => Err(FollowError::NoTopic),
                // Of a group nothing is wanted but the name, without which the client does not read.
                _ => {
                    tracing::debug!(%error, "while following a topic");
                    Ok(None)
                }
            },
        }
    }
}

fn follower_properties(properties: &Properties) -> Properties {
    let mut properties = properties.for_role(Role::Consumer);
    for (name, value) in [
        ("group.id", "logweir-follow".to_owned()),
        ("enable.auto.commit", "false".to_owned()),
        ("auto.offset.reset", "earliest".to_owned()),
        ("allow.auto.create.topics", "false".to_owned()),
        ("fetch.wait.max.ms", FETCH_WAIT.as_millis().to_string()),
        ("fetch.min.bytes", "1".to_owned()),
        ("queued.min.messages", "1".to_owned()),
        ("queued.max.messages.kbytes", QUEUED_KBYTES_MAX.to_string()),
        ("max.partition.fetch.bytes", "1048576".to_owned()),
    ] {
        properties.set(name, &value);
    }
    properties
}
