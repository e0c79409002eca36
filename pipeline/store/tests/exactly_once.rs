//! Exactly once: whatever is killed when, each event is one row, and each offset moves with its rows.

use logweir_record::SourceId;
use logweir_store::{
    CommitError, CompactOptions, PartitionWriter, Pushed, Query, SearchOptions, Table,
    TableOptions, compact, count,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const GROUP: &str = "group";
const TOPIC: &str = "topic";

fn open(path: &Path) -> Arc<Table> {
    let options = TableOptions { checkpoint_every: 5, ..TableOptions::default() };
    Arc::new(Table::open_or_create(path.to_str().unwrap(), options).unwrap())
}

fn writer(table: &Arc<Table>, partition: i32) -> PartitionWriter {
    PartitionWriter::open(table.clone(), GROUP, TOPIC, partition).unwrap()
}

/// The record at a Kafka offset: event `n` of one source.
fn record(partition: i32, n: u64) -> Vec<u8> {
    let source = SourceId::derive(&[&partition.to_le_bytes()]);
    let prev = match n.checked_sub(1) {
        Some(before) => format!(r#","logweir.prev":{}"#, before * 10),
        None => String::new(),
    };
    format!(
        r#"{{"logweir.source":"{source}","log.offset":{},"host.name":"h","event.original":"line {n:04}"{prev}}}"#,
        n * 10
    )
    .into_bytes()
}

fn push(
    writer: &mut PartitionWriter,
    partition: i32,
    offsets: std::ops::Range<i64>,
) -> Vec<Pushed> {
    offsets.map(|n| writer.push(n, &record(partition, n as u64))).collect()
}

fn stored(table: &Table) -> u64 {
    count(table, &Query::parse("").unwrap(), &SearchOptions::default()).unwrap()
}

#[test]
fn offsets_and_rows_become_visible_together() {
    let directory = tempfile::tempdir().unwrap();
    let table = open(directory.path());
    let (mut first, mut second) = (writer(&table, 0), writer(&table, 1));
    assert_eq!(first.position(), None);
    push(&mut first, 0, 0..10);
    push(&mut second, 1, 5..8);
    let batches = vec![first.seal().unwrap(), second.seal().unwrap()];
    assert_eq!((stored(&table), table.position(GROUP, TOPIC, 0).unwrap()), (0, None));
    table.commit(batches).unwrap();
    let other = open(directory.path());
    assert_eq!(stored(&other), 13);
    assert_eq!(other.position(GROUP, TOPIC, 0).unwrap(), Some(10));
    assert_eq!(other.position(GROUP, TOPIC, 1).unwrap(), Some(8));
    assert_eq!(other.position("another group", TOPIC, 1).unwrap(), None);
}

#[test]
fn a_crash_between_the_files_and_the_commit_leaves_nothing_and_repeats_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let table = open(directory.path());
    let mut before = writer(&table, 0);
    push(&mut before, 0, 0..10);
    table.commit(vec![before.seal().unwrap()]).unwrap();
    push(&mut before, 0, 10..20);
    drop(before.seal().unwrap());

    let table = open(directory.path());
    assert_eq!(stored(&table), 10);
    let mut after = writer(&table, 0);
    assert_eq!(after.position(), Some(10));
    let pushed = push(&mut after, 0, 10..25);
    assert!(pushed.iter().all(|pushed| *pushed == Pushed::Stored), "{pushed:?}");
    table.commit(vec![after.seal().unwrap()]).unwrap();
    assert_eq!(stored(&table), 25);
}

#[test]
fn a_crash_behind_the_commit_repeats_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let table = open(directory.path());
    let mut before = writer(&table, 0);
    push(&mut before, 0, 0..10);
    table.commit(vec![before.seal().unwrap()]).unwrap();

    let table = open(directory.path());
    let mut after = writer(&table, 0);
    // Kafka hands out the same records again, and the agent has sent the same events again behind.
    let pushed = push(&mut after, 0, 0..10);
    assert!(pushed.iter().all(|pushed| *pushed == Pushed::Duplicate), "{pushed:?}");
    let again: Vec<_> = (0..12).map(|n| after.push(10 + n, &record(0, n as u64))).collect();
    assert_eq!(again.iter().filter(|pushed| **pushed == Pushed::Stored).count(), 2);
    table.commit(vec![after.seal().unwrap()]).unwrap();
    assert_eq!(stored(&table), 12);
    assert_eq!(table.position(GROUP, TOPIC, 0).unwrap(), Some(22));
}

