//! Receiving syslog: the scenarios that a receiver must pass, each as a test of its name.

use logweir_tests::{
    Agent, AgentConfig, Broker, DEADLINE, Event, Identity, Random, Topic, assert_whole_beginnings,
    directory, free_address, line, wait, wait_for_count, wait_until,
};
use openssl::ssl::{
    HandshakeError, SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslStream,
    SslVerifyMode, SslVersion,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;
use tempfile::TempDir;

/// An agent with one syslog source that listens for UDP and TCP at one address.
struct Receiver {
    agent: Agent,
    topic: Topic,
    address: SocketAddr,
    directory: TempDir,
    _broker: Broker,
}

/// Of the source alone: what is tested here is what comes in, not what rules make of it.
fn without_rules(topic: &Topic, source: &str) -> AgentConfig {
    AgentConfig { without_rules: true, ..AgentConfig::of_source(topic, source) }
}

impl Receiver {
    fn start(extra: &str) -> Self {
        let address = free_address();
        Self::with(directory(), address, &format!("udp: '{address}', tcp: '{address}'{extra}"))
    }

    fn with(directory: TempDir, address: SocketAddr, settings: &str) -> Self {
        let broker = Broker::started(directory.path());
        let topic = Topic::create(&broker.bootstrap(), "syslog", 1);
        let source = format!("{{type: syslog, {settings}}}");
        let agent = Agent::started(directory.path(), &without_rules(&topic, &source));
        let receiver = Self { agent, topic, address, directory, _broker: broker };
        wait_until("the agent to answer", || receiver.agent.status().is_some());
        receiver
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("the agent listens")
    }

    /// A number that the status has for the listener.
    fn listener(&self, name: &str) -> u64 {
        self.agent.status_told()["listeners"][0][name].as_u64().unwrap_or(0)
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.agent.status_told()["dropped"][reason].as_u64().unwrap_or(0)
    }

    /// The events, once there are so many.
    fn events(&self, count: usize) -> Vec<Event> {
        wait_until(&format!("{count} events"), || self.topic.records() == Some(count));
        self.agent.counts_told().assert_balanced();
        self.topic.events()
    }

    /// The events, once all connections so far have ended and all of them is taken; the agent is
    /// stopped, and its accounts are those of the topic.
    fn settled_events(&mut self) -> Vec<Event> {
        // Those that are not let in yet come before this one.
        let mut last = self.connect();
        writeln!(last, "<13>the last connection").unwrap();
        let is_last = |event: &Event| event.text("event.original") == "<13>the last connection";
        wait_until("the last connection", || self.topic.events().iter().any(is_last));
        drop(last);
        wait_until("all connections to end", || self.listener("connections_open") == 0);
        assert!(self.agent.terminate().success());
        let counts = self.agent.last_counts();
        let mut events = self.topic.events();
        assert_eq!((counts.read, counts.held, counts.dropped), (events.len() as u64, 0, 0));
        events.retain(|event| !is_last(event));
        events
    }

    /// What was sent, in the order of sending.
    fn originals(&self, count: usize) -> Vec<String> {
        self.events(count).iter().map(|event| event.text("event.original").to_owned()).collect()
    }
}

#[test]
fn octet_counting() {
    let receiver = Receiver::start(", line_bytes_max: 1KiB");
    let mut fragmented = receiver.connect();
    fragmented.set_nodelay(true).unwrap();
    for byte in b"5 <1>ab\n6 <1>cde5 <1>fg" {
        fragmented.write_all(&[*byte]).unwrap();
    }
    drop(fragmented);
    assert_eq!(receiver.originals(3), ["<1>ab", "<1>cde", "<1>fg"]);
    for (sent, malformed) in
        ["007 <1>abcd", "0 <1>", "9999999999 <1>x", "12345678 <1>x"].iter().enumerate()
    {
        let mut stream = receiver.connect();
        stream.write_all(malformed.as_bytes()).unwrap();
        // It is the agent that closes.
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "{malformed}");
        assert_eq!(receiver.listener("framing_errors"), sent as u64 + 1, "{malformed}");
    }
    // Claimed as long as can be: what comes of it is kept up to the limit.
    let mut stream = receiver.connect();
    stream.write_all(format!("9999999 <1>{}", "x".repeat(5000)).as_bytes()).unwrap();
    drop(stream);
    let events = receiver.events(4);
    assert_eq!(events[3].text("event.original").len(), 1024);
    assert_eq!(events[3].json["logweir.original_bytes"], 9_999_999);
}

