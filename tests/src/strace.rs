//! Faults at system calls, by `strace`: the program is killed at a call, a call fails, or all calls
//! that matter to a power cut are noted.
//!
//! `strace` counts calls by name and by thread, so a sweep goes over one call after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The calls that change what is on disk, with how often a thread of an agent makes them in a short
/// run, about: up to there a sweep goes. A kill comes before a call, so that of a file that was just made
/// and is empty is the one at its first write.
pub const DURABLE_CALLS: [(&str, usize); 10] = [
    ("pwrite64", 12),
    ("write", 12),
    ("fdatasync", 3),
    ("fsync", 6),
    ("rename", 5),
    ("unlink", 3),
    // Of a start.
    ("mkdir", 2),
    ("chmod", 4),
    ("ftruncate", 1),
    ("bind", 2),
];

/// All calls by which a program changes what is on disk, whether an agent makes them or not. Not every
/// processor's kernel has all.
const CHANGING_CALLS: &str = "?open,?creat,openat,openat2,?mkdir,mkdirat,?rmdir,?mknod,mknodat,?link,\
    linkat,?symlink,symlinkat,?rename,?renameat,renameat2,?unlink,unlinkat,bind,?chmod,fchmod,fchmodat,\
    ?chown,fchown,?lchown,fchownat,write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,\
    sendfile,splice,copy_file_range,fsync,fdatasync,sync,syncfs,sync_file_range,setxattr,fsetxattr,\
    removexattr,fremovexattr,?utime,?utimes,?futimesat,utimensat";

/// Notes into `log` all calls that change a disk, with the paths of what is open.
#[must_use]
pub fn noting_changes(log: &Path) -> Vec<String> {
    let trace = format!("trace={CHANGING_CALLS}");
    strace(&["-y", "-s", "0", "-o", &log.display().to_string(), "-e", &trace, "--"])
}

/// The names of the calls noted in `log` that have changed something below `directory`.
///
/// # Panics
/// There is no log.
#[must_use]
pub fn changes_in(log: &Path, directory: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(log).expect("strace writes it");
    let directory = directory.display().to_string();
    let changes = text.lines().filter(|line| line.contains(&directory) && !line.contains(" = -1 "));
    let opens = |line: &&str| line.contains(" open") && !line.contains("O_CREAT");
    let name =
        |line: &str| Some(line.split_once(' ')?.1.trim_start().split_once('(')?.0.to_owned());
    changes.filter(|line| !opens(line)).filter_map(name).collect()
}

/// Kills the program when a thread of it makes its `number`th `call`, before the call is made.
#[must_use]
pub fn killed_at(call: &str, number: usize) -> Vec<String> {
    injecting(call, &format!("signal=KILL:when={number}"))
}

/// Lets `call` fail with `error` as often as `when` says: `3`, `3..5`, `3+`, each by thread.
#[must_use]
pub fn failing(call: &str, error: &str, when: &str) -> Vec<String> {
    injecting(call, &format!("error={error}:when={when}"))
}

/// Does not make `calls`, and says that they were made.
#[must_use]
pub fn skipping(calls: &str) -> Vec<String> {
    injecting(calls, "retval=0")
}

/// Lets each of `calls` take so many milliseconds more, and notes them into `log`.
#[must_use]
pub fn slowing(calls: &str, milliseconds: u32, log: &Path) -> Vec<String> {
    let inject = format!("inject={calls}:delay_enter={milliseconds}ms");
    let trace = format!("trace={calls}");
    strace(&["-A", "-o", &log.display().to_string(), "-e", &trace, "-e", &inject, "--"])
}

fn injecting(call: &str, what: &str) -> Vec<String> {
    let inject = format!("inject={call}:{what}");
    let trace = format!("trace={call}");
    strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject, "--"])
}

fn strace(arguments: &[&str]) -> Vec<String> {
    let always = ["strace", "-f", "-qq"];
    always.iter().chain(arguments).map(|text| (*text).to_owned()).collect()
}

/// Notes into `log` what a power cut needs to know.
#[must_use]
pub fn noting(log: &Path) -> Vec<String> {
    let trace = "trace=pwrite64,write,fdatasync,fsync,rename,ftruncate";
    strace(&["-y", "-s", "0", "-o", &log.display().to_string(), "-e", trace, "--"])
}

/// What of a file has reached the disk for certain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Extent {
    written: u64,
    synced: u64,
    /// The name stands in a directory that was synced since.
    named: bool,
}

/// The files that a killed program was writing, as a power cut at that moment may leave them.
#[derive(Debug, Default)]
pub struct PowerCut {
    files: BTreeMap<PathBuf, Extent>,
}

