//! Files that cannot be read, for a while or as the agent's user, and a system that gives no more: all
//! lines come, each once, when it is over, other files go on meanwhile, and it is told once.
//!
//! `strace` lets the calls fail; it counts by thread, so where a fault begins and ends is said loosely.

mod stage;

use flate2::{Compression, write::GzEncoder};
use rustix::process::{Pid, Signal, kill_process};
use stage::*;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

/// An agent whose calls for the file `name` fail as `fault` says: `pread64:error=EIO:when=3`. They are
/// noted in the file `calls`.
fn with_fault(stage: &Stage, name: &str, fault: &str) -> Running {
    with_fault_of(stage, &[name], fault)
}

/// The same of several files, or names that a file gets.
fn with_fault_of(stage: &Stage, names: &[&str], fault: &str) -> Running {
    let calls = stage.path("calls").display().to_string();
    let inject = format!("inject={fault}");
    // `-D`: the agent stays the child, and the tracer is not in between.
    let mut words = vec!["strace", "-D", "-I", "2", "-f", "-qq", "-s", "0", "-o", &calls];
    let paths: Vec<String> =
        names.iter().map(|name| stage.path(name).display().to_string()).collect();
    paths.iter().for_each(|path| words.extend(["-P", path]));
    words.extend(["-e", "trace=pread64,openat2,statx,getdents64", "-e", &inject, "--"]);
    Running::start_within(stage, &words)
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
fn stale_handle_of_a_renamed_file() {
    let mut stage = Stage::new();
    let glob = stage.path("*.log").display().to_string();
    stage.sources = Some(format!("- {{type: file, paths: ['{glob}'], rotate_wait: 1h}}"));
    stage.lines("a.log", 0..100);
    // The first look at it under the name that no glob finds is at the open file.
    let mut agent = with_fault(&stage, "a.old", "statx:error=ESTALE:when=1");
    agent.wait_delivered(&stage, 100);
    fs::rename(stage.path("a.log"), stage.path("a.old")).unwrap();
    agent.wait_until("the server to forget it", || calls(&stage, "ESTALE") > 0);
    stage.lines("a.old", 100..200);
    agent.wait_delivered(&stage, 200);
    let events = stage.events();
    assert_lines(&events, 0..200);
    assert_eq!((events.len(), table(&events).len()), (200, 1));
    assert_eq!(stage.status()["files_lost"], 0);
}

#[test]
fn stale_handle_of_a_file_that_nothing_names_is_told_and_counted() {
    let mut stage = Stage::new();
    // What one worker has failed to read no other one reads.
    stage.workers = 1;
    let names = ["a.log", "elsewhere/a.log"];
    let mut agent = with_fault_of(&stage, &names, "pread64:error=ESTALE:when=4+");
    let count = write_until_it_fails(&stage, &mut agent, "a.log");
    let size = fs::metadata(stage.path("a.log")).unwrap().len();
    let source = || stage.status()["sources"][0].clone();
    agent.wait_until("all of it to be seen", || {
        source()["end_offset"] == size && source()["held"] == 0
    });
    let unread = size - source()["acked_offset"].as_u64().unwrap();
    let elsewhere = stage.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(stage.path("a.log"), elsewhere.join("a.log")).unwrap();
    agent.wait_until("it to be given up", || stage.status()["files_lost"] == 1);
    assert_eq!((unread > 0, stage.status()["bytes_lost"].as_u64()), (true, Some(unread)));
    let told = format!("unread_bytes={unread}");
    assert_eq!((agent.said("the file is gone"), agent.said(&told)), (1, 1));
    // Nobody asks for it any more, until it comes back.
    let (tries, before) = (calls(&stage, "ESTALE"), stage.status()["delivered"].as_u64().unwrap());
    stage.lines("b.log", count..count + 100);
    agent.wait_delivered(&stage, before + 100);
    assert_eq!(calls(&stage, "ESTALE"), tries);
    end_fault(&agent);
    fs::rename(elsewhere.join("a.log"), stage.path("a.log")).unwrap();
    agent.wait_delivered(&stage, u64::from(count) + 100);
    let events = stage.events();
    assert_lines(&events, 0..count + 100);
    assert_eq!((events.len(), table(&events).len()), (count as usize + 100, 2));
}

#[test]
fn stale_handle_of_a_file_whose_directory_cannot_be_listed() {
    let mut stage = Stage::new();
    stage.workers = 1;
    // As with a mount that is gone for a while; `logs/` leaves the agent its own state.
    stage.glob = "logs/*.log";
    fs::create_dir(stage.path("logs")).unwrap();
    let fault = "pread64,getdents64:error=ESTALE:when=4+";
    let mut agent = with_fault_of(&stage, &["logs/a.log", "logs"], fault);
    let count = write_until_it_fails(&stage, &mut agent, "logs/a.log");
    // A change, which is told, has it look at once.
    let mut changes = 0;
    let mut change = || {
        changes += 1;
        fs::write(stage.path(&format!("logs/{changes}")), "").unwrap();
    };
    let looks = || calls(&stage, "getdents64(");
    let before = looks();
    agent.wait_until("some looks that find nothing", || {
        change();
        looks() >= before + 6
    });
    assert_eq!(stage.status()["files_lost"], 0);
    end_fault(&agent);
    agent.wait_until("all to be delivered", || {
        change();
        stage.status()["delivered"] == count
    });
    let events = stage.events();
    assert_lines(&events, 0..count);
    assert_eq!((events.len(), table(&events).len()), (count as usize, 1));
}

#[test]
fn stale_handle_of_an_archive() {
    const LINES: u32 = 100_000;
    let mut stage = Stage::new();
    stage.glob = "*.gz";
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all((expected(0..LINES).join("\n") + "\n").as_bytes()).unwrap();
    let archive = encoder.finish().unwrap();
    fs::write(stage.path("draft"), &archive).unwrap();
    fs::rename(stage.path("draft"), stage.path("a.1.gz")).unwrap();
    // In the middle of it: it is read by pieces of 8 KiB.
    assert!(archive.len() > 200 << 10, "{} bytes", archive.len());
    let mut agent = with_fault(&stage, "a.1.gz", "pread64:error=ESTALE:when=10+");
    agent.wait_until_said(CANNOT);
    // The discovery has opened it once, and looked at what kind it is of before.
    let opens = || calls(&stage, "openat2(");
    let before = opens();
    agent.wait_until("it to be opened again", || opens() > before.max(2));
    // Renamed by the next rotation, which is where it can be read.
    fs::rename(stage.path("a.1.gz"), stage.path("a.2.gz")).unwrap();
    agent.wait_delivered(&stage, u64::from(LINES));
    let events = stage.events();
    assert_lines(&events, 0..LINES);
    assert_eq!((events.len(), table(&events).len()), (LINES as usize, 1));
    assert_eq!(stage.status()["files_lost"], 0);
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

/// What starts an agent for which modes count: they are not for root, unless it has given up what lets it
/// pass over them.
fn others() -> &'static [&'static str] {
    let is_root = rustix::process::geteuid().is_root();
    if is_root { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &[] }
}

#[test]
fn perm_restored() {
    let stage = Stage::new();
    stage.lines("a.log", 0..10);
    let mode =
        |mode| fs::set_permissions(stage.path("a.log"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o000);
    let mut agent = Running::start_within(&stage, others());
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
fn what_cannot_be_read_for_longer_than_is_remembered_is_not_read_anew() {
    let stage = Stage::new();
    stage.lines("a.log", 0..10);
    stage.lines("b.log", 10..20);
    let mut agent = Running::start(&stage);
    agent.wait_delivered(&stage, 20);
    assert!(agent.terminate().success());
    stage.edit_checkpoint(|body| {
        for entry in body["entries"].as_array_mut().unwrap() {
            if entry.to_string().contains("a.log") {
                entry["seen_day"] = (entry["seen_day"].as_u64().unwrap() - 8).into();
            }
        }
    });
    let mode =
        |mode| fs::set_permissions(stage.path("a.log"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o000);
    let mut agent = Running::start_within(&stage, others());
    agent.wait_until_said("the file is not read");
    assert!(agent.terminate().success());
    mode(0o640);
    stage.lines("a.log", 20..30);
    let mut agent = Running::start(&stage);
    agent.wait_delivered(&stage, 10);
    assert!(agent.terminate().success());
    let events = stage.events();
    assert_lines(&events, 0..30);
    assert_eq!(events.len(), 30);
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
