//! Files that cannot be read, for a while or as the agent's user, and a system that gives no more: all
//! lines come, each once, when it is over, other files go on meanwhile, and it is told once.
//!
//! `strace` lets the calls fail; it counts by thread, so where a fault begins and ends is said loosely.

mod stage;

use rustix::process::{Pid, Signal, kill_process};
use stage::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

/// An agent whose calls for the file `name` fail as `fault` says: `pread64:error=EIO:when=3`. They are
/// noted in the file `calls`.
fn with_fault(stage: &Stage, name: &str, fault: &str) -> Running {
    let (path, calls) = (stage.path(name), stage.path("calls"));
    let inject = format!("inject={fault}");
    // `-D`: the agent stays the child, and the tracer is not in between.
    let words = ["strace", "-D", "-I", "2", "-f", "-qq", "-s", "0", "-e", "trace=pread64,openat2"];
    let paths = ["-o", calls.to_str().unwrap(), "-P", path.to_str().unwrap()];
    Running::start_within(stage, &[&words[..], &paths, &["-e", &inject, "--"]].concat())
}

fn calls(stage: &Stage, what: &str) -> usize {
    fs::read_to_string(stage.path("calls")).unwrap_or_default().matches(what).count()
}

/// Without its tracer the agent is as any other.
fn end_fault(agent: &Running) {
    let tracer = i32::try_from(agent.number("TracerPid")).unwrap();
    kill_process(Pid::from_raw(tracer).unwrap(), Signal::TERM).unwrap();
}

/// Adds lines to the file until it cannot be read; returns how many there are.
fn write_until_it_fails(stage: &Stage, agent: &mut Running, name: &str) -> u32 {
    let mut count = 0;
    agent.wait_until_it("the file to fail", |agent| {
        stage.lines(name, count..count + 10);
        count += 10;
        agent.said(CANNOT) > 0
    });
    count
}

/// What goes on is told at most once a minute.
fn assert_told_once(agent: &Running, what: &str, since: Instant) {
    let (times, minutes) = (agent.said(what) as u64, since.elapsed().as_secs() / 60);
    assert!((1..=1 + minutes).contains(&times), "{times} times in {minutes} minutes: {what}");
}

const CANNOT: &str = "the file cannot be read";

#[test]
fn stale_handle() {
    let (stage, started) = (Stage::new(), Instant::now());
    let mut agent = with_fault(&stage, "a.log", "pread64:error=ESTALE:when=4+");
    let count = write_until_it_fails(&stage, &mut agent, "a.log");
    agent.wait_until("it to be opened again", || calls(&stage, "openat2(") > 1);
    end_fault(&agent);
    agent.wait_delivered(&stage, u64::from(count));
    let events = stage.events();
    assert_lines(&events, 0..count);
    assert_eq!((events.len(), table(&events).len()), (count as usize, 1));
    assert_told_once(&agent, CANNOT, started);
}

#[test]
fn eio_of_one_file() {
    let (stage, started) = (Stage::new(), Instant::now());
    let mut agent = with_fault(&stage, "a.log", "pread64:error=EIO:when=6+");
    let count = write_until_it_fails(&stage, &mut agent, "a.log");
    stage.lines("b.log", 5_000..10_000);
    stage.lines("a.log", count..5_000);
    let delivered = |name: &str| {
        let (status, path) = (stage.status(), stage.path(name).display().to_string());
        let sources = status["sources"].as_array().unwrap();
        let source = sources.iter().find(|source| source["name"] == path);
        source.and_then(|source| source["delivered"].as_u64()).unwrap_or(0)
    };
    agent.wait_until("the other file's lines", || delivered("b.log") == 5_000);
    assert!(delivered("a.log") < 5_000);
    end_fault(&agent);
    agent.wait_delivered(&stage, 10_000);
    let status = stage.status();
    let counts = ["read", "delivered", "held"].map(|name| status[name].as_u64().unwrap());
    assert_eq!(counts, [10_000, 10_000, 0]);
    let events = stage.events();
    assert_lines(&events, 0..10_000);
    assert_eq!((events.len(), table(&events).len()), (10_000, 2));
    assert_told_once(&agent, CANNOT, started);
    let tries = calls(&stage, "EIO");
    assert!(tries < 40, "{tries} tries: it spins");
}

