//! Checkpoint and spool against power cuts anywhere: a property, and a disk that is only simulated.
//!
//! A life is a run of the real code, one thread of it, that takes messages, syncs, sends, hears of
//! deliveries, saves and reopens in random order. It runs as a process of its own under `strace`, and
//! notes what it has promised. What it did is played to a [`Disk`] call by call; at each call the power
//! is cut in some ways, and the real code opens what is left. One of these leftovers is where the next
//! life begins. Nothing depends on time, and the same seed does the same again.
//!
//! ```sh
//! LOGWEIR_RUNS=100 cargo test -p logweir-agent --lib power_cuts
//! ```

mod calls;
mod disk;

use crate::accounting::Tally;
use crate::checkpoint::{Checkpoint, Content, Entry, Tracked};
use crate::delivery::{Lane, Position};
use crate::dormant::Among;
use crate::spool::tests::{Replay, append, replay};
use crate::spool::{AppendError, Settings, Spool, WhenFull};
use calls::{Event, observed};
use disk::{Disk, Image, Lie, lay_out};
use logweir_record::SourceId;
use logweir_tests::{Random, runs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// What a life has promised or is about to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Mark {
    /// The salt is part of every source id from now on; where the spool has nothing, it is passed over.
    Opened {
        salt: String,
        nothing_before: u64,
    },
    Appending(Vec<String>),
    /// What was being appended is accepted, and the last of it ends at this offset.
    Accepted {
        end: u64,
    },
    /// What was being appended was refused.
    Refused,
    /// All that was accepted is safe.
    Synced,
    /// All before this offset may be in Kafka.
    Sending {
        end: u64,
    },
    /// All before this offset is in Kafka.
    Acked {
        end: u64,
    },
    /// A checkpoint was saved with this position.
    Saved {
        offset: u64,
    },
    /// All before this offset is about to be given back.
    Releasing {
        offset: u64,
    },
}

const NAME: &str = "net";

/// Small, so that segments come and go, and the spool is full at times.
const SPOOL_BYTES: u64 = 32 << 10;

fn settings(bytes_max: u64) -> Settings {
    Settings {
        bytes_max,
        when_full: WhenFull::Block,
        disk_free_min: 0,
        // Only when it is asked to.
        sync_interval: Duration::MAX,
        sync_bytes: u64::MAX,
    }
}

/// The spool as the checkpoint follows it.
struct Followed(Lane);

impl Tracked for Followed {
    fn lane(&self) -> &Lane {
        &self.0
    }

    fn entry(&self) -> Entry {
        let content = Content::Spool { name: NAME.to_owned() };
        Entry::new(self.0.id(), self.0.progress(), content)
    }
}

/// Checkpoint and spool, opened as the agent opens them.
struct Opened {
    checkpoint: Checkpoint,
    spool: Spool,
    followed: Arc<Followed>,
    /// Of the checkpoint.
    position: Position,
}

impl Opened {
    fn at(state: &Path, bytes_max: u64) -> Self {
        let checkpoint = Checkpoint::open(state).unwrap();
        let entry = checkpoint.claim(Among::All, |entry| Some(entry.offset));
        let position = entry.as_ref().map_or_else(Position::default, Entry::position);
        let directory = state.join("spool").join(NAME);
        let spool = Spool::open(&directory, NAME, position.offset, settings(bytes_max)).unwrap();
        let id = SourceId::derive(&[checkpoint.salt().as_bytes()]);
        let offset = spool.first_from(position.offset);
        let lane = Lane::new(id, Position { offset, ..position }, Some(0), checkpoint.changes());
        let followed = Arc::new(Followed(lane));
        checkpoint.track(id, followed.clone());
        Self { checkpoint, spool, followed, position }
    }
}

/// What a life knows of itself.
struct Life {
    marks: File,
    random: Random,
    /// The number of the next message.
    next: usize,
}

impl Life {
    /// Notes a mark, in one write.
    fn note(&mut self, mark: &Mark) {
        self.marks.write_all(&serde_json::to_vec(mark).unwrap()).unwrap();
    }