#[test]
fn framing_autodetect() {
    let receiver = Receiver::start("");
    let mut stream = receiver.connect();
    let mut wanted = Vec::new();
    for number in 0..300 {
        let text = format!("<13>{}", line("mixed", number).trim_end());
        let framed = match number % 3 {
            0 => format!("{text}\n"),
            1 => format!("{} {text}", text.len()),
            _ => format!("{} {text}\n", text.len()),
        };
        stream.write_all(framed.as_bytes()).unwrap();
        wanted.push(text);
    }
    assert_eq!(receiver.originals(300), wanted);
}

#[test]
fn incomplete_frame_at_close() {
    let receiver = Receiver::start("");
    receiver.connect().write_all(b"20 <13>cut short").unwrap();
    let event = &receiver.events(1)[0];
    assert_eq!(event.text("event.original"), "<13>cut short");
    assert_eq!(event.json["logweir.original_bytes"], 20);
    assert!(event.json["tags"].as_array().unwrap().contains(&Value::from("truncated")));
    assert_eq!(event.json["logweir.unterminated"], true);
}

/// Ends a connection by a reset, as a sender does whose host has gone; what the agent has not taken by
/// then may be lost.
fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

/// The text of an event, the length that it says it had, and whether its stream ended within it.
fn told(event: &Event) -> (String, Option<u64>, bool) {
    let length = event.json.get("logweir.original_bytes").and_then(Value::as_u64);
    let unterminated = event.json.get("logweir.unterminated") == Some(&true.into());
    (event.text("event.original").to_owned(), length, unterminated)
}

#[test]
fn a_frame_is_told_from_its_beginning_at_whichever_byte_its_connection_ends() {
    let mut receiver = Receiver::start("");
    let (header, text) = ("19 ", "<13>an octet count\n");
    let frame = format!("{header}{text}");
    let expected = |bytes: usize| match bytes {
        _ if bytes == frame.len() => (text.trim_end().to_owned(), None, false),
        _ if bytes > header.len() => {
            (text[..bytes - header.len()].to_owned(), Some(text.len() as u64), true)
        }
        _ => (frame[..bytes].to_owned(), None, true),
    };
    let send = |receiver: &Receiver, how: fn(TcpStream)| {
        for bytes in 0..=frame.len() {
            let mut stream = receiver.connect();
            stream.write_all(&frame.as_bytes()[..bytes]).unwrap();
            how(stream);
        }
    };
    let mut all: Vec<_> = (1..=frame.len()).map(expected).collect();
    send(&receiver, drop);
    let mut found: Vec<_> = receiver.events(all.len()).iter().map(told).collect();
    all.sort();
    found.sort();
    assert_eq!(found, all);
    send(&receiver, reset);
    let found: Vec<_> = receiver.settled_events().iter().map(told).collect();
    let strange = found.iter().find(|found| !all.contains(found));
    assert_eq!(strange, None);
}

#[test]
fn a_line_that_its_connection_ended_within_is_marked() {
    let receiver = Receiver::start("");
    receiver.connect().write_all(b"<13>whole\n<13>in the mid").unwrap();
    let events = receiver.events(2);
    let mark = |event: &Event| event.json.get("logweir.unterminated").cloned();
    assert_eq!((events[0].text("event.original"), mark(&events[0])), ("<13>whole", None));
    assert_eq!(events[1].text("event.original"), "<13>in the mid");
    assert_eq!(mark(&events[1]), Some(true.into()));
}

#[test]
fn conn_drop() {
    let mut receiver = Receiver::start("");
    let mut random = Random::seeded();
    let messages = number_of("LOGWEIR_MESSAGES", 2_000);
    // Connections of all lengths that end without a word: between two messages or in one, by a close
    // or by a reset.
    let (mut closed, mut broken, mut written) = (Vec::new(), Vec::new(), 0);
    while written < messages {
        let name = format!("drop{written}");
        let count = random.below(20);
        let mut lines: Vec<String> =
            (0..count).map(|n| format!("<13>{}", line(&name, n).trim_end())).collect();
        written += count + 1;
        lines.push(format!("<13>in the middle of {name}"));
        let mut stream = receiver.connect();
        stream.write_all(lines.join("\n").as_bytes()).unwrap();
        if random.below(2) == 0 {
            drop(stream);
            closed.push((name, count));
        } else {
            reset(stream);
            broken.extend(lines);
        }
    }
    let (cut, whole): (Vec<_>, Vec<_>) =
        receiver.settled_events().into_iter().partition(|event| told(event).2);
    // Of each a beginning, and of those that were closed all.
    let arrived = assert_whole_beginnings(&whole);
    let mut cut: BTreeSet<String> = cut.iter().map(|event| told(event).0).collect();
    for (name, count) in &closed {
        assert_eq!(arrived.get(name).copied().unwrap_or(0), *count, "{name}");
        assert!(cut.remove(&format!("<13>in the middle of {name}")), "{name}");
    }
    let (resets, left) = (broken.len(), cut.len());
    println!("{} connections were closed; {left} cut of {resets} over those reset", closed.len());
    for text in cut {
        assert!(broken.iter().any(|line| line.starts_with(&text)), "nobody sent {text:?}");
    }
}

