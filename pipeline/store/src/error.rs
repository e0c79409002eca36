//! What can go wrong with the table, and whether trying again can help.

use parquet::errors::ParquetError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// A failure of the table or of a file of it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The location is neither a directory nor a URL of a store that is known.
    #[error(
        "`{location}` is no place for a table: {reason}; give a directory, or a URL such as \
         s3://bucket/logweir, gs://… or az://…"
    )]
    Location { location: String, reason: String },
    /// There is no table; `open_or_create` makes one.
    #[error("there is no table in {0}; `logweir ingest` creates it with the first start")]
    NotATable(PathBuf),
    /// There are files of a table, and nothing says what they are.
    #[error(
        "{0} holds files of a table (`date=…`, `_logweir/ledger`) but not the table's log, `_delta_log`, or \
         not all of it: restore that from the backup, or choose an empty directory for a new table"
    )]
    LogMissing(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    /// A Parquet file could not be written or read.
    #[error("{path} as Parquet: {source}")]
    Parquet { path: PathBuf, source: ParquetError },
    /// Columns of one batch do not fit each other; a fault of this crate.
    #[error("columns do not form a table: {0}")]
    Columns(#[from] arrow_schema::ArrowError),
    /// The bytes of a file are not what they have to be.
    #[error("{path} is damaged: {reason}; restore it from a backup")]
    Damaged { path: PathBuf, reason: String },
    /// The table uses a feature of the Delta protocol that this version does not know.
    #[error("the table needs `{0}` of the Delta protocol, which this version does not have")]
    Unsupported(String),
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn parquet(path: &Path, source: ParquetError) -> Self {
        Self::Parquet { path: path.to_owned(), source }
    }

    /// What is read of a Parquet file. In places the parquet crate panics where a file is damaged.
    pub(crate) fn of_parquet<T>(
        path: &Path,
        read: impl FnOnce() -> Result<T, ParquetError>,
    ) -> Result<T, Self> {
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok(outcome) => outcome.map_err(|error| Self::parquet(path, error)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                Err(Self::damaged(path, text.unwrap_or("it cannot be read")))
            }
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }

    /// Whether it is the bytes of one file that are wrong.
    pub(crate) fn is_of_file(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Parquet { .. })
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }

    /// Whether the same call can succeed later without anything else being changed: a full disk may
    /// be emptied, a slow one may answer. A missing permission or a damaged file stays.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use std::io::ErrorKind as Kind;
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                Kind::Interrupted
                    | Kind::WouldBlock
                    | Kind::TimedOut
                    | Kind::StorageFull
                    | Kind::QuotaExceeded
                    | Kind::ResourceBusy
                    | Kind::StaleNetworkFileHandle
            ),
            _ => false,
        }
    }
}

/// Why a commit did not happen. Nothing of the batches is visible then.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Someone else has written the partition since the writer of the batch was opened. The batch
    /// must be given up and the partition read again from the table's position.
    #[error(
        "partition {partition} stands at {table:?} in the table, but the batch begins at {batch:?}: \
         another worker has written it"
    )]
    Fenced { partition: i32, table: Option<i64>, batch: Option<i64> },
    /// The files of the batch have waited for so long that a vacuum takes them for left over. The batch must
    /// be given up, as with `Fenced`.
    #[error(
        "the files of partition {partition} have waited for their commit for {minutes} minutes"
    )]
    Aged { partition: i32, minutes: u64 },
    /// Other processes committed first, every time.
    #[error("{attempts} times another process committed first; trying again later can help")]
    Contended { attempts: u32 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CommitError {
    /// Whether opening the writers anew and doing the same again can succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Fenced { .. } | Self::Aged { .. } => false,
            Self::Contended { .. } => true,
            Self::Store(error) => error.is_retryable(),
        }
    }
}
