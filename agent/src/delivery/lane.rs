//! A lane: what of one source is on its way to Kafka, and up to where Kafka has acknowledged.
//!
//! Owns ACK-1: the acknowledged position moves only over a contiguous prefix of chunks whose every
//! message, dead letters included, is in its topic. Owns ACK-3: nothing is sent before the
//! checkpoint holds the source with its partition. Owns ACC-1 per source. Knows nothing of Kafka's client;
//! the courier tells it outcomes, and tells it to start over when a producer failed.

use crate::accounting::{Counts, DropReason, Tally};
use crate::sync::{Changes, lock};
use logweir_record::{SourceId, partition_of};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes before a position are remembered (as a hash), to know the content again.
pub(crate) const GUARD_BYTES: u64 = 256;

/// The bytes before a position, by number (at most [`GUARD_BYTES`]) and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Guard {
    pub length: u16,
    pub hash: u64,
}

impl Guard {
    /// The guard for a position right behind `before`, of which the last bytes count.
    #[must_use]
    pub(crate) fn of(before: &[u8]) -> Self {
        let tail = &before[before.len().saturating_sub(GUARD_BYTES as usize)..];
        Self { length: tail.len() as u16, hash: content_hash(tail) }
    }
}

/// The first eight bytes of BLAKE3; 0 for nothing.
#[must_use]
pub(crate) fn content_hash(bytes: &[u8]) -> u64 {
    if bytes.is_empty() {
        return 0;
    }
    let mut word = [0; 8];
    word.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    u64::from_le_bytes(word)
}

/// A place in a source between two lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// Bytes from the source's start.
    pub offset: u64,
    /// The offset of the last event sent before it; the chain goes on from there.
    pub prev: Option<u64>,
    pub guard: Guard,
}

/// One source's way to Kafka.
#[derive(Debug)]
pub(crate) struct Lane {
    id: SourceId,
    state: Mutex<State>,
    /// Of what the checkpoint keeps of it; `version` counts those of this lane alone.
    changes: Changes,
    version: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// Which producer the pending chunks were given to.
    generation: u64,
    interrupted: bool,
    pending: VecDeque<Chunk>,
    next_sequence: u32,
    acked: Position,
    /// The partition of all events of the source, once chosen.
    partition: Option<i32>,
    /// The checkpoint holds the choice.
    recorded: bool,
    /// Up to where the source has been handed over.
    read_offset: u64,
    /// Events that the broker refused by themselves, and why; they become dead letters.
    refused: BTreeMap<u64, Refusal>,
    /// The source cannot be read again: what is unacknowledged when a producer fails is lost.
    gone: bool,
    read: u64,
    delivered: u64,
    held: u64,
    /// All chunks handed over and not taken back.
    taken: Tally,
}

#[derive(Debug)]
struct Chunk {
    sequence: u32,
    end: Position,
    tally: Tally,
    /// The last message of the chunk is in the topic, and with it all before it.
    events_acked: bool,
    dead_letters_open: u32,
}

/// What the broker said to an event that was alone in its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub reason: String,
    /// The dead letter about it was refused as well, so there is nothing more to send.
    pub dead_letter_refused: bool,
}

/// How a worker goes on with a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// From where it stopped.
    Onward,
    /// From the acknowledged position: the producer that had the rest has failed.
    Rewind(Position),
    /// Not before there is another producer: a chunk is stuck half-way.
    Wait,
}

impl Lane {
    /// A lane whose source has been delivered up to `acked`. It notes what changes for the
    /// checkpoint in `changes`.
    #[must_use]
    pub(crate) fn new(
        id: SourceId,
        acked: Position,
        partition: Option<i32>,
        changes: Changes,
    ) -> Self {
        let state = State {
            generation: 0,
            interrupted: false,
            pending: VecDeque::new(),
            next_sequence: 0,
            acked,
            partition,
            recorded: partition.is_some(),
            read_offset: acked.offset,
            refused: BTreeMap::new(),
            gone: false,
            read: 0,
            delivered: 0,
            held: 0,
            taken: Tally::default(),
        };
        Self { id, state: Mutex::new(state), changes, version: AtomicU64::new(0) }
    }

    #[must_use]
    pub(crate) fn id(&self) -> SourceId {
        self.id
    }

    /// To be called before each turn, with the number of the producer in use.
    pub(crate) fn resume(&self, generation: u64) -> Resume {
        let mut state = lock(&self.state);
        if state.generation == generation {
            return if state.interrupted { Resume::Wait } else { Resume::Onward };
        }
        state.generation = generation;
        state.interrupted = false;
        if state.pending.is_empty() {
            return Resume::Onward;
        }
        state.take_back();
        Resume::Rewind(state.acked)
    }

