//! How a broker is set up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Partitions of a topic whose creator leaves the number to the broker.
pub const PARTITIONS_DEFAULT: u32 = 4;
/// Kafka's default.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Smaller than Kafka's 1 GiB: retention removes whole segments, and one machine's disk is small.
pub const SEGMENT_BYTES_DEFAULT: u64 = 128 << 20;
/// What a power cut may take; a killed process loses nothing, as the page cache outlives it.
pub const FSYNC_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Large enough for any client's batch (librdkafka: 1 MB), small enough to be held in memory often.
pub const MESSAGE_BYTES_MAX_DEFAULT: u32 = 8 << 20;
/// Kafka's `socket.request.max.bytes`.
pub const REQUEST_BYTES_MAX_DEFAULT: u32 = 100 << 20;
/// One thread each; agents and workers of one machine need a few dozen.
pub const CONNECTIONS_MAX_DEFAULT: usize = 1000;
/// Time for the members of a new group to arrive together, before partitions are first assigned.
pub const REBALANCE_DELAY_DEFAULT: Duration = Duration::from_millis(250);

/// Settings of one broker; [`BrokerConfig::new`] has all defaults.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The host that clients are told to connect to. Default: the address they reached.
    pub advertised_host: Option<String>,
    /// Where everything is kept; one broker per directory.
    pub data_dir: PathBuf,
    /// Partitions of topics created without a number, 1 to 1000.
    pub default_partitions: u32,
    /// Whether asking for a topic creates it. Default: no.
    pub auto_create_topics: bool,
    /// How long records are kept after they were appended, unless the topic says otherwise; `None`:
    /// for ever.
    pub retention: Option<Duration>,
    /// How much of each partition is kept, unless the topic says otherwise; `None`: everything.
    pub retention_bytes: Option<u64>,
    /// Size at which a new segment is begun, unless the topic says otherwise; at least 4 KiB.
    pub segment_bytes: u64,
    /// The largest batch, unless the topic says otherwise.
    pub message_bytes_max: u32,
    /// How often appended records are made safe against a power cut; zero: before each
    /// acknowledgement.
    pub fsync_interval: Duration,
    /// Connections over this number are closed at once.
    pub connections_max: usize,
    /// A client that announces a larger request is disconnected.
    pub request_bytes_max: u32,
    /// How long the first members of a group wait for others.
    pub rebalance_delay: Duration,
}

impl BrokerConfig {
    /// A broker with all defaults.
    #[must_use]
    pub fn new(listen: SocketAddr, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            advertised_host: None,
            data_dir: data_dir.into(),
            default_partitions: PARTITIONS_DEFAULT,
            auto_create_topics: false,
            retention: Some(RETENTION_DEFAULT),
            retention_bytes: None,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            message_bytes_max: MESSAGE_BYTES_MAX_DEFAULT,
            fsync_interval: FSYNC_INTERVAL_DEFAULT,
            connections_max: CONNECTIONS_MAX_DEFAULT,
            request_bytes_max: REQUEST_BYTES_MAX_DEFAULT,
            rebalance_delay: REBALANCE_DELAY_DEFAULT,
        }
    }
}
