//! What `run` does besides running: tells systemd how it goes, feeds its watchdog while the agent
//! comes round, and reloads when asked.

use crate::config::{Loaded, changed_sections};
use crate::confine::out_of_reach;
use crate::{Agent, Snapshot};
use logweir_document::{Document, render_all};
use logweir_service::Notifier;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const STATUS_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Supervision {
    notifier: Notifier,
    path: PathBuf,
    /// The configuration in use.
    in_use: Document,
    /// When the status was told last, and what had been read then.
    told: (Instant, u64),
    fed: Instant,
    stalled: bool,
}

impl Supervision {
    pub(super) fn new(path: PathBuf, in_use: Document) -> Self {
        let (notifier, now) = (Notifier::from_environment(), Instant::now());
        Self { notifier, path, in_use, told: (now, 0), fed: now, stalled: false }
    }

    /// The agent reads.
    pub(super) fn started(&mut self, agent: &Agent) {
        let status = self.status(agent);
        self.notifier.ready(&status);
        self.feed(agent);
    }

    pub(super) fn stopping(&self) {
        self.notifier.stopping();
    }

    /// To be called several times a second.
    pub(super) fn look(&mut self, agent: &Agent) {
        if !self.notifier.is_heard() {
            return;
        }
        if self.told.0.elapsed() >= STATUS_INTERVAL {
            let status = self.status(agent);
            self.notifier.status(&status);
        }
        if self.notifier.watchdog().is_some_and(|limit| self.fed.elapsed() >= limit / 4) {
            self.feed(agent);
        }
    }

    fn feed(&mut self, agent: &Agent) {
        let Some(limit) = self.notifier.watchdog() else { return };
        self.fed = Instant::now();
        // Half of systemd's patience for the thread, the other half for being told.
        match agent.stalled(limit / 2) {
            None => {
                self.stalled = false;
                self.notifier.feed_watchdog();
            }
            Some(thread) if !std::mem::replace(&mut self.stalled, true) => {
                tracing::error!(thread, "a thread stands still; systemd's watchdog is not fed");
            }
            Some(_) => {}
        }
    }

    fn status(&mut self, agent: &Agent) -> String {
        let snapshot = agent.snapshot();
        let (at, read) = std::mem::replace(&mut self.told, (Instant::now(), snapshot.counts.read));
        let seconds = at.elapsed().as_secs_f64().max(0.001);
        line(&snapshot, snapshot.counts.read.saturating_sub(read) as f64 / seconds)
    }

    /// Rules are looked at now, and sources go over to what is configured; what differs in the rest of
    /// the configuration is said to wait for a restart. A faulty one changes nothing.
    pub(super) fn reload(&mut self, agent: &Agent) {
        self.notifier.reloading();
        let told = agent.reload_rules();
        match agent.take_up_configuration(|| Loaded::from_file(&self.path)) {
            Err(mut faults) => {
                // A configuration is loaded with its rules.
                faults.retain(|fault| !told.contains(fault));
                if faults.is_empty() {
                    tracing::error!(
                        "the sources in use stay, too; reload again when the rules have no faults"
                    );
                } else {
                    tracing::error!(
                        "the configuration has faults; the one in use stays\n{}",
                        render_all(&faults, false)
                    );
                }
            }
            Ok((loaded, _)) => {
                let mut changed = changed_sections(&self.in_use.root, &loaded.document.root);
                changed.retain(|section| section != "sources");
                let sources = loaded.config.sources.len();
                for path in out_of_reach(&loaded) {
                    tracing::warn!(
                        path = %path.display(),
                        "Landlock lets the agent open this after a restart only: it was not \
                         configured when the agent started"
                    );
                }
                let refused = agent.reload_sources(loaded.config.sources);
                if told.is_empty() {
                    tracing::info!(
                        sources,
                        "reloaded: rules and sources are those of the configuration"
                    );
                } else {
                    tracing::warn!(
                        sources,
                        "reloaded: sources are those of the configuration; the rules in use stay"
                    );
                }
                for refused in refused {
                    tracing::warn!("reloaded, but not {refused}");
                }
                if !changed.is_empty() {
                    let sections = changed.join(", ");
                    tracing::warn!(sections, "what changed in these sections waits for a restart");
                }
            }
        }
        let status = self.status(agent);
        self.notifier.ready(&status);
    }
}

fn line(snapshot: &Snapshot, per_second: f64) -> String {
    format!(
        "kafka {}; reads {per_second:.0} events/s; {} bytes behind; read {} delivered {} held {} \
         dropped {}",
        snapshot.kafka,
        crate::metrics::lag(snapshot),
        snapshot.counts.read,
        snapshot.counts.delivered,
        snapshot.counts.held,
        snapshot.counts.dropped_total(),
    )
}
