//! A consumer that only asks: it logs in by whatever the properties say, and takes no part in a group.

use crate::properties::Properties;
use crate::token;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use std::error::Error;
use std::time::Duration;

/// As [`consumer`] makes it. Polled now and then, it goes on having a token that holds.
pub type Asking = BaseConsumer<Quiet>;

/// Makes a consumer that is assigned nothing; nothing is asked of the cluster yet.
///
/// # Errors
/// A property that librdkafka refuses.
pub fn consumer(properties: &Properties) -> KafkaResult<Asking> {
    let consumer: Asking = properties.client_config().create_with_context(Quiet)?;
    // Nothing else lets the client ask for the token with which it logs in.
    let _ = consumer.poll(Duration::ZERO);
    Ok(consumer)
}

/// What the client says about itself is for those who look for a fault.
#[derive(Debug)]
pub struct Quiet;

impl ClientContext for Quiet {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, path: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::of_file(path)
    }

    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Quiet {}
