//! The spool against kills, damage, missing files, full disks: scenarios 54 to 62 that need no process.

use super::*;
use crate::spool::segment::HeaderFault;
use jiff::Timestamp;

fn settings() -> Settings {
    Settings {
        bytes_max: 64 << 10,
        when_full: WhenFull::Block,
        disk_free_min: 0,
        sync_interval: Duration::from_secs(1),
        sync_bytes: 1 << 20,
    }
}

fn open(directory: &Path, acked: u64) -> Spool {
    Spool::open(directory, "test", acked, settings()).unwrap()
}

fn refusal(directory: &Path) -> String {
    Spool::open(directory, "test", 0, settings()).unwrap_err().to_string()
}

pub(crate) fn append(spool: &Spool, texts: &[&str]) -> Result<(), AppendError> {
    let mut records = Vec::new();
    for text in texts {
        let received_at = Timestamp::from_second(1).unwrap();
        let bytes = text.as_bytes();
        let message =
            Message { received_at, original_bytes: None, unterminated: false, sender: b"", bytes };
        encode(&message, &mut records);
    }
    spool.append(&records, texts.len() as u64)
}

/// What a reader finds from an offset on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replay {
    /// With their offsets.
    pub(crate) messages: Vec<(u64, String)>,
    pub(crate) lost: u64,
    pub(crate) end: u64,
}

impl Replay {
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.messages.iter().map(|(_, text)| text.as_str()).collect()
    }
}

pub(crate) fn replay(spool: &Spool, offset: u64) -> Replay {
    let mut replay = Replay { end: offset, ..Replay::default() };
    let mut buffer = vec![0; 4096];
    while let Some(piece) = spool.read(replay.end, &mut buffer).unwrap() {
        assert!(piece.length > 0, "a reader would wait here for ever");
        replay.lost += piece.lost;
        let data = &buffer[..piece.length];
        let mut at = 0;
        while at < data.len() {
            let offset = piece.offset + at as u64;
            match decode(data, at, piece.last) {
                Found::Message { message, end } => {
                    let text = String::from_utf8(message.bytes.to_vec()).unwrap();
                    replay.messages.push((offset, text));
                    at = end;
                }
                Found::Damaged { end } => {
                    replay.lost += spool.lost_at(offset).unwrap();
                    at = end;
                }
                Found::Incomplete => break,
            }
        }
        replay.end = piece.offset + at as u64;
    }
    let last = replay.messages.last().map(|(offset, _)| *offset);
    assert!(replay.messages.is_sorted() && last <= Some(replay.end), "SPL-2");
    replay
}

/// All that was accepted is accounted for: found or counted as lost.
fn whole(spool: &Spool, acked: u64) -> Replay {
    let replay = replay(spool, acked);
    let found = replay.messages.len() as u64 + replay.lost;
    assert_eq!(found, spool.appended(), "ACC-1: {replay:?}");
    replay
}

/// The segments of a spool, in order.
fn paths(directory: &Path) -> Vec<PathBuf> {
    segment::list(directory).unwrap().into_iter().map(|listed| listed.path).collect()
}

/// A spool of segments with two messages each, named after their place: `a0 a1`, `b0 b1`, …
fn of_segments(directory: &Path, names: &[&str]) {
    for name in names {
        // Each start begins a segment.
        let spool = open(directory, 0);
        append(&spool, &[&format!("{name}0"), &format!("{name}1")]).unwrap();
    }
    assert_eq!(paths(directory).len(), names.len());
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Where the records of these segments begin.
const RECORDS: usize = HEADER_BYTES as usize;
/// The length of a record with a message of two characters.
const RECORD: usize = 16 + 13 + 2;

#[test]
fn what_was_appended_is_replayed_in_order_across_reopening_until_it_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 0);
    append(&spool, &["a", "b"]).unwrap();
    append(&spool, &["c"]).unwrap();
    let first = whole(&spool, 0);
    assert_eq!(first.texts(), ["a", "b", "c"]);
    drop(spool);
    let acked = first.messages[1].0;
    let spool = open(directory.path(), acked);
    assert_eq!(spool.appended(), 2);
    append(&spool, &["d"]).unwrap();
    let again = whole(&spool, acked);
    assert_eq!(again.texts(), ["b", "c", "d"]);
    assert_eq!(again.messages[0].0, acked);
    spool.release(first.end);
    drop(spool);
    let spool = open(directory.path(), first.end);
    assert_eq!(whole(&spool, first.end).texts(), ["d"]);
    assert_eq!(paths(directory.path()).len(), 1);
    assert_eq!(spool.drops().total(), 0);
}

