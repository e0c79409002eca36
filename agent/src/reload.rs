//! Rules and limits that change while the agent runs: compiled aside, put into use whole, or not at all.

use crate::config::{Config, RulesConfig, SourceConfig, SourceLimits};
use crate::parsing::Rules;
use crate::sync::lock;
use logweir_document::render_all;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// How often the directories are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const NAP: Duration = Duration::from_millis(100);

/// What a change shows in: names, sizes and times of the files.
type Look = Vec<(String, u64, Option<SystemTime>)>;

/// Looks at the rule directories until `stop`; without directories there is nothing to do.
pub(crate) fn start(
    rules: Rules,
    config: RulesConfig,
    stop: Arc<AtomicBool>,
) -> Option<JoinHandle<()>> {
    if config.directories.is_empty() {
        return None;
    }
    let seen = config.clone();
    Some(watch("rules", stop, move || Some(look(&seen)), move || reload(&rules, &config)))
}

/// Calls `changed` when what `look` sees differs from the last time, until `stop`. What is still being
/// written is taken up, and fails or not, and is looked at again when it has changed once more.
fn watch<L: PartialEq + Send + 'static>(
    name: &str,
    stop: Arc<AtomicBool>,
    look: impl Fn() -> Option<L> + Send + 'static,
    changed: impl Fn() + Send + 'static,
) -> JoinHandle<()> {
    let run = move || {
        let mut loaded = look();
        let mut waited = Duration::ZERO;
        while !stop.load(Ordering::Acquire) {
            std::thread::sleep(NAP);
            waited += NAP;
            if waited < LOOK_INTERVAL {
                continue;
            }
            waited = Duration::ZERO;
            let now = look();
            if now.is_some() && now != loaded {
                loaded = now;
                changed();
            }
        }
    };
    let thread = std::thread::Builder::new().name(name.into()).spawn(run);
    thread.expect("a thread can be started")
}

/// The limits of the sources by the places that they read; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LimitsInUse(Arc<Mutex<Vec<(String, SourceLimits)>>>);

impl LimitsInUse {
    pub(crate) fn of(sources: &[SourceConfig]) -> Self {
        let of = |source: &SourceConfig| (source.place(), source.common().limits.clone());
        Self(Arc::new(Mutex::new(sources.iter().map(of).collect())))
    }

    /// The places that are read.
    pub(crate) fn places(&self) -> Vec<String> {
        lock(&self.0).iter().map(|(place, _)| place.clone()).collect()
    }

    /// Puts the limits of `sources` into use where the same is read, and tells each that is another
    /// one; returns whether there is any.
    fn set(&self, sources: &[SourceConfig]) -> bool {
        let limits = lock(&self.0);
        let mut any = false;
        for source in sources {
            let place = source.place();
            let Some((_, live)) = limits.iter().find(|(known, _)| *known == place) else {
                continue;
            };
            for (of, now) in live.set(&source.common().limits, &place) {
                tracing::info!(of, limits = %now, "changed limits are in use");
                any = true;
            }
        }
        any
    }

    /// The same sources with the limits in use, where the same is read, and with the one limit over
    /// all of them.
    pub(crate) fn take_over(&self, mut sources: Vec<SourceConfig>) -> Vec<SourceConfig> {
        self.set(&sources);
        let limits = &mut *lock(&self.0);
        for source in &mut sources {
            let place = source.place();
            let own = &mut source.common_mut().limits;
            match limits.iter().find(|(known, _)| *known == place) {
                Some((_, live)) => *own = live.clone(),
                None => {
                    own.overall =
                        limits.first().map_or(own.overall.clone(), |l| l.1.overall.clone())
                }
            }
        }
        *limits = sources.iter().map(|s| (s.place(), s.common().limits.clone())).collect();
        sources
    }
}

/// Looks at the configuration file until `stop` and puts changed limits of its sources into use; a
/// file with a fault changes nothing, and what else has changed waits until a reload is asked for.
pub(crate) fn start_limits(
    path: PathBuf,
    limits: LimitsInUse,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let seen = path.clone();
    let look = move || {
        let of = |path: PathBuf| {
            let metadata = std::fs::metadata(&path).ok()?;
            Some((path, metadata.len(), metadata.modified().ok()?))
        };
        crate::config::files(&seen).into_iter().map(of).collect::<Option<Vec<_>>>()
    };
    watch("limits", stop, look, move || reload_limits(&path, &limits))
}

fn reload_limits(path: &Path, limits: &LimitsInUse) {
    let config = match Config::load(path) {
        Ok((config, _)) => config,
        Err(faults) => {
            return tracing::error!(
                "the changed configuration has faults; the limits in use stay\n{}",
                render_all(&faults, false)
            );
        }
    };
    if !limits.set(&config.sources) {
        tracing::info!(
            "the configuration has changed, no limits in it; a reload (SIGHUP) takes it up"
        );
    }
}

pub(crate) fn reload(rules: &Rules, config: &RulesConfig) {
    match rules.reload(config) {
        Ok(true) => {
            let (count, hash) = rules.describe();
            tracing::info!(rules = count, hash, "changed rules are in use");
        }
        Ok(false) => {}
        Err(faults) => {
            let (count, hash) = rules.describe();
            tracing::error!(
                kept_rules = count,
                kept_hash = hash,
                "the changed rules have faults; the rules in use stay\n{}",
                render_all(&faults, false)
            );
        }
    }
}

fn look(config: &RulesConfig) -> Look {
    let mut look: Look =
        config.directories.iter().flat_map(|directory| look_into(directory)).collect();
    look.sort();
    look
}

fn look_into(directory: &Path) -> Look {
    let Ok(entries) = std::fs::read_dir(directory) else { return Look::new() };
    let entry = |entry: std::fs::DirEntry| {
        let metadata = std::fs::metadata(entry.path()).ok()?;
        Some((entry.path().display().to_string(), metadata.len(), metadata.modified().ok()))
    };
    entries.filter_map(Result::ok).filter_map(entry).collect()
}
