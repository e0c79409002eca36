//! `rules explain`: which rules were tried on a line, and what came of it.

use crate::commands::input::{LineArguments, RuleArguments};
use logweir_parsers::{Disposition, Parser};
use std::process::ExitCode;

/// Show which rules are tried on a line and the event that it becomes
///
/// Exit code 1 if no rule matches.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    rules: RuleArguments,
    #[command(flatten)]
    line_arguments: LineArguments,
    /// The line
    line: String,
}

impl Explain {
    pub(super) fn execute(self) -> ExitCode {
        let rules = match self.rules.load() {
            Ok(rules) => rules,
            Err(code) => return code,
        };
        let settings = match self.line_arguments.check(&rules) {
            Ok(settings) => settings,
            Err(code) => return code,
        };
        let mut parser = Parser::new(rules.clone());
        let mut event = vec![b'{'];
        let context = settings.context(None);
        let (parsed, attempts) = parser.explain(self.line.as_bytes(), &context, &mut event);
        event.push(b'}');
        match parsed.pack {
            Some(pack) => println!("dataset {}", rules.dataset(pack)),
            None => {
                println!("no pack fits: name one with --dataset, or see `applies` in docs/rules.md")
            }
        }
        for attempt in &attempts {
            let verdict = if attempt.matched { "matches" } else { attempt.reason };
            println!("  {}: {verdict}", rules.rule_id(attempt.rule));
        }
        match parsed.disposition {
            Disposition::Deliver => print_members(&event),
            Disposition::Drop(reason) => println!("dropped: {}", rules.drop_reason(reason)),
            Disposition::SampledOut => println!("not among the sample that is delivered"),
        }
        if parsed.rule.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// One member a line, in the order of their names; JSON escapes what could steer a terminal.
fn print_members(event: &[u8]) {
    let members: std::collections::BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(event).unwrap_or_default();
    for (name, value) in members {
        println!("    {name}: {value}");
    }
}
