//! What no source can tell: records of the partition that Kafka removed before they were read, and what was
//! missing of sources that were forgotten. Whose events they were is not known, so nothing is proved of any
//! source of the partition.

use super::source::Source;
use serde::{Deserialize, Serialize};

/// With more, the two oldest are told as one.
const EXPIRED_MAX: usize = 100;

/// Records that Kafka removed before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// The offset of the first one.
    pub from: i64,
    /// The offset behind the last one.
    pub until: i64,
    /// How many; fewer than the offsets if some in between were read.
    pub records: u64,
    /// When that was noticed, in microseconds.
    pub at_us: i64,
}

/// See the module's description.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Losses {
    /// In order of offsets.
    pub expired: Vec<Expired>,
    /// Sources that were forgotten.
    pub forgotten: u64,
    /// Of those, the ones that could not prove that they were complete…
    pub forgotten_incomplete: u64,
    /// …their gaps…
    pub forgotten_gaps: u64,
    /// …and when the last event of any of them came, in microseconds.
    pub forgotten_seen_us: i64,
}

impl Losses {
    pub(super) fn expire(&mut self, expired: Expired) {
        self.expired.push(expired);
        if self.expired.len() > EXPIRED_MAX {
            let first = self.expired.remove(0);
            let second = &mut self.expired[0];
            (second.from, second.records) = (first.from, first.records + second.records);
        }
    }

    pub(super) fn forget(&mut self, source: &Source) {
        self.forgotten += 1;
        if !source.is_complete() {
            self.forgotten_incomplete += 1;
            self.forgotten_gaps += source.gaps.len() as u64;
            self.forgotten_seen_us = self.forgotten_seen_us.max(source.last_seen_us);
        }
    }

    /// Whether nothing of it keeps the sources from proving that they are complete.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.expired.is_empty() && self.forgotten_incomplete == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_often_records_expire_all_are_counted_and_few_lines_tell_of_them() {
        let mut losses = Losses::default();
        for n in 0..1_000 {
            losses.expire(Expired { from: n * 10, until: n * 10 + 3, records: 3, at_us: n });
        }
        assert_eq!(losses.expired.len(), EXPIRED_MAX);
        assert_eq!(losses.expired.iter().map(|expired| expired.records).sum::<u64>(), 3_000);
        let first = losses.expired[0];
        assert_eq!((first.from, first.until, first.at_us), (0, 9_003, 900));
    }
}
