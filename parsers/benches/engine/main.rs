//! What a line costs, and how that grows with the number of rules.
//!
//! `cargo bench -p logweir-parsers` prints nanoseconds per line on one thread, the least of many
//! passes: of sshd lines among 10, 100 and 1,000 rules of one program, of the samples of all shipped
//! packs, of syslog lines of many products in random order, of lines that nothing matches, of very
//! long lines, and of the plain way that a program without an index would take: the program's rules
//! one after the other, each a regex, the event a JSON tree. `-- sshd`, `-- samples`, `-- syslog` and
//! `-- long` run these parts alone; `-- packs` prints what the lines of each pack cost, and
//! `-- file PATH` what each line of a file does.
//! `-- count`, for a profiler that counts instructions, goes a few times through the lines of the
//! other parts that are named, of packs or of files, without a clock (`valgrind --tool=callgrind
//! --toggle-collect='*counted_passes*' …/engine-… count sshd`).

mod mix;
mod packs;
mod plain;

use logweir_parsers::{LineContext, Parser, RuleSet, Zone};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
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
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let shipped = Arc::new(RuleSet::shipped());
    if wanted.iter().any(|part| part == "packs") {
        packs::table(&shipped);
        return;
    }
    if let [part, path] = wanted.as_slice()
        && part == "file"
    {
        of_file(&shipped, path);
        return;
    }
    if wanted.first().is_some_and(|part| part == "count") {
        wanted[1..].iter().for_each(|part| count(&shipped, part));
        return;
    }
    let run = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    if run("sshd") {
        sshd(&shipped);
    }
    if run("samples") {
        mix::compare(&shipped, "all products", &mix::samples(&shipped));
    }
    if run("syslog") {
        mix::compare(&shipped, "syslog of 16 daemons", &mix::syslog(&shipped));
    }
    if run("long") {
        long(&shipped);
    }
}

fn sshd_lines() -> Vec<Vec<u8>> {
    let lines = SSHD.iter().enumerate().map(|(n, (_, message))| {
        format!("Nov 28 10:15:{:02} web{n} sshd[{}]: {message}", n * 5, 8_000 + n).into_bytes()
    });
    lines.collect()
}

fn of_file(shipped: &Arc<RuleSet>, path: &str) {
    for line in lines_of_file(path) {
        let shown: String = String::from_utf8_lossy(&line).chars().take(56).collect();
        report(&shown, engine(shipped, &[line]));
    }
}

fn lines_of_file(path: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(<[u8]>::to_vec).collect()
}

/// Goes through the lines of one part after one pass that warms everything up.
fn count(shipped: &Arc<RuleSet>, part: &str) {
    let lines_of = |known: Vec<mix::Known>| known.into_iter().map(|(_, line)| line).collect();
    let (lines, passes): (Vec<Vec<u8>>, usize) = match part {
        "sshd" => (sshd_lines(), 100),
        "syslog" => (lines_of(mix::syslog(shipped)), 1),
        "samples" => (lines_of(mix::samples(shipped)), 1),
        path if Path::new(path).is_file() => (lines_of_file(path), 100),
        pack => {
            let number = shipped.pack_named(pack).unwrap_or_else(|| panic!("no pack `{pack}`"));
            let mut known = mix::samples(shipped);
            known.retain(|(pack, _)| *pack == number);
            (lines_of(known), 10)
        }
    };
    let mut parser = Parser::new(shipped.clone());
    let mut out = Vec::with_capacity(1 << 24);
    passes_over(&mut parser, &lines, 1, &mut out);
    println!("{part}: {} lines, {} bytes", lines.len() * passes, out.len());
    counted_passes(&mut parser, &lines, passes, &mut out);
}

#[inline(never)]
fn counted_passes(parser: &mut Parser, lines: &[Vec<u8>], passes: usize, out: &mut Vec<u8>) {
    passes_over(parser, lines, passes, out);
}

fn passes_over(parser: &mut Parser, lines: &[Vec<u8>], passes: usize, out: &mut Vec<u8>) {
    let zone = Zone::utc();
    let context = context(&zone);
    for _ in 0..passes {
        out.clear();
        for line in lines {
            black_box(parser.parse(line, &context, out));
        }
    }
}

