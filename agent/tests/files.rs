//! Files by scenario: rotation, restarts, odd names, odd contents, lines that belong together.

mod stage;

use flate2::{Compression, write::GzEncoder};
use logweir_agent::{Agent, Config, Snapshot, SourceSnapshot};
use logweir_tests::{Disk, has_own_mounts};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use stage::*;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

fn stop(agent: Agent) {
    agent.stop(PATIENCE);
}

fn late_writer(stage: &Stage, name: &str) -> File {
    OpenOptions::new().append(true).create(true).open(stage.path(name)).unwrap()
}

fn originals(stage: &Stage) -> Vec<String> {
    table(&stage.events()).into_values().flatten().collect()
}

/// Files under `directory` that this process has open.
fn open_files(directory: &Path) -> usize {
    let once = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
        let names = links.filter_map(|link| fs::read_link(link.path()).ok());
        // The directory itself is open while it is listed.
        names.filter(|name| name.parent() == Some(directory)).count()
    };
    // While the links are read one by one, a file is closed that was counted and another is opened:
    // a single look may count both.
    (0..3).map(|_| once()).min().unwrap()
}

#[test]
fn rename_create() {
    let mut stage = Stage::new();
    stage.glob = "a.log*";
    stage.lines("a.log", 0..10_000);
    let old = late_writer(&stage, "a.log");
    let agent = stage.start();
    wait_delivered(&agent, 1);
    fs::rename(stage.path("a.log"), stage.path("a.log.1")).unwrap();
    stage.lines("a.log", 10_000..20_000);
    for n in 20_000..20_100 {
        writeln!(&old, "line {n}").unwrap();
    }
    wait_delivered(&agent, 20_100);
    let events = stage.events();
    assert_lines(&events, 0..20_100);
    assert_eq!(events.len(), 20_100);
}

#[test]
fn rename_out_of_glob() {
    let mut stage = Stage::new();
    stage.glob = "a.log";
    stage.lines("a.log", 0..100);
    let old = late_writer(&stage, "a.log");
    let agent = stage.start();
    wait_delivered(&agent, 100);
    fs::rename(stage.path("a.log"), stage.path("a.log.1")).unwrap();
    for n in 100..200 {
        writeln!(&old, "line {n}").unwrap();
    }
    drop(old);
    wait_delivered(&agent, 200);
    wait_for(&agent, "the old file to be closed", |_| open_files(stage.directory.path()) == 0);
    assert_lines(&stage.events(), 0..200);
}

#[test]
fn multi_rapid_rotation() {
    let mut stage = Stage::new();
    stage.glob = "*.log*";
    let agent = stage.start();
    let mut count = 0;
    for turn in 0..10 {
        for name in 0..5 {
            let name = format!("{name}.log");
            stage.lines(&name, count..count + 200);
            count += 200;
            fs::rename(stage.path(&name), stage.path(&format!("{name}.{turn}"))).unwrap();
        }
    }
    wait_delivered(&agent, u64::from(count));
    let events = stage.events();
    assert_lines(&events, 0..count);
    assert_eq!(events.len(), count as usize);
}

#[test]
fn copytruncate_live() {
    let mut stage = Stage::new();
    stage.glob = "a.log*";
    stage.lines("a.log", 0..1000);
    let agent = stage.start();
    wait_delivered(&agent, 1000);
    fs::copy(stage.path("a.log"), stage.path("a.log.1")).unwrap();
    OpenOptions::new().write(true).open(stage.path("a.log")).unwrap().set_len(0).unwrap();
    stage.lines("a.log", 1000..11_000);
    wait_delivered(&agent, 11_000);
    let events = stage.events();
    assert_lines(&events, 0..11_000);
    assert_eq!(events.len(), 11_000);
}

/// How often a file is truncated in a row.
fn truncations() -> u32 {
    std::env::var("LOGWEIR_TRUNCATIONS").map_or(10, |count| count.parse().unwrap())
}

#[test]
fn copytruncate_again_and_again() {
    let mut stage = Stage::new();
    stage.glob = "a.log*";
    let agent = stage.start();
    for round in 0..truncations() {
        stage.lines("a.log", round * 100..round * 100 + 100);
        // Some of it is there to be known again by.
        wait_delivered(&agent, u64::from(round) * 100 + 10);
        fs::copy(stage.path("a.log"), stage.path(&format!("a.log.{round}"))).unwrap();
        OpenOptions::new().write(true).open(stage.path("a.log")).unwrap().set_len(0).unwrap();
    }
    let count = truncations() * 100;
    wait_delivered(&agent, u64::from(count));
    let events = stage.events();
    assert_lines(&events, 0..count);
    assert_eq!(events.len(), count as usize);
}

#[test]
fn truncated_and_refilled_before_a_look() {
    let stage = Stage::new();
    let mut agent = Running::start(&stage);
    let mut count = 0;
    for round in 0..truncations() {
        // Longer each time than what was there.
        let lines = 100 + 10 * round;
        kill_process(agent.pid(), Signal::STOP).unwrap();
        let file = File::create(stage.path("a.log")).unwrap();
        drop(file);
        stage.lines("a.log", count..count + lines);
        kill_process(agent.pid(), Signal::CONT).unwrap();
        count += lines;
        agent.wait_delivered(&stage, u64::from(count));
    }
    let events = stage.events();
    assert_lines(&events, 0..count);
    assert_eq!((events.len(), table(&events).len()), (count as usize, truncations() as usize));
}

#[test]
fn copytruncate_stale_writer() {
    let stage = Stage::new();
    let writer = File::create(stage.path("a.log")).unwrap();
    let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
    writer.write_all_at(text.as_bytes(), 0).unwrap();
    let agent = stage.start();
    wait_delivered(&agent, 100);
    writer.set_len(0).unwrap();
    // It goes on where it was, as one that does not append.
    writer.write_all_at(b"line 100\nline 101\n", text.len() as u64).unwrap();
    let snapshot = wait_delivered(&agent, 102);
    assert_eq!(snapshot.counts.nul_bytes_skipped, text.len() as u64);
    assert_lines(&stage.events(), 0..102);
}

#[test]
fn truncated_under_a_name_that_no_glob_finds_and_brought_back() {
    let mut stage = Stage::new();
    stage.glob = "a.log";
    stage.lines("a.log", 0..100);
    let agent = stage.start();
    wait_delivered(&agent, 100);
    fs::rename(stage.path("a.log"), stage.path("a.old")).unwrap();
    File::create(stage.path("a.old")).unwrap();
    stage.lines("a.old", 100..150);
    wait_delivered(&agent, 150);
    fs::rename(stage.path("a.old"), stage.path("a.log")).unwrap();
    stage.lines("a.log", 150..200);
    wait_delivered(&agent, 200);
    let events = stage.events();
    assert_lines(&events, 0..200);
    assert_eq!((events.len(), table(&events).len()), (200, 2));
}

