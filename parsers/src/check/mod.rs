//! What can be said of rules beyond whether they load: what each costs at worst, which can never
//! match, which nothing tests.
//!
//! A rule is shadowed if its own samples do not reach it and every text made from its pattern is taken
//! by rules before it. Worst cases are measured on texts made from the pattern, by the caller's clock.

mod generate;

use crate::engine::{LineContext, Parser};
use crate::loader;
use crate::pattern::Pattern;
use crate::rule::{On, Rule, RuleList, RuleSet};
use crate::samples::RECEIVED_UNIX_NANOS;
use crate::time::Zone;
use crate::transform::Transform;
use logweir_document::{Diagnostic, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How much of a message rules see; see docs/rules.md, "Limits".
const TEXT_BYTES: usize = 16 << 10;
/// Texts made from a pattern to find out who takes them.
const EXAMPLES: u32 = 12;
/// A rule that takes longer on one line is reported: at this rate a core does a hundred such lines a
/// second.
const WORST_MAX: Duration = Duration::from_millis(10);

/// How a rule is found and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CostClass {
    /// Only lines that hold a literal of the pattern, or begin as it does, get to it; captures by a
    /// span program.
    Indexed,
    /// As `Indexed`, and captures by the regex engine: several times slower.
    IndexedRegex,
    /// Neither a literal nor the first bytes tell lines apart: every line of the pack gets to it.
    Always,
    /// As `Always`, with the regex engine.
    AlwaysRegex,
    /// No pattern: sub-parsers or conditions alone.
    NoPattern,
}

impl CostClass {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Indexed => "indexed",
            Self::IndexedRegex => "indexed, regex engine",
            Self::Always => "always tried",
            Self::AlwaysRegex => "always tried, regex engine",
            Self::NoPattern => "no pattern",
        }
    }
}

/// What a rule costs.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub rule: usize,
    pub class: CostClass,
    /// The longest that its patterns took on one text of 16 KiB made to be slow.
    pub worst: Duration,
}

/// What `rules check` says of rules that load.
#[derive(Debug)]
pub struct Report {
    pub costs: Vec<Cost>,
    /// Shadowed rules, untested rules, slow rules.
    pub findings: Vec<Diagnostic>,
    /// Pairs of rules that match the same sample, of which the order decides.
    pub overlaps: Vec<Diagnostic>,
}

/// Looks at every rule, and for overlaps if they are wanted. `measure` runs a closure and says how long
/// it took.
pub fn check(
    rules: &Arc<RuleSet>,
    with_overlaps: bool,
    measure: &mut dyn FnMut(&mut dyn FnMut()) -> Duration,
) -> Report {
    let reached = reached(rules);
    let mut places = Places { rules, sources: BTreeMap::new() };
    let mut report = Report { costs: Vec::new(), findings: Vec::new(), overlaps: Vec::new() };
    for number in 0..rules.len() {
        let cost = Cost {
            rule: number,
            class: class(rules.rule(number)),
            worst: worst(rules.rule(number), measure),
        };
        if cost.worst > WORST_MAX {
            let message = format!(
                "the rule `{}` takes {:.1} ms on a line of 16 KiB made from its pattern",
                rules.rule_id(number),
                cost.worst.as_secs_f64() * 1e3
            );
            let remedy =
                "begin the pattern with `^` and a literal, or say `[^ ]*` where it says `.*`";
            report.findings.push(places.warning(number, message, remedy));
        }
        report.costs.push(cost);
    }
    for number in 0..rules.len() {
        if !reached.contains(&number) && rules.rule(number).samples.is_empty() {
            let message = format!("no sample reaches the rule `{}`", rules.rule_id(number));
            let remedy = "give it `samples:` with a whole line each; a rule of a chain, too";
            report.findings.push(places.warning(number, message, remedy));
        }
    }
    let lists = rules.packs.iter().map(|pack| &pack.list).chain(&rules.chains);
    for list in lists {
        shadowed(list, &reached, &mut places, &mut report.findings);
    }
    if with_overlaps {
        overlaps(rules, &mut places, &mut report.overlaps);
    }
    report
}

