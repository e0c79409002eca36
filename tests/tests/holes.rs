//! What is missing is found, and named.

use logweir_tests::{
    Agent, AgentConfig, Broker, Event, Ingest, Lines, Topic, directory, run_to_end, wait_until,
};
use std::path::Path;

const LINES: usize = 2_000;

/// Lets an agent deliver [`LINES`] lines of `app.log` to a topic.
fn delivered(directory: &Path, broker: &Broker) -> Topic {
    let topic = Topic::create(&broker.bootstrap(), "delivered", 2);
    let path = directory.join("app.log");
    Lines::new("writer", &path).write(LINES);
    let mut agent = Agent::started(directory, &AgentConfig::of_files(&topic, directory, "app.log"));
    wait_until("the lines in the topic", || topic.records() == Some(LINES));
    agent.assert_delivered(LINES);
    assert!(agent.terminate().success());
    topic
}

/// Lets the ingest read a whole topic of `rows` events.
fn stored(directory: &Path, topic: &Topic, rows: usize) -> Ingest {
    let mut ingest = Ingest::started(directory, &topic.bootstrap, &topic.name);
    wait_until("the events in the table", || {
        ingest.assert_running();
        ingest.table().rows() >= rows
    });
    assert!(ingest.terminate().success());
    ingest
}

#[test]
fn an_event_that_never_reached_the_topic_is_named_by_the_audit() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let whole = delivered(directory.path(), &broker);
    let mut records = whole.read();
    let lost = records.remove(LINES / 2);
    let (before, after) = (&records[LINES / 2 - 1], &records[LINES / 2]);
    assert!(before.0 == lost.0 && after.0 == lost.0, "one file is in one partition");
    let [before, lost, after] = [before, &lost, after].map(|(_, bytes)| Event::parse(bytes));
    let holed = Topic::create(&broker.bootstrap(), "holed", 2);
    holed.write(&records);

    let table = stored(directory.path(), &holed, LINES - 1).table();
    let audit = table.audit();
    assert_eq!(audit.code, Some(1), "{}{}", audit.stdout, audit.stderr);
    let named = audit.stdout.lines().find(|line| line.contains("missing: bytes"));
    let named = named.unwrap_or_else(|| panic!("no missing bytes in {}", audit.stdout));
    assert!(named.contains(&after.offset.to_string()), "{named}");
    assert!(audit.stdout.contains(directory.path().join("app.log").to_str().unwrap()));

    let sources = table.audit_json();
    let gaps = sources[0]["gaps"].as_array().expect("gaps are a list");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["after"], before.offset);
    assert_eq!(gaps[0]["last"], lost.offset);
    assert_eq!(gaps[0]["until"], after.offset);
    let from = gaps[0]["from"].as_u64().expect("a gap has a beginning");
    assert!(before.offset < from && from <= lost.offset, "{gaps:?}");
}

#[test]
fn a_first_event_that_had_another_before_it_is_named_by_the_audit() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let records = delivered(directory.path(), &broker).read();
    let headless = Topic::create(&broker.bootstrap(), "headless", 2);
    headless.write(&records[500..]);

    let table = stored(directory.path(), &headless, LINES - 500).table();
    assert_eq!(table.audit().code, Some(1), "{}", table.audit().stdout);
    let sources = table.audit_json();
    assert_eq!(sources[0]["gaps"][0]["last"], Event::parse(&records[499].1).offset, "{sources:?}");
    assert_eq!(sources[0]["gaps"][0]["until"], Event::parse(&records[500].1).offset, "{sources:?}");
}

#[test]
fn an_audit_without_a_table_is_no_proof() {
    let directory = directory();
    let nowhere = directory.path().join("nowhere").display().to_string();
    let output = run_to_end("logweir", &["audit", "--store", &nowhere]);
    assert_ne!(output.code, Some(0));
    assert!(output.stderr.contains("nowhere"), "{}", output.stderr);
}
