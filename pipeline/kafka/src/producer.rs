//! The producer: events go out in order per partition, and every outcome is told to a listener.
//!
//! Owns the rule that nothing overtakes a failure: the first message that is not delivered breaks
//! the producer, after which it takes nothing more, and its owner makes a new one and sends again
//! from the last acknowledged position. `enable.gapless.guarantee` holds the same inside
//! librdkafka. A message carries a `usize` tag; a delivered message is told by its tag only, so the
//! tag 0 costs nothing. Memory is bounded by `queue.buffering.max.kbytes`.

use crate::properties::Properties;
use crate::token;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig,
};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a message needs in a batch besides its payload, at most: librdkafka's own estimate of a
/// record's overhead is smaller.
pub const MESSAGE_OVERHEAD_BYTES: usize = 128;
/// How long one poll for outcomes takes, which is how late a stop may be noticed: at first and while
/// there is something on its way, and after a while without.
const POLL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// Longer than any poll takes.
const POLL_END: Duration = Duration::from_secs(2);
/// librdkafka's `message.max.bytes` unless the user gives another.
const MESSAGE_MAX_BYTES_DEFAULT: usize = 1_000_000;

/// The largest payload that a producer with these properties takes.
#[must_use]
pub fn payload_bytes_max(properties: &Properties) -> usize {
    let told = properties.effective("message.max.bytes").and_then(|text| text.parse().ok());
    told.unwrap_or(MESSAGE_MAX_BYTES_DEFAULT).saturating_sub(MESSAGE_OVERHEAD_BYTES)
}

/// Hears of every message's outcome, on the producer's own thread. Must not block.
pub trait DeliveryListener: Send + Sync + 'static {
    /// The message with this tag, which is not 0, is in the topic, and so is every message sent
    /// before it to the same partition.
    fn delivered(&self, tag: usize);

    /// A message is not in the topic, or not known to be. The producer is broken from now on.
    fn failed(&self, failure: &Failure<'_>);

    /// The cluster as a whole: reachable or not, and what was said about it.
    fn trouble(&self, trouble: &Trouble<'_>);
}

/// A message that was not delivered.
#[derive(Debug)]
pub struct Failure<'m> {
    pub topic: &'m str,
    pub payload: &'m [u8],
    pub kind: FailureKind,
    pub reason: String,
}

/// Why a message was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The broker refuses the batch that the message was in, for its size or its content.
    Refused,
    /// The producer was given up with the message in it.
    Abandoned,
    /// This client may not write to the topic.
    Forbidden,
    /// The time of the record is too far from the broker's.
    Clock,
    /// Anything else: may well succeed when sent again.
    Other,
}

/// Something that concerns no single message.
#[derive(Debug)]
pub enum Trouble<'m> {
    /// No broker can be reached.
    AllBrokersDown,
    /// A connection or the client has a problem, such as wrong credentials.
    Error(&'m str),
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Wait a moment and try again.
    #[error("the queue is full")]
    QueueFull,
    #[error("larger than `message.max.bytes`")]
    TooLarge,
    /// Make a new producer.
    #[error("the producer is broken: {0}")]
    Broken(String),
}

/// The client could not be made or did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProducerError {
    #[error("cannot make a Kafka client: {0}")]
    Create(KafkaError),
    #[error("no answer from the cluster: {0}")]
    Unreachable(KafkaError),
    #[error("this client may not see the topic")]
    Forbidden,
}

/// A connection to the cluster for sending.
pub struct Producer {
    /// `None` only while it is dropped.
    inner: Option<Arc<BaseProducer<Context>>>,
    payload_bytes_max: usize,
    stop: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("in_flight", &self.in_flight()).finish()
    }
}

impl Producer {
    /// Makes the client; it connects by itself, and goes on trying.
    ///
    /// # Errors
    /// Properties that do not go together, or files named in them that cannot be read.
    pub fn create(
        properties: &Properties,
        listener: Arc<dyn DeliveryListener>,
    ) -> Result<Self, ProducerError> {
        let context = Context {
            listener,
            broken: AtomicBool::new(false),
            clock_refused: AtomicBool::new(false),
        };
        let config = properties.client_config();
        let inner: BaseProducer<Context> =
            config.create_with_context(context).map_err(ProducerError::Create)?;
        let (inner, stop) = (Arc::new(inner), Arc::new(AtomicBool::new(false)));
        let listening = {
            let (inner, stop) = (inner.clone(), stop.clone());
            let run = move || listen(&inner, &stop);
            std::thread::Builder::new().name("producer".into()).spawn(run)
        };
        let listening = Some(listening.expect("a thread can be started"));
        let payload_bytes_max = payload_bytes_max(properties);
        Ok(Self { inner: Some(inner), payload_bytes_max, stop, listening })
    }

    fn inner(&self) -> &BaseProducer<Context> {
        self.inner.as_ref().expect("it is there until the drop")
    }

