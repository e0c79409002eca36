//! Where a pack that a command has written goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Where the pack is written
#[derive(Debug, clap::Args)]
pub(super) struct OutputArguments {
    /// Write the pack to this file, not to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long, requires = "output")]
    force: bool,
}

impl OutputArguments {
    /// Writes the pack.
    ///
    /// # Errors
    /// What to tell the user: the file exists or cannot be written.
    pub(super) fn write(&self, text: &str) -> Result<(), String> {
        let Some(path) = &self.output else {
            return match io::stdout().lock().write_all(text.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    Err(format!("standard output: {error}"))
                }
                _ => Ok(()),
            };
        };
        let file = if self.force {
            File::create(path)
        } else {
            OpenOptions::new().write(true).create_new(true).open(path)
        };
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::AlreadyExists => ": give another name, or --force to overwrite it",
                _ => "",
            };
            format!("{}: {error}{remedy}", path.display())
        })
    }
}
