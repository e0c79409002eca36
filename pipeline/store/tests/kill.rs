//! SIGKILL anywhere: a process writes a partition, is killed again and again between any two system
//! calls, and starts again where the table says. In the end every event is one row.

use logweir_record::SourceId;
use logweir_store::{
    Order, PartitionWriter, Query, SearchOptions, Table, TableOptions, Value, audit, search,
};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const DIRECTORY: &str = "LOGWEIR_STORE_KILL_DIRECTORY";
/// Records in the partition.
const RECORDS: i64 = 2000;
const STEP: &str = "step";
/// How many steps it may be ahead of whoever kills it: one round.
const AHEAD: usize = 3;

/// The event that the record at a Kafka offset holds. The agent, too, has crashed now and then: of
/// every ten records the last three are repeats.
fn event_at(kafka_offset: i64) -> i64 {
    let (block, within) = (kafka_offset / 10, kafka_offset % 10);
    block * 7 + if within < 7 { within } else { within - 3 }
}

fn record(kafka_offset: i64) -> Vec<u8> {
    let event = event_at(kafka_offset);
    let prev = match event {
        0 => String::new(),
        _ => format!(r#","logweir.prev":{}"#, (event - 1) * 20),
    };
    let source = SourceId::derive(&[b"s"]);
    format!(
        r#"{{"logweir.source":"{source}","log.offset":{},"event.original":"event {event}"{prev}}}"#,
        event * 20
    )
    .into_bytes()
}

fn open(path: &Path) -> Arc<Table> {
    let options = TableOptions { checkpoint_every: 3, ..TableOptions::default() };
    Arc::new(Table::open_or_create(path.to_str().unwrap(), options).unwrap())
}

/// What is killed. Does nothing unless the other test starts it.
#[test]
fn writer_process() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let table = open(Path::new(&directory));
    let mut writer = PartitionWriter::open(table.clone(), "g", "t", 0).unwrap();
    let step = || {
        println!("{STEP}");
        std::io::stdout().flush().unwrap();
        // A byte for each step, so that it does not run away from one that is slower.
        let _ = std::io::stdin().read(&mut [0]).unwrap();
    };
    let mut offset = writer.position().unwrap_or(0);
    step();
    while offset < RECORDS {
        for _ in 0..13.min(RECORDS - offset) {
            writer.push(offset, &record(offset));
            offset += 1;
        }
        step();
        let batch = writer.seal().unwrap();
        step();
        table.commit(vec![batch]).unwrap();
        step();
    }
}

/// Runs the writer and kills it after some steps; whether it had come to its end before.
fn run_and_kill(directory: &Path, steps: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["writer_process", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(&vec![0; steps + AHEAD - 1]).unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = lines.map_while(Result::ok).filter(|line| line.ends_with(STEP)).take(steps).count();
    let _ = child.kill();
    child.wait().unwrap();
    seen < steps
}

#[test]
fn every_event_is_one_row_however_often_the_writer_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = 1u64;
    let mut kills = 0;
    loop {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // At least one whole round, so that it ends.
        if run_and_kill(directory.path(), 5 + (random >> 33) as usize % 20) {
            break;
        }
        kills += 1;
    }
    assert!(kills > 20, "{kills} kills");

    let table = open(directory.path());
    assert_eq!(table.position("g", "t", 0).unwrap(), Some(RECORDS));
    let events = (0..RECORDS).map(event_at).max().unwrap() + 1;
    let options = SearchOptions {
        limit: usize::MAX,
        order: Order::OldestFirst,
        columns: vec!["log.offset".into()],
        ..SearchOptions::default()
    };
    let mut found = Vec::new();
    search(&table, &Query::parse("").unwrap(), &options, &mut |row| {
        let Some(Value::Integer(offset)) = row.get("log.offset") else { panic!("{row:?}") };
        found.push(offset / 20);
        ControlFlow::Continue(())
    })
    .unwrap();
    found.sort_unstable();
    assert_eq!(found, (0..events).collect::<Vec<_>>());
    let source = audit(&table, None, None).unwrap().sources.remove(0);
    assert!(source.is_complete(), "{source:?}");
    assert_eq!((source.received, source.rows), (RECORDS as u64, events as u64));
}
