//! The real Kafka of three nodes (`tests/kafka/cluster`): one for all tests of a test program, which
//! take turns, because some of them kill its nodes.
//!
//! The script that holds the cluster reads from a pipe whose other end this program keeps, so the
//! cluster stops and its data goes when this program ends, however it ends.

use crate::process::target_directory;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    One = 1,
    Two,
    Three,
}

impl Node {
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];
}

/// The cluster, for one test at a time.
#[derive(Debug)]
pub struct Cluster {
    running: MutexGuard<'static, Option<Running>>,
}

#[derive(Debug)]
struct Running {
    port: u16,
    data: PathBuf,
    bootstrap: String,
    /// Its standard input is the pipe whose end stops the cluster.
    _holder: Child,
}

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

impl Cluster {
    /// All three nodes, serving. `None`, with a loud line, on a machine that has no Java or cannot
    /// get Kafka's jars.
    ///
    /// # Panics
    /// The cluster does not start; or it cannot, and `CI` is `true`.
    #[must_use]
    pub fn start() -> Option<Self> {
        // A test that panicked with the cluster in its hands leaves nothing worse than dead nodes.
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            if let Err(reason) = fetch_jars() {
                skip(&format!("no real Kafka here: {reason}"));
                return None;
            }
            *running = Some(Running::start());
        }
        let cluster = Self { running };
        cluster.restart_all();
        Some(cluster)
    }

    /// `HOST:PORT` of all nodes, separated by commas.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.running().bootstrap
    }

    /// SIGKILL to one node; returns when it is gone.
    pub fn kill9(&self, node: Node) {
        self.running().script("kill9", node);
    }

    /// Starts a node that was killed; returns when it serves.
    pub fn restart(&self, node: Node) {
        self.running().script("restart", node);
    }

    /// SIGKILL to all nodes.
    pub fn kill9_all(&self) {
        Node::ALL.into_iter().for_each(|node| self.kill9(node));
    }

    /// Starts all nodes that were killed; returns when all serve.
    pub fn restart_all(&self) {
        // All at once: one node alone has no quorum and never serves.
        self.running().all("start");
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("start() made it")
    }
}

impl Running {
    fn start() -> Self {
        let port = free_port();
        let data = target_directory().join("tmp").join(format!("kafka-{}", std::process::id()));
        let mut holder = script(port, &data)
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("asked for above");
        BufReader::new(stdout).read_line(&mut said).expect("a pipe can be read");
        let bootstrap = said.strip_prefix("ready ").expect("the cluster starts (see above)");
        Self { port, data, bootstrap: bootstrap.trim_end().to_owned(), _holder: holder }
    }

    fn script(&self, command: &str, node: Node) {
        self.check(script(self.port, &self.data).arg(command).arg((node as u8).to_string()));
    }

    fn all(&self, command: &str) {
        self.check(script(self.port, &self.data).arg(command));
    }

    fn check(&self, command: &mut Command) {
        let output = command.stdin(Stdio::null()).output().expect("bash is there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
    }
}

fn script(port: u16, data: &Path) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/cluster"));
    command.env("KAFKA_PORT", port.to_string()).env("KAFKA_DATA", data);
    command
}

fn fetch_jars() -> Result<(), String> {
    let output = script(0, Path::new("")).arg("deps").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot run tests/kafka/cluster: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.trim().to_owned()) }
}

/// Says so where the test runner cannot swallow it: it captures `eprintln!` only.
/// Says that a test is skipped, and why.
///
/// # Panics
/// `CI` is `true`: nothing may be skipped there.
pub fn skip(reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "to be skipped, but CI=true: {reason}");
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {reason}");
}

/// A port P such that P + 1…3 and P + 11…13 are free; below the range that the system gives to
/// clients.
fn free_port() -> u16 {
    let first = 20_000 + (std::process::id() % 500) as u16 * 20;
    let candidates = (0..600).map(|step| 20_000 + (first - 20_000 + step * 20) % 12_000);
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    candidates
        .into_iter()
        .find(|port| (1..=3).chain(11..=13).all(|more| free(port + more)))
        .expect("some of 12,000 ports are free")
}
