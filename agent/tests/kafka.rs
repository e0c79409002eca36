//! The agent against a Kafka that the client library plays: delivery, restarts, rotation, and
//! brokers that refuse or are away.

mod stage;

use logweir_agent::{Agent, Config};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stage::*;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[test]
fn lines_arrive_once_in_order_and_a_restart_goes_on_where_it_stopped() {
    let stage = Stage::new();
    stage.lines("a.log", 0..5000);
    stage.lines("b.log", 5000..6000);
    let agent = stage.start();
    wait_delivered(&agent, 6000);
    stage.lines("a.log", 6000..7000);
    wait_delivered(&agent, 7000);
    assert!(agent.stop(PATIENCE));
    drop(agent);
    stage.lines("b.log", 7000..8000);
    let agent = stage.start();
    let snapshot = wait_delivered(&agent, 1000);
    assert_eq!((snapshot.counts.read, snapshot.counts.held), (1000, 0));
    let events = stage.events();
    assert_eq!(events.len(), 8000, "nothing is sent twice");
    assert_lines(&events, 0..8000);
    assert_eq!(table(&events).len(), 2);
}

#[test]
fn a_partial_line_waits_for_its_end_even_over_a_restart() {
    let stage = Stage::new();
    stage.append("a.log", "line 0\nline");
    let agent = stage.start();
    wait_delivered(&agent, 1);
    agent.stop(PATIENCE);
    drop(agent);
    let agent = stage.start();
    stage.append("a.log", " 1\n");
    wait_delivered(&agent, 1);
    assert_lines(&stage.events(), 0..2);
}

#[test]
fn renamed_files_are_read_to_their_end_and_their_last_line_needs_no_newline() {
    let mut stage = Stage::new();
    stage.glob = "a.log";
    let agent = stage.start();
    let mut count = 0;
    for turn in 0..10 {
        let old = OpenOptions::new().append(true).create(true).open(stage.path("a.log")).unwrap();
        stage.lines("a.log", count..count + 100);
        wait_for(&agent, "the file", |snapshot| snapshot.counts.delivered > u64::from(count));
        fs::rename(stage.path("a.log"), stage.path(&format!("a.log.{turn}"))).unwrap();
        // Late lines of a writer that has the renamed file open, the last one without an end.
        let mut late = &old;
        for n in count + 100..count + 109 {
            writeln!(late, "line {n}").unwrap();
        }
        write!(late, "line {}", count + 109).unwrap();
        count += 110;
    }
    wait_delivered(&agent, u64::from(count));
    assert_lines(&stage.events(), 0..count);
    wait_for(&agent, "rotated files to be let go", |snapshot| snapshot.sources.is_empty());
}

#[test]
fn truncated_content_is_another_source() {
    let stage = Stage::new();
    let agent = stage.start();
    let mut count = 0;
    for turn in 0..5 {
        stage.lines("a.log", count..count + 50);
        count += 50;
        wait_delivered(&agent, u64::from(count));
        // The next content is longer than the old one was, before the agent looks.
        let longer: String = (count..count + 100).map(|n| format!("line {n}\n")).collect();
        if turn % 2 == 0 {
            fs::write(stage.path("a.log"), longer).unwrap();
        } else {
            File::create(stage.path("a.log")).unwrap().write_all(longer.as_bytes()).unwrap();
        }
        count += 100;
        wait_delivered(&agent, u64::from(count));
    }
    let events = stage.events();
    assert_lines(&events, 0..count);
    assert_eq!(events.len(), count as usize);
}

#[test]
fn what_was_held_of_a_file_that_is_gone_at_the_next_start_is_told_and_counted() {
    let stage = Stage::new();
    stage.lines("a.log", 0..100);
    let agent = stage.start();
    wait_delivered(&agent, 100);
    stage.kafka.broker_down(1).unwrap();
    stage.lines("a.log", 100..600);
    wait_for(&agent, "all to be held", |snapshot| snapshot.counts.held == 500);
    agent.stop(Duration::ZERO);
    drop(agent);
    let held: usize = (100..600).map(|n| format!("line {n}\n").len()).sum();
    fs::rename(stage.path("a.log"), stage.path("kept")).unwrap();
    // Another file, so that the inode is not used again.
    stage.lines("b.log", 600..700);
    stage.kafka.broker_up(1).unwrap();
    fs::create_dir(stage.path("elsewhere")).unwrap();
    fs::rename(stage.path("kept"), stage.path("elsewhere/kept")).unwrap();
    let agent = stage.start();
    let snapshot = wait_for(&agent, "it to be told", |snapshot| snapshot.files_lost == 1);
    assert_eq!(snapshot.bytes_lost, held as u64);
    // It is read on where it left off if it comes back.
    fs::rename(stage.path("elsewhere/kept"), stage.path("a.log")).unwrap();
    let snapshot = wait_delivered(&agent, 600);
    assert_eq!((snapshot.files_lost, snapshot.counts.held), (1, 0));
    let events = stage.events();
    assert_lines(&events, 0..700);
    assert_eq!(events.len(), 700);
}

