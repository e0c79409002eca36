//! Syslog from the network and from this host: what arrives is in the spool before anything else
//! happens to it.
//!
//! A sender stays in one shard, so its messages keep their order. A full spool makes streams wait
//! and costs datagrams, which are counted. Nothing that a sender claims decides over memory, files
//! or topics.

mod bind;
mod datagram;
mod framing;
mod stream;
mod tls;

pub(crate) use framing::{Framed, Framer};

use crate::accounting::DropReason;
use crate::config::{Listen, Network, SyslogConfig};
use crate::limits::{Pace, SenderPaces};
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
use std::time::Duration;

/// A longer name of a spool is replaced by its hash: file names are of at most 255 bytes.
const SPOOL_NAME_BYTES_MAX: usize = 200;

/// What a source's listeners and their connections share.
#[derive(Debug)]
pub(crate) struct Intake {
    spools: Arc<SpoolSet>,
    pace: Mutex<Pace>,
    sender_paces: SenderPaces,
    bytes_max: usize,
    allow: Vec<Network>,
    stop: Arc<AtomicBool>,
    pub(crate) statistics: Statistics,
}

/// What happened on the network besides messages.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) connections_open: AtomicU64,
    /// Closed at once, because there were too many.
    pub(crate) connections_refused: AtomicU64,
    /// Closed at once, because `allow` does not have the sender.
    pub(crate) senders_refused: AtomicU64,
    /// Closed, because nothing came for too long.
    pub(crate) idle_closed: AtomicU64,
    /// Closed, because TLS did not come about.
    pub(crate) handshake_failures: AtomicU64,
    /// Closed, because the stream could not be followed.
    pub(crate) framing_errors: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A running syslog source.
#[derive(Debug)]
pub(crate) struct Syslog {
    /// See [`crate::config::Common`].
    said: String,
    intake: Arc<Intake>,
    datagrams: datagram::Datagrams,
    streams: Option<stream::Streams>,
}

/// Where a source listens: what the system has made of what was configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    pub udp: Option<SocketAddr>,
    pub tcp: Option<SocketAddr>,
    pub tls: Option<SocketAddr>,
    pub unix_datagram: Option<String>,
    pub unix_stream: Option<String>,
}

impl Syslog {
    /// Opens the spools and binds the listeners.
    ///
    /// # Errors
    /// A place that cannot be listened at, a certificate, or a spool that cannot be opened.
    pub(crate) fn start(
        context: &Context,
        spool_directory: &Path,
        config: &SyslogConfig,
    ) -> io::Result<Self> {
        Self::listen(Arc::new(Self::open_spools(context, spool_directory, config)?), config)
    }

    /// # Errors
    /// A spool that cannot be opened.
    pub(crate) fn open_spools(
        context: &Context,
        spool_directory: &Path,
        config: &SyslogConfig,
    ) -> io::Result<SpoolSet> {
        let name = spool_name(&config.listen);
        SpoolSet::open(context, spool_directory, ("syslog", &name), &config.common, &config.spool)
    }

    /// Binds the listeners; what they receive goes into `spools`.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub(crate) fn listen(spools: Arc<SpoolSet>, config: &SyslogConfig) -> io::Result<Self> {
        let intake = Arc::new(Intake {
            spools,
            pace: Mutex::new(config.common.limits.pace()),
            sender_paces: SenderPaces::new(config.common.limits.per_sender.clone()),
            bytes_max: config.common.line_bytes_max,
            allow: config.allow.clone(),
            stop: Arc::new(AtomicBool::new(false)),
            statistics: Statistics::default(),
        });
        let datagrams = datagram::Datagrams::start(&intake, config)?;
        let streams = stream::Streams::start(&intake, config).inspect_err(|_| {
            // The agent may go on without this source: nothing of it may.
            intake.stop.store(true, Ordering::Release);
            datagrams.stop();
        })?;
        Ok(Self { said: config.common.said.clone(), intake, datagrams, streams })
    }

    pub(crate) fn tails(&self) -> &[Arc<SpoolTail>] {
        self.intake.spools.tails()
    }

    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    pub(crate) fn spools(&self) -> &Arc<SpoolSet> {
        &self.intake.spools
    }

    pub(crate) fn statistics(&self) -> &Statistics {
        &self.intake.statistics
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> Addresses {
        let mut addresses =
            self.streams.as_ref().map(stream::Streams::addresses).unwrap_or_default();
        self.datagrams.tell_addresses(&mut addresses);
        addresses
    }

    /// Ends the listeners; what has been received is in the spool.
    pub(crate) fn stop(&self) {
        self.intake.stop.store(true, Ordering::Release);
        self.datagrams.stop();
        if let Some(streams) = &self.streams {
            streams.stop();
        }
    }
}

