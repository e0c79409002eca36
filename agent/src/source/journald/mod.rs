//! The systemd journal, read from its files; no program is run and no library of systemd is needed.
//!
//! All files of one sequence (`seqnum_id`: what one journald has numbered, over boots and rotations)
//! are one source, whose position is the number of the next entry. So rotation and vacuuming move
//! nothing, and entries of system and users come in the order in which journald took them.

mod entry;
mod file;
mod files;

use crate::accounting::{DropReason, SourceSnapshot};
use crate::checkpoint::{Checkpoint, Content, Entry as CheckpointEntry, Tracked};
use crate::config::{JournaldConfig, ReadFrom};
use crate::delivery::{Guard, Lane, Position};
use crate::dormant::Among;
use crate::limits::Pace;
use crate::parsing::Line;
use crate::pipeline::Route;
use crate::source::{Context, lane_snapshot};
use crate::sync::lock;
use crate::workers::{Queue, Readiness, Rewind, Turn, Work, Worker};
use file::JournalFile;
use files::{Files, Sequence};
use jiff::Timestamp;
use logweir_record::SourceId;
use notify::{RecursiveMode, Watcher as _};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Entries of one turn.
const TURN_ENTRIES: usize = 500;
/// How often the directories are looked at, whether or not something was told.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// How long to leave it after a look.
const SCAN_PAUSE: Duration = Duration::from_millis(100);
/// Where the journal is kept, and where if it is not to outlive the system.
const DIRECTORIES: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// The running source.
#[derive(Debug)]
pub(crate) struct Journald {
    /// See [`crate::config::Common`].
    said: String,
    tails: Arc<Mutex<BTreeMap<[u8; 16], Arc<JournalTail>>>>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journald {
    /// Begins to look for journals; there need not be any yet. `all` is what each of the sources that
    /// begin reads, see [`JournaldConfig::reads`].
    pub(crate) fn start(
        context: &Arc<Context>,
        config: JournaldConfig,
        all: &[String],
    ) -> io::Result<Self> {
        let said = config.common.said.clone();
        let tails: Arc<Mutex<BTreeMap<_, _>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let reads = config.reads();
        let mut scan = Scan {
            context: context.clone(),
            is_first: context.checkpoint.first_look(&format!("journald {reads}")),
            others: all.iter().filter(|other| **other != reads).cloned().collect(),
            reads,
            config: Arc::new(config),
            files: Files::default(),
            tails: tails.clone(),
        };
        // Source ids must be in the checkpoint before anything is sent under them.
        let mut again = scan.look();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("journald".into()).spawn(move || {
            let (told, news) = crossbeam_channel::bounded(1);
            let watcher =
                notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                    // Our own reading is no news.
                    if event.is_ok_and(|event| !event.kind.is_access()) {
                        let _ = told.try_send(());
                    }
                });
            let mut watcher = watcher
                .inspect_err(|error| tracing::warn!(%error, "the journal is looked at each second"))
                .ok();
            if let Some(watcher) = &mut watcher {
                for directory in scan.directories() {
                    let _ = watcher.watch(&directory, RecursiveMode::Recursive);
                }
            }
            while !stopped.load(Ordering::Acquire) {
                if !again {
                    let _ = news.recv_timeout(SCAN_INTERVAL);
                }
                again = scan.look();
                // What comes meanwhile is found by the next look.
                std::thread::sleep(SCAN_PAUSE);
            }
        })?;
        Ok(Self { said, tails, stop, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn tails(&self) -> Vec<Arc<JournalTail>> {
        lock(&self.tails).values().cloned().collect()
    }

    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// Nothing more is read; what is read goes out.
    pub(crate) fn leave(&self) {
        self.stop();
        self.tails().iter().for_each(|tail| tail.leaving.store(true, Ordering::Release));
    }

    /// Whether nothing more is read and all that was is acknowledged; then it is let go of, and may
    /// be begun again.
    pub(crate) fn has_left(&self, context: &Context) -> bool {
        let tails = self.tails();
        let left =
            tails.iter().all(|tail| tail.readiness.is_idle() && tail.route.lane.is_settled());
        if left {
            for tail in tails {
                context.checkpoint.untrack(tail.route.lane.id(), true);
                context.retire(&tail.route, "journald", &tail.name);
            }
        }
        left
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

/// Finds the files and gives them to their tails.
struct Scan {
    context: Arc<Context>,
    config: Arc<JournaldConfig>,
    reads: String,
    /// What the other sources of the configuration read.
    others: Vec<String>,
    files: Files,
    /// No journal was looked at for this source, ever.
    is_first: bool,
    tails: Arc<Mutex<BTreeMap<[u8; 16], Arc<JournalTail>>>>,
}

impl Scan {
    /// Those of the configuration, else the system's.
    fn directories(&self) -> Vec<PathBuf> {
        match self.config.directories.is_empty() {
            true => directory_of_system().into_iter().collect(),
            false => self.config.directories.clone(),
        }
    }

    /// Returns whether there is something that only another look lets through.
    fn look(&mut self) -> bool {
        let directories = self.directories();
        let list = || directories.iter().flat_map(|path| journals(path)).collect();
        let Some(found) = self.files.look(list) else { return true };
        let mut again = false;
        for (seqnum_id, tail) in &*lock(&self.tails) {
            if !found.contains_key(seqnum_id) {
                tail.close_what_is_gone(&self.context.queue);
            }
        }
        for (seqnum_id, sequence) in found {
            let known = lock(&self.tails).get(&seqnum_id).cloned();
            let last = sequence.last();
            let tail = known.unwrap_or_else(|| self.admit(seqnum_id, last));
            again |= last > sequence.settled;
            tail.end.fetch_max(last.saturating_add(1), Ordering::Relaxed);
            *lock(&tail.arrived) = Some(sequence);
            let work: Arc<dyn Work> = tail;
            self.context.queue.wake(&work);
        }
        self.is_first = false;
        again
    }

    fn admit(&self, seqnum_id: [u8; 16], last: u64) -> Arc<JournalTail> {
        let context = &self.context;
        let name: String = seqnum_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let entry = claim(&context.checkpoint, &name, &self.reads, &self.others);
        let id = entry.as_ref().and_then(CheckpointEntry::source_id).unwrap_or_else(|| {
            let (agent, salt) = (context.agent.id.as_bytes(), context.salt.as_bytes());
            // One that now reads something else may have the first.
            let derive = |number: u64| {
                let (reads, number) = (self.reads.as_bytes(), number.to_be_bytes());
                SourceId::derive(&[b"journal", agent, salt, &seqnum_id, reads, &number])
            };
            let mut ids = (0..).map(derive);
            ids.find(|id| !context.checkpoint.knows(*id)).unwrap_or_else(|| derive(0))
        });
        let mut position = entry.as_ref().map_or_else(Position::default, CheckpointEntry::position);
        if entry.is_none() && self.is_first && self.config.read_from == ReadFrom::End {
            position.offset = last.saturating_add(1);
        }
        let partition = entry.and_then(|entry| entry.partition);
        let lane = Arc::new(context.lane(id, position, partition));
        let route = context.route(lane, "journald", &[], &self.config.common);
        let tail = Arc::new(JournalTail {
            name,
            reads: self.reads.clone(),
            config: self.config.clone(),
            route,
            reading: Mutex::new(Reading {
                position,
                sequence: Sequence::default(),
                pace: self.config.common.limits.pace(),
            }),
            arrived: Mutex::default(),
            end: AtomicU64::new(position.offset),
            leaving: AtomicBool::new(false),
            readiness: Readiness::default(),
        });
        context.checkpoint.track(id, tail.clone());
        lock(&self.tails).insert(seqnum_id, tail.clone());
        tail
    }
}

/// Where the source that reads `reads` of a sequence goes on: where it was, also if it was told to
/// read something else meanwhile, but never where one of the `others` was. Of several that it may stand for,
/// it goes on where the first one was: what lies between may come twice, but none of it is passed over.
fn claim(
    checkpoint: &Checkpoint,
    sequence: &str,
    reads: &str,
    others: &[String],
) -> Option<CheckpointEntry> {
    checkpoint.claim(Among::All, |entry| match &entry.content {
        Content::Journal { seqnum_id, reads: known } if seqnum_id == sequence => {
            let own = known == reads;
            (own || !others.contains(known)).then_some((own, Reverse(entry.offset)))
        }
        _ => None,
    })
}

/// Where the system's journal is: the lasting one if there is one, because at a start journald copies
/// the other into it.
pub(crate) fn directory_of_system() -> Option<PathBuf> {
    DIRECTORIES.iter().map(PathBuf::from).find(|path| !journals(path).is_empty())
}

/// The last entries of what one journald has numbered, at most `most`: each with its unit, or else
/// its program, and as the line that the rules see. Files that cannot be read are left out.
pub(crate) fn recent(paths: &[PathBuf], most: u64) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<JournalFile> =
        paths.iter().filter_map(|path| JournalFile::open(path).ok()).collect();
    // Of several sequences, the one that is written now.
    let newest = files.iter().max_by_key(|file| file.metadata().and_then(|m| m.modified()).ok());
    let Some(seqnum_id) = newest.map(|file| file.seqnum_id) else { return Vec::new() };
    files.retain(|file| file.seqnum_id == seqnum_id);
    let mut sequence = Sequence { files, settled: u64::MAX };
    let last = sequence.last();
    let mut next = last.saturating_sub(most.saturating_sub(1));
    let mut entries = Vec::new();
    while next <= last {
        let Some((seqnum, offset, file)) = sequence.next(next) else { break };
        next = seqnum.saturating_add(1);
        let Some(entry) = file.entry(offset) else { continue };
        let names = ["_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER", "_COMM"];
        let name = names.into_iter().find_map(|name| entry.field(name)).unwrap_or(b"unknown");
        let mut line = Vec::new();
        entry::render(&entry, &mut line);
        entries.push((String::from_utf8_lossy(name).into_owned(), line));
    }
    entries
}

/// The journal files in a directory and in those right under it.
pub(crate) fn journals(directory: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).collect()
    };
    let here = list(directory);
    let below = here.iter().filter(|path| path.is_dir()).flat_map(|path| list(path));
    let is_journal = |path: &PathBuf| {
        let name = path.to_string_lossy();
        (name.ends_with(".journal") || name.ends_with(".journal~")) && path.is_file()
    };
    let mut found: Vec<PathBuf> = below.chain(here.iter().cloned()).filter(is_journal).collect();
    found.sort();
    found
}

/// One sequence of entries being read.
#[derive(Debug)]
pub(crate) struct JournalTail {
    name: String,
    reads: String,
    config: Arc<JournaldConfig>,
    route: Route,
    reading: Mutex<Reading>,
    /// What the last look has found, until the next turn takes it.
    arrived: Mutex<Option<Sequence>>,
    /// Behind the last entry, as far as is known.
    end: AtomicU64,
    /// Nothing more is read: the configuration has changed.
    leaving: AtomicBool,
    readiness: Readiness,
}

#[derive(Debug)]
struct Reading {
    position: Position,
    sequence: Sequence,
    pace: Pace,
}

impl JournalTail {
    pub(crate) fn snapshot(&self) -> SourceSnapshot {
        let end = Some(self.end.load(Ordering::Relaxed));
        let named = ("journald", self.name.clone());
        lane_snapshot(&self.route.lane, &self.route.configured, named, end)
    }

