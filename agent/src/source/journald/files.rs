//! Which journal files there are, and which of their entries may be taken by now.
//!
//! One journald numbers the entries of all its files in the order of writing. A file that was made a
//! moment ago, for a user or at a rotation, may hold a lesser number than one that is open and grows;
//! if that were taken first, the position would be behind the other. So what is taken goes up to the
//! last number that the known files had *before* the directories were listed: it stands in a file that
//! was there to be listed.

use super::file::JournalFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// More files are not opened: journald keeps at most 100 of a kind by default.
const FILES_MAX: usize = 4096;

/// The files of one sequence of numbers.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    pub(super) files: Vec<JournalFile>,
    /// Entries up to this number may be taken.
    pub(super) settled: u64,
}

impl Sequence {
    /// The number of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.files.iter().map(JournalFile::last_seqnum).max().unwrap_or(0)
    }

    /// The next entry at or behind `from` that may be taken: its number, its offset and its file.
    pub(super) fn next(&mut self, from: u64) -> Option<(u64, u64, &mut JournalFile)> {
        let found = self.files.iter_mut().filter_map(|file| {
            let (offset, seqnum) = file.peek(from)?;
            Some((seqnum, offset, file))
        });
        found.min_by_key(|found| found.0).filter(|found| found.0 <= self.settled)
    }

    /// Forgets where it is in the files.
    pub(super) fn rewind(&mut self) {
        self.files.iter_mut().for_each(JournalFile::rewind);
    }

    /// How many damaged entries were met since this was asked.
    pub(super) fn take_damaged(&mut self) -> u64 {
        self.files.iter_mut().map(|file| std::mem::take(&mut file.damaged)).sum()
    }

    /// Goes over to what a look has found; of files that it has already, it keeps where it is in them.
    pub(super) fn adopt(&mut self, found: Self) {
        let mut kept = std::mem::replace(self, Self { files: Vec::new(), ..found }).files;
        self.files.extend(found.files.into_iter().map(|file| {
            let known = kept.iter().position(|old| old.identity == file.identity);
            known.map_or(file, |at| kept.swap_remove(at))
        }));
    }
}

/// The files of the last look.
#[derive(Debug, Default)]
pub(super) struct Files(Vec<JournalFile>);

impl Files {
    /// Looks at what `list` names. What is open stays so, whatever it is called by now. `None` if files
    /// were made, renamed or removed meanwhile: then it tells nothing.
    pub(super) fn look(
        &mut self,
        list: impl Fn() -> Vec<PathBuf>,
    ) -> Option<BTreeMap<[u8; 16], Sequence>> {
        let mut settled = BTreeMap::<_, u64>::new();
        for file in &self.0 {
            let last = settled.entry(file.seqnum_id).or_default();
            *last = file.last_seqnum().max(*last);
        }
        let paths = list();
        let files = paths.iter().take(FILES_MAX).filter_map(|path| self.open(path)).collect();
        if list() != paths {
            return None;
        }
        self.0 = files;
        let mut found = BTreeMap::<_, Sequence>::new();
        for file in &self.0 {
            let sequence = found.entry(file.seqnum_id).or_default();
            sequence.settled = settled.get(&file.seqnum_id).copied().unwrap_or(0);
            sequence.files.push(file.clone());
        }
        Some(found)
    }

    fn open(&self, path: &Path) -> Option<JournalFile> {
        let identity = std::fs::metadata(path).ok().as_ref().map(super::file::identity)?;
        let known = self.0.iter().find(|file| file.identity == identity);
        known.cloned().or_else(|| {
            let opened = JournalFile::open(path);
            opened
                .inspect_err(|error| tracing::debug!(path = %path.display(), %error, "not read"))
                .ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::journal_from;
    use super::*;

    #[test]
    fn an_entry_is_taken_when_no_file_can_come_to_light_that_has_one_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let write = |name: &str, numbers: &[u64]| {
            std::fs::write(path(name), journal_from(numbers)).unwrap();
        };
        let list = || super::super::journals(directory.path());
        let (mut files, mut sequence) = (Files::default(), Sequence::default());
        let mut taken = Vec::new();
        let mut take = |sequence: &mut Sequence| {
            while let Some((number, ..)) = sequence.next(taken.last().map_or(0, |last| last + 1)) {
                taken.push(number);
            }
            taken.len()
        };
        let mut look = |sequence: &mut Sequence| {
            let found = files.look(list).unwrap();
            found.into_values().for_each(|found| sequence.adopt(found));
        };
        write("system.journal", &[1, 2]);
        look(&mut sequence);
        assert_eq!(take(&mut sequence), 0, "nothing is known of other files");
        look(&mut sequence);
        assert_eq!(take(&mut sequence), 2);
        // The first entry of a user, and one more of the system, before the next look.
        write("user-1000.journal", &[3]);
        write("system.journal", &[1, 2, 4]);
        assert_eq!(take(&mut sequence), 2);
        look(&mut sequence);
        assert_eq!(take(&mut sequence), 4);
        // A rotation.
        std::fs::rename(path("system.journal"), path("system@1.journal")).unwrap();
        write("system.journal", &[5]);
        write("user-1000.journal", &[3, 6]);
        assert_eq!(take(&mut sequence), 4);
        look(&mut sequence);
        assert_eq!(take(&mut sequence), 6);
        assert_eq!(taken, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_look_while_files_are_renamed_tells_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("system.journal"), journal_from(&[1])).unwrap();
        let mut files = Files::default();
        let renamed = std::cell::Cell::new(false);
        let list = || {
            let listed = super::super::journals(directory.path());
            if !renamed.replace(true) {
                std::fs::rename(path("system.journal"), path("system@1.journal")).unwrap();
                std::fs::write(path("system.journal"), journal_from(&[2])).unwrap();
            }
            listed
        };
        assert!(files.look(list).is_none());
        let found = files.look(list).unwrap();
        assert_eq!(found.into_values().map(|sequence| sequence.files.len()).sum::<usize>(), 2);
    }
}
