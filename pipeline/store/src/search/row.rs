//! Rows as a search hands them out: fields with values, flat as in `docs/record.md`.

use super::extra;
use super::predicate::{text_array, unfit};
use crate::error::StoreError;
use crate::schema::{self, COLUMNS, ColumnIndex, Kind};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Integer(i64),
    /// Microseconds since 1970, UTC.
    Timestamp(i64),
    List(Vec<String>),
    /// Anything else, as JSON.
    Json(String),
}

/// An event: the fields that it has, `@timestamp` first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    pub fields: Vec<(String, Value)>,
}

impl Row {
    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}

/// Prefix of a field that came under the name of a column which holds something else: the table's
/// own value, or the one that replaced an invalid one.
const RECEIVED: &str = "logweir.received.";

/// Which fields a search hands out.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Empty: all.
    names: Vec<String>,
}

impl Wanted {
    pub(super) fn new(names: &[String]) -> Self {
        Self { names: names.to_vec() }
    }

    /// The columns that have to be read.
    pub(super) fn columns(&self) -> std::collections::BTreeSet<ColumnIndex> {
        if self.names.is_empty() {
            return (0..COLUMNS.len()).collect();
        }
        self.names.iter().map(|name| schema::index_of(name).unwrap_or(schema::EXTRA)).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }

    /// The rows of a batch.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<Vec<Row>, StoreError> {
        let mut rows = vec![Row::default(); batch.num_rows()];
        for (column, definition) in COLUMNS.iter().enumerate() {
            if column != schema::EXTRA && self.has(definition.name) {
                take_column(batch, column, &mut rows)?;
            }
        }
        if let Some(array) = super::predicate::column_of(batch, schema::EXTRA) {
            let texts = text_array(schema::EXTRA, array)?;
            for (row, json) in rows.iter_mut().zip(texts.iter()) {
                json.into_iter().for_each(|json| self.take_extra(json, row));
            }
        }
        Ok(rows)
    }

    fn take_extra(&self, json: &str, row: &mut Row) {
        extra::members(json, |name, raw| {
            let taken = schema::index_of(name).is_some() && row.get(name).is_some();
            let name = if taken { format!("{RECEIVED}{name}") } else { name.to_owned() };
            if self.has(&name) {
                row.fields.push((name, json_value(raw.get())));
            }
        });
    }
}

fn json_value(raw: &str) -> Value {
    if raw.starts_with('"') {
        return Value::Text(extra::scalar(raw).into_owned());
    }
    if let Ok(list) = serde_json::from_str(raw) {
        return Value::List(list);
    }
    match raw.parse::<i64>() {
        Ok(number) if number.to_string() == raw => Value::Integer(number),
        _ => Value::Json(raw.to_owned()),
    }
}

fn take_column(
    batch: &RecordBatch,
    column: ColumnIndex,
    rows: &mut [Row],
) -> Result<(), StoreError> {
    let Some(array) = super::predicate::column_of(batch, column) else { return Ok(()) };
    let wrong = || unfit(column, array);
    let mut put = |at: usize, value: Value| {
        rows[at].fields.push((COLUMNS[column].name.to_owned(), value));
    };
    let valid = (0..array.len()).filter(|row| array.is_valid(*row));
    match COLUMNS[column].kind {
        Kind::Text | Kind::Ip => {
            let texts = text_array(column, array)?;
            valid.for_each(|row| put(row, Value::Text(texts.value(row).to_owned())));
        }
        Kind::Long => {
            let longs = array.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
            valid.for_each(|row| put(row, Value::Integer(longs.value(row))));
        }
        Kind::Time => {
            let times = array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
            valid.for_each(|row| put(row, Value::Timestamp(times.value(row))));
        }
        Kind::List => {
            let lists = array.as_list_opt::<i32>().ok_or_else(wrong)?;
            for row in valid {
                let elements = lists.value(row);
                let texts = text_array(column, &elements)?;
                put(row, Value::List(texts.iter().flatten().map(str::to_owned).collect()));
            }
        }
    }
    Ok(())
}
