//! Files of one event a line, for each partition its own, rotated by size.
//!
//! Exactly once on one machine: beside the files, `<partition>.position` names the file being written, how
//! many of its bytes count, and the next offset. It is replaced after the data is synced; what is behind
//! those bytes after a crash is cut off, and the partition is read on from that offset.
//!
//! ```text
//! 3-00000000000000000000.ndjson   rotated: the number is the offset of the first event
//! 3-00000000000000812345.ndjson   being written
//! 3.position                      {"file":"3-00000000000000812345.ndjson","bytes":…,"next":…}
//! ```

use super::identity::Identity;
use super::{Guarantee, NotNow, Refused, Sink, SinkRecord};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// A directory of files.
pub(super) struct Ndjson {
    directory: PathBuf,
    rotate_bytes: u64,
    open: BTreeMap<i32, (Position, File)>,
}

/// How far a partition is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    file: String,
    bytes: u64,
    next: i64,
}

impl Ndjson {
    pub(super) fn new(directory: PathBuf, rotate_bytes: u64) -> Self {
        Self { directory, rotate_bytes, open: BTreeMap::new() }
    }

    fn append(&mut self, partition: i32, records: &[&SinkRecord]) -> io::Result<()> {
        let Some(first) = records.first() else { return Ok(()) };
        let (mut position, mut file) = match self.open.remove(&partition) {
            Some(open) if open.0.bytes < self.rotate_bytes => open,
            full => {
                let next = full.map_or(first.offset, |(full, _)| full.next.max(first.offset));
                self.begin(partition, next)?
            }
        };
        let mut lines = Vec::new();
        let known = position.next;
        for record in records.iter().filter(|record| record.offset >= known) {
            record.write_line(&mut lines);
            position.next = record.offset + 1;
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        position.bytes += lines.len() as u64;
        self.save(partition, &position)?;
        self.open.insert(partition, (position, file));
        Ok(())
    }

    fn begin(&self, partition: i32, offset: i64) -> io::Result<(Position, File)> {
        let file = format!("{partition}-{offset:020}.ndjson");
        // What an attempt before this one left behind counts for nothing.
        let opened = File::create(self.directory.join(&file))?;
        File::open(&self.directory)?.sync_all()?;
        Ok((Position { file, bytes: 0, next: offset }, opened))
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

    /// Opens the file being written, cut to the bytes that count; `None` if there is none yet.
    fn resume(&self, partition: i32) -> io::Result<Option<(Position, File)>> {
        let text = match std::fs::read(self.position_path(partition)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let position: Position = serde_json::from_slice(&text)?;
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

    fn position(&mut self, partition: i32) -> Result<Option<i64>, NotNow> {
        let resumed = self.resume(partition).map_err(|error| self.told(&error))?;
        let next = resumed.as_ref().map(|(position, _)| position.next);
        self.open.remove(&partition);
        self.open.extend(resumed.map(|open| (partition, open)));
        Ok(next)
    }

    fn write(&mut self, batch: &[SinkRecord]) -> Result<Vec<Refused>, NotNow> {
        let (events, refused) = Identity::events(batch);
        let mut partitions: BTreeMap<i32, Vec<&SinkRecord>> = BTreeMap::new();
        for record in events {
            partitions.entry(record.partition).or_default().push(record);
        }
        for (partition, records) in partitions {
            if let Err(error) = self.append(partition, &records) {
                // What was written of it is cut off again before the next attempt.
                let resumed = self.resume(partition).ok().flatten();
                self.open.extend(resumed.map(|open| (partition, open)));
                return Err(self.told(&error));
            }
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
        let mut sink = Ndjson::new(temporary.path().to_owned(), 100);
        assert_eq!(sink.position(3).unwrap(), None);
        for start in (0..30).step_by(5) {
            sink.write(&records(start..start + 5)).unwrap();
        }
        let (position, mut file) = sink.open.remove(&3).unwrap();
        file.write_all(b"{\"n\":30}\n{\"n\":3").unwrap();
        let mut sink = Ndjson::new(temporary.path().to_owned(), 100);
        assert_eq!(sink.position(3).unwrap(), Some(position.next));
        sink.write(&records(28..35)).unwrap();
        let expected: String = (0..35).map(line).collect();
        assert_eq!(lines(temporary.path()), expected);
    }

    #[test]
    fn what_is_no_event_is_refused_and_the_rest_is_written() {
        let temporary = tempfile::tempdir().unwrap();
        let mut sink = Ndjson::new(temporary.path().to_owned(), 1000);
        let mut batch = records(0..6);
        for (index, payload) in [(1, &b""[..]), (2, b"{\"a\":1"), (3, b"\xff\xfe"), (5, b"{}")] {
            batch[index].payload = payload.to_vec();
        }
        let refused = sink.write(&batch).unwrap();
        let refused: Vec<_> = refused.iter().map(|one| one.index).collect();
        assert_eq!(refused, [1, 2, 3, 5]);
        assert_eq!(lines(temporary.path()), line(0) + &line(4));
        // The dead letter behind the last event may not have been sent when a crash came.
        assert_eq!(sink.position(3).unwrap(), Some(5));
    }

    #[test]
    fn a_position_that_names_another_directory_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let text = r#"{"file":"../3.ndjson","bytes":0,"next":0}"#;
        std::fs::write(temporary.path().join("3.position"), text).unwrap();
        assert!(Ndjson::new(temporary.path().to_owned(), 100).position(3).is_err());
    }
}