#[test]
fn offsets_never_repeat_even_if_the_disk_has_lost_what_kafka_has() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 0);
    append(&spool, &["a", "b", "c"]).unwrap();
    let delivered = whole(&spool, 0);
    drop(spool);
    // The power cut leaves the first message, and a checkpoint from before all of them.
    change(&paths(directory.path())[0], |bytes| bytes.truncate(RECORDS + RECORD - 1));
    let spool = open(directory.path(), 0);
    append(&spool, &["d"]).unwrap();
    let after = whole(&spool, 0);
    assert_eq!(after.texts(), ["a", "d"]);
    assert!(after.messages[1].0 > delivered.end);
    // Nor if the directory is gone.
    let spool = open(&directory.path().join("x"), 5000);
    append(&spool, &["a"]).unwrap();
    assert!(whole(&spool, 5000).messages[0].0 > 5000);
}

#[test]
fn offsets_never_repeat_even_if_the_disk_has_lost_the_whole_of_a_segment() {
    let directory = tempfile::tempdir().unwrap();
    let mut delivered = Vec::new();
    for _ in 0..3 {
        let spool = open(directory.path(), 0);
        append(&spool, &["delivered"]).unwrap();
        let found = replay(&spool, 0);
        assert_eq!(found.texts(), ["delivered"]);
        delivered.push(found.messages[0].0);
        // Its name was synced, and nothing that is in it.
        change(paths(directory.path()).last().unwrap(), Vec::clear);
    }
    assert!(delivered.is_sorted_by(|before, after| before < after), "{delivered:?}");
}

#[test]
fn what_a_killed_run_had_not_synced_is_synced_by_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    append(&open(directory.path(), 0), &["a"]).unwrap();
    let spool = open(directory.path(), 0);
    assert!(spool.snapshot(0).unsynced_bytes > 0);
    spool.sync(true);
    assert_eq!(spool.snapshot(0).unsynced_bytes, 0);
}

#[test]
fn an_empty_segment_that_a_kill_left_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let first = open(directory, 0);
    append(&first, &["a"]).unwrap();
    let acked = first.end();
    drop(first);
    let header = {
        let second = open(directory, acked);
        append(&second, &["b"]).unwrap();
        let length = paths(directory).last().unwrap().metadata().unwrap().len();
        length - (second.end() - second.first_from(acked))
    };
    let killed = OpenOptions::new().write(true).open(paths(directory).last().unwrap());
    killed.unwrap().set_len(header).unwrap();
    let third = open(directory, acked);
    append(&third, &["c"]).unwrap();
    third.release(acked);
    assert_eq!(replay(&third, acked).texts(), ["c"]);
}

#[test]
fn multiworker_frontier() {
    // Two readers may have gone on from different places; what is released follows the one number
    // that is given, which the lane moves over whole prefixes only.
    let directory = tempfile::tempdir().unwrap();
    of_segments(directory.path(), &["a", "b", "c"]);
    let spool = open(directory.path(), 0);
    let all = whole(&spool, 0);
    assert_eq!(replay(&spool, all.messages[4].0).texts(), ["c0", "c1"]);
    spool.release(all.messages[1].0);
    assert_eq!(paths(directory.path()).len(), 3, "a1 is not delivered");
    spool.release(all.messages[2].0);
    assert_eq!(paths(directory.path()).len(), 2);
}

#[test]
fn startup_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<String> = (b'a'..=b'z').map(|name| (name as char).to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    of_segments(directory.path(), &names);
    let spool = open(directory.path(), 0);
    assert_eq!(spool.appended(), 52);
    // Only the last segment was walked over; the others were counted by their headers.
    let state = lock(&spool.state);
    let walked = state.segments.iter().filter(|segment| segment.was_walked()).count();
    assert_eq!((walked, state.segments.len()), (1, 26));
}

