//! Sources of the checkpoint that are not there at the moment, found by what identifies a file:
//! with a hundred thousand of them, each file that is found must not look through all.

use crate::checkpoint::Entry;
use std::collections::{HashMap, HashSet};

/// How many sources that are not there any more are remembered; the oldest are forgotten first.
const DORMANT_MAX: usize = 100_000;

/// Which of them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Among {
    All,
    /// Files that had this inode.
    Inode(u64),
    /// Files whose content was replaced in place.
    Replaced,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Dormant {
    /// By source id.
    entries: HashMap<String, Entry>,
    by_inode: HashMap<u64, Vec<String>>,
    /// Files whose content was replaced in place.
    replaced: HashSet<String>,
}

impl Dormant {
    pub(crate) fn insert(&mut self, entry: Entry) {
        self.remove(&entry.source);
        if let Some(file) = entry.file() {
            self.by_inode.entry(file.inode).or_default().push(entry.source.clone());
            if file.replaced {
                self.replaced.insert(entry.source.clone());
            }
        }
        self.entries.insert(entry.source.clone(), entry);
    }

    pub(crate) fn remove(&mut self, source: &str) -> Option<Entry> {
        let entry = self.entries.remove(source)?;
        self.replaced.remove(source);
        if let Some(file) = entry.file()
            && let Some(sources) = self.by_inode.get_mut(&file.inode)
        {
            sources.retain(|known| known != source);
            if sources.is_empty() {
                self.by_inode.remove(&file.inode);
            }
        }
        Some(entry)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(crate) fn has_inode(&self, inode: u64) -> bool {
        self.by_inode.contains_key(&inode)
    }

    /// Takes the entry out that `choose` ranks highest among some of them.
    pub(crate) fn claim<R: Ord>(
        &mut self,
        among: Among,
        choose: impl Fn(&Entry) -> Option<R>,
    ) -> Option<Entry> {
        let best = |sources: &mut dyn Iterator<Item = &String>| {
            let entries = sources.filter_map(|source| self.entries.get(source));
            let ranked = entries.filter_map(|entry| Some((choose(entry)?, &entry.source)));
            ranked.max_by(|a, b| a.0.cmp(&b.0)).map(|(_, source)| source.clone())
        };
        let source = match among {
            Among::All => best(&mut self.entries.keys()),
            Among::Inode(inode) => best(&mut self.by_inode.get(&inode).into_iter().flatten()),
            Among::Replaced => best(&mut self.replaced.iter()),
        };
        self.remove(&source?)
    }

    /// Forgets what was there on no day since `day`, and the oldest of what is too much.
    pub(crate) fn forget_before(&mut self, day: u64) {
        let mut from = day;
        if self.entries.len() > DORMANT_MAX {
            let mut days: Vec<u64> = self.entries.values().map(|entry| entry.seen_day).collect();
            let keep_from = days.len() - DORMANT_MAX;
            let (_, oldest_kept, _) = days.select_nth_unstable(keep_from);
            from = from.max(*oldest_kept + 1);
        }
        let old = self.entries.values().filter(|entry| entry.seen_day < from);
        let old: Vec<String> = old.map(|entry| entry.source.clone()).collect();
        old.iter().for_each(|source| drop(self.remove(source)));
    }
}

impl FromIterator<Entry> for Dormant {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut dormant = Self::default();
        entries.into_iter().for_each(|entry| dormant.insert(entry));
        dormant
    }
}
