//! The commands of `logweir-agent`, one module each; each ends in an exit code:
//! 0 done, 1 failed or found something wrong, 2 wrong usage, 78 (`EX_CONFIG`) bad configuration.

mod lines;
pub mod parse;
pub mod rules;
pub mod run;
