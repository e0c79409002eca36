//! What agent and ingest share about Kafka: properties, producer, topics.

pub mod producer;
pub mod properties;
pub mod topics;