/// The rules that some sample goes through.
fn reached(rules: &Arc<RuleSet>) -> BTreeSet<usize> {
    let mut parser = Parser::new(rules.clone());
    let mut reached = BTreeSet::new();
    for attempts in samples(rules, &mut parser).map(|(_, attempts)| attempts) {
        reached.extend(attempts.iter().filter(|(_, _, matched)| *matched).map(|(rule, ..)| *rule));
    }
    reached
}

type Attempts = Vec<(usize, Vec<u8>, bool)>;

/// For each sample: the rule that it belongs to, and what was tried on which text.
fn samples<'r>(
    rules: &'r Arc<RuleSet>,
    parser: &'r mut Parser,
) -> impl Iterator<Item = (usize, Attempts)> + 'r {
    let zone = Zone::utc();
    let mut out = Vec::new();
    rules.samples().map(move |(rule, sample)| {
        let context = LineContext {
            pack: None,
            received_unix_nanos: RECEIVED_UNIX_NANOS,
            zone: &zone,
            original_bytes: None,
        };
        out.clear();
        let (_, attempts, _) = parser.trace(sample.line.as_bytes(), &context, &mut out);
        let attempts = attempts
            .into_iter()
            .map(|attempt| (attempt.rule, attempt.text, attempt.failure.is_none()))
            .collect();
        (rule, attempts)
    })
}

fn class(rule: &Rule) -> CostClass {
    if rule.patterns.is_empty() {
        return CostClass::NoPattern;
    }
    let indexed = rule.need().tells();
    let program = rule.patterns.iter().all(|(pattern, _)| pattern.machine().program.is_some());
    match (indexed, program) {
        (true, true) => CostClass::Indexed,
        (true, false) => CostClass::IndexedRegex,
        (false, true) => CostClass::Always,
        (false, false) => CostClass::AlwaysRegex,
    }
}

/// What a pattern does with a text.
type Search<'r> = Box<dyn FnMut(&[u8]) + 'r>;

