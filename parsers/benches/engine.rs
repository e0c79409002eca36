//! What a line costs, and how that grows with the number of rules.
//!
//! `cargo bench -p logweir-parsers` prints nanoseconds per line on one thread, the least of many
//! passes: of sshd lines among 10, 100 and 1,000 rules of one program, of the samples of all shipped
//! packs, of lines that nothing matches, of very long lines, and of the plain way that a program without an index would
//! take: the program's rules one after the other, each a regex, the event a JSON tree.

use logweir_parsers::{LineContext, Parser, RuleSet, Zone};
use regex::bytes::Regex;
use std::collections::HashMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long each measurement runs.
const MEASURE: Duration = Duration::from_millis(1_500);
const RECEIVED_UNIX_NANOS: i64 = 1_795_867_200_000_000_000;

/// Ten messages of OpenSSH: a pattern and a line for it.
const SSHD: [(&str, &str); 10] = [
    (
        r"^Accepted (?<labels.method>\S+) for (?<user.name>\S+) from (?<source.ip>\S+) port (?<source.port>\d+)(?: ssh2)?(?:: .*)?$",
        "Accepted publickey for alice from 192.168.17.20 port 50022 ssh2: RSA SHA256:abcdefghijklmnopq",
    ),
    (
        r"^Failed (?<labels.method>\S+) for invalid user (?<user.name>.*?) from (?<source.ip>\S+) port (?<source.port>\d+) ssh2$",
        "Failed password for invalid user admin from 203.0.113.7 port 40112 ssh2",
    ),
    (
        r"^Failed (?<labels.method>\S+) for (?<user.name>\S+) from (?<source.ip>\S+) port (?<source.port>\d+) ssh2$",
        "Failed password for root from 203.0.113.9 port 41002 ssh2",
    ),
    (
        r"^Invalid user (?<user.name>\S*) from (?<source.ip>\S+)(?: port (?<source.port>\d+))?$",
        "Invalid user oracle from 198.51.100.23 port 33922",
    ),
    (
        r"^Connection closed by (?<source.ip>\S+)(?: port (?<source.port>\d+))?(?: \[preauth\])?$",
        "Connection closed by 198.51.100.23 port 33922 [preauth]",
    ),
    (
        r"^Received disconnect from (?<source.ip>\S+?)(?: port (?<source.port>\d+))?:\s?(?<event.code>\d+): (?<event.reason>.*?)(?: \[preauth\])?$",
        "Received disconnect from 203.0.113.7 port 40112:11: Bye Bye [preauth]",
    ),
    (
        r"^Disconnected from (?:user (?<user.name>\S+) )?(?<source.ip>\S+) port (?<source.port>\d+)$",
        "Disconnected from user alice 192.168.17.20 port 50022",
    ),
    (
        r"^pam_unix\(sshd:session\): session (?<_what>opened|closed) for user (?<user.name>[^\s(]+)(?:\(uid=(?<user.id>\d+)\))?(?: by .*)?$",
        "pam_unix(sshd:session): session opened for user alice(uid=1000) by (uid=0)",
    ),
    (
        r"^reverse mapping checking getaddrinfo for (?<source.domain>\S+) \[(?<source.ip>[^\]]+)\] failed - POSSIBLE BREAK-IN ATTEMPT!$",
        "reverse mapping checking getaddrinfo for host.example.org [198.51.100.4] failed - POSSIBLE BREAK-IN ATTEMPT!",
    ),
    (
        r"error: maximum authentication attempts exceeded for (?:invalid user )?(?<user.name>\S+) from (?<source.ip>\S+) port (?<source.port>\d+)",
        "error: maximum authentication attempts exceeded for root from 203.0.113.9 port 41002 ssh2 [preauth]",
    ),
];

