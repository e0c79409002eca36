//! What an ingest takes without ado, and what it must not go on with.

use logweir_tests::{Broker, Ingest, Random, Topic, directory, run_to_end, wait_until};
use serde_json::Value;

/// The `n`-th event of a source for each partition.
fn event(partition: i32, n: usize) -> (i32, Vec<u8>) {
    let prev =
        n.checked_sub(1).map(|prev| format!(r#","logweir.prev":{prev}"#)).unwrap_or_default();
    let line = format!(
        r#"{{"logweir.source":"{partition:032x}","log.offset":{n},"event.original":"line {n}"{prev}}}"#
    );
    (partition, line.into_bytes())
}

fn write(topic: &Topic, events: std::ops::Range<usize>) {
    let partitions = 0..topic.partitions;
    let records: Vec<_> =
        events.flat_map(|n| partitions.clone().map(move |partition| event(partition, n))).collect();
    topic.write(&records);
}

#[test]
fn records_of_somebody_else_end_in_the_dead_letters_however_large_and_many_they_are() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "foreign", 1);
    let letters = Topic::create(&broker.bootstrap(), "logweir.dead_letter", 1);
    let mut records = vec![(0, vec![b'"'; 700_000])];
    records.extend((0..9_000).map(|n| (0, format!("{n:01000}").into_bytes())));
    records.push(event(0, 0));
    topic.write(&records);
    let mut ingest = Ingest::started(directory.path(), &broker.bootstrap(), "foreign");
    wait_until("the event behind them in the table", || {
        ingest.assert_running();
        ingest.table().rows() == 1
    });
    let letters = letters.read();
    assert_eq!(letters.len(), 9_001);
    let first: Value = serde_json::from_slice(&letters[0].1).unwrap();
    assert_eq!(first["logweir.original_bytes"], 700_000);
    assert!(letters[0].1.len() < 1_000_000);
    assert!(ingest.terminate().success());
}

#[test]
fn a_letter_that_its_topic_refuses_is_told_and_counted_and_those_of_its_batch_come_through() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "refused", 1);
    let letters = Topic::open(&broker.bootstrap(), "logweir.dead_letter", 1);
    let server = ["--bootstrap-server", &broker.bootstrap()];
    let smaller = ["topics", "alter", &letters.name, "--config", "max.message.bytes=2000"];
    let altered = run_to_end("logweir", &[&smaller[..], &server].concat());
    assert_eq!(altered.code, Some(0), "{}", altered.stderr);
    let mut random = Random::of(1);
    let mut foreign = |bytes: usize| (0..bytes).map(|_| b'!' + random.below(90) as u8).collect();
    let mut records: Vec<(i32, Vec<u8>)> = (0..20).map(|_| (0, foreign(1_000))).collect();
    records.push((0, foreign(5_000)));
    records.push(event(0, 0));
    topic.write(&records);
    let mut ingest = Ingest::stopped(directory.path(), &broker.bootstrap(), "refused").member("a");
    ingest.start();
    wait_until("the event behind them in the table", || {
        ingest.assert_running();
        ingest.table().rows() == 1
    });
    assert_eq!(ingest.status().unwrap()["letters_refused"], 1);
    assert!(ingest.said().contains("offset=20"), "{}", ingest.said());
    assert_eq!(letters.read().len(), 20);
    assert!(ingest.terminate().success());
}

/// An ingest that has the first 100 events of each partition, and its topic.
fn at_the_end(topic: &Topic, directory: &std::path::Path) -> Ingest {
    write(topic, 0..100);
    let ingest = Ingest::started(directory, &topic.bootstrap, &topic.name);
    let all = 100 * topic.partitions as usize;
    wait_until("the first events in the table", || ingest.table().rows() == all);
    ingest
}

/// It ends, and says why; the table is as it was.
fn assert_ends(ingest: &Ingest, rows: usize) {
    wait_until("the ingest to end", || {
        ingest.said().contains("deleted and created anew; choose another `group.id`")
    });
    assert_eq!(ingest.table().rows(), rows);
}

#[test]
fn a_topic_that_is_made_anew_under_a_running_ingest_ends_it() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "running", 1);
    let ingest = at_the_end(&topic, directory.path());
    write(&topic.made_anew(1), 100..150);
    assert_ends(&ingest, 100);
}

#[test]
fn a_topic_that_was_made_anew_and_has_grown_beyond_the_table_is_known_at_the_start() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "grown", 2);
    let mut ingest = at_the_end(&topic, directory.path());
    assert!(ingest.terminate().success());
    // What is the same is none of another.
    ingest.start();
    write(&topic, 100..110);
    wait_until("more events", || ingest.table().rows() == 220);
    assert!(ingest.terminate().success());
    write(&topic.made_anew(2), 110..400);
    ingest.start();
    assert_ends(&ingest, 220);
    assert!(ingest.said().contains("another record has the offset 109 now"), "{}", ingest.said());
    ingest.with_kafka("group.id: grown", "group.id: another");
    ingest.start();
    wait_until("the events of the new topic", || ingest.table().rows() == 220 + 2 * 290);
    assert!(ingest.terminate().success());
}

#[test]
fn another_group_does_not_store_the_events_of_a_topic_once_more() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "same", 1);
    let mut ingest = at_the_end(&topic, directory.path());
    assert!(ingest.terminate().success());
    ingest.with_kafka("group.id: same", "group.id: another");
    ingest.start();
    wait_until("the ingest to end", || ingest.said().contains("set `group.id: same` again"));
    assert_eq!(ingest.table().rows(), 100);
    ingest.with_kafka("group.id: another", "group.id: same");
    ingest.start();
    write(&topic, 100..110);
    wait_until("more events", || ingest.table().rows() == 110);
    assert!(ingest.terminate().success());
}

#[test]
fn records_that_expire_unread_are_told_by_the_audit_whether_the_ingest_was_away_or_behind() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "unread", 1);
    let mut ingest = Ingest::stopped(directory.path(), &broker.bootstrap(), "unread").member("a");
    write(&topic, 0..100);
    ingest.start();
    let table = ingest.table();
    wait_until("the first events in the table", || table.rows() == 100);
    let tells = |offsets: &str| {
        let line = format!("records of partition 0 of unread expired unread: offsets {offsets},");
        wait_until(&line, || table.audit().stdout.contains(&line));
        assert_eq!(table.audit().code, Some(1));
    };
    assert_eq!(table.audit().code, Some(0), "{}", table.audit().stdout);
    // A source that expires whole, and nothing behind it.
    assert!(ingest.terminate().success());
    write(&topic, 100..120);
    topic.delete_before(0, 120);
    ingest.start();
    tells("100 to 119");
    ingest.pause();
    write(&topic, 120..130);
    topic.delete_before(0, 130);
    write(&topic, 130..140);
    ingest.resume();
    tells("120 to 129");
    wait_until("what is left", || table.rows() == 110);
    assert_eq!(ingest.status().unwrap()["expired"], 30);
    assert!(ingest.said().contains("Kafka has removed 10 records"), "{}", ingest.said());
    assert!(ingest.terminate().success());
}

#[test]
fn a_topic_that_was_made_anew_with_fewer_partitions_ends_the_ingest() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "fewer", 3);
    let ingest = at_the_end(&topic, directory.path());
    drop(topic.made_anew(1));
    assert_ends(&ingest, 300);
}
