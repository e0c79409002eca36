//! The sources besides files: what goes through spools, and the journal; also while they change.
//!
//! A spool stays open as long as the agent runs: a source that is not configured any more, now or by
//! an earlier run, leaves what is in its spool to go out.

use crate::accounting::{ListenerSnapshot, SourceSnapshot};
use crate::config::{
    Common, FileConfig, HeadsConfig, JournaldConfig, SourceConfig, StdinConfig, SyslogConfig,
};
use crate::source::heads::{self, HeadsSource};
use crate::source::journald::{self, JournalTail, Journald};
use crate::source::spooled::SpoolTail;
use crate::source::stdin::Stdin;
use crate::source::syslog::{Addresses, Syslog, spool_name};
use crate::source::{Context, SpoolSet};
use crate::spool::Settings;
use crate::sync::{read, write};
use crate::workers::{Queue, Work};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

const RESTART: &str = "which waits for a restart";

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Inputs {
    spools: PathBuf,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    syslog: Vec<Syslog>,
    stdin: Option<(String, Stdin)>,
    /// What the agent itself says, signed.
    heads: Option<HeadsSource>,
    journald: Vec<Journald>,
    /// Journals that are not read on as they were.
    leaving: Vec<Journald>,
    /// Journals to be read as soon as none is leaving: it may be the same one.
    waiting: Vec<JournaldConfig>,
    /// Spools of sources that were taken out by a reload.
    left: Vec<Arc<SpoolSet>>,
    /// Spools of sources that an earlier run had.
    orphans: Vec<Arc<SpoolTail>>,
}

/// The sources of a configuration, by kind.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) files: Vec<FileConfig>,
    syslog: Vec<SyslogConfig>,
    journald: Vec<JournaldConfig>,
    stdin: Option<StdinConfig>,
}

impl Sources {
    #[must_use]
    pub(crate) fn of(sources: Vec<SourceConfig>) -> Self {
        let mut by_kind = Self::default();
        for source in sources {
            match source {
                SourceConfig::File(file) => by_kind.files.push(file),
                SourceConfig::Syslog(syslog) => by_kind.syslog.push(*syslog),
                SourceConfig::Journald(journald) => by_kind.journald.push(*journald),
                SourceConfig::Stdin(stdin) => by_kind.stdin = Some(stdin),
            }
        }
        by_kind
    }
}

impl Inputs {
    /// Starts what goes through spools, and the journals.
    ///
    /// # Errors
    /// A listener, a spool or a thread that cannot be had.
    pub(crate) fn start(
        context: &Arc<Context>,
        spools: PathBuf,
        sources: Sources,
        heads: Option<HeadsConfig>,
    ) -> io::Result<Self> {
        let mut state = State::default();
        for syslog in &sources.syslog {
            state.syslog.push(Syslog::start(context, &spools, syslog)?);
        }
        let all: Vec<String> = sources.journald.iter().map(JournaldConfig::reads).collect();
        for journald in sources.journald {
            state.journald.push(Journald::start(context, journald, &all)?);
        }
        if let Some(config) = sources.stdin {
            let stdin = Stdin::start(context, &spools, &config)?;
            state.stdin = Some((config.common.said, stdin));
        }
        let start = |config| HeadsSource::start(context, &spools, config);
        state.heads = heads.map(start).transpose()?;
        state.adopt_orphans(context, &spools)?;
        Ok(Self { spools, state: RwLock::new(state) })
    }

    /// Goes over to other sources; those that are said as before are not touched. Returns what could
    /// not be done, for a person.
    pub(crate) fn reload(&self, context: &Arc<Context>, sources: Sources) -> Vec<String> {
        let state = &mut *write(&self.state);
        let mut refused = Vec::new();
        let stdin = sources.stdin.map(|stdin| stdin.common.said);
        if stdin.as_ref() != state.stdin.as_ref().map(|(said, _)| said) {
            refused.push(format!("standard input has changed, {RESTART}"));
        }
        state.reload_journald(context, sources.journald, &mut refused);
        state.reload_syslog(context, &self.spools, &sources.syslog, &mut refused);
        refused
    }