#[test]
fn what_was_held_when_the_agent_ended_is_told_though_nothing_was_acknowledged_before() {
    for truncated in [false, true] {
        let stage = Stage::new();
        stage.lines("a.log", 0..100);
        let agent = stage.start();
        wait_delivered(&agent, 100);
        assert!(agent.stop(PATIENCE));
        drop(agent);
        let agent = stage.start();
        wait_for(&agent, "kafka", |snapshot| snapshot.kafka == "up");
        // The first message to a partition goes alone.
        let first = if truncated { 101 } else { 100 };
        stage.lines("a.log", 100..first);
        wait_delivered(&agent, u64::from(first) - 100);
        stage.kafka.broker_down(1).unwrap();
        stage.lines("a.log", first..600);
        let size = fs::metadata(stage.path("a.log")).unwrap().len();
        wait_for(&agent, "some to be held", |snapshot| {
            snapshot.counts.held > 0 && snapshot.sources[0].end_offset == size
        });
        if truncated {
            wait_for(&agent, "all to be held", |snapshot| snapshot.counts.held == 499);
            File::create(stage.path("a.log")).unwrap();
            wait_for(&agent, "the new content", |snapshot| snapshot.sources.len() == 2);
        } else {
            // It stays there, so that its inode is not used again.
            fs::create_dir(stage.path("elsewhere")).unwrap();
            fs::rename(stage.path("a.log"), stage.path("elsewhere/kept")).unwrap();
        }
        agent.stop(Duration::ZERO);
        drop(agent);
        stage.kafka.broker_up(1).unwrap();
        let agent = stage.start();
        let snapshot = wait_for(&agent, "it to be told", |snapshot| snapshot.files_lost == 1);
        let held: usize = (first..600).map(|n| format!("line {n}\n").len()).sum();
        assert_eq!(snapshot.bytes_lost, held as u64, "truncated: {truncated}");
    }
}

#[test]
fn what_is_truncated_before_it_was_read_is_told_and_counted_unless_a_copy_has_it() {
    const LINES: u32 = 60_000;
    for copied in [false, true] {
        let mut stage = Stage::new();
        stage.source_extra = ", limits: {events_per_second: 10000}".into();
        stage.lines("a.log", 0..LINES);
        let agent = stage.start();
        let size = fs::metadata(stage.path("a.log")).unwrap().len();
        let first = |snapshot: &logweir_agent::Snapshot| snapshot.sources[0].end_offset;
        wait_for(&agent, "the size to be known", |snapshot| {
            snapshot.counts.delivered > 0 && first(snapshot) == size
        });
        if copied {
            fs::copy(stage.path("a.log"), stage.path("a.1.log")).unwrap();
        }
        File::create(stage.path("a.log")).unwrap();
        stage.lines("a.log", LINES..LINES + 1);
        if copied {
            let snapshot = wait_delivered(&agent, u64::from(LINES) + 1);
            assert_eq!(snapshot.files_lost, 0);
            assert_lines(&stage.events(), 0..LINES + 1);
            continue;
        }
        let snapshot = wait_for(&agent, "it to be told", |snapshot| snapshot.files_lost == 1);
        let read: usize = stage
            .events()
            .iter()
            .map(|event| event["event.original"].as_str().unwrap().len() + 1)
            .sum();
        // Of the new content, one line is read.
        assert_eq!(snapshot.bytes_lost, size - (read - format!("line {LINES}\n").len()) as u64);
    }
}

#[test]
fn a_copy_is_known_by_what_was_seen_while_the_first_line_was_on_its_way() {
    let stage = Stage::new();
    stage.lines("a.log", 0..1000);
    stage.kafka.broker_round_trip_time(1, Duration::from_millis(500)).unwrap();
    let agent = stage.start();
    // The first message to a partition goes alone.
    wait_for(&agent, "one line to be on its way", |snapshot| snapshot.counts.read == 1);
    fs::copy(stage.path("a.log"), stage.path("a.1.log")).unwrap();
    File::create(stage.path("a.log")).unwrap();
    stage.lines("a.log", 1000..1001);
    stage.kafka.broker_round_trip_time(1, Duration::ZERO).unwrap();
    wait_delivered(&agent, 1001);
    assert_lines(&stage.events(), 0..1001);
}

