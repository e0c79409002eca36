//! Kafka properties as the user writes them, and the client configuration that comes of them.
//!
//! Names are Kafka's own. Those that librdkafka spells otherwise are translated, every other
//! property of librdkafka passes through, and each value is tried on librdkafka at once, so that a
//! fault is reported where it stands. What would break the delivery promise of a producer is
//! refused. Secrets never leave this type but into the client: `Debug` hides them, and no message
//! quotes one.

pub mod keys;
mod names;
mod whole;

pub use whole::client_fault;

use crate::token;
use logweir_document::reference::Other;
use logweir_document::{
    Faults, Key, Node, Span, Value, nearest, private_file, secret_of_file, secret_path,
};
use names::Meaning;
use rdkafka::config::{ClientConfig, NativeClientConfig};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Which kind of client the properties are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Producer,
    Consumer,
}

/// What holds for every client unless the user says otherwise.
const DEFAULTS_BOTH: &[(&str, &str)] = &[
    ("client.id", "logweir"),
    ("socket.keepalive.enable", "true"),
    // A statically linked OpenSSL knows no directory of certificates; librdkafka looks for one.
    ("ssl.ca.location", "probe"),
    ("reconnect.backoff.max.ms", "5000"),
    // What the programs count stands in their metrics. For brokers that subscribe to more, librdkafka
    // keeps a hundred kilobytes of histograms for each.
    ("enable.metrics.push", "false"),
];

/// Measured in batches of a few hundred bytes per event: larger batches and a linger of 50 ms halve
/// the cost per event against Java's defaults, and the memory is bounded by kilobytes.
const DEFAULTS_PRODUCER: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    // A batch that fails stops the producer, so that nothing behind it can overtake what is sent
    // again.
    ("enable.gapless.guarantee", "true"),
    // Topics are planned (`logweir topics create`), never made by asking for them.
    ("allow.auto.create.topics", "false"),
    ("compression.type", "lz4"),
    ("linger.ms", "50"),
    ("batch.size", "1000000"),
    ("batch.num.messages", "10000"),
    // Five requests of a batch each, and as much again that waits: more only costs memory.
    ("queue.buffering.max.kbytes", "8192"),
    ("queue.buffering.max.messages", "100000"),
    // Without end: the checkpoint, not a clock, decides what is delivered.
    ("delivery.timeout.ms", "0"),
];

/// Memory per worker is bounded, and a full queue is looked at again after 20 ms, not a second.
const DEFAULTS_CONSUMER: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "earliest"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "32768"),
    ("fetch.queue.backoff.ms", "20"),
    ("max.partition.fetch.bytes", "4194304"),
    ("fetch.min.bytes", "65536"),
    ("fetch.wait.max.ms", "50"),
    // How soon added partitions are found.
    ("topic.metadata.refresh.interval.ms", "30000"),
];

/// What the promise of a producer rests on: property, values that keep it, remedy.
const FIXED_PRODUCER: &[(&str, &[&str], &str)] = &[
    ("acks", &["all", "-1"], "with fewer acknowledgements a broker that dies takes events with it"),
    ("enable.idempotence", &["true"], "without it retries change the order of events"),
    ("enable.gapless.guarantee", &["true"], "without it events could overtake one that failed"),
    ("delivery.report.only.error", &["false"], "the checkpoint follows the acknowledgements"),
    ("transactional.id", &[], "transactions are not used; events carry an identity instead"),
    ("partitioner", &[], "the partition is chosen by the source of an event"),
];

/// The same of a consumer.
const FIXED_CONSUMER: &[(&str, &[&str], &str)] = &[
    (
        "partition.assignment.strategy",
        &["cooperative-sticky"],
        "workers hand over single partitions, and go on with the others",
    ),
    ("enable.auto.commit", &["false"], "offsets move when events are written, not by a clock"),
    ("enable.auto.offset.store", &["false"], "offsets move when events are written"),
];

/// What `group.protocol: consumer` (KIP-848) leaves to the brokers: the property, and the broker's for
/// the group.
const LEFT_TO_BROKERS: &[(&str, &str)] = &[
    ("session.timeout.ms", "`consumer.session.timeout.ms` of the group"),
    ("heartbeat.interval.ms", "`consumer.heartbeat.interval.ms` of the group"),
    ("partition.assignment.strategy", "`group.remote.assignor`"),
    ("group.protocol.type", "the protocol itself"),
];

