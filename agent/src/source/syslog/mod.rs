//! Syslog over UDP and TCP: what arrives is in the spool before anything else happens to it.
//!
//! A sender stays in one shard, so its messages keep their order. A full spool makes TCP senders
//! wait and costs UDP senders messages, which are counted. Nothing that a sender claims decides over
//! memory, files or topics.

mod framing;
mod tcp;
mod udp;

pub(crate) use framing::{Framed, Framer};

use crate::accounting::DropReason;
use crate::config::SyslogConfig;
use crate::limits::Pace;
use crate::source::spooled::SpoolTail;
use crate::source::{Context, SpoolSet};
use crate::spool::{AppendError, Message, encode};
use crate::sync::lock;
use jiff::Timestamp;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What a listener shares with its connections.
#[derive(Debug)]
pub(crate) struct Intake {
    spools: SpoolSet,
    pace: Mutex<Pace>,
    bytes_max: usize,
    stop: Arc<AtomicBool>,
    pub(crate) statistics: Statistics,
}

/// What happened on the network besides messages.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) connections_open: AtomicU64,
    /// Closed at once, because there were too many.
    pub(crate) connections_refused: AtomicU64,
    /// Closed, because the stream could not be followed.
    pub(crate) framing_errors: AtomicU64,
    /// Datagrams that the kernel threw away before they were read.
    pub(crate) kernel_drops: AtomicU64,
}

/// A running syslog source.
#[derive(Debug)]
pub(crate) struct Syslog {
    intake: Arc<Intake>,
    udp: Option<udp::Udp>,
    tcp: Option<tcp::Tcp>,
}

impl Syslog {
    /// Binds the listeners and opens the spools.
    ///
    /// # Errors
    /// An address that cannot be bound, or a spool that cannot be opened.
    pub(crate) fn start(
        context: &Arc<Context>,
        spool_directory: &Path,
        config: SyslogConfig,
    ) -> io::Result<Self> {
        let at = |address: Option<SocketAddr>| {
            address.map_or_else(|| "none".to_owned(), |address| address.to_string())
        };
        let name = format!("syslog-udp-{}-tcp-{}", at(config.udp), at(config.tcp));
        let spools = SpoolSet::open(
            context,
            spool_directory,
            ("syslog", &name),
            &config.common,
            &config.spool,
        )?;
        let intake = Arc::new(Intake {
            spools,
            pace: Mutex::new(Pace::new(config.common.limits)),
            bytes_max: config.common.line_bytes_max,
            stop: Arc::new(AtomicBool::new(false)),
            statistics: Statistics::default(),
        });
        let udp = config.udp.map(|address| udp::Udp::start(address, &intake)).transpose()?;
        let tcp =
            config.tcp.map(|address| tcp::Tcp::start(address, &intake, &config)).transpose()?;
        Ok(Self { intake, udp, tcp })
    }

    pub(crate) fn tails(&self) -> &[Arc<SpoolTail>] {
        self.intake.spools.tails()
    }

    pub(crate) fn statistics(&self) -> &Statistics {
        &self.intake.statistics
    }

    /// Where it listens: (UDP, TCP).
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.udp.as_ref().map(udp::Udp::address), self.tcp.as_ref().map(tcp::Tcp::address))
    }

    /// Ends the listeners; what has been received is in the spool.
    pub(crate) fn stop(&self) {
        self.intake.stop.store(true, Ordering::Release);
        if let Some(udp) = &self.udp {
            udp.stop();
        }
        if let Some(tcp) = &self.tcp {
            tcp.stop();
        }
    }
}

/// Messages of one sender on their way into its shard.
#[derive(Debug)]
struct Pending {
    shard: usize,
    records: Vec<u8>,
    count: u64,
    bytes: u64,
}

impl Intake {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The shard of a sender.
    fn shard(&self, sender: IpAddr) -> usize {
        let bytes = match sender.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        (crate::delivery::content_hash(&bytes) % self.spools.tails().len() as u64) as usize
    }

    fn pending(&self, sender: IpAddr) -> Pending {
        Pending { shard: self.shard(sender), records: Vec::new(), count: 0, bytes: 0 }
    }

    fn count_drop(&self, shard: usize, reason: DropReason, count: u64) {
        self.spools.tails()[shard].spool().count_drop(reason, count);
    }

    /// Appends what is pending; on success it is empty.
    fn append(&self, pending: &mut Pending) -> Result<(), AppendError> {
        if pending.count == 0 {
            return Ok(());
        }
        self.spools.append(pending.shard, &pending.records, pending.count)?;
        lock(&self.pace).spend(Instant::now(), pending.count, pending.bytes);
        pending.clear();
        Ok(())
    }
}

impl Pending {
    fn add(&mut self, sender: &str, framed: &Framed) {
        let message = Message {
            received_at: Timestamp::now(),
            original_bytes: framed.original_bytes,
            sender: sender.as_bytes(),
            bytes: &framed.bytes,
        };
        encode(&message, &mut self.records);
        self.count += 1;
        self.bytes += framed.bytes.len() as u64;
    }

    fn clear(&mut self) {
        self.records.clear();
        self.count = 0;
        self.bytes = 0;
    }
}
