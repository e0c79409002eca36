//! Rate limits of a source, as configured; they change while the agent runs.

use crate::sync::{read, write};
use logweir_document::{Faults, Table};
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// How long a source may exceed its rate unless configured otherwise.
const BURST_DEFAULT: Duration = Duration::from_secs(1);

/// At most so much.
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

/// Limits that all flows of a source look at; cheap to clone, and clones change together.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveLimits(Arc<RwLock<Limits>>);

impl LiveLimits {
    #[must_use]
    pub(crate) fn of(limits: Limits) -> Self {
        Self(Arc::new(RwLock::new(limits)))
    }

    #[must_use]
    pub(crate) fn now(&self) -> Limits {
        *read(&self.0)
    }

    /// Takes over what `other` says at the moment; returns whether that differs.
    pub(crate) fn set(&self, other: &Self) -> bool {
        let new = other.now();
        std::mem::replace(&mut *write(&self.0), new) != new
    }
}

/// The limits of a source as a whole, and of each of its senders by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourceLimits {
    pub(crate) source: LiveLimits,
    pub(crate) per_sender: LiveLimits,
}

impl SourceLimits {
    pub(super) fn read(source: &mut Table<'_>, faults: &mut Faults) -> Self {
        let Some(mut table) = source.table("limits", faults) else { return Self::default() };
        let whole = rates(&mut table, faults);
        let per_sender = table.table("per_sender", faults).map(|mut table| {
            let rates = rates(&mut table, faults);
            table.finish(faults);
            rates
        });
        table.finish(faults);
        let per_sender = LiveLimits::of(per_sender.unwrap_or_default());
        Self { source: LiveLimits::of(whole), per_sender }
    }

    /// Takes over what `other` says at the moment; returns whether anything differs.
    pub(crate) fn set(&self, other: &Self) -> bool {
        self.source.set(&other.source) | self.per_sender.set(&other.per_sender)
    }
}

fn rates(table: &mut Table<'_>, faults: &mut Faults) -> Limits {
    let events_per_second = table.integer("events_per_second", 1..=1_000_000_000, faults);
    let bytes_per_second = table.byte_size_within("bytes_per_second", 1..=u64::MAX, faults);
    let burst = table.duration("burst", faults).unwrap_or(BURST_DEFAULT);
    Limits { events_per_second, bytes_per_second, burst }
}
