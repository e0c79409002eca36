//! `logweir-agent doctor`: what on this host and on the way to Kafka would keep the agent from its
//! work, each with what to do about it.
//!
//! It only looks: nothing is written, not even to Kafka. Whether the brokers let the agent write, the
//! running agent knows, and is asked.

use super::access::{Obstacle, Reader};
use super::load;
use super::out::printable;
use crate::Config;
use crate::config::{Loaded, SourceConfig};
use crate::confine::beyond;
use crate::outln;
use crate::socket_dir::who_may_ask;
use crate::status::ask;
use logweir_kafka::certificate::Certificate;
use logweir_kafka::follow::{FollowError, Follower};
use logweir_kafka::topics::{TopicError, Topics};
use logweir_record::{TOPIC_DEAD_LETTER, TOPIC_RULES};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A certificate that ends sooner is worth a warning.
const CERTIFICATE_DAYS_MIN: i32 = 30;
/// Room for a checkpoint and a segment of a spool.
const DISK_FREE_MIN: u64 = 256 << 20;
/// How many closed files are told one by one.
const CLOSED_SHOWN_MAX: usize = 10;
/// One watch per directory; other programs need some, too.
const INOTIFY_WATCHES_MIN: u64 = 8192;
const INOTIFY_INSTANCES_MIN: u64 = 32;

/// Look for what would keep the agent from its work: rights, limits, disk, clock, names, certificates
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// The configuration, see docs/agent.md
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/agent.yaml")]
    config: PathBuf,
}

/// What is found, printed at once.
#[derive(Debug, Default)]
struct Findings {
    errors: usize,
    warnings: usize,
}

impl Findings {
    fn well(&self, what: &str) {
        outln!("ok       {}", printable(what));
    }

    fn warning(&mut self, what: &str, remedy: &str) {
        self.warnings += 1;
        outln!("warning  {}\n         help: {}", printable(what), printable(remedy));
    }

    fn error(&mut self, what: &str, remedy: &str) {
        self.errors += 1;
        outln!("error    {}\n         help: {}", printable(what), printable(remedy));
    }
}

