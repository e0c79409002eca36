//! The ledger of a Kafka partition: what is known of each source in it.
//!
//! It is kept beside the table, in `_logweir/ledger/<group>/<topic>/<partition>-<id>.jsonl`, and
//! becomes valid together with the data: the Delta commit that adds the rows also sets the partition's
//! ledger id. A crash between the two leaves a file that nothing refers to. Ids are random, so a
//! worker that has lost its partition cannot overwrite the ledger of the one that has it now.
//!
//! A file holds the sources that changed, and names the files that it builds on; once those together
//! outweigh a full one, a full one is written. So a flush costs what it touched, not what is known.
//!
//! Bounded: sources unseen for [`FORGET_AFTER_US`], unless they have gaps, and, above [`SOURCES_MAX`], the
//! longest unseen ones are forgotten at the next full file, and counted with what they missed. A repeat of
//! theirs would be stored again. What counts is time for which the ledger was in use: a clock that is set
//! makes no source older.

mod file;
mod losses;
mod source;

pub use losses::{Expired, Losses};
pub use source::Gap;
pub(crate) use source::{Place, Source, Verdict};

use crate::columns::Dated;
use crate::directory::Directory;
use crate::error::StoreError;
use crate::record::{Member, Record};
use crate::schema;
use crate::time::DAY_US;
use file::Header;
use logweir_record::SourceId;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// Longer than any agent keeps something to send.
const FORGET_AFTER_US: i64 = 90 * DAY_US;
/// About 300 bytes each in memory.
const SOURCES_MAX: usize = 1_000_000;
/// A full file is written after this many partial ones, so that opening reads few files…
const PARTS_MAX: usize = 32;
/// …or when the partial ones outweigh the full one, if that is not tiny.
const PARTIAL_BYTES_MIN: u64 = 256 << 10;

/// Which partition of which topic, for which consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PartitionName {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

impl PartitionName {
    /// The Delta application whose transaction version is the next offset.
    pub(crate) fn position_app(&self) -> String {
        format!("{}/{}/{}", self.group, self.topic, self.partition)
    }

    /// The Delta application whose transaction version is the id of the valid ledger.
    pub(crate) fn ledger_app(&self) -> String {
        format!("{LEDGER_APP}{}", self.position_app())
    }

    /// The partition whose ledger id that application holds.
    pub(crate) fn of_ledger_app(app: &str) -> Option<Self> {
        // A slash may be in the group's name, never in the topic's or the partition's.
        let mut parts = app.strip_prefix(LEDGER_APP)?.rsplitn(3, '/');
        let partition = parts.next()?.parse().ok()?;
        let (topic, group) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Self { group, topic, partition })
    }

    /// The folder of its ledger files, and of those of the topic's other partitions.
    pub(crate) fn folder(&self) -> String {
        format!("{LEDGER}/{}/{}", encode(&self.group), encode(&self.topic))
    }
}

/// The folder of all ledgers.
pub(crate) const LEDGER: &str = "_logweir/ledger";
/// Precedes the partition in the name of the Delta application that holds a ledger's id.
pub(crate) const LEDGER_APP: &str = "_logweir/ledger/";

/// As a file name: all but letters, digits, `_`, `-` and inner dots as `%XX`.
fn encode(name: &str) -> String {
    let plain = |at: usize, byte: u8| {
        byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && at > 0)
    };
    name.bytes()
        .enumerate()
        .map(|(at, byte)| match plain(at, byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// What is known of the sources of a partition.
#[derive(Debug)]
pub(crate) struct Ledger {
    name: PartitionName,
    sources: HashMap<SourceId, Source>,
    /// Changed since the last file.
    touched: HashSet<SourceId>,
    /// The files that make up the ledger, the full one first.
    parts: Vec<Part>,
    /// The files of the generation before; readers may still be at them.
    retired: Vec<Part>,
    losses: Losses,
    /// The losses have changed since the last file.
    has_lost: bool,
    /// For how long it was in use, by whichever worker, as of `since`.
    used_us: i64,
    since: Instant,
}

/// A file of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    id: i64,
    bytes: u64,
}

/// A ledger that is written and waits for its commit.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) id: i64,
    /// Files that may be removed once it is valid.
    pub(crate) obsolete: Vec<String>,
}

