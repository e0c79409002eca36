//! The harness of the end-to-end tests: it runs the built programs as their users do, on a real
//! Kafka or the embedded broker, kills them, and checks what arrives.
//!
//! ```text
//! Lines ─► files, sockets ─► Agent ─► Cluster or Broker ─► Ingest ─► table ─► search, audit
//!                              └───────────── oracle ◄────────┴─────────────────┘
//! ```
//!
//! Everything that a test starts ends with it, also when it panics and also when the test program
//! is killed. Nothing sleeps for a fixed time: every wait is for a condition, has a deadline, and
//! says what it waited for ([`wait`]).

mod agent;
mod broker;
mod cluster;
mod delivery;
mod flow;
mod identity;
mod lines;
mod oracle;
mod process;
mod proxy;
mod search_server;
mod strace;
mod streams;
mod table;
mod topic;
mod wait;

pub use agent::{Agent, AgentConfig, Counts};
pub use broker::Broker;
pub use cluster::{Cluster, Listener, Node, skip};
pub use delivery::{Delivery, assert_nothing_missing};
pub use flow::{Flow, assert_whole_beginnings};
pub use identity::Identity;
pub use lines::{Lines, Random, append, line, runs};
pub use oracle::{Event, assert_exactly_once, assert_in_order_per_source, without_repeats};
pub use process::{Output, Process, program, run_to_end};
pub use proxy::Proxy;
pub use search_server::SearchServer;
pub use strace::{DURABLE_CALLS, PowerCut, failing, killed_at, noting};
pub use streams::Streams;
pub use table::{Ingest, Table};
pub use topic::Topic;
pub use wait::{DEADLINE, wait, wait_until};

use std::net::{SocketAddr, TcpListener};
use tempfile::TempDir;

/// A new directory that goes with its test, under the build's own directory: `/tmp` may be small.
///
/// # Panics
/// The directory cannot be made.
#[must_use]
pub fn directory() -> TempDir {
    let parent = process::target_directory().join("tmp");
    std::fs::create_dir_all(&parent).expect("the build's directory can be written");
    TempDir::with_prefix_in("e2e-", parent).expect("the build's directory can be written")
}

/// An address of this machine with a port that is free now.
///
/// # Panics
/// No port is free.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    listener.local_addr().expect("a bound socket has an address")
}
