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

    /// What was known of it may change, but not what it is found by.
    pub(crate) fn get_mut(&mut self, source: &str) -> Option<&mut Entry> {
        self.entries.get_mut(source)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The files that had this inode are there on this day; returns whether that was not known of any.
    pub(crate) fn renew(&mut self, inode: u64, day: u64) -> bool {
        let mut any = false;
        for source in self.by_inode.get(&inode).into_iter().flatten() {
            if let Some(entry) = self.entries.get_mut(source).filter(|entry| entry.seen_day < day) {
                entry.seen_day = day;
                any = true;
            }
        }
        any
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

    /// Forgets what was there on no day since `day`, and of what is too much then just that: the
    /// oldest. Returns whether there was any.
    pub(crate) fn forget_before(&mut self, day: u64) -> bool {
        let old = |entry: &&Entry| entry.seen_day < day;
        let mut forgotten = self.entries.values().filter(old).count();
        forgotten = forgotten.max(self.entries.len().saturating_sub(DORMANT_MAX));
        if forgotten == 0 {
            return false;
        }
        let key = |entry: &Entry| (entry.seen_day, entry.source.clone());
        let mut oldest: Vec<_> = self.entries.values().map(key).collect();
        oldest.select_nth_unstable(forgotten - 1);
        oldest[..forgotten].iter().for_each(|(_, source)| drop(self.remove(source)));
        true
    }
}

impl FromIterator<Entry> for Dormant {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut dormant = Self::default();
        entries.into_iter().for_each(|entry| dormant.insert(entry));
        dormant
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Content;
    use crate::delivery::Position;
    use logweir_record::SourceId;

    #[test]
    fn what_is_old_is_forgotten_and_just_so_many_as_are_too_much() {
        let entry = |number: usize, seen_day| {
            let (id, content) = (SourceId::derive(&[&number.to_le_bytes()]), number.to_string());
            let content = Content::Spool { name: content };
            Entry { seen_day, ..Entry::new(id, (Position::default(), None), content) }
        };
        let days = |count: usize, old: usize| {
            let day = move |number| if number < old { 1 } else { 2 };
            let mut dormant: Dormant = (0..count).map(|n| entry(n, day(n))).collect();
            move |day| {
                let forgot = dormant.forget_before(day);
                let kept_old = dormant.values().filter(|entry| entry.seen_day == 1).count();
                (forgot, dormant.entries.len(), kept_old)
            }
        };
        assert_eq!(days(5, 2)(1), (false, 5, 2));
        assert_eq!(days(5, 2)(2), (true, 3, 0));
        let (mut all_of_a_day, mut some_old) = (days(DORMANT_MAX + 3, 0), days(DORMANT_MAX + 3, 7));
        assert_eq!(all_of_a_day(1), (true, DORMANT_MAX, 0));
        assert_eq!(all_of_a_day(1), (false, DORMANT_MAX, 0));
        assert_eq!(some_old(1), (true, DORMANT_MAX, 4));
        assert_eq!(some_old(2), (true, DORMANT_MAX - 4, 0));
    }
}
