//! Counting rows by the value of a field.

use super::extra::Finder;
use super::predicate::{column_of, text_array, unfit};
use crate::error::StoreError;
use crate::schema::{self, COLUMNS, ColumnIndex, Kind};
use crate::time::format_time;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use std::collections::{BTreeSet, HashMap};

/// More distinct values than this are counted together, under [`OTHERS`]: about 100 MB.
const VALUES_MAX: usize = 1_000_000;
const OTHERS: &str = "(others)";

/// The counts so far.
#[derive(Debug)]
pub(super) struct Groups<'n> {
    field: &'n str,
    counts: HashMap<String, u64>,
}

impl<'n> Groups<'n> {
    pub(super) fn new(field: &'n str) -> Self {
        Self { field, counts: HashMap::new() }
    }

    /// The column that has to be read.
    pub(super) fn columns(&self) -> BTreeSet<ColumnIndex> {
        BTreeSet::from([schema::index_of(self.field).unwrap_or(schema::EXTRA)])
    }

    pub(super) fn take(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let column = schema::index_of(self.field);
        match column_of(batch, column.unwrap_or(schema::EXTRA)) {
            None => self.add("", batch.num_rows() as u64),
            Some(array) => match column {
                Some(column) => self.take_column(column, array)?,
                None => self.take_extra(array)?,
            },
        }
        Ok(())
    }

    fn take_column(&mut self, column: ColumnIndex, array: &ArrayRef) -> Result<(), StoreError> {
        let wrong = || unfit(column, array);
        match COLUMNS[column].kind {
            Kind::Text | Kind::Ip => {
                text_array(column, array)?.iter().for_each(|text| self.add(text.unwrap_or(""), 1));
            }
            Kind::Long => {
                let longs = array.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
                longs
                    .iter()
                    .for_each(|n| self.add(&n.map(|n| n.to_string()).unwrap_or_default(), 1));
            }
            Kind::Time => {
                let times =
                    array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
                times.iter().for_each(|t| self.add(&t.map(format_time).unwrap_or_default(), 1));
            }
            Kind::List => {
                let lists = array.as_list_opt::<i32>().ok_or_else(wrong)?;
                for row in 0..lists.len() {
                    let elements = lists.value(row);
                    if lists.is_null(row) || elements.is_empty() {
                        self.add("", 1);
                        continue;
                    }
                    text_array(column, &elements)?
                        .iter()
                        .flatten()
                        .for_each(|text| self.add(text, 1));
                }
            }
        }
        Ok(())
    }

    fn take_extra(&mut self, array: &ArrayRef) -> Result<(), StoreError> {
        let finder = Finder::new(self.field);
        for json in text_array(schema::EXTRA, array)?.iter() {
            let mut found = false;
            finder.each(json.unwrap_or(""), |value| {
                found = true;
                self.add(value, 1);
            });
            if !found {
                self.add("", 1);
            }
        }
        Ok(())
    }

    fn add(&mut self, value: &str, count: u64) {
        if let Some(known) = self.counts.get_mut(value) {
            *known += count;
        } else if self.counts.len() < VALUES_MAX {
            self.counts.insert(value.to_owned(), count);
        } else {
            *self.counts.entry(OTHERS.to_owned()).or_default() += count;
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        other.counts.iter().for_each(|(value, count)| self.add(value, *count));
    }

    /// Most frequent first, then by value.
    pub(super) fn into_sorted(self) -> Vec<(String, u64)> {
        let mut counts: Vec<_> = self.counts.into_iter().collect();
        counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counts
    }
}
