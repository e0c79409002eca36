//! What a program did to its files, from what `strace` noted of it.

use super::Mark;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A change of the disk, or a promise about it. Paths are below the root of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    MakeDirectory(PathBuf),
    /// Opened in a way that makes a file, and maybe empties it.
    Create {
        path: PathBuf,
        emptied: bool,
    },
    /// At an offset, or behind all that was written before.
    Write {
        path: PathBuf,
        at: Option<u64>,
        bytes: Vec<u8>,
    },
    SetLength {
        path: PathBuf,
        length: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove(PathBuf),
    /// `fsync` of a file or a directory.
    Sync(PathBuf),
    /// `fdatasync` of a file.
    SyncData(PathBuf),
}

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Called(Call),
    Noted(Mark),
}

const TRACED: &str = "trace=mkdir,openat,write,pwrite64,ftruncate,rename,unlink,fsync,fdatasync,\
                      mkdirat,renameat,renameat2,unlinkat,writev,pwritev,truncate,linkat,fallocate";

/// Runs `command` to its end, and tells what it did to `disk` and wrote to `marks`.
///
/// # Panics
/// It does not end well, or does what this cannot read.
pub(super) fn observed(command: &Command, disk: &Path, marks: &Path, log: &Path) -> Vec<Event> {
    let mut strace = Command::new("strace");
    // Every byte as two digits, none left out, and paths instead of numbers of open files.
    strace.args(["-f", "-qq", "-y", "-xx", "-s", "1000000", "-e", TRACED, "-o"]).arg(log);
    strace.arg("--").arg(command.get_program()).args(command.get_args());
    strace.current_dir(command.get_current_dir().expect("it has one"));
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = strace.output().expect("strace is there, see deploy/packages");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(log).expect("strace writes its log");
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut events = Vec::new();
    for line in text.lines() {
        let (thread, line) = line.split_once(' ').expect("a thread and a call");
        let line = line.trim_start();
        if let Some(line) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, line);
            continue;
        }
        let resumed = line.strip_prefix("<... ").and_then(|line| line.split_once(" resumed>"));
        let whole = match resumed {
            Some((_, rest)) => format!("{}{rest}", begun.remove(thread).expect("it was begun")),
            None => line.to_owned(),
        };
        events.extend(event(&whole, disk, marks));
    }
    events
}

/// What a line tells; `None` for what failed or concerns other files.
fn event(line: &str, disk: &Path, marks: &Path) -> Option<Event> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let arguments = arguments.trim_end().strip_suffix(')')?;
    // The file it is about: open, in angle brackets, or by name, in quotes.
    let opened = || Some(PathBuf::from(text(between(arguments, '<', '>')?)));
    let mut named = arguments.split('"').skip(1).step_by(2).map(text).map(PathBuf::from);
    let of_disk = |path: PathBuf| Some(path.strip_prefix(disk).ok()?.to_owned());
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let last = || number(arguments.rsplit(',').next()?);
    let written = || {
        let count = number(result).expect("a count") as usize;
        bytes(between(arguments, '"', '"').unwrap_or_default())[..count].to_vec()
    };
    let is_gone = arguments.contains(">(deleted)");
    let call = match name {
        "write" if opened()? == marks => {
            let mark = serde_json::from_slice(&written()).expect("a mark is one write");
            return Some(Event::Noted(mark));
        }
        "openat" if !arguments.contains("O_CREAT") => return None,
        "write" | "pwrite64" | "ftruncate" | "fsync" | "fdatasync" if is_gone => return None,
        "mkdir" => Call::MakeDirectory(of_disk(named.next()?)?),
        "openat" => {
            let emptied = arguments.contains("O_TRUNC");
            Call::Create { path: of_disk(named.next()?)?, emptied }
        }
        "write" => Call::Write { path: of_disk(opened()?)?, at: None, bytes: written() },
        "pwrite64" => Call::Write { path: of_disk(opened()?)?, at: last(), bytes: written() },
        "ftruncate" => Call::SetLength { path: of_disk(opened()?)?, length: last()? },
        "rename" => Call::Rename { from: of_disk(named.next()?)?, to: of_disk(named.next()?)? },
        "unlink" => Call::Remove(of_disk(named.next()?)?),
        "fsync" => Call::Sync(of_disk(opened()?)?),
        "fdatasync" => Call::SyncData(of_disk(opened()?)?),
        _ => {
            let touched = named.chain(opened()).any(|path| path.starts_with(disk));
            assert!(!touched, "a call that this does not know yet: {line}");
            return None;
        }
    };
    Some(Event::Called(call))
}

fn between(text: &str, open: char, close: char) -> Option<&str> {
    Some(text.split_once(open)?.1.split_once(close)?.0)
}

/// From `\x41\x42…`.
fn bytes(digits: &str) -> Vec<u8> {
    let byte = |digits: &str| u8::from_str_radix(digits, 16).expect("two digits");
    digits.split("\\x").skip(1).map(byte).collect()
}

fn text(digits: &str) -> String {
    String::from_utf8(bytes(digits)).expect("the paths of this test are text")
}
