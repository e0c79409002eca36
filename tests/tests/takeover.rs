//! Several ingests in one group: what one leaves, another takes up, and none writes what is not its.

use logweir_tests::{AgentConfig, Broker, Delivery, Lines, Topic, directory, wait_until};
use std::path::Path;

/// Writers enough that every partition has a source.
const WRITERS: usize = 12;

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
    let mut sleeper = std::mem::replace(&mut delivery.ingest, twin);
    delivery.ingest.start();
    wait_until("the other ingest to take over", || table.rows() >= WRITERS * 1_000);
    sleeper.resume();
    write(&mut writers, 500);
    wait_until("all events", || table.rows() >= WRITERS * 1_500);
    sleeper.kill9();
    delivery.assert_complete(&tallies(&writers));
}
