//! `logweir-agent discover`: which logs are on this machine, in files and in the journal, whose they
//! are, how much of them the rules understand, what keeps the agent from reading them, and which
//! services seem to have none.

mod services;
mod write;

use super::access::{Obstacle, Reader};
use super::input::load;
use super::out::printable;
use crate::source::journald;
use crate::{errln, out, outln};
use logweir_parsers::{LineContext, Parser, RuleSet, Zone};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How deep and how far folders are looked through.
const DEPTH_MAX: usize = 4;
const ENTRIES_MAX: usize = 20_000;
/// What is read of the end of each file.
const TAIL_BYTES: u64 = 64 << 10;
const LINES_MAX: usize = 200;
/// What is read of the end of the journal.
const ENTRIES_OF_JOURNAL_MAX: u64 = 2_000;
/// Units with fewer lines than the first ones are told as one.
const UNITS_SHOWN_MAX: usize = 20;
/// Endings of what is no log to read on: compressed, rotated, binary.
const PASSED_OVER: [&str; 11] =
    ["gz", "xz", "bz2", "zst", "lz4", "zip", "journal", "old", "pid", "sock", "db"];
/// Tables of logins, which are no text; often closed, so their content does not tell.
const TABLES: [&str; 5] = ["btmp", "wtmp", "lastlog", "faillog", "tallylog"];

/// Find the logs of this machine and tell what the rules make of them
#[derive(Debug, clap::Args)]
pub struct Discover {
    /// Where to look
    #[arg(long, value_name = "DIR", default_value = "/var/log")]
    root: Vec<PathBuf>,
    /// Where the journal is; by default where the system has it
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Make what can be read the `sources` of the configuration
    #[arg(long)]
    write: bool,
    /// Let --write take away sources that were written by hand, too
    #[arg(long, requires = "write")]
    force: bool,
    /// The configuration that is changed by --write
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/agent.yaml")]
    config: PathBuf,
}

/// A log with what is known of it.
struct Log {
    path: PathBuf,
    tally: Tally,
    obstacle: Option<Obstacle>,
}

/// The journal, by units, or by programs that are of none.
#[derive(Default)]
struct Journal {
    /// As it was named on the command line.
    told: Option<PathBuf>,
    directory: Option<PathBuf>,
    units: BTreeMap<String, Tally>,
    obstacle: Option<Obstacle>,
}

impl Journal {
    fn is_readable(&self) -> bool {
        self.obstacle.is_none() && !self.units.is_empty()
    }
}

/// Lines that were tried.
#[derive(Default)]
struct Tally {
    lines: usize,
    parsed: usize,
    /// How many lines of each pack.
    packs: BTreeMap<usize, usize>,
}

impl Tally {
    /// What most of the lines are.
    fn dataset(&self, rules: &RuleSet) -> String {
        let most = self.packs.iter().max_by_key(|(_, count)| **count);
        most.map_or_else(
            || "–".to_owned(),
            |(pack, count)| {
                let more = if *count < self.parsed { ", …" } else { "" };
                format!("{}{more}", rules.dataset(*pack))
            },
        )
    }

    fn share(&self) -> String {
        match self.lines {
            0 => "–".to_owned(),
            lines => format!("{} %", self.parsed * 100 / lines),
        }
    }
}

/// Tries lines on the rules.
struct Trial {
    parser: Parser,
    event: Vec<u8>,
}

impl Trial {
    fn line(&mut self, line: &[u8], tally: &mut Tally) {
        let context = LineContext {
            pack: None,
            received_unix_nanos: now_nanos(),
            zone: &Zone::utc(),
            original_bytes: None,
        };
        self.event.clear();
        let told = self.parser.parse(line, &context, &mut self.event);
        tally.lines += 1;
        if told.rule.is_some() {
            tally.parsed += 1;
            told.pack.into_iter().for_each(|pack| *tally.packs.entry(pack).or_default() += 1);
        }
    }
}

impl Discover {
    pub fn execute(mut self) -> ExitCode {
        let rules = match load(&[], true) {
            Ok(rules) => rules,
            Err(code) => return code,
        };
        let reader = Reader::of_agent();
        let mut trial = Trial { parser: Parser::new(rules.clone()), event: Vec::new() };
        for root in &mut self.root {
            // Paths of a configuration begin at the root of the file system.
            match root.metadata().and_then(|_| std::path::absolute(&*root)) {
                Ok(absolute) => *root = absolute,
                Err(error) => {
                    errln!("logweir-agent: {}: {error}", printable(root.display()));
                    return ExitCode::FAILURE;
                }
            }
        }
        let (files, mut hidden) = files(&self.root, &reader);
        let logs: Vec<Log> =
            files.into_iter().filter_map(|path| look(path, &reader, &mut trial)).collect();
        // That is told of the files in it.
        hidden.retain(|folder| {
            let mut obstacles = logs.iter().filter_map(|log| log.obstacle.as_ref());
            !obstacles.any(|obstacle| obstacle.path == folder.path)
        });
        let journal = look_at_journal(self.journal, &reader, &mut trial);
        out!("{}", table(&logs, &hidden, &journal, &rules, &reader.name));
        let services = services::listening(Path::new("/proc"));
        out!("{}", services::table(&services, &rules, &seen(&logs, &journal, &rules)));
        if !self.write {
            return ExitCode::SUCCESS;
        }
        match write::write(&self.config, &logs, &journal, (!self.force).then_some(&self.root)) {
            Ok(told) => {
                outln!("{told}");
                ExitCode::SUCCESS
            }
            Err(message) => {
                errln!("logweir-agent: {message}");
                ExitCode::FAILURE
            }
        }
    }
}

