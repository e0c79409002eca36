//! The journal, read from files that systemd's own program has written, against what `journalctl`
//! says of the same files.

use logweir_tests::{Agent, AgentConfig, Broker, Topic, directory, run_to_end, wait_until};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const REMOTE: &str = "/lib/systemd/systemd-journal-remote";
const BOOT: &str = "0123456789abcdef0123456789abcdef";

/// Entries in the export format of the journal, numbered from `first` on.
fn export(first: usize, count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for number in first..first + count {
        let mut text = String::new();
        let time = 1_795_827_723_000_000 + number as u64;
        write!(
            text,
            "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={number}\n_BOOT_ID={BOOT}\n\
             PRIORITY={}\nSYSLOG_IDENTIFIER=program\n_PID=4{number}\n_UID=0\n_COMM=prog\n\
             _SYSTEMD_UNIT=unit{}.service\n_HOSTNAME=web1\n_TRANSPORT=stdout\nOWN_FIELD=own\n",
            number % 8,
            number % 2
        )
        .unwrap();
        out.extend_from_slice(text.as_bytes());
        // Long ones are compressed, others are no text or have several lines.
        let message = match number % 4 {
            0 => format!("message {number} {}", "long ".repeat(400)).into_bytes(),
            1 => format!("message {number}\nof two lines").into_bytes(),
            2 => [format!("message {number} ").as_bytes(), b"\xff\xfe"].concat(),
            _ => format!("message {number}").into_bytes(),
        };
        out.extend_from_slice(b"MESSAGE\n");
        out.extend_from_slice(&(message.len() as u64).to_le_bytes());
        out.extend_from_slice(&message);
        out.extend_from_slice(b"\n\n");
    }
    out
}

