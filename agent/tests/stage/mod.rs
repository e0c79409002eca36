//! The stage of these tests: a Kafka that the client library plays, a directory, and an agent.
#![allow(dead_code, reason = "each test program uses a part of it")]

use logweir_agent::{Agent, Config, Snapshot};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Offset, TopicPartitionList};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const TOPIC: &str = "logweir.events";
pub(crate) const PARTITIONS: i32 = 4;
/// Long enough for a loaded machine; a test that passes never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The unit of times in `/proc`, on every architecture of Linux.
const USER_HZ: u64 = 100;
/// Between two looks at the agent, so that the tests leave the processors to the agents.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Stage {
    pub(crate) directory: TempDir,
    pub(crate) kafka: MockCluster<'static, DefaultProducerContext>,
    pub(crate) kafka_extra: String,
    pub(crate) source_extra: String,
    pub(crate) agent_extra: String,
    pub(crate) workers: usize,
    pub(crate) glob: &'static str,
    /// Instead of the files.
    pub(crate) sources: Option<String>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let kafka = MockCluster::new(1).unwrap();
        kafka.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        kafka.create_topic("logweir.dead_letter", 1, 1).unwrap();
        Self {
            directory: tempfile::tempdir().unwrap(),
            kafka,
            kafka_extra: ", linger.ms: 5".into(),
            source_extra: String::new(),
            agent_extra: String::new(),
            workers: 2,
            glob: "*.log",
            sources: None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn append(&self, name: &str, text: &str) {
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn lines(&self, name: &str, range: std::ops::Range<u32>) {
        self.append(name, &range.map(|n| format!("line {n}\n")).collect::<String>());
    }

    pub(crate) fn yaml(&self) -> String {
        let directory = self.directory.path().display();
        let files = format!(
            "- {{type: file, paths: ['{directory}/{}'], rotate_wait: 500ms{}}}",
            self.glob, self.source_extra
        );
        // Soon, unless a test says when.
        let soon = ", checkpoint_interval: 100ms";
        let soon = if self.agent_extra.contains("checkpoint_interval") { "" } else { soon };
        format!(
            "agent: {{state_dir: '{directory}/state', workers: {}{soon}{}}}\n\
             kafka: {{bootstrap.servers: '{}', client.id: test{}}}\n\
             rules: {{shipped: false}}\nsources:\n  {}\n",
            self.workers,
            self.agent_extra,
            self.kafka.bootstrap_servers(),
            self.kafka_extra,
            self.sources.as_ref().unwrap_or(&files),
        )
    }

    pub(crate) fn start(&self) -> Agent {
        let (config, _) = Config::from_yaml("test.yaml", &self.yaml()).unwrap();
        Agent::start(config).unwrap()
    }

    /// Changes what the checkpoint of an agent that does not run holds.
    pub(crate) fn edit_checkpoint(&self, change: impl Fn(&mut Value)) {
        for slot in 0..2 {
            let path = self.path(&format!("state/checkpoint.{slot}"));
            let text = fs::read_to_string(&path).unwrap();
            let (header, body) = text.split_once('\n').unwrap();
            let mut body: Value = serde_json::from_str(body).unwrap();
            change(&mut body);
            let (body, words) = (body.to_string(), header.split(' ').collect::<Vec<_>>());
            let (sequence, crc) = (words[2], crc32c::crc32c(body.as_bytes()));
            let header = format!("{} {} {sequence} {} {crc:08x}", words[0], words[1], body.len());
            fs::write(&path, format!("{header}\n{body}")).unwrap();
        }
    }

    /// What the agent that was started as a process says of itself; on a busy machine the first
    /// question may find no answer.
    pub(crate) fn status(&self) -> Value {
        let config = self.path("agent.yaml").display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_logweir-agent"));
        command.args(["status", "--format", "json", "--config", &config]);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = command.output().unwrap();
            if let Ok(status) = serde_json::from_slice(&output.stdout) {
                return status;
            }
            assert!(Instant::now() < deadline, "no status: {output:?}");
        }
    }

    /// All records of a topic.
    pub(crate) fn records(&self, topic: &str, partitions: i32) -> Vec<Value> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.kafka.bootstrap_servers())
            .set("group.id", "test")
            .create()
            .unwrap();
        let mut records = Vec::new();
        for partition in 0..partitions {
            let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap();
            if low == high {
                continue;
            }
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
            consumer.assign(&list).unwrap();
            assert_eq!(low, 0, "the played Kafka has thrown records away");
            let mut next = low;
            let deadline = Instant::now() + PATIENCE;
            while next < high {
                assert!(Instant::now() < deadline, "no record in time");
                // No record does not mean that there is none.
                let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
                let message = message.unwrap();
                next = message.offset() + 1;
                records.push(serde_json::from_slice(message.payload().unwrap()).unwrap());
            }
        }
        records
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.records(TOPIC, PARTITIONS)
    }
}

