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
mod clock;
mod cluster;
mod delivery;
mod flow;
mod identity;
mod lines;
mod memory;
mod mounts;
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
pub use clock::Clock;
pub use cluster::{Cluster, Listener, Node, skip};
pub use delivery::{Delivery, assert_nothing_missing};
pub use flow::{Flow, assert_whole_beginnings};
pub use identity::Identity;
pub use lines::{Lines, Random, append, line, runs};
pub use memory::MemoryCap;
pub use mounts::{Disk, Journal, has_own_mounts, mount_in_memory};
pub use oracle::{Event, assert_exactly_once, assert_in_order_per_source, without_repeats};
pub use process::{Output, Process, program, run_to_end};
pub use proxy::Proxy;
pub use search_server::SearchServer;
pub use strace::{
    DURABLE_CALLS, PowerCut, changes_in, failing, killed_at, noting, noting_changes, skipping,
    slowing,
};
pub use streams::Streams;
pub use table::{Ingest, Table};
pub use topic::Topic;
pub use wait::{DEADLINE, wait, wait_for_count, wait_until};

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{self as unix, UnixListener};
use std::sync::Mutex;
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

/// Ports that tests are given: below those that the system gives to clients and to whoever binds any
/// port, and below those of [`Cluster`].
const PORTS: std::ops::Range<u16> = 10_000..20_000;

/// An address of this machine with a port that is free, and that nobody else is given while this test
/// program runs: a program under test lets go of it whenever it is killed, and must find it again.
///
/// # Panics
/// No port is free.
#[must_use]
pub fn free_address() -> SocketAddr {
    static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let mut claims = CLAIMS.lock().expect("no test panics with it");
    let count = PORTS.len();
    let first = std::process::id() as usize * 101 + claims.len();
    for step in 0..count {
        let port = PORTS.start + ((first + step) % count) as u16;
        let Some(claim) = claim(port) else { continue };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            claims.push(claim);
            return address;
        }
    }
    panic!("none of {count} ports is free");
}

/// The claim to a port that no other test program has, for as long as it is kept.
fn claim(port: u16) -> Option<UnixListener> {
    // Such a name goes with the process that has it.
    let name = unix::SocketAddr::from_abstract_name(format!("logweir-tests-port-{port}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_given_once_and_stays_out_of_what_the_system_gives() {
        let addresses: Vec<_> = (0..50).map(|_| free_address()).collect();
        let ports: std::collections::BTreeSet<_> =
            addresses.iter().map(|address| address.port()).collect();
        assert_eq!(ports.len(), addresses.len());
        assert!(ports.iter().all(|port| PORTS.contains(port)));
    }
}
