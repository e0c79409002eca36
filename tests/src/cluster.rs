//! The real Kafka of three nodes (`tests/kafka/cluster`): one for all tests of a test program, which
//! take turns, because some of them kill its nodes.
//!
//! The script that holds the cluster reads from a pipe whose other end this program keeps, so the
//! cluster stops and its data goes when this program ends, however it ends.

use crate::Identity;
use crate::process::target_directory;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
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

/// A listener of the brokers, see `tests/kafka/secure.properties`; all but the first are there only if
/// the cluster is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Plain = 0,
    Tls = 20,
    /// The client shows a certificate.
    MutualTls = 30,
    /// SASL over TLS.
    Sasl = 40,
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
    /// With the certificates of a secured cluster.
    tls: Option<Authority>,
    /// Its standard input is the pipe whose end stops the cluster.
    _holder: Child,
    /// Nobody else takes its ports.
    _claim: UnixListener,
}

/// Who signs the certificates of a secured cluster.
#[derive(Debug)]
struct Authority {
    folder: PathBuf,
    identity: Identity,
}

impl Authority {
    /// `ca.pem`, and `broker.pem` with key and certificate of the brokers, in `folder`.
    fn make(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("the build's directory can be written");
        let identity = Identity::new("logweir tests", &[], None, 1);
        identity.write(folder, "ca");
        let broker = Identity::new("broker", &["127.0.0.1"], Some(&identity), 1);
        broker.write(folder, "broker");
        let key = std::fs::read(folder.join("broker.key")).expect("just written");
        crate::append(&folder.join("broker.pem"), &key);
        std::fs::write(folder.join("jwks.json"), identity.key_set()).expect("as before");
        Self { folder: folder.to_owned(), identity }
    }
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
        Self::start_with(false)
    }

    /// The same with listeners for TLS and SASL and access by lists; the cluster of a test program is
    /// secured or not, for all its tests.
    ///
    /// # Panics
    /// See [`Cluster::start`].
    #[must_use]
    pub fn start_secured() -> Option<Self> {
        Self::start_with(true)
    }

    fn start_with(secured: bool) -> Option<Self> {
        // A test that panicked with the cluster in its hands leaves nothing worse than dead nodes.
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            if let Err(reason) = fetch_jars() {
                skip(&format!("no real Kafka here: {reason}"));
                return None;
            }
            *running = Some(Running::start(secured));
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

    /// `HOST:PORT` of one kind of listener, of all nodes.
    #[must_use]
    pub fn bootstrap_of(&self, listener: Listener) -> String {
        let port = self.running().port + listener as u16;
        (1..=3).map(|node| format!("127.0.0.1:{}", port + node)).collect::<Vec<_>>().join(",")
    }

    /// The certificate of the authority that has signed those of the brokers.
    ///
    /// # Panics
    /// The cluster is not secured.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.running().tls.as_ref().expect("the cluster is secured").folder.join("ca.pem")
    }

    /// A certificate of a client, valid from so many days ago on for ten days, as `name.pem` and
    /// `name.key` in `directory`.
    ///
    /// # Panics
    /// The cluster is not secured.
    pub fn issue(&self, directory: &Path, name: &str, days_ago: i64) {
        let tls = self.running().tls.as_ref().expect("the cluster is secured");
        Identity::new(name, &[], Some(&tls.identity), days_ago).write(directory, name);
    }

    /// A token for `OAUTHBEARER` that the brokers take for so many seconds.
    ///
    /// # Panics
    /// The cluster is not secured.
    #[must_use]
    pub fn token(&self, subject: &str, seconds: i64) -> String {
        let tls = self.running().tls.as_ref().expect("the cluster is secured");
        tls.identity.token(subject, seconds)
    }

    /// Kafka's own tool for access lists.
    pub fn acls(&self, arguments: &[&str]) {
        let running = self.running();
        running.check(running.script().arg("acls").args(arguments));
    }

    /// SIGKILL to one node; returns when it is gone.
    pub fn kill9(&self, node: Node) {
        self.running().node("kill9", node);
    }

    /// Starts a node that was killed; returns when it serves.
    pub fn restart(&self, node: Node) {
        self.running().node("restart", node);
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
    fn start(secured: bool) -> Self {
        let (port, claim) = free_port();
        let data = target_directory().join("tmp").join(format!("kafka-{}", std::process::id()));
        let tls = secured.then(|| Authority::make(&data.join("tls")));
        let folder = tls.as_ref().map(|tls| tls.folder.as_path());
        let mut holder = script(port, &data, folder)
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("asked for above");
        BufReader::new(stdout).read_line(&mut said).expect("a pipe can be read");
        let bootstrap = said.strip_prefix("ready ").expect("the cluster starts (see above)");
        let bootstrap = bootstrap.trim_end().to_owned();
        Self { port, data, bootstrap, tls, _holder: holder, _claim: claim }
    }

    fn script(&self) -> Command {
        let folder = self.tls.as_ref().map(|tls| tls.folder.as_path());
        script(self.port, &self.data, folder)
    }

    fn node(&self, command: &str, node: Node) {
        self.check(self.script().arg(command).arg((node as u8).to_string()));
    }

    fn all(&self, command: &str) {
        self.check(self.script().arg(command));
    }

    fn check(&self, command: &mut Command) {
        let output = command.stdin(Stdio::null()).output().expect("bash is there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
    }
}

fn script(port: u16, data: &Path, tls: Option<&Path>) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/cluster"));
    command.env("KAFKA_PORT", port.to_string()).env("KAFKA_DATA", data);
    match tls {
        Some(tls) => command.env("KAFKA_TLS", tls),
        None => command.env_remove("KAFKA_TLS"),
    };
    command
}

fn fetch_jars() -> Result<(), String> {
    let output = script(0, Path::new(""), None).arg("deps").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot run tests/kafka/cluster: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.trim().to_owned()) }
}

/// Says that a test is skipped, and why, where the test runner cannot swallow it: it captures
/// `eprintln!` only.
///
/// # Panics
/// `CI` is `true`: nothing may be skipped there.
pub fn skip(reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "to be skipped, but CI=true: {reason}");
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {reason}");
}

/// A port P such that P + 1…3, + 11…13, + 21…23, + 31…33 and + 41…43 are free; below the range that the system gives to
/// clients. Others wait with theirs until the nodes have started, so P is claimed.
fn free_port() -> (u16, UnixListener) {
    let first = (std::process::id() % 240) as u16;
    let candidates = (0..240).map(|step| 20_000 + (first + step) % 240 * 50);
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let all_free =
        |port: &u16| (0..50).step_by(10).all(|ten| (1..=3).all(|one| free(port + ten + one)));
    candidates
        .into_iter()
        .find_map(|port| Some((port, crate::claim(port).filter(|_| all_free(&port))?)))
        .expect("some of 12,000 ports are free")
}