#[test]
fn content_that_was_replaced_while_the_agent_was_stopped_is_read_from_its_beginning() {
    for longer in [false, true] {
        let stage = Stage::new();
        stage.lines("a.log", 0..100);
        let agent = stage.start();
        wait_delivered(&agent, 100);
        agent.stop(PATIENCE);
        drop(agent);
        let count = if longer { 300 } else { 10 };
        let text: String = (100..100 + count).map(|n| format!("line {n}\n")).collect();
        OpenOptions::new().write(true).truncate(true).open(stage.path("a.log")).unwrap();
        stage.append("a.log", &text);
        let agent = stage.start();
        wait_delivered(&agent, u64::from(count));
        assert_lines(&stage.events(), 0..100 + count);
    }
}

#[test]
fn a_file_renamed_while_the_agent_was_stopped_goes_on_at_its_old_offset() {
    let mut stage = Stage::new();
    stage.glob = "a.log";
    stage.lines("a.log", 0..100);
    let agent = stage.start();
    wait_delivered(&agent, 100);
    agent.stop(PATIENCE);
    drop(agent);
    stage.lines("a.log", 100..150);
    fs::rename(stage.path("a.log"), stage.path("a.log.1")).unwrap();
    stage.lines("a.log", 150..200);
    let agent = stage.start();
    wait_delivered(&agent, 100);
    let events = stage.events();
    assert_lines(&events, 0..200);
    assert_eq!(events.len(), 200);
}

#[test]
fn one_file_under_several_names_is_read_once() {
    let stage = Stage::new();
    stage.lines("a.log", 0..10);
    fs::hard_link(stage.path("a.log"), stage.path("b.log")).unwrap();
    std::os::unix::fs::symlink(stage.path("a.log"), stage.path("c.log")).unwrap();
    std::os::unix::fs::symlink(stage.path("nowhere"), stage.path("d.log")).unwrap();
    std::os::unix::fs::symlink(stage.path("e.log"), stage.path("e.log")).unwrap();
    let agent = stage.start();
    wait_delivered(&agent, 10);
    stage.lines("f.log", 10..20);
    wait_delivered(&agent, 20);
    assert_eq!(stage.events().len(), 20);
}

#[test]
fn odd_lines_are_cut_skipped_and_counted_and_their_neighbours_are_whole() {
    let mut stage = Stage::new();
    stage.source_extra = ", line_bytes_max: 1KiB".into();
    let huge = "é".repeat(3 << 20);
    stage.append("a.log", &format!("line 0\r\n\r\n{huge}\nline 1\n\0\0\0\0line 2\n"));
    let agent = stage.start();
    let snapshot = wait_delivered(&agent, 4);
    assert_eq!(snapshot.counts.dropped["empty_line"], 1);
    assert_eq!(snapshot.counts.nul_bytes_skipped, 4);
    let events = stage.events();
    let lines = table(&events).into_values().next().unwrap();
    assert_eq!(lines, ["line 0", &"é".repeat(512), "line 1", "line 2"]);
    assert_eq!(events[1]["logweir.original_bytes"], huge.len());
    assert_eq!(events[1]["tags"], serde_json::json!(["unparsed", "truncated"]));
}

#[test]
fn an_agent_that_starts_without_kafka_holds_what_it_has_read_and_goes_on_when_kafka_comes() {
    let stage = Stage::new();
    stage.lines("a.log", 0..5_000);
    stage.kafka.broker_down(1).unwrap();
    let agent = stage.start();
    let snapshot = wait_for(&agent, "held lines", |snapshot| snapshot.counts.held > 0);
    assert_eq!(snapshot.counts.delivered, 0);
    stage.kafka.broker_up(1).unwrap();
    wait_delivered(&agent, 5_000);
    assert_lines(&stage.events(), 0..5_000);
}

#[test]
fn an_agent_stopped_without_kafka_ends_and_loses_nothing() {
    let stage = Stage::new();
    stage.lines("a.log", 0..1000);
    let agent = stage.start();
    wait_delivered(&agent, 1000);
    stage.kafka.broker_down(1).unwrap();
    stage.lines("a.log", 1000..2000);
    wait_for(&agent, "held lines", |snapshot| snapshot.counts.held > 0);
    assert!(!agent.stop(Duration::from_millis(100)));
    drop(agent);
    stage.kafka.broker_up(1).unwrap();
    let agent = stage.start();
    wait_delivered(&agent, 1000);
    assert_lines(&stage.events(), 0..2000);
}

