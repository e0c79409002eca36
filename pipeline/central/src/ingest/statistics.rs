//! What the workers have done, per partition: for status, metrics, and the demo's screen.
//!
//! Owns the ingest's half of conservation: in every snapshot, and for each partition of it,
//! received = stored + duplicates + dead letters + held + given back, because each change keeps it and
//! a snapshot is taken between changes. What was received and what is held are counted by the worker
//! when it gets a record, the others by the writer of the table when they are committed.

use logweir_store::Counts;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Records by what became of them, since this process started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub received: u64,
    pub stored: u64,
    /// Of those, events whose time is too far from their arrival: they are under the day of arrival.
    pub suspect: u64,
    /// Events that the table had already.
    pub duplicates: u64,
    /// Records in the dead-letter topic, by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// In memory, in no commit yet.
    pub held: u64,
    /// Read and not written, because another worker had written the partition meanwhile; whoever has
    /// it now reads them.
    pub given_back: u64,
    /// Records that Kafka had removed before they were read; they are not among those received.
    pub expired: u64,
}

impl Tally {
    #[must_use]
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.values().sum()
    }

    /// Records that are done with: nothing is to be waited for.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.stored + self.duplicates + self.dead_letters()
    }

    fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.stored += other.stored;
        self.suspect += other.suspect;
        self.duplicates += other.duplicates;
        self.held += other.held;
        self.given_back += other.given_back;
        self.expired += other.expired;
        for (reason, count) in &other.dead_letters {
            *self.dead_letters.entry(reason).or_default() += count;
        }
    }
}

/// One partition as its worker sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PartitionStatistics {
    pub worker: usize,
    /// Whether some worker of this process has the partition now.
    pub assigned: bool,
    #[serde(flatten)]
    pub tally: Tally,
    pub held_bytes: u64,
    /// The offset behind the last record that is in the table.
    pub stored_offset: i64,
    /// The offset that the next record of the topic gets; `None` while the cluster does not say.
    pub end_offset: Option<i64>,
    /// Kafka's time of the last record that is in the table.
    pub stored_time_ms: Option<i64>,
    /// Kafka's time of the oldest record that is held.
    pub held_time_ms: Option<i64>,
    /// When the table was last seen to have everything.
    pub complete_at_ms: Option<i64>,
    /// Records received per second, lately.
    pub rate: f64,
}

impl PartitionStatistics {
    /// A worker goes on behind what the table has, or where the topic now begins: what is not there any
    /// more is no lag.
    pub(super) fn take_up(&mut self, position: Option<i64>, start: i64) {
        self.stored_offset = position.unwrap_or(start).max(start);
    }

    /// Records in the topic that are not in the table.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        self.end_offset.map(|end| u64::try_from(end - self.stored_offset).unwrap_or(0))
    }

    /// How long the oldest record that is not in the table has been in the topic: exactly, if it is
    /// held here; otherwise at most this long, as it came after the last that is in the table and
    /// after the table was last seen to have everything. `None` if nothing is known of it.
    #[must_use]
    pub fn lag_ms(&self, now_ms: i64) -> Option<u64> {
        if self.lag()? == 0 {
            return Some(0);
        }
        let since = self.held_time_ms.or_else(|| self.stored_time_ms.max(self.complete_at_ms))?;
        Some(u64::try_from(now_ms - since).unwrap_or(0))
    }
}

/// Commits to the table by this process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Commits {
    pub commits: u64,
    /// Commits that were refused because another worker had written a partition.
    pub refused: u64,
    pub last_at_ms: Option<i64>,
    pub last_rows: u64,
    /// How long the last one took, in milliseconds.
    pub last_took_ms: u64,
}

/// What is known at one moment.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub partitions: BTreeMap<i32, PartitionStatistics>,
    pub commits: Commits,
    /// Letters about records that the dead-letter topic did not take, those of the sinks too.
    pub letters_refused: u64,
}

impl Seen {
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.partitions.values().for_each(|partition| total.add(&partition.tally));
        total
    }

    /// The partitions that workers of this process have.
    pub fn assigned(&self) -> impl Iterator<Item = (i32, &PartitionStatistics)> {
        self.partitions.iter().filter(|(_, seen)| seen.assigned).map(|(id, seen)| (*id, seen))
    }

    /// Records in these partitions that are not in the table; `None` if one of them is not known.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        self.assigned().map(|(_, seen)| seen.lag()).sum()
    }

    /// The longest lag of a partition, see [`PartitionStatistics::lag_ms`].
    #[must_use]
    pub fn lag_ms(&self, now_ms: i64) -> Option<u64> {
        let lags: Option<Vec<u64>> = self.assigned().map(|(_, seen)| seen.lag_ms(now_ms)).collect();
        lags.map(|lags| lags.into_iter().max().unwrap_or(0))
    }
}

/// All partitions; workers write after each flush and a few times a second, never per event.
#[derive(Debug, Default)]
pub struct Statistics(Mutex<Seen>);

impl Statistics {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update<T>(
        &self,
        partition: i32,
        change: impl FnOnce(&mut PartitionStatistics) -> T,
    ) -> T {
        change(self.seen().partitions.entry(partition).or_default())
    }

