//! `logweir rules publish`: packs that load and whose samples hold, signed, to the agents of a group.

use super::topic::SignArguments;
use crate::commands::{report_faults, show};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use logweir_agent::{err, errln, outln};
use logweir_parsers::check::check;
use logweir_parsers::{RuleSet, pack_texts, samples};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Check and test rule packs, sign them, and publish them to the agents of a group
///
/// What is published takes the place of what was published to the group before. Packs with a fault (exit
/// code 78) or with a sample that does not hold (exit code 1) are not published.
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// A directory of rule packs, or one pack
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The share of the group's hosts that take it; a greater one, published later, only adds hosts
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
    /// Test the packs without those inside the program, for agents that leave them out, too
    #[arg(long)]
    no_shipped: bool,
    /// Neither check nor test them, as for agents of another version; these test them all the same
    #[arg(long)]
    untested: bool,
    /// Check and test only
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sign: SignArguments,
}

impl Publish {
    pub(super) fn run(self) -> Result<ExitCode> {
        let texts = match pack_texts(&self.directory) {
            Ok(texts) => texts,
            Err(faults) => return Ok(report_faults(&faults)),
        };
        if texts.is_empty() {
            bail!("there is no rule pack in {}", self.directory.display());
        }
        let files = texts.into_iter().map(named).collect::<Result<Vec<_>>>()?;
        if !self.untested
            && let Some(code) = self.test(&files)
        {
            errln!("logweir: not published");
            return Ok(code);
        }
        if self.dry_run {
            outln!("{} packs could be published", files.len());
            return Ok(ExitCode::SUCCESS);
        }
        let set = self.sign.send(self.percent, false, files)?;
        outln!(
            "version {} of the group `{}` is published: {} packs, hash {}, for {} % of its hosts",
            set.header.version,
            set.header.group,
            set.files.len(),
            set.hash(),
            self.percent
        );
        Ok(ExitCode::SUCCESS)
    }

    /// Says everything that speaks against the packs; returns how to exit if they are not to be used.
    fn test(&self, files: &[(String, String)]) -> Option<ExitCode> {
        let directories = [self.directory.clone()];
        let loaded = match RuleSet::load(&directories, !self.no_shipped) {
            Ok(loaded) => loaded,
            Err(faults) => return Some(report_faults(&faults)),
        };
        show(&loaded.warnings);
        if !samples_hold(&Arc::new(loaded.rules)) {
            return Some(ExitCode::FAILURE);
        }
        show_findings(&directories);
        // As agents load them, which take no files from elsewhere.
        let faults = RuleSet::load_between(&[], !self.no_shipped, files).err()?;
        Some(report_faults(&faults))
    }
}

/// Runs every sample, and shows those that do not hold.
fn samples_hold(rules: &Arc<RuleSet>) -> bool {
    let outcomes = samples::run(rules);
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.holds()).collect();
    failed.iter().for_each(|outcome| err!("{outcome}"));
    outln!("{} samples of {} rules, {} failed", outcomes.len(), rules.len(), failed.len());
    failed.is_empty()
}

/// Shows what looks wrong with the packs themselves: slow, shadowed, without a sample. Packs that need
/// those inside the program cannot be looked at alone.
fn show_findings(directories: &[PathBuf]) {
    let Ok(alone) = RuleSet::load(directories, false) else { return };
    let measure = &mut |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    show(&check(&Arc::new(alone.rules), false, measure).findings);
}

/// A file by its name alone.
fn named((path, text): (String, String)) -> Result<(String, String)> {
    let name = Path::new(&path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    logweir_signed::check_group(name).with_context(|| format!("{path} cannot be published"))?;
    Ok((name.to_owned(), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        publish: Publish,
    }

    #[test]
    fn a_share_of_no_hosts_is_refused() {
        let words = |percent| ["x", "packs", "--key", "rules.key", "--percent", percent];
        let error = Command::try_parse_from(words("0")).unwrap_err().to_string();
        assert!(error.contains("0 is not in 1..=100"), "{error}");
        assert_eq!(Command::try_parse_from(words("1")).unwrap().publish.percent, 1);
    }
}
