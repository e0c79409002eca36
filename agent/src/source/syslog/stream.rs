//! Syslog over TCP, TLS and unix streams: a task per connection, as many as are allowed.
//!
//! A connection holds what it was sent and cannot be used up yet, and no buffer of its own to read
//! into. After each read others have their turn, so that a fast sender does not starve slow ones.

use super::bind::{self, UnixPlace};
use super::tls::Tls;
use super::{Addresses, Framer, Intake, Pending, count};
use crate::config::SyslogConfig;
use crate::sync::lock;
use jiff::Timestamp;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_openssl::SslStream;

/// What is read of a connection at once.
const READ_BYTES: usize = 64 << 10;
/// How long a connection waits before it offers its messages to a full spool again.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// At a stop, a connection on which nothing comes for so long has nothing more.
const LAST_WAIT: Duration = Duration::from_millis(50);
/// So long is what has come taken at a stop, however fast more comes.
const LAST_TIME: Duration = Duration::from_millis(500);
/// More time is given at a stop to those that write to the spool.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// How often the certificates are looked at.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// The running listeners of a source.
#[derive(Debug)]
pub(super) struct Streams {
    addresses: Addresses,
    runtime: Mutex<Option<Runtime>>,
    /// Until when what has come is taken; none while the agent goes on.
    stop: watch::Sender<Option<Instant>>,
    _place: Option<UnixPlace>,
}

impl Streams {
    /// Starts what is configured; nothing if that is nothing.
    pub(super) fn start(intake: &Arc<Intake>, config: &SyslogConfig) -> io::Result<Option<Self>> {
        let listen = &config.listen;
        let tcp = listen.tcp.as_ref().map(|address| bind::tcp("tcp", address)).transpose()?;
        let tls = match &listen.tls {
            Some(tls) => Some((bind::tcp("tls", &tls.listen)?, Arc::new(Tls::new(tls)?), tls)),
            None => None,
        };
        let unix = listen.unix_stream.as_ref().map(bind::unix_stream).transpose()?;
        if tcp.is_none() && tls.is_none() && unix.is_none() {
            return Ok(None);
        }
        // A write to the spool blocks the thread that makes it for a moment: the page cache takes
        // it. Two threads, so that one that waits for the disk does not hold up all connections.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("syslog-stream")
            .enable_all()
            .build()?;
        let _inside = runtime.enter();
        let (stop, stopping) = watch::channel(None);
        let door = Arc::new(Door::new(intake.clone(), config, stopping));
        let mut addresses = Addresses::default();
        if let Some(listener) = tcp {
            addresses.tcp = Some(listener.local_addr()?);
            runtime.spawn(accept_tcp(TcpListener::from_std(listener)?, door.clone(), None));
        }
        if let Some((listener, tls, config)) = tls {
            addresses.tls = Some(listener.local_addr()?);
            runtime.spawn(refresh(tls.clone()));
            let tls = Some((tls, config.handshake_timeout));
            runtime.spawn(accept_tcp(TcpListener::from_std(listener)?, door.clone(), tls));
        }
        let mut place = None;
        if let Some((listener, ours)) = unix {
            addresses.unix_stream = listen.unix_stream.as_ref().map(|unix| unix.path.clone());
            place = Some(ours);
            runtime.spawn(accept_unix(UnixListener::from_std(listener)?, door));
        }
        drop(_inside);
        Ok(Some(Self { addresses, runtime: Mutex::new(Some(runtime)), stop, _place: place }))
    }

    pub(super) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// What senders were told that it has arrived is taken, too, also by connections that nobody has
    /// let in yet.
    pub(super) fn stop(&self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            self.stop.send_replace(Some(Instant::now() + LAST_TIME));
            // Until nobody holds the door any more.
            let ended = async { timeout(LAST_TIME + END_PATIENCE, self.stop.closed()).await };
            if runtime.block_on(ended).is_err() {
                tracing::warn!("a stream did not end in time; what it had read last may be lost");
            }
            runtime.shutdown_timeout(END_PATIENCE);
        }
    }
}

async fn refresh(tls: Arc<Tls>) {
    loop {
        tokio::time::sleep(REFRESH_INTERVAL).await;
        tls.refresh();
    }
}

async fn accept_tcp(listener: TcpListener, door: Arc<Door>, tls: Option<(Arc<Tls>, Duration)>) {
    while let Some(accepted) = door.next(|| listener.accept()).await {
        match accepted {
            Ok((stream, sender)) => {
                let Some(pass) = door.admit(Some(sender.ip().to_canonical())) else { continue };
                match &tls {
                    None => drop(tokio::spawn(Connection::new(pass, None).run(stream))),
                    Some((tls, limit)) => {
                        drop(tokio::spawn(shake_hands(pass, stream, sender, tls.clone(), *limit)));
                    }
                }
            }
            Err(error) => rest(&error).await,
        }
    }
}

