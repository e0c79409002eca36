//! `logweir-agent discover`: which logs are on this machine, whose they are, how much of them the rules
//! understand, and what keeps the agent from reading them.

use super::access::{Obstacle, Reader};
use super::input::load;
use super::write_config;
use crate::Config;
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
/// Endings of what is no log to read on: compressed, rotated, binary.
const PASSED_OVER: [&str; 11] =
    ["gz", "xz", "bz2", "zst", "lz4", "zip", "journal", "old", "pid", "sock", "db"];

/// Find the logs of this machine and tell what the rules make of them
#[derive(Debug, clap::Args)]
pub struct Discover {
    /// Where to look
    #[arg(long, value_name = "DIR", default_value = "/var/log")]
    root: Vec<PathBuf>,
    /// Make what can be read the `sources` of the configuration
    #[arg(long)]
    write: bool,
    /// The configuration that is changed by --write
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/agent.yaml")]
    config: PathBuf,
}

/// A log with what is known of it.
struct Log {
    path: PathBuf,
    /// The pack that most of its lines belong to.
    dataset: Option<String>,
    lines: usize,
    parsed: usize,
    obstacle: Option<Obstacle>,
}

impl Discover {
    pub fn execute(self) -> ExitCode {
        let rules = match load(&[], true) {
            Ok(rules) => rules,
            Err(code) => return code,
        };
        let reader = Reader::of_agent();
        let mut parser = Parser::new(rules.clone());
        let mut logs = Vec::new();
        for path in files(&self.root) {
            logs.extend(look(path, &reader, &mut parser, &rules));
        }
        print!("{}", table(&logs, &reader.name));
        print!("{}", beside());
        if !self.write {
            return ExitCode::SUCCESS;
        }
        match write(&self.config, &logs) {
            Ok(count) => {
                println!("{}: {count} paths are its sources now", self.config.display());
                ExitCode::SUCCESS
            }
            Err(message) => {
                eprintln!("logweir-agent: {message}");
                ExitCode::FAILURE
            }
        }
    }
}

/// The files that may be logs, in the order of their paths.
fn files(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<(PathBuf, usize)> = roots.iter().map(|root| (root.clone(), 0)).collect();
    let mut entries = 0;
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            entries += 1;
            if entries > ENTRIES_MAX {
                eprintln!(
                    "logweir-agent: more than {ENTRIES_MAX} entries; the rest is not looked at"
                );
                found.sort();
                return found;
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
    }
    found.sort();
    found
}

fn may_be_log(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
    let is_rotated = !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_digit())
        || name
            .rsplit_once('-')
            .is_some_and(|(_, date)| date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()));
    !name.starts_with('.') && !is_rotated && !PASSED_OVER.contains(&ending)
}

/// What a file is; `None` if it is no text or has none.
fn look(path: PathBuf, reader: &Reader, parser: &mut Parser, rules: &RuleSet) -> Option<Log> {
    let obstacle = reader.obstacle(&path);
    let Ok(tail) = tail(&path) else {
        return Some(Log { path, dataset: None, lines: 0, parsed: 0, obstacle });
    };
    if tail.is_empty() || tail.contains(&0) {
        return None;
    }
    let (mut lines, mut parsed) = (0, 0);
    let mut packs: BTreeMap<usize, usize> = BTreeMap::new();
    let mut event = Vec::new();
    let zone = Zone::parse("UTC").ok()?;
    let context = LineContext {
        pack: None,
        received_unix_nanos: now_nanos(),
        zone: &zone,
        original_bytes: None,
    };
    for line in
        tail.split(|byte| *byte == b'\n').rev().filter(|line| !line.is_empty()).take(LINES_MAX)
    {
        event.clear();
        let told = parser.parse(line.strip_suffix(b"\r").unwrap_or(line), &context, &mut event);
        lines += 1;
        if told.rule.is_some() {
            parsed += 1;
            told.pack.into_iter().for_each(|pack| *packs.entry(pack).or_default() += 1);
        }
    }
    let most = packs.iter().max_by_key(|(_, count)| **count);
    let dataset = most.map(|(pack, count)| {
        let more = if *count < parsed { ", …" } else { "" };
        format!("{}{more}", rules.dataset(*pack))
    });
    Some(Log { path, dataset, lines, parsed, obstacle })
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

fn table(logs: &[Log], reader: &str) -> String {
    let shown: Vec<String> = logs.iter().map(|log| printable(&log.path)).collect();
    let width = shown.iter().map(|path| path.chars().count()).max().unwrap_or(4).min(60);
    let mut out = format!("{:width$}  {:>6}  {:20}  NOTE\n", "PATH", "PARSED", "DATASET");
    for (log, path) in logs.iter().zip(&shown) {
        let share = match log.lines {
            0 => "–".to_owned(),
            lines => format!("{} %", log.parsed * 100 / lines),
        };
        let note = log.obstacle.as_ref().map_or_else(String::new, |obstacle| {
            format!(
                "{} cannot be {} by {reader}: {}",
                printable(&obstacle.path),
                obstacle.what,
                obstacle.remedy
            )
        });
        let dataset = log.dataset.as_deref().unwrap_or("–");
        out.push_str(format!("{path:width$}  {share:>6}  {dataset:20}  {note}").trim_end());
        out.push('\n');
    }
    let closed = logs.iter().filter(|log| log.obstacle.is_some()).count();
    out.push_str(&format!("{} logs, {closed} of them closed to {reader}\n", logs.len()));
    out
}

/// File names come from outside.
fn printable(path: &Path) -> String {
    path.display()
        .to_string()
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// What else there is to read.
fn beside() -> String {
    let mut out = String::new();
    if let Some(journal) =
        ["/var/log/journal", "/run/log/journal"].iter().find(|path| Path::new(path).is_dir())
    {
        out.push_str(&format!("the journal of systemd is in {journal}\n"));
    }
    for (table, protocol) in [("udp", "UDP"), ("udp6", "UDP"), ("tcp", "TCP"), ("tcp6", "TCP")] {
        // Local address and port in hexadecimal; a TCP socket that listens is in state 0A.
        let sockets = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        let listens = sockets.lines().skip(1).any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(1).is_some_and(|local| local.ends_with(":0202"))
                && (protocol == "UDP" || fields.get(3) == Some(&"0A"))
        });
        if listens {
            out.push_str(&format!(
                "something listens for syslog on {protocol} port 514 already ({table})\n"
            ));
        }
    }
    out
}

