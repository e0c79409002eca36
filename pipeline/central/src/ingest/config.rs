//! The configuration of `logweir ingest`.

use super::reference::REFERENCE;
use super::status::StatusPlace;
use crate::sinks::SinkConfig;
use logweir_document::{Diagnostic, Document, Faults, Layers, Table};
use logweir_kafka::properties::{Properties, Role};
use logweir_record::TOPIC_EVENTS;
use logweir_service::{Listen, LogConfig};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The consumer group that is used unless the configuration names another.
pub const GROUP_DEFAULT: &str = "logweir-ingest";
/// How long an event may wait in a worker before it is written: analysts see events about this
/// late, and each flush of each worker is one commit of the table.
pub const FLUSH_INTERVAL_DEFAULT: Duration = Duration::from_millis(500);
/// A large `flush.bytes` makes files that wait for the flush; a vacuum would remove them after an hour.
pub(super) const FLUSH_INTERVAL_MAX: Duration = Duration::from_secs(30 * 60);
/// A worker writes before the interval ends once it holds this much of a partition.
pub const FLUSH_BYTES_DEFAULT: u64 = 64 << 20;

/// What the workers may hold, for each of them, if the configuration does not say.
const WORKER_BYTES_DEFAULT: u64 = 256 << 20;
/// With less a worker would write a file for every few events.
pub(super) const MEMORY_MIN: u64 = 32 << 20;

/// What `logweir ingest` needs to know.
#[derive(Debug, Clone)]
pub struct IngestConfig {
    /// Consumer properties; `group.id` is among them.
    pub kafka: Properties,
    pub group: String,
    pub topic: String,
    /// One consumer, on a thread of its own, per worker.
    pub workers: NonZeroUsize,
    /// Whether each worker stays on a core of its own.
    pub pin: bool,
    pub store: PathBuf,
    pub flush_interval: Duration,
    pub flush_bytes: u64,
    /// What all workers together may hold in memory.
    pub memory_max: u64,
    /// Whole days older than this are removed; `None` keeps everything.
    pub retention: Option<Duration>,
    /// Where events go besides the table.
    pub sinks: Vec<SinkConfig>,
    /// Where the ingest is asked how it goes.
    pub status: StatusPlace,
    /// Where metrics are answered.
    pub metrics: Option<Listen>,
    /// What it says about itself.
    pub log: LogConfig,
}

/// What a configuration is put together of.
#[must_use]
pub fn layers(path: &Path) -> Layers<'_> {
    let first = "`logweir config sample` prints a first one";
    Layers { main: path, parts: "ingest.d", first, reference: &REFERENCE }
}

impl IngestConfig {
    /// Reads `document`; all faults are reported together.
    ///
    /// # Errors
    /// Every fault of the document.
    pub fn read(document: &Document) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Faults::of(document, &REFERENCE);
        let config = Self::sections(document, &mut faults);
        match config {
            Some(config) if !faults.has_errors() => Ok(config),
            _ => Err(faults.into_list()),
        }
    }

    /// The same with the secrets that stand in their files now.
    #[must_use]
    pub fn refreshed(&self) -> Self {
        Self { kafka: self.kafka.refreshed(), ..self.clone() }
    }

    /// Reads the document; what is wrong with it is noted.
    pub(crate) fn sections(document: &Document, faults: &mut Faults) -> Option<Self> {
        let mut root = Table::open(&document.root, "", faults)?;
        let kafka = root.required("kafka", faults);
        if let Some(table) = root.table("kafka", faults) {
            table.leave_others(faults);
        }
        let kafka = kafka.and_then(|node| Properties::read(node, "kafka", Role::Consumer, faults));
        let topic = root.string("topic", faults).unwrap_or(TOPIC_EVENTS).to_owned();
        let workers = workers(&mut root, faults);
        let pin = root.boolean("pin", faults).unwrap_or(false);
        let mut path = None;
        let mut flush_interval = FLUSH_INTERVAL_DEFAULT;
        let mut flush_bytes = FLUSH_BYTES_DEFAULT;
        let mut retention = None;
        if root.required("store", faults).is_some()
            && let Some(mut store) = root.table("store", faults)
        {
            path = store.required_path("path", faults);
            flush_interval = store
                .duration_within("flush.interval", Duration::ZERO..=FLUSH_INTERVAL_MAX, faults)
                .unwrap_or(flush_interval);
            flush_bytes = store.byte_size("flush.bytes", faults).unwrap_or(flush_bytes);
            retention = store.duration("retention", faults);
            store.finish(faults);
        }
        let count = workers.map_or(1, |workers| workers.get() as u64);
        let memory_max = root
            .byte_size_within("memory_max", MEMORY_MIN..=u64::MAX, faults)
            .unwrap_or(count * WORKER_BYTES_DEFAULT);
        let sinks = SinkConfig::read_all(&mut root, faults);
        let status = status(&mut root, faults);
        let metrics = logweir_agent::metrics_listen(&mut root, faults);
        let log = logweir_agent::log_config(&mut root, faults);
        root.finish(faults);
        let mut kafka = kafka?;
        let group = kafka.get("group.id").unwrap_or(GROUP_DEFAULT).to_owned();
        kafka.set("group.id", &group);
        let (workers, store) = (workers?, path?);
        Some(Self {
            kafka,
            group,
            topic,
            workers,
            pin,
            store,
            flush_interval,
            flush_bytes,
            memory_max,
            retention,
            sinks,
            status,
            metrics,
            log,
        })
    }

    /// How many bytes of records a worker holds before it writes, whatever the partitions. In columns, and
    /// compressed into a file, they need about twice as much once more.
    pub(super) fn held_max(&self) -> u64 {
        self.memory_max / self.workers.get() as u64 / 4
    }

    /// How many bytes of records a worker lets its client fetch ahead.
    pub(super) fn fetched_max(&self) -> u64 {
        self.memory_max / self.workers.get() as u64 / 8
    }
}

