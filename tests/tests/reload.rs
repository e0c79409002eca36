//! A reload changes the sources of a running agent, and costs no line.

use logweir_tests::{
    Agent, AgentConfig, Broker, Event, Flow, Lines, Topic, assert_exactly_once, directory,
    free_address, wait_until,
};
use std::collections::BTreeSet;
use std::path::Path;

fn config(topic: &Topic, sources: &[String]) -> AgentConfig {
    AgentConfig {
        without_rules: true,
        sources: sources.to_vec(),
        ..AgentConfig::of_source(topic, "")
    }
}

fn file(directory: &Path, glob: &str, label: &str) -> String {
    format!(
        "{{type: file, paths: ['{}'], labels: {{said: {label}}}}}",
        directory.join(glob).display()
    )
}

/// Reloads it with other sources, and waits until it has.
fn reload(agent: &Agent, old: &[String], new: &[String]) {
    let list = |sources: &[String]| {
        sources.iter().map(|source| format!("  - {source}\n")).collect::<String>()
    };
    agent.rewrite(&list(old), &list(new));
    let before = agent.said().matches("sources are those").count();
    agent.hang_up();
    wait_until("the reload", || agent.said().matches("sources are those").count() > before);
}

/// The values of the label `said` in the events of a writer.
fn said<'e>(events: &'e [Event], writer: &str) -> BTreeSet<&'e str> {
    let of = events.iter().filter(|e| e.numbered().is_some_and(|(name, _)| name == writer));
    of.map(|event| event.text("labels.said")).collect()
}

#[test]
fn files_that_come_go_and_change_by_reloads_lose_and_repeat_nothing() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "reload", 1);
    let mut kept = Lines::new("kept", &at("kept.log"));
    let mut changed = Lines::new("changed", &at("changed.log"));
    let mut gone = Lines::new("gone", &at("gone.log"));
    let mut come = Lines::new("come", &at("come.log"));
    let source = |glob: &str, label: &str| file(directory.path(), glob, label);
    let first = [source("kept.log", "a"), source("changed.log", "a"), source("gone.log", "a")];
    let second = [source("changed.log*", "b"), source("come.log", "b"), source("kept.log", "a")];
    let mut write_all = |count: usize| {
        for lines in [&mut kept, &mut changed, &mut gone, &mut come] {
            lines.write(count);
        }
    };
    write_all(2_000);
    let agent = Agent::started(directory.path(), &config(&topic, &first));
    wait_until("something to be read", || topic.records() > Some(100));
    reload(&agent, &first, &second);
    write_all(2_000);
    wait_until("what came", || {
        topic.events().iter().any(|e| e.text("log.file.path").ends_with("come.log"))
    });
    reload(&agent, &second, &first);
    write_all(2_000);
    reload(&agent, &first, &second);
    // Rotated while its source changes: what is in the old file is read to its end.
    changed.write(1_000);
    changed.rotate_by_rename("1", 500);
    reload(&agent, &second, &first);
    changed.write(1_000);
    kept.write(1_000);
    reload(&agent, &first, &second);
    let read = [kept.tally(), changed.tally(), come.tally()];
    let wanted: usize = read.iter().map(|(_, count)| count).sum();
    let count = |events: &[Event]| {
        events.iter().filter(|e| e.numbered().is_some_and(|(name, _)| name != "gone")).count()
    };
    wait_until("all that is read", || count(&topic.events()) >= wanted);
    agent.counts_told().assert_balanced();
    // And the one that was taken out goes on where it was when it is put in again.
    reload(&agent, &second, &first);
    gone.write(10);
    reload(&agent, &first, &[&first[..], &[source("come.log", "b")]].concat());
    let (_, all) = gone.tally();
    wait_until("all of all", || topic.events().len() >= wanted + all);
    let events = topic.events();
    assert_exactly_once(&events, &[read[0], read[1], read[2], gone.tally()]);
    assert_eq!(said(&events, "kept"), BTreeSet::from(["a"]));
    assert_eq!(said(&events, "changed"), BTreeSet::from(["a", "b"]));
    assert_eq!(said(&events, "come"), BTreeSet::from(["b"]));
    agent.assert_delivered(wanted + all);
}

#[test]
fn a_listener_that_is_not_changed_keeps_its_connections() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "reload", 1);
    let (kept, changed, come) = (free_address(), free_address(), free_address());
    let listen = |address, more: &str| format!("{{type: syslog, tcp: '{address}'{more}}}");
    let label = |value: &str| format!(", labels: {{said: {value}}}");
    let first = [listen(kept, ""), listen(changed, &label("a"))];
    let second = [listen(come, ""), listen(changed, &label("b")), listen(kept, "")];
    let agent = Agent::started(directory.path(), &config(&topic, &first));
    let before = Flow::start(changed, "before", 0, 100).finish();
    // What has not been taken from a connection goes with its listener.
    wait_until("the messages before", || topic.records() == Some(before));
    let flow = Flow::start(kept, "kept", 0, 100_000);
    wait_until("messages", || topic.records() > Some(before + 100));
    reload(&agent, &first, &second);
    let after = Flow::start(changed, "after", 0, 100).finish();
    let new = Flow::start(come, "come", 0, 100).finish();
    let sent = flow.finish();
    assert_eq!((before, after, new, sent), (100, 100, 100, 100_000));
    wait_until("all", || topic.records() >= Some(sent + 300));
    let events = topic.events();
    let wanted = [("kept", sent), ("before", 100), ("after", 100), ("come", 100)];
    assert_exactly_once(&events, &wanted);
    assert_eq!(said(&events, "before"), BTreeSet::from(["a"]));
    assert_eq!(said(&events, "after"), BTreeSet::from(["b"]));
    agent.assert_delivered(sent + 300);
    // The spool of one that is taken out, and put in again, is the same.
    reload(&agent, &second, &[second[0].clone()]);
    reload(&agent, &[second[0].clone()], &second);
    let again = Flow::start(changed, "again", 0, 50).finish();
    wait_until("what came again", || topic.records() >= Some(sent + 350));
    assert_eq!(again, 50);
    agent.counts_told().assert_balanced();
}

