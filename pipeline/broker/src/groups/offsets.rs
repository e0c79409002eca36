//! The committed offsets of all groups, durable: a map in memory and a log of its changes.
//!
//! Each change is one frame: length and CRC-32C (u32 each, big-endian), then group, topic, partition,
//! offset, leader epoch and metadata; offset −1 removes the entry. At open the frames are applied up
//! to the first one that is not sound, and the rest is cut off. When the file is mostly history it is
//! written anew as a whole. Any content of the file is survived.
//!
//! Offsets stay until their group or topic is deleted; they do not expire as in Kafka.

use crate::files;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE: &str = "committed-offsets";
/// Partitions with a committed offset, over all groups.
const ENTRIES_MAX: usize = 100_000;
/// The file is not written anew below this size.
const HISTORY_BYTES_MIN: u64 = 1 << 20;
const FRAME_HEAD_BYTES: usize = 8;
const REMOVED: i64 = -1;

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The next offset to be read; not negative.
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

type OfGroup = BTreeMap<(String, i32), Committed>;

#[derive(Debug)]
pub(crate) struct OffsetStore {
    path: PathBuf,
    file: Arc<File>,
    file_bytes: u64,
    by_group: BTreeMap<String, OfGroup>,
    unsynced: bool,
}

#[derive(Debug)]
struct Change {
    group: String,
    topic: String,
    partition: i32,
    committed: Committed,
}

impl OffsetStore {
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FILE);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        files::sync_directory_of(&path)?;
        let content = std::fs::read(&path)?;
        let mut by_group = BTreeMap::new();
        let mut sound_bytes = 0;
        while let Some((change, frame_bytes)) = read_frame(&content[sound_bytes..]) {
            apply(&mut by_group, change);
            sound_bytes += frame_bytes;
        }
        if sound_bytes < content.len() {
            let cut_bytes = content.len() - sound_bytes;
            tracing::warn!(path = %path.display(), cut_bytes, "cut an unfinished commit off");
            file.set_len(sound_bytes as u64)?;
        }
        let file_bytes = sound_bytes as u64;
        Ok(Self { path, file: Arc::new(file), file_bytes, by_group, unsynced: false })
    }

    pub(crate) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.by_group.get(group)?.get(&(topic.to_owned(), partition))
    }

    /// All that a group has committed, by topic and partition.
    pub(crate) fn of_group(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (&str, i32, &Committed)> + use<'_> {
        let of_group = self.by_group.get(group).into_iter().flatten();
        of_group.map(|((topic, partition), committed)| (topic.as_str(), *partition, committed))
    }

    /// The groups that have committed anything.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.by_group.keys().map(String::as_str)
    }

    /// Commits offsets of one group, all or none of them.
    ///
    /// # Errors
    /// The disk refuses, or there are too many entries already.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        offsets: Vec<(String, i32, Committed)>,
    ) -> io::Result<()> {
        let entries: usize = self.by_group.values().map(OfGroup::len).sum();
        if entries + offsets.len() > ENTRIES_MAX && self.adds(group, &offsets) {
            return Err(io::Error::other("too many committed offsets; delete unused groups"));
        }
        let change = |(topic, partition, committed)| Change {
            group: group.to_owned(),
            topic,
            partition,
            committed,
        };
        self.write(offsets.into_iter().map(change).collect())
    }

    /// Forgets a group.
    pub(crate) fn remove_group(&mut self, group: &str) -> io::Result<()> {
        self.remove(|owner, _| owner == group)
    }

    /// Forgets what all groups have committed for a topic.
    pub(crate) fn remove_topic(&mut self, topic: &str) -> io::Result<()> {
        self.remove(|_, of| of == topic)
    }

    /// The file to be synced, if something was committed since the last time.
    pub(crate) fn take_unsynced(&mut self) -> Option<Arc<File>> {
        std::mem::take(&mut self.unsynced).then(|| Arc::clone(&self.file))
    }

    fn adds(&self, group: &str, offsets: &[(String, i32, Committed)]) -> bool {
        offsets.iter().any(|(topic, partition, _)| self.get(group, topic, *partition).is_none())
    }

    fn remove(&mut self, goes: impl Fn(&str, &str) -> bool) -> io::Result<()> {
        let mut changes = Vec::new();
        for (group, offsets) in &self.by_group {
            for ((topic, partition), _) in offsets.iter().filter(|((of, _), _)| goes(group, of)) {
                changes.push(Change {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    committed: Committed {
                        offset: REMOVED,
                        leader_epoch: -1,
                        metadata: String::new(),
                    },
                });
            }
        }
        self.write(changes)
    }

    fn write(&mut self, changes: Vec<Change>) -> io::Result<()> {
        let mut frames = Vec::new();
        for change in &changes {
            write_frame(&mut frames, change);
        }
        if let Err(error) = (&*self.file).write_all(&frames) {
            self.file.set_len(self.file_bytes)?;
            return Err(error);
        }
        self.file_bytes += frames.len() as u64;
        self.unsynced = true;
        for change in changes {
            apply(&mut self.by_group, change);
        }
        self.drop_history()
    }

    /// Writes the file anew if less than a quarter of it still counts.
    fn drop_history(&mut self) -> io::Result<()> {
        if self.file_bytes < HISTORY_BYTES_MIN {
            return Ok(());
        }
        let mut frames = Vec::new();
        for (group, offsets) in &self.by_group {
            for ((topic, partition), committed) in offsets {
                let change = Change {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    committed: committed.clone(),
                };
                write_frame(&mut frames, &change);
            }
        }
        if (frames.len() as u64) * 4 < self.file_bytes {
            files::replace(&self.path, &frames)?;
            let file = OpenOptions::new().read(true).append(true).open(&self.path)?;
            self.file = Arc::new(file);
            self.file_bytes = frames.len() as u64;
        }
        Ok(())
    }
}

