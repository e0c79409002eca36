//! The per-host agent: sources, checkpoint and shipping, and the commands around them.
//!
//! Everything is a log with offsets. A source hands over chunks of its bytes; a worker encodes a
//! chunk's lines as events and ships them; the lane of the source learns what Kafka has
//! acknowledged, and the checkpoint follows the lane. Bytes read → sent → acknowledged → checkpoint
//! moved; never the other order.

mod accounting;
mod agent;
mod checkpoint;
pub mod commands;
mod config;
mod confine;
mod delivery;
mod dormant;
mod inputs;
mod limits;
mod metrics;
mod parsing;
mod pipeline;
#[cfg(test)]
mod power_cuts;
mod published;
mod reload;
mod report;
mod socket_dir;
mod source;
mod spool;
mod state_dir;
mod status;
mod sync;
mod tap;
mod workers;

pub use accounting::{Counts, ListenerSnapshot, Snapshot, SourceSnapshot};
pub use agent::{Agent, AgentError, STOP_GRACE};
pub use config::{Config, LOG as LOG_REFERENCE, log_config, metrics as metrics_listen};
pub use published::{PublishedSnapshot, RefusedSnapshot};
pub use source::syslog::Addresses;
pub use state_dir::is_agent_id;
