//! The group of the ingests under both protocols of Kafka: members that come back within their session
//! shuffle nothing, and what a dead one leaves is taken up.

use logweir_tests::{
    Cluster, DEADLINE, Ingest, Random, Streams, Topic, directory, wait, wait_until,
};
use std::collections::BTreeSet;
use std::path::Path;

const PARTITIONS: i32 = 4;
/// Of each member.
const WORKERS: usize = 2;
const EVENTS: usize = 5_000;
/// What an ingest says of each partition that comes and goes.
const ASSIGNED: &str = "partition assigned";
const REVOKED: &str = "partition revoked";

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Classic,
    Consumer,
}

/// An ingest in a directory of its own for each `name`, all of one group into one table.
fn member(directory: &Path, topic: &Topic, protocol: Protocol, name: &str, own: &str) -> Ingest {
    let template = Ingest::stopped(directory, &topic.bootstrap, &topic.name);
    template.with_kafka(
        "session.timeout.ms: 6000",
        match protocol {
            // Longer than any restart takes; nobody waits for its end.
            Protocol::Classic => "session.timeout.ms: 120000",
            Protocol::Consumer => "group.protocol: consumer",
        },
    );
    if !own.is_empty() {
        template.with_kafka("  group.id: ", &format!("  group.instance.id: {own}\n  group.id: "));
    }
    let mut ingest = template.member(name);
    ingest.start();
    ingest
}

/// Until each of the members' workers has its one partition, so that nothing is left to be moved: which
/// partitions each member has.
fn settled(members: [&Ingest; 2]) -> [Vec<u64>; 2] {
    wait("each worker to have a partition", DEADLINE, || {
        let shares = members.map(Ingest::shares);
        let all = shares.iter().map(Vec::len).sum::<usize>() == PARTITIONS as usize;
        let one_each = |share: &Vec<(u64, u64)>| {
            share.iter().map(|(worker, _)| worker).collect::<BTreeSet<_>>().len() == WORKERS
        };
        (all && shares.iter().all(one_each)).then(|| {
            shares.map(|share| share.into_iter().map(|(_, partition)| partition).collect())
        })
    })
}

/// How often partitions came and went, in all that it said.
fn moves(ingest: &Ingest) -> usize {
    count_of(ingest, ASSIGNED) + count_of(ingest, REVOKED)
}

fn count_of(ingest: &Ingest, words: &str) -> usize {
    ingest.said().matches(words).count()
}

fn a_restart_shuffles_nothing(protocol: Protocol) {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), &format!("static-{protocol:?}"), PARTITIONS);
    let (mut random, mut streams) = (Random::seeded(), Streams::new(&topic, 12));
    let mut one = member(directory.path(), &topic, protocol, "one", "one");
    let other = member(directory.path(), &topic, protocol, "other", "other");
    let table = one.table();
    let before = settled([&one, &other]);
    // It says so after it shows.
    let held = |ingest: &Ingest| count_of(ingest, ASSIGNED) - count_of(ingest, REVOKED);
    wait_until("the other to have said so", || held(&other) == WORKERS);
    let moved = moves(&other);
    // Brokers that assign keep the name of a member that was killed to its session's end.
    let killed: &[bool] = match protocol {
        Protocol::Classic => &[true, false],
        Protocol::Consumer => &[false],
    };
    for &killed in killed {
        streams.write(EVENTS, &mut random);
        streams.flush();
        wait_until("events in the table", || table.rows() > streams.sent() - EVENTS);
        if killed {
            one.kill9();
        } else {
            assert!(one.terminate().success());
        }
        one.start();
        assert_eq!(settled([&one, &other]), before, "after a restart, killed: {killed}");
        wait_until("all events in the table", || table.rows() == streams.sent());
    }
    assert_eq!(moves(&other), moved, "the other member was left alone:\n{}", other.said());
    streams.assert_stored(&table);
    logweir_tests::assert_nothing_missing(&table);
}

#[test]
fn a_restart_within_the_session_shuffles_nothing() {
    a_restart_shuffles_nothing(Protocol::Classic);
}

#[test]
fn a_restart_within_the_session_shuffles_nothing_where_brokers_assign() {
    a_restart_shuffles_nothing(Protocol::Consumer);
}

#[test]
fn where_brokers_assign_a_dead_member_and_one_that_sleeps_change_nothing_in_the_table() {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "brokers-assign", PARTITIONS);
    let (mut random, mut streams) = (Random::seeded(), Streams::new(&topic, 12));
    let mut one = member(directory.path(), &topic, Protocol::Consumer, "one", "");
    let mut other = member(directory.path(), &topic, Protocol::Consumer, "other", "");
    let table = one.table();
    settled([&one, &other]);
    streams.write(EVENTS, &mut random);
    one.kill9();
    streams.flush();
    wait_until("the other to have all", || table.rows() == streams.sent());
    one.start();
    settled([&one, &other]);
    streams.write(EVENTS, &mut random);
    other.pause();
    streams.write(EVENTS, &mut random);
    streams.flush();
    wait_until("the one that is awake to have all", || table.rows() == streams.sent());
    other.resume();
    streams.write(EVENTS, &mut random);
    streams.flush();
    wait_until("all events in the table", || table.rows() == streams.sent());
    for member in [&mut one, &mut other] {
        member.assert_running();
        assert!(member.terminate().success(), "it ends in order");
    }
    streams.assert_stored(&table);
    logweir_tests::assert_nothing_missing(&table);
}