#[test]
fn what_cannot_be_read_at_the_start_is_not_taken_for_new() {
    let stage = Stage::new();
    stage.lines("a.log", 0..5_000);
    let mut agent = Running::start(&stage);
    agent.wait_delivered(&stage, 5_000);
    assert!(agent.terminate().success());
    stage.lines("a.log", 5_000..6_000);
    // The first bytes can be read, those before the old position cannot.
    let mut agent = with_fault(&stage, "a.log", "pread64:error=EIO:when=2");
    agent.wait_delivered(&stage, 1_000);
    assert!(calls(&stage, "EIO") > 0);
    let events = stage.events();
    assert_lines(&events, 0..6_000);
    assert_eq!((events.len(), table(&events).len()), (6_000, 1));
}

#[test]
fn size_that_goes_back_and_forth() {
    let stage = Stage::new();
    // Nothing can be read of a file that has not become shorter, as on a network file system that is not up
    // to date.
    let mut agent = with_fault(&stage, "a.log", "pread64:retval=0:when=10+");
    let count = write_until_it_fails(&stage, &mut agent, "a.log");
    end_fault(&agent);
    agent.wait_delivered(&stage, u64::from(count));
    let events = stage.events();
    assert_lines(&events, 0..count);
    assert_eq!((events.len(), table(&events).len()), (count as usize, 1));
}

#[test]
fn perm_restored() {
    let stage = Stage::new();
    stage.lines("a.log", 0..10);
    let mode =
        |mode| fs::set_permissions(stage.path("a.log"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o000);
    // Modes are not for root, unless it has given up what lets it pass over them.
    let as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let as_others = if rustix::process::geteuid().is_root() { &as_others[..] } else { &[] };
    let mut agent = Running::start_within(&stage, as_others);
    // Each new file is found by a look at all of them.
    for n in 1..6 {
        stage.lines(&format!("{n}.log"), n * 10..n * 10 + 10);
        agent.wait_delivered(&stage, u64::from(n) * 10);
    }
    assert_eq!((agent.said("a.log"), agent.said("the file is not read")), (1, 1));
    mode(0o640);
    agent.wait_delivered(&stage, 60);
    let events = stage.events();
    assert_lines(&events, 0..60);
    assert_eq!((events.len(), table(&events).len()), (60, 6));
    assert_eq!(agent.said("the file is not read"), 1);
}

#[test]
fn fd_exhaustion() {
    const FILES: u32 = 300;
    let (mut stage, started) = (Stage::new(), Instant::now());
    let write = |stage: &Stage, n: u32, from: u32, count: u32| {
        stage.lines(&format!("{n}.log"), from + n * count..from + (n + 1) * count);
    };
    stage.kafka_extra.push_str(", reconnect.backoff.max.ms: 200");
    (0..FILES).for_each(|n| write(&stage, n, 0, 10));
    let mut agent = Running::start_within(&stage, &["prlimit", "--nofile=64:64"]);
    agent.wait_delivered(&stage, 10 * u64::from(FILES));
    // Files that wait, with none that could be closed, cost little.
    stage.kafka.broker_down(1).unwrap();
    let before = (agent.cpu(), Instant::now());
    (0..FILES).rev().for_each(|n| write(&stage, n, 10 * FILES, 1));
    agent.wait_until("a while to be over", || before.1.elapsed() > Duration::from_secs(2));
    let (spent, passed) = (agent.cpu() - before.0, before.1.elapsed());
    assert!(2 * spent < passed, "{spent:?} of {passed:?}");
    stage.kafka.broker_up(1).unwrap();
    agent.wait_delivered(&stage, 11 * u64::from(FILES));
    let events = stage.events();
    assert_lines(&events, 0..11 * FILES);
    assert_eq!(table(&events).len(), FILES as usize);
    assert_told_once(&agent, "so many files are open", started);
    assert_eq!((agent.said("the file "), agent.said("checkpoint cannot")), (0, 0));
}

#[test]
fn system_that_opens_no_more() {
    let (stage, started) = (Stage::new(), Instant::now());
    (0..60).for_each(|n| stage.lines(&format!("{n}.log"), n * 10..n * 10 + 10));
    let calls = stage.path("calls");
    // None but log files are opened by this call.
    let fault = "inject=openat2:error=EMFILE:when=20+7";
    let words = ["strace", "-D", "-f", "-qq", "-o", calls.to_str().unwrap()];
    let wrapper = [&words[..], &["-e", "trace=openat2", "-e", fault, "--"]].concat();
    let mut agent = Running::start_within(&stage, &wrapper);
    agent.wait_delivered(&stage, 600);
    assert_lines(&stage.events(), 0..600);
    assert_told_once(&agent, "so many files are open", started);
    assert_eq!(agent.said("the file "), 0);
    assert!(fs::read_to_string(calls).unwrap().contains("EMFILE"));
}