/// The events without repeats, per source, as the ingest takes them; checks order and chain.
pub(crate) fn table(events: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut table: BTreeMap<String, (Option<u64>, Vec<String>)> = BTreeMap::new();
    for event in events {
        let source = event["logweir.source"].as_str().unwrap();
        let offset = event["log.offset"].as_u64().unwrap();
        let (highest, lines) = table.entry(source.to_owned()).or_default();
        if highest.is_some_and(|highest| offset <= highest) {
            continue;
        }
        assert_eq!(event.get("logweir.prev").and_then(Value::as_u64), *highest, "a hole: {event}");
        *highest = Some(offset);
        lines.push(event["event.original"].as_str().unwrap().to_owned());
    }
    table.into_iter().map(|(source, (_, lines))| (source, lines)).collect()
}

pub(crate) fn all_lines(events: &[Value]) -> Vec<String> {
    let mut lines: Vec<String> = table(events).into_values().flatten().collect();
    lines.sort_by_key(|line| line.trim_start_matches("line ").parse::<u32>().unwrap_or(u32::MAX));
    lines
}

/// The table holds these lines and no others.
pub(crate) fn assert_lines(events: &[Value], range: std::ops::Range<u32>) {
    let (found, wanted) = (all_lines(events), expected(range));
    let differs = found.iter().zip(&wanted).position(|(found, wanted)| found != wanted);
    let at = differs.unwrap_or(found.len().min(wanted.len()));
    assert_eq!((found.get(at), found.len()), (wanted.get(at), wanted.len()), "from the {at}th on");
}

pub(crate) fn expected(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

pub(crate) fn wait_for(
    agent: &Agent,
    what: &str,
    mut reached: impl FnMut(&Snapshot) -> bool,
) -> Snapshot {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let snapshot = agent.snapshot();
        assert!(snapshot.counts.balanced(), "{snapshot:?}");
        if reached(&snapshot) {
            return snapshot;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}: {snapshot:#?}");
        std::thread::sleep(PAUSE);
    }
}

pub(crate) fn wait_delivered(agent: &Agent, count: u64) -> Snapshot {
    wait_for(agent, &format!("{count} delivered"), |snapshot| snapshot.counts.delivered >= count)
}

/// The agent as a process.
pub(crate) fn process(stage: &Stage) -> Command {
    let path = stage.path("agent.yaml");
    fs::write(&path, stage.yaml()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir-agent"));
    command.args(["run", "--config", path.to_str().unwrap()]);
    command
}

/// The agent as a process; it is ended with the test.
pub(crate) struct Running {
    child: Child,
    said: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn start(stage: &Stage) -> Self {
        Self::start_within(stage, &[])
    }

    /// By way of another program, which becomes it.
    pub(crate) fn start_within(stage: &Stage, wrapper: &[&str]) -> Self {
        let (agent, said) = (process(stage), stage.path("said"));
        // It dies with the test, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(wrapper);
        command.arg(agent.get_program()).args(agent.get_args());
        let child = command.stderr(File::create(&said).unwrap()).spawn().unwrap();
        Self { child, said }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// How often it has said something.
    pub(crate) fn said(&self, what: &str) -> usize {
        String::from_utf8_lossy(&fs::read(&self.said).unwrap()).matches(what).count()
    }

    /// Waits for what is seen in what it says, or in its process.
    pub(crate) fn wait_until_it(&mut self, what: &str, mut reached: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !reached(self) {
            let ended = self.child.try_wait().unwrap();
            let said = || String::from_utf8_lossy(&fs::read(&self.said).unwrap()).into_owned();
            assert!(ended.is_none(), "the agent ended ({ended:?}) before {what}: {}", said());
            assert!(Instant::now() < deadline, "waited in vain for {what}: {}", said());
            std::thread::sleep(PAUSE);
        }
    }

    pub(crate) fn wait_until(&mut self, what: &str, mut reached: impl FnMut() -> bool) {
        self.wait_until_it(what, |_| reached());
    }

    pub(crate) fn wait_until_said(&mut self, what: &str) {
        self.wait_until_it(&format!("{what:?} to be said"), |agent| agent.said(what) > 0);
    }

    /// Waits until Kafka has so many events, of this run.
    pub(crate) fn wait_delivered(&mut self, stage: &Stage, count: u64) {
        let delivered = || stage.status()["delivered"].as_u64() >= Some(count);
        self.wait_until(&format!("{count} delivered"), delivered);
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1000 / USER_HZ)
    }

    /// A number of `status`, such as `VmRSS` or `VmHWM`, both in KiB.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let status = self.proc("status");
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Files below `directory` that it has open.
    pub(crate) fn open_below(&self, directory: &Path) -> usize {
        let links = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().flatten();
        let names = links.filter_map(|link| fs::read_link(link.path()).ok());
        names.filter(|name| name.starts_with(directory) && !name.is_dir()).count()
    }

    /// What the kernel tells it about, a line each.
    fn told(&self) -> Vec<String> {
        let infos = fs::read_dir(format!("/proc/{}/fdinfo", self.child.id())).unwrap().flatten();
        let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
        let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.starts_with("inotify ")).collect()
    }

    /// Directories that the kernel tells it about.
    pub(crate) fn watches(&self) -> usize {
        self.told().len()
    }

    /// Whether the kernel tells it about the directory that is there now.
    pub(crate) fn is_told_of(&self, directory: &Path) -> bool {
        let inode = format!(" ino:{:x} ", fs::metadata(directory).unwrap().ino());
        self.told().iter().any(|line| line.contains(&inode))
    }

    pub(crate) fn terminate(mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}
