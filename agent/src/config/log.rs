//! The section `log`, of the agent and of the ingest.

use logweir_document::{Faults, Table};
use logweir_service::{LogConfig, LogFormat};

pub(crate) const LOG_FORMATS: [&str; 2] = ["text", "ecs"];
pub(crate) const LOG_LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Reads the section, if there is one.
pub fn log_config(root: &mut Table<'_>, faults: &mut Faults) -> LogConfig {
    let mut config = LogConfig::default();
    let Some(mut table) = root.table("log", faults) else { return config };
    if let Some(1) = table.choice("format", &LOG_FORMATS, faults) {
        config.format = LogFormat::Ecs;
    }
    if let Some(index) = table.choice("level", &LOG_LEVELS, faults) {
        config.level = LOG_LEVELS[index];
    }
    table.finish(faults);
    config
}