/// Makes the logs that can be read and were understood, or may be later, the sources of the
/// configuration; returns how many paths there are.
fn write(config: &Path, logs: &[Log]) -> Result<usize, String> {
    let name = config.display();
    let text = std::fs::read_to_string(config).map_err(|error| {
        format!("cannot read {name}: {error}; `logweir-agent init` writes a first one")
    })?;
    let paths = paths(logs);
    if paths.is_empty() {
        return Err(format!("{name} stays as it is: no log was found that can be read"));
    }
    let changed = with_sources(&text, &sources(&paths));
    Config::from_yaml(&name.to_string(), &changed).map_err(|faults| {
        format!(
            "{name} stays as it is, its sources cannot be changed:\n{}",
            logweir_document::render_all(&faults, false)
        )
    })?;
    write_config(config, &changed).map_err(|error| format!("cannot write {name}: {error}"))?;
    Ok(paths.len())
}

/// Several `*.log` of a folder become one pattern, so that those that come later are read too.
fn paths(logs: &[Log]) -> Vec<String> {
    let mut by_folder: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
    for log in logs.iter().filter(|log| log.obstacle.is_none() && log.lines > 0) {
        by_folder.entry(log.path.parent().unwrap_or(Path::new("/"))).or_default().push(&log.path);
    }
    let mut paths = Vec::new();
    for (folder, files) in by_folder {
        let is_log = |path: &&&Path| path.extension().is_some_and(|ending| ending == "log");
        let is_pattern = files.iter().filter(is_log).count() > 1;
        if is_pattern {
            paths.push(format!("{}/*.log", escaped(folder)));
        }
        paths.extend(
            files.iter().filter(|path| !(is_pattern && is_log(path))).map(|path| escaped(path)),
        );
    }
    paths
}

/// A path as a pattern that matches only it.
fn escaped(path: &Path) -> String {
    let mut out = String::new();
    for character in path.to_string_lossy().chars() {
        match character {
            '*' | '?' | '[' | ']' | '{' | '}' => out.push_str(&format!("[{character}]")),
            other => out.push(other),
        }
    }
    out
}

fn sources(paths: &[String]) -> String {
    let mut out = "sources:\n  - type: file\n    paths:\n".to_owned();
    for path in paths {
        out.push_str(&format!("      - '{}'\n", path.replace('\'', "''")));
    }
    out
}

/// The text with another `sources:`; everything else stays byte for byte.
fn with_sources(text: &str, sources: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let Some(from) = lines.iter().position(|line| line.starts_with("sources:")) else {
        let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return format!("{text}{separator}{sources}");
    };
    let is_next = |line: &&str| !line.starts_with([' ', '\t', '-', '#', '\n', '\r']);
    let next = lines[from + 1..].iter().position(is_next).map_or(lines.len(), |at| from + 1 + at);
    // Remarks in front of the next key belong to it.
    let belongs = |line: &&str| line.starts_with([' ', '\t', '-']);
    let to = lines[from + 1..next].iter().rposition(belongs).map_or(from + 1, |at| from + 2 + at);
    format!("{}{sources}{}", lines[..from].concat(), lines[to..].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn only_the_sources_of_a_configuration_change() {
        for (before, after) in [
            ("kafka: {a: b}\nsources:\n  - type: stdin\n", "kafka: {a: b}\nNEW\n"),
            (
                "sources: [{type: stdin}]\n# of Kafka\nkafka: {a: b}\n",
                "NEW\n# of Kafka\nkafka: {a: b}\n",
            ),
            ("sources:\n- type: stdin\n\n  # last\nkafka: {}", "NEW\nkafka: {}"),
            ("kafka: {a: b}", "kafka: {a: b}\nNEW\n"),
            ("", "NEW\n"),
        ] {
            assert_eq!(with_sources(before, "NEW\n"), after, "{before:?}");
        }
    }

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
        let mut parser = Parser::new(rules.clone());
        let reader = Reader::of_agent();
        let roots = [directory.path().to_owned()];
        let logs: Vec<Log> = files(&roots)
            .into_iter()
            .filter_map(|path| look(path, &reader, &mut parser, &rules))
            .collect();
        let told = |name: &str| {
            let log = logs.iter().find(|log| log.path == at(name)).unwrap();
            (log.lines, log.parsed, log.dataset.as_deref())
        };
        assert_eq!(logs.len(), 3);
        assert_eq!(told("auth.log"), (3, 3, Some("sshd")));
        assert_eq!(told("other.log").0, 1);
        let config = at("agent.yaml");
        std::fs::write(&config, "kafka: {bootstrap.servers: 'a:9092'}\n").unwrap();
        assert_eq!(write(&config, &logs).unwrap(), 2);
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains("/*.log'") && text.contains("odd[[]1[]]'"), "{text}");
        assert!(write(&config, &[]).unwrap_err().contains("stays as it is"));
    }
}
