//! What the ingest tells Prometheus, written out from one status, so that every scrape balances.

use super::status::{PartitionStatus, Status};
use logweir_service::Kind::{Counter, Gauge};
use logweir_service::{Exposition, Metric};
use std::collections::BTreeMap;

/// The reasons for which this program sends a record to the dead letters.
const REASONS: [&str; 4] = ["not_json", "no_source", "no_offset", "bad_prev"];

const INFO: Metric = Metric::new(
    "logweir_ingest_info",
    Gauge,
    &["group", "topic", "version"],
    "Always 1; says who answers",
);
const RECEIVED: Metric = Metric::new(
    "logweir_ingest_records_received_total",
    Counter,
    &[],
    "Records that Kafka has handed over",
);
const STORED: Metric = Metric::new(
    "logweir_ingest_events_stored_total",
    Counter,
    &[],
    "Events committed to the table",
);
const SUSPECT: Metric = Metric::new(
    "logweir_ingest_events_suspect_total",
    Counter,
    &[],
    "Of those stored, events whose time is more than a week before their arrival or an hour behind it",
);
const DUPLICATES: Metric = Metric::new(
    "logweir_ingest_duplicates_total",
    Counter,
    &[],
    "Events that the table had already, and that were not written again",
);
const DEAD_LETTERS: Metric = Metric::new(
    "logweir_ingest_dead_letters_total",
    Counter,
    &["reason"],
    "Records that are no events and went to the dead-letter topic, by reason",
);
const LETTERS_REFUSED: Metric = Metric::new(
    "logweir_ingest_dead_letters_refused_total",
    Counter,
    &[],
    "Dead letters, those of sinks too, that the dead-letter topic did not take: the log names their records",
);
const HELD: Metric = Metric::new(
    "logweir_ingest_records_held",
    Gauge,
    &[],
    "Records in memory that the next commits take",
);
const HELD_BYTES: Metric =
    Metric::new("logweir_ingest_held_bytes", Gauge, &[], "Their size as they came");
const GIVEN_BACK: Metric = Metric::new(
    "logweir_ingest_records_given_back_total",
    Counter,
    &[],
    "Records read and not written because another worker had taken their partition, which reads them",
);
const EXPIRED: Metric = Metric::new(
    "logweir_ingest_records_expired_total",
    Counter,
    &[],
    "Records that Kafka had removed before they were read; none of those received",
);
const LAG: Metric = Metric::new(
    "logweir_ingest_lag_records",
    Gauge,
    &["partition"],
    "Records in the topic that are not in the table; absent while the cluster does not say",
);
const LAG_SECONDS: Metric = Metric::new(
    "logweir_ingest_lag_seconds",
    Gauge,
    &["partition"],
    "How long the oldest of them has been in the topic, at most",
);
const OFFSET: Metric = Metric::new(
    "logweir_ingest_stored_offset",
    Gauge,
    &["partition", "worker"],
    "The offset that the table wants next, and the worker that has the partition",
);
const WORKERS: Metric =
    Metric::new("logweir_ingest_workers", Gauge, &[], "Workers of this process");
const COMMITS: Metric =
    Metric::new("logweir_ingest_commits_total", Counter, &[], "Commits to the table");
const REFUSED: Metric = Metric::new(
    "logweir_ingest_commits_refused_total",
    Counter,
    &[],
    "Commits refused because another worker had written a partition",
);
const LAST_COMMIT: Metric = Metric::new(
    "logweir_ingest_last_commit_timestamp_seconds",
    Gauge,
    &[],
    "When the last commit was, in seconds since 1970; absent before the first",
);
const LAST_COMMIT_SECONDS: Metric = Metric::new(
    "logweir_ingest_last_commit_duration_seconds",
    Gauge,
    &[],
    "How long the last commit took, files included",
);
const SINK_WRITTEN: Metric = Metric::new(
    "logweir_ingest_sink_records_written_total",
    Counter,
    &["sink"],
    "Records that a sink beside the table has taken",
);
const SINK_DEAD_LETTERS: Metric = Metric::new(
    "logweir_ingest_sink_dead_letters_total",
    Counter,
    &["sink"],
    "Records that a sink refused for good, now in the dead-letter topic",
);
const SINK_RETRIES: Metric = Metric::new(
    "logweir_ingest_sink_retries_total",
    Counter,
    &["sink"],
    "Attempts at a batch that a sink did not take",
);

