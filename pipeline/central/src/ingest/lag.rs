//! How far the table is behind the topic, and how fast: a thread that asks the cluster for the ends of
//! the partitions and looks at the counts.
//!
//! Whoever wants to know looks at the statistics and never waits for the cluster.

use super::statistics::Statistics;
use super::worker::created_anew;
use anyhow::Result;
use logweir_kafka::Asking;
use logweir_kafka::properties::Properties;
use rdkafka::consumer::Consumer as _;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_secs(2);
/// Rates are over as many intervals: longer than a flush of an object store.
const RATE_INTERVALS: usize = 6;

/// Starts the thread; it ends soon after `stop` once it is unparked, and by itself, with the reason, if
/// the topic has lost what the table has of it.
///
/// # Errors
/// A property that librdkafka refuses.
pub(super) fn start(
    consumer: &Properties,
    topic: &str,
    statistics: Arc<Statistics>,
    stop: Arc<AtomicBool>,
) -> Result<JoinHandle<Result<()>>> {
    // It only asks, and never joins the group.
    let mut monitor = Monitor {
        client: logweir_kafka::consumer(consumer)?,
        topic: topic.to_owned(),
        statistics,
        earlier: VecDeque::new(),
        short: BTreeSet::new(),
    };
    let run = move || {
        while !stop.load(Ordering::Acquire) {
            monitor.look()?;
            std::thread::park_timeout(INTERVAL);
        }
        Ok(())
    };
    Ok(std::thread::Builder::new().name("lag".into()).spawn(run)?)
}

struct Monitor {
    client: Asking,
    topic: String,
    statistics: Arc<Statistics>,
    /// Records received of each partition, at moments of the last [`RATE_INTERVALS`].
    earlier: VecDeque<(Instant, BTreeMap<i32, u64>)>,
    /// Partitions that ended before what the table has, when they were looked at last. Only twice in a
    /// row it is so: who has just become the leader of a partition may not know of its last records yet.
    short: BTreeSet<i32>,
}

impl Monitor {
    fn look(&mut self) -> Result<()> {
        self.rates();
        let _ = self.client.poll(Duration::ZERO);
        let mut answers = true;
        for (partition, before) in self.statistics.snapshot().assigned() {
            // One that does not answer is waited for, not one for each partition.
            let end = answers
                .then(|| self.client.fetch_watermarks(&self.topic, partition, TIMEOUT).ok())
                .flatten()
                .map(|(_, end)| end);
            answers = end.is_some();
            let stored = before.stored_offset;
            match end.filter(|end| *end < stored) {
                None => _ = self.short.remove(&partition),
                Some(end) if !self.short.insert(partition) => {
                    let but = format!("the topic ends at {end}");
                    return Err(created_anew(&self.topic, (partition, stored), &but));
                }
                Some(_) => {}
            }
            let now_ms = now_ms();
            self.statistics.update(partition, |seen| {
                seen.end_offset = end;
                if seen.lag() == Some(0) {
                    seen.complete_at_ms = Some(now_ms);
                }
            });
        }
        Ok(())
    }

    fn rates(&mut self) {
        let now = Instant::now();
        let seen = self.statistics.snapshot();
        let counts: BTreeMap<i32, u64> =
            seen.partitions.iter().map(|(id, seen)| (*id, seen.tally.received)).collect();
        if let Some((then, earlier)) = self.earlier.front() {
            let seconds = (now - *then).as_secs_f64().max(0.001);
            for (partition, count) in &counts {
                let since = count - earlier.get(partition).copied().unwrap_or(0).min(*count);
                self.statistics.update(*partition, |seen| seen.rate = since as f64 / seconds);
            }
        }
        self.earlier.push_back((now, counts));
        if self.earlier.len() > RATE_INTERVALS {
            self.earlier.pop_front();
        }
    }
}

/// Milliseconds since 1970, as Kafka counts.
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
