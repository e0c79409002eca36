//! The files of `_delta_log`: reading them in order, adding one, checkpoints, and their cleaning.

use super::actions::Action;
use super::checkpoint;
use super::snapshot::Snapshot;
use crate::directory::Directory;
use crate::error::StoreError;
use crate::time::now_us;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

const FOLDER: &str = "_delta_log";
const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

/// When the log is summed up and shortened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOptions {
    /// A checkpoint is written at every version that this divides.
    pub(crate) checkpoint_every: u64,
    /// Commits in front of the last checkpoint are removed once they are this old; until then other
    /// engines can read the table as it was.
    pub(crate) retention: Duration,
}

/// The log of one table.
#[derive(Debug)]
pub(crate) struct Log {
    directory: Directory,
    options: LogOptions,
}

/// The content of `_last_checkpoint`.
#[derive(Debug, Serialize, Deserialize)]
struct LastCheckpoint {
    version: u64,
    #[serde(default)]
    size: i64,
    /// The number of files that the checkpoint is split into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parts: Option<u32>,
}

impl Log {
    pub(crate) fn new(directory: Directory, options: LogOptions) -> Self {
        Self { directory, options }
    }

    /// The state of the table now; `None` if there is no table. A commit that is lost would pass for the
    /// end of the log, so the state must come to every commit that is listed.
    pub(crate) fn load(&self) -> Result<Option<Snapshot>, StoreError> {
        let newest = self.newest_commit()?;
        let mut next = 0;
        // The second time for a log that was shortened in front of the first's eyes.
        for _ in 0..2 {
            let snapshot = self.read_all()?;
            next = snapshot.as_ref().map_or(0, |snapshot| snapshot.version + 1);
            if newest.is_none_or(|newest| newest < next) {
                return Ok(snapshot);
            }
        }
        let reason = format!(
            "it is missing, and later commits are there, up to version {} (a copy of a table has to be \
             made again)",
            newest.unwrap_or_default()
        );
        Err(StoreError::damaged(&self.directory.path(&commit_path(next)), reason))
    }

    fn read_all(&self) -> Result<Option<Snapshot>, StoreError> {
        if let Some(mut snapshot) = self.load_checkpoint()? {
            self.catch_up(&mut snapshot)?;
            return Ok(Some(snapshot));
        }
        let Some(actions) = self.read_commit(0)? else { return Ok(None) };
        let mut snapshot = Snapshot::default();
        snapshot.apply(0, actions)?;
        self.catch_up(&mut snapshot)?;
        Ok(Some(snapshot))
    }

    /// Takes the commits that came since.
    pub(crate) fn refresh(&self, snapshot: &mut Snapshot) -> Result<(), StoreError> {
        let before = snapshot.version;
        self.catch_up(snapshot)?;
        // Whoever has slept for longer than the log is kept finds no next commit although there are
        // later ones.
        if snapshot.version == before
            && self.last_checkpoint()?.is_some_and(|last| last.version > before)
            && let Some(now) = self.load()?
        {
            *snapshot = now;
        }
        Ok(())
    }

    /// Writes the commit behind the snapshot and applies it; `false` if another was faster.
    pub(crate) fn commit(
        &self,
        snapshot: &mut Snapshot,
        actions: Vec<Action>,
    ) -> Result<bool, StoreError> {
        let version = snapshot.version + 1;
        if !self.put_commit(version, &actions)? {
            return Ok(false);
        }
        snapshot.apply(version, actions)?;
        snapshot.version = version;
        if version.is_multiple_of(self.options.checkpoint_every.max(1)) {
            // The commit stands; a checkpoint only makes reading it faster.
            if let Err(error) = self.checkpoint(snapshot).and_then(|()| self.clean(version)) {
                tracing::warn!(%error, version, "cannot write a checkpoint of the table's log");
            }
        }
        Ok(true)
    }

    /// Writes the first commit of a new table; `false` if another was faster.
    pub(crate) fn create(&self, actions: &[Action]) -> Result<bool, StoreError> {
        self.directory.make(FOLDER)?;
        self.put_commit(0, actions)
    }

