//! One Parquet file of the table: how it is written, and the statistics by which it can be skipped.

use crate::delta::Add;
use crate::directory::{Directory, NewFile, unique};
use crate::error::StoreError;
use crate::schema::{self, ARROW_SCHEMA, COLUMNS, ColumnIndex, Kind, PARTITION_COLUMN};
use crate::time::{format_date, format_time, now_us};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Rows per row group: what a search skips or decodes at once. Larger ones compress hardly better.
pub(crate) const ROW_GROUP_ROWS: usize = 262_144;
/// How thoroughly a file is compressed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effort {
    /// Of files that are joined soon.
    Little,
    /// Of files that stay.
    Much,
}

impl Effort {
    /// zstd's level: 9 saves 6 % of 3 and costs half the write rate.
    fn level(self) -> ZstdLevel {
        let level = match self {
            Self::Little => 1,
            Self::Much => 3,
        };
        ZstdLevel::try_new(level).expect("a level that zstd has")
    }
}

/// Chance that a bloom filter sends a search into a row group for nothing.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
/// Texts are cut to about so many bytes in the statistics: they would make the log large.
const STATISTICS_TEXT_MAX: usize = 64;
/// Greater than what any text goes on with; put behind a cut text it makes an upper bound.
const TEXT_MAX_END: char = char::MAX;

/// Columns whose smallest and largest value are in the log. The table says so in its settings, else
/// delta-rs takes a column without statistics for one without values.
pub(crate) const STATISTICS: &[ColumnIndex] = &[
    schema::TIMESTAMP,
    schema::DATASET,
    schema::HOST_NAME,
    schema::USER_NAME,
    schema::SOURCE_IP,
    schema::PARTITION,
    schema::KAFKA_OFFSET,
];

/// A file while it is written.
pub(crate) struct FileWriter<'a> {
    directory: &'a Directory,
    path: String,
    day: i32,
    columns: Vec<ColumnIndex>,
    writer: ArrowWriter<NewFile>,
    statistics: Statistics,
}

impl<'a> FileWriter<'a> {
    /// Begins a file of rows of a day. `name` goes into the file's name, for people. `columns` are
    /// those that the file has, in the table's order; `rows` bounds the size of its bloom filters.
    pub(crate) fn create(
        directory: &'a Directory,
        day: i32,
        name: &str,
        columns: Vec<ColumnIndex>,
        rows: usize,
        effort: Effort,
    ) -> Result<Self, StoreError> {
        let folder = format!("{PARTITION_COLUMN}={}", format_date(day));
        directory.make(&folder)?;
        let path = format!("{folder}/{name}-{:016x}.parquet", unique());
        let file = directory.create(&path)?;
        let failed = |error| StoreError::parquet(&directory.path(&path), error);
        let schema = Arc::new(ARROW_SCHEMA.project(&columns)?);
        let writer =
            ArrowWriter::try_new(file, schema, Some(properties(rows, effort))).map_err(failed)?;
        Ok(Self { directory, path, day, columns, writer, statistics: Statistics::default() })
    }

    /// Writes rows of a day as a file, which a compaction joins with others.
    pub(crate) fn write_file(
        directory: &'a Directory,
        day: i32,
        name: &str,
        rows: &RecordBatch,
    ) -> Result<Add, StoreError> {
        // Most events have a third of the columns. One that no row has is left out: readers take it
        // as absent, and the footer, which every search reads, is that much shorter.
        let present = |column: &ColumnIndex| rows.column(*column).null_count() < rows.num_rows();
        let columns = (0..COLUMNS.len()).filter(present).collect();
        let mut file =
            Self::create(directory, day, name, columns, rows.num_rows(), Effort::Little)?;
        file.write(rows)?;
        file.finish(true)
    }

    /// `batch` has all columns of the table.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        self.statistics.take(batch);
        self.writer
            .write(&batch.project(&self.columns)?)
            .map_err(|error| StoreError::parquet(&self.directory.path(&self.path), error))
    }

    /// Writes rows as a row group of their own.
    pub(crate) fn write_row_group(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        self.write(batch)?;
        self.writer
            .flush()
            .map_err(|error| StoreError::parquet(&self.directory.path(&self.path), error))
    }

    pub(crate) fn rows(&self) -> u64 {
        self.statistics.rows as u64
    }

    /// Ends the file; its name becomes durable with the commit. `data_change` is false if its rows were
    /// in the table before.
    pub(crate) fn finish(self, data_change: bool) -> Result<Add, StoreError> {
        let Self { directory, path, day, writer, statistics, .. } = self;
        let failed = |error| StoreError::parquet(&directory.path(&path), error);
        let size = directory.seal(&path, writer.into_inner().map_err(failed)?)?;
        let partition = [(PARTITION_COLUMN.to_owned(), Some(format_date(day)))];
        Ok(Add {
            path,
            partition_values: partition.into(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            modification_time: now_us() / 1000,
            data_change,
            stats: Some(statistics.to_json()),
            deletion_vector: None,
        })
    }
}

/// The folder of a file that this crate has written.
pub(crate) fn folder_of(add: &Add) -> String {
    add.path.rsplit_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned())
}

