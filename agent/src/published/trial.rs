//! Do the rules in use do harm? What the sources and the rules counted before a change, against what they
//! have counted since.
//!
//! The bounds are wide: going back is for what is plainly wrong, and a log that says something new is not
//! the fault of the rules.

use crate::accounting::{Counts, Snapshot, SourceSnapshot};
use std::collections::HashMap;

/// Fewer events say nothing.
const EVENTS_MIN: u64 = 50;
/// So much more of a source's events without a rule is trouble: a quarter of them.
const UNPARSED_MORE_MAX: f64 = 0.25;
/// Fewer trials of patterns say nothing of their cost.
const TRIED_MIN: u64 = 1000;
/// So much more of the trials over their budget is trouble.
const OVER_BUDGET_MORE_MAX: f64 = 0.05;

/// The counters of a moment.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// By source id.
    sources: HashMap<String, Parsed>,
    /// The share of patterns' trials that were over their budget, until then.
    over_budget: f64,
    failures: u64,
}

/// Events with a rule, and without.
#[derive(Debug, Clone, Copy, Default)]
struct Parsed {
    parsed: u64,
    unparsed: u64,
}

impl Parsed {
    fn total(self) -> u64 {
        self.parsed + self.unparsed
    }

    fn unparsed_share(self) -> f64 {
        self.unparsed as f64 / self.total().max(1) as f64
    }

    fn of(counts: &Counts) -> Self {
        Self { parsed: counts.parsed, unparsed: counts.unparsed }
    }

    fn add(&mut self, more: Self) {
        self.parsed += more.parsed;
        self.unparsed += more.unparsed;
    }

    fn since(self, before: Self) -> Self {
        Self {
            parsed: self.parsed.saturating_sub(before.parsed),
            unparsed: self.unparsed.saturating_sub(before.unparsed),
        }
    }
}

impl Before {
    /// `failures` are those of the engine, see [`crate::parsing::Rules::failures`].
    pub(super) fn of(snapshot: &Snapshot, failures: u64) -> Self {
        let of = |source: &SourceSnapshot| (source.id.clone(), Parsed::of(&source.counts));
        Self {
            sources: snapshot.sources.iter().map(of).collect(),
            over_budget: over_budget(snapshot).0,
            failures,
        }
    }

    /// What has become worse since, if it is plain.
    pub(super) fn trouble(&self, now: &Snapshot, failures: u64) -> Option<String> {
        if failures > self.failures {
            return Some(format!("the engine failed on {} lines", failures - self.failures));
        }
        // A source that was not there before says nothing about the rules.
        let (mut all, mut all_since) = (Parsed::default(), Parsed::default());
        for source in &now.sources {
            let Some(before) = self.sources.get(&source.id) else { continue };
            let since = Parsed::of(&source.counts).since(*before);
            if let Some(trouble) = worse(&source.name, *before, since) {
                return Some(trouble);
            }
            all.add(*before);
            all_since.add(since);
        }
        worse("all sources", all, all_since).or_else(|| {
            let (share, tried) = over_budget(now);
            let worse = tried >= TRIED_MIN && share > self.over_budget + OVER_BUDGET_MORE_MAX;
            worse.then(|| {
                format!(
                    "{:.0} % of {tried} trials of patterns were over their budget, and {:.0} % were \
                     before",
                    share * 100.0,
                    self.over_budget * 100.0
                )
            })
        })
    }
}

/// Whether plainly more of what came since has no rule, in words.
fn worse(name: &str, before: Parsed, since: Parsed) -> Option<String> {
    let enough = before.total() >= EVENTS_MIN && since.total() >= EVENTS_MIN;
    let (was, is) = (before.unparsed_share(), since.unparsed_share());
    (enough && is > was + UNPARSED_MORE_MAX).then(|| {
        format!(
            "of {name} {:.0} % of {} events match no rule, and {:.0} % did before",
            is * 100.0,
            since.total(),
            was * 100.0
        )
    })
}

/// The share of trials over budget since the rules are in use, and how many trials there were.
fn over_budget(snapshot: &Snapshot) -> (f64, u64) {
    let tried: u64 = snapshot.rules.iter().map(|rule| rule.tried).sum();
    let over: u64 = snapshot.rules.iter().map(|rule| rule.over_budget).sum();
    (over as f64 / tried.max(1) as f64, tried)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::RuleSnapshot;

    fn snapshot(sources: &[(&str, u64, u64)], rule: (u64, u64)) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, parsed, unparsed) in sources {
            let counts = Counts { parsed: *parsed, unparsed: *unparsed, ..Counts::default() };
            snapshot.counts.add(&counts);
            snapshot.sources.push(SourceSnapshot {
                id: (*name).into(),
                configured: "file".into(),
                kind: "file",
                name: (*name).into(),
                read_offset: 0,
                acked_offset: 0,
                end_offset: 0,
                counts,
                spool: None,
            });
        }
        let (tried, over_budget) = rule;
        snapshot.rules.push(RuleSnapshot { id: "a".into(), tried, matched: 0, over_budget });
        snapshot
    }

    #[test]
    fn trouble_is_what_became_plainly_worse_and_nothing_else() {
        let before = Before::of(&snapshot(&[("a", 1000, 0), ("b", 100, 300)], (9999, 9)), 3);
        let trouble = |sources: &[(&str, u64, u64)], rule, failures| {
            before.trouble(&snapshot(sources, rule), failures)
        };
        let same = [("a", 2000, 100), ("b", 100, 600)];
        assert_eq!(trouble(&same, (9999, 9), 3), None);
        assert_eq!(trouble(&[("a", 1000, 49)], (0, 0), 3), None, "too few events");
        assert_eq!(trouble(&[("new", 0, 900)], (999, 999), 3), None, "nothing was before");
        let found = trouble(&[("a", 1010, 40), ("b", 100, 300)], (0, 0), 3).unwrap();
        assert_eq!(found, "of a 80 % of 50 events match no rule, and 0 % did before");
        assert!(trouble(&same, (2000, 200), 3).unwrap().contains("10 % of 2000 trials"));
        assert!(trouble(&same, (0, 0), 4).unwrap().contains("failed on 1 lines"));
        // Where no source alone has enough events, all of them together may.
        let before = Before::of(&snapshot(&[("a", 40, 0), ("b", 40, 0)], (0, 0)), 0);
        let now = snapshot(&[("a", 40, 40), ("b", 50, 20)], (0, 0));
        assert!(before.trouble(&now, 0).unwrap().starts_with("of all sources 86 % of 70 "));
    }
}