#[test]
fn what_the_checkpoint_has_forgotten_is_read_again_and_takes_no_known_identity() {
    let stage = Stage::new();
    stage.lines("a.log", 0..100);
    let agent = stage.start();
    wait_delivered(&agent, 100);
    stop(agent);
    // As after a week in which the file was not there.
    stage.edit_checkpoint(|body| body["entries"] = Value::Array(Vec::new()));
    File::create(stage.path("a.log")).unwrap();
    stage.lines("a.log", 100..160);
    let agent = stage.start();
    wait_delivered(&agent, 60);
    assert_lines(&stage.events(), 0..160);
}

#[test]
fn what_is_new_where_was_looked_before_is_read_though_another_path_is_new() {
    let mut stage = Stage::new();
    let directory = stage.directory.path().display().to_string();
    let sources = |paths: &str| {
        let paths = paths.replace("DIR", &directory);
        Some(format!("- {{type: file, paths: [{paths}], read_from: end}}"))
    };
    stage.sources = sources("'DIR/a*.log'");
    stage.lines("a1.log", 1000..1010);
    let agent = stage.start();
    wait_for(&agent, "the first one", |snapshot| snapshot.sources.len() == 1);
    stop(agent);
    stage.lines("a2.log", 0..10);
    stage.lines("b1.log", 2000..2010);
    stage.sources = sources("'DIR/a*.log', 'DIR/b*.log'");
    let agent = stage.start();
    wait_for(&agent, "all of them", |snapshot| snapshot.sources.len() == 3);
    stage.lines("b1.log", 10..20);
    wait_delivered(&agent, 20);
    stop(agent);
    assert_lines(&stage.events(), 0..20);
}

#[test]
fn a_file_of_half_a_byte_order_mark_is_read_to_its_end_when_it_is_left() {
    let mut stage = Stage::new();
    stage.glob = "a.log";
    fs::write(stage.path("a.log"), b"\xff").unwrap();
    let agent = stage.start();
    wait_for(&agent, "it to be begun", |snapshot| snapshot.sources.len() == 1);
    fs::rename(stage.path("a.log"), stage.path("a.old")).unwrap();
    wait_for(&agent, "it to be let go", |snapshot| snapshot.sources.is_empty());
    wait_delivered(&agent, 1);
    assert_eq!(stage.events().len(), 1);
}

#[test]
fn what_comes_after_a_truncation_is_not_missed_of_what_was_before() {
    let mut stage = Stage::new();
    // The next turn of the file comes when the look has seen its new size.
    stage.source_extra = ", limits: {events_per_second: 20, burst: 1s}".into();
    stage.lines("a.log", 0..100);
    let agent = stage.start();
    wait_delivered(&agent, 100);
    File::create(stage.path("a.log")).unwrap();
    stage.lines("a.log", 100..300);
    stage.lines("b.log", 300..301);
    wait_for(&agent, "both to be read", |snapshot| snapshot.counts.delivered == 301);
    stop(agent);
    let missed = std::cell::Cell::new(0);
    stage.edit_checkpoint(|body| {
        let files =
            body["entries"].as_array().unwrap().iter().map(|entry| &entry["content"]["file"]);
        let replaced = files.filter(|file| file["replaced"] == true);
        let unread = replaced.filter_map(|file| file["unread"].as_u64());
        missed.set(unread.chain([missed.get()]).sum());
    });
    assert_eq!(missed.get(), 0);
}

#[test]
fn files_that_are_new_wait_while_the_checkpoint_cannot_be_written() {
    let stage = Stage::new();
    stage.lines("known.log", 0..100);
    stage.lines("truncated.log", 100..200);
    let agent = stage.start();
    wait_delivered(&agent, 200);
    let blocks = [0, 1].map(|slot| stage.path(&format!("state/checkpoint.{slot}.tmp")));
    // After a write of the checkpoint has had its turn.
    let is_blocked = |block: &Path| fs::create_dir(block).is_ok() || block.is_dir();
    wait_for(&agent, "no way to write", |_| blocks.iter().all(|block| is_blocked(block)));
    File::create(stage.path("truncated.log")).unwrap();
    stage.lines("truncated.log", 200..250);
    stage.lines("new.log", 250..300);
    stage.lines("known.log", 300..400);
    let failed = wait_for(&agent, "failures", |snapshot| {
        let is_found = |name| snapshot.sources.iter().any(|source| source.name.ends_with(name));
        snapshot.checkpoint_fails && snapshot.counts.delivered >= 300 && is_found("new.log")
    });
    let failed = failed.checkpoint_errors;
    let snapshot =
        wait_for(&agent, "more of them", |snapshot| snapshot.checkpoint_errors > failed + 1);
    assert_eq!((snapshot.counts.delivered, snapshot.counts.held), (300, 0));
    // What was not sent is read after a start, once it can be written again.
    stop(agent);
    let agent = stage.start();
    wait_for(&agent, "failures", |snapshot| snapshot.checkpoint_fails);
    blocks.iter().for_each(|block| fs::remove_dir(block).unwrap());
    // Of `known.log`, too, what no checkpoint tells of: how much that is, is not known.
    wait_for(&agent, "all lines", |snapshot| {
        !snapshot.checkpoint_fails && all_lines(&stage.events()).len() >= 400
    });
    assert_lines(&stage.events(), 0..400);
}

#[test]
fn a_reload_loses_nothing_of_a_file_that_is_renamed_meanwhile() {
    let mut stage = Stage::new();
    stage.glob = "a.log";
    stage.lines("a.log", 0..100);
    let mut agent = Running::start(&stage);
    agent.wait_delivered(&stage, 100);
    stage.kafka.broker_down(1).unwrap();
    stage.lines("a.log", 100..200);
    agent.wait_until("some to be held", || stage.status()["read"] == 200);
    stage.source_extra = ", labels: {of: reload}".into();
    process(&stage);
    kill_process(agent.pid(), Signal::HUP).unwrap();
    agent.wait_until_said("sources are those");
    stage.lines("a.log", 200..300);
    fs::rename(stage.path("a.log"), stage.path("a.old")).unwrap();
    stage.lines("a.log", 300..400);
    stage.kafka.broker_up(1).unwrap();
    agent.wait_delivered(&stage, 400);
    let events = stage.events();
    assert_lines(&events, 0..400);
    assert_eq!((table(&events).len(), stage.status()["files_lost"].as_u64()), (2, Some(0)));
}