/// Properties whose value is never shown, and never written where the others are: each is read from a
/// file, as `<name>: {file: PATH}` or `<name>.file: PATH`, or from a credential, see [`secret_path`].
const SECRETS: &[&str] = &[
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.config",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// Properties that name a file which librdkafka reads when a client is made.
const FILES: &[&str] = &[
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.crl.location",
];

/// Where the tokens of OAUTHBEARER come from; librdkafka has it only for what it fetches itself.
const TOKEN_URL: &str = "sasl.oauthbearer.token.endpoint.url";
/// What librdkafka hands to the program when it wants a token.
const TOKEN_CONFIG: &str = "sasl.oauthbearer.config";

/// What a build has, whatever libraries it was built with.
const WAYS_IN: &str = "SCRAM-SHA-512, SCRAM-SHA-256 or, over TLS, PLAIN (`sasl.username`, `sasl.password: {file: …}`), or tokens that another program renews in a file (`sasl.mechanism: OAUTHBEARER`, `sasl.oauthbearer.token.endpoint.url: file:///PATH`), or certificates of clients (`security.protocol: ssl`, `ssl.certificate.location`, `ssl.key.location`)";

/// Below this, batches cost more per event than the events themselves.
const BATCH_SIZE_ADVISED: u64 = 65_536;

/// Every name that may be written for a client of `role`, with our default if we have one.
#[must_use]
pub fn described(role: Role) -> Vec<Other> {
    let defaults = || DEFAULTS_BOTH.iter().chain(role.defaults());
    let default =
        |name: &str| defaults().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let written = names::writable().filter(|name| names::role_of(name).is_none_or(|of| of == role));
    let of = |name: &str| Other {
        name: name.to_owned(),
        default: default(name),
        secret: SECRETS.contains(&name),
    };
    let files = SECRETS.iter().map(|name| format!("{name}.file"));
    written.map(of).chain(files.map(|name| of(&name))).collect()
}

impl Role {
    fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Producer => DEFAULTS_PRODUCER,
            Self::Consumer => DEFAULTS_CONSUMER,
        }
    }
}

/// What the user asked for, under librdkafka's names.
#[derive(Clone, PartialEq, Eq)]
pub struct Properties {
    role: Role,
    values: BTreeMap<String, String>,
    /// Where secrets were read from.
    secret_files: BTreeMap<&'static str, PathBuf>,
}

/// What a change of the files shows in that properties come from: inode, size and time of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStamps(Vec<Option<(u64, u64, i64, i64)>>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.values.iter().map(|(name, value)| {
            (name, if SECRETS.contains(&name.as_str()) { "(hidden)" } else { value.as_str() })
        });
        f.debug_map().entries(shown).finish()
    }
}

impl Properties {
    /// Reads the mapping `node`, called `path` in messages; `bootstrap.servers` must be among its
    /// keys. `None` if the node is no mapping; other faults are noted and leave a property out.
    pub fn read(node: &Node, path: &str, role: Role, faults: &mut Faults) -> Option<Self> {
        Self::read_except(node, path, &[], role, faults)
    }

