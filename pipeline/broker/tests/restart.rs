//! What is on disk is there again: records, offsets, topics, bounds, whatever the last write left.

mod common;

use bytes::Bytes;
use common::{Wire, create, produce, read, start, text, topic_name, try_create};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteTopicsRequest, InitProducerIdRequest, ProduceRequest,
};
use logweir_broker::{Broker, BrokerError};
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A batch of one record without compression; the broker looks at its header only.
fn batch(producer_id: i64, epoch: i16, sequence: i32, records: i32) -> Vec<u8> {
    let mut bytes = vec![0; 61];
    bytes.extend_from_slice(&[7; 40]);
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    bytes[43..51].copy_from_slice(&producer_id.to_be_bytes());
    bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    bytes[57..61].copy_from_slice(&records.to_be_bytes());
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// Error code and base offset.
fn append(address: SocketAddr, topic: &str, batch: Vec<u8>) -> (i16, i64) {
    let data = PartitionProduceData::default().with_index(0).with_records(Some(Bytes::from(batch)));
    let topic =
        TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(5000).with_topic_data(vec![topic]);
    let response = Wire::connect(address).call(9, &request);
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

fn end_offset(broker: &Broker, topic: &str) -> i64 {
    bounds(broker, topic).1
}

fn bounds(broker: &Broker, topic: &str) -> (i64, i64) {
    let topics = broker.topics();
    let topic = topics.iter().find(|summary| summary.name == topic).expect("the topic");
    (topic.partitions[0].start_offset, topic.partitions[0].end_offset)
}

/// The files of records below the data directory, in the order of their names.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(segments(&path));
        } else if path.extension().is_some_and(|extension| extension == "log")
            && path.file_stem().unwrap().to_str().unwrap().bytes().all(|byte| byte.is_ascii_digit())
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn records_topics_and_offsets_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let broker = start(directory.path());
        if round == 0 {
            create(broker.address(), "kept", 2);
        }
        for partition in 0..2 {
            produce(broker.address(), "kept", partition, round * 100..(round + 1) * 100, &[]);
        }
        let count = (round + 1) * 100;
        let expected: Vec<_> = (0..count).map(|number| (number as i64, number)).collect();
        assert_eq!(read(broker.address(), "kept", 1, 0, count), expected);
        broker.shutdown();
    }
}

#[test]
fn a_torn_write_is_cut_off_wherever_it_was_torn() {
    let whole = batch(-1, -1, -1, 3);
    for left in 0..=whole.len() {
        let directory = tempfile::tempdir().unwrap();
        let broker = start(directory.path());
        create(broker.address(), "torn", 1);
        assert_eq!(append(broker.address(), "torn", whole.clone()), (0, 0));
        assert_eq!(append(broker.address(), "torn", whole.clone()), (0, 3));
        broker.shutdown();
        let [segment] = &segments(directory.path())[..] else { panic!("one segment") };
        let file = OpenOptions::new().write(true).open(segment).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 2 * whole.len() as u64);
        file.set_len((whole.len() + left) as u64).unwrap();
        let broker = start(directory.path());
        let expected = if left == whole.len() { 6 } else { 3 };
        assert_eq!(end_offset(&broker, "torn"), expected, "{left} bytes left");
        assert_eq!(append(broker.address(), "torn", whole.clone()), (0, expected));
        broker.shutdown();
        let broker = start(directory.path());
        assert_eq!(end_offset(&broker, "torn"), expected + 3);
        broker.shutdown();
    }
}

#[test]
fn a_tail_of_zeros_or_of_a_wrong_checksum_is_cut_off() {
    let whole = batch(-1, -1, -1, 3);
    let tails: [Vec<u8>; 3] = [vec![0; 4096], vec![0xff; 200], {
        let mut flipped = whole.clone();
        flipped[0..8].copy_from_slice(&3i64.to_be_bytes());
        flipped[80] ^= 1;
        flipped
    }];
    for tail in tails {
        let directory = tempfile::tempdir().unwrap();
        let broker = start(directory.path());
        create(broker.address(), "torn", 1);
        assert_eq!(append(broker.address(), "torn", whole.clone()), (0, 0));
        broker.shutdown();
        let segment = segments(directory.path()).pop().unwrap();
        let mut content = fs::read(&segment).unwrap();
        content.extend_from_slice(&tail);
        fs::write(&segment, content).unwrap();
        let broker = start(directory.path());
        assert_eq!(append(broker.address(), "torn", whole.clone()), (0, 3));
        broker.shutdown();
        assert_eq!(fs::metadata(&segment).unwrap().len(), 2 * whole.len() as u64);
    }
}

#[test]
fn a_batch_sent_again_gets_its_first_offset_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = start(directory.path());
    create(broker.address(), "repeats", 1);
    for step in 0..6 {
        assert_eq!(
            append(broker.address(), "repeats", batch(7, 0, step * 5, 5)),
            (0, i64::from(step) * 5)
        );
    }
    const OUT_OF_ORDER: i16 = 45;
    const OLD_EPOCH: i16 = 47;
    for _ in 0..2 {
        let check =
            |batch, expected| assert_eq!(append(broker.address(), "repeats", batch), expected);
        check(batch(7, 0, 25, 5), (0, 25));
        check(batch(7, 0, 5, 5), (0, 5));
        check(batch(7, 0, 0, 5), (OUT_OF_ORDER, -1));
        check(batch(7, 0, 31, 5), (OUT_OF_ORDER, -1));
        check(batch(7, 1, 30, 5), (OUT_OF_ORDER, -1));
        assert_eq!(end_offset(&broker, "repeats"), 30);
        broker.shutdown();
        broker = start(directory.path());
    }
    assert_eq!(append(broker.address(), "repeats", batch(7, 1, 0, 5)), (0, 30));
    assert_eq!(append(broker.address(), "repeats", batch(7, 0, 30, 5)), (OLD_EPOCH, -1));
    broker.shutdown();
}

