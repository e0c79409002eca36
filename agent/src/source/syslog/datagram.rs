//! Syslog in datagrams, over UDP (RFC 5426) and on this host: one datagram, one message.
//!
//! A thread per socket takes many datagrams with one system call and writes them to the spool with
//! one more. What the kernel had to throw away meanwhile is counted as read and dropped, so that
//! nothing that was sent to a socket of ours is in no account.

use super::bind::{self, UnixPlace};
use super::{Addresses, Framed, Intake, Pending};
use crate::accounting::DropReason;
use crate::config::SyslogConfig;
use crate::source::file::cut;
use crate::source::syslog::framing::trimmed;
use crate::sync::lock;
use jiff::Timestamp;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// So many datagrams are taken with one system call.
const BATCH: usize = 64;
/// So much is kept of a datagram: by UDP there are none that are larger, a unix socket may bring some.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// How long to wait for a datagram; it bounds how late a stop is noticed.
const NAP: Duration = Duration::from_millis(200);
/// How often the kernel's drops are looked up.
const KERNEL_DROPS_INTERVAL: Duration = Duration::from_secs(1);

/// The running sockets of a source.
#[derive(Debug)]
pub(super) struct Datagrams {
    udp: Option<SocketAddr>,
    unix: Option<String>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _place: Option<UnixPlace>,
}

impl Datagrams {
    pub(super) fn start(intake: &Arc<Intake>, config: &SyslogConfig) -> io::Result<Self> {
        let listen = &config.listen;
        let mut sockets: Vec<(&str, OwnedFd)> = Vec::new();
        let mut datagrams = Self { udp: None, unix: None, threads: Mutex::default(), _place: None };
        if let Some(address) = &listen.udp {
            let bound = bind::udp(address, config.sockets)?;
            datagrams.udp = bound.first().map(UdpSocket::local_addr).transpose()?;
            for socket in bound {
                socket.set_read_timeout(Some(NAP))?;
                sockets.push(("syslog-udp", socket.into()));
            }
        }
        if let Some(unix) = &listen.unix_datagram {
            let (socket, place) = bind::unix_datagram(unix)?;
            socket.set_read_timeout(Some(NAP))?;
            datagrams.unix = Some(unix.path.clone());
            datagrams._place = Some(place);
            sockets.push(("syslog-unix", socket.into()));
        }
        for (name, socket) in sockets {
            let receiver = Receiver::new(socket, intake.clone());
            let thread =
                std::thread::Builder::new().name(name.into()).spawn(move || receiver.run())?;
            lock(&datagrams.threads).push(thread);
        }
        Ok(datagrams)
    }

    pub(super) fn tell_addresses(&self, addresses: &mut Addresses) {
        addresses.udp = self.udp;
        addresses.unix_datagram.clone_from(&self.unix);
    }

