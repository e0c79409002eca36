//! The disk under the agent: killed at every call that changes it, failing, slow, full, read-only,
//! and without what it never wrote. `LOGWEIR_RUNS` makes the sweeps longer.

use logweir_tests::{
    Agent, AgentConfig, Broker, Counts, DEADLINE, DURABLE_CALLS, Disk, Flow, Journal, Lines,
    MemoryCap, PowerCut, Random, Table, Topic, append, assert_exactly_once, assert_nothing_missing,
    assert_whole_beginnings, changes_in, directory, failing, free_address, has_own_mounts,
    killed_at, mount_in_memory, noting, noting_changes, run_to_end, runs, skipping, slowing, wait,
    wait_for_count, wait_until, without_repeats,
};
use logweir_tests::{Event, Ingest};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

/// Makes a message so long that segments, which are small here, come and go.
const PADDING: usize = 4 << 10;

struct Stage {
    broker: Broker,
    topic: Topic,
    address: SocketAddr,
    agent: Agent,
}

/// A stopped agent that reads a file and listens, with a small spool.
fn stage(directory: &Path, settings: &str) -> Stage {
    let often = "checkpoint_interval: 100ms";
    stage_with(directory, often, &format!("bytes_max: 4MiB, shards: 1, {settings}"))
}

fn stage_with(directory: &Path, checkpoint: &'static str, spool: &str) -> Stage {
    let broker = Broker::started(directory);
    let topic = Topic::create(&broker.bootstrap(), "crash", 2);
    let address = free_address();
    let config = AgentConfig {
        syslog: Some(address),
        without_rules: true,
        agent: vec![checkpoint],
        kafka: vec!["linger.ms: 5".to_owned()],
        source: vec![format!("spool: {{{spool}}}")],
        ..AgentConfig::of_files(&topic, directory, "app.log")
    };
    let agent = Agent::stopped(directory, &config);
    Stage { broker, topic, address, agent }
}

impl Stage {
    /// Waits until the agent holds nothing.
    fn settle(&mut self) {
        let agent = &mut self.agent;
        wait_until("the agent to hold nothing", || {
            agent.assert_running();
            agent.counts().is_some_and(|counts| counts.held == 0 && counts.read > 0)
        });
    }
}

/// What is in the spools and not delivered, by `logweir-agent spool export`.
fn undelivered(agent: &Agent) -> BTreeSet<String> {
    let state = agent.state().display().to_string();
    let exported = run_to_end("logweir-agent", &["spool", "export", "--state-dir", &state]);
    let records = exported.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.map(|record| record["message"].as_str().unwrap().to_owned()).collect()
}

/// How many faults the spools of an agent that does not run have.
fn spool_faults(agent: &Agent) -> u64 {
    let state = agent.state().display().to_string();
    let arguments = ["spool", "check", "--format", "json", "--state-dir", &state];
    let checked = run_to_end("logweir-agent", &arguments);
    let spools = checked.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    spools.map(|spool| spool["faults"].as_array().unwrap().len() as u64).sum()
}

/// How many different lines of a writer are in the topic.
fn arrived_of(topic: &Topic, writer: &str) -> usize {
    let events = topic.events();
    let numbered = events.iter().filter_map(Event::numbered);
    let numbers = numbered.filter(|(name, _)| *name == writer).map(|(_, number)| number);
    numbers.collect::<BTreeSet<_>>().len()
}

fn originals(events: &[Event]) -> BTreeSet<String> {
    events.iter().map(|event| event.text("event.original").to_owned()).collect()
}

/// What an agent has to take before it is given more, and how often at most: it makes some calls, such
/// as the removal of a segment, once in a few thousand messages.
const MESSAGES: usize = 1000;
/// What an agent of a test's build may use, caches included.
const MEMORY_BYTES: u64 = 64 << 20;
const ROUNDS_MAX: usize = 100;

/// Gives the agent work until the kill that it was started with has come.
fn work_until_killed(stage: &mut Stage, file: &mut Lines, point: usize) {
    for round in 0.. {
        file.write(20);
        let flow = Flow::start(stage.address, &format!("flow{point}.{round}"), PADDING, MESSAGES);
        let killed = wait(&format!("the kill at point {point}"), DEADLINE, || {
            if stage.agent.has_ended() {
                return Some(true);
            }
            let counts = stage.agent.counts()?;
            (flow.has_ended() && counts.held == 0).then_some(false)
        });
        if killed {
            return;
        }
        assert!(round < ROUNDS_MAX, "what point {point} waits for does not happen");
    }
}