#[test]
fn a_worker_that_has_lost_its_partition_is_fenced_in_its_own_process_and_in_another() {
    let directory = tempfile::tempdir().unwrap();
    let (mine, others) = (open(directory.path()), open(directory.path()));
    let mut zombie = writer(&mine, 0);
    push(&mut zombie, 0, 0..10);
    let mut owner = writer(&others, 0);
    push(&mut owner, 0, 0..7);
    others.commit(vec![owner.seal().unwrap()]).unwrap();
    let mut innocent = writer(&mine, 1);
    push(&mut innocent, 1, 0..3);
    let batches = vec![innocent.seal().unwrap(), zombie.seal().unwrap()];
    match mine.commit(batches) {
        Err(CommitError::Fenced { partition: 0, table: Some(7), batch: None }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(stored(&mine), 7);
    assert_eq!(mine.position(GROUP, TOPIC, 1).unwrap(), None);
    // Its ledger did not replace the owner's either.
    push(&mut owner, 0, 7..12);
    others.commit(vec![owner.seal().unwrap()]).unwrap();
    assert_eq!(writer(&mine, 0).position(), Some(12));
    assert_eq!(stored(&mine), 12);
}

#[test]
fn of_two_groups_that_begin_with_a_partition_at_once_one_is_fenced() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (open(directory.path()), open(directory.path()));
    let mut first = writer(&one, 0);
    let mut second = PartitionWriter::open(other.clone(), "another", TOPIC, 0).unwrap();
    let mut elsewhere = PartitionWriter::open(other.clone(), "another", TOPIC, 1).unwrap();
    push(&mut first, 0, 0..10);
    push(&mut second, 0, 0..10);
    push(&mut elsewhere, 1, 0..3);
    one.commit(vec![first.seal().unwrap()]).unwrap();
    match other.commit(vec![second.seal().unwrap()]) {
        Err(CommitError::Fenced { partition: 0, table: None, batch: None }) => {}
        result => panic!("{result:?}"),
    }
    other.commit(vec![elsewhere.seal().unwrap()]).unwrap();
    assert_eq!(stored(&one), 13);
    // One that begins later knows of the first, and is not in its way.
    let mut third = PartitionWriter::open(other.clone(), "another", TOPIC, 0).unwrap();
    push(&mut third, 0, 0..1);
    other.commit(vec![third.seal().unwrap()]).unwrap();
    push(&mut first, 0, 10..12);
    one.commit(vec![first.seal().unwrap()]).unwrap();
    assert_eq!(stored(&one), 16);
}

#[test]
fn many_writers_of_many_handles_all_land() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for partition in 0..6 {
            let path = directory.path();
            scope.spawn(move || {
                let table = open(path);
                let mut writer = writer(&table, partition);
                for round in 0..10 {
                    push(&mut writer, partition, round * 5..round * 5 + 5);
                    table.commit(vec![writer.seal().unwrap()]).unwrap();
                }
            });
        }
    });
    let table = open(directory.path());
    assert_eq!(stored(&table), 300);
    assert!((0..6).all(|p| table.position(GROUP, TOPIC, p).unwrap() == Some(50)));
}

#[test]
fn memory_is_bounded_by_files_that_stay_invisible_until_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let options = TableOptions { target_file_bytes: 1000, ..TableOptions::default() };
    let table =
        Arc::new(Table::open_or_create(directory.path().to_str().unwrap(), options).unwrap());
    let mut writer = writer(&table, 0);
    push(&mut writer, 0, 0..100);
    assert_eq!((stored(&table), writer.rows()), (0, 100));
    table.commit(vec![writer.seal().unwrap()]).unwrap();
    assert_eq!(stored(&table), 100);
}

#[test]
fn records_that_cannot_be_decoded_move_the_offset_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let table = open(directory.path());
    let mut writer = writer(&table, 0);
    assert!(!writer.has_pending());
    assert!(matches!(writer.push(0, b"no json"), Pushed::Undecodable { word: "not_json", .. }));
    assert!(writer.has_pending());
    let batch = writer.seal().unwrap();
    assert_eq!((batch.counts().undecodable, batch.counts().rows), (1, 0));
    table.commit(vec![batch]).unwrap();
    assert_eq!((stored(&table), table.position(GROUP, TOPIC, 0).unwrap()), (0, Some(1)));
}

