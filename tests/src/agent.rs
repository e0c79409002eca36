//! The agent as a process: configured, started, killed, asked for its counts.

use crate::process::{Output, Process, run_to_end};
use crate::{DEADLINE, Topic, wait};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// What a test wants of an agent; everything else is the product's default.
#[derive(Debug, Clone, Default)]
pub struct AgentConfig {
    pub bootstrap: String,
    pub topic: String,
    /// Globs of the files to read.
    pub files: Vec<String>,
    /// Where to listen for syslog, UDP and TCP.
    pub syslog: Option<SocketAddr>,
    /// Lines are delivered as they are: the rules take a second to load in a test's build.
    pub without_rules: bool,
    /// More of the sections `agent` and `kafka`, and of the syslog source: `key: value` each.
    pub agent: Vec<&'static str>,
    pub kafka: Vec<String>,
    pub source: Vec<String>,
    /// Further sources, each as it stands in the configuration: `{type: …}`.
    pub sources: Vec<String>,
}

impl AgentConfig {
    /// Reads the files that match `glob` in `directory` into `topic`.
    #[must_use]
    pub fn of_files(topic: &Topic, directory: &Path, glob: &str) -> Self {
        let files = vec![directory.join(glob).display().to_string()];
        Self { files, ..Self::of_nothing(topic) }
    }

    /// Listens at `address` for syslog into `topic`.
    #[must_use]
    pub fn of_syslog(topic: &Topic, address: SocketAddr) -> Self {
        Self { syslog: Some(address), ..Self::of_nothing(topic) }
    }

    /// Reads the source that stands as `{type: …}` in the configuration.
    #[must_use]
    pub fn of_source(topic: &Topic, source: &str) -> Self {
        Self { sources: vec![source.to_owned()], ..Self::of_nothing(topic) }
    }

    /// The same through another listener, with what the section `kafka` needs for it.
    #[must_use]
    pub fn through(self, bootstrap: String, kafka: Vec<String>) -> Self {
        Self { bootstrap, kafka, ..self }
    }

    fn of_nothing(topic: &Topic) -> Self {
        Self { bootstrap: topic.bootstrap.clone(), topic: topic.name.clone(), ..Self::default() }
    }

    fn yaml(&self, directory: &Path) -> String {
        let mut text = format!("agent:\n  state_dir: {}\n", directory.join("state").display());
        self.agent.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        text.push_str(&format!(
            "kafka:\n  bootstrap.servers: '{}'\n  topic: {}\n",
            self.bootstrap, self.topic
        ));
        self.kafka.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        if self.without_rules {
            text.push_str("rules:\n  shipped: false\n");
        }
        text.push_str("sources:\n");
        let more: String = self.source.iter().map(|line| format!(", {line}")).collect();
        for glob in &self.files {
            text.push_str(&format!("  - {{type: file, paths: ['{glob}']}}\n"));
        }
        if let Some(address) = &self.syslog {
            text.push_str(&format!(
                "  - {{type: syslog, udp: '{address}', tcp: '{address}'{more}}}\n"
            ));
        }
        for source in &self.sources {
            text.push_str(&format!("  - {source}\n"));
        }
        text
    }
}

/// What became of the events that the agent has read (ACC-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub read: u64,
    pub delivered: u64,
    /// Read and not yet acknowledged.
    pub held: u64,
    pub dropped: u64,
}

impl Counts {
    fn of(status: &Value) -> Option<Self> {
        let count = |name: &str| status[name].as_u64();
        let reasons = status["dropped"].as_object()?;
        Some(Self {
            read: count("read")?,
            delivered: count("delivered")?,
            held: count("held")?,
            dropped: reasons.values().filter_map(Value::as_u64).sum(),
        })
    }

    /// As an agent that has stopped says, in the last line of that kind.
    fn last_of(said: &str) -> Option<Self> {
        let line = said.lines().rfind(|line| line.contains(" all_out="))?;
        let count = |name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}="))?;
            rest.split(' ').next()?.parse().ok()
        };
        Some(Self {
            read: count("read")?,
            delivered: count("delivered")?,
            held: count("held")?,
            dropped: count("dropped")?,
        })
    }

    #[must_use]
    pub fn is_balanced(self) -> bool {
        self.read == self.delivered + self.held + self.dropped
    }

    /// # Panics
    /// An event is in no account or in two.
    pub fn assert_balanced(self) {
        assert!(self.is_balanced(), "{self:?}");
    }
}

/// An agent that keeps its configuration and its state over kills.
#[derive(Debug)]
pub struct Agent {
    directory: PathBuf,
    config: PathBuf,
    process: Option<Process>,
    starts: usize,
    /// How much had been said before it was started last.
    said_before: usize,
}

impl Agent {
    /// An agent that does not run yet.
    ///
    /// # Panics
    /// The configuration cannot be written.
    #[must_use]
    pub fn stopped(directory: &Path, config: &AgentConfig) -> Self {
        let path = directory.join("agent.yaml");
        std::fs::write(&path, config.yaml(directory)).expect("the test's directory can be written");
        Self {
            directory: directory.to_owned(),
            config: path,
            process: None,
            starts: 0,
            said_before: 0,
        }
    }

