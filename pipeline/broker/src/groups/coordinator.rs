//! All groups behind one lock, and the waiting of members for each other.
//!
//! A request that has to wait blocks its connection's thread, as Kafka mutes the channel of one that
//! is being answered. Groups need no timer: waiting threads wake at the next deadline of their group,
//! and everyone else sees a group only after it was brought up to date.
//!
//! Membership lives in memory: after a restart of the broker members are unknown and join again.
//! Committed offsets are durable. A commit is checked and written under the same lock, so none of a
//! former generation can come after a rebalance.

use super::group::{Claim, Group, Join, JoinStep, Joined, Refusal, State};
use super::offsets::{Committed, OffsetStore};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Groups with members.
const GROUPS_MAX: usize = 1000;
/// Session and rebalance time-outs that clients may ask for.
const SESSION_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Kafka's maximum.
const SESSION_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 60);
/// Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;
/// A waiting thread looks at its group at least so often.
const WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Coordinator {
    inner: Mutex<Inner>,
    changed: Condvar,
    rebalance_delay: Duration,
    /// Makes member ids differ from those of earlier runs.
    run: u64,
}

#[derive(Debug)]
struct Inner {
    groups: BTreeMap<String, Group>,
    offsets: OffsetStore,
    members_seen: u64,
    stopping: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinAnswer {
    Joined(Joined),
    /// Join again with this id.
    Promised(String),
}

/// Why a group operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupFault {
    Refused(Refusal),
    GroupId,
    SessionTimeout,
    TooManyGroups,
    Stopping,
    Unknown,
    NotEmpty,
    Storage,
}

/// Why an offset is not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitFault {
    Group(GroupFault),
    MetadataTooLarge,
}

/// Topic, partition and what is committed for it.
pub(crate) type Offsets = Vec<(String, i32, Committed)>;

/// A group as tools show it.
#[derive(Debug, Default)]
pub(crate) struct Description {
    /// `Dead` if there is no such group.
    pub(crate) state: &'static str,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<MemberDescription>,
}

#[derive(Debug)]
pub(crate) struct MemberDescription {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

impl Coordinator {
    pub(crate) fn open(data_dir: &Path, rebalance_delay: Duration) -> io::Result<Self> {
        let inner = Inner {
            groups: BTreeMap::new(),
            offsets: OffsetStore::open(data_dir)?,
            members_seen: 0,
            stopping: false,
        };
        let run = RandomState::new().hash_one(std::process::id());
        Ok(Self { inner: Mutex::new(inner), changed: Condvar::new(), rebalance_delay, run })
    }

    /// Joins a group and waits until its rebalance completes.
    pub(crate) fn join(&self, group: &str, join: Join) -> Result<JoinAnswer, GroupFault> {
        if group.is_empty() {
            return Err(GroupFault::GroupId);
        }
        if !(SESSION_TIMEOUT_MIN..=SESSION_TIMEOUT_MAX).contains(&join.session_timeout) {
            return Err(GroupFault::SessionTimeout);
        }
        let join = Join {
            rebalance_timeout: join
                .rebalance_timeout
                .clamp(SESSION_TIMEOUT_MIN, SESSION_TIMEOUT_MAX),
            ..join
        };
        let mut inner = self.lock();
        let new_id = self.new_member_id(&mut inner, &join.client_id);
        let creatable = !join.member_id.is_empty() || inner.groups.len() < GROUPS_MAX;
        if !inner.groups.contains_key(group) {
            if !creatable {
                return Err(GroupFault::TooManyGroups);
            }
            inner.groups.insert(group.to_owned(), Group::new());
        }
        let step = self.with(&mut inner, group, |group, now| {
            group.join(join, new_id, self.rebalance_delay, now)
        })?;
        match step {
            JoinStep::Promised(id) => Ok(JoinAnswer::Promised(id)),
            JoinStep::Unchanged(part) => Ok(JoinAnswer::Joined(part)),
            JoinStep::Wait { member_id, generation } => {
                let joined = |group: &Group| group.joined(&member_id, generation);
                self.wait(inner, group, joined).map(JoinAnswer::Joined)
            }
        }
    }

