//! The transaction log of the table, after the open Delta protocol (github.com/delta-io/delta,
//! PROTOCOL.md; reader version 1, writer version 2), so that Spark, Trino, ClickHouse, DuckDB, pandas
//! and others read the table as it is.
//!
//! Why not a library: `delta_kernel` 0.30 brings all of `arrow` and, with any engine, the clients of
//! three clouds with an HTTP and two TLS stacks, some 250 crates; `deltalake-core` brings still more.
//! What an append-only writer needs of the protocol is small: JSON commits that are put if absent,
//! `txn` actions for the offsets, checkpoints. Owning it also lets a commit be synced to the disk
//! before anything says that it happened. Tables with newer features (deletion vectors, column
//! mapping) are refused, not misread.
//!
//! Invariant: a version is written once; whoever comes second sees that and starts over.

mod actions;
mod checkpoint;
mod log;
mod snapshot;
mod statistics;

pub(crate) use actions::{Action, Add, CommitInfo, Format, Metadata, Protocol, Remove, Txn};
pub(crate) use log::{Log, LogOptions};
pub(crate) use snapshot::{Snapshot, TableFile};
pub(crate) use statistics::FileStatistics;
