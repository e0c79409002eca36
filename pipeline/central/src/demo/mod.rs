//! The whole path in one process: embedded broker, agent, ingest workers, table.
//!
//! The parts are the product's own and talk to each other as on separate machines: agent and ingest
//! reach the broker through the Kafka protocol over TCP. Everything lives in one directory.

mod generator;
mod screen;

pub use screen::{Figures, Screen};

use crate::ingest::{Ingest, IngestConfig, cores};
use anyhow::{Context as _, Result, anyhow, bail};
use generator::Generator;
use logweir_agent::{Agent, Config};
use logweir_broker::{Broker, BrokerConfig};
use logweir_document::{parse, render_all};
use logweir_kafka::topics::{TopicSpec, Topics};
use logweir_record::{TOPIC_AGENTS, TOPIC_DEAD_LETTER, TOPIC_EVENTS};
use logweir_store::{Audit, audit};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the demo keeps everything, relative to where it is started.
pub const DIRECTORY_DEFAULT: &str = "logweir-demo";
/// The longest that the end waits for events that are on their way.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How often the drain looks whether everything has arrived.
const DRAIN_STEP: Duration = Duration::from_millis(100);
/// What the demo reads under the log directory, as far as it may.
const LOG_PATTERNS: [&str; 7] =
    ["*.log", "*/*.log", "*/*/*.log", "syslog", "messages", "secure", "journal/**/*.export"];

/// What the user chose.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    pub directory: PathBuf,
    /// Where the machine's logs are.
    pub logs: PathBuf,
    /// Lines per second of the generator; `None`: only if there is nothing else to read.
    pub generate: Option<u32>,
    /// Where to listen for syslog, UDP and TCP.
    pub syslog: SocketAddr,
}

/// What there is to tell at the end.
#[derive(Debug)]
pub struct Drained {
    pub known: Audit,
    /// What the agent dropped on purpose, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// A running demo.
#[derive(Debug)]
pub struct Demo {
    broker: Broker,
    ingest: Ingest,
    agent: Agent,
    generator: Option<Generator>,
    /// What a person should know about how it started.
    pub notes: Vec<String>,
}

impl Demo {
    /// Starts all parts, the broker first.
    ///
    /// # Errors
    /// The directory cannot be used (another demo runs in it), or a part does not start.
    pub fn start(options: &DemoOptions) -> Result<Self> {
        let directory = &options.directory;
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        let mut notes = Vec::new();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = Broker::start(BrokerConfig::new(any_port, directory.join("broker")))
            .context("the embedded broker does not start")?;
        let bootstrap = broker.address().to_string();
        create_topics(&bootstrap)?;
        let ingest = Ingest::start(ingest_config(&bootstrap, &directory.join("table"))?)?;
        let readable = count_readable(&options.logs);
        let rate = match options.generate {
            Some(rate) => rate,
            None if readable == 0 => {
                notes.push(format!(
                    "nothing to read in {}: the generator writes 50 lines/s",
                    options.logs.display()
                ));
                50
            }
            None => 0,
        };
        let generated = directory.join("generated.log");
        let generator = (rate > 0).then(|| Generator::start(&generated, rate)).transpose()?;
        let syslog = free_for_syslog(options.syslog).then_some(options.syslog);
        if syslog.is_none() {
            notes.push(format!(
                "{} is taken: not listening for syslog (choose another with --syslog)",
                options.syslog
            ));
        }
        let text = agent_config(&bootstrap, &directory, &options.logs, syslog)?;
        let agent = Agent::start(agent_settings(&text)?).context("the agent does not start")?;
        notes.push(format!(
            "kafka protocol on {bootstrap}, table in {}",
            directory.join("table").display()
        ));
        if let Some(address) = syslog {
            notes.push(format!("syslog on {address}, UDP and TCP"));
        }
        Ok(Self { broker, ingest, agent, generator, notes })
    }

    /// One look at every hop.
    ///
    /// # Errors
    /// The ledger cannot be read, or a worker has ended.
    pub fn figures(&self) -> Result<Figures> {
        if self.ingest.has_failed() {
            bail!("an ingest worker has ended; see the message above");
        }
        let agent = self.agent.snapshot();
        let ingested = self.ingest.statistics().total();
        let sources = audit(self.ingest.table(), None, None)?.sources;
        Ok(Figures {
            read: agent.counts.read,
            parsed: agent.counts.parsed,
            unparsed: agent.counts.unparsed,
            in_kafka: agent.counts.delivered,
            stored: ingested.stored,
            lag: agent.counts.delivered.saturating_sub(ingested.settled()),
            dropped: agent.counts.dropped_total(),
            missing: sources.iter().map(|source| source.gaps.len() as u64).sum(),
            sources: agent.sources.len(),
        })
    }

