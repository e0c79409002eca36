//! The per-host agent: sources, checkpoint and shipping, and the commands around them.

pub mod commands;
