//! The topics: which ones there are, how they are set up, and making them so.
//!
//! Creating is idempotent: a topic that exists is compared with what was asked for and the
//! differences are told, never changed in silence, because a partition count that changes sends
//! sources to other partitions.

use crate::properties::{Properties, Role};
use crate::token;
use crate::trouble::{Explanation, Operation};
use futures_executor::block_on;
use rdkafka::ClientContext;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{DefaultClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one request to the cluster may take before it counts as unreachable.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a changed setting may take to be told by every broker.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

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

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// In order of their numbers.
    pub partitions: Vec<PartitionState>,
    /// Configuration under Kafka's own names, in order.
    pub config: Vec<ConfigValue>,
}

/// Where the copies of a partition are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The broker that leads; negative while there is none.
    pub leader: i32,
    pub replicas: usize,
    /// Copies that have everything.
    pub in_sync: usize,
}

/// One setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigValue {
    pub name: String,
    pub value: String,
    /// Whether it was set for this topic, and is not the cluster's.
    pub own: bool,
}

impl TopicState {
    /// The fewest copies of a partition.
    #[must_use]
    pub fn replication_factor(&self) -> usize {
        self.partitions.iter().map(|partition| partition.replicas).min().unwrap_or(0)
    }

    /// A setting's value.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.config.iter().find(|entry| entry.name == name).map(|entry| entry.value.as_str())
    }
}

/// The cluster could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error("cannot reach the cluster: {0}")]
    Unreachable(Explanation),
    #[error("{0}")]
    Forbidden(Explanation),
    #[error("cannot {verb} topic `{topic}`: {reason}")]
    Refused { verb: &'static str, topic: String, reason: String },
    /// The client library fetches no token for its client that changes topics.
    #[error(
        "topics are not created, described or changed by token: log in another way \
         (`sasl.mechanism`, or a certificate), or use Kafka's own kafka-topics.sh"
    )]
    ByToken,
    #[error(transparent)]
    Client(KafkaError),
}

/// A connection for administering topics.
pub struct Topics {
    admin: AdminClient<DefaultClientContext>,
    /// Only asks: it hears why a connection fails, which the other one does not.
    asking: ThreadedProducer<Diary>,
    properties: Properties,
}

/// Keeps what the client last said of its connections: an answer that does not come has no reason of
/// its own.
#[derive(Debug, Default)]
struct Diary {
    last: Mutex<Option<String>>,
}

impl ClientContext for Diary {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, path: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::of_file(path)
    }

    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all brokers are down says nothing about why.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some(reason.to_owned());
        }
    }
}

impl ProducerContext for Diary {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Topics")
    }
}

impl Topics {
    /// # Errors
    /// A property that librdkafka refuses.
    pub fn connect(properties: &Properties) -> Result<Self, TopicError> {
        let mut config = properties.client_config();
        // Asking for a topic by its name must not make it.
        config.set("allow.auto.create.topics", "false");
        let admin = config.create().map_err(TopicError::Client)?;
        // It sends nothing, and asks for no right to.
        config.set("enable.gapless.guarantee", "false").set("enable.idempotence", "false");
        let asking = config.create_with_context(Diary::default()).map_err(TopicError::Client)?;
        Ok(Self { admin, asking, properties: properties.clone() })
    }

    fn admin(&self) -> Result<&AdminClient<DefaultClientContext>, TopicError> {
        match self.properties.token_file() {
            Some(_) => Err(TopicError::ByToken),
            None => Ok(&self.admin),
        }
    }

    /// What is known about the cluster, or about one topic.
    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, TopicError> {
        let client = self.asking.client();
        client.fetch_metadata(topic, REQUEST_TIMEOUT).map_err(|error| {
            let diary = client.context().last.lock().unwrap_or_else(PoisonError::into_inner);
            let said = diary.clone().unwrap_or_else(|| error.to_string());
            TopicError::Unreachable(Explanation::of_connection(&said, &self.properties))
        })
    }

