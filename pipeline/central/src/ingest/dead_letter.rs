//! Records that cannot be decoded go to the dead-letter topic, with their place and the reason.
//!
//! They must be acknowledged there before the table's offset moves over them. A letter always fits: what
//! it quotes is cut. One that is refused nevertheless, by itself, is told and counted, and holds nothing
//! up; a topic that is missing, or may not be written, does.

use super::statistics::Statistics;
use anyhow::{Context as _, Result, anyhow};
use logweir_kafka::producer::payload_bytes_max;
use logweir_kafka::properties::{Properties, Role};
use logweir_kafka::token;
use logweir_record::{
    FIELD_ORIGINAL, TOPIC_DEAD_LETTER, escaped_beginning, write_member, write_u64,
};
use logweir_service::beat;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);
/// A step of rdkafka's flush always takes its whole time.
const FLUSH_STEP: Duration = Duration::from_millis(5);
/// Well below the 1 MiB that a topic takes unless it is told otherwise.
const LETTER_BYTES_MAX: usize = 768 << 10;

/// The record that a letter is about.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// Hears what becomes of the letters.
#[derive(Default)]
struct Outcomes {
    /// Letters that may come through once the topic is there and may be written.
    failed: AtomicUsize,
    refused: Mutex<Vec<Refused>>,
}

struct Refused {
    place: Box<Place>,
    letter: Vec<u8>,
    reason: KafkaError,
}

impl Outcomes {
    fn refused(&self) -> MutexGuard<'_, Vec<Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the letter itself is refused: the next one may be taken.
fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::MessageSizeTooLarge
                | Code::MessageBatchTooLarge
                | Code::InvalidRecord
                | Code::InvalidTimestamp
                | Code::PolicyViolation
        )
    )
}

impl ClientContext for Outcomes {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, path: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::of_file(path)
    }
}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = Box<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<Place>) {
        match result {
            Ok(_) => {}
            Err((error, message)) if is_refusal(error) => {
                let letter = message.payload().unwrap_or_default().to_vec();
                self.refused().push(Refused { place, letter, reason: error.clone() });
            }
            Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The way to the dead-letter topic; connects at the first record.
pub(crate) struct DeadLetter {
    properties: Properties,
    statistics: Arc<Statistics>,
    letter_bytes_max: usize,
    producer: Option<BaseProducer<Outcomes>>,
    pending: usize,
}

impl DeadLetter {
    pub(crate) fn new(consumer: &Properties, statistics: Arc<Statistics>) -> Self {
        let mut properties = consumer.for_role(Role::Producer);
        // Letters are in no order, and one that is refused stops none behind it.
        properties.set("enable.gapless.guarantee", "false");
        properties.set("linger.ms", "0");
        let letter_bytes_max = payload_bytes_max(&properties).min(LETTER_BYTES_MAX);
        Self { properties, statistics, letter_bytes_max, producer: None, pending: 0 }
    }

    /// Queues one record; [`DeadLetter::flush`] makes sure of it.
    pub(crate) fn send(&mut self, place: Place, reason: &str, payload: &[u8]) -> Result<()> {
        let letter = letter(&place, reason, payload, self.letter_bytes_max);
        let mut outcome = self.offer(Box::new(place), &letter)?;
        if let Err((KafkaError::MessageProduction(Code::QueueFull), place)) = outcome {
            self.flush()?;
            outcome = self.offer(place, &letter)?;
        }
        match outcome {
            Ok(()) => self.pending += 1,
            Err((error, place)) if is_refusal(&error) => self.give_up(&place, &error),
            Err((error, _)) => return Err(error).with_context(cannot_write),
        }
        Ok(())
    }

    fn offer(
        &mut self,
        place: Box<Place>,
        letter: &[u8],
    ) -> Result<Result<(), (KafkaError, Box<Place>)>> {
        let record = BaseRecord::<(), [u8], _>::with_opaque_to(TOPIC_DEAD_LETTER, place);
        let outcome = self.connect()?.send(record.payload(letter));
        Ok(outcome.map_err(|(error, record)| (error, record.delivery_opaque)))
    }

    /// Returns when all that was sent is acknowledged, or told to be refused.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.pending == 0 {
            return Ok(());
        }
        // What is refused for its size is a whole batch: each of its letters is sent again, alone.
        for Refused { place, letter, .. } in self.settle()? {
            self.offer(place, &letter)?.map_err(|(error, _)| error).with_context(cannot_write)?;
            for Refused { place, reason, .. } in self.settle()? {
                self.give_up(&place, &reason);
            }
        }
        self.pending = 0;
        Ok(())
    }

    /// Waits until nothing is on its way; returns what was refused.
    fn settle(&mut self) -> Result<Vec<Refused>> {
        beat();
        let producer = self.connect()?;
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        while producer.in_flight_count() > 0 && Instant::now() < deadline {
            let _ = producer.flush(FLUSH_STEP);
        }
        producer
            .flush(Duration::ZERO)
            .with_context(|| format!("{}; does the topic exist?", cannot_write()))?;
        let outcomes = producer.context();
        let failed = outcomes.failed.swap(0, Ordering::Relaxed);
        if failed > 0 {
            return Err(anyhow!(
                "{failed} records were refused by `{TOPIC_DEAD_LETTER}`; create it with \
                 `logweir topics create`"
            ));
        }
        Ok(std::mem::take(&mut *outcomes.refused()))
    }

    fn give_up(&self, place: &Place, reason: &KafkaError) {
        let Place { topic, partition, offset } = place;
        tracing::error!(
            %topic, partition, offset, %reason,
            "a letter about this record is refused by `{TOPIC_DEAD_LETTER}`; the record is only in its topic"
        );
        self.statistics.letter_refused();
    }

    fn connect(&mut self) -> Result<&BaseProducer<Outcomes>> {
        if self.producer.is_none() {
            let config = self.properties.client_config();
            self.producer = Some(config.create_with_context(Outcomes::default())?);
        }
        Ok(self.producer.as_ref().expect("created above"))
    }
}

