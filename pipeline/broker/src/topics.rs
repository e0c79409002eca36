//! The topics of the broker and their folders.
//!
//! `topics/NAME/topic.properties` holds the number of partitions and the topic's own settings,
//! `topics/NAME/INDEX/` the log of a partition. A topic comes into being and goes by one rename, into
//! and out of `topics/`, so after a crash it is there as a whole or not at all.
//!
//! Invariant: a folder is named after a topic only if the name has passed [`TopicName::parse`].

use crate::broker::PartitionStatus;
use crate::files;
use crate::log::PartitionLog;
use crate::settings::{SettingFault, TopicSettings};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Partitions of one topic.
pub(crate) const PARTITIONS_MAX: u32 = 1000;
/// Partitions of all topics: each holds a file open, and many systems allow a process 1024.
const PARTITIONS_TOTAL_MAX: usize = 1000;
/// Kafka's limit, which also fits a file name.
const NAME_BYTES_MAX: usize = 249;
const PROPERTIES_FILE: &str = "topic.properties";
const PARTITIONS_KEY: &str = "partitions";

/// A name that can be a topic's and a folder's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicName(String);

/// Why a topic is not created or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("a topic is named with 1 to 249 of A-Z a-z 0-9 . _ - and not `.` or `..`")]
    Name,
    #[error("the topic exists already")]
    Exists,
    #[error("there is no such topic")]
    Unknown,
    #[error("a topic has 1 to {PARTITIONS_MAX} partitions, and the number only grows")]
    Partitions,
    #[error("this broker holds at most {PARTITIONS_TOTAL_MAX} partitions; delete a topic first")]
    TooMany,
    #[error(transparent)]
    Setting(#[from] SettingFault),
    #[error("storage: {0}")]
    Storage(#[from] io::Error),
}

#[derive(Debug)]
pub(crate) struct Topics {
    directory: PathBuf,
    /// Topics on their way in or out; emptied at start.
    staging: PathBuf,
    staged: AtomicU64,
    by_name: RwLock<BTreeMap<TopicName, Arc<Topic>>>,
    /// Held while topics are created, changed or deleted.
    changing: Mutex<()>,
}

#[derive(Debug)]
pub(crate) struct Topic {
    name: TopicName,
    directory: PathBuf,
    settings: RwLock<TopicSettings>,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) index: u32,
    log: Mutex<PartitionLog>,
}

