//! What agent and ingest share about Kafka: properties, producer, topics.

pub mod topics;
