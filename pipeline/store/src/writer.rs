//! The writer of one Kafka partition: records in, batches out.
//!
//! A record is decoded, judged by the ledger, and added to columns in memory; `seal` makes files of
//! them and of the ledger, and a batch that [`Table::commit`] makes visible. Nothing is visible
//! before, and what was sealed and never committed is only garbage. The writer knows the offset that
//! it builds on; after any error it is to be opened anew.

use crate::columns::{Arrival, Columns};
use crate::data_file::{FileWriter, folder_of};
use crate::delta::Add;
use crate::error::StoreError;
use crate::ledger::{Ledger, PartitionName, Saved, Verdict};
use crate::rebuild::rebuild;
use crate::record::{Members, Record, recycled};
use crate::table::Table;
use crate::time::now_us;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A column in memory addresses its bytes with 31 bits.
const FILE_BYTES_MAX: usize = 1 << 30;

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// It is a row of the next batch.
    Stored,
    /// The table has the event already.
    Duplicate,
    /// It is no record of ours; the next batch moves the offset over it.
    Undecodable {
        /// The kind of the reason, for counting.
        word: &'static str,
        reason: String,
    },
}

/// How many records of a batch became what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub rows: u64,
    /// Of the rows: their time is too far from their arrival, whose day they are under.
    pub suspect: u64,
    pub duplicates: u64,
    pub undecodable: u64,
    /// Records that Kafka removed before they were read; none of the others.
    pub expired: u64,
}

/// Takes the records of one partition, in order.
#[derive(Debug)]
pub struct PartitionWriter {
    table: Arc<Table>,
    name: PartitionName,
    ledger: Ledger,
    columns: Columns,
    /// For the members of the next record.
    room: Members<'static>,
    /// The offset that the next batch builds on: the table's, or the last sealed batch's end.
    position: Option<i64>,
    /// How far other groups had stored the partition when this one began with it.
    others: Vec<(String, i64)>,
    /// The offset behind the last record that was pushed since.
    next_offset: Option<i64>,
    oldest: Option<Instant>,
    /// Of records that are rows in memory.
    bytes_in_memory: usize,
    /// Of records that are rows of the next batch.
    bytes: usize,
    counts: Counts,
    files: Vec<Add>,
    /// A file could not be written when the memory was full; told at the next seal.
    failure: Option<StoreError>,
}

impl PartitionWriter {
    /// Reads where the table stands with the partition, and its ledger.
    ///
    /// # Errors
    /// The table's log or the ledger cannot be read.
    pub fn open(
        table: Arc<Table>,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Result<Self, StoreError> {
        let name = PartitionName { group: group.into(), topic: topic.into(), partition };
        let (position, ledger) = load_ledger(&table, &name)?;
        let others = match position {
            None => table.other_positions(&name)?,
            Some(_) => Vec::new(),
        };
        Ok(Self {
            others,
            table,
            name,
            ledger,
            columns: Columns::new(),
            room: Vec::new(),
            position,
            next_offset: None,
            oldest: None,
            bytes_in_memory: 0,
            bytes: 0,
            counts: Counts::default(),
            files: Vec::new(),
            failure: None,
        })
    }

    /// The same partition of the same topic as other groups have stored it, with their names.
    ///
    /// # Errors
    /// As [`PartitionWriter::open`].
    pub fn of_other_groups(&self) -> Result<Vec<(String, Self)>, StoreError> {
        let PartitionName { group, topic, partition } = &self.name;
        let same = |name: &PartitionName| name.topic == *topic && name.partition == *partition;
        let names = self.table.ledgers()?.into_iter();
        names
            .filter(|name| same(name) && name.group != *group)
            .map(|name| {
                let other = Self::open(self.table.clone(), &name.group, topic, *partition)?;
                Ok((name.group, other))
            })
            .collect()
    }

    /// The offset where the consumer has to begin; `None`: the table has nothing of the partition.
    #[must_use]
    pub fn position(&self) -> Option<i64> {
        self.position
    }

    /// Takes the next record. One in front of the position is a repeat.
    pub fn push(&mut self, kafka_offset: i64, payload: &[u8]) -> Pushed {
        if self.next_offset.or(self.position).is_some_and(|next| kafka_offset < next) {
            self.counts.duplicates += 1;
            return Pushed::Duplicate;
        }
        self.next_offset = Some(kafka_offset.saturating_add(1));
        self.oldest.get_or_insert_with(Instant::now);
        let record = match Record::decode(payload, std::mem::take(&mut self.room)) {
            Ok(record) => record,
            Err(error) => {
                self.counts.undecodable += 1;
                return Pushed::Undecodable { word: error.word(), reason: error.to_string() };
            }
        };
        let now_us = now_us();
        if self.ledger.observe(&record, now_us) == Verdict::Drop {
            self.counts.duplicates += 1;
            return Pushed::Duplicate;
        }
        let arrival = Arrival { partition: self.name.partition, kafka_offset, now_us };
        self.counts.suspect += u64::from(self.columns.append(&record, arrival));
        self.room = recycled(record.members);
        self.counts.rows += 1;
        self.bytes += payload.len();
        self.bytes_in_memory += payload.len();
        if self.bytes_in_memory >= self.table.options().target_file_bytes.min(FILE_BYTES_MAX) {
            self.spill();
        }
        Pushed::Stored
    }

    /// Notes that Kafka has removed the records from `from` up to `until`, which nobody has read: the next
    /// batch moves the offset over them, and the ledger keeps that they are missing.
    pub fn expire(&mut self, from: i64, until: i64) {
        self.ledger.expire(from, until, now_us());
        self.counts.expired += u64::try_from(until.saturating_sub(from)).unwrap_or(0);
        self.next_offset = self.next_offset.max(Some(until)).max(self.position);
        self.oldest.get_or_insert_with(Instant::now);
    }

    /// Whether a record in front of the position is, by all that can be told, the one that was there when
    /// the table took it. An event that the ledger does not know is another: the offsets began anew. Of
    /// what is no event nothing can be told.
    #[must_use]
    pub fn knows(&self, payload: &[u8]) -> bool {
        Record::decode(payload, Vec::new()).map_or(true, |record| self.ledger.knows(&record))
    }

    /// Whether anything was pushed since the last seal, repeats, undecodable and expired records included:
    /// then a seal would move the offset.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.next_offset.is_some()
    }

