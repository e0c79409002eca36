//! Several ingests in one group: what one leaves, another takes up, and none writes what is not its.

use logweir_tests::{
    AgentConfig, Broker, DEADLINE, Delivery, Ingest, Lines, Topic, directory, wait_until,
};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Writers enough that every partition has a source.
const WRITERS: usize = 12;
/// Between the lines that are written while a commit is looked for.
const PAUSE: Duration = Duration::from_millis(20);

fn pipeline(directory: &Path) -> (Broker, Delivery, Vec<Lines>) {
    let broker = Broker::started(directory);
    let topic = Topic::create(&broker.bootstrap(), "takeover", 4);
    let logs = directory.join("logs");
    std::fs::create_dir(&logs).unwrap();
    let config = AgentConfig::of_files(&topic, directory, "logs/*");
    let mut delivery = Delivery::stopped(directory, &topic, &config);
    delivery.start();
    let names = (0..WRITERS).map(|number| format!("writer{number}"));
    (broker, delivery, names.map(|name| Lines::new(&name, &logs.join(&name))).collect())
}

fn write(writers: &mut [Lines], each: usize) {
    writers.iter_mut().for_each(|writer| writer.write(each));
}

fn tallies(writers: &[Lines]) -> Vec<(&str, usize)> {
    writers.iter().map(Lines::tally).collect()
}

#[test]
fn an_ingest_that_joins_and_one_that_is_killed_change_nothing_in_the_table() {
    let directory = directory();
    let (_broker, delivery, mut writers) = pipeline(directory.path());
    let table = delivery.ingest.table();
    write(&mut writers, 500);
    wait_until("events in the table", || table.rows() > 0);
    let mut twin = delivery.ingest.twin();
    twin.start();
    write(&mut writers, 500);
    wait_until("all events so far", || table.rows() >= WRITERS * 1_000);
    twin.assert_running();
    twin.kill9();
    write(&mut writers, 500);
    delivery.assert_complete(&tallies(&writers));
}

fn written(writers: &[Lines]) -> usize {
    writers.iter().map(Lines::written).sum()
}

/// Another ingest takes up what one that stands still had: all lines of the writers are in the table
/// then. Returns the one that stands still.
fn take_over(delivery: &mut Delivery, other: Ingest, writers: &[Lines]) -> Ingest {
    let sleeper = std::mem::replace(&mut delivery.ingest, other);
    delivery.ingest.start();
    let table = delivery.ingest.table();
    wait_until("the other ingest to take over", || table.rows() >= written(writers));
    sleeper
}

/// 500 lines more of each writer, beside the one that woke up; then it has to go, and all has to be right.
fn finish(mut sleeper: Ingest, delivery: Delivery, mut writers: Vec<Lines>) {
    let table = delivery.ingest.table();
    write(&mut writers, 500);
    wait_until("all events", || table.rows() >= written(&writers));
    sleeper.kill9();
    delivery.assert_complete(&tallies(&writers));
}

#[test]
fn an_ingest_that_wakes_up_after_it_lost_its_partitions_writes_nothing_twice() {
    let directory = directory();
    let (_broker, mut delivery, mut writers) = pipeline(directory.path());
    let table = delivery.ingest.table();
    write(&mut writers, 500);
    wait_until("all events so far", || table.rows() >= WRITERS * 500);
    write(&mut writers, 500);
    // It may have read some of these and not yet written them.
    delivery.ingest.pause();
    let twin = delivery.ingest.twin();
    let sleeper = take_over(&mut delivery, twin, &writers);
    sleeper.resume();
    finish(sleeper, delivery, writers);
}

/// Stops the ingest between the writing of a commit and its becoming one: the entry of the table's log is
/// there, under the name that it has until it gets its own. However many are missed, the writers see to it
/// that there is another.
fn stop_within_a_commit(ingest: &Ingest, writers: &mut [Lines]) {
    let unnamed = ingest.table().path.join("_logweir/tmp");
    // Once it has its own name as well, it is one.
    let is_unnamed = |path: &Path| path.metadata().is_ok_and(|file| file.nlink() == 1);
    let is_entry = |path: &Path| {
        std::fs::read_to_string(path)
            .is_ok_and(|text| text.contains("WRITE") && text.ends_with('\n'))
            && is_unnamed(path)
    };
    let entries = || {
        let files = std::fs::read_dir(&unnamed).into_iter().flatten().flatten();
        files.filter(|file| is_entry(&file.path())).count()
    };
    let (began, mut wrote) = (Instant::now(), Instant::now());
    // It is there for as long as a disk needs to sync it, which no pause between two looks may miss.
    loop {
        assert!(began.elapsed() < DEADLINE, "the ingest commits");
        if wrote.elapsed() > PAUSE {
            write(writers, 1);
            wrote = Instant::now();
        }
        if entries() == 0 {
            continue;
        }
        ingest.pause();
        if entries() > 0 {
            return;
        }
        ingest.resume();
    }
}

#[test]
fn an_ingest_that_is_stopped_within_its_commit_and_wakes_up_without_its_partitions_is_refused() {
    let directory = directory();
    let (_broker, mut delivery, mut writers) = pipeline(directory.path());
    let table = delivery.ingest.table();
    write(&mut writers, 500);
    wait_until("all events so far", || table.rows() >= WRITERS * 500);
    write(&mut writers, 500);
    stop_within_a_commit(&delivery.ingest, &mut writers);
    let twin = delivery.ingest.member("twin");
    let sleeper = take_over(&mut delivery, twin, &writers);
    let refusals = || sleeper.said().matches("another worker has written this partition").count();
    // Where the machine is slow, its own workers may have lost partitions to each other before.
    let before = refusals();
    sleeper.resume();
    wait_until("the commit to be refused", || refusals() > before);
    finish(sleeper, delivery, writers);
}
