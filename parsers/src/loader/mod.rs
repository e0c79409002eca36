//! From rule files to a rule set: all faults of all files at once, or everything compiled.
//!
//! A directory that comes later may replace rules of an earlier one by their ids; everything else adds.

mod builder;
mod pack;
mod rule;
mod shipped;
#[cfg(test)]
mod tests;

use crate::rule::RuleSet;
use builder::Builder;
pub(crate) use builder::Shared;
use logweir_document::{Diagnostic, Severity, parse_with_duplicates};
use rustc_hash::FxHashSet;
use std::path::{Path, PathBuf};

/// The most that one rule file may hold.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// In front of the names of packs that were published to this host.
const PUBLISHED: &str = "published:";

/// Rules and the warnings that came with them.
#[derive(Debug)]
pub struct Loaded {
    pub rules: RuleSet,
    pub warnings: Vec<Diagnostic>,
}

impl RuleSet {
    /// Loads the packs inside the program (if `shipped`), then every `*.yaml` and `*.yml` of `directories`, in
    /// the order of the directories and of the file names. A path to a file stands for itself; a file that
    /// is named twice is read once.
    ///
    /// # Errors
    /// Every fault of every file, the warnings with them; a directory that cannot be read.
    pub fn load(directories: &[PathBuf], shipped: bool) -> Result<Loaded, Vec<Diagnostic>> {
        Self::load_between(directories, shipped, &[])
    }

    /// As [`RuleSet::load`], with the packs `between`, by name and text, behind those inside the
    /// program and in front of those of the directories. They come from elsewhere, and name no file.
    ///
    /// # Errors
    /// Those of [`RuleSet::load`].
    pub fn load_between(
        directories: &[PathBuf],
        shipped: bool,
        between: &[(String, String)],
    ) -> Result<Loaded, Vec<Diagnostic>> {
        Loading::default().all(directories, shipped, between)
    }

    /// As [`RuleSet::load_between`], for lines only: the samples are checked and then left out, and of
    /// each file the rules are kept packed until a line comes for one of them.
    ///
    /// # Errors
    /// Those of [`RuleSet::load`].
    pub fn load_without_samples(
        directories: &[PathBuf],
        shipped: bool,
        between: &[(String, String)],
    ) -> Result<Loaded, Vec<Diagnostic>> {
        let mut loading = Loading::default();
        loading.builder.keeps_samples = false;
        loading.all(directories, shipped, between)
    }

    /// Loads one pack from its text.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn of_text(name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut loading = Loading::default();
        loading.add(name, text);
        loading.finish().map(|loaded| loaded.rules)
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

/// The rule files of a directory, or the one file that `path` is: name and text of each, by name.
///
/// # Errors
/// Every file that cannot be read, or the directory.
pub fn pack_texts(path: &Path) -> Result<Vec<(String, String)>, Vec<Diagnostic>> {
    let (mut texts, mut faults) = (Vec::new(), Vec::new());
    for path in files(path).map_err(|fault| vec![*fault])? {
        match read_named(&path) {
            Ok(text) => texts.push(text),
            Err(fault) => faults.push(*fault),
        }
    }
    if faults.is_empty() { Ok(texts) } else { Err(faults) }
}

/// The directories of these that hold no rule file, as faults: whoever names one to have it examined
/// means another.
#[must_use]
pub fn without_packs(directories: &[PathBuf]) -> Vec<Diagnostic> {
    let empty = |path: &&PathBuf| files(path).is_ok_and(|files| files.is_empty());
    let fault = |path: &PathBuf| {
        Diagnostic::of_file(path.display().to_string(), "holds no rule packs")
            .with_remedy("name a directory that has files `*.yaml` or `*.yml`, or one such file")
    };
    directories.iter().filter(empty).map(fault).collect()
}

/// A rule file: its name as diagnostics give it, and its text.
fn read_named(path: &Path) -> Result<(String, String), Box<Diagnostic>> {
    let name = path.display().to_string();
    let fault = |message| Box::new(Diagnostic::of_file(&name, message));
    let bytes = read_bytes(path).map_err(|message| {
        let remedy = format!(
            "make it a file of at most {} MiB that this user may read",
            FILE_BYTES_MAX >> 20
        );
        Box::new(fault(message).with_remedy(remedy))
    })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let (line, column, byte) = first_beyond_utf8(error.as_bytes());
            let fault = Diagnostic {
                line,
                column,
                ..*fault(format!("the byte 0x{byte:02x} is not UTF-8"))
            };
            let wide = error.as_bytes().starts_with(&[0xff, 0xfe])
                || error.as_bytes().starts_with(&[0xfe, 0xff]);
            let from = if wide { "UTF-16" } else { "ISO-8859-1" };
            let remedy = format!("save it as UTF-8, such as by `iconv -f {from} -t UTF-8`");
            Err(Box::new(fault.with_remedy(remedy)))
        }
    }
}

