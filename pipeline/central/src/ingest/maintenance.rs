//! Keeping the table in shape beside the workers: many small files become few sorted ones, files that
//! nothing refers to any more go, and days beyond the retention are forgotten.
//!
//! Every process of the group does it; where two meet, the table's conflict check lets one of them
//! through and the other tries again at its next turn. A failure is told and changes nothing.

use logweir_store::{
    CompactOptions, GRACE_MIN, RetentionSummary, Table, VacuumSummary, compact, retain, vacuum,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A flush every half second makes some hundred files in this time, which a search opens easily.
const COMPACT_INTERVAL: Duration = Duration::from_secs(120);
const VACUUM_INTERVAL: Duration = Duration::from_secs(3600);
/// How often the thread looks whether it shall end.
const STEP: Duration = Duration::from_millis(500);

/// The thread, until `stop`.
pub(super) fn start(
    table: Arc<Table>,
    retention: Option<Duration>,
    stop: Arc<AtomicBool>,
) -> std::io::Result<JoinHandle<anyhow::Result<()>>> {
    std::thread::Builder::new().name("maintenance".into()).spawn(move || {
        let mut compacted = Instant::now();
        // At once: an ingest that never runs for long has to do it, too.
        let mut vacuumed: Option<Instant> = None;
        while !stop.load(Ordering::Relaxed) {
            std::thread::park_timeout(STEP);
            if compacted.elapsed() >= COMPACT_INTERVAL {
                compacted = Instant::now();
                match compact(&table, &CompactOptions::default()) {
                    Ok(summary) => tracing::debug!(?summary, "table compacted"),
                    Err(error) => tracing::warn!(%error, "the table was not compacted"),
                }
            }
            if vacuumed.is_none_or(|last| last.elapsed() >= VACUUM_INTERVAL) {
                vacuumed = Some(Instant::now());
                tidy(&table, retention);
            }
        }
        Ok(())
    })
}

fn tidy(table: &Table, retention: Option<Duration>) {
    if let Some(retention) = retention {
        match retain(table, retention) {
            Ok(RetentionSummary { files: 0, .. }) => {}
            Ok(RetentionSummary { files, before }) => {
                tracing::info!(files, before, "days beyond the retention removed");
            }
            Err(error) => tracing::warn!(%error, "the retention was not applied"),
        }
    }
    match vacuum(table, GRACE_MIN) {
        Ok(VacuumSummary { files_removed: 0, .. }) => {}
        Ok(VacuumSummary { files_removed: files, bytes_removed: bytes }) => {
            tracing::info!(files, bytes, "files that nothing refers to removed");
        }
        Err(error) => tracing::warn!(%error, "files that nothing refers to were not removed"),
    }
}
