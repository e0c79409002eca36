//! Fills a table with made-up events, for measurements and for the test of other readers.
//!
//! `cargo run -p logweir-store --example fill -- DIRECTORY EVENTS [COMMITS] [compact]`
//!
//! Prints what a correct reader has to find, as JSON on standard output, and rates on standard error.

use logweir_record::SourceId;
use logweir_store::{
    CompactOptions, CompactSummary, PartitionWriter, Table, TableOptions, compact, format_time,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const PARTITIONS: i32 = 4;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, events, rest @ ..] = arguments.as_slice() else {
        return Err("usage: fill DIRECTORY EVENTS [COMMITS] [compact]".into());
    };
    let events: u64 = events.parse()?;
    let commits: u64 = rest.first().map_or(Ok(10), |text| text.parse())?;
    let options = TableOptions { checkpoint_every: 5, ..TableOptions::default() };
    let table = Arc::new(Table::open_or_create(directory, options)?);
    let truth = fill(&table, events, commits.max(1))?;
    if rest.get(1).is_some_and(|word| word == "compact") {
        let started = Instant::now();
        let CompactSummary { files_before, files_after, bytes_before, bytes_after, .. } =
            compact(&table, &CompactOptions { files_min: 2, ..CompactOptions::default() })?;
        eprintln!(
            "compacted {files_before} files, {bytes_before} bytes, to {files_after}, {bytes_after} bytes, in {:.2?}",
            started.elapsed()
        );
    }
    println!("{}", serde_json::to_string(&truth)?);
    Ok(())
}

/// What a reader has to find.
#[derive(Debug, Default, serde::Serialize)]
struct Truth {
    rows: u64,
    failures: u64,
    process_pid_sum: i64,
    by_host: BTreeMap<String, u64>,
    tagged: u64,
    with_extra: u64,
    newest: String,
    positions: BTreeMap<String, i64>,
}

fn fill(table: &Arc<Table>, events: u64, commits: u64) -> Outcome<Truth> {
    let mut writers = (0..PARTITIONS)
        .map(|partition| PartitionWriter::open(table.clone(), "group", "topic", partition))
        .collect::<Result<Vec<_>, _>>()?;
    let mut truth = Truth::default();
    let mut random = Random(42);
    let newest_us = std::time::UNIX_EPOCH.elapsed()?.as_micros() as i64;
    let started = Instant::now();
    let (mut bytes, mut decode) = (0, std::time::Duration::ZERO);
    let mut payload = String::new();
    for n in 0..events {
        let at = (n % PARTITIONS as u64) as usize;
        let offset = (n / PARTITIONS as u64) as i64;
        let time_us = newest_us - (events - n) as i64 * 1000;
        event(&mut payload, &mut random, &mut truth, at, offset, time_us);
        bytes += payload.len();
        let before = Instant::now();
        writers[at].push(offset, payload.as_bytes());
        decode += before.elapsed();
        if (n + 1) * commits / events != n * commits / events {
            let batches =
                writers.iter_mut().map(|writer| writer.seal()).collect::<Result<_, _>>()?;
            table.commit(batches)?;
        }
    }
    for (partition, writer) in writers.iter().enumerate() {
        truth.positions.insert(format!("group/topic/{partition}"), writer.position().unwrap_or(0));
    }
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "{events} events, {bytes} bytes of JSON, {commits} commits in {seconds:.2} s: {:.0} events/s; push alone {:.0} events/s",
        events as f64 / seconds,
        events as f64 / decode.as_secs_f64()
    );
    Ok(truth)
}

/// Like an event of sshd or of a web server, as an agent sends it.
fn event(
    payload: &mut String,
    random: &mut Random,
    truth: &mut Truth,
    partition: usize,
    offset: i64,
    time_us: i64,
) {
    use std::fmt::Write as _;
    let host = format!("host{}", random.below(50) * random.below(4));
    // One address in a million events is looked for.
    let ip = match random.below(1_000_000) {
        0 => "192.0.2.99".to_owned(),
        _ => format!("198.51.{}.{}", random.below(4) * random.below(60), random.below(250)),
    };
    let source = SourceId::derive(&[&partition.to_le_bytes()]);
    let (time, pid) = (format_time(time_us), random.below(60_000) as i64 + 1);
    payload.clear();
    let _ = write!(
        payload,
        r#"{{"agent.id":"5f0c0000-0000-4000-8000-00000000000{partition}","agent.name":"{host}","agent.type":"logweir-agent","agent.version":"0.1.0","host.name":"{host}","logweir.source":"{source}","log.file.path":"/var/log/auth.log","@timestamp":"{time}","event.created":"{time}","ecs.version":"9.4.0","event.kind":"event""#
    );
    if random.below(10) < 6 {
        let failed = random.below(3) > 0;
        let outcome = if failed { "failure" } else { "success" };
        let verb = if failed { "Failed" } else { "Accepted" };
        let (user, port) =
            (format!("user{}", random.below(20) * random.below(50)), random.below(60_000));
        let message = format!("{verb} password for {user} from {ip} port {port} ssh2");
        let _ = write!(
            payload,
            r#","event.original":"{time} {host} sshd[{pid}]: {message}","event.dataset":"sshd","event.category":["authentication"],"event.type":["start"],"event.outcome":"{outcome}","user.name":"{user}","source.ip":"{ip}","source.port":{port},"process.name":"sshd","process.pid":{pid},"related.ip":["{ip}"],"logweir.rule":"sshd.password","message":"{message}""#
        );
        truth.failures += u64::from(failed);
        truth.process_pid_sum += pid;
    } else {
        let (path, status) =
            (random.below(3000), [200, 200, 200, 404, 500][random.below(5) as usize]);
        let tags =
            if status == 500 { r#","tags":["slow","error"],"labels.site":"north""# } else { "" };
        let _ = write!(
            payload,
            r#","event.original":"{ip} - - [{time}] \"GET /p/{path} HTTP/1.1\" {status} {pid} \"-\" \"curl/8.{path}\"","event.dataset":"nginx.access","event.category":["web"],"source.ip":"{ip}","url.original":"/p/{path}","http.request.method":"GET","http.response.status_code":{status},"http.response.body.bytes":{pid},"http.version":"1.1","user_agent.original":"curl/8.{path}","logweir.rule":"nginx.access"{tags}"#
        );
        truth.tagged += u64::from(status == 500);
        truth.with_extra += u64::from(status == 500);
    }
    let _ = write!(payload, r#","log.offset":{}"#, offset * 120);
    if offset > 0 {
        let _ = write!(payload, r#","logweir.prev":{}"#, (offset - 1) * 120);
    }
    payload.push('}');
    truth.rows += 1;
    *truth.by_host.entry(host).or_default() += 1;
    truth.newest = time;
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
