//! The threads: one listens, each connection has its own, and one keeps the logs.
//!
//! A connection is served request by request, so answers keep the order of their requests. Whatever a
//! client sends, at worst its own connection ends: lengths are checked before memory is taken, and a
//! panic unwinds one thread, which holds no lock while it decodes.

use crate::api::{self, Client};
use crate::broker::Shared;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// Kafka's `connections.max.idle.ms`: clients reconnect by themselves.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// A client that takes nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the limits of all logs are enforced.
const RETENTION_INTERVAL: Duration = Duration::from_secs(5);
/// The keeping thread looks at least so often whether it is to end.
const KEEP_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Below this the keeping thread would do nothing but sync.
const KEEP_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// After `accept` has failed, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    listening: JoinHandle<()>,
    keeping: JoinHandle<()>,
}

/// The open connections, to be shut when the broker stops.
#[derive(Debug, Default)]
struct Connections {
    open: Mutex<HashMap<u64, Arc<TcpStream>>>,
}

impl Server {
    pub(crate) fn start(
        listener: TcpListener,
        address: SocketAddr,
        shared: &Arc<Shared>,
    ) -> io::Result<Self> {
        let keeper = Arc::clone(shared);
        let keeping = Builder::new().name("broker-keep".into()).spawn(move || keep(&keeper))?;
        let acceptor = Arc::clone(shared);
        let listening = Builder::new()
            .name("broker-listen".into())
            .spawn(move || listen(&listener, &acceptor))?;
        Ok(Self { address, listening, keeping })
    }

    /// Waits for all threads after the broker was told to stop, and syncs what they wrote.
    pub(crate) fn join(self, shared: &Shared) {
        wake(self.address);
        if self.listening.join().is_err() {
            tracing::error!("the listening thread had ended early");
        }
        self.keeping.thread().unpark();
        if self.keeping.join().is_err() {
            tracing::error!("the keeping thread had ended early");
        }
        sync(shared);
    }
}

/// Ends a blocking `accept` by connecting to it.
fn wake(address: SocketAddr) {
    let reachable = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let target = SocketAddr::new(reachable, address.port());
    // If this fails, the queue of connections is full and `accept` is not waiting.
    let _ = TcpStream::connect_timeout(&target, Duration::from_secs(1));
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let connections = Arc::new(Connections::default());
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for id in 0.. {
        let accepted = listener.accept();
        if shared.is_stopping() {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        match accepted {
            Ok(_) if threads.len() >= shared.config.connections_max => {
                let max = shared.config.connections_max;
                tracing::warn!(max, "closed a connection: too many");
            }
            Ok((stream, peer)) => threads.extend(connect(id, stream, peer, &connections, shared)),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
    connections.shut();
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a connection's thread has panicked");
        }
    }
}

fn connect(
    id: u64,
    stream: TcpStream,
    peer: SocketAddr,
    connections: &Arc<Connections>,
    shared: &Arc<Shared>,
) -> Option<JoinHandle<()>> {
    let stream = Arc::new(stream);
    let registered = Registered::new(id, &stream, connections);
    let shared = Arc::clone(shared);
    let serve = move || {
        let _registered = registered;
        match serve(&stream, peer, &shared) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%peer, %error, "closed a connection");
            }
            Err(error) => tracing::debug!(%peer, %error, "a connection ended"),
        }
    };
    let spawned = Builder::new().name("broker-client".into()).spawn(serve);
    spawned.inspect_err(|error| tracing::warn!(%error, "cannot serve a connection")).ok()
}

/// Serves one client until it goes, fails or the broker stops.
fn serve(mut stream: &TcpStream, peer: SocketAddr, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE_MAX))?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let client = Client { peer, local: stream.local_addr()? };
    let mut response = BytesMut::new();
    while !shared.is_stopping() {
        let Some(request) = read_request(stream, shared.config.request_bytes_max)? else {
            break;
        };
        response.clear();
        api::answer(request, &client, shared, &mut response)
            .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        stream.write_all(&response)?;
        if response.capacity() > RESPONSE_BYTES_KEPT {
            response = BytesMut::new();
        }
    }
    Ok(())
}

/// Memory that an idle connection may keep for its next answer.
const RESPONSE_BYTES_KEPT: usize = 4 << 20;

/// The next request without its length; `None` if the client has closed.
fn read_request(mut stream: &TcpStream, bytes_max: u32) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match stream.read(&mut length)? {
        0 => return Ok(None),
        got => stream.read_exact(&mut length[got..])?,
    }
    let length = u32::from_be_bytes(length);
    if length > bytes_max {
        let message = format!("a request of {length} bytes is over the limit of {bytes_max}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    // Memory follows what arrives, not what was announced.
    let mut request = Vec::with_capacity((length as usize).min(1 << 20));
    let got = stream.take(u64::from(length)).read_to_end(&mut request)?;
    if got < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(request.into()))
}

impl Connections {
    fn shut(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            // An error means that it is shut already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// An open connection's entry among all.
struct Registered {
    id: u64,
    connections: Arc<Connections>,
}

impl Registered {
    fn new(id: u64, stream: &Arc<TcpStream>, connections: &Arc<Connections>) -> Self {
        let mut open = connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(id, Arc::clone(stream));
        Self { id, connections: Arc::clone(connections) }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.id);
    }
}

/// Syncs what was written and removes what is over the limits, until the broker stops.
fn keep(shared: &Shared) {
    let interval = shared.config.fsync_interval.clamp(KEEP_INTERVAL_MIN, KEEP_INTERVAL_MAX);
    let mut synced = Instant::now();
    let mut retained = Instant::now();
    while !shared.is_stopping() {
        std::thread::park_timeout(interval);
        if synced.elapsed() >= shared.config.fsync_interval {
            synced = Instant::now();
            sync(shared);
        }
        if retained.elapsed() >= RETENTION_INTERVAL {
            retained = Instant::now();
            retain(shared, SystemTime::now());
        }
    }
}

fn sync(shared: &Shared) {
    for topic in shared.topics.all() {
        for partition in topic.partitions() {
            let unsynced = partition.log().take_unsynced();
            if let Some(Err(error)) = unsynced.map(|file| file.sync_data()) {
                let (topic, partition_index) = (topic.name(), partition.index);
                tracing::error!(topic, partition_index, %error, "cannot sync; no more appends");
                partition.log().stop();
            }
        }
    }
    if let Some(Err(error)) = shared.groups.take_unsynced().map(|file| file.sync_data()) {
        tracing::error!(%error, "cannot sync committed offsets");
    }
}

fn retain(shared: &Shared, now: SystemTime) {
    for topic in shared.topics.all() {
        let limits = topic.settings().log_limits(&shared.config);
        for partition in topic.partitions() {
            let (name, partition_index) = (topic.name(), partition.index);
            match partition.log().retain(&limits, now) {
                Ok(0) => {}
                Ok(bytes) => tracing::info!(topic = name, partition_index, bytes, "retention"),
                Err(error) => {
                    tracing::error!(topic = name, partition_index, %error, "cannot remove segments");
                }
            }
        }
    }
}