    /// As [`Properties::read`], without the keys `except`, which belong to the caller.
    pub fn read_except(
        node: &Node,
        path: &str,
        except: &[&str],
        role: Role,
        faults: &mut Faults,
    ) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else {
            faults.error(node.span, format!("`{path}` is {}, not a mapping", node.kind())).remedy =
                Some("write at least `bootstrap.servers: host:9092` in it".into());
            return None;
        };
        let mut reader = Reader {
            role,
            path,
            values: BTreeMap::new(),
            spans: BTreeMap::new(),
            secret_files: BTreeMap::new(),
            faults,
        };
        for (key, value) in entries.iter().filter(|(key, _)| !except.contains(&key.name.as_str())) {
            reader.entry(key, value);
        }
        reader.mechanism(node.span);
        reader.group_protocol();
        let Reader { values, secret_files, faults, .. } = reader;
        if !values.contains_key("bootstrap.servers") {
            let of = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
            faults.error(node.span, format!("missing `bootstrap.servers`{of}")).remedy =
                Some("add a line `bootstrap.servers: host:9092`".into());
        }
        Some(Self { role, values, secret_files })
    }

    /// The file that a secret was read from.
    #[must_use]
    pub fn secret_file(&self, name: &str) -> Option<&Path> {
        self.secret_files.get(name).map(PathBuf::as_path)
    }

    /// The same with the secrets that stand in their files now. One whose file cannot be read stays
    /// as it was.
    #[must_use]
    pub fn refreshed(&self) -> Self {
        let mut fresh = self.clone();
        for (name, path) in &self.secret_files {
            if let Ok(text) = std::fs::read_to_string(path) {
                fresh.set(name, text.trim_end_matches(['\r', '\n']));
            }
        }
        fresh
    }

    /// How the files are now that a new client would read: certificates, keys and secrets.
    #[must_use]
    pub fn file_stamps(&self) -> FileStamps {
        let named = FILES.iter().filter_map(|name| self.get(name)).map(Path::new);
        let stamp = |path: &Path| {
            let data = path.metadata().ok()?;
            Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
        };
        let files = named.chain(self.secret_files.values().map(PathBuf::as_path));
        FileStamps(files.map(stamp).collect())
    }

    /// Which kind of client they are for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The file in which tokens are renewed.
    #[must_use]
    pub fn token_file(&self) -> Option<&Path> {
        let unsigned = self.get("enable.sasl.oauthbearer.unsecure.jwt") == Some("true");
        self.get(TOKEN_CONFIG).filter(|_| !unsigned).map(Path::new)
    }

    /// What the user gave for `name` (librdkafka's spelling).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value in effect for `name`: the user's or our default, if there is one.
    #[must_use]
    pub fn effective(&self, name: &str) -> Option<&str> {
        self.get(name)
            .or_else(|| self.defaults().find(|(known, _)| *known == name).map(|(_, value)| value))
    }

    /// Sets a property, unchecked: for values that the program chooses.
    pub fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// The same cluster and credentials for a client of another kind: what belongs to the other
    /// role only is left out.
    #[must_use]
    pub fn for_role(&self, role: Role) -> Self {
        let values = self.values.iter().filter(
            |(name, _)| !matches!(names::meaning(name), Meaning::Known(_, Some(of)) if of != role),
        );
        Self {
            role,
            values: values.map(|(n, v)| (n.clone(), v.clone())).collect(),
            secret_files: self.secret_files.clone(),
        }
    }

    /// The client configuration: our defaults, overridden by what the user gave.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in self.defaults() {
            config.set(name, value);
        }
        for (name, value) in &self.values {
            config.set(name, value);
        }
        if self.get("group.protocol") == Some("consumer") {
            // The next-generation protocol assigns on the broker and refuses the client's choice.
            config.remove("partition.assignment.strategy");
        }
        config
    }

    fn defaults(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        DEFAULTS_BOTH.iter().chain(self.role.defaults()).copied()
    }
}

/// One section while it is being read.
struct Reader<'f> {
    role: Role,
    path: &'f str,
    values: BTreeMap<String, String>,
    /// Where the values stand.
    spans: BTreeMap<&'static str, Span>,
    secret_files: BTreeMap<&'static str, PathBuf>,
    faults: &'f mut Faults,
}