/// How many a test sends: as an environment variable says, else `default`.
fn number_of(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is a number")),
        Err(_) => default,
    }
}

#[test]
fn slowloris_maxsessions() {
    let slow = |receiver: &Receiver| -> Vec<TcpStream> {
        let slow = (0..2).map(|_| {
            let mut stream = receiver.connect();
            stream.write_all(b"<13>never end").unwrap();
            stream
        });
        slow.collect()
    };
    // None is silent for too long before the third comes.
    let receiver = Receiver::start(", connections_max: 3, connections_per_sender_max: 2");
    let _two = slow(&receiver);
    wait_until("two connections", || receiver.listener("connections_open") == 2);
    let mut third = receiver.connect();
    assert_eq!(third.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(receiver.listener("connections_refused"), 1);
    let receiver = Receiver::start(", connections_max: 2, idle_timeout: 1s");
    let _two = slow(&receiver);
    wait_until("the silent ones to be closed", || receiver.listener("idle_closed") == 2);
    writeln!(receiver.connect(), "<13>there is room again").unwrap();
    let originals = receiver.originals(3);
    assert!(originals.contains(&"<13>there is room again".to_owned()), "{originals:?}");
}

/// Lets this process open as many files as it may; returns how many that are.
fn open_files_allowed() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let allowed = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, allowed).expect("a process may raise its own limit that far");
    limit.maximum.map_or(usize::MAX, |maximum| maximum as usize)
}

#[test]
fn ten_thousand_connections() {
    const WANTED: usize = 10_000;
    // The agent has a file open for each, and so has this test; both have a few besides.
    let count = WANTED.min(open_files_allowed().saturating_sub(500));
    assert!(count > 100, "a limit of open files of {count} + 500 is too low for this test");
    let receiver = Receiver::start(&format!(", connections_max: {count}"));
    let before = receiver.agent.resident_bytes();
    let connected: Vec<TcpStream> = (0..count).map(|_| receiver.connect()).collect();
    wait_until("all to be let in", || receiver.listener("connections_open") == count as u64);
    // One more finds no room, and costs the others nothing.
    assert_eq!(receiver.connect().read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(receiver.listener("connections_refused"), 1);
    let send = |round: usize| {
        for (number, mut stream) in connected.iter().enumerate() {
            writeln!(stream, "<13>connection {number} round {round}").unwrap();
        }
    };
    send(0);
    // Each has half a message open while all the others send.
    connected.iter().for_each(|mut stream| stream.write_all(b"<13>half").unwrap());
    send(1);
    let events = receiver.events(2 * count);
    let grown = receiver.agent.resident_bytes().saturating_sub(before);
    println!("{count} connections: {} KiB each", grown / 1024 / count as u64);
    assert!(grown < 100 << 20, "{grown} bytes for {count} connections");
    let wanted = (0..count).flat_map(|number| {
        let line = move |start, round| format!("<13>{start}connection {number} round {round}");
        [line("", 0), line("half<13>", 1)]
    });
    let arrived = events.iter().map(|event| event.text("event.original").to_owned());
    assert_eq!(arrived.collect::<BTreeSet<_>>(), wanted.collect());
    drop(connected);
    wait_until("all connections to end", || receiver.listener("connections_open") == 0);
}

#[test]
fn socket_activation() {
    // What starts the agent is the first that it takes.
    for (setting, kind) in [("tcp", None), ("udp", Some("--datagram"))] {
        let directory = directory();
        let broker = Broker::started(directory.path());
        let topic = Topic::create(&broker.bootstrap(), "syslog", 1);
        let source = format!("{{type: syslog, {setting}: 'systemd:syslog'}}");
        let mut agent = Agent::stopped(directory.path(), &without_rules(&topic, &source));
        let address = free_address();
        let listen = format!("--listen={address}");
        let systemd = ["systemd-socket-activate", "--fdname=syslog", &listen];
        agent.start_within(&systemd.into_iter().chain(kind).map(str::to_owned).collect::<Vec<_>>());
        wait_until("systemd's program to listen", || agent.said().contains("Listening on"));
        let send = |text: &str| {
            if kind.is_none() {
                TcpStream::connect(address).unwrap().write_all(text.as_bytes()).unwrap();
            } else {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.send_to(text.as_bytes(), address).unwrap();
            }
        };
        send("<13>wake up\n");
        wait_until("the first message", || topic.records() == Some(1));
        send("<13>and go on\n");
        wait_until("the second message", || topic.records() == Some(2));
        let events = topic.events();
        let texts: Vec<&str> = events.iter().map(|event| event.text("event.original")).collect();
        assert_eq!(texts, ["<13>wake up", "<13>and go on"], "{setting}");
        assert!(agent.terminate().success());
    }
}

#[test]
fn starvation() {
    let receiver = Receiver::start("");
    let address = receiver.address;
    let (flowing, flows) = std::sync::mpsc::sync_channel(1);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    // Sends for as long as the slow ones are not through, however long that takes.
    let firehose = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let chunk = "<13>from the firehose\n".repeat(1000);
        let mut chunks = 0;
        while ended.try_recv().is_err() {
            stream.write_all(chunk.as_bytes()).unwrap();
            chunks += 1;
            let _ = flowing.try_send(());
        }
        stream.write_all(b"<13>the end of the firehose\n").unwrap();
        chunks * 1000 + 1
    });
    flows.recv().unwrap();
    let slow: Vec<TcpStream> = (0..100).map(|_| receiver.connect()).collect();
    for (number, mut stream) in slow.iter().enumerate() {
        writeln!(stream, "<13>slow {number}").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    for mut stream in slow {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let closed = stream.read(&mut [0; 1]);
        assert_eq!(closed.expect("the agent takes what the slow ones sent"), 0);
    }
    end.send(()).unwrap();
    let sent = firehose.join().unwrap();
    let originals = receiver.originals(sent + 100);
    assert_eq!(originals.iter().filter(|text| text.starts_with("<13>slow")).count(), 100);
    assert_eq!(originals.last().unwrap(), "<13>the end of the firehose");
}