#[test]
fn an_event_that_kafka_does_not_take_becomes_a_dead_letter_and_its_neighbours_arrive() {
    let mut stage = Stage::new();
    stage.kafka_extra = ", linger.ms: 5, message.max.bytes: 3000".into();
    let large = "x".repeat(5000);
    stage.append("a.log", &format!("line 0\n{large}\nline 1\n"));
    let agent = stage.start();
    let snapshot = wait_for(&agent, "all three", |snapshot| {
        snapshot.counts.delivered == 2
            && snapshot.counts.held == 0
            && snapshot.sources.iter().all(|source| source.acked_offset == source.end_offset)
    });
    assert_eq!(snapshot.counts.dropped["too_large"], 1);
    assert_lines(&stage.events(), 0..2);
    let letters = stage.records("logweir.dead_letter", 1);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["log.offset"], 7);
    assert!(letters[0]["logweir.reason"].as_str().unwrap().starts_with("too_large"));
    assert!(letters[0]["event.original"].as_str().unwrap().starts_with("xxx"));
}

#[test]
fn a_second_agent_on_the_same_state_is_refused() {
    let stage = Stage::new();
    let _agent = stage.start();
    let yaml = format!(
        "agent: {{state_dir: '{}/state'}}\nkafka: {{bootstrap.servers: 'localhost:1'}}\n\
         sources: [{{type: file, paths: [/nowhere]}}]\n",
        stage.directory.path().display()
    );
    let (config, _) = Config::from_yaml("test.yaml", &yaml).unwrap();
    let error = Agent::start(config).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
}

#[test]
fn reading_from_the_end_means_from_the_first_look() {
    let mut stage = Stage::new();
    stage.source_extra = ", read_from: end".into();
    stage.lines("a.log", 100..200);
    let agent = stage.start();
    wait_for(&agent, "the file", |snapshot| snapshot.sources.len() == 1);
    stage.lines("a.log", 0..10);
    stage.lines("b.log", 10..20);
    wait_delivered(&agent, 20);
    agent.stop(PATIENCE);
    drop(agent);
    stage.lines("c.log", 20..30);
    let agent = stage.start();
    wait_delivered(&agent, 10);
    let mut lines = Vec::new();
    for event in stage.events() {
        lines.push(event["event.original"].as_str().unwrap().to_owned());
    }
    lines.sort();
    let mut wanted = expected(0..30);
    wanted.sort();
    assert_eq!(lines, wanted);
}

#[test]
fn compressed_and_excluded_files_are_not_read() {
    let mut stage = Stage::new();
    stage.source_extra = ", exclude: ['skip*']".into();
    fs::write(stage.path("gz.log"), b"\x1f\x8b\x08\0line 7\n").unwrap();
    stage.lines("skip.log", 50..60);
    stage.lines("a.log", 0..10);
    fs::create_dir(stage.path("directory.log")).unwrap();
    let agent = stage.start();
    wait_delivered(&agent, 10);
    assert_lines(&stage.events(), 0..10);
    assert!(Path::new(&agent.snapshot().sources[0].name).ends_with("a.log"));
}

fn addresses(agent: &Agent) -> (SocketAddr, SocketAddr) {
    let addresses = &agent.syslog_addresses()[0];
    (addresses.udp.unwrap(), addresses.tcp.unwrap())
}

fn syslog(extra: &str) -> Stage {
    let mut stage = Stage::new();
    stage.sources = Some(format!(
        "- {{type: syslog, udp: '127.0.0.1:0', tcp: '127.0.0.1:0', spool: {{bytes_max: 4MiB}}{extra}}}"
    ));
    stage
}

fn messages(events: &[Value]) -> Vec<String> {
    let mut lines: Vec<String> = table(events).into_values().flatten().collect();
    lines.sort();
    lines
}

#[test]
fn messages_of_both_protocols_and_framings_arrive_with_their_senders_address() {
    let stage = syslog("");
    let agent = stage.start();
    let (udp, tcp) = addresses(&agent);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(tcp).unwrap();
    let mut wanted = Vec::new();
    for n in 0..100 {
        let texts =
            [format!("<13>udp {n:03}"), format!("<13>line {n:03}"), format!("<13>counted {n:03}")];
        socket.send_to(texts[0].as_bytes(), udp).unwrap();
        let counted = &texts[2];
        write!(stream, "{}\n{} {counted}", texts[1], counted.len()).unwrap();
        wanted.extend(texts);
    }
    write!(stream, "<13>the last one has no end").unwrap();
    wanted.push("<13>the last one has no end".into());
    drop(stream);
    wait_delivered(&agent, 301);
    let events = stage.events();
    wanted.sort();
    assert_eq!(messages(&events), wanted);
    for event in &events {
        assert_eq!(event["log.source.address"], "127.0.0.1");
        assert_eq!(event["input.type"], "syslog");
    }
}

