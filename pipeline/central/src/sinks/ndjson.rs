//! Files of one event a line, for each partition its own, rotated by size.
//!
//! Exactly once on one machine: beside the files, `<partition>.position` names the file being written, how
//! many of its bytes count, and the next offset, of which group and topic. It is replaced after the data is
//! synced; what is behind those bytes after a crash is cut off, and the partition is read on from that offset.
//! For another topic, also of the same name, the offsets begin anew, and so do the files, in a series of their own.
//!
//! ```text
//! 3-00000000000000000000.ndjson     rotated: the number is the offset of the first event
//! 3-00000000000000812345.ndjson     the last of its series
//! 3.1-00000000000000000000.ndjson   the second series, being written
//! 3.position                        {"file":"3.1-00000000000000000000.ndjson","bytes":…,"next":…,…}
//! ```

use super::identity::Identity;
use super::{Guarantee, Held, NotNow, Origin, Refused, Sink, SinkRecord};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// A directory of files.
pub(super) struct Ndjson {
    directory: PathBuf,
    rotate_bytes: u64,
    origin: Origin,
    open: BTreeMap<i32, (Position, File)>,
    /// Partitions whose position is of another topic of the name, until one of this is saved.
    anew: BTreeSet<i32>,
}

/// How far a partition is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    file: String,
    bytes: u64,
    next: i64,
    /// Whoever reads it, where an older version wrote it.
    #[serde(default)]
    origin: Option<Origin>,
    #[serde(default)]
    series: u32,
    /// The id of the event in front of `next`.
    #[serde(default)]
    last: Option<String>,
}

impl Ndjson {
    pub(super) fn new(directory: PathBuf, rotate_bytes: u64, origin: Origin) -> Self {
        Self { directory, rotate_bytes, origin, open: BTreeMap::new(), anew: BTreeSet::new() }
    }

