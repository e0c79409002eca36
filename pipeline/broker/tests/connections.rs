//! What a client does to its connection, and that it does nothing to the others.

mod common;

use bytes::Bytes;
use common::{Wire, config, create, encode, produce, start, wait};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, FetchResponse, MetadataRequest};
use logweir_broker::Broker;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Sends bytes and reads until the broker closes.
fn closed_after(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(common::DEADLINE)).unwrap();
    // The broker may close while this is still being sent.
    let _ = stream.write_all(bytes);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

#[test]
fn unsound_requests_end_their_connection_only() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    let mut witness = Wire::connect(broker.address());
    let mut unknown_version = encode(0, 1, &MetadataRequest::default());
    unknown_version[7] = 99;
    let requests: [&[u8]; 7] = [
        // Lengths: 0, 4 GiB, more than allowed.
        &[0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 1, 2, 3],
        &[0x06, 0x40, 0, 1],
        // An api that does not exist, and the beginning of an HTTP and of a TLS client.
        &[0, 0, 0, 8, 0x7f, 0xff, 0, 0, 0, 0, 0, 1],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        &unknown_version,
    ];
    for request in requests {
        closed_after(broker.address(), request);
        assert_eq!(witness.call(0, &ApiVersionsRequest::default()).error_code, 0);
    }
    broker.shutdown();
}

#[test]
fn random_bytes_do_not_end_the_broker() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    let mut witness = Wire::connect(broker.address());
    let mut seed = 42u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as u32
    };
    for round in 0..2000u32 {
        let length = random() % 200 + 8;
        let mut request = length.to_be_bytes().to_vec();
        // Keys and versions that exist, so that the rest is looked at; none that waits.
        let key =
            [0u16, 1, 2, 3, 8, 9, 10, 12, 13, 15, 16, 18, 19, 20, 21, 22, 23, 32, 33, 37, 42, 44];
        request.extend(key[(round as usize) % key.len()].to_be_bytes());
        request.extend(((random() % 10) as u16).to_be_bytes());
        request.extend((4..length).map(|_| random() as u8 & if round % 2 == 0 { 0xff } else { 3 }));
        let mut stream = TcpStream::connect(broker.address()).unwrap();
        stream.write_all(&request).unwrap();
    }
    assert_eq!(witness.call(0, &ApiVersionsRequest::default()).error_code, 0);
    broker.shutdown();
}

#[test]
fn the_number_of_connections_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    config.connections_max = 3;
    let broker = Broker::start(config).unwrap();
    let mut open: Vec<Wire> = (0..3).map(|_| Wire::connect(broker.address())).collect();
    for wire in &mut open {
        wire.call(0, &ApiVersionsRequest::default());
    }
    let mut fourth = Wire::connect(broker.address());
    assert!(fourth.try_call(0, &ApiVersionsRequest::default()).is_err());
    open.pop();
    wait("room for another connection", || {
        Wire::connect(broker.address()).try_call(0, &ApiVersionsRequest::default()).ok()
    });
    broker.shutdown();
}

fn fetch(offset: i64, bytes_min: i32) -> FetchRequest {
    let partition =
        FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(common::topic_name("read"))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(60_000)
        .with_min_bytes(bytes_min)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}

fn fetched_bytes(response: &FetchResponse) -> usize {
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    partition.records.as_ref().map_or(0, |records| records.len())
}

#[test]
fn a_fetch_waits_for_the_bytes_it_wants_and_is_woken_by_them() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    create(broker.address(), "read", 1);
    let mut reader = Wire::connect(broker.address());
    reader.send(12, &fetch(0, 10_000)).unwrap();
    let mut sent = 0;
    let mut received = 0;
    // The reader's answer comes without the passing of its 60 seconds, and not too early.
    reader.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while received == 0 {
        produce(broker.address(), "read", 0, sent..sent + 100, &[("linger.ms", "0")]);
        sent += 100;
        let mut length = [0; 4];
        match reader.stream.read_exact(&mut length) {
            Ok(()) => received = u32::from_be_bytes(length),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
        let topics = broker.topics();
        let stored = topics[0].partitions[0].bytes;
        assert!(received == 0 || stored >= 10_000, "answered at {stored} bytes");
    }
    assert!(received >= 10_000, "{received}");
    broker.shutdown();
}

#[test]
fn a_fetch_that_waits_ends_with_the_broker() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    create(broker.address(), "read", 1);
    let mut reader = Wire::connect(broker.address());
    assert_eq!(fetched_bytes(&reader.call(12, &fetch(0, 0))), 0);
    reader.send(12, &fetch(0, 1)).unwrap();
    broker.shutdown();
    start(directory.path()).shutdown();
}

/// librdkafka takes an answer without records for a broken one, and asks for the same again.
#[test]
fn a_fetch_of_what_is_not_there_is_refused_with_no_records() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    create(broker.address(), "read", 1);
    let response = Wire::connect(broker.address()).call(12, &fetch(5, 1));
    let partition = &response.responses[0].partitions[0];
    let out_of_range = kafka_protocol::ResponseError::OffsetOutOfRange.code();
    assert_eq!((partition.error_code, &partition.records), (out_of_range, &Some(Bytes::new())));
    broker.shutdown();
}