#[test]
fn what_was_accepted_while_kafka_was_away_survives_a_restart() {
    let mut stage = syslog("");
    let agent = stage.start();
    let (_, tcp) = addresses(&agent);
    stage.kafka.broker_down(1).unwrap();
    let mut stream = TcpStream::connect(tcp).unwrap();
    for n in 0..1000 {
        writeln!(stream, "<13>message {n:04}").unwrap();
    }
    drop(stream);
    wait_for(&agent, "all in the spool", |snapshot| snapshot.counts.read == 1000);
    agent.stop(Duration::ZERO);
    drop(agent);
    stage.kafka.broker_up(1).unwrap();
    // The listener is configured no more; its spool is delivered all the same.
    stage.sources = Some("- {type: file, paths: [/nowhere]}".into());
    let agent = stage.start();
    let snapshot = wait_delivered(&agent, 1000);
    assert_eq!((snapshot.counts.read, snapshot.counts.held), (1000, 0));
    let wanted: Vec<String> = (0..1000).map(|n| format!("<13>message {n:04}")).collect();
    assert_eq!(messages(&stage.events()), wanted);
}

#[test]
fn a_full_spool_makes_tcp_wait_and_costs_udp_messages_that_are_counted() {
    // More than the spool and all that the kernel keeps of a connection.
    const MESSAGES: u64 = 6000;
    let stage = syslog(", line_bytes_max: 4KiB");
    stage.kafka.broker_down(1).unwrap();
    let agent = stage.start();
    let (udp, tcp) = addresses(&agent);
    let text = "x".repeat(4000);
    let mut stream = TcpStream::connect(tcp).unwrap();
    let writer = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            writeln!(stream, "<13>{n:04} {text}").unwrap();
        }
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sent = 0;
    wait_for(&agent, "a datagram that finds no room", |snapshot| {
        socket.send_to(format!("<13>udp {sent}").as_bytes(), udp).unwrap();
        sent += 1;
        snapshot.counts.dropped.contains_key("spool_full")
    });
    assert!(!writer.is_finished());
    stage.kafka.broker_up(1).unwrap();
    writer.join().unwrap();
    let snapshot = wait_for(&agent, "all of it", |snapshot| {
        snapshot.counts.held == 0 && snapshot.counts.read == MESSAGES + sent
    });
    // While the agent does not come round, the kernel has no room for datagrams either, and counts.
    let dropped = &snapshot.counts.dropped;
    assert!(dropped.keys().all(|reason| ["kernel", "spool_full"].contains(reason)), "{dropped:?}");
    assert!(dropped["spool_full"] > 0 && dropped.values().sum::<u64>() <= sent, "{dropped:?}");
}

#[test]
fn a_limited_udp_sender_loses_what_is_over_the_limit_and_a_tcp_sender_waits() {
    let limits = ", limits: {events_per_second: 50, burst: 1s}";
    check_limited(&syslog(limits));
    let mut overall = syslog("");
    overall.agent_extra = limits.into();
    check_limited(&overall);
}

fn check_limited(stage: &Stage) {
    let agent = stage.start();
    let (udp, tcp) = addresses(&agent);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // As many as two seconds allow, at each look, however slowly the looks follow each other.
    wait_for(&agent, "a datagram over the limit", |snapshot| {
        (0..100).for_each(|_| assert!(socket.send_to(b"<13>x", udp).is_ok()));
        snapshot.counts.dropped.contains_key("rate_limit")
    });
    let mut stream = TcpStream::connect(tcp).unwrap();
    for n in 0..20 {
        writeln!(stream, "<13>tcp {n:02}").unwrap();
    }
    drop(stream);
    let arrived = |stage: &Stage| {
        let texts = messages(&stage.events());
        texts.iter().filter(|text| text.contains("tcp")).count()
    };
    wait_for(&agent, "the messages over tcp", |_| arrived(stage) == 20);
}

