//! What is known of one source, and the verdict on each of its events.
//!
//! One number, the high-water mark, tells repeats from news, because a source's events arrive in the
//! order of their offsets. The chain (`logweir.prev`) tells news from news with a hole before it. A
//! hole is remembered as a gap; an event that falls into one heals it.
//!
//! Owns LED-1: rows in the table = received − duplicates, per source, and every hole is named.

use serde::{Deserialize, Serialize};

/// More gaps than this in one source are merged, the nearest first: a source with so many is broken,
/// and its ledger must stay small.
const GAPS_MAX: usize = 1000;

/// Events of a source that the table does not have although they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Option<u64>, u64, u64, u64)", into = "(Option<u64>, u64, u64, u64)")]
pub struct Gap {
    /// The offset of the event before the gap. `None`: the gap is before the first event that the
    /// table has ever seen of the source, and begins at the source's start or behind it. That is so
    /// if the topic had already expired what came before, and equally if it was lost.
    pub after: Option<u64>,
    /// Where the missing bytes begin, as far as known.
    pub from: u64,
    /// Where they end: the offset of the event behind the gap.
    pub until: u64,
    /// The offset of the last missing event.
    pub last: u64,
}

impl From<(Option<u64>, u64, u64, u64)> for Gap {
    fn from((after, from, until, last): (Option<u64>, u64, u64, u64)) -> Self {
        Self { after, from, until, last }
    }
}

impl From<Gap> for (Option<u64>, u64, u64, u64) {
    fn from(gap: Gap) -> Self {
        (gap.after, gap.from, gap.until, gap.last)
    }
}

impl Gap {
    /// The bytes of the source that are missing.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.until.saturating_sub(self.from)
    }

    fn contains(&self, offset: u64) -> bool {
        self.after.is_none_or(|after| after < offset) && offset < self.until
    }
}

/// Where an event stands in its source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    /// About where it ends.
    pub(crate) end: u64,
    pub(crate) prev: Option<u64>,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Store,
    Drop,
}

/// The numbers of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Source {
    /// The offset of the last event, and where it ended. `None` before the first event.
    pub(crate) high_water: Option<u64>,
    pub(crate) end: u64,
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    /// Events that came late, into a gap.
    pub(crate) healed: u64,
    /// Events behind the first one that did not name the event before them: whether something is
    /// missing there cannot be known.
    pub(crate) unchained: u64,
    /// In order of offsets, not touching each other.
    pub(crate) gaps: Vec<Gap>,
    /// How many gaps were merged into a neighbour. An event that comes late into a merged gap is
    /// stored even if the table has it.
    pub(crate) gaps_merged: u64,
    pub(crate) newest_event_us: Option<i64>,
    /// The newest day under which one of its rows was stored. Ledgers of the first versions have none.
    pub(crate) newest_day: Option<i32>,
    pub(crate) first_seen_us: i64,
    pub(crate) last_seen_us: i64,
    /// For how long the ledger had been in use when it was seen last.
    pub(crate) seen_at_use_us: i64,
    pub(crate) host: String,
    pub(crate) agent: String,
    /// The path of a file, or the type of another input.
    pub(crate) path: String,
}

impl Source {
    /// Whether nothing is missing up to the last event, as far as can be known.
    pub(crate) fn is_complete(&self) -> bool {
        self.gaps.is_empty() && self.unchained == 0
    }

    /// Counts the event and judges it.
    pub(crate) fn observe(&mut self, place: Place) -> Verdict {
        // An event cannot follow one behind it; such a `prev` says nothing.
        let place = Place { prev: place.prev.filter(|prev| *prev < place.offset), ..place };
        self.received += 1;
        if self.high_water.is_none_or(|high_water| place.offset > high_water) {
            self.advance(place);
            return Verdict::Store;
        }
        if let Some(at) = self.gaps.iter().position(|gap| gap.contains(place.offset)) {
            self.heal(at, place);
            return Verdict::Store;
        }
        self.duplicates += 1;
        Verdict::Drop
    }