    /// A topic of `metadata`; `None` if there is none of that name.
    fn find<'m>(
        &self,
        metadata: &'m Metadata,
        topic: &str,
    ) -> Result<Option<&'m MetadataTopic>, TopicError> {
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                let operation = match self.properties.role() {
                    Role::Producer => Operation::Write,
                    Role::Consumer => Operation::Read,
                };
                let why = Explanation::forbidden(operation, topic, &self.properties);
                Err(TopicError::Forbidden(why))
            }
            _ => Ok(Some(found).filter(|topic| !topic.partitions().is_empty())),
        }
    }

    /// The number of brokers of the cluster.
    ///
    /// # Errors
    /// No broker answers within [`REQUEST_TIMEOUT`].
    pub fn brokers(&self) -> Result<usize, TopicError> {
        let metadata = self.metadata(None)?;
        Ok(metadata.brokers().len())
    }

    /// Partitions and replication of a topic; `None` if there is no such topic.
    ///
    /// # Errors
    /// No broker answers within [`REQUEST_TIMEOUT`], or the topic may not be seen.
    pub fn shape(&self, topic: &str) -> Result<Option<(u32, u32)>, TopicError> {
        let metadata = self.metadata(Some(topic))?;
        Ok(self.find(&metadata, topic)?.map(|topic| {
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
        let refused = |reason: String| refusal("create", &spec.name, reason);
        let results = block_on(self.admin()?.create_topics([&topic], &options()))
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

    /// A topic as it is; `None` if there is none of that name.
    ///
    /// # Errors
    /// No broker answers within [`REQUEST_TIMEOUT`], or the cluster does not tell the configuration.
    pub fn describe(&self, topic: &str) -> Result<Option<TopicState>, TopicError> {
        let metadata = self.metadata(Some(topic))?;
        let Some(found) = self.find(&metadata, topic)? else { return Ok(None) };
        let mut partitions: Vec<_> = found.partitions().iter().collect();
        partitions.sort_by_key(|partition| partition.id());
        let partitions = partitions.into_iter().map(|partition| PartitionState {
            leader: partition.leader(),
            replicas: partition.replicas().len(),
            in_sync: partition.isr().len(),
        });
        Ok(Some(TopicState { partitions: partitions.collect(), config: self.config(topic)? }))
    }

    fn config(&self, topic: &str) -> Result<Vec<ConfigValue>, TopicError> {
        let refused = |reason: String| refusal("describe", topic, reason);
        let resource = ResourceSpecifier::Topic(topic);
        let results = block_on(self.admin()?.describe_configs([&resource], &options()))
            .map_err(|error| refused(error.to_string()))?;
        let described = match results.into_iter().next() {
            Some(Ok(described)) => described,
            Some(Err(code)) => return Err(refused(code.to_string())),
            None => return Err(refused("the cluster gave no answer".into())),
        };
        let mut config: Vec<ConfigValue> = described
            .entries
            .into_iter()
            .map(|entry| ConfigValue {
                name: entry.name,
                value: entry.value.unwrap_or_default(),
                own: entry.source == ConfigSource::DynamicTopic,
            })
            .collect();
        config.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(config)
    }

    /// Sets some of a topic's settings; what else was set for it stays.
    ///
    /// # Errors
    /// The cluster is unreachable or refuses: the client library does not hand on why, nor even that, so
    /// the settings are asked for afterwards.
    pub fn set_config(&self, topic: &str, changes: &[(String, String)]) -> Result<(), TopicError> {
        let refused = |reason: String| refusal("alter", topic, reason);
        // The request replaces everything that was set for the topic, so all of it is sent.
        let before = self.config(topic)?;
        let mut all: Vec<(String, String)> = before
            .iter()
            .filter(|entry| entry.own && !changes.iter().any(|(name, _)| *name == entry.name))
            .map(|entry| (entry.name.clone(), entry.value.clone()))
            .collect();
        all.extend(changes.iter().cloned());
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in &all {
            alter = alter.set(name, value);
        }
        let results = block_on(self.admin()?.alter_configs([&alter], &options()))
            .map_err(|error| refused(error.to_string()))?;
        match results.into_iter().next() {
            Some(Ok(_)) => {}
            Some(Err((_, code))) => return Err(refused(code.to_string())),
            None => return Err(refused("the cluster gave no answer".into())),
        }
        let deadline = Instant::now() + TAKEN_WITHIN;
        while !is_taken(&before, &self.config(topic)?, changes) {
            if Instant::now() >= deadline {
                let asked: Vec<_> = changes.iter().map(|(n, v)| format!("`{n}={v}`")).collect();
                return Err(refused(format!(
                    "the cluster does not take {}: it keeps what it had; write a value that Kafka's \
                     documentation of the setting allows",
                    asked.join(", ")
                )));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Adds partitions until there are `count`.
    ///
    /// # Errors
    /// The cluster is unreachable or refuses, with its reason.
    pub fn add_partitions(&self, topic: &str, count: u32) -> Result<(), TopicError> {
        let refused = |reason: String| refusal("enlarge", topic, reason);
        let wanted = NewPartitions::new(topic, count as usize);
        let results = block_on(self.admin()?.create_partitions([&wanted], &options()))
            .map_err(|error| refused(error.to_string()))?;
        match results.into_iter().next() {
            Some(Ok(_)) => Ok(()),
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
        if let Ok(found) = self.config(&spec.name) {
            for (name, wanted) in &spec.config {
                let value = found.iter().find(|entry| entry.name == *name);
                compare(name, wanted.clone(), value.map_or_else(String::new, |v| v.value.clone()));
            }
        }
        differences
    }
}

/// Whether the cluster has taken `changes`: it takes all or none. It may write a value otherwise than it was
/// asked for (`TRUE`), so any other value than `before` will do.
fn is_taken(before: &[ConfigValue], now: &[ConfigValue], changes: &[(String, String)]) -> bool {
    let value = |config: &[ConfigValue], name: &str| {
        config.iter().find(|entry| entry.name == name).map(|entry| entry.value.clone())
    };
    let is_new = |(name, wanted): &&(String, String)| {
        value(before, name).is_none_or(|before| before != *wanted)
    };
    let mut new = changes.iter().filter(is_new).peekable();
    new.peek().is_none() || new.any(|(name, _)| value(before, name) != value(now, name))
}

fn refusal(verb: &'static str, topic: &str, reason: String) -> TopicError {
    TopicError::Refused { verb, topic: topic.to_owned(), reason }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: &str) -> Vec<ConfigValue> {
        let entry = |name: &str, value: &str| ConfigValue {
            name: name.into(),
            value: value.into(),
            own: false,
        };
        vec![entry("retention.ms", value), entry("segment.bytes", "9")]
    }

    #[test]
    fn a_change_is_taken_once_something_of_it_is_told() {
        let asked = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let taken =
            |now: &str, changes: &[(String, String)]| is_taken(&config("5"), &config(now), changes);
        assert!(!taken("5", &[asked("retention.ms", "7"), asked("segment.bytes", "9")]));
        assert!(taken("7", &[asked("retention.ms", "7"), asked("segment.bytes", "9")]));
        assert!(taken("7", &[asked("retention.ms", " 7")]), "written otherwise");
        assert!(taken("5", &[asked("retention.ms", "5")]), "nothing to change");
        assert!(!taken("5", &[asked("color", "red")]));
    }
}
