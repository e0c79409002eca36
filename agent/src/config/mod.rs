//! The configuration: a YAML file in, settings that hold out, or every fault at once.
//!
//! Whatever can be known to be wrong without starting is found here, with its place and what to do:
//! unknown keys, wrong types, bad globs, listeners that collide. Nothing here touches the network,
//! and of the disk only what the configuration names.

mod changes;
mod integrity;
mod limits;
mod log;
mod multiline;
mod published;
mod reference;
mod sources;
mod syslog;

pub(crate) use changes::changed_sections;
pub(crate) use integrity::HeadsConfig;
pub(crate) use limits::SourceLimits;
pub use log::log_config;
use log::{LOG_FORMATS, LOG_LEVELS};
#[cfg(test)]
pub(crate) use multiline::Grouping;
pub(crate) use multiline::Multiline;
use multiline::PRESET_NAMES;
pub(crate) use published::PublishedConfig;
pub use reference::LOG;
pub(crate) use reference::REFERENCE;
pub(crate) use sources::{
    Common, Dataset, FileConfig, JournaldConfig, ReadFrom, SourceConfig, SpoolConfig, StdinConfig,
};
pub(crate) use syslog::{Address, Listen, Network, SyslogConfig, TlsConfig, UnixConfig};

use crate::limits::LiveLimits;
use crate::parsing::Rules;
use logweir_document::{DURATION_MAX, Diagnostic, Document, Faults, Layers, Span, Table, parse};
use logweir_kafka::properties::{Properties, Role};
use logweir_record::{SealKey, TOPIC_EVENTS};
use logweir_service::{Listen as MetricsListen, LogConfig};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const STATE_DIR_DEFAULT: &str = "/var/lib/logweir-agent";
/// Of the agent that the system runs: its unit makes it for the agent's group to enter.
pub(crate) const SOCKET_DIR_DEFAULT: &str = "/run/logweir-agent";
/// After a crash at most this much is sent again.
const CHECKPOINT_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// More are hardly ever written to at a time, and each costs the kernel about a kilobyte.
const OPEN_FILES_MAX_DEFAULT: usize = 8192;
/// More often the disk would be busy with it.
const CHECKPOINT_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Beside the configuration: further parts of it.
const PARTS: &str = "conf.d";
/// The most sources in one file: far above any real one.
const SOURCES_MAX: usize = 1000;

/// Everything the agent needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// What people call the agent; by default the host's name.
    pub(crate) name: String,
    pub(crate) host_name: String,
    pub(crate) state_dir: PathBuf,
    /// Where the agent is asked, see [`crate::socket_dir`].
    pub(crate) socket_dir: PathBuf,
    /// Threads that read and parse; by default as many as there are cores.
    pub(crate) workers: usize,
    pub(crate) checkpoint_interval: Duration,
    /// Log files that are open at a time.
    pub(crate) open_files_max: usize,
    pub(crate) kafka: Properties,
    pub(crate) topic: String,
    pub(crate) rules: Rules,
    /// Where the rules come from, for when they change.
    pub(crate) rules_from: RulesConfig,
    /// Whose rules are taken from Kafka, if anyone's.
    pub(crate) published: Option<PublishedConfig>,
    pub(crate) sources: Vec<SourceConfig>,
    /// The file that it was read from, for when it changes.
    pub(crate) path: Option<PathBuf>,
    /// Where metrics are answered.
    pub(crate) metrics: Option<MetricsListen>,
    /// What it says about itself.
    pub(crate) log: LogConfig,
    /// Whether the process gives up all other rights, see [`crate::confine`].
    pub(crate) landlock: bool,
    /// For the seals of events.
    pub(crate) seal_key: Option<SealKey>,
    /// Whether it reports about itself to `logweir.agents`.
    pub(crate) reports: bool,
    /// Signed heads, if any.
    pub(crate) heads: Option<HeadsConfig>,
}

/// Where rule packs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RulesConfig {
    /// Searched for `*.yaml`, in this order; a rule overrides a shipped one of the same id.
    pub directories: Vec<PathBuf>,
    /// Whether the packs inside the program are used.
    pub shipped: bool,
}

/// A configuration with the document that it was read from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) document: Document,
}