    fn advance(&mut self, place: Place) {
        match (self.high_water, place.prev) {
            (Some(_), None) => self.unchained += 1,
            (seen, Some(prev)) if seen.is_none_or(|seen| prev > seen) => {
                let from = if seen.is_some() { self.end.min(prev) } else { 0 };
                let gap = Gap { after: seen, from, until: place.offset, last: prev };
                self.gaps.push(gap);
                self.bound_gaps();
            }
            _ => {}
        }
        self.high_water = Some(place.offset);
        self.end = place.end;
    }

    /// Replaces a gap by what is missing before and behind the event that came late.
    fn heal(&mut self, at: usize, place: Place) {
        self.healed += 1;
        let gap = self.gaps[at];
        let before = match (place.prev, gap.after) {
            (Some(prev), after) if after.is_none_or(|after| prev > after) => Some(prev),
            // The event does not say what came before it; until it is known, all of it is missing.
            (None, Some(after)) if after.saturating_add(1) < place.offset => Some(place.offset - 1),
            _ => None,
        }
        .map(|last| Gap { from: gap.from.min(last), until: place.offset, last, ..gap });
        let behind = (place.offset < gap.last).then(|| Gap {
            after: Some(place.offset),
            from: place.end.min(gap.last),
            ..gap
        });
        self.gaps.splice(at..=at, before.into_iter().chain(behind));
        self.bound_gaps();
    }