/// Appends the entries to a journal, which is made if need be.
fn write(path: &Path, entries: &[u8]) {
    let mut remote = Command::new(REMOTE)
        .args(["--output", path.to_str().unwrap(), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd-journal-remote is installed");
    remote.stdin.take().unwrap().write_all(entries).unwrap();
    assert!(remote.wait().unwrap().success(), "{}", path.display());
}

/// What `journalctl` says of a journal.
fn told(path: &Path) -> Vec<Value> {
    let output = Command::new("journalctl")
        .args(["--output", "json", "--all", "--file", path.to_str().unwrap()])
        .output()
        .expect("journalctl is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A message of `journalctl`: a text, or numbers if it is none.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Array(numbers) => numbers.iter().map(|n| n.as_u64().unwrap() as u8).collect(),
        other => panic!("{other}"),
    }
}

/// The active file of a journal, and an agent that has delivered the hundred entries in it.
fn with_a_hundred_read(directory: &Path) -> (Broker, Topic, PathBuf, Agent) {
    let journals = directory.join("journal");
    std::fs::create_dir(&journals).unwrap();
    let active = journals.join("system.journal");
    write(&active, &export(0, 100));
    let broker = Broker::started(directory);
    let topic = Topic::create(&broker.bootstrap(), "journal", 1);
    let source = format!("{{type: journald, directories: ['{}']}}", journals.display());
    let agent = Agent::started(directory, &AgentConfig::of_source(&topic, &source));
    wait_until("the first hundred", || topic.records() == Some(100));
    (broker, topic, active, agent)
}

#[test]
fn the_journal_is_read_as_journalctl_reads_it_over_restarts_and_rotation() {
    let directory = directory();
    let (_broker, topic, active, mut agent) = with_a_hundred_read(directory.path());
    write(&active, &export(100, 50));
    wait_until("what came while it ran", || topic.records() == Some(150));
    assert!(agent.terminate().success());
    write(&active, &export(150, 50));
    let wanted = told(&active);
    std::fs::rename(&active, active.with_file_name("system@0-1.journal")).unwrap();
    agent.start();
    wait_until("what came while it was stopped", || topic.records() == Some(200));
    agent.counts_told().assert_balanced();
    let events = topic.events();
    assert_eq!(wanted.len(), 200);
    for (event, told) in events.iter().zip(&wanted) {
        let message = String::from_utf8_lossy(&bytes(&told["MESSAGE"])).into_owned();
        let original = event.text("event.original");
        assert!(original.ends_with(&format!(": {message}")), "{original:?} {message:?}");
        assert_eq!(event.text("systemd.unit"), told["_SYSTEMD_UNIT"]);
        assert_eq!(event.text("host.boot.id"), BOOT);
        assert_eq!(event.text("journald.own_field"), "own");
        assert_eq!(event.text("host.hostname"), "web1");
    }
    assert!(events.windows(2).all(|pair| pair[1].prev == Some(pair[0].offset)));
}

#[test]
fn the_files_of_a_journal_that_is_gone_are_read_to_their_ends_and_closed() {
    let directory = directory();
    let (_broker, topic, active, agent) = with_a_hundred_read(directory.path());
    let journals = active.parent().unwrap();
    let open = || agent.open_below(journals);
    // The directory itself is watched by its number, and not open.
    assert!(open() > 0);
    write(&active, &export(100, 50));
    std::fs::remove_file(&active).unwrap();
    wait_until("its files to be closed", || open() == 0);
    agent.assert_delivered(150);
    assert_eq!(topic.records(), Some(150));
}

#[test]
fn only_entries_that_are_asked_for_are_read() {
    let directory = directory();
    let journals = directory.path().join("journal");
    std::fs::create_dir(&journals).unwrap();
    write(&journals.join("system.journal"), &export(0, 64));
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "journal", 1);
    let source = format!(
        "{{type: journald, directories: ['{}'], units: [unit1.service], priority: err}}",
        journals.display()
    );
    let agent = Agent::started(directory.path(), &AgentConfig::of_source(&topic, &source));
    // Of 64 entries those of an odd number and of severities 1 and 3.
    wait_until("the entries", || topic.records() == Some(16));
    agent.assert_delivered(16);
    for event in topic.events() {
        assert_eq!(event.text("systemd.unit"), "unit1.service");
    }
}

#[test]
fn discover_tells_what_the_journal_has_and_makes_it_a_source() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name).display().to_string();
    for name in ["journal", "logs"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    std::fs::write(at("logs/btmp"), "no log").unwrap();
    write(Path::new(&at("journal/system.journal")), &export(0, 64));
    std::fs::write(at("agent.yaml"), "kafka: {bootstrap.servers: 'a:1'}\n").unwrap();
    let (root, journal, config) = (at("logs"), at("journal"), at("agent.yaml"));
    let discovered = run_to_end(
        "logweir-agent",
        &["discover", "--root", &root, "--journal", &journal, "--write", "--config", &config],
    );
    assert_eq!(discovered.code, Some(0), "{}{}", discovered.stdout, discovered.stderr);
    for expected in ["journal: unit0.service", "journal: unit1.service", "the journal is in"] {
        assert!(discovered.stdout.contains(expected), "{}", discovered.stdout);
    }
    assert!(!discovered.stdout.contains("btmp"), "{}", discovered.stdout);
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "journal", 1);
    let written = std::fs::read_to_string(&config).unwrap();
    let source = written.split_once("sources:\n  - ").expect("it has sources now").1;
    let agent = Agent::started(directory.path(), &AgentConfig::of_source(&topic, source));
    wait_until("the entries", || topic.records() == Some(64));
    agent.assert_delivered(64);
}

#[test]
fn a_journal_that_is_said_otherwise_by_a_reload_is_read_on_once() {
    let directory = directory();
    let (_broker, topic, active, agent) = with_a_hundred_read(directory.path());
    agent.rewrite("{type: journald,", "{type: journald, labels: {said: anew},");
    agent.hang_up();
    wait_until("the reload", || agent.said().contains("sources are those"));
    write(&active, &export(100, 50));
    wait_until("what came after the reload", || topic.records() >= Some(150));
    let events = topic.events();
    assert_eq!(events.len(), 150);
    assert!(events.windows(2).all(|pair| pair[1].prev == Some(pair[0].offset)));
    let anew: Vec<bool> = events.iter().map(|event| event.json["labels.said"] == "anew").collect();
    assert_eq!(anew, [vec![false; 100], vec![true; 50]].concat());
    agent.assert_delivered(150);
}
