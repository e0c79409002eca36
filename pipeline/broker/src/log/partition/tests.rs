//! The log of a partition over restarts, torn writes, holes and retention.

use super::super::batch::made::{at_time, batch, sequenced};
use super::*;
use std::fs::{self, OpenOptions};

const LIMITS: LogLimits =
    LogLimits { segment_bytes: 1000, retention_bytes: None, retention: None, stamps: false };

fn append(log: &mut PartitionLog, mut bytes: Vec<u8>, limits: &LogLimits) -> Appended {
    let header = BatchHeader::read_produced(&bytes).unwrap();
    log.append(&mut bytes, &header, 0, limits).unwrap()
}

/// The base offsets of all batches that a reader gets from `offset` on.
fn read_all(log: &PartitionLog, mut offset: i64, bytes_max: usize) -> Vec<i64> {
    let mut found = Vec::new();
    while let Some(slice) = log.slice(offset).unwrap() {
        let bytes = slice.read(bytes_max, true).unwrap();
        let mut rest = &bytes[..];
        assert!(!rest.is_empty(), "nothing at {offset}");
        while !rest.is_empty() {
            let header = BatchHeader::read_checked(rest).unwrap();
            found.push(header.base_offset);
            offset = header.next_offset();
            rest = &rest[header.bytes..];
        }
    }
    found
}

#[test]
fn every_offset_is_found_with_any_fetch_size_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = PartitionLog::open(directory.path()).unwrap();
    let mut bases = Vec::new();
    for index in 0..200 {
        bases.push(
            append(&mut log, batch(1 + index % 3, index as usize * 7 % 300), &LIMITS).base_offset,
        );
    }
    let reopened_log = || PartitionLog::open(directory.path()).unwrap();
    for log in [log, reopened_log()] {
        assert!(log.segments.len() > 20);
        for bytes_max in [0, 100, 1000, 100_000] {
            assert_eq!(read_all(&log, 0, bytes_max), bases);
        }
        for offset in 0..log.end_offset() {
            let first = bases.partition_point(|base| *base <= offset) - 1;
            assert_eq!(read_all(&log, offset, 500), bases[first..]);
        }
        let within = log.bytes_from(bases[100]).unwrap() as i64;
        let exactly: i64 = bases[100..].iter().map(|base| bytes_at(&log, *base)).sum();
        assert!((0..512 + 361).contains(&(within - exactly)), "{within} {exactly}");
    }
}

fn bytes_at(log: &PartitionLog, offset: i64) -> i64 {
    log.slice(offset).unwrap().unwrap().read(0, true).unwrap().len() as i64
}

#[test]
fn an_answer_has_no_more_than_was_asked_for_but_for_a_first_batch() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = PartitionLog::open(directory.path()).unwrap();
    for _ in 0..5 {
        append(&mut log, batch(1, 39), &LIMITS);
    }
    let check = |bytes_max: usize, first_whole: bool, expected: usize| {
        let slice = log.slice(1).unwrap().unwrap();
        assert_eq!(slice.read(bytes_max, first_whole).unwrap().len(), expected);
    };
    check(0, false, 0);
    check(99, false, 0);
    check(99, true, 100);
    check(100, false, 100);
    check(250, false, 200);
    check(9999, false, 400);
}

#[test]
fn a_log_torn_at_any_byte_of_its_last_batch_keeps_the_others_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = PartitionLog::open(directory.path()).unwrap();
    append(&mut log, sequenced(3, 40, 7, 0, 0), &LIMITS);
    append(&mut log, sequenced(2, 30, 7, 0, 3), &LIMITS);
    let path = directory.path().join("00000000000000000000.log");
    let whole = fs::read(&path).unwrap();
    let last_bytes = 61 + 30;
    for cut in 1..=last_bytes {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let mut log = PartitionLog::open(directory.path()).unwrap();
        assert_eq!(log.end_offset(), 3, "{cut} bytes cut");
        // The producer sends again what was not acknowledged, and only that is new.
        let again = append(&mut log, sequenced(3, 40, 7, 0, 0), &LIMITS);
        assert_eq!(again, Appended { base_offset: 0, duplicate: true });
        let appended = append(&mut log, sequenced(2, 30, 7, 0, 3), &LIMITS);
        assert_eq!(appended, Appended { base_offset: 3, duplicate: false });
        assert_eq!(fs::read(&path).unwrap(), whole, "{cut} bytes cut");
    }
    for damaged in whole.len() - last_bytes..whole.len() {
        // The leader's epoch is the broker's own and not covered by the checksum.
        let epoch = whole.len() - last_bytes + 12..whole.len() - last_bytes + 16;
        if epoch.contains(&damaged) {
            continue;
        }
        let mut bytes = whole.clone();
        bytes[damaged] ^= 0x80;
        fs::write(&path, &bytes).unwrap();
        let log = PartitionLog::open(directory.path()).unwrap();
        assert_eq!(log.end_offset(), 3, "damaged at {damaged}");
    }
}

#[test]
fn a_damaged_old_segment_is_a_hole_that_readers_pass() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = PartitionLog::open(directory.path()).unwrap();
    for _ in 0..10 {
        append(&mut log, batch(1, 439), &LIMITS);
    }
    let second = directory.path().join("00000000000000000002.log");
    OpenOptions::new().write(true).open(second).unwrap().set_len(600).unwrap();
    let log = PartitionLog::open(directory.path()).unwrap();
    assert_eq!(read_all(&log, 0, 100), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    assert_eq!(read_all(&log, 3, 100_000), [4, 5, 6, 7, 8, 9]);
}