    fn live(&mut self, state: &Path) {
        for _ in 0..1 + self.random.below(3) {
            self.until_it_ends(state);
        }
    }

    /// From a start to an end that leaves everything as it is.
    fn until_it_ends(&mut self, state: &Path) {
        let Opened { checkpoint, spool, followed, .. } = Opened::at(state, SPOOL_BYTES);
        let lane = &followed.0;
        let mut sent = lane.acked().offset;
        self.note(&Mark::Opened { salt: checkpoint.salt(), nothing_before: sent });
        let mut under_way = VecDeque::new();
        for _ in 0..self.random.below(25) {
            match self.random.below(8) {
                0..3 => self.append(&spool),
                3 => {
                    spool.sync(true);
                    self.note(&Mark::Synced);
                }
                4 | 5 => {
                    let found = replay(&spool, sent);
                    let count = self.random.below(found.messages.len() + 1);
                    // Up to the next one, with what may stand between them.
                    let end = found.messages.get(count).map_or(found.end, |(offset, _)| *offset);
                    self.note(&Mark::Sending { end });
                    let tally = Tally { read: 1, sent: 1, ..Tally::default() };
                    let position = Position { offset: end, ..Position::default() };
                    under_way.push_back((lane.hand_over(position, tally, 0), end));
                    sent = end;
                }
                6 => {
                    if let Some((sequence, end)) = under_way.pop_front() {
                        self.note(&Mark::Acked { end });
                        lane.events_acked(lane.generation(), sequence);
                    }
                }
                _ => {
                    let offset = lane.acked().offset;
                    // As where the checkpoint cannot be written, now and then.
                    if self.random.below(3) > 0 {
                        checkpoint.save().unwrap();
                        self.note(&Mark::Saved { offset });
                    }
                    self.note(&Mark::Releasing { offset });
                    spool.release(offset);
                }
            }
        }
    }

    fn append(&mut self, spool: &Spool) {
        let count = 1 + self.random.below(4);
        let messages: Vec<String> = (self.next..self.next + count)
            .map(|number| format!("{number} {}", "x".repeat(self.random.below(1500))))
            .collect();
        self.next += count;
        self.note(&Mark::Appending(messages.clone()));
        let texts: Vec<&str> = messages.iter().map(String::as_str).collect();
        match append(spool, &texts) {
            Ok(()) => self.note(&Mark::Accepted { end: spool.end() }),
            Err(AppendError::Full | AppendError::DiskFull(_)) => self.note(&Mark::Refused),
            Err(AppendError::Io(error)) => panic!("{error}"),
        }
    }
}

/// What all lives together have promised so far.
#[derive(Debug, Clone, Default)]
struct Promises {
    salt: Option<String>,
    /// Being appended.
    under_way: Vec<String>,
    /// By their offsets, with whether they are safe.
    accepted: BTreeMap<u64, (String, bool)>,
    sent_end: u64,
    /// All before it is in Kafka or never was.
    acked_end: u64,
    saved: u64,
    released: u64,
    /// Told to be lost by an earlier cut, whose damage may still be there.
    lost: u64,
}

impl Promises {
    fn take(&mut self, mark: &Mark) {
        match mark {
            Mark::Opened { salt, nothing_before } => {
                let passed = self.acked_end..self.acked_end.max(*nothing_before);
                assert_eq!(self.accepted.range(passed).next(), None, "ACK-1: passed over");
                self.acked_end = self.acked_end.max(*nothing_before);
                self.salt = Some(salt.clone());
            }
            Mark::Appending(messages) => self.under_way = messages.clone(),
            Mark::Accepted { end } => {
                let mut offset = *end;
                for text in std::mem::take(&mut self.under_way).into_iter().rev() {
                    offset -= record_bytes(&text);
                    self.accepted.insert(offset, (text, false));
                }
            }
            Mark::Refused => self.under_way.clear(),
            Mark::Synced => self.accepted.values_mut().for_each(|(_, is_safe)| *is_safe = true),
            Mark::Sending { end } => self.sent_end = self.sent_end.max(*end),
            Mark::Acked { end } => self.acked_end = self.acked_end.max(*end),
            Mark::Saved { offset } => self.saved = self.saved.max(*offset),
            Mark::Releasing { offset } => self.released = self.released.max(*offset),
        }
    }

