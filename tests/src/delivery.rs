//! The whole path of one test: agent, topic, ingest, table; and the verdict on it.

use crate::oracle::{assert_exactly_once, assert_in_order_per_source, without_repeats};
use crate::{Agent, AgentConfig, Ingest, Table, Topic, wait_for_count};
use std::path::Path;

/// An agent and an ingest with a topic between them.
#[derive(Debug)]
pub struct Delivery {
    pub topic: Topic,
    pub agent: Agent,
    pub ingest: Ingest,
}

impl Delivery {
    /// Nothing runs yet.
    #[must_use]
    pub fn stopped(directory: &Path, topic: &Topic, config: &AgentConfig) -> Self {
        let agent = Agent::stopped(directory, config);
        let ingest = Ingest::stopped(directory, &topic.bootstrap, &topic.name);
        Self { topic: topic.clone(), agent, ingest }
    }

    /// From the files that match `glob` in `directory`, their lines as they are. Nothing runs yet.
    #[must_use]
    pub fn of_files_stopped(directory: &Path, topic: &Topic, glob: &str) -> Self {
        let files = AgentConfig::of_files(topic, directory, glob);
        Self::stopped(directory, topic, &AgentConfig { without_rules: true, ..files })
    }

    /// From the files that match `glob` in `directory`, running.
    #[must_use]
    pub fn of_files(directory: &Path, topic: &Topic, glob: &str) -> Self {
        let mut delivery = Self::of_files_stopped(directory, topic, glob);
        delivery.start();
        delivery
    }

    /// Starts the agent and the ingest.
    pub fn start(&mut self) {
        self.agent.start();
        self.ingest.start();
    }

    /// Waits until as many events are in the table as lines were written (by writer: how many), stops
    /// everything, and gives the verdict: topic and table hold each line exactly once (the topic: apart from
    /// repeats), in order per source, the audit is clean, the agent's accounts balance.
    ///
    /// # Panics
    /// The verdict is bad.
    pub fn assert_complete(mut self, written: &[(&str, usize)]) {
        let expected: usize = written.iter().map(|(_, count)| count).sum();
        let table = self.ingest.table();
        wait_for_count("events in the table", expected, || {
            self.agent.assert_running();
            self.ingest.assert_running();
            table.rows()
        });
        self.agent.assert_delivered(expected);
        assert!(self.agent.terminate().success(), "the agent ends cleanly");
        assert!(self.ingest.terminate().success(), "the ingest ends cleanly");
        let delivered = without_repeats(self.topic.events());
        assert_exactly_once(&delivered, written);
        assert_in_order_per_source(&delivered);
        let mut stored = table.search("", 2 * expected);
        assert_exactly_once(&stored, written);
        stored.sort_by(|a, b| (&a.source, a.offset).cmp(&(&b.source, b.offset)));
        assert_in_order_per_source(&stored);
        assert_nothing_missing(&table);
    }
}

/// `logweir audit` finds nothing missing and says so with its exit code.
///
/// # Panics
/// It does not.
pub fn assert_nothing_missing(table: &Table) {
    let audit = table.audit();
    assert_eq!(audit.code, Some(0), "{}{}", audit.stdout, audit.stderr);
    assert!(audit.stdout.contains("nothing is missing"), "{}", audit.stdout);
}
