//! What is kept of published rules in the state directory: the signed sets, and what became of them.
//!
//! A change is on disk before anything depends on it: a file is written beside, synced, and renamed. The
//! sets are kept as they were signed and are verified again at each start.

use super::RefusedSnapshot;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const STATE: &str = "state.json";

/// What became of the sets so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// The newest version whose signature held; an older one is not taken any more.
    pub(super) seen: u64,
    /// The version in use.
    pub(super) present: Option<u64>,
    /// The version to go back to.
    pub(super) good: Option<u64>,
    /// The version that is being tested, or is in use and not known to be good.
    pub(super) trial: Option<Trial>,
    /// The last version that was refused or given up.
    pub(super) refused: Option<Refused>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trial {
    pub(super) version: u64,
    /// How often the agent has ended without being stopped.
    pub(super) deaths: u32,
    /// Whether an agent runs with it, or was killed while it did.
    pub(super) running: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    #[serde(flatten)]
    pub(super) what: RefusedSnapshot,
    /// Whether it is not tried again at the next start.
    pub(super) lasting: bool,
}

/// The directory.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Makes the directory if need be.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// What was saved. A damaged file is told and is as good as none: the topic has the latest set.
    pub(super) fn load(&self) -> State {
        let path = self.directory.join(STATE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                let path = path.display();
                tracing::error!(%path, %error, "damaged; what was published is read anew");
                State::default()
            }),
            Err(_) => State::default(),
        }
    }

    /// Saves `state`, and removes sets that nothing refers to any more.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn save(&self, state: &State) -> io::Result<()> {
        self.write(STATE, &serde_json::to_vec(state)?)?;
        let kept = [state.present, state.good, state.trial.as_ref().map(|trial| trial.version)];
        let kept: Vec<String> = kept.into_iter().flatten().map(set_name).collect();
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != STATE && !kept.contains(&name) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Keeps a signed set; it goes with the next [`Store::save`] of a state that does not name it.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn put(&self, version: u64, signed: &[u8]) -> io::Result<()> {
        self.write(&set_name(version), signed)
    }

    /// A signed set.
    ///
    /// # Errors
    /// It is not there or cannot be read.
    pub(super) fn get(&self, version: u64) -> io::Result<Vec<u8>> {
        fs::read(self.directory.join(set_name(version)))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.directory.join(name);
        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(&self.directory)?.sync_all()
    }
}

fn set_name(version: u64) -> String {
    format!("{version}.rules")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_comes_back_and_sets_without_a_use_go() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.load(), State::default());
        for version in 1..=4 {
            store.put(version, &[version as u8]).unwrap();
        }
        let trial = Some(Trial { version: 3, deaths: 1, running: true });
        let what = RefusedSnapshot { version: Some(4), reason: "x".into() };
        let refused = Some(Refused { what, lasting: true });
        let state = State { seen: 4, present: Some(3), good: Some(2), trial, refused };
        store.save(&state).unwrap();
        assert_eq!(store.load(), state);
        assert_eq!(store.get(2).unwrap(), [2]);
        assert!(store.get(1).is_err() && store.get(4).is_err());
        fs::write(directory.path().join(STATE), "{").unwrap();
        assert_eq!(store.load(), State::default());
    }
}
