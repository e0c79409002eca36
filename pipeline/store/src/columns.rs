//! Records as columns in memory, until they are written.
//!
//! A column that a record does not have costs nothing when the record is added: it is filled up with
//! nulls when the next value comes, or at the end.

use crate::record::{Member, Record};
use crate::schema::{self, ARROW_SCHEMA, COLUMNS, Kind};
use crate::time::{DAY_US, HOUR_US, day_of};
use arrow_array::builder::{Int64Builder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// Events may be this much older than their arrival before their day is doubted. What an agent read
/// late (a week of a weekend and holidays) keeps its day; a clock that is years off does not make a
/// partition for each of its days.
const AGE_MAX_US: i64 = 7 * DAY_US;
/// Events may be this much newer than their arrival: clocks differ, and some logs are in local time.
const AHEAD_MAX_US: i64 = HOUR_US;
/// In `tags` of events whose time is outside of these bounds; they are stored under the day of
/// arrival, with the time that they claim.
pub(crate) const TAG_TIMESTAMP_SUSPECT: &str = "timestamp_suspect";

/// Where a row comes from and when it arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) partition: i32,
    pub(crate) kafka_offset: i64,
    pub(crate) now_us: i64,
}

/// Which time an event has in the table, and under which day it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dated {
    pub(crate) time_us: i64,
    pub(crate) day: i32,
    /// The time that it claims cannot be true.
    pub(crate) suspect: bool,
}

impl Dated {
    pub(crate) fn new(claimed_us: Option<i64>, arrived_us: i64) -> Self {
        let age = claimed_us.map(|time| arrived_us.saturating_sub(time));
        let suspect = age.is_none_or(|age| !(-AHEAD_MAX_US..=AGE_MAX_US).contains(&age));
        let time_us = claimed_us.unwrap_or(arrived_us);
        Self { time_us, day: day_of(if suspect { arrived_us } else { time_us }), suspect }
    }
}

/// The builders of all columns.
#[derive(Debug)]
pub(crate) struct Columns {
    builders: Vec<Builder>,
    /// The day each row belongs to.
    days: Vec<i32>,
}

impl Columns {
    pub(crate) fn new() -> Self {
        let builders = COLUMNS.iter().map(|column| Builder::new(column.kind)).collect();
        Self { builders, days: Vec::new() }
    }

    pub(crate) fn rows(&self) -> usize {
        self.days.len()
    }

    /// Whether the time of the event cannot be true.
    pub(crate) fn append(&mut self, record: &Record<'_>, arrival: Arrival) -> bool {
        let Dated { time_us, day, suspect } = Dated::new(record.time_us(), arrival.now_us);
        let row = self.rows();
        for (column, member) in &record.members {
            if *column != schema::TAGS {
                self.builders[*column].append(row, member);
            }
        }
        if record.time_us().is_none() {
            self.builders[schema::TIMESTAMP].append(row, &Member::Time(time_us));
        }
        self.append_tags(row, record, suspect);
        let own = [
            (schema::INGESTED, Member::Time(arrival.now_us)),
            (schema::PARTITION, Member::Long(arrival.partition.into())),
            (schema::KAFKA_OFFSET, Member::Long(arrival.kafka_offset)),
        ];
        for (column, member) in &own {
            self.builders[*column].append(row, member);
        }
        if !record.rest.is_empty() {
            self.builders[schema::EXTRA].append_joined(row, &["{", &record.rest, "}"]);
        }
        self.days.push(day);
        suspect
    }

    fn append_tags(&mut self, row: usize, record: &Record<'_>, suspect: bool) {
        let mut tags = match record.get(schema::TAGS) {
            Some(Member::List(tags)) => tags.clone(),
            _ => Vec::new(),
        };
        if suspect {
            tags.push(TAG_TIMESTAMP_SUSPECT.into());
        }
        if !tags.is_empty() {
            self.builders[schema::TAGS].append(row, &Member::List(tags));
        }
    }

