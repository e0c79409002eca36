//! A topic of a test: made with the product's own command, looked into with a plain client.

use crate::oracle::Event;
use crate::process::run_to_end;
use crate::wait::{DEADLINE, wait};
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const REQUEST: Duration = Duration::from_secs(30);
/// For a question that is asked again when there was no answer.
const ANSWER: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(100);

/// A topic on a cluster or broker.
#[derive(Clone)]
pub struct Topic {
    pub name: String,
    pub bootstrap: String,
    pub partitions: i32,
    /// Only asks; one for all questions, because connecting takes longer than an answer.
    client: Arc<Mutex<BaseConsumer>>,
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "topic {} of {}", self.name, self.bootstrap)
    }
}

impl Topic {
    /// Makes the topic with `logweir topics create`.
    ///
    /// # Panics
    /// The command fails.
    #[must_use]
    pub fn create(bootstrap: &str, name: &str, partitions: i32) -> Self {
        let count = partitions.to_string();
        let output = run_to_end(
            "logweir",
            &[
                "topics",
                "create",
                "--bootstrap-server",
                bootstrap,
                "--topic",
                name,
                "--partitions",
                &count,
            ],
        );
        assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
        Self::open(bootstrap, name, partitions)
    }

    /// A topic that exists.
    #[must_use]
    pub fn open(bootstrap: &str, name: &str, partitions: i32) -> Self {
        let client = Arc::new(Mutex::new(client(bootstrap)));
        Self { name: name.to_owned(), bootstrap: bootstrap.to_owned(), partitions, client }
    }

    /// How many records were ever written to it; `None` if no broker answers.
    #[must_use]
    pub fn records(&self) -> Option<usize> {
        (0..self.partitions).map(|partition| self.ends(partition).map(|ends| ends.1)).sum()
    }

    /// How many records the offsets stand for that `group` has committed; 0 if no broker answers.
    #[must_use]
    pub fn stored(&self, group: &str) -> usize {
        let asking: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", group)
            .set("log_level", "0")
            .create()
            .expect("valid properties");
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range(&self.name, 0, self.partitions - 1);
        let Ok(found) = asking.committed_offsets(wanted, ANSWER) else { return 0 };
        let offsets = found.elements().into_iter().filter_map(|of| of.offset().to_raw());
        offsets.filter(|offset| *offset > 0).sum::<i64>() as usize
    }

    /// All records, those of a partition in their order.
    ///
    /// # Panics
    /// They cannot all be read in time.
    #[must_use]
    pub fn read(&self) -> Vec<(i32, Vec<u8>)> {
        let client = client(&self.bootstrap);
        let mut assignment = TopicPartitionList::new();
        let mut remaining = 0;
        for partition in 0..self.partitions {
            let what = format!("the ends of partition {partition}");
            let (first, end) = wait(&what, DEADLINE, || self.ends(partition));
            assignment
                .add_partition_offset(&self.name, partition, Offset::Offset(first as i64))
                .expect("an offset is valid");
            remaining += end - first;
        }
        client.assign(&assignment).expect("partitions exist");
        let mut last = Instant::now();
        let mut records = Vec::with_capacity(remaining);
        while records.len() < remaining {
            assert!(last.elapsed() < DEADLINE, "read {} of {remaining} records", records.len());
            if let Some(Ok(message)) = client.poll(POLL) {
                records.push((message.partition(), message.payload().unwrap_or_default().to_vec()));
                last = Instant::now();
            }
        }
        records
    }

    /// All records as events.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.read().iter().map(|(_, bytes)| Event::parse(bytes)).collect()
    }

    /// Appends records to the partitions they name, in order.
    ///
    /// # Panics
    /// They are not all acknowledged.
    pub fn write(&self, records: &[(i32, Vec<u8>)]) {
        let producer = self.producer();
        for (partition, payload) in records {
            let record = BaseRecord::<(), [u8]>::to(&self.name).partition(*partition);
            producer.send(record.payload(payload)).map_err(|(error, _)| error).expect("has room");
        }
        producer.flush(DEADLINE).expect("the cluster acknowledges");
    }

    /// Appends a record with a key.
    ///
    /// # Panics
    /// It is not acknowledged.
    pub fn put(&self, key: &[u8], payload: &[u8]) {
        let producer = self.producer();
        let record = BaseRecord::<[u8], [u8]>::to(&self.name).key(key).payload(payload);
        producer.send(record).map_err(|(error, _)| error).expect("has room");
        producer.flush(DEADLINE).expect("the cluster acknowledges");
    }

    fn producer(&self) -> ThreadedProducer<DefaultProducerContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .expect("valid properties")
    }

    /// Deletes the topic, and makes one of its name and of so many partitions.
    ///
    /// # Panics
    /// The cluster refuses.
    #[must_use]
    pub fn made_anew(&self, partitions: i32) -> Self {
        self.delete();
        Self::create(&self.bootstrap, &self.name, partitions)
    }

    /// # Panics
    /// The cluster refuses.
    pub fn delete(&self) {
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        let deleted = block_on(self.admin().delete_topics(&[&self.name], &options));
        assert!(
            deleted.expect("an answer").iter().all(Result::is_ok),
            "the cluster deletes topics"
        );
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .create()
            .expect("valid properties")
    }

    /// Deletes the records of a partition in front of `offset`, as retention does.
    ///
    /// # Panics
    /// The cluster refuses.
    pub fn delete_before(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(offset))
            .expect("an offset is valid");
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        block_on(self.admin().delete_records(&list, &options))
            .expect("the cluster deletes records");
    }

    /// First offset and the one behind the last.
    fn ends(&self, partition: i32) -> Option<(usize, usize)> {
        let mut asking = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match asking.fetch_watermarks(&self.name, partition, ANSWER) {
            Ok((first, end)) => Some((usize::try_from(first).ok()?, usize::try_from(end).ok()?)),
            Err(_) => {
                // It remembers who led the partition, and would go on asking a dead node.
                *asking = client(&self.bootstrap);
                None
            }
        }
    }
}

fn client(bootstrap: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "logweir-tests")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        .set("log_level", "0")
        .create()
        .expect("valid properties")
}
