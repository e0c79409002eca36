//! What has no end in sight: lines and archives of any size take little memory, and what follows them is
//! whole; and so do very many lines at once. `LOGWEIR_SIZE_MIB=1024` makes them as long as that; see
//! tests/README.md.

mod stage;

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use stage::*;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::TcpStream;

/// What more an agent may take for it, all in all.
const MORE_KIB: u64 = 8 << 10;
const HEADER: &str = "<13>Oct 11 22:14:15 host app: ";
/// `line_bytes_max`, if nothing is said.
const KEPT_BYTES: usize = 64 << 10;

fn size_bytes() -> u64 {
    let said = std::env::var("LOGWEIR_SIZE_MIB").ok();
    said.map_or(48, |mib| mib.parse().unwrap()) << 20
}

/// Writes so many bytes `byte`.
fn write_many(to: &mut impl Write, byte: u8, count: u64) {
    let piece = [byte; 64 << 10];
    assert_eq!(count % piece.len() as u64, 0);
    (0..count / piece.len() as u64).for_each(|_| to.write_all(&piece).unwrap());
}

/// Waits until `count` events are delivered; what that took of memory is bounded.
fn assert_little_memory(agent: &mut Running, stage: &Stage, before_kib: u64, count: u64) {
    agent.wait_delivered(stage, count);
    let more = agent.number("VmHWM").saturating_sub(before_kib);
    println!("{} MiB took {more} KiB", size_bytes() >> 20);
    assert!(more <= MORE_KIB, "{more} KiB");
}

/// A long line, cut and marked, and its neighbours.
fn assert_cut(events: &[Value], original_bytes: u64, kept: &dyn Fn(&str) -> bool) {
    let marked: Vec<&Value> =
        events.iter().filter(|event| event.get("logweir.original_bytes").is_some()).collect();
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0]["logweir.original_bytes"], original_bytes);
    let text = marked[0]["event.original"].as_str().unwrap();
    assert!(text.len() <= KEPT_BYTES && text.len() > KEPT_BYTES - 4 && kept(text));
}

#[test]
fn endless_line_in_a_file() {
    let stage = Stage::new();
    // Whatever is allocated once for reading is there before.
    stage.lines("a.log", 0..50_000);
    let mut agent = Running::start(&stage);
    agent.wait_delivered(&stage, 50_000);
    let before = agent.number("VmHWM");
    let mut file = File::options().append(true).open(stage.path("a.log")).unwrap();
    write_many(&mut file, b'x', size_bytes());
    file.write_all(b"\nline 50000\n").unwrap();
    assert_little_memory(&mut agent, &stage, before, 50_002);
    let events = stage.events();
    assert_cut(&events, size_bytes(), &|text| text.bytes().all(|byte| byte == b'x'));
    let mut lines = all_lines(&events);
    lines.retain(|line| line.starts_with("line "));
    assert_eq!(lines, expected(0..50_001));
}

#[test]
fn endless_line_over_tcp() {
    let mut stage = Stage::new();
    let address = logweir_tests::free_address();
    stage.sources = Some(format!("- {{type: syslog, tcp: '{address}'}}"));
    let mut agent = Running::start(&stage);
    let mut stream = None;
    agent.wait_until("the listener", || {
        stream = TcpStream::connect(address).ok();
        stream.is_some()
    });
    let mut stream = BufWriter::new(stream.unwrap());
    (0..50_000).for_each(|n| writeln!(stream, "{HEADER}line {n}").unwrap());
    stream.flush().unwrap();
    agent.wait_delivered(&stage, 50_000);
    let before = agent.number("VmHWM");
    stream.write_all(HEADER.as_bytes()).unwrap();
    write_many(&mut stream, b'x', size_bytes());
    stream.write_all(format!("\n{HEADER}line 50000\n").as_bytes()).unwrap();
    stream.flush().unwrap();
    assert_little_memory(&mut agent, &stage, before, 50_002);
    let events = stage.events();
    let length = HEADER.len() as u64 + size_bytes();
    assert_cut(&events, length, &|text| text.starts_with(HEADER) && text.ends_with('x'));
    let last =
        events.iter().filter(|event| event["event.original"] == format!("{HEADER}line 50000"));
    assert_eq!((last.count(), events.len()), (1, 50_002));
}

#[test]
fn gz_bomb() {
    let mut stage = Stage::new();
    stage.glob = "*.gz";
    let bomb = |name: &str, byte: u8, count: u64, last: &str| {
        let file = File::create(stage.path(name)).unwrap();
        let mut encoder = GzEncoder::new(BufWriter::new(file), Compression::fast());
        write_many(&mut encoder, byte, count);
        encoder.write_all(last.as_bytes()).unwrap();
        encoder.finish().unwrap().flush().unwrap();
    };
    bomb("warm.gz", b'\n', 4 << 20, "line 0\n");
    let mut agent = Running::start(&stage);
    agent.wait_delivered(&stage, 1);
    let before = agent.number("VmHWM");
    bomb("zeros.new", 0, size_bytes(), "line 1\n");
    bomb("line.new", b'x', size_bytes(), "\nline 2\n");
    for name in ["zeros", "line"] {
        let new = stage.path(&format!("{name}.new"));
        std::fs::rename(new, stage.path(&format!("{name}.gz"))).unwrap();
    }
    assert_little_memory(&mut agent, &stage, before, 4);
    let status = stage.status();
    assert_eq!(status["nul_bytes_skipped"], size_bytes());
    assert_cut(&stage.events(), size_bytes(), &|text| text.bytes().all(|byte| byte == b'x'));
}

/// What an agent may take while it reads as fast as it can, without rules.
const BUSY_KIB: u64 = 64 << 10;

#[test]
fn burst() {
    const LINE_BYTES: u64 = 200;
    let stage = Stage::new();
    let mut agent = Running::start(&stage);
    stage.append("a.log", "the first\n");
    agent.wait_delivered(&stage, 1);
    // A million where the others have a gigabyte.
    let count = size_bytes() / 5 / LINE_BYTES;
    let file = File::options().append(true).open(stage.path("a.log")).unwrap();
    let mut file = BufWriter::with_capacity(1 << 20, file);
    (0..count)
        .for_each(|n| writeln!(file, "{n:0width$}", width = LINE_BYTES as usize - 1).unwrap());
    file.flush().unwrap();
    agent.wait_delivered(&stage, 1 + count);
    let status = stage.status();
    let told =
        ["read", "delivered", "held", "bytes_read"].map(|name| status[name].as_u64().unwrap());
    assert_eq!(told, [1 + count, 1 + count, 0, "the first\n".len() as u64 + count * LINE_BYTES]);
    assert_eq!(status["sources"].as_array().unwrap().len(), 1);
    let peak = agent.number("VmHWM");
    println!("{count} lines of {LINE_BYTES} bytes: {} MiB", peak >> 10);
    assert!(peak <= BUSY_KIB, "{peak} KiB");
}
