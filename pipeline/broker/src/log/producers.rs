//! What the log remembers of idempotent producers, so that a batch sent again is not stored again.
//!
//! Of each producer the last five batches are kept, as many as a client may have in flight. The
//! memory is rebuilt from the batch headers when the log is opened, so it needs no file of its own.
//! Rules as in Kafka: a batch that is in the window is answered with its old offset, one that leaves a
//! gap is refused, and a producer that the log does not know (any more) may begin anywhere.

use super::batch::BatchHeader;
use std::collections::{HashMap, VecDeque};

/// Batches remembered per producer: clients cap their requests in flight at it.
const WINDOW_BATCHES: usize = 5;
/// Producers remembered per partition, about 250 bytes each; half of them, the ones silent for
/// longest, are forgotten when it is reached.
const PRODUCERS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Producers {
    known: HashMap<i64, Producer>,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// Oldest first, never empty.
    window: VecDeque<Remembered>,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// It is in the log already, at this offset.
    Duplicate(i64),
}

/// Why a batch of an idempotent producer is refused.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SequenceFault {
    #[error("a newer instance of the producer has written")]
    StaleEpoch,
    #[error("sequence {got} follows {last}")]
    Gap { last: i32, got: i32 },
}

impl Producers {
    /// Judges a batch that is to be appended.
    pub(crate) fn judge(&self, header: &BatchHeader) -> Result<Verdict, SequenceFault> {
        let Some(producer) = self.known.get(&header.producer_id) else {
            return Ok(Verdict::Append);
        };
        let last = producer.last_sequence();
        if header.producer_epoch < producer.epoch {
            return Err(SequenceFault::StaleEpoch);
        }
        let expected = if header.producer_epoch > producer.epoch { 0 } else { successor(last) };
        if header.base_sequence == expected {
            return Ok(Verdict::Append);
        }
        let gap = SequenceFault::Gap { last, got: header.base_sequence };
        if header.producer_epoch > producer.epoch {
            return Err(gap);
        }
        let sequences = (header.base_sequence, last_sequence(header));
        let same = |batch: &&Remembered| (batch.first_sequence, batch.last_sequence) == sequences;
        let found = producer.window.iter().find(same);
        found.map(|batch| Verdict::Duplicate(batch.base_offset)).ok_or(gap)
    }

    /// Remembers a batch that is in the log, at the offset in its header.
    pub(crate) fn remember(&mut self, header: &BatchHeader) {
        if header.producer_id < 0 {
            return;
        }
        if self.known.len() >= PRODUCERS_MAX && !self.known.contains_key(&header.producer_id) {
            self.forget_silent_half();
        }
        let fresh = || Producer { epoch: header.producer_epoch, window: VecDeque::new() };
        let producer = self.known.entry(header.producer_id).or_insert_with(fresh);
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.window.clear();
        }
        if producer.window.len() == WINDOW_BATCHES {
            producer.window.pop_front();
        }
        producer.window.push_back(Remembered {
            first_sequence: header.base_sequence,
            last_sequence: last_sequence(header),
            base_offset: header.base_offset,
        });
    }

    fn forget_silent_half(&mut self) {
        let mut newest: Vec<i64> = self.known.values().map(Producer::newest_offset).collect();
        newest.sort_unstable();
        let median = newest[newest.len() / 2];
        self.known.retain(|_, producer| producer.newest_offset() > median);
    }
}

impl Producer {
    fn newest(&self) -> &Remembered {
        self.window.back().expect("a producer is remembered together with its first batch")
    }

    fn last_sequence(&self) -> i32 {
        self.newest().last_sequence
    }

    fn newest_offset(&self) -> i64 {
        self.newest().base_offset
    }
}

fn last_sequence(header: &BatchHeader) -> i32 {
    // Sequences count from 0 to i32::MAX and begin anew.
    header.base_sequence.wrapping_add(header.last_offset_delta) & i32::MAX
}

fn successor(sequence: i32) -> i32 {
    sequence.wrapping_add(1) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::super::batch::made::sequenced;
    use super::*;

    fn header(producer_id: i64, epoch: i16, sequence: i32, records: i32, at: i64) -> BatchHeader {
        let mut bytes = sequenced(records, 0, producer_id, epoch, sequence);
        super::super::batch::place(&mut bytes, at, 0);
        BatchHeader::read(&bytes).unwrap()
    }

    #[test]
    fn a_batch_is_appended_answered_from_memory_or_refused() {
        let mut producers = Producers::default();
        for index in 0..7 {
            producers.remember(&header(1, 3, index * 10, 10, 100 + i64::from(index) * 10));
        }
        let check = |epoch, sequence, records, expected| {
            assert_eq!(producers.judge(&header(1, epoch, sequence, records, 0)), expected);
        };
        let gap = |got| Err(SequenceFault::Gap { last: 69, got });
        check(3, 70, 5, Ok(Verdict::Append));
        check(3, 60, 10, Ok(Verdict::Duplicate(160)));
        check(3, 20, 10, Ok(Verdict::Duplicate(120)));
        check(3, 10, 10, gap(10));
        check(3, 60, 9, gap(60));
        check(3, 71, 1, gap(71));
        check(4, 0, 1, Ok(Verdict::Append));
        check(4, 70, 1, gap(70));
        check(2, 70, 1, Err(SequenceFault::StaleEpoch));
        assert_eq!(producers.judge(&header(2, 0, 55, 1, 0)), Ok(Verdict::Append));
    }

    #[test]
    fn sequences_begin_anew_after_the_largest() {
        let mut producers = Producers::default();
        producers.remember(&header(1, 0, i32::MAX - 1, 3, 0));
        assert_eq!(producers.judge(&header(1, 0, 1, 1, 0)), Ok(Verdict::Append));
        let again = header(1, 0, i32::MAX - 1, 3, 0);
        assert_eq!(producers.judge(&again), Ok(Verdict::Duplicate(0)));
    }

    #[test]
    fn the_number_of_remembered_producers_is_bounded() {
        let mut producers = Producers::default();
        for producer_id in 0..3 * PRODUCERS_MAX as i64 {
            producers.remember(&header(producer_id, 0, 0, 1, producer_id));
            assert!(producers.known.len() <= PRODUCERS_MAX);
        }
        let newest = header(3 * PRODUCERS_MAX as i64 - 1, 0, 0, 1, 0);
        assert_eq!(producers.judge(&newest), Ok(Verdict::Duplicate(newest_offset())));
        fn newest_offset() -> i64 {
            3 * PRODUCERS_MAX as i64 - 1
        }
    }
}
