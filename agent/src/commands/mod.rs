//! The commands of `logweir-agent`, one module each; each ends in an exit code:
//! 0 done, 1 failed or found something wrong, 2 wrong usage, 78 (`EX_CONFIG`) bad configuration.

mod input;
mod lines;
pub mod parse;
pub mod rules;
pub mod run;
pub mod spool;
pub mod status;

use logweir_document::{Diagnostic, render_all};
use std::io::IsTerminal as _;
use std::process::ExitCode;

/// The exit code of a faulty configuration, as systemd's `RestartPreventExitStatus=78` knows it.
const EXIT_CONFIG: u8 = 78;

/// Prints faults and warnings for a person.
fn show(faults: &[Diagnostic]) {
    eprint!("{}", render_all(faults, std::io::stderr().is_terminal()));
}

/// Prints every fault of a configuration.
fn report_faults(faults: &[Diagnostic]) -> ExitCode {
    show(faults);
    ExitCode::from(EXIT_CONFIG)
}