#[test]
fn a_line_without_end_is_cut_and_the_next_is_whole() {
    let receiver = Receiver::start("");
    let mut stream = receiver.connect();
    let chunk = vec![b'x'; 1 << 20];
    (0..64).for_each(|_| stream.write_all(&chunk).unwrap());
    stream.write_all(b"\n<13>next\n").unwrap();
    let events = receiver.events(2);
    assert_eq!(events[0].text("event.original").len(), 64 << 10);
    assert_eq!(events[0].json["logweir.original_bytes"], 64 << 20);
    assert_eq!(events[1].text("event.original"), "<13>next");
}

#[test]
fn what_is_over_the_limit_costs_no_memory_whatever_is_claimed() {
    const SENDERS: usize = 50;
    let receiver = Receiver::start("");
    let before = receiver.agent.peak_bytes();
    // Each claims ten megabytes and sends next to nothing of it, and then one each really comes.
    let claiming: Vec<TcpStream> = (0..SENDERS)
        .map(|_| {
            let mut stream = receiver.connect();
            stream.write_all(b"9999999 <13>claimed").unwrap();
            stream
        })
        .collect();
    wait_until("all to be let in", || receiver.listener("connections_open") == SENDERS as u64);
    let mut stream = receiver.connect();
    let megabyte = format!("<13>{}\n", "x".repeat(1_000_000 - 5));
    (0..SENDERS).for_each(|_| stream.write_all(megabyte.as_bytes()).unwrap());
    drop((claiming, stream));
    let events = receiver.events(2 * SENDERS);
    let grown = receiver.agent.peak_bytes().saturating_sub(before);
    println!("{} KiB for {SENDERS} of each", grown >> 10);
    // A twentieth of what was claimed or sent.
    assert!(grown < 50 << 20, "{grown} bytes");
    let whole_of =
        |length: u64| events.iter().filter(|event| told(event).1 == Some(length)).count();
    assert_eq!((whole_of(9_999_999), whole_of(999_999)), (SENDERS, SENDERS));
}

#[test]
fn a_datagram_that_is_too_long_is_cut_and_says_so() {
    let receiver = Receiver::start(", line_bytes_max: 1KiB");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // The longest that there is, one that just fits, and one byte more.
    for length in [65_507, 1_024, 1_025] {
        let text = format!("<13>{}", "x".repeat(length - 4));
        socket.send_to(text.as_bytes(), receiver.address).unwrap();
    }
    let mut found: Vec<_> = receiver.events(3).iter().map(told).collect();
    found.sort();
    let text = format!("<13>{}", "x".repeat(1_020));
    let expected = [None, Some(1_025), Some(65_507)].map(|length| (text.clone(), length, false));
    assert_eq!(found, expected);
}

