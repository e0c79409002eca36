//! Syslog over UDP: one datagram, one message (RFC 5426).

use super::{Framed, Intake, Pending};
use crate::accounting::DropReason;
use crate::source::file::cut;
use crate::source::syslog::framing::trimmed;
use crate::spool::AppendError;
use crate::sync::lock;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the kernel may hold for us while we write; it grants as much as `net.core.rmem_max` allows.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// So many datagrams are gathered for one write to the spool.
const GATHER_MAX: usize = 256;
/// How long to wait for a datagram; it bounds how late a stop is noticed.
const NAP: Duration = Duration::from_millis(200);
/// How often the kernel's drops are looked up.
const KERNEL_DROPS_INTERVAL: Duration = Duration::from_secs(1);

/// A running UDP listener.
#[derive(Debug)]
pub(super) struct Udp {
    address: SocketAddr,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Udp {
    pub(super) fn start(address: SocketAddr, intake: &Arc<Intake>) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).map_err(|error| {
            io::Error::other(format!("cannot listen at udp {address}: {error}"))
        })?;
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES);
        let address = socket.local_addr()?;
        let intake = intake.clone();
        let thread = std::thread::Builder::new()
            .name("syslog-udp".into())
            .spawn(move || Receiver::new(socket, intake).run())?;
        Ok(Self { address, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn stop(&self) {
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

struct Receiver {
    socket: UdpSocket,
    intake: Arc<Intake>,
    /// By shard, reused.
    pending: HashMap<usize, Pending>,
    error_told: bool,
    inode: u64,
    drops_looked_up: Instant,
}

impl Receiver {
    fn new(socket: UdpSocket, intake: Arc<Intake>) -> Self {
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&socket));
        let inode = std::fs::metadata(link).map_or(0, |metadata| metadata.ino());
        Self {
            socket,
            intake,
            pending: HashMap::new(),
            error_told: false,
            inode,
            drops_looked_up: Instant::now(),
        }
    }

    fn run(mut self) {
        let mut buffer = vec![0; 1 << 16];
        while !self.intake.stopped() {
            self.gather(&mut buffer);
            self.append();
            if self.drops_looked_up.elapsed() >= KERNEL_DROPS_INTERVAL {
                self.drops_looked_up = Instant::now();
                if let Some(drops) = kernel_drops(self.inode) {
                    self.intake.statistics.kernel_drops.store(drops, Ordering::Relaxed);
                }
            }
        }
    }

    /// Waits for a datagram and takes what has come with it.
    fn gather(&mut self, buffer: &mut [u8]) {
        let waiting = self.socket.set_nonblocking(false).is_ok()
            && self.socket.set_read_timeout(Some(NAP)).is_ok();
        if !waiting {
            std::thread::sleep(NAP);
        }
        for index in 0..GATHER_MAX {
            match self.socket.recv_from(buffer) {
                Ok((length, sender)) => self.take(&buffer[..length], sender),
                Err(_) => return,
            }
            if index == 0 && self.socket.set_nonblocking(true).is_err() {
                return;
            }
        }
    }

    fn take(&mut self, datagram: &[u8], sender: SocketAddr) {
        let shard = self.intake.shard(sender.ip());
        let message = trimmed(datagram);
        if message.is_empty() {
            return self.intake.count_drop(shard, DropReason::EmptyLine, 1);
        }
        if lock(&self.intake.pace).wait(Instant::now()).is_some() {
            return self.intake.count_drop(shard, DropReason::RateLimit, 1);
        }
        let kept = cut(message, self.intake.bytes_max);
        let original_bytes = (kept.len() < message.len()).then_some(message.len() as u32);
        let framed = Framed { bytes: kept.to_vec(), original_bytes };
        let pending = self.pending.entry(shard).or_insert_with(|| self.intake.pending(sender.ip()));
        pending.add(&sender.ip().to_canonical().to_string(), &framed);
    }

    fn append(&mut self) {
        for pending in self.pending.values_mut() {
            let count = pending.count;
            match self.intake.append(pending) {
                Ok(()) => self.error_told &= count == 0,
                Err(error) => {
                    let reason = match error {
                        AppendError::Full => DropReason::SpoolFull,
                        AppendError::Io(_) => DropReason::SpoolError,
                    };
                    self.intake.count_drop(pending.shard, reason, count);
                    pending.clear();
                    if !std::mem::replace(&mut self.error_told, true) {
                        tracing::warn!(%error, "syslog over udp: messages are dropped and counted");
                    }
                }
            }
        }
    }
}

/// How many datagrams the kernel has thrown away for the socket, from `/proc/net/udp` and `udp6`:
/// the inode is the tenth column, the drops are the last one.
fn kernel_drops(inode: u64) -> Option<u64> {
    let wanted = inode.to_string();
    ["/proc/net/udp", "/proc/net/udp6"].iter().find_map(|path| {
        let table = std::fs::read_to_string(path).ok()?;
        let row = table.lines().find(|row| row.split_whitespace().nth(9) == Some(&wanted))?;
        row.split_whitespace().last()?.parse().ok()
    })
}