#[test]
fn what_a_reload_cannot_do_is_named_and_what_runs_goes_on() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "reload", 1);
    let address = free_address();
    let source = |spool: &str| {
        format!("{{type: syslog, tcp: '{address}', spool: {{sync_interval: {spool}}}}}")
    };
    let (first, second) = ([source("1s")], [source("2s")]);
    let agent = Agent::started(directory.path(), &config(&topic, &first));
    wait_until("the start", || agent.counts().is_some());
    reload(&agent, &first, &second);
    wait_until("the reason", || agent.said().contains("its `spool` has changed"));
    assert_eq!(Flow::start(address, "on", 0, 10).finish(), 10);
    wait_until("the messages", || topic.records() == Some(10));
    // Somebody else listens there: told, and the rest is done.
    let place = free_address();
    let taken = std::net::TcpListener::bind(place).unwrap();
    let third = [source("1s"), format!("{{type: syslog, udp: '{place}', tcp: '{place}'}}")];
    reload(&agent, &second, &third);
    wait_until("the address", || {
        let said = agent.said();
        said.contains("reloaded, but not syslog-udp-127") && said.contains(&place.to_string())
    });
    drop(taken);
    reload(&agent, &third, &[third[1].clone(), third[0].clone()]);
    assert_eq!(Flow::start(place, "now", 0, 10).finish(), 10);
    wait_until("all messages", || topic.records() == Some(20));
}

#[test]
fn a_fault_of_the_rules_is_told_once_in_a_reload_and_mended_by_the_next() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "reload", 1);
    let sources = [file(directory.path(), "*.log", "x")];
    let rules = directory.path().join("rules");
    std::fs::create_dir(&rules).unwrap();
    let write = |pattern: &str| {
        let pack = format!("pack: p\nrules:\n  - {{id: p.a, pattern: '{pattern}'}}\n");
        std::fs::write(rules.join("p.yaml"), pack).unwrap();
    };
    write("^a");
    let mut agent = Agent::stopped(directory.path(), &config(&topic, &sources));
    agent
        .edit("shipped: false", &format!("shipped: false\n  directories: ['{}']", rules.display()));
    agent.start();
    wait_until("the start", || agent.counts().is_some());
    write("^[a");
    agent.hang_up();
    wait_until("the faults", || agent.said().contains("sources in use stay, too"));
    let said = agent.said();
    // The agent may have seen the change just before it was asked.
    let told = said.matches("the changed rules have faults").count();
    assert_eq!(said.matches("unclosed character class").count(), told, "{said}");
    assert!(!said.contains("the configuration has faults"), "{said}");
    write("^b");
    reload(&agent, &sources, &sources);
    assert!(agent.said().contains("changed rules are in use"));
}

#[test]
fn changed_limits_of_a_source_and_of_the_agent_are_in_use_and_told() {
    let change = |limit, rates: [&str; 2], told: &str| Change {
        limit,
        before: rates[0].to_owned(),
        after: rates[1].to_owned(),
        told: told.to_owned(),
    };
    with_changed_limits(
        "limits: {events_per_second: 8}",
        &change("events_per_second", ["7", "1000000"], "1000000 events/s"),
        &change("events_per_second", ["8", "1000001"], "1000001 events/s"),
    );
    with_changed_limits(
        "limits: {bytes_per_second: 2KiB}",
        &change("bytes_per_second", ["1KiB", "100MiB"], "104857600 bytes/s"),
        &change("bytes_per_second", ["2KiB", "101MiB"], "105906176 bytes/s"),
    );
}

/// A limit that is changed while the agent runs, and how the agent tells the new one.
struct Change {
    limit: &'static str,
    before: String,
    after: String,
    told: String,
}

impl Change {
    fn make(&self, agent: &Agent) {
        let line = |rate: &str| format!("{}: {rate}}}", self.limit);
        agent.edit(&line(&self.before), &line(&self.after));
    }
}

fn with_changed_limits(of_agent: &'static str, source: &Change, overall: &Change) {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "limits", 1);
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    // More than is read at once, which is paid for afterwards.
    writer.write(20_000);
    let glob = directory.path().join("*.log").display().to_string();
    let limits = format!("{{{}: {}}}", source.limit, source.before);
    let file = format!("{{type: file, paths: ['{glob}'], limits: {limits}}}");
    let config = AgentConfig { agent: vec![of_agent], ..config(&topic, &[file]) };
    let mut agent = Agent::started(directory.path(), &config);
    wait_until("the first lines", || topic.records().is_some_and(|count| count > 0));
    source.make(&agent);
    let told = format!("changed limits are in use of=\"file {glob}\" limits=\"{}", source.told);
    wait_until("the limits of the source", || agent.said().contains(&told));
    assert!(topic.records() < Some(20_000), "the agent's limit holds still");
    overall.make(&agent);
    agent.hang_up();
    wait_until("the reload", || agent.said().contains("sources are those"));
    let told = format!("changed limits are in use of=\"the agent\" limits=\"{}", overall.told);
    wait_until("the limits of the agent", || agent.said().contains(&told));
    wait_until("all lines", || topic.records() == Some(20_000));
    assert!(!agent.said().contains("waits for a restart"), "{}", agent.said());
    assert_exactly_once(&topic.events(), &[writer.tally()]);
    assert!(agent.terminate().success());
}
