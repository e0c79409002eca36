//! What the shipped packs take in memory once they are loaded: little, until lines come for them.
//!
//! Alone in its binary, because it counts through the global allocator.

use logweir_parsers::RuleSet;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A packed rule, its share of its pack and of all fields; one that runs takes three times that, and an
/// automaton alone forty times.
const RULE_BYTES_MAX: usize = 1 << 10;

#[test]
fn a_rule_that_no_line_has_reached_takes_a_kibibyte_at_most() {
    let region = Region::new(ALLOCATOR);
    let loaded =
        RuleSet::load_without_samples(&[], true, &[]).expect("the shipped packs have no fault");
    let change = region.change();
    // What a reallocation adds counts as allocated.
    let held = change.bytes_allocated - change.bytes_deallocated;
    let rules = loaded.rules.len();
    println!("{held} bytes for {rules} rules");
    assert!(rules > 1000 && held / rules <= RULE_BYTES_MAX, "{held} bytes for {rules} rules");
    assert_eq!(loaded.rules.samples().count(), 0);
}
