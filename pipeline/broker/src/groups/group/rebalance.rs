//! How a group gets from one generation to the next: who is waited for, who leads, who goes.

use super::{Group, Member, State};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

impl Group {
    /// Begins a rebalance if none goes on.
    pub(super) fn begin_join(&mut self, delay: Duration, now: Instant) {
        if matches!(self.state, State::Joining { .. }) {
            return;
        }
        for member in self.members.values_mut() {
            // Who waits for an assignment will be told to join again, and has time for that.
            if member.arrived {
                member.heard = now;
            }
            member.arrived = false;
        }
        let deadline = now + self.rebalance_timeout();
        self.state = State::Joining { earliest: now + delay, deadline };
    }

    pub(super) fn complete_join(
        &mut self,
        earliest: Instant,
        deadline: Instant,
        now: Instant,
    ) -> bool {
        let all = self.members.values().all(|member| member.arrived) && self.promised.is_empty();
        if !(all && now >= earliest || now >= deadline) {
            return false;
        }
        let late = |member: &Member| !member.arrived && member.instance_id.is_none();
        self.members.retain(|_, member| !late(member));
        self.generation += 1;
        if self.members.is_empty() {
            self.state = State::Empty;
            return true;
        }
        self.elect();
        self.protocol = self.preferred_protocol();
        for member in self.members.values_mut() {
            member.heard = if member.arrived { now } else { member.heard };
            member.arrived = false;
            member.assignment = Bytes::new();
        }
        self.state = State::Syncing { deadline: now + self.rebalance_timeout() };
        true
    }

    /// The leader stays if it is here.
    fn elect(&mut self) {
        let here = |member: &Member| member.arrived;
        if self.members.get(&self.leader).is_some_and(here) {
            return;
        }
        let first = self.members.iter().find(|(_, member)| here(member));
        let elected = first.or(self.members.iter().next()).map(|(id, _)| id.clone());
        self.leader = elected.unwrap_or_default();
    }

    /// The protocol that everyone supports and most prefer.
    fn preferred_protocol(&self) -> String {
        let common = |name: &str| self.members.values().all(|member| member.supports(name));
        let mut votes = BTreeMap::<&str, usize>::new();
        for member in self.members.values() {
            let choice = member.protocols.iter().find(|protocol| common(&protocol.name));
            if let Some(choice) = choice {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map_or("", |(name, _)| name).to_owned()
    }

    pub(super) fn assign(&mut self, assignments: Vec<(String, Bytes)>, now: Instant) {
        for (member_id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&member_id) {
                member.assignment = assignment;
            }
        }
        for member in self.members.values_mut() {
            // Who has waited for this could not give a sign of life.
            if member.arrived {
                member.heard = now;
            }
            member.arrived = false;
        }
        self.state = State::Stable;
    }

    pub(super) fn expired(&self, now: Instant) -> Vec<String> {
        let overdue = match self.state {
            State::Syncing { deadline } => now >= deadline,
            State::Empty | State::Joining { .. } | State::Stable => false,
        };
        let goes = |member: &Member| {
            let silent = now >= member.heard + member.session_timeout;
            !self.waits(member) && (silent || overdue)
        };
        let gone = self.members.iter().filter(|(_, member)| goes(member));
        gone.map(|(id, _)| id.clone()).collect()
    }

    /// Whether the member waits for an answer of the group and so can give no sign of life.
    pub(super) fn waits(&self, member: &Member) -> bool {
        let answers_come = matches!(self.state, State::Joining { .. } | State::Syncing { .. });
        answers_come && member.arrived
    }

    pub(super) fn remove(&mut self, member_id: &str, now: Instant) {
        let Some(member) = self.members.remove(member_id) else { return };
        if let Some(instance) = member.instance_id {
            self.instances.remove(&instance);
        }
        self.begin_join(Duration::ZERO, now);
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }
}
