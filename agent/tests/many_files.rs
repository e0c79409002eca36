//! Very many files, few of which are written to: all is delivered, few are open, and what it costs is
//! printed. `LOGWEIR_FILES=10000` in a release build measures it; see tests/README.md.

mod stage;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use stage::*;
use std::fs;
use std::time::{Duration, Instant};

/// Lines are written to one file in so many.
const ACTIVE_SHARE: usize = 100;

/// What comes out at the other end.
struct Events(BaseConsumer);

impl Events {
    fn of(stage: &Stage) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", stage.kafka.bootstrap_servers())
            .set("group.id", "test")
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        Self(consumer)
    }

    /// Waits for so many more; returns them.
    fn next(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut events = Vec::new();
        while events.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} events came", events.len());
            if let Some(message) = self.0.poll(Duration::from_millis(100)) {
                let message = message.unwrap();
                events.push(serde_json::from_slice(message.payload().unwrap()).unwrap());
            }
        }
        events
    }
}

#[test]
fn many_files_cost_little_while_they_are_quiet() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let count = number("LOGWEIR_FILES").unwrap_or(600);
    let idle = Duration::from_secs(number("LOGWEIR_IDLE_SECONDS").unwrap_or(0) as u64);
    let open_max = number("LOGWEIR_OPEN_FILES").unwrap_or(64);
    let mut stage = Stage::new();
    stage.glob = "logs/*/*.log";
    stage.agent_extra = format!(", open_files_max: {open_max}, checkpoint_interval: 1s");
    stage.kafka_extra = ", linger.ms: 50".into();
    let name = |n: usize| format!("logs/{:03}/{n:05}.log", n / 100);
    for n in 0..count {
        fs::create_dir_all(stage.path(&name(n)).parent().unwrap()).unwrap();
        stage.append(&name(n), &format!("file {n} before the agent\n"));
    }
    let events = Events::of(&stage);
    for what in ["first start", "start from the checkpoint"] {
        let started = Instant::now();
        let agent = Running::start(&stage);
        if what == "first start" {
            events.next(count);
        } else {
            stage.append(&name(count - 1), "after the start\n");
            events.next(1);
        }
        println!("{what}: {count} files, all read after {:?}", started.elapsed());

        let deadline = Instant::now() + PATIENCE;
        while stage.status()["sources"].as_array().map(Vec::len) != Some(count) {
            assert!(Instant::now() < deadline, "not all files are found");
        }
        // The checkpoint of what was just delivered, and files that are closed again.
        std::thread::park_timeout(idle / 4);
        let before = (agent.cpu(), Instant::now());
        std::thread::park_timeout(idle);
        let spent = agent.cpu() - before.0;
        let (share, rss) =
            (spent.as_secs_f64() / before.1.elapsed().as_secs_f64(), agent.number("VmRSS") / 1024);
        println!(
            "idle: {:.2} % of a core, {rss} MiB, {} open",
            share * 100.0,
            agent.open_below(&stage.path("logs"))
        );

        let before = (agent.cpu(), Instant::now());
        let mut waited = Vec::new();
        for n in (0..count).step_by(ACTIVE_SHARE) {
            let written = Instant::now();
            stage.append(&name(n), &format!("file {n} again\n"));
            let event = &events.next(1)[0];
            waited.push(written.elapsed());
            assert_eq!(event["event.original"], format!("file {n} again"));
            assert!(agent.open_below(&stage.path("logs")) <= open_max);
        }
        waited.sort();
        let spent = (agent.cpu() - before.0).as_secs_f64() / before.1.elapsed().as_secs_f64();
        println!(
            "a line in a quiet file is in Kafka after {:?} (median), {:?} (most); {:.1} % of a core",
            waited[waited.len() / 2],
            waited[waited.len() - 1],
            spent * 100.0
        );
        assert!(agent.terminate().success());
    }
}

#[test]
fn inotify_overflow() {
    // Each new file is told three times at least, and the kernel keeps `max_queued_events` of that.
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let count = (limit.trim().parse::<usize>().unwrap() / 3 + 500).min(30_000);
    let stage = Stage::new();
    stage.append("first.log", "before\n");
    let events = Events::of(&stage);
    let agent = Running::start(&stage);
    events.next(1);
    kill_process(agent.pid(), Signal::STOP).unwrap();
    for n in 0..count {
        stage.append(&format!("{n}.log"), &format!("line {n}\n"));
    }
    kill_process(agent.pid(), Signal::CONT).unwrap();
    let mut lines: Vec<_> =
        events.next(count).iter().map(|e| e["event.original"].clone()).collect();
    lines.sort_by_key(ToString::to_string);
    lines.dedup();
    assert_eq!(lines.len(), count);
    // What is told of the last files may come before what tells that there were more.
    let deadline = Instant::now() + PATIENCE;
    while stage.status()["watch_overflows"].as_u64() < Some(1) {
        assert!(Instant::now() < deadline, "{}", stage.status());
    }
    assert!(agent.terminate().success());
}
