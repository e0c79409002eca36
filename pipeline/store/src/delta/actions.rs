//! The actions of a commit, as the protocol writes them in JSON.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line of a commit: exactly one member is there. Actions that are not among them (such as
/// `cdc`) do not change which rows there are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Action {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit_info: Option<CommitInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
    #[serde(rename = "metaData", skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) txn: Option<Txn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add: Option<Add>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remove: Option<Remove>,
}

/// What a commit was for; other tools show it as the table's history.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommitInfo {
    #[serde(default)]
    pub(crate) timestamp: i64,
    #[serde(default)]
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) operation_parameters: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub(crate) engine_info: String,
}

impl CommitInfo {
    pub(crate) fn now(operation: &str) -> Self {
        Self {
            timestamp: crate::time::now_us() / 1000,
            operation: operation.to_owned(),
            operation_parameters: serde_json::Map::new(),
            engine_info: concat!("logweir/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// What a reader and a writer must be able to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocol {
    pub(crate) min_reader_version: i32,
    pub(crate) min_writer_version: i32,
}

impl Protocol {
    /// What this crate writes. Reader 1: plain rows in files. Writer 2: append-only and column
    /// invariants are respected, of which the tables made here have none.
    pub(crate) const WRITTEN: Self = Self { min_reader_version: 1, min_writer_version: 2 };
}

/// The table's schema and settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) format: Format,
    pub(crate) schema_string: String,
    pub(crate) partition_columns: Vec<String>,
    #[serde(default)]
    pub(crate) configuration: BTreeMap<String, String>,
    pub(crate) created_time: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Format {
    pub(crate) provider: String,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

/// An application's own version number: here the offset of a Kafka partition, or a ledger's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Txn {
    pub(crate) app_id: String,
    pub(crate) version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_updated: Option<i64>,
}

/// A file that belongs to the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Add {
    /// Relative to the table, percent-encoded.
    pub(crate) path: String,
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    /// Bytes.
    pub(crate) size: i64,
    /// Milliseconds.
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    /// JSON: rows, and smallest and largest values by column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_vector: Option<serde_json::Value>,
}

/// A file that no longer belongs to the table; kept in the log so that readers of an older version
/// find the file for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remove {
    pub(crate) path: String,
    /// Milliseconds.
    #[serde(default)]
    pub(crate) deletion_timestamp: Option<i64>,
    #[serde(default)]
    pub(crate) data_change: bool,
}