#[test]
fn a_file_that_is_made_in_advance_is_read_as_it_is_filled() {
    // The second one is larger than what is read at once.
    for (size, is_deleted) in [(64 << 10, false), (8 << 20, false), (8 << 20, true)] {
        let stage = Stage::new();
        let writer = File::create(stage.path("a.log")).unwrap();
        writer.set_len(size).unwrap();
        let mut end = 0;
        let mut write = |range: std::ops::Range<u32>| {
            let text: String = range.map(|n| format!("line {n}\n")).collect();
            writer.write_all_at(text.as_bytes(), end).unwrap();
            end += text.len() as u64;
            end
        };
        write(0..10);
        let agent = stage.start();
        let read_to = |agent: &Agent, end: u64| {
            wait_for(agent, "its lines, and no more", |snapshot| {
                let is_there = |s: &SourceSnapshot| s.end_offset == end && s.acked_offset == end;
                snapshot.sources.iter().any(is_there)
            })
        };
        let end = write(10..20);
        read_to(&agent, end);
        let end = write(20..1000);
        read_to(&agent, end);
        stop(agent);
        let end = write(1000..2000);
        let agent = stage.start();
        read_to(&agent, end);
        // What nobody fills any more is not waited for.
        if is_deleted {
            fs::remove_file(stage.path("a.log")).unwrap();
        } else {
            fs::rename(stage.path("a.log"), stage.path("a.old")).unwrap();
        }
        wait_for(&agent, "it to be let go", |snapshot| snapshot.sources.is_empty());
        assert_lines(&stage.events(), 0..2000);
    }
}

#[test]
fn copytruncate_while_stopped() {
    for added in [5, 500] {
        let mut stage = Stage::new();
        stage.glob = "a.log*";
        stage.lines("a.log", 0..100);
        let agent = stage.start();
        wait_delivered(&agent, 100);
        stop(agent);
        stage.lines("a.log", 100..150);
        fs::copy(stage.path("a.log"), stage.path("a.log.1")).unwrap();
        fs::write(stage.path("a.log"), "").unwrap();
        stage.lines("a.log", 150..150 + added);
        let agent = stage.start();
        wait_delivered(&agent, u64::from(50 + added));
        let events = stage.events();
        assert_lines(&events, 0..150 + added);
        assert_eq!(events.len(), 150 + added as usize);
    }
}

/// The number that the next file gets. A file that is closed gives its own back a moment after it is no
/// longer among the open ones.
fn next_inode(stage: &Stage) -> u64 {
    let probe = stage.path("disk/probe");
    let number = File::create(&probe).unwrap().metadata().unwrap().ino();
    fs::remove_file(probe).unwrap();
    number
}

/// The inode of what was renamed was that of the file before it, which is remembered, too.
#[test]
fn rename_while_stopped_of_a_reused_inode() {
    if !has_own_mounts("rename_while_stopped_of_a_reused_inode") {
        return;
    }
    let mut stage = Stage::new();
    let place = stage.path("disk");
    let Some(disk) = Disk::mounted("ext4", stage.directory.path(), &place) else { return };
    stage.glob = "disk/a.log";
    let rotate = || fs::rename(stage.path("disk/a.log"), stage.path("disk/a.log.1")).unwrap();
    let inode = || fs::metadata(stage.path("disk/a.log")).unwrap().ino();
    for n in (0..8).map(|round| round * 300) {
        stage.lines("disk/a.log", n..n + 100);
        let first = inode();
        let agent = stage.start();
        wait_delivered(&agent, 100);
        rotate();
        wait_for(&agent, "the old file to be closed", |_| open_files(&place) == 0);
        fs::remove_file(stage.path("disk/a.log.1")).unwrap();
        wait_for(&agent, "the file's number to be free", |_| next_inode(&stage) == first);
        stage.lines("disk/a.log", n + 100..n + 200);
        assert_eq!(inode(), first);
        wait_delivered(&agent, 200);
        stop(agent);
        stage.lines("disk/a.log", n + 200..n + 250);
        rotate();
        stage.lines("disk/a.log", n + 250..n + 300);
        let agent = stage.start();
        wait_delivered(&agent, 100);
        stop(agent);
        for name in ["disk/a.log", "disk/a.log.1"] {
            fs::remove_file(stage.path(name)).unwrap();
        }
    }
    let events = stage.events();
    assert_lines(&events, 0..2_400);
    assert_eq!(events.len(), 2_400);
    drop(disk);
}

#[test]
fn inode_reuse() {
    if !has_own_mounts("inode_reuse") {
        return;
    }
    let mut stage = Stage::new();
    let place = stage.path("disk");
    // This file system gives a number again at once.
    let Some(disk) = Disk::mounted("ext4", stage.directory.path(), &place) else { return };
    stage.glob = "disk/*.log";
    let inode = || fs::metadata(stage.path("disk/a.log")).unwrap().ino();
    let write = |range: std::ops::Range<u32>| {
        stage.append("disk/a.log", "the same first line in each\n");
        stage.lines("disk/a.log", range);
        inode()
    };
    let first = write(0..100);
    for n in (1..6).map(|round| round * 200) {
        let agent = stage.start();
        wait_delivered(&agent, 101);
        // Another file while the agent runs, as soon as it has let go of the old one …
        fs::remove_file(stage.path("disk/a.log")).unwrap();
        wait_for(&agent, "the file's number to be free", |_| next_inode(&stage) == first);
        assert_eq!(write(n - 100..n), first);
        wait_delivered(&agent, 202);
        stop(agent);
        // … and while it is stopped.
        fs::remove_file(stage.path("disk/a.log")).unwrap();
        assert_eq!(write(n..n + 100), first);
    }
    let agent = stage.start();
    wait_delivered(&agent, 101);
    let events = stage.events();
    let mut lines = all_lines(&events);
    lines.retain(|line| line.starts_with("line "));
    assert_eq!(lines, expected(0..1100));
    assert_eq!((events.len(), table(&events).len()), (11 * 101, 11));
    stop(agent);
    drop(disk);
}

#[test]
fn globs_that_overlap() {
    let mut stage = Stage::new();
    let directory = stage.directory.path().display();
    let source = |paths: &str| format!("- {{type: file, paths: [{paths}]}}\n  ");
    let first = source(&format!("'{directory}/*.log', '{directory}/a.*', '{directory}/b.log'"));
    let second = source(&format!("'{directory}/a*.log', '{directory}/c'"));
    stage.sources = Some(first + &second);
    for (n, name) in ["a.log", "ab.log", "b.log", "a.txt", "c"].into_iter().enumerate() {
        stage.lines(name, n as u32 * 10..n as u32 * 10 + 10);
    }
    fs::hard_link(stage.path("b.log"), stage.path("d.log")).unwrap();
    let mut agent = Running::start(&stage);
    agent.wait_delivered(&stage, 50);
    stage.lines("a.log", 50..60);
    // A look at all, after which each has been found by every glob again.
    stage.lines("e.log", 60..70);
    agent.wait_delivered(&stage, 70);
    let events = stage.events();
    assert_lines(&events, 0..70);
    assert_eq!((events.len(), table(&events).len()), (70, 6));
    // Whom the files that both name belong to is told once.
    assert_eq!(agent.said("two sources name this file"), 1);
}

#[test]
fn same_header() {
    let stage = Stage::new();
    let header = format!("{}\n", "h".repeat(4095));
    for (name, range) in [("a.log", 0..10), ("b.log", 10..20)] {
        let lines: String = range.map(|n| format!("line {n}\n")).collect();
        fs::write(stage.path(name), format!("{header}{lines}")).unwrap();
    }
    let agent = stage.start();
    wait_delivered(&agent, 22);
    let mut lines = originals(&stage);
    lines.retain(|line| line.starts_with("line"));
    lines.sort();
    let mut wanted = expected(0..20);
    wanted.sort();
    assert_eq!(lines, wanted);
}

