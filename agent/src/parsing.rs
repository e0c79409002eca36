//! The door to the rule engine: what the agent knows about a line goes in, members of the event come
//! out. Owns RUL-2 here: whatever the engine does, panic included, the line is in the event. Owns
//! RUL-1: rules are replaced whole or not at all.

use crate::accounting::{DropReason, RuleReason, RuleSnapshot};
use crate::config::{Common, RulesConfig};
use crate::sync::{lock, read, write};
use jiff::Timestamp;
use logweir_document::{Diagnostic, Severity, nearest};
use logweir_parsers::samples;
use logweir_parsers::{Disposition, LineContext, Parser, RuleCounts, RuleSet, Zone};
use logweir_record::{ECS_VERSION, write_member, write_u64};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// One line or message with what is known about it besides its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'l> {
    /// Where it begins in its source.
    pub(crate) offset: u64,
    /// Without its line end, cut at the length limit.
    pub(crate) bytes: &'l [u8],
    /// The full length if it was cut.
    pub(crate) original_bytes: Option<u64>,
    /// The address that it came from.
    pub(crate) sender: Option<&'l [u8]>,
    pub(crate) received_at: Timestamp,
}

/// The rules in use, shared by all workers; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    current: Arc<RwLock<Arc<RuleSet>>>,
    counted: Arc<Mutex<Counted>>,
    /// Why changed rules are not in use.
    refused: Arc<Mutex<Option<String>>>,
    /// Packs that were published to this host, by name and text. Locked while rules are replaced.
    published: Arc<Mutex<Vec<(String, String)>>>,
    /// Lines that the engine failed on.
    failures: Arc<AtomicU64>,
}

/// Runs the samples of the host's own packs, on rules that are thrown away then: what samples make them
/// build would stay with them. Returns the digest of these rules.
fn hold_samples(
    config: &RulesConfig,
    published: &[(String, String)],
) -> Result<String, Vec<Diagnostic>> {
    let aside = RuleSet::load_between(&config.directories, config.shipped, published)?.rules;
    let aside = Arc::new(aside);
    let outcomes =
        catch_unwind(AssertUnwindSafe(|| samples::run_of_host(&aside))).map_err(|_| {
            let fault = Diagnostic::of_file("rules", "the engine failed on a sample");
            vec![
                fault.with_remedy(
                    "`logweir-agent rules test` with the same directory shows on which",
                ),
            ]
        })?;
    let faults: Vec<_> =
        outcomes.iter().filter(|outcome| !outcome.holds()).map(samples::Outcome::fault).collect();
    if faults.is_empty() { Ok(aside.hash().to_owned()) } else { Err(faults) }
}

/// The first fault, in one line, and how many more there are.
fn first_of(faults: &[Diagnostic]) -> String {
    let errors: Vec<_> = faults.iter().filter(|fault| fault.severity == Severity::Error).collect();
    let first = errors.first().map_or_else(String::new, |fault| fault.render(false));
    let first = first.lines().next().unwrap_or_default();
    match errors.len().saturating_sub(1) {
        0 => first.to_owned(),
        more => format!("{first} (and {more} more)"),
    }
}

/// What the workers have counted of each rule, by its number in the rule set that is counted for.
#[derive(Debug, Default)]
struct Counted {
    rules: Option<Arc<RuleSet>>,
    counts: Vec<RuleCounts>,
}