#[test]
fn only_those_that_are_allowed_may_send() {
    let receiver = Receiver::start(", allow: ['192.0.2.0/24']");
    assert_eq!(receiver.connect().read(&mut [0; 1]).unwrap_or(0), 0);
    wait_until("the refusal", || receiver.listener("senders_refused") == 1);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"<13>x", receiver.address).unwrap();
    wait_until("the drop", || receiver.dropped("not_allowed") == 1);
}

#[test]
fn unix_sockets_take_datagrams_and_streams() {
    let place = directory();
    let (datagram, stream) = (place.path().join("log"), place.path().join("stream"));
    let settings = format!(
        "unix_datagram: {{path: '{}', mode: '0666'}}, unix_stream: '{}'",
        datagram.display(),
        stream.display()
    );
    let mut receiver = Receiver::with(place, free_address(), &settings);
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to(b"<13>Nov 28 01:02:03 su: by datagram", &datagram).unwrap();
    assert_eq!(receiver.originals(1), ["<13>Nov 28 01:02:03 su: by datagram"]);
    writeln!(UnixStream::connect(&stream).unwrap(), "<13>by stream").unwrap();
    assert_eq!(receiver.originals(2)[1], "<13>by stream");
    // Larger than what is kept: cut, and it says so.
    let large = format!("<13>{}", "x".repeat(70_000));
    socket.send_to(large.as_bytes(), &datagram).unwrap();
    let cut = &receiver.events(3)[2];
    assert_eq!(cut.text("event.original"), &large[..64 << 10]);
    assert_eq!(cut.json["logweir.original_bytes"], large.len());
    // What a kill leaves is no obstacle, what an end leaves is nothing.
    receiver.agent.kill9();
    receiver.agent.start();
    wait_until("the agent to listen again", || UnixStream::connect(&stream).is_ok());
    assert!(receiver.agent.terminate().success());
    assert!(!datagram.exists() && !stream.exists());
}

#[test]
fn parser_torture() {
    let receiver = Receiver::start("");
    let none = Option::<&str>::None;
    // With its priority, host, program, and message, as far as the line tells.
    let rows = [
        ("no priority", 0, none, none, none),
        ("<>empty", 0, none, none, none),
        ("<192>too high", 0, none, none, none),
        ("<999>much too high", 0, none, none, none),
        ("<13>", 13, none, none, none),
        ("<13>no time, no host", 13, none, none, Some("no time, no host")),
        ("<13>Nov 28 01:02:03 no.tag", 13, none, none, Some("no.tag")),
        (
            "<13>Nov 28 01:02:03 user@host tag: at in host",
            13,
            Some("user@host"),
            Some("tag"),
            Some("at in host"),
        ),
        (
            "<13>Nov 28 01:02:03 host tag without colon",
            13,
            Some("host"),
            none,
            Some("tag without colon"),
        ),
        (
            "<13>Nov 28 2026 01:02:03 host tag: year in time",
            13,
            Some("host"),
            Some("tag"),
            Some("year in time"),
        ),
        ("<13>2026-11-28T01:02:03+01:00 host tag: iso", 13, Some("host"), Some("tag"), Some("iso")),
        (
            "<189>29: *Mar  1 00:00:42.123: %SYS-5-CONFIG_I: Configured",
            189,
            none,
            none,
            Some("%SYS-5-CONFIG_I: Configured"),
        ),
        ("<13>Feb 29 12:00:00 host tag: leap day", 13, Some("host"), Some("tag"), Some("leap day")),
        ("<13>Feb 30 12:00:00 host tag: no day", 13, Some("host"), Some("tag"), Some("no day")),
        (
            "<13>Nov 28 23:59:60 host tag: leap second",
            13,
            Some("host"),
            Some("tag"),
            Some("leap second"),
        ),
        ("<13>1 - - - - - -", 13, none, none, none),
        (
            "<13>1 2026-11-28T01:02:03Z h a p m [x y=\"unclosed",
            13,
            Some("h"),
            none,
            Some("a p m [x y=\"unclosed"),
        ),
        ("<13>ünï 8-bit", 13, none, none, Some("ünï 8-bit")),
    ];
    let mut stream = receiver.connect();
    for (text, ..) in rows {
        writeln!(stream, "{text}").unwrap();
    }
    let events = receiver.events(rows.len());
    for (event, row) in events.iter().zip(rows) {
        let text = |name: &str| event.json.get(name).and_then(Value::as_str);
        let priority = event.json.get("log.syslog.priority").and_then(Value::as_u64);
        let [host, program] = ["log.syslog.hostname", "log.syslog.appname"].map(text);
        let original = event.text("event.original");
        assert_eq!((original, priority.unwrap_or(0), host, program, text("message")), row);
        // The parts of the priority go with it, and no line is taken for more than it is.
        let parts = ["facility.code", "severity.code"]
            .map(|part| event.json.get(format!("log.syslog.{part}")).and_then(Value::as_u64));
        assert_eq!(parts, priority.map_or([None; 2], |all| [Some(all / 8), Some(all % 8)]));
        assert_eq!(event.json["tags"], serde_json::json!(["unparsed"]), "{original}");
    }
    let time_of = |start: &str| {
        let event = events.iter().find(|event| event.text("event.original").starts_with(start));
        event.expect("it is one of them").text("@timestamp").to_owned()
    };
    // Those that tell their zone and year.
    assert_eq!(time_of("<13>2026"), "2026-11-28T00:02:03.000Z");
    assert_eq!(time_of("<13>1 2026"), "2026-11-28T01:02:03.000Z");
}

