//! The state of the table at a version: which files, which application versions, which schema.

use super::actions::{Action, Add, Metadata, Protocol, Remove, Txn};
use super::statistics::FileStatistics;
use crate::error::StoreError;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

/// Removed files stay in checkpoints for this long, as the protocol asks for, so that another
/// engine's vacuum does not take a file from under a slow reader.
const TOMBSTONE_MS: i64 = 7 * 24 * 3600 * 1000;

/// A file of the table.
#[derive(Debug)]
pub(crate) struct TableFile {
    pub(crate) add: Add,
    /// The version that brought it, or a later one.
    since: u64,
    /// Read once, when first asked for.
    statistics: OnceLock<FileStatistics>,
}

impl TableFile {
    pub(crate) fn statistics(&self) -> &FileStatistics {
        self.statistics.get_or_init(|| FileStatistics::of(&self.add))
    }
}

/// All that the log says, up to and including `version`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) version: u64,
    /// By path.
    pub(crate) files: BTreeMap<String, Arc<TableFile>>,
    pub(crate) removed: BTreeMap<String, Remove>,
    /// The latest version that brought one of these, or a later one.
    pub(crate) youngest_removed: u64,
    /// By application id.
    pub(crate) txns: HashMap<String, Txn>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) protocol: Option<Protocol>,
}

impl Snapshot {
    /// Takes the actions of one commit or checkpoint, of which `version` is.
    pub(crate) fn apply(
        &mut self,
        version: u64,
        actions: impl IntoIterator<Item = Action>,
    ) -> Result<(), StoreError> {
        for action in actions {
            if let Some(protocol) = action.protocol {
                check(&protocol)?;
                self.protocol = Some(protocol);
            }
            if let Some(metadata) = action.metadata {
                self.metadata = Some(metadata);
            }
            if let Some(txn) = action.txn {
                self.txns.insert(txn.app_id.clone(), txn);
            }
            if let Some(add) = action.add {
                if add.deletion_vector.is_some() {
                    return Err(StoreError::Unsupported("deletion vectors".into()));
                }
                self.removed.remove(&add.path);
                let path = add.path.clone();
                let file = TableFile { add, since: version, statistics: OnceLock::new() };
                self.files.insert(path, Arc::new(file));
            }
            if let Some(remove) = action.remove {
                let file = self.files.remove(&remove.path);
                let since = file.map_or(version, |file| file.since);
                self.youngest_removed = self.youngest_removed.max(since);
                self.removed.insert(remove.path.clone(), remove);
            }
        }
        Ok(())
    }

    /// The version that an application has set.
    pub(crate) fn app_version(&self, app: &str) -> Option<i64> {
        self.txns.get(app).map(|txn| txn.version)
    }

    /// The actions that make this state, for a checkpoint.
    pub(crate) fn to_actions(&self, now_ms: i64) -> Vec<Action> {
        let fresh = |remove: &&Remove| {
            remove.deletion_timestamp.is_some_and(|at| now_ms - at < TOMBSTONE_MS)
        };
        let action = Action::default;
        let mut actions = vec![
            Action { protocol: self.protocol.clone(), ..action() },
            Action { metadata: self.metadata.clone(), ..action() },
        ];
        actions.extend(self.txns.values().map(|txn| Action { txn: Some(txn.clone()), ..action() }));
        actions.extend(
            self.files.values().map(|file| Action { add: Some(file.add.clone()), ..action() }),
        );
        actions.extend(
            self.removed
                .values()
                .filter(fresh)
                .map(|remove| Action { remove: Some(remove.clone()), ..action() }),
        );
        actions
    }
}

fn check(protocol: &Protocol) -> Result<(), StoreError> {
    let written = Protocol::WRITTEN;
    if protocol.min_reader_version > written.min_reader_version {
        return Err(StoreError::Unsupported(format!(
            "reader version {}",
            protocol.min_reader_version
        )));
    }
    if protocol.min_writer_version > written.min_writer_version {
        return Err(StoreError::Unsupported(format!(
            "writer version {}",
            protocol.min_writer_version
        )));
    }
    Ok(())
}
