//! Work on rule packs.

use std::process::ExitCode;

/// Work on rule packs.
#[derive(Debug, clap::Args)]
pub struct Rules {}

impl Rules {
    pub fn execute(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}
