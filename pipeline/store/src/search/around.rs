//! Events by their positions rather than their times: those around one in its source, and those that
//! come into the table from now on.

use super::predicate::{Predicate, Test};
use super::row::Row;
use super::{Order, Query, Scan, SearchOptions, conjuncts, first_rows};
use crate::error::StoreError;
use crate::maintenance::is_compacted;
use crate::schema;
use crate::table::{Contents, Table};
use logweir_record::SourceId;
use std::ops::ControlFlow;
use std::str::FromStr;

/// The identity of an event: its source and its offset there, written `SOURCE:OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub source: SourceId,
    pub offset: u64,
}

impl FromStr for Event {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.rsplit_once(':');
        let event = parts.and_then(|(source, offset)| {
            Some(Self { source: source.parse().ok()?, offset: offset.parse().ok()? })
        });
        event.ok_or_else(|| {
            format!(
                "`{text}` is no event; write `logweir.source` and `log.offset` of it, as 9d3c…:1234"
            )
        })
    }
}

/// Hands out the event and its neighbours in the same source, in the order of the source: `before` in
/// front of it and `after` behind it. Whether the event itself is in the table is returned.
///
/// # Errors
/// The log or a file cannot be read.
pub fn around(
    table: &Table,
    event: Event,
    (before, after): (usize, usize),
    columns: &[String],
    sink: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<bool, StoreError> {
    let offset = i64::try_from(event.offset).unwrap_or(i64::MAX);
    let take = |range: (i64, i64), limit: usize, order: Order| -> Result<Vec<Row>, StoreError> {
        let tests = vec![
            Predicate::Column(schema::SOURCE, Test::Equal(event.source.to_string())),
            Predicate::Column(schema::OFFSET, Test::Number(range.0, range.1)),
        ];
        let options =
            SearchOptions { limit, order, columns: columns.to_vec(), ..Default::default() };
        let scan = Scan::by(schema::OFFSET, table, tests, &options)?;
        let mut rows = Vec::new();
        first_rows(&scan, &options, &mut |row| {
            rows.push(row);
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    };
    let mut rows = take((i64::MIN, offset.saturating_sub(1)), before, Order::NewestFirst)?;
    rows.reverse();
    let itself = take((offset, offset), 1, Order::OldestFirst)?;
    let found = !itself.is_empty();
    rows.extend(itself);
    rows.extend(take((offset.saturating_add(1), i64::MAX), after, Order::OldestFirst)?);
    let _ = rows.into_iter().try_for_each(sink);
    Ok(found)
}

/// Hands out the rows that match as they come into the table, each once, whatever compaction does to
/// the files: by the Kafka offsets that the table's commits have moved over.
///
/// Rows of another group or topic may have these offsets, too. They are in files that were there before, or
/// in one that a compaction has made since, which is looked into only if it may hold rows that are new.
#[derive(Debug)]
pub struct Follower {
    query: Query,
    columns: Vec<String>,
    /// What the table had at the last look.
    seen: Contents,
}

/// The most rows that one look hands out; a flood is not for eyes.
const ROWS_MAX: usize = 10_000;

impl Follower {
    /// From what the table holds now.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn new(table: &Table, query: Query, columns: Vec<String>) -> Result<Self, StoreError> {
        Ok(Self { query, columns, seen: table.contents()? })
    }

    /// Hands out what has come since the last look, oldest first. Returns how many rows matched
    /// beyond the first ten thousand, which are not handed out.
    ///
    /// # Errors
    /// The log or a file cannot be read; the next look begins where this one did.
    pub fn look(
        &mut self,
        table: &Table,
        sink: &mut dyn FnMut(Row) -> ControlFlow<()>,
    ) -> Result<u64, StoreError> {
        table.refresh()?;
        if table.version() == self.seen.version {
            return Ok(0);
        }
        let now = table.contents()?;
        let new: Vec<Predicate> = now
            .positions
            .iter()
            .map(|(name, next)| (name, self.seen.positions.get(name).copied().unwrap_or(0), *next))
            .filter(|(_, from, next)| from < next)
            .map(|(name, from, next)| {
                let partition = i64::from(name.partition);
                Predicate::And(vec![
                    Predicate::Column(schema::PARTITION, Test::Number(partition, partition)),
                    Predicate::Column(schema::KAFKA_OFFSET, Test::Number(from, next - 1)),
                ])
            })
            .collect();
        if new.is_empty() {
            self.seen = now;
            return Ok(0);
        }
        let options = SearchOptions {
            limit: ROWS_MAX,
            order: Order::OldestFirst,
            columns: self.columns.clone(),
            ..Default::default()
        };
        let mut tests = conjuncts(&self.query, &options);
        tests.push(Predicate::Or(new));
        let scan = Scan::by(schema::INGESTED, table, tests, &options)?;
        // Behind the scan's files: one of these may be made of what came in between.
        let new_joined = table.has_replaced_since(self.seen.version);
        let wanted =
            |path: &str| !self.seen.files.contains(path) && (new_joined || !is_compacted(path));
        let summary = first_rows(&scan.of(wanted), &options, sink)?;
        self.seen = now;
        Ok(summary.matched - summary.shown.min(summary.matched))
    }
}
