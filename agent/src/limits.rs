//! Rates: how much may come in, over all, per source and per sender. The `governor` crate keeps them.
//!
//! A chunk is taken whole and paid for afterwards, in pieces that the governor lets pass; who owes
//! something waits. So a limit holds exactly over time whatever the size of chunks is, no chunk is
//! ever refused for good, and many flows can share a limit. Time is the monotonic clock's: a system
//! clock that jumps changes nothing.

use crate::sync::{lock, read, write};
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

/// How long a source may exceed its rate unless configured otherwise.
pub(crate) const BURST_DEFAULT: Duration = Duration::from_secs(1);
/// What is owed is paid in pieces of at least so much time, so that waiting costs little.
const PIECE_MIN: Duration = Duration::from_millis(50);
/// Above this many per second, several events or bytes count as one: times are kept in nanoseconds.
const CELLS_PER_SECOND_MAX: u64 = 1_000_000;
/// A flow asks again at least so often: its limits may be others by then, or it is to end.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// Senders that have an account of their own at a time.
const SENDERS_MAX: usize = 10_000;

/// At most so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub events_per_second: Option<u64>,
    pub bytes_per_second: Option<u64>,
    /// So much of unused rate may be spent at once.
    pub burst: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events_per_second: None, bytes_per_second: None, burst: BURST_DEFAULT }
    }
}

impl std::fmt::Display for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rates = [(self.events_per_second, "events/s"), (self.bytes_per_second, "bytes/s")];
        let rates = rates.iter().filter_map(|(rate, unit)| Some(format!("{} {unit}", (*rate)?)));
        let rates: Vec<String> = rates.collect();
        if rates.is_empty() {
            return f.write_str("none");
        }
        write!(f, "{}, bursts of {:?}", rates.join(", "), self.burst)
    }
}

/// Limits that several flows share; cheap to clone. They change while the agent runs.
#[derive(Clone, Default)]
pub(crate) struct LiveLimits(Arc<RwLock<Meters>>);

impl std::fmt::Debug for LiveLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.now().fmt(f)
    }
}

impl LiveLimits {
    #[must_use]
    pub(crate) fn of(limits: Limits) -> Self {
        Self(Arc::new(RwLock::new(Meters::new(limits, MonotonicClock))))
    }

    #[must_use]
    pub(crate) fn now(&self) -> Limits {
        read(&self.0).limits
    }

    /// Takes over what `other` says at the moment; returns whether that differs.
    pub(crate) fn set(&self, other: &Self) -> bool {
        let new = other.now();
        let changes = self.now() != new;
        if changes {
            *write(&self.0) = Meters::new(new, MonotonicClock);
        }
        changes
    }

    fn pay(&self, owed: &mut Owed) -> Option<Duration> {
        read(&self.0).pay(owed)
    }
}

/// What a flow took and has not paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Owed {
    events: u64,
    bytes: u64,
}

impl Owed {
    fn add(&mut self, events: u64, bytes: u64) {
        self.events += events;
        self.bytes += bytes;
    }
}

/// Limits with what is used of them.
#[derive(Debug)]
struct Meters<C: Clock = MonotonicClock> {
    limits: Limits,
    events: Option<Meter<C>>,
    bytes: Option<Meter<C>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self::new(Limits::default(), MonotonicClock)
    }
}

impl<C: Clock + Clone> Meters<C> {
    fn new(limits: Limits, clock: C) -> Self {
        let meter = |rate: Option<u64>| Some(Meter::new(rate?, limits.burst, clock.clone()));
        let (events, bytes) = (meter(limits.events_per_second), meter(limits.bytes_per_second));
        Self { limits, events, bytes }
    }

    /// Pays of what is owed as much as may be; how long until more can be paid, `None` if nothing
    /// is owed any more.
    fn pay(&self, owed: &mut Owed) -> Option<Duration> {
        let pay = |meter: &Option<Meter<C>>, owed: &mut u64| match meter {
            Some(meter) => meter.pay(owed),
            None => {
                *owed = 0;
                None
            }
        };
        let events = pay(&self.events, &mut owed.events);
        events.max(pay(&self.bytes, &mut owed.bytes))
    }
}

/// One rate.
#[derive(Debug)]
struct Meter<C: Clock> {
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    /// So many events or bytes count as one.
    unit: u64,
    piece_max: NonZeroU32,
}

