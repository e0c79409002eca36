//! Counting: read = delivered + held + dropped (by reason), exactly, at every moment.
//!
//! The counters of a source change only under its lane's lock, a chunk at a time, and the three
//! sides are counted apart from each other, so that the equation can be checked and does not hold
//! by definition.

use crate::published::PublishedSnapshot;
use crate::source::syslog::Syslog;
use crate::spool::SpoolSnapshot;
use crate::sync::{read, write};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, RwLock};

/// Why an event did not go to the events' topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum DropReason {
    /// A line without a character.
    EmptyLine,
    /// A rule says so, for this reason of its own.
    Rule(RuleReason),
    /// A rule delivers a sample only.
    Sampled,
    /// Larger than Kafka takes; a copy is in the dead-letter topic.
    TooLarge,
    /// Refused by the broker; a copy is in the dead-letter topic.
    Refused,
    /// Refused by the broker, and so was the copy.
    DeadLetterRefused,
    /// The file was truncated before Kafka had acknowledged what was read of it.
    TruncatedUnacknowledged,
    /// A message over a rate limit, from a sender that cannot be made to wait.
    RateLimit,
    /// A message that found the spool full, from a sender that cannot be made to wait.
    SpoolFull,
    /// The spool could not be written.
    SpoolError,
    /// The spool was damaged on disk.
    SpoolDamaged,
    /// A datagram that the kernel threw away because the agent did not read fast enough.
    Kernel,
    /// A datagram from an address that `allow` does not have.
    NotAllowed,
    /// An entry of the journal that its file does not give back.
    JournalDamaged,
}

/// The reasons but for those of rules, in the order of the counters.
pub(crate) const OWN_REASONS: [DropReason; 13] = [
    DropReason::EmptyLine,
    DropReason::Sampled,
    DropReason::TooLarge,
    DropReason::Refused,
    DropReason::DeadLetterRefused,
    DropReason::TruncatedUnacknowledged,
    DropReason::RateLimit,
    DropReason::SpoolFull,
    DropReason::SpoolError,
    DropReason::SpoolDamaged,
    DropReason::Kernel,
    DropReason::NotAllowed,
    DropReason::JournalDamaged,
];

/// The counters: the agent's own reasons, then those of rules.
const COUNTERS: usize = OWN_REASONS.len() + RuleReason::MAX;

/// Why a rule drops lines: the word behind its `drop:`, by a number that stays the same while the
/// agent runs, whatever rules come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RuleReason(u8);

impl RuleReason {
    /// As many reasons as one rule set may have. Further ones, after rules were replaced, share the
    /// first number, which is called `rule`.
    const MAX: usize = logweir_parsers::DROP_REASONS_MAX;

    /// The number of a reason, given now if it has none yet.
    pub(crate) fn of(reason: &str) -> Self {
        let mut words = write(&RULE_WORDS);
        let known = words.iter().position(|word| word.strip_prefix(RULE_PREFIX) == Some(reason));
        let number = known.unwrap_or_else(|| {
            if words.len() == Self::MAX {
                return 0;
            }
            // Kept for as long as the agent runs; there are at most `MAX`.
            words.push(format!("{RULE_PREFIX}{reason}").leak());
            words.len() - 1
        });
        Self(number as u8)
    }

    fn word(self) -> &'static str {
        read(&RULE_WORDS)[usize::from(self.0)]
    }
}

const RULE_PREFIX: &str = "rule:";

/// The words of [`RuleReason`], by number.
static RULE_WORDS: LazyLock<RwLock<Vec<&'static str>>> =
    LazyLock::new(|| RwLock::new(vec!["rule"]));

impl DropReason {
    /// The word for it in counters, logs and dead letters.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::EmptyLine => "empty_line",
            Self::Rule(reason) => reason.word(),
            Self::Sampled => "sampled",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::DeadLetterRefused => "dead_letter_refused",
            Self::TruncatedUnacknowledged => "truncated_unacknowledged",
            Self::RateLimit => "rate_limit",
            Self::SpoolFull => "spool_full",
            Self::SpoolError => "spool_error",
            Self::SpoolDamaged => "spool_damaged",
            Self::Kernel => "kernel",
            Self::NotAllowed => "not_allowed",
            Self::JournalDamaged => "journal_damaged",
        }
    }

    /// Its counter.
    fn index(self) -> usize {
        match self {
            Self::Rule(reason) => OWN_REASONS.len() + usize::from(reason.0),
            own => OWN_REASONS.iter().position(|known| *known == own).unwrap_or_default(),
        }
    }
}