    fn append(&mut self, partition: i32, records: &[&SinkRecord]) -> io::Result<()> {
        let Some(first) = records.first() else { return Ok(()) };
        let open = match self.open.remove(&partition) {
            // After an error: what was written of the batch is cut off again.
            None => self.resume(partition)?,
            open => open,
        };
        let (mut position, mut file) = match open {
            Some(open) if open.0.bytes < self.rotate_bytes => open,
            Some((full, _)) => {
                let next = full.next.max(first.offset);
                self.begin(partition, full.series, next, full.last)?
            }
            None => {
                let series = self.load(partition)?.map_or(0, |other| other.series + 1);
                self.begin(partition, series, first.offset, None)?
            }
        };
        let mut lines = Vec::new();
        let known = position.next;
        for record in records.iter().filter(|record| record.offset >= known) {
            record.write_line(&mut lines);
            position.next = record.offset + 1;
        }
        if let Some(last) = records.last().filter(|last| last.offset >= known) {
            position.last = Identity::of(&last.payload).ok().map(|identity| identity.id());
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        position.bytes += lines.len() as u64;
        position.origin = Some(self.origin.clone());
        self.save(partition, &position)?;
        self.anew.remove(&partition);
        self.open.insert(partition, (position, file));
        Ok(())
    }

    fn begin(
        &self,
        partition: i32,
        series: u32,
        next: i64,
        last: Option<String>,
    ) -> io::Result<(Position, File)> {
        let file = match series {
            0 => format!("{partition}-{next:020}.ndjson"),
            series => format!("{partition}.{series}-{next:020}.ndjson"),
        };
        // What an attempt before this one left behind counts for nothing.
        let opened = File::create(self.directory.join(&file))?;
        File::open(&self.directory)?.sync_all()?;
        Ok((Position { file, bytes: 0, next, origin: None, series, last }, opened))
    }

    fn save(&self, partition: i32, position: &Position) -> io::Result<()> {
        let temporary = self.directory.join(format!("{partition}.position.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(serde_json::to_string(position)?.as_bytes())?;
        file.sync_data()?;
        std::fs::rename(temporary, self.position_path(partition))?;
        File::open(&self.directory)?.sync_all()
    }

    fn position_path(&self, partition: i32) -> PathBuf {
        self.directory.join(format!("{partition}.position"))
    }

    /// The position as it was saved last, for whichever group and topic.
    fn load(&self, partition: i32) -> io::Result<Option<Position>> {
        match std::fs::read(self.position_path(partition)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the file being written, cut to the bytes that count; `None` if there is none yet.
    fn resume(&self, partition: i32) -> io::Result<Option<(Position, File)>> {
        if self.anew.contains(&partition) {
            return Ok(None);
        }
        let ours = |position: &Position| {
            position.origin.as_ref().is_none_or(|origin| origin.topic == self.origin.topic)
        };
        let Some(position) = self.load(partition)?.filter(ours) else { return Ok(None) };
        let plain = Path::new(&position.file).file_name() == Some(position.file.as_ref());
        if !plain {
            return Err(io::Error::other(format!("`{}` is no file's name", position.file)));
        }
        let path = self.directory.join(&position.file);
        let mut file = File::options().write(true).open(path)?;
        if file.metadata()?.len() < position.bytes {
            return Err(io::Error::other(format!("`{}` has lost its end", position.file)));
        }
        file.set_len(position.bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Some((position, file)))
    }

    fn told(&self, error: &io::Error) -> NotNow {
        NotNow(format!("{}: {error}", self.directory.display()))
    }
}

impl Sink for Ndjson {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn prepare(&mut self) -> Result<(), NotNow> {
        std::fs::create_dir_all(&self.directory).map_err(|error| self.told(&error))
    }

    fn position(&mut self, partition: i32) -> Result<Option<Held>, NotNow> {
        self.open.remove(&partition);
        let resumed = self.resume(partition).map_err(|error| self.told(&error))?;
        let held = resumed.as_ref().map(|(position, _)| Held {
            next: position.next,
            last: position.last.clone(),
            own: position.origin.as_ref() == Some(&self.origin),
        });
        self.open.extend(resumed.map(|open| (partition, open)));
        Ok(held)
    }

    fn begin_anew(&mut self, partition: i32) {
        self.open.remove(&partition);
        self.anew.insert(partition);
    }

    fn write(&mut self, batch: &[SinkRecord]) -> Result<Vec<Refused>, NotNow> {
        let (events, refused) = Identity::events(batch);
        let mut partitions: BTreeMap<i32, Vec<&SinkRecord>> = BTreeMap::new();
        for record in events {
            partitions.entry(record.partition).or_default().push(record);
        }
        for (partition, records) in partitions {
            self.append(partition, &records).map_err(|error| self.told(&error))?;
        }
        Ok(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(offset: i64) -> String {
        format!("{{\"logweir.source\":\"{:032x}\",\"log.offset\":{offset}}}\n", 7)
    }

    fn opened(directory: &Path, rotate_bytes: u64, group: &str) -> Ndjson {
        let origin = Origin { group: group.into(), topic: "t".into() };
        Ndjson::new(directory.to_owned(), rotate_bytes, origin)
    }

    fn next(sink: &mut Ndjson) -> Option<i64> {
        sink.position(3).unwrap().map(|held| held.next)
    }

    fn records(offsets: std::ops::Range<i64>) -> Vec<SinkRecord> {
        let record = |offset| SinkRecord {
            partition: 3,
            offset,
            payload: line(offset).trim_end().as_bytes().to_vec(),
        };
        offsets.map(record).collect()
    }

    fn lines(directory: &Path) -> String {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "ndjson"));
        files.sort();
        files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    #[test]
    fn what_a_crash_left_behind_the_position_is_cut_off_and_repeats_are_skipped() {
        let temporary = tempfile::tempdir().unwrap();
        let mut sink = opened(temporary.path(), 100, "g");
        assert_eq!(sink.position(3).unwrap(), None);
        for start in (0..30).step_by(5) {
            sink.write(&records(start..start + 5)).unwrap();
        }
        let (position, mut file) = sink.open.remove(&3).unwrap();
        file.write_all(b"{\"n\":30}\n{\"n\":3").unwrap();
        let mut sink = opened(temporary.path(), 100, "g");
        let last = Some(format!("{:032x}-1d", 7));
        assert_eq!(sink.position(3).unwrap(), Some(Held { next: position.next, last, own: true }));
        sink.write(&records(28..35)).unwrap();
        let expected: String = (0..35).map(line).collect();
        assert_eq!(lines(temporary.path()), expected);
    }

    #[test]
    fn what_is_no_event_is_refused_and_the_rest_is_written() {
        let temporary = tempfile::tempdir().unwrap();
        let mut sink = opened(temporary.path(), 1000, "g");
        let mut batch = records(0..7);
        let far = line(-1).replace("-1", "9223372036854775808").into_bytes();
        for (index, payload) in
            [(1, &b""[..]), (2, b"{\"a\":1"), (3, b"\xff\xfe"), (5, b"{}"), (6, &far)]
        {
            batch[index].payload = payload.to_vec();
        }
        let refused = sink.write(&batch).unwrap();
        let refused: Vec<_> = refused.iter().map(|one| one.index).collect();
        assert_eq!(refused, [1, 2, 3, 5, 6]);
        assert_eq!(lines(temporary.path()), line(0) + &line(4));
        // The dead letter behind the last event may not have been sent when a crash came.
        assert_eq!(next(&mut sink), Some(5));
    }

    #[test]
    fn a_topic_that_is_another_begins_anew_and_leaves_the_files_that_are_there() {
        let temporary = tempfile::tempdir().unwrap();
        // As a version wrote it that told no group.
        std::fs::write(temporary.path().join("3-00000000000000000000.ndjson"), line(0)).unwrap();
        let bytes = line(0).len();
        let text =
            format!(r#"{{"file":"3-00000000000000000000.ndjson","bytes":{bytes},"next":1}}"#);
        std::fs::write(temporary.path().join("3.position"), text).unwrap();
        let mut expected = line(0);
        for (group, topic, before, anew, written) in [
            ("old", "t", Some((1, false)), false, 1..3),
            // Another group of the same topic goes on, and of one that was made anew begins.
            ("new", "t", Some((3, false)), false, 3..4),
            ("new", "t", Some((4, true)), false, 4..5),
            ("third", "t", Some((5, false)), true, 0..2),
            ("third", "t", Some((2, true)), false, 2..3),
            ("third", "u", None, false, 0..1),
        ] {
            let origin = Origin { group: group.into(), topic: topic.into() };
            let mut sink = Ndjson::new(temporary.path().to_owned(), 1000, origin);
            let held = sink.position(3).unwrap();
            assert_eq!(held.map(|held| (held.next, held.own)), before, "{group} {topic}");
            if anew {
                sink.begin_anew(3);
            }
            for n in written {
                sink.write(&records(n..n + 1)).unwrap();
                expected.push_str(&line(n));
            }
            assert_eq!(lines(temporary.path()), expected, "{group} {topic}");
        }
    }

    #[test]
    fn what_an_error_left_behind_is_cut_off_before_more_is_written() {
        let temporary = tempfile::tempdir().unwrap();
        let [position, aside] = ["3.position", "aside"].map(|name| temporary.path().join(name));
        let mut sink = opened(temporary.path(), 1000, "g");
        sink.write(&records(0..2)).unwrap();
        std::fs::rename(&position, &aside).unwrap();
        // It can neither be written nor read.
        std::fs::create_dir(&position).unwrap();
        for _ in 0..2 {
            sink.write(&records(2..4)).unwrap_err();
        }
        std::fs::remove_dir(&position).unwrap();
        std::fs::rename(&aside, &position).unwrap();
        sink.write(&records(2..4)).unwrap();
        assert_eq!(lines(temporary.path()), (0..4).map(line).collect::<String>());
    }

    #[test]
    fn a_position_that_names_another_directory_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let text = r#"{"file":"../3.ndjson","bytes":0,"next":0}"#;
        std::fs::write(temporary.path().join("3.position"), text).unwrap();
        assert!(opened(temporary.path(), 100, "g").position(3).is_err());
    }
}