#[test]
fn a_stream_that_cannot_be_followed_is_closed_and_counted_and_others_go_on() {
    let stage = syslog(", connections_max: 1");
    let agent = stage.start();
    let (_, tcp) = addresses(&agent);
    let mut bad = TcpStream::connect(tcp).unwrap();
    bad.write_all(b"<13>whole\n99999999999 <13>").unwrap();
    wait_for(&agent, "the closed stream", |snapshot| {
        snapshot.listeners[0].framing_errors == 1 && snapshot.listeners[0].connections_open == 0
    });
    let mut good = TcpStream::connect(tcp).unwrap();
    writeln!(good, "<13>good").unwrap();
    wait_delivered(&agent, 2);
    let _refused = TcpStream::connect(tcp).unwrap();
    wait_for(&agent, "the connection over the limit", |snapshot| {
        snapshot.listeners[0].connections_refused == 1
    });
    assert_eq!(messages(&stage.events()), ["<13>good", "<13>whole"]);
}

#[test]
fn what_a_stream_was_told_to_have_arrived_is_kept_at_a_stop() {
    let stage = syslog(", limits: {events_per_second: 1}");
    let agent = stage.start();
    let (_, tcp) = addresses(&agent);
    let mut wanted: Vec<String> = (0..5000).map(|n| format!("<13>message {n:04}")).collect();
    let mut stream = TcpStream::connect(tcp).unwrap();
    stream.write_all(wanted.join("\n").as_bytes()).unwrap();
    // Nobody has let it in, maybe.
    let mut other = TcpStream::connect(tcp).unwrap();
    writeln!(other, "<13>one of another").unwrap();
    wanted.push("<13>one of another".into());
    agent.stop(Duration::ZERO);
    drop(agent);
    let agent = stage.start();
    wait_for(&agent, "all of it", |_| messages(&stage.events()).len() >= wanted.len());
    wanted.sort();
    let events = stage.events();
    assert_eq!(messages(&events), wanted);
    let whole = |event: &&Value| event["logweir.unterminated"] != true;
    assert_eq!(events.iter().filter(whole).count(), wanted.len() - 1);
}

