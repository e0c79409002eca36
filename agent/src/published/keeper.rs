//! What becomes of a set that is offered, step by step, each on disk before the next.
//!
//! A set is on trial from the moment that anything of it is compiled: if the agent dies twice before the
//! trial is over, the set is to blame, and the next start goes back to the last good one.

use super::store::{Refused, State, Store, Trial};
use super::trial::Before;
use super::{PublishedSnapshot, RefusedSnapshot};
use crate::accounting::Snapshot;
use crate::config::{PublishedConfig, RulesConfig};
use crate::parsing::Rules;
use logweir_document::{Diagnostic, render_all};
use logweir_parsers::{RuleSet, samples};
use logweir_signed::{PublishedRules, takes_part};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The agent may be killed once for another reason.
const DEATHS_MAX: u32 = 2;
/// Between two looks at a set on trial.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// A reason is kept and reported; of many faults the first ones are enough.
const REASON_BYTES_MAX: usize = 1000;

/// The state machine of published rules.
#[derive(Debug)]
pub(super) struct Keeper {
    config: PublishedConfig,
    host_id: String,
    rules: Rules,
    rules_from: RulesConfig,
    store: Store,
    state: State,
    /// The set in use.
    hash: String,
    watched: Option<Watched>,
    not_for_this_host: Option<u64>,
    /// The version of which this run has decided what becomes of it.
    settled: Option<u64>,
    /// The last one, signed or not.
    refused: Option<RefusedSnapshot>,
    refusals: u64,
    returns: u64,
}

/// A set in use that is on trial.
#[derive(Debug)]
struct Watched {
    before: Before,
    since: Instant,
    looked: Instant,
}

impl Keeper {
    /// Puts into use what an earlier run has left.
    pub(super) fn open(
        config: PublishedConfig,
        directory: &Path,
        host_id: &str,
        (rules, rules_from): (Rules, RulesConfig),
    ) -> io::Result<Self> {
        let store = Store::open(directory)?;
        let state = store.load();
        let mut keeper = Self {
            config,
            host_id: host_id.to_owned(),
            rules,
            rules_from,
            store,
            refused: state.refused.as_ref().map(|refused| refused.what.clone()),
            state,
            hash: String::new(),
            watched: None,
            not_for_this_host: None,
            settled: None,
            refusals: 0,
            returns: 0,
        };
        keeper.start();
        keeper.save()?;
        Ok(keeper)
    }

    pub(super) fn group(&self) -> &str {
        &self.config.group
    }

    pub(super) fn snapshot(&self) -> PublishedSnapshot {
        PublishedSnapshot {
            group: self.config.group.clone(),
            version: self.state.present,
            hash: self.hash.clone(),
            on_trial: self.watched.is_some(),
            not_for_this_host: self.not_for_this_host,
            refused: self.refused.clone(),
            refusals: self.refusals,
            returns: self.returns,
            topic_reason: String::new(),
        }
    }

    /// Takes a signed set, or refuses it and leaves everything as it is.
    pub(super) fn offer(&mut self, signed: &[u8], snapshot: &dyn Fn() -> Snapshot) {
        let set = match PublishedRules::decode(signed, Some(&self.config.keys)) {
            Ok(set) => set,
            Err(refusal) => return self.refuse(None, &refusal.to_string()),
        };
        let version = set.header.version;
        if set.header.group != self.config.group {
            let reason = format!("it is signed for the group `{}`", set.header.group);
            return self.refuse(Some(version), &reason);
        }
        if version < self.state.seen {
            let reason = format!("older than version {}, which was published", self.state.seen);
            return self.refuse(Some(version), &reason);
        }
        if version == self.state.seen && self.is_settled(version) {
            return;
        }
        if let Err(error) = self.consider(&set, signed, snapshot) {
            self.refuse(Some(version), &format!("the state directory fails: {error}"));
        }
        self.settled = Some(version);
    }

