//! Rules and limits that change while the agent runs: compiled aside, put into use whole, or not at all.

use crate::config::{Config, RulesConfig, SourceConfig, SourceLimits};
use crate::parsing::Rules;
use crate::sync::lock;
use logweir_document::{Diagnostic, render_all};
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

/// Files that are taken up again when they have changed, and how they were when that was done last.
#[derive(Debug)]
pub(crate) struct Watched {
    files: Files,
    taken_up: Mutex<Option<Look>>,
}

#[derive(Debug)]
enum Files {
    /// In these directories.
    Rules(RulesConfig),
    /// This one and those that it includes.
    Configuration(PathBuf),
}

impl Watched {
    pub(crate) fn rules(config: RulesConfig) -> Arc<Self> {
        Self::now(Files::Rules(config))
    }

    pub(crate) fn configuration(path: PathBuf) -> Arc<Self> {
        Self::now(Files::Configuration(path))
    }

    fn now(files: Files) -> Arc<Self> {
        let taken_up = Mutex::new(files.look());
        Arc::new(Self { files, taken_up })
    }

    /// Takes up what there is. What is still being written is taken up, and fails or not, and is looked
    /// at again when it has changed once more.
    pub(crate) fn take_up<T>(&self, take: impl FnOnce() -> T) -> T {
        let mut taken_up = lock(&self.taken_up);
        if let Some(now) = self.files.look() {
            *taken_up = Some(now);
        }
        take()
    }

    /// So, if it is not what was taken up last.
    fn take_up_change(&self, take: impl FnOnce()) {
        let mut taken_up = lock(&self.taken_up);
        let now = self.files.look();
        if now.is_some() && now != *taken_up {
            *taken_up = now;
            take();
        }
    }

    /// Looks until `stop`, and takes up each change.
    fn follow(
        self: Arc<Self>,
        name: &str,
        stop: Arc<AtomicBool>,
        take: impl Fn() + Send + 'static,
    ) -> JoinHandle<()> {
        let run = move || {
            let mut waited = Duration::ZERO;
            while !stop.load(Ordering::Acquire) {
                std::thread::sleep(NAP);
                waited += NAP;
                if waited >= LOOK_INTERVAL {
                    waited = Duration::ZERO;
                    self.take_up_change(&take);
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        thread.expect("a thread can be started")
    }
}

impl Files {
    /// `None`: one of them cannot be looked at now.
    fn look(&self) -> Option<Look> {
        match self {
            Self::Rules(config) => {
                let mut look: Look =
                    config.directories.iter().flat_map(|directory| look_into(directory)).collect();
                look.sort();
                Some(look)
            }
            Self::Configuration(path) => {
                crate::config::files(path).iter().map(|path| look_at(path)).collect()
            }
        }
    }
}

fn look_into(directory: &Path) -> Look {
    let Ok(entries) = std::fs::read_dir(directory) else { return Look::new() };
    entries.filter_map(Result::ok).filter_map(|entry| look_at(&entry.path())).collect()
}

fn look_at(path: &Path) -> Option<(String, u64, Option<SystemTime>)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((path.display().to_string(), metadata.len(), metadata.modified().ok()))
}

/// Looks at the rule directories until `stop`; without directories there is nothing to do.
pub(crate) fn start(
    (rules, config): (Rules, RulesConfig),
    watched: Arc<Watched>,
    stop: Arc<AtomicBool>,
) -> Option<JoinHandle<()>> {
    let any = !config.directories.is_empty();
    any.then(|| {
        watched.follow("rules", stop, move || {
            reload(&rules, &config);
        })
    })
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
    watched: Arc<Watched>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    watched.follow("limits", stop, move || reload_limits(&path, &limits))
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

/// Returns the faults of the rules, which are told.
pub(crate) fn reload(rules: &Rules, config: &RulesConfig) -> Vec<Diagnostic> {
    match rules.reload(config) {
        Ok(changed) => {
            if changed {
                let (count, hash) = rules.describe();
                tracing::info!(rules = count, hash, "changed rules are in use");
            }
            Vec::new()
        }
        Err(faults) => {
            let (count, hash) = rules.describe();
            tracing::error!(
                kept_rules = count,
                kept_hash = hash,
                "the changed rules have faults; the rules in use stay\n{}",
                render_all(&faults, false)
            );
            faults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reload_has_taken_up_is_no_change_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("a");
        let watched = Watched::configuration(path.clone());
        let is_change = || {
            let mut taken = false;
            watched.take_up_change(|| taken = true);
            taken
        };
        assert!(!is_change());
        write("ab");
        assert!(is_change());
        assert!(!is_change());
        write("abc");
        // What is written while it is read is not missed.
        watched.take_up(|| write("abcd"));
        assert!(is_change());
        write("abcde");
        watched.take_up(|| {});
        assert!(!is_change());
    }
}