impl Loaded {
    /// Reads a configuration file, the parts beside it and what the environment overrides; the
    /// warnings come with it.
    ///
    /// # Errors
    /// Every fault of it.
    pub(crate) fn from_file(path: &Path) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (mut loaded, warnings) = Self::from_document(layers(path).read()?)?;
        loaded.config.path = Some(path.to_owned());
        Ok((loaded, warnings))
    }

    fn from_yaml(name: &str, text: &str) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        Self::from_document(parse(name, text).map_err(|fault| vec![*fault])?)
    }

    fn from_document(document: Document) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut faults = Faults::of(&document, &REFERENCE);
        match Config::read(&document, &mut faults) {
            Some(config) if !faults.has_errors() => {
                Ok((Self { config, document }, faults.into_list()))
            }
            _ => Err(faults.into_list()),
        }
    }
}

/// What a configuration is put together of.
pub(crate) fn layers(path: &Path) -> Layers<'_> {
    let first = "`logweir-agent init` writes a first one";
    Layers { main: path, parts: PARTS, first, reference: &REFERENCE }
}

/// The files of a configuration: the one that is named, and its parts.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let parts = logweir_document::part_files(path, PARTS).unwrap_or_default();
    std::iter::once(path.to_owned()).chain(parts).collect()
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn load(path: &Path) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (loaded, warnings) = Loaded::from_file(path)?;
        Ok((loaded.config, warnings))
    }

    /// Reads a configuration from `text`; `name` is what the text is called in messages. The
    /// warnings come with the configuration.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn from_yaml(name: &str, text: &str) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (loaded, warnings) = Loaded::from_yaml(name, text)?;
        Ok((loaded.config, warnings))
    }

    /// The state directory that a configuration file names, whatever else is in it.
    ///
    /// # Errors
    /// The file cannot be read or is no YAML.
    pub(crate) fn state_dir_in(path: &Path) -> Result<PathBuf, Vec<Diagnostic>> {
        Ok(state_dir_of(&layers(path).read()?))
    }

    /// The directory of the sockets, as [`Config::state_dir_in`].
    ///
    /// # Errors
    /// The file cannot be read or is no YAML.
    pub(crate) fn socket_dir_in(path: &Path) -> Result<PathBuf, Vec<Diagnostic>> {
        let document = layers(path).read()?;
        let named = agent_text(&document, "socket_dir").map(PathBuf::from);
        Ok(named.unwrap_or_else(|| socket_dir_beside(&state_dir_of(&document))))
    }

    /// Reads the document; what is wrong with it is noted.
    pub(crate) fn read(document: &Document, faults: &mut Faults) -> Option<Self> {
        let mut root = Table::open(&document.root, "", faults)?;
        let agent = AgentSection::read(&mut root, faults);
        let kafka = kafka(&mut root, faults);
        let (rules_from, published) = rules(&mut root, faults);
        let mut sources = sources(&mut root, faults);
        for source in sources.iter_mut().flatten() {
            source.common_mut().limits.overall = agent.limits.clone();
        }
        let metrics = metrics(&mut root, faults);
        let log = log_config(&mut root, faults);
        let (seal_key, heads) = integrity::read(&mut root, faults);
        root.finish(faults);
        let rules = load_rules(&rules_from, sources.as_deref().unwrap_or_default(), faults);
        let (kafka, topic) = kafka?;
        Some(Self {
            name: agent.name,
            host_name: agent.host_name,
            socket_dir: agent.socket_dir.unwrap_or_else(|| socket_dir_beside(&agent.state_dir)),
            state_dir: agent.state_dir,
            workers: agent.workers,
            checkpoint_interval: agent.checkpoint_interval,
            open_files_max: agent.open_files_max,
            kafka,
            topic,
            rules: rules?,
            rules_from,
            published,
            sources: sources?,
            path: None,
            metrics,
            log,
            landlock: agent.landlock,
            seal_key,
            heads,
            reports: true,
        })
    }
}

/// A text of the section `agent`, whatever else is in the document.
fn agent_text<'d>(document: &'d Document, key: &str) -> Option<&'d str> {
    document.root.get("agent")?.get(key)?.text()
}

fn state_dir_of(document: &Document) -> PathBuf {
    agent_text(document, "state_dir").unwrap_or(STATE_DIR_DEFAULT).into()
}

