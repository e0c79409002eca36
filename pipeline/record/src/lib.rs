//! The record on the wire: one JSON object per event, flat dotted ECS keys.
//!
//! This crate owns what agent and ingest must agree on: the names of the topics and of the fields
//! that carry identity and chain, how a source gets its id and its partition, and the bytes of the
//! envelope around a parsed event. `docs/record.md` describes the same for people. It knows nothing
//! of Kafka clients, files or tables.
//!
//! Identity: (`logweir.source`, `log.offset`). Chain: `logweir.prev` is the offset of the event sent
//! before this one from the same source, absent for the first one. One source always goes to one
//! partition, in order, so one high-water mark per source finds every repeat and every hole.

mod envelope;
mod json;
mod leave_out;
mod seal;
mod source_id;

pub use envelope::{Agent, Envelope, has_member, line_of};
pub use json::{escaped_beginning, write_escaped, write_member, write_u64};
pub use leave_out::leave_out;
pub use seal::{Seal, SealKey, SealKeyError, SealedLine};
pub use source_id::{SourceId, SourceIdError, partition_of};

/// The topic of the events.
pub const TOPIC_EVENTS: &str = "logweir.events";
/// The topic of records that could not be delivered or decoded, each with its reason.
pub const TOPIC_DEAD_LETTER: &str = "logweir.dead_letter";
/// The topic of the agents' reports about themselves; compacted, keyed by agent id.
pub const TOPIC_AGENTS: &str = "logweir.agents";
/// The topic of the rule sets that are published to agents, signed; compacted, keyed by group.
pub const TOPIC_RULES: &str = "logweir.rules";

/// The ECS version whose field names are used.
pub const ECS_VERSION: &str = "9.4.0";

/// Which source the event is from: 32 hexadecimal digits.
pub const FIELD_SOURCE: &str = "logweir.source";
/// Where in the source the event begins: bytes from its start.
pub const FIELD_OFFSET: &str = "log.offset";
/// Where the event before it from the same source began; absent for the first.
pub const FIELD_PREV: &str = "logweir.prev";
/// The seal over identity, chain and line: 32 hexadecimal digits; only where the agent has a key.
pub const FIELD_SEAL: &str = "logweir.seal";
/// The line as it was read.
pub const FIELD_ORIGINAL: &str = "event.original";
/// The exact bytes of a line that is not UTF-8, in base64.
pub const FIELD_BASE64: &str = "logweir.original_base64";
/// The rule that parsed the event; absent if none did.
pub const FIELD_RULE: &str = "logweir.rule";
