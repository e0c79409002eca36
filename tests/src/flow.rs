//! A stream of numbered syslog messages that goes on until it may not, and the oracle for it: what of
//! it was accepted is a whole beginning.

use crate::{DEADLINE, Event, line};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Messages over one TCP connection, sent by a thread of its own.
#[derive(Debug)]
pub struct Flow {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Flow {
    /// Sends messages of the writer `name`, each `padding` bytes longer than its line, as fast as
    /// they are taken and at most `count`; ends when all are taken or the connection breaks.
    #[must_use]
    pub fn start(address: SocketAddr, name: &str, padding: usize, count: usize) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (name, stopped, so_far) = (name.to_owned(), stop.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut stream = loop {
                match TcpStream::connect(address) {
                    // Who knocks at a port that nobody listens at may meet himself there.
                    Ok(stream) if stream.local_addr().ok() != Some(address) => break stream,
                    _ if stopped.load(Ordering::Acquire) || started.elapsed() > DEADLINE => return,
                    _ => std::thread::sleep(Duration::from_millis(5)),
                }
            };
            let padding = "p".repeat(padding);
            while !stopped.load(Ordering::Acquire) && so_far.load(Ordering::Acquire) < count {
                let number = so_far.load(Ordering::Acquire);
                let message = format!("<13>{} {padding}\n", line(&name, number).trim_end());
                if stream.write_all(message.as_bytes()).is_err() {
                    return;
                }
                so_far.fetch_add(1, Ordering::Release);
            }
            // The reader closes once it has taken all; the system has all before.
            let _ = stream.shutdown(Shutdown::Write).and_then(|()| stream.read(&mut [0]));
        });
        Self { stop, sent, thread: Some(thread) }
    }

    /// How many messages the system has taken from it so far.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Acquire)
    }

    /// Whether all are taken or the connection is broken.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until all are taken or the connection is broken; returns how many were sent.
    pub fn finish(mut self) -> usize {
        self.end()
    }

    fn end(&mut self) -> usize {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.sent()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A thread that writes to a full connection ends with its reader, which ends with the test.
    }
}

/// How many messages of each writer have arrived; each time a whole beginning, every one once.
///
/// # Panics
/// One is missing in the middle, or there twice; says which.
#[must_use]
pub fn assert_whole_beginnings(events: &[Event]) -> BTreeMap<String, usize> {
    let mut numbers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for event in events {
        let (name, number) =
            event.numbered().unwrap_or_else(|| panic!("nobody wrote this: {}", event.json));
        numbers.entry(name.to_owned()).or_default().push(number);
    }
    for (name, numbers) in &mut numbers {
        numbers.sort_unstable();
        let wrong = numbers.iter().enumerate().find(|(index, number)| index != *number);
        assert!(wrong.is_none(), "{name}: place and number {wrong:?} of {}", numbers.len());
    }
    numbers.into_iter().map(|(name, numbers)| (name, numbers.len())).collect()
}
