//! What the ledger knows, for people: per source, what came, what came twice, and what is missing.

use crate::error::StoreError;
use crate::ledger::{Gap, Losses, PartitionName, Source};
use crate::table::{FileEntry, Table};
use crate::time::format_date;
use crate::writer::load_ledger;
use logweir_record::SourceId;
use std::collections::{BTreeMap, HashMap, HashSet};

/// All that the ledgers know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// By host, path and id.
    pub sources: Vec<SourceAudit>,
    pub partitions: Vec<PartitionAudit>,
    /// The rows that the table has now, of all groups and topics; `None` if another writer has left some
    /// uncounted. Those that came and are not among them have been removed, as retention does.
    pub rows: Option<u64>,
}

impl Audit {
    /// Whether it is proved that nothing is missing of what agents numbered. A table in which nothing is
    /// may be one that was lost.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.sources.is_empty()
            && self.rows != Some(0)
            && self.sources.iter().all(SourceAudit::is_complete)
            && self.partitions.iter().all(|partition| partition.losses.are_none())
    }
}

/// One partition of a topic, beside what its sources tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionAudit {
    pub group: String,
    pub topic: String,
    pub partition: i32,
    pub losses: Losses,
}

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
    /// The newest day (`YYYY-MM-DD`) under which one of its rows was stored; a ledger that an older version
    /// has written does not say it.
    pub newest_day: Option<String>,
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
            newest_day: source.newest_day.map(format_date),
            first_seen: source.first_seen_us,
            last_seen: source.last_seen_us,
        }
    }
}

/// What the ledgers of a group and a topic know, or all ledgers.
///
/// # Errors
/// The table's log or a ledger cannot be read.
pub fn audit(table: &Table, group: Option<&str>, topic: Option<&str>) -> Result<Audit, StoreError> {
    let mut audit = Audit::default();
    for name in table.ledgers()? {
        if group.is_some_and(|group| group != name.group) || topic.is_some_and(|t| t != name.topic)
        {
            continue;
        }
        let (_, ledger) = load_ledger(table, &name)?;
        let (losses, sources) = ledger.into_known();
        let sources = sources.into_iter().map(|(id, source)| SourceAudit::new(&name, id, source));
        audit.sources.extend(sources);
        let PartitionName { group, topic, partition } = name;
        audit.partitions.push(PartitionAudit { group, topic, partition, losses });
    }
    let key = |source: &SourceAudit| (source.host.clone(), source.path.clone(), source.source);
    audit.sources.sort_by_cached_key(key);
    // Behind the ledgers: what comes meanwhile is not missed.
    let rows = table.days()?.into_iter().map(|day| day.rows);
    audit.rows = rows.sum();
    audit.partitions.sort_by_cached_key(|of| (of.group.clone(), of.topic.clone(), of.partition));
    Ok(audit)
}

/// A file of the table that is not there, or not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostFile {
    /// Relative to the table.
    pub path: String,
    /// As the table's log says.
    pub bytes: u64,
    /// `None` if the log does not say it.
    pub rows: Option<u64>,
    /// The size of what is there.
    pub found: Option<u64>,
}

/// The files of the table that are not there in their size. They are listed, not read.
///
/// # Errors
/// The table's log cannot be read, or a folder not be listed.
pub fn lost_files(table: &Table) -> Result<Vec<LostFile>, StoreError> {
    let mut folders: BTreeMap<String, Vec<FileEntry>> = BTreeMap::new();
    for entry in table.files()? {
        let folder = entry.path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        folders.entry(folder).or_default().push(entry);
    }
    let mut lost = Vec::new();
    for (folder, entries) in folders {
        let listed = table.directory().list(&folder)?.into_iter();
        let sizes: HashMap<String, u64> = listed.map(|file| (file.name, file.bytes)).collect();
        for entry in entries {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            let (found, rows) = (sizes.get(name).copied(), entry.statistics().num_records);
            if found != Some(entry.bytes()) {
                lost.push(LostFile { bytes: entry.bytes(), rows, found, path: entry.path });
            }
        }
    }
    if !lost.is_empty() {
        // What was taken out of the table meanwhile is not missed.
        let left: HashSet<String> = table.files()?.into_iter().map(|entry| entry.path).collect();
        lost.retain(|file| left.contains(&file.path));
    }
    Ok(lost)
}
