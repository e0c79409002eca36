//! What the agent tells Prometheus: one table of metrics, written out from a snapshot.
//!
//! Every scrape is one snapshot, so read = delivered + held + dropped holds in it, for each source as it
//! is configured and for all together. There is no metric per file but how far it is behind, and that
//! for a bounded number of files: counters by file are in `logweir-agent status`.

use crate::accounting::{
    ConfiguredSnapshot, Counts, ListenerSnapshot, OWN_REASONS, Snapshot, SourceSnapshot,
};
use crate::published::PublishedSnapshot;
use logweir_service::Kind::{Counter, Gauge};
use logweir_service::{Exposition, Metric};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Sources that are named in a scrape; those that are furthest behind.
const SOURCES_MAX: usize = 500;

const INFO: Metric = Metric::new(
    "logweir_agent_info",
    Gauge,
    &["agent_id", "agent_name", "version"],
    "Always 1; says who answers",
);
const READ: Metric = Metric::new(
    "logweir_agent_events_read_total",
    Counter,
    &[],
    "Lines and messages taken since the start; begins lower when a failed producer is replaced, as what it held is read again",
);
const DELIVERED: Metric = Metric::new(
    "logweir_agent_events_delivered_total",
    Counter,
    &[],
    "Events that Kafka has acknowledged",
);
const HELD: Metric = Metric::new(
    "logweir_agent_events_held",
    Gauge,
    &[],
    "Events read and not yet acknowledged; for network inputs also those in the spool",
);
const DROPPED: Metric = Metric::new(
    "logweir_agent_events_dropped_total",
    Counter,
    &["reason"],
    "Events that do not go to the events' topic, by reason",
);
const SOURCE_READ: Metric = Metric::new(
    "logweir_agent_source_events_read_total",
    Counter,
    &["source"],
    "Of `logweir_agent_events_read_total`, those of a source as it is configured",
);
const SOURCE_DELIVERED: Metric = Metric::new(
    "logweir_agent_source_events_delivered_total",
    Counter,
    &["source"],
    "Of `logweir_agent_events_delivered_total`, those of a source as it is configured",
);
const SOURCE_HELD: Metric = Metric::new(
    "logweir_agent_source_events_held",
    Gauge,
    &["source"],
    "Of `logweir_agent_events_held`, those of a source as it is configured",
);
const SOURCE_DROPPED: Metric = Metric::new(
    "logweir_agent_source_events_dropped_total",
    Counter,
    &["source", "reason"],
    "Of `logweir_agent_events_dropped_total`, those of a source as it is configured",
);
const PARSED: Metric = Metric::new(
    "logweir_agent_events_parsed_total",
    Counter,
    &[],
    "Events sent that a rule matched",
);
const UNPARSED: Metric = Metric::new(
    "logweir_agent_events_unparsed_total",
    Counter,
    &[],
    "Events sent that no rule matched",
);
const READ_BYTES: Metric = Metric::new(
    "logweir_agent_read_bytes_total",
    Counter,
    &[],
    "Bytes of the sources that were read",
);
const NUL_BYTES: Metric = Metric::new(
    "logweir_agent_nul_skipped_bytes_total",
    Counter,
    &[],
    "Bytes with the value 0 in front of lines, skipped",
);
const KAFKA_UP: Metric = Metric::new(
    "logweir_agent_kafka_up",
    Gauge,
    &[],
    "1 if Kafka has the topic and can be reached",
);
const KAFKA_IN_FLIGHT: Metric = Metric::new(
    "logweir_agent_kafka_in_flight_messages",
    Gauge,
    &[],
    "Messages in the producer's queue or on their way",
);
const KAFKA_RESTARTS: Metric = Metric::new(
    "logweir_agent_kafka_producer_restarts_total",
    Counter,
    &[],
    "How often the producer was made anew after a failure",
);
const OPEN_FILES: Metric = Metric::new(
    "logweir_agent_open_files",
    Gauge,
    &[],
    "Log files that are open; those at rest may be closed",
);
const WATCH_OVERFLOWS: Metric = Metric::new(
    "logweir_agent_watch_overflows_total",
    Counter,
    &[],
    "How often more files changed than the kernel could tell, so that all were looked at",
);
const FILES_LOST: Metric = Metric::new(
    "logweir_agent_files_lost_total",
    Counter,
    &[],
    "Files that were gone before all that was known to be in them was read",
);
const LOST_BYTES: Metric = Metric::new(
    "logweir_agent_lost_bytes_total",
    Counter,
    &[],
    "What was not read of files that were gone; if such a file comes back, it is read on",
);
const PARTITIONS_STUCK: Metric = Metric::new(
    "logweir_agent_kafka_partitions_stuck",
    Gauge,
    &[],
    "Partitions that were sent something and have acknowledged nothing for ten seconds",
);
const CHECKPOINT_ERRORS: Metric = Metric::new(
    "logweir_agent_checkpoint_errors_total",
    Counter,
    &[],
    "Failures to write the checkpoint",
);
const PUBLISHED_VERSION: Metric = Metric::new(
    "logweir_agent_published_rules_version",
    Gauge,
    &["group"],
    "The version of the published rules in use, 0 for none; only where rules are taken from the topic",
);
const PUBLISHED_REFUSED: Metric = Metric::new(
    "logweir_agent_published_rules_refused_total",
    Counter,
    &["group"],
    "Published rule sets that were refused or given up",
);
const LAG: Metric = Metric::new(
    "logweir_agent_lag_bytes",
    Gauge,
    &[],
    "Bytes of all sources that Kafka has not acknowledged",
);
const SOURCES: Metric =
    Metric::new("logweir_agent_sources", Gauge, &["kind"], "Files that are read, and spools");