    /// The rows so far, one batch per day; what is here afterwards is empty.
    pub(crate) fn finish(&mut self) -> Result<Vec<(i32, RecordBatch)>, ArrowError> {
        let days = std::mem::take(&mut self.days);
        let arrays = self.builders.iter_mut().map(|builder| builder.finish(days.len())).collect();
        let batch = RecordBatch::try_new(ARROW_SCHEMA.clone(), arrays)?;
        let distinct: BTreeSet<i32> = days.iter().copied().collect();
        if let (1, Some(day)) = (distinct.len(), distinct.first()) {
            return Ok(vec![(*day, batch)]);
        }
        let of_day = |day: i32| {
            let mask: BooleanArray = days.iter().map(|other| Some(*other == day)).collect();
            arrow_select::filter::filter_record_batch(&batch, &mask).map(|rows| (day, rows))
        };
        distinct.into_iter().map(of_day).collect()
    }
}

#[derive(Debug)]
enum Builder {
    Text(StringBuilder),
    Long(Int64Builder),
    Time(TimestampMicrosecondBuilder),
    List(ListBuilder<StringBuilder>),
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text | Kind::Ip => Self::Text(StringBuilder::with_capacity(0, 0)),
            Kind::Long => Self::Long(Int64Builder::with_capacity(0)),
            Kind::Time => {
                Self::Time(TimestampMicrosecondBuilder::with_capacity(0).with_timezone("UTC"))
            }
            Kind::List => {
                let element = Field::new("element", DataType::Utf8, true);
                let builder = ListBuilder::with_capacity(StringBuilder::with_capacity(0, 0), 0);
                Self::List(builder.with_field(Arc::new(element)))
            }
        }
    }

    /// Makes the column `rows` long with nulls.
    fn fill(&mut self, rows: usize) {
        use arrow_array::builder::ArrayBuilder as _;
        let missing = rows
            - match self {
                Self::Text(builder) => builder.len(),
                Self::Long(builder) => builder.len(),
                Self::Time(builder) => builder.len(),
                Self::List(builder) => builder.len(),
            };
        // Even no null makes the builder keep a bit for each row from then on.
        if missing == 0 {
            return;
        }
        match self {
            Self::Text(builder) => builder.append_nulls(missing),
            Self::Long(builder) => builder.append_nulls(missing),
            Self::Time(builder) => builder.append_nulls(missing),
            Self::List(builder) => builder.append_nulls(missing),
        }
    }

    /// Appends a text that is in pieces.
    fn append_joined(&mut self, row: usize, pieces: &[&str]) {
        self.fill(row);
        match self {
            Self::Text(builder) => {
                pieces.iter().for_each(|piece| builder.write_str(piece).expect("into memory"));
                builder.append_value("");
            }
            other => debug_assert!(false, "a text for {other:?}"),
        }
    }

    fn append(&mut self, row: usize, member: &Member<'_>) {
        self.fill(row);
        match (self, member) {
            (Self::Text(builder), Member::Text(text)) => builder.append_value(text),
            (Self::Long(builder), Member::Long(value)) => builder.append_value(*value),
            (Self::Time(builder), Member::Time(time)) => builder.append_value(*time),
            (Self::List(builder), Member::List(texts)) => {
                texts.iter().for_each(|text| builder.values().append_value(text));
                builder.append(true);
            }
            (_, member) => debug_assert!(false, "the decoder gave {member:?} to another kind"),
        }
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.fill(rows);
        let array: ArrayRef = match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Long(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::List(builder) => Arc::new(builder.finish()),
        };
        debug_assert_eq!(array.len(), rows);
        array
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::{Int64Type, TimestampMicrosecondType};

    fn columns(records: &[(&str, i64)]) -> Vec<(i32, RecordBatch)> {
        let mut columns = Columns::new();
        for (at, (members, now_us)) in records.iter().enumerate() {
            let payload =
                format!(r#"{{"logweir.source":"{}","log.offset":{at}{members}}}"#, "0".repeat(32));
            let arrival = Arrival { partition: 3, kafka_offset: 100 + at as i64, now_us: *now_us };
            columns.append(&Record::decode(payload.as_bytes(), Vec::new()).unwrap(), arrival);
        }
        columns.finish().unwrap()
    }

    #[test]
    fn absent_members_are_null_and_rows_stay_aligned() {
        let batches = columns(&[
            (r#","message":"a""#, 0),
            (r#","process.pid":7,"tags":["x","y"],"labels.k":"v""#, 0),
            ("", 0),
        ]);
        let (_, batch) = &batches[0];
        assert_eq!((batches.len(), batch.num_rows()), (1, 3));
        let text = |column: usize, row| {
            let array = batch.column(column).as_string::<i32>();
            array.is_valid(row).then(|| array.value(row).to_owned())
        };
        assert_eq!(text(schema::MESSAGE, 0).as_deref(), Some("a"));
        assert_eq!(text(schema::MESSAGE, 1), None);
        assert_eq!(text(schema::EXTRA, 1).as_deref(), Some(r#"{"labels.k":"v"}"#));
        assert_eq!(text(schema::EXTRA, 2), None);
        let offsets = batch.column(schema::KAFKA_OFFSET).as_primitive::<Int64Type>();
        assert_eq!(offsets.values(), &[100, 101, 102]);
        let tags = batch.column(schema::TAGS).as_list::<i32>().value(1);
        assert_eq!(tags.as_string::<i32>().iter().flatten().collect::<Vec<_>>()[..2], ["x", "y"]);
    }

    #[test]
    fn a_time_far_from_the_arrival_is_kept_but_stored_under_the_day_of_arrival_and_tagged() {
        let now = 1_795_830_586_000_000; // 2026-11-28
        let today = day_of(now);
        for (time, expected_day, suspect) in [
            ("2026-11-28T01:00:00Z", today, false),
            ("2026-11-27T01:00:00Z", today - 1, false),
            ("2026-11-21T02:00:00Z", today - 7, false),
            ("2026-11-21T01:00:00Z", today, true),
            ("2026-11-28T02:40:00Z", today, false),
            ("2026-11-28T03:00:00Z", today, true),
            ("1999-01-01T00:00:00Z", today, true),
        ] {
            let batches = columns(&[(&format!(r#","@timestamp":"{time}""#), now)]);
            let (day, batch) = &batches[0];
            assert_eq!(*day, expected_day, "{time}");
            assert_eq!(batch.column(schema::TAGS).is_valid(0), suspect, "{time}");
            let times = batch.column(schema::TIMESTAMP).as_primitive::<TimestampMicrosecondType>();
            assert_eq!(Some(times.value(0)), crate::time::parse_rfc3339(time));
        }
        let (day, batch) = &columns(&[(r#","@timestamp":"?""#, now)])[0];
        assert_eq!((*day, batch.column(schema::TAGS).is_valid(0)), (today, true));
        let times = batch.column(schema::TIMESTAMP).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(0), now);
    }

    #[test]
    fn rows_of_several_days_are_split_in_order() {
        let now = 1_795_830_586_000_000;
        let batches = columns(&[
            (r#","@timestamp":"2026-11-28T01:00:00Z","message":"a""#, now),
            (r#","@timestamp":"2026-11-27T01:00:00Z","message":"b""#, now),
            (r#","@timestamp":"2026-11-28T01:00:01Z","message":"c""#, now),
        ]);
        let messages: Vec<Vec<&str>> = batches
            .iter()
            .map(|(_, batch)| {
                batch.column(schema::MESSAGE).as_string::<i32>().iter().flatten().collect()
            })
            .collect();
        assert_eq!(messages, [vec!["b"], vec!["a", "c"]]);
    }
}