impl Doctor {
    pub fn execute(self) -> ExitCode {
        let loaded = match load(&self.config) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        let config = &loaded.config;
        let mut findings = Findings::default();
        running(config, &mut findings);
        state(&config.state_dir, &mut findings);
        files(&loaded, &mut findings);
        limits(&mut findings);
        clock(&mut findings);
        certificates(config, &mut findings);
        brokers(config, &mut findings);
        topics(config, &mut findings);
        published_rules(config, &mut findings);
        outln!("{} errors, {} warnings", findings.errors, findings.warnings);
        if findings.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn running(config: &Config, findings: &mut Findings) {
    let asked = ask(&config.socket_dir).and_then(|text| Ok(serde_json::from_str::<Value>(&text)?));
    match asked {
        Ok(status) => {
            let count = |name: &str| status[name].as_u64().unwrap_or(0);
            let state = status["kafka"].as_str().unwrap_or("unknown");
            let what = format!("the agent runs; kafka is {state}, {} events held", count("held"));
            // What only a writer comes to know, such as that it may not write.
            match status["kafka_reason"].as_str().unwrap_or_default() {
                "" => findings.well(&what),
                reason => {
                    let (reason, remedy) = reason.split_once("; help: ").unwrap_or((reason, ""));
                    let remedy =
                        if remedy.is_empty() { "see the log of the agent" } else { remedy };
                    findings.error(&format!("{what}: {reason}"), remedy);
                }
            }
            if count("files_lost") > 0 {
                findings.warning(
                    &format!(
                        "{} files were gone before they were read to their end, with {} bytes",
                        count("files_lost"),
                        count("bytes_lost")
                    ),
                    "keep rotated files longer, or let logrotate use `delaycompress`; the log of the \
                     agent names the files",
                );
            }
            if status["checkpoint_fails"] == true {
                findings.error(
                    "the checkpoint cannot be written",
                    "see the log of the agent; after a restart events are sent again, and files that \
                     are new wait until it can be written",
                );
            }
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => findings.warning(
            &format!("`{}` may not be entered by this user", config.socket_dir.display()),
            &who_may_ask(&config.socket_dir),
        ),
        Err(_) => findings.warning("no agent runs", "systemctl enable --now logweir-agent"),
    }
}

fn state(directory: &Path, findings: &mut Findings) {
    // What is not there yet is made at the first start, in the nearest folder that is.
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(there) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let what = format!("{} MiB are free for `{}`", free >> 20, directory.display());
            if free < DISK_FREE_MIN {
                findings.error(&what, "free some, or set `agent.state_dir` to another disk");
            } else if disk.f_files > 0 && disk.f_favail < 1000 {
                findings.error(
                    &format!("the disk of `{}` has no room for more files", directory.display()),
                    "delete files, or set `agent.state_dir` to another disk",
                );
            } else {
                findings.well(&what);
            }
        }
        Err(error) => findings.error(
            &format!("`{}` cannot be looked at: {error}", there.display()),
            "run this as root",
        ),
    }
}

fn files(loaded: &Loaded, findings: &mut Findings) {
    let reader = Reader::of_agent();
    let mut files = BTreeSet::new();
    let (mut closed, mut hidden) = (BTreeMap::new(), BTreeMap::new());
    for source in &loaded.config.sources {
        let SourceConfig::File(source) = source else { continue };
        let found = reader.look(source);
        files.extend(found.files);
        closed.extend(found.closed.into_iter().map(|obstacle| (obstacle.path.clone(), obstacle)));
        hidden.extend(found.hidden.into_iter().map(|obstacle| (obstacle.path.clone(), obstacle)));
    }
    hidden.retain(|path, _| !closed.contains_key(path));
    let what = |obstacle: &Obstacle| {
        let path = printable(obstacle.path.display());
        format!("`{path}` cannot be {} by {}", obstacle.what, reader.name)
    };
    for obstacle in closed.values().take(CLOSED_SHOWN_MAX) {
        findings.error(&what(obstacle), &printable(&obstacle.remedy));
    }
    // Whether anything is in there is not known.
    for obstacle in hidden.values().take(CLOSED_SHOWN_MAX.saturating_sub(closed.len())) {
        findings.warning(&what(obstacle), &printable(&obstacle.remedy));
    }
    let beyond = beyond(loaded, &files);
    if let Some(first) = beyond.first() {
        findings.warning(
            &format!(
                "{} files lie outside of what Landlock lets the agent read, such as `{}`",
                beyond.len(),
                printable(first.display())
            ),
            "name the directories where their links lead in `agent.landlock_read`",
        );
    }
    match closed.len() + hidden.len() + beyond.len() {
        0 => findings.well(&format!("{} files, all readable by {}", files.len(), reader.name)),
        _ if closed.len() + hidden.len() > CLOSED_SHOWN_MAX => {
            outln!("         and {} more", closed.len() + hidden.len() - CLOSED_SHOWN_MAX)
        }
        _ => {}
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    if limit.is_some_and(|limit| limit < files.len() as u64 + 256) {
        findings.warning(
            &format!("{} files, and this process may open {}", files.len(), limit.unwrap_or(0)),
            "set `LimitNOFILE=` in the unit higher (the shipped unit has 65536)",
        );
    }
}

fn limits(findings: &mut Findings) {
    for (name, minimum) in
        [("max_user_watches", INOTIFY_WATCHES_MIN), ("max_user_instances", INOTIFY_INSTANCES_MIN)]
    {
        let path = format!("/proc/sys/fs/inotify/{name}");
        let value =
            std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
        match value {
            Some(value) if value < minimum => findings.warning(
                &format!("fs.inotify.{name} is {value}: changes are then seen by rescans only"),
                &format!("sysctl -w fs.inotify.{name}={minimum}"),
            ),
            Some(value) => findings.well(&format!("fs.inotify.{name} is {value}")),
            // A kernel without it, or a sandbox: rescans find everything, later.
            None => findings.warning(
                &format!("fs.inotify.{name} cannot be read"),
                "changes are seen by rescans if there is no inotify",
            ),
        }
    }
}

/// Whether someone keeps the clock: events carry its time.
fn clock(findings: &mut Findings) {
    let keepers = [
        "/run/systemd/timesync/synchronized",
        "/run/chrony/chronyd.pid",
        "/run/chronyd.pid",
        "/run/ntpd.pid",
        "/run/openntpd.pid",
    ];
    match keepers.iter().find(|path| Path::new(path).exists()) {
        Some(path) => findings.well(&format!("the clock is kept ({path})")),
        None => findings.warning(
            "no program is seen that keeps the clock",
            "timedatectl set-ntp true, unless the host below this one keeps it",
        ),
    }
}

fn certificates(config: &Config, findings: &mut Findings) {
    for name in ["ssl.ca.location", "ssl.certificate.location"] {
        let Some(path) = config.kafka.get(name).filter(|path| Path::new(path).is_file()) else {
            continue;
        };
        match Certificate::all_of(Path::new(path)) {
            Ok(chain) => {
                let what = format!("{name} `{path}`");
                // In a list of authorities some may be over, as long as one is not.
                let left = chain.iter().filter_map(Certificate::days_left);
                let days = if name == "ssl.ca.location" { left.max() } else { left.min() };
                expiry(&what, days, findings);
            }
            Err(error) => findings.error(
                &format!("{name} `{path}` cannot be used: {error}"),
                "name a file in PEM format that the agent may read",
            ),
        }
    }
}

fn expiry(what: &str, days: Option<i32>, findings: &mut Findings) {
    match days {
        Some(days) if days < 0 => {
            findings.error(&format!("{what} ended {} days ago", -days), "put a new one in place");
        }
        Some(days) if days < CERTIFICATE_DAYS_MIN => {
            findings.warning(&format!("{what} ends in {days} days"), "put a new one in place");
        }
        Some(days) => findings.well(&format!("{what} holds for {days} more days")),
        None => findings.warning(&format!("{what} has no end that is understood"), "look at it"),
    }
}

fn brokers(config: &Config, findings: &mut Findings) {
    let servers = config.kafka.get("bootstrap.servers").unwrap_or_default();
    let protocol = config.kafka.get("security.protocol").unwrap_or("plaintext");
    let encrypted = protocol.to_ascii_lowercase().contains("ssl")
        && !protocol.eq_ignore_ascii_case("sasl_plaintext");
    for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        // librdkafka takes `host`, `host:port` and `protocol://host:port`.
        let place = server.split_once("://").map_or(server, |(_, place)| place);
        let port = place.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
        let place = if port { place.to_owned() } else { format!("{place}:9092") };
        let addresses: Vec<SocketAddr> = match place.to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                let remedy = "is the name right, and does this host's resolver know it?";
                findings.error(&format!("`{server}` has no address: {error}"), remedy);
                continue;
            }
        };
        let connect = |address| TcpStream::connect_timeout(address, CONNECT_TIMEOUT);
        let tried: Vec<_> = addresses.iter().map(connect).collect();
        let failed = tried.iter().find_map(|outcome| outcome.as_ref().err().map(|e| e.to_string()));
        match tried.into_iter().find_map(Result::ok) {
            Some(stream) => {
                findings.well(&format!("`{server}` takes connections"));
                if encrypted {
                    server_certificate(server, &place, stream, findings);
                }
            }
            None => findings.error(
                &format!("`{server}` takes no connection: {}", failed.unwrap_or_default()),
                "does the broker run, and does a firewall let this host through?",
            ),
        }
    }
}