#[test]
fn crash_points() {
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms");
    let mut file = Lines::new("file", &directory.path().join("app.log"));
    let mut random = Random::seeded();
    let mut accepted = BTreeSet::new();
    let mut points = 0;
    let each = runs(2);
    for (call, highest) in DURABLE_CALLS {
        let all: Vec<usize> = (1..=highest).collect();
        let some: Vec<usize> = (0..each).map(|_| 1 + random.below(highest)).collect();
        for number in if each < highest { some } else { all } {
            // Twice at the same place: what the first kill leaves meets the second one.
            for _ in 0..2 {
                points += 1;
                stage.agent.start_within(&killed_at(call, number));
                work_until_killed(&mut stage, &mut file, points);
                stage.agent.kill9();
                accepted.extend(undelivered(&stage.agent));
            }
        }
    }
    println!("killed at {points} points");
    stage.agent.start();
    stage.settle();
    assert!(stage.agent.terminate().success());
    let events = without_repeats(stage.topic.events());
    let arrived = assert_whole_beginnings(&events);
    assert_eq!(arrived["file"], file.written());
    let arrived = originals(&events);
    let missing: Vec<_> = accepted.difference(&arrived).collect();
    assert!(missing.is_empty(), "{} of {}: {:?}", missing.len(), accepted.len(), missing[0]);
    stage.broker.kill9();
}

#[test]
fn sigterm_load() {
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms");
    let mut file = Lines::new("file", &directory.path().join("app.log"));
    file.write(20_000);
    stage.agent.start();
    // More than is taken by the time that the signal comes.
    let flow = Flow::start(stage.address, "flow", PADDING, 1_000_000);
    // All of the file is read, so that whatever else is read is of the flow.
    let file_read = |agent: &Agent| source_of(agent, "file").and_then(|of| of["read"].as_u64());
    wait_until("the agent to be busy", || {
        flow.sent() > 2_000 && file_read(&stage.agent) == Some(20_000)
    });
    assert!(stage.agent.terminate().success(), "it ends by itself");
    assert!(flow.finish() < 1_000_000);
    let said = stage.agent_said(directory.path());
    assert!(said.contains("stopping: sending what is read"), "{said}");
    let stopped = stage.agent.last_counts();
    // The same with a file that is being read.
    stage.agent.start();
    file.write(20_000);
    wait_until("the agent to read", || file_read(&stage.agent) > Some(0));
    assert!(stage.agent.terminate().success(), "it ends by itself");
    let again = stage.agent.last_counts();
    stage.agent.start();
    file.write(100);
    assert_eq!(Flow::start(stage.address, "last", PADDING, 500).finish(), 500);
    wait_until("the last of each", || {
        arrived_of(&stage.topic, "file") == file.written()
            && arrived_of(&stage.topic, "last") == 500
    });
    stage.settle();
    assert!(stage.agent.terminate().success());
    let sent = stage.topic.events();
    let mut events = without_repeats(sent.clone());
    // What it had taken by then is there, and what was acknowledged of it was not sent again.
    let repeats = (sent.len() - events.len()) as u64;
    println!("{stopped:?}, {again:?}, {repeats} repeats");
    assert_eq!((stopped.dropped, again.dropped), (0, 0));
    assert_eq!(events.len() as u64, stopped.read + 20_000 + 100 + 500);
    assert!(repeats <= stopped.held + again.held, "{repeats} repeats");
    // The signal may come in the middle of a message.
    events.retain(|event| event.json.get("logweir.unterminated").is_none());
    let arrived = assert_whole_beginnings(&events);
    assert_eq!((arrived["file"], arrived["last"]), (file.written(), 500));
    assert!(arrived["flow"] > 500, "{arrived:?}");
}

#[test]
fn no_call_that_changes_the_disk_is_left_out_of_the_sweep() {
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms");
    let (log, state) = (directory.path().join("strace.log"), stage.agent.state());
    stage.agent.start_within(&noting_changes(&log));
    Flow::start(stage.address, "flow", PADDING, MESSAGES).finish();
    wait_until("segments to come and go", || {
        changes_in(&log, &state.join("spool")).contains("unlink")
    });
    assert!(stage.agent.terminate().success());
    let made = changes_in(&log, &state);
    // A file that was made and is empty is met by the kill at its first write.
    let swept =
        DURABLE_CALLS.iter().map(|(call, _)| (*call).to_owned()).chain(["openat".to_owned()]);
    let swept: BTreeSet<String> = swept.collect();
    println!("an agent makes {made:?}");
    assert_eq!(made.difference(&swept).next(), None);
    assert!(made.contains("pwrite64") && made.contains("openat"), "the log is read: {made:?}");
}