impl Ledger {
    /// Reads the ledger of that id; without one, nothing is known yet.
    pub(crate) fn load(
        directory: &Directory,
        name: PartitionName,
        id: Option<i64>,
    ) -> Result<Self, StoreError> {
        let mut ledger = Self::of_sources(name, HashMap::new());
        if let Some(id) = id {
            let (header, own, bytes) = ledger.read(directory, id)?;
            for part in header.parts {
                let (_, sources, bytes) = ledger.read(directory, part)?;
                ledger.sources.extend(sources);
                ledger.parts.push(Part { id: part, bytes });
            }
            ledger.sources.extend(own);
            ledger.parts.push(Part { id, bytes });
            ledger.losses = header.losses;
            ledger.used_us = header.used_us;
        }
        Ok(ledger)
    }

    /// Takes sources that were found otherwise, because the files are of no use; all of it is written
    /// at the next save.
    pub(crate) fn of_sources(name: PartitionName, sources: HashMap<SourceId, Source>) -> Self {
        let touched = sources.keys().copied().collect();
        Self {
            name,
            sources,
            touched,
            parts: Vec::new(),
            retired: Vec::new(),
            losses: Losses::default(),
            has_lost: false,
            used_us: 0,
            since: Instant::now(),
        }
    }

    fn read(
        &self,
        directory: &Directory,
        id: i64,
    ) -> Result<(Header, Vec<(SourceId, Source)>, u64), StoreError> {
        let path = self.path(id);
        let bytes = directory.read(&path)?;
        let (header, sources) = file::decode(&bytes)
            .map_err(|reason| StoreError::damaged(&directory.path(&path), reason))?;
        Ok((header, sources, bytes.len() as u64))
    }

    fn path(&self, id: i64) -> String {
        format!("{}/{}-{id:016x}.jsonl", self.name.folder(), self.name.partition)
    }

    /// Counts the event in its source and says whether it is to be stored.
    pub(crate) fn observe(&mut self, record: &Record<'_>, now_us: i64) -> Verdict {
        self.touched.insert(record.source);
        let source = self.sources.entry(record.source).or_default();
        if source.received == 0 {
            source.first_seen_us = now_us;
        }
        source.last_seen_us = now_us;
        source.newest_event_us = source.newest_event_us.max(record.time_us());
        keep(&mut source.host, record.text(schema::AGENT_NAME));
        keep(&mut source.agent, record.text(schema::AGENT_ID));
        let path = record.text(schema::FILE_PATH).or_else(|| record.text(schema::INPUT_TYPE));
        keep(&mut source.path, path);
        let end = record.offset.saturating_add(original_bytes(record)).saturating_add(1);
        let verdict = source.observe(Place { offset: record.offset, end, prev: record.prev });
        if verdict == Verdict::Store {
            let day = Dated::new(record.time_us(), now_us).day;
            source.newest_day = source.newest_day.max(Some(day));
        }
        verdict
    }

    /// Whether the event, or a later one of its source, was counted. A ledger without sources cannot say.
    pub(crate) fn knows(&self, record: &Record<'_>) -> bool {
        let source = self.sources.get(&record.source);
        self.sources.is_empty() || source.is_some_and(|of| of.high_water >= Some(record.offset))
    }

    /// Notes records that Kafka removed before they were read.
    pub(crate) fn expire(&mut self, from: i64, until: i64, now_us: i64) {
        let records = u64::try_from(until.saturating_sub(from)).unwrap_or(0);
        self.losses.expire(Expired { from, until, records, at_us: now_us });
        self.has_lost = true;
    }

