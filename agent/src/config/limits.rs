//! Rate limits of a source, as configured; they change while the agent runs.

use crate::limits::{BURST_DEFAULT, Limits, LiveLimits, Pace};
use logweir_document::{Faults, Table};

/// The limits of a source as a whole, of each of its senders by itself, and of the agent, which all
/// sources share.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourceLimits {
    pub(crate) source: LiveLimits,
    pub(crate) per_sender: LiveLimits,
    pub(crate) overall: LiveLimits,
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
        Self { source: LiveLimits::of(whole), per_sender, overall: LiveLimits::default() }
    }

    /// The account of a new flow of the source.
    #[must_use]
    pub(crate) fn pace(&self) -> Pace {
        Pace::new(self.source.clone(), self.overall.clone())
    }

    /// Takes over what `other` says at the moment; returns what differs: whose limits, and the limits.
    /// `place` is the source's.
    pub(crate) fn set(&self, other: &Self, place: &str) -> Vec<(String, Limits)> {
        let each = |limits: &LiveLimits, new: &LiveLimits, of: &str| {
            limits.set(new).then(|| (of.to_owned(), new.now()))
        };
        let sender = format!("each sender of {place}");
        let changed = [
            each(&self.overall, &other.overall, "the agent"),
            each(&self.source, &other.source, place),
            each(&self.per_sender, &other.per_sender, &sender),
        ];
        changed.into_iter().flatten().collect()
    }
}

/// The limits of the agent as a whole.
pub(super) fn overall(agent: &mut Table<'_>, faults: &mut Faults) -> LiveLimits {
    let Some(mut table) = agent.table("limits", faults) else { return LiveLimits::default() };
    let limits = rates(&mut table, faults);
    table.finish(faults);
    LiveLimits::of(limits)
}

fn rates(table: &mut Table<'_>, faults: &mut Faults) -> Limits {
    let events_per_second = table.integer("events_per_second", 1..=1_000_000_000, faults);
    let bytes_per_second = table.byte_size_within("bytes_per_second", 1..=u64::MAX, faults);
    let burst = table.duration("burst", faults).unwrap_or(BURST_DEFAULT);
    Limits { events_per_second, bytes_per_second, burst }
}
