//! Once a parser has seen lines of every kind, it allocates nothing for lines of these kinds.
//!
//! Alone in its binary, because it counts through the global allocator.

use logweir_parsers::{LineContext, Parser, RuleSet, Zone};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_warm_parser_allocates_nothing() {
    let rules = Arc::new(RuleSet::shipped());
    let zone = Zone::utc();
    let context = LineContext {
        pack: None,
        received_unix_nanos: 1_795_867_200_000_000_000,
        zone: &zone,
        original_bytes: None,
    };
    let mut lines: Vec<String> = rules
        .samples()
        .filter(|(rule, _)| rules.rule_id(*rule).starts_with("sshd."))
        .map(|(_, sample)| sample.line.clone())
        .collect();
    lines.push("Nov 28 10:15:02 web1 frobnicator[7]: what no rule matches".to_owned());
    lines.push("neither header nor rule".to_owned());
    assert!(lines.len() > 20);
    let mut parser = Parser::new(rules);
    let mut out = Vec::new();
    let mut pass = || {
        for line in &lines {
            out.clear();
            parser.parse(line.as_bytes(), &context, &mut out);
        }
    };
    pass();
    let region = Region::new(ALLOCATOR);
    pass();
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
}