    /// No file of the sequence is there any more: those that are open are read to their ends, and closed.
    fn close_what_is_gone(self: &Arc<Self>, queue: &Queue) {
        let is_through = self.readiness.is_idle() && self.route.lane.is_settled();
        let Some(mut reading) = self.reading.try_lock().ok().filter(|_| is_through) else { return };
        // Nothing can come to light that is before them.
        if std::mem::replace(&mut reading.sequence.settled, u64::MAX) == u64::MAX {
            reading.sequence.files.clear();
        } else {
            let work: Arc<dyn Work> = self.clone();
            queue.wake(&work);
        }
    }

    /// Takes the next entries; returns the position behind them and whether there are more.
    fn take(&self, reading: &mut Reading, worker: &mut Worker<'_>) -> (u64, bool) {
        let mut next = reading.position.offset;
        let (mut text, mut members) = (Vec::new(), Vec::new());
        for _ in 0..TURN_ENTRIES {
            let Some((seqnum, offset, file)) = reading.sequence.next(next) else {
                return (next, false);
            };
            if worker.batch.is_full() {
                return (next, true);
            }
            next = seqnum.saturating_add(1);
            let Some(entry) = file.entry(offset) else {
                tracing::warn!(path = %file.path.display(), seqnum, "an entry of the journal is damaged");
                file.damaged += 1;
                continue;
            };
            if !entry::wanted(&entry, &self.config) {
                continue;
            }
            text.clear();
            entry::render(&entry, &mut text);
            members.clear();
            entry::members(&entry, &mut members);
            let kept = crate::source::file::cut(&text, self.config.common.line_bytes_max);
            let line = Line {
                offset: seqnum,
                bytes: kept,
                original_bytes: (kept.len() < text.len()).then_some(text.len() as u64),
                sender: None,
                received_at: Timestamp::now(),
            };
            worker.push_with(&self.route, &line, &members);
            worker.batch.cover(text.len() as u64, 0);
        }
        (next, true)
    }
}

impl Tracked for JournalTail {
    fn lane(&self) -> &Lane {
        &self.route.lane
    }