#[test]
fn spoof_fields() {
    let receiver = Receiver::start("");
    let text =
        "<13>1 2026-11-28T01:02:03Z ../../etc/passwd \u{1b}[31mred x y - \u{1b}]0;title\u{7} a";
    let mut stream = receiver.connect();
    stream
        .write_all(format!("{} {text}\nlog.source.address=x", text.len() + 22).as_bytes())
        .unwrap();
    drop(stream);
    let event = &receiver.events(1)[0];
    assert_eq!(event.text("log.source.address"), "127.0.0.1");
    assert_ne!(event.text("host.name"), "../../etc/passwd");
    let raw = &receiver.topic.read()[0].1;
    assert!(raw.iter().all(|byte| *byte >= 0x20), "{}", raw.escape_ascii());
    assert!(!receiver.directory.path().join("state/etc").exists());
}

#[test]
fn udp_burst() {
    let receiver = Receiver::start(", sockets: 2");
    let count = number_of("LOGWEIR_DATAGRAMS", 50_000);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sent = 0;
    for number in 0..count {
        let text = format!("<13>{}", line("burst", number).trim_end());
        sent += u64::from(socket.send_to(text.as_bytes(), receiver.address).is_ok());
    }
    let counts = wait("every datagram to be in an account", DEADLINE, || {
        let counts = receiver.agent.counts()?;
        counts.assert_balanced();
        (counts.read == sent && counts.held == 0).then_some(counts)
    });
    let kernel = receiver.dropped("kernel");
    println!("sent {sent} = delivered {} + dropped by the kernel {kernel}", counts.delivered);
    assert_eq!(counts.delivered + kernel, sent);
}

#[test]
fn ratelimit_per_source() {
    let receiver = Receiver::start(", limits: {per_sender: {events_per_second: 1, burst: 1s}}");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = || assert!(socket.send_to(b"<13>x", receiver.address).is_ok());
    // More than a second allows, however slowly the looks follow each other.
    let send_many = || (0..20).for_each(|_| send());
    wait_until("a datagram over the limit", || {
        send_many();
        receiver.dropped("rate_limit") > 0
    });
    // A fault keeps the policy in use.
    receiver.agent.edit("events_per_second: 1,", "events_per_second: none,");
    wait_until("the fault to be told", || receiver.agent.said().contains("the limits in use stay"));
    let before = receiver.dropped("rate_limit");
    wait_until("another over the limit", || {
        send_many();
        receiver.dropped("rate_limit") > before
    });
    receiver.agent.edit("events_per_second: none,", "events_per_second: 1000000,");
    wait_until("the new limits", || receiver.agent.said().contains("changed limits are in use"));
    wait_until("datagrams that all get through", || {
        let (before, read) = (receiver.dropped("rate_limit"), receiver.agent.counts_told().read);
        send_many();
        wait_until("them to be taken", || {
            receiver.agent.counts().is_some_and(|c| c.read >= read + 20 && c.held == 0)
        });
        receiver.dropped("rate_limit") == before
    });
}

/// A TLS client of the receiver; the identity is `name` of the directory.
fn connector(receiver: &Receiver, name: Option<&str>) -> SslConnectorBuilder {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    if let Some(name) = name {
        let path = |ending: &str| receiver.directory.path().join(format!("{name}.{ending}"));
        builder.set_certificate_file(path("pem"), SslFiletype::PEM).unwrap();
        builder.set_private_key_file(path("key"), SslFiletype::PEM).unwrap();
    }
    builder
}

/// The same, connected.
fn secure(receiver: &Receiver, name: Option<&str>) -> Option<SslStream<TcpStream>> {
    let stream = TcpStream::connect(receiver.address).unwrap();
    connector(receiver, name).build().connect("localhost", stream).ok()
}

