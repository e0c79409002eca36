//! What agent and ingest share about Kafka: properties, producer, topics, and what to do when it
//! does not let them in.

pub mod certificate;
mod consumer;
pub mod follow;
pub mod producer;
pub mod properties;
pub mod token;
pub mod topics;
pub mod trouble;
mod waits;

pub use consumer::{Asking, consumer};