    /// Lets go of what has left, and begins what waits for that; to be called now and then.
    pub(crate) fn settle(&self, context: &Arc<Context>) {
        let is_still = {
            let state = read(&self.state);
            state.leaving.is_empty() && state.waiting.is_empty()
        };
        if is_still {
            return;
        }
        for refused in write(&self.state).settle(context) {
            tracing::error!("{refused}");
        }
    }

    pub(crate) fn tails(&self) -> Vec<Arc<SpoolTail>> {
        read(&self.state).spools()
    }

    /// What there is to ask for a snapshot, with what `also` tells of the same moment: nothing is let
    /// go of meanwhile.
    pub(crate) fn tails_with<T>(&self, also: impl FnOnce() -> T) -> (InputTails, T) {
        let state = read(&self.state);
        let (spools, journals) = (state.spools(), state.journals());
        (InputTails { spools, journals }, also())
    }

    pub(crate) fn listeners(&self) -> Vec<ListenerSnapshot> {
        read(&self.state).syslog.iter().map(ListenerSnapshot::of).collect()
    }

    pub(crate) fn syslog_addresses(&self) -> Vec<Addresses> {
        read(&self.state).syslog.iter().map(Syslog::addresses).collect()
    }

    /// Whether standard input is all there is, has ended, and all of it is acknowledged.
    pub(crate) fn is_finished(&self) -> bool {
        let state = read(&self.state);
        state.syslog.is_empty()
            && state.journald.is_empty()
            && state.waiting.is_empty()
            && state.stdin.as_ref().is_some_and(|(_, stdin)| stdin.is_finished())
    }

    /// Has everything served.
    pub(crate) fn wake(&self, queue: &Queue) {
        for tail in self.tails() {
            let work: Arc<dyn Work> = tail;
            queue.wake(&work);
        }
        journald::wake(read(&self.state).journals(), queue);
    }

    /// No more input.
    pub(crate) fn stop(&self) {
        let state = read(&self.state);
        state.syslog.iter().for_each(Syslog::stop);
        state.journald.iter().for_each(Journald::stop);
        if let Some((_, stdin)) = &state.stdin {
            stdin.stop();
        }
        state.heads.iter().for_each(HeadsSource::stop);
    }
}

/// The sources besides files at one moment.
#[derive(Debug)]
pub(crate) struct InputTails {
    spools: Vec<Arc<SpoolTail>>,
    journals: Vec<Arc<JournalTail>>,
}

impl InputTails {
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = SourceSnapshot> {
        let spools = self.spools.iter().map(|tail| tail.snapshot());
        spools.chain(self.journals.iter().map(|tail| tail.snapshot()))
    }
}

impl State {
    fn spools(&self) -> Vec<Arc<SpoolTail>> {
        let syslog = self.syslog.iter().flat_map(Syslog::tails);
        let stdin = self.stdin.iter().flat_map(|(_, stdin)| stdin.tails());
        let left = self.left.iter().flat_map(|spools| spools.tails());
        let heads = self.heads.iter().flat_map(HeadsSource::tails);
        syslog.chain(stdin).chain(heads).chain(left).chain(&self.orphans).cloned().collect()
    }

    fn journals(&self) -> Vec<Arc<JournalTail>> {
        self.journald.iter().chain(&self.leaving).flat_map(Journald::tails).collect()
    }

