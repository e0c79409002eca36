//! A span program says what the regex says, with the same slots, or that its fuel is used up.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logweir_parsers::span::{Outcome, Program, Scratch};
use regex::bytes::RegexBuilder;

fuzz_target!(|input: (&str, &[u8])| {
    let (pattern, text) = input;
    let Some(program) = Program::compile(pattern) else { return };
    let regex = RegexBuilder::new(pattern)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(1 << 20)
        .build();
    let Ok(regex) = regex else { return };
    let mut locations = regex.capture_locations();
    let expected: Option<Vec<Option<usize>>> =
        regex.captures_read(&mut locations, text).map(|_| {
            let group = |at| locations.get(at).map_or([None; 2], |(a, b)| [Some(a), Some(b)]);
            (0..locations.len()).flat_map(group).collect()
        });
    let mut slots = vec![None; program.slots_len()];
    match program.captures(text, &mut slots, &mut Scratch::default()) {
        Outcome::Match => assert_eq!(Some(slots), expected),
        Outcome::NoMatch => assert_eq!(None, expected),
        Outcome::OutOfFuel => {}
    }
});