    /// Opens what a power cut has left in `state`, and holds it against what was promised. Returns
    /// what is promised from there on.
    ///
    /// # Panics
    /// A promise is broken.
    fn kept_in(&self, state: &Path) -> Self {
        // With room for one message more.
        let opened = Opened::at(state, 2 * SPOOL_BYTES);
        let salt = opened.checkpoint.salt();
        assert!(self.salt.as_ref().is_none_or(|known| *known == salt), "the identity is another");
        let position = opened.position.offset;
        assert!(position <= self.acked_end, "ACK-1: {position} and acked {}", self.acked_end);
        assert!(position >= self.saved, "delivered again: {position} and saved {}", self.saved);
        let found = replay(&opened.spool, position);
        self.assert_replayed(&found, position);
        let counted = found.messages.len() as u64 + found.lost;
        let lost = found.lost;
        assert_eq!(counted, opened.spool.appended(), "ACC-1: {lost} of them counted as lost");
        assert_eq!(opened.spool.drops().total(), 0, "ACC-1: told to be lost");
        self.assert_goes_on(&opened.spool, &found);
        let there = found.messages.into_iter();
        Self {
            salt: self.salt.clone(),
            under_way: Vec::new(),
            accepted: there.map(|(offset, text)| (offset, (text, true))).collect(),
            saved: position,
            lost,
            ..*self
        }
    }

    /// What is found from `position` on is what was accepted, with nothing missing that was safe.
    fn assert_replayed(&self, found: &Replay, position: u64) {
        let mut under_way = self.under_way.iter();
        for (offset, text) in &found.messages {
            match self.accepted.get(offset) {
                Some((accepted, _)) => assert_eq!(text, accepted, "another message at {offset}"),
                None => assert!(under_way.any(|known| known == text), "not accepted: {text}"),
            }
        }
        let missing = |(offset, (text, is_safe)): (&u64, &(String, bool))| {
            let message = (*offset, text.clone());
            (*is_safe && found.messages.binary_search(&message).is_err()).then_some(message)
        };
        let kept = self.accepted.range(position.max(self.released)..);
        let missing: Vec<_> = kept.filter_map(missing).collect();
        assert!(missing.is_empty(), "SPL-1: {} missing, such as {:?}", missing.len(), missing[0].0);
        // Also of what was to be given back, if neither the checkpoint nor the spool says yet that it was.
        let taken = self.accepted.range(position..).filter(|(_, (_, is_safe))| !is_safe);
        let unsafe_ones = taken.count() + self.under_way.len();
        let may_be_lost = unsafe_ones as u64 + self.lost;
        assert!(found.lost <= may_be_lost, "{} told to be lost of {may_be_lost}", found.lost);
    }

    /// What is taken now comes behind all else, and not where something else has been sent from.
    fn assert_goes_on(&self, spool: &Spool, found: &Replay) {
        append(spool, &["one more"]).unwrap();
        let more = replay(spool, found.end);
        assert_eq!(more.texts(), ["one more"]);
        let offset = more.messages[0].0;
        assert!(offset >= self.sent_end, "SPL-2: {offset} again, sent to {}", self.sent_end);
    }
}

/// How long the record of a message is.
fn record_bytes(text: &str) -> u64 {
    use crate::spool::{Message, encode};
    let mut record = Vec::new();
    let received_at = jiff::Timestamp::UNIX_EPOCH;
    let bytes = text.as_bytes();
    let message =
        Message { received_at, original_bytes: None, unterminated: false, sender: b"", bytes };
    encode(&message, &mut record);
    record.len() as u64
}

/// How many lives follow each other.
const LIVES: usize = 4;
/// In how many ways the power is cut at each call.
const CUTS: usize = 2;
/// Tells the process of a life that it is one: its seed and the number of its first message.
const LIFE: &str = "LOGWEIR_POWER_CUT_LIFE";