impl Reader<'_> {
    fn entry(&mut self, key: &Key, node: &Node) {
        if let Meaning::Known(name, _) = names::meaning(&key.name)
            && SECRETS.contains(&name)
        {
            if let Some(path) = secret_path(node, &key.name, self.faults) {
                self.secret_file(name, &path, node.span);
            }
            return;
        }
        let Some(text) = node.text() else {
            self.faults.error(node.span, format!("`{}` is {}", key.name, node.kind())).remedy =
                Some("write a text or a number".into());
            return;
        };
        let base = key.name.strip_suffix(".file");
        if let Some(secret) = SECRETS.iter().find(|secret| base == Some(**secret)) {
            return self.secret_file(secret, text.as_ref(), node.span);
        }
        match names::meaning(&key.name) {
            Meaning::Known(TOKEN_URL, _) => self.token_file(text, node.span),
            Meaning::Known(name, role) => {
                if role.is_some_and(|role| role != self.role) {
                    let message = format!("`{}` has no effect here", key.name);
                    let other = match self.role {
                        Role::Producer => "it is a property of consumers; remove it",
                        Role::Consumer => "it is a property of producers; remove it",
                    };
                    self.faults.warning(key.span, message).remedy = Some(other.into());
                } else {
                    self.set(name, text, node.span);
                }
            }
            Meaning::BufferMemory => match text.parse::<u64>() {
                Ok(bytes) => {
                    let kbytes = (bytes / 1024).max(1).to_string();
                    self.set("queue.buffering.max.kbytes", &kbytes, node.span);
                }
                Err(_) => {
                    self.faults.error(node.span, format!("`buffer.memory` is `{text}`")).remedy =
                        Some("write a number of bytes".into());
                }
            },
            Meaning::SaidOtherwise(remedy) => {
                let message = format!("`{}` is a property of Java's client only", key.name);
                self.faults.error(key.span, message).remedy = Some(remedy.into());
            }
            Meaning::Meaningless => {
                let message = format!("`{}` has no meaning here", key.name);
                self.faults.warning(key.span, message).remedy = Some("remove it".into());
            }
            Meaning::Unknown => {
                let renamed = self.faults.renamed(self.path, &key.name);
                let near = nearest(&key.name, names::writable());
                let remedy = match (renamed, near) {
                    (Some(name), _) => format!("it is called `{name}` here"),
                    (None, Some(name)) => format!("did you mean `{name}`?"),
                    _ => "see the configuration reference of librdkafka for the names".into(),
                };
                let message = format!("unknown Kafka property `{}`", key.name);
                self.faults.error(key.span, message).remedy = Some(remedy);
            }
        }
    }

    /// Refuses what would fail at the first connection: a mechanism that this build does not have.
    /// GSSAPI is the one that is used unless another is named.
    fn mechanism(&mut self, section: Span) {
        let value = |name: &str| self.values.get(name).map_or("", String::as_str);
        let unsigned = value("enable.sasl.oauthbearer.unsecure.jwt") == "true";
        if value("sasl.mechanism").eq_ignore_ascii_case("OAUTHBEARER")
            && !unsigned
            && !self.spans.contains_key(TOKEN_URL)
            && let Some(span) = self.spans.get("sasl.mechanism")
        {
            let message = "`sasl.mechanism` is `OAUTHBEARER`, and no token is named";
            self.faults.error(*span, message).remedy =
                Some(format!("add `{TOKEN_URL}: file:///PATH`"));
            return;
        }
        let sasl = value("security.protocol").to_ascii_lowercase().starts_with("sasl");
        let named = value("sasl.mechanism");
        if !sasl || !(named.is_empty() || named.eq_ignore_ascii_case("GSSAPI")) || has_gssapi() {
            return;
        }
        let mut remedy = format!("use {WAYS_IN}");
        let (message, span) = match self.spans.get("sasl.mechanism") {
            None => ("`sasl.mechanism` is missing".to_owned(), section),
            Some(span) => {
                remedy.insert_str(0, "let the brokers offer another way beside it, and ");
                (format!("`sasl.mechanism` is `{named}`, and this build has no Kerberos"), *span)
            }
        };
        self.faults.error(span, message).remedy = Some(remedy);
    }

    /// Refuses what librdkafka would refuse only when the client is made, without a place.
    fn group_protocol(&mut self) {
        let protocol = self.values.get("group.protocol").map(String::as_str);
        if protocol == Some("consumer") {
            for (name, instead) in LEFT_TO_BROKERS {
                let Some(span) = self.spans.get(name) else { continue };
                let message =
                    format!("`{name}` is not the client's with `group.protocol: consumer`");
                self.faults.error(*span, message).remedy =
                    Some(format!("remove it; {instead} decides"));
            }
        } else if let Some(span) = self.spans.get("group.remote.assignor") {
            let message = "`group.remote.assignor` needs `group.protocol: consumer`";
            self.faults.error(*span, message.to_owned()).remedy =
                Some("add that, for brokers from 4.0 on, or remove this".into());
        }
    }

    /// The file in which tokens are renewed; librdkafka hands its path to [`token::of_file`].
    fn token_file(&mut self, url: &str, span: Span) {
        self.spans.insert(TOKEN_URL, span);
        let Some(path) = url.strip_prefix("file://").filter(|path| path.starts_with('/')) else {
            let message = format!("`{TOKEN_URL}` is `{url}`, and this build fetches no tokens");
            self.faults.error(span, message).remedy = Some(
                "let another program renew the token in a file, and write `file:///PATH`".into(),
            );
            return;
        };
        if private_file(path.as_ref(), span, self.faults).is_none() {
            return;
        }
        match token::read(path.as_ref()) {
            Ok(_) => {
                if self.values.insert(TOKEN_CONFIG.into(), path.into()).is_some() {
                    let message = format!("`{TOKEN_URL}` and `{TOKEN_CONFIG}` are both given");
                    self.faults.error(span, message).remedy = Some("keep one of them".into());
                }
            }
            Err(error) => {
                self.faults.error(span, error.to_string()).remedy =
                    Some("name a file with a token as an identity provider gives it".into());
            }
        }
    }

    fn secret_file(&mut self, name: &'static str, path: &Path, span: Span) {
        if let Some(value) = secret_of_file(path, span, self.faults) {
            self.secret_files.insert(name, path.to_owned());
            self.set(name, &value, span);
        }
    }

    fn set(&mut self, name: &'static str, value: &str, span: Span) {
        if name == "bootstrap.servers" {
            self.servers(value, span);
        }
        if self.breaks_promise(name, value, span) || !self.accepted(name, value, span) {
            return;
        }
        if name == "ssl.key.location" && private_file(value.as_ref(), span, self.faults).is_none() {
            return;
        }
        if name == "batch.size" && value.parse::<u64>().is_ok_and(|n| n < BATCH_SIZE_ADVISED) {
            let message = format!("`batch.size` {value} makes small batches");
            self.faults.warning(span, message).remedy = Some(format!(
                "librdkafka's `batch.size` bounds one batch, it reserves no memory; leave it out or \
                 give at least {BATCH_SIZE_ADVISED}"
            ));
        }
        self.spans.insert(name, span);
        if self.values.insert(name.to_owned(), value.to_owned()).is_some() {
            let message = format!("`{name}` is given twice, under two names");
            self.faults.error(span, message).remedy = Some("keep one of them".into());
        }
    }

    /// Before `://`, librdkafka knows its protocols only; at another it reads no further.
    fn servers(&mut self, value: &str, span: Span) {
        let known = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
        for server in value.split(',').map(str::trim) {
            let Some((scheme, _)) = server.split_once("://") else { continue };
            if !known.contains(&scheme.to_ascii_lowercase().as_str()) {
                let message = format!("`{server}` in `bootstrap.servers` has a scheme, `{scheme}`");
                self.faults.error(span, message).remedy =
                    Some("write host and port alone, as in `kafka1:9092`".into());
            }
        }
    }

    fn breaks_promise(&mut self, name: &str, value: &str, span: Span) -> bool {
        let fixed = match self.role {
            Role::Producer => FIXED_PRODUCER,
            Role::Consumer => FIXED_CONSUMER,
        };
        let fixed = fixed.iter().find(|(fixed, ..)| *fixed == name);
        let Some((_, _, reason)) = fixed.filter(|(_, allowed, _)| !allowed.contains(&value)) else {
            return false;
        };
        let message = format!("`{name}: {value}` would break the delivery promise");
        self.faults.error(span, message).remedy = Some(format!("remove it: {reason}"));
        true
    }

    /// Tries the value on librdkafka.
    fn accepted(&mut self, name: &str, value: &str, span: Span) -> bool {
        let error = match ClientConfig::new().set(name, value).create_native_config() {
            Ok(config) => return self.taken_whole(name, value, &config, span),
            Err(error) => error,
        };
        let message = match error {
            _ if SECRETS.contains(&name) => format!("`{name}` is not acceptable"),
            KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, reason, ..) => {
                format!("`{name}` is not available in this build: {reason}")
            }
            KafkaError::ClientConfig(_, reason, ..) => {
                format!("`{name}` is `{value}`: {}", reason.trim_end_matches('.'))
            }
            other => format!("`{name}` is `{value}`: {other}"),
        };
        let remedy = if name.starts_with("sasl.oauthbearer.") {
            format!("this build cannot fetch tokens; use {WAYS_IN}")
        } else {
            "see the configuration reference of librdkafka for its values".to_owned()
        };
        self.faults.error(span, message).remedy = Some(remedy);
        false
    }

    /// Refuses a number of which librdkafka takes a part only: it stops at the first letter, and reads a
    /// number that begins with 0 to the base of eight.
    fn taken_whole(
        &mut self,
        name: &str,
        value: &str,
        config: &NativeClientConfig,
        span: Span,
    ) -> bool {
        let is_number = value.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        let Some((text, taken)) = config
            .get(name)
            .ok()
            .filter(|text| is_number && text != value)
            .and_then(|text| text.parse::<f64>().ok().map(|taken| (text, taken)))
        else {
            return true;
        };
        // A fraction comes back with six digits.
        if value.parse::<f64>().is_ok_and(|n| (n - taken).abs() <= n.abs() * 1e-5) {
            return true;
        }
        let message = format!("`{name}` is `{value}`, which librdkafka takes for {text}");
        let what = if name.ends_with(".ms") { "a number of milliseconds" } else { "a number" };
        self.faults.error(span, message).remedy =
            Some(format!("write {what} alone, as Kafka's properties have no units"));
        false
    }
}

