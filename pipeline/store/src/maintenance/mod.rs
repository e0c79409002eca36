//! Keeping the table in shape: many small files into few large ones, days that have expired out, and
//! files that nothing refers to off the disk.
//!
//! All of it may run beside ingest and searches, and may be killed anywhere: a commit takes files out
//! of the table, and only later, when no search can still be at them, are they removed.

mod compact;

pub(crate) use compact::is_compacted;
pub use compact::{CompactOptions, CompactSummary, compact};

use crate::data_file::folder_of;
use crate::directory::TEMPORARY;
use crate::error::{CommitError, StoreError};
use crate::schema::PARTITION_COLUMN;
use crate::table::{FileEntry, Table, replace_actions};
use crate::time::{DAY_US, format_time, now_us, parse_rfc3339};
use crate::writer::load_ledger;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, SystemTime};

/// Files younger than this are never removed: a writer may be about to commit them, a search may be
/// reading them.
pub const GRACE_MIN: Duration = Duration::from_secs(3600);

/// What a vacuum did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VacuumSummary {
    pub files_removed: u64,
    pub bytes_removed: u64,
}

/// Takes the days before `before` (`YYYY-MM-DD`) out of the table; returns how many files they had.
///
/// # Errors
/// The log cannot be read or written.
pub fn expire(table: &Table, before: &str) -> Result<u64, CommitError> {
    let expired: Vec<FileEntry> =
        table.files()?.into_iter().filter(|file| file.date().is_some_and(|d| d < before)).collect();
    if expired.is_empty() {
        return Ok(0);
    }
    replace(table, "DELETE", &expired, &[])?;
    Ok(expired.len() as u64)
}

/// What a retention did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionSummary {
    /// Files of days that were taken out of the table.
    pub files: u64,
    /// The first day that stays.
    pub before: String,
}

/// Takes the days out of the table that are longer ago than `keep`; see [`retention_now`] for what is ago.
///
/// # Errors
/// The log cannot be read or written.
pub fn retain(table: &Table, keep: Duration) -> Result<RetentionSummary, CommitError> {
    let files = table.files()?;
    let days = files.iter().filter_map(FileEntry::date).collect();
    let Some(now_us) = retention_now(&days, now_us()) else {
        return Ok(RetentionSummary::default());
    };
    let keep_us = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let before = format_time(now_us.saturating_sub(keep_us))[..10].to_owned();
    Ok(RetentionSummary { files: expire(table, &before)?, before })
}

/// From when a retention counts: now, or the end of the last day but one of which the table has something,
/// if that is earlier. A clock that is ahead says that everything is old, and files what comes meanwhile
/// under a day of the future; it would have to go on into its next day to take anything. Where something
/// comes every day, it is the same day as by the clock.
fn retention_now(days: &BTreeSet<&str>, now_us: i64) -> Option<i64> {
    let last_but_one = days.iter().nth_back(1)?;
    let begin = parse_rfc3339(&format!("{last_but_one}T00:00:00Z"))?;
    Some(now_us.min(begin.saturating_add(DAY_US)))
}

/// Commits the replacement, unless another process has taken one of the files out first.
fn replace(
    table: &Table,
    operation: &str,
    removed: &[FileEntry],
    added: &[crate::delta::Add],
) -> Result<(), CommitError> {
    for folder in added.iter().map(folder_of) {
        table.directory().sync(&folder)?;
    }
    table.commit_when(
        |snapshot| match removed
            .iter()
            .all(|entry| snapshot.files.contains_key(entry.path_in_log()))
        {
            true => Ok(()),
            false => Err(CommitError::Contended { attempts: 1 }),
        },
        || replace_actions(operation, removed, added),
    )
}

/// Removes the files that the table does not refer to and that were last touched, or taken out of it,
/// longer than `grace` ago (at least [`GRACE_MIN`]).
///
/// # Errors
/// A directory cannot be listed, or a file not be removed.
pub fn vacuum(table: &Table, grace: Duration) -> Result<VacuumSummary, StoreError> {
    sweep(table, grace, table.directory().now()?)
}

/// `now` is the time by the clock that dates the files.
fn sweep(table: &Table, grace: Duration, now: SystemTime) -> Result<VacuumSummary, StoreError> {
    let grace = grace.max(GRACE_MIN);
    let mut sweep = Sweep {
        table,
        before: now.checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH),
        summary: VacuumSummary::default(),
    };
    // The list is taken after the time, and files are listed after it: what is committed in between
    // is younger than the grace. Hosts have written when files were taken out of the table, so that is
    // by their clocks.
    let cutoff_ms = now_us() / 1000 - i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
    let mut kept: HashSet<String> = table.files()?.into_iter().map(|entry| entry.path).collect();
    kept.extend(table.removed_since(cutoff_ms));
    for folder in table.directory().list_directories("")? {
        if folder.starts_with(PARTITION_COLUMN) && folder.contains('=') {
            sweep.folder(&folder, &kept)?;
        }
    }
    sweep.ledgers()?;
    sweep.folder(TEMPORARY, &HashSet::new())?;
    Ok(sweep.summary)
}

