//! `logweir-agent spool`, on what a killed agent has left.

use logweir_tests::{
    Agent, AgentConfig, Broker, DEADLINE, Output, Topic, directory, free_address, run_to_end, wait,
    wait_until,
};
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

const MESSAGES: usize = 500;

/// A stopped agent that has accepted messages which no broker could take.
fn with_backlog(directory: &Path) -> (Broker, Topic, Agent) {
    let mut broker = Broker::started(directory);
    let topic = Topic::create(&broker.bootstrap(), "spool", 1);
    broker.kill9();
    let address = free_address();
    let mut agent = Agent::started(directory, &AgentConfig::of_syslog(&topic, address));
    let mut stream = wait("the agent to listen", DEADLINE, || TcpStream::connect(address).ok());
    for number in 0..MESSAGES {
        writeln!(stream, "<13>message {number}").unwrap();
    }
    wait_until("the messages in the spool", || {
        agent.counts().is_some_and(|counts| counts.read == MESSAGES as u64)
    });
    agent.kill9();
    (broker, topic, agent)
}

fn spool(directory: &Path, command: &[&str]) -> Output {
    let state = directory.join("state").display().to_string();
    let arguments = [&["spool"], command, &["--state-dir", &state]].concat();
    run_to_end("logweir-agent", &arguments)
}

/// The segment that has something in it.
fn segment(directory: &Path) -> PathBuf {
    let spools = std::fs::read_dir(directory.join("state/spool")).unwrap();
    let files = spools.flat_map(|spool| std::fs::read_dir(spool.unwrap().path()).unwrap());
    let mut files = files.map(|file| file.unwrap().path());
    files.find(|path| path.metadata().unwrap().len() > 100).unwrap()
}

fn change(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn check_tells_what_is_there_and_export_writes_what_is_not_delivered() {
    let directory = directory();
    let (_broker, _topic, _agent) = with_backlog(directory.path());
    let checked = spool(directory.path(), &["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let expected = format!("{MESSAGES} records not delivered");
    assert!(checked.stdout.contains(&expected), "{}", checked.stdout);
    let exported = spool(directory.path(), &["export"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let messages: Vec<String> = exported
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|record| record["message"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<String> =
        (0..MESSAGES).map(|number| format!("<13>message {number}")).collect();
    assert_eq!(messages, expected);
    let raw = spool(directory.path(), &["export", "--format", "raw"]);
    assert_eq!(raw.stdout.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn damage_is_told_with_its_place_and_what_is_lost_is_counted() {
    let directory = directory();
    let (mut broker, topic, mut agent) = with_backlog(directory.path());
    let path = segment(directory.path());
    change(&path, 44 + 20);
    let checked = spool(directory.path(), &["check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let expected = format!("{} at byte 44: fault: ", path.display());
    assert!(checked.stdout.contains(&expected), "{}", checked.stdout);
    broker.start();
    agent.start();
    wait_until("the others in the topic", || topic.records() == Some(MESSAGES - 1));
    let counts = wait("the agent to hold nothing", DEADLINE, || {
        agent.counts().filter(|counts| counts.held == 0)
    });
    counts.assert_balanced();
    assert_eq!((counts.read, counts.dropped), (MESSAGES as u64, 1));
}

#[test]
fn repair_sets_aside_what_keeps_the_agent_from_starting() {
    let directory = directory();
    let (mut broker, _topic, mut agent) = with_backlog(directory.path());
    broker.start();
    let path = segment(directory.path());
    // The version.
    change(&path, 8);
    let config = directory.path().join("agent.yaml").display().to_string();
    let refused = run_to_end("logweir-agent", &["run", "--config", &config]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("logweir-agent spool repair"), "{}", refused.stderr);
    let repaired = spool(directory.path(), &["repair"]);
    assert_eq!(repaired.code, Some(0), "{repaired:?}");
    assert!(repaired.stdout.contains("set aside as"), "{}", repaired.stdout);
    let aside = PathBuf::from(format!("{}.bad", path.display()));
    assert!(aside.exists() && !path.exists());
    agent.start();
    wait_until("the agent to run", || agent.counts().is_some());
    let busy = spool(directory.path(), &["repair"]);
    assert_eq!(busy.code, Some(1), "{busy:?}");
    assert!(busy.stderr.contains("another agent (process "), "{}", busy.stderr);
}