    /// Looks whether a set on trial does harm, or is over its trial.
    pub(super) fn watch(&mut self, snapshot: &dyn Fn() -> Snapshot) {
        let Some(watched) = &mut self.watched else { return };
        let interval = LOOK_INTERVAL.min(self.config.trial / 10);
        if watched.looked.elapsed() < interval {
            return;
        }
        watched.looked = Instant::now();
        let trouble = watched.before.trouble(&snapshot(), self.rules.failures());
        let over = watched.since.elapsed() >= self.config.trial;
        if let (Some(reason), Some(version)) = (trouble, self.state.present) {
            self.give_up(version, &reason);
        } else if over {
            self.watched = None;
            self.state.good = self.state.present;
            self.state.trial = None;
            tracing::info!(
                version = self.state.present,
                "the published rules have passed their trial"
            );
        } else {
            return;
        }
        self.save_or_tell();
    }

    /// The agent stops in order.
    pub(super) fn stopped(&mut self) {
        if let Some(trial) = &mut self.state.trial {
            trial.running = false;
            self.save_or_tell();
        }
    }

    /// Whether it is decided what becomes of the version that was seen last.
    fn is_settled(&self, version: u64) -> bool {
        let refused = self.state.refused.as_ref();
        self.state.present == Some(version)
            || refused.is_some_and(|it| it.lasting && it.what.version == Some(version))
            || self.settled == Some(version)
    }

    fn consider(
        &mut self,
        set: &PublishedRules,
        signed: &[u8],
        snapshot: &dyn Fn() -> Snapshot,
    ) -> io::Result<()> {
        let header = &set.header;
        let version = header.version;
        self.state.seen = version;
        if !header.withdrawn && !takes_part(&self.host_id, header.percent) {
            self.not_for_this_host = Some(version);
            let percent = header.percent;
            tracing::info!(version, percent, "published rules are not for this host yet");
            return self.save();
        }
        self.not_for_this_host = None;
        if header.withdrawn {
            return self.withdraw(version);
        }
        self.store.put(version, signed)?;
        if set.hash() == self.hash {
            // The same rules under another number: nothing to try.
            let good = self.state.good == self.state.present;
            self.state.present = Some(version);
            self.state.good = if good { Some(version) } else { self.state.good };
            if let Some(trial) = &mut self.state.trial {
                trial.version = version;
            }
            return self.save();
        }
        let deaths = match &self.state.trial {
            Some(trial) if trial.version == version => trial.deaths,
            _ => 0,
        };
        let trial = Some(Trial { version, deaths, running: true });
        let earlier = std::mem::replace(&mut self.state.trial, trial);
        self.save()?;
        let outcome = self.tried(set).and_then(|()| {
            let before = Before::of(&snapshot(), self.rules.failures());
            let beside = |faults: Vec<Diagnostic>| {
                format!("not beside the rules of this host: {}", faults_in_short(&faults))
            };
            self.rules.publish(set.texts(), &self.rules_from).map_err(beside)?;
            Ok(before)
        });
        match outcome {
            Ok(before) => self.in_use(set, before),
            Err(reason) => {
                // Whatever was in use before, on trial or not, still is.
                self.state.trial =
                    earlier.filter(|trial| self.state.present == Some(trial.version));
                self.reject(version, &reason, false);
            }
        }
        self.save()
    }

