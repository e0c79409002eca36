//! The pulse: each thread that must come round beats when it does; a watchdog is fed only while all
//! of them have beaten lately.
//!
//! A thread that waits for someone outside, such as Kafka, beats while it waits: waiting there is
//! right, and a restart would not help. One that hangs in a lock or in a system call does not.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The beats of the threads of a program; cheap to clone.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Threads>);

#[derive(Debug)]
struct Threads {
    began: Instant,
    /// The name of a thread and when it beat last, in milliseconds since `began`.
    beats: Mutex<Vec<(String, Arc<AtomicU64>)>>,
}

thread_local! {
    static MINE: RefCell<Option<(Instant, Arc<AtomicU64>)>> = const { RefCell::new(None) };
}

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Threads { began: Instant::now(), beats: Mutex::default() }))
    }
}

impl Pulse {
    /// The calling thread beats from now on, until the value returned is dropped.
    #[must_use]
    pub fn join(&self) -> Beating {
        let name = std::thread::current().name().unwrap_or("a thread").to_owned();
        let cell = Arc::new(AtomicU64::new(0));
        self.beats().push((name, cell.clone()));
        MINE.set(Some((self.0.began, cell.clone())));
        beat();
        Beating { pulse: self.clone(), cell }
    }

    /// The first thread that has not beaten for longer than `limit`.
    #[must_use]
    pub fn stalled(&self, limit: Duration) -> Option<String> {
        let now = self.0.began.elapsed();
        let late = |cell: &AtomicU64| {
            now.saturating_sub(Duration::from_millis(cell.load(Ordering::Relaxed))) > limit
        };
        self.beats().iter().find(|(_, cell)| late(cell)).map(|(name, _)| name.clone())
    }

    fn beats(&self) -> std::sync::MutexGuard<'_, Vec<(String, Arc<AtomicU64>)>> {
        self.0.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's membership; a thread that ends rightly is not missed.
#[derive(Debug)]
pub struct Beating {
    pulse: Pulse,
    cell: Arc<AtomicU64>,
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.pulse.beats().retain(|(_, cell)| !Arc::ptr_eq(cell, &self.cell));
    }
}

/// The calling thread comes round; does nothing in a thread that has not joined.
pub fn beat() {
    MINE.with_borrow(|mine| {
        if let Some((began, cell)) = mine {
            cell.store(began.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_that_stands_still_is_named_until_it_beats_or_ends() {
        let pulse = Pulse::default();
        let (go, told) = channel::<()>();
        let (tell, heard) = channel();
        let joined = pulse.clone();
        let thread = std::thread::Builder::new().name("still".into()).spawn(move || {
            let beating = joined.join();
            tell.send(()).unwrap();
            told.recv().unwrap();
            beat();
            drop(beating);
        });
        heard.recv().unwrap();
        assert_eq!(pulse.stalled(Duration::from_secs(3600)), None);
        let named = loop {
            // A millisecond after its beat.
            if let Some(name) = pulse.stalled(Duration::ZERO) {
                break name;
            }
            std::thread::yield_now();
        };
        assert_eq!(named, "still");
        go.send(()).unwrap();
        thread.unwrap().join().unwrap();
        assert_eq!(pulse.stalled(Duration::ZERO), None);
    }
}