impl TopicName {
    pub(crate) fn parse(text: &str) -> Result<Self, TopicError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let valid = (1..=NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(allowed)
            && !matches!(text, "." | "..");
        if valid { Ok(Self(text.to_owned())) } else { Err(TopicError::Name) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Topics {
    /// Opens all topics under `data_dir`.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let directory = data_dir.join("topics");
        let staging = data_dir.join("staging");
        std::fs::create_dir_all(&directory)?;
        if staging.try_exists()? {
            std::fs::remove_dir_all(&staging)?;
        }
        std::fs::create_dir(&staging)?;
        let mut by_name = BTreeMap::new();
        for entry in directory.read_dir()? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(Ok(name)) = name.to_str().map(TopicName::parse) else { continue };
            by_name.insert(name.clone(), Arc::new(Topic::open(name, &entry.path())?));
        }
        Ok(Self {
            directory,
            staging,
            staged: AtomicU64::new(0),
            by_name: RwLock::new(by_name),
            changing: Mutex::new(()),
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        let name = TopicName::parse(name).ok()?;
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }

    pub(crate) fn partition(&self, name: &str, index: i32) -> Option<Arc<Partition>> {
        self.get(name)?.partition(index)
    }

    /// All topics by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Creates a topic, or with `dry` only checks whether that is possible.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: u32,
        settings: TopicSettings,
        dry: bool,
    ) -> Result<(), TopicError> {
        let name = TopicName::parse(name)?;
        let _changing = self.lock_changes();
        if self.get(name.as_str()).is_some() {
            return Err(TopicError::Exists);
        }
        self.check_partitions(0, partitions)?;
        if dry {
            return Ok(());
        }
        let staged = self.staged_path();
        let staged_topic = Topic {
            name: name.clone(),
            directory: staged.clone(),
            settings: RwLock::new(settings),
            partitions: RwLock::new(Vec::new()),
        };
        staged_topic.add_partitions(partitions)?;
        let directory = self.directory.join(name.as_str());
        std::fs::rename(&staged, &directory)?;
        files::sync_directory_of(&directory)?;
        let topic = Arc::new(Topic::open(name.clone(), &directory)?);
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).insert(name, topic);
        Ok(())
    }

    /// Removes a topic and its records.
    pub(crate) fn delete(&self, name: &str) -> Result<(), TopicError> {
        let _changing = self.lock_changes();
        let topic = self.get(name).ok_or(TopicError::Unknown)?;
        let removed = self.staged_path();
        std::fs::rename(&topic.directory, &removed)?;
        files::sync_directory_of(&topic.directory)?;
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(&topic.name);
        for partition in topic.partitions() {
            partition.log().stop();
        }
        std::fs::remove_dir_all(&removed)?;
        Ok(())
    }

    /// Gives a topic more partitions, so that it has `count`, or with `dry` only checks that.
    pub(crate) fn grow(&self, name: &str, count: u32, dry: bool) -> Result<(), TopicError> {
        let _changing = self.lock_changes();
        let topic = self.get(name).ok_or(TopicError::Unknown)?;
        self.check_partitions(topic.partitions().len(), count)?;
        if dry { Ok(()) } else { Ok(topic.add_partitions(count)?) }
    }

    /// Changes a topic's settings by `change`, or with `dry` only checks that.
    pub(crate) fn configure(
        &self,
        name: &str,
        dry: bool,
        change: impl FnOnce(&mut TopicSettings) -> Result<(), SettingFault>,
    ) -> Result<(), TopicError> {
        let _changing = self.lock_changes();
        let topic = self.get(name).ok_or(TopicError::Unknown)?;
        let mut settings = topic.settings();
        change(&mut settings)?;
        if !dry {
            topic.write_properties(topic.partitions().len(), &settings)?;
            *topic.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        }
        Ok(())
    }

    fn check_partitions(&self, now: usize, wanted: u32) -> Result<(), TopicError> {
        if wanted > PARTITIONS_MAX || wanted as usize <= now {
            return Err(TopicError::Partitions);
        }
        let total: usize = self.all().iter().map(|topic| topic.partitions().len()).sum();
        let fits = total - now + wanted as usize <= PARTITIONS_TOTAL_MAX;
        if fits { Ok(()) } else { Err(TopicError::TooMany) }
    }

    fn staged_path(&self) -> PathBuf {
        self.staging.join(self.staged.fetch_add(1, Ordering::Relaxed).to_string())
    }

    fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topic {
    fn open(name: TopicName, directory: &Path) -> io::Result<Self> {
        let (partitions, settings) = read_properties(&directory.join(PROPERTIES_FILE))?;
        let topic = Self {
            name,
            directory: directory.to_owned(),
            settings: RwLock::new(settings),
            partitions: RwLock::new(Vec::new()),
        };
        topic.open_partitions(partitions)?;
        Ok(topic)
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        partitions.get(usize::try_from(index).ok()?).cloned()
    }

    pub(crate) fn settings(&self) -> TopicSettings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// First the folders, then the number of them: a crash in between leaves empty folders behind.
    fn add_partitions(&self, count: u32) -> io::Result<()> {
        self.open_partitions(count)?;
        self.write_properties(count as usize, &self.settings())
    }

    fn open_partitions(&self, count: u32) -> io::Result<()> {
        let have = self.partitions().len() as u32;
        let mut opened = Vec::new();
        for index in have..count {
            let log = PartitionLog::open(&self.directory.join(index.to_string()))?;
            opened.push(Arc::new(Partition { index, log: Mutex::new(log) }));
        }
        self.partitions.write().unwrap_or_else(PoisonError::into_inner).extend(opened);
        Ok(())
    }

    fn write_properties(&self, partitions: usize, settings: &TopicSettings) -> io::Result<()> {
        let mut text = format!("{PARTITIONS_KEY}={partitions}\n");
        for (name, value) in settings.iter() {
            writeln!(text, "{name}={value}").expect("a string takes any text");
        }
        files::replace(&self.directory.join(PROPERTIES_FILE), text.as_bytes())
    }
}

impl Partition {
    pub(crate) fn status(&self) -> PartitionStatus {
        let log = self.log();
        PartitionStatus {
            partition: self.index,
            start_offset: log.start_offset(),
            end_offset: log.end_offset(),
            bytes: log.bytes(),
        }
    }

    /// The log, locked: a connection that panicked left it as it was before its request.
    pub(crate) fn log(&self) -> MutexGuard<'_, PartitionLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_properties(path: &Path) -> io::Result<(u32, TopicSettings)> {
    let damaged = || {
        let message = format!("{} is damaged; restore it or remove its folder", path.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    let mut partitions = None;
    let mut settings = TopicSettings::default();
    for line in std::fs::read_to_string(path)?.lines() {
        let (name, value) = line.split_once('=').ok_or_else(damaged)?;
        if name == PARTITIONS_KEY {
            partitions = value.parse().ok().filter(|count| (1..=PARTITIONS_MAX).contains(count));
        } else {
            settings.set(name, Some(value)).map_err(|_| damaged())?;
        }
    }
    Ok((partitions.ok_or_else(damaged)?, settings))
}