    /// Compiles the set aside, together with the packs inside the program, and runs every sample.
    fn tried(&self, set: &PublishedRules) -> Result<(), String> {
        let aside = RuleSet::load_between(&[], self.rules_from.shipped, &set.texts());
        // Thrown away afterwards: what the samples have made the rules build stays with them.
        let aside = Arc::new(aside.map_err(|faults| faults_in_short(&faults))?.rules);
        let outcomes = catch_unwind(AssertUnwindSafe(|| samples::run(&aside)))
            .map_err(|_| "the engine failed on a sample".to_owned())?;
        let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.holds()).collect();
        match failed.first() {
            None => Ok(()),
            Some(first) => Err(format!("{} samples do not hold: {first}", failed.len())),
        }
    }

    fn in_use(&mut self, set: &PublishedRules, before: Before) {
        let version = set.header.version;
        self.state.present = Some(version);
        self.hash = set.hash();
        self.refused = None;
        self.state.refused = None;
        self.watch_from(before);
        let (count, hash) = self.rules.describe();
        tracing::info!(version, rules = count, hash, "published rules are in use, on trial");
    }

    fn withdraw(&mut self, version: u64) -> io::Result<()> {
        if let Err(reason) = self.use_version(None) {
            self.reject(version, &reason, false);
            return self.save();
        }
        self.watched = None;
        self.state = State { seen: version, ..State::default() };
        self.refused = None;
        tracing::info!(version, "published rules are withdrawn; the rules of this host are in use");
        self.save()
    }

    /// The first step after a start.
    fn start(&mut self) {
        let present = self.state.present;
        if let Some(trial) = &mut self.state.trial {
            trial.deaths += u32::from(trial.running);
            // What was not in use yet is tried again when the topic offers it.
            trial.running = present == Some(trial.version);
            if trial.deaths >= DEATHS_MAX {
                let (version, deaths) = (trial.version, trial.deaths);
                return self.give_up(version, &format!("the agent died {deaths} times with it"));
            }
        }
        let Some(version) = present else { return };
        if let Err(reason) = self.use_version(Some(version)) {
            self.give_up(version, &reason);
        } else if self.state.trial.as_ref().is_some_and(|trial| trial.version == version) {
            self.watch_from(Before::default());
        }
    }

    /// Never uses `version` again. If it was in use, then the last good set is, if there is one that
    /// loads, else the rules of the host alone.
    fn give_up(&mut self, version: u64, reason: &str) {
        self.watched = None;
        self.state.trial = None;
        let other = |of: Option<u64>| of.filter(|of| *of != version);
        let good = other(self.state.present).or(other(self.state.good));
        self.state.present = match self.use_version(good) {
            Ok(()) => good,
            Err(reason) => {
                tracing::error!(version = good, reason, "the last good published rules are lost");
                // Nothing but the rules that the configuration was loaded with.
                let _ = self.use_version(None);
                None
            }
        };
        self.state.good = self.state.present;
        self.returns += 1;
        self.reject(version, reason, true);
        tracing::warn!(version = self.state.present, "back to the last good published rules");
    }

    /// Puts a kept set into use, verified once more, or none.
    fn use_version(&mut self, version: Option<u64>) -> Result<(), String> {
        let (texts, hash) = match version {
            None => (Vec::new(), String::new()),
            Some(version) => {
                let signed = self.store.get(version).map_err(|error| error.to_string())?;
                let set = PublishedRules::decode(&signed, Some(&self.config.keys))
                    .map_err(|refusal| refusal.to_string())?;
                (set.texts(), set.hash())
            }
        };
        self.rules.restore(texts, &self.rules_from).map_err(|faults| faults_in_short(&faults))?;
        self.hash = hash;
        Ok(())
    }

    fn watch_from(&mut self, before: Before) {
        let now = Instant::now();
        self.watched = Some(Watched { before, since: now, looked: now });
    }

    /// Counts and tells why a set is not used.
    fn refuse(&mut self, version: Option<u64>, reason: &str) {
        let mut reason = reason.lines().map(str::trim).collect::<Vec<_>>().join("; ");
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        reason.truncate(end);
        tracing::error!(version, reason, "published rules are not used");
        self.refusals += 1;
        self.refused = Some(RefusedSnapshot { version, reason });
    }

    /// The same for the newest one, also after a restart; if `lasting`, it is not tried again then.
    fn reject(&mut self, version: u64, reason: &str, lasting: bool) {
        self.refuse(Some(version), reason);
        self.state.refused = self.refused.clone().map(|what| Refused { what, lasting });
    }

    fn save(&self) -> io::Result<()> {
        self.store.save(&self.state)
    }

    fn save_or_tell(&self) {
        if let Err(error) = self.save() {
            tracing::error!(%error, "the state of published rules cannot be written");
        }
    }
}

