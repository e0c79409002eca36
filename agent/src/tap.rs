//! The tap: events as they are handed to Kafka's client, for whoever watches at the moment.
//!
//! The pipeline never waits for a watcher: what he does not take in time he misses, and is told how
//! much. While no one watches, a chunk costs one look at a counter.

use crate::sync::{read, write};
use crossbeam_channel::{Receiver, Sender, bounded};
use logweir_service::Socket;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use std::io::{self, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

const SOCKET: &str = "tap.sock";
pub(crate) const WATCHERS_MAX: usize = 8;
/// And as many more who have not asked yet, each for [`ASK_TIMEOUT`] at most.
const CONNECTIONS_MAX: usize = 2 * WATCHERS_MAX;
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// What waits for one watcher at most, in events and in bytes.
const QUEUE_EVENTS_MAX: usize = 1024;
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// What a watcher may ask for, as a line of JSON.
const QUESTION_BYTES_MAX: usize = 4096;
const NAP: Duration = Duration::from_millis(100);
/// The word before the number of events that a watcher missed; no event begins so.
pub(crate) const MISSED: &str = "missed ";
/// The word for who comes when there are enough.
pub(crate) const FULL: &str = "full";

/// What a watcher wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// Only what no rule matched.
    pub unparsed: bool,
    /// Texts that all have to be in the event as it is sent.
    pub contains: Vec<String>,
}

impl Filter {
    fn takes(&self, event: &[u8]) -> bool {
        (!self.unparsed || memmem::find(event, br#""tags":["unparsed""#).is_some())
            && self.contains.iter().all(|text| memmem::find(event, text.as_bytes()).is_some())
    }
}

/// Where events are offered.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    open: AtomicUsize,
    watchers: RwLock<Vec<Arc<Watcher>>>,
}

#[derive(Debug)]
struct Watcher {
    filter: Filter,
    sender: Sender<Vec<u8>>,
    queued_bytes: AtomicUsize,
    missed: AtomicU64,
}

impl Tap {
    /// Shows events to those who watch.
    pub(crate) fn offer<'e>(&self, events: impl Iterator<Item = &'e [u8]>) {
        if self.open.load(Ordering::Relaxed) == 0 {
            return;
        }
        let watchers = read(&self.watchers);
        for event in events {
            watchers.iter().for_each(|watcher| watcher.offer(event));
        }
    }

    fn join(&self, filter: Filter) -> Option<(Arc<Watcher>, Receiver<Vec<u8>>)> {
        let (sender, receiver) = bounded(QUEUE_EVENTS_MAX);
        let (queued_bytes, missed) = (AtomicUsize::new(0), AtomicU64::new(0));
        let watcher = Arc::new(Watcher { filter, sender, queued_bytes, missed });
        let mut watchers = write(&self.watchers);
        if watchers.len() == WATCHERS_MAX {
            return None;
        }
        watchers.push(watcher.clone());
        self.open.store(watchers.len(), Ordering::Relaxed);
        Some((watcher, receiver))
    }

    fn leave(&self, watcher: &Arc<Watcher>) {
        let mut watchers = write(&self.watchers);
        watchers.retain(|other| !Arc::ptr_eq(other, watcher));
        self.open.store(watchers.len(), Ordering::Relaxed);
    }
}