    /// Changes what stands in its configuration; it may be running.
    ///
    /// # Panics
    /// The configuration cannot be written.
    pub fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration is there");
        assert!(text.contains(from), "{from:?} is not in {text}");
        let draft = self.config.with_extension("draft");
        std::fs::write(&draft, text.replace(from, to))
            .expect("the test's directory can be written");
        std::fs::rename(&draft, &self.config).expect("the test's directory can be written");
    }

    /// The same, running.
    #[must_use]
    pub fn started(directory: &Path, config: &AgentConfig) -> Self {
        let mut agent = Self::stopped(directory, config);
        agent.start();
        agent
    }

    pub fn start(&mut self) {
        self.start_within(&[]);
    }

    /// Starts it by way of another program, see [`Process::start_within`].
    pub fn start_within(&mut self, wrapper: &[String]) {
        let arguments = ["run", "--config", &self.config.display().to_string()];
        let output = self.output();
        self.said_before = std::fs::read(&output).map_or(0, |said| said.len());
        let process = Process::start_within(wrapper, "logweir-agent", &arguments, &output);
        self.process = Some(process);
        self.starts += 1;
    }

    fn output(&self) -> PathBuf {
        self.directory.join("agent.output")
    }

    /// Changes its configuration, for the next start or reload.
    ///
    /// # Panics
    /// The configuration does not have `old`.
    pub fn rewrite(&self, old: &str, new: &str) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration is there");
        assert!(text.contains(old), "`{old}` is not in {text}");
        std::fs::write(&self.config, text.replace(old, new)).expect("it can be written");
    }

    /// Appends to its configuration.
    ///
    /// # Panics
    /// The configuration is not there.
    pub fn append(&self, more: &str) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration is there");
        std::fs::write(&self.config, text + more).expect("it can be written");
    }

    /// SIGHUP.
    ///
    /// # Panics
    /// It does not run.
    pub fn hang_up(&self) {
        self.process.as_ref().expect("the agent runs").hang_up();
    }

    /// Memory that is in use, in bytes.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.process.as_ref().expect("the agent runs").resident_bytes()
    }

    /// The most memory that was in use at a time, in bytes.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.process.as_ref().expect("the agent runs").peak_bytes()
    }

    /// How many files below `directory` it has open, also those that have no name any more.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn open_below(&self, directory: &Path) -> usize {
        self.process.as_ref().expect("the agent runs").open_below(directory)
    }

    /// Where it keeps its state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// It was not started.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().expect("the agent was started").has_ended()
    }

    /// SIGKILL; returns when it is gone. Where it still answers, its accounts have to balance.
    ///
    /// # Panics
    /// They do not.
    pub fn kill9(&mut self) {
        let _ = self.process.is_some().then(|| self.counts());
        self.kill9_unasked();
    }

    /// SIGKILL at this very moment.
    pub fn kill9_unasked(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGTERM; returns how it ended. Its accounts have to balance before, if it answers, and in what
    /// it says last.
    ///
    /// # Panics
    /// They do not; it does not run, or does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        let _ = self.counts();
        let status = self.process.take().expect("the agent runs").terminate();
        if status.success() {
            self.last_counts().assert_balanced();
        }
        status
    }

    /// What has become of the events, as it said when it stopped.
    ///
    /// # Panics
    /// It has not said so.
    #[must_use]
    pub fn last_counts(&self) -> Counts {
        let said = std::fs::read(self.output()).expect("it was started");
        let said = String::from_utf8_lossy(&said[self.said_before..]);
        Counts::last_of(&said).unwrap_or_else(|| panic!("it does not say how it stopped: {said}"))
    }

    /// # Panics
    /// It has ended by itself.
    pub fn assert_running(&mut self) {
        self.process.as_mut().expect("the agent was started").assert_running();
    }

    /// All that it has said, in all its runs.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.as_ref().expect("the agent runs").said()
    }

    /// Waits until all that was read is acknowledged; the accounts balance all the while, nothing
    /// was dropped, and an agent that was started only once has read `expected` events.
    ///
    /// # Panics
    /// It is not so.
    pub fn assert_delivered(&self, expected: usize) {
        let counts = wait("the agent to hold nothing", DEADLINE, || {
            let counts = self.counts()?;
            counts.assert_balanced();
            (counts.held == 0).then_some(counts)
        });
        assert_eq!(counts.dropped, 0, "{counts:?}");
        if self.starts == 1 {
            assert_eq!(counts.read, expected as u64, "{counts:?}");
        }
    }

    /// Runs one of the agent's commands with its configuration.
    #[must_use]
    pub fn command(&self, name: &str) -> Output {
        run_to_end("logweir-agent", &[name, "--config", &self.config.display().to_string()])
    }

    /// What `logweir-agent status` says; `None` while it does not answer.
    #[must_use]
    pub fn status(&self) -> Option<Value> {
        let config = self.config.display().to_string();
        let output =
            run_to_end("logweir-agent", &["status", "--config", &config, "--format", "json"]);
        serde_json::from_str(&output.stdout).ok()
    }

    /// The same of an agent that runs: on a busy machine the first question may find no answer.
    ///
    /// # Panics
    /// It does not answer.
    #[must_use]
    pub fn status_told(&self) -> Value {
        wait("the agent to answer", DEADLINE, || self.status())
    }

    /// Its counts, as [`Agent::status_told`].
    ///
    /// # Panics
    /// It does not answer, or its accounts do not balance.
    #[must_use]
    pub fn counts_told(&self) -> Counts {
        wait("the agent to answer", DEADLINE, || self.counts())
    }

    /// Its counts since its start; `None` while it does not answer.
    ///
    /// # Panics
    /// The accounts of a source, or of all together, do not balance.
    #[must_use]
    pub fn counts(&self) -> Option<Counts> {
        let status = self.status()?;
        for source in status["sources"].as_array()? {
            let counts = Counts::of(source)?;
            assert!(counts.is_balanced(), "{source}");
        }
        let counts = Counts::of(&status)?;
        counts.assert_balanced();
        Some(counts)
    }
}

impl Drop for Agent {
    /// The accounts of one that still runs when its test ends well have to balance.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kill9();
        }
    }
}