async fn accept_unix(listener: UnixListener, door: Arc<Door>) {
    while let Some(accepted) = door.next(|| listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let Some(pass) = door.admit(None) else { continue };
                drop(tokio::spawn(Connection::new(pass, None).run(stream)));
            }
            Err(error) => rest(&error).await,
        }
    }
}

/// Out of file descriptors, mostly: those that are open go on.
async fn rest(error: &io::Error) {
    tracing::debug!(%error, "a connection cannot be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn shake_hands(
    pass: Pass,
    stream: TcpStream,
    sender: SocketAddr,
    tls: Arc<Tls>,
    limit: Duration,
) {
    let shaken = async {
        let mut stream = tls
            .session()
            .and_then(|ssl| Ok(SslStream::new(ssl, stream)?))
            .map_err(|error| error.to_string())?;
        match timeout(limit, Pin::new(&mut stream).accept()).await {
            Err(_) => Err(format!("not done within {limit:?}")),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(())) => tls.peer(stream.ssl()).map(|peer| (stream, peer)),
        }
    };
    match pass.door.clone().unless_stopped(shaken).await {
        None => {}
        Some(Ok((stream, peer))) => Connection::new(pass, peer).run(stream).await,
        Some(Err(reason)) => {
            let failures = &pass.door.intake.statistics.handshake_failures;
            // The first is told; who sends garbage may send much of it.
            if failures.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    %sender,
                    reason,
                    help = "does the sender speak TLS 1.2 or newer, and do both sides trust their certificates?",
                    "a TLS handshake failed; further ones are counted"
                );
            } else {
                tracing::debug!(%sender, reason, "a TLS handshake failed");
            }
        }
    }
}

/// Who may come in, and how many are inside.
#[derive(Debug)]
struct Door {
    intake: Arc<Intake>,
    connections_max: usize,
    per_sender_max: usize,
    idle_timeout: Duration,
    /// By sender; this host's own are under `None`.
    inside: Mutex<HashMap<Option<IpAddr>, usize>>,
    /// See [`Streams::stop`].
    stopping: watch::Receiver<Option<Instant>>,
}

/// One connection's place inside, given back when it is dropped.
#[derive(Debug)]
struct Pass {
    door: Arc<Door>,
    sender: Option<IpAddr>,
}

impl Door {
    fn new(
        intake: Arc<Intake>,
        config: &SyslogConfig,
        stopping: watch::Receiver<Option<Instant>>,
    ) -> Self {
        Self {
            intake,
            connections_max: config.connections_max,
            per_sender_max: config.connections_per_sender_max,
            idle_timeout: config.idle_timeout,
            inside: Mutex::default(),
            stopping,
        }
    }

    /// What comes of `wait`; `None` once the agent is to stop.
    async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        if self.stopping.borrow().is_some() {
            return None;
        }
        let mut stopping = self.stopping.clone();
        tokio::select! {
            biased;
            outcome = wait => Some(outcome),
            _ = stopping.wait_for(Option::is_some) => None,
        }
    }

    /// What comes of `wait` at a stop, if that had come already.
    async fn at_stop<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let until = *self.stopping.borrow();
        match until.is_some_and(|until| Instant::now() < until) {
            true => timeout(LAST_WAIT, wait).await.ok(),
            false => None,
        }
    }

    /// The next that knocks; `None` when the agent stops and there is none.
    async fn next<T, A: Future<Output = T>>(&self, accept: impl Fn() -> A) -> Option<T> {
        match self.unless_stopped(accept()).await {
            None => self.at_stop(accept()).await,
            accepted => accepted,
        }
    }

    /// A place for a connection of `sender`, or `None`, counted.
    fn admit(self: &Arc<Self>, sender: Option<IpAddr>) -> Option<Pass> {
        let statistics = &self.intake.statistics;
        if sender.is_some_and(|sender| !self.intake.allows(sender)) {
            count(&statistics.senders_refused);
            return None;
        }
        let mut inside = lock(&self.inside);
        let open = statistics.connections_open.load(Ordering::Relaxed) as usize;
        let own = inside.get(&sender).copied().unwrap_or(0);
        if open >= self.connections_max || own >= self.per_sender_max {
            count(&statistics.connections_refused);
            return None;
        }
        inside.insert(sender, own + 1);
        count(&statistics.connections_open);
        Some(Pass { door: self.clone(), sender })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = lock(&self.door.inside);
        self.door.intake.statistics.connections_open.fetch_sub(1, Ordering::Relaxed);
        if let Some(own) = inside.get_mut(&self.sender) {
            *own -= 1;
            if *own == 0 {
                inside.remove(&self.sender);
            }
        }
    }
}

