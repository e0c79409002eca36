//! A durable single-node broker that speaks the Kafka protocol.
//!
//! It lets one machine run the whole pipeline with nothing else installed: agent and ingest reach it
//! through any Kafka client over TCP, and `bootstrap.servers` is the single switch to a real cluster.
//! It is for one machine: no replication, no TLS, no authentication, no transactions, no KIP-848
//! groups, and it listens where it is told and nowhere else.
//!
//! ```text
//! server    threads: one listens, one per connection, one keeps (syncs, removes what is too old)
//! wire      which APIs and versions are served; lengths of a request checked before it is decoded
//! api       one request → one response, per family of APIs
//! topics    names, settings and folders of topics      groups   members, rebalances, committed offsets
//! log       a partition on disk: segments of opaque batches, idempotence window, retention
//! ```
//!
//! *Invariant:* an acknowledged batch is in the log, once, and survives the death of the process; a
//! power cut may take what is younger than [`BrokerConfig::fsync_interval`].
//! *Invariant:* a malformed request ends its own connection and nothing else.

mod api;
mod broker;
mod config;
mod files;
mod groups;
mod log;
mod producer_ids;
mod server;
mod settings;
mod topics;
mod wire;

pub use broker::{Broker, BrokerError, PartitionStatus, TopicStatus};
pub use config::{
    BrokerConfig, CONNECTIONS_MAX_DEFAULT, FSYNC_INTERVAL_DEFAULT, MESSAGE_BYTES_MAX_DEFAULT,
    PARTITIONS_DEFAULT, REBALANCE_DELAY_DEFAULT, REQUEST_BYTES_MAX_DEFAULT, RETENTION_DEFAULT,
    SEGMENT_BYTES_DEFAULT,
};