/// A broken promise, and where.
struct Broken {
    place: String,
    panic: Box<dyn std::any::Any + Send>,
}

/// Some lives on a disk, with power cuts at every call of each; returns how many cuts there were.
fn lives(name: &str, seed: u64, lie: Lie) -> Result<usize, Broken> {
    // In memory, if there is such a place: the real disk has nothing to do with it.
    let memory = Some(Path::new("/dev/shm")).filter(|memory| memory.is_dir());
    let parent = memory.map_or_else(std::env::temp_dir, Path::to_owned);
    let directory = tempfile::tempdir_in(parent).unwrap();
    let path = |name: &str| directory.path().join(name);
    let (state, marks) = (path("state"), path("marks"));
    let mut random = Random::of(seed);
    let (mut image, mut promises, mut cuts) = (Image::new(), Promises::default(), 0);
    for life in 0..LIVES {
        lay_out(&image, &state);
        File::create(&marks).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture"]).current_dir(directory.path());
        command.env(LIFE, format!("{} {}", random.below(usize::MAX), life * 1_000_000));
        let events = observed(&command, &state, &marks, &path("strace.log"));
        let next_life_at = random.below(events.len());
        let mut next = None;
        let mut disk = Disk::of(&image, lie);
        for (number, event) in events.iter().enumerate() {
            match event {
                Event::Called(call) => disk.apply(call),
                Event::Noted(mark) => promises.take(mark),
            }
            for cut in 0..CUTS {
                cuts += 1;
                let left = disk.cut(&mut random);
                lay_out(&left, &state);
                let kept = catch_unwind(AssertUnwindSafe(|| promises.kept_in(&state)));
                let kept = kept.map_err(|panic| {
                    let place = format!("seed {seed}, life {life}, cut {cut} behind {number}");
                    Broken { place: format!("{place}: {event:?}"), panic }
                })?;
                if number == next_life_at {
                    next = Some((left, kept));
                }
            }
        }
        (image, promises) = next.expect("one of the cuts");
    }
    Ok(cuts)
}

/// The part of the process that is one life, if this is such a process.
fn is_a_life() -> bool {
    let Ok(life) = std::env::var(LIFE) else { return false };
    let (seed, next) = life.split_once(' ').unwrap();
    let here = std::env::current_dir().unwrap();
    let marks = File::options().append(true).open(here.join("marks")).unwrap();
    let random = Random::of(seed.parse().unwrap());
    Life { marks, random, next: next.parse().unwrap() }.live(&here.join("state"));
    true
}

#[test]
fn whatever_a_power_cut_leaves_nothing_safe_is_lost_and_no_position_is_ahead_or_used_again() {
    if is_a_life() {
        return;
    }
    let mut random = Random::seeded();
    let mut cuts = 0;
    for _ in 0..runs(5) {
        let name = concat!(
            "power_cuts::whatever_a_power_cut_leaves_nothing_safe_is_lost_and_no_position_is_ahead",
            "_or_used_again"
        );
        match lives(name, random.below(usize::MAX) as u64, Lie::None) {
            Ok(more) => cuts += more,
            Err(Broken { place, panic }) => {
                println!("{place}");
                resume_unwind(panic);
            }
        }
    }
    println!("{cuts} power cuts");
    assert!(cuts > 100, "the lives were too short: {cuts} cuts");
}

#[test]
fn a_disk_that_takes_a_sync_for_done_and_does_not_do_it_is_noticed() {
    if is_a_life() {
        return;
    }
    let name = "power_cuts::a_disk_that_takes_a_sync_for_done_and_does_not_do_it_is_noticed";
    let mut random = Random::seeded();
    for lie in [Lie::Data, Lie::Files, Lie::Directories] {
        let mut broken = std::iter::repeat_with(|| random.below(usize::MAX) as u64)
            .take(20)
            .filter_map(|seed| lives(name, seed, lie).err());
        let broken = broken.next().unwrap_or_else(|| panic!("{lie:?} costs nothing"));
        println!("{lie:?}: {}", broken.place);
    }
}