const SOURCE_LAG: Metric = Metric::new(
    "logweir_agent_source_lag_bytes",
    Gauge,
    &["kind", "name"],
    "Bytes of a source that Kafka has not acknowledged; of the 500 sources furthest behind",
);
const SPOOL_BYTES: Metric =
    Metric::new("logweir_agent_spool_bytes", Gauge, &["name"], "What a spool takes on disk");
const SPOOL_LIMIT: Metric = Metric::new(
    "logweir_agent_spool_limit_bytes",
    Gauge,
    &["name"],
    "What a spool may take on disk",
);
const SPOOL_UNSYNCED: Metric = Metric::new(
    "logweir_agent_spool_unsynced_bytes",
    Gauge,
    &["name"],
    "What a power cut at this moment would take",
);
const SPOOL_FAILED: Metric = Metric::new(
    "logweir_agent_spool_failed",
    Gauge,
    &["name"],
    "1 while the disk fails and nothing is taken",
);
const CONNECTIONS: Metric = Metric::new(
    "logweir_agent_listener_connections",
    Gauge,
    &["listener"],
    "Connections that are open",
);
const REFUSED: Metric = Metric::new(
    "logweir_agent_listener_closed_total",
    Counter,
    &["listener", "reason"],
    "Connections that the agent closed, by reason",
);

/// All of them, in the order of a scrape.
pub(crate) const METRICS: [Metric; 33] = [
    INFO,
    READ,
    DELIVERED,
    HELD,
    DROPPED,
    SOURCE_READ,
    SOURCE_DELIVERED,
    SOURCE_HELD,
    SOURCE_DROPPED,
    PARSED,
    UNPARSED,
    READ_BYTES,
    NUL_BYTES,
    KAFKA_UP,
    KAFKA_IN_FLIGHT,
    KAFKA_RESTARTS,
    OPEN_FILES,
    PUBLISHED_VERSION,
    PUBLISHED_REFUSED,
    WATCH_OVERFLOWS,
    FILES_LOST,
    LOST_BYTES,
    PARTITIONS_STUCK,
    CHECKPOINT_ERRORS,
    LAG,
    SOURCES,
    SOURCE_LAG,
    SPOOL_BYTES,
    SPOOL_LIMIT,
    SPOOL_UNSYNCED,
    SPOOL_FAILED,
    CONNECTIONS,
    REFUSED,
];

/// A scrape.
pub(crate) fn render(snapshot: &Snapshot) -> String {
    let mut out = Exposition::default();
    let info = [&snapshot.agent_id, &snapshot.agent_name, snapshot.version].map(str::to_owned);
    out.metric(&INFO, [(info, 1.0)]);
    let counts = &snapshot.counts;
    out.value(&READ, counts.read as f64);
    out.value(&DELIVERED, counts.delivered as f64);
    out.value(&HELD, counts.held as f64);
    let dropped = dropped(counts).into_iter();
    out.metric(&DROPPED, dropped.map(|(word, count)| ([word.to_owned()], count as f64)));
    configured(&mut out, &snapshot.configured);
    out.value(&PARSED, counts.parsed as f64);
    out.value(&UNPARSED, counts.unparsed as f64);
    out.value(&READ_BYTES, counts.bytes_read as f64);
    out.value(&NUL_BYTES, counts.nul_bytes_skipped as f64);
    out.value(&KAFKA_UP, f64::from(u8::from(snapshot.kafka == "up")));
    out.value(&KAFKA_IN_FLIGHT, snapshot.kafka_in_flight as f64);
    out.value(&KAFKA_RESTARTS, snapshot.kafka_restarts as f64);
    out.value(&OPEN_FILES, snapshot.open_files as f64);
    out.value(&WATCH_OVERFLOWS, snapshot.watch_overflows as f64);
    out.value(&FILES_LOST, snapshot.files_lost as f64);
    out.value(&LOST_BYTES, snapshot.bytes_lost as f64);
    out.value(&PARTITIONS_STUCK, snapshot.kafka_partitions_stuck as f64);
    out.value(&CHECKPOINT_ERRORS, snapshot.checkpoint_errors as f64);
    let published = || snapshot.published.iter().map(|of| ([of.group.clone()], of));
    let version = |of: &PublishedSnapshot| of.version.unwrap_or(0) as f64;
    out.metric(&PUBLISHED_VERSION, published().map(|(group, of)| (group, version(of))));
    let refused = |of: &PublishedSnapshot| of.refusals as f64;
    out.metric(&PUBLISHED_REFUSED, published().map(|(group, of)| (group, refused(of))));
    out.value(&LAG, lag(snapshot) as f64);
    sources(&mut out, &snapshot.sources);
    listeners(&mut out, &snapshot.listeners);
    out.finish()
}

