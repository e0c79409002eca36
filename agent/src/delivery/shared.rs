//! What the courier, its keeper and its listener know in common.

use super::courier::Link;
use super::lane::Lane;
use crate::sync::lock;
use logweir_kafka::properties::Properties;
use logweir_kafka::trouble::{Explanation, Operation};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

/// How often the same trouble is told.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);

/// What is known about Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum KafkaState {
    Connecting,
    Up,
    Unreachable,
    TopicMissing,
    Forbidden,
}

impl KafkaState {
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Unreachable => "unreachable",
            Self::TopicMissing => "topic_missing",
            Self::Forbidden => "forbidden",
        }
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) lanes: RwLock<HashMap<u32, Arc<Lane>>>,
    pub(super) next_slot: Mutex<u32>,
    pub(super) link: Mutex<Option<Arc<Link>>>,
    pub(super) changed: Condvar,
    pub(super) stop: AtomicBool,
    pub(super) state: AtomicU8,
    pub(super) generation: AtomicU64,
    pub(super) properties: Properties,
    pub(super) restarts: AtomicU64,
    /// Chunks acknowledged since the link came up: what tells a working link from a broken one.
    pub(super) acknowledged: AtomicU64,
    pub(super) batch_bytes: AtomicUsize,
    pub(super) last_trouble: Mutex<Option<Instant>>,
    /// What a broker that could not be reached was last said to be up to.
    pub(super) last_error: Mutex<String>,
    /// Why nothing is delivered, while that is so.
    pub(super) reason: Mutex<String>,
    /// The brokers refused a write: what they answer to questions does not count until they take one.
    pub(super) write_refused: AtomicBool,
}

impl Shared {
    pub(super) fn state(&self) -> KafkaState {
        match self.state.load(Ordering::Relaxed) {
            0 => KafkaState::Connecting,
            1 => KafkaState::Up,
            2 => KafkaState::Unreachable,
            3 => KafkaState::TopicMissing,
            _ => KafkaState::Forbidden,
        }
    }

    /// Kafka takes events; said once.
    pub(super) fn enter_up(&self, topic: &str) {
        let before = self.state.swap(KafkaState::Up as u8, Ordering::Relaxed);
        if before == KafkaState::Up as u8 {
            return;
        }
        lock(&self.reason).clear();
        if before == KafkaState::Connecting as u8 {
            tracing::info!(topic, "kafka is reached");
        } else {
            tracing::info!(topic, "kafka is back; delivery goes on");
        }
    }

    /// Kafka takes nothing; said once for each reason that is another one.
    pub(super) fn enter_down(&self, state: KafkaState, topic: &str, why: &Explanation) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        let text = why.to_string();
        {
            let mut reason = lock(&self.reason);
            if before == state as u8 && *reason == text {
                return;
            }
            // What a connection is said to suffer from alternates between words for the same.
            let told = before == state as u8 && state == KafkaState::Unreachable;
            *reason = text;
            if told && !self.may_tell() {
                return;
            }
        }
        let brokers = self.properties.get("bootstrap.servers").unwrap_or_default();
        let Explanation { reason, remedy } = why;
        match state {
            KafkaState::Unreachable => {
                self.may_tell();
                tracing::warn!(
                    brokers,
                    reason,
                    help = remedy,
                    "kafka cannot be reached; files wait where they are, the spool takes what it \
                     can hold, and delivery goes on by itself"
                );
            }
            _ => tracing::warn!(
                brokers,
                topic,
                reason,
                help = remedy,
                "kafka takes no events; they wait, and delivery goes on by itself"
            ),
        }
    }

    /// The brokers do not let this client write to `topic`, or not even see it.
    pub(super) fn enter_forbidden(&self, topic: &str) {
        let why = Explanation::forbidden(Operation::Write, topic, &self.properties);
        self.enter_down(KafkaState::Forbidden, topic, &why);
    }

    /// Says what is wrong, but not more often than every [`TROUBLE_INTERVAL`].
    pub(super) fn tell(&self, reason: &str) {
        if self.may_tell() {
            tracing::warn!(reason, "kafka: delivery has a problem and is tried again");
        } else {
            tracing::debug!(reason, "kafka: delivery has a problem");
        }
    }

    fn may_tell(&self) -> bool {
        let mut last = lock(&self.last_trouble);
        let may = last.is_none_or(|at| at.elapsed() >= TROUBLE_INTERVAL);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    /// Sleeps, but not into a stop.
    pub(super) fn pause(&self, duration: Duration) {
        let deadline = Instant::now() + duration;
        while !self.stop.load(Ordering::Acquire) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20).min(duration));
        }
    }
}