fn main() {
    let lines: Vec<Vec<u8>> = SSHD
        .iter()
        .enumerate()
        .map(|(n, (_, message))| {
            format!("Nov 28 10:15:{:02} web{n} sshd[{}]: {message}", n * 5, 8_000 + n).into_bytes()
        })
        .collect();
    let mut nanos_at: HashMap<usize, f64> = HashMap::new();
    for rules in [10, 100, 1_000] {
        let nanos = engine(&load(&pack(rules)), &lines);
        report(&format!("sshd lines, {rules} rules of one program"), nanos);
        nanos_at.insert(rules, nanos);
    }
    println!("{:<56} {:>8.2}", "  1,000 rules against 10", nanos_at[&1_000] / nanos_at[&10]);
    for rules in [10, 1_000] {
        let nanos = naive(rules, &lines);
        report(&format!("the plain way, {rules} rules"), nanos);
        println!("{:<56} {:>8.1}", "  against the engine", nanos / nanos_at[&rules]);
    }
    let shipped = Arc::new(RuleSet::shipped());
    let mut samples: Vec<Vec<u8>> =
        shipped.samples().map(|(_, sample)| sample.line.clone().into_bytes()).collect();
    shuffle(&mut samples);
    let bytes = samples.iter().map(Vec::len).sum::<usize>() / samples.len();
    let name = format!("all products in random order, {} rules, {bytes} bytes", shipped.len());
    report(&name, engine(&shipped, &samples));
    let sshd: Vec<Vec<u8>> = lines.clone();
    report("sshd lines, all packs", engine(&shipped, &sshd));
    let unknown: Vec<Vec<u8>> = (0..64)
        .map(|n| {
            format!("Nov 28 10:15:02 web1 frobnicator[{n}]: job {n} took {} ms, ok", n * 37)
                .into_bytes()
        })
        .collect();
    report("lines that nothing matches, all packs", engine(&shipped, &unknown));
    for text in ["a", " ", "=1 ", "[\"x\": {", "user from 1.2.3.4 failed "] {
        let message = text.repeat((64 << 10) / text.len());
        let line = format!("Nov 28 10:15:02 web1 sshd[1]: {message}").into_bytes();
        report(&format!("a line of 64 KiB of {text:?}"), engine(&shipped, &[line]));
    }
}

/// Puts the lines in an order without a pattern, the same each time.
fn shuffle(lines: &mut [Vec<u8>]) {
    let mut state = 1_u32;
    for at in (1..lines.len()).rev() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        lines.swap(at, (state >> 16) as usize % (at + 1));
    }
}

fn report(what: &str, nanos: f64) {
    println!("{what:<56} {nanos:>8.0} ns/line {:>10.0} lines/s", 1e9 / nanos);
}

/// A pack of sshd's rules, the ten spread among others.
fn pack(rules: usize) -> String {
    let mut text = String::from(
        "pack: bench\napplies: {program: [sshd]}\nset: {event.kind: event, event.category: [authentication]}\nrules:\n",
    );
    let step = rules / SSHD.len();
    for number in 0..rules {
        let (id, pattern) = if number % step == 0 {
            (format!("real.{number}"), SSHD[number / step].0.to_owned())
        } else {
            (format!("other.{number}"), other(number))
        };
        text.push_str(&format!(
            "  - id: {id}\n    pattern: '{pattern}'\n    set: {{event.action: a{number}, event.type: [info], event.outcome: success}}\n"
        ));
    }
    text
}

/// Rules as they are written for other messages: most begin with words, some do not.
fn other(number: usize) -> String {
    let words = [
        "session",
        "channel",
        "key",
        "user",
        "port",
        "daemon",
        "request",
        "worker",
        "Failed",
        "Connection",
    ];
    let verbs =
        ["opened", "refused", "expired", "started", "timed out", "rejected", "lost", "renewed"];
    let (word, verb) = (words[number % words.len()], verbs[number / 7 % verbs.len()]);
    match number % 5 {
        0 => format!(r"(?<labels.what>\S+): {word}{number} {verb} for (?<user.name>\S+)"),
        1 => format!(r"^{word} {verb}{number} by (?<user.name>\S+) from (?<source.ip>\S+)$"),
        2 => format!(r"^(?<labels.n>\d+) {word} {verb} #{number}: (?<event.reason>.*)$"),
        _ => format!(r"^{word} number {number} {verb}: (?<event.reason>.*)$"),
    }
}

