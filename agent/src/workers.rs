//! Workers: a few plain threads that serve whatever source has something to do, one turn at a time.
//!
//! A source is in the queue at most once, so the queue is bounded by the number of sources and a
//! source is served by one worker at a time. A turn is bounded (one chunk), so a large file does not
//! keep a small one waiting for long.

use crate::delivery::{Courier, Lane, Position, Resume, ShipError, Shipment};
use crate::parsing::{Engine, Line, Rules};
use crate::pipeline::{Batch, Route};
use crate::sync::lock;
use crossbeam_channel::{Receiver, Sender, unbounded};
use logweir_service::{Pulse, beat};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a worker sleeps at most; it bounds how late a stop is noticed.
const NAP: Duration = Duration::from_millis(200);
/// How long a source rests after a turn that failed.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A source that can be served.
pub(crate) trait Work: Send + Sync + std::fmt::Debug + 'static {
    /// Reads, encodes and ships at most one chunk.
    fn turn(&self, worker: &mut Worker<'_>) -> Turn;
    fn readiness(&self) -> &Readiness;
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing more to do until it is woken.
    Idle,
    More,
    /// More to do, but not before the time is over.
    Later(Duration),
}

/// Whether a source is idle, queued, being served, or being served and woken meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Readiness(AtomicU8);

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const SERVED: u8 = 2;
const SERVED_AND_WOKEN: u8 = 3;

impl Readiness {
    /// Returns whether the source must be put into the queue.
    fn wake(&self) -> bool {
        let next = |state| match state {
            IDLE => Some(QUEUED),
            SERVED => Some(SERVED_AND_WOKEN),
            _ => None,
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(IDLE)
    }

    fn begin(&self) {
        self.0.store(SERVED, Ordering::Release);
    }

    /// Ends a turn with nothing to do; returns whether it was woken meanwhile.
    fn end_idle(&self) -> bool {
        let idle = self.0.compare_exchange(SERVED, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if idle.is_err() {
            self.0.store(QUEUED, Ordering::Release);
        }
        idle.is_err()
    }

    fn end_queued(&self) {
        self.0.store(QUEUED, Ordering::Release);
    }

    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) == IDLE
    }
}

/// Where sources queue up; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    sender: Sender<Arc<dyn Work>>,
    receiver: Receiver<Arc<dyn Work>>,
    delayed: Arc<Mutex<BinaryHeap<Reverse<Delayed>>>>,
}

#[derive(Debug)]
struct Delayed(Instant, Arc<dyn Work>);

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Delayed {}
impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl Default for Queue {
    fn default() -> Self {
        let (sender, receiver) = unbounded();
        Self { sender, receiver, delayed: Arc::default() }
    }
}

impl Queue {
    /// Has the source served soon, unless it is queued already.
    pub(crate) fn wake(&self, work: &Arc<dyn Work>) {
        if work.readiness().wake() {
            self.push(work.clone());
        }
    }

    fn push(&self, work: Arc<dyn Work>) {
        // Cannot fail: the queue holds a receiver itself.
        let _ = self.sender.send(work);
    }

    fn push_later(&self, work: Arc<dyn Work>, wait: Duration) {
        lock(&self.delayed).push(Reverse(Delayed(Instant::now() + wait, work)));
    }

    /// The next source to serve, if there is one before a nap is over.
    fn next(&self) -> Option<Arc<dyn Work>> {
        let mut nap = NAP;
        {
            let mut delayed = lock(&self.delayed);
            let now = Instant::now();
            while delayed.peek().is_some_and(|Reverse(first)| first.0 <= now) {
                if let Some(Reverse(Delayed(_, work))) = delayed.pop() {
                    self.push(work);
                }
            }
            if let Some(Reverse(first)) = delayed.peek() {
                nap = nap.min(first.0 - now);
            }
        }
        self.receiver.recv_timeout(nap).ok()
    }
}

/// How long a lane waits for another producer until it asks again.
const INTERRUPTED_PAUSE: Duration = Duration::from_millis(50);

/// What a turn works with: the worker's buffers and the way to Kafka.
#[derive(Debug)]
pub(crate) struct Worker<'c> {
    courier: &'c Courier,
    /// Reused from turn to turn.
    pub buffer: &'c mut Vec<u8>,
    pub batch: &'c mut Batch,
    engine: &'c mut Engine,
}

/// Where a source goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewind {
    /// Where its last turn ended.
    Onward,
    /// At its acknowledged position.
    To(Position),
    /// Nowhere for so long: the producer that failed has not been replaced, or what is queued for the
    /// lane's partition does not get away.
    NotYet(Duration),
}

/// A chunk could not be shipped; a later turn begins where this one did, or starts over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotShipped;

