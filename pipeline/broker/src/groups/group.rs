//! The state of one consumer group, as a machine without clock, threads or sockets.
//!
//! States and rules are those of Kafka's classic protocol: members join until all have arrived or the
//! time is over, the first of them gets everyone's metadata, computes the assignment on its side and
//! hands it back, and the others fetch theirs. What the assignment says is the clients' affair, so
//! eager and cooperative rebalancing both work.
//!
//! Nothing happens by itself: every request first brings the machine up to the present with
//! [`Group::advance`], which is where sessions end and rebalances complete.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Members of one group, including those that are about to join.
const MEMBERS_MAX: usize = 1000;

#[derive(Debug)]
pub(crate) struct Group {
    state: State,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
    /// Instance id of each static member, with its present member id.
    instances: BTreeMap<String, String>,
    /// Ids given to clients that are to come back with them, and until when.
    promised: BTreeMap<String, Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    /// Members are (re)joining: not before `earliest`, or after `deadline` without the rest.
    Joining {
        earliest: Instant,
        deadline: Instant,
    },
    /// The leader computes the assignment; who has not asked for it at `deadline` is removed.
    Syncing {
        deadline: Instant,
    },
    Stable,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    /// By preference.
    protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    heard: Instant,
    /// Has joined the rebalance that goes on, or has asked for its assignment after it.
    arrived: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: String,
    pub(crate) metadata: Bytes,
}

/// A request to join.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Empty for a new member.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<Protocol>,
    /// A client of this version expects to be told its id first, and to join with it.
    pub(crate) id_first: bool,
}

/// Why a group refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownMember,
    FencedInstance,
    IllegalGeneration,
    RebalanceInProgress,
    InconsistentProtocol,
    Full,
}

/// What follows from a request to join.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinStep {
    /// Come back with this id.
    Promised(String),
    /// Nothing changes for the member.
    Unchanged(Joined),
    /// Wait until the rebalance completes: until the generation is no longer this one.
    Wait { member_id: String, generation: i32 },
}

/// A member's part in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    /// Everyone's id, instance and metadata; for the leader only.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// Who asks, and in what belief.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) generation: i32,
}

impl Group {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            promised: BTreeMap::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    pub(crate) fn protocol(&self) -> &str {
        &self.protocol
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members.iter().map(|(id, member)| (id.as_str(), member))
    }

