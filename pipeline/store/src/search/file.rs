//! One Parquet file of the table as a search reads it: row group by row group, first the columns that
//! the tests need, cheap tests first and each only on the rows that the ones before have left, then
//! the other columns of the rows that are wanted.

use super::predicate::Predicate;
use super::prune::{self, Known};
use crate::directory::{Directory, ReadFile};
use crate::error::StoreError;
use crate::schema::{COLUMNS, ColumnIndex, Kind};
use arrow_array::RecordBatch;
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;

/// An open file.
pub(crate) struct DataFile {
    path: PathBuf,
    file: ReadFile,
    metadata: ArrowReaderMetadata,
    /// For each column of the table: which root and which leaf of the file it is, if any.
    places: Vec<Option<Place>>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    root: usize,
    leaf: usize,
}

impl DataFile {
    pub(crate) fn open(directory: &Directory, path: &str) -> Result<Self, StoreError> {
        let file = directory.open(path)?;
        let path = directory.path(path);
        // What the writer wrote of Arrow is left aside, so that files of other writers read the same.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = StoreError::of_parquet(&path, || ArrowReaderMetadata::load(&file, options))?;
        let schema = metadata.parquet_schema();
        let place = |name: &str| {
            let leaf = (0..schema.num_columns())
                .find(|at| schema.column(*at).path().parts()[0] == name)?;
            Some(Place { root: schema.get_column_root_idx(leaf), leaf })
        };
        let places = COLUMNS.iter().map(|column| place(column.name)).collect();
        Ok(Self { path, file, metadata, places })
    }

    /// Whether every column of the file is one of the table's that this version knows.
    pub(crate) fn has_only_known_columns(&self) -> bool {
        let known = self.places.iter().flatten().count();
        self.metadata.parquet_schema().root_schema().get_fields().len() == known
    }

    /// Hands out all rows with all known columns, some at a time.
    pub(crate) fn read_all(
        &self,
        mut take: impl FnMut(&RecordBatch) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let columns = (0..COLUMNS.len()).collect();
        for row_group in 0..self.row_groups() {
            let all = BooleanBuffer::new_set(self.rows(row_group));
            self.read(row_group, &columns, &all, &mut take)?;
        }
        Ok(())
    }

    pub(crate) fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    pub(crate) fn rows(&self, row_group: usize) -> usize {
        usize::try_from(self.row_group(row_group).num_rows()).unwrap_or(0)
    }

    fn row_group(&self, row_group: usize) -> &RowGroupMetaData {
        self.metadata.metadata().row_group(row_group)
    }

    /// Smallest and largest value of a column of numbers or times in a row group.
    pub(crate) fn numbers(&self, row_group: usize, column: ColumnIndex) -> Option<(i64, i64)> {
        RowGroup { file: self, at: row_group }.numbers(column)
    }

    /// Whether a row of the row group may pass all of `conjuncts`.
    pub(crate) fn may_match(&self, row_group: usize, conjuncts: &[Predicate]) -> bool {
        let known = RowGroup { file: self, at: row_group };
        conjuncts.iter().all(|conjunct| prune::may_match(conjunct, &known))
    }

    /// The rows of a row group that pass all of `conjuncts`, one bit per row.
    pub(crate) fn matching(
        &self,
        row_group: usize,
        conjuncts: &[Predicate],
    ) -> Result<BooleanBuffer, StoreError> {
        let mut selected = BooleanBuffer::new_set(self.rows(row_group));
        for conjunct in conjuncts {
            let mut columns = BTreeSet::new();
            conjunct.columns(&mut columns);
            let mut passed = BooleanBufferBuilder::new(selected.len());
            self.read(row_group, &columns, &selected, |batch| {
                passed.append_buffer(&conjunct.evaluate(batch)?);
                Ok(())
            })?;
            selected = narrowed(&selected, &passed.finish());
            if selected.count_set_bits() == 0 {
                break;
            }
        }
        Ok(selected)
    }

    /// Hands out the selected rows of a row group, some at a time, with those of `columns` that the
    /// file has.
    pub(crate) fn read(
        &self,
        row_group: usize,
        columns: &BTreeSet<ColumnIndex>,
        selected: &BooleanBuffer,
        mut take: impl FnMut(&RecordBatch) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let roots = columns.iter().filter_map(|column| self.places[*column]).map(|p| p.root);
        let projection = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let all = selected.count_set_bits() == selected.len();
        let mut builder = self
            .builder()
            .with_row_groups(vec![row_group])
            .with_projection(projection)
            .with_batch_size(BATCH_ROWS);
        if !all {
            builder =
                builder.with_row_selection(RowSelection::from_boolean_buffer(selected.clone()));
        }
        let mut reader = StoreError::of_parquet(&self.path, || builder.build())?;
        let mut next = || reader.next().transpose().map_err(ParquetError::from);
        while let Some(batch) = StoreError::of_parquet(&self.path, &mut next)? {
            take(&batch)?;
        }
        Ok(())
    }

    fn builder(&self) -> ParquetRecordBatchReaderBuilder<ReadFile> {
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
    }
}

/// The bits of `selected` that the bits of `passed`, one for each bit set in it, leave.
fn narrowed(selected: &BooleanBuffer, passed: &BooleanBuffer) -> BooleanBuffer {
    debug_assert_eq!(selected.count_set_bits(), passed.len());
    if passed.len() == selected.len() {
        return passed.clone();
    }
    let mut left = BooleanBufferBuilder::new(selected.len());
    left.append_n(selected.len(), false);
    for (nth, row) in selected.set_indices().enumerate() {
        if passed.value(nth) {
            left.set_bit(row, true);
        }
    }
    left.finish()
}

/// A row group, for pruning.
struct RowGroup<'a> {
    file: &'a DataFile,
    at: usize,
}

impl RowGroup<'_> {
    fn statistics(&self, column: ColumnIndex) -> Option<&Statistics> {
        let place = self.file.places[column]?;
        self.file.row_group(self.at).column(place.leaf).statistics()
    }
}

impl Known for RowGroup<'_> {
    fn is_absent(&self, column: ColumnIndex) -> bool {
        if self.file.places[column].is_none() {
            return true;
        }
        let nulls = self.statistics(column).and_then(Statistics::null_count_opt);
        // The leaves of a list are not counted by rows.
        COLUMNS[column].kind != Kind::List && nulls == Some(self.file.rows(self.at) as u64)
    }

    fn numbers(&self, column: ColumnIndex) -> Option<(i64, i64)> {
        match self.statistics(column)? {
            Statistics::Int64(statistics) => Some((*statistics.min_opt()?, *statistics.max_opt()?)),
            _ => None,
        }
    }

    fn text_is_within(&self, column: ColumnIndex, text: &str) -> Option<bool> {
        let statistics = self.statistics(column)?;
        let (min, max) = (statistics.min_bytes_opt()?, statistics.max_bytes_opt()?);
        Some(min <= text.as_bytes() && text.as_bytes() <= max)
    }

    fn bloom_has(&self, column: ColumnIndex, text: &str) -> Option<bool> {
        let place = self.file.places[column]?;
        // A filter that cannot be read excludes nothing; reading the rows will tell the error.
        let read = || self.file.builder().get_row_group_column_bloom_filter(self.at, place.leaf);
        let filter = StoreError::of_parquet(&self.file.path, read).ok()??;
        Some(filter.check(text))
    }
}