#[test]
fn growing_fingerprint() {
    let stage = Stage::new();
    let mut count = 0;
    stage.append("a.log", "\n");
    for lines in [0, 1, 10, 40, 200] {
        stage.lines("a.log", count..count + lines);
        count += lines;
        let agent = stage.start();
        let size = fs::metadata(stage.path("a.log")).unwrap().len();
        wait_for(&agent, "all of it", |snapshot| {
            snapshot.sources.iter().any(|source| source.acked_offset == size)
        });
        stop(agent);
    }
    let events = stage.events();
    assert_lines(&events, 0..count);
    assert_eq!((events.len(), table(&events).len()), (count as usize, 1));
}

#[test]
fn tiny_file() {
    let stage = Stage::new();
    let agent = stage.start();
    stage.append("a.log", "line 0 of a file that has forty-two bytes\n");
    wait_delivered(&agent, 1);
}

#[test]
fn partial_line_across_restart() {
    let stage = Stage::new();
    stage.append("a.log", "abc");
    let agent = stage.start();
    wait_for(&agent, "the file", |snapshot| snapshot.sources.iter().any(|s| s.end_offset == 3));
    stop(agent);
    stage.append("a.log", "def\n");
    let agent = stage.start();
    wait_delivered(&agent, 1);
    assert_eq!(originals(&stage), ["abcdef"]);
}

#[test]
fn eof_without_lf_on_rotate() {
    let mut stage = Stage::new();
    stage.glob = "a.log";
    stage.append("a.log", "line 0\nline 1");
    let agent = stage.start();
    wait_delivered(&agent, 1);
    fs::rename(stage.path("a.log"), stage.path("a.log.1")).unwrap();
    wait_delivered(&agent, 2);
    let events = stage.events();
    assert_lines(&events, 0..2);
    let flags: Vec<_> = events.iter().map(|event| event.get("logweir.unterminated")).collect();
    assert_eq!(flags, [None, Some(&Value::Bool(true))]);
}

#[test]
fn a_line_that_ended_by_rotation_ends_there_also_when_it_is_read_again() {
    let mut stage = Stage::new();
    stage.glob = "a.log";
    // Longer than what is read at once, and not.
    for length in [10, 300 << 10] {
        stage.kafka.broker_down(1).unwrap();
        let begun = "x".repeat(length);
        stage.append("a.log", &begun);
        let agent = stage.start();
        wait_for(&agent, "the file", |snapshot| snapshot.sources.iter().any(|s| s.end_offset > 0));
        fs::rename(stage.path("a.log"), stage.path("a.log.1")).unwrap();
        wait_for(&agent, "the line to be held", |snapshot| snapshot.counts.held == 1);
        assert!(!agent.stop(Duration::ZERO), "what is held is not out");
        drop(agent);
        stage.append("a.log.1", &format!("rest of {length}\n"));
        stage.kafka.broker_up(1).unwrap();
        let agent = stage.start();
        wait_delivered(&agent, 2);
        let events = originals(&stage);
        assert!(events.contains(&begun[..length.min(64 << 10)].to_owned()));
        assert!(events.contains(&format!("rest of {length}")));
        fs::remove_file(stage.path("a.log.1")).unwrap();
    }
}

