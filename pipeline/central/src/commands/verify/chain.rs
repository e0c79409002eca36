//! The chains of events, put together from events in any order: what is altered, missing, there twice
//! or put in.
//!
//! Each event names the one before it, so what has been seen of a source is a number of stretches that
//! have no hole; a new event makes one longer, joins two, or begins one. Memory is by stretch, not by
//! event.

use logweir_record::{SealKey, SealedLine, SourceId};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

/// Findings that are kept whole; more are only counted.
const FINDINGS_MAX: usize = 10_000;

/// An event as it was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'e> {
    pub(super) source: SourceId,
    pub(super) agent: &'e str,
    pub(super) host: &'e str,
    pub(super) path: &'e str,
    pub(super) offset: u64,
    pub(super) prev: Option<u64>,
    pub(super) line: SealedLine<'e>,
    /// Empty if it has none.
    pub(super) seal: &'e str,
    pub(super) arrival: Arrival,
}

/// When and where an event came: in its partition events come in their order, and in others at about
/// the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival {
    pub(super) time_us: i64,
    pub(super) position: i64,
    pub(super) partition: i64,
}

/// What is wrong at a place, in the order of how bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrong {
    /// The seal does not fit: the line, its place or its link is not what the agent sent.
    Altered,
    /// No seal, behind an event of the same source, or agent, that has one.
    Unsealed,
    /// A row without a source or an offset, which the ingest writes none of.
    PutIn,
    /// An event of another agent than one before it of the same source, which is one agent's.
    OtherAgent,
    /// A head that is signed by none of the keys that are trusted.
    Forged,
    /// Everything behind this offset up to and with the event at `.0`.
    Missing(u64),
    Repeated,
    /// In the topic behind an event that comes later in its source.
    Reordered,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) host: String,
    pub(super) path: String,
    /// As it stands there: what was put in may have anything.
    pub(super) source: String,
    pub(super) offset: Option<u64>,
    pub(super) wrong: Wrong,
}

/// The keys of the agents.
#[derive(Debug)]
pub(super) enum Keys {
    /// Seals are not looked at.
    None,
    One(SealKey),
    /// Each agent's is made from the master's.
    Master(SealKey, HashMap<String, SealKey>),
}

impl Keys {
    fn of(&mut self, agent: &str) -> Option<&SealKey> {
        match self {
            Self::None => None,
            Self::One(key) => Some(key),
            Self::Master(master, known) => {
                if !known.contains_key(agent) {
                    known.insert(agent.to_owned(), master.of_agent(agent));
                }
                known.get(agent)
            }
        }
    }
}

/// Whether events come in the order in which they were sent, and may come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Table,
    Topic,
}

/// All sources.
#[derive(Debug)]
pub(super) struct Chains {
    pub(super) keys: Keys,
    place: Place,
    /// Partitions may be so far apart in what has come of them.
    apart_us: i64,
    sources: BTreeMap<SourceId, Source>,
    /// By agent.
    seals: HashMap<String, Seals>,
    findings: Vec<Finding>,
    /// Sources that heads or the ledger tell of and of which nothing is there, as retention leaves them.
    pub(super) gone: BTreeMap<SourceId, Gone>,
    pub(super) findings_not_kept: u64,
    pub(super) events: u64,
    pub(super) sealed: u64,
}

#[derive(Debug, Default)]
struct Source {
    host: String,
    path: String,
    agent: String,
    /// The first event that is another agent's.
    of_other_agent: Option<u64>,
    /// By their first offset.
    stretches: BTreeMap<u64, Stretch>,
    first_sealed: Option<u64>,
    /// Events without a seal: how many, the last, and when one came last.
    unsealed: u64,
    last_unsealed: u64,
    unsealed_came: Option<Arrival>,
    /// Up to where the events are known to go, from elsewhere.
    expected: Option<u64>,
}

/// When the first events of an agent with a seal came, by partition.
#[derive(Debug, Default)]
struct Seals(HashMap<i64, Arrival>);

impl Seals {
    fn take(&mut self, arrival: Arrival) {
        let first = self.0.entry(arrival.partition).or_insert(arrival);
        *first = (*first).min(arrival);
    }

    /// Whether the agent had begun to seal when this came.
    fn precede(&self, came: Arrival, apart_us: i64) -> bool {
        self.0.values().any(|first| match first.partition == came.partition {
            true => *first < came,
            false => first.time_us.saturating_add(apart_us) < came.time_us,
        })
    }
}

/// Events without a hole between them.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// The event in front of the first; `None` if it names none.
    prev: Option<u64>,
    last: u64,
}

/// What is known of the beginning of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) host: String,
    pub(super) path: String,
    pub(super) first: u64,
    pub(super) prev: u64,
}

/// A source of which nothing is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) host: String,
    pub(super) last: u64,
}