/// The files that may be logs, in the order of their paths, and what closes folders to the reader that
/// may hold more of them: what this process cannot see, and what the reader cannot although there are
/// logs in it.
fn files(roots: &[PathBuf], reader: &Reader) -> (Vec<PathBuf>, Vec<Obstacle>) {
    let (mut found, mut hidden) = (Vec::new(), Vec::new());
    let mut folders: Vec<(PathBuf, usize)> = roots.iter().map(|root| (root.clone(), 0)).collect();
    let mut entries = 0;
    while let Some((folder, depth)) = folders.pop() {
        let before = found.len();
        let listing = std::fs::read_dir(&folder);
        let is_closed = listing.is_err();
        for entry in listing.into_iter().flatten().flatten() {
            entries += 1;
            if entries > ENTRIES_MAX {
                errln!("logweir-agent: more than {ENTRIES_MAX} entries; the rest is not looked at");
                folders.clear();
                break;
            }
            // Of links, what they lead to is found where it is.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEPTH_MAX => {
                    folders.push((entry.path(), depth + 1))
                }
                Ok(kind) if kind.is_file() && may_be_log(&entry.path()) => found.push(entry.path()),
                _ => {}
            }
        }
        if is_closed || found.len() > before {
            hidden.extend(reader.obstacle_of_folder(&folder));
        }
    }
    found.sort();
    hidden.sort_by(|one, other| one.path.cmp(&other.path));
    hidden.dedup();
    (found, hidden)
}

fn may_be_log(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
    let is_rotated = !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_digit())
        || name
            .rsplit_once('-')
            .is_some_and(|(_, date)| date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()));
    !name.starts_with('.')
        && !is_rotated
        && !PASSED_OVER.contains(&ending)
        && !TABLES.contains(&name)
}

/// What a file is; `None` if it is no text or has none.
fn look(path: PathBuf, reader: &Reader, trial: &mut Trial) -> Option<Log> {
    let obstacle = reader.obstacle(&path);
    let mut tally = Tally::default();
    let Ok(tail) = tail(&path) else {
        return Some(Log { path, tally, obstacle });
    };
    if tail.is_empty() || tail.contains(&0) {
        return None;
    }
    let lines = tail.split(|byte| *byte == b'\n').rev().filter(|line| !line.is_empty());
    for line in lines.take(LINES_MAX) {
        trial.line(line.strip_suffix(b"\r").unwrap_or(line), &mut tally);
    }
    Some(Log { path, tally, obstacle })
}

/// What the journal has, if there is one.
fn look_at_journal(told: Option<PathBuf>, reader: &Reader, trial: &mut Trial) -> Journal {
    let Some(directory) = told.clone().or_else(journald::directory_of_system) else {
        return Journal::default();
    };
    let paths = journald::journals(&directory);
    let mut units: BTreeMap<String, Tally> = BTreeMap::new();
    for (unit, line) in journald::recent(&paths, ENTRIES_OF_JOURNAL_MAX) {
        trial.line(&line, units.entry(unit).or_default());
    }
    let obstacle = paths.iter().find_map(|path| reader.obstacle(path));
    Journal { told, directory: Some(directory), units, obstacle }
}

/// The end of a file, from the beginning of a line.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let from = size.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    if from > 0
        && let Some(end) = memchr::memchr(b'\n', &bytes)
    {
        bytes.drain(..=end);
    }
    Ok(bytes)
}