impl Rules {
    /// Loads the packs; returns the warnings about them, too.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn load(config: &RulesConfig) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let loaded = RuleSet::load_without_samples(&config.directories, config.shipped, &[])?;
        let current = Arc::new(RwLock::new(Arc::new(loaded.rules)));
        let rules = Self {
            current,
            counted: Arc::default(),
            refused: Arc::default(),
            published: Arc::default(),
            failures: Arc::default(),
        };
        Ok((rules, loaded.warnings))
    }

    /// Loads the packs anew and puts them into use, if they have no fault and the samples of the host's
    /// own hold; returns whether anything differs.
    ///
    /// # Errors
    /// Every fault of them, or every sample that does not hold; the rules in use stay.
    pub(crate) fn reload(&self, config: &RulesConfig) -> Result<bool, Vec<Diagnostic>> {
        let reloaded = self.take_up(config);
        *lock(&self.refused) = reloaded.as_ref().err().map(|faults| first_of(faults));
        reloaded
    }

    fn take_up(&self, config: &RulesConfig) -> Result<bool, Vec<Diagnostic>> {
        let published = lock(&self.published);
        let RulesConfig { directories, shipped } = config;
        let rules = RuleSet::load_without_samples(directories, *shipped, &published)?.rules;
        if rules.hash() == self.current().hash() {
            return Ok(false);
        }
        if hold_samples(config, &published)? != rules.hash() {
            // A file is being written, and will be seen to have changed.
            return Ok(false);
        }
        *write(&self.current) = Arc::new(rules);
        Ok(true)
    }

    /// Puts published packs into use, in front of those of the host's directories, whose samples have to
    /// hold, and keeps them for when these are loaded anew; returns whether anything differs.
    ///
    /// # Errors
    /// Every fault, or every sample that does not hold; the rules in use stay.
    pub(crate) fn publish(
        &self,
        packs: Vec<(String, String)>,
        config: &RulesConfig,
    ) -> Result<bool, Vec<Diagnostic>> {
        hold_samples(config, &packs)?;
        self.restore(packs, config)
    }

    /// As [`Rules::publish`] of packs that were in use before: nothing but a fault keeps them out.
    ///
    /// # Errors
    /// Every fault; the rules in use stay.
    pub(crate) fn restore(
        &self,
        packs: Vec<(String, String)>,
        config: &RulesConfig,
    ) -> Result<bool, Vec<Diagnostic>> {
        let mut published = lock(&self.published);
        let differs = self.replace(config, &packs)?;
        *published = packs;
        Ok(differs)
    }

    fn replace(
        &self,
        config: &RulesConfig,
        published: &[(String, String)],
    ) -> Result<bool, Vec<Diagnostic>> {
        let rules =
            RuleSet::load_without_samples(&config.directories, config.shipped, published)?.rules;
        let mut current = write(&self.current);
        let differs = rules.hash() != current.hash();
        if differs {
            *current = Arc::new(rules);
        }
        // The host's directories were read with them, as they stand.
        *lock(&self.refused) = None;
        Ok(differs)
    }

    /// How many lines the engine failed on, whatever the rules were.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether a source's dataset is one that the rules know.
    ///
    /// # Errors
    /// The fault, with the nearest name that they know.
    pub(crate) fn check(&self, common: &Common) -> Result<(), Box<Diagnostic>> {
        let Some(dataset) = &common.dataset else { return Ok(()) };
        let rules = self.current();
        if rules.pack_named(&dataset.name).is_some() {
            return Ok(());
        }
        let near = nearest(&dataset.name, rules.pack_names());
        let remedy = near.map_or_else(
            || "`logweir-agent rules check` shows what there is; leave `dataset` out to have the rules found by the line".to_owned(),
            |name| format!("did you mean `{name}`?"),
        );
        Err(Box::new(dataset.unknown.clone().with_remedy(remedy)))
    }

    /// The rules in use, how many there are and their digest.
    pub(crate) fn describe(&self) -> (usize, String) {
        let rules = self.current();
        (rules.len(), rules.hash().to_owned())
    }

    /// Why changed rules are not in use; `None` if those in use are the host's.
    pub(crate) fn refused(&self) -> Option<String> {
        lock(&self.refused).clone()
    }

    /// Takes in what a parser has counted. When rules were replaced, counting begins anew.
    fn count(&self, parser: &mut Parser) {
        let mut counted = lock(&self.counted);
        let current = self.current();
        if !Arc::ptr_eq(&current, parser.rules()) {
            return;
        }
        if !counted.rules.as_ref().is_some_and(|rules| Arc::ptr_eq(rules, &current)) {
            counted.counts = vec![RuleCounts::default(); current.len()];
            counted.rules = Some(current);
        }
        parser.take_counts(|rule, counts| counted.counts[rule].add(counts));
    }

    /// The rules that were tried since they are in use, those that were tried most first.
    pub(crate) fn counts(&self) -> Vec<RuleSnapshot> {
        let counted = lock(&self.counted);
        let Some(rules) = &counted.rules else { return Vec::new() };
        let tried = counted.counts.iter().enumerate().filter(|(_, counts)| counts.tried > 0);
        let mut list: Vec<RuleSnapshot> = tried
            .map(|(number, counts)| RuleSnapshot {
                id: rules.rule_id(number).to_owned(),
                tried: counts.tried,
                matched: counts.matched,
                over_budget: counts.over_budget,
            })
            .collect();
        list.sort_by(|a, b| b.tried.cmp(&a.tried).then_with(|| a.id.cmp(&b.id)));
        list
    }

    fn current(&self) -> Arc<RuleSet> {
        read(&self.current).clone()
    }
}

/// How the lines of one source are parsed.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// The pack to try first, by a name of it.
    dataset: Option<String>,
    zone: Zone,
}

impl Selection {
    pub(crate) fn of(common: &Common) -> Self {
        let dataset = common.dataset.as_ref().map(|dataset| dataset.name.clone());
        Self { dataset, zone: common.zone.clone() }
    }
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A rule matched.
    Parsed,
    Unparsed,
    /// A rule says that the line is not to be delivered; nothing was written.
    Dropped(DropReason),
}

/// The engine of one worker.
#[derive(Debug)]
pub(crate) struct Engine {
    rules: Rules,
    parser: Parser,
    /// The reasons of the parser's rules, by their numbers there.
    drop_reasons: Vec<RuleReason>,
    pack: Option<usize>,
}

impl Engine {
    pub(crate) fn new(rules: &Rules) -> Self {
        let parser = Parser::new(rules.current());
        let drop_reasons = reasons(parser.rules());
        Self { rules: rules.clone(), parser, drop_reasons, pack: None }
    }