#[test]
fn damaged_or_foreign_batches_are_refused_and_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    create(broker.address(), "refuses", 1);
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: i16| {
        let mut bytes = batch(-1, -1, -1, 3);
        change(&mut bytes);
        assert_eq!(append(broker.address(), "refuses", bytes), (expected, -1));
    };
    const CORRUPT: i16 = 2;
    const FORMAT: i16 = 43;
    check(&|bytes| bytes[70] ^= 1, CORRUPT);
    check(&|bytes| bytes[17] ^= 1, CORRUPT);
    check(&|bytes| bytes.truncate(50), CORRUPT);
    check(&|bytes| bytes.truncate(90), CORRUPT);
    check(&|bytes| bytes[16] = 1, FORMAT);
    assert_eq!(bounds(&broker, "refuses"), (0, 0));
    broker.shutdown();
}

#[test]
fn deleted_records_stay_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = start(directory.path());
    create(broker.address(), "shrinks", 1);
    produce(broker.address(), "shrinks", 0, 0..100, &[]);
    let delete = |broker: &Broker, offset| {
        let partition =
            DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
        let topic = DeleteRecordsTopic::default()
            .with_name(topic_name("shrinks"))
            .with_partitions(vec![partition]);
        let request =
            DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
        let response = Wire::connect(broker.address()).call(1, &request);
        let partition = &response.topics[0].partitions[0];
        (partition.error_code, partition.low_watermark)
    };
    const OUT_OF_RANGE: i16 = 1;
    assert_eq!(delete(&broker, 42), (0, 42));
    assert_eq!(delete(&broker, 10), (0, 42));
    assert_eq!(delete(&broker, 101).0, OUT_OF_RANGE);
    for _ in 0..2 {
        assert_eq!(bounds(&broker, "shrinks"), (42, 100));
        assert_eq!(read(broker.address(), "shrinks", 0, 42, 58)[0], (42, 42));
        broker.shutdown();
        broker = start(directory.path());
    }
    assert_eq!(delete(&broker, -1), (0, 100));
    broker.shutdown();
    let broker = start(directory.path());
    assert_eq!(bounds(&broker, "shrinks"), (100, 100));
    produce(broker.address(), "shrinks", 0, 100..101, &[]);
    assert_eq!(read(broker.address(), "shrinks", 0, 100, 1), [(100, 100)]);
    broker.shutdown();
}

#[test]
fn a_deleted_topic_is_gone_and_may_come_again_empty() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    create(broker.address(), "again", 1);
    produce(broker.address(), "again", 0, 0..10, &[]);
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name("again")])
        .with_timeout_ms(1000);
    assert_eq!(Wire::connect(broker.address()).call(5, &request).responses[0].error_code, 0);
    broker.shutdown();
    assert_eq!(segments(directory.path()), Vec::<PathBuf>::new());
    let broker = start(directory.path());
    assert_eq!(broker.topics(), []);
    create(broker.address(), "again", 1);
    assert_eq!(bounds(&broker, "again"), (0, 0));
    broker.shutdown();
}

#[test]
fn names_that_could_be_paths_make_no_topics() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    const INVALID_TOPIC: i16 = 17;
    for name in ["", ".", "..", "../up", "a/b", "/etc", "nul\0", "ä", &"x".repeat(250)] {
        assert_eq!(try_create(broker.address(), name, 1, &[]), INVALID_TOPIC, "{name:?}");
    }
    assert_eq!(broker.topics(), []);
    broker.shutdown();
}

#[test]
fn no_producer_id_is_given_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut given = HashSet::new();
    for _ in 0..3 {
        let broker = start(directory.path());
        let mut wire = Wire::connect(broker.address());
        for _ in 0..5 {
            let response =
                wire.call(4, &InitProducerIdRequest::default().with_transactional_id(None));
            assert_eq!(response.error_code, 0);
            assert!(given.insert(response.producer_id.0));
        }
        let transactional =
            InitProducerIdRequest::default().with_transactional_id(Some(text("t").into()));
        assert_ne!(wire.call(4, &transactional).error_code, 0);
        broker.shutdown();
    }
}

#[test]
fn two_brokers_do_not_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    let second = Broker::start(common::config(directory.path()));
    assert!(matches!(second, Err(BrokerError::InUse { .. })), "{second:?}");
    broker.shutdown();
    start(directory.path()).shutdown();
}

#[test]
fn the_oldest_segments_go_when_a_partition_is_too_large() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    let settings = [("segment.bytes", "4096"), ("retention.bytes", "20000")];
    assert_eq!(try_create(broker.address(), "bounded", 1, &settings), 0);
    for number in 0..2000 {
        assert_eq!(append(broker.address(), "bounded", batch(-1, -1, -1, 1)), (0, number));
    }
    let (start_offset, bytes) = common::wait("retention", || {
        let topics = broker.topics();
        let partition = topics[0].partitions[0];
        assert_eq!(partition.end_offset, 2000);
        // So that no further segment can go.
        (partition.bytes < 24_000).then_some((partition.start_offset, partition.bytes))
    });
    assert!(bytes >= 20_000, "{bytes} bytes are fewer than may be kept");
    assert!(start_offset > 0);
    broker.shutdown();
    let broker = start(directory.path());
    assert_eq!(bounds(&broker, "bounded"), (start_offset, 2000));
    broker.shutdown();
}