#[test]
fn corrupt_framing() {
    let directory = tempfile::tempdir().unwrap();
    of_segments(directory.path(), &["a", "b"]);
    let [first, _] = paths(directory.path()).try_into().unwrap();
    // The first record's header: the next whole record is searched.
    change(&first, |bytes| bytes[RECORDS + 5] ^= 1);
    let found = whole(&open(directory.path(), 0), 0);
    assert_eq!((found.texts(), found.lost), (vec!["a1", "b0", "b1"], 1));
    // Both headers: two messages are lost, in one stretch.
    change(&first, |bytes| bytes[RECORDS + RECORD + 5] ^= 1);
    let found = whole(&open(directory.path(), 0), 0);
    assert_eq!((found.texts(), found.lost), (vec!["b0", "b1"], 2));
}

#[test]
fn corrupt_payload() {
    let directory = tempfile::tempdir().unwrap();
    of_segments(directory.path(), &["a", "b"]);
    change(&paths(directory.path())[0], |bytes| bytes[RECORDS + RECORD - 1] ^= 1);
    let found = whole(&open(directory.path(), 0), 0);
    assert_eq!((found.texts(), found.lost), (vec!["a1", "b0", "b1"], 1));
}

#[test]
fn a_damaged_segment_header_costs_nothing() {
    for damaged in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        of_segments(directory.path(), &["a", "b", "c"]);
        change(&paths(directory.path())[damaged], |bytes| bytes[20] ^= 1);
        let found = whole(&open(directory.path(), 0), 0);
        assert_eq!((found.texts(), found.lost), (vec!["a0", "a1", "b0", "b1", "c0", "c1"], 0));
    }
}

#[test]
fn missing_segment() {
    let directory = tempfile::tempdir().unwrap();
    of_segments(directory.path(), &["a", "b", "c", "d"]);
    let all = whole(&open(directory.path(), 0), 0);
    let [first, second, third, _] = paths(directory.path()).try_into().unwrap();
    fs::remove_file(third).unwrap();
    let found = whole(&open(directory.path(), 0), 0);
    assert_eq!((found.texts(), found.lost), (vec!["a0", "a1", "b0", "b1", "d0", "d1"], 2));
    // In front of all others it counts as one, since nobody knows how many it held.
    fs::remove_file(first).unwrap();
    fs::remove_file(second).unwrap();
    let acked = all.messages[1].0;
    let spool = open(directory.path(), acked);
    assert_eq!(whole(&spool, acked).texts(), ["d0", "d1"]);
    assert_eq!(spool.drops().total(), 1);
}

#[test]
fn a_released_segment_is_not_missing() {
    let directory = tempfile::tempdir().unwrap();
    of_segments(directory.path(), &["a", "b"]);
    let spool = open(directory.path(), 0);
    let acked = spool.read(0, &mut [0; 4096]).unwrap().unwrap();
    let acked = acked.offset + acked.length as u64;
    spool.release(acked);
    drop(spool);
    let spool = open(directory.path(), acked);
    assert_eq!((whole(&spool, acked).texts(), spool.drops().total()), (vec!["b0", "b1"], 0));
}

#[test]
fn a_released_segment_is_not_missing_for_a_checkpoint_that_is_older() {
    let directory = tempfile::tempdir().unwrap();
    of_segments(directory.path(), &["a", "b", "c", "d"]);
    let spool = open(directory.path(), 0);
    let all = whole(&spool, 0);
    let [first, second, _, _] = paths(directory.path()).try_into().unwrap();
    let kept = fs::read(&first).unwrap();
    let before = all.messages[1].0;
    spool.release(all.messages[4].0);
    drop(spool);
    assert!(!first.exists() && !second.exists());
    // A power cut may bring back one of those that were removed.
    for back in [false, true] {
        if back {
            fs::write(&first, &kept).unwrap();
        }
        let spool = open(directory.path(), before);
        let found = whole(&spool, spool.first_from(before));
        assert_eq!((found.texts(), found.lost), (vec!["c0", "c1", "d0", "d1"], 0));
        assert_eq!(spool.drops().total(), 0, "told to be lost");
    }
    // What is gone without having been released is missing all the same.
    fs::remove_file(paths(directory.path()).remove(0)).unwrap();
    assert_eq!(open(directory.path(), before).drops().total(), 1);
}

