//! Files: found by globs, known by identity and content, read where they are.
//!
//! A file is its own buffer: with Kafka away it is not read on, and a rotated one is kept open until
//! Kafka has all of it. Owns ROT-1: every line that is in a file while the agent watches it is
//! emitted at least once under the identity (source, offset), across renames, truncation and
//! restarts. Owns SEC-1: nothing but regular files is read, and no link is followed but those that
//! were made by who may, whatever changes meanwhile.

mod admit;
mod adopt;
mod archive;
mod body;
mod discovery;
mod encoding;
mod glob;
mod heads;
mod identity;
mod lines;
mod open_files;
mod records;
mod rest;
mod scanner;
mod tail;
mod watches;
mod way;

pub(crate) use discovery::Discovery;
pub(crate) use encoding::Encoding;
pub(crate) use glob::{Glob, Look};
pub(crate) use lines::cut;
pub(crate) use tail::FileTail;
