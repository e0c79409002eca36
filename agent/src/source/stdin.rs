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
use rustix::io::Errno;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const READ_BYTES: usize = 64 << 10;
/// How long to wait before lines are offered to a full spool again.
const FULL_PAUSE: Duration = Duration::from_millis(20);
/// How long to wait for input; it bounds how late a stop is noticed.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// So much is read at a stop at most: what a pipe can hold.
const LAST_BYTES: usize = 1 << 20;

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
            records: Vec::new(),
            count: 0,
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
    /// Lines on their way into the spool.
    records: Vec<u8>,
    count: u64,
    pace: Pace,
    stop: Arc<AtomicBool>,
}

impl Reader {
    /// Reads until the input ends; returns whether it did. At a stop, what the pipe holds is taken, too:
    /// it is gone with us.
    fn run(mut self) -> bool {
        let mut buffer = vec![0; READ_BYTES];
        let mut left = LAST_BYTES;
        while left > 0 {
            let stopped = self.stopped();
            let length = match receive(&mut buffer, if stopped { &AT_ONCE } else { &NAP }) {
                Some(0) => {
                    self.finish();
                    return true;
                }
                Some(length) => length,
                None if stopped => break,
                None => continue,
            };
            self.push(|framer, take| {
                // Cannot fail: without counts nothing in a stream is wrong.
                let _ = framer.push(&buffer[..length], take);
            });
            self.pace.spend(self.count, length as u64);
            if !self.append() {
                break;
            }
            if stopped {
                left = left.saturating_sub(length);
            } else {
                self.rest();
            }
        }
        self.finish();
        false
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Has lines taken out of the framer.
    fn push(&mut self, run: impl FnOnce(&mut Framer, &mut dyn FnMut(Framed<'_>))) {
        let (records, count) = (&mut self.records, &mut self.count);
        run(&mut self.framer, &mut |framed| {
            let message = Message {
                received_at: Timestamp::now(),
                original_bytes: framed.original_bytes,
                unterminated: framed.unterminated,
                sender: b"",
                bytes: framed.bytes,
            };
            encode(&message, records);
            *count += 1;
        });
    }

    /// A full spool makes whoever writes to us wait; returns `false` if it is still full at a stop.
    fn append(&mut self) -> bool {
        while self.count > 0
            && let Err(error) = self.spools.append(0, &self.records, self.count)
        {
            if self.stopped() {
                return false;
            }
            tracing::debug!(%error, "standard input has to wait");
            std::thread::sleep(FULL_PAUSE);
        }
        self.records.clear();
        self.count = 0;
        true
    }

    /// Waits for a limit.
    fn rest(&mut self) {
        while let Some(wait) = self.pace.wait().filter(|_| !self.stopped()) {
            std::thread::sleep(wait);
        }
    }

    /// Takes what is left when nothing more is read.
    fn finish(&mut self) {
        self.push(|framer, take| framer.finish(take));
        if !self.append() {
            self.spools.append_last(0, &self.records, self.count);
        }
    }
}

/// Reads what comes within `patience`; 0 bytes if the input has ended, or cannot be read any more.
fn receive(buffer: &mut [u8], patience: &Timespec) -> Option<usize> {
    let stdin = rustix::stdio::stdin();
    let mut descriptors = [PollFd::new(&stdin, PollFlags::IN)];
    // Interrupted, it does not know whether there is something, and a read might wait for it.
    if matches!(poll(&mut descriptors, Some(patience)), Ok(0) | Err(Errno::INTR)) {
        return None;
    }
    match io::stdin().lock().read(buffer) {
        Ok(length) => Some(length),
        // By a signal, or because who shares a pipe that does not block was faster.
        Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
            None
        }
        Err(error) => {
            tracing::warn!(%error, "standard input cannot be read any more");
            Some(0)
        }
    }
}
