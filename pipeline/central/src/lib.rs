//! The central side of Logweir: ingest workers, the demo, and the commands around them.

pub mod commands;
pub mod demo;
pub mod ingest;
pub mod sinks;