impl Watcher {
    fn offer(&self, event: &[u8]) {
        if !self.filter.takes(event) {
            return;
        }
        let queued = self.queued_bytes.fetch_add(event.len(), Ordering::Relaxed);
        if queued + event.len() > QUEUE_BYTES_MAX || self.sender.try_send(event.to_vec()).is_err() {
            self.queued_bytes.fetch_sub(event.len(), Ordering::Relaxed);
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The socket at which watchers come.
#[derive(Debug)]
pub(crate) struct TapSocket(Socket);

impl TapSocket {
    /// Binds `tap.sock`, see [`crate::socket_dir`], for the owner and the group.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub(crate) fn bind(socket_dir: &Path) -> io::Result<Self> {
        Socket::bind(&socket_dir.join(SOCKET)).map(Self)
    }

    /// Serves watchers, each on a thread of its own, until `stop`. Who comes when there are enough is sent
    /// away: he must not take the agent's last thread.
    pub(crate) fn serve(&self, tap: &Arc<Tap>, stop: &Arc<AtomicBool>) {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        while !stop.load(Ordering::Acquire) {
            let Some(stream) = self.0.accept() else {
                std::thread::sleep(NAP);
                continue;
            };
            threads.retain(|thread| !thread.is_finished());
            if threads.len() == CONNECTIONS_MAX {
                let _ = send_away(&stream);
                continue;
            }
            let (tap, stop) = (tap.clone(), stop.clone());
            let serve = move || {
                // Whoever hangs up has seen enough.
                let _ = show(&stream, &tap, &stop);
            };
            let thread = std::thread::Builder::new().name("tap-watcher".into()).spawn(serve);
            threads.extend(thread);
        }
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn show(stream: &UnixStream, tap: &Tap, stop: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(ASK_TIMEOUT))?;
    let mut question = [0; QUESTION_BYTES_MAX];
    // It comes at once: nobody keeps his place by asking byte for byte.
    let length = (&mut &*stream).read(&mut question)?;
    let filter = serde_json::from_slice(&question[..length])?;
    let Some((watcher, events)) = tap.join(filter) else { return send_away(stream) };
    let shown = pass_on(stream, &watcher, &events, stop);
    tap.leave(&watcher);
    shown
}

fn send_away(mut stream: &UnixStream) -> io::Result<()> {
    stream.write_all(format!("{FULL}\n").as_bytes())
}

fn pass_on(
    mut stream: &UnixStream,
    watcher: &Watcher,
    events: &Receiver<Vec<u8>>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut told = 0;
    while !stop.load(Ordering::Acquire) {
        if let Ok(mut event) = events.recv_timeout(NAP) {
            watcher.queued_bytes.fetch_sub(event.len(), Ordering::Relaxed);
            event.push(b'\n');
            stream.write_all(&event)?;
        }
        let missed = watcher.missed.load(Ordering::Relaxed);
        if events.is_empty() && missed > told {
            stream.write_all(format!("{MISSED}{}\n", missed - told).as_bytes())?;
            told = missed;
        } else if events.is_empty() {
            // Nothing is written for as long as nothing comes: ask whether he is still there.
            stream.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// Watches the agent whose sockets are in `socket_dir`; the lines come from the reader: events, empty ones,
/// [`MISSED`] with a number, and [`FULL`].
///
/// # Errors
/// No agent is there.
pub(crate) fn watch(socket_dir: &Path, filter: &Filter) -> io::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket_dir.join(SOCKET))?;
    match stream.write_all(format!("{}\n", serde_json::to_string(filter)?).as_bytes()) {
        // Who is sent away need not be heard: why stands in the answer.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(BufReader::new(stream)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead as _;

    #[test]
    fn a_watcher_gets_what_he_asked_for_and_is_told_what_he_missed() {
        let tap = Tap::default();
        let event: &[u8] = br#"{"message":"x","tags":["unparsed"]}"#;
        tap.offer([event].into_iter());
        let filter = Filter { unparsed: true, contains: vec!["\"x\"".into()] };
        let (watcher, events) = tap.join(filter).unwrap();
        let other: &[u8] = br#"{"message":"x"}"#;
        tap.offer([event, other, br#"{"message":"y","tags":["unparsed"]}"#].into_iter());
        assert_eq!(events.try_iter().collect::<Vec<_>>(), [event]);
        for _ in 0..QUEUE_EVENTS_MAX + 5 {
            tap.offer([event].into_iter());
        }
        assert_eq!(watcher.missed.load(Ordering::Relaxed), 5);
        tap.leave(&watcher);
        assert_eq!(tap.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_waits_for_a_watcher_is_bounded_in_bytes() {
        let tap = Tap::default();
        let (watcher, events) = tap.join(Filter::default()).unwrap();
        let event = vec![b'x'; QUEUE_BYTES_MAX / 4];
        (0..6).for_each(|_| tap.offer([&event[..]].into_iter()));
        assert_eq!((events.len(), watcher.missed.load(Ordering::Relaxed)), (4, 2));
    }

    #[test]
    fn who_is_one_too_many_is_told_and_who_does_not_ask_keeps_no_place() {
        let directory = tempfile::tempdir().unwrap();
        let (tap, stop) = (Arc::default(), Arc::default());
        let socket = TapSocket::bind(directory.path()).unwrap();
        let answer = || {
            let mut line = String::new();
            let mut stream = watch(directory.path(), &Filter::default()).unwrap();
            let _ = stream.read_line(&mut line);
            (stream, line)
        };
        let (early, watchers, late) = std::thread::scope(|scope| {
            scope.spawn(|| socket.serve(&tap, &stop));
            let connect = |_| UnixStream::connect(directory.path().join(SOCKET)).unwrap();
            let _silent: Vec<_> = (0..CONNECTIONS_MAX).map(connect).collect();
            let early = answer().1;
            std::thread::sleep(ASK_TIMEOUT + 5 * NAP);
            let watchers: Vec<_> = (0..WATCHERS_MAX).map(|_| answer()).collect();
            let late = answer().1;
            stop.store(true, Ordering::Release);
            (early, watchers, late)
        });
        assert_eq!((&*early, &*late), ("full\n", "full\n"));
        assert!(watchers.iter().all(|(_, line)| line == "\n"));
    }
}