/// Where the sockets are unless that is said: an agent with a state directory of its own, such as one
/// that is started by hand, has them in there.
fn socket_dir_beside(state_dir: &Path) -> PathBuf {
    let is_the_systems = state_dir == Path::new(STATE_DIR_DEFAULT);
    if is_the_systems { SOCKET_DIR_DEFAULT.into() } else { state_dir.to_owned() }
}

/// Loads the rules and looks whether there are some for every dataset that is asked for.
fn load_rules(from: &RulesConfig, sources: &[SourceConfig], faults: &mut Faults) -> Option<Rules> {
    let found = RulesConfig {
        directories: from.directories.iter().filter(|path| path.is_dir()).cloned().collect(),
        shipped: from.shipped,
    };
    match Rules::load(&found) {
        Ok((rules, warnings)) => {
            warnings.into_iter().for_each(|warning| faults.push(warning));
            for source in sources {
                if let Err(fault) = rules.check(source.common()) {
                    faults.push(*fault);
                }
            }
            Some(rules)
        }
        Err(list) => {
            list.into_iter().for_each(|fault| faults.push(fault));
            None
        }
    }
}

struct AgentSection {
    name: String,
    host_name: String,
    state_dir: PathBuf,
    socket_dir: Option<PathBuf>,
    workers: usize,
    checkpoint_interval: Duration,
    open_files_max: usize,
    landlock: bool,
    limits: LiveLimits,
}

impl AgentSection {
    fn read(root: &mut Table<'_>, faults: &mut Faults) -> Self {
        let host_name = host_name();
        let mut section = Self {
            name: host_name.clone(),
            host_name,
            state_dir: STATE_DIR_DEFAULT.into(),
            socket_dir: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            checkpoint_interval: CHECKPOINT_INTERVAL_DEFAULT,
            open_files_max: OPEN_FILES_MAX_DEFAULT,
            landlock: true,
            limits: LiveLimits::default(),
        };
        let Some(mut table) = root.table("agent", faults) else { return section };
        if let Some(host_name) = table.string("host_name", faults) {
            section.host_name = host_name.to_owned();
            section.name = host_name.to_owned();
        }
        if let Some(name) = table.string("name", faults) {
            section.name = name.to_owned();
        }
        if let Some(node) = table.node("state_dir")
            && let Some(path) = node.text()
        {
            absolute(path, node.span, "agent.state_dir", faults);
            if Path::new(path).exists() && !Path::new(path).is_dir() {
                faults
                    .error(node.span, format!("`{path}` in `agent.state_dir` is no directory"))
                    .remedy = Some("name a directory; one that is not there yet is made".into());
            }
        }
        if let Some(path) = table.string("state_dir", faults) {
            section.state_dir = path.into();
        }
        section.socket_dir = table.string("socket_dir", faults).map(PathBuf::from);
        if let Some(workers) = table.integer("workers", 1..=256, faults) {
            section.workers = workers as usize;
        }
        let interval = CHECKPOINT_INTERVAL_MIN..=DURATION_MAX;
        if let Some(interval) = table.duration_within("checkpoint_interval", interval, faults) {
            section.checkpoint_interval = interval;
        }
        if let Some(max) = table.integer("open_files_max", 16..=1_000_000, faults) {
            section.open_files_max = max as usize;
        }
        section.landlock = table.boolean("landlock", faults).unwrap_or(true);
        for (path, span) in table.strings("landlock_read", faults).unwrap_or_default() {
            absolute(path, span, "agent.landlock_read", faults);
        }
        section.limits = limits::overall(&mut table, faults);
        table.finish(faults);
        section
    }
}