    fn entry(&self) -> CheckpointEntry {
        let content = Content::Journal { seqnum_id: self.name.clone(), reads: self.reads.clone() };
        CheckpointEntry::new(self.route.lane.id(), self.route.lane.progress(), content)
    }
}

impl Work for JournalTail {
    fn turn(&self, worker: &mut Worker<'_>) -> Turn {
        let reading = &mut *lock(&self.reading);
        if let Some(found) = lock(&self.arrived).take() {
            reading.sequence.adopt(found);
        }
        match worker.rewind(&self.route.lane) {
            Rewind::Onward => {}
            Rewind::To(acked) => {
                reading.position = acked;
                reading.sequence.rewind();
            }
            Rewind::NotYet(pause) => return Turn::Later(pause),
        }
        if self.leaving.load(Ordering::Acquire) {
            return Turn::Idle;
        }
        if let Some(wait) = reading.pace.wait() {
            return Turn::Later(wait);
        }
        worker.begin(&self.route, reading.position.prev);
        let (offset, more) = self.take(reading, worker);
        if offset == reading.position.offset {
            return Turn::Idle;
        }
        worker.batch.lose(DropReason::JournalDamaged, reading.sequence.take_damaged());
        let end = Position { offset, prev: worker.batch.prev(), guard: Guard::default() };
        if worker.ship(&self.route, end).is_err() {
            reading.sequence.rewind();
            return Turn::Later(Duration::from_millis(50));
        }
        reading.position = end;
        let tally = worker.batch.tally();
        reading.pace.spend(tally.read, tally.bytes);
        if more { Turn::More } else { Turn::Idle }
    }

    fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

/// Wakes for a new producer, as for any source.
pub(crate) fn wake(tails: Vec<Arc<JournalTail>>, queue: &Queue) {
    for tail in tails {
        let work: Arc<dyn Work> = tail;
        queue.wake(&work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_sources_of_one_journal_each_goes_on_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let id = |number: u8| SourceId::derive(&[&[number]]);
        let remember = |number: u8, reads: &str| {
            let position = Position { offset: number.into(), ..Position::default() };
            let content = Content::Journal { seqnum_id: "s".into(), reads: reads.into() };
            checkpoint.remember(CheckpointEntry::new(id(number), (position, None), content));
        };
        // What the sources read, and what they did when positions 1, 2 … were written.
        for (sources, before, wanted) in [
            (&["sudo", "app"][..], &["app", "sudo"][..], &[Some(2), Some(1)][..]),
            // Of an earlier version, which did not say it.
            (&["sudo"], &[""], &[Some(1)]),
            (&["sudo", "su"], &["sudo", "app"], &[Some(1), Some(2)]),
            (&["su", "app"], &["sudo", "app"], &[Some(1), Some(2)]),
            (&["sudo", "app"], &["app"], &[None, Some(1)]),
            // One for two.
            (&["su"], &["sudo", "app"], &[Some(1)]),
        ] {
            (1..).zip(before).for_each(|(number, reads)| remember(number, reads));
            assert!(checkpoint.knows(id(1)));
            let sources: Vec<String> = sources.iter().map(|&reads| reads.to_owned()).collect();
            let claimed = sources.iter().map(|reads| {
                let others = sources.iter().filter(|other| *other != reads).cloned();
                let entry = claim(&checkpoint, "s", reads, &others.collect::<Vec<_>>());
                entry.map(|entry| entry.offset)
            });
            assert_eq!(claimed.collect::<Vec<_>>(), wanted, "{sources:?} {before:?}");
        }
        assert!(!checkpoint.knows(id(9)));
    }
}