fn faults_in_short(faults: &[Diagnostic]) -> String {
    let shown: Vec<Diagnostic> = faults.iter().take(3).cloned().collect();
    let text = render_all(&shown, false);
    match faults.len().saturating_sub(shown.len()) {
        0 => text.trim_end().to_owned(),
        more => format!("{}\nand {more} more faults", text.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::{Counts, SourceSnapshot};
    use logweir_signed::{Header, SigningKey};
    use tempfile::TempDir;

    const GOOD: &str = "
pack: shop
applies: {contains: [' ']}
rules:
  - id: shop.paid
    pattern: '^paid (?<labels.cents:int>\\d+)$'
    samples:
      - line: paid 5
        expect: {labels.cents: 5}
";

    struct Host {
        directory: TempDir,
        key: SigningKey,
        rules: Rules,
        trial: Duration,
    }

    impl Host {
        fn new() -> Self {
            let rules = Rules::load(&Self::from()).unwrap().0;
            let directory = tempfile::tempdir().unwrap();
            let key = SigningKey::generate().unwrap();
            Self { directory, key, rules, trial: Duration::from_secs(3600) }
        }

        fn from() -> RulesConfig {
            RulesConfig { directories: Vec::new(), shipped: false }
        }

        /// A start of the agent.
        fn keeper(&self) -> Keeper {
            let config = PublishedConfig {
                keys: self.key.public().unwrap(),
                group: "web".into(),
                trial: self.trial,
            };
            let rules = (self.rules.clone(), Self::from());
            Keeper::open(config, self.directory.path(), "host", rules).unwrap()
        }

        fn set(&self, version: u64, text: &str) -> PublishedRules {
            let header = Header {
                group: "web".into(),
                version,
                percent: 100,
                by: "ann".into(),
                at: String::new(),
                withdrawn: text.is_empty(),
            };
            let file = ("shop.yaml".to_owned(), text.to_owned());
            let files = if text.is_empty() { Vec::new() } else { vec![file] };
            PublishedRules { header, files }
        }

        fn offer(&self, keeper: &mut Keeper, set: &PublishedRules) {
            keeper.offer(&set.encode(&self.key).unwrap(), &Snapshot::default);
        }
    }

    fn refused(keeper: &Keeper) -> String {
        keeper.snapshot().refused.map(|refused| refused.reason).unwrap_or_default()
    }

    #[test]
    fn a_good_set_is_used_and_what_is_wrong_with_another_leaves_it_in_use() {
        let host = Host::new();
        let mut keeper = host.keeper();
        host.offer(&mut keeper, &host.set(5, GOOD));
        let used = keeper.snapshot();
        assert_eq!((used.version, used.on_trial, used.refused), (Some(5), true, None));
        assert_eq!(host.rules.describe().0, 1);

        let mut foreign = host.set(6, GOOD);
        foreign.header.group = "db".into();
        let wrong = [
            (host.set(4, GOOD), "older than version 5"),
            (foreign, "signed for the group `db`"),
            (host.set(6, "pack: shop\nrules: [{id: x}]\n"), "published:6/shop.yaml:2"),
            (
                host.set(7, &GOOD.replace("rules:", "pattern_files: [/etc/passwd]\nrules:")),
                "a published pack names a file",
            ),
            (host.set(8, &GOOD.replace("cents: 5", "cents: 6")), "1 samples do not hold"),
            (host.set(6, GOOD), "older than version 8"),
        ];
        for (number, (set, reason)) in wrong.iter().enumerate() {
            host.offer(&mut keeper, set);
            assert!(refused(&keeper).contains(reason), "{}", refused(&keeper));
            let now = keeper.snapshot();
            assert_eq!((now.version, now.refusals), (Some(5), number as u64 + 1));
        }
        let stranger = SigningKey::generate().unwrap();
        keeper.offer(&host.set(9, GOOD).encode(&stranger).unwrap(), &Snapshot::default);
        assert!(refused(&keeper).contains("signature"), "{}", refused(&keeper));

        // The topic is read anew: what is settled is not tried again.
        host.offer(&mut keeper, &host.set(8, &GOOD.replace("cents: 5", "cents: 6")));
        assert_eq!(keeper.snapshot().refusals, 7);
        // After a start it is, because the program may be another one.
        keeper.stopped();
        let mut keeper = host.keeper();
        assert_eq!((keeper.snapshot().version, keeper.snapshot().on_trial), (Some(5), true));
        host.offer(&mut keeper, &host.set(8, &GOOD.replace("cents: 5", "cents: 6")));
        assert_eq!((keeper.snapshot().version, keeper.snapshot().refusals), (Some(5), 1));
    }

    #[test]
    fn a_set_for_a_share_of_hosts_is_for_the_others_when_the_share_grows() {
        let host = Host::new();
        let mut keeper = host.keeper();
        let mut set = host.set(1, GOOD);
        set.header.percent = 0;
        host.offer(&mut keeper, &set);
        let now = keeper.snapshot();
        assert_eq!((now.version, now.not_for_this_host, now.refusals), (None, Some(1), 0));
        host.offer(&mut keeper, &host.set(2, GOOD));
        let now = keeper.snapshot();
        assert_eq!((now.version, now.not_for_this_host), (Some(2), None));
        // The same rules again: only the number changes, and the trial goes on.
        host.offer(&mut keeper, &host.set(3, GOOD));
        assert_eq!((keeper.snapshot().version, keeper.snapshot().on_trial), (Some(3), true));
        drop(keeper);
        assert_eq!(host.keeper().snapshot().version, Some(3));
    }

    #[test]
    fn a_set_that_the_agent_dies_with_twice_is_given_up_and_stays_so() {
        let host = Host { trial: Duration::ZERO, ..Host::new() };
        let mut keeper = host.keeper();
        host.offer(&mut keeper, &host.set(1, GOOD));
        keeper.watch(&Snapshot::default);
        assert!(!keeper.snapshot().on_trial);
        let host = Host { trial: Duration::from_secs(3600), ..host };
        let mut keeper = host.keeper();
        let bad = host.set(2, &GOOD.replace("paid", "pays"));
        host.offer(&mut keeper, &bad);
        assert_eq!(keeper.snapshot().version, Some(2));
        // Killed once; then stopped in order, which counts for nothing; then killed again.
        drop(keeper);
        let mut keeper = host.keeper();
        assert_eq!((keeper.snapshot().version, keeper.snapshot().on_trial), (Some(2), true));
        keeper.stopped();
        drop(host.keeper());
        let mut keeper = host.keeper();
        assert_eq!(keeper.snapshot().version, Some(1));
        assert!(refused(&keeper).contains("died 2 times"), "{}", refused(&keeper));
        host.offer(&mut keeper, &bad);
        assert_eq!(keeper.snapshot().version, Some(1));
        host.offer(&mut keeper, &host.set(3, &GOOD.replace("paid", "has paid")));
        assert_eq!(keeper.snapshot().version, Some(3));
    }

    #[test]
    fn a_set_that_does_harm_is_given_up_for_the_last_good_one_or_for_none() {
        let host = Host::new();
        let host = Host { trial: Duration::ZERO, ..host };
        let mut keeper = host.keeper();
        let counted = |parsed, unparsed| Snapshot {
            sources: vec![SourceSnapshot {
                id: "a".into(),
                configured: "file".into(),
                kind: "file",
                name: "a.log".into(),
                read_offset: 0,
                acked_offset: 0,
                end_offset: 0,
                counts: Counts { parsed, unparsed, ..Counts::default() },
                spool: None,
            }],
            ..Snapshot::default()
        };
        keeper.offer(&host.set(1, GOOD).encode(&host.key).unwrap(), &|| counted(100, 0));
        keeper.watch(&|| counted(100, 900));
        assert_eq!((keeper.snapshot().version, keeper.snapshot().returns), (None, 1));
        assert_eq!(host.rules.describe().0, 0);
        assert!(refused(&keeper).contains("of a.log 100 % of 900 events"));

        let again = host.set(2, &GOOD.replace("paid", "pays"));
        keeper.offer(&again.encode(&host.key).unwrap(), &|| counted(100, 0));
        keeper.watch(&|| counted(200, 0));
        keeper.offer(&host.set(3, GOOD).encode(&host.key).unwrap(), &|| counted(200, 0));
        keeper.watch(&|| counted(200, 900));
        assert_eq!((keeper.snapshot().version, keeper.snapshot().returns), (Some(2), 2));
        assert_eq!(keeper.snapshot().hash, again.hash());
    }

    #[test]
    fn a_withdrawn_set_is_gone_and_a_key_that_is_trusted_no_more_takes_its_set_along() {
        let host = Host::new();
        let mut keeper = host.keeper();
        host.offer(&mut keeper, &host.set(1, GOOD));
        host.offer(&mut keeper, &host.set(2, ""));
        assert_eq!((keeper.snapshot().version, host.rules.describe().0), (None, 0));
        host.offer(&mut keeper, &host.set(1, GOOD));
        assert!(refused(&keeper).contains("older than version 2"));
        host.offer(&mut keeper, &host.set(3, GOOD));
        keeper.stopped();
        let host = Host { key: SigningKey::generate().unwrap(), ..host };
        let keeper = host.keeper();
        assert_eq!((keeper.snapshot().version, host.rules.describe().0), (None, 0));
        assert!(refused(&keeper).contains("signature"), "{}", refused(&keeper));
    }
}
