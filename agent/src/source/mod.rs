//! Sources: where events come from.
//!
//! A file is its own buffer: it is read only as fast as Kafka takes it. What comes over the network
//! or a pipe goes into a spool first, and flows from there like a file.

pub(crate) mod file;
pub(crate) mod heads;
pub(crate) mod journald;
pub(crate) mod spooled;
pub(crate) mod stdin;
pub(crate) mod syslog;

use crate::accounting::{Counts, SourceSnapshot};
use crate::checkpoint::Checkpoint;
use crate::config::{Common, SpoolConfig};
use crate::delivery::{Courier, Lane, Position};
use crate::parsing::Selection;
use crate::pipeline::Route;
use crate::source::spooled::SpoolTail;
use crate::spool::{AppendError, Settings};
use crate::state_dir::random_hex;
use crate::sync::lock;
use crate::workers::{Queue, Work};
use logweir_record::{Agent, Envelope, SealKey, SourceId};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What all sources of an agent share.
#[derive(Debug)]
pub(crate) struct Context {
    pub agent: Agent,
    /// For the seals of events, see docs/integrity.md.
    pub seal_key: Option<SealKey>,
    /// Part of the ids of spools and journals; see [`Checkpoint`].
    pub salt: String,
    /// Random, of this run, and how many ids were made of it.
    new_ids: (String, AtomicU64),
    pub checkpoint: Arc<Checkpoint>,
    pub courier: Arc<Courier>,
    pub queue: Queue,
    retired: Mutex<Retired>,
}

/// Sources that are not read any more.
#[derive(Debug, Default)]
struct Retired {
    /// Those that have something on its way.
    leaving: Vec<Leaving>,
    /// What the others came to.
    past: ByConfigured,
}

/// Counts by configured source, see [`Route::configured`].
pub(crate) type ByConfigured = BTreeMap<Arc<str>, Counts>;

#[derive(Debug)]
struct Leaving {
    lane: Arc<Lane>,
    slot: u32,
    configured: Arc<str>,
    kind: &'static str,
    name: String,
}

impl Context {
    #[must_use]
    pub(crate) fn new(
        agent: Agent,
        seal_key: Option<SealKey>,
        checkpoint: Arc<Checkpoint>,
        courier: Arc<Courier>,
        queue: Queue,
    ) -> Self {
        let salt = checkpoint.salt();
        let new_ids = (random_hex(), AtomicU64::default());
        let retired = Mutex::default();
        Self { agent, seal_key, salt, new_ids, checkpoint, courier, queue, retired }
    }

    /// The id of a file's content that is read for the first time. What tells files apart may come again
    /// with other content, and a count of contents is lost with the checkpoint's entry; but the table
    /// remembers ids, and takes what comes under a known one for repeats. So it is random, and stands in
    /// that entry alone.
    #[must_use]
    pub(crate) fn new_file_id(&self) -> SourceId {
        let (random, count) = &self.new_ids;
        let number = count.fetch_add(1, Ordering::Relaxed);
        SourceId::derive(&[b"file", random.as_bytes(), &number.to_le_bytes()])
    }

    /// The lane of a new source, which the checkpoint is to follow.
    #[must_use]
    pub(crate) fn lane(&self, id: SourceId, acked: Position, partition: Option<i32>) -> Lane {
        Lane::new(id, acked, partition, self.checkpoint.changes())
    }

    /// The way of a new source. `kind` is its `input.type`, `members` are further constant fields.
    #[must_use]
    pub(crate) fn route(
        &self,
        lane: Arc<Lane>,
        kind: &str,
        members: &[(&str, &[u8])],
        common: &Common,
    ) -> Route {
        let slot = self.courier.register(&lane);
        self.routed(lane, slot, kind, members, common)
    }

    /// The way of a source that is told something else than before.
    #[must_use]
    pub(crate) fn reroute(&self, route: &Route, kind: &str, common: &Common) -> Route {
        self.routed(route.lane.clone(), route.slot, kind, &[], common)
    }

    fn routed(
        &self,
        lane: Arc<Lane>,
        slot: u32,
        kind: &str,
        members: &[(&str, &[u8])],
        common: &Common,
    ) -> Route {
        let members: Vec<(&str, &[u8])> = std::iter::once(("input.type", kind.as_bytes()))
            .chain(members.iter().copied())
            .collect();
        let envelope =
            Envelope::new(&self.agent, lane.id(), &members).sealed(self.seal_key.clone());
        let envelope = common.labels.iter().fold(envelope, |envelope, (name, value)| {
            envelope.with_fallback(name, value.as_bytes())
        });
        // What no configuration says is counted by its kind: the agent's own heads, and what an
        // earlier configuration has left in a spool.
        let configured = if common.place.is_empty() { kind.into() } else { common.place.clone() };
        Route { lane, slot, configured, envelope, selection: Selection::of(common) }
    }

    /// The source of `route` is not read any more; what it has on its way is waited for.
    pub(crate) fn retire(&self, route: &Route, kind: &'static str, name: &str) {
        let (lane, slot, configured) = (route.lane.clone(), route.slot, route.configured.clone());
        let leaving = Leaving { lane, slot, configured, kind, name: name.to_owned() };
        lock(&self.retired).leaving.push(leaving);
    }

