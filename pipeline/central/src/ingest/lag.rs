//! How far the table is behind the topic, by asking the cluster for the ends of its partitions.

use super::Statistics;
use anyhow::Result;
use logweir_kafka::properties::Properties;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A client that only asks; it is in no group.
pub struct LagMonitor {
    client: BaseConsumer,
    topic: String,
}

impl std::fmt::Debug for LagMonitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LagMonitor").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl LagMonitor {
    /// # Errors
    /// A property that librdkafka refuses.
    pub fn new(consumer: &Properties, topic: &str) -> Result<Self> {
        Ok(Self { client: consumer.client_config().create()?, topic: topic.to_owned() })
    }

    /// The records that are in the partitions of this process and not yet in the table; `None` if
    /// the cluster does not answer.
    #[must_use]
    pub fn lag(&self, statistics: &Statistics) -> Option<u64> {
        let mut lag = 0;
        for (partition, seen) in statistics.snapshot() {
            if seen.assigned {
                let (_, end) =
                    self.client.fetch_watermarks(&self.topic, partition, TIMEOUT).ok()?;
                lag += u64::try_from(end - seen.stored_offset).unwrap_or(0);
            }
        }
        Some(lag)
    }
}
