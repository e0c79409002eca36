//! What the ledger knows, for people: per source, what came, what came twice, and what is missing.

use crate::error::StoreError;
use crate::ledger::{Gap, PartitionName, Source};
use crate::table::Table;
use crate::writer::load_ledger;
use logweir_record::SourceId;

/// One source in one partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceAudit {
    pub group: String,
    pub topic: String,
    pub partition: i32,
    pub source: SourceId,
    pub host: String,
    /// The agent's id.
    pub agent: String,
    /// The path of a file, or the type of another input.
    pub path: String,
    /// Events that came; `received` = `rows` + `duplicates`.
    pub received: u64,
    /// Events that were stored.
    pub rows: u64,
    /// Events that had come before and were dropped.
    pub duplicates: u64,
    /// Events that came late, into a gap.
    pub healed: u64,
    /// Events that did not name the one before them: what is missing there cannot be known.
    pub unchained: u64,
    /// What is missing, in order.
    pub gaps: Vec<Gap>,
    /// Gaps that were joined to a neighbour because there were too many.
    pub gaps_merged: u64,
    /// The offset of the last event.
    pub high_water: u64,
    /// The time of the newest event, in microseconds.
    pub newest_event: Option<i64>,
    /// When its first and its last event arrived, in microseconds.
    pub first_seen: i64,
    pub last_seen: i64,
}

impl SourceAudit {
    /// Whether nothing is missing up to the last event, as far as can be known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty() && self.unchained == 0
    }

    fn new(name: &PartitionName, id: SourceId, source: Source) -> Self {
        Self {
            group: name.group.clone(),
            topic: name.topic.clone(),
            partition: name.partition,
            source: id,
            host: source.host,
            agent: source.agent,
            path: source.path,
            received: source.received,
            rows: source.received.saturating_sub(source.duplicates),
            duplicates: source.duplicates,
            healed: source.healed,
            unchained: source.unchained,
            gaps: source.gaps,
            gaps_merged: source.gaps_merged,
            high_water: source.high_water.unwrap_or(0),
            newest_event: source.newest_event_us,
            first_seen: source.first_seen_us,
            last_seen: source.last_seen_us,
        }
    }
}

/// All sources of a group and a topic, or of all, by host, path and id.
///
/// # Errors
/// The table's log or a ledger cannot be read.
pub fn audit(
    table: &Table,
    group: Option<&str>,
    topic: Option<&str>,
) -> Result<Vec<SourceAudit>, StoreError> {
    let mut sources = Vec::new();
    for name in table.ledgers()? {
        if group.is_some_and(|group| group != name.group) || topic.is_some_and(|t| t != name.topic)
        {
            continue;
        }
        let (_, ledger) = load_ledger(table, &name)?;
        sources.extend(
            ledger
                .into_sources()
                .into_iter()
                .map(|(id, source)| SourceAudit::new(&name, id, source)),
        );
    }
    let key = |audit: &SourceAudit| (audit.host.clone(), audit.path.clone(), audit.source);
    sources.sort_by_cached_key(key);
    Ok(sources)
}