/// What a start makes where nothing is, with how often.
const FIRST_CALLS: [(&str, usize); 8] = [
    ("mkdir", 4),
    ("chmod", 4),
    ("ftruncate", 1),
    ("bind", 2),
    ("write", 8),
    ("fsync", 10),
    ("rename", 3),
    ("unlink", 3),
];

#[test]
fn first_start() {
    // Killed where nothing was before; what was sent by then is sent under the same identity again.
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms");
    let mut random = Random::seeded();
    let mut tallies = Vec::new();
    for (call, highest) in FIRST_CALLS {
        let all: Vec<usize> = (1..=highest).collect();
        let one = vec![1 + random.below(highest)];
        for number in if runs(1) < highest { one } else { all } {
            let name = format!("{call}{number}");
            println!("killed at {name}");
            let _ = std::fs::remove_dir_all(stage.agent.state());
            let log = directory.path().join("app.log");
            let _ = std::fs::remove_file(&log);
            let mut file = Lines::new(&name, &log);
            file.write(100);
            stage.agent.start_within(&killed_at(call, number));
            wait_until("the kill, or the end of the work", || {
                stage.agent.has_ended() || arrived_of(&stage.topic, &name) == file.written()
            });
            stage.agent.kill9();
            stage.agent.start();
            wait_until("all to arrive", || arrived_of(&stage.topic, &name) == file.written());
            assert!(stage.agent.terminate().success());
            tallies.push((name, file.written()));
        }
    }
    let tallies: Vec<(&str, usize)> =
        tallies.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_exactly_once(&without_repeats(stage.topic.events()), &tallies);
}

#[test]
fn reboot_outage() {
    // Power cuts at random moments, the first of them without a broker. What the disk did not have
    // for certain is gone, and the table is right all the same.
    let directory = directory();
    // Seldom synced, so that Kafka has what the disk has not.
    let spool = "bytes_max: 32MiB, shards: 1, sync_interval: 10s";
    let mut stage = stage_with(directory.path(), "checkpoint_interval: 10s", spool);
    let mut ingest = Ingest::started(directory.path(), &stage.topic.bootstrap, &stage.topic.name);
    let mut file = Lines::new("file", &directory.path().join("app.log"));
    let mut random = Random::seeded();
    let log = directory.path().join("strace.log");
    let mut safe = BTreeSet::new();
    stage.broker.kill9();
    for cut in 0..2 * runs(2) {
        file.write(500);
        stage.agent.start_within(&noting(&log));
        let count = if cut == 0 { 10_000 } else { 1 + random.below(3_000) };
        let flow = Flow::start(stage.address, &format!("flow{cut}"), 200, count);
        // By turns with all of it in Kafka and next to nothing on the disk, which is where offsets
        // could be used again, and in the middle, with zeros on the disk. The first flow has nowhere
        // to go; it fills a segment, which is synced when the next one begins.
        wait_until("the moment of the cut", || {
            stage.agent.assert_running();
            let Some(counts) = stage.agent.counts() else { return false };
            match cut {
                0 => counts.read >= 10_000,
                _ if cut % 2 == 1 => flow.has_ended() && counts.held == 0 && counts.read > 0,
                _ => flow.sent() > count / 2,
            }
        });
        stage.agent.kill9_unasked();
        drop(flow);
        let lost = PowerCut::from_log(&log, directory.path());
        println!("cut {cut}: {} bytes were not on the disk", lost.unsynced());
        lost.apply_to_disk(cut % 2 == 0);
        safe.extend(undelivered(&stage.agent));
        if cut == 0 {
            assert!(safe.len() > 1_000, "there is a backlog");
            stage.broker.start();
        }
    }
    stage.agent.start();
    Flow::start(stage.address, "last", 200, 3_000).finish();
    // All that was read may be out, and some of it not read yet.
    wait_until("the last lines and messages", || {
        let lasts = [("file", file.written() - 1), ("last", 2_999)];
        let events = stage.topic.events();
        lasts.iter().all(|last| events.iter().any(|event| event.numbered() == Some(*last)))
    });
    stage.settle();
    let table = ingest.table();
    assert_table(&stage.topic, &table);
    assert!(stage.agent.terminate().success() && ingest.terminate().success());
    let events = table.search("", 1_000_000);
    let of_file: Vec<Event> = events
        .iter()
        .filter(|event| !event.text("event.original").starts_with('<'))
        .cloned()
        .collect();
    assert_exactly_once(&of_file, &[file.tally()]);
    let arrived = originals(&events);
    assert_eq!(arrived.len(), events.len(), "nothing is in the table twice");
    assert_eq!(safe.difference(&arrived).count(), 0, "what was on the disk arrived");
    let delivered = originals(&stage.topic.events());
    let taken_for_repeats: Vec<_> = delivered.difference(&arrived).collect();
    assert!(taken_for_repeats.is_empty(), "{}", taken_for_repeats.len());
}