impl Chains {
    pub(super) fn new(keys: Keys, place: Place, apart: Duration) -> Self {
        Self {
            keys,
            place,
            apart_us: i64::try_from(apart.as_micros()).unwrap_or(i64::MAX),
            sources: BTreeMap::new(),
            seals: HashMap::new(),
            findings: Vec::new(),
            gone: BTreeMap::new(),
            findings_not_kept: 0,
            events: 0,
            sealed: 0,
        }
    }

    pub(super) fn take(&mut self, found: &Found<'_>) {
        self.events += 1;
        let key = self.keys.of(found.agent);
        let source = self.sources.entry(found.source).or_default();
        if source.path.is_empty() {
            (source.host, source.path) = (found.host.to_owned(), found.path.to_owned());
            source.agent = found.agent.to_owned();
        }
        if source.agent != found.agent {
            let first = source.of_other_agent.get_or_insert(found.offset);
            *first = (*first).min(found.offset);
        }
        let mut wrong = None;
        if found.seal.is_empty() {
            source.unsealed += 1;
            source.last_unsealed = source.last_unsealed.max(found.offset);
            source.unsealed_came = source.unsealed_came.max(Some(found.arrival));
        } else {
            self.sealed += 1;
            let seal = key.map(|key| key.seal(&found.source, found.offset, found.prev, found.line));
            if seal.is_some_and(|seal| seal.to_string() != found.seal) {
                wrong = Some(Wrong::Altered);
            }
            let first = source.first_sealed.get_or_insert(found.offset);
            *first = (*first).min(found.offset);
            if !self.seals.contains_key(found.agent) {
                self.seals.insert(found.agent.to_owned(), Seals::default());
            }
            if let Some(seals) = self.seals.get_mut(found.agent) {
                seals.take(found.arrival);
            }
        }
        let joined = source.join(found.offset, found.prev);
        wrong = wrong.or(match (joined, self.place) {
            (Joined::Repeated, Place::Table) => Some(Wrong::Repeated),
            (Joined::Early, Place::Topic) => Some(Wrong::Reordered),
            _ => None,
        });
        if let Some(wrong) = wrong {
            self.blame(found, wrong);
        }
    }

    /// That something is wrong with an event.
    pub(super) fn blame(&mut self, found: &Found<'_>, wrong: Wrong) {
        let (host, path) = (found.host.to_owned(), found.path.to_owned());
        let (source, offset) = (found.source.to_string(), Some(found.offset));
        self.find(Finding { host, path, source, offset, wrong });
    }

    pub(super) fn find(&mut self, finding: Finding) {
        match self.findings.len() < FINDINGS_MAX {
            true => self.findings.push(finding),
            false => self.findings_not_kept += 1,
        }
    }

    /// That the events of `source` go on to `last`, as the ledger says. If none is there at all,
    /// retention may have taken them, if they are so `old`.
    pub(super) fn expect(
        &mut self,
        source: SourceId,
        host: &str,
        path: &str,
        last: u64,
        old: bool,
    ) {
        if old && !self.sources.contains_key(&source) {
            return self.miss(source, host, last);
        }
        let known = self.sources.entry(source).or_default();
        if known.path.is_empty() {
            (known.host, known.path) = (host.to_owned(), path.to_owned());
        }
        known.expected = known.expected.max(Some(last));
    }

    /// That an agent has signed that the events of `source` go on to `last`. If none is there at all,
    /// retention may have taken them.
    pub(super) fn expect_signed(&mut self, source: SourceId, host: &str, last: u64) {
        match self.sources.get_mut(&source) {
            Some(known) => known.expected = known.expected.max(Some(last)),
            None => self.miss(source, host, last),
        }
    }

    fn miss(&mut self, source: SourceId, host: &str, last: u64) {
        let gone = self.gone.entry(source);
        let gone = gone.or_insert_with(|| Gone { host: host.to_owned(), last });
        gone.last = gone.last.max(last);
    }