impl Worker<'_> {
    /// Where to read on.
    #[must_use]
    pub(crate) fn rewind(&self, lane: &Lane) -> Rewind {
        if let Some(pause) = self.courier.pause_of(lane) {
            return Rewind::NotYet(pause);
        }
        match lane.resume(self.courier.generation()) {
            Resume::Onward => Rewind::Onward,
            Resume::Rewind(position) => Rewind::To(position),
            Resume::Wait => Rewind::NotYet(INTERRUPTED_PAUSE),
        }
    }

    /// Begins a batch of `route` whose last event sent began at `prev`.
    pub(crate) fn begin(&mut self, route: &Route, prev: Option<u64>) {
        self.engine.select(&route.selection);
        let one = self.courier.is_one_wanted(&route.lane);
        self.batch.begin(route, prev, self.courier.event_bytes_max(), one);
    }

    /// Encodes one line into the batch.
    pub(crate) fn push(&mut self, route: &Route, line: &Line<'_>) {
        self.push_with(route, line, &[]);
    }

    /// As [`Self::push`], with fields that are known besides.
    pub(crate) fn push_with(
        &mut self,
        route: &Route,
        line: &Line<'_>,
        members: &[(String, Vec<u8>)],
    ) {
        self.batch.push(self.engine, route, line, members);
    }

    /// Ships the batch, which ends at `end`; waits for Kafka as long as it takes.
    ///
    /// # Errors
    /// The link broke, the agent stops, or the source's partition does not take it yet.
    pub(crate) fn ship(&mut self, route: &Route, end: Position) -> Result<(), NotShipped> {
        let shipment = Shipment { lane: &route.lane, end, batch: self.batch };
        let Err(error) = self.courier.ship(route.slot, &shipment) else {
            self.engine.publish_counts();
            return Ok(());
        };
        // It is read and parsed again.
        self.engine.forget_counts();
        if matches!(error, ShipError::Broken | ShipError::Stopped) {
            route.lane.interrupt();
        }
        Err(NotShipped)
    }
}

/// The threads.
#[derive(Debug)]
pub(crate) struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    #[must_use]
    pub(crate) fn start(
        count: usize,
        queue: &Queue,
        courier: &Arc<Courier>,
        rules: &Rules,
        pulse: &Pulse,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |index: usize| {
            let (queue, courier, stop) = (queue.clone(), courier.clone(), stop.clone());
            let (engine, pulse) = (Engine::new(rules), pulse.clone());
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    let _beating = pulse.join();
                    serve(&queue, &courier, &stop, engine);
                })
                .expect("a thread can be started")
        };
        let threads = (0..count.max(1)).map(thread).collect();
        Self { stop, threads }
    }

    /// Ends the threads after their present turns.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

fn serve(queue: &Queue, courier: &Courier, stop: &AtomicBool, mut engine: Engine) {
    let mut buffer = Vec::new();
    let mut batch = Batch::default();
    while !stop.load(Ordering::Acquire) {
        beat();
        let Some(work) = queue.next() else { continue };
        work.readiness().begin();
        let mut worker =
            Worker { courier, buffer: &mut buffer, batch: &mut batch, engine: &mut engine };
        let turn = catch_unwind(AssertUnwindSafe(|| work.turn(&mut worker)));
        match turn {
            Ok(Turn::Idle) => {
                if work.readiness().end_idle() {
                    queue.push(work);
                }
            }
            Ok(Turn::More) => {
                work.readiness().end_queued();
                queue.push(work);
            }
            Ok(Turn::Later(wait)) => {
                work.readiness().end_queued();
                queue.push_later(work, wait);
            }
            Err(_) => {
                tracing::error!(source = ?work, "serving a source failed unexpectedly; it rests a moment");
                work.readiness().end_queued();
                queue.push_later(work, REST_AFTER_FAILURE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FileConfig, RulesConfig};
    use crate::parsing::Selection;
    use crate::sync::Changes;
    use jiff::Timestamp;
    use logweir_document::{Faults, parse};
    use logweir_kafka::properties::{Properties, Role};
    use logweir_record::{Agent, Envelope, SourceId};

    const PACK: &str = "pack: shop\ndescription: A shop\ndataset: shop\napplies: {starts: ['paid ']}\n\
        rules:\n  - id: shop.paid\n    pattern: '^paid (?<labels.cents:int>\\d+)$'\n";

    fn courier() -> Courier {
        let document = parse("a.yaml", "bootstrap.servers: '127.0.0.1:1'\n").unwrap();
        let mut faults = Faults::new(document.source.clone());
        let properties = Properties::read(&document.root, "kafka", Role::Producer, &mut faults);
        Courier::start(properties.unwrap(), "events".into()).unwrap()
    }

    #[test]
    fn what_is_parsed_and_not_handed_over_is_not_counted() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("shop.yaml"), PACK).unwrap();
        let config = RulesConfig { directories: vec![directory.path().into()], shipped: false };
        let rules = Rules::load(&config).unwrap().0;
        let courier = courier();
        let id = SourceId::derive(&[b"shop"]);
        let lane = Arc::new(Lane::new(id, Position::default(), Some(0), Changes::default()));
        let agent = Agent {
            id: "agent".into(),
            name: "web1".into(),
            version: "0".into(),
            host_name: "web1".into(),
        };
        let route = Route {
            slot: courier.register(&lane),
            configured: "file".into(),
            envelope: Envelope::new(&agent, id, &[]),
            selection: Selection::of(&FileConfig::default().common),
            lane,
        };
        let (mut buffer, mut batch) = (Vec::new(), Batch::default());
        let mut engine = Engine::new(&rules);
        let mut worker = Worker {
            courier: &courier,
            buffer: &mut buffer,
            batch: &mut batch,
            engine: &mut engine,
        };
        let line = Line {
            offset: 0,
            bytes: b"paid 5",
            original_bytes: None,
            sender: None,
            received_at: Timestamp::UNIX_EPOCH,
        };
        let end = Position { offset: 7, ..Position::default() };
        worker.begin(&route, None);
        worker.push(&route, &line);
        courier.begin_stop();
        assert!(worker.ship(&route, end).is_err());
        assert!(rules.counts().is_empty(), "{:?}", rules.counts());
        // Nor later, with what is: a batch without an event is as good as taken.
        worker.begin(&route, None);
        assert!(worker.ship(&route, end).is_ok());
        assert!(rules.counts().is_empty(), "{:?}", rules.counts());
        courier.stop(Duration::ZERO);
    }
}