struct Connection {
    pass: Pass,
    /// The address, and behind a tab the subject of the certificate.
    sender: Vec<u8>,
    framer: Framer,
    pending: Pending,
}

/// How a read went.
enum Heard {
    Messages,
    End,
    /// The stream cannot be followed.
    Nonsense(super::framing::FramingError),
}

impl Connection {
    fn new(pass: Pass, peer: Option<String>) -> Self {
        let intake = &pass.door.intake;
        let framer = Framer::new(intake.bytes_max, true);
        let pending = Pending::new(intake.shard(pass.sender));
        let mut sender = pass.sender.map(|address| address.to_string()).unwrap_or_default();
        if let Some(peer) = peer {
            sender.push('\t');
            sender.push_str(&peer);
        }
        Self { pass, sender: sender.into_bytes(), framer, pending }
    }

    async fn run(mut self, mut stream: impl AsyncRead + Unpin) {
        let intake = self.pass.door.intake.clone();
        loop {
            let Some(heard) = self.next(&mut stream).await else {
                self.finish();
                self.append(&intake).await;
                return;
            };
            if !self.append(&intake).await {
                return;
            }
            match heard {
                Heard::Messages => tokio::task::yield_now().await,
                Heard::End => return,
                Heard::Nonsense(error) => {
                    let sender = String::from_utf8_lossy(&self.sender);
                    // As with handshakes: the first is told.
                    if intake.statistics.framing_errors.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::warn!(
                            %sender,
                            %error,
                            help = "let the sender count as RFC 6587 says, or end its messages by newlines",
                            "a stream cannot be followed and is closed; further ones are counted"
                        );
                    } else {
                        tracing::debug!(%sender, %error, "a stream cannot be followed and is closed");
                    }
                    return;
                }
            }
        }
    }

    /// What is heard next; `None` when nothing more is waited for.
    async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Option<Heard> {
        let door = self.pass.door.clone();
        let mut hear = poll_fn(|context| self.hear(Pin::new(&mut *stream), context));
        match door.unless_stopped(timeout(door.idle_timeout, &mut hear)).await {
            Some(Ok(heard)) => Some(heard),
            Some(Err(_)) => {
                count(&door.intake.statistics.idle_closed);
                None
            }
            None => door.at_stop(hear).await,
        }
    }

    /// Takes what is left when nothing more will come.
    fn finish(&mut self) {
        let (pending, sender, now) = (&mut self.pending, &self.sender, Timestamp::now());
        self.framer.finish(&mut |framed| pending.add(now, sender, &framed));
    }

    /// Reads once and takes the messages that are whole.
    fn hear(&mut self, stream: Pin<&mut impl AsyncRead>, context: &mut Context<'_>) -> Poll<Heard> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = ready!(stream.poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                self.finish();
                return Poll::Ready(Heard::End);
            }
            let received_at = Timestamp::now();
            let (pending, sender) = (&mut self.pending, &self.sender);
            let mut take = |framed: super::Framed<'_>| pending.add(received_at, sender, &framed);
            Poll::Ready(match self.framer.push(buffer.filled(), &mut take) {
                Ok(()) => Heard::Messages,
                Err(error) => Heard::Nonsense(error),
            })
        })
    }

    /// Appends what is pending; a full spool and a limit make the sender wait, by not reading on.
    /// Returns whether to read on: not if the spool is full at a stop.
    async fn append(&mut self, intake: &Intake) -> bool {
        let mut told = false;
        let sender = self.pass.sender;
        intake.spend(sender, self.pending.count, self.pending.bytes);
        while let Err(error) = intake.append(&mut self.pending) {
            if intake.stopped() {
                self.finish();
                intake.append_last(&mut self.pending);
                return false;
            }
            if !std::mem::replace(&mut told, true) {
                let sender = String::from_utf8_lossy(&self.sender);
                tracing::debug!(%sender, %error, "a sender has to wait");
            }
            tokio::time::sleep(FULL_PAUSE).await;
        }
        // An idle connection holds no buffer.
        self.pending.records = Vec::new();
        while let Some(wait) = intake.wait(sender).filter(|_| !intake.stopped()) {
            tokio::time::sleep(wait).await;
        }
        true
    }
}
