//! Small files of a day into large ones.
//!
//! Rows keep their rough order in time, so that a search for the newest need not read all of a file;
//! within a row group they are sorted by dataset, host and time, which packs a tenth tighter. Bounded:
//! one row group is in memory at a time.

use super::replace;
use crate::data_file::{Effort, FileWriter};
use crate::delta::Add;
use crate::error::{CommitError, StoreError};
use crate::schema::{self, ARROW_SCHEMA, COLUMNS, Kind};
use crate::search::DataFile;
use crate::table::{FileEntry, Table};
use crate::time::{day_of, parse_rfc3339};
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, ListArray, RecordBatch, UInt32Array, new_null_array};
use arrow_schema::{ArrowError, DataType};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows that are sorted at once and make a row group.
const SORTED_ROWS: usize = 128 << 10;
/// Rows of long lines are sorted in smaller groups.
const SORTED_BYTES: usize = 256 << 20;

/// What the names of its files begin with.
const NAME: &str = "compact";

/// What a compaction aims at.
#[derive(Debug, Clone, Copy)]
pub struct CompactOptions {
    /// Bytes of the files that it makes.
    pub target_bytes: u64,
    /// Files at least this large stay as they are.
    pub small_bytes: u64,
    /// A day with fewer small files is left alone.
    pub files_min: usize,
}

impl Default for CompactOptions {
    fn default() -> Self {
        Self { target_bytes: 128 << 20, small_bytes: 64 << 20, files_min: 8 }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactSummary {
    pub files_before: u64,
    pub files_after: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub rows: u64,
}

/// Whether a compaction has made the file, of rows that were in the table before.
pub(crate) fn is_compacted(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with(NAME))
}

/// Makes large files of the small ones of each day. Other processes may write meanwhile; if one of
/// them has replaced the same files first, its replacement stands and the error is retryable.
///
/// # Errors
/// A file cannot be read or written, or the commit fails. What is not with a damaged file is compacted
/// nevertheless.
pub fn compact(table: &Table, options: &CompactOptions) -> Result<CompactSummary, CommitError> {
    let (mut summary, mut damaged) = (CompactSummary::default(), None);
    let mut days: BTreeMap<String, Vec<FileEntry>> = BTreeMap::new();
    for file in table.files()? {
        if file.bytes() < options.small_bytes
            && let Some(date) = file.date()
        {
            days.entry(date.to_owned()).or_default().push(file);
        }
    }
    for (date, mut files) in days {
        let Some(midnight) = parse_rfc3339(&format!("{date}T00:00:00Z")) else { continue };
        let newest = |file: &FileEntry| {
            file.statistics().times(COLUMNS[schema::TIMESTAMP].name).map(|(_, newest)| newest)
        };
        files.sort_by_cached_key(newest);
        for group in groups(files, options) {
            match merge(table, day_of(midnight), group, &mut summary) {
                // No reason to leave the others as they are.
                Err(CommitError::Store(error)) if error.is_of_file() => {
                    damaged.get_or_insert(error);
                }
                other => other?,
            }
        }
    }
    damaged.map_or(Ok(summary), |error| Err(error.into()))
}

/// Neighbours in time that together are about as large as the target.
fn groups(files: Vec<FileEntry>, options: &CompactOptions) -> Vec<Vec<FileEntry>> {
    let mut groups: Vec<Vec<FileEntry>> = Vec::new();
    let mut bytes = u64::MAX;
    for file in files {
        if bytes >= options.target_bytes {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += file.bytes();
        if let Some(group) = groups.last_mut() {
            group.push(file);
        }
    }
    groups.retain(|group| group.len() >= options.files_min.max(2));
    groups
}

fn merge(
    table: &Table,
    day: i32,
    files: Vec<FileEntry>,
    summary: &mut CompactSummary,
) -> Result<(), CommitError> {
    let mut merged = Vec::new();
    let mut out = Merger {
        writer: FileWriter::create(
            table.directory(),
            day,
            NAME,
            (0..COLUMNS.len()).collect(),
            SORTED_ROWS,
            Effort::Much,
        )?,
        held: Vec::new(),
        rows: 0,
        bytes: 0,
    };
    for entry in files {
        let file = DataFile::open(table.directory(), &entry.path)?;
        // A column of somebody else's would be lost.
        if file.has_only_known_columns() {
            file.read_all(|batch| out.take(aligned(batch)?))?;
            merged.push(entry);
        }
    }
    let (add, rows) = out.finish()?;
    if merged.is_empty() {
        return Ok(table.directory().remove(&add.path)?);
    }
    replace(table, "OPTIMIZE", &merged, std::slice::from_ref(&add))?;
    summary.files_before += merged.len() as u64;
    summary.bytes_before += merged.iter().map(FileEntry::bytes).sum::<u64>();
    summary.files_after += 1;
    summary.bytes_after += u64::try_from(add.size).unwrap_or(0);
    summary.rows += rows;
    Ok(())
}

/// Collects rows, and writes them sorted.
struct Merger<'t> {
    writer: FileWriter<'t>,
    held: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Merger<'_> {
    fn take(&mut self, batch: RecordBatch) -> Result<(), StoreError> {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.held.push(batch);
        if self.rows >= SORTED_ROWS || self.bytes >= SORTED_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.rows > 0 {
            let batch = arrow_select::concat::concat_batches(&ARROW_SCHEMA, &self.held)?;
            self.held.clear();
            self.writer.write_row_group(&sorted(&batch)?)?;
        }
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    fn finish(mut self) -> Result<(Add, u64), StoreError> {
        self.flush()?;
        let rows = self.writer.rows();
        Ok((self.writer.finish(false)?, rows))
    }
}

/// By dataset, host and time.
fn sorted(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let dataset = batch.column(schema::DATASET).as_string::<i32>();
    let host = batch.column(schema::HOST_NAME).as_string::<i32>();
    let time = batch.column(schema::TIMESTAMP).as_primitive::<TimestampMicrosecondType>();
    let key = |row: &u32| {
        let row = *row as usize;
        (dataset.value(row), host.value(row), time.value(row))
    };
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    order.sort_by(|a, b| key(a).cmp(&key(b)));
    arrow_select::take::take_record_batch(batch, &UInt32Array::from(order))
}

/// A batch of any version's file as this version's table has it.
fn aligned(batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
    let rows = batch.num_rows();
    let column = |(at, field): (usize, &Arc<arrow_schema::Field>)| -> Result<ArrayRef, ArrowError> {
        let Some(array) = batch.column_by_name(field.name()) else {
            return Ok(new_null_array(field.data_type(), rows));
        };
        match (COLUMNS[at].kind, field.data_type(), array.as_list_opt::<i32>()) {
            // Writers name the elements of a list differently.
            (Kind::List, DataType::List(element), Some(list)) => {
                let (_, offsets, values, nulls) = list.clone().into_parts();
                Ok(Arc::new(ListArray::try_new(element.clone(), offsets, values, nulls)?))
            }
            _ => Ok(array.clone()),
        }
    };
    let columns = ARROW_SCHEMA.fields().iter().enumerate().map(column).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(ARROW_SCHEMA.clone(), columns)?)
}