fn apply(by_group: &mut BTreeMap<String, OfGroup>, change: Change) {
    let key = (change.topic, change.partition);
    if change.committed.offset >= 0 {
        by_group.entry(change.group).or_default().insert(key, change.committed);
    } else if let Some(offsets) = by_group.get_mut(&change.group) {
        offsets.remove(&key);
        if offsets.is_empty() {
            by_group.remove(&change.group);
        }
    }
}

fn write_frame(frames: &mut Vec<u8>, change: &Change) {
    let mut body = Vec::new();
    for text in [&change.group, &change.topic, &change.committed.metadata] {
        body.extend((text.len() as u32).to_be_bytes());
        body.extend(text.as_bytes());
    }
    body.extend(change.partition.to_be_bytes());
    body.extend(change.committed.offset.to_be_bytes());
    body.extend(change.committed.leader_epoch.to_be_bytes());
    frames.extend((body.len() as u32).to_be_bytes());
    frames.extend(crc32c::crc32c(&body).to_be_bytes());
    frames.extend(body);
}

/// The first frame and its length; `None` if it is not whole and sound.
fn read_frame(bytes: &[u8]) -> Option<(Change, usize)> {
    let (mut head, rest) = bytes.split_at_checked(FRAME_HEAD_BYTES)?;
    let body_bytes = u32::from_be_bytes(take(&mut head)?) as usize;
    let checksum = u32::from_be_bytes(take(&mut head)?);
    let mut body = rest.get(..body_bytes)?;
    if crc32c::crc32c(body) != checksum {
        return None;
    }
    let group = take_text(&mut body)?;
    let topic = take_text(&mut body)?;
    let metadata = take_text(&mut body)?;
    let partition = i32::from_be_bytes(take(&mut body)?);
    let offset = i64::from_be_bytes(take(&mut body)?);
    let leader_epoch = i32::from_be_bytes(take(&mut body)?);
    let committed = Committed { offset, leader_epoch, metadata };
    Some((Change { group, topic, partition, committed }, FRAME_HEAD_BYTES + body_bytes))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = u32::from_be_bytes(take(bytes)?) as usize;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(offset: i64) -> Committed {
        Committed { offset, leader_epoch: 0, metadata: "m".into() }
    }

    fn commit(store: &mut OffsetStore, group: &str, topic: &str, offset: i64) {
        store.commit(group, vec![(topic.into(), 0, committed(offset))]).unwrap();
    }

    fn offset(store: &OffsetStore, group: &str, topic: &str) -> Option<i64> {
        store.get(group, topic, 0).map(|committed| committed.offset)
    }

    #[test]
    fn offsets_survive_until_their_group_or_topic_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = OffsetStore::open(directory.path()).unwrap();
        for (group, topic, at) in [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("a", "x", 4)] {
            commit(&mut store, group, topic, at);
        }
        let mut store = OffsetStore::open(directory.path()).unwrap();
        assert_eq!(offset(&store, "a", "x"), Some(4));
        store.remove_topic("x").unwrap();
        let mut store = OffsetStore::open(directory.path()).unwrap();
        assert_eq!((offset(&store, "a", "x"), offset(&store, "a", "y")), (None, Some(2)));
        store.remove_group("a").unwrap();
        let store = OffsetStore::open(directory.path()).unwrap();
        assert_eq!(store.groups().count(), 0);
    }

    #[test]
    fn a_file_that_ends_anywhere_keeps_its_whole_commits() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = OffsetStore::open(directory.path()).unwrap();
        commit(&mut store, "a", "x", 1);
        let first_bytes = store.file_bytes;
        commit(&mut store, "a", "x", 2);
        let content = std::fs::read(&store.path).unwrap();
        for length in 0..=content.len() {
            std::fs::write(&store.path, &content[..length]).unwrap();
            let mut cut = OffsetStore::open(directory.path()).unwrap();
            let expected = match length as u64 {
                whole if whole == content.len() as u64 => Some(2),
                part if part >= first_bytes => Some(1),
                _ => None,
            };
            assert_eq!(offset(&cut, "a", "x"), expected, "cut at {length}");
            commit(&mut cut, "a", "x", 9);
            let reopened = OffsetStore::open(directory.path()).unwrap();
            assert_eq!(offset(&reopened, "a", "x"), Some(9), "cut at {length}");
        }
    }

    #[test]
    fn a_damaged_byte_costs_only_what_follows() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = OffsetStore::open(directory.path()).unwrap();
        commit(&mut store, "a", "x", 1);
        let first_bytes = store.file_bytes as usize;
        commit(&mut store, "a", "x", 2);
        let content = std::fs::read(&store.path).unwrap();
        for at in 0..content.len() {
            let mut damaged = content.clone();
            damaged[at] ^= 0x41;
            std::fs::write(&store.path, &damaged).unwrap();
            let store = OffsetStore::open(directory.path()).unwrap();
            let expected = if at < first_bytes { None } else { Some(1) };
            assert_eq!(offset(&store, "a", "x"), expected, "damaged at {at}");
        }
    }

    #[test]
    fn history_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = OffsetStore::open(directory.path()).unwrap();
        for at in 0..50_000 {
            commit(&mut store, "group", "topic", at);
        }
        assert!(std::fs::metadata(&store.path).unwrap().len() <= HISTORY_BYTES_MIN + 100);
        let store = OffsetStore::open(directory.path()).unwrap();
        assert_eq!(offset(&store, "group", "topic"), Some(49_999));
    }
}
