//! Sources: where events come from.
//!
//! A file is its own buffer: it is read only as fast as Kafka takes it. What comes over the network
//! or a pipe goes into a spool first, and flows from there like a file.

pub(crate) mod file;

use crate::accounting::{Counts, SourceSnapshot};
use crate::checkpoint::Checkpoint;
use crate::config::Common;
use crate::delivery::{Courier, Lane};
use crate::parsing::Rules;
use crate::pipeline::Route;
use crate::sync::lock;
use crate::workers::Queue;
use logweir_record::{Agent, Envelope};
use std::sync::{Arc, Mutex};

/// What all sources of an agent share.
#[derive(Debug)]
pub(crate) struct Context {
    pub agent: Agent,
    /// Part of every source id; see [`Checkpoint`].
    pub salt: String,
    pub checkpoint: Arc<Checkpoint>,
    pub courier: Arc<Courier>,
    pub queue: Queue,
    pub rules: Rules,
    retired: Mutex<Retired>,
}

/// Sources that are not read any more.
#[derive(Debug, Default)]
struct Retired {
    /// Those that have something on its way.
    leaving: Vec<Leaving>,
    /// What the others came to.
    past: Counts,
}

#[derive(Debug)]
struct Leaving {
    lane: Arc<Lane>,
    slot: u32,
    kind: &'static str,
    name: String,
}

impl Context {
    #[must_use]
    pub(crate) fn new(
        agent: Agent,
        checkpoint: Arc<Checkpoint>,
        courier: Arc<Courier>,
        queue: Queue,
        rules: Rules,
    ) -> Self {
        let salt = checkpoint.salt();
        Self { agent, salt, checkpoint, courier, queue, rules, retired: Mutex::default() }
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
        let labels = common.labels.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let members: Vec<(&str, &[u8])> = std::iter::once(("input.type", kind.as_bytes()))
            .chain(members.iter().copied())
            .chain(labels)
            .collect();
        let envelope = Envelope::new(&self.agent, lane.id(), &members);
        let slot = self.courier.register(&lane);
        let parser = self.rules.parser(common);
        Route { lane, slot, envelope, parser }
    }

    /// The source of `route` is not read any more; what it has on its way is waited for.
    pub(crate) fn retire(&self, route: &Route, kind: &'static str, name: &str) {
        let (lane, slot) = (route.lane.clone(), route.slot);
        lock(&self.retired).leaving.push(Leaving { lane, slot, kind, name: name.to_owned() });
    }

    /// Lets go of retired sources that have nothing on its way any more.
    pub(crate) fn sweep(&self) {
        let retired = &mut *lock(&self.retired);
        let past = &mut retired.past;
        retired.leaving.retain(|leaving| {
            let settled = leaving.lane.is_settled();
            if settled {
                self.courier.unregister(leaving.slot);
                past.add(&leaving.lane.counts().2);
            }
            !settled
        });
    }

    /// What retired sources came to, and those of them that have something on its way.
    #[must_use]
    pub(crate) fn retired(&self) -> (Counts, Vec<SourceSnapshot>) {
        let retired = lock(&self.retired);
        let leaving = retired
            .leaving
            .iter()
            .map(|leaving| lane_snapshot(&leaving.lane, leaving.kind, leaving.name.clone(), None));
        (retired.past.clone(), leaving.collect())
    }

    /// Writes the checkpoint; a failure is told and counted, and does no harm but repeats.
    pub(crate) fn save_checkpoint(&self) {
        let failed_before = self.checkpoint.errors() > 0;
        if let Err(error) = self.checkpoint.save()
            && !failed_before
        {
            tracing::error!(
                %error,
                "the checkpoint cannot be written; the agent goes on, and sends again after a \
                 restart what was acknowledged since the last one"
            );
        }
    }
}

/// The state of a source by its lane. `end_offset` is where the source ends, if it goes on.
pub(crate) fn lane_snapshot(
    lane: &Lane,
    kind: &'static str,
    name: String,
    end_offset: Option<u64>,
) -> SourceSnapshot {
    let (read_offset, acked_offset, counts) = lane.counts();
    let end_offset = end_offset.unwrap_or(read_offset).max(read_offset);
    SourceSnapshot {
        id: lane.id().to_string(),
        kind,
        name,
        read_offset,
        acked_offset,
        end_offset,
        counts,
    }
}
