//! A ledger from the rows of the table, for when its files are lost or damaged.
//!
//! Exactly-once survives that: the highest offset of each source is in the rows. What the rows do not
//! tell is what was missing, so each source is marked as not provably complete. Rows do not name
//! their topic; if several topics are in one table, sources of the same partition number of another
//! topic are known too, which does no harm as sources are unique.

use crate::columns::Dated;
use crate::error::StoreError;
use crate::ledger::Source;
use crate::schema::{self, ColumnIndex};
use crate::search::{Part, Predicate, Scan, SearchOptions, Test, column_of, text_array};
use crate::table::Table;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use logweir_record::SourceId;
use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

const COLUMNS_READ: [ColumnIndex; 8] = [
    schema::SOURCE,
    schema::OFFSET,
    schema::TIMESTAMP,
    schema::INGESTED,
    schema::AGENT_NAME,
    schema::AGENT_ID,
    schema::FILE_PATH,
    schema::INPUT_TYPE,
];

type Sources = HashMap<SourceId, Source>;

/// Reads all rows of a partition.
pub(crate) fn rebuild(table: &Table, partition: i32) -> Result<Sources, StoreError> {
    let only = Test::Number(partition.into(), partition.into());
    let conjuncts = vec![Predicate::Column(schema::PARTITION, only)];
    let scan = Scan::new(table, conjuncts, &SearchOptions::default())?;
    let sources = Mutex::new(Sources::new());
    scan.run(
        |_| true,
        |part: &Part<'_>| {
            part.read(&BTreeSet::from(COLUMNS_READ), |batch| {
                take(batch, &mut sources.lock().unwrap_or_else(|lock| lock.into_inner()));
                Ok(())
            })
        },
    )?;
    Ok(sources.into_inner().unwrap_or_else(|lock| lock.into_inner()))
}

fn take(batch: &RecordBatch, sources: &mut Sources) {
    let texts = |column| column_of(batch, column).and_then(|array| text_array(column, array).ok());
    let time = |column, row| {
        let times = column_of(batch, column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        times.is_valid(row).then(|| times.value(row))
    };
    let text = |column, row: usize| {
        texts(column).filter(|array| array.is_valid(row)).map(|array| array.value(row).to_owned())
    };
    let offsets = column_of(batch, schema::OFFSET).and_then(|a| a.as_primitive_opt::<Int64Type>());
    let (Some(ids), Some(offsets)) = (texts(schema::SOURCE), offsets) else { return };
    for (row, (id, offset)) in ids.iter().zip(offsets.iter()).enumerate() {
        // Rows without an identity are not ours.
        let Some(id) = id.and_then(|id| id.parse().ok()) else { continue };
        let Some(offset) = offset.and_then(|offset| u64::try_from(offset).ok()) else { continue };
        let source: &mut Source = sources.entry(id).or_default();
        let arrived = time(schema::INGESTED, row).unwrap_or(0);
        if source.received == 0 {
            source.unchained = 1;
            source.first_seen_us = arrived;
            source.host = text(schema::AGENT_NAME, row).unwrap_or_default();
            source.agent = text(schema::AGENT_ID, row).unwrap_or_default();
            let path = text(schema::FILE_PATH, row).or_else(|| text(schema::INPUT_TYPE, row));
            source.path = path.unwrap_or_default();
        }
        source.received += 1;
        source.high_water = source.high_water.max(Some(offset));
        source.end = source.end.max(offset.saturating_add(1));
        let claimed = time(schema::TIMESTAMP, row);
        source.newest_event_us = source.newest_event_us.max(claimed);
        source.newest_day = source.newest_day.max(Some(Dated::new(claimed, arrived).day));
        source.first_seen_us = source.first_seen_us.min(arrived);
        source.last_seen_us = source.last_seen_us.max(arrived);
    }
}
