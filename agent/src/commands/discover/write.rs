//! What was found becomes the `sources` of a configuration; everything else in it stays byte for byte.

use super::{Journal, Log};
use crate::Config;
use crate::commands::write_config;
use logweir_document::{Node, Value, parse};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files that a syslog daemon fills from the journal, or beside it, with the same events.
const OF_SYSLOG: [&str; 4] = ["syslog", "messages", "auth.log", "secure"];

/// Makes what can be read the sources of the configuration; returns what they are, for a person. With
/// `roots`, where it was looked, nothing that was written by hand is taken away.
pub(super) fn write(
    config: &Path,
    logs: &[Log],
    journal: &Journal,
    roots: Option<&Vec<PathBuf>>,
) -> Result<String, String> {
    let name = config.display();
    let text = std::fs::read_to_string(config).map_err(|error| {
        format!("cannot read {name}: {error}; `logweir-agent init` writes a first one")
    })?;
    let paths = paths(logs);
    let twin = logs.iter().find(|log| is_read(log) && is_of_syslog(&log.path));
    let with_journal = journal.is_readable() && twin.is_none();
    if paths.is_empty() && !with_journal {
        return Err(format!("{name} stays as it is: no log was found that can be read"));
    }
    let by_hand = roots.map_or_else(Vec::new, |roots| by_hand(&text, roots));
    if !by_hand.is_empty() {
        return Err(format!(
            "{name} stays as it is, its sources were written by hand: {}; move them to a file in \
             conf.d beside it, or take them away with --force",
            by_hand.join(", ")
        ));
    }
    let changed = with_sources(&text, &sources(&paths, with_journal.then_some(journal)));
    Config::from_yaml(&name.to_string(), &changed).map_err(|faults| {
        format!(
            "{name} stays as it is, its sources cannot be changed:\n{}",
            logweir_document::render_all(&faults, false)
        )
    })?;
    write_config(config, &changed).map_err(|error| format!("cannot write {name}: {error}"))?;
    let told = match (with_journal, twin) {
        (true, _) => " and the journal".to_owned(),
        (false, Some(twin)) if journal.is_readable() => {
            format!("; the journal is not among them, its events are in {}", twin.path.display())
        }
        _ => String::new(),
    };
    let paths = match paths.len() {
        1 => "1 path".to_owned(),
        count => format!("{count} paths"),
    };
    Ok(format!("{name}: its sources now: {paths}{told}"))
}

/// The sources that are more than `init` and this command write, or that lie elsewhere.
fn by_hand(text: &str, roots: &[PathBuf]) -> Vec<String> {
    let Ok(document) = parse("", text) else { return Vec::new() };
    let Some(Value::Sequence(sources)) = document.root.get("sources").map(|node| &node.value)
    else {
        return Vec::new();
    };
    let told = sources.iter().enumerate().filter_map(|(at, source)| {
        let kind = source.get("type").and_then(Node::text).unwrap_or_default();
        more_than_written(source, kind, roots).map(|more| format!("sources[{at}] ({kind}{more})"))
    });
    told.collect()
}

/// What a source of this kind has that this command would not write again.
fn more_than_written(source: &Node, kind: &str, roots: &[PathBuf]) -> Option<String> {
    let known = match kind {
        "file" => "paths",
        "journald" => "directories",
        _ => return Some(String::new()),
    };
    let Value::Mapping(entries) = &source.value else { return None };
    let names = entries.iter().map(|(key, _)| key.name.as_str());
    let mut more: Vec<&str> = names.filter(|name| !["type", known].contains(name)).collect();
    if kind == "file"
        && let Some(Value::Sequence(paths)) = source.get("paths").map(|paths| &paths.value)
    {
        let paths = paths.iter().filter_map(Node::text);
        more.extend(paths.filter(|path| !roots.iter().any(|root| is_in(path, root))));
    }
    (!more.is_empty()).then(|| format!(": {}", more.join(", ")))
}

fn is_in(path: &str, root: &Path) -> bool {
    Path::new(path).starts_with(escaped(root))
}

fn is_read(log: &Log) -> bool {
    log.obstacle.is_none() && log.tally.lines > 0
}

fn is_of_syslog(path: &Path) -> bool {
    OF_SYSLOG.iter().any(|name| path == Path::new("/var/log").join(name))
}

/// Several `*.log` of a folder become one pattern, so that those that come later are read too.
fn paths(logs: &[Log]) -> Vec<String> {
    let mut by_folder: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
    for log in logs.iter().filter(|log| is_read(log)) {
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

fn sources(paths: &[String], journal: Option<&Journal>) -> String {
    let mut out = "sources:\n".to_owned();
    if !paths.is_empty() {
        out.push_str("  - type: file\n    paths:\n");
    }
    for path in paths {
        out.push_str(&format!("      - {}\n", quoted(path)));
    }
    if let Some(journal) = journal {
        out.push_str("  - type: journald\n");
        if let Some(directory) = &journal.told {
            out.push_str(&format!("    directories: [{}]\n", quoted(&directory.to_string_lossy())));
        }
    }
    out
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
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
}