fn status(root: &mut Table<'_>, faults: &mut Faults) -> StatusPlace {
    let Some(mut table) = root.table("status", faults) else { return StatusPlace::Default };
    let path = table.required_path("socket", faults);
    table.finish(faults);
    path.map_or(StatusPlace::Default, StatusPlace::Told)
}

/// `cores` (the default) or a number.
fn workers(root: &mut Table<'_>, faults: &mut Faults) -> Option<NonZeroUsize> {
    let Some(node) = root.node("workers") else { return Some(cores()) };
    match node.text() {
        Some("cores") => Some(cores()),
        Some(text) if text.parse::<NonZeroUsize>().is_ok_and(|n| n.get() <= 1024) => {
            text.parse().ok()
        }
        _ => {
            let shown = node.text().unwrap_or(node.kind());
            faults.error(node.span, format!("`workers` is `{shown}`")).remedy =
                Some("write `cores` or a number from 1 to 1024".into());
            None
        }
    }
}

/// The cores that this process may use.
#[must_use]
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_document::{parse, render_all};

    fn read(more: &str) -> Result<IngestConfig, String> {
        let text = format!("kafka: {{bootstrap.servers: 'a:1'}}\nstore: {{path: /x}}\n{more}");
        let document = parse("ingest.yaml", &text).unwrap();
        IngestConfig::read(&document).map_err(|faults| render_all(&faults, false))
    }

    #[test]
    fn what_the_workers_may_hold_is_shared_out_and_has_a_least() {
        let config = read("workers: 4\nmemory_max: 512MiB\n").unwrap();
        assert_eq!((config.held_max(), config.fetched_max()), (32 << 20, 16 << 20));
        assert_eq!(read("workers: 3\n").unwrap().memory_max, 768 << 20);
        let refused = read("memory_max: 31MiB\n").unwrap_err();
        assert!(refused.contains("memory_max"), "{refused}");
    }

    #[test]
    fn no_flush_waits_for_longer_than_its_files_may() {
        let read = |interval: &str| {
            let store = format!("store: {{path: /x, flush.interval: {interval}}}");
            let text = format!("kafka: {{bootstrap.servers: a}}\n{store}\n");
            let read = IngestConfig::read(&parse("ingest.yaml", &text).unwrap());
            read.err().map(|faults| render_all(&faults, false))
        };
        assert_eq!(read("30m"), None);
        let told = read("31m").unwrap();
        assert!(told.contains("`store.flush.interval` is `31m`"), "{told}");
        assert!(told.contains("write a duration of at most 30m"), "{told}");
    }

    #[test]
    fn a_table_needs_a_place() {
        let document =
            parse("ingest.yaml", "kafka: {bootstrap.servers: a}\nstore: {path: ''}\n").unwrap();
        let told = render_all(&IngestConfig::read(&document).unwrap_err(), false);
        assert!(told.starts_with("ingest.yaml:2:15: error: `path` is empty"), "{told}");
    }
}