#[test]
fn what_was_read_of_standard_input_is_kept_at_a_stop() {
    const PIPE_BYTES: u64 = 64 << 10;
    let mut stage = Stage::new();
    let source = "- {type: stdin, spool: {bytes_max: 4MiB}}\nlog: {level: debug}";
    stage.sources = Some(source.into());
    stage.kafka.broker_down(1).unwrap();
    let mut command = process(&stage);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let line = |n: u64| format!("line {n:04} {}", "x".repeat(990));
    let line_bytes = line(0).len() as u64 + 1;
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let writer = std::thread::spawn(move || {
        while input
            .write_all(format!("{}\n", line(count.load(Ordering::SeqCst))).as_bytes())
            .is_ok()
        {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let waits =
        |said: std::io::Result<String>| said.unwrap().contains("standard input has to wait");
    assert!(said.by_ref().lines().any(waits));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    std::io::copy(&mut said, &mut std::io::sink()).unwrap();
    child.wait().unwrap();
    writer.join().unwrap();
    let written = written.load(Ordering::SeqCst);
    stage.kafka.broker_up(1).unwrap();
    assert!(process(&stage).stdin(Stdio::null()).spawn().unwrap().wait().unwrap().success());
    let read = messages(&stage.events());
    assert!(read.len() as u64 >= written - PIPE_BYTES / line_bytes, "{} {written}", read.len());
    let (last, whole) = read.split_last().unwrap();
    assert!(whole.iter().enumerate().all(|(n, read)| *read == line(n as u64)));
    assert!(line(whole.len() as u64).starts_with(last.as_str()), "{last:?}");
}

#[test]
fn standard_input_is_delivered_to_its_end_and_then_the_agent_ends() {
    let mut stage = Stage::new();
    stage.sources = Some("- {type: stdin}".into());
    for run in 0..2 {
        let mut child = process(&stage).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        for n in run * 500..(run + 1) * 500 {
            writeln!(input, "line {n}").unwrap();
        }
        drop(input);
        assert!(child.wait().unwrap().success());
    }
    let events = stage.events();
    assert_lines(&events, 0..1000);
    assert_eq!(table(&events).len(), 1, "both runs are one source");
}

#[test]
fn an_agent_killed_at_any_moment_loses_nothing_and_repeats_only_what_is_recognised() {
    let stage = Stage::new();
    let mut count = 0;
    for kill in 0..8 {
        let mut child = process(&stage).spawn().unwrap();
        let already = stage.events().len();
        let deadline = Instant::now() + PATIENCE;
        while stage.events().len() <= already {
            assert!(Instant::now() < deadline, "nothing arrives");
            stage.lines(&format!("{}.log", kill % 3), count..count + 100);
            count += 100;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let agent = stage.start();
    wait_for(&agent, "the rest", |snapshot| {
        snapshot.counts.held == 0
            && !snapshot.sources.is_empty()
            && snapshot.sources.iter().all(|source| source.acked_offset == source.end_offset)
            && all_lines(&stage.events()).len() >= count as usize
    });
    assert_lines(&stage.events(), 0..count);
}

#[test]
fn the_status_is_what_the_agent_knows() {
    let stage = Stage::new();
    stage.lines("a.log", 0..10);
    let mut child = process(&stage).spawn().unwrap();
    let status = |format: &str| {
        Command::new(env!("CARGO_BIN_EXE_logweir-agent"))
            .args(["status", "--config", stage.path("agent.yaml").to_str().unwrap()])
            .args(["--format", format])
            .output()
            .unwrap()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no status");
        let output = status("json");
        let Ok(value) = serde_json::from_slice::<Value>(&output.stdout) else { continue };
        if value["delivered"] == 10 {
            assert_eq!((&value["read"], &value["held"]), (&Value::from(10), &Value::from(0)));
            break;
        }
    }
    let text = String::from_utf8(status("text").stdout).unwrap();
    assert!(text.contains("read 10  delivered 10  held 0"), "{text}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status("json").status.code(), Some(1));
}

/// The broker answers three times with an error, in the middle of two files: all arrives, in order.
fn answered_for_a_while(error: RDKafkaRespErr) {
    let mut stage = Stage::new();
    // One batch at a time, as the played Kafka does not look at sequence numbers.
    stage.kafka_extra = ", linger.ms: 300".into();
    stage.lines("a.log", 0..500);
    stage.lines("b.log", 500..1000);
    let agent = stage.start();
    wait_delivered(&agent, 1000);
    stage.kafka.request_errors(RDKafkaApiKey::Produce, &[error; 3]);
    for n in 0..20 {
        stage.lines("a.log", 1000 + n * 100..1050 + n * 100);
        stage.lines("b.log", 1050 + n * 100..1100 + n * 100);
    }
    wait_delivered(&agent, 3000);
    assert_lines(&stage.events(), 0..3000);
    assert_eq!(agent.snapshot().counts.dropped_total(), 0, "{error:?}");
}

#[test]
fn auth_revoked() {
    answered_for_a_while(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    answered_for_a_while(RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
}

#[test]
fn unknown_partition() {
    answered_for_a_while(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
}

#[test]
fn not_enough_replicas() {
    answered_for_a_while(RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
    answered_for_a_while(RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND);
}

#[test]
fn fatal_producer_errors() {
    answered_for_a_while(RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    answered_for_a_while(RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH);
}

#[test]
fn batches_that_a_broker_refuses_for_a_while_arrive() {
    answered_for_a_while(RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    answered_for_a_while(RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD);
}

#[test]
fn a_time_that_the_brokers_refuse_costs_no_event_and_is_told() {
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP;
    answered_for_a_while(refused);
    let stage = Stage::new();
    // As long as it takes to be seen.
    stage.kafka.request_errors(RDKafkaApiKey::Produce, &[refused; 10_000]);
    stage.lines("a.log", 0..100);
    let agent = stage.start();
    let snapshot = wait_for(&agent, "the reason", |s| s.kafka == "clock_refused");
    stage.kafka.clear_request_errors(RDKafkaApiKey::Produce);
    assert!(snapshot.kafka_reason.contains("by this host's clock it is 2"), "{snapshot:?}");
    assert!(snapshot.kafka_reason.contains("message.timestamp.type=LogAppendTime"));
    wait_delivered(&agent, 100);
    assert_lines(&stage.events(), 0..100);
    wait_for(&agent, "no reason any more", |s| s.kafka == "up" && s.kafka_reason.is_empty());
}

#[test]
fn dns_fail() {
    let stage = Stage::new();
    stage.lines("a.log", 0..1000);
    let known = stage.kafka.bootstrap_servers();
    let yaml = stage.yaml();
    let yaml = |servers: &str| yaml.replace(&format!("'{known}'"), &format!("'{servers}'"));
    let start = |servers: &str| {
        Agent::start(Config::from_yaml("test.yaml", &yaml(servers)).unwrap().0).unwrap()
    };
    // No name at all: the agent holds what it reads, and says that Kafka is away.
    let agent = start("no-such-host.invalid:9092");
    wait_for(&agent, "held lines", |s| s.counts.held > 0 && s.kafka == "unreachable");
    drop(agent);
    // One of two: it does not matter.
    let agent = start(&format!("no-such-host.invalid:9092,{known}"));
    wait_delivered(&agent, 1000);
    assert_lines(&stage.events(), 0..1000);
}

#[test]
fn an_event_that_only_the_broker_refuses_is_found_out_and_becomes_a_dead_letter() {
    let mut stage = Stage::new();
    // Every event is as large as a batch may be, so the one that is refused was alone.
    stage.kafka_extra = ", linger.ms: 5, batch.size: 100".into();
    stage.lines("a.log", 0..3);
    stage.kafka.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE],
    );
    let agent = stage.start();
    let snapshot = wait_for(&agent, "the others", |snapshot| {
        snapshot.counts.delivered == 2 && snapshot.counts.held == 0
    });
    assert_eq!(snapshot.counts.dropped["refused"], 1);
    let letters = stage.records("logweir.dead_letter", 1);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["event.original"], "line 0");
    // The chain goes over what was sent.
    assert_lines(&stage.events(), 1..3);
}

#[test]
fn the_copy_of_copytruncate_is_not_read_again_and_gives_what_was_not_read_before() {
    let mut stage = Stage::new();
    stage.glob = "a.log*";
    let agent = stage.start();
    let mut count = 0;
    for turn in 0..4 {
        stage.lines("a.log", count..count + 500);
        count += 500;
        wait_delivered(&agent, u64::from(count));
        if turn % 2 == 1 {
            // These are copied before the agent can deliver them.
            stage.kafka.broker_down(1).unwrap();
            stage.lines("a.log", count..count + 500);
            count += 500;
        }
        fs::copy(stage.path("a.log"), stage.path(&format!("a.log.{turn}"))).unwrap();
        OpenOptions::new().write(true).open(stage.path("a.log")).unwrap().set_len(0).unwrap();
        stage.kafka.broker_up(1).unwrap();
        stage.lines("a.log", count..count + 10);
        count += 10;
        wait_for(&agent, "everything", |_| all_lines(&stage.events()).len() >= count as usize);
    }
    assert_lines(&stage.events(), 0..count);
}

#[test]
fn a_copy_is_known_as_one_while_it_is_being_made() {
    // One that has not grown for ten seconds is taken for a file of its own: where a machine is so slow
    // that the steps of the copying are far apart, it says nothing.
    let steadily = (0..10).any(|_| is_copied_steadily(Duration::from_secs(5)));
    assert!(steadily, "no copy was made without long pauses");
}

/// Makes a copy step by step and has it judged; `false` if a step took longer than `pause_max`.
fn is_copied_steadily(pause_max: Duration) -> bool {
    let mut stage = Stage::new();
    stage.glob = "*.log*";
    stage.lines("a.log", 0..500);
    let agent = stage.start();
    wait_delivered(&agent, 500);
    let content = fs::read_to_string(stage.path("a.log")).unwrap();
    let mut copied = 0;
    let mut steps = vec![Instant::now()];
    for (step, end) in [0, 7, 60, 100, 3000, content.len()].into_iter().enumerate() {
        stage.append("a.log.1", &content[copied..end]);
        copied = end;
        // A small file of its own is not kept waiting by the copy.
        stage.append(&format!("tiny.log.{step}"), &format!("line {}\n", 500 + step));
        wait_delivered(&agent, 501 + step as u64);
        steps.push(Instant::now());
    }
    File::options().write(true).open(stage.path("a.log")).unwrap().set_len(0).unwrap();
    stage.lines("a.log", 506..600);
    wait_delivered(&agent, 600);
    steps.push(Instant::now());
    if steps.windows(2).any(|pair| pair[1] - pair[0] > pause_max) {
        return false;
    }
    // The copy now stands for what was copied, and goes on being read.
    stage.lines("a.log.1", 600..601);
    wait_delivered(&agent, 601);
    let events = stage.events();
    assert_lines(&events, 0..601);
    assert_eq!(events.len(), 601);
    true
}

#[test]
fn the_agent_reports_about_itself() {
    let stage = Stage::new();
    stage.kafka.create_topic("logweir.agents", 1, 1).unwrap();
    stage.lines("a.log", 0..10);
    let agent = stage.start();
    let mut reports = Vec::new();
    let snapshot = wait_for(&agent, "a report of all lines", |_| {
        reports = stage.records("logweir.agents", 1);
        reports.last().is_some_and(|report| report["delivered"] == 10)
    });
    assert!(reports.iter().all(|report| report["agent_id"] == snapshot.agent_id), "{reports:?}");
}