fn load(text: &str) -> Arc<RuleSet> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path: PathBuf = directory.path().join("bench.yaml");
    std::fs::write(&path, text).expect("write the pack");
    match RuleSet::load(&[path], false) {
        Ok(loaded) => Arc::new(loaded.rules),
        Err(faults) => panic!("{}", logweir_document::render_all(&faults, false)),
    }
}

/// Nanoseconds per line, the least of all passes over `lines`.
fn measure(lines: usize, mut pass: impl FnMut()) -> f64 {
    // Short enough that many a pass is not interrupted, for the machine may have other work.
    // A line alone is a very long one.
    let passes = if lines == 1 { 1 } else { (2_000 / lines).max(1) };
    let started = Instant::now();
    let mut best = f64::INFINITY;
    while started.elapsed() < MEASURE {
        let begin = Instant::now();
        for _ in 0..passes {
            pass();
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / (passes * lines) as f64);
    }
    best
}

fn engine(rules: &Arc<RuleSet>, lines: &[Vec<u8>]) -> f64 {
    let zone = Zone::utc();
    let context = LineContext {
        pack: None,
        received_unix_nanos: RECEIVED_UNIX_NANOS,
        zone: &zone,
        original_bytes: None,
    };
    let mut parser = Parser::new(rules.clone());
    let mut out = Vec::with_capacity(1 << 20);
    measure(lines.len(), || {
        out.clear();
        for line in lines {
            black_box(parser.parse(line, &context, &mut out));
        }
    })
}

/// What one would write first: for the program of the line, regex after regex, then a JSON tree.
fn naive(rules: usize, lines: &[Vec<u8>]) -> f64 {
    let header = Regex::new(r"(?-u)^(\w{3} +\d+ \S+) (\S+) ([^\[:]+)(?:\[(\d+)\])?: (.*)$")
        .expect("a regex");
    let step = rules / SSHD.len();
    let list: Vec<Regex> = (0..rules)
        .map(|n| if n % step == 0 { SSHD[n / step].0.to_owned() } else { other(n) })
        .map(|pattern| Regex::new(&format!("(?-u){}", numbered(&pattern))).expect("a regex"))
        .collect();
    let mut out = Vec::with_capacity(1 << 20);
    measure(lines.len(), || {
        out.clear();
        for line in lines {
            let Some(parts) = header.captures(line) else { continue };
            let message = parts.get(5).map_or(&b""[..], |part| part.as_bytes());
            let mut event = serde_json::Map::new();
            event.insert("event.original".into(), String::from_utf8_lossy(line).into());
            event.insert("host.hostname".into(), String::from_utf8_lossy(&parts[2]).into());
            if let Some(found) = list.iter().find_map(|regex| regex.captures(message)) {
                for (n, part) in found.iter().enumerate().skip(1) {
                    if let Some(part) = part {
                        let value = String::from_utf8_lossy(part.as_bytes()).into_owned();
                        event.insert(format!("field{n}"), value.into());
                    }
                }
            }
            serde_json::to_writer(&mut out, &event).expect("writing to memory");
        }
    })
}

/// Names that the crate `regex` takes: without colons and dots at their beginning.
fn numbered(pattern: &str) -> String {
    let mut out = String::new();
    for (n, part) in pattern.split("(?<").enumerate() {
        if n == 0 {
            out.push_str(part);
        } else {
            let rest = part.split_once('>').map_or(part, |(_, rest)| rest);
            out.push_str(&format!("(?<f{n}>{rest}"));
        }
    }
    out
}
