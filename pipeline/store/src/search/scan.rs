//! The walk over the table's files: which are read, by whom, in which order.

use super::cells::Cells;
use super::file::DataFile;
use super::predicate::Predicate;
use super::prune;
use super::queue::{Job, Opening, Queue};
use super::row::{Row, Wanted};
use super::top::{Found, Place};
use super::{Order, SearchOptions, SearchSummary};
use crate::directory::Directory;
use crate::error::StoreError;
use crate::schema::{self, COLUMNS, ColumnIndex, Kind};
use crate::table::Table;
use arrow_array::RecordBatch;
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Smallest and largest value of the column by which rows are ordered; `None`: not known.
type Keys = Option<(i64, i64)>;

/// The files that may hold matching rows, and the tests.
pub(crate) struct Scan<'t> {
    directory: &'t Directory,
    conjuncts: Vec<Predicate>,
    /// The column by which rows are ordered.
    key: ColumnIndex,
    order: Order,
    threads: usize,
    prune: bool,
    /// In the order in which they are read.
    files: Vec<(String, Keys)>,
    files_in_table: u64,
    /// As the log says; `None` if it does not.
    rows_in_table: Option<u64>,
    opened: AtomicU64,
    skipped: AtomicU64,
    scanned: AtomicU64,
}

/// A row group of an open file.
struct Unit {
    file: Arc<DataFile>,
    /// In the scan's list.
    file_at: usize,
    row_group: usize,
}

/// A row group with its rows that match.
pub(crate) struct Part<'s> {
    file: &'s DataFile,
    file_at: usize,
    row_group: usize,
    key: ColumnIndex,
    selected: BooleanBuffer,
}

impl<'t> Scan<'t> {
    pub(crate) fn new(
        table: &'t Table,
        conjuncts: Vec<Predicate>,
        options: &SearchOptions,
    ) -> Result<Self, StoreError> {
        Self::by(schema::TIMESTAMP, table, conjuncts, options)
    }

    /// With the rows in the order of a column of times or whole numbers.
    pub(super) fn by(
        key: ColumnIndex,
        table: &'t Table,
        conjuncts: Vec<Predicate>,
        options: &SearchOptions,
    ) -> Result<Self, StoreError> {
        let entries = table.files()?;
        let files_in_table = entries.len() as u64;
        let rows_in_table = entries.iter().map(|entry| entry.statistics().num_records).sum();
        let mut files = Vec::new();
        for entry in entries {
            let known = entry.statistics();
            if !options.prune || conjuncts.iter().all(|part| prune::may_match(part, known)) {
                let name = COLUMNS[key].name;
                let keys = match COLUMNS[key].kind {
                    Kind::Time => known.times(name),
                    _ => known.longs(name),
                };
                files.push((entry.path, keys));
            }
        }
        // Files of unknown keys first: they may hold anything.
        match options.order {
            Order::NewestFirst => {
                files.sort_by_key(|(_, keys)| keys.map(|(_, newest)| std::cmp::Reverse(newest)));
            }
            Order::OldestFirst => files.sort_by_key(|(_, keys)| keys.map(|(oldest, _)| oldest)),
        }
        Ok(Self {
            directory: table.directory(),
            conjuncts,
            key,
            order: options.order,
            threads: options.threads.max(1),
            prune: options.prune,
            files,
            files_in_table,
            rows_in_table,
            opened: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            scanned: AtomicU64::new(0),
        })
    }

    /// Of the files only those that are `wanted`.
    pub(super) fn of(mut self, wanted: impl Fn(&str) -> bool) -> Self {
        self.files.retain(|(path, _)| wanted(path));
        self
    }

    /// The rows that match, if that can be known without reading them: all of them do.
    pub(super) fn rows_by_statistics(&self) -> Option<u64> {
        self.rows_in_table.filter(|_| self.prune && self.conjuncts.is_empty())
    }

