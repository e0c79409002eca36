//! The central side: `logweir ingest` as a process, and what `logweir search` and `logweir audit`
//! say of the table it writes.

use crate::oracle::Event;
use crate::process::{Output, Process, run_to_end};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// The table of a test, and the ingest that writes it.
#[derive(Debug)]
pub struct Ingest {
    directory: PathBuf,
    table: PathBuf,
    config: PathBuf,
    process: Option<Process>,
}

impl Ingest {
    /// Two workers from `topic` into the table in `directory`; not running yet.
    ///
    /// # Panics
    /// The configuration cannot be written.
    #[must_use]
    pub fn stopped(directory: &Path, bootstrap: &str, topic: &str) -> Self {
        let config = directory.join("ingest.yaml");
        let table = directory.join("table");
        let text = format!(
            "kafka:\n  bootstrap.servers: '{bootstrap}'\n  group.id: {topic}\n  \
             session.timeout.ms: 6000\ntopic: {topic}\nworkers: 2\nstore:\n  path: {}\n  \
             flush.interval: 200ms\n",
            table.display()
        );
        std::fs::write(&config, text).expect("the test's directory can be written");
        Self { directory: directory.to_owned(), table, config, process: None }
    }

    /// Writes another table, such as one in an object store.
    ///
    /// # Panics
    /// The configuration cannot be written.
    pub fn into_table(&mut self, table: &str) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration is there");
        let text = text.replace(&self.table.display().to_string(), table);
        std::fs::write(&self.config, text).expect("it can be written");
        self.table = PathBuf::from(table);
    }

    /// Adds lines to the configuration, for the next start.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn configure(&self, lines: &str) {
        crate::append(&self.config, lines.as_bytes());
    }

    /// The same, running.
    #[must_use]
    pub fn started(directory: &Path, bootstrap: &str, topic: &str) -> Self {
        let mut ingest = Self::stopped(directory, bootstrap, topic);
        ingest.start();
        ingest
    }

    /// Reads through another listener, with what the section `kafka` needs for it.
    ///
    /// # Panics
    /// The configuration cannot be written.
    pub fn through(&self, bootstrap: &str, kafka: &[String]) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration is there");
        let servers = "  bootstrap.servers: ";
        let lines = text.lines().map(|line| match line.starts_with(servers) {
            true => format!("{servers}'{bootstrap}'\n  {}\n", kafka.join("\n  ")),
            false => format!("{line}\n"),
        });
        std::fs::write(&self.config, lines.collect::<String>()).expect("it can be written");
    }

    /// Writes other properties of the section `kafka` where `old` stands.
    ///
    /// # Panics
    /// The configuration cannot be written, or has no such text.
    pub fn with_kafka(&self, old: &str, new: &str) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration is there");
        assert!(text.contains(old), "{text}");
        std::fs::write(&self.config, text.replace(old, new)).expect("it can be written");
    }

    /// All that it has said, in all its runs.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.as_ref().expect("the ingest runs").said()
    }

    pub fn start(&mut self) {
        self.start_within(&[]);
    }

    /// Starts it by way of another program, see [`Process::start_within`].
    pub fn start_within(&mut self, wrapper: &[String]) {
        let arguments = ["ingest", "--config", &self.config.display().to_string()];
        let output = self.config.with_extension("output");
        self.process = Some(Process::start_within(wrapper, "logweir", &arguments, &output));
    }

    /// Another process of the same group into the same table; not running yet.
    #[must_use]
    pub fn twin(&self) -> Self {
        self.with_config(self.config.clone())
    }

    /// Another process of the same group into the same table, which can be asked how it goes; not
    /// running yet.
    ///
    /// # Panics
    /// Its configuration cannot be written.
    #[must_use]
    pub fn member(&self, name: &str) -> Self {
        let config = self.directory.join(format!("{name}.yaml"));
        let mut text = std::fs::read_to_string(&self.config).expect("it was written");
        let socket = self.directory.join(format!("{name}.sock"));
        text.push_str(&format!("status: {{socket: '{}'}}\n", socket.display()));
        std::fs::write(&config, text).expect("the test's directory can be written");
        self.with_config(config)
    }

    fn with_config(&self, config: PathBuf) -> Self {
        let (directory, table) = (self.directory.clone(), self.table.clone());
        Self { directory, table, config, process: None }
    }

    /// Its workers and the partitions they have, a pair each; none while it does not answer.
    #[must_use]
    pub fn shares(&self) -> Vec<(u64, u64)> {
        let status = self.status().unwrap_or_default();
        let list = status["partitions"].as_array().into_iter().flatten();
        list.filter_map(|of| Some((of["worker"].as_u64()?, of["partition"].as_u64()?))).collect()
    }

    /// SIGSTOP: it stands still, and does not know it, until [`Ingest::resume`].
    pub fn pause(&self) {
        self.process.as_ref().expect("the ingest runs").pause();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.as_ref().expect("the ingest runs").resume();
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGTERM; returns how it ended.
    ///
    /// # Panics
    /// It does not run, or does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.take().expect("the ingest runs").terminate()
    }

    /// # Panics
    /// It has ended by itself.
    pub fn assert_running(&mut self) {
        self.process.as_mut().expect("the ingest was started").assert_running();
    }

    /// `logweir ingest status --format json`; `None` while no ingest answers.
    #[must_use]
    pub fn status(&self) -> Option<Value> {
        let config = self.config.display().to_string();
        let output =
            run_to_end("logweir", &["ingest", "status", "--config", &config, "--format", "json"]);
        serde_json::from_str(&output.stdout).ok()
    }

    #[must_use]
    pub fn table(&self) -> Table {
        Table { path: self.table.clone() }
    }
}

/// A table, through the commands.
#[derive(Debug, Clone)]
pub struct Table {
    pub path: PathBuf,
}

impl Table {
    /// The events that match, at most `limit`.
    ///
    /// # Panics
    /// The search fails; exit code 1, for nothing found, is none.
    #[must_use]
    pub fn search(&self, query: &str, limit: usize) -> Vec<Event> {
        let path = self.path.display().to_string();
        let limit = limit.to_string();
        let output = run_to_end(
            "logweir",
            &["search", query, "--store", &path, "--format", "json", "--limit", &limit],
        );
        assert!(matches!(output.code, Some(0 | 1)), "search {query}: {}", output.stderr);
        output.stdout.lines().map(|line| Event::parse(line.as_bytes())).collect()
    }

    /// `logweir audit`, for people.
    #[must_use]
    pub fn audit(&self) -> Output {
        run_to_end("logweir", &["audit", "--store", &self.path.display().to_string()])
    }

    /// `logweir audit --format json`: an object for each source; none while there is no table.
    #[must_use]
    pub fn audit_json(&self) -> Vec<Value> {
        let path = self.path.display().to_string();
        let output = run_to_end("logweir", &["audit", "--store", &path, "--format", "json"]);
        output.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How many events the ledger says that the table has.
    #[must_use]
    pub fn rows(&self) -> usize {
        let rows = |source: &Value| source["rows"].as_u64().unwrap_or(0);
        self.audit_json().iter().map(rows).sum::<u64>() as usize
    }
}
