//! Against the real Kafka of three nodes: kills of every part, in the middle of the stream.

use logweir_tests::{Cluster, Delivery, Lines, Node, Random, Topic, directory, wait_until};
use std::path::Path;

/// How far the writers run ahead of what is in the topic: so much is always under way, whatever is
/// killed.
const AHEAD: usize = 10_000;
/// Lines written between two looks.
const STEP: usize = 250;

fn four_writers(directory: &Path) -> Vec<Lines> {
    let logs = directory.join("logs");
    std::fs::create_dir(&logs).unwrap();
    (0..4).map(|n| format!("writer{n}")).map(|name| Lines::new(&name, &logs.join(&name))).collect()
}

fn tallies(writers: &[Lines]) -> Vec<(&str, usize)> {
    writers.iter().map(Lines::tally).collect()
}

/// Writes `total` lines, never further ahead of the topic than [`AHEAD`], and calls `at` whenever
/// the number of records in the topic has changed.
fn write_along(writers: &mut [Lines], total: usize, topic: &Topic, mut at: impl FnMut(usize)) {
    let written = |writers: &[Lines]| writers.iter().map(Lines::written).sum::<usize>();
    let mut delivered = 0;
    wait_until(&format!("{total} lines to be written and delivered"), || {
        let now = topic.records().unwrap_or(delivered);
        if now != delivered {
            delivered = now;
            at(delivered);
        }
        for turn in 0.. {
            let so_far = written(writers);
            if so_far >= total || so_far >= delivered + AHEAD {
                break;
            }
            let writer = turn % writers.len();
            writers[writer].write(STEP.min(total - so_far));
        }
        written(writers) >= total && delivered >= total
    });
}

#[test]
fn three_kills_of_the_agent_and_two_of_the_ingest_lose_and_repeat_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let mut random = Random::seeded();
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "kills", 4);
    let mut writers = four_writers(directory.path());
    let mut delivery = Delivery::of_files(directory.path(), &topic, "logs/*");
    let total = 100_000;
    // The latest first: each kill takes the last.
    let mut agent_kills = random.points(3, total);
    let mut ingest_kills = random.points(2, total);
    println!("kills at {agent_kills:?} (agent) and {ingest_kills:?} (ingest) records");
    write_along(&mut writers, total, &topic, |delivered| {
        if agent_kills.pop_if(|point| *point <= delivered).is_some() {
            delivery.agent.kill9();
            delivery.agent.start();
        }
        if ingest_kills.pop_if(|point| *point <= delivered).is_some() {
            delivery.ingest.kill9();
            delivery.ingest.start();
        }
    });
    assert!(agent_kills.is_empty() && ingest_kills.is_empty(), "not all kills happened");
    delivery.assert_complete(&tallies(&writers));
}

#[test]
fn leader_failover() {
    let Some(cluster) = Cluster::start() else { return };
    let mut random = Random::seeded();
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "node-lost", 6);
    let mut writers = four_writers(directory.path());
    let delivery = Delivery::of_files(directory.path(), &topic, "logs/*");
    let total = 60_000;
    let node = Node::ALL[random.below(3)];
    let mut kills = random.points(1, total);
    println!("kills {node:?} at {kills:?} records");
    write_along(&mut writers, total, &topic, |delivered| {
        if kills.pop_if(|point| *point <= delivered).is_some() {
            cluster.kill9(node);
        }
    });
    assert!(kills.is_empty(), "the kill happened");
    delivery.assert_complete(&tallies(&writers));
}

#[test]
fn broker_down_at_start() {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "late", 4);
    cluster.kill9_all();
    let mut writers = four_writers(directory.path());
    let mut delivery = Delivery::of_files_stopped(directory.path(), &topic, "logs/*");
    delivery.agent.start();
    for writer in &mut writers {
        writer.write(12_500);
    }
    wait_until("the agent to hold what it has read", || {
        delivery.agent.assert_running();
        let counts = delivery.agent.counts();
        counts.inspect(|counts| counts.assert_balanced());
        counts.is_some_and(|counts| counts.held > 0 && counts.delivered == 0)
    });
    cluster.restart_all();
    delivery.ingest.start();
    delivery.assert_complete(&tallies(&writers));
}

#[test]
fn an_ingest_that_slept_longer_than_the_retention_goes_on_and_names_what_it_missed() {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "retention", 1);
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    let mut delivery = Delivery::of_files(directory.path(), &topic, "app.log");
    writer.write(1_000);
    let table = delivery.ingest.table();
    wait_until("the first lines in the table", || table.rows() == 1_000);
    assert!(delivery.ingest.terminate().success());
    writer.write(1_000);
    wait_until("the other lines in the topic", || topic.records() == Some(2_000));
    delivery.agent.assert_delivered(2_000);
    let delivered = topic.events();
    topic.delete_before(0, 1_500);
    delivery.ingest.start();
    wait_until("what is left in the table", || {
        delivery.ingest.assert_running();
        table.rows() == 1_500
    });
    assert_eq!(table.audit().code, Some(1), "{}", table.audit().stdout);
    let sources = table.audit_json();
    assert_eq!(sources[0]["gaps"].as_array().map(Vec::len), Some(1), "{sources:?}");
    let gap = &sources[0]["gaps"][0];
    assert_eq!(gap["after"], delivered[999].offset);
    assert_eq!(gap["last"], delivered[1_499].offset);
    assert_eq!(gap["until"], delivered[1_500].offset);
}