    /// Fetches a member's assignment, and waits for the leader to bring it.
    pub(crate) fn sync(
        &self,
        group: &str,
        claim: Claim<'_>,
        protocol: Option<&str>,
        assignments: Vec<(String, Bytes)>,
    ) -> Result<(Bytes, String, String), GroupFault> {
        let mut inner = self.lock();
        let known = self.with(&mut inner, group, |group, now| {
            let assignment = group.sync(claim, protocol, assignments, now)?;
            Ok((assignment, group.protocol_type().to_owned(), group.protocol().to_owned()))
        });
        let (assignment, protocol_type, protocol) = known?;
        let assignment = match assignment {
            Some(assignment) => assignment,
            None => {
                let synced = |group: &Group| group.synced(claim.member_id, claim.generation);
                self.wait(inner, group, synced)?
            }
        };
        Ok((assignment, protocol_type, protocol))
    }

    pub(crate) fn heartbeat(&self, group: &str, claim: Claim<'_>) -> Result<(), GroupFault> {
        self.with(&mut self.lock(), group, |group, now| group.heartbeat(claim, now))
    }

    pub(crate) fn leave(
        &self,
        group: &str,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), GroupFault> {
        self.with(&mut self.lock(), group, |group, now| group.leave(member_id, instance_id, now))
    }

    /// Commits offsets, all or none; returns one result per offset, in order.
    pub(crate) fn commit(
        &self,
        group: &str,
        claim: Claim<'_>,
        offsets: Offsets,
    ) -> Vec<Result<(), CommitFault>> {
        let mut inner = self.lock();
        let allowed = match inner.groups.contains_key(group) {
            _ if group.is_empty() => Err(GroupFault::GroupId),
            true => self.with(&mut inner, group, |group, now| group.check_commit(claim, now)),
            // A reader without a group, or one that sets its offsets by hand.
            false if claim.generation < 0 => Ok(()),
            false => Err(GroupFault::Refused(Refusal::IllegalGeneration)),
        };
        let check = |(_, _, committed): &(String, i32, Committed)| match allowed {
            Err(fault) => Err(CommitFault::Group(fault)),
            Ok(()) if committed.metadata.len() > METADATA_BYTES_MAX => {
                Err(CommitFault::MetadataTooLarge)
            }
            Ok(()) => Ok(()),
        };
        let mut results: Vec<_> = offsets.iter().map(check).collect();
        let zipped = offsets.into_iter().zip(&results);
        let sound: Offsets =
            zipped.filter(|(_, ok)| ok.is_ok()).map(|(offset, _)| offset).collect();
        if !sound.is_empty()
            && let Err(error) = inner.offsets.commit(group, sound)
        {
            tracing::error!(group, %error, "cannot store committed offsets");
            let failed = Err(CommitFault::Group(GroupFault::Storage));
            results.iter_mut().filter(|result| result.is_ok()).for_each(|ok| *ok = failed);
        }
        results
    }

    /// What a group has committed for a partition.
    pub(crate) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        self.lock().offsets.get(group, topic, partition).cloned()
    }

    /// All that a group has committed.
    pub(crate) fn all_committed(&self, group: &str) -> Offsets {
        let inner = self.lock();
        let of_group = inner.offsets.of_group(group);
        of_group.map(|(topic, at, committed)| (topic.to_owned(), at, committed.clone())).collect()
    }

    /// Id, protocol type and state of all groups.
    pub(crate) fn list(&self) -> Vec<(String, String, &'static str)> {
        let mut inner = self.lock();
        self.advance_all(&mut inner);
        let mut listed = BTreeMap::new();
        for id in inner.offsets.groups() {
            listed.insert(id.to_owned(), (String::from("consumer"), "Empty"));
        }
        for (id, group) in &inner.groups {
            let state = state_name(group.state());
            listed.insert(id.clone(), (group.protocol_type().to_owned(), state));
        }
        listed.into_iter().map(|(id, (protocol, state))| (id, protocol, state)).collect()
    }