#[test]
fn only_regular_files_are_read_each_once_and_links_as_allowed() {
    for follow in [true, false] {
        let mut stage = Stage::new();
        stage.source_extra = format!(", follow_links: {follow}");
        stage.lines("a.log", 0..10);
        fs::hard_link(stage.path("a.log"), stage.path("hard.log")).unwrap();
        let (fifo, mode) = (stage.path("fifo.log"), rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _socket = UnixListener::bind(stage.path("socket.log")).unwrap();
        symlink("/dev/zero", stage.path("device.log")).unwrap();
        symlink(stage.path("nowhere"), stage.path("dangling.log")).unwrap();
        symlink(stage.path("loop.log"), stage.path("loop.log")).unwrap();
        fs::create_dir(stage.path("directory.log")).unwrap();
        stage.lines("target", 10..20);
        symlink(stage.path("target"), stage.path("link.log")).unwrap();
        symlink(stage.path("a.log"), stage.path("soft.log")).unwrap();
        let agent = stage.start();
        wait_delivered(&agent, if follow { 20 } else { 10 });
        // What comes later is found after everything else was looked at.
        stage.lines("z.log", if follow { 20..30 } else { 10..20 });
        wait_delivered(&agent, if follow { 30 } else { 20 });
        let events = stage.events();
        let count = if follow { 30 } else { 20 };
        assert_lines(&events, 0..count);
        assert_eq!((events.len(), table(&events).len()), (count as usize, count as usize / 10));
    }
}

#[test]
fn a_directory_link_that_another_user_made_is_told_and_not_followed() {
    let mut stage = Stage::new();
    stage.glob = "*/log/*.log";
    for directory in ["good/log", "app", "elsewhere"] {
        fs::create_dir_all(stage.path(directory)).unwrap();
    }
    stage.lines("good/log/a.log", 0..10);
    stage.lines("elsewhere/secret.log", 10..20);
    let link = stage.path("app/log");
    symlink("../elsewhere", &link).unwrap();
    if lchown(&link, Some(65534), None).is_err() {
        return println!("SKIPPED: only root gives files away");
    }
    let mut agent = Running::start(&stage);
    agent.wait_until_said(&format!("user 65534 made the link `{}`", link.display()));
    agent.wait_delivered(&stage, 10);
    // Nor is a file that is read opened anew by way of such a link.
    symlink("a.log", stage.path("0")).unwrap();
    lchown(stage.path("0"), Some(65534), None).unwrap();
    fs::rename(stage.path("0"), stage.path("good/log/0.log")).unwrap();
    agent.wait_until_said("good/log/0.log` to what");
    lchown(&link, Some(0), None).unwrap();
    // The look that finds this finds all.
    stage.lines("good/log/b.log", 20..30);
    agent.wait_delivered(&stage, 30);
    assert_lines(&stage.events(), 0..30);
    assert_eq!(agent.said("user 65534 made"), 2);
}

#[test]
fn without_room_for_notifications_files_are_looked_at_until_there_is() {
    let alone = ["--user", "--map-root-user"];
    let allowed = Command::new("unshare").args(alone).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        return println!("SKIPPED: user namespaces are not allowed here");
    }
    let stage = Stage::new();
    stage.lines("a.log", 0..10);
    let script = "echo 0 >/proc/sys/user/max_inotify_watches || exit 77
        (while [ ! -e \"$0\" ]; do sleep 0.05; done; echo 9999 >/proc/sys/user/max_inotify_watches) &
        exec \"$@\"";
    let more = stage.path("more").display().to_string();
    let limited = [&["unshare"], &alone[..], &["sh", "-c", script, &more]].concat();
    let mut agent = Running::start_within(&stage, &limited);
    agent.wait_until("the first lines", || stage.events().len() == 10);
    stage.lines("a.log", 10..20);
    stage.lines("b.log", 20..30);
    agent.wait_until("the lines that polling finds", || stage.events().len() == 30);
    assert_eq!(agent.said("no file notifications"), 1);
    File::create(&more).unwrap();
    agent.wait_until_said("file notifications work again");
    stage.lines("a.log", 30..40);
    agent.wait_until("the last lines", || stage.events().len() == 40);
    assert_lines(&stage.events(), 0..40);
}

#[test]
fn symlink_target_switch() {
    let mut stage = Stage::new();
    stage.glob = "current.log";
    stage.lines("1", 0..100);
    symlink(stage.path("1"), stage.path("current.log")).unwrap();
    let agent = stage.start();
    wait_delivered(&agent, 100);
    stage.lines("2", 100..200);
    symlink(stage.path("2"), stage.path("next")).unwrap();
    fs::rename(stage.path("next"), stage.path("current.log")).unwrap();
    stage.lines("1", 200..300);
    wait_delivered(&agent, 300);
    assert_lines(&stage.events(), 0..300);
}

#[test]
fn a_directory_that_takes_the_place_of_another_is_watched() {
    let mut stage = Stage::new();
    stage.glob = "*/a.log";
    let mut agent = Running::start(&stage);
    let (place, old) = (stage.path("d"), stage.path("old"));
    for round in 0..20 {
        fs::create_dir(&place).unwrap();
        stage.lines("d/a.log", round * 10..round * 10 + 10);
        agent.wait_until_it("the directory to be watched", |agent| agent.is_told_of(&place));
        agent.wait_delivered(&stage, u64::from(round + 1) * 10);
        // By turns removed and moved away, and made again at once.
        if round % 2 == 0 {
            fs::remove_dir_all(&place).unwrap();
        } else {
            let _ = fs::remove_dir_all(&old);
            fs::rename(&place, &old).unwrap();
        }
    }
    let events = stage.events();
    assert_lines(&events, 0..200);
    assert_eq!(events.len(), 200);
}

#[test]
fn wildcard_dirs() {
    let mut stage = Stage::new();
    stage.glob = "a/*/b/*.log";
    fs::create_dir(stage.path("a")).unwrap();
    let mut agent = Running::start(&stage);
    agent.wait_until_it("the first watches", |agent| agent.watches() > 0);
    let before = agent.watches();
    let sources = || stage.status()["sources"].as_array().unwrap().len();
    for round in 0..3_u32 {
        for n in round * 50..round * 50 + 50 {
            let directory = stage.path(&format!("a/{n}/b"));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("x.log"), format!("line {n}\n")).unwrap();
        }
        agent.wait_delivered(&stage, u64::from(round) * 50 + 50);
        assert!(agent.watches() > 50);
        for entry in fs::read_dir(stage.path("a")).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        agent.wait_until("everything to be let go", || sources() == 0);
        assert_eq!(agent.open_below(&stage.path("a")), 0);
        agent.wait_until_it("the watches to be let go", |agent| agent.watches() == before);
    }
    assert_lines(&stage.events(), 0..150);
}

/// Many times what is on its way to Kafka at most.
const BACKLOG_LINES: u32 = 30_000;

#[test]
fn deleted_while_it_is_read() {
    let stage = Stage::new();
    stage.kafka.broker_down(1).unwrap();
    let text = |n| format!("line {n} {}\n", "x".repeat(1000));
    stage.append("a.log", &(0..BACKLOG_LINES).map(text).collect::<String>());
    let agent = stage.start();
    let snapshot = wait_for(&agent, "the file", |snapshot| snapshot.counts.read > 0);
    fs::remove_file(stage.path("a.log")).unwrap();
    assert!(snapshot.counts.read < u64::from(BACKLOG_LINES));
    assert_eq!(open_files(stage.directory.path()), 1);
    stage.kafka.broker_up(1).unwrap();
    let snapshot = wait_delivered(&agent, u64::from(BACKLOG_LINES));
    assert_eq!(
        (snapshot.counts.read, snapshot.counts.dropped_total()),
        (u64::from(BACKLOG_LINES), 0)
    );
    wait_for(&agent, "the file to be closed", |_| open_files(stage.directory.path()) == 0);
}

#[test]
fn deleted_fd_release() {
    let stage = Stage::new();
    stage.lines("a.log", 0..10);
    let agent = stage.start();
    wait_delivered(&agent, 10);
    fs::remove_file(stage.path("a.log")).unwrap();
    wait_for(&agent, "the file to be closed", |_| open_files(stage.directory.path()) == 0);
}

#[test]
fn long_line() {
    let stage = Stage::new();
    let huge = "é".repeat(5 << 20);
    stage.append("a.log", &format!("line 0\n{huge}\nline 1\n"));
    let agent = stage.start();
    wait_delivered(&agent, 3);
    let events = stage.events();
    assert_eq!(originals(&stage), ["line 0", &"é".repeat(32 << 10), "line 1"]);
    assert_eq!(events[1]["logweir.original_bytes"], huge.len());
}

#[test]
fn file_2gb_and_truncate_2gb() {
    let stage = Stage::new();
    let file = File::create(stage.path("a.log")).unwrap();
    let far = (4_u64 << 30) + 123;
    file.write_all_at(b"line 0\n", 0).unwrap();
    let mut holes = 0;
    for (n, offset) in [(1, (2_u64 << 30) + 5), (2, far)] {
        file.write_all_at(format!("line {n}\n").as_bytes(), offset).unwrap();
        holes = offset;
    }
    let agent = stage.start();
    let snapshot = wait_delivered(&agent, 3);
    assert_eq!(snapshot.counts.nul_bytes_skipped, holes - 14);
    assert_eq!(stage.events()[2]["log.offset"], far);
    file.set_len(0).unwrap();
    stage.lines("a.log", 3..10);
    wait_delivered(&agent, 10);
    assert_lines(&stage.events(), 0..10);
}

#[test]
fn fairness_a_small_file_is_read_while_a_large_one_drains() {
    let stage = Stage::new();
    let large = File::create(stage.path("large.log")).unwrap();
    large.write_all_at(b"line 1\n", 1 << 40).unwrap();
    let agent = stage.start();
    wait_for(&agent, "the large file", |snapshot| snapshot.counts.nul_bytes_skipped > 0);
    stage.lines("a.log", 0..1);
    wait_delivered(&agent, 1);
    assert_lines(&stage.events(), 0..1);
}

#[test]
fn encodings() {
    let utf16 = |text: &str, big: bool| -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    };
    for big in [false, true] {
        let stage = Stage::new();
        let agent = stage.start();
        let bytes = utf16("\u{feff}Grüße 😀 \u{a0a}\r\nzweite\n", big);
        // Cut in the mark, in a unit, in a pair of surrogates and in a line end.
        let mut from = 0;
        for to in [1, 3, 17, 27, bytes.len() - 1, bytes.len()] {
            late_writer(&stage, "a.log").write_all(&bytes[from..to]).unwrap();
            from = to;
            wait_for(&agent, "the bytes", |snapshot| {
                snapshot.sources.iter().any(|source| source.end_offset == to as u64)
            });
        }
        wait_delivered(&agent, 2);
        stop(agent);
        late_writer(&stage, "a.log").write_all(&utf16("dritte\n", big)).unwrap();
        let agent = stage.start();
        wait_delivered(&agent, 1);
        assert_eq!(originals(&stage), ["Grüße 😀 \u{a0a}", "zweite", "dritte"]);
    }
    let mut stage = Stage::new();
    stage.source_extra = ", encoding: latin1".into();
    fs::write(stage.path("a.log"), b"Gr\xfc\xdfe\r\nna\xefve\n").unwrap();
    let agent = stage.start();
    wait_delivered(&agent, 2);
    assert_eq!(originals(&stage), ["Grüße", "naïve"]);
    let stage = Stage::new();
    fs::write(stage.path("a.log"), b"\xef\xbb\xbfmark\r\na\0b\n").unwrap();
    let agent = stage.start();
    wait_delivered(&agent, 2);
    assert_eq!(originals(&stage), ["mark", "a\0b"]);
}