    /// The largest payload that is taken.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        self.payload_bytes_max
    }

    /// Queues one message without a key. `partition` is `None` where any will do; a topic must be
    /// used in one of the two ways only.
    ///
    /// # Errors
    /// See [`SendError`]; the message was not taken.
    pub fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        payload: &[u8],
        tag: usize,
    ) -> Result<(), SendError> {
        self.enqueue(topic, partition, None, Some(payload), tag)
    }

    /// Queues one message with a key, which chooses the partition and what compaction keeps; `None` takes
    /// the key off a compacted topic.
    ///
    /// # Errors
    /// See [`SendError`]; the message was not taken.
    pub fn send_keyed(
        &self,
        topic: &str,
        key: &[u8],
        payload: Option<&[u8]>,
    ) -> Result<(), SendError> {
        self.enqueue(topic, None, Some(key), payload, 0)
    }

    fn enqueue(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        tag: usize,
    ) -> Result<(), SendError> {
        if self.is_broken() {
            return Err(SendError::Broken("an earlier message failed".into()));
        }
        let record = BaseRecord::<[u8], [u8], usize> {
            topic,
            partition,
            payload,
            key,
            timestamp: None,
            headers: None,
            delivery_opaque: tag,
        };
        self.inner().send(record).map_err(|(error, _)| match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => SendError::QueueFull,
            KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
                SendError::TooLarge
            }
            other => {
                self.context().broken.store(true, Ordering::Release);
                SendError::Broken(other.to_string())
            }
        })
    }

    /// Whether a message failed or the client has a fatal error; then nothing more is taken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.context().broken.load(Ordering::Acquire)
    }

    /// The number of partitions of `topic`; `None` if there is no such topic.
    ///
    /// # Errors
    /// No broker answers within `timeout`, or the topic may not be seen.
    pub fn partitions(&self, topic: &str, timeout: Duration) -> Result<Option<u32>, ProducerError> {
        // By its name, so that the answer tells a topic that is not there from one that may not be
        // seen; asking creates nothing (`allow.auto.create.topics`).
        let metadata = self
            .inner()
            .client()
            .fetch_metadata(Some(topic), timeout)
            .map_err(ProducerError::Unreachable)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        let error = found.error().map(RDKafkaErrorCode::from);
        if error == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
            return Err(ProducerError::Forbidden);
        }
        Ok(Some(found.partitions().len() as u32).filter(|count| *count > 0))
    }

    /// Messages that are queued or on their way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.inner().in_flight_count()).unwrap_or(0)
    }

    /// Sends what is queued without waiting for more, and returns whether all of it is out before
    /// `timeout`.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        // In short steps: a step of rdkafka's flush always takes its whole time.
        while self.in_flight() > 0 && Instant::now() < deadline && !self.is_broken() {
            let _ = self.inner().flush(Duration::from_millis(10));
        }
        self.in_flight() == 0
    }

    /// Gives up what is queued; the listener hears of each message as [`FailureKind::Abandoned`].
    pub fn abandon(&self) {
        self.context().broken.store(true, Ordering::Release);
        self.inner().purge(PurgeConfig::default().queue().inflight());
    }

    fn context(&self) -> &Context {
        self.inner().client().context()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let Some(listening) = self.listening.take() else { return };
        // The thread that listens is the last that has the client, and ends it: that may take as long as a
        // name server does not answer.
        self.inner = None;
        let deadline = Instant::now() + POLL_END;
        while !listening.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if listening.is_finished() {
            let _ = listening.join();
        }
    }
}

/// Hears what becomes of messages, until `stop`. What happens is told at once, however long a poll is;
/// but `BaseProducer::poll` spins through the last millisecond of its time, which is a percent of a core
/// in rdkafka's own thread for this, with its polls of 100 ms.
fn listen(producer: &BaseProducer<Context>, stop: &AtomicBool) {
    let mut patience = POLL.0;
    while !stop.load(Ordering::Acquire) {
        producer.poll(patience);
        let is_idle = producer.in_flight_count() == 0;
        patience = if is_idle { (patience * 2).min(POLL.1) } else { POLL.0 };
    }
}

struct Context {
    listener: Arc<dyn DeliveryListener>,
    broken: AtomicBool,
    /// The brokers refused the time of a record. Of the records themselves is then only said that they
    /// are invalid.
    clock_refused: AtomicBool,
}

/// In what the client says of an error ahead of the records that it concerns.
const SAID_OF_CLOCK: &str = "Broker: Invalid timestamp";

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, path: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::of_file(path)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::debug!(facility, message, "librdkafka"),
            _ => tracing::trace!(facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::Fatal) {
            self.broken.store(true, Ordering::Release);
        }
        if reason.contains(SAID_OF_CLOCK) {
            self.clock_refused.store(true, Ordering::Release);
            return;
        }
        self.listener.trouble(&match code {
            Some(RDKafkaErrorCode::AllBrokersDown) => Trouble::AllBrokersDown,
            _ => Trouble::Error(reason),
        });
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let (error, message) = match result {
            Ok(_) if tag == 0 => return,
            Ok(_) => return self.listener.delivered(tag),
            Err((error, message)) => (error, message),
        };
        self.broken.store(true, Ordering::Release);
        let kind = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp)
                if self.clock_refused.load(Ordering::Acquire) =>
            {
                FailureKind::Clock
            }
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::MessageBatchTooLarge
                | RDKafkaErrorCode::InvalidRecord,
            ) => FailureKind::Refused,
            Some(RDKafkaErrorCode::InvalidTimestamp) => FailureKind::Clock,
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
                FailureKind::Abandoned
            }
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ) => FailureKind::Forbidden,
            _ => FailureKind::Other,
        };
        let failure = Failure {
            topic: message.topic(),
            payload: message.payload().unwrap_or_default(),
            kind,
            reason: error.to_string(),
        };
        self.listener.failed(&failure);
    }
}
