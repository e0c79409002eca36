//! The table of events: written exactly once, searched, and audited.
//!
//! ```text
//! PartitionWriter ─ decode ─ ledger ─ columns ─ seal ─► Parquet files + ledger file ┐
//!                                                        Table::commit ◄────────────┘
//! ```
//!
//! A Delta Lake table of flat ECS columns in Parquet, in a directory. The Kafka offset of each
//! partition is committed with the rows, so what is in the table and where to go on are one fact. The
//! ledger beside it says, per source, what came twice and what is missing. The crate knows no Kafka
//! client and no query engine.

mod audit;
mod columns;
mod data_file;
mod delta;
mod directory;
mod error;
mod ledger;
mod maintenance;
mod object;
mod rebuild;
mod record;
mod schema;
mod search;
mod table;
mod time;
mod writer;

pub use audit::{Audit, LostFile, PartitionAudit, SourceAudit, audit, lost_files};
pub use error::{CommitError, StoreError};
pub use ledger::{Expired, Gap, Losses};
pub use maintenance::{
    CompactOptions, CompactSummary, GRACE_MIN, RetentionSummary, VacuumSummary, compact, expire,
    retain, vacuum,
};
pub use schema::{COLUMNS, Column, Kind as ColumnKind};
pub use search::{
    Event, Follower, Format, Formatter, Order, Query, QueryError, Row, SearchOptions,
    SearchSummary, Stats, StatsTable, Value, around, check_field, count, count_by, for_each,
    search, stats, visible,
};
pub use table::{Day, Table, TableOptions};
pub use time::{format_time, parse_rfc3339, parse_time};
pub use writer::{Batch, Counts, PartitionWriter, Pushed};