struct Sweep<'t> {
    table: &'t Table,
    before: SystemTime,
    summary: VacuumSummary,
}

impl Sweep<'_> {
    fn folder(&mut self, folder: &str, kept: &HashSet<String>) -> Result<(), StoreError> {
        let directory = self.table.directory();
        for file in directory.list(folder)? {
            let path = format!("{folder}/{}", file.name);
            if file.modified < self.before && !kept.contains(&path) {
                directory.remove(&path)?;
                self.summary.files_removed += 1;
                self.summary.bytes_removed += file.bytes;
            }
        }
        Ok(())
    }

    fn ledgers(&mut self) -> Result<(), StoreError> {
        let mut kept: BTreeMap<String, HashSet<String>> = BTreeMap::new();
        for name in self.table.ledgers()? {
            let (_, ledger) = load_ledger(self.table, &name)?;
            kept.entry(name.folder()).or_default().extend(ledger.files());
        }
        kept.iter().try_for_each(|(folder, files)| self.folder(folder, files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{DataFile, Query, SearchOptions, count};
    use crate::table::TableOptions;
    use crate::writer::PartitionWriter;
    use logweir_record::SourceId;
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;

    fn table(path: &Path) -> Arc<Table> {
        Arc::new(Table::open_or_create(path.to_str().unwrap(), TableOptions::default()).unwrap())
    }

    fn fill(table: &Arc<Table>, commits: i64) {
        let mut writer = PartitionWriter::open(table.clone(), "g", "t", 0).unwrap();
        let (first, source) = (writer.position().unwrap_or(0), SourceId::derive(&[b"s"]));
        for n in first..first + commits {
            let payload = format!(
                r#"{{"logweir.source":"{source}","log.offset":{n},"host.name":"h{}","event.original":"line {n}"}}"#,
                n % 3
            );
            writer.push(n, payload.as_bytes());
            table.commit(vec![writer.seal().unwrap()]).unwrap();
        }
    }

    fn counted(table: &Table, query: &str) -> u64 {
        count(table, &Query::parse(query).unwrap(), &SearchOptions::default()).unwrap()
    }

    fn parquet_files(path: &Path) -> usize {
        let folders = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let dates =
            folders.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("date="));
        dates.map(|folder| std::fs::read_dir(folder).unwrap().count()).sum()
    }

    /// Makes every file look as if it was written two hours ago.
    fn age(path: &Path) {
        let then = SystemTime::now() - 2 * GRACE_MIN;
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => age(&path),
                false => File::open(path).unwrap().set_modified(then).unwrap(),
            }
        }
    }

    #[test]
    fn compaction_keeps_every_row_and_many_small_files_become_one() {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path());
        fill(&table, 20);
        let before = counted(&table, "host.name:h1");
        let summary = compact(&table, &CompactOptions::default()).unwrap();
        assert_eq!((summary.files_before, summary.files_after, summary.rows), (20, 1, 20));
        assert_eq!((counted(&table, ""), counted(&table, "host.name:h1")), (20, before));
        assert_eq!(table.files().unwrap().len(), 1);
        let again = compact(&table, &CompactOptions::default()).unwrap();
        assert_eq!(again, CompactSummary::default());
        fill(&table, 1);
        assert_eq!(counted(&table, ""), 21);
    }

    #[test]
    fn a_vacuum_removes_what_nothing_refers_to_once_it_is_old() {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path());
        fill(&table, 10);
        compact(&table, &CompactOptions::default()).unwrap();
        let mut writer = PartitionWriter::open(table.clone(), "g", "t", 0).unwrap();
        writer.push(
            10,
            format!(r#"{{"logweir.source":"{}","log.offset":10}}"#, "0".repeat(32)).as_bytes(),
        );
        drop(writer.seal().unwrap());
        assert_eq!(parquet_files(directory.path()), 12);
        assert_eq!(vacuum(&table, Duration::ZERO).unwrap().files_removed, 0, "all are young");
        age(directory.path());
        let behind = SystemTime::now() - 2 * GRACE_MIN;
        let young = sweep(&table, Duration::ZERO, behind).unwrap();
        assert_eq!(young.files_removed, 0, "all are young by a clock that is two hours behind");
        // The orphan and its ledger; what the compaction took out a moment ago stays.
        assert_eq!(vacuum(&table, Duration::ZERO).unwrap().files_removed, 2);
        assert_eq!((parquet_files(directory.path()), counted(&table, "")), (11, 10));
        fill(&table, 1);
        assert_eq!(counted(&table, ""), 11);
    }

    #[test]
    fn no_table_is_made_beside_files_whose_log_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        fill(&table(directory.path()), 3);
        age(directory.path());
        std::fs::remove_dir_all(directory.path().join("_delta_log")).unwrap();
        for left in ["_logweir", "date="] {
            let location = directory.path().to_str().unwrap();
            let error = Table::open_or_create(location, TableOptions::default()).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, StoreError::LogMissing(_)), "{left}: {text}");
            assert!(text.contains(location) && text.contains("restore"), "{text}");
            for entry in std::fs::read_dir(directory.path()).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap().to_str().unwrap().starts_with(left) {
                    std::fs::remove_dir_all(path).unwrap();
                }
            }
        }
        table(directory.path());
    }

    #[test]
    fn a_bit_that_flipped_in_a_footer_is_an_error_that_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path());
        fill(&table, 1);
        let path = table.files().unwrap().remove(0).path;
        let place = directory.path().join(&path);
        let bytes = std::fs::read(&place).unwrap();
        let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
        let mut damaged = 0;
        for at in bytes.len() - 8 - length..bytes.len() - 8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&place, flipped).unwrap();
            let read =
                DataFile::open(table.directory(), &path).and_then(|file| file.read_all(|_| Ok(())));
            if let Err(StoreError::Damaged { path, .. }) = read {
                assert_eq!(path, place);
                damaged += 1;
            }
        }
        assert!(damaged > 0, "the crate that reads Parquet does not panic any more");
    }

    #[test]
    fn a_damaged_file_keeps_its_own_day_from_being_compacted_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path());
        let mut writer = PartitionWriter::open(table.clone(), "g", "t", 0).unwrap();
        let source = SourceId::derive(&[b"s"]);
        for n in 0..16 {
            let time = format_time(now_us() - n % 2 * DAY_US);
            let payload = format!(
                r#"{{"logweir.source":"{source}","log.offset":{n},"@timestamp":"{time}","event.original":"a"}}"#
            );
            writer.push(n, payload.as_bytes());
            table.commit(vec![writer.seal().unwrap()]).unwrap();
        }
        let files = table.files().unwrap();
        let first = files.iter().min_by_key(|file| file.date().map(str::to_owned)).unwrap();
        std::fs::write(directory.path().join(&first.path), b"PAR1 and no more").unwrap();
        let error = compact(&table, &CompactOptions::default()).unwrap_err().to_string();
        assert!(error.contains(&first.path), "{error}");
        assert_eq!(table.files().unwrap().len(), 8 + 1);
    }

    #[test]
    fn expired_days_leave_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path());
        fill(&table, 5);
        assert_eq!(expire(&table, "2020-01-01").unwrap(), 0);
        assert_eq!(counted(&table, ""), 5);
        assert_eq!(expire(&table, "9999-01-01").unwrap(), 5);
        assert_eq!(counted(&table, ""), 0);
        assert_eq!(table.position("g", "t", 0).unwrap(), Some(5));
    }

    #[test]
    fn a_retention_counts_from_no_day_that_a_clock_alone_has_made() {
        let at = |time: &str| parse_rfc3339(time).unwrap();
        let (today, ahead) = ("2026-12-01T15:00:00Z", "2027-03-11T15:00:00Z");
        let midnight = "2026-12-01T00:00:00Z";
        for (name, days, now, expected) in [
            ("every day", &["2026-11-29", "2026-11-30", "2026-12-01"][..], today, Some(midnight)),
            ("an hour ahead", &["2026-12-01", "2026-12-02"], today, Some(today)),
            ("a clock ahead", &["2026-11-30", "2026-12-01"], ahead, Some(midnight)),
            (
                "and it wrote",
                &["2026-11-30", "2026-12-01", "2027-03-11"],
                ahead,
                Some("2026-12-02T00:00:00Z"),
            ),
            ("it is right again", &["2026-11-30", "2026-12-01", "2027-03-11"], today, Some(today)),
            ("one day", &["2026-12-01"], ahead, None),
            ("none", &[], today, None),
            ("another writer's", &["x", "y"], today, None),
        ] {
            let days = days.iter().copied().collect();
            assert_eq!(retention_now(&days, at(now)), expected.map(at), "{name}");
        }
    }

    #[test]
    fn days_beyond_the_retention_leave_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path());
        let mut writer = PartitionWriter::open(table.clone(), "g", "t", 0).unwrap();
        let source = SourceId::derive(&[b"s"]);
        for (n, age) in [5, 1, 0].into_iter().enumerate() {
            let time = format_time(now_us() - age * DAY_US);
            let payload = format!(
                r#"{{"logweir.source":"{source}","log.offset":{n},"@timestamp":"{time}"}}"#
            );
            writer.push(n as i64, payload.as_bytes());
        }
        table.commit(vec![writer.seal().unwrap()]).unwrap();
        let days = |days: u32| Duration::from_secs(86_400) * days;
        assert_eq!(retain(&table, days(90)).unwrap().files, 0);
        assert_eq!(retain(&table, days(2)).unwrap().files, 1);
        assert_eq!(counted(&table, ""), 2);
    }
}
