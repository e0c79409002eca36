//! The topics: which ones there are, how they are set up, and making them so.
//!
//! Creating is idempotent: a topic that exists is compared with what was asked for and the
//! differences are told, never changed in silence, because a partition count that changes sends
//! sources to other partitions.

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::time::Duration;

/// How long one request to the cluster may take before it counts as unreachable.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// One topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    /// At least 1.
    pub partitions: u32,
    /// At least 1, at most the number of brokers.
    pub replication_factor: u32,
    /// Topic configuration under Kafka's own names.
    pub config: Vec<(String, String)>,
}

/// What became of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Created,
    /// It was there already; each difference as (setting, wanted, found).
    Exists {
        differences: Vec<(String, String, String)>,
    },
}

/// The cluster could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error(
        "cannot reach the cluster: {0}; check `bootstrap.servers` and that a broker runs there"
    )]
    Unreachable(KafkaError),
    #[error("cannot create topic `{topic}`: {reason}")]
    Refused { topic: String, reason: String },
    #[error(transparent)]
    Client(KafkaError),
}

/// A connection for administering topics.
pub struct Topics {
    admin: AdminClient<DefaultClientContext>,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Topics")
    }
}

impl Topics {
    /// # Errors
    /// A property that librdkafka refuses.
    pub fn connect(config: &ClientConfig) -> Result<Self, TopicError> {
        Ok(Self { admin: config.create().map_err(TopicError::Client)? })
    }

    /// The number of brokers of the cluster.
    ///
    /// # Errors
    /// No broker answers within [`REQUEST_TIMEOUT`].
    pub fn brokers(&self) -> Result<usize, TopicError> {
        let metadata = self
            .admin
            .inner()
            .fetch_metadata(None, REQUEST_TIMEOUT)
            .map_err(TopicError::Unreachable)?;
        Ok(metadata.brokers().len())
    }

    /// Partitions and replication of a topic; `None` if there is no such topic.
    ///
    /// # Errors
    /// No broker answers within [`REQUEST_TIMEOUT`].
    pub fn shape(&self, topic: &str) -> Result<Option<(u32, u32)>, TopicError> {
        // All topics are asked for: asking for one by name may create it.
        let metadata = self
            .admin
            .inner()
            .fetch_metadata(None, REQUEST_TIMEOUT)
            .map_err(TopicError::Unreachable)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.map(|topic| {
            let partitions = topic.partitions();
            let replicas = partitions.first().map_or(0, |partition| partition.replicas().len());
            (partitions.len() as u32, replicas as u32)
        }))
    }

    /// Creates the topic if it is not there, and says what differs if it is.
    ///
    /// # Errors
    /// The cluster is unreachable or refuses, with its reason.
    pub fn ensure(&self, spec: &TopicSpec) -> Result<Outcome, TopicError> {
        if let Some(shape) = self.shape(&spec.name)? {
            return Ok(Outcome::Exists { differences: self.differences(spec, shape) });
        }
        let replication = TopicReplication::Fixed(spec.replication_factor as i32);
        let mut topic = NewTopic::new(&spec.name, spec.partitions as i32, replication);
        for (name, value) in &spec.config {
            topic = topic.set(name, value);
        }
        let refused = |reason: String| TopicError::Refused { topic: spec.name.clone(), reason };
        let results = block_on(self.admin.create_topics([&topic], &options()))
            .map_err(|error| refused(error.to_string()))?;
        match results.into_iter().next() {
            Some(Ok(_)) => Ok(Outcome::Created),
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
                Ok(Outcome::Exists { differences: Vec::new() })
            }
            Some(Err((_, code))) => Err(refused(code.to_string())),
            None => Err(refused("the cluster gave no answer".into())),
        }
    }

    fn differences(&self, spec: &TopicSpec, shape: (u32, u32)) -> Vec<(String, String, String)> {
        let mut differences = Vec::new();
        let mut compare = |name: &str, wanted: String, found: String| {
            if wanted != found {
                differences.push((name.to_owned(), wanted, found));
            }
        };
        compare("partitions", spec.partitions.to_string(), shape.0.to_string());
        compare("replication.factor", spec.replication_factor.to_string(), shape.1.to_string());
        let resource = ResourceSpecifier::Topic(&spec.name);
        let described = block_on(self.admin.describe_configs([&resource], &options()));
        if let Ok(Some(Ok(found))) = described.map(|list| list.into_iter().next()) {
            for (name, wanted) in &spec.config {
                let value = found.get(name).and_then(|entry| entry.value.clone());
                compare(name, wanted.clone(), value.unwrap_or_default());
            }
        }
        differences
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}
