//! `logweir keygen`: a key that signs, and the one that others are told.

use super::report;
use anyhow::{Context as _, Result};
use clap::Args;
use logweir_agent::outln;
use logweir_signed::SigningKey;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make a key pair for signing, of rules or of agents' heads: NAME.key signs, NAME.pub is told others
#[derive(Debug, Args)]
pub struct KeygenCommand {
    /// The name of both files, without the ending
    #[arg(value_name = "NAME")]
    name: PathBuf,
}

impl KeygenCommand {
    pub fn execute(self) -> ExitCode {
        report(self.run())
    }

    fn run(self) -> Result<ExitCode> {
        let key = SigningKey::generate()?;
        let public = key.public()?;
        let (secret_path, public_path) = (with(&self.name, ".key"), with(&self.name, ".pub"));
        create(&secret_path, 0o600, &key.to_pem()?)?;
        create(&public_path, 0o644, &public.to_pem()?)?;
        outln!(
            "{}: signs; for rules keep it where they are published, for heads give it to the agent as \
             `integrity.signing_key`",
            secret_path.display()
        );
        outln!(
            "{}: key {}; for rules give it to the agents as `rules.published.public_key`, for heads to \
             `logweir verify --public-key`",
            public_path.display(),
            public.fingerprints().concat()
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn with(name: &Path, ending: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Writes a new file; one that is there is left alone, as others may trust in the key.
fn create(path: &Path, mode: u32, text: &str) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write a new file {}", path.display()))
}