/// With these settings of its TLS besides.
fn with_tls(more: &str) -> (Receiver, Identity) {
    let directory = directory();
    let authority = Identity::new("authority", &[], None, 0);
    authority.write(directory.path(), "ca");
    Identity::new("server", &["localhost"], Some(&authority), 0).write(directory.path(), "server");
    authority.revoke(directory.path(), "ca", &[]);
    let address = free_address();
    let at = directory.path().display().to_string();
    let settings = format!(
        "tls: {{listen: '{address}', certificate: '{at}/server.pem', key: '{at}/server.key', \
         client_ca: '{at}/ca.pem', client_crl: '{at}/ca.crl'{more}}}"
    );
    (Receiver::with(directory, address, &settings), authority)
}

#[test]
fn tls_gibberish() {
    let (receiver, authority) = with_tls(", client_names: ['*.example.net']");
    let at = receiver.directory.path();
    let stranger = Identity::new("authority of others", &[], None, 0);
    let rejected = [
        ("wrong_ca", Identity::new("a", &["a.example.net"], Some(&stranger), 0)),
        ("expired", Identity::new("b", &["b.example.net"], Some(&authority), 30)),
        ("wrong_name", Identity::new("c.example.net", &["c.example.org"], Some(&authority), 0)),
        ("deep_wildcard", Identity::new("d", &["d.*.example.net"], Some(&authority), 0)),
        ("zero_byte", Identity::new("e", &["e.example.net\0.evil.org"], Some(&authority), 0)),
    ];
    let mut failures = 0;
    let mut failed = |what: &str| {
        failures += 1;
        wait_until(what, || receiver.listener("handshake_failures") == failures);
    };
    receiver.connect().write_all(b"<13>this is no TLS at all\n").unwrap();
    failed("the gibberish to be counted");
    drop(secure(&receiver, None));
    failed("the one without a certificate to be counted");
    for (name, identity) in &rejected {
        identity.write(at, name);
        if let Some(mut stream) = secure(&receiver, Some(name)) {
            let _ = stream.write_all(b"<13>must not come in\n");
        }
        failed(name);
    }
    Identity::new("web1", &["web1.example.net"], Some(&authority), 0).write(at, "good");
    let mut stream = secure(&receiver, Some("good")).expect("the good one is let in");
    stream.write_all(b"<13>hello\n").unwrap();
    let event = &receiver.events(1)[0];
    assert_eq!(event.text("event.original"), "<13>hello");
    assert_eq!(event.text("tls.client.subject"), "CN=web1");
    assert_eq!(event.text("log.source.address"), "127.0.0.1");
    let said = receiver.agent.said();
    assert!(said.contains("a TLS handshake failed"), "{said}");
}

/// A client's end of a connection, of which what is written can be kept back.
#[derive(Debug, Default)]
struct Held {
    /// `None` where there is no server, or none any more.
    stream: Option<TcpStream>,
    /// What it says after it has heard something is kept back, too; then it hears nothing more.
    keeps_answers: bool,
    has_heard: bool,
    kept: Vec<u8>,
}

impl std::io::Read for Held {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(stream) = self.stream.as_mut().filter(|_| self.kept.is_empty()) else {
            return Err(std::io::ErrorKind::WouldBlock.into());
        };
        self.has_heard = true;
        stream.read(buffer)
    }
}