fn configured(out: &mut Exposition, configured: &[ConfiguredSnapshot]) {
    let values = |value: fn(&Counts) -> u64| {
        configured.iter().map(move |of| ([of.source.clone()], value(&of.counts) as f64))
    };
    out.metric(&SOURCE_READ, values(|counts| counts.read));
    out.metric(&SOURCE_DELIVERED, values(|counts| counts.delivered));
    out.metric(&SOURCE_HELD, values(|counts| counts.held));
    let dropped = configured.iter().flat_map(|of| {
        let labels = |word: &str| [of.source.clone(), word.to_owned()];
        dropped(&of.counts).into_iter().map(move |(word, count)| (labels(word), count as f64))
    });
    out.metric(&SOURCE_DROPPED, dropped);
}

/// Counts by reason, also of the agent's own ones that did not occur: a series that begins with its
/// first event shows no increase by it.
fn dropped(counts: &Counts) -> BTreeMap<&'static str, u64> {
    let mut dropped: BTreeMap<_, _> =
        OWN_REASONS.into_iter().map(|reason| (reason.word(), 0)).collect();
    dropped.extend(&counts.dropped);
    dropped
}

/// Bytes of all sources that are not acknowledged.
pub(crate) fn lag(snapshot: &Snapshot) -> u64 {
    snapshot.sources.iter().map(SourceSnapshot::bytes_behind).sum()
}

fn sources(out: &mut Exposition, sources: &[SourceSnapshot]) {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    // A rotated file and the one that took its place may have one name for a moment.
    let mut behind: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for source in sources {
        *kinds.entry(source.kind).or_default() += 1;
        *behind.entry((source.kind, &source.name)).or_default() += source.bytes_behind();
    }
    out.metric(&SOURCES, kinds.into_iter().map(|(kind, n)| ([kind.to_owned()], n as f64)));
    let mut behind: Vec<_> = behind.into_iter().collect();
    behind.sort_by_key(|(_, bytes)| Reverse(*bytes));
    behind.truncate(SOURCES_MAX);
    let named = behind.into_iter().map(|((kind, name), bytes)| ([kind, name], bytes));
    out.metric(&SOURCE_LAG, named.map(|(labels, n)| (labels.map(str::to_owned), n as f64)));
    let spools = |value: fn(&crate::spool::SpoolSnapshot) -> u64| {
        let spools =
            sources.iter().filter_map(|source| Some((&source.name, source.spool.as_ref()?)));
        let values: BTreeMap<&String, u64> =
            spools.map(|(name, spool)| (name, value(spool))).collect();
        values.into_iter().map(|(name, value)| ([name.clone()], value as f64)).collect::<Vec<_>>()
    };
    out.metric(&SPOOL_BYTES, spools(|spool| spool.bytes));
    out.metric(&SPOOL_LIMIT, spools(|spool| spool.bytes_max));
    out.metric(&SPOOL_UNSYNCED, spools(|spool| spool.unsynced_bytes));
    out.metric(&SPOOL_FAILED, spools(|spool| u64::from(spool.failed)));
}

fn listeners(out: &mut Exposition, listeners: &[ListenerSnapshot]) {
    let name = |listener: &ListenerSnapshot| {
        let places = [
            &listener.udp,
            &listener.tcp,
            &listener.tls,
            &listener.unix_datagram,
            &listener.unix_stream,
        ];
        let places: Vec<&str> = places.into_iter().flatten().map(String::as_str).collect();
        places.join(" ")
    };
    let open = listeners.iter().map(|l| ([name(l)], l.connections_open as f64));
    out.metric(&CONNECTIONS, open);
    let refused = listeners.iter().flat_map(|listener| {
        [
            ("too_many", listener.connections_refused),
            ("not_allowed", listener.senders_refused),
            ("idle", listener.idle_closed),
            ("handshake", listener.handshake_failures),
            ("framing", listener.framing_errors),
        ]
        .map(|(reason, count)| ([name(listener), reason.to_owned()], count as f64))
    });
    out.metric(&REFUSED, refused);
}