    pub(crate) fn describe(&self, group: &str) -> Description {
        let mut inner = self.lock();
        self.advance_one(&mut inner, group);
        if let Some(group) = inner.groups.get(group) {
            return Description::of(group);
        }
        let has_offsets = inner.offsets.of_group(group).next().is_some();
        Description { state: if has_offsets { "Empty" } else { "Dead" }, ..Description::default() }
    }

    /// Forgets a group without members.
    pub(crate) fn delete(&self, group: &str) -> Result<(), GroupFault> {
        let mut inner = self.lock();
        self.advance_one(&mut inner, group);
        if inner.groups.contains_key(group) {
            return Err(GroupFault::NotEmpty);
        }
        if inner.offsets.of_group(group).next().is_none() {
            return Err(GroupFault::Unknown);
        }
        inner.offsets.remove_group(group).map_err(|error| {
            tracing::error!(group, %error, "cannot remove a group's offsets");
            GroupFault::Storage
        })
    }

    /// Forgets what was committed for a deleted topic.
    pub(crate) fn forget_topic(&self, topic: &str) -> io::Result<()> {
        self.lock().offsets.remove_topic(topic)
    }

    /// The file of committed offsets, if it is to be synced.
    pub(crate) fn take_unsynced(&self) -> Option<Arc<File>> {
        self.lock().offsets.take_unsynced()
    }

    /// Ends all waiting.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Runs an operation on an up-to-date group, and lets others see what came of it.
    fn with<T>(
        &self,
        inner: &mut Inner,
        id: &str,
        operation: impl FnOnce(&mut Group, Instant) -> Result<T, Refusal>,
    ) -> Result<T, GroupFault> {
        let unknown = GroupFault::Refused(Refusal::UnknownMember);
        let group = inner.groups.get_mut(id).ok_or(unknown)?;
        let now = Instant::now();
        group.advance(now);
        let result = operation(group, now).map_err(GroupFault::Refused);
        group.advance(now);
        if group.is_abandoned() {
            inner.groups.remove(id);
        }
        self.changed.notify_all();
        result
    }

    /// Waits until a group has an answer.
    fn wait<T>(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        id: &str,
        answer: impl Fn(&Group) -> Option<Result<T, Refusal>>,
    ) -> Result<T, GroupFault> {
        loop {
            if inner.stopping {
                return Err(GroupFault::Stopping);
            }
            let unknown = GroupFault::Refused(Refusal::UnknownMember);
            let group = inner.groups.get_mut(id).ok_or(unknown)?;
            let now = Instant::now();
            if group.advance(now) {
                self.changed.notify_all();
            }
            if let Some(answer) = answer(group) {
                return answer.map_err(GroupFault::Refused);
            }
            let deadline = group.next_deadline(now).map(|at| at.saturating_duration_since(now));
            let timeout = deadline.unwrap_or(WAIT_MAX).clamp(Duration::from_millis(1), WAIT_MAX);
            let woken = self.changed.wait_timeout(inner, timeout);
            inner = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn advance_one(&self, inner: &mut Inner, id: &str) {
        // An error means that there is no such group.
        let _ = self.with(inner, id, |_, _| Ok(()));
    }

    fn advance_all(&self, inner: &mut Inner) {
        let now = Instant::now();
        inner.groups.retain(|_, group| {
            group.advance(now);
            !group.is_abandoned()
        });
        self.changed.notify_all();
    }

    fn new_member_id(&self, inner: &mut Inner, client_id: &str) -> String {
        inner.members_seen += 1;
        format!("{client_id}-{:016x}-{}", self.run, inner.members_seen)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Description {
    fn of(group: &Group) -> Self {
        let described = group.members().map(|(id, member)| MemberDescription {
            id: id.to_owned(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(group.protocol()),
            assignment: member.assignment.clone(),
        });
        Self {
            state: state_name(group.state()),
            protocol_type: group.protocol_type().to_owned(),
            protocol: group.protocol().to_owned(),
            members: described.collect(),
        }
    }
}

/// Kafka's names.
fn state_name(state: State) -> &'static str {
    match state {
        State::Empty => "Empty",
        State::Joining { .. } => "PreparingRebalance",
        State::Syncing { .. } => "CompletingRebalance",
        State::Stable => "Stable",
    }
}