/// The spool is found again by where the source listens, and no other source has it.
pub(crate) fn spool_name(listen: &Listen) -> String {
    let places = listen.places();
    let at = |wanted: &str| {
        let place = places.iter().find(|(protocol, _)| *protocol == wanted);
        place.map_or("none", |(_, place)| place.as_str())
    };
    let mut name = format!("syslog-udp-{}-tcp-{}", at("udp"), at("tcp"));
    for (protocol, place) in &places {
        if !["udp", "tcp"].contains(protocol) {
            // With `_` for each slash, others must not stand for themselves.
            let place = place.replace('%', "%25").replace('_', "%5F").replace('/', "_");
            name.push_str(&format!("-{protocol}-{place}"));
        }
    }
    if name.len() > SPOOL_NAME_BYTES_MAX {
        name = format!("syslog-{:016x}", crate::delivery::content_hash(name.as_bytes()));
    }
    name
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

    fn allows(&self, sender: IpAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|network| network.contains(sender))
    }

    /// The shard of a sender; this host's own messages are in the first.
    fn shard(&self, sender: Option<IpAddr>) -> usize {
        let bytes = match sender.map(|sender| sender.to_canonical()) {
            None => return 0,
            Some(IpAddr::V4(address)) => address.octets().to_vec(),
            Some(IpAddr::V6(address)) => address.octets().to_vec(),
        };
        (crate::delivery::content_hash(&bytes) % self.spools.tails().len() as u64) as usize
    }

    /// How long a sender has to wait for its own limit and for the source's; `None` if it need not.
    fn wait(&self, sender: Option<IpAddr>) -> Option<Duration> {
        let own = sender.and_then(|sender| self.sender_paces.wait(sender));
        own.max(lock(&self.pace).wait())
    }

    /// Notes on a sender's account what it has sent.
    fn spend(&self, sender: Option<IpAddr>, events: u64, bytes: u64) {
        if let Some(sender) = sender {
            self.sender_paces.spend(sender, events, bytes);
        }
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
        lock(&self.pace).spend(pending.count, pending.bytes);
        pending.clear();
        Ok(())
    }

    /// The same at a stop, when nothing can wait for room any more.
    fn append_last(&self, pending: &mut Pending) {
        self.spools.append_last(pending.shard, &pending.records, pending.count);
        pending.clear();
    }
}

impl Pending {
    fn new(shard: usize) -> Self {
        Self { shard, records: Vec::new(), count: 0, bytes: 0 }
    }

    fn add(&mut self, received_at: Timestamp, sender: &[u8], framed: &Framed<'_>) {
        let Framed { bytes, original_bytes, unterminated } = *framed;
        let message = Message { received_at, original_bytes, unterminated, sender, bytes };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UnixConfig;

    #[test]
    fn each_place_has_a_spool_of_its_own() {
        let unix =
            |path: &str| Some(UnixConfig { path: path.into(), mode: 0, owner: None, group: None });
        let name = |datagram: &str, stream: &str| {
            let (unix_datagram, unix_stream) = (unix(datagram), unix(stream));
            spool_name(&Listen { unix_datagram, unix_stream, ..Listen::default() })
        };
        assert_eq!(
            name("/run/app/log.sock", "/dev/log"),
            "syslog-udp-none-tcp-none-unix_datagram-_run_app_log.sock-unix_stream-_dev_log"
        );
        let paths = ["/a/b", "/a_b", "/a%5Fb", "/a/_b", "/a_/b", "/a-unix_stream-/b"];
        let pairs = paths.iter().flat_map(|one| paths.iter().map(|other| name(one, other)));
        let names: std::collections::BTreeSet<String> = pairs.collect();
        assert_eq!(names.len(), paths.len() * paths.len(), "{names:?}");
    }
}