    fn bound_gaps(&mut self) {
        while self.gaps.len() > GAPS_MAX {
            let distance = |at: &usize| self.gaps[at + 1].from.saturating_sub(self.gaps[*at].until);
            let Some(at) = (0..self.gaps.len() - 1).min_by_key(distance) else { return };
            let behind = self.gaps.remove(at + 1);
            self.gaps[at] = Gap { until: behind.until, last: behind.last, ..self.gaps[at] };
            self.gaps_merged += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Each event is (offset, prev); events are 9 bytes and a line end.
    fn run(events: &[(u64, Option<u64>)]) -> (Source, String) {
        let mut source = Source::default();
        let verdicts = events
            .iter()
            .map(|(offset, prev)| {
                match source.observe(Place { offset: *offset, end: offset + 10, prev: *prev }) {
                    Verdict::Store => 's',
                    Verdict::Drop => 'd',
                }
            })
            .collect();
        (source, verdicts)
    }

    fn gap(after: Option<u64>, from: u64, until: u64, last: u64) -> Gap {
        Gap { after, from, until, last }
    }

    #[test]
    fn repeats_are_dropped_holes_are_named_and_late_events_heal_them() {
        let (n, s) = (None, Some::<u64>);
        let rows: &[(&str, &[(u64, Option<u64>)], &str, &[Gap])] = &[
            ("in order", &[(0, n), (10, s(0)), (20, s(10))], "sss", &[]),
            (
                "a repeat of all",
                &[(0, n), (10, s(0)), (0, n), (10, s(0)), (20, s(10))],
                "ssdds",
                &[],
            ),
            ("one missing", &[(0, n), (20, s(10))], "ss", &[gap(s(0), 10, 20, 10)]),
            ("two missing", &[(0, n), (30, s(20))], "ss", &[gap(s(0), 10, 30, 20)]),
            ("first with a past", &[(50, s(40)), (60, s(50))], "ss", &[gap(n, 0, 50, 40)]),
            ("healed whole", &[(0, n), (20, s(10)), (10, s(0))], "sss", &[]),
            ("healed, then repeated", &[(0, n), (20, s(10)), (10, s(0)), (10, s(0))], "sssd", &[]),
            (
                "healed in the middle",
                &[(0, n), (40, s(30)), (20, s(10))],
                "sss",
                &[gap(s(0), 10, 20, 10), gap(s(20), 30, 40, 30)],
            ),
            (
                "healed from the left",
                &[(0, n), (40, s(30)), (10, s(0))],
                "sss",
                &[gap(s(10), 20, 40, 30)],
            ),
            (
                "healed from the right",
                &[(0, n), (40, s(30)), (30, s(20))],
                "sss",
                &[gap(s(0), 10, 30, 20)],
            ),
            ("the past is replayed", &[(20, s(10)), (0, n), (10, s(0))], "sss", &[]),
            (
                "no chain into a gap",
                &[(0, n), (40, s(30)), (30, n)],
                "sss",
                &[gap(s(0), 10, 30, 29)],
            ),
            (
                "no chain right behind",
                &[(0, n), (40, s(30)), (1, n)],
                "sss",
                &[gap(s(1), 11, 40, 30)],
            ),
            ("no chain", &[(0, n), (10, n)], "ss", &[]),
            ("a chain into the past", &[(0, n), (10, s(0)), (20, s(5))], "sss", &[]),
            ("a chain into the future", &[(0, n), (10, s(99))], "ss", &[]),
        ];
        for (name, events, verdicts, gaps) in rows {
            let (source, given) = run(events);
            assert_eq!(given, *verdicts, "{name}");
            assert_eq!(source.gaps, *gaps, "{name}");
            let stored = given.chars().filter(|verdict| *verdict == 's').count() as u64;
            assert_eq!(source.received - source.duplicates, stored, "{name}");
        }
        assert_eq!(run(&[(0, None), (10, None)]).0.unchained, 1);
        assert_eq!(run(&[(0, None), (20, Some(10)), (10, Some(0))]).0.healed, 1);
    }

    #[test]
    fn whatever_is_lost_and_repeated_every_event_is_stored_once_and_every_missing_one_is_in_a_gap()
    {
        let mut random = 42u64;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        for _ in 0..2000 {
            let events: Vec<u64> = (0..30).map(|n| n * 10).collect();
            let mut source = Source::default();
            let mut stored = BTreeSet::new();
            // Several runs of the agent, each from an earlier event on, each losing some on the way.
            for _ in 0..4 {
                let start = next(30) as usize;
                for (at, offset) in events.iter().enumerate().skip(start) {
                    if next(4) == 0 {
                        continue;
                    }
                    let prev = at.checked_sub(1).map(|before| events[before]);
                    let place = Place { offset: *offset, end: offset + 10, prev };
                    let verdict = source.observe(place);
                    assert_eq!(verdict == Verdict::Store, stored.insert(*offset), "{source:?}");
                }
            }
            let missing =
                |offset: &&u64| Some(**offset) <= source.high_water && !stored.contains(*offset);
            for offset in events.iter().filter(missing) {
                let naming = source.gaps.iter().filter(|gap| gap.contains(*offset)).count();
                assert_eq!(naming, 1, "{offset} {source:?}");
            }
            for offset in &stored {
                assert!(
                    !source.gaps.iter().any(|gap| gap.contains(*offset)),
                    "{offset} {source:?}"
                );
            }
            assert_eq!(source.received - source.duplicates, stored.len() as u64);
        }
    }

    #[test]
    fn a_thousand_gaps_are_the_most_and_the_nearest_are_merged() {
        let mut source = Source::default();
        let mut offset = 0;
        source.observe(Place { offset, end: 10, prev: None });
        for n in 0..=GAPS_MAX as u64 {
            let wide = if n == 500 { 10 } else { 1000 };
            let prev = offset + wide;
            offset = prev + 10;
            source.observe(Place { offset, end: offset + 10, prev: Some(prev) });
        }
        assert_eq!(source.gaps.len(), GAPS_MAX);
        assert_eq!(source.gaps_merged, 1);
        assert!(source.gaps.windows(2).all(|pair| pair[0].until <= pair[1].from));
    }
}
