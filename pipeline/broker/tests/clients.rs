//! What librdkafka does with the broker: every codec, groups and their rebalances, refusals.

mod common;

use common::{DEADLINE, client, create, member, number, produce, producer, read, start, wait};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ADDRESS: &str = "LOGWEIR_MEMBER_ADDRESS";
const ASSIGNOR: &str = "LOGWEIR_MEMBER_ASSIGNOR";
const SESSION: &str = "LOGWEIR_MEMBER_SESSION";
/// Of a member that is waited for after it has vanished.
const SHORT: &str = "6000";
/// Of one that stays, however long the machine lets it wait.
const LONG: &str = "120000";

fn session(timeout: &str) -> Vec<(&str, &str)> {
    vec![("session.timeout.ms", timeout), ("heartbeat.interval.ms", "500")]
}

#[test]
fn what_is_produced_is_consumed_with_every_codec() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    for codec in ["none", "lz4", "zstd", "gzip", "snappy"] {
        create(broker.address(), codec, 2);
        for partition in 0..2 {
            let settings = [("compression.type", codec), ("enable.idempotence", "true")];
            produce(broker.address(), codec, partition, 0..5000, &settings);
            let expected: Vec<_> = (0..5000).map(|number| (number as i64, number)).collect();
            assert_eq!(read(broker.address(), codec, partition, 0, 5000), expected, "{codec}");
            // From the middle of a batch.
            assert_eq!(
                read(broker.address(), codec, partition, 4321, 1)[0],
                (4321, 4321),
                "{codec}"
            );
        }
    }
    broker.shutdown();
}

/// Not a test: a member of a group, in a process of its own until its input ends.
#[test]
fn member_process() {
    let (Ok(address), Ok(assignor), Ok(timeout)) =
        (std::env::var(ADDRESS), std::env::var(ASSIGNOR), std::env::var(SESSION))
    else {
        return;
    };
    let consumer = grouped(address.parse().unwrap(), &assignor, &timeout);
    std::thread::scope(|scope| {
        let input_ends = scope.spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
        while !input_ends.is_finished() {
            consumer.poll(Duration::from_millis(100));
        }
    });
}

fn grouped(address: SocketAddr, assignor: &str, timeout: &str) -> BaseConsumer {
    let mut settings = session(timeout);
    settings.push(("partition.assignment.strategy", assignor));
    member(address, "group", "grouped", &settings)
}

fn start_member(address: SocketAddr, assignor: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "member_process", "--nocapture"])
        .env(ADDRESS, address.to_string())
        .env(ASSIGNOR, assignor)
        .env(SESSION, SHORT)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_group_shares_the_partitions_and_takes_over_those_of_a_member_that_vanished() {
    for assignor in ["range", "cooperative-sticky"] {
        let directory = tempfile::tempdir().unwrap();
        let broker = start(directory.path());
        let address = broker.address();
        create(address, "grouped", 4);
        let mut other = start_member(address, assignor);
        let consumer = grouped(address, assignor, LONG);
        let wait_for_partitions = |count: usize| {
            wait("the assignment", || {
                // An error is told and got over, such as of a broker that had no time to answer.
                drop(consumer.poll(Duration::from_millis(50)));
                (consumer.assignment().unwrap().count() == count).then_some(())
            });
        };
        wait_for_partitions(2);
        other.kill().unwrap();
        other.wait().unwrap();
        wait_for_partitions(4);
        let mut expected = BTreeSet::new();
        for partition in 0..4 {
            let numbers = partition * 1000..partition * 1000 + 1000;
            produce(address, "grouped", partition as i32, numbers.clone(), &[]);
            expected.extend(numbers);
        }
        let mut found = BTreeSet::new();
        wait("all records of the group", || {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                assert!(found.insert(number(&message)));
            }
            (found.len() >= expected.len()).then_some(())
        });
        assert_eq!(found, expected, "{assignor}");
        drop(consumer);
        broker.shutdown();
    }
}

#[test]
fn committed_offsets_are_where_the_next_member_begins() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = start(directory.path());
    create(broker.address(), "kept", 1);
    produce(broker.address(), "kept", 0, 0..100, &[]);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("kept", 0, Offset::Offset(42)).unwrap();
    {
        let consumer = member(broker.address(), "keeps", "kept", &session(LONG));
        wait("the first record", || consumer.poll(Duration::from_millis(50))?.ok().map(drop));
        consumer.commit(&offsets, CommitMode::Sync).unwrap();
    }
    // The first time the same broker, the second time one that has read its files.
    for _ in 0..2 {
        let consumer = member(broker.address(), "keeps", "kept", &session(LONG));
        let first = wait("a record", || {
            let message = consumer.poll(Duration::from_millis(50))?.ok()?;
            Some(message.offset())
        });
        assert_eq!(first, 42);
        drop(consumer);
        broker.shutdown();
        broker = start(directory.path());
    }
    broker.shutdown();
}

#[test]
fn a_member_with_a_fixed_name_gets_its_partitions_back_without_a_rebalance() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    create(broker.address(), "static", 4);
    let named = |name| {
        let mut settings = session(LONG);
        settings.push(("group.instance.id", name));
        member(broker.address(), "static", "static", &settings)
    };
    let (first, second) = (named("first"), named("second"));
    let assigned = |consumer: &BaseConsumer| {
        drop((first.poll(Duration::from_millis(10)), consumer.poll(Duration::from_millis(10))));
        let assignment = consumer.assignment().unwrap();
        let partitions: BTreeSet<_> =
            assignment.elements().iter().map(|part| part.partition()).collect();
        (partitions.len() == 2).then_some(partitions)
    };
    let before = wait("the assignment of the second member", || assigned(&second));
    let of_first = wait("the assignment of the first member", || assigned(&first));
    drop(second);
    let second = named("second");
    assert_eq!(wait("the same assignment", || assigned(&second)), before);
    assert_eq!(assigned(&first), Some(of_first));
    drop((first, second));
    broker.shutdown();
}

#[test]
fn transactions_and_the_new_group_protocol_are_refused_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    create(broker.address(), "refused", 1);
    let (transactional, _) = producer(broker.address(), &[("transactional.id", "any")]);
    let fault = transactional.init_transactions(DEADLINE).unwrap_err();
    assert!(
        matches!(
            fault.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                    | RDKafkaErrorCode::UnsupportedVersion
            )
        ),
        "{fault:?}"
    );
    let consumer: BaseConsumer =
        client(broker.address(), &[("group.id", "new"), ("group.protocol", "consumer")])
            .create()
            .unwrap();
    consumer.subscribe(&["refused"]).unwrap();
    wait("an error of the consumer", || consumer.poll(Duration::from_millis(50))?.err().map(drop));
    drop(consumer);
    broker.shutdown();
}
