//! Once a parser has seen the samples of all shipped packs, it allocates nothing for them.
//!
//! Alone in its binary, because it counts through the global allocator.

use logweir_parsers::time::TimeContext;
use logweir_parsers::{LineContext, Parser, RuleSet, Zone, header};
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
    // Left out is what takes copies: headers that only the fallback reads (no time behind the priority,
    // a colon in front of it, or its zone right behind it), and times with AM and PM or a zone's name.
    let time = TimeContext { received_unix_nanos: context.received_unix_nanos, zone: &zone };
    let is_clock_with_zone = |word: &str| {
        word.len() == "10:15:02+08:00".len()
            && (word.as_bytes()[2], word.as_bytes()[5]) == (b':', b':')
            && matches!(word.as_bytes()[8], b'+' | b'-')
    };
    let takes_copies = |line: &str| {
        let header = header::parse(line.as_bytes(), &time);
        header.priority.is_some() && header.timestamp.is_none()
            || [">%", ">: ", "AM ", "PM ", " GMT"].iter().any(|part| line.contains(part))
            || line.split(' ').any(is_clock_with_zone)
    };
    let lines = rules.samples().map(|(_, sample)| sample.line.clone());
    let mut lines: Vec<String> = lines.filter(|line| !takes_copies(line)).collect();
    lines.push("Nov 28 10:15:02 web1 frobnicator[7]: what no rule matches".to_owned());
    lines.push("neither header nor rule".to_owned());
    assert!(lines.len() > 1_000, "{}", lines.len());
    let in_container = |line: &String| format!("2026-11-28T10:15:02.5Z stdout F {line}");
    lines.extend(lines.iter().map(in_container).collect::<Vec<_>>());
    let mut parser = Parser::new(rules);
    let mut out = Vec::new();
    let mut allocations = |line: &String| {
        out.clear();
        let region = Region::new(ALLOCATOR);
        parser.parse(line.as_bytes(), &context, &mut out);
        let change = region.change();
        change.allocations + change.reallocations
    };
    for line in &lines {
        allocations(line);
    }
    let mut faults = Vec::with_capacity(lines.len());
    faults.extend(lines.iter().map(|line| (allocations(line), line)).filter(|(n, _)| *n > 0));
    assert!(faults.is_empty(), "{} of {}: {faults:#?}", faults.len(), lines.len());
}
