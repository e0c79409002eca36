//! The table: open it, see what is in it, commit to it.
//!
//! Owns STO-1: an offset is committed ⇔ its rows are visible. One Delta commit adds the files of
//! several Kafka partitions and sets, for each, the next offset and the ledger that belongs to it. A
//! commit is refused if the table's offset of a partition is not the one that the batch builds on, so
//! a worker that has lost its partition and does not know it can neither repeat nor skip rows.
//!
//! Survives: SIGKILL anywhere (files that no commit names are never read), several processes
//! committing at once.

use crate::data_file::STATISTICS;
use crate::delta::{
    Action, Add, CommitInfo, FileStatistics, Log, LogOptions, Metadata, Protocol, Remove, Snapshot,
    TableFile, Txn,
};
use crate::directory::{Directory, unique};
use crate::error::{CommitError, StoreError};
use crate::ledger::{LEDGER, PartitionName};
use crate::maintenance::GRACE_MIN;
use crate::schema::{COLUMNS, PARTITION_COLUMN, delta_fields};
use crate::time::now_us;
use crate::writer::Batch;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How often a commit is tried when other processes keep being faster. With as many writers, each
/// round lets one of them through.
const COMMIT_ATTEMPTS: u32 = 64;
const COMMIT_PAUSE_MAX_MS: u64 = 100;

/// How long a file may wait for its commit, with room for the commit itself: a vacuum would remove it.
const FILE_WAIT_MAX: Duration = GRACE_MIN.saturating_sub(Duration::from_secs(5 * 60));

/// How a table is written.
#[derive(Debug, Clone, Copy)]
pub struct TableOptions {
    /// A writer puts what it holds into a file when it holds this many bytes of records; it bounds
    /// the memory of a writer.
    pub target_file_bytes: usize,
    /// Commits from one checkpoint of the log to the next.
    pub checkpoint_every: u64,
    /// How long commits in front of the last checkpoint are kept.
    pub log_retention: Duration,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            target_file_bytes: 64 << 20,
            checkpoint_every: 50,
            log_retention: Duration::from_secs(24 * 3600),
        }
    }
}

/// A Delta table in a directory. Threads share it.
#[derive(Debug)]
pub struct Table {
    directory: Directory,
    options: TableOptions,
    log: Log,
    state: Mutex<Snapshot>,
}

/// What the table has of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Day {
    /// `YYYY-MM-DD`.
    pub date: String,
    pub files: u64,
    /// `None` if another writer has left them uncounted.
    pub rows: Option<u64>,
    pub bytes: u64,
}

/// What the table holds at a version.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) version: u64,
    pub(crate) files: HashSet<String>,
    /// The next Kafka offset of each partition.
    pub(crate) positions: HashMap<PartitionName, i64>,
}

/// A file of the table with what is known of it without opening it.
#[derive(Debug, Clone)]
pub(crate) struct FileEntry {
    /// Relative to the table.
    pub(crate) path: String,
    file: Arc<TableFile>,
}

impl Table {
    /// Opens the table in a directory (a path or a `file://` URL); makes an empty one if there is
    /// none.
    ///
    /// # Errors
    /// The directory cannot be written, or holds a table that this version does not understand.
    pub fn open_or_create(location: &str, options: TableOptions) -> Result<Self, StoreError> {
        match Self::open(location, options) {
            Err(StoreError::NotATable(_)) => {}
            other => {
                let table = other?;
                table.add_missing_columns()?;
                return Ok(table);
            }
        }
        let directory = Directory::at(location)?;
        let log = log(&directory, options);
        // If another process creates it at the same time, its table is as good.
        log.create(&first_commit())?;
        Self::open(location, options)
    }

    /// Opens the table in a directory.
    ///
    /// # Errors
    /// There is none ([`StoreError::NotATable`]), or it cannot be read. Files of a table without its log are
    /// none for a new one ([`StoreError::LogMissing`]): as nothing refers to them, they would be removed.
    pub fn open(location: &str, options: TableOptions) -> Result<Self, StoreError> {
        let directory = Directory::at(location)?;
        let log = log(&directory, options);
        let snapshot = match log.load()? {
            Some(snapshot) => snapshot,
            None if !holds_files(&directory)? => {
                return Err(StoreError::NotATable(directory.root()));
            }
            // Another process may have made it, and written to it, since.
            None => log.load()?.ok_or_else(|| StoreError::LogMissing(directory.root()))?,
        };
        Ok(Self { directory, options, log, state: Mutex::new(snapshot) })
    }

