//! Many sources without an agent: records as agents send them, in volume, and an oracle that reads a
//! table of millions of them partition by partition.

use crate::process::program;
use crate::{Random, Table, Topic};
use logweir_record::{Agent, Envelope, SourceId, partition_of, write_member};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes from one event of a source to the next.
const STRIDE: u64 = 200;

/// Sources that send events to a topic, in order, each to its partition.
pub struct Streams {
    topic: Topic,
    producer: ThreadedProducer<Outcomes>,
    sources: Vec<Source>,
    repeats: usize,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sources into {:?}", self.sources.len(), self.topic)
    }
}

#[derive(Debug)]
struct Source {
    id: SourceId,
    envelope: Envelope,
    next: u64,
}

#[derive(Debug, Default)]
struct Outcomes {
    delivered: AtomicUsize,
    failed: AtomicUsize,
}

impl rdkafka::ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let of = if result.is_ok() { &self.delivered } else { &self.failed };
        of.fetch_add(1, Ordering::Relaxed);
    }
}

impl Streams {
    /// # Panics
    /// The client cannot be made.
    #[must_use]
    pub fn new(topic: &Topic, count: usize) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &topic.bootstrap)
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "20")
            .set("compression.type", "lz4")
            .set("log_level", "0")
            .create_with_context(Outcomes::default())
            .expect("valid properties");
        let source = |number: usize| {
            let id = SourceId::derive(&[topic.name.as_bytes(), &number.to_le_bytes()]);
            let agent = Agent {
                id: format!("agent-{number}"),
                name: format!("host{number}"),
                version: "0".into(),
                host_name: format!("host{number}"),
            };
            let path = format!("/var/log/app{number}.log");
            let envelope = Envelope::new(&agent, id, &[("log.file.path", path.as_bytes())]);
            Source { id, envelope, next: 0 }
        };
        let sources = (0..count).map(source).collect();
        Self { topic: topic.clone(), producer, sources, repeats: 0 }
    }

    /// How many different events were sent.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.sources.iter().map(|source| source.next as usize).sum()
    }

    /// How many events were sent again.
    #[must_use]
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// Sends `count` more events, of sources taken at random.
    ///
    /// # Panics
    /// The cluster refuses one.
    pub fn write(&mut self, count: usize, random: &mut Random) {
        let mut left = count;
        while left > 0 {
            let source = random.below(self.sources.len());
            let some = (1 + random.below(200)).min(left);
            let first = self.sources[source].next;
            self.sources[source].next += some as u64;
            self.send(source, first);
            left -= some;
        }
    }

    /// Sends the last events of a source again, as an agent does after a crash.
    ///
    /// # Panics
    /// The cluster refuses one.
    pub fn repeat(&mut self, random: &mut Random) {
        let source = random.below(self.sources.len());
        let count = random.below(500).min(self.sources[source].next as usize);
        self.repeats += count;
        self.send(source, self.sources[source].next - count as u64);
    }

    /// Waits until the cluster has acknowledged everything.
    ///
    /// # Panics
    /// It does not.
    pub fn flush(&self) {
        self.producer.flush(Duration::from_secs(600)).expect("the cluster acknowledges");
        let context = self.producer.client().context();
        assert_eq!(context.failed.load(Ordering::Relaxed), 0, "the cluster refuses nothing");
        assert_eq!(context.delivered.load(Ordering::Relaxed), self.sent() + self.repeats);
    }

    fn send(&self, source: usize, first: u64) {
        let source = &self.sources[source];
        let partition = partition_of(&source.id, self.topic.partitions as u32);
        for number in first..source.next {
            let event = source.event(number);
            let record = || {
                BaseRecord::<(), [u8]>::to(&self.topic.name).partition(partition).payload(&event)
            };
            while let Err((error, _)) = self.producer.send(record()) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full, "the client takes every record");
                self.producer.poll(Duration::from_millis(5));
            }
        }
    }

    /// Reads the table and compares: each event of each source is there exactly once, and those of a
    /// source were stored in their order.
    ///
    /// # Panics
    /// They are not; says which.
    pub fn assert_stored(&self, table: &Table) {
        let names: HashMap<String, usize> =
            self.sources.iter().enumerate().map(|(at, of)| (of.id.to_string(), at)).collect();
        let mut stored = 0;
        for partition in 0..self.topic.partitions {
            let mut rows = read(table, partition, &names, self.sent() + 1);
            stored += rows.len();
            rows.sort_unstable();
            let mut next: HashMap<usize, u64> = HashMap::new();
            for (kafka_offset, source, number) in rows {
                let wanted = next.entry(source).or_default();
                assert_eq!(
                    number, *wanted,
                    "source {source} at offset {kafka_offset} of {partition}"
                );
                *wanted += 1;
            }
            for (source, count) in next {
                assert_eq!(count, self.sources[source].next, "the end of source {source}");
            }
        }
        assert_eq!(stored, self.sent(), "rows of the table");
    }
}

/// The rows of a partition: its offset, and the number of the source and of the event.
fn read(
    table: &Table,
    partition: i32,
    names: &HashMap<String, usize>,
    limit: usize,
) -> Vec<(u64, usize, u64)> {
    let mut search = Command::new(program("logweir"))
        .args(["search", &format!("logweir.partition:{partition}"), "--format", "json"])
        .args(["--fields", "logweir.kafka_offset,logweir.source,log.offset,event.original"])
        .args(["--limit", &limit.to_string()])
        .arg("--store")
        .arg(&table.path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let lines = BufReader::new(search.stdout.take().expect("asked for above")).lines();
    let row = |line: String| {
        let json: Value = serde_json::from_str(&line).expect("an event");
        let source = names[json["logweir.source"].as_str().expect("a source")];
        let number = json["log.offset"].as_u64().expect("an offset") / STRIDE;
        assert_eq!(json["event.original"], original(number), "{line}");
        (json["logweir.kafka_offset"].as_u64().expect("an offset"), source, number)
    };
    let rows = lines.map(|line| row(line.expect("can be read"))).collect();
    let code = search.wait().expect("it ends").code();
    assert!(matches!(code, Some(0 | 1)), "the search ends well: {code:?}");
    rows
}

impl Source {
    fn event(&self, number: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.envelope.open_event(&mut out);
        let seconds = number / 1000;
        let (minute, second, milli) = (seconds / 60 % 60, seconds % 60, number % 1000);
        let time = format!("2026-11-28T10:{minute:02}:{second:02}.{milli:03}Z");
        write_member(&mut out, "@timestamp", time.as_bytes());
        out.push(b',');
        write_member(&mut out, "event.dataset", b"app");
        out.push(b',');
        write_member(&mut out, "event.original", original(number).as_bytes());
        let prev = number.checked_sub(1).map(|prev| prev * STRIDE);
        self.envelope.close_event(&mut out, 0, number * STRIDE, prev);
        out
    }
}

fn original(number: u64) -> String {
    format!("line {number:08} {}", "x".repeat(number as usize % 61))
}