    /// Whether a source that is not read any more has something on its way.
    pub(crate) fn is_leaving(&self, source: &str) -> bool {
        lock(&self.retired).leaving.iter().any(|leaving| leaving.lane.id().to_string() == source)
    }

    /// Follows retired sources for the checkpoint, and lets go of those that have nothing on its way any
    /// more.
    pub(crate) fn sweep(&self) {
        let retired = &mut *lock(&self.retired);
        let past = &mut retired.past;
        retired.leaving.retain(|leaving| {
            let settled = leaving.lane.is_settled();
            self.checkpoint.advance(leaving.lane.id(), leaving.lane.acked());
            if settled {
                self.courier.unregister(leaving.slot);
                let past = past.entry(leaving.configured.clone()).or_default();
                past.add(&leaving.lane.counts().2);
            }
            !settled
        });
    }

    /// What retired sources came to, and those of them that have something on its way.
    #[must_use]
    pub(crate) fn retired(&self) -> (ByConfigured, Vec<SourceSnapshot>) {
        let retired = lock(&self.retired);
        let leaving = retired.leaving.iter().map(|leaving| {
            let (kind, name) = (leaving.kind, leaving.name.clone());
            lane_snapshot(&leaving.lane, &leaving.configured, (kind, name), None)
        });
        (retired.past.clone(), leaving.collect())
    }

    /// Writes the checkpoint; a failure is told and counted, and does no harm but repeats, and that what
    /// is new waits. Returns whether it is written.
    pub(crate) fn save_checkpoint(&self) -> bool {
        let failed_before = self.checkpoint.fails();
        let saved = self.checkpoint.save();
        let state_dir = self.checkpoint.directory().display();
        match &saved {
            Err(error) if !failed_before => tracing::error!(
                %state_dir,
                %error,
                "the checkpoint cannot be written; the agent goes on, and sends again after a \
                 restart what was acknowledged since the last one; files that it has not begun yet \
                 wait until it can be written"
            ),
            Ok(()) if failed_before => {
                tracing::info!(%state_dir, "the checkpoint can be written again");
            }
            _ => {}
        }
        saved.is_ok()
    }
}

/// The state of a source by its lane. `end_offset` is where the source ends, if it goes on.
pub(crate) fn lane_snapshot(
    lane: &Lane,
    configured: &Arc<str>,
    (kind, name): (&'static str, String),
    end_offset: Option<u64>,
) -> SourceSnapshot {
    let (read_offset, acked_offset, counts) = lane.counts();
    let end_offset = end_offset.unwrap_or(read_offset).max(read_offset);
    SourceSnapshot {
        id: lane.id().to_string(),
        configured: configured.clone(),
        kind,
        name,
        read_offset,
        acked_offset,
        end_offset,
        counts,
        spool: None,
    }
}

/// The spools of one input, one per shard, each a source of its own.
#[derive(Debug)]
pub(crate) struct SpoolSet {
    name: String,
    config: SpoolConfig,
    tails: Vec<Arc<SpoolTail>>,
    queue: Queue,
}

impl SpoolSet {
    /// # Errors
    /// A spool cannot be opened.
    pub(crate) fn open(
        context: &Context,
        directory: &Path,
        (kind, name): (&'static str, &str),
        common: &Common,
        config: &SpoolConfig,
    ) -> io::Result<Self> {
        let bytes_max = config.settings.bytes_max / config.shards as u64;
        let settings = Settings { bytes_max, ..config.settings };
        let open = |shard: usize| {
            let name = format!("{name}-{shard}");
            SpoolTail::open(context, directory, (kind, &name), common, settings)
        };
        let tails: Vec<_> = (0..config.shards).map(open).collect::<io::Result<_>>()?;
        let (name, config) = (name.to_owned(), config.clone());
        let set = Self { name, config, tails, queue: context.queue.clone() };
        // What an earlier run left.
        (0..set.tails.len()).for_each(|shard| set.wake(shard));
        Ok(set)
    }

    /// By this the spools are found again.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn config(&self) -> &SpoolConfig {
        &self.config
    }

    pub(crate) fn tails(&self) -> &[Arc<SpoolTail>] {
        &self.tails
    }

    /// Appends `count` encoded records to a shard, and has it served.
    ///
    /// # Errors
    /// See [`crate::spool::Spool::append`].
    pub(crate) fn append(
        &self,
        shard: usize,
        records: &[u8],
        count: u64,
    ) -> Result<(), AppendError> {
        self.tails[shard].spool().append(records, count)?;
        self.wake(shard);
        Ok(())
    }

    /// See [`crate::spool::Spool::append_last`].
    pub(crate) fn append_last(&self, shard: usize, records: &[u8], count: u64) {
        self.tails[shard].spool().append_last(records, count);
        self.wake(shard);
    }

    fn wake(&self, shard: usize) {
        let work: Arc<dyn Work> = self.tails[shard].clone();
        self.queue.wake(&work);
    }
}