fn cannot_write() -> String {
    format!("cannot write to `{TOPIC_DEAD_LETTER}`")
}

/// A letter of at most `bytes_max`: an eighth is for the reason, and what is left for the record.
fn letter(place: &Place, reason: &str, payload: &[u8], bytes_max: usize) -> Vec<u8> {
    let mut letter = vec![b'{'];
    let reason = escaped_beginning(reason.as_bytes(), bytes_max / 8);
    write_member(&mut letter, "logweir.reason", reason);
    letter.push(b',');
    write_member(&mut letter, "logweir.kafka.topic", place.topic.as_bytes());
    let mut number = |key: &str, value: u64| {
        letter.extend_from_slice(format!(",\"{key}\":").as_bytes());
        write_u64(&mut letter, value);
    };
    number("logweir.kafka.partition", u64::try_from(place.partition).unwrap_or(0));
    number("logweir.kafka.offset", u64::try_from(place.offset).unwrap_or(0));
    number("logweir.original_bytes", payload.len() as u64);
    letter.push(b',');
    let room = bytes_max.saturating_sub(letter.len() + FIELD_ORIGINAL.len() + r#""":""}"#.len());
    write_member(&mut letter, FIELD_ORIGINAL, escaped_beginning(payload, room));
    letter.push(b'}');
    letter
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_letter_fits_whatever_the_record_is_made_of() {
        let place = Place { topic: "t".into(), partition: 3, offset: 7 };
        for (text, bytes_max, quoted) in [
            ("\"", 2_000, 0..950),
            ("\u{1}", 2_000, 0..320),
            ("ü", 2_000, 1_500..2_000),
            ("a", 2_000_000, 700_000..700_001),
        ] {
            let payload = text.repeat(700_000 / text.len());
            let letter = letter(&place, &payload, payload.as_bytes(), bytes_max);
            assert!(letter.len() <= bytes_max, "{text}: {}", letter.len());
            let value: Value = serde_json::from_slice(&letter).unwrap();
            assert_eq!(value["logweir.original_bytes"], payload.len());
            let original = value["event.original"].as_str().unwrap();
            assert!(quoted.contains(&original.len()), "{text}: {}", original.len());
            assert!(payload.starts_with(original));
        }
    }
}