    fn put_commit(&self, version: u64, actions: &[Action]) -> Result<bool, StoreError> {
        let mut bytes = Vec::new();
        for action in actions {
            serde_json::to_writer(&mut bytes, action).expect("numbers and strings, into memory");
            bytes.push(b'\n');
        }
        self.directory.put_if_absent(&commit_path(version), &bytes)
    }

    fn catch_up(&self, snapshot: &mut Snapshot) -> Result<(), StoreError> {
        while let Some(actions) = self.read_commit(snapshot.version + 1)? {
            snapshot.apply(snapshot.version + 1, actions)?;
            snapshot.version += 1;
        }
        Ok(())
    }

    fn read_commit(&self, version: u64) -> Result<Option<Vec<Action>>, StoreError> {
        let path = commit_path(version);
        let bytes = match self.directory.read(&path) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line)
                    .map_err(|e| StoreError::damaged(&self.directory.path(&path), e.to_string()))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn last_checkpoint(&self) -> Result<Option<LastCheckpoint>, StoreError> {
        match self.directory.read(LAST_CHECKPOINT) {
            Err(error) if error.is_not_found() => Ok(None),
            // The file is only a hint; a damaged one must not stop anything.
            other => other.map(|bytes| serde_json::from_slice(&bytes).ok()),
        }
    }

    fn load_checkpoint(&self) -> Result<Option<Snapshot>, StoreError> {
        let last = match self.last_checkpoint()? {
            Some(last) => Some((last.version, last.parts)),
            None => self.newest_checkpoint()?.map(|version| (version, None)),
        };
        let Some((version, parts)) = last else { return Ok(None) };
        let mut snapshot = Snapshot { version, ..Snapshot::default() };
        for path in checkpoint_paths(version, parts) {
            snapshot.apply(version, checkpoint::read(&self.directory, &path)?)?;
        }
        Ok(Some(snapshot))
    }

    /// Looked for by listing, if the hint is lost.
    fn newest_checkpoint(&self) -> Result<Option<u64>, StoreError> {
        self.newest(".checkpoint.parquet")
    }

    fn newest_commit(&self) -> Result<Option<u64>, StoreError> {
        self.newest(".json")
    }

    /// The highest version of the files whose names end so.
    fn newest(&self, suffix: &str) -> Result<Option<u64>, StoreError> {
        let files = self.directory.list(FOLDER)?;
        let version = |name: &str| name.strip_suffix(suffix)?.parse().ok();
        Ok(files.iter().filter_map(|file| version(&file.name)).max())
    }

    pub(crate) fn checkpoint(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let actions = snapshot.to_actions(now_us() / 1000);
        let version = snapshot.version;
        for path in checkpoint_paths(version, None) {
            checkpoint::write(&self.directory, &path, &actions)?;
        }
        let hint = LastCheckpoint { version, size: actions.len() as i64, parts: None };
        let hint = serde_json::to_vec(&hint).expect("numbers, into memory");
        self.directory.replace(LAST_CHECKPOINT, &hint)
    }

    /// Removes old commits and checkpoints in front of a checkpoint.
    fn clean(&self, checkpoint: u64) -> Result<(), StoreError> {
        let Some(before) = SystemTime::now().checked_sub(self.options.retention) else {
            return Ok(());
        };
        for file in self.directory.list(FOLDER)? {
            let version = file.name.get(..20).and_then(|digits| digits.parse::<u64>().ok());
            if version.is_some_and(|version| version < checkpoint) && file.modified < before {
                self.directory.remove(&format!("{FOLDER}/{}", file.name))?;
            }
        }
        Ok(())
    }
}

fn commit_path(version: u64) -> String {
    format!("{FOLDER}/{version:020}.json")
}