    /// A chunk was not sent whole: nothing more may follow it with the same producer.
    pub(crate) fn interrupt(&self) {
        lock(&self.state).interrupted = true;
    }

    /// The producer that the pending chunks belong to.
    #[must_use]
    pub(crate) fn generation(&self) -> u64 {
        lock(&self.state).generation
    }

    /// Takes charge of a chunk that ends at `end`; its messages are sent after this. Returns the
    /// number that outcomes refer to.
    pub(crate) fn hand_over(&self, end: Position, tally: Tally, dead_letters: u32) -> u32 {
        let mut state = lock(&self.state);
        let sequence = state.next_sequence;
        state.next_sequence = sequence.wrapping_add(1);
        state.read += tally.read;
        state.held += tally.sent;
        state.taken.add(&tally);
        state.read_offset = end.offset;
        let events_acked = tally.sent == 0;
        let chunk = Chunk { sequence, end, tally, events_acked, dead_letters_open: dead_letters };
        state.pending.push_back(chunk);
        self.advance(&mut state);
        sequence
    }

    /// Takes the last chunk back, of which nothing was sent.
    pub(crate) fn hand_back(&self, sequence: u32) {
        let state = &mut *lock(&self.state);
        // Nothing else hands over to this lane meanwhile, but all may have been taken back.
        let Some(chunk) = state.pending.pop_back_if(|chunk| chunk.sequence == sequence) else {
            return;
        };
        state.next_sequence = sequence;
        state.read -= chunk.tally.read;
        state.held -= chunk.tally.sent;
        state.taken.subtract(&chunk.tally);
        let end = state.pending.back().map_or(state.acked, |chunk| chunk.end);
        state.read_offset = end.offset;
    }

    /// All events of a chunk are in the topic.
    pub(crate) fn events_acked(&self, generation: u64, sequence: u32) {
        self.outcome(generation, sequence, |chunk| chunk.events_acked = true);
    }

    /// One dead letter of a chunk is in its topic.
    pub(crate) fn dead_letter_acked(&self, generation: u64, sequence: u32) {
        self.outcome(generation, sequence, |chunk| {
            chunk.dead_letters_open = chunk.dead_letters_open.saturating_sub(1);
        });
    }

    fn outcome(&self, generation: u64, sequence: u32, apply: impl FnOnce(&mut Chunk)) {
        let mut state = lock(&self.state);
        if state.generation != generation {
            return;
        }
        let first = state.pending.front().map_or(sequence, |chunk| chunk.sequence);
        let index = sequence.wrapping_sub(first) as usize;
        if let Some(chunk) = state.pending.get_mut(index) {
            apply(chunk);
            self.advance(&mut state);
        }
    }

    fn advance(&self, state: &mut State) {
        if state.advance() {
            self.note_change();
        }
    }

    /// Something that the checkpoint keeps of the source has changed; to be called after the change,
    /// or under the lock that it is seen through.
    pub(crate) fn note_change(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.changes.note();
    }

    /// Counts the changes of what the checkpoint keeps of the source; to be asked before a look at
    /// that: what changes later has another number.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The broker refuses the event at `offset`, alone as it was.
    /// A second refusal of the same offset is one of its dead letter.
    pub(crate) fn refuse(&self, offset: u64, reason: String) {
        let refused = &mut lock(&self.state).refused;
        let dead_letter_refused = refused.contains_key(&offset);
        refused.insert(offset, Refusal { reason, dead_letter_refused });
    }

    /// Why the event at `offset` must become a dead letter, if it must.
    #[must_use]
    pub(crate) fn refusal(&self, offset: u64) -> Option<Refusal> {
        lock(&self.state).refused.get(&offset).cloned()
    }

    /// Whether [`Lane::refusal`] has to be asked at all.
    #[must_use]
    pub(crate) fn has_refusals(&self) -> bool {
        !lock(&self.state).refused.is_empty()
    }

    /// The partition of the source, chosen the first time by the count of partitions; `None` while
    /// the checkpoint does not hold the choice. An event that went out before could go out again to
    /// another partition, if the agent dies and the topic is enlarged, and the ledger of that one
    /// does not know it.
    pub(crate) fn partition(&self, partitions: u32) -> Option<i32> {
        let mut state = lock(&self.state);
        if state.partition.is_none_or(|partition| partition as u32 >= partitions) {
            state.partition = Some(partition_of(&self.id, partitions));
            state.recorded = false;
            self.note_change();
        }
        state.partition.filter(|_| state.recorded)
    }