#[test]
fn truncated_tail() {
    let directory = tempfile::tempdir().unwrap();
    let whole_file = {
        let spool = open(directory.path(), 0);
        append(&spool, &["a", "b", "c"]).unwrap();
        fs::read(&paths(directory.path())[0]).unwrap()
    };
    let path = paths(directory.path())[0].clone();
    for length in 0..=whole_file.len() {
        // As a power cut leaves it: cut off, or with zeros instead.
        for zeros in [0, 100] {
            let mut bytes = whole_file[..length].to_vec();
            bytes.resize(length + zeros, 0);
            fs::write(&path, &bytes).unwrap();
            let Ok(spool) = Spool::open(directory.path(), "test", 0, settings()) else {
                let header = Header::decode(&bytes, 0);
                assert!(matches!(header, Err(HeaderFault::Version(0))), "{length}: {header:?}");
                continue;
            };
            append(&spool, &["d"]).unwrap();
            let kept = length.saturating_sub(RECORDS) / (RECORD - 1);
            let expected = [&["a", "b", "c"][..kept], &["d"]].concat();
            assert_eq!(whole(&spool, 0).texts(), expected, "{length}");
            drop(spool);
            paths(directory.path()).iter().for_each(|path| fs::remove_file(path).unwrap());
        }
    }
}

#[test]
fn a_changed_bit_anywhere_costs_at_most_the_record_it_is_in() {
    let directory = tempfile::tempdir().unwrap();
    of_segments(directory.path(), &["a", "b"]);
    let path = paths(directory.path())[0].clone();
    let original = fs::read(&path).unwrap();
    for bit in 0..original.len() * 8 {
        change(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        if (8..12).contains(&(bit / 8)) {
            assert!(refusal(directory.path()).contains("logweir-agent spool repair"));
        } else {
            let found = whole(&open(directory.path(), 0), 0);
            assert_eq!(found.lost, u64::from(bit / 8 >= RECORDS), "bit {bit}");
        }
        fs::write(&path, &original).unwrap();
    }
}

#[test]
fn max_disk_space() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 0);
    let text = "x".repeat(3000);
    let mut taken = 0;
    let error = loop {
        match append(&spool, &[&text]) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Full));
    assert_eq!(taken, (64 << 10) / (3000 + 29));
    let all = whole(&spool, 0);
    assert_eq!(all.messages.len(), taken);
    spool.release(all.end);
    append(&spool, &[&text]).unwrap();
    // By the other policy nobody waits, and what is dropped is counted.
    let settings = Settings { when_full: WhenFull::DropNewest, bytes_max: 100, ..settings() };
    let spool = Spool::open(&directory.path().join("x"), "test", 0, settings).unwrap();
    append(&spool, &["a", "b"]).unwrap();
    append(&spool, &["c", "d"]).unwrap();
    assert_eq!(whole(&spool, 0).texts(), ["a", "b"]);
    assert_eq!(spool.drops().by_word(), [("spool_full", 2)].into());
}

#[test]
fn a_disk_with_less_free_than_is_left_to_others_takes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { disk_free_min: u64::MAX, ..settings() };
    let spool = Spool::open(directory.path(), "test", 0, settings).unwrap();
    let refused = append(&spool, &["a"]).unwrap_err().to_string();
    let place = format!("of the disk of `{}` are free", directory.path().display());
    assert!(refused.contains(&place) && refused.contains("spool.disk_free_min"), "{refused}");
    assert!(DiskFull::on(directory.path(), 0).is_none());
}

#[test]
fn symlinked_spool() {
    let directory = tempfile::tempdir().unwrap();
    let (elsewhere, link) = (directory.path().join("elsewhere"), directory.path().join("link"));
    of_segments(&elsewhere, &["a"]);
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    assert!(refusal(&link).contains("is a symbolic link"), "{}", refusal(&link));
    assert!(refusal(&link.join("below")).contains("is a symbolic link"));
    let segment = paths(&elsewhere)[0].clone();
    fs::rename(&segment, directory.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("moved"), &segment).unwrap();
    assert!(refusal(&elsewhere).contains("is a symbolic link"));
}

#[test]
fn resize_config() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 0);
    let text = "x".repeat(1000);
    (0..30).for_each(|_| append(&spool, &[&text]).unwrap());
    drop(spool);
    let smaller = Settings { bytes_max: 8 << 10, ..settings() };
    let spool = Spool::open(directory.path(), "test", 0, smaller).unwrap();
    let all = whole(&spool, 0);
    assert_eq!(all.messages.len(), 30);
    assert!(matches!(append(&spool, &[&text]), Err(AppendError::Full)));
    spool.release(all.end);
    drop(spool);
    let larger = Settings { bytes_max: 1 << 20, ..settings() };
    let spool = Spool::open(directory.path(), "test", all.end, larger).unwrap();
    append(&spool, &[&text]).unwrap();
    assert_eq!(whole(&spool, all.end).messages.len(), 1);
}

