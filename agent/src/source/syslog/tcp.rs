//! Syslog over TCP: a task per connection, as many as are allowed, none of which can hold much.

use super::{Framer, Intake, Pending};
use crate::config::SyslogConfig;
use crate::sync::lock;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What is read of a connection at once.
const READ_BYTES: usize = 16 << 10;
/// How long a connection waits before it offers its messages to a full spool again.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that waits for data takes to notice a stop.
const NAP: Duration = Duration::from_millis(500);
/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running TCP listener.
#[derive(Debug)]
pub(super) struct Tcp {
    address: SocketAddr,
    runtime: Mutex<Option<Runtime>>,
}

impl Tcp {
    pub(super) fn start(
        address: SocketAddr,
        intake: &Arc<Intake>,
        config: &SyslogConfig,
    ) -> io::Result<Self> {
        let listener = StdListener::bind(address).map_err(|error| {
            io::Error::other(format!("cannot listen at tcp {address}: {error}"))
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        // A write to the spool blocks the thread that makes it for a moment: the page cache takes
        // it. Two threads, so that one that waits for the disk does not hold up all connections.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("syslog-tcp")
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let permits = Arc::new(Semaphore::new(config.connections_max));
        runtime.spawn(accept(listener, intake.clone(), permits, config.idle_timeout));
        Ok(Self { address, runtime: Mutex::new(Some(runtime)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn stop(&self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

async fn accept(
    listener: TcpListener,
    intake: Arc<Intake>,
    permits: Arc<Semaphore>,
    idle_timeout: Duration,
) {
    while !intake.stopped() {
        match listener.accept().await {
            Ok((stream, sender)) => {
                let Ok(permit) = permits.clone().try_acquire_owned() else {
                    intake.statistics.connections_refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let intake = intake.clone();
                tokio::spawn(async move {
                    intake.statistics.connections_open.fetch_add(1, Ordering::Relaxed);
                    Connection::new(intake.clone(), sender).run(stream, idle_timeout).await;
                    intake.statistics.connections_open.fetch_sub(1, Ordering::Relaxed);
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: those that are open go on.
                tracing::debug!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    intake: Arc<Intake>,
    sender: String,
    framer: Framer,
    pending: Pending,
}

impl Connection {
    fn new(intake: Arc<Intake>, sender: SocketAddr) -> Self {
        let framer = Framer::new(intake.bytes_max, true);
        let pending = intake.pending(sender.ip());
        Self { intake, sender: sender.ip().to_canonical().to_string(), framer, pending }
    }

    async fn run(mut self, mut stream: TcpStream, idle_timeout: Duration) {
        let mut heard = Instant::now();
        let mut buffer = vec![0; READ_BYTES];
        while !self.intake.stopped() && heard.elapsed() < idle_timeout {
            let length = match timeout(NAP.min(idle_timeout), stream.read(&mut buffer)).await {
                Err(_) => continue,
                Ok(Ok(0) | Err(_)) => {
                    let (pending, sender) = (&mut self.pending, &self.sender);
                    self.framer.finish(&mut |framed| pending.add(sender, &framed));
                    self.append().await;
                    return;
                }
                Ok(Ok(length)) => length,
            };
            heard = Instant::now();
            let (pending, sender) = (&mut self.pending, &self.sender);
            let followed =
                self.framer.push(&buffer[..length], &mut |framed| pending.add(sender, &framed));
            self.append().await;
            if let Err(error) = followed {
                self.intake.statistics.framing_errors.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(sender = self.sender, %error, "a connection is closed");
                return;
            }
        }
    }

    /// Appends what is pending; a full spool and a limit make the sender wait, by not reading on.
    async fn append(&mut self) {
        let mut told = false;
        while let Err(error) = self.intake.append(&mut self.pending) {
            if !std::mem::replace(&mut told, true) {
                tracing::debug!(sender = self.sender, %error, "a sender has to wait");
            }
            if self.intake.stopped() {
                return;
            }
            tokio::time::sleep(FULL_PAUSE).await;
        }
        loop {
            let wait = lock(&self.intake.pace).wait(Instant::now());
            match wait {
                Some(wait) if !self.intake.stopped() => tokio::time::sleep(wait.min(NAP)).await,
                _ => return,
            }
        }
    }
}
