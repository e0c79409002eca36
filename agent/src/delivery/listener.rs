//! What became of the messages of one producer, told to the lanes that they belong to.

use super::courier::{TAG_DEAD_LETTER, TAG_LAST, TAG_MARKS};
use super::open::OpenPartitions;
use super::shared::{KafkaState, Shared};
use super::shares::Shares;
use crate::sync::{lock, read};
use logweir_kafka::producer::{DeliveryListener, Failure, FailureKind, Trouble};
use logweir_kafka::trouble::{Explanation, is_forbidden};
use logweir_record::{FIELD_OFFSET, FIELD_SOURCE, SourceId, TOPIC_DEAD_LETTER};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Hears the outcomes of one producer.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) open: Arc<OpenPartitions>,
    pub(super) shares: Arc<Shares>,
    pub(super) shared: Arc<Shared>,
    pub(super) topic: String,
    pub(super) generation: u64,
    /// A message failed: nothing behind it counts any more.
    pub(super) frozen: AtomicBool,
    /// What this producer's batches hold at most.
    pub(super) batch_bytes: usize,
    /// The next producer's batches are smaller.
    pub(super) shrunk: AtomicBool,
}

impl DeliveryListener for Listener {
    fn delivered(&self, tag: usize) {
        if self.frozen.load(Ordering::Acquire) {
            return;
        }
        let slot = ((tag & !TAG_MARKS) >> 32) as u32;
        let sequence = tag as u32;
        let Some(lane) = read(&self.shared.lanes).get(&slot).cloned() else { return };
        // First, so that whoever sees the event delivered does not see Kafka refuse it still.
        self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.shared.write_refused.store(false, Ordering::Relaxed);
        self.shared.enter_up(&self.topic);
        if tag & TAG_LAST != 0 {
            lane.events_acked(self.generation, sequence);
            if let (_, Some(partition)) = lane.progress() {
                self.shares.leave(partition);
            }
        }
        if tag & TAG_DEAD_LETTER != 0 {
            lane.dead_letter_acked(self.generation, sequence);
        } else if let (_, Some(partition)) = lane.progress() {
            self.open.acknowledge(partition);
        }
    }

    fn failed(&self, failure: &Failure<'_>) {
        self.frozen.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        match failure.kind {
            FailureKind::Abandoned => {}
            FailureKind::Refused => self.refused(failure),
            FailureKind::Forbidden => {
                self.shared.write_refused.store(true, Ordering::Relaxed);
                self.shared.enter_forbidden(failure.topic);
            }
            FailureKind::Clock => {
                self.shared.write_refused.store(true, Ordering::Relaxed);
                self.shared.enter_clock_refused(failure.topic);
            }
            FailureKind::Other => {
                self.shared.tell(&format!("{}: {}", failure.topic, failure.reason))
            }
        }
    }

    fn trouble(&self, trouble: &Trouble<'_>) {
        match trouble {
            // What the client says with it counts brokers, and is wrong as often as not; why the
            // last one could not be reached was told before.
            Trouble::AllBrokersDown => {
                let last = lock(&self.shared.last_error).clone();
                let said = if last.is_empty() { "no broker answers" } else { &last };
                let why = Explanation::of_connection(said, &self.shared.properties);
                self.shared.enter_down(KafkaState::Unreachable, &self.topic, &why);
            }
            // Without the right to write anything, a producer does not even get its number.
            Trouble::Error(reason) if is_forbidden(reason) => {
                self.shared.write_refused.store(true, Ordering::Relaxed);
                self.shared.enter_forbidden(&self.topic);
            }
            Trouble::Error(reason) => {
                (*reason).clone_into(&mut lock(&self.shared.last_error));
                if self.shared.state() == KafkaState::Up {
                    self.shared.tell(reason);
                }
            }
        }
    }
}

impl Listener {
    /// The broker refused a batch. A message as large as a batch may be was alone in it and becomes
    /// a dead letter; otherwise batches get smaller, until the refused ones are alone.
    fn refused(&self, failure: &Failure<'_>) {
        if failure.payload.len() >= self.batch_bytes {
            self.refused_alone(failure);
        } else if !self.shrunk.swap(true, Ordering::Relaxed) {
            let smaller = (self.batch_bytes / 2).max(1);
            tracing::info!(
                batch_bytes = smaller,
                reason = failure.reason,
                "the broker refuses a batch; batches get smaller until it is found which event it is"
            );
            self.shared.batch_bytes.store(smaller, Ordering::Relaxed);
        }
    }

    fn refused_alone(&self, failure: &Failure<'_>) {
        let Some((source, offset)) = identity(failure.payload) else { return };
        let lanes = read(&self.shared.lanes);
        let Some(lane) = lanes.values().find(|lane| lane.id() == source) else { return };
        let topic = failure.topic;
        let reason = &failure.reason;
        if topic == TOPIC_DEAD_LETTER {
            tracing::error!(%source, offset, topic, reason, "a dead letter is refused; it is dropped");
        } else {
            tracing::warn!(%source, offset, topic, reason, "an event is refused; it becomes a dead letter");
        }
        lane.refuse(offset, reason.clone());
    }
}

/// Which event a payload is.
fn identity(payload: &[u8]) -> Option<(SourceId, u64)> {
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let source = value.get(FIELD_SOURCE)?.as_str()?.parse().ok()?;
    Some((source, value.get(FIELD_OFFSET)?.as_u64()?))
}
