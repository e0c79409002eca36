//! What the courier, its keeper and its listener know in common.

use super::courier::Link;
use super::lane::Lane;
use crate::sync::lock;
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
}

impl KafkaState {
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Unreachable => "unreachable",
            Self::TopicMissing => "topic_missing",
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
    pub(super) brokers: String,
    pub(super) restarts: AtomicU64,
    /// Chunks acknowledged since the link came up: what tells a working link from a broken one.
    pub(super) acknowledged: AtomicU64,
    pub(super) batch_bytes: AtomicUsize,
    pub(super) last_trouble: Mutex<Option<Instant>>,
    /// What a broker that could not be reached was last said to be up to.
    pub(super) last_error: Mutex<String>,
}

impl Shared {
    pub(super) fn state(&self) -> KafkaState {
        match self.state.load(Ordering::Relaxed) {
            0 => KafkaState::Connecting,
            1 => KafkaState::Up,
            2 => KafkaState::Unreachable,
            _ => KafkaState::TopicMissing,
        }
    }

    /// Notes the state; what changed is said once.
    pub(super) fn enter(&self, state: KafkaState, topic: &str, detail: &str) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if before == state as u8 {
            return;
        }
        match state {
            KafkaState::Up if before == KafkaState::Connecting as u8 => {
                tracing::info!(topic, "kafka is reached");
            }
            KafkaState::Up => tracing::info!(topic, "kafka is back; delivery goes on"),
            KafkaState::Unreachable => tracing::warn!(
                brokers = self.brokers,
                detail,
                "kafka cannot be reached; files wait where they are, the spool takes what it can \
                 hold, and delivery goes on by itself"
            ),
            KafkaState::TopicMissing => tracing::warn!(
                topic,
                "there is no such topic; create it with `logweir topics create`"
            ),
            KafkaState::Connecting => {}
        }
    }

    /// Says what is wrong, but not more often than every [`TROUBLE_INTERVAL`].
    pub(super) fn tell(&self, reason: &str) {
        let mut last = lock(&self.last_trouble);
        if last.is_none_or(|at| at.elapsed() >= TROUBLE_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!(reason, "kafka: delivery has a problem and is tried again");
        } else {
            tracing::debug!(reason, "kafka: delivery has a problem");
        }
    }

    /// Sleeps, but not into a stop.
    pub(super) fn pause(&self, duration: Duration) {
        let deadline = Instant::now() + duration;
        while !self.stop.load(Ordering::Acquire) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20).min(duration));
        }
    }
}
