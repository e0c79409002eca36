//! `rules coverage`: how many lines of a file which rule matches, and what no rule does.

use crate::commands::input::{Input, InputArguments};
use crate::outln;
use logweir_document::acts_on_terminal;
use logweir_parsers::{Parser, RuleSet};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// How many unmatched lines are shown.
const EXAMPLES_MAX: usize = 20;
/// How much of each is shown.
const EXAMPLE_CHARS_MAX: usize = 200;

/// Count which rules match the lines of a file, and show lines that none does
#[derive(Debug, clap::Args)]
pub(crate) struct Coverage {
    #[command(flatten)]
    input: InputArguments,
}

#[derive(Debug, Default)]
struct Counts {
    lines: u64,
    matched: u64,
    by_rule: BTreeMap<usize, u64>,
    unmatched: Vec<String>,
}

impl Coverage {
    pub(super) fn execute(self) -> ExitCode {
        let input = match self.input.open() {
            Ok(input) => input,
            Err(code) => return code,
        };
        let mut counts = Counts::default();
        let code = count(&input, &mut counts);
        if code == ExitCode::SUCCESS {
            print(&counts, &input.rules);
        }
        code
    }
}

fn count(input: &Input, counts: &mut Counts) -> ExitCode {
    let mut parser = Parser::new(input.rules.clone());
    let mut event = Vec::new();
    input.for_each_line(|line| {
        event.clear();
        let context = input.settings.context(line.original_bytes);
        let parsed = parser.parse(line.bytes, &context, &mut event);
        counts.lines += 1;
        match parsed.rule {
            Some(rule) => {
                counts.matched += 1;
                *counts.by_rule.entry(rule).or_default() += 1;
            }
            None if counts.unmatched.len() < EXAMPLES_MAX => {
                counts.unmatched.push(excerpt(line.bytes));
            }
            None => {}
        }
        Ok(())
    })
}

fn excerpt(line: &[u8]) -> String {
    let line = &line[..line.len().min(4 * EXAMPLE_CHARS_MAX)];
    String::from_utf8_lossy(line)
        .chars()
        .take(EXAMPLE_CHARS_MAX)
        .flat_map(|c| if acts_on_terminal(c) { c.escape_default().collect() } else { vec![c] })
        .collect()
}

fn print(counts: &Counts, rules: &RuleSet) {
    let mut rows: Vec<_> = counts.by_rule.iter().collect();
    rows.sort_by_key(|(rule, count)| (std::cmp::Reverse(**count), **rule));
    for (rule, count) in rows {
        outln!("{count:>10}  {}", rules.rule_id(*rule));
    }
    let unmatched = counts.lines - counts.matched;
    if unmatched > 0 {
        outln!("{unmatched:>10}  (no rule)");
    }
    let share =
        if counts.lines == 0 { 0.0 } else { counts.matched as f64 * 100.0 / counts.lines as f64 };
    outln!("{} of {} lines matched, {share:.1} %", counts.matched, counts.lines);
    for line in &counts.unmatched {
        outln!("unmatched: {line}");
    }
}