/// How long the broker's certificate holds; whether it is trusted is librdkafka's to say.
fn server_certificate(server: &str, place: &str, stream: TcpStream, findings: &mut Findings) {
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host).trim_matches(['[', ']']);
    let days = stream
        .set_read_timeout(Some(CONNECT_TIMEOUT))
        .ok()
        .and_then(|()| {
            let mut connector = SslConnector::builder(SslMethod::tls_client()).ok()?;
            connector.set_verify(SslVerifyMode::NONE);
            let mut configured = connector.build().configure().ok()?;
            configured.set_verify_hostname(false);
            let stream = configured.connect(host, stream).ok()?;
            stream.ssl().peer_certificate()
        })
        .map(|certificate| Certificate::from(certificate).days_left());
    match days {
        Some(days) => expiry(&format!("the certificate of `{server}`"), days, findings),
        None => findings.warning(
            &format!("`{server}` does not speak TLS, or asks for a certificate first"),
            "do `security.protocol` and the port belong together?",
        ),
    }
}

fn topics(config: &Config, findings: &mut Findings) {
    let outcome = Topics::connect(&config.kafka).and_then(|topics| {
        Ok((topics.brokers()?, topics.shape(&config.topic)?, topics.shape(TOPIC_DEAD_LETTER)?))
    });
    let servers = config.kafka.get("bootstrap.servers").unwrap_or_default();
    let create =
        format!("logweir topics create --bootstrap-server {servers} --topic {}", config.topic);
    match outcome {
        Ok((brokers, events, dead_letter)) => {
            findings.well(&format!("kafka answers; {brokers} brokers"));
            match events {
                Some((partitions, _)) => findings
                    .well(&format!("the topic {} has {partitions} partitions", config.topic)),
                None => findings.error(&format!("there is no topic {}", config.topic), &create),
            }
            if dead_letter.is_none() {
                findings.warning(&format!("there is no topic {TOPIC_DEAD_LETTER}"), &create);
            }
        }
        Err(TopicError::Unreachable(why)) => {
            findings.error(&format!("kafka does not answer: {}", why.reason), &why.remedy);
        }
        Err(TopicError::Forbidden(why)) => findings.error(&why.reason, &why.remedy),
        Err(error) => findings.error(&error.to_string(), "see the lines above"),
    }
}

/// Whether rules can be read from their topic, if they are to be.
fn published_rules(config: &Config, findings: &mut Findings) {
    if config.published.is_none() {
        return;
    }
    let read = Follower::start(&config.kafka, TOPIC_RULES)
        .and_then(|mut follower| follower.next(CONNECT_TIMEOUT));
    match read {
        Ok(_) => findings.well(&format!("the topic {TOPIC_RULES} can be read")),
        Err(error) => {
            let servers = config.kafka.get("bootstrap.servers").unwrap_or_default();
            let remedy = match error {
                FollowError::NoTopic => {
                    format!("logweir topics create --bootstrap-server {servers}")
                }
                FollowError::Forbidden => format!(
                    "kafka-acls.sh --bootstrap-server {servers} --add --allow-principal \
                     'User:…' --operation Read --topic {TOPIC_RULES}"
                ),
                _ => "see the lines above".to_owned(),
            };
            findings.error(&format!("the topic {TOPIC_RULES}: {error}"), &remedy);
        }
    }
}