#[test]
fn files_that_nobody_writes_to_are_not_begun() {
    let mut stage = Stage::new();
    stage.source_extra = ", ignore_older: 1h".into();
    stage.lines("old.log", 0..5);
    let two_hours_ago = SystemTime::now() - Duration::from_secs(7200);
    late_writer(&stage, "old.log").set_modified(two_hours_ago).unwrap();
    stage.lines("new.log", 10..15);
    let agent = stage.start();
    wait_delivered(&agent, 5);
    assert_lines(&stage.events(), 10..15);
    stage.lines("old.log", 5..10);
    wait_delivered(&agent, 15);
    assert_lines(&stage.events(), 0..15);
    // A file that was begun is read on, however old it has become.
    stop(agent);
    stage.lines("old.log", 15..20);
    late_writer(&stage, "old.log").set_modified(two_hours_ago).unwrap();
    let agent = stage.start();
    wait_delivered(&agent, 5);
    assert_lines(&stage.events(), 0..20);
}

fn multiline(rule: &str) -> Stage {
    let mut stage = Stage::new();
    stage.source_extra = format!(", multiline: {{{rule}}}");
    stage
}

#[test]
fn multiline_records_end_where_the_next_begins_and_the_last_after_its_time() {
    let stage = multiline("start: '^[A-Z]', timeout: 200ms");
    stage.append("a.log", "A\n 1\n\n 2\nB\n 1\nC\r\n 1\r\n");
    let agent = stage.start();
    wait_delivered(&agent, 3);
    assert_eq!(originals(&stage), ["A\n 1\n\n 2", "B\n 1", "C\r\n 1"]);
    let offsets: Vec<_> = stage.events().iter().map(|e| e["log.offset"].as_u64()).collect();
    assert_eq!(offsets, [Some(0), Some(9), Some(14)]);
    // What comes after the time is over is a record of its own.
    stage.append("a.log", " late\nD\n");
    wait_delivered(&agent, 5);
    assert_eq!(originals(&stage)[3..], [" late", "D"]);
}

#[test]
fn multiline_an_unfinished_record_waits_over_a_restart() {
    let mut stage = multiline("continue: '^ ', timeout: 1h");
    stage.append("a.log", "A\nB\n 1\n");
    let agent = stage.start();
    wait_delivered(&agent, 1);
    stop(agent);
    stage.append("a.log", " 2\nC\n");
    let agent = stage.start();
    wait_delivered(&agent, 1);
    assert_eq!(originals(&stage), ["A", "B\n 1\n 2"]);
    // Rotation ends the last one.
    stage.glob = "nothing";
    fs::rename(stage.path("a.log"), stage.path("a.old")).unwrap();
    wait_delivered(&agent, 2);
    assert_eq!(originals(&stage), ["A", "B\n 1\n 2", "C"]);
}

#[test]
fn multiline_what_ended_by_time_ends_there_also_when_it_is_read_again() {
    let stage = multiline("start: '^[A-Z]', timeout: 200ms");
    stage.kafka.broker_down(1).unwrap();
    stage.append("a.log", "A\n 1\n");
    let agent = stage.start();
    wait_for(&agent, "the record to be held", |snapshot| snapshot.counts.held == 1);
    assert!(!agent.stop(Duration::ZERO), "what is held is not out");
    drop(agent);
    stage.append("a.log", " 2\nB\n");
    stage.kafka.broker_up(1).unwrap();
    let agent = stage.start();
    wait_delivered(&agent, 3);
    assert_eq!(originals(&stage), ["A\n 1", " 2", "B"]);
}

#[test]
fn multiline_a_long_line_behind_what_ended_by_time_is_read_to_its_end() {
    let stage = multiline("start: '^[A-Z]', timeout: 200ms");
    stage.append("a.log", "A\n 1\n");
    let agent = stage.start();
    wait_delivered(&agent, 1);
    // It does not fit what is read of a file at once.
    stage.append("a.log", &format!("B{}\nC\n", "x".repeat(1 << 20)));
    wait_delivered(&agent, 3);
    let originals = originals(&stage);
    assert_eq!(originals.len(), 3);
    assert!(originals[0] == "A\n 1" && originals[1].starts_with("Bxx") && originals[2] == "C");
}

#[test]
fn multiline_what_ended_by_time_waits_for_the_checkpoint() {
    let stage = multiline("start: '^[A-Z]', timeout: 200ms");
    stage.append("a.log", "A\n 1\n");
    let agent = stage.start();
    wait_delivered(&agent, 1);
    // It cannot be written any more.
    let blocked = [0, 1].map(|slot| stage.path(&format!("state/checkpoint.{slot}.tmp")));
    blocked.iter().for_each(|path| fs::create_dir(path).unwrap());
    stage.append("a.log", "B\n 1\n");
    let failed = |snapshot: &Snapshot| snapshot.checkpoint_errors;
    let before = failed(&agent.snapshot());
    let snapshot = wait_for(&agent, "many failures", |now| failed(now) > before + 20);
    assert_eq!(snapshot.counts.read, 1);
    blocked.iter().for_each(|path| fs::remove_dir(path).unwrap());
    wait_delivered(&agent, 2);
    assert_eq!(originals(&stage), ["A\n 1", "B\n 1"]);
}

#[test]
fn multiline_an_end_by_time_holds_for_the_content_that_it_was_of() {
    for before in ["", "Z\n"] {
        let stage = multiline("start: '^[A-Z]', timeout: 1s");
        stage.append("a.log", &format!("{before}A\n 1\n"));
        let agent = stage.start();
        let before_bytes = before.len() as u64;
        wait_for(&agent, "the record that is not at its end", |snapshot| {
            let is_seen = |source: &SourceSnapshot| source.end_offset == before_bytes + 5;
            snapshot.counts.delivered == before_bytes / 2 && snapshot.sources.iter().any(is_seen)
        });
        File::create(stage.path("a.log")).unwrap();
        stage.append("a.log", "Bcdefghijk");
        // It ends by time, and so does what came earlier.
        stage.append("b.log", "X\n 1\n");
        wait_delivered(&agent, before_bytes / 2 + 1);
        stage.append("a.log", " rest\nC\n");
        wait_delivered(&agent, before_bytes / 2 + 3);
        let originals = originals(&stage);
        let known: Vec<&str> = originals.iter().map(String::as_str).collect();
        let mut expected = vec!["Bcdefghijk rest", "C", "X\n 1"];
        expected.extend(before.lines());
        assert!(expected.iter().all(|record| known.contains(record)), "{before:?}: {known:?}");
    }
}