    pub(super) fn stop(&self) {
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

struct Receiver {
    socket: OwnedFd,
    intake: Arc<Intake>,
    /// By shard, reused.
    pending: HashMap<usize, Pending>,
    error_told: bool,
    inode: u64,
    kernel_drops: u64,
    drops_looked_up: Instant,
}

impl Receiver {
    fn new(socket: OwnedFd, intake: Arc<Intake>) -> Self {
        let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let inode = std::fs::metadata(link).map_or(0, |metadata| metadata.ino());
        Self {
            socket,
            intake,
            pending: HashMap::new(),
            error_told: false,
            inode,
            // A socket of systemd's may have lost some before it was ours.
            kernel_drops: kernel_drops(inode).unwrap_or(0),
            drops_looked_up: Instant::now(),
        }
    }

    fn run(mut self) {
        let mut buffer = vec![0; BATCH * DATAGRAM_BYTES_MAX];
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        while !self.intake.stopped() {
            self.gather(&mut buffer, &mut headers);
            self.append();
            if self.drops_looked_up.elapsed() >= KERNEL_DROPS_INTERVAL {
                self.count_kernel_drops();
            }
        }
        // What has come is accepted, also when it has not been read yet.
        while self.gather(&mut buffer, &mut headers) == BATCH {
            self.append();
        }
        self.append();
        self.count_kernel_drops();
    }

    /// Waits for a datagram and takes what has come with it; returns how many there were.
    fn gather(&mut self, buffer: &mut [u8], headers: &mut MultiHeaders<SockaddrStorage>) -> usize {
        let mut slices: Vec<_> =
            buffer.chunks_mut(DATAGRAM_BYTES_MAX).map(|slot| [IoSliceMut::new(slot)]).collect();
        let socket = self.socket.as_raw_fd();
        // With MSG_TRUNC the length is that of the datagram, also where not all of it was kept.
        let flags = MsgFlags::MSG_WAITFORONE | MsgFlags::MSG_TRUNC;
        let received = match recvmmsg(socket, headers, slices.iter_mut(), flags, None) {
            Ok(received) => received,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return 0,
            Err(error) => {
                tracing::debug!(%error, "datagrams cannot be read");
                std::thread::sleep(NAP);
                return 0;
            }
        };
        let received_at = Timestamp::now();
        let mut count = 0;
        for message in received {
            count += 1;
            let sender = message.address.as_ref().and_then(address);
            if let Some(datagram) = message.iovs().next() {
                self.take(received_at, datagram, message.bytes, sender);
            }
        }
        count
    }

    /// Takes what was kept of a datagram of `length` bytes.
    fn take(
        &mut self,
        received_at: Timestamp,
        datagram: &[u8],
        length: usize,
        sender: Option<IpAddr>,
    ) {
        let shard = self.intake.shard(sender);
        if sender.is_some_and(|sender| !self.intake.allows(sender)) {
            return self.intake.count_drop(shard, DropReason::NotAllowed, 1);
        }
        let message = trimmed(datagram);
        if message.is_empty() {
            return self.intake.count_drop(shard, DropReason::EmptyLine, 1);
        }
        if self.intake.wait(sender).is_some() {
            return self.intake.count_drop(shard, DropReason::RateLimit, 1);
        }
        self.intake.spend(sender, 1, message.len() as u64);
        let kept = cut(message, self.intake.bytes_max);
        let whole = if length > datagram.len() { length } else { message.len() };
        let original_bytes = (kept.len() < whole).then_some(whole as u32);
        let pending = self.pending.entry(shard).or_insert_with(|| Pending::new(shard));
        let sender = sender.map(|sender| sender.to_canonical().to_string()).unwrap_or_default();
        pending.add(received_at, sender.as_bytes(), &Framed::whole(kept, original_bytes));
    }

    fn append(&mut self) {
        for pending in self.pending.values_mut() {
            let count = pending.count;
            match self.intake.append(pending) {
                Ok(()) => self.error_told &= count == 0,
                Err(error) => {
                    self.intake.count_drop(pending.shard, error.reason(), count);
                    pending.clear();
                    if !std::mem::replace(&mut self.error_told, true) {
                        tracing::warn!(%error, "syslog in datagrams: messages are dropped and counted");
                    }
                }
            }
        }
    }

    fn count_kernel_drops(&mut self) {
        self.drops_looked_up = Instant::now();
        let Some(drops) = kernel_drops(self.inode) else { return };
        // A counter of 32 bits in older kernels: it may have begun anew.
        let new = drops.checked_sub(self.kernel_drops).unwrap_or(drops);
        self.kernel_drops = drops;
        if new > 0 {
            self.intake.count_drop(0, DropReason::Kernel, new);
        }
    }
}

fn address(storage: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
}

/// How many datagrams the kernel has thrown away for the socket, from `/proc/net/udp` and `udp6`:
/// the inode is the tenth column, the drops are the last one. `SO_RXQ_OVFL` would tell only with the
/// next datagram, and so never of the last ones.
fn kernel_drops(inode: u64) -> Option<u64> {
    let wanted = inode.to_string();
    ["/proc/net/udp", "/proc/net/udp6"].iter().find_map(|path| {
        let table = std::fs::read_to_string(path).ok()?;
        let row = table.lines().find(|row| row.split_whitespace().nth(9) == Some(&wanted))?;
        row.split_whitespace().last()?.parse().ok()
    })
}
