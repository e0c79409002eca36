//! Any line through all shipped rules: the members are JSON, and the original line is in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logweir_parsers::{Disposition, LineContext, Parser, RuleSet, Zone};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new(Arc::new(RuleSet::shipped())));
}

fuzz_target!(|line: &[u8]| {
    let zone = Zone::utc();
    let context = LineContext {
        pack: None,
        received_unix_nanos: 1_795_867_200_000_000_000,
        zone: &zone,
        original_bytes: None,
    };
    let mut out = vec![b'{'];
    let parsed = PARSER.with_borrow_mut(|parser| parser.parse(line, &context, &mut out));
    if parsed.disposition == Disposition::Deliver {
        out.push(b'}');
        let event: serde_json::Value = serde_json::from_slice(&out).expect("an event is JSON");
        let original = event["event.original"].as_str().or(event["message"].as_str());
        assert!(original.is_some());
        assert!(event["@timestamp"].is_string());
    }
});