    /// Hands out every row group with matching rows. `wanted` says whether rows of such keys are
    /// still of use.
    pub(crate) fn run(
        &self,
        wanted: impl Fn(Keys) -> bool + Sync,
        take: impl Fn(&Part<'_>) -> Result<(), StoreError> + Sync,
    ) -> Result<(), StoreError> {
        let queue = Queue::new(self.files.len());
        let failure = Mutex::new(None);
        let work = || {
            while let Some(job) = queue.next() {
                let outcome = match job {
                    Job::Open(opening) => self.open(opening, &wanted),
                    Job::Test(unit) => self.test(&unit, &wanted, &take),
                };
                if let Err(error) = outcome {
                    queue.stop();
                    failure.lock().unwrap_or_else(|lock| lock.into_inner()).get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(work);
            }
            work();
        });
        failure.into_inner().unwrap_or_else(|lock| lock.into_inner()).map_or(Ok(()), Err)
    }

    /// Opens a file and queues its row groups that may hold rows.
    fn open(
        &self,
        opening: Opening<'_, Unit>,
        wanted: &impl Fn(Keys) -> bool,
    ) -> Result<(), StoreError> {
        let file_at = opening.file;
        let (path, keys) = &self.files[file_at];
        if !wanted(*keys) {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let file = Arc::new(DataFile::open(self.directory, path)?);
        self.opened.fetch_add(1, Ordering::Relaxed);
        let keys = |row_group: &usize| file.numbers(*row_group, self.key);
        let may_match = |at: &usize| !self.prune || file.may_match(*at, &self.conjuncts);
        let mut row_groups: Vec<usize> = (0..file.row_groups()).filter(may_match).collect();
        match self.order {
            Order::NewestFirst => {
                row_groups.sort_by_key(|at| keys(at).map(|(_, newest)| std::cmp::Reverse(newest)));
            }
            Order::OldestFirst => row_groups.sort_by_key(|at| keys(at).map(|(oldest, _)| oldest)),
        }
        let unit = |row_group| Unit { file: file.clone(), file_at, row_group };
        opening.opened(row_groups.into_iter().map(unit));
        Ok(())
    }

    /// Tests the rows of a row group.
    fn test(
        &self,
        unit: &Unit,
        wanted: &impl Fn(Keys) -> bool,
        take: &impl Fn(&Part<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Unit { file, file_at, row_group } = unit;
        if !wanted(file.numbers(*row_group, self.key)) {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.scanned.fetch_add(file.rows(*row_group) as u64, Ordering::Relaxed);
        let selected = file.matching(*row_group, &self.conjuncts)?;
        match selected.count_set_bits() {
            0 => Ok(()),
            _ => take(&Part {
                file,
                file_at: *file_at,
                row_group: *row_group,
                key: self.key,
                selected,
            }),
        }
    }

    /// The whole rows of some places, in the order of the places.
    pub(super) fn rows(&self, places: &[Place], wanted: &Wanted) -> Result<Vec<Row>, StoreError> {
        let mut by_place: Vec<(Place, usize)> =
            places.iter().enumerate().map(|(nth, place)| (*place, nth)).collect();
        by_place.sort_unstable();
        let mut rows = vec![Row::default(); places.len()];
        let columns = wanted.columns();
        for in_file in by_place.chunk_by(|(a, _), (b, _)| a.file == b.file) {
            let file = DataFile::open(self.directory, &self.files[in_file[0].0.file as usize].0)?;
            for group in in_file.chunk_by(|(a, _), (b, _)| a.row_group == b.row_group) {
                let row_group = group[0].0.row_group as usize;
                let mut selected = BooleanBufferBuilder::new(file.rows(row_group));
                selected.append_n(file.rows(row_group), false);
                group.iter().for_each(|(place, _)| selected.set_bit(place.row as usize, true));
                let mut nths = group.iter().map(|(_, nth)| *nth);
                file.read(row_group, &columns, &selected.finish(), |batch| {
                    for row in wanted.rows(batch)? {
                        if let Some(nth) = nths.next() {
                            rows[nth] = row;
                        }
                    }
                    Ok(())
                })?;
            }
        }
        Ok(rows)
    }

    pub(super) fn summary(&self) -> SearchSummary {
        SearchSummary {
            exact: self.skipped.load(Ordering::Relaxed) == 0,
            files: self.files_in_table,
            files_pruned: self.files_in_table - self.opened.load(Ordering::Relaxed),
            rows_scanned: self.scanned.load(Ordering::Relaxed),
            ..SearchSummary::default()
        }
    }
}

impl Part<'_> {
    pub(super) fn matched(&self) -> u64 {
        self.selected.count_set_bits() as u64
    }

    fn place(&self, row: u32) -> Place {
        // Row groups and files are counted by far smaller numbers than 2³².
        Place { file: self.file_at as u32, row_group: self.row_group as u32, row }
    }

    /// The places of the rows that match.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.selected.set_indices().map(|row| self.place(row as u32))
    }

    /// The rows that match. One without a key, which only another writer could have made, is older than
    /// all.
    pub(super) fn found(&self) -> Result<Vec<Found>, StoreError> {
        let mut found = Vec::new();
        let mut places = self.places();
        let columns = [self.key, schema::KAFKA_OFFSET, schema::PARTITION];
        self.read(&BTreeSet::from(columns), |batch| {
            let cells = |column: ColumnIndex| Cells::new(batch, COLUMNS[column].name);
            let [keys, offsets, partitions] = columns.map(cells);
            let (keys, offsets, partitions) = (keys?, offsets?, partitions?);
            for (at, place) in places.by_ref().take(batch.num_rows()).enumerate() {
                let number = |cells: &Cells<'_>| cells.whole(at).unwrap_or(i64::MIN);
                let arrival = (number(&offsets), number(&partitions) as i32);
                found.push(Found { key: number(&keys), arrival, place });
            }
            Ok(())
        })?;
        Ok(found)
    }

    pub(crate) fn read(
        &self,
        columns: &BTreeSet<ColumnIndex>,
        take: impl FnMut(&RecordBatch) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.file.read(self.row_group, columns, &self.selected, take)
    }
}
