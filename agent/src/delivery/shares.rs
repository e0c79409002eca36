//! How much of the producer's queue each partition may hold.
//!
//! All partitions share the queue, and one whose broker cannot be reached must not fill it. So a lane
//! sends more only while its partition holds at most twice what is free (dynamic thresholds,
//! Choudhury and Hahne 1998): one partition alone has two thirds of the room, of k that stand still
//! each has 2/(2k+1), and there is always some left for those that move.

use crate::sync::lock;
use logweir_kafka::properties::Properties;
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// This share of the queue is for chunks that are begun when the room ends.
const KEPT: usize = 4;
/// How long a lane waits until it asks again: at least and at most, between a tenth of the time that its
/// partition stands still. So thousands of files of a partition that is stuck cost little.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));
/// After how long a partition that stands still is told.
const STUCK: Duration = Duration::from_secs(10);

/// How long to wait for a partition that has stood still for so long.
pub(super) fn pause_after(still: Duration) -> Duration {
    (still / 10).clamp(PAUSE.0, PAUSE.1)
}

/// What is queued, or may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) bytes: usize,
    pub(super) messages: usize,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Shares {
    room: Load,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    total: Load,
    partitions: HashMap<i32, Queued>,
}

#[derive(Debug)]
struct Queued {
    held: Load,
    /// Of each chunk that is not acknowledged. Two that are sent at once may change places; the sum is
    /// right when both are through.
    chunks: VecDeque<Load>,
    moved: Instant,
}

impl Shares {
    /// For a producer with these properties.
    pub(super) fn new(properties: &Properties) -> Self {
        let limit = |name: &str, unit: usize| {
            let limit = properties.effective(name).and_then(|text| text.parse::<usize>().ok());
            limit.map_or(usize::MAX / KEPT, |limit| limit.saturating_mul(unit))
        };
        Self::of(Load {
            bytes: limit("queue.buffering.max.kbytes", 1024),
            messages: limit("queue.buffering.max.messages", 1),
        })
    }

    fn of(queue: Load) -> Self {
        let room = Load {
            bytes: queue.bytes - queue.bytes / KEPT,
            messages: queue.messages - queue.messages / KEPT,
        };
        Self { room, state: Mutex::default() }
    }

    /// How long to wait before more is sent to `partition`; `None` if it may be sent now.
    pub(super) fn pause(&self, partition: i32) -> Option<Duration> {
        let state = lock(&self.state);
        let queued = state.partitions.get(&partition)?;
        let is_over =
            |held: usize, total: usize, room: usize| held / 2 > room.saturating_sub(total);
        let (held, total) = (queued.held, state.total);
        if !is_over(held.bytes, total.bytes, self.room.bytes)
            && !is_over(held.messages, total.messages, self.room.messages)
        {
            return None;
        }
        Some(pause_after(queued.moved.elapsed()))
    }

    /// The partitions that have been sent something and have acknowledged nothing for ten seconds.
    pub(super) fn stuck(&self) -> Vec<i32> {
        let state = lock(&self.state);
        let stands = |queued: &Queued| !queued.chunks.is_empty() && queued.moved.elapsed() > STUCK;
        let stuck = state.partitions.iter().filter(|(_, queued)| stands(queued));
        let mut stuck: Vec<i32> = stuck.map(|(partition, _)| *partition).collect();
        stuck.sort_unstable();
        stuck
    }

    /// A chunk goes to `partition`.
    pub(super) fn queue(&self, partition: i32, load: Load) {
        let state = &mut *lock(&self.state);
        let queued = state.partitions.entry(partition).or_insert_with(|| Queued {
            held: Load::default(),
            chunks: VecDeque::new(),
            moved: Instant::now(),
        });
        if queued.chunks.is_empty() {
            queued.moved = Instant::now();
        }
        queued.chunks.push_back(load);
        for sum in [&mut queued.held, &mut state.total] {
            sum.bytes += load.bytes;
            sum.messages += load.messages;
        }
    }

    /// A chunk that went to `partition` is acknowledged.
    pub(super) fn leave(&self, partition: i32) {
        let state = &mut *lock(&self.state);
        let Some(queued) = state.partitions.get_mut(&partition) else { return };
        queued.moved = Instant::now();
        let Some(load) = queued.chunks.pop_front() else { return };
        for sum in [&mut queued.held, &mut state.total] {
            sum.bytes -= load.bytes;
            sum.messages -= load.messages;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: Load = Load { bytes: 100, messages: 1 };

    /// Sends to `partition` for as long as it may; returns how many chunks that were.
    fn fill(shares: &Shares, partition: i32) -> usize {
        let sent = (0..1000).take_while(|_| {
            let may = shares.pause(partition).is_none();
            if may {
                shares.queue(partition, CHUNK);
            }
            may
        });
        sent.count()
    }

    #[test]
    fn partitions_that_stand_still_leave_room_for_others() {
        let shares = Shares::of(Load { bytes: 40_000, messages: 100_000 });
        assert_eq!(fill(&shares, 1), 201, "two thirds of what is not kept");
        assert!((60..80).contains(&fill(&shares, 2)));
        assert!((15..30).contains(&fill(&shares, 3)));
        // One that moves goes on and on.
        for _ in 0..1000 {
            assert_eq!(shares.pause(4), None);
            shares.queue(4, CHUNK);
            shares.leave(4);
        }
        (0..201).for_each(|_| shares.leave(1));
        assert!(fill(&shares, 1) > 100);
    }

    #[test]
    fn the_number_of_messages_is_a_limit_too() {
        let shares = Shares::of(Load { bytes: usize::MAX, messages: 400 });
        assert_eq!(fill(&shares, 1), 201);
        assert_eq!(shares.pause(1), Some(PAUSE.0));
    }
}