    /// Everything that is wrong, by host, path and offset.
    pub(super) fn findings(&mut self) -> Vec<Finding> {
        let mut more = Vec::new();
        for (id, source) in &self.sources {
            let finding = |offset, wrong| {
                let (host, path) = (source.host.clone(), source.path.clone());
                Finding { host, path, source: id.to_string(), offset: Some(offset), wrong }
            };
            let behind_own = source.first_sealed.is_some_and(|first| source.last_unsealed > first);
            let seals = self.seals.get(&source.agent).zip(source.unsealed_came);
            let behind_agents =
                seals.is_some_and(|(seals, came)| seals.precede(came, self.apart_us));
            if behind_own || behind_agents {
                more.push(finding(source.last_unsealed, Wrong::Unsealed));
            }
            if let Some(offset) = source.of_other_agent {
                more.push(finding(offset, Wrong::OtherAgent));
            }
            let mut end: Option<u64> = None;
            for stretch in source.stretches.values() {
                if let (Some(end), Some(prev)) = (end, stretch.prev)
                    && prev > end
                {
                    more.push(finding(end, Wrong::Missing(prev)));
                }
                end = Some(stretch.last);
            }
            if let Some(expected) = source.expected
                && end.is_none_or(|end| end < expected)
            {
                more.push(finding(end.unwrap_or(0), Wrong::Missing(expected)));
            }
        }
        more.into_iter().for_each(|finding| self.find(finding));
        self.findings.sort_by(|a, b| {
            (&a.host, &a.path, &a.source, a.offset, a.wrong)
                .cmp(&(&b.host, &b.path, &b.source, b.offset, b.wrong))
        });
        std::mem::take(&mut self.findings)
    }

    /// Sources whose first event names one before it, which is not there: removed, or forgotten by
    /// retention.
    pub(super) fn beginnings(&self) -> Vec<Beginning> {
        let cut = |source: &Source| {
            let (first, stretch) = source.stretches.first_key_value()?;
            let (host, path) = (source.host.clone(), source.path.clone());
            Some(Beginning { host, path, first: *first, prev: stretch.prev? })
        };
        self.sources.values().filter_map(cut).collect()
    }

    pub(super) fn sources(&self) -> usize {
        self.sources.len()
    }

    /// Events without a seal.
    pub(super) fn unsealed(&self) -> u64 {
        self.sources.values().map(|source| source.unsealed).sum()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joined {
    /// Behind everything that was seen.
    Last,
    /// In front of something that was seen.
    Early,
    Repeated,
}

impl Source {
    fn join(&mut self, offset: u64, prev: Option<u64>) -> Joined {
        let before = self.stretches.range_mut(..=offset).next_back();
        let mut first = offset;
        match before {
            Some((_, stretch)) if stretch.last >= offset => return Joined::Repeated,
            Some((begin, stretch)) if prev.is_some_and(|prev| prev <= stretch.last) => {
                (first, stretch.last) = (*begin, offset);
            }
            _ => {
                self.stretches.insert(offset, Stretch { prev, last: offset });
            }
        }
        let Some((&behind, &next)) = self.stretches.range((Excluded(offset), Unbounded)).next()
        else {
            return Joined::Last;
        };
        if next.prev.is_some_and(|prev| prev <= offset) {
            self.stretches.remove(&behind);
            if let Some(stretch) = self.stretches.get_mut(&first) {
                stretch.last = next.last;
            }
        }
        Joined::Early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SealKey {
        "7".repeat(64).parse().unwrap()
    }

    fn source() -> SourceId {
        SourceId::derive(&[b"s"])
    }

    const APART: Duration = Duration::from_secs(600);

    /// Events at 0, 10, 20… as they were sent, changed by `change`, put in that order.
    fn verified(place: Place, order: &[u64], change: impl Fn(&mut Found<'_>)) -> Vec<(u64, Wrong)> {
        let mut chains = Chains::new(Keys::One(key()), place, APART);
        for number in order {
            let (offset, prev) = (number * 10, number.checked_sub(1).map(|prev| prev * 10));
            let line = SealedLine { original: "line", base64: "" };
            let seal = key().seal(&source(), offset, prev, line).to_string();
            let (agent, host, path) = ("a", "h", "/p");
            let (source, arrival) = (source(), Arrival::default());
            let mut found =
                Found { source, agent, host, path, offset, prev, line, seal: &seal, arrival };
            change(&mut found);
            chains.take(&found);
        }
        let findings = chains.findings().into_iter();
        findings.filter_map(|finding| Some((finding.offset?, finding.wrong))).collect()
    }

    #[test]
    fn what_is_whole_has_no_finding_in_any_order() {
        for order in [&[0, 1, 2, 3, 4][..], &[4, 3, 2, 1, 0], &[2, 0, 4, 1, 3], &[7, 8, 9]] {
            assert_eq!(verified(Place::Table, order, |_| {}), [], "{order:?}");
        }
    }

    #[test]
    fn the_last_offset_that_there_is_has_none_behind_it() {
        let mut source = Source::default();
        assert_eq!(source.join(u64::MAX, Some(3)), Joined::Last);
        assert_eq!(source.join(3, None), Joined::Early);
        assert_eq!(source.stretches.len(), 1);
    }

    #[test]
    fn what_was_changed_is_named_with_its_place() {
        use Wrong::{Altered, Missing, OtherAgent, Reordered, Repeated, Unsealed};
        let whole = |_: &mut Found<'_>| {};
        assert_eq!(verified(Place::Table, &[0, 1, 4, 5], whole), [(10, Missing(30))]);
        assert_eq!(verified(Place::Table, &[0, 1, 1, 2], whole), [(10, Repeated)]);
        assert_eq!(verified(Place::Topic, &[0, 1, 0, 1, 2], whole), []);
        assert_eq!(verified(Place::Topic, &[0, 2, 1, 3], whole), [(10, Reordered)]);
        let line = |found: &mut Found<'_>| {
            if found.offset == 20 {
                found.line.original = "lime";
            }
        };
        assert_eq!(verified(Place::Table, &[0, 1, 2, 3], line), [(20, Altered)]);
        // Whoever removes an event and mends the link has no key for the seal.
        let mended = |found: &mut Found<'_>| {
            if found.offset == 20 {
                found.prev = Some(0);
            }
        };
        assert_eq!(verified(Place::Table, &[0, 2, 3], mended), [(20, Altered)]);
        // What has another agent's id is sealed with the key of that agent, which is on its host.
        let claimed = |found: &mut Found<'_>| {
            if found.offset > 10 {
                found.agent = "b";
            }
        };
        assert_eq!(verified(Place::Table, &[0, 2, 1, 3], claimed), [(20, OtherAgent)]);
        let stripped = |found: &mut Found<'_>| {
            if found.offset == 20 {
                found.seal = "";
            }
        };
        assert_eq!(verified(Place::Table, &[0, 1, 2, 3], stripped), [(20, Unsealed)]);
    }

