//! Rate limits of a source, as configured.

use logweir_document::{Faults, Table};
use std::time::Duration;

/// How long a source may exceed its rate unless configured otherwise.
const BURST_DEFAULT: Duration = Duration::from_secs(1);

/// At most so much; for network inputs per listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub events_per_second: Option<u64>,
    pub bytes_per_second: Option<u64>,
    /// So much of unused rate may be spent at once.
    pub burst: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events_per_second: None, bytes_per_second: None, burst: BURST_DEFAULT }
    }
}

impl Limits {
    pub(super) fn read(source: &mut Table<'_>, faults: &mut Faults) -> Self {
        let mut limits = Self::default();
        let Some(mut table) = source.table("limits", faults) else { return limits };
        limits.events_per_second = table.integer("events_per_second", 1..=1_000_000_000, faults);
        let span = table.span();
        limits.bytes_per_second = table.byte_size("bytes_per_second", faults);
        if limits.bytes_per_second == Some(0) {
            faults.error(span, "`bytes_per_second` is 0").remedy =
                Some("give at least one byte per second, or leave it out".into());
        }
        limits.burst = table.duration("burst", faults).unwrap_or(BURST_DEFAULT);
        table.finish(faults);
        limits
    }
}