#[test]
fn any_content_of_a_segment_is_survived() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000000000000000005.log");
    let mut seed = 1u64;
    for length in 0..400 {
        let mut bytes = Vec::new();
        for _ in 0..length {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.push((seed >> 56) as u8);
        }
        if length > 16 && length % 2 == 0 {
            bytes[..8].copy_from_slice(&5i64.to_be_bytes());
            bytes[16] = 2;
        }
        fs::write(&path, &bytes).unwrap();
        let mut log = PartitionLog::open(directory.path()).unwrap();
        assert_eq!((log.start_offset(), log.end_offset()), (5, 5));
        append(&mut log, batch(1, 0), &LIMITS);
    }
}

#[test]
fn the_start_moves_forward_only_and_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = PartitionLog::open(directory.path()).unwrap();
    for _ in 0..10 {
        append(&mut log, batch(1, 439), &LIMITS);
    }
    assert_eq!(log.delete_before(5).unwrap(), 5);
    assert_eq!(log.delete_before(3).unwrap(), 5);
    assert!(matches!(log.delete_before(11), Err(LogError::OutOfRange { .. })));
    assert!(matches!(log.slice(4), Err(LogError::OutOfRange { start: 5, end: 10, .. })));
    let mut log = PartitionLog::open(directory.path()).unwrap();
    assert_eq!((log.start_offset(), log.end_offset(), log.bytes()), (5, 10, 3000));
    assert_eq!(log.delete_before(10).unwrap(), 10);
    assert_eq!(log.bytes(), 0);
    // Even if the segments are lost, no offset is given out twice.
    for base_offset in segment::list(directory.path()).unwrap() {
        fs::remove_file(directory.path().join(format!("{base_offset:020}.log"))).unwrap();
    }
    let mut log = PartitionLog::open(directory.path()).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (10, 10));
    assert_eq!(append(&mut log, batch(1, 0), &LIMITS).base_offset, 10);
}

#[test]
fn retention_removes_whole_segments_by_size_and_by_age_of_the_last_append() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = PartitionLog::open(directory.path()).unwrap();
    for _ in 0..10 {
        // The producer's clock says 1970, which does not matter.
        append(&mut log, at_time(batch(1, 439), 1), &LIMITS);
    }
    let mut check = |limits: LogLimits, later: Duration, removed: u64, start: i64| {
        let now = SystemTime::now() + later;
        assert_eq!(log.retain(&limits, now).unwrap(), removed);
        assert_eq!((log.start_offset(), log.end_offset()), (start, 10));
    };
    let hour = Duration::from_secs(3600);
    let by_age = LogLimits { retention: Some(hour), ..LIMITS };
    check(LIMITS, 1000 * hour, 0, 0);
    check(LogLimits { retention_bytes: Some(4500), ..LIMITS }, hour, 0, 0);
    check(LogLimits { retention_bytes: Some(2500), ..LIMITS }, hour, 2000, 4);
    check(by_age, hour / 2, 0, 4);
    check(by_age, 2 * hour, 3000, 10);
    let log = PartitionLog::open(directory.path()).unwrap();
    assert_eq!((log.start_offset(), log.end_offset(), log.bytes()), (10, 10, 0));
}

#[test]
fn a_time_is_found_in_the_first_batch_that_is_not_older() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = PartitionLog::open(directory.path()).unwrap();
    for time in [100, 200, 150, 300, 400, 500] {
        append(&mut log, at_time(batch(2, 400), time), &LIMITS);
    }
    let check = |log: &PartitionLog, timestamp, expected| {
        assert_eq!(log.find_time(timestamp).unwrap(), expected);
    };
    check(&log, 0, Some((0, 100)));
    check(&log, 100, Some((0, 100)));
    check(&log, 101, Some((2, 200)));
    check(&log, 201, Some((6, 300)));
    check(&log, 500, Some((10, 500)));
    check(&log, 501, None);
    log.delete_before(7).unwrap();
    check(&log, 0, Some((7, 300)));
}

#[test]
fn records_have_the_time_of_their_arrival_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = PartitionLog::open(directory.path()).unwrap();
    let far = i64::MAX / 2;
    append(&mut log, at_time(batch(2, 400), far), &LogLimits { stamps: true, ..LIMITS });
    assert_eq!(read_all(&log, 0, 10_000), [0], "the checksum is right");
    let (offset, time) = log.find_time(1).unwrap().unwrap();
    assert_eq!(offset, 0);
    assert!((1_700_000_000_000..far).contains(&time), "{time}");
    assert_eq!(log.find_time(far).unwrap(), None);
}

#[test]
fn a_full_segment_is_followed_by_another_and_a_large_batch_fits_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = PartitionLog::open(directory.path()).unwrap();
    append(&mut log, batch(1, 5000), &LIMITS);
    append(&mut log, batch(1, 438), &LIMITS);
    append(&mut log, batch(1, 438), &LIMITS);
    append(&mut log, batch(1, 438), &LIMITS);
    assert_eq!(segment::list(directory.path()).unwrap(), [0, 1, 3]);
}