/// Whether librdkafka was built with a library for Kerberos.
fn has_gssapi() -> bool {
    let config = ClientConfig::new().create_native_config();
    let features = config.and_then(|config| config.get("builtin.features"));
    features.is_ok_and(|features| features.split(',').any(|feature| feature == "gssapi"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_document::{parse, render_all};
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    fn read(text: &str, role: Role) -> (Option<Properties>, String) {
        let document = parse("agent.yaml", text).unwrap();
        let mut faults = Faults::new(document.source.clone());
        let properties = Properties::read(&document.root, "kafka", role, &mut faults);
        (properties, render_all(&faults.into_list(), false))
    }

    #[test]
    fn a_consumer_is_held_to_what_its_group_protocol_and_exactly_once_allow() {
        let new = "bootstrap.servers: a:1\ngroup.protocol: consumer\n";
        for (text, said) in [
            (format!("{new}session.timeout.ms: 6000"), "`session.timeout.ms` is not the client's"),
            (format!("{new}heartbeat.interval.ms: 600"), "`heartbeat.interval.ms` is not"),
            (format!("{new}group.remote.assignor: uniform"), ""),
            (format!("{new}group.instance.id: a"), ""),
            (
                "bootstrap.servers: a:1\ngroup.remote.assignor: uniform".into(),
                "needs `group.protocol",
            ),
            (
                "bootstrap.servers: a:1\npartition.assignment.strategy: range".into(),
                "single partitions",
            ),
            ("bootstrap.servers: a:1\nenable.auto.commit: true".into(), "not by a clock"),
        ] {
            let (properties, faults) = read(&text, Role::Consumer);
            if said.is_empty() {
                assert_eq!(faults, "", "{text}");
                properties.unwrap().client_config().create_native_config().unwrap();
            } else {
                assert!(faults.contains(said), "{text}: {faults}");
            }
        }
    }

    #[test]
    fn names_of_java_and_of_librdkafka_lead_to_the_same_property() {
        for (text, role, name, value) in [
            ("linger.ms: 5", Role::Producer, "linger.ms", "5"),
            ("queue.buffering.max.ms: 5", Role::Producer, "linger.ms", "5"),
            ("buffer.memory: 1048576", Role::Producer, "queue.buffering.max.kbytes", "1024"),
            ("max.request.size: 2000000", Role::Producer, "message.max.bytes", "2000000"),
            ("fetch.max.wait.ms: 7", Role::Consumer, "fetch.wait.max.ms", "7"),
            ("compression.zstd.level: 1", Role::Producer, "compression.level", "1"),
            ("linger.ms: 123.4567", Role::Producer, "linger.ms", "123.4567"),
            ("acks: -1", Role::Producer, "acks", "-1"),
            ("client.id: 60s", Role::Producer, "client.id", "60s"),
        ] {
            let (properties, faults) = read(&format!("bootstrap.servers: a:1\n{text}\n"), role);
            assert_eq!(properties.unwrap().client_config().get(name), Some(value), "{text}");
            assert_eq!(faults, "", "{text}");
        }
    }

    #[test]
    fn faults_name_place_and_remedy() {
        for (text, expected) in [
            ("lingr.ms: 5", "agent.yaml:2:1: error: unknown Kafka property `lingr.ms`"),
            ("lingr.ms: 5", "did you mean `linger.ms`?"),
            ("linger.ms: soon", "agent.yaml:2:12: error: `linger.ms` is `soon`"),
            ("linger.ms: [1]", "`linger.ms` is a list"),
            (
                "linger.ms: 5s",
                "agent.yaml:2:12: error: `linger.ms` is `5s`, which librdkafka takes",
            ),
            ("socket.timeout.ms: 60s", "write a number of milliseconds alone"),
            ("batch.size: 1MB", "`batch.size` is `1MB`, which librdkafka takes for 1"),
            ("retries: 010", "`retries` is `010`, which librdkafka takes for 8"),
            ("retries: 4294967297", "takes for 1"),
            ("retries: 1.5", "takes for 1"),
            ("acks: 1", "`acks: 1` would break the delivery promise"),
            ("enable.idempotence: false", "would break the delivery promise"),
            ("partitioner: random", "would break the delivery promise"),
            ("ssl.truststore.location: /x.jks", "PEM file in `ssl.ca.location`"),
            ("sasl.jaas.config: x", "`sasl.username`"),
            ("key.serializer: x", "warning: `key.serializer` has no meaning here"),
            ("group.id: x", "warning: `group.id` has no effect here"),
            ("batch.size: 16384", "warning: `batch.size` 16384 makes small batches"),
            ("linger.ms: 1\nqueue.buffering.max.ms: 2", "given twice"),
            ("sasl.password.file: /nowhere/x", "`/nowhere/x` cannot be read"),
            ("sasl.password: {file: /nowhere/x}", "`/nowhere/x` cannot be read"),
            ("sasl.password: {credential: ../x}", "`../x` is no name of a credential"),
            ("ssl.key.location: /etc/passwd", "everybody may read or write `/etc/passwd`"),
            ("ssl.key.location: /nowhere/x", "`/nowhere/x` cannot be read"),
        ] {
            let text = format!("bootstrap.servers: a:1\n{text}\n");
            let (_, shown) = read(&text, Role::Producer);
            assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
        }
        let (_, shown) = read("bootstrap.servers: 'SSL://a:1, http://foo/'", Role::Producer);
        assert!(shown.contains("`http://foo/` in `bootstrap.servers` has a scheme"), "{shown}");
        assert!(shown.contains("as in `kafka1:9092`") && !shown.contains("`SSL"), "{shown}");
        assert!(read("linger.ms: 5", Role::Producer).1.contains("missing `bootstrap.servers`"));
        assert!(read("[1]", Role::Producer).1.contains("not a mapping"));
    }

    #[test]
    fn a_secret_comes_from_a_file_that_not_everybody_may_read_and_is_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "canary\n").unwrap();
        let mode = |mode| Permissions::from_mode(mode);
        let text = format!("bootstrap.servers: a:1\nsasl.password: {{file: {}}}\n", path.display());
        std::fs::set_permissions(&path, mode(0o640)).unwrap();
        let (properties, faults) = read(&text, Role::Producer);
        let properties = properties.unwrap();
        assert_eq!(faults, "");
        assert_eq!(properties.get("sasl.password"), Some("canary"));
        assert!(!format!("{properties:?}").contains("canary"));
        std::fs::set_permissions(&path, mode(0o644)).unwrap();
        let (properties, faults) = read(&text, Role::Producer);
        assert_eq!(properties.unwrap().get("sasl.password"), None);
        assert!(faults.contains("everybody may read or write"), "{faults}");
        assert!(faults.contains("help: `chmod o= "), "{faults}");
    }

    #[test]
    fn a_secret_that_is_written_into_the_document_is_refused_and_not_shown() {
        for text in [
            "sasl.password: canary",
            "ssl.key.pem: 'canary'",
            "{lingr.ms: 1, sasl.password: canary}",
        ] {
            let text = match text.strip_prefix('{') {
                Some(flow) => format!("{{bootstrap.servers: 'a:1', {flow}\n"),
                None => format!("bootstrap.servers: a:1\n{text}\n"),
            };
            let (properties, faults) = read(&text, Role::Producer);
            assert!(faults.contains("is a secret, and is written here"), "{faults}");
            assert!(faults.contains("{credential: NAME}"), "{faults}");
            assert!(!faults.contains("canary"), "{faults}");
            assert!(!format!("{properties:?}").contains("canary"));
        }
    }

    #[test]
    fn another_role_keeps_the_cluster_and_drops_what_is_not_its_own() {
        let text = "bootstrap.servers: a:1\ngroup.id: g\nsecurity.protocol: SSL\n";
        let consumer = read(text, Role::Consumer).0.unwrap();
        let producer = consumer.for_role(Role::Producer);
        assert_eq!(producer.get("group.id"), None);
        assert_eq!(producer.client_config().get("security.protocol"), Some("SSL"));
        assert_eq!(producer.client_config().get("acks"), Some("all"));
        assert_eq!(consumer.client_config().get("enable.auto.commit"), Some("false"));
    }
}
