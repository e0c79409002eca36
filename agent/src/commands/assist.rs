//! What packages ship beside the programs: manual pages, and what shells complete. For both
//! binaries: each gives its own command line.

use crate::errln;
use clap::{Args, Command};
use clap_complete::Shell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Print what a shell needs to complete this program's command line
#[derive(Debug, Args)]
pub struct Completions {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub fn execute(self, mut program: Command) -> ExitCode {
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        // Whoever reads may go away.
        let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), &script);
        ExitCode::SUCCESS
    }
}

/// Write the manual pages, one per command, into a folder
#[derive(Debug, Args)]
pub struct Man {
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub fn execute(self, program: Command) -> ExitCode {
        match write_pages(program, &self.folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                errln!("cannot write manual pages to {}: {error}", self.folder.display());
                ExitCode::FAILURE
            }
        }
    }
}

fn write_pages(program: Command, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(program.disable_help_subcommand(true), folder)
}