impl<C: Clock> Meter<C> {
    fn new(rate: u64, burst: Duration, clock: C) -> Self {
        let rate = rate.max(1);
        let unit = rate.div_ceil(CELLS_PER_SECOND_MAX);
        let period = Duration::from_secs_f64(unit as f64 / rate as f64);
        let cells = burst.max(PIECE_MIN).as_secs_f64() / period.as_secs_f64();
        let piece_max = NonZeroU32::new(cells as u32).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period).expect("a microsecond at least");
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(piece_max), clock);
        Self { limiter, unit, piece_max }
    }

    fn pay(&self, owed: &mut u64) -> Option<Duration> {
        while let Some(piece) = NonZeroU32::new((*owed / self.unit).min(u64::from(u32::MAX)) as u32)
        {
            let piece = piece.min(self.piece_max);
            match self.limiter.check_n(piece) {
                Ok(Err(until)) => {
                    return Some(until.wait_time_from(self.limiter.clock().now()));
                }
                // A piece is never more than the governor can give at once.
                Ok(Ok(())) | Err(_) => *owed -= u64::from(piece.get()) * self.unit,
            }
        }
        None
    }
}

/// The account of one flow with its source and with the agent as a whole.
#[derive(Debug)]
pub(crate) struct Pace {
    accounts: [(LiveLimits, Owed); 2],
}

impl Pace {
    #[must_use]
    pub(crate) fn new(source: LiveLimits, overall: LiveLimits) -> Self {
        Self { accounts: [source, overall].map(|limits| (limits, Owed::default())) }
    }

    /// How long the flow has to wait before it asks again; `None` if it may go on.
    #[must_use]
    pub(crate) fn wait(&mut self) -> Option<Duration> {
        let waits = self.accounts.iter_mut().map(|(limits, owed)| limits.pay(owed));
        waits.max().flatten().map(|wait| wait.min(WAIT_MAX))
    }

    /// Notes what was taken.
    pub(crate) fn spend(&mut self, events: u64, bytes: u64) {
        self.accounts.iter_mut().for_each(|(_, owed)| owed.add(events, bytes));
    }
}

/// The account of each sender by itself, of so many as there is room for; further ones share one.
#[derive(Debug)]
pub(crate) struct SenderPaces {
    limits: LiveLimits,
    accounts: Mutex<Accounts>,
}

#[derive(Debug)]
struct Accounts {
    of: HashMap<IpAddr, Account>,
    others: Account,
}

#[derive(Debug)]
struct Account {
    meters: Meters,
    owed: Owed,
    used: Instant,
}

impl Account {
    fn new(limits: Limits) -> Self {
        let meters = Meters::new(limits, MonotonicClock);
        Self { meters, owed: Owed::default(), used: Instant::now() }
    }
}

impl SenderPaces {
    #[must_use]
    pub(crate) fn new(limits: LiveLimits) -> Self {
        let others = Account::new(limits.now());
        let accounts = Accounts { of: HashMap::new(), others };
        Self { limits, accounts: Mutex::new(accounts) }
    }

    /// As [`Pace::wait`].
    pub(crate) fn wait(&self, sender: IpAddr) -> Option<Duration> {
        let wait = self.with(sender, |account| account.meters.pay(&mut account.owed)).flatten();
        wait.map(|wait| wait.min(WAIT_MAX))
    }

    /// As [`Pace::spend`].
    pub(crate) fn spend(&self, sender: IpAddr, events: u64, bytes: u64) {
        self.with(sender, |account| account.owed.add(events, bytes));
    }

    /// Does something with a sender's account; nothing if there are no limits.
    fn with<R>(&self, sender: IpAddr, run: impl FnOnce(&mut Account) -> R) -> Option<R> {
        let limits = self.limits.now();
        if limits.events_per_second.is_none() && limits.bytes_per_second.is_none() {
            return None;
        }
        let accounts = &mut *lock(&self.accounts);
        let account = accounts.of(sender, limits);
        if account.meters.limits != limits {
            account.meters = Meters::new(limits, MonotonicClock);
        }
        account.used = Instant::now();
        Some(run(account))
    }
}