#[test]
fn power_cut_on_ext4() {
    if has_own_mounts("power_cut_on_ext4") {
        with_power_cuts_on("ext4");
    }
}

#[test]
fn power_cut_on_xfs() {
    if has_own_mounts("power_cut_on_xfs") {
        with_power_cuts_on("xfs");
    }
}

/// How often the power of each disk is cut: `LOGWEIR_POWER_CUTS`, else twice.
fn power_cuts() -> usize {
    std::env::var("LOGWEIR_POWER_CUTS").map_or(2, |cuts| cuts.parse().expect("a number"))
}

/// Cuts the power of the disk that the state is on, at random moments: by turns without a broker, so
/// that the disk is all there is, and while Kafka has more than the disk.
fn with_power_cuts_on(kind: &str) {
    let directory = directory();
    // There is room for what two rounds leave.
    let spool = "bytes_max: 8MiB, shards: 1, sync_interval: 50ms";
    let mut stage = stage_with(directory.path(), "checkpoint_interval: 100ms", spool);
    let state = stage.agent.state();
    let Some(disk) = Disk::mounted(kind, directory.path(), &state) else { return };
    let mut ingest = Ingest::started(directory.path(), &stage.topic.bootstrap, &stage.topic.name);
    let mut file = Lines::new("file", &directory.path().join("app.log"));
    let mut random = Random::seeded();
    let mut all = Vec::new();
    for number in 0..power_cuts() {
        let in_outage = number % 2 == 0;
        if in_outage {
            stage.broker.kill9();
        } else {
            stage.broker.start();
        }
        file.write(500);
        stage.agent.start();
        all.push((format!("safe{number}"), 1_000));
        take_and_sync(&mut stage, &format!("safe{number}"), 1_000);
        if !in_outage {
            // What earlier rounds have left is out, and there is room in the spool.
            stage.settle();
        }
        let flow = Flow::start(stage.address, &format!("cut{number}"), 200, 5_000);
        let moment = 1 + random.below(3_000);
        wait_until("the moment of the cut", || flow.sent() >= moment);
        // Each of the four cases comes in turn.
        let journal = [Journal::Lost, Journal::Written][(number + number / 2) % 2];
        println!("cut {number} after {moment} messages, {journal:?}, in outage: {in_outage}");
        cut(&disk, journal, &mut stage.agent);
        drop(flow);
        if in_outage {
            let there = undelivered(&stage.agent);
            let safe = format!(" of safe{number} ");
            let there = there.iter().filter(|message| message.contains(&safe)).count();
            assert_eq!(there, 1_000, "what was synced is on the disk");
        }
    }
    stage.broker.kill9();
    stage.broker.start();
    stage.agent.start();
    file.write(500);
    Flow::start(stage.address, "last", 200, 1_000).finish();
    all.extend([("file".to_owned(), file.written()), ("last".to_owned(), 1_000)]);
    wait_until("the last of each in the topic", || {
        let events = stage.topic.events();
        let there: BTreeSet<_> = events.iter().filter_map(Event::numbered).collect();
        all.iter().all(|(name, count)| there.contains(&(name.as_str(), count - 1)))
    });
    stage.settle();
    let table = ingest.table();
    assert_table(&stage.topic, &table);
    assert!(stage.agent.terminate().success() && ingest.terminate().success());
    let events = table.search("", 1_000_000);
    let arrived = assert_whole_beginnings(&events);
    all.iter().for_each(|(name, count)| assert_eq!(arrived[name], *count, "{name}"));
    let arrived = originals(&events);
    let delivered = originals(&stage.topic.events());
    assert_eq!(delivered.difference(&arrived).count(), 0, "nothing was taken for a repeat");
}

