//! From rule files to a rule set: all faults of all files at once, or everything compiled.
//!
//! A file that comes later may replace rules of an earlier one by their ids; everything else adds.

mod blocks;
mod builder;
mod pack;
mod rule;

use crate::rule::RuleSet;
use builder::Builder;
use logweir_document::{Diagnostic, Severity, parse};
use std::path::{Path, PathBuf};

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// The most that one rule file may hold.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Rules and the warnings that came with them.
#[derive(Debug)]
pub struct Loaded {
    pub rules: RuleSet,
    pub warnings: Vec<Diagnostic>,
}

impl RuleSet {
    /// Loads the packs inside the program (if `shipped`), then every `*.yaml` of `directories`, in
    /// the order of the directories and of the file names. A path to a file stands for itself.
    ///
    /// # Errors
    /// Every fault of every file; a directory that cannot be read.
    pub fn load(directories: &[PathBuf], shipped: bool) -> Result<Loaded, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let mut texts: Vec<(String, String)> = Vec::new();
        if shipped {
            texts.extend(SHIPPED.iter().map(|(name, text)| ((*name).into(), (*text).into())));
        }
        for directory in directories {
            match files(directory) {
                Ok(paths) => paths.iter().for_each(|path| read(path, &mut texts, &mut faults)),
                Err(fault) => faults.push(*fault),
            }
        }
        compile(&texts, faults)
    }

    /// Loads one pack from its text.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn of_text(name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        compile(&[(name.to_owned(), text.to_owned())], Vec::new()).map(|loaded| loaded.rules)
    }

    /// The packs inside the program.
    ///
    /// # Panics
    /// Never in a build that passed its tests, which load them.
    #[must_use]
    pub fn shipped() -> Self {
        match Self::load(&[], true) {
            Ok(loaded) => loaded.rules,
            Err(faults) => panic!("{}", logweir_document::render_all(&faults, false)),
        }
    }
}

/// Compiles files by name and text; `faults` are those found before.
fn compile(
    texts: &[(String, String)],
    mut faults: Vec<Diagnostic>,
) -> Result<Loaded, Vec<Diagnostic>> {
    let mut builder = Builder::default();
    // One tree at a time: all of them together are as large as the rules that come of them, and what
    // they leave between those is lost to the process.
    for (name, text) in texts {
        match parse(name, text) {
            Ok(document) => builder.add(&document),
            Err(fault) => faults.push(*fault),
        }
    }
    let (rules, found) = builder.finish();
    faults.extend(found);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        faults.into_iter().partition(|fault| fault.severity == Severity::Error);
    if errors.is_empty() { Ok(Loaded { rules, warnings }) } else { Err(errors) }
}

/// The text of a rule file by the name that diagnostics give it.
pub(crate) fn text_of(name: &str) -> Option<String> {
    let shipped =
        SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    shipped.or_else(|| std::fs::read_to_string(name).ok())
}

/// The rule files of a directory, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Box<Diagnostic>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| {
        Box::new(
            Diagnostic::of_file(path.display().to_string(), format!("cannot be read: {error}"))
                .with_remedy("name a directory of rule packs that exists and may be read"),
        )
    })?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml" || e == "yml"))
        .collect();
    files.sort();
    Ok(files)
}

fn read(path: &Path, texts: &mut Vec<(String, String)>, faults: &mut Vec<Diagnostic>) {
    let name = path.display().to_string();
    match read_text(path) {
        Ok(text) => texts.push((name, text)),
        Err(message) => faults.push(
            Diagnostic::of_file(name, message)
                .with_remedy("make it readable for this user, in UTF-8, and not larger"),
        ),
    }
}

/// The text of a file of rules or patterns.
fn read_text(path: &Path) -> Result<String, String> {
    let size = path.metadata().map_or(0, |metadata| metadata.len());
    if size > FILE_BYTES_MAX {
        return Err(format!("is larger than {} MiB", FILE_BYTES_MAX >> 20));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}