fn sshd(shipped: &Arc<RuleSet>) {
    let lines = sshd_lines();
    let mut nanos_at: HashMap<usize, f64> = HashMap::new();
    for rules in [10, 100, 1_000] {
        let nanos = engine(&load(&pack(rules)), &lines);
        report(&format!("sshd lines, {rules} rules of one program"), nanos);
        nanos_at.insert(rules, nanos);
    }
    ratio("1,000 rules against 10", nanos_at[&1_000] / nanos_at[&10]);
    for rules in [10, 1_000] {
        let nanos = plain::of_sshd(rules, &lines);
        report(&format!("the plain way, {rules} rules"), nanos);
        ratio("against the engine", nanos / nanos_at[&rules]);
    }
    report("sshd lines, all packs", engine(shipped, &lines));
}

fn long(shipped: &Arc<RuleSet>) {
    let unknown: Vec<Vec<u8>> = (0..64)
        .map(|n| {
            format!("Nov 28 10:15:02 web1 frobnicator[{n}]: job {n} took {} ms, ok", n * 37)
                .into_bytes()
        })
        .collect();
    report("lines that nothing matches, all packs", engine(shipped, &unknown));
    for text in ["a", " ", "=1 ", "[\"x\": {", "user from 1.2.3.4 failed "] {
        let message = text.repeat((64 << 10) / text.len());
        let line = format!("Nov 28 10:15:02 web1 sshd[1]: {message}").into_bytes();
        report(&format!("a line of 64 KiB of {text:?}"), engine(shipped, &[line]));
    }
}

fn ratio(what: &str, ratio: f64) {
    println!("{:<60} {ratio:>8.2}", format!("  {what}"));
}

/// Puts the lines in an order without a pattern, the same each time.
fn shuffle<T>(lines: &mut [T]) {
    let mut state = 1_u32;
    for at in (1..lines.len()).rev() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        lines.swap(at, (state >> 16) as usize % (at + 1));
    }
}

fn report(what: &str, nanos: f64) {
    println!("{what:<60} {nanos:>8.0} ns/line {:>10.0} lines/s", 1e9 / nanos);
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

/// How many lines are measured at a time.
const CHUNK: usize = 256;

/// Nanoseconds per line. The lines are gone through again and again, in chunks short enough that many
/// are not interrupted, for the machine may have other work; of each chunk the least time counts.
fn measure<T>(lines: &[T], pass: impl FnMut(&[T])) -> f64 {
    measure_for(MEASURE, lines, pass)
}

fn measure_for<T>(time: Duration, lines: &[T], mut pass: impl FnMut(&[T])) -> f64 {
    // The clock must not matter.
    let repeats = if lines.len() == 1 { 1 } else { (CHUNK / lines.len()).max(1) };
    let mut best = vec![f64::INFINITY; lines.len().div_ceil(CHUNK)];
    // What runs of a rule is made for its first line.
    pass(lines);
    let started = Instant::now();
    while started.elapsed() < time {
        for (best, chunk) in best.iter_mut().zip(lines.chunks(CHUNK)) {
            let begin = Instant::now();
            for _ in 0..repeats {
                pass(chunk);
            }
            *best = best.min(begin.elapsed().as_nanos() as f64 / repeats as f64);
        }
    }
    best.iter().sum::<f64>() / lines.len() as f64
}

fn context(zone: &Zone) -> LineContext<'_> {
    LineContext { pack: None, received_unix_nanos: RECEIVED_UNIX_NANOS, zone, original_bytes: None }
}

fn engine(rules: &Arc<RuleSet>, lines: &[Vec<u8>]) -> f64 {
    engine_for(MEASURE, &mut Parser::new(rules.clone()), lines)
}

fn engine_for(time: Duration, parser: &mut Parser, lines: &[Vec<u8>]) -> f64 {
    let zone = Zone::utc();
    let context = context(&zone);
    let mut out = Vec::with_capacity(1 << 20);
    measure_for(time, lines, |lines| {
        out.clear();
        for line in lines {
            black_box(parser.parse(line, &context, &mut out));
        }
    })
}