/// A relative path would be another directory for each place that the agent is started in.
fn absolute(path: &str, span: Span, key: &str, faults: &mut Faults) {
    if !Path::new(path).is_absolute() {
        faults.error(span, format!("`{path}` in `{key}` is no absolute path")).remedy =
            Some("write the directory from the root on".into());
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The Kafka properties, and beside them the topic.
fn kafka(root: &mut Table<'_>, faults: &mut Faults) -> Option<(Properties, String)> {
    let node = root.required("kafka", faults)?;
    let mut table = root.table("kafka", faults)?;
    let topic = match table.node("topic") {
        None => TOPIC_EVENTS.to_owned(),
        Some(topic) => topic_name(topic, faults).unwrap_or_default(),
    };
    table.leave_others(faults);
    let properties = Properties::read_except(node, "kafka", &["topic"], Role::Producer, faults)?;
    Some((properties, topic))
}

fn topic_name(node: &logweir_document::Node, faults: &mut Faults) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match node.text() {
        Some(text)
            if text.len() <= 249
                && text.chars().all(legal)
                && !text.trim_matches('.').is_empty() =>
        {
            Some(text.to_owned())
        }
        other => {
            let shown = other.map_or_else(|| node.kind().to_owned(), |text| format!("`{text}`"));
            faults.error(node.span, format!("`kafka.topic` is {shown}")).remedy =
                Some("write at most 249 letters, digits, `.`, `_` and `-`".into());
            None
        }
    }
}

fn rules(root: &mut Table<'_>, faults: &mut Faults) -> (RulesConfig, Option<PublishedConfig>) {
    let mut rules = RulesConfig { directories: Vec::new(), shipped: true };
    let Some(mut table) = root.table("rules", faults) else { return (rules, None) };
    for (path, span) in table.strings("directories", faults).unwrap_or_default() {
        if !Path::new(path).is_dir() {
            faults.error(span, format!("`{path}` is no directory")).remedy =
                Some("create it, or take it out of `rules.directories`".into());
        }
        rules.directories.push(path.into());
    }
    rules.shipped = table.boolean("shipped", faults).unwrap_or(true);
    let published = published::read(&mut table, faults);
    table.finish(faults);
    (rules, published)
}

/// Reads the section `metrics` of a program's configuration: where metrics are answered, if anywhere.
pub fn metrics(root: &mut Table<'_>, faults: &mut Faults) -> Option<MetricsListen> {
    let mut table = root.table("metrics", faults)?;
    let text = table.required_string("listen", faults);
    let span = table.node("listen").map_or(table.span(), |node| node.span);
    let listen = text.and_then(|text| {
        let fault = |reason| {
            faults.error(span, format!("`metrics.listen` is `{text}`: {reason}")).remedy =
                Some("write `127.0.0.1:9598` or `unix:/run/logweir-agent/metrics.sock`".into());
        };
        MetricsListen::parse(text).map_err(fault).ok()
    });
    table.finish(faults);
    listen
}

fn sources(root: &mut Table<'_>, faults: &mut Faults) -> Option<Vec<SourceConfig>> {
    let node = root.required("sources", faults)?;
    let items = root.sequence("sources", faults)?;
    if items.is_empty() || items.len() > SOURCES_MAX {
        faults.error(node.span, format!("`sources` has {} entries", items.len())).remedy =
            Some(format!("give between 1 and {SOURCES_MAX}"));
        return None;
    }
    let mut reader = sources::Reader::default();
    let mut list = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("sources[{index}]");
        if let Some(table) = Table::open(item, path, faults) {
            list.extend(reader.source(item, table, faults));
        }
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_document::render_all;

    fn faults(text: &str) -> String {
        match Config::from_yaml("agent.yaml", text) {
            Ok((_, warnings)) => render_all(&warnings, false),
            Err(faults) => render_all(&faults, false),
        }
    }

    const WHOLE: &str = "\
agent: {name: web1, state_dir: /tmp/state, workers: 2, checkpoint_interval: 500ms}
kafka: {bootstrap.servers: 'a:9092', topic: logs, linger.ms: 50}
rules: {shipped: false}
sources:
  - type: file
    paths: ['/var/log/*.log']
    exclude: ['*.gz']
    read_from: end
    labels: {env: prod}
    zone: Europe/Berlin
    limits: {events_per_second: 1000, bytes_per_second: 1MiB, burst: 2s}
    line_bytes_max: 16KiB
    rotate_wait: 2s
  - {type: syslog, udp: '127.0.0.1:5514', tcp: '127.0.0.1:5514'}
  - {type: stdin}
";

    #[test]
    fn a_whole_configuration_is_read() {
        let (config, warnings) = Config::from_yaml("agent.yaml", WHOLE).unwrap();
        assert!(warnings.is_empty());
        assert_eq!((config.name.as_str(), config.topic.as_str()), ("web1", "logs"));
        assert_eq!(config.kafka.get("linger.ms"), Some("50"));
        assert_eq!(config.kafka.get("topic"), None);
        let [SourceConfig::File(file), SourceConfig::Syslog(syslog), SourceConfig::Stdin(_)] =
            config.sources.as_slice()
        else {
            panic!("{:?}", config.sources);
        };
        assert_eq!(file.common.labels, [("labels.env".to_owned(), "prod".to_owned())]);
        assert_eq!(file.common.line_bytes_max, 16 << 10);
        assert_eq!(file.read_from, ReadFrom::End);
        assert_eq!(syslog.listen.udp, Some(Address::Ip("127.0.0.1:5514".parse().unwrap())));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let text = "\
agent: {nam: web1, workers: 0}
kafka: {lingr.ms: 5, topic: 'a b'}
rules: {directories: [/nowhere/at/all], published: {public_key: /nowhere/rules.pub, group: a/b}}
sources:
  - {type: file, path: /x}
  - {type: file, paths: ['/var/log/[a']}
  - {type: file, paths: [relative.log]}
  - {type: pigeon}
  - {type: syslog}
  - {type: syslog, udp: '127.0.0.1:5514', tcp: nowhere}
  - {type: syslog, udp: '127.0.0.1:5514'}
  - {type: stdin, zone: Mars/Base}
  - {type: stdin, labels: {'a b': 1}}
  - {type: file, paths: [/x], dataset: no.such.thing}
  - {type: file, paths: [/y], multiline: {preset: container, negate: true}}
  - {type: file, paths: [/z], multiline: {start: '(a'}}
  - {type: journald, identifiers: [sudo], labels: {team: a}}
  - {type: journald, identifiers: [sudo], labels: {team: b}}
topic: x
";
        let shown = faults(text);
        for expected in [
            "agent.yaml:1:9: error: unknown key `nam` in `agent`",
            "`agent.workers` is `0`",
            "unknown Kafka property `lingr.ms`",
            "missing `bootstrap.servers` in `kafka`",
            "`kafka.topic` is `a b`",
            "agent.yaml:3:23: error: `/nowhere/at/all` is no directory",
            "`/nowhere/rules.pub` cannot be read",
            "`rules.published.group` is `a/b`",
            "missing `paths` in `sources[0]`",
            "unknown key `path` in `sources[0]`",
            "it is called `paths` here",
            "`/var/log/[a` is no glob",
            "`relative.log` is no absolute path",
            "`sources[3].type` is `pigeon`",
            "`sources[4]` listens nowhere",
            "`sources[5].tcp` is `nowhere`",
            "udp 127.0.0.1:5514 is listened to twice",
            "`Mars/Base` is no time zone",
            "a second source reads standard input",
            "`a b` is no name for a label",
            "agent.yaml:14:40: error: there are no rules for the dataset `no.such.thing`",
            "`sources[10].multiline.negate` is for patterns, and `container` is none",
            "`(a` is no pattern: unclosed group",
            "agent.yaml:18:5: error: a second source reads the same of the journal",
            "agent.yaml:19:1: error: unknown key `topic`",
        ] {
            assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
        }
    }

    #[test]
    fn what_two_sources_read_of_one_journal_is_told_apart() {
        let text = "kafka: {bootstrap.servers: 'a:1'}\nsources:\n  - {type: journald, directories: [/j]}\n  \
                    - {type: journald, directories: [/j], units: [a], priority: err, boot: current}\n";
        let (config, _) = Config::from_yaml("agent.yaml", text).unwrap();
        let places: Vec<String> = config.sources.iter().map(SourceConfig::place).collect();
        assert_eq!(places, ["journald /j", "journald /j, unit a, priority 3, boot current"]);
    }

    #[test]
    fn a_document_that_is_no_configuration_is_told_so() {
        for (text, expected) in [
            ("", "missing `kafka`"),
            ("[1]", "not a mapping"),
            ("kafka: {bootstrap.servers: a}\nsources: {}\n", "`sources` is a mapping"),
            ("kafka: {bootstrap.servers: a}\nsources: []\n", "`sources` has 0 entries"),
            ("a: [", "agent.yaml:"),
        ] {
            let shown = faults(text);
            assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
        }
    }

    #[test]
    fn a_state_directory_that_is_a_file_is_a_fault_before_the_start() {
        let text = "agent: {state_dir: /etc/passwd}\nkafka: {bootstrap.servers: 'a:1'}\nsources: [{type: stdin}]\n";
        let faults = Config::from_yaml("agent.yaml", text).unwrap_err();
        let shown = render_all(&faults, false);
        assert!(
            shown.contains("1:20: error: `/etc/passwd` in `agent.state_dir` is no directory"),
            "{shown}"
        );
    }
}