    #[test]
    fn what_comes_without_a_seal_once_its_agent_seals_is_a_finding() {
        let at = |minutes: i64, partition, position| Arrival {
            time_us: minutes * 60_000_000,
            position,
            partition,
        };
        // What is sealed came at minute 60 as the 100th of partition 1.
        for (agent, arrival, expected) in [
            ("a", at(60, 1, 101), true),
            ("a", at(60, 1, 99), false),
            ("a", at(20, 1, 500), false),
            ("a", at(65, 2, 1), false),
            ("a", at(71, 2, 1), true),
            ("a", at(59, 2, 1), false),
            ("b", at(99, 1, 500), false),
        ] {
            for sealed_first in [true, false] {
                let mut chains = Chains::new(Keys::One(key()), Place::Table, APART);
                let (host, path, offset, prev) = ("h", "/p", 0, None);
                let line = SealedLine::default();
                let seal = key().seal(&source(), 0, None, line).to_string();
                let (source, other) = (source(), SourceId::derive(&[b"other"]));
                let sealed = Found {
                    source,
                    agent: "a",
                    host,
                    path,
                    offset,
                    prev,
                    line,
                    seal: &seal,
                    arrival: at(60, 1, 100),
                };
                let unsealed = Found { source: other, agent, seal: "", arrival, ..sealed };
                let order = if sealed_first { [sealed, unsealed] } else { [unsealed, sealed] };
                order.iter().for_each(|found| chains.take(found));
                let findings = chains.findings().into_iter();
                let wrong: Vec<_> =
                    findings.map(|finding| (finding.source, finding.wrong)).collect();
                let finding = expected.then_some((other.to_string(), Wrong::Unsealed));
                assert_eq!(wrong, Vec::from_iter(finding), "{agent} {arrival:?}");
            }
        }
    }

    #[test]
    fn an_end_that_is_known_from_elsewhere_is_missed_and_a_beginning_is_told() {
        let mut chains = Chains::new(Keys::Master(key(), HashMap::new()), Place::Table, APART);
        let (offset, prev) = (20, Some(10));
        let line = SealedLine::default();
        let seal = key().of_agent("a").seal(&source(), offset, prev, line).to_string();
        let (source, agent, host, path) = (source(), "a", "h", "/p");
        let arrival = Arrival::default();
        chains.take(&Found { source, agent, host, path, offset, prev, line, seal: &seal, arrival });
        chains.expect(source, "h", "/p", 20, true);
        assert_eq!(chains.findings(), []);
        chains.expect(source, "h", "/p", 40, true);
        assert_eq!(chains.findings()[0].wrong, Wrong::Missing(40));
        chains.expect_signed(source, "h", 60);
        assert_eq!(chains.findings()[0].wrong, Wrong::Missing(60));
        let other = SourceId::derive(&[b"other"]);
        chains.expect_signed(other, "h", 5);
        chains.expect(other, "h", "/p", 7, true);
        assert_eq!(chains.findings().len(), 1);
        assert_eq!(chains.gone, [(other, Gone { host: "h".into(), last: 7 })].into());
        let removed = SourceId::derive(&[b"removed"]);
        chains.expect(removed, "h", "/p", 7, false);
        assert_eq!(chains.findings().len(), 2, "too young for retention");
        let beginning = Beginning { host: "h".into(), path: "/p".into(), first: 20, prev: 10 };
        assert_eq!(chains.beginnings(), [beginning]);
    }
}