/// Counts of drops by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drops([u64; COUNTERS]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; COUNTERS])
    }
}

impl Drops {
    pub(crate) fn add(&mut self, reason: DropReason, count: u64) {
        self.0[reason.index()] += count;
    }

    #[must_use]
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }

    fn unmerge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine -= theirs);
    }

    /// The reasons that occurred, by their words.
    #[must_use]
    pub(crate) fn by_word(&self) -> BTreeMap<&'static str, u64> {
        let own = OWN_REASONS.into_iter();
        let rules = (0..RuleReason::MAX).map(|number| DropReason::Rule(RuleReason(number as u8)));
        let counts = own.chain(rules).zip(self.0).filter(|(_, count)| *count > 0);
        counts.map(|(reason, count)| (reason.word(), count)).collect()
    }
}

/// What one chunk of a source came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Lines and messages taken from the source.
    pub read: u64,
    /// Those of them that go to the events' topic.
    pub sent: u64,
    /// Those of the sent ones that a rule matched.
    pub parsed: u64,
    pub dropped: Drops,
    /// Bytes of the source that the chunk covers, line ends and skipped stretches included.
    pub bytes: u64,
    /// Bytes with the value 0 in front of a line, as left by a crash or a writer with an old offset.
    pub nul_bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.sent += other.sent;
        self.parsed += other.parsed;
        self.dropped.merge(&other.dropped);
        self.bytes += other.bytes;
        self.nul_bytes += other.nul_bytes;
    }

    /// Undoes [`Tally::add`].
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.read -= other.read;
        self.sent -= other.sent;
        self.parsed -= other.parsed;
        self.dropped.unmerge(&other.dropped);
        self.bytes -= other.bytes;
        self.nul_bytes -= other.nul_bytes;
    }
}

/// The state of one source at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceSnapshot {
    /// The source id as it is in the events.
    pub id: String,
    /// To which of [`Snapshot::configured`] it belongs.
    #[serde(skip)]
    pub configured: Arc<str>,
    /// `file`, `syslog`, `journald` or `stdin`.
    pub kind: &'static str,
    /// The path, or the listener.
    pub name: String,
    /// Up to where the source has been read.
    pub read_offset: u64,
    /// Up to where Kafka has acknowledged.
    pub acked_offset: u64,
    /// Up to where the source goes, as far as is known.
    pub end_offset: u64,
    #[serde(flatten)]
    pub counts: Counts,
    /// For what goes through a spool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolSnapshot>,
}

impl SourceSnapshot {
    /// Bytes of the source that are not acknowledged.
    #[must_use]
    pub fn bytes_behind(&self) -> u64 {
        match &self.spool {
            Some(spool) => spool.backlog_bytes,
            None => self.end_offset.saturating_sub(self.acked_offset),
        }
    }
}

/// Counts since the agent's start. What an earlier run left in a spool counts as read again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    pub read: u64,
    pub delivered: u64,
    pub held: u64,
    pub dropped: BTreeMap<&'static str, u64>,
    pub parsed: u64,
    pub unparsed: u64,
    pub bytes_read: u64,
    pub nul_bytes_skipped: u64,
}

impl Counts {
    /// All drops, whatever the reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether the books are balanced.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.read == self.delivered + self.held + self.dropped_total()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.delivered += other.delivered;
        self.held += other.held;
        for (reason, count) in &other.dropped {
            *self.dropped.entry(reason).or_default() += count;
        }
        self.parsed += other.parsed;
        self.unparsed += other.unparsed;
        self.bytes_read += other.bytes_read;
        self.nul_bytes_skipped += other.nul_bytes_skipped;
    }
}

