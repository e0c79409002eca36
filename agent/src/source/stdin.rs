//! Standard input: lines go into a spool, and from there to Kafka.

use crate::config::StdinConfig;
use crate::limits::Pace;
use crate::source::spooled::SpoolTail;
use crate::source::syslog::{Framed, Framer};
use crate::source::{Context, SpoolSet};
use crate::spool::{Message, encode};
use crate::sync::lock;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const READ_BYTES: usize = 64 << 10;
/// How long to wait before lines are offered to a full spool again.
const FULL_PAUSE: Duration = Duration::from_millis(20);
/// How long to wait for a limit; it bounds how late a stop is noticed.
const LIMIT_PAUSE: Duration = Duration::from_millis(200);
/// How long to wait for input; it bounds how late a stop is noticed.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The running source.
#[derive(Debug)]
pub(crate) struct Stdin {
    spools: Arc<SpoolSet>,
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Stdin {
    /// # Errors
    /// The spool cannot be opened.
    pub(crate) fn start(
        context: &Arc<Context>,
        spool_directory: &Path,
        config: &StdinConfig,
    ) -> io::Result<Self> {
        let name = ("stdin", "stdin");
        let spools = Arc::new(SpoolSet::open(
            context,
            spool_directory,
            name,
            &config.common,
            &config.spool,
        )?);
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(AtomicBool::new(false));
        let reader = Reader {
            spools: spools.clone(),
            pace: config.common.limits.pace(),
            framer: Framer::new(config.common.line_bytes_max, false),
            stop: stop.clone(),
        };
        let done = ended.clone();
        let thread = std::thread::Builder::new().name("stdin".into()).spawn(move || {
            if reader.run() {
                done.store(true, Ordering::Release);
            }
        })?;
        Ok(Self { spools, stop, ended, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn tails(&self) -> &[Arc<SpoolTail>] {
        self.spools.tails()
    }

    /// Whether the input has ended and all of it is acknowledged.
    pub(crate) fn is_finished(&self) -> bool {
        self.ended.load(Ordering::Acquire) && self.tails().iter().all(|tail| tail.is_drained())
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

struct Reader {
    spools: Arc<SpoolSet>,
    framer: Framer,
    pace: Pace,
    stop: Arc<AtomicBool>,
}

impl Reader {
    /// Reads until the input ends; returns whether it did.
    fn run(mut self) -> bool {
        let mut input = io::stdin().lock();
        let mut buffer = vec![0; READ_BYTES];
        let mut records = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            let stdin = rustix::stdio::stdin();
            let mut descriptors = [PollFd::new(&stdin, PollFlags::IN)];
            if matches!(poll(&mut descriptors, Some(&NAP)), Ok(0)) {
                continue;
            }
            let mut count = 0;
            let mut take = |framed: Framed<'_>| {
                let message = Message {
                    received_at: Timestamp::now(),
                    original_bytes: framed.original_bytes,
                    unterminated: framed.unterminated,
                    sender: b"",
                    bytes: framed.bytes,
                };
                encode(&message, &mut records);
                count += 1;
            };
            let length = input.read(&mut buffer).unwrap_or(0);
            if length == 0 {
                self.framer.finish(&mut take);
            } else if self.framer.push(&buffer[..length], &mut take).is_err() {
                // Cannot be: without counts nothing in a stream is wrong.
                return true;
            }
            self.append(&records, count);
            self.pace.spend(count, length as u64);
            while let Some(wait) = self.pace.wait() {
                if self.stop.load(Ordering::Acquire) {
                    break;
                }
                std::thread::sleep(wait.min(LIMIT_PAUSE));
            }
            records.clear();
            if length == 0 {
                return true;
            }
        }
        false
    }

    /// A full spool makes whoever writes to us wait.
    fn append(&self, records: &[u8], count: u64) {
        if count == 0 {
            return;
        }
        while let Err(error) = self.spools.append(0, records, count) {
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            tracing::debug!(%error, "standard input has to wait");
            std::thread::sleep(FULL_PAUSE);
        }
    }
}