    /// The rows of the next batch.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.counts.rows
    }

    /// The bytes of records in the next batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How long the oldest record of the next batch has been waiting.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.oldest.map(|oldest| oldest.elapsed())
    }

    /// Writes what is held into files and returns the batch to commit. The writer goes on
    /// behind it, as if it were committed.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn seal(&mut self) -> Result<Batch, StoreError> {
        self.write_files()?;
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        // Without a record the batch moves nothing; from offset 0 on if there never was one.
        let next_offset = self.next_offset.take().or(self.position).unwrap_or(0);
        let saved = self.ledger.save(self.table.directory(), next_offset)?;
        let batch = Batch {
            name: self.name.clone(),
            first_offset: self.position,
            others: std::mem::take(&mut self.others),
            next_offset,
            files: std::mem::take(&mut self.files),
            ledger: saved,
            counts: std::mem::take(&mut self.counts),
        };
        self.position = Some(next_offset);
        self.oldest = None;
        self.bytes = 0;
        Ok(batch)
    }

    /// Makes room in memory; the file stays out of the table until the batch is committed.
    fn spill(&mut self) {
        if let Err(error) = self.write_files() {
            self.failure.get_or_insert(error);
        }
    }

    fn write_files(&mut self) -> Result<(), StoreError> {
        self.bytes_in_memory = 0;
        if self.columns.rows() == 0 {
            return Ok(());
        }
        let name = format!("part-{:05}", self.name.partition);
        for (day, rows) in self.columns.finish()? {
            self.files.push(FileWriter::write_file(self.table.directory(), day, &name, &rows)?);
        }
        Ok(())
    }
}

/// The table's position of a partition, and the ledger that is valid now. One that is lost or damaged
/// is made anew from the rows.
pub(crate) fn load_ledger(
    table: &Table,
    name: &PartitionName,
) -> Result<(Option<i64>, Ledger), StoreError> {
    let (mut position, mut id) = table.app_versions(name)?;
    loop {
        let error = match Ledger::load(table.directory(), name.clone(), id) {
            Err(error @ StoreError::Damaged { .. }) => error,
            Err(error) if error.is_not_found() => error,
            other => return other.map(|ledger| (position, ledger)),
        };
        // It may have been replaced while it was read; then the table names another.
        let (position_now, id_now) = table.app_versions(name)?;
        if id_now == id {
            tracing::warn!(
                %error, partition = name.partition, topic = name.topic,
                "the ledger is of no use; it is made anew from the table's rows, and what was missing \
                 before cannot be told any more"
            );
            let sources = rebuild(table, name.partition)?;
            return Ok((position, Ledger::of_sources(name.clone(), sources)));
        }
        (position, id) = (position_now, id_now);
    }
}

/// Rows of a partition, written and not yet visible.
#[derive(Debug)]
#[must_use = "a batch that is not committed is lost"]
pub struct Batch {
    name: PartitionName,
    first_offset: Option<i64>,
    others: Vec<(String, i64)>,
    next_offset: i64,
    files: Vec<Add>,
    ledger: Option<Saved>,
    counts: Counts,
}

impl Batch {
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.name.partition
    }

    /// The offset that the table must have for the batch to be committed.
    #[must_use]
    pub fn first_offset(&self) -> Option<i64> {
        self.first_offset
    }

    pub(crate) fn other_positions(&self) -> &[(String, i64)] {
        &self.others
    }

    /// The offset that the table has afterwards.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn name(&self) -> &PartitionName {
        &self.name
    }

    pub(crate) fn files(&self) -> &[Add] {
        &self.files
    }

    /// Where its files are.
    pub(crate) fn folders(&self) -> impl Iterator<Item = String> + '_ {
        let ledger = self.ledger.as_ref().map(|_| self.name.folder());
        self.files.iter().map(folder_of).chain(ledger)
    }

    pub(crate) fn ledger_id(&self) -> Option<i64> {
        self.ledger.as_ref().map(|saved| saved.id)
    }

    pub(crate) fn obsolete(&self) -> &[String] {
        self.ledger.as_ref().map_or(&[], |saved| &saved.obsolete)
    }
}