    fn adopt_orphans(&mut self, context: &Context, spools: &Path) -> io::Result<()> {
        let Ok(found) = std::fs::read_dir(spools) else { return Ok(()) };
        let used: Vec<String> =
            self.spools().iter().map(|tail| tail.spool().name().to_owned()).collect();
        for name in found.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            // `logweir-agent spool repair` sets aside under such names.
            if used.contains(&name) || name.contains(".bad") {
                continue;
            }
            let kind = match name.as_str() {
                name if name.starts_with("stdin") => "stdin",
                name if name.starts_with(heads::NAME) => heads::NAME,
                _ => "syslog",
            };
            let common = Common::default();
            let tail =
                SpoolTail::open(context, spools, (kind, &name), &common, Settings::of_nothing())?;
            if !tail.is_drained() {
                tracing::info!(spool = name, "delivering what an earlier configuration left");
            }
            let work: Arc<dyn Work> = tail.clone();
            context.queue.wake(&work);
            self.orphans.push(tail);
        }
        Ok(())
    }

    fn reload_journald(
        &mut self,
        context: &Arc<Context>,
        wanted: Vec<JournaldConfig>,
        refused: &mut Vec<String>,
    ) {
        let is_wanted =
            |journald: &Journald| wanted.iter().any(|config| config.common.said == journald.said());
        let (kept, leaving): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.journald).into_iter().partition(is_wanted);
        leaving.iter().for_each(Journald::leave);
        self.journald = kept;
        self.leaving.extend(leaving);
        let is_running = |config: &JournaldConfig| {
            self.journald.iter().any(|journald| journald.said() == config.common.said)
        };
        self.waiting = wanted.into_iter().filter(|config| !is_running(config)).collect();
        refused.extend(self.settle(context));
    }

    /// Returns what could not be begun.
    fn settle(&mut self, context: &Arc<Context>) -> Vec<String> {
        self.leaving.retain(|journald| !journald.has_left(context));
        if !self.leaving.is_empty() {
            return Vec::new();
        }
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let mut refused = Vec::new();
        let all: Vec<String> = self.waiting.iter().map(JournaldConfig::reads).collect();
        for config in std::mem::take(&mut self.waiting) {
            match Journald::start(context, config, &all) {
                Ok(journald) => self.journald.push(journald),
                Err(error) => refused.push(format!("the journal cannot be read: {error}")),
            }
        }
        // What was skipped at the first look must not be skipped again after a crash.
        context.save_checkpoint();
        refused
    }

    fn reload_syslog(
        &mut self,
        context: &Arc<Context>,
        directory: &Path,
        wanted: &[SyslogConfig],
        refused: &mut Vec<String>,
    ) {
        // All that end end first: others may listen at their places.
        for syslog in std::mem::take(&mut self.syslog) {
            let spools = syslog.spools();
            let same = wanted.iter().any(|config| config.common.said == syslog.said());
            let other_spool = wanted
                .iter()
                .any(|c| spool_name(&c.listen) == spools.name() && c.spool != *spools.config());
            if !same && other_spool {
                refused.push(format!("{}: its `spool` has changed, {RESTART}", spools.name()));
            }
            if same || other_spool {
                self.syslog.push(syslog);
            } else {
                syslog.stop();
                self.left.push(syslog.spools().clone());
            }
        }
        for config in wanted {
            let name = spool_name(&config.listen);
            if self.syslog.iter().any(|syslog| syslog.spools().name() == name) {
                continue;
            }
            match self.begin_syslog(context, directory, config) {
                Ok(syslog) => self.syslog.push(syslog),
                Err(error) => refused.push(format!("{name}: {error}")),
            }
        }
    }

    /// Begins to listen, with the spools that were used before at the same places.
    fn begin_syslog(
        &mut self,
        context: &Arc<Context>,
        directory: &Path,
        config: &SyslogConfig,
    ) -> io::Result<Syslog> {
        let name = spool_name(&config.listen);
        let is_shard = |shard: &str| shard.bytes().all(|byte| byte.is_ascii_digit());
        let is_own = |orphan: &Arc<SpoolTail>| {
            let rest = orphan.spool().name().strip_prefix(&name);
            rest.and_then(|rest| rest.strip_prefix('-')).is_some_and(is_shard)
        };
        if self.orphans.iter().any(is_own) {
            let what = "its spool is one that an earlier run has left, and is open as such";
            return Err(io::Error::other(format!("{what}, {RESTART}")));
        }
        let known = self.left.iter().position(|spools| spools.name() == name);
        let at = match known {
            Some(at) if *self.left[at].config() == config.spool => at,
            Some(_) => return Err(io::Error::other(format!("its `spool` has changed, {RESTART}"))),
            None => {
                // If nothing can listen, the spools are there for the next time.
                self.left.push(Arc::new(Syslog::open_spools(context, directory, config)?));
                self.left.len() - 1
            }
        };
        let spools = self.left[at].clone();
        spools.tails().iter().for_each(|tail| tail.set_common(context, &config.common));
        let syslog = Syslog::listen(spools, config)?;
        self.left.swap_remove(at);
        Ok(syslog)
    }
}
