//! Which partitions a producer may send to freely.
//!
//! A broker takes the first batch of a producer that it does not know whatever its sequence number.
//! If that batch is refused and another one is on its way behind it, the other one is taken, and what
//! was refused comes too late. So the first message of a producer to a partition goes alone; once it
//! is acknowledged, the broker knows the sequence, and itself refuses what follows a hole.
//!
//! Nobody waits in here: a partition whose broker cannot be reached holds up its own sources only.

use super::shares::pause_after;
use crate::sync::lock;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Brokers forget producers that are silent for a day (`producer.id.expiration.ms`).
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy)]
enum State {
    /// A message is on its way alone, since then.
    Opening(Instant),
    /// Last acknowledged then.
    Open(Instant),
}

/// The partitions of one producer; one that is not among them was sent nothing.
#[derive(Debug, Default)]
pub(crate) struct OpenPartitions(Mutex<HashMap<i32, State>>);

impl OpenPartitions {
    /// Whether `partition` takes chunks of any size.
    pub(crate) fn is_open(&self, partition: i32) -> bool {
        lock(&self.0).get(&partition).is_some_and(State::is_open)
    }

    /// How long to wait for the one message that opens `partition`; `None` if none is on its way.
    pub(crate) fn pause(&self, partition: i32) -> Option<Duration> {
        match lock(&self.0).get(&partition) {
            Some(State::Opening(since)) => Some(pause_after(since.elapsed())),
            _ => None,
        }
    }

    /// Whether a chunk may be sent to `partition` now; `one` if it is of one message only, which may
    /// open the partition.
    pub(crate) fn enter(&self, partition: i32, one: bool) -> bool {
        let states = &mut *lock(&self.0);
        match states.get(&partition) {
            Some(state) if state.is_open() => true,
            Some(State::Opening(_)) => false,
            _ => {
                if one {
                    states.insert(partition, State::Opening(Instant::now()));
                }
                one
            }
        }
    }

    /// A message was acknowledged by `partition`.
    pub(crate) fn acknowledge(&self, partition: i32) {
        lock(&self.0).insert(partition, State::Open(Instant::now()));
    }
}

impl State {
    fn is_open(&self) -> bool {
        matches!(self, Self::Open(at) if at.elapsed() < FORGOTTEN_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_opens_a_partition_and_the_others_wait_for_its_acknowledgement() {
        let open = OpenPartitions::default();
        assert!(!open.enter(1, false) && open.pause(1).is_none(), "many open nothing");
        assert!(open.enter(1, true));
        assert!(!open.enter(1, true) && open.pause(1).is_some() && !open.is_open(1));
        assert!(open.enter(2, true));
        open.acknowledge(1);
        assert!(open.enter(1, false) && open.pause(1).is_none() && open.is_open(1));
        assert!(!open.enter(2, false));
    }
}