    /// The partition that the checkpoint does not hold yet.
    #[must_use]
    pub(crate) fn unrecorded(&self) -> Option<i32> {
        let state = lock(&self.state);
        state.partition.filter(|_| !state.recorded)
    }

    /// The checkpoint holds that `partition` was chosen.
    pub(crate) fn record(&self, partition: i32) {
        let mut state = lock(&self.state);
        state.recorded |= state.partition == Some(partition);
    }

    /// Nothing more goes out until the checkpoint holds the source as it is now.
    pub(crate) fn unrecord(&self) {
        lock(&self.state).recorded = false;
        self.note_change();
    }

    /// The source cannot be read again from its acknowledged position. What a producer that failed
    /// already has of it counts as lost at once.
    pub(crate) fn mark_gone(&self) {
        lock(&self.state).gone = true;
    }

    /// Takes back what a producer older than `generation` had, for a lane that no worker serves any
    /// more.
    pub(crate) fn settle(&self, generation: u64) {
        let mut state = lock(&self.state);
        if state.gone && state.generation != generation {
            state.generation = generation;
            state.take_back();
        }
    }

    #[must_use]
    pub(crate) fn acked(&self) -> Position {
        lock(&self.state).acked
    }

    /// The acknowledged position and the partition, as the checkpoint keeps them.
    #[must_use]
    pub(crate) fn progress(&self) -> (Position, Option<i32>) {
        let state = lock(&self.state);
        (state.acked, state.partition)
    }

    #[must_use]
    pub(crate) fn is_settled(&self) -> bool {
        lock(&self.state).pending.is_empty()
    }

    /// Up to where the source was read.
    #[must_use]
    pub(crate) fn read_offset(&self) -> u64 {
        lock(&self.state).read_offset
    }

    /// (read offset, acknowledged offset, counts), of one moment.
    #[must_use]
    pub(crate) fn counts(&self) -> (u64, u64, Counts) {
        let state = lock(&self.state);
        let counts = Counts {
            read: state.read,
            delivered: state.delivered,
            held: state.held,
            dropped: state.taken.dropped.by_word(),
            parsed: state.taken.parsed,
            unparsed: state.taken.sent - state.taken.parsed,
            bytes_read: state.taken.bytes,
            nul_bytes_skipped: state.taken.nul_bytes,
        };
        (state.read_offset, state.acked.offset, counts)
    }
}

impl State {
    /// Moves the acknowledged position over the chunks that are through; returns whether it moved.
    fn advance(&mut self) -> bool {
        let mut moved = false;
        while let Some(chunk) = self.pending.front() {
            if !chunk.events_acked || chunk.dead_letters_open > 0 {
                break;
            }
            debug_assert!(chunk.end.offset >= self.acked.offset, "a chunk ends behind its start");
            self.acked = chunk.end;
            self.delivered += chunk.tally.sent;
            self.held -= chunk.tally.sent;
            self.pending.pop_front();
            if !self.refused.is_empty() {
                self.refused = self.refused.split_off(&self.acked.offset);
            }
            moved = true;
        }
        moved
    }