    /// Stops the inputs, lets everything arrive, stops the rest, and returns the ledger.
    ///
    /// # Errors
    /// A part could not end in order.
    pub fn drain(self, screen: &mut Screen) -> Result<Drained> {
        if let Some(generator) = self.generator {
            generator.stop()?;
        }
        self.agent.stop(DRAIN_MAX);
        let last = self.agent.snapshot();
        let counts = &last.counts;
        let deadline = Instant::now() + DRAIN_MAX;
        let statistics = self.ingest.statistics().clone();
        let arrived = || {
            let total = statistics.total();
            (total.stored, total.settled())
        };
        let figures = || {
            let (stored, all) = arrived();
            Figures {
                read: counts.read,
                parsed: counts.parsed,
                unparsed: counts.unparsed,
                in_kafka: counts.delivered,
                stored,
                lag: counts.delivered.saturating_sub(all),
                dropped: counts.dropped_total(),
                missing: 0,
                sources: last.sources.len(),
            }
        };
        while arrived().1 < counts.delivered && Instant::now() < deadline {
            std::thread::park_timeout(DRAIN_STEP);
            screen.show(figures());
        }
        screen.finish(figures());
        let table = self.ingest.table().clone();
        self.ingest.stop()?;
        self.broker.shutdown();
        Ok(Drained { known: audit(&table, None, None)?, dropped: last.counts.dropped })
    }
}

fn create_topics(bootstrap: &str) -> Result<()> {
    let properties = crate::commands::kafka_properties(
        bootstrap,
        &[],
        logweir_kafka::properties::Role::Consumer,
    )?;
    let topics = Topics::connect(&properties)?;
    let shapes = [(TOPIC_EVENTS, cores().get() as u32), (TOPIC_DEAD_LETTER, 1), (TOPIC_AGENTS, 1)];
    for (name, partitions) in shapes {
        let spec = TopicSpec {
            name: name.to_owned(),
            partitions,
            replication_factor: 1,
            config: Vec::new(),
        };
        topics.ensure(&spec)?;
    }
    Ok(())
}

fn ingest_config(bootstrap: &str, table: &Path) -> Result<IngestConfig> {
    let text = format!(
        "kafka:\n  bootstrap.servers: '{bootstrap}'\n  fetch.max.wait.ms: 50\n\
         store:\n  path: {}\n  flush.interval: 1s\n",
        quoted(table)
    );
    let document = parse("demo ingest", &text).map_err(|fault| anyhow!(fault.render(false)))?;
    IngestConfig::read(&document).map_err(|faults| anyhow!(render_all(&faults, false)))
}

fn agent_config(
    bootstrap: &str,
    directory: &Path,
    logs: &Path,
    syslog: Option<SocketAddr>,
) -> Result<String> {
    // The agent takes no path that depends on where it was started.
    let logs = std::path::absolute(logs)
        .with_context(|| format!("`{}` cannot be where logs are", logs.display()))?;
    let mut text = format!(
        "agent:\n  state_dir: {}\nkafka:\n  bootstrap.servers: '{bootstrap}'\n\
         sources:\n  - type: file\n    read_from: beginning\n    paths:\n",
        quoted(&directory.join("agent"))
    );
    for pattern in LOG_PATTERNS {
        text.push_str(&format!("      - {}\n", quoted(&logs.join(pattern))));
    }
    text.push_str(&format!("      - {}\n", quoted(&directory.join("generated.log"))));
    if let Some(address) = syslog {
        text.push_str(&format!("  - type: syslog\n    udp: '{address}'\n    tcp: '{address}'\n"));
    }
    Ok(text)
}

fn agent_settings(text: &str) -> Result<Config> {
    let read = Config::from_yaml("demo agent", text);
    read.map(|(config, _)| config).map_err(|faults| anyhow!(render_all(&faults, false)))
}

/// A path as a YAML scalar.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}

/// Log files that this user may read, two levels deep, as far as the decision about the generator
/// needs to know.
fn count_readable(logs: &Path) -> usize {
    let entries = |directory: &Path| {
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let top: Vec<PathBuf> = entries(logs).collect();
    let below = top.iter().filter(|path| path.is_dir()).flat_map(|path| entries(path));
    let is_log = |path: &PathBuf| {
        let named = path.extension().is_some_and(|extension| extension == "log")
            || path.file_name().is_some_and(|name| name == "syslog" || name == "messages");
        let filled = path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() > 0);
        named && filled && std::fs::File::open(path).is_ok()
    };
    top.iter().cloned().chain(below).filter(is_log).count()
}

fn free_for_syslog(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok() && std::net::UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_may_be_named_from_where_the_demo_is_started() {
        let directory = tempfile::tempdir().unwrap();
        let text = agent_config("a:1", directory.path(), Path::new("logs"), None).unwrap();
        let here = std::env::current_dir().unwrap().join("logs/*.log");
        assert!(text.contains(&here.display().to_string()), "{text}");
        agent_settings(&text).unwrap();
    }
}
