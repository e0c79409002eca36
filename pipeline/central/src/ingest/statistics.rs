//! What the workers have done, per partition, for status lines and the demo's screen.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// One partition as its worker sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionStatistics {
    pub worker: usize,
    /// Whether some worker of this process has the partition now.
    pub assigned: bool,
    /// The offset behind the last record that is in the table.
    pub stored_offset: i64,
    pub rows: u64,
    pub duplicates: u64,
    pub undecodable: u64,
}

/// All partitions; workers write after each flush, never per event.
#[derive(Debug, Default)]
pub struct Statistics {
    partitions: Mutex<BTreeMap<i32, PartitionStatistics>>,
}

impl Statistics {
    pub(super) fn update(&self, partition: i32, change: impl FnOnce(&mut PartitionStatistics)) {
        let mut partitions = self.partitions.lock().unwrap_or_else(|lock| lock.into_inner());
        change(partitions.entry(partition).or_default());
    }

    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<i32, PartitionStatistics> {
        self.partitions.lock().unwrap_or_else(|lock| lock.into_inner()).clone()
    }

    /// Rows, duplicates and undecodable records of all partitions.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, u64) {
        self.snapshot().values().fold((0, 0, 0), |(rows, duplicates, undecodable), partition| {
            (
                rows + partition.rows,
                duplicates + partition.duplicates,
                undecodable + partition.undecodable,
            )
        })
    }
}
