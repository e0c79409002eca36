//! `logweir rules withdraw`: a version without rules, after which agents have only their own.

use super::topic::SignArguments;
use anyhow::Result;
use clap::Args;
use logweir_agent::outln;
use std::process::ExitCode;

/// Take back what is published to a group: its agents go on with the rules of their own
#[derive(Debug, Args)]
pub(super) struct Withdraw {
    #[command(flatten)]
    sign: SignArguments,
}

impl Withdraw {
    pub(super) fn run(self) -> Result<ExitCode> {
        let set = self.sign.send(100, true, Vec::new())?;
        let (group, version) = (&set.header.group, set.header.version);
        outln!("nothing is published to the group `{group}` any more, from version {version} on");
        Ok(ExitCode::SUCCESS)
    }
}
