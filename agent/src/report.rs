//! The agent's report about itself: one record to the topic of the agents, every few seconds.
//!
//! The topic is compacted, so it holds the latest report of each agent, by agent id. A producer of
//! its own, so that trouble with it never holds up events; a report that does not arrive is not
//! missed, the next one says more.

use crate::accounting::Snapshot;
use logweir_kafka::producer::{DeliveryListener, Failure, Producer, Trouble};
use logweir_kafka::properties::Properties;
use logweir_record::TOPIC_AGENTS;
use std::sync::Arc;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(10);
/// How long to leave it after the topic was not there or the producer failed.
const REST: Duration = Duration::from_secs(60);
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// The sources in a report at most; those that are furthest behind are named.
const SOURCES_MAX: usize = 200;
/// The rules in a report at most; those that were tried most are named.
const RULES_MAX: usize = 20;

/// Sends reports, when they are due.
#[derive(Debug)]
pub(crate) struct Reporter {
    properties: Properties,
    producer: Option<Producer>,
    due: Instant,
}

impl Reporter {
    pub(crate) fn new(mut properties: Properties) -> Self {
        // A report that is late is of no use.
        properties.set("delivery.timeout.ms", "30000");
        properties.set("queue.buffering.max.kbytes", "4096");
        Self { properties, producer: None, due: Instant::now() + INTERVAL }
    }

    /// Sends a report if it is time for one.
    pub(crate) fn report(&mut self, snapshot: &dyn Fn(usize) -> Snapshot) {
        if Instant::now() < self.due {
            return;
        }
        self.due = Instant::now() + INTERVAL;
        if self.producer.as_ref().is_none_or(Producer::is_broken) && !self.connect() {
            self.due = Instant::now() + REST;
            return;
        }
        let Some(producer) = &self.producer else { return };
        let mut snapshot = snapshot(SOURCES_MAX);
        shorten(&mut snapshot);
        let Ok(payload) = serde_json::to_vec(&snapshot) else { return };
        if let Err(error) =
            producer.send_keyed(TOPIC_AGENTS, snapshot.agent_id.as_bytes(), Some(&payload))
        {
            tracing::debug!(%error, "a report was not sent");
        }
    }

    /// Makes a producer, if the topic is there; nothing is ever created by asking.
    fn connect(&mut self) -> bool {
        self.producer = None;
        let Ok(producer) = Producer::create(&self.properties, Arc::new(Deaf)) else { return false };
        let there = matches!(producer.partitions(TOPIC_AGENTS, METADATA_TIMEOUT), Ok(Some(_)));
        self.producer = there.then_some(producer);
        there
    }
}

fn shorten(snapshot: &mut Snapshot) {
    snapshot.sources.sort_by_key(|source| std::cmp::Reverse(source.bytes_behind()));
    snapshot.sources.truncate(SOURCES_MAX);
    snapshot.rules.truncate(RULES_MAX);
}

/// What becomes of a report is of no interest.
struct Deaf;

impl DeliveryListener for Deaf {
    fn delivered(&self, _: usize) {}
    fn failed(&self, failure: &Failure<'_>) {
        tracing::debug!(reason = failure.reason, "a report did not arrive");
    }
    fn trouble(&self, _: &Trouble<'_>) {}
}