fn worst(rule: &Rule, measure: &mut dyn FnMut(&mut dyn FnMut()) -> Duration) -> Duration {
    let mut worst = Duration::ZERO;
    let searches = rule
        .patterns
        .iter()
        .map(|(pattern, _)| -> (&Pattern, Search<'_>) { (pattern, Box::new(pattern.searcher())) });
    let steps = rule.transforms.iter().flat_map(|(_, steps)| steps);
    let replaced = steps.filter_map(|step| -> Option<(&Pattern, Search<'_>)> {
        let Transform::Gsub(gsub) = step else { return None };
        let mut out = Vec::new();
        let replace = move |text: &[u8]| {
            out.clear();
            std::hint::black_box(gsub.apply(text, &mut out));
        };
        Some((&gsub.pattern, Box::new(replace)))
    });
    for (pattern, mut search) in searches.chain(replaced) {
        let Some(hir) = generate::parse(pattern.source(), pattern.unicode()) else { continue };
        // Builds what is built lazily.
        search(&generate::example(&hir, 0));
        for text in generate::adversarial(&hir, TEXT_BYTES) {
            let mut time = measure(&mut || search(&text));
            // Its caches may have been cold.
            if time > WORST_MAX / 2 {
                time = time.min(measure(&mut || search(&text)));
            }
            worst = worst.max(time);
        }
    }
    worst
}

/// Rules of a list that no sample reaches and whose texts others take.
fn shadowed(
    list: &RuleList,
    reached: &BTreeSet<usize>,
    places: &mut Places<'_>,
    findings: &mut Vec<Diagnostic>,
) {
    let rules = places.rules;
    for number in list.numbers().iter().filter(|number| !reached.contains(number)) {
        let rule = rules.rule(*number);
        if rule.on != On::Message || rule.patterns.is_empty() {
            continue;
        }
        let mut takers = BTreeSet::new();
        let mut all = true;
        let mut any = false;
        for text in examples(rule) {
            any = true;
            match taker(list, rules, *number, &text) {
                Some(taker) => {
                    takers.insert(taker);
                }
                None => all = false,
            }
        }
        if !(any && all) {
            continue;
        }
        let by: Vec<String> = takers
            .iter()
            .map(|taker| {
                let (file, line) = rules.rule_place(*taker);
                format!("`{}` ({file}:{line})", rules.rule_id(*taker))
            })
            .collect();
        let message = format!(
            "the rule `{}` is shadowed: what it matches is taken by {} before it",
            rule.id,
            by.join(" and ")
        );
        findings.push(places.warning(
            *number,
            message,
            "put it before, or make the other more exact",
        ));
    }
}

/// Texts made from a rule's patterns that it does match.
fn examples(rule: &Rule) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    for (pattern, _) in &rule.patterns {
        let Some(hir) = generate::parse(pattern.source(), pattern.unicode()) else { continue };
        let made = (0..EXAMPLES).map(|variant| generate::example(&hir, variant));
        texts.extend(made.filter(|text| pattern.regex().is_match(text)));
    }
    texts
}

/// The rule of the list before `number` that takes the text for certain.
fn taker(list: &RuleList, rules: &RuleSet, number: usize, text: &[u8]) -> Option<usize> {
    list.numbers().iter().take_while(|other| **other != number).copied().find(|other| {
        let rule = rules.rule(*other);
        let certain = rule.when.is_empty() && rule.parse.iter().all(|parse| parse.optional);
        certain
            && rule.on == On::Message
            && !rule.patterns.is_empty()
            && rule.patterns.iter().any(|(pattern, _)| pattern.regex().is_match(text))
    })
}

/// Rules behind the one that matched a sample that would match it as well.
fn overlaps(rules: &Arc<RuleSet>, places: &mut Places<'_>, out: &mut Vec<Diagnostic>) {
    let mut parser = Parser::new(rules.clone());
    let mut found: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (_, attempts) in samples(rules, &mut parser) {
        for (rule, text, _) in attempts.iter().filter(|(_, _, matched)| *matched) {
            let lists = rules.packs.iter().map(|pack| &pack.list).chain(&rules.chains);
            for list in lists.filter(|list| list.numbers().contains(rule)) {
                let later = list.numbers().iter().skip_while(|number| *number != rule).skip(1);
                for other in later {
                    let candidate = rules.rule(*other);
                    if candidate.on == On::Message
                        && rules.rule(*rule).on == On::Message
                        && candidate
                            .patterns
                            .iter()
                            .any(|(pattern, _)| pattern.regex().is_match(text))
                    {
                        found.insert((*rule, *other));
                    }
                }
            }
        }
    }
    for (first, later) in found {
        let (file, line) = rules.rule_place(first);
        let message = format!(
            "the rule `{}` also matches a sample of `{}` ({file}:{line}), which stands before it",
            rules.rule_id(later),
            rules.rule_id(first)
        );
        out.push(places.warning(
            later,
            message,
            "their order decides; keep it, or make one more exact",
        ));
    }
}

/// Texts of the files, for snippets.
struct Places<'r> {
    rules: &'r RuleSet,
    sources: BTreeMap<String, Source>,
}

