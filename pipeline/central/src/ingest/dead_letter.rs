//! Records that cannot be decoded go to the dead-letter topic, with their place and the reason.
//!
//! They must be acknowledged there before the table's offset moves over them.

use anyhow::{Context as _, Result, anyhow};
use logweir_kafka::properties::{Properties, Role};
use logweir_kafka::token;
use logweir_record::{TOPIC_DEAD_LETTER, write_member, write_u64};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// Counts what the cluster refused.
#[derive(Debug, Clone, Default)]
struct Failures(Arc<AtomicUsize>);

impl ClientContext for Failures {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, path: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::of_file(path)
    }
}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The way to the dead-letter topic; connects at the first record.
pub(crate) struct DeadLetter {
    properties: Properties,
    producer: Option<BaseProducer<Failures>>,
    pending: usize,
}

impl DeadLetter {
    pub(crate) fn new(consumer: &Properties) -> Self {
        Self { properties: consumer.for_role(Role::Producer), producer: None, pending: 0 }
    }

    /// Queues one record; [`DeadLetter::flush`] makes sure of it.
    pub(crate) fn send(
        &mut self,
        (topic, partition, offset): (&str, i32, i64),
        reason: &str,
        payload: &[u8],
    ) -> Result<()> {
        let mut record = vec![b'{'];
        write_member(&mut record, "logweir.reason", reason.as_bytes());
        record.push(b',');
        write_member(&mut record, "logweir.kafka.topic", topic.as_bytes());
        record.extend_from_slice(b",\"logweir.kafka.partition\":");
        write_u64(&mut record, u64::try_from(partition).unwrap_or(0));
        record.extend_from_slice(b",\"logweir.kafka.offset\":");
        write_u64(&mut record, u64::try_from(offset).unwrap_or(0));
        record.push(b',');
        write_member(&mut record, "event.original", payload);
        record.push(b'}');
        self.connect()?
            .send(BaseRecord::<(), [u8]>::to(TOPIC_DEAD_LETTER).payload(&record))
            .map_err(|(error, _)| anyhow!(error))
            .with_context(|| format!("cannot write to `{TOPIC_DEAD_LETTER}`"))?;
        self.pending += 1;
        Ok(())
    }

    /// Returns when all that was sent is acknowledged.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.pending == 0 {
            return Ok(());
        }
        let producer = self.connect()?;
        producer.flush(FLUSH_TIMEOUT).with_context(|| {
            format!("cannot write to `{TOPIC_DEAD_LETTER}`; does the topic exist?")
        })?;
        let failed = producer.context().0.swap(0, Ordering::Relaxed);
        if failed > 0 {
            return Err(anyhow!(
                "{failed} records were refused by `{TOPIC_DEAD_LETTER}`; create it with \
                 `logweir topics create`"
            ));
        }
        self.pending = 0;
        Ok(())
    }

    fn connect(&mut self) -> Result<&BaseProducer<Failures>> {
        if self.producer.is_none() {
            let config = self.properties.client_config();
            self.producer = Some(config.create_with_context(Failures::default())?);
        }
        Ok(self.producer.as_ref().expect("created above"))
    }
}
