//! Rules that come through Kafka: read from the topic, verified, tested aside, put into use, watched, and
//! given up again when they do harm. Off unless the configuration names a key.
//!
//! ```text
//! topic ─► signature ─► group, version, share ─► samples ─► in use, on trial ─► good
//!              └────────────── refused ──────────────┘            └─► back to the last good
//! ```
//!
//! Owns the promise that nothing from the topic is used, or even unpacked, before its signature holds,
//! and that whatever is wrong with a set leaves the rules in use as they are.

mod keeper;
mod store;
mod trial;

use crate::accounting::Snapshot;
use crate::config::{PublishedConfig, RulesConfig};
use crate::parsing::Rules;
use crate::sync::lock;
use keeper::Keeper;
use logweir_kafka::follow::{FollowError, Follower, Record};
use logweir_kafka::properties::Properties;
use logweir_kafka::trouble::{Explanation, Operation};
use logweir_record::TOPIC_RULES;
use serde::Serialize;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How soon a stop is noticed.
const WAIT: Duration = Duration::from_millis(200);
/// How long to leave it after the topic could not be read.
const REST: Duration = Duration::from_secs(30);

/// What the agent says about published rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PublishedSnapshot {
    pub group: String,
    /// The version in use; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The digest of its files; empty while there is none.
    pub hash: String,
    /// Whether the version in use is still on trial.
    pub on_trial: bool,
    /// A newer version that this host is not among the share for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_for_this_host: Option<u64>,
    /// The last set that was refused or given up, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedSnapshot>,
    /// Sets refused since the start.
    pub refusals: u64,
    /// Sets that were in use and were given up, since the start.
    pub returns: u64,
    /// Why the topic cannot be read; empty while it can.
    pub topic_reason: String,
}

/// A set that is not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct RefusedSnapshot {
    /// Absent if it is not known, as the signature does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    pub reason: String,
}

/// The published rules of an agent.
#[derive(Debug)]
pub(crate) struct Published {
    keeper: Mutex<Keeper>,
    /// What the keeper said last: a set is tested and compiled under its lock, and nobody waits for that.
    shown: Mutex<PublishedSnapshot>,
    properties: Properties,
    topic_reason: Mutex<String>,
}

impl Published {
    /// Puts into use what an earlier run has left in the state directory; Kafka need not be there.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub(crate) fn open(
        config: PublishedConfig,
        directory: &Path,
        host_id: &str,
        rules: (Rules, RulesConfig),
        properties: &Properties,
    ) -> io::Result<Arc<Self>> {
        let keeper = Keeper::open(config, directory, host_id, rules)?;
        Ok(Arc::new(Self {
            shown: Mutex::new(keeper.snapshot()),
            keeper: Mutex::new(keeper),
            properties: properties.clone(),
            topic_reason: Mutex::default(),
        }))
    }

    /// Reads the topic, and watches a set that is on trial, until `stop`.
    pub(crate) fn run(&self, stop: &AtomicBool, snapshot: &dyn Fn() -> Snapshot) {
        let mut follower: Option<Follower> = None;
        let mut next_try = Instant::now();
        // The latest set of the group, until everything before it is read.
        let mut latest: Option<Vec<u8>> = None;
        while !stop.load(Ordering::Acquire) {
            if follower.is_none() && next_try <= Instant::now() {
                follower = self.noted(Follower::start(&self.properties, TOPIC_RULES));
                next_try = Instant::now() + REST;
            }
            match &mut follower {
                None => std::thread::sleep(WAIT),
                Some(open) => match self.noted(open.next(WAIT)) {
                    Some(record) => {
                        latest = record.and_then(|record| self.set_of(record)).or(latest);
                        if let Some(bytes) = latest.take_if(|_| open.is_caught_up()) {
                            lock(&self.keeper).offer(&bytes, snapshot);
                        }
                    }
                    None => follower = None,
                },
            }
            let mut keeper = lock(&self.keeper);
            keeper.watch(snapshot);
            *lock(&self.shown) = keeper.snapshot();
        }
    }

    /// After a stop in order: what was on trial is not to blame for it.
    pub(crate) fn stopped(&self) {
        lock(&self.keeper).stopped();
    }

    pub(crate) fn snapshot(&self) -> PublishedSnapshot {
        let topic_reason = lock(&self.topic_reason).clone();
        PublishedSnapshot { topic_reason, ..lock(&self.shown).clone() }
    }

    /// What a record says to this host's group. One without a value is nobody's word: withdrawing is
    /// signed, too.
    fn set_of(&self, record: Record) -> Option<Vec<u8>> {
        record.value.filter(|_| record.key == lock(&self.keeper).group().as_bytes())
    }

    /// Says once why the topic cannot be read.
    fn noted<T>(&self, outcome: Result<T, FollowError>) -> Option<T> {
        let reason = match outcome.as_ref().err() {
            None => String::new(),
            Some(FollowError::Forbidden) => {
                Explanation::forbidden(Operation::Read, TOPIC_RULES, &self.properties).to_string()
            }
            Some(error) => error.to_string(),
        };
        let mut told = lock(&self.topic_reason);
        if *told != reason {
            if !reason.is_empty() {
                tracing::warn!(topic = TOPIC_RULES, reason, "published rules cannot be read");
            }
            *told = reason;
        }
        outcome.ok()
    }
}