impl Places<'_> {
    fn warning(&mut self, rule: usize, message: String, remedy: &str) -> Diagnostic {
        let Rule { file: name, span, .. } = self.rules.rule(rule);
        let source = self.sources.entry(name.to_string()).or_insert_with(|| Source {
            name: name.to_string(),
            text: loader::text_of(name).unwrap_or_default(),
        });
        Diagnostic::at(source, *span, message).as_warning().with_remedy(remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{Outcome, Scratch};

    fn findings(pack: &str) -> (Report, Vec<String>) {
        let rules = Arc::new(RuleSet::of_text("p.yaml", pack).unwrap());
        // The clock of this test: the work is done, and takes no time.
        let report = check(&rules, true, &mut |run| {
            run();
            Duration::ZERO
        });
        let shown = report
            .findings
            .iter()
            .chain(&report.overlaps)
            .map(|found| format!("{}:{} {}", found.line, found.column, found.message))
            .collect();
        (report, shown)
    }

    #[test]
    fn shadowed_and_untested_rules_are_named_with_both_places() {
        let (report, shown) = findings(
            r"
pack: p
applies: {program: [p]}
rules:
  - id: p.any
    pattern: '^user \S+ (?<labels.x>\w+)'
    samples: [{line: 'Nov 28 10:15:02 h p: user bob paid'}]
  - id: p.exact
    pattern: '^user (?<user.name>[a-z]+) paid$'
  - id: p.body
    pattern: '^body (?<_b>.*)$'
    then: {field: _b, chain: c}
    samples: [{line: 'Nov 28 10:15:02 h p: body one'}]
  - id: p.late
    pattern: '^user .* paid$'
    samples: [{line: 'Nov 28 10:15:02 h p: user x-y z! paid'}]
chains:
  c:
    - {id: p.one, pattern: '^one$'}
    - {id: p.two, pattern: '^two$'}
    - {id: p.three, pattern: '^three$', samples: [{line: 'Nov 28 10:15:02 h p: body three'}]}
",
        );
        let expected = [
            "8:9 no sample reaches the rule `p.exact`",
            "20:12 no sample reaches the rule `p.two`",
            "8:9 the rule `p.exact` is shadowed: what it matches is taken by `p.any` (p.yaml:5) before it",
            "8:9 the rule `p.exact` also matches a sample of `p.any` (p.yaml:5), which stands before it",
            "14:9 the rule `p.late` also matches a sample of `p.any` (p.yaml:5), which stands before it",
        ];
        assert_eq!(shown, expected);
        assert!(
            report.costs.iter().all(|cost| cost.class == CostClass::Indexed),
            "{:?}",
            report.costs
        );
    }

    #[test]
    fn no_shipped_rule_needs_more_steps_than_a_text_made_to_be_slow_allows() {
        let rules = RuleSet::shipped();
        let mut scratch = Scratch::default();
        let mut slow = Vec::new();
        for number in 0..rules.len() {
            let rule = rules.rule(number);
            for (pattern, _) in &rule.patterns {
                let program = pattern.machine().program.as_ref();
                let hir = generate::parse(pattern.source(), pattern.unicode());
                let (Some(program), Some(hir)) = (program, hir) else { continue };
                // Enough for what grows with the square of the length.
                let texts = generate::adversarial(&hir, 4 << 10);
                // What does not match, an automaton says at once; where captures stand, it does not know.
                let mut is_slow = |text: &Vec<u8>| {
                    program.search(text, &mut scratch) == Outcome::OutOfFuel
                        && pattern.regex().is_match(text)
                };
                if texts.iter().any(&mut is_slow) {
                    slow.push(&*rule.id);
                }
            }
        }
        assert!(slow.is_empty(), "{slow:?}");
    }

    #[test]
    fn a_slow_rule_is_reported_and_classes_are_told_apart() {
        let pack = r"
pack: p
rules:
  - {id: p.a, pattern: '(?<labels.x>\w+)=(?<labels.y>\d+)', samples: [{line: 'x'}]}
  - {id: p.b, parse: {as: json}, samples: [{line: 'x'}]}
  - {id: p.c, pattern: '^\d\d/\w{3} (?<labels.x>.*)', samples: [{line: 'x'}]}
";
        let rules = Arc::new(RuleSet::of_text("p.yaml", pack).unwrap());
        let report = check(&rules, false, &mut |run| {
            run();
            2 * WORST_MAX
        });
        let classes: Vec<CostClass> = report.costs.iter().map(|cost| cost.class).collect();
        assert_eq!(classes, [CostClass::Always, CostClass::NoPattern, CostClass::Indexed]);
        assert!(
            report.findings[0].message.contains("`p.a` takes 20.0 ms"),
            "{:?}",
            report.findings
        );
    }
}
