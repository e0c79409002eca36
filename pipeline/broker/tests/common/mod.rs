//! A broker to test against, rdkafka clients of it, and a client of the bare protocol.

#![allow(dead_code, reason = "each test binary uses its part")]

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use logweir_broker::{Broker, BrokerConfig};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// For what must happen: a test that waits longer has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) fn config(directory: &Path) -> BrokerConfig {
    BrokerConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), directory.to_owned())
}

pub(crate) fn start(directory: &Path) -> Broker {
    Broker::start(config(directory)).expect("the broker starts")
}

/// Asks until there is an answer.
pub(crate) fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

// === The bare protocol

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    correlation_id: i32,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        Self { stream, correlation_id: 0 }
    }

    /// Sends a request and reads its answer.
    pub(crate) fn call<Q: Request>(&mut self, version: i16, request: &Q) -> Q::Response {
        self.try_call(version, request).expect("an answer")
    }

    pub(crate) fn try_call<Q: Request>(
        &mut self,
        version: i16,
        request: &Q,
    ) -> io::Result<Q::Response> {
        self.send(version, request)?;
        let mut answer = self.receive()?;
        let key = ApiKey::try_from(Q::KEY).expect("an api key");
        let header = ResponseHeader::decode(&mut answer, key.response_header_version(version));
        assert_eq!(header.expect("a header").correlation_id, self.correlation_id);
        let response = Q::Response::decode(&mut answer, version).expect("a response");
        assert!(!answer.has_remaining(), "{key:?} {version}: the response has more bytes");
        Ok(response)
    }

    pub(crate) fn send<Q: Request>(&mut self, version: i16, request: &Q) -> io::Result<()> {
        self.correlation_id += 1;
        self.stream.write_all(&encode(version, self.correlation_id, request))
    }

    /// The next answer without its length.
    pub(crate) fn receive(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer)?;
        Ok(answer.into())
    }
}

/// A whole request, its length first.
pub(crate) fn encode<Q: Request>(version: i16, correlation_id: i32, request: &Q) -> Vec<u8> {
    let key = ApiKey::try_from(Q::KEY).expect("an api key");
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(Q::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(text("test")))
        .encode(&mut bytes, key.request_header_version(version))
        .expect("a header");
    request
        .encode(&mut bytes, version)
        .unwrap_or_else(|fault| panic!("{key:?} {version}: {fault}"));
    let length = bytes.len() as i32 - 4;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes.to_vec()
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// The error code of creating a topic.
pub(crate) fn try_create(
    address: SocketAddr,
    topic: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> i16 {
    let configs = settings.iter().map(|(name, value)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    });
    let topic = CreatableTopic::default()
        .with_name(topic_name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
    Wire::connect(address).call(5, &request).topics[0].error_code
}

pub(crate) fn create(address: SocketAddr, topic: &str, partitions: i32) {
    assert_eq!(try_create(address, topic, partitions, &[]), 0);
}

// === rdkafka

/// Counts what was acknowledged.
#[derive(Debug, Default, Clone)]
pub(crate) struct Acknowledged {
    count: Arc<AtomicU64>,
    faults: Arc<Mutex<Vec<String>>>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.count.fetch_add(1, Ordering::Release);
            }
            Err((fault, _)) => self.faults.lock().unwrap().push(fault.to_string()),
        }
    }
}

impl Acknowledged {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }
}

pub(crate) type TestProducer = ThreadedProducer<Acknowledged>;

pub(crate) fn producer(
    address: SocketAddr,
    settings: &[(&str, &str)],
) -> (TestProducer, Acknowledged) {
    let acknowledged = Acknowledged::default();
    let config = client(address, settings);
    let producer = ThreadedProducer::from_config_and_context(&config, acknowledged.clone());
    (producer.expect("a producer"), acknowledged)
}

/// Hands a record to the producer, waiting while its queue is full.
pub(crate) fn send(producer: &TestProducer, topic: &str, partition: i32, payload: &str) {
    let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(payload);
    wait("room in the producer's queue", || {
        match producer.send(std::mem::replace(&mut record, BaseRecord::to(topic))) {
            Ok(()) => Some(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                record = returned;
                std::thread::sleep(Duration::from_millis(1));
                None
            }
            Err((fault, _)) => panic!("{fault}"),
        }
    });
}

/// Produces the numbers of the range to a partition and waits until all are acknowledged.
pub(crate) fn produce(
    address: SocketAddr,
    topic: &str,
    partition: i32,
    numbers: std::ops::Range<u64>,
    settings: &[(&str, &str)],
) {
    let (producer, acknowledged) = producer(address, settings);
    for number in numbers.clone() {
        send(&producer, topic, partition, &number.to_string());
    }
    producer.flush(DEADLINE).expect("flushed");
    assert_eq!(acknowledged.faults(), Vec::<String>::new());
    assert_eq!(acknowledged.count(), numbers.end - numbers.start);
}

pub(crate) fn client(address: SocketAddr, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address.to_string())
        .set("reconnect.backoff.max.ms", "200")
        .set("topic.metadata.refresh.interval.ms", "1000");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// A member of a group.
pub(crate) fn member(
    address: SocketAddr,
    group: &str,
    topic: &str,
    settings: &[(&str, &str)],
) -> BaseConsumer {
    let mut config = client(address, &[]);
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[topic]).expect("subscribed");
    consumer
}

/// The offsets and numbers in a partition, from `from` until there are `count`.
pub(crate) fn read(
    address: SocketAddr,
    topic: &str,
    partition: i32,
    from: i64,
    count: u64,
) -> Vec<(i64, u64)> {
    let consumer: BaseConsumer = client(
        address,
        &[("group.id", "reads-alone"), ("enable.auto.commit", "false"), ("check.crcs", "true")],
    )
    .create()
    .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Offset(from)).expect("a partition");
    consumer.assign(&assignment).expect("assigned");
    let mut found = Vec::new();
    wait("all records of a partition", || {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
            found.push((message.offset(), number(&message)));
        }
        (found.len() as u64 >= count).then_some(())
    });
    found
}

/// The number in a record.
pub(crate) fn number(message: &BorrowedMessage<'_>) -> u64 {
    let payload = message.payload().expect("a payload");
    std::str::from_utf8(payload).expect("text").parse().expect("a number")
}