#[test]
fn a_lost_or_damaged_ledger_is_made_anew_from_the_rows() {
    let damages: [fn(&Path); 2] = [
        |file| std::fs::write(file, "garbage").unwrap(),
        |file| std::fs::remove_file(file).unwrap(),
    ];
    for damage in damages {
        let directory = tempfile::tempdir().unwrap();
        let table = open(directory.path());
        let mut before = writer(&table, 0);
        let mut other = writer(&table, 1);
        push(&mut before, 0, 0..10);
        push(&mut other, 1, 0..20);
        table.commit(vec![before.seal().unwrap(), other.seal().unwrap()]).unwrap();
        let folder = directory.path().join("_logweir/ledger/group/topic");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        files
            .filter(|file| file.file_name().to_string_lossy().starts_with("0-"))
            .for_each(|file| damage(&file.path()));
        let mut after = writer(&table, 0);
        assert_eq!(after.position(), Some(10));
        // The agent sends all again, and more.
        for n in 0..15 {
            after.push(10 + n, &record(0, n as u64));
        }
        table.commit(vec![after.seal().unwrap()]).unwrap();
        assert_eq!(stored(&table), 35);
        let sources = logweir_store::audit(&table, None, None).unwrap().sources;
        let known: Vec<_> = sources.iter().map(|s| (s.partition, s.rows, s.high_water)).collect();
        assert_eq!((known.len(), known.contains(&(0, 15, 140))), (2, true), "{known:?}");
        assert_eq!(sources.iter().filter(|source| source.is_complete()).count(), 1);
        // From now on it is whole again.
        assert_eq!(writer(&table, 0).position(), Some(25));
    }
}

#[test]
fn records_that_expired_unread_are_committed_with_the_offset_and_stay_in_the_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let table = open(directory.path());
    let mut writer_now = writer(&table, 0);
    push(&mut writer_now, 0, 0..10);
    table.commit(vec![writer_now.seal().unwrap()]).unwrap();
    let known = || logweir_store::audit(&open(directory.path()), None, None).unwrap();
    assert!(known().is_complete());
    // Nothing comes behind them, and no source misses them.
    writer_now.expire(10, 17);
    assert!(writer_now.has_pending());
    let batch = writer_now.seal().unwrap();
    assert_eq!((batch.counts().expired, batch.next_offset()), (7, 17));
    table.commit(vec![batch]).unwrap();
    let mut next = writer(&table, 0);
    assert_eq!(next.position(), Some(17));
    next.push(17, &record(0, 10));
    next.expire(18, 20);
    next.push(20, &record(0, 11));
    table.commit(vec![next.seal().unwrap()]).unwrap();
    let audit = known();
    assert!(audit.sources.iter().all(|source| source.is_complete()));
    assert!(!audit.is_complete());
    let expired = audit.partitions[0].losses.expired.iter();
    let expired: Vec<_> = expired.map(|of| (of.from, of.until, of.records)).collect();
    assert_eq!(expired, [(10, 17, 7), (18, 20, 2)]);
}

#[test]
fn searches_see_whole_commits_while_others_write_and_compact() {
    const COMMITS: i64 = 60;
    // However late the compactor begins.
    const COMMITS_MAX: i64 = 5000;
    const ROWS: i64 = 5;
    let directory = tempfile::tempdir().unwrap();
    open(directory.path());
    let (done, compacted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut commits = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let table = open(directory.path());
            let mut writer = writer(&table, 0);
            let is_compacted = || compacted.load(Ordering::Acquire) > 0;
            while commits < COMMITS || (commits < COMMITS_MAX && !is_compacted()) {
                push(&mut writer, 0, commits * ROWS..(commits + 1) * ROWS);
                table.commit(vec![writer.seal().unwrap()]).unwrap();
                commits += 1;
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            let table = open(directory.path());
            let options = CompactOptions { files_min: 3, ..CompactOptions::default() };
            while !done.load(Ordering::Acquire) {
                let files = compact(&table, &options).unwrap().files_before;
                compacted.fetch_add(files as usize, Ordering::Release);
            }
        });
        let table = open(directory.path());
        let lines = Query::parse("line").unwrap();
        let mut before = 0;
        while !done.load(Ordering::Acquire) {
            let now = count(&table, &lines, &SearchOptions::default()).unwrap();
            assert!(now >= before && now.is_multiple_of(ROWS as u64), "{now} after {before}");
            before = now;
        }
    });
    assert!(compacted.load(Ordering::Acquire) > 0, "nothing was compacted meanwhile");
    let table = open(directory.path());
    let lines = Query::parse("line").unwrap();
    let rows = count(&table, &lines, &SearchOptions::default()).unwrap();
    assert_eq!(rows, (commits * ROWS) as u64);
}