    /// Takes what other processes have committed.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn refresh(&self) -> Result<(), StoreError> {
        self.log.refresh(&mut self.state())
    }

    /// The version of the last commit that was seen.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// The next Kafka offset that the table wants of a partition; `None` if it has none of it.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn position(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Result<Option<i64>, StoreError> {
        let name = PartitionName { group: group.into(), topic: topic.into(), partition };
        self.app_versions(&name).map(|(position, _)| position)
    }

    /// Commits batches of several partitions at once: all or nothing.
    ///
    /// # Errors
    /// See [`CommitError`]; nothing has become visible then.
    pub fn commit(&self, batches: Vec<Batch>) -> Result<(), CommitError> {
        if batches.is_empty() {
            return Ok(());
        }
        check_age(&batches, now_us() / 1000)?;
        let folders: BTreeSet<String> = batches.iter().flat_map(Batch::folders).collect();
        folders.iter().try_for_each(|folder| self.directory.sync(folder))?;
        let actions = commit_actions(&batches);
        self.commit_when(|snapshot| check_positions(snapshot, &batches), || actions.clone())?;
        for path in batches.iter().flat_map(Batch::obsolete) {
            if let Err(error) = self.directory.remove(path) {
                tracing::warn!(%error, "cannot remove an old ledger file");
            }
        }
        Ok(())
    }

    /// Commits `actions` as soon as `check` agrees with the table as it is at that moment.
    pub(crate) fn commit_when(
        &self,
        check: impl Fn(&Snapshot) -> Result<(), CommitError>,
        actions: impl Fn() -> Vec<Action>,
    ) -> Result<(), CommitError> {
        let mut state = self.state();
        for attempt in 0..COMMIT_ATTEMPTS {
            self.log.refresh(&mut state)?;
            check(&state)?;
            if self.log.commit(&mut state, actions())? {
                return Ok(());
            }
            let bound = (u64::from(attempt) + 1).saturating_mul(5).min(COMMIT_PAUSE_MAX_MS);
            std::thread::sleep(Duration::from_millis(unique() % bound));
        }
        Err(CommitError::Contended { attempts: COMMIT_ATTEMPTS })
    }

    /// Next offset and ledger id of a partition, as of now.
    pub(crate) fn app_versions(
        &self,
        name: &PartitionName,
    ) -> Result<(Option<i64>, Option<i64>), StoreError> {
        let mut state = self.state();
        self.log.refresh(&mut state)?;
        let position = state.app_version(&name.position_app());
        Ok((position, state.app_version(&name.ledger_app())))
    }

    /// What the table holds as of now.
    pub(crate) fn contents(&self) -> Result<Contents, StoreError> {
        let mut state = self.state();
        self.log.refresh(&mut state)?;
        let position = |app: &String| {
            let name = PartitionName::of_ledger_app(app)?;
            let next = state.app_version(&name.position_app())?;
            Some((name, next))
        };
        Ok(Contents {
            version: state.version,
            files: state.files.keys().map(|path| decode_path(path)).collect(),
            positions: state.txns.keys().filter_map(position).collect(),
        })
    }

    /// Whether a file that came after that version may have been taken out again, as the table was seen last.
    pub(crate) fn has_replaced_since(&self, version: u64) -> bool {
        self.state().youngest_removed > version
    }

    /// The partitions that have a ledger, as of now.
    pub(crate) fn ledgers(&self) -> Result<Vec<PartitionName>, StoreError> {
        let mut state = self.state();
        self.log.refresh(&mut state)?;
        let ledgers = state.txns.keys().filter_map(|app| PartitionName::of_ledger_app(app));
        Ok(ledgers.collect())
    }

    /// See [`other_positions`].
    pub(crate) fn other_positions(
        &self,
        name: &PartitionName,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        let mut state = self.state();
        self.log.refresh(&mut state)?;
        Ok(other_positions(&state, name))
    }

    /// The files of the table as of now.
    pub(crate) fn files(&self) -> Result<Vec<FileEntry>, StoreError> {
        let mut state = self.state();
        self.log.refresh(&mut state)?;
        state.files.values().map(entry).collect()
    }

    /// What the table has, by day, as of now.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn days(&self) -> Result<Vec<Day>, StoreError> {
        let mut days: BTreeMap<String, Day> = BTreeMap::new();
        for file in self.files()? {
            let date = file.date().unwrap_or_default().to_owned();
            let none = Day { date: date.clone(), files: 0, rows: Some(0), bytes: 0 };
            let day = days.entry(date).or_insert(none);
            day.files += 1;
            day.rows = day.rows.zip(file.statistics().num_records).map(|(sum, rows)| sum + rows);
            day.bytes += file.bytes();
        }
        Ok(days.into_values().collect())
    }

    /// The files that were taken out of the table since, in milliseconds.
    pub(crate) fn removed_since(&self, since_ms: i64) -> Vec<String> {
        let state = self.state();
        let since = |at: Option<i64>| at.is_some_and(|at| at >= since_ms);
        let removed = state.removed.values().filter(|remove| since(remove.deletion_timestamp));
        removed.map(|remove| decode_path(&remove.path)).collect()
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn options(&self) -> TableOptions {
        self.options
    }

    fn state(&self) -> MutexGuard<'_, Snapshot> {
        // A snapshot is only ever changed by applying whole commits; a panic elsewhere leaves it so.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A table of an older version gets the columns that this one writes.
    fn add_missing_columns(&self) -> Result<(), StoreError> {
        let Some(merged) = self.state().metadata.as_ref().and_then(with_missing_columns) else {
            return Ok(());
        };
        let before = self.state().metadata.clone();
        let outcome = self.commit_when(
            |snapshot| match snapshot.metadata == before {
                true => Ok(()),
                false => Err(CommitError::Contended { attempts: 1 }),
            },
            || {
                vec![
                    Action { metadata: Some(merged.clone()), ..Action::default() },
                    Action {
                        commit_info: Some(CommitInfo::now("ADD COLUMNS")),
                        ..Action::default()
                    },
                ]
            },
        );
        match outcome {
            Err(CommitError::Store(error)) => Err(error),
            // Someone else changes the schema at the same time: an ingest of this version, or the
            // table's owner. The next start looks again; rows are written and read either way.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn entry(file: &Arc<TableFile>) -> Result<FileEntry, StoreError> {
    let path = decode_path(&file.add.path);
    if path.contains("://") || path.starts_with('/') {
        return Err(StoreError::Unsupported("files outside of the table".into()));
    }
    Ok(FileEntry { path, file: file.clone() })
}

/// Whether there is anything that only a table leaves.
fn holds_files(directory: &Directory) -> Result<bool, StoreError> {
    let day = format!("{PARTITION_COLUMN}=");
    for folder in directory.list_directories("")? {
        if folder.starts_with(&day) && !directory.list(&folder)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(!directory.list_directories(LEDGER)?.is_empty())
}

fn log(directory: &Directory, options: TableOptions) -> Log {
    let TableOptions { checkpoint_every, log_retention, .. } = options;
    Log::new(directory.clone(), LogOptions { checkpoint_every, retention: log_retention })
}

fn first_commit() -> Vec<Action> {
    let metadata = Metadata {
        id: uuid(),
        name: Some("logweir".into()),
        description: Some("events in the Elastic Common Schema, flat".into()),
        format: crate::delta::Format { provider: "parquet".into(), options: BTreeMap::new() },
        schema_string: schema_string(delta_fields()),
        partition_columns: vec![PARTITION_COLUMN.into()],
        configuration: [(STATISTICS_SETTING.into(), statistics_setting())].into(),
        created_time: Some(now_us() / 1000),
    };
    vec![
        Action { commit_info: Some(CommitInfo::now("CREATE TABLE")), ..Action::default() },
        Action { protocol: Some(Protocol::WRITTEN), ..Action::default() },
        Action { metadata: Some(metadata), ..Action::default() },
    ]
}

/// Names the columns that have statistics.
const STATISTICS_SETTING: &str = "delta.dataSkippingStatsColumns";

/// In backquotes: the dots are part of the names.
fn statistics_setting() -> String {
    let names = STATISTICS.iter().map(|column| format!("`{}`", COLUMNS[*column].name));
    names.collect::<Vec<_>>().join(",")
}

fn schema_string(fields: Vec<Value>) -> String {
    serde_json::json!({"type": "struct", "fields": fields}).to_string()
}

/// A random UUID (version 4).
fn uuid() -> String {
    let (a, b) = (unique(), unique());
    let (a, b) = ((a & !0xf000) | 0x4000, (b & !(0b11 << 62)) | (0b10 << 62));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}

/// The metadata with this version's columns behind those that are there; `None` if none is missing.
fn with_missing_columns(metadata: &Metadata) -> Option<Metadata> {
    let schema: Value = serde_json::from_str(&metadata.schema_string).ok()?;
    let mut fields = schema.get("fields")?.as_array()?.clone();
    let known: HashSet<String> =
        fields.iter().filter_map(|field| Some(field.get("name")?.as_str()?.to_owned())).collect();
    let missing = delta_fields()
        .into_iter()
        .filter(|field| field["name"].as_str().is_some_and(|name| !known.contains(name)));
    let before = fields.len();
    fields.extend(missing);
    (fields.len() > before)
        .then(|| Metadata { schema_string: schema_string(fields), ..metadata.clone() })
}

/// No commit may name a file that a vacuum may have removed, or is about to: a process may have stood still.
fn check_age(batches: &[Batch], now_ms: i64) -> Result<(), CommitError> {
    for batch in batches {
        let written = batch.files().iter().map(|file| file.modification_time).min();
        let age_ms = now_ms.saturating_sub(written.unwrap_or(now_ms));
        let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
        if age >= FILE_WAIT_MAX {
            let (partition, minutes) = (batch.partition(), age.as_secs() / 60);
            return Err(CommitError::Aged { partition, minutes });
        }
    }
    Ok(())
}

/// How far other groups have stored the same partition, by group.
fn other_positions(snapshot: &Snapshot, name: &PartitionName) -> Vec<(String, i64)> {
    let names = snapshot.txns.keys().filter_map(|app| PartitionName::of_ledger_app(app));
    let others = names.filter(|other| {
        other.topic == name.topic && other.partition == name.partition && other.group != name.group
    });
    let with_position = |other: PartitionName| {
        let position = snapshot.app_version(&other.position_app())?;
        Some((other.group, position))
    };
    let mut positions: Vec<_> = others.filter_map(with_position).collect();
    positions.sort();
    positions
}

/// The batches must build on what the table has, one after the other; and a group's first one on what others
/// had when it began, since it may be the same events.
fn check_positions(snapshot: &Snapshot, batches: &[Batch]) -> Result<(), CommitError> {
    let mut positions: HashMap<String, Option<i64>> = HashMap::new();
    for batch in batches {
        let app = batch.name().position_app();
        let table = *positions.entry(app.clone()).or_insert_with(|| snapshot.app_version(&app));
        let is_first = batch.first_offset().is_none();
        let others_moved =
            || is_first && other_positions(snapshot, batch.name()) != batch.other_positions();
        if table != batch.first_offset() || others_moved() {
            return Err(CommitError::Fenced {
                partition: batch.partition(),
                table,
                batch: batch.first_offset(),
            });
        }
        positions.insert(app, Some(batch.next_offset()));
    }
    Ok(())
}

fn commit_actions(batches: &[Batch]) -> Vec<Action> {
    let last_updated = Some(now_us() / 1000);
    // Of several batches of a partition the last one's offset and ledger stand.
    let mut txns = BTreeMap::new();
    for batch in batches {
        txns.insert(batch.name().position_app(), batch.next_offset());
        if let Some(id) = batch.ledger_id() {
            txns.insert(batch.name().ledger_app(), id);
        }
    }
    let mut info = CommitInfo::now("WRITE");
    info.operation_parameters.insert("mode".into(), "Append".into());
    let mut actions = vec![Action { commit_info: Some(info), ..Action::default() }];
    actions.extend(txns.into_iter().map(|(app_id, version)| {
        let txn = Txn { app_id, version, last_updated };
        Action { txn: Some(txn), ..Action::default() }
    }));
    let adds = batches.iter().flat_map(Batch::files);
    actions.extend(adds.map(|add| Action { add: Some(add.clone()), ..Action::default() }));
    actions
}

/// Actions that replace files by others with the same rows, or by nothing.
pub(crate) fn replace_actions(
    operation: &str,
    removed: &[FileEntry],
    added: &[Add],
) -> Vec<Action> {
    let data_change = added.is_empty();
    let deletion_timestamp = Some(now_us() / 1000);
    let mut actions =
        vec![Action { commit_info: Some(CommitInfo::now(operation)), ..Action::default() }];
    actions.extend(removed.iter().map(|entry| {
        let remove =
            Remove { path: entry.path_in_log().to_owned(), deletion_timestamp, data_change };
        Action { remove: Some(remove), ..Action::default() }
    }));
    actions.extend(added.iter().map(|add| Action { add: Some(add.clone()), ..Action::default() }));
    actions
}

/// A path in the log is percent-encoded.
fn decode_path(path: &str) -> String {
    if !path.contains('%') {
        return path.to_owned();
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        let code = (*byte == b'%').then(|| path_byte(behind)).flatten();
        bytes.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn path_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits.get(..2)?).ok()?, 16).ok()
}

impl FileEntry {
    pub(crate) fn statistics(&self) -> &FileStatistics {
        self.file.statistics()
    }

    /// The path as the log has it.
    pub(crate) fn path_in_log(&self) -> &str {
        &self.file.add.path
    }

    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.file.add.size).unwrap_or(0)
    }

    /// The day of its rows, as `YYYY-MM-DD`.
    pub(crate) fn date(&self) -> Option<&str> {
        self.file.add.partition_values.get(PARTITION_COLUMN)?.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::PartitionWriter;

    #[test]
    fn a_batch_whose_files_a_vacuum_may_have_removed_is_not_committed() {
        let directory = tempfile::tempdir().unwrap();
        let location = directory.path().to_str().unwrap();
        let table = Arc::new(Table::open_or_create(location, TableOptions::default()).unwrap());
        let mut writer = PartitionWriter::open(table, "g", "t", 7).unwrap();
        writer.push(0, format!(r#"{{"logweir.source":"{:032}","log.offset":0}}"#, 0).as_bytes());
        let batches = [writer.seal().unwrap()];
        let after = |minutes: i64| check_age(&batches, now_us() / 1000 + minutes * 60_000);
        for minutes in [-90, 0, 54] {
            after(minutes).unwrap();
        }
        let error = after(55).unwrap_err().to_string();
        assert!(error.starts_with("the files of partition 7 have waited"), "{error}");
        // What has written nothing waits for nothing.
        check_age(&[writer.seal().unwrap()], i64::MAX).unwrap();
    }

    #[test]
    fn paths_of_the_log_are_decoded() {
        for (path, expected) in [
            ("date=2026-11-28/a.parquet", "date=2026-11-28/a.parquet"),
            ("date%3D2026/a%20b", "date=2026/a b"),
            ("a%", "a%"),
            ("a%zz%C3%A4", "a%zzä"),
        ] {
            assert_eq!(decode_path(path), expected);
        }
    }

    #[test]
    fn a_table_of_fewer_columns_gets_the_others_and_keeps_its_own() {
        let Some(Action { metadata: Some(full), .. }) = first_commit().pop() else { panic!() };
        assert_eq!(with_missing_columns(&full), None);
        let mut fields = delta_fields();
        fields.truncate(3);
        fields.push(
            serde_json::json!({"name": "own", "type": "long", "nullable": true, "metadata": {}}),
        );
        let old = Metadata { schema_string: schema_string(fields), ..full };
        let merged = with_missing_columns(&old).unwrap();
        assert_eq!(with_missing_columns(&merged), None);
        assert!(merged.schema_string.contains(r#""name":"own""#));
    }
}
