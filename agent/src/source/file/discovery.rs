//! Discovery: which files there are, which of them are known, and what became of those that left.
//!
//! One thread owns the table of files. The kernel's notifications wake single files at once; a
//! rescan finds whatever they did not tell, and is all there is where they are not to be had.

use super::open_files::{OpenFiles, Waiting};
use super::rest::Lost;
use super::scanner::{Scanner, Tails};
use super::tail::{FileTail, Notice};
use super::watches::Watches;
use crate::config::FileConfig;
use crate::source::Context;
use crate::sync::{lock, read};
use crossbeam_channel::{Receiver, Sender, at, never, select_biased, tick, unbounded};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Discovery {
    unused: AtomicBool,
    notices: Sender<Notice>,
    tails: Tails,
    open_files: OpenFiles,
    overflows: Arc<AtomicU64>,
    lost: Arc<Lost>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Discovery {
    #[must_use]
    pub(crate) fn start(
        context: Arc<Context>,
        configs: Vec<FileConfig>,
        open_files_max: usize,
    ) -> Self {
        let unused = AtomicBool::new(configs.is_empty());
        let tails = Tails::default();
        let open_files = OpenFiles::new(open_files_max);
        let overflows = Arc::<AtomicU64>::default();
        let lost = Arc::<Lost>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (notice_sender, notices) = unbounded();
        let scanner = Scanner {
            context,
            configs: configs.into_iter().map(Arc::new).collect(),
            tails: tails.clone(),
            paths: HashMap::new(),
            left: HashMap::new(),
            left_due: Instant::now(),
            heads: Arc::default(),
            copies: HashMap::new(),
            unfinished: HashMap::new(),
            refused: HashSet::new(),
            archives: Vec::new(),
            passed_over: HashMap::new(),
            open_files: open_files.clone(),
            crowded: 0,
            crowded_told: None,
            were_all_begun: false,
            room_due: Instant::now(),
            waiting: Waiting::default(),
            contested: HashSet::new(),
            leaving: Vec::new(),
            renamed_due: true,
            overflows: overflows.clone(),
            lost: lost.clone(),
            missed: HashMap::new(),
            notice_sender: notice_sender.clone(),
        };
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("discovery".into())
            .spawn(move || run(scanner, &notices, &stopped))
            .expect("a thread can be started");
        let thread = Mutex::new(Some(thread));
        Self { unused, notices: notice_sender, tails, open_files, overflows, lost, stop, thread }
    }

    /// Whether no files are configured at all.
    pub(crate) fn is_unused(&self) -> bool {
        self.unused.load(Ordering::Acquire)
    }

    /// Reads these files from now on: what is said as before goes on as it is; what is read of
    /// others goes out first.
    pub(crate) fn configure(&self, configs: Vec<FileConfig>) {
        self.unused.store(configs.is_empty(), Ordering::Release);
        // Without a receiver the agent stops.
        let _ = self.notices.send(Notice::Configured(configs));
    }

    /// The files that are read.
    #[must_use]
    pub(crate) fn tails(&self) -> Vec<Arc<FileTail>> {
        read(&self.tails).values().cloned().collect()
    }

    /// The same with what `also` tells of the same moment: no file is let go of meanwhile.
    pub(crate) fn tails_with<T>(&self, also: impl FnOnce() -> T) -> (Vec<Arc<FileTail>>, T) {
        let tails = read(&self.tails);
        (tails.values().cloned().collect(), also())
    }

    /// Whether all that the file at `path` holds now is acknowledged; `None` if it is not read yet.
    #[must_use]
    pub(crate) fn is_read_out(&self, path: &Path) -> Option<bool> {
        let tails = read(&self.tails);
        let tail = tails.values().find(|tail| tail.path() == path)?;
        Some(tail.is_read_out())
    }

    /// Whether the file is an archive that could not be read to the end of what it holds.
    #[must_use]
    pub(crate) fn is_damaged(&self, path: &Path) -> bool {
        read(&self.tails).values().any(|tail| tail.path() == path && tail.is_damaged())
    }

    /// How many of them are open.
    #[must_use]
    pub(crate) fn open_files(&self) -> usize {
        self.open_files.count()
    }

    /// How often more changed than could be told, so that everything was looked at.
    #[must_use]
    pub(crate) fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// How many files were gone before all that was known to be in them was read, and how many bytes of
    /// them were not.
    #[must_use]
    pub(crate) fn lost(&self) -> (u64, u64) {
        self.lost.counts()
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

fn run(mut scanner: Scanner, notices: &Receiver<Notice>, stop: &AtomicBool) {
    let mut watches = Watches::new();
    let events = watches.events.clone();
    let mut wait = scanner.rescan(&mut watches);
    let mut scanned = Instant::now();
    let beat = tick(Duration::from_millis(100));
    while !stop.load(Ordering::Acquire) {
        let mut structural = false;
        let room = scanner.room_due().map_or_else(never, at);
        select_biased! {
            recv(notices) -> notice => {
                match notice {
                    Ok(Notice::Replaced(key)) => scanner.replace(key),
                    Ok(Notice::Undecided(key)) => scanner.decide(key),
                    Ok(Notice::Moved) => structural = true,
                    Ok(Notice::Configured(configs)) => {
                        scanner.configure(configs);
                        structural = true;
                    }
                    Ok(Notice::Crowded(key)) => scanner.waiting.add(key),
                    Ok(Notice::Unfinished(key, record)) => {
                        scanner.unfinished.insert(key, record);
                    }
                    Err(_) => {}
                }
            }
            recv(events) -> event => {
                if let Ok(event) = event {
                    structural = take(&mut scanner, &mut watches, event);
                }
            }
            recv(room) -> _ => {}
            recv(beat) -> _ => {
                scanner.decide_copies();
                scanner.finish_records();
                scanner.look_after_left_when_due();
                structural = scanner.let_leaving_go()
                    | (watches.take_missed() && scanner.overflowed());
            }
        }
        scanner.make_room_when_due();
        if structural && !stop.load(Ordering::Acquire) {
            std::thread::sleep(wait.gather);
            while let Ok(event) = events.try_recv() {
                take(&mut scanner, &mut watches, event);
            }
        }
        if structural || scanned.elapsed() >= wait.interval {
            wait = scanner.rescan(&mut watches);
            scanned = Instant::now();
        }
    }
}

/// Takes one notification; returns whether the directories have to be looked through.
fn take(
    scanner: &mut Scanner,
    watches: &mut Watches,
    event: notify::Result<notify::Event>,
) -> bool {
    if let Ok(event) = &event {
        watches.forget(event);
    }
    scanner.event(event)
}
