//! Parse lines and print one event each.

use std::process::ExitCode;

/// Parse lines and print one event each.
#[derive(Debug, clap::Args)]
pub struct Parse {}

impl Parse {
    pub fn execute(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}