/// Has so many messages taken, and, as the agent says, synced.
fn take_and_sync(stage: &mut Stage, name: &str, count: usize) {
    assert_eq!(Flow::start(stage.address, name, 200, count).finish(), count);
    wait_until("all to be on the disk", || {
        stage.agent.assert_running();
        spool_of(&stage.agent).is_some_and(|spool| spool["unsynced_bytes"] == 0)
    });
}

#[test]
fn power_cut_without_syncs_is_noticed() {
    // The control: an agent whose syncs are not made, and who is told that they were.
    if !has_own_mounts("power_cut_without_syncs_is_noticed") {
        return;
    }
    for kind in ["ext4", "xfs"] {
        let directory = directory();
        let mut stage = stage(directory.path(), "sync_interval: 50ms");
        let state = stage.agent.state();
        let Some(disk) = Disk::mounted(kind, directory.path(), &state) else { return };
        stage.broker.kill9();
        stage.agent.start();
        take_and_sync(&mut stage, "before", 100);
        assert!(stage.agent.terminate().success());
        let mut rounds = 0;
        // A system that is slow enough writes it all by itself.
        wait_until("what was not synced to be lost", || {
            rounds += 1;
            stage.agent.start_within(&skipping("fsync,fdatasync"));
            take_and_sync(&mut stage, &format!("round{rounds}"), 100);
            cut(&disk, Journal::Lost, &mut stage.agent);
            undelivered(&stage.agent).len() < 100 + 100 * rounds
        });
        println!("{kind}: {rounds} rounds");
    }
}

/// Cuts the power; the control is a file that nobody has synced.
fn cut(disk: &Disk, journal: Journal, agent: &mut Agent) {
    let (control, content) = (agent.state().join("control"), [7; 100_000]);
    std::fs::write(&control, content).unwrap();
    disk.cut_power(journal);
    agent.kill9_unasked();
    disk.power_back();
    assert_ne!(std::fs::read(&control).unwrap_or_default(), content, "the power was not cut");
    let _ = std::fs::remove_file(&control);
}

/// The first source of a kind, as the status has it.
fn source_of(agent: &Agent, kind: &str) -> Option<Value> {
    let status = agent.status()?;
    status["sources"].as_array()?.iter().find(|source| source["kind"] == kind).cloned()
}

/// The spool, as the status has it.
fn spool_of(agent: &Agent) -> Option<Value> {
    Some(source_of(agent, "syslog")?["spool"].clone())
}

/// Waits until the table has all of the topic; nothing is missing in it.
fn assert_table(topic: &Topic, table: &Table) {
    let expected = topic.events();
    let places: BTreeSet<_> = expected.iter().map(|event| (&event.source, event.offset)).collect();
    wait_until("all events in the table", || table.rows() >= places.len());
    assert_eq!(table.rows(), places.len());
    assert_nothing_missing(table);
}

/// Runs the agent with a call that fails, and expects what it says and that all arrives.
fn with_failing(call: &str, error: &str, when: &str, says: &str) {
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms");
    let mut file = Lines::new("file", &directory.path().join("app.log"));
    stage.agent.start_within(&failing(call, error, when));
    let mut flows = 0;
    // Several of its calls, each of which a busy disk may keep for many seconds.
    wait(&format!("{call} to fail with {error}, and {says:?}"), 5 * DEADLINE, || {
        stage.agent.assert_running();
        file.write(10);
        flows += 1;
        Flow::start(stage.address, &format!("flow{flows}"), PADDING, 50).finish();
        stage.agent.said().contains(says).then_some(())
    });
    if says.contains("checkpoint") {
        assert!(stage.agent.status_told()["checkpoint_errors"].as_u64() > Some(0), "not counted");
    }
    let written = file.written() + flows * 50;
    let read = |agent: &Agent| agent.counts_told().read as usize;
    wait_for_count("messages taken", written, || read(&stage.agent));
    wait_until("all to be delivered", || stage.agent.counts_told().held == 0);
    assert_eq!(read(&stage.agent), written);
    stage.agent.kill9();
    let arrived = assert_whole_beginnings(&without_repeats(stage.topic.events()));
    assert_eq!((arrived["file"], arrived.values().sum()), (file.written(), written));
}

#[test]
fn fsync_fail() {
    // A file that could not be synced is not trusted again: its content is written anew.
    let says = "the spool could not be synced; what was not on disk was written anew";
    with_failing("fdatasync", "EIO", "2", says);
    // A checkpoint that cannot be synced is not used; the older one is still there.
    with_failing("fsync", "EIO", "7..9", "the checkpoint cannot be written");
}

