//! What is signed with Ed25519: the keys, rule sets that are published to agents, and agents' heads.
//!
//! This crate owns the bytes that are signed and the bounds of what is taken from them: nothing of a
//! message is looked at before its signature holds. It knows no topic, no file and no agent.

mod heads;
mod keys;
mod rules;

pub use heads::{HEAD_SOURCES_MAX, HEADS_INPUT, Heads, NoHead};
pub use keys::{KEYS_MAX, KeyError, PublicKeys, SIGNATURE_BYTES, SigningKey};
pub use rules::{
    Header, InvalidName, PublishedRules, Refusal, SIGNED_BYTES_MAX, check_group, takes_part,
};
