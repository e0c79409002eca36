//! Any bytes are a rule file or are refused with faults that can be shown; what loads runs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logweir_parsers::{LineContext, Parser, RuleSet, Zone};
use std::sync::Arc;

fuzz_target!(|bytes: &[u8]| {
    let name = format!("logweir-fuzz-loader-{}.yaml", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, bytes).expect("the temporary directory can be written");
    match RuleSet::load(&[path], false) {
        Ok(loaded) => run(Arc::new(loaded.rules)),
        Err(faults) => assert!(!faults.is_empty() && faults.iter().all(|f| !f.message.is_empty())),
    }
});

fn run(rules: Arc<RuleSet>) {
    let zone = Zone::utc();
    let context = LineContext {
        pack: None,
        received_unix_nanos: 1_795_867_200_000_000_000,
        zone: &zone,
        original_bytes: None,
    };
    let mut parser = Parser::new(rules.clone());
    let mut out = Vec::new();
    let samples = rules.samples().map(|(_, sample)| sample.line.as_bytes());
    let lines = [&b"Nov 28 10:15:00 web1 sshd[7]: Accepted x for y"[..], b"{\"a\":1}", b"a=b"];
    for line in samples.chain(lines) {
        parser.parse(line, &context, &mut out);
    }
}