#[test]
fn multiline_lines_that_came_in_time_are_of_the_record_also_if_they_are_read_late() {
    let mut stage = multiline("start: '^[A-Z]', timeout: 1s");
    stage.source_extra += ", limits: {events_per_second: 2, burst: 1ms}";
    stage.append("a.log", "V\nW\nX\nY\nZ\nA\n 1\n");
    let agent = stage.start();
    wait_delivered(&agent, 5);
    stage.append("a.log", " 2\nB\n");
    wait_delivered(&agent, 7);
    assert_eq!(originals(&stage)[5..], ["A\n 1\n 2", "B"]);
}

#[test]
fn multiline_a_start_that_never_comes_is_bounded_and_files_do_not_mix() {
    let stage = multiline("start: '^never$', lines_max: 10, bytes_max: 1KiB, timeout: 200ms");
    stage.lines("a.log", 0..95);
    stage.lines("b.log", 95..190);
    let agent = stage.start();
    wait_delivered(&agent, 20);
    let records = originals(&stage);
    assert!(records.iter().all(|record| record.lines().count() <= 10));
    let mut lines: Vec<&str> = records.iter().flat_map(|record| record.lines()).collect();
    lines.sort_by_key(|line| line["line ".len()..].parse::<u32>().unwrap());
    assert_eq!(lines, expected(0..190));
    for record in &records {
        let numbers: Vec<u32> = record.lines().map(|line| line[5..].parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{record}");
    }
}

#[test]
fn multiline_presets_keep_a_stack_trace_together() {
    let stage = multiline("preset: java, timeout: 200ms");
    let trace = "2026-11-28 07:00:00 ERROR Main - failed\njava.io.IOException: no\n\tat a.B.c(B.java:1)\nCaused by: x\n\t... 3 more";
    stage.append("a.log", &format!("{trace}\n2026-11-28 07:00:01 INFO Main - on\n"));
    let agent = stage.start();
    wait_delivered(&agent, 2);
    let events = stage.events();
    assert_eq!(originals(&stage), [trace, "2026-11-28 07:00:01 INFO Main - on"]);
    assert_eq!(events[1].get("logweir.prev"), Some(&Value::from(0)));
}

#[test]
fn multiline_the_parts_of_a_containers_line_become_the_event_of_the_whole_line() {
    let stage = multiline("preset: container, timeout: 200ms");
    // What runtimes divide is longer than what patterns see of a line.
    let long = "x".repeat(17 << 10);
    let (begin, end) = (format!(r#"{{"long":"{long}","us"#), r#"er":"alice"}"#);
    let cri =
        format!("2026-11-28T10:15:02.5Z stdout P {begin}\n2026-11-28T10:15:02.6Z stdout F {end}\n");
    let alone = "2026-11-28T10:15:03Z stderr F alone\n";
    let docker = [begin.as_str(), &format!("{end}\n")].map(|text| {
        let text = serde_json::to_string(text).unwrap();
        format!(r#"{{"log":{text},"stream":"stdout","time":"2026-11-28T10:15:04Z"}}"#)
    });
    let docker = docker.join("\n");
    stage.append("a.log", &format!("{cri}{alone}{docker}\n"));
    let packs = stage.path("rules.d");
    fs::create_dir(&packs).unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../parsers/rules/docker.yaml");
    fs::copy(shipped, packs.join("docker.yaml")).unwrap();
    let only_that = format!("shipped: false, directories: ['{}']", packs.display());
    let yaml = stage.yaml().replace("shipped: false", &only_that);
    let agent = Agent::start(Config::from_yaml("test.yaml", &yaml).unwrap().0).unwrap();
    wait_delivered(&agent, 3);
    assert_eq!(originals(&stage), [cri.trim_end(), alone.trim_end(), &docker]);
    let events = stage.events();
    for event in [&events[0], &events[2]] {
        assert_eq!(event["docker.stream"], "stdout");
        assert_eq!(event["message"].as_str(), Some(format!("{begin}{end}").as_str()));
    }
    assert_eq!(events[1]["message"], "alone");
}

fn gzip(stage: &Stage, from: &str, to: &str) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&fs::read(stage.path(from)).unwrap()).unwrap();
    fs::write(stage.path(to), encoder.finish().unwrap()).unwrap();
    fs::remove_file(stage.path(from)).unwrap();
}

#[test]
fn gz_archive() {
    for glob in ["a.log*", "a.log"] {
        let mut stage = Stage::new();
        stage.glob = glob;
        stage.lines("a.log", 0..1000);
        // An archive of what was never followed.
        stage.lines("other", 5000..5100);
        gzip(&stage, "other", "a.log.7.gz");
        let agent = stage.start();
        wait_delivered(&agent, 1000);
        // Rotated and compressed before the eyes of the agent: nothing is read again.
        fs::rename(stage.path("a.log"), stage.path("a.log.1")).unwrap();
        stage.lines("a.log", 1000..2000);
        wait_delivered(&agent, 2000);
        gzip(&stage, "a.log.1", "a.log.1.gz");
        wait_for(&agent, "the old file to be let go", |snapshot| snapshot.sources.len() == 1);
        stop(agent);
        // And while it is stopped, with a tail that it has not read.
        stage.lines("a.log", 2000..30_000);
        stage.append("a.log", "line 30000");
        fs::rename(stage.path("a.log.1.gz"), stage.path("a.log.2.gz")).unwrap();
        fs::rename(stage.path("a.log"), stage.path("a.log.1")).unwrap();
        gzip(&stage, "a.log.1", "a.log.1.gz");
        stage.lines("a.log", 30_001..30_100);
        let agent = stage.start();
        wait_delivered(&agent, 28_100);
        stop(agent);
        let agent = stage.start();
        wait_for(&agent, "a look", |snapshot| snapshot.sources.len() == 1);
        stage.lines("a.log", 30_100..30_200);
        wait_delivered(&agent, 100);
        let events = stage.events();
        assert_lines(&events, 0..30_200);
        assert_eq!(events.len(), 30_200, "{glob}");
    }
}

#[test]
fn gz_named_files_beside_one_that_is_gone_are_left_alone() {
    let stage = Stage::new();
    stage.lines("a.log", 0..100);
    let agent = stage.start();
    wait_delivered(&agent, 100);
    stop(agent);
    fs::remove_file(stage.path("a.log")).unwrap();
    stage.lines("plain.gz", 7000..7100);
    stage.lines("x", 8000..8100);
    gzip(&stage, "x", "other.gz");
    let agent = stage.start();
    stage.lines("b.log", 100..200);
    wait_delivered(&agent, 100);
    stop(agent);
    assert_lines(&stage.events(), 0..200);
}

#[test]
fn gz_archive_is_read_on_after_an_end_in_its_middle() {
    let mut stage = Stage::new();
    stage.lines("a.log", 0..100);
    let agent = stage.start();
    wait_delivered(&agent, 100);
    stop(agent);
    stage.lines("a.log", 100..40_000);
    gzip(&stage, "a.log", "a.log.1.gz");
    // So slow that it is in the middle, however busy the machine is.
    stage.source_extra = ", limits: {events_per_second: 1000, burst: 1ms}".into();
    let mut agent = Running::start(&stage);
    agent.wait_delivered(&stage, 1);
    // By SIGKILL.
    drop(agent);
    assert!(stage.events().len() < 40_000);
    stage.source_extra.clear();
    let agent = stage.start();
    wait_for(&agent, "the archive to be let go", |s| s.sources.is_empty() && s.counts.read > 0);
    let events = stage.events();
    assert_lines(&events, 0..40_000);
    assert_eq!(table(&events).len(), 1);
}

#[test]
fn gz_archives_that_the_paths_name_are_read_whole_and_once() {
    let mut stage = Stage::new();
    stage.glob = "*.gz";
    for n in 0..12 {
        stage.lines("x", n * 100..n * 100 + 100);
        gzip(&stage, "x", &format!("{n:02}.gz"));
    }
    let agent = stage.start();
    wait_delivered(&agent, 1200);
    stop(agent);
    stage.lines("x", 1200..1300);
    gzip(&stage, "x", "12.gz");
    let agent = stage.start();
    wait_delivered(&agent, 100);
    let events = stage.events();
    assert_lines(&events, 0..1300);
    assert_eq!(events.len(), 1300);
}

#[test]
fn gz_archive_of_a_file_that_is_still_read_where_the_paths_name_both() {
    let mut stage = Stage::new();
    let directory = stage.directory.path().display().to_string();
    let paths = format!("'{directory}/*.log', '{directory}/*.gz'");
    stage.sources = Some(format!("- {{type: file, paths: [{paths}], rotate_wait: 2s}}"));
    stage.lines("a.log", 0..1000);
    let agent = stage.start();
    wait_delivered(&agent, 1000);
    fs::rename(stage.path("a.log"), stage.path("a.log.1")).unwrap();
    gzip(&stage, "a.log.1", "a.log.1.gz");
    stage.lines("b.log", 1000..1100);
    wait_for(&agent, "the archive to take the place of the file", |snapshot| {
        let mut paths: Vec<&str> = snapshot.sources.iter().map(|s| s.name.as_str()).collect();
        paths.sort_unstable();
        let named = |path: &str, end: &str| path.ends_with(end);
        matches!(paths[..], [archive, file] if named(archive, ".gz") && named(file, "b.log"))
    });
    let events = stage.events();
    assert_lines(&events, 0..1100);
    assert_eq!(events.len(), 1100);
}

#[test]
fn open_files_max() {
    let mut stage = Stage::new();
    stage.glob = "*.log*";
    stage.agent_extra = ", open_files_max: 16".into();
    let names: Vec<String> = (0..100).map(|n| format!("{n:02}.log")).collect();
    let mut count = 0;
    let mut write = |stage: &Stage, name: &str, lines: u32| {
        stage.lines(name, count..count + lines);
        count += lines;
        u64::from(count)
    };
    for name in &names {
        write(&stage, name, 10);
    }
    let agent = stage.start();
    let most = |agent: &Agent, delivered: u64| {
        wait_for(agent, "all of it", |snapshot| {
            assert!(open_files(stage.directory.path()) <= 16);
            snapshot.counts.delivered >= delivered
        })
    };
    most(&agent, 1000);
    // Files at rest are read on when they change, in whatever order, and under another name.
    let mut written = 0;
    for name in names.iter().rev() {
        written = write(&stage, name, 5);
    }
    most(&agent, written);
    for name in &names[..50] {
        write(&stage, name, 1);
        fs::rename(stage.path(name), stage.path(&format!("{name}.1"))).unwrap();
        write(&stage, &format!("{name}.1"), 1);
        written = write(&stage, name, 1);
    }
    let snapshot = most(&agent, written);
    assert_eq!(snapshot.sources.len(), 150);
    // What is deleted while it is closed is let go.
    names.iter().for_each(|name| fs::remove_file(stage.path(name)).unwrap());
    wait_for(&agent, "the deleted files to be let go", |snapshot| snapshot.sources.len() == 50);
    stop(agent);
    let agent = stage.start();
    wait_for(&agent, "the files", |snapshot| snapshot.sources.len() == 50);
    written = write(&stage, "00.log.1", 1);
    most(&agent, 1);
    let events = stage.events();
    assert_lines(&events, 0..u32::try_from(written).unwrap());
    assert_eq!((events.len() as u64, table(&events).len()), (written, 150));
}

#[test]
fn of_files_that_could_not_be_opened_at_the_first_look_only_what_is_new_is_read() {
    let mut stage = Stage::new();
    stage.source_extra = ", read_from: end".into();
    stage.agent_extra = ", open_files_max: 16".into();
    let name = |n: u32| format!("{n:02}.log");
    (0..40).for_each(|n| stage.lines(&name(n), n * 10 + 1000..n * 10 + 1010));
    let agent = stage.start();
    wait_for(&agent, "all of them", |snapshot| snapshot.sources.len() == 40);
    (0..40).for_each(|n| stage.lines(&name(n), n..n + 1));
    wait_delivered(&agent, 40);
    stop(agent);
    assert_lines(&stage.events(), 0..40);
}

#[test]
fn a_file_at_rest_that_is_compressed_with_something_new_in_it_is_read_in_the_archive() {
    let mut stage = Stage::new();
    stage.agent_extra = ", open_files_max: 16".into();
    (0..40).for_each(|n| stage.lines(&format!("{n:02}.log"), n * 10..n * 10 + 10));
    let agent = stage.start();
    wait_delivered(&agent, 400);
    wait_for(&agent, "files to be closed", |snapshot| snapshot.open_files < 16);
    // One rename, so that the agent has no time to notice the new lines before they are compressed.
    for n in 0..40 {
        let (name, new) = (format!("{n:02}.log"), format!("{n:02}.new"));
        fs::copy(stage.path(&name), stage.path(&new)).unwrap();
        stage.lines(&new, 400 + n..401 + n);
        gzip(&stage, &new, &format!("{name}.gz"));
        fs::remove_file(stage.path(&name)).unwrap();
    }
    // Files that are open when they are deleted hold no more than what was delivered of them.
    wait_for(&agent, "the rest", |snapshot| {
        snapshot.counts.delivered >= 424 && snapshot.sources.is_empty()
    });
    let lines = all_lines(&stage.events());
    assert_eq!(lines[..400], expected(0..400));
}