/// All of them, in the order of a scrape.
pub(crate) const METRICS: [Metric; 22] = [
    INFO,
    RECEIVED,
    STORED,
    SUSPECT,
    DUPLICATES,
    DEAD_LETTERS,
    LETTERS_REFUSED,
    HELD,
    HELD_BYTES,
    GIVEN_BACK,
    EXPIRED,
    LAG,
    LAG_SECONDS,
    OFFSET,
    WORKERS,
    COMMITS,
    REFUSED,
    LAST_COMMIT,
    LAST_COMMIT_SECONDS,
    SINK_WRITTEN,
    SINK_DEAD_LETTERS,
    SINK_RETRIES,
];

/// A scrape.
pub(super) fn render(status: &Status) -> String {
    let mut out = Exposition::default();
    let info = [status.group.clone(), status.topic.clone(), status.version.to_owned()];
    out.metric(&INFO, [(info, 1.0)]);
    let total = &status.total;
    out.value(&RECEIVED, total.received as f64);
    out.value(&STORED, total.stored as f64);
    out.value(&SUSPECT, total.suspect as f64);
    out.value(&DUPLICATES, total.duplicates as f64);
    let mut dead: BTreeMap<&str, u64> = REASONS.into_iter().map(|reason| (reason, 0)).collect();
    dead.extend(&total.dead_letters);
    out.metric(&DEAD_LETTERS, dead.into_iter().map(|(word, n)| ([word.to_owned()], n as f64)));
    out.value(&LETTERS_REFUSED, status.letters_refused as f64);
    out.value(&HELD, total.held as f64);
    let held_bytes: u64 = status.partitions.iter().map(|partition| partition.seen.held_bytes).sum();
    out.value(&HELD_BYTES, held_bytes as f64);
    out.value(&GIVEN_BACK, total.given_back as f64);
    out.value(&EXPIRED, total.expired as f64);
    let known = |value: fn(&PartitionStatus) -> Option<f64>| {
        let partitions = status.partitions.iter();
        partitions.filter_map(move |it| Some(([it.partition.to_string()], value(it)?)))
    };
    out.metric(&LAG, known(|partition| partition.lag.map(|lag| lag as f64)));
    out.metric(&LAG_SECONDS, known(|partition| partition.lag_ms.map(|ms| ms as f64 / 1000.0)));
    let offsets = status.partitions.iter().map(|it| {
        ([it.partition.to_string(), it.seen.worker.to_string()], it.seen.stored_offset as f64)
    });
    out.metric(&OFFSET, offsets);
    out.value(&WORKERS, status.workers as f64);
    let commits = &status.commits;
    out.value(&COMMITS, commits.commits as f64);
    out.value(&REFUSED, commits.refused as f64);
    let last = commits.last_at_ms;
    out.metric(&LAST_COMMIT, last.map(|ms| ([], ms as f64 / 1000.0)));
    out.metric(&LAST_COMMIT_SECONDS, last.map(|_| ([], commits.last_took_ms as f64 / 1000.0)));
    sinks(&mut out, status);
    out.finish()
}

fn sinks(out: &mut Exposition, status: &Status) {
    let name = |sink: &super::SinkStatus| [sink.name.clone()];
    out.metric(&SINK_WRITTEN, status.sinks.iter().map(|it| (name(it), it.written as f64)));
    out.metric(
        &SINK_DEAD_LETTERS,
        status.sinks.iter().map(|it| (name(it), it.dead_letters as f64)),
    );
    out.metric(&SINK_RETRIES, status.sinks.iter().map(|it| (name(it), it.retries as f64)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_ingest_has_every_metric() {
        let page = include_str!("../../../../docs/ingest-status.md");
        assert!(
            page.contains(&logweir_service::reference(&METRICS)),
            "update docs/ingest-status.md with\n{}",
            logweir_service::reference(&METRICS)
        );
    }
}
