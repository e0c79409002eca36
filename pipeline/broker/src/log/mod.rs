//! The log of one partition on disk: batches in segments.
//!
//! What is in here knows files and offsets, and nothing of topics, sockets or the protocol.

pub(crate) mod batch;
mod partition;
mod producers;
mod scan;
mod segment;

pub(crate) use partition::{LogError, LogLimits, PartitionLog};
pub(crate) use producers::SequenceFault;
