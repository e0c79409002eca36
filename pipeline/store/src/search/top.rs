//! The first rows in order, of all that are found in any order.

use super::Order;
use std::collections::BinaryHeap;

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// In the scan's list.
    pub(super) file: u32,
    pub(super) row_group: u32,
    pub(super) row: u32,
}

/// A row that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// By what rows are ordered: the time, unless asked otherwise.
    pub(super) key: i64,
    /// Its offset and its partition in Kafka: the order in which rows of the same key arrived, whatever
    /// file they are in now.
    pub(super) arrival: (i64, i32),
    pub(super) place: Place,
}

/// Keeps the first `limit` rows. Which ones does not depend on the order in which they come: rows of
/// the same key are ordered by their arrivals, and those of the same arrival by their places.
#[derive(Debug)]
pub(super) struct Top {
    limit: usize,
    order: Order,
    /// The last of the kept rows is the greatest.
    kept: BinaryHeap<(i64, (i64, i32), Place)>,
}

impl Top {
    pub(super) fn new(limit: usize, order: Order) -> Self {
        Self { limit, order, kept: BinaryHeap::new() }
    }

    /// Smaller comes first. `!` turns the order of numbers round, and all of them have one.
    fn rank(&self, key: i64) -> i64 {
        match self.order {
            Order::NewestFirst => !key,
            Order::OldestFirst => key,
        }
    }

    /// Whether a row with a key in the range could be among the first.
    pub(super) fn may_take(&self, keys: Option<(i64, i64)>) -> bool {
        if self.kept.len() < self.limit {
            return true;
        }
        let Some((oldest, newest)) = keys else { return self.limit > 0 };
        let best = match self.order {
            Order::NewestFirst => newest,
            Order::OldestFirst => oldest,
        };
        self.kept.peek().is_some_and(|(last, ..)| self.rank(best) <= *last)
    }

    pub(super) fn take(&mut self, found: Found) {
        let (offset, partition) = found.arrival;
        let entry = (self.rank(found.key), (self.rank(offset), partition), found.place);
        if self.kept.len() < self.limit {
            self.kept.push(entry);
        } else if let Some(mut last) = self.kept.peek_mut()
            && entry < *last
        {
            *last = entry;
        }
    }

    /// The places of the kept rows, in order.
    pub(super) fn into_sorted(self) -> Vec<Place> {
        self.kept.into_sorted_vec().into_iter().map(|(.., place)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(key: i64, row: u32) -> Found {
        Found { key, arrival: (row.into(), 0), place: Place { file: 0, row_group: 0, row } }
    }

    #[test]
    fn the_first_are_kept_in_order_whatever_the_order_they_come_in() {
        let times = [5, 1, 9, 9, 3, i64::MIN, 7, i64::MAX];
        for (order, limit, expected) in [
            (Order::NewestFirst, 4, vec![7, 3, 2, 6]),
            (Order::OldestFirst, 3, vec![5, 1, 4]),
            (Order::NewestFirst, 2, vec![7, 3]),
            (Order::OldestFirst, 7, vec![5, 1, 4, 0, 6, 2, 3]),
            (Order::NewestFirst, 100, vec![7, 3, 2, 6, 0, 4, 1, 5]),
            (Order::NewestFirst, 0, vec![]),
        ] {
            for rotation in 0..times.len() {
                let mut top = Top::new(limit, order);
                for n in 0..times.len() {
                    let at = (n + rotation) % times.len();
                    top.take(found(times[at], at as u32));
                }
                let rows: Vec<u32> = top.into_sorted().iter().map(|place| place.row).collect();
                assert_eq!(rows, expected, "{order:?} {limit} {rotation}");
            }
        }
    }

    #[test]
    fn what_cannot_be_among_the_first_is_not_read() {
        let mut top = Top::new(2, Order::NewestFirst);
        top.take(found(10, 0));
        assert!(top.may_take(Some((0, 1))), "not full yet");
        top.take(found(20, 1));
        for (times, expected) in
            [(Some((0, 9)), false), (Some((0, 10)), true), (Some((0, 11)), true), (None, true)]
        {
            assert_eq!(top.may_take(times), expected, "{times:?}");
        }
    }
}
