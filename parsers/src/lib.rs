//! The rule engine: a line in, the members of an ECS event out.
//!
//! ```text
//! line ─► header ─► dispatch: which packs ─► candidates ─► captures, sub-parsers ─► event ─► JSON
//!        (syslog)   (program, literals, …)   (by literal)   (first rule that matches)
//! ```
//!
//! Rules are data: YAML packs, described in `docs/rules.md`. This crate reads rule files and nothing
//! else, has no clock, knows no Kafka and no agent. It owns three promises: parsing never fails and
//! never drops what no rule drops; the original line is in every event; a rule set with a fault does
//! not load.

mod atomic;
mod blocks;
pub mod check;
pub mod convert;
mod decide;
mod direction;
mod dispatch;
mod ecs;
mod engine;
mod escapes;
mod event;
mod explain;
mod fields;
mod grok;
pub mod header;
mod heads;
mod index;
mod ip;
mod json;
mod landmark;
mod lanes;
mod lead;
mod loader;
mod matcher;
mod out;
mod outline;
mod packed;
mod pattern;
mod plan;
mod rule;
pub mod samples;
mod schema;
mod secrets;
mod signs;
pub mod span;
pub mod sub;
pub mod suggest;
mod swar;

pub mod time;
mod transform;
mod write;
mod yaml;

pub use ecs::{Kind, Table as EcsTable, Type, table as ecs_table};
pub use engine::{
    Attempt, Disposition, LineContext, Parsed, Parser, RuleCounts, Step, write_event,
};
pub use explain::{Explanation, Stop, Tried};
pub use loader::{Loaded, pack_texts, without_packs};
pub use outline::{Outline, Source};
pub use rule::{DROP_REASONS_MAX, RuleSet, Sample};
pub use schema::schema;
pub use time::Zone;
