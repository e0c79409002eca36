//! What the courier, its keeper and its listener know in common.

use super::courier::Link;
use super::lane::Lane;
use crate::sync::{Bell, lock};
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
    ClockRefused,
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
            Self::ClockRefused => "clock_refused",
        }
    }
}

/// Why nothing is delivered; empty while all is well.
#[derive(Debug, Default)]
struct Reason {
    is: String,
    /// What the log said last of it: another one may have to wait for its turn.
    told: String,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) lanes: RwLock<HashMap<u32, Arc<Lane>>>,
    pub(super) next_slot: Mutex<u32>,
    pub(super) link: Mutex<Option<Arc<Link>>>,
    pub(super) changed: Condvar,
    /// Rings when a source has a partition that the checkpoint does not hold yet.
    pub(super) chosen: Bell,
    /// The checkpoint does not take it at the moment.
    pub(super) recording_fails: AtomicBool,
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
    /// Held while `state` changes, so that the two agree.
    reason: Mutex<Reason>,
    /// The brokers refused a write: what they answer to questions does not count until they take one.
    pub(super) write_refused: AtomicBool,
}

impl Shared {
    pub(super) fn new(properties: Properties, batch_bytes: Option<usize>) -> Self {
        Self {
            lanes: RwLock::default(),
            next_slot: Mutex::new(1),
            link: Mutex::new(None),
            changed: Condvar::new(),
            chosen: Bell::default(),
            recording_fails: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            state: AtomicU8::new(KafkaState::Connecting as u8),
            generation: AtomicU64::new(0),
            properties,
            restarts: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            batch_bytes: AtomicUsize::new(batch_bytes.unwrap_or(1_000_000)),
            last_trouble: Mutex::new(None),
            last_error: Mutex::default(),
            reason: Mutex::default(),
            write_refused: AtomicBool::new(false),
        }
    }

    pub(super) fn state(&self) -> KafkaState {
        match self.state.load(Ordering::Relaxed) {
            0 => KafkaState::Connecting,
            1 => KafkaState::Up,
            2 => KafkaState::Unreachable,
            3 => KafkaState::TopicMissing,
            4 => KafkaState::Forbidden,
            _ => KafkaState::ClockRefused,
        }
    }

    /// The state with its reason: both of the same moment.
    pub(super) fn standing(&self) -> (KafkaState, String) {
        let reason = lock(&self.reason);
        (self.state(), reason.is.clone())
    }

    /// Kafka takes events; said once.
    pub(super) fn enter_up(&self, topic: &str) {
        // Asked for each acknowledgement: the lock is for what changes.
        if self.state() == KafkaState::Up {
            return;
        }
        let before = {
            let mut reason = lock(&self.reason);
            *reason = Reason::default();
            self.state.swap(KafkaState::Up as u8, Ordering::Relaxed)
        };
        if before == KafkaState::Up as u8 {
            return;
        }
        if before == KafkaState::Connecting as u8 {
            tracing::info!(topic, "kafka is reached");
        } else {
            tracing::info!(topic, "kafka is back; delivery goes on");
        }
    }

    /// Kafka takes nothing; said once for each reason that is another one. Asked again while that is so:
    /// what could not be said at once is said then.
    pub(super) fn enter_down(&self, state: KafkaState, topic: &str, why: &Explanation) {
        let text = why.to_string();
        {
            let mut reason = lock(&self.reason);
            let before = self.state.swap(state as u8, Ordering::Relaxed);
            let entered = before != state as u8;
            reason.is.clone_from(&text);
            if !entered && reason.told == text {
                return;
            }
            // What a connection is said to suffer from alternates between words for the same.
            if !entered && state == KafkaState::Unreachable && !self.may_tell() {
                return;
            }
            reason.told = text;
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

    /// The brokers refuse records of the time that this host's clock shows. That is no fault of the
    /// events: they wait, and are sent again with a later time.
    pub(super) fn enter_clock_refused(&self, topic: &str) {
        let why = Explanation {
            reason: format!(
                "the brokers refuse the time of records for the topic {topic}; by this host's clock \
                 it is {:.0}",
                jiff::Timestamp::now()
            ),
            remedy: format!(
                "set the clock, or let the brokers date records: logweir topics alter {topic} \
                 --config message.timestamp.type=LogAppendTime"
            ),
        };
        self.enter_down(KafkaState::ClockRefused, topic, &why);
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

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_document::{Faults, parse};
    use logweir_kafka::properties::Role;

    fn properties() -> Properties {
        let document = parse("a.yaml", "bootstrap.servers: k:1\n").unwrap();
        let mut faults = Faults::new(document.source.clone());
        Properties::read(&document.root, "kafka", Role::Producer, &mut faults).unwrap()
    }

    #[test]
    fn a_reason_that_could_not_be_told_at_once_is_told_later_if_it_is_still_so() {
        let shared = Shared::new(properties(), None);
        let down = |reason: &str| {
            let why = Explanation { reason: reason.to_owned(), remedy: String::new() };
            shared.enter_down(KafkaState::Unreachable, "topic", &why);
            let reason = lock(&shared.reason);
            assert_eq!(reason.is, why.to_string());
            reason.told.contains("refused")
        };
        assert!(!down("the token has ended"));
        assert!(!down("the token is refused"));
        *lock(&shared.last_trouble) = Instant::now().checked_sub(TROUBLE_INTERVAL);
        assert!(down("the token is refused"));
    }

    #[test]
    fn a_state_and_its_reason_are_of_the_same_moment() {
        let shared = Shared::new(properties(), None);
        shared.enter_up("topic");
        std::thread::scope(|scope| {
            let turns = scope.spawn(|| {
                for _ in 0..20_000 {
                    shared.enter_clock_refused("topic");
                    shared.enter_up("topic");
                }
            });
            while !turns.is_finished() {
                let (state, reason) = shared.standing();
                assert_eq!(state == KafkaState::Up, reason.is_empty(), "{state:?}: {reason}");
            }
        });
    }
}