fn properties(rows: usize, effort: Effort) -> WriterProperties {
    let distinct_max = rows.min(ROW_GROUP_ROWS) as u64;
    let path = |column: ColumnIndex| ColumnPath::from(COLUMNS[column].name);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(effort.level()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(concat!("logweir ", env!("CARGO_PKG_VERSION")).to_owned());
    for &column in schema::BLOOM {
        properties = properties
            .set_column_bloom_filter_enabled(path(column), true)
            .set_column_bloom_filter_max_ndv(path(column), distinct_max)
            .set_column_bloom_filter_fpp(path(column), BLOOM_FALSE_POSITIVES);
    }
    // Values that grow by little from row to row.
    let growing = [schema::TIMESTAMP, schema::OFFSET, schema::PREV, schema::KAFKA_OFFSET];
    for column in growing {
        properties = properties
            .set_column_dictionary_enabled(path(column), false)
            .set_column_encoding(path(column), Encoding::DELTA_BINARY_PACKED);
    }
    // Values that hardly ever repeat; their ranges skip nothing.
    for column in [schema::ORIGINAL, schema::MESSAGE, schema::EXTRA] {
        properties = properties
            .set_column_dictionary_enabled(path(column), false)
            .set_column_statistics_enabled(path(column), EnabledStatistics::None);
    }
    properties.build()
}

/// Smallest and largest value per column of [`STATISTICS`], and the number of nulls.
#[derive(Debug, Default)]
struct Statistics {
    rows: usize,
    columns: [ColumnStatistics; STATISTICS.len()],
}

#[derive(Debug, Default)]
struct ColumnStatistics {
    nulls: usize,
    range: Option<Range>,
}

#[derive(Debug)]
enum Range {
    Long(i64, i64),
    Time(i64, i64),
    Text(String, String),
}

impl Statistics {
    fn take(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        for (statistics, &column) in self.columns.iter_mut().zip(STATISTICS) {
            let array = batch.column(column);
            statistics.nulls += array.null_count();
            let long = |(min, max)| match COLUMNS[column].kind {
                Kind::Time => Range::Time(min, max),
                _ => Range::Long(min, max),
            };
            let range = match COLUMNS[column].kind {
                Kind::Long => bounds(array.as_primitive::<Int64Type>().iter()).map(long),
                Kind::Time => {
                    bounds(array.as_primitive::<TimestampMicrosecondType>().iter()).map(long)
                }
                Kind::Text | Kind::Ip => bounds(array.as_string::<i32>().iter())
                    .map(|(min, max)| Range::Text(min.to_owned(), max.to_owned())),
                Kind::List => None,
            };
            statistics.range = match (statistics.range.take(), range) {
                (Some(a), Some(b)) => Some(a.joined(b)),
                (a, b) => a.or(b),
            };
        }
    }

    fn to_json(&self) -> String {
        let (mut min_values, mut max_values, mut nulls) = (Map::new(), Map::new(), Map::new());
        for (statistics, &column) in self.columns.iter().zip(STATISTICS) {
            let name = COLUMNS[column].name;
            nulls.insert(name.into(), statistics.nulls.into());
            let (min, max) = match &statistics.range {
                Some(Range::Long(min, max)) => (Value::from(*min), Value::from(*max)),
                Some(Range::Time(min, max)) => (format_time(*min).into(), format_time(*max).into()),
                Some(Range::Text(min, max)) => (cut(min).into(), upper_bound(max).into()),
                None => continue,
            };
            min_values.insert(name.into(), min);
            max_values.insert(name.into(), max);
        }
        serde_json::json!({
            "numRecords": self.rows,
            "minValues": min_values,
            "maxValues": max_values,
            "nullCount": nulls,
        })
        .to_string()
    }
}

/// The beginning of a text: not greater than it.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(STATISTICS_TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The text, or if it is long, a short one that is not smaller.
fn upper_bound(text: &str) -> String {
    let beginning = cut(text);
    match beginning.len() == text.len() {
        true => text.to_owned(),
        false => format!("{beginning}{TEXT_MAX_END}"),
    }
}

fn bounds<T: Ord + Copy>(values: impl Iterator<Item = Option<T>>) -> Option<(T, T)> {
    values.flatten().fold(None, |bounds, value| match bounds {
        None => Some((value, value)),
        Some((min, max)) => Some((value.min(min), value.max(max))),
    })
}

impl Range {
    fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::Long(a, b), Self::Long(c, d)) => Self::Long(a.min(c), b.max(d)),
            (Self::Time(a, b), Self::Time(c, d)) => Self::Time(a.min(c), b.max(d)),
            (Self::Text(a, b), Self::Text(c, d)) => Self::Text(a.min(c), b.max(d)),
            (own, _) => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_texts_stay_bounds() {
        let long = "é".repeat(50);
        for text in ["", "a", &"a".repeat(64), &"a".repeat(65), &long] {
            assert!(cut(text) <= text && text <= &*upper_bound(text), "{text}");
            assert!(upper_bound(text).len() <= STATISTICS_TEXT_MAX + 4);
        }
    }
}
