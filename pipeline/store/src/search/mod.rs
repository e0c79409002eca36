//! Search: the query language, and its evaluation on the table's files, without a query engine.
//!
//! ```text
//! text ─ syntax ─► tree ─ compile ─► tests ─┬─ prune: files by the log's statistics
//!                                           ├─ prune: row groups by statistics and bloom filters
//!                                           └─ file: tests on columns ─► rows ─► newest first ─► sink
//! ```
//!
//! Files are taken newest first by two threads; as soon as enough rows are known that are newer than
//! anything unread, the rest is not read. Bounded: one row group's worth of bits, one decoded batch per
//! thread, and a place (40 bytes) per row up to the limit; whole rows are read a page at a time, on
//! their way to the sink.

mod around;
mod cells;
mod compile;
mod extra;
mod file;
mod format;
mod predicate;
mod prune;
mod queue;
mod row;
mod scan;
mod stats;
mod syntax;
mod text;
mod top;

pub(crate) use file::DataFile;
pub(crate) use predicate::{Predicate, Test, column_of, text_array};
pub(crate) use scan::{Part, Scan};

pub use around::{Event, Follower, around};
pub use compile::{Query, check_field};
pub use format::{Format, Formatter, visible};
pub use row::{Row, Value};
pub use stats::{Stats, StatsTable, stats};
pub use syntax::QueryError;

use crate::error::StoreError;
use crate::schema;
use crate::table::Table;
use row::Wanted;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use top::Top;

/// Rows that are held whole at a time.
const PAGE_ROWS: usize = 10_000;

/// Which end of time comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// What is searched, and how much of it is wanted.
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// Microseconds since 1970, UTC, of `@timestamp`: from here, included…
    pub since: Option<i64>,
    /// …to here, excluded.
    pub until: Option<i64>,
    /// The most rows that are handed out.
    pub limit: usize,
    pub order: Order,
    /// The fields that are handed out; empty: all.
    pub columns: Vec<String>,
    /// Threads that read; at least one.
    pub threads: usize,
    /// Skip what statistics and bloom filters exclude. Only tests have a reason not to.
    pub prune: bool,
}

impl Default for SearchOptions {
    fn default() -> Self {
        let (since, until, order, columns) = (None, None, Order::default(), Vec::new());
        Self { since, until, limit: 100, order, columns, threads: 2, prune: true }
    }
}

/// What a search did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SearchSummary {
    /// Rows that match; at least so many if not `exact`.
    pub matched: u64,
    /// Whether all rows that could match were looked at.
    pub exact: bool,
    /// Rows that were handed out.
    pub shown: u64,
    /// Files of the table.
    pub files: u64,
    /// Files that were not opened.
    pub files_pruned: u64,
    /// Rows that were tested.
    pub rows_scanned: u64,
}

/// Finds the rows that match and hands the first ones of them, in order, to `sink` until it breaks.
///
/// # Errors
/// The log or a file cannot be read.
pub fn search(
    table: &Table,
    query: &Query,
    options: &SearchOptions,
    sink: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<SearchSummary, StoreError> {
    let scan = Scan::new(table, conjuncts(query, options), options)?;
    first_rows(&scan, options, sink)
}

/// Hands out the first rows of a scan, in its order.
fn first_rows(
    scan: &Scan<'_>,
    options: &SearchOptions,
    sink: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<SearchSummary, StoreError> {
    let top = Mutex::new(Top::new(options.limit, options.order));
    let matched = AtomicU64::new(0);
    let locked = || top.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    scan.run(
        |keys| locked().may_take(keys),
        |part| {
            let found = part.found()?;
            matched.fetch_add(found.len() as u64, Ordering::Relaxed);
            let mut top = locked();
            found.into_iter().for_each(|found| top.take(found));
            Ok(())
        },
    )?;
    let found = top.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).into_sorted();
    let wanted = Wanted::new(&options.columns);
    let mut shown = 0;
    'pages: for page in found.chunks(PAGE_ROWS) {
        for row in scan.rows(page, &wanted)? {
            shown += 1;
            if sink(row).is_break() {
                break 'pages;
            }
        }
    }
    Ok(SearchSummary { matched: matched.into_inner(), shown, ..scan.summary() })
}

/// Hands every row that matches to `sink`, in no order; `limit` and `order` do not matter. However many
/// there are, only some thousand are in memory.
///
/// # Errors
/// As [`search`].
pub fn for_each(
    table: &Table,
    query: &Query,
    options: &SearchOptions,
    sink: &mut (dyn FnMut(Row) + Send),
) -> Result<(), StoreError> {
    let scan = Scan::new(table, conjuncts(query, options), options)?;
    let wanted = Wanted::new(&options.columns);
    let sink = Mutex::new(sink);
    scan.run(
        |_| true,
        |part| {
            let found: Vec<_> = part.places().collect();
            for page in found.chunks(PAGE_ROWS) {
                let rows = scan.rows(page, &wanted)?;
                let mut sink = sink.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                for row in rows {
                    sink(row);
                }
            }
            Ok(())
        },
    )
}

/// Counts the rows that match; `limit`, `order` and `columns` do not matter.
///
/// # Errors
/// As [`search`].
pub fn count(table: &Table, query: &Query, options: &SearchOptions) -> Result<u64, StoreError> {
    let scan = Scan::new(table, conjuncts(query, options), options)?;
    if let Some(rows) = scan.rows_by_statistics() {
        return Ok(rows);
    }
    let matched = AtomicU64::new(0);
    scan.run(
        |_| true,
        |part| {
            matched.fetch_add(part.matched(), Ordering::Relaxed);
            Ok(())
        },
    )?;
    Ok(matched.into_inner())
}

/// Counts the rows that match by the value of a field, most frequent first. Rows without the field
/// count under the empty text, each element of a list by itself.
///
/// # Errors
/// As [`search`].
pub fn count_by(
    table: &Table,
    query: &Query,
    options: &SearchOptions,
    field: &str,
) -> Result<Vec<(String, u64)>, StoreError> {
    let counted = stats(table, query, options, &Stats::count_by(field), usize::MAX)?;
    let pairs = counted.rows.into_iter().filter_map(|row| {
        let mut values = row.fields.into_iter().map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(Value::Text(value)), Some(Value::Integer(count))) => {
                Some((value, count.unsigned_abs()))
            }
            _ => None,
        }
    });
    Ok(pairs.collect())
}

/// All that a row must pass, cheap tests first.
fn conjuncts(query: &Query, options: &SearchOptions) -> Vec<Predicate> {
    let mut all = vec![query.predicate().clone()];
    if options.since.is_some() || options.until.is_some() {
        let low = options.since.unwrap_or(i64::MIN);
        let high = options.until.map_or(i64::MAX, |until| until.saturating_sub(1));
        all.push(Predicate::Column(schema::TIMESTAMP, Test::Number(low, high)));
    }
    Predicate::And(all).conjuncts()
}