fn checkpoint_paths(version: u64, parts: Option<u32>) -> Vec<String> {
    match parts {
        None => vec![format!("{FOLDER}/{version:020}.checkpoint.parquet")],
        Some(parts) => (1..=parts)
            .map(|part| format!("{FOLDER}/{version:020}.checkpoint.{part:010}.{parts:010}.parquet"))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::actions::{Protocol, Txn};
    use super::*;

    fn txn(version: i64) -> Vec<Action> {
        let txn = Txn { app_id: "a".into(), version, last_updated: None };
        vec![Action { txn: Some(txn), ..Action::default() }]
    }

    fn log(path: &std::path::Path, checkpoint_every: u64, retention: Duration) -> Log {
        let directory = Directory::at(path.to_str().unwrap()).unwrap();
        Log::new(directory, LogOptions { checkpoint_every, retention })
    }

    fn start(log: &Log) -> Snapshot {
        let protocol = Action { protocol: Some(Protocol::WRITTEN), ..Action::default() };
        assert!(log.create(&[protocol]).unwrap());
        log.load().unwrap().unwrap()
    }

    #[test]
    fn the_second_to_write_a_version_learns_that_it_is_the_second() {
        let temporary = tempfile::tempdir().unwrap();
        let log = log(temporary.path(), 1000, Duration::MAX);
        assert!(log.load().unwrap().is_none());
        let mut first = start(&log);
        let mut second = first.clone();
        assert!(log.commit(&mut first, txn(1)).unwrap());
        assert!(!log.commit(&mut second, txn(2)).unwrap());
        log.refresh(&mut second).unwrap();
        assert_eq!((second.version, second.app_version("a")), (1, Some(1)));
        assert!(log.commit(&mut second, txn(2)).unwrap());
    }

    #[test]
    fn the_state_is_the_same_from_checkpoints_and_after_the_log_was_shortened() {
        let temporary = tempfile::tempdir().unwrap();
        let log = log(temporary.path(), 7, Duration::ZERO);
        let mut snapshot = start(&log);
        let mut sleeper = snapshot.clone();
        for version in 1..=40 {
            assert!(log.commit(&mut snapshot, txn(version)).unwrap());
        }
        let fresh = log.load().unwrap().unwrap();
        assert_eq!((fresh.version, fresh.app_version("a")), (40, Some(40)));
        assert!(log.read_commit(3).unwrap().is_none(), "old commits are removed");
        log.refresh(&mut sleeper).unwrap();
        assert_eq!((sleeper.version, sleeper.app_version("a")), (40, Some(40)));
        log.directory.remove(LAST_CHECKPOINT).unwrap();
        let unhinted = log.load().unwrap().unwrap();
        assert_eq!((unhinted.version, unhinted.app_version("a")), (40, Some(40)));
    }

    #[test]
    fn a_lost_commit_is_named_and_not_taken_for_the_end() {
        // With a checkpoint at 20: what is lost in front of it is not needed.
        for (checkpoint_every, lost, is_needed) in
            [(20, 5, false), (20, 20, false), (20, 21, true), (20, 29, true), (1000, 0, true)]
        {
            let temporary = tempfile::tempdir().unwrap();
            let log = log(temporary.path(), checkpoint_every, Duration::MAX);
            let mut snapshot = start(&log);
            for version in 1..=30 {
                assert!(log.commit(&mut snapshot, txn(version)).unwrap());
            }
            log.directory.remove(&commit_path(lost)).unwrap();
            match log.load() {
                Ok(loaded) => assert_eq!((loaded.unwrap().version, is_needed), (30, false)),
                Err(error) => {
                    let (error, name) = (error.to_string(), format!("{lost:020}.json is damaged"));
                    assert!(is_needed && error.contains(&name), "{lost}: {error}");
                    assert!(error.contains("up to version 30"), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_damaged_commit_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        let log = log(temporary.path(), 1000, Duration::MAX);
        let mut snapshot = start(&log);
        log.directory.put_if_absent(&commit_path(1), b"{\"txn\":").unwrap();
        let error = log.refresh(&mut snapshot).unwrap_err().to_string();
        assert!(error.contains("00000000000000000001.json is damaged"), "{error}");
    }
}
