//! Which partitions a producer may send to freely.
//!
//! A broker takes the first batch of a producer that it does not know whatever its sequence number.
//! If that batch is refused and another one is on its way behind it, the other one is taken, and what
//! was refused comes too late. So the first message of a producer to a partition goes alone; once it
//! is acknowledged, the broker knows the sequence, and itself refuses what follows a hole.

use crate::sync::lock;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Brokers forget producers that are silent for a day (`producer.id.expiration.ms`).
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// How long one call of [`OpenPartitions::enter`] waits.
const NAP: Duration = Duration::from_millis(50);

/// What a sender has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Open,
    /// Send one message alone; the others wait for its acknowledgement.
    Yours,
    /// Ask again.
    Wait,
}

/// The partitions of one producer.
#[derive(Debug, Default)]
pub(crate) struct OpenPartitions {
    /// When each was last acknowledged; `None` while one opens it.
    acknowledged: Mutex<HashMap<i32, Option<Instant>>>,
    changed: Condvar,
}

impl OpenPartitions {
    /// Looks whether `partition` is open, and waits a moment if another one is opening it.
    pub(crate) fn enter(&self, partition: i32) -> Entry {
        let mut acknowledged = lock(&self.acknowledged);
        match acknowledged.get(&partition) {
            Some(Some(at)) if at.elapsed() < FORGOTTEN_AFTER => Entry::Open,
            Some(None) => {
                let waited = self.changed.wait_timeout(acknowledged, NAP);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                Entry::Wait
            }
            _ => {
                acknowledged.insert(partition, None);
                Entry::Yours
            }
        }
    }

    /// A message was acknowledged by `partition`.
    pub(crate) fn acknowledge(&self, partition: i32) {
        let before = lock(&self.acknowledged).insert(partition, Some(Instant::now()));
        if before != Some(None) {
            return;
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_opens_a_partition_and_the_others_wait_for_its_acknowledgement() {
        let open = OpenPartitions::default();
        assert_eq!(open.enter(1), Entry::Yours);
        assert_eq!(open.enter(1), Entry::Wait);
        assert_eq!(open.enter(2), Entry::Yours);
        open.acknowledge(1);
        assert_eq!(open.enter(1), Entry::Open);
        assert_eq!(open.enter(2), Entry::Wait);
    }
}