impl std::io::Write for Held {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let keeps = self.keeps_answers && self.has_heard;
        if let Some(stream) = self.stream.as_mut().filter(|_| !keeps) {
            return stream.write(buffer);
        }
        self.kept.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Shakes hands for as long as the client gets an answer; returns its end of the connection.
fn shaken(connector: &SslConnector, end: Held) -> Held {
    let end = match connector.connect("localhost", end) {
        // With TLS 1.3 a client is done as soon as it has said all.
        Ok(mut done) => std::mem::take(done.get_mut()),
        Err(HandshakeError::WouldBlock(mut shaking)) => std::mem::take(shaking.get_mut()),
        Err(error) => panic!("the client gives up: {error}"),
    };
    assert!(end.kept.len() > 100, "{} bytes", end.kept.len());
    end
}

/// Calls `end_after` with 0, 1, 2 … bytes, up to the length that it returns, and returns that.
fn at_each_byte(mut end_after: impl FnMut(usize) -> usize) -> usize {
    let mut bytes = 0;
    while end_after(bytes) > bytes {
        bytes += 1;
    }
    bytes
}

#[test]
fn tls_ends_at_any_byte() {
    let (receiver, authority) = with_tls("");
    let at = receiver.directory.path();
    Identity::new("client", &[], Some(&authority), 0).write(at, "client");
    let mut failures = 0;
    let mut assert_failed = |count: usize| {
        failures += count;
        let failed = || receiver.listener("handshake_failures") as usize;
        wait_for_count("handshakes to have failed", failures, failed);
        wait_until("all connections to end", || receiver.listener("connections_open") == 0);
        assert_eq!(failed(), failures);
    };
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut connector = connector(&receiver, Some("client"));
        connector.set_min_proto_version(Some(version)).unwrap();
        connector.set_max_proto_version(Some(version)).unwrap();
        let connector = connector.build();
        // What a client says first, without a server.
        let hello = shaken(&connector, Held::default()).kept;
        for bytes in 0..=hello.len() {
            receiver.connect().write_all(&hello[..bytes]).unwrap();
        }
        assert_failed(hello.len() + 1);
        // What it says then, but for its last byte: certificate, keys, signature, finished. Each time that
        // is something else, of another length by a few bytes.
        let answer = at_each_byte(|bytes| {
            let stream = Some(receiver.connect());
            let end = shaken(&connector, Held { stream, keeps_answers: true, ..Held::default() });
            let most = end.kept.len() - 1;
            end.stream.unwrap().write_all(&end.kept[..bytes.min(most)]).unwrap();
            most
        });
        assert_failed(answer + 1);
        println!("{version:?}: ended at each of {} and {answer} bytes", hello.len());
    }
    // The same with a record of a client that is let in, which holds two messages. The last one is whole,
    // and stays open.
    let connector = connector(&receiver, Some("client")).build();
    let mut last = None;
    at_each_byte(|bytes| {
        let held = Held { stream: Some(receiver.connect()), ..Held::default() };
        let mut secure = connector.connect("localhost", held).unwrap();
        let mut stream = secure.get_mut().stream.take().unwrap();
        secure.write_all(b"<13>first\n<13>second\n").unwrap();
        let record = &secure.get_ref().kept;
        stream.write_all(&record[..bytes]).unwrap();
        last = Some(stream);
        record.len()
    });
    let originals = receiver.originals(2);
    assert_eq!(originals, ["<13>first", "<13>second"], "a record counts when it is whole");
    drop(last);
    assert_failed(0);
    let counts = receiver.agent.counts_told();
    assert_eq!((counts.read, counts.dropped), (2, 0), "{counts:?}");
}

#[test]
fn tls_silence() {
    let (receiver, _authority) = with_tls(", handshake_timeout: 1s");
    let mut silent = receiver.connect();
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    wait_until("the silent one to be counted", || receiver.listener("handshake_failures") == 1);
}

#[test]
fn a_certificate_is_refused_as_soon_as_it_is_revoked() {
    let (receiver, authority) = with_tls("");
    let at = receiver.directory.path();
    let (stays, leaves) = (
        Identity::new("stays", &[], Some(&authority), 0),
        Identity::new("leaves", &[], Some(&authority), 0),
    );
    stays.write(at, "stays");
    leaves.write(at, "leaves");
    let hello = |name: &str| {
        let mut stream = secure(&receiver, Some(name)).expect("it is let in");
        stream.write_all(format!("<13>{name}\n").as_bytes()).unwrap();
        stream
    };
    let _leaves = hello("leaves");
    assert_eq!(receiver.originals(1), ["<13>leaves"]);
    authority.revoke(at, "ca", &[&leaves]);
    wait_until("the revoked one to be refused", || {
        drop(secure(&receiver, Some("leaves")));
        receiver.listener("handshake_failures") > 0
    });
    let _stays = hello("stays");
    assert_eq!(receiver.originals(2), ["<13>leaves", "<13>stays"]);
}

#[test]
fn certificates_change_while_connections_go_on() {
    let (receiver, authority) = with_tls("");
    let at = receiver.directory.path();
    Identity::new("client", &[], Some(&authority), 0).write(at, "client");
    let subject = |stream: &SslStream<TcpStream>| {
        let certificate = stream.ssl().peer_certificate().expect("a server shows a certificate");
        let name = certificate.subject_name().entries().next().expect("it has a name");
        String::from_utf8_lossy(name.data().as_slice()).into_owned()
    };
    let mut old = secure(&receiver, Some("client")).expect("the client is let in");
    assert_eq!(subject(&old), "server");
    // A fault changes nothing.
    std::fs::write(at.join("server.pem"), "nonsense").unwrap();
    wait_until("the fault to be told", || receiver.agent.said().contains("have a fault"));
    assert_eq!(subject(&secure(&receiver, Some("client")).unwrap()), "server");
    Identity::new("renewed", &["localhost"], Some(&authority), 0).write(at, "server");
    wait_until("the new certificate", || {
        secure(&receiver, Some("client")).is_some_and(|stream| subject(&stream) == "renewed")
    });
    old.write_all(b"<13>still here\n").unwrap();
    assert_eq!(receiver.originals(1), ["<13>still here"]);
}
