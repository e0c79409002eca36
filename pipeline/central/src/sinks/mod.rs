//! Other places than the table: search servers, databases, files.
//!
//! ```text
//! partition ─► worker of the sink (consumer group `<group>.<sink>`) ─► batch ─► Sink::write
//!                                                          refused for good ─► dead-letter topic
//! ```
//!
//! Each sink is a consumer group of its own, so a slow one falls behind alone. Its offset moves only
//! over what the sink has taken or the dead-letter topic has; a crash between the two sends a batch
//! again, and what that means is the sink's [`Guarantee`]. A sink that is away is tried on for ever,
//! with pauses, and holds one batch in memory meanwhile.

mod bulk;
mod clickhouse;
mod config;
mod http;
mod identity;
mod ndjson;
mod stdout;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use config::{BATCH_BYTES_MAX, WORKERS_MAX};
pub use config::{SinkConfig, SinkKind};
pub(crate) use worker::{SinkStatistics, SinkWorker};

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a reader of the sink may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Position and data move together: each record of the topic is there once.
    ExactlyOnce,
    /// A repeat replaces itself: each event is there once.
    Idempotent,
    /// After a crash, the last batch may be there twice.
    AtLeastOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExactlyOnce => "exactly once",
            Self::Idempotent => "idempotent",
            Self::AtLeastOnce => "at least once",
        })
    }
}

/// Whose offsets a sink's position is in. One of another topic says nothing, and one of another group, which a
/// topic that was made anew is given, only if the topic is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The consumer group of the sink.
    pub(crate) group: String,
    pub(crate) topic: String,
}

/// How far a sink holds a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The offset behind the last event that it has.
    pub(crate) next: i64,
    /// That event's [`Identity::id`], if it is known: a topic that was made anew has another there.
    pub(crate) last: Option<String>,
    /// Whether it was this group that took it. Of another's position that does not fit the topic nothing is
    /// said: the group is new because the topic is.
    pub(crate) own: bool,
}

/// A record of the topic on its way into a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SinkRecord {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) payload: Vec<u8>,
}

impl SinkRecord {
    /// Adds it as a line. A line break inside would make two of it; in JSON it is only space.
    fn write_line(&self, out: &mut Vec<u8>) {
        out.extend(self.payload.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        out.push(b'\n');
    }
}

/// A record that the sink will never take, by its place in the batch, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) index: usize,
    pub(crate) reason: String,
}

/// The batch, or a part of it, is not in the sink; it is to be written again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotNow(pub(crate) String);

/// Where batches go.
pub(crate) trait Sink: Send {
    fn guarantee(&self) -> Guarantee;

    /// Makes what the sink needs, such as a table; called until it succeeds, before the first batch.
    fn prepare(&mut self) -> Result<(), NotNow> {
        Ok(())
    }

    /// What the sink holds of the partition, if it knows better than Kafka.
    fn position(&mut self, partition: i32) -> Result<Option<Held>, NotNow> {
        let _ = partition;
        Ok(None)
    }

    /// Leaves what it holds of the partition as it is, and takes the offsets that come for those of a new topic.
    fn begin_anew(&mut self, partition: i32) {
        let _ = partition;
    }

    /// Writes a batch, the records of each partition in order; returns what it refuses for good.
    ///
    /// # Errors
    /// Nothing is known to be written; the same batch comes again.
    fn write(&mut self, batch: &[SinkRecord]) -> Result<Vec<Refused>, NotNow>;
}
