//! `rules check`: what can be said of rules that load.

use super::{counted, load_named};
use crate::commands::{report_faults, show};
use crate::outln;
use logweir_parsers::check::check;
use rustix::time::{ClockId, clock_gettime};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Load rule packs and say what is in them, what each rule costs, and what looks wrong
///
/// Every fault of every file is shown at once; exit code 78 if there is any. Rules that are shadowed,
/// slow or reached by no sample are warnings, as is what looks wrong in a file.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Directories of packs, or single packs; by default the packs inside the program
    directories: Vec<PathBuf>,
    /// How many of the slowest rules are listed
    #[arg(long, value_name = "N", default_value_t = 10)]
    slowest: usize,
    /// Show rules that match the same sample, too, where only their order decides
    #[arg(long)]
    overlaps: bool,
    /// Exit with 1 if there are warnings
    #[arg(long)]
    deny_warnings: bool,
}

impl Check {
    pub(super) fn execute(self) -> ExitCode {
        let loaded = match load_named(&self.directories, self.directories.is_empty()) {
            Ok(loaded) => loaded,
            Err(faults) => return report_faults(&faults),
        };
        let rules = Arc::new(loaded.rules);
        let mut report = check(&rules, self.overlaps, &mut |run| {
            let start = spent();
            run();
            spent().saturating_sub(start)
        });
        for (pack, dataset, count) in rules.packs() {
            outln!("{pack:<24} {dataset:<24} {count:>5} rule{}", if count == 1 { "" } else { "s" });
        }
        let dropping: Vec<&str> = rules.dropping_rules().collect();
        if !dropping.is_empty() {
            outln!("not delivering all they match: {}", dropping.join(", "));
        }
        report.costs.sort_by_key(|cost| (std::cmp::Reverse(cost.worst), cost.rule));
        if self.slowest > 0 && !report.costs.is_empty() {
            outln!("slowest, on a line of 16 KiB made from the pattern to be slow:");
        }
        for cost in report.costs.iter().take(self.slowest) {
            let (file, line) = rules.rule_place(cost.rule);
            outln!(
                "{:>10.1} us  {:<26}  {}  {file}:{line}",
                cost.worst.as_secs_f64() * 1e6,
                cost.class.name(),
                rules.rule_id(cost.rule)
            );
        }
        outln!("{}, hash {}", counted(rules.len(), "rule"), rules.hash());
        report.findings.extend(report.overlaps);
        report.findings.extend(loaded.warnings);
        show(&report.findings);
        if self.deny_warnings && !report.findings.is_empty() {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

/// The processor time of this thread: what else the machine has to do costs no rule its name.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
