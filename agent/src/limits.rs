//! Rates: a bucket that may run into debt, for sources that can wait and for those that cannot.
//!
//! A chunk is taken whole and paid for afterwards, so a limit holds exactly over time whatever the
//! size of chunks is, and no source is ever refused for good.

use crate::config::LiveLimits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The books of one limited flow.
#[derive(Debug)]
pub(crate) struct Pace {
    limits: LiveLimits,
    /// When what has been taken so far is paid for, by events and by bytes.
    events_paid: Instant,
    bytes_paid: Instant,
}

impl Pace {
    #[must_use]
    pub(crate) fn new(limits: LiveLimits) -> Self {
        let now = Instant::now();
        Self { limits, events_paid: now, bytes_paid: now }
    }

    /// How long the flow has to wait; `None` if it may go on at `now`.
    #[must_use]
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let limit = now + self.limits.now().burst;
        let paid = self.events_paid.max(self.bytes_paid);
        paid.checked_duration_since(limit).filter(|wait| !wait.is_zero())
    }

    /// Notes what was taken at `now`.
    pub(crate) fn spend(&mut self, now: Instant, events: u64, bytes: u64) {
        let limits = self.limits.now();
        let pay = |paid: &mut Instant, rate: Option<u64>, amount: u64| {
            if let Some(rate) = rate.filter(|rate| *rate > 0) {
                *paid = (*paid).max(now) + Duration::from_secs_f64(amount as f64 / rate as f64);
            }
        };
        pay(&mut self.events_paid, limits.events_per_second, events);
        pay(&mut self.bytes_paid, limits.bytes_per_second, bytes);
    }
}

/// The books of each sender by itself, of so many as there is room for; further ones share one.
#[derive(Debug)]
pub(crate) struct SenderPaces {
    limits: LiveLimits,
    paces: HashMap<IpAddr, Pace>,
    others: Pace,
}

/// Senders that have books of their own at a time.
const SENDERS_MAX: usize = 10_000;

impl SenderPaces {
    #[must_use]
    pub(crate) fn new(limits: LiveLimits) -> Self {
        let others = Pace::new(limits.clone());
        Self { limits, paces: HashMap::new(), others }
    }

    /// The books of a sender. Of those that owe nothing none need be kept.
    pub(crate) fn of(&mut self, sender: IpAddr, now: Instant) -> &mut Pace {
        if self.paces.len() >= SENDERS_MAX && !self.paces.contains_key(&sender) {
            self.paces.retain(|_, pace| pace.events_paid.max(pace.bytes_paid) > now);
            if self.paces.len() >= SENDERS_MAX {
                return &mut self.others;
            }
        }
        self.paces.entry(sender).or_insert_with(|| Pace::new(self.limits.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    fn pace(events: Option<u64>, bytes: Option<u64>) -> (Pace, Instant) {
        let burst = Duration::from_secs(1);
        let limits = Limits { events_per_second: events, bytes_per_second: bytes, burst };
        (Pace::new(LiveLimits::of(limits)), Instant::now())
    }

    #[test]
    fn a_flow_waits_until_what_it_took_beyond_the_burst_is_paid() {
        for (events, bytes, take, wait_ms) in [
            (None, None, (1_000_000, 1_000_000), 0),
            (Some(100), None, (50, 0), 0),
            (Some(100), None, (300, 0), 2000),
            (None, Some(1000), (0, 4000), 3000),
            (Some(100), Some(1000), (300, 9000), 8000),
        ] {
            let (mut pace, now) = pace(events, bytes);
            let now = now + Duration::from_secs(1);
            pace.spend(now, take.0, take.1);
            let waited = pace.wait(now).unwrap_or_default().as_millis();
            assert_eq!(waited, wait_ms, "{events:?} {bytes:?} {take:?}");
            assert_eq!(pace.wait(now + Duration::from_secs(10)), None);
        }
    }
}