#[test]
fn downgrade_upgrade() {
    let directory = tempfile::tempdir().unwrap();
    of_segments(directory.path(), &["a", "b"]);
    let path = paths(directory.path())[1].clone();
    change(&path, |bytes| bytes[8] = 2);
    let before = fs::read(&path).unwrap();
    let said = refusal(directory.path());
    assert!(said.contains("is of version 2, and this program knows version 1 only"), "{said}");
    assert!(said.contains("use the program that wrote it"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), before);
    // A segment as version 1 writes it, byte by byte: it must be readable for ever.
    let golden = b"LWSPOOL\n\x01\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut golden = golden.to_vec();
    golden.extend_from_slice(&crc32c::crc32c(&golden).to_le_bytes());
    let mut record = b"LWm1\x0e\0\0\0".to_vec();
    let body = b"\x00\xca\x9a\x3b\0\0\0\0\0\0\0\0\0x";
    record.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    record.extend_from_slice(&crc32c::crc32c(&record).to_le_bytes());
    golden.extend_from_slice(&record);
    golden.extend_from_slice(body);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("00000000000000000000.seg"), &golden).unwrap();
    assert_eq!(whole(&open(directory.path(), 0), 0).texts(), ["x"]);
    let directory = tempfile::tempdir().unwrap();
    append(&open(directory.path(), 0), &["x"]).unwrap();
    assert_eq!(fs::read(&paths(directory.path())[0]).unwrap(), golden);
}

#[test]
fn what_cannot_be_synced_is_written_anew_and_replayed_as_it_was() {
    for synced_before in [0, 1, 3] {
        let directory = tempfile::tempdir().unwrap();
        let spool = open(directory.path(), 0);
        for (index, text) in ["a0", "a1", "a2"].iter().enumerate() {
            if index == synced_before {
                spool.sync(true);
            }
            append(&spool, &[text]).unwrap();
        }
        let before = whole(&spool, 0);
        {
            let mut state = lock(&spool.state);
            let (last, from) = (state.segments.back().cloned().unwrap(), state.synced);
            spool.rescue(&mut state, &last, from, &io::Error::other("test")).unwrap();
            state.synced = Mark { offset: spool.end(), number: 3 };
        }
        append(&spool, &["a3"]).unwrap();
        let after = whole(&spool, 0);
        assert_eq!(after.messages[..3], before.messages);
        assert_eq!(after.texts(), ["a0", "a1", "a2", "a3"]);
        drop(spool);
        assert_eq!(whole(&open(directory.path(), 0), 0), after);
    }
}

#[test]
fn a_spool_that_can_neither_sync_nor_write_anew_takes_nothing_until_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 0);
    append(&spool, &["a0"]).unwrap();
    // A directory where the segment would be made.
    let obstacle = directory.path().join(TEMPORARY);
    fs::create_dir(&obstacle).unwrap();
    let mut state = lock(&spool.state);
    let (last, from) = (state.segments.back().cloned().unwrap(), state.synced);
    spool.rescue(&mut state, &last, from, &io::Error::other("test")).unwrap_err();
    drop(state);
    assert!(matches!(append(&spool, &["a1"]), Err(AppendError::Io(_))));
    assert!(spool.snapshot(0).failed);
    spool.sync(true);
    assert!(matches!(append(&spool, &["a1"]), Err(AppendError::Io(_))));
    fs::remove_dir(&obstacle).unwrap();
    spool.sync(true);
    append(&spool, &["a1"]).unwrap();
    assert_eq!(whole(&spool, 0).texts(), ["a0", "a1"]);
    assert!(!spool.snapshot(0).failed);
}

#[test]
fn the_loss_window_is_what_was_appended_since_the_last_sync() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { sync_bytes: 3 * RECORD as u64, ..settings() };
    let settings = Settings { sync_interval: Duration::from_secs(3600), ..settings };
    let spool = Spool::open(directory.path(), "test", 0, settings).unwrap();
    append(&spool, &["a0", "a1"]).unwrap();
    spool.sync(false);
    assert_eq!(spool.snapshot(0).unsynced_bytes, 2 * RECORD as u64);
    append(&spool, &["a2"]).unwrap();
    spool.sync(false);
    assert_eq!(spool.snapshot(0).unsynced_bytes, 0);
}