    /// Undoes the counting of what is pending: it is read again, or lost if the source is gone.
    fn take_back(&mut self) {
        let mut taken = Tally::default();
        let mut lost = 0;
        for chunk in self.pending.drain(..) {
            if self.gone {
                lost += chunk.tally.sent;
            } else {
                self.read -= chunk.tally.read;
            }
            self.held -= chunk.tally.sent;
            taken.add(&chunk.tally);
        }
        if self.gone {
            self.taken.dropped.add(DropReason::TruncatedUnacknowledged, lost);
        } else {
            self.taken.subtract(&taken);
            self.read_offset = self.acked.offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { offset, ..Position::default() }
    }

    fn tally(sent: u64) -> Tally {
        Tally { read: sent, sent, bytes: 10, ..Tally::default() }
    }

    fn lane() -> Lane {
        Lane::new(SourceId::derive(&[b"lane"]), Position::default(), None, Changes::default())
    }

    #[test]
    fn the_acknowledged_position_moves_over_a_contiguous_prefix_only() {
        // Chunks end at 10, 20, 30, …; each step acknowledges one and says where the prefix ends.
        let cases: &[&[(u32, u64)]] = &[
            &[(0, 10), (1, 20), (2, 30)],
            &[(2, 0), (1, 0), (0, 30)],
            &[(1, 0), (0, 20), (0, 20), (2, 30)],
            &[(7, 0), (0, 10)],
        ];
        for steps in cases {
            let lane = lane();
            lane.resume(1);
            for end in [10, 20, 30] {
                lane.hand_over(at(end), tally(2), 0);
            }
            for (sequence, expected) in *steps {
                lane.events_acked(1, *sequence);
                assert_eq!(lane.acked().offset, *expected, "{steps:?}");
                assert!(lane.counts().2.balanced());
            }
        }
    }

    #[test]
    fn every_order_of_outcomes_keeps_prefix_and_books() {
        // A linear congruential walk over hand-overs, outcomes and failed producers.
        for seed in 0..500_u64 {
            let mut random = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut next = |bound: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                (random >> 33) % bound
            };
            let lane = lane();
            let (mut generation, mut end) = (1, 0);
            // (sequence, end, events are in, dead letters missing), as the model.
            let mut model: Vec<(u32, u64, bool, u32)> = Vec::new();
            let mut acked = 0;
            assert_eq!(lane.resume(generation), Resume::Onward);
            for _ in 0..200 {
                match next(11) {
                    0..=3 => {
                        end += 1 + next(100);
                        let (sent, dead) = (next(3), next(2) as u32);
                        let mut tally = tally(sent);
                        tally.read += u64::from(dead);
                        tally.dropped.add(DropReason::TooLarge, u64::from(dead));
                        let sequence = lane.hand_over(at(end), tally, dead);
                        model.push((sequence, end, sent == 0, dead));
                    }
                    4..=8 if !model.is_empty() => {
                        let index = next(model.len() as u64) as usize;
                        let chunk = &mut model[index];
                        if next(2) == 0 {
                            chunk.2 = true;
                            lane.events_acked(generation, chunk.0);
                        } else {
                            chunk.3 = chunk.3.saturating_sub(1);
                            lane.dead_letter_acked(generation, chunk.0);
                        }
                    }
                    9 => {
                        generation += 1;
                        let rewound = lane.resume(generation);
                        let expected = if model.is_empty() {
                            Resume::Onward
                        } else {
                            Resume::Rewind(at(acked))
                        };
                        assert_eq!(rewound, expected);
                        if !model.is_empty() {
                            end = acked;
                        }
                        model.clear();
                        lane.events_acked(generation - 1, 0);
                    }
                    10 => {
                        let before = lane.counts();
                        let sequence = lane.hand_over(at(end + 7), tally(1), next(2) as u32);
                        lane.hand_back(sequence);
                        assert_eq!(lane.counts(), before, "seed {seed}");
                    }
                    _ => {}
                }
                while model.first().is_some_and(|chunk| chunk.2 && chunk.3 == 0) {
                    acked = model.remove(0).1;
                }
                assert_eq!(lane.acked().offset, acked, "seed {seed}");
                assert!(lane.counts().2.balanced(), "seed {seed}: {:?}", lane.counts());
            }
        }
    }

    #[test]
    fn a_partition_counts_once_it_is_recorded() {
        let lane = lane();
        assert_eq!((lane.partition(1), lane.unrecorded()), (None, Some(0)));
        lane.record(7);
        assert_eq!(lane.partition(1), None, "another choice was recorded");
        lane.record(0);
        assert_eq!((lane.partition(1), lane.unrecorded()), (Some(0), None));
        assert_eq!(lane.partition(1000), Some(0), "a source stays where it is");
        lane.unrecord();
        assert_eq!((lane.partition(1), lane.unrecorded()), (None, Some(0)));
        let moved = Lane::new(lane.id(), Position::default(), Some(7), Changes::default());
        assert_eq!(moved.partition(8), Some(7));
        assert_eq!((moved.partition(1), moved.unrecorded()), (None, Some(0)), "there is no 7 now");
    }

    #[test]
    fn what_cannot_be_read_again_counts_as_dropped() {
        let lane = lane();
        lane.resume(1);
        lane.hand_over(at(10), tally(3), 0);
        lane.mark_gone();
        lane.settle(1);
        assert_eq!(lane.counts().2.held, 3);
        lane.settle(2);
        let counts = lane.counts().2;
        assert_eq!((counts.read, counts.held, counts.dropped_total()), (3, 0, 3));
        assert!(counts.balanced());
    }

    #[test]
    fn a_refusal_is_forgotten_once_it_is_behind() {
        let lane = lane();
        lane.resume(1);
        lane.refuse(4, "too large".into());
        lane.refuse(12, "too large".into());
        assert!(lane.refusal(4).is_some() && lane.refusal(5).is_none());
        lane.hand_over(at(10), Tally::default(), 1);
        lane.dead_letter_acked(1, 0);
        assert!(lane.refusal(4).is_none() && lane.refusal(12).is_some());
    }
}