fn now_nanos() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn table(
    logs: &[Log],
    hidden: &[Obstacle],
    journal: &Journal,
    rules: &RuleSet,
    reader: &str,
) -> String {
    let mut units: Vec<(&String, &Tally)> = journal.units.iter().collect();
    units.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.lines));
    let left_out = units.len().saturating_sub(UNITS_SHOWN_MAX);
    units.truncate(UNITS_SHOWN_MAX);
    let told = |obstacle: &Obstacle| {
        let Obstacle { path, what, remedy } = obstacle;
        format!("{} cannot be {what} by {reader}: {}", printable(path.display()), printable(remedy))
    };
    let mut rows: Vec<(String, String, String, String)> = logs
        .iter()
        .map(|log| {
            let note = log.obstacle.as_ref().map(told).unwrap_or_default();
            (printable(log.path.display()), log.tally.share(), log.tally.dataset(rules), note)
        })
        .collect();
    rows.extend(hidden.iter().map(|folder| {
        let name = format!("{}/", printable(folder.path.display()));
        (name, "–".to_owned(), "–".to_owned(), told(folder))
    }));
    rows.extend(units.into_iter().map(|(unit, tally)| {
        let unit = format!("journal: {}", printable(unit));
        (unit, tally.share(), tally.dataset(rules), String::new())
    }));
    let width = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(4).min(60);
    let mut out = format!("{:width$}  {:>6}  {:20}  NOTE\n", "LOG", "PARSED", "DATASET");
    for (name, share, dataset, note) in rows {
        out.push_str(format!("{name:width$}  {share:>6}  {dataset:20}  {note}").trim_end());
        out.push('\n');
    }
    if left_out > 0 {
        out.push_str(&format!("and {left_out} more units in the journal\n"));
    }
    let closed = logs.iter().filter(|log| log.obstacle.is_some()).count();
    out.push_str(&format!("{} files, {closed} of them closed to {reader}", logs.len()));
    match hidden.len() {
        0 => {}
        1 => out.push_str("; 1 folder that may hold more"),
        count => out.push_str(&format!("; {count} folders that may hold more")),
    }
    out.push_str(&match (&journal.directory, &journal.obstacle) {
        (None, _) => "; no journal of systemd\n".to_owned(),
        (Some(directory), None) => {
            format!("; the journal is in {}\n", printable(directory.display()))
        }
        (Some(_), Some(obstacle)) => format!("; of the journal, {}\n", told(obstacle)),
    });
    out
}

/// Where the events of each dataset were found.
fn seen(logs: &[Log], journal: &Journal, rules: &RuleSet) -> BTreeMap<String, String> {
    let of = |tally: &Tally, place: String| {
        let datasets = tally.packs.keys().map(|pack| rules.dataset(*pack).to_owned());
        datasets.map(|dataset| (dataset, place.clone())).collect::<Vec<_>>()
    };
    let units = journal
        .units
        .iter()
        .flat_map(|(unit, tally)| of(tally, format!("the journal, {}", printable(unit))));
    // Of both, a file is told.
    units.chain(logs.iter().flat_map(|log| of(&log.tally, printable(log.path.display())))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn logs_are_told_from_what_lies_beside_them() {
        for (name, expected) in [
            ("syslog", true),
            ("app.log", true),
            ("syslog.1", false),
            ("messages-20261128", false),
            ("app.log.2.gz", false),
            ("system.journal", false),
            (".hidden", false),
        ] {
            assert_eq!(may_be_log(&Path::new("/var/log").join(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_is_found_becomes_sources_that_read_just_that() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let line =
            "Nov 28 10:00:00 box sshd[1]: Failed password for root from 10.0.0.7 port 22 ssh2\n";
        std::fs::write(at("auth.log"), line.repeat(3)).unwrap();
        std::fs::write(at("other.log"), "no rule knows this\n").unwrap();
        std::fs::write(at("odd[1]"), line).unwrap();
        std::fs::write(at("empty.log"), "").unwrap();
        std::fs::write(at("wtmp"), [7, 0, 0, 0]).unwrap();
        let rules = Arc::new(RuleSet::load(&[], true).unwrap().rules);
        let mut trial = Trial { parser: Parser::new(rules.clone()), event: Vec::new() };
        let reader = Reader::of_agent();
        let roots = [directory.path().to_owned()];
        let (found, hidden) = files(&roots, &reader);
        assert_eq!(hidden, []);
        let logs: Vec<Log> =
            found.into_iter().filter_map(|path| look(path, &reader, &mut trial)).collect();
        let told = |name: &str| {
            let log = logs.iter().find(|log| log.path == at(name)).unwrap();
            (log.tally.lines, log.tally.parsed, log.tally.dataset(&rules))
        };
        assert_eq!(logs.len(), 3);
        assert_eq!(told("auth.log"), (3, 3, "sshd".to_owned()));
        assert_eq!(told("other.log").0, 1);
        let seen = seen(&logs, &Journal::default(), &rules);
        assert_eq!(seen["sshd"], at("odd[1]").display().to_string());
        let config = at("agent.yaml");
        std::fs::write(&config, "kafka: {bootstrap.servers: 'a:9092'}\n").unwrap();
        let none = Journal::default();
        let kept = roots.to_vec();
        let write = |logs: &[Log]| write::write(&config, logs, &none, Some(&kept));
        for _ in ["anew", "over what it wrote itself"] {
            assert!(write(&logs).unwrap().ends_with("its sources now: 2 paths"));
        }
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains("/*.log'") && text.contains("odd[[]1[]]'"), "{text}");
        assert!(write(&[]).unwrap_err().contains("stays as it is"));
        let by_hand = format!("{text}  - {{type: syslog, udp: '127.0.0.1:5514'}}\n");
        std::fs::write(&config, &by_hand).unwrap();
        let refused = write(&logs).unwrap_err();
        assert!(
            refused.contains("sources[1] (syslog)") && refused.contains("--force"),
            "{refused}"
        );
        assert_eq!(std::fs::read_to_string(&config).unwrap(), by_hand);
        write::write(&config, &logs, &none, None).unwrap();
        assert_eq!(std::fs::read_to_string(&config).unwrap(), text);
    }
}
