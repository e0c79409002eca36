//! The values of one field in a batch of rows, whatever its column holds.

use super::extra::Finder;
use super::predicate::{column_of, text_array, unfit};
use crate::error::StoreError;
use crate::schema::{self, COLUMNS, ColumnIndex, Kind};
use crate::time::format_time;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array as _, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use std::cmp::Ordering;

/// The column that has to be read for a field.
pub(super) fn column_for(field: &str) -> ColumnIndex {
    schema::index_of(field).unwrap_or(schema::EXTRA)
}

/// A number that a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Whole(i64),
    Real(f64),
    /// Microseconds since 1970, UTC.
    Time(i64),
}

impl Number {
    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a) | Self::Time(a), Self::Whole(b) | Self::Time(b)) => a.cmp(&b),
            _ => self.real().total_cmp(&other.real()),
        }
    }

    pub(super) fn real(self) -> f64 {
        match self {
            Self::Whole(number) | Self::Time(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    fn of(text: &str) -> Option<Self> {
        let real = || text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Real);
        text.parse().ok().map(Self::Whole).or_else(real)
    }
}

/// One field of the rows of a batch.
pub(super) enum Cells<'a> {
    Absent,
    Text(&'a StringArray),
    Long(&'a Int64Array),
    Time(&'a TimestampMicrosecondArray),
    List(&'a ListArray, &'a StringArray),
    Extra(&'a StringArray, Box<Finder<'a>>),
}

impl<'a> Cells<'a> {
    pub(super) fn new(batch: &'a RecordBatch, field: &'a str) -> Result<Self, StoreError> {
        let column = column_for(field);
        let Some(array) = column_of(batch, column) else { return Ok(Self::Absent) };
        let wrong = || unfit(column, array);
        if column == schema::EXTRA {
            return Ok(Self::Extra(text_array(column, array)?, Box::new(Finder::new(field))));
        }
        Ok(match COLUMNS[column].kind {
            Kind::Text | Kind::Ip => Self::Text(text_array(column, array)?),
            Kind::Long => Self::Long(array.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?),
            Kind::Time => {
                Self::Time(array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?)
            }
            Kind::List => {
                let lists = array.as_list_opt::<i32>().ok_or_else(wrong)?;
                Self::List(lists, text_array(column, lists.values())?)
            }
        })
    }

    /// Hands out the values of a row as texts; each element of a list by itself.
    pub(super) fn each_text(&self, row: usize, mut take: impl FnMut(&str)) {
        match self {
            Self::Absent => {}
            Self::Text(texts) if texts.is_valid(row) => take(texts.value(row)),
            Self::Long(longs) if longs.is_valid(row) => take(&longs.value(row).to_string()),
            Self::Time(times) if times.is_valid(row) => take(&format_time(times.value(row))),
            Self::List(lists, elements) if lists.is_valid(row) => {
                let [from, to] = [row, row + 1].map(|at| lists.value_offsets()[at] as usize);
                (from..to)
                    .filter(|at| elements.is_valid(*at))
                    .for_each(|at| take(elements.value(at)));
            }
            Self::Extra(json, finder) if json.is_valid(row) => finder.each(json.value(row), take),
            Self::Text(_) | Self::Long(_) | Self::Time(_) | Self::List(..) | Self::Extra(..) => {}
        }
    }

    /// The whole number or the time of a row, if the column holds such.
    pub(super) fn whole(&self, row: usize) -> Option<i64> {
        match self {
            Self::Long(longs) => longs.is_valid(row).then(|| longs.value(row)),
            Self::Time(times) => times.is_valid(row).then(|| times.value(row)),
            _ => None,
        }
    }

    /// Hands out the values of a row that are numbers.
    pub(super) fn each_number(&self, row: usize, mut take: impl FnMut(Number)) {
        match self {
            Self::Long(longs) if longs.is_valid(row) => take(Number::Whole(longs.value(row))),
            Self::Time(times) if times.is_valid(row) => take(Number::Time(times.value(row))),
            Self::Long(_) | Self::Time(_) => {}
            _ => self.each_text(row, |text| Number::of(text).into_iter().for_each(&mut take)),
        }
    }
}
