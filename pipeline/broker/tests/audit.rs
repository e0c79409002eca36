//! The audit: nothing that was acknowledged is lost, and nothing is there twice, when the broker is
//! killed while a producer writes.
//!
//! The test runs itself once more as the broker, so that there is a process to kill. How many records
//! are sent is in LOGWEIR_AUDIT_MESSAGES.

mod common;

use common::{DEADLINE, config, create, producer, read, send, wait};
use logweir_broker::Broker;
use rdkafka::producer::Producer;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const DIRECTORY: &str = "LOGWEIR_AUDIT_DIRECTORY";
const ADDRESS: &str = "LOGWEIR_AUDIT_ADDRESS";
const TOPIC: &str = "audited";
const PARTITIONS: u64 = 3;
/// As many follow each other to one partition, as from one source.
const RUN: u64 = 500;
const KILLS: u64 = 3;

/// Not a test: the broker, in a process of its own until its input ends.
#[test]
fn broker_process() {
    let (Some(directory), Ok(address)) = (std::env::var_os(DIRECTORY), std::env::var(ADDRESS))
    else {
        return;
    };
    let mut config = config(Path::new(&directory));
    config.listen = address.parse().expect("an address");
    // Small, so that the kills hit the change of segments as well.
    config.segment_bytes = 1 << 20;
    let broker = Broker::start(config).expect("the broker starts");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("the end of the input");
    broker.shutdown();
}

fn start_process(directory: &Path, address: SocketAddr) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "broker_process", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ADDRESS, address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a child");
    wait("the broker to listen", || {
        assert_eq!(child.try_wait().expect("a state"), None, "the broker has ended");
        TcpStream::connect(address).ok()
    });
    child
}

fn partition_of(number: u64) -> u64 {
    number / RUN % PARTITIONS
}

#[test]
fn every_acknowledged_record_is_there_once_and_in_order_after_kills() {
    let messages =
        std::env::var("LOGWEIR_AUDIT_MESSAGES").map_or(300_000, |n| n.parse().expect("a number"));
    let directory = tempfile::tempdir().expect("a directory");
    // Of this process alone: nobody gets the port while the broker is down.
    let own = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() & 0xff00_0000 | std::process::id());
    let address = TcpListener::bind((own, 0)).and_then(|free| free.local_addr()).expect("a port");
    let mut broker = start_process(directory.path(), address);
    create(address, TOPIC, PARTITIONS as i32);
    let (producer, acknowledged) = producer(
        address,
        &[
            ("enable.idempotence", "true"),
            ("compression.type", "lz4"),
            ("linger.ms", "5"),
            ("delivery.timeout.ms", "600000"),
            // So that batches are in flight all the time, however many records there are.
            ("batch.num.messages", "1000"),
            ("queue.buffering.max.messages", "50000"),
        ],
    );
    let mut kills = 0;
    for number in 0..messages {
        send(&producer, TOPIC, partition_of(number) as i32, &number.to_string());
        if kills < KILLS && acknowledged.count() > (kills + 1) * messages / (KILLS + 2) {
            broker.kill().expect("killed");
            broker.wait().expect("gone");
            broker = start_process(directory.path(), address);
            kills += 1;
        }
    }
    producer.flush(DEADLINE).expect("flushed");
    assert_eq!(kills, KILLS);
    assert_eq!(acknowledged.faults(), Vec::<String>::new());
    assert_eq!(acknowledged.count(), messages);
    for partition in 0..PARTITIONS {
        let sent = (0..messages).filter(|number| partition_of(*number) == partition);
        let expected: Vec<_> = (0i64..).zip(sent).collect();
        // One more record shows that nothing lies behind the expected ones.
        send(&producer, TOPIC, partition as i32, &u64::MAX.to_string());
        let found = read(address, TOPIC, partition as i32, 0, expected.len() as u64 + 1);
        let (last, found) = found.split_last().expect("records");
        assert_eq!(last.1, u64::MAX);
        let difference =
            found.iter().zip(&expected).position(|(found, expected)| found != expected);
        assert_eq!(difference, None, "partition {partition} differs first at this index");
        assert_eq!(found.len(), expected.len());
    }
    drop(broker.stdin.take());
    assert!(broker.wait().expect("an end").success());
}
