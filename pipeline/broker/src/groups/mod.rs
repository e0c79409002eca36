//! Consumer groups and their committed offsets.

mod coordinator;
mod group;
mod offsets;

pub(crate) use coordinator::{CommitFault, Coordinator, Description, GroupFault, JoinAnswer};
pub(crate) use group::{Claim, Join, Joined, Protocol, Refusal};
pub(crate) use offsets::Committed;