#[test]
fn fsync_fail_for_good_stops_the_spool_and_nothing_else() {
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms");
    stage.agent.start_within(&failing("fdatasync", "EIO", "1+"));
    let flow = Flow::start(stage.address, "flow", PADDING, 10_000);
    wait_until("the spool to fail", || {
        spool_of(&stage.agent).is_some_and(|spool| spool["failed"] == true)
    });
    let mut file = Lines::new("file", &directory.path().join("app.log"));
    file.write(1_000);
    wait_until("the file to be delivered all the same", || {
        arrived_of(&stage.topic, "file") >= 1_000
            && stage.agent.counts().is_some_and(|counts| counts.held == 0)
    });
    stage.agent.kill9();
    drop(flow);
    let arrived = assert_whole_beginnings(&without_repeats(stage.topic.events()));
    assert_eq!(arrived["file"], 1_000);
}

#[test]
fn eio() {
    with_failing("pwrite64", "EIO", "3..6", "kafka is reached");
    with_failing("pwrite64", "ENOSPC", "3..6", "kafka is reached");
    with_failing("rename", "EIO", "7..9", "the checkpoint cannot be written");
}

#[test]
fn read_only_fs() {
    // It becomes so while the agent runs …
    with_failing("pwrite64", "EROFS", "3..6", "kafka is reached");
    // … and is so when it starts.
    let directory = directory();
    let stage = stage(directory.path(), "sync_interval: 50ms");
    let Some(mut within) =
        within_mounts("mount --bind $0 $0; mount -o remount,bind,ro $0", &stage.agent)
    else {
        return;
    };
    let config = directory.path().join("agent.yaml").display().to_string();
    let agent = logweir_tests::program("logweir-agent").display().to_string();
    within.extend([agent, "run".to_owned(), "--config".to_owned(), config]);
    let output = std::process::Command::new(&within[0]).args(&within[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.contains("the state directory `"), "{said}");
}

/// A way to run the agent with mounts of its own below its state directory, `$0` of `mount`, which
/// end with it. `None`, with a loud line, where that is not allowed.
fn within_mounts(mount: &str, agent: &Agent) -> Option<Vec<String>> {
    let state = agent.state();
    std::fs::create_dir_all(&state).unwrap();
    let script = format!("set -e; {mount}; exec \"$@\"");
    let words = ["unshare", "-rm", "sh", "-c", &script, &state.display().to_string()];
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let tried = std::process::Command::new(&words[0]).args(&words[1..]).arg("true").output();
    let said = tried.map(|tried| (tried.status.success(), tried.stderr));
    match said {
        Ok((true, _)) => Some(words),
        other => {
            logweir_tests::skip(&format!("no mounts of one's own here: {other:?}"));
            None
        }
    }
}

#[test]
fn disk_full() {
    for policy in ["block", "drop_newest"] {
        let directory = directory();
        let settings = format!("when_full: {policy}, disk_free_min: 10MiB");
        let mut stage = stage(directory.path(), &settings);
        let mount = "mount -t tmpfs -o size=12m,mode=700 tmpfs $0";
        let Some(within) = within_mounts(mount, &stage.agent) else { return };
        stage.broker.kill9();
        let mut file = Lines::new("file", &directory.path().join("app.log"));
        stage.agent.start_within(&within);
        // Four times as much as there is room for.
        let count = 2_000;
        let flow = Flow::start(stage.address, "flow", PADDING, count);
        if policy == "drop_newest" {
            wait_until("all to be taken", || flow.has_ended());
        } else {
            wait_until("some to be sent", || flow.sent() >= 300);
        }
        file.write(1_000);
        stage.broker.start();
        wait_until("all to be taken", || flow.has_ended());
        assert_eq!(flow.sent(), count);
        wait_until("the file and more in the topic", || stage.topic.records() >= Some(1_300));
        if policy == "block" {
            wait_until("all in the topic", || stage.topic.records() >= Some(1_000 + count));
        }
        assert!(stage.agent.terminate().success());
        let events = without_repeats(stage.topic.events());
        if policy == "block" {
            assert_exactly_once(&events, &[file.tally(), ("flow", count)]);
        }
        let said = stage.agent_said(directory.path());
        assert!(!said.contains("the checkpoint cannot be written"), "{said}");
        let Counts { read, dropped, .. } = stage.agent.last_counts();
        assert_eq!(read, 1_000 + count as u64, "{policy}");
        assert_eq!(dropped > 0, policy == "drop_newest", "{dropped}");
    }
}

#[test]
fn inode_full() {
    if !has_own_mounts("inode_full") {
        return;
    }
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms, disk_free_min: 1MiB");
    let state = stage.agent.state();
    // Enough for the state, and for fewer segments than the spool may have.
    mount_in_memory("size=64m,nr_inodes=16,mode=700", &state);
    let none_left = || rustix::fs::statvfs(&state).unwrap().f_ffree == 0;
    stage.broker.kill9();
    let mut file = Lines::new("file", &directory.path().join("app.log"));
    file.write(1_000);
    // Killed when there is none left, and started with as many.
    let mut accepted = BTreeSet::new();
    for name in ["first", "second"] {
        stage.agent.start();
        let flow = Flow::start(stage.address, name, PADDING, 2_000);
        wait_until("no inode to be left", || {
            stage.agent.assert_running();
            none_left()
        });
        stage.agent.kill9();
        drop(flow);
        accepted.extend(undelivered(&stage.agent));
    }
    stage.agent.start();
    let flow = Flow::start(stage.address, "last", PADDING, 2_000);
    wait_until("no inode to be left", none_left);
    stage.broker.start();
    assert_eq!(flow.finish(), 2_000);
    wait_until("the file and more in the topic", || stage.topic.records() >= Some(3_000));
    stage.settle();
    assert!(stage.agent.terminate().success());
    let said = stage.agent_said(directory.path());
    assert!(said.contains("the checkpoint cannot be written"), "there were inodes left: {said}");
    let events = without_repeats(stage.topic.events());
    let arrived = assert_whole_beginnings(&events);
    assert_eq!((arrived["file"], arrived["last"]), (1_000, 2_000));
    assert_eq!(accepted.difference(&originals(&events)).count(), 0, "what was accepted arrived");
    let Counts { held, dropped, .. } = stage.agent.last_counts();
    assert_eq!((held, dropped), (0, 0), "also what was given back without a checkpoint");
}

#[test]
fn slow_fsync() {
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms");
    let mut file = Lines::new("file", &directory.path().join("app.log"));
    let log = directory.path().join("strace.log");
    // Killed in the middle of a sync, and started again.
    stage.broker.kill9();
    stage.agent.start_within(&slowing("fsync,fdatasync", 300, &log));
    let flow = Flow::start(stage.address, "outage", PADDING, 300);
    wait_until("messages that wait for a sync", || {
        spool_of(&stage.agent).is_some_and(|spool| spool["unsynced_bytes"].as_u64() > Some(0))
    });
    stage.agent.kill9();
    drop(flow);
    let accepted = undelivered(&stage.agent);
    // A kill in the middle of a write leaves a part of a message, which was not accepted yet.
    let torn = spool_faults(&stage.agent);
    assert!(torn <= 1, "{torn} faults of the spool");
    stage.broker.start();
    stage.agent.start_within(&slowing("fsync,fdatasync", 300, &log));
    file.write(1_000);
    Flow::start(stage.address, "flow", PADDING, 1_000).finish();
    wait_until("all in the topic", || {
        stage.topic.records() >= Some(2_000 + accepted.len())
            && stage.agent.counts().is_some_and(|counts| (counts.held, counts.dropped) == (0, torn))
    });
    stage.agent.kill9();
    let slowed = std::fs::read_to_string(&log).unwrap();
    for call in ["fsync(", "fdatasync("] {
        let is_slow = |line: &str| line.contains(call) && line.ends_with("(DELAYED)");
        assert!(slowed.lines().any(is_slow), "no {call} was slow");
    }
    let events = without_repeats(stage.topic.events());
    let arrived = assert_whole_beginnings(&events);
    assert_eq!((arrived["file"], arrived["flow"]), (1_000, 1_000));
    assert_eq!(accepted.difference(&originals(&events)).count(), 0, "what was accepted arrived");
}

#[test]
fn memory_cap() {
    let Some(cap) = MemoryCap::of(MEMORY_BYTES) else { return };
    // The control: what grows without end is killed.
    let mut grows = std::process::Command::new(&cap.wrapper()[0]);
    grows.args(&cap.wrapper()[1..]).args(["python3", "-c", "b'x' * (1 << 30)"]);
    assert_eq!(grows.status().unwrap().code(), None, "the cap does not hold");
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms");
    let mut file = Lines::new("file", &directory.path().join("app.log"));
    stage.broker.kill9();
    file.write(400_000);
    stage.agent.start_within(&cap.wrapper());
    let flow = Flow::start(stage.address, "flow", PADDING, 4_000);
    wait_until("everything to be as full as it gets", || {
        stage.agent.assert_running();
        let bytes = spool_of(&stage.agent).and_then(|spool| spool["bytes"].as_u64());
        let held = stage.agent.counts().map(|counts| counts.held);
        bytes > Some(3 << 20) && held > Some(1_000)
    });
    stage.broker.start();
    assert_eq!(flow.finish(), 4_000);
    wait_until("all in the topic", || {
        stage.agent.assert_running();
        stage.topic.records() >= Some(404_000)
    });
    // With its caches it takes what it is given, and the kernel takes that back: what counts is its own.
    let (own, with_caches) = (stage.agent.peak_bytes(), cap.peak());
    println!("{} KiB, with caches {} of {}", own >> 10, with_caches >> 10, MEMORY_BYTES >> 10);
    assert!(own <= MEMORY_BYTES / 5 * 4, "{own} bytes are more than four fifths");
    assert!(stage.agent.terminate().success());
    assert_exactly_once(&without_repeats(stage.topic.events()), &[file.tally(), ("flow", 4_000)]);
}

#[test]
fn what_is_lost_is_missed_by_these_tests_and_told_by_the_agent() {
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms");
    stage.broker.kill9();
    stage.agent.start();
    Flow::start(stage.address, "flow", PADDING, 300).finish();
    wait_until("all to be taken", || stage.agent.counts().is_some_and(|counts| counts.read == 300));
    stage.agent.kill9();
    let accepted = undelivered(&stage.agent);
    assert_eq!(accepted.len(), 300);
    let spools = stage.agent.state().join("spool");
    let spool = std::fs::read_dir(spools).unwrap().next().unwrap().unwrap().path();
    let mut segments: Vec<_> =
        std::fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    assert!(segments.len() > 3, "{segments:?}");
    std::fs::remove_file(&segments[1]).unwrap();
    stage.broker.start();
    stage.agent.start();
    stage.settle();
    let counts = stage.agent.counts_told();
    assert!(counts.dropped > 0, "{counts:?}");
    let events = without_repeats(stage.topic.events());
    let lost = accepted.difference(&originals(&events)).count() as u64;
    assert_eq!((lost, counts.read), (counts.dropped, 300));
    assert!(std::panic::catch_unwind(|| assert_whole_beginnings(&events)).is_err());
}

impl Stage {
    fn agent_said(&self, directory: &Path) -> String {
        String::from_utf8_lossy(&std::fs::read(directory.join("agent.output")).unwrap())
            .into_owned()
    }
}

#[test]
fn bad_state_dirs_are_refused_with_a_reason() {
    let directory = directory();
    let mut stage = stage(directory.path(), "sync_interval: 50ms");
    let config = directory.path().join("agent.yaml").display().to_string();
    let refused = || {
        let output = run_to_end("logweir-agent", &["run", "--config", &config]);
        assert_eq!(output.code, Some(1), "{output:?}");
        println!("{}", output.stderr.trim_end());
        output.stderr
    };
    stage.agent.start();
    wait_until("the agent to run", || stage.agent.counts().is_some());
    assert!(refused().contains("another agent (process "));
    assert!(stage.agent.terminate().success());
    let spool = stage.agent.state().join("spool");
    let moved = directory.path().join("moved");
    std::fs::rename(&spool, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &spool).unwrap();
    assert!(refused().contains("is a symbolic link"));
    std::fs::remove_file(&spool).unwrap();
    append(&spool, b"a file");
    assert!(refused().contains("Not a directory"));
    std::fs::remove_file(&spool).unwrap();
    std::fs::rename(&moved, &spool).unwrap();
    let (state, own) = (stage.agent.state(), rustix::process::geteuid().as_raw());
    match std::os::unix::fs::chown(&state, Some(own + 1), None) {
        Ok(()) => {
            assert!(
                refused().contains(&format!("belongs to user {}, and this is user {own}", own + 1))
            );
            std::os::unix::fs::chown(&state, Some(own), None).unwrap();
        }
        Err(error) => logweir_tests::skip(&format!("only root gives files away: {error}")),
    }
    stage.agent.start();
    wait_until("the agent to run again", || stage.agent.counts().is_some());
}