impl PowerCut {
    /// From the log of [`noting`], of a run in which files below `directory` were written.
    ///
    /// # Panics
    /// The log cannot be read.
    #[must_use]
    pub fn from_log(log: &Path, directory: &Path) -> Self {
        let text = std::fs::read(log).expect("strace writes its log");
        let mut cut = Self::default();
        let mut unfinished: BTreeMap<&str, (&str, Vec<(PathBuf, u64)>)> = BTreeMap::new();
        let text = String::from_utf8_lossy(&text);
        for line in text.lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            if let Some(begun) = call.strip_suffix("<unfinished ...>") {
                // What was written when the sync began is what it promises.
                let written = cut.files.iter().map(|(path, e)| (path.clone(), e.written));
                unfinished.insert(thread, (begun, written.collect()));
            } else if let Some((_, rest)) =
                call.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
            {
                if let Some((begun, written)) = unfinished.remove(thread) {
                    cut.apply(&format!("{begun}{rest}"), &written);
                }
            } else {
                let written: Vec<_> =
                    cut.files.iter().map(|(path, e)| (path.clone(), e.written)).collect();
                cut.apply(call, &written);
            }
        }
        cut.files.retain(|path, _| path.starts_with(directory));
        cut
    }

    /// One call that has ended; `written` is how far each file was when it began.
    fn apply(&mut self, call: &str, written: &[(PathBuf, u64)]) {
        let Some((name, rest)) = call.split_once('(') else { return };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        let Some(result) = result.split(' ').next().and_then(|n| n.parse::<u64>().ok()) else {
            return;
        };
        if name == "rename" {
            let mut names = arguments.split('"').skip(1).step_by(2).map(PathBuf::from);
            if let (Some(from), Some(to)) = (names.next(), names.next()) {
                let extent = self.files.remove(&from).unwrap_or_default();
                self.files.insert(to, Extent { named: false, ..extent });
            }
            return;
        }
        let path = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        let Some(path) = path.map(|(path, _)| PathBuf::from(path)) else { return };
        match name {
            "pwrite64" => {
                let offset = arguments.trim_end_matches(')').rsplit(", ").next();
                let offset: u64 = offset.and_then(|text| text.parse().ok()).unwrap_or(0);
                let extent = self.files.entry(path).or_default();
                extent.written = extent.written.max(offset + result);
            }
            "write" => self.files.entry(path).or_default().written += result,
            "fsync" | "fdatasync" => {
                let known = written.iter().find(|(known, _)| *known == path);
                if let (Some((_, written)), Some(extent)) = (known, self.files.get_mut(&path)) {
                    extent.synced = extent.synced.max(*written);
                }
                let inside = |file: &Path| file.parent() == Some(&path);
                self.files.iter_mut().filter(|(file, _)| inside(file)).for_each(|(_, extent)| {
                    extent.named = true;
                });
            }
            _ => {}
        }
    }

    /// Bytes that were written and not synced.
    #[must_use]
    pub fn unsynced(&self) -> u64 {
        self.files.values().map(|extent| extent.written.saturating_sub(extent.synced)).sum()
    }

    /// Takes from the disk what it did not have for certain: cut off, or as zeros, as file systems
    /// do that write the length of a file before its content; and names that were not synced.
    ///
    /// # Panics
    /// A file cannot be changed.
    pub fn apply_to_disk(&self, zeros: bool) {
        for (path, extent) in &self.files {
            let Ok(bytes) = std::fs::read(path) else { continue };
            let kept = if extent.named { extent.synced.min(bytes.len() as u64) } else { 0 };
            let mut left = bytes[..kept as usize].to_vec();
            if zeros {
                left.resize(bytes.len(), 0);
            }
            std::fs::write(path, left).expect("the test's directory can be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_before_a_sync_that_succeeded_is_on_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let name = |name: &str| directory.path().join(name).display().to_string();
        let log = directory.path().join("log");
        let (a, b, c) = (name("a"), name("b"), name("c"));
        let here = directory.path().display();
        let text = format!(
            "1 pwrite64(3<{a}>, \"\"..., 10, 0) = 10\n\
             2 fdatasync(3<{a}> <unfinished ...>\n\
             1 pwrite64(3<{a}>, \"\"..., 10, 10) = 10\n\
             2 <... fdatasync resumed>) = 0\n\
             1 write(4<{b}>, \"\"..., 7) = 7\n\
             1 fsync(4<{b}>) = -1 EIO (Input/output error)\n\
             1 rename(\"{b}\", \"{c}\") = 0\n\
             1 write(5<{a}.x>, \"\"..., 7) = 7\n\
             1 fsync(5<{a}.x>) = 0\n\
             1 fsync(6<{here}>) = 0\n"
        );
        std::fs::write(&log, text).unwrap();
        let cut = PowerCut::from_log(&log, directory.path());
        let extent = |path: &str| {
            let extent = cut.files[Path::new(path)];
            (extent.written, extent.synced, extent.named)
        };
        assert_eq!(extent(&a), (20, 10, true));
        assert_eq!(extent(&c), (7, 0, true));
        assert_eq!(extent(&format!("{a}.x")), (7, 7, true));
        assert_eq!(cut.unsynced(), 17);
    }
}