    /// Writes what changed, or all, and returns what the commit has to name; `None` if nothing
    /// changed.
    pub(crate) fn save(
        &mut self,
        directory: &Directory,
        next_offset: i64,
    ) -> Result<Option<Saved>, StoreError> {
        if self.touched.is_empty() && !self.has_lost {
            return Ok(None);
        }
        let used = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        self.used_us += used.as_micros() as i64;
        for id in &self.touched {
            if let Some(source) = self.sources.get_mut(id) {
                source.seen_at_use_us = self.used_us;
            }
        }
        directory.make(&self.name.folder())?;
        let id = (crate::directory::unique() >> 1) as i64;
        let full = self.full_is_due();
        if full {
            self.forget();
        }
        let header = Header {
            next_offset,
            parts: if full { Vec::new() } else { self.parts.iter().map(|part| part.id).collect() },
            used_us: self.used_us,
            losses: self.losses.clone(),
        };
        let bytes = if full {
            file::encode(&header, self.sources.iter())
        } else {
            let changed = self.touched.iter().filter_map(|id| self.sources.get_key_value(id));
            file::encode(&header, changed)
        };
        directory.put(&self.path(id), &bytes)?;
        self.touched.clear();
        self.has_lost = false;
        let mut obsolete = Vec::new();
        if full {
            let before = std::mem::take(&mut self.parts);
            let retired = std::mem::replace(&mut self.retired, before);
            obsolete.extend(retired.iter().map(|part| self.path(part.id)));
        }
        self.parts.push(Part { id, bytes: bytes.len() as u64 });
        Ok(Some(Saved { id, obsolete }))
    }

    fn full_is_due(&self) -> bool {
        let Some((first, partial)) = self.parts.split_first() else { return true };
        let partial_bytes: u64 = partial.iter().map(|part| part.bytes).sum();
        self.parts.len() >= PARTS_MAX || partial_bytes > first.bytes.max(PARTIAL_BYTES_MIN)
    }

    fn forget(&mut self) {
        let losses = &mut self.losses;
        let mut keep = |source: &Source, stays: bool| {
            if !stays {
                losses.forget(source);
            }
            stays
        };
        let before = self.used_us - FORGET_AFTER_US;
        self.sources.retain(|_, source| {
            keep(source, source.seen_at_use_us >= before || !source.gaps.is_empty())
        });
        if self.sources.len() > SOURCES_MAX {
            let seen = |source: &Source| (source.seen_at_use_us, source.last_seen_us);
            let mut all: Vec<(i64, i64)> = self.sources.values().map(seen).collect();
            let surplus = all.len() - SOURCES_MAX;
            let (_, bound, _) = all.select_nth_unstable(surplus);
            let bound = *bound;
            self.sources.retain(|_, source| keep(source, seen(source) >= bound));
        }
    }

    pub(crate) fn into_known(self) -> (Losses, HashMap<SourceId, Source>) {
        (self.losses, self.sources)
    }

    /// The files that the ledger is made of, for the vacuum.
    pub(crate) fn files(&self) -> impl Iterator<Item = String> + '_ {
        self.parts.iter().map(|part| self.path(part.id))
    }
}

/// Follows a text that hardly ever changes, without an allocation when it has not.
fn keep(known: &mut String, now: Option<&str>) {
    if let Some(now) = now
        && known != now
    {
        now.clone_into(known);
    }
}