/// Line, column and value of the first byte that is not UTF-8.
fn first_beyond_utf8(bytes: &[u8]) -> (usize, usize, u8) {
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let before = valid.rsplit('\n').next().unwrap_or_default();
    let byte = bytes.get(valid.len()).copied().unwrap_or_default();
    (valid.matches('\n').count() + 1, before.chars().count() + 1, byte)
}

/// Rule files on their way into a set, one at a time: the trees of all of them together are as large as
/// the rules that come of them, and what they leave between those is lost to the process.
#[derive(Default)]
struct Loading {
    builder: Builder,
    /// The files that were read.
    files: FxHashSet<PathBuf>,
    /// Of files that could not be read or are no YAML.
    faults: Vec<Diagnostic>,
}

impl Loading {
    fn all(
        mut self,
        directories: &[PathBuf],
        shipped: bool,
        between: &[(String, String)],
    ) -> Result<Loaded, Vec<Diagnostic>> {
        if shipped {
            shipped::packs().for_each(|(name, text)| self.add(name, text));
        }
        self.builder.begin_directory();
        for (name, text) in between {
            self.add(&format!("{PUBLISHED}{name}"), text);
        }
        for directory in directories {
            self.builder.begin_directory();
            match files(directory) {
                Ok(paths) => paths.iter().for_each(|path| self.read(path)),
                Err(fault) => self.faults.push(*fault),
            }
        }
        self.finish()
    }

    fn read(&mut self, path: &Path) {
        if path.canonicalize().is_ok_and(|path| !self.files.insert(path)) {
            return;
        }
        match read_named(path) {
            Ok((name, text)) => self.add(&name, text),
            Err(fault) => self.faults.push(*fault),
        }
    }

    fn add(&mut self, name: &str, text: impl Into<String>) {
        match parse_with_duplicates(name, text) {
            Ok((document, duplicates)) => {
                self.faults.extend(duplicates);
                if let Some(span) = document.second {
                    let fault = Diagnostic::at(
                        &document.source,
                        span,
                        "a second document, of which nothing would be read",
                    );
                    self.faults.push(fault.with_remedy("write each pack into a file of its own"));
                }
                self.builder.add(&document);
            }
            Err(fault) => self.faults.push(*fault),
        }
        self.builder.end_file();
    }

    fn finish(self) -> Result<Loaded, Vec<Diagnostic>> {
        let (rules, found) = self.builder.finish();
        let mut faults = self.faults;
        faults.extend(found);
        // Errors first, for whoever shows a few.
        faults.sort_by_key(|fault| std::cmp::Reverse(fault.severity));
        let broken = faults.first().is_some_and(|fault| fault.severity == Severity::Error);
        if broken { Err(faults) } else { Ok(Loaded { rules, warnings: faults }) }
    }
}

/// Whether a rule file, by the name that diagnostics give it, is one of this host.
pub(crate) fn is_of_host(name: &str) -> bool {
    !name.starts_with(PUBLISHED) && !shipped::packs().any(|(known, _)| known == name)
}

/// The text of a rule file by the name that diagnostics give it.
pub(crate) fn text_of(name: &str) -> Option<String> {
    let shipped = shipped::packs().find(|(known, _)| *known == name);
    shipped.map(|(_, text)| text).or_else(|| std::fs::read_to_string(name).ok())
}

/// The rule files of a directory, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Box<Diagnostic>> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_dir()) {
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

/// The text of a file of patterns.
fn read_text(path: &Path) -> Result<String, String> {
    let bytes = read_bytes(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let (line, column, byte) = first_beyond_utf8(error.as_bytes());
        format!("is not UTF-8: the byte 0x{byte:02x} in line {line}, column {column}")
    })
}

/// What a file of rules or patterns holds.
fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = path.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err("is a directory".to_owned());
    }
    // To open a pipe waits for whoever writes into it.
    if !metadata.is_file() {
        return Err("is no file but a pipe, a socket or a device".to_owned());
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!("is larger than {} MiB", FILE_BYTES_MAX >> 20));
    }
    std::fs::read(path).map_err(unreadable)
}