impl Accounts {
    fn of(&mut self, sender: IpAddr, limits: Limits) -> &mut Account {
        if self.of.len() >= SENDERS_MAX && !self.of.contains_key(&sender) {
            // Who owes nothing and has its whole burst again needs no account.
            self.of.retain(|_, account| {
                account.owed != Owed::default() || account.used.elapsed() < limits.burst
            });
            if self.of.len() >= SENDERS_MAX {
                return &mut self.others;
            }
        }
        self.of.entry(sender).or_insert_with(|| Account::new(limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn limits(events: Option<u64>, bytes: Option<u64>) -> Limits {
        let burst = Duration::from_secs(1);
        Limits { events_per_second: events, bytes_per_second: bytes, burst }
    }

    /// How long it takes until all of what is taken at once is paid.
    fn wait(limits: Limits, events: u64, bytes: u64) -> Duration {
        let clock = FakeRelativeClock::default();
        let meters = Meters::new(limits, clock.clone());
        let mut owed = Owed { events, bytes };
        let mut waited = Duration::ZERO;
        while let Some(wait) = meters.pay(&mut owed) {
            clock.advance(wait);
            waited += wait;
        }
        waited
    }

    #[test]
    fn a_flow_waits_until_what_it_took_beyond_the_burst_is_paid() {
        for (events, bytes, take, wait_ms) in [
            (None, None, (1_000_000, 1_000_000), 0),
            (Some(100), None, (50, 0), 0),
            (Some(100), None, (300, 0), 2000),
            (None, Some(1000), (0, 4000), 3000),
            (Some(100), Some(1000), (300, 9000), 8000),
            (None, Some(1 << 40), (0, 3 << 40), 2000),
        ] {
            let waited = wait(limits(events, bytes), take.0, take.1).as_secs_f64() * 1000.0;
            assert!(
                (waited - f64::from(wait_ms)).abs() < 5.0,
                "{events:?} {bytes:?} {take:?}: {waited}"
            );
        }
    }

    #[test]
    fn what_is_unused_can_be_spent_at_once_but_not_more_than_the_burst() {
        let clock = FakeRelativeClock::default();
        let meters = Meters::new(limits(Some(100), None), clock.clone());
        for idle in [0, 1, 3600] {
            clock.advance(Duration::from_secs(idle));
            let mut owed = Owed { events: if idle == 0 { 100 } else { 101 }, bytes: 0 };
            let wait = meters.pay(&mut owed);
            assert_eq!(wait.is_some(), idle > 0, "{wait:?} after {idle} s");
            clock.advance(wait.unwrap_or_default());
            assert_eq!(meters.pay(&mut owed), None);
        }
    }

    #[test]
    fn limits_are_told_with_their_units() {
        assert_eq!(limits(None, None).to_string(), "none");
        assert_eq!(limits(Some(5), None).to_string(), "5 events/s, bursts of 1s");
        let both = limits(Some(5), Some(1 << 20)).to_string();
        assert_eq!(both, "5 events/s, 1048576 bytes/s, bursts of 1s");
    }

    #[test]
    fn flows_share_the_limits_of_their_source_and_of_the_agent() {
        let slow = LiveLimits::of(limits(Some(1), None));
        let free = LiveLimits::default();
        for (source, overall) in [(slow.clone(), free.clone()), (free, slow.clone())] {
            let new = LiveLimits::of(Limits { events_per_second: Some(1), ..Limits::default() });
            slow.set(&LiveLimits::default());
            slow.set(&new);
            let mut first = Pace::new(source.clone(), overall.clone());
            let mut second = Pace::new(source, overall);
            first.spend(1, 0);
            assert_eq!(first.wait(), None);
            second.spend(1, 0);
            assert!(second.wait().is_some());
            slow.set(&LiveLimits::default());
            assert_eq!(second.wait(), None);
        }
    }

    #[test]
    fn a_flow_asks_again_before_its_limits_have_long_been_others() {
        let slow = LiveLimits::of(limits(Some(1), None));
        let mut flow = Pace::new(slow.clone(), LiveLimits::default());
        let (senders, sender) = (SenderPaces::new(slow), IpAddr::from([192, 0, 2, 1]));
        flow.spend(600, 0);
        senders.spend(sender, 600, 0);
        assert_eq!([flow.wait(), senders.wait(sender)], [Some(WAIT_MAX); 2]);
    }

    #[test]
    fn each_sender_has_an_account_and_too_many_share_one() {
        let paces = SenderPaces::new(LiveLimits::of(limits(Some(1), None)));
        let sender = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..SENDERS_MAX as u32 + 10 {
            let alone = n <= SENDERS_MAX as u32;
            assert_eq!(paces.wait(sender(n)).is_none(), alone, "{n}");
            paces.spend(sender(n), 2, 0);
        }
        assert!(paces.wait(sender(0)).is_some());
    }
}