/// About how many bytes the line has in its source; only the size of a gap is told from it.
fn original_bytes(record: &Record<'_>) -> u64 {
    match record.get(schema::ORIGINAL) {
        Some(Member::Text(text)) => text.len() as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(group: &str) -> PartitionName {
        PartitionName { group: group.into(), topic: "t".into(), partition: 0 }
    }

    fn observe(ledger: &mut Ledger, source: u32, offset: u64, prev: Option<u64>) -> Verdict {
        observe_at(ledger, source, offset, prev, 1000)
    }

    fn observe_at(
        ledger: &mut Ledger,
        source: u32,
        offset: u64,
        prev: Option<u64>,
        now_us: i64,
    ) -> Verdict {
        let id = SourceId::derive(&[&source.to_le_bytes()]);
        let prev = prev.map(|prev| format!(r#","logweir.prev":{prev}"#)).unwrap_or_default();
        let payload = format!(
            r#"{{"logweir.source":"{id}","log.offset":{offset},"host.name":"h{source}","log.file.path":"/l","event.original":"123456789"{prev}}}"#
        );
        ledger.observe(&Record::decode(payload.as_bytes(), Vec::new()).unwrap(), now_us)
    }

    #[test]
    fn a_ledger_is_what_it_was_after_any_number_of_partial_files() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::at(temporary.path().to_str().unwrap()).unwrap();
        let mut ledger = Ledger::load(&directory, name("g"), None).unwrap();
        let mut files = HashSet::new();
        for round in 0..100u64 {
            for source in 0..20u32 {
                if (round + u64::from(source)).is_multiple_of(3) {
                    let prev = round.checked_sub(3).map(|before| before * 10);
                    assert_eq!(observe(&mut ledger, source, round * 10, prev), Verdict::Store);
                }
            }
            let saved = ledger.save(&directory, round as i64).unwrap().unwrap();
            for path in saved.obsolete {
                directory.remove(&path).unwrap();
            }
            let again = Ledger::load(&directory, name("g"), Some(saved.id)).unwrap();
            assert_eq!(again.sources, ledger.sources);
            assert_eq!(again.parts, ledger.parts);
            files.insert(ledger.parts.len());
        }
        assert!(files.len() > 10, "both partial and full files were written: {files:?}");
        let left = directory.list(&name("g").folder()).unwrap().len();
        assert!(left <= 2 * PARTS_MAX, "{left} files are left");
        assert!(ledger.save(&directory, 0).unwrap().is_none(), "nothing has changed");
    }

    /// The same after so long, with a full file.
    fn aged(directory: &Directory, mut ledger: Ledger, used_us: i64) -> Ledger {
        ledger.used_us += used_us;
        ledger.parts.clear();
        let saved = ledger.save(directory, 1).unwrap().unwrap();
        Ledger::load(directory, name("g"), Some(saved.id)).unwrap()
    }

    #[test]
    fn sources_not_seen_for_long_are_forgotten_and_counted_and_their_gaps_are_not() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::at(temporary.path().to_str().unwrap()).unwrap();
        let mut ledger = Ledger::load(&directory, name("g"), None).unwrap();
        let whole = [(1, 0, None)];
        let unchained = [(2, 0, None), (2, 10, None)];
        let with_gap = [(3, 0, None), (3, 30, Some(20))];
        for (source, offset, prev) in whole.iter().chain(&unchained).chain(&with_gap) {
            observe(&mut ledger, *source, *offset, *prev);
        }
        let mut ledger = aged(&directory, ledger, 0);
        assert_eq!((ledger.sources.len(), &ledger.losses), (3, &Losses::default()));
        observe(&mut ledger, 4, 0, None);
        let ledger = aged(&directory, ledger, FORGET_AFTER_US + 1);
        let (forgotten, forgotten_incomplete, forgotten_seen_us) = (2, 1, 1000);
        let losses =
            Losses { forgotten, forgotten_incomplete, forgotten_seen_us, ..Losses::default() };
        assert_eq!((ledger.sources.len(), &ledger.losses), (2, &losses));
        assert!(!losses.are_none());
        assert!(ledger.sources.values().any(|source| !source.gaps.is_empty()));
    }

    #[test]
    fn a_source_whose_event_comes_after_a_long_silence_of_all_is_not_forgotten() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::at(temporary.path().to_str().unwrap()).unwrap();
        let mut ledger = Ledger::load(&directory, name("g"), None).unwrap();
        observe(&mut ledger, 1, 0, None);
        let ledger = aged(&directory, ledger, 2 * FORGET_AFTER_US);
        assert_eq!((ledger.sources.len(), ledger.losses.forgotten), (1, 0));
    }

    #[test]
    fn a_clock_that_is_set_forward_makes_no_source_forgotten() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::at(temporary.path().to_str().unwrap()).unwrap();
        let mut ledger = Ledger::load(&directory, name("g"), None).unwrap();
        for (source, now_us) in [(1, 1000), (2, 20 * FORGET_AFTER_US), (3, 1000)] {
            observe_at(&mut ledger, source, 0, None, now_us);
            ledger.parts.clear();
            ledger.save(&directory, 1).unwrap();
        }
        assert_eq!((ledger.sources.len(), ledger.losses.forgotten), (3, 0));
    }

    #[test]
    fn names_from_outside_choose_no_path() {
        for (group, expected) in [
            ("logweir-ingest", "_logweir/ledger/logweir-ingest/t"),
            ("../../etc", "_logweir/ledger/%2E.%2F..%2Fetc/t"),
            ("..", "_logweir/ledger/%2E./t"),
            ("a b%", "_logweir/ledger/a%20b%25/t"),
        ] {
            assert_eq!(name(group).folder(), expected);
            assert_eq!(PartitionName::of_ledger_app(&name(group).ledger_app()), Some(name(group)));
        }
    }
}