    /// Nobody is in it or about to join.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.members.is_empty() && self.promised.is_empty()
    }

    /// Brings the group up to `now`; returns whether anyone's wait may be over.
    pub(crate) fn advance(&mut self, now: Instant) -> bool {
        self.promised.retain(|_, until| *until > now);
        let expired = self.expired(now);
        let anyone_expired = !expired.is_empty();
        for member_id in expired {
            tracing::info!(member_id, "a member of a group was not heard of in time");
            self.remove(&member_id, now);
        }
        let completed = match self.state {
            State::Joining { earliest, deadline } => self.complete_join(earliest, deadline, now),
            State::Empty | State::Syncing { .. } | State::Stable => false,
        };
        anyone_expired || completed
    }

    /// When [`Group::advance`] next has something to do; `None` if nothing is waited for.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let sessions = self.members.values().filter(|member| !self.waits(member));
        let sessions = sessions.map(|member| member.heard + member.session_timeout);
        let of_state = match self.state {
            State::Joining { earliest, deadline } => {
                Some(if earliest > now { earliest.min(deadline) } else { deadline })
            }
            State::Syncing { deadline } => Some(deadline),
            State::Empty | State::Stable => None,
        };
        sessions.chain(self.promised.values().copied()).chain(of_state).min()
    }

    /// A request to join; `new_id` is the id for a new member, `delay` the wait for the first ones.
    pub(crate) fn join(
        &mut self,
        join: Join,
        new_id: String,
        delay: Duration,
        now: Instant,
    ) -> Result<JoinStep, Refusal> {
        self.check_protocols(&join)?;
        let known = join.instance_id.as_ref().and_then(|instance| self.instances.get(instance));
        match (known.cloned(), join.member_id.is_empty()) {
            (Some(old_id), true) => return Ok(self.replace(&old_id, join, new_id, now)),
            (Some(old_id), false) if old_id != join.member_id => {
                return Err(Refusal::FencedInstance);
            }
            _ => {}
        }
        if let Some(member) = self.members.get(&join.member_id) {
            let changed = member.protocols != join.protocols;
            return Ok(self.rejoin(join, changed, now));
        }
        let full = self.members.len() + self.promised.len() >= MEMBERS_MAX;
        let member_id = match self.promised.remove(&join.member_id) {
            Some(_) => join.member_id.clone(),
            None if !join.member_id.is_empty() => return Err(Refusal::UnknownMember),
            None if full => return Err(Refusal::Full),
            None if join.id_first && join.instance_id.is_none() => {
                self.promised.insert(new_id.clone(), now + join.session_timeout);
                return Ok(JoinStep::Promised(new_id));
            }
            None => new_id,
        };
        Ok(self.add(member_id, join, delay, now))
    }

    /// The answer to a member that waits for a generation after `generation`.
    pub(crate) fn joined(
        &self,
        member_id: &str,
        generation: i32,
    ) -> Option<Result<Joined, Refusal>> {
        if !self.members.contains_key(member_id) {
            return Some(Err(Refusal::UnknownMember));
        }
        (self.generation != generation).then(|| Ok(self.part_of(member_id)))
    }

    /// A member asks for its assignment; the leader brings everyone's.
    ///
    /// `Ok(None)`: wait, and ask [`Group::synced`].
    pub(crate) fn sync(
        &mut self,
        claim: Claim<'_>,
        protocol: Option<&str>,
        assignments: Vec<(String, Bytes)>,
        now: Instant,
    ) -> Result<Option<Bytes>, Refusal> {
        self.hear(claim, now)?;
        if protocol.is_some_and(|protocol| protocol != self.protocol) {
            return Err(Refusal::InconsistentProtocol);
        }
        match self.state {
            State::Empty => return Err(Refusal::UnknownMember),
            State::Joining { .. } => return Err(Refusal::RebalanceInProgress),
            State::Stable => {}
            State::Syncing { .. } if claim.member_id == self.leader => {
                self.assign(assignments, now);
            }
            State::Syncing { .. } => {
                self.member_mut(claim.member_id).arrived = true;
                return Ok(None);
            }
        }
        Ok(Some(self.members[claim.member_id].assignment.clone()))
    }

    /// The answer to a member that waits for its assignment in `generation`.
    pub(crate) fn synced(
        &self,
        member_id: &str,
        generation: i32,
    ) -> Option<Result<Bytes, Refusal>> {
        let Some(member) = self.members.get(member_id) else {
            return Some(Err(Refusal::UnknownMember));
        };
        match self.state {
            State::Syncing { .. } if self.generation == generation => None,
            State::Stable if self.generation == generation => Some(Ok(member.assignment.clone())),
            _ => Some(Err(Refusal::RebalanceInProgress)),
        }
    }

    /// A sign of life.
    pub(crate) fn heartbeat(&mut self, claim: Claim<'_>, now: Instant) -> Result<(), Refusal> {
        self.hear(claim, now)?;
        match self.state {
            State::Joining { .. } => Err(Refusal::RebalanceInProgress),
            State::Empty | State::Syncing { .. } | State::Stable => Ok(()),
        }
    }

    /// Whether a member may commit offsets; counts as a sign of life.
    pub(crate) fn check_commit(&mut self, claim: Claim<'_>, now: Instant) -> Result<(), Refusal> {
        if claim.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.hear(claim, now)?;
        // In between, what the member owns is being decided; before, it hands over what it owned.
        let syncing = matches!(self.state, State::Syncing { .. });
        if syncing { Err(Refusal::RebalanceInProgress) } else { Ok(()) }
    }

    /// A member goes, by its id or by that of its instance.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.promised.remove(member_id).is_some() {
            return Ok(());
        }
        let of_instance = match instance_id {
            Some(instance) => {
                Some(self.instances.get(instance).ok_or(Refusal::UnknownMember)?.clone())
            }
            None => None,
        };
        let leaving = match of_instance {
            Some(current) if !member_id.is_empty() && current != member_id => {
                return Err(Refusal::FencedInstance);
            }
            Some(current) => current,
            None if self.members.contains_key(member_id) => member_id.to_owned(),
            None => return Err(Refusal::UnknownMember),
        };
        self.remove(&leaving, now);
        Ok(())
    }

    fn check_protocols(&self, join: &Join) -> Result<(), Refusal> {
        let others = self.members.iter().filter(|(id, _)| **id != join.member_id);
        let supported = |protocol: &&Protocol| {
            others.clone().all(|(_, member)| member.supports(&protocol.name))
        };
        let same_type = self.members.is_empty() || join.protocol_type == self.protocol_type;
        let consistent = same_type
            && !join.protocol_type.is_empty()
            && join.protocols.iter().any(|protocol| supported(&protocol));
        if consistent { Ok(()) } else { Err(Refusal::InconsistentProtocol) }
    }

    fn add(&mut self, member_id: String, join: Join, delay: Duration, now: Instant) -> JoinStep {
        if self.members.is_empty() {
            self.protocol_type = join.protocol_type.clone();
        }
        if let Some(instance) = &join.instance_id {
            self.instances.insert(instance.clone(), member_id.clone());
        }
        self.members.insert(member_id.clone(), Member::new(join, now));
        let first = self.state == State::Empty;
        self.begin_join(if first { delay } else { Duration::ZERO }, now);
        self.member_mut(&member_id).arrived = true;
        JoinStep::Wait { member_id, generation: self.generation }
    }

    /// A known member joins again.
    fn rejoin(&mut self, join: Join, changed: bool, now: Instant) -> JoinStep {
        let member_id = join.member_id.clone();
        let needed = match self.state {
            State::Empty | State::Joining { .. } => true,
            // Not changed: it has missed the answer.
            State::Syncing { .. } => changed,
            State::Stable => changed || member_id == self.leader,
        };
        self.member_mut(&member_id).update(join, now);
        if !needed {
            return JoinStep::Unchanged(self.part_of(&member_id));
        }
        self.begin_join(Duration::ZERO, now);
        self.member_mut(&member_id).arrived = true;
        JoinStep::Wait { member_id, generation: self.generation }
    }

    /// A static member is back under a new id and takes over what the old one had.
    fn replace(&mut self, old_id: &str, join: Join, new_id: String, now: Instant) -> JoinStep {
        let mut member = self.members.remove(old_id).expect("an instance has its member");
        let changed = member.protocols != join.protocols;
        let instance = member.instance_id.clone().expect("a static member has an instance id");
        self.instances.insert(instance, new_id.clone());
        member.update(join, now);
        self.members.insert(new_id.clone(), member);
        let leader_before = self.leader.clone();
        if self.leader == old_id {
            self.leader.clone_from(&new_id);
        }
        if self.state == State::Stable && !changed {
            // Told to be a follower even if it leads, or it would assign anew.
            let part = Joined { leader: leader_before, members: vec![], ..self.part_of(&new_id) };
            return JoinStep::Unchanged(part);
        }
        self.begin_join(Duration::ZERO, now);
        self.member_mut(&new_id).arrived = true;
        JoinStep::Wait { member_id: new_id, generation: self.generation }
    }

    /// Checks who asks, and notes that it lives.
    fn hear(&mut self, claim: Claim<'_>, now: Instant) -> Result<(), Refusal> {
        if let Some(instance) = claim.instance_id {
            let current = self.instances.get(instance).ok_or(Refusal::UnknownMember)?;
            if current != claim.member_id {
                return Err(Refusal::FencedInstance);
            }
        }
        let member = self.members.get_mut(claim.member_id).ok_or(Refusal::UnknownMember)?;
        if claim.generation != self.generation {
            return Err(Refusal::IllegalGeneration);
        }
        member.heard = now;
        Ok(())
    }

    fn part_of(&self, member_id: &str) -> Joined {
        let metadata = |member: &Member| member.metadata(&self.protocol);
        let everyone = self.members.iter();
        let everyone = everyone.map(|(id, m)| (id.clone(), m.instance_id.clone(), metadata(m)));
        Joined {
            member_id: member_id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: if member_id == self.leader { everyone.collect() } else { Vec::new() },
        }
    }

    fn member_mut(&mut self, member_id: &str) -> &mut Member {
        self.members.get_mut(member_id).expect("the caller has found or added the member")
    }
}

impl Member {
    fn new(join: Join, now: Instant) -> Self {
        Self {
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            heard: now,
            arrived: false,
        }
    }

    fn update(&mut self, join: Join, now: Instant) {
        let assignment = std::mem::take(&mut self.assignment);
        *self = Self { assignment, arrived: self.arrived, ..Self::new(join, now) };
    }

    fn supports(&self, name: &str) -> bool {
        self.protocols.iter().any(|protocol| protocol.name == name)
    }

    /// What the member has told with `protocol`.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let told = self.protocols.iter().find(|offered| offered.name == protocol);
        told.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }
}

mod rebalance;
#[cfg(test)]
mod tests;