    pub(super) fn committed(&self, now_ms: i64, rows: u64, took: Duration) {
        let mut seen = self.seen();
        seen.commits.commits += 1;
        seen.commits.last_at_ms = Some(now_ms);
        seen.commits.last_rows = rows;
        seen.commits.last_took_ms = took.as_millis() as u64;
    }

    pub(super) fn refused(&self) {
        self.seen().commits.refused += 1;
    }

    pub(super) fn letter_refused(&self) {
        self.seen().letters_refused += 1;
    }

    #[must_use]
    pub fn snapshot(&self) -> Seen {
        self.seen().clone()
    }

    #[must_use]
    pub fn total(&self) -> Tally {
        self.seen().total()
    }
}

/// What a worker has taken of one partition since it told last, and holds.
#[derive(Debug, Default)]
pub(super) struct Taken {
    untold: u64,
    held: u64,
    held_time_ms: Option<i64>,
    newest_time_ms: Option<i64>,
    dead: BTreeMap<&'static str, u64>,
}

impl Taken {
    /// A record has come.
    pub(super) fn receive(&mut self, time_ms: Option<i64>) {
        self.untold += 1;
        self.held += 1;
        self.held_time_ms = self.held_time_ms.or(time_ms);
        self.newest_time_ms = time_ms.or(self.newest_time_ms);
    }

    /// The last one goes to the dead letters.
    pub(super) fn bury(&mut self, reason: &'static str) {
        *self.dead.entry(reason).or_default() += 1;
    }

    /// Tells what has come.
    pub(super) fn tell(&mut self, held_bytes: u64, to: &mut PartitionStatistics) {
        to.tally.received += std::mem::take(&mut self.untold);
        to.tally.held = self.held;
        to.held_time_ms = self.held_time_ms;
        to.held_bytes = held_bytes;
    }

    /// All that is held is committed, and was this.
    pub(super) fn commit(&mut self, counts: Counts, next: i64, to: &mut PartitionStatistics) {
        self.held = 0;
        self.held_time_ms = None;
        to.tally.stored += counts.rows;
        to.tally.suspect += counts.suspect;
        to.tally.duplicates += counts.duplicates;
        to.tally.expired += counts.expired;
        for (reason, count) in std::mem::take(&mut self.dead) {
            *to.tally.dead_letters.entry(reason).or_default() += count;
        }
        to.stored_offset = next;
        to.stored_time_ms = self.newest_time_ms.or(to.stored_time_ms);
        self.tell(0, to);
    }

    /// All that is held is dropped here, for whoever has the partition now.
    pub(super) fn give_back(&mut self, to: &mut PartitionStatistics) {
        to.tally.given_back += std::mem::take(&mut self.held);
        self.held_time_ms = None;
        self.dead.clear();
        self.tell(0, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_conserved(partition: &PartitionStatistics) {
        let Tally { received, held, given_back, .. } = partition.tally;
        assert_eq!(received, partition.tally.settled() + held + given_back, "{partition:?}");
    }

    #[test]
    fn nothing_received_is_unaccounted_for_whatever_becomes_of_it() {
        let (mut taken, mut seen) = (Taken::default(), PartitionStatistics::default());
        for time in [10, 11, 12] {
            taken.receive(Some(time));
        }
        taken.bury("not_json");
        taken.tell(30, &mut seen);
        assert_conserved(&seen);
        assert_eq!((seen.tally.held, seen.held_time_ms, seen.held_bytes), (3, Some(10), 30));
        taken.commit(
            Counts { rows: 1, suspect: 1, duplicates: 1, undecodable: 1, expired: 5 },
            3,
            &mut seen,
        );
        assert_conserved(&seen);
        assert_eq!((seen.tally.held, seen.stored_time_ms, seen.tally.expired), (0, Some(12), 5));
        taken.receive(None);
        taken.bury("not_json");
        taken.give_back(&mut seen);
        assert_conserved(&seen);
        assert_eq!((seen.tally.given_back, seen.tally.dead_letters()), (1, 1));
    }

    #[test]
    fn what_expired_before_it_was_read_is_no_lag() {
        let mut seen = PartitionStatistics::default();
        for (position, start, stored) in
            [(None, 5, 5), (Some(1_000), 0, 1_000), (Some(1_000), 1_500, 1_500)]
        {
            seen.take_up(position, start);
            assert_eq!(seen.stored_offset, stored, "{position:?} {start}");
        }
    }

    #[test]
    fn lag_is_told_in_records_and_by_the_age_of_the_oldest() {
        let mut seen = PartitionStatistics { assigned: true, ..Default::default() };
        assert_eq!((seen.lag(), seen.lag_ms(100)), (None, None));
        seen.end_offset = Some(7);
        assert_eq!((seen.lag(), seen.lag_ms(100)), (Some(7), None));
        seen.complete_at_ms = Some(40);
        seen.stored_time_ms = Some(10);
        assert_eq!(seen.lag_ms(100), Some(60));
        seen.held_time_ms = Some(90);
        assert_eq!(seen.lag_ms(100), Some(10));
        seen.stored_offset = 7;
        assert_eq!((seen.lag(), seen.lag_ms(100)), (Some(0), Some(0)));
    }
}