    /// Gets ready for lines of a source; takes up rules that were replaced.
    pub(crate) fn select(&mut self, selection: &Selection) {
        let current = self.rules.current();
        if !Arc::ptr_eq(&current, self.parser.rules()) {
            self.drop_reasons = reasons(&current);
            self.parser = Parser::new(current);
        }
        let rules = self.parser.rules();
        self.pack = selection.dataset.as_ref().and_then(|name| rules.pack_named(name));
    }

    /// Makes known what was counted of the rules.
    pub(crate) fn publish_counts(&mut self) {
        self.rules.count(&mut self.parser);
    }

    /// Lets go of what was counted of the rules since it was last made known.
    pub(crate) fn forget_counts(&mut self) {
        self.parser.take_counts(|_, _| {});
    }

    /// Appends the members of the event, without braces.
    pub(crate) fn members(
        &mut self,
        selection: &Selection,
        line: &Line<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let start = out.len();
        let context = LineContext {
            pack: self.pack,
            received_unix_nanos: line.received_at.as_nanosecond() as i64,
            zone: &selection.zone,
            original_bytes: line.original_bytes,
        };
        let parser = &mut self.parser;
        // The line is data from outside: a fault of the engine must not cost it or its neighbours.
        let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse(line.bytes, &context, out)));
        match parsed {
            Ok(parsed) => match parsed.disposition {
                Disposition::Deliver if parsed.rule.is_some() => Outcome::Parsed,
                Disposition::Deliver => Outcome::Unparsed,
                Disposition::Drop(reason) => {
                    let reason = self.drop_reasons[reason];
                    Outcome::Dropped(DropReason::Rule(reason))
                }
                Disposition::SampledOut => Outcome::Dropped(DropReason::Sampled),
            },
            Err(_) => {
                self.rules.failures.fetch_add(1, Ordering::Relaxed);
                self.parser = Parser::new(self.parser.rules().clone());
                out.truncate(start);
                plain(line, out);
                Outcome::Unparsed
            }
        }
    }
}

fn reasons(rules: &RuleSet) -> Vec<RuleReason> {
    rules.drop_reasons().map(RuleReason::of).collect()
}

/// The event of a line that the engine failed on.
fn plain(line: &Line<'_>, out: &mut Vec<u8>) {
    let received_at = format!("{:.3}", line.received_at);
    for key in ["@timestamp", "event.created"] {
        write_member(out, key, received_at.as_bytes());
        out.push(b',');
    }
    write_member(out, "ecs.version", ECS_VERSION.as_bytes());
    out.push(b',');
    write_member(out, "event.original", line.bytes);
    out.extend_from_slice(br#","event.kind":"pipeline_error","event.dataset":"unparsed","#);
    out.extend_from_slice(br#""tags":["unparsed""#);
    if let Some(length) = line.original_bytes {
        out.extend_from_slice(br#","truncated"],"logweir.original_bytes":"#);
        write_u64(out, length);
    } else {
        out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_document::render_all;

    fn pack(action: &str, expected: &str) -> String {
        format!(
            "pack: shop\napplies: {{program: [shop]}}\nrules:\n  - id: shop.paid\n    \
             pattern: '^user (?<user.name>\\w+) paid$'\n    set: {{event.action: {action}}}\n    samples:\n      \
             - line: 'Nov 28 10:15:02 h shop: user bob paid'\n        expect: {{event.action: {expected}}}\n"
        )
    }

    #[test]
    fn changed_rules_come_into_use_when_their_samples_hold() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.yaml");
        let from = RulesConfig { directories: vec![directory.path().to_owned()], shipped: false };
        std::fs::write(&file, pack("payment", "payment")).unwrap();
        let (rules, _) = Rules::load(&from).unwrap();
        let first = rules.describe();
        assert!(!rules.reload(&from).unwrap());

        std::fs::write(&file, pack("refund", "payment")).unwrap();
        let shown = render_all(&rules.reload(&from).unwrap_err(), false);
        let expected = "shop.yaml:8:1: error: the sample of `shop.paid` does not hold: event.action: \
            expected \"payment\", got \"refund\"\n  help: correct the rule or what the sample expects\n1 error\n";
        assert!(shown.ends_with(expected), "{shown}");
        assert_eq!(rules.describe(), first);
        let refused = rules.refused().unwrap();
        assert!(
            refused.ends_with("event.action: expected \"payment\", got \"refund\""),
            "{refused}"
        );

        // Nor does a publication take up what does not hold; going back does not depend on it.
        let shown = render_all(&rules.publish(Vec::new(), &from).unwrap_err(), false);
        assert!(shown.ends_with(expected), "{shown}");
        assert_eq!(rules.describe(), first);
        assert!(rules.restore(Vec::new(), &from).unwrap());
        assert_eq!(rules.refused(), None);

        std::fs::write(&file, "pack: shop\nruls: []\nrules: {}\n").unwrap();
        rules.reload(&from).unwrap_err();
        let refused = rules.refused().unwrap();
        assert!(
            refused.ends_with("shop.yaml:3:8: error: `rules` is a mapping (and 1 more)"),
            "{refused}"
        );

        std::fs::write(&file, pack("refund", "refund")).unwrap();
        assert!(rules.reload(&from).unwrap());
        assert_ne!(rules.describe(), first);
        assert_eq!(rules.refused(), None);
    }
}
