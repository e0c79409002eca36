//! The commands of `logweir-agent`, one module each; each ends in an exit code:
//! 0 done, 1 failed or found something wrong, 2 wrong usage, 78 (`EX_CONFIG`) bad configuration.

mod access;
pub mod assist;
pub mod backfill;
pub mod check;
pub mod config;
pub mod discover;
pub mod doctor;
pub mod init;
mod input;
mod lines;
pub mod out;
pub mod parse;
pub mod reference;
pub mod rules;
pub mod run;
pub mod spool;
pub mod status;
mod supervision;
pub mod tap;
pub mod top;

use crate::Config;
use crate::config::{Loaded, REFERENCE};
use crate::err;
use crate::socket_dir::who_may_ask;
use logweir_document::{Diagnostic, Document, Faults, Node, render_all};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// The exit code of a faulty configuration, as systemd's `RestartPreventExitStatus=78` knows it.
const EXIT_CONFIG: u8 = 78;

/// Prints faults and warnings for a person.
fn show(faults: &[Diagnostic]) {
    err!("{}", render_all(faults, io::stderr().is_terminal()));
}

/// Why there is no answer from a running agent.
fn no_agent(socket_dir: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => &who_may_ask(socket_dir),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "is it running (`systemctl status logweir-agent`), with the same configuration?"
        }
        _ => "does it run on, and is the machine overloaded?",
    };
    format!("no agent answers in `{}`: {error}; {remedy}", socket_dir.display())
}

/// Prints every fault of a configuration.
fn report_faults(faults: &[Diagnostic]) -> ExitCode {
    show(faults);
    ExitCode::from(EXIT_CONFIG)
}

/// The configuration of a command, its warnings shown; its faults, too, and then how to exit.
fn load_config(path: &Path) -> Result<Config, ExitCode> {
    load(path).map(|loaded| loaded.config)
}

/// The same with its document.
fn load(path: &Path) -> Result<Loaded, ExitCode> {
    let (loaded, warnings) = Loaded::from_file(path).map_err(|faults| report_faults(&faults))?;
    show(&warnings);
    let Loaded { config, document } = &loaded;
    let faults = kafka_faults(document, |section, faults| config.kafka.try_client(section, faults));
    if faults.is_empty() { Ok(loaded) } else { Err(report_faults(&faults)) }
}

/// What is said of the section `kafka` as a whole.
fn kafka_faults(document: &Document, look: impl FnOnce(&Node, &mut Faults)) -> Vec<Diagnostic> {
    let mut faults = Faults::of(document, &REFERENCE);
    if let Some(section) = document.root.get("kafka") {
        look(section, &mut faults);
    }
    faults.into_list()
}

/// Writes a configuration whole or not at all, with the rights that it has; a new one may be read by
/// all, since secrets are not written into it.
fn write_config(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), std::fs::create_dir_all)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    if let Ok(metadata) = path.metadata() {
        file.set_permissions(metadata.permissions())?;
    }
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}