/// The counts of a source as it is configured: of a pattern of paths, a listener, a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfiguredSnapshot {
    /// What it reads, as the configuration says: the kind and the places. What no configuration says
    /// is under its kind alone.
    pub source: String,
    #[serde(flatten)]
    pub counts: Counts,
}

impl From<(Arc<str>, Counts)> for ConfiguredSnapshot {
    fn from((source, counts): (Arc<str>, Counts)) -> Self {
        Self { source: source.to_string(), counts }
    }
}

/// What happened at the listeners of one syslog source besides messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListenerSnapshot {
    pub udp: Option<String>,
    pub tcp: Option<String>,
    pub tls: Option<String>,
    pub unix_datagram: Option<String>,
    pub unix_stream: Option<String>,
    pub connections_open: u64,
    /// Closed at once, because there were too many.
    pub connections_refused: u64,
    /// Connections closed at once, because `allow` does not have the sender.
    pub senders_refused: u64,
    /// Connections closed because nothing came for too long.
    pub idle_closed: u64,
    /// Connections closed because TLS did not come about.
    pub handshake_failures: u64,
    /// Connections closed because their stream could not be followed.
    pub framing_errors: u64,
}

impl ListenerSnapshot {
    pub(crate) fn of(syslog: &Syslog) -> Self {
        let addresses = syslog.addresses();
        let statistics = syslog.statistics();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shown = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        Self {
            udp: shown(addresses.udp),
            tcp: shown(addresses.tcp),
            tls: shown(addresses.tls),
            unix_datagram: addresses.unix_datagram,
            unix_stream: addresses.unix_stream,
            connections_open: count(&statistics.connections_open),
            connections_refused: count(&statistics.connections_refused),
            senders_refused: count(&statistics.senders_refused),
            idle_closed: count(&statistics.idle_closed),
            handshake_failures: count(&statistics.handshake_failures),
            framing_errors: count(&statistics.framing_errors),
        }
    }
}

/// How often a rule was tried, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleSnapshot {
    pub id: String,
    /// Lines, or parts of them, that it looked at.
    pub tried: u64,
    pub matched: u64,
    /// How often its pattern needed more steps than it is given, and the slower engine was asked.
    pub over_budget: u64,
}

/// The state of the whole agent at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    pub agent_id: String,
    pub agent_name: String,
    pub version: &'static str,
    /// Whether Kafka acknowledges: `connecting`, `up`, `unreachable`, `topic_missing`,
    /// `forbidden` or `clock_refused`.
    pub kafka: &'static str,
    /// Whether the process can open only what its configuration names: `full`, `partial`, `none` (the
    /// kernel has no Landlock) or `off`.
    pub landlock: &'static str,
    /// Log files that are open; those at rest may be closed.
    pub open_files: u64,
    /// How often more files changed than the kernel could tell, so that all were looked at.
    pub watch_overflows: u64,
    /// Files that were gone before all that was known to be in them was read.
    pub files_lost: u64,
    /// What was not read of them.
    pub bytes_lost: u64,
    /// Why it does not, and what to do; empty while it does.
    pub kafka_reason: String,
    /// Messages in the producer's queue or on their way.
    pub kafka_in_flight: u64,
    /// Partitions that were sent something and have acknowledged nothing for ten seconds.
    pub kafka_partitions_stuck: u64,
    /// How often the producer had to be made anew after a failure.
    pub kafka_restarts: u64,
    /// Failures to write the checkpoint since the start.
    pub checkpoint_errors: u64,
    /// Whether the last attempt failed: files that are new wait.
    pub checkpoint_fails: bool,
    #[serde(flatten)]
    pub counts: Counts,
    /// What is configured, each with all that was read for it, also what is not read any more.
    pub configured: Vec<ConfiguredSnapshot>,
    pub listeners: Vec<ListenerSnapshot>,
    pub sources: Vec<SourceSnapshot>,
    /// Those that were tried since they are in use, those that were tried most first.
    pub rules: Vec<RuleSnapshot>,
    /// The digest of all rules in use: equal on hosts that parse alike.
    pub rules_hash: String,
    /// Why changed rules of the host are not in use: their first fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_refused: Option<String>,
    /// Where rules are taken from the topic of the rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishedSnapshot>,
}
