//! Against the real Kafka of three nodes: kills of every part, in the middle of the stream.

use logweir_tests::{
    AgentConfig, Clock, Cluster, DEADLINE, Delivery, Lines, Node, Proxy, Random, Topic, directory,
    free_address, line, run_to_end, wait, wait_for_count, wait_until,
};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;

/// How far the writers run ahead of what is in the topic: so much is always under way, whatever is
/// killed.
const AHEAD: usize = 10_000;
/// In seconds.
const DAY: i64 = 86_400;
/// Lines written between two looks.
const STEP: usize = 250;

fn four_writers(directory: &Path) -> Vec<Lines> {
    let logs = directory.join("logs");
    std::fs::create_dir(&logs).unwrap();
    (0..4).map(|n| format!("writer{n}")).map(|name| Lines::new(&name, &logs.join(&name))).collect()
}

fn tallies(writers: &[Lines]) -> Vec<(&str, usize)> {
    writers.iter().map(Lines::tally).collect()
}

/// Writes `total` lines, never further ahead of the topic than [`AHEAD`], and calls `at` whenever
/// the number of records in the topic has changed.
fn write_along(writers: &mut [Lines], total: usize, topic: &Topic, mut at: impl FnMut(usize)) {
    let written = |writers: &[Lines]| writers.iter().map(Lines::written).sum::<usize>();
    let mut delivered = 0;
    wait_for_count("lines written and delivered", total, || {
        let now = topic.records().unwrap_or(delivered);
        if now != delivered {
            delivered = now;
            at(delivered);
        }
        for turn in 0.. {
            let so_far = written(writers);
            if so_far >= total || so_far >= delivered + AHEAD {
                break;
            }
            let writer = turn % writers.len();
            writers[writer].write(STEP.min(total - so_far));
        }
        // After a kill some were delivered twice.
        delivered.min(written(writers))
    });
}

#[test]
fn three_kills_of_the_agent_and_two_of_the_ingest_lose_and_repeat_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let mut random = Random::seeded();
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "kills", 4);
    let mut writers = four_writers(directory.path());
    let mut delivery = Delivery::of_files(directory.path(), &topic, "logs/*");
    let total = 100_000;
    // The latest first: each kill takes the last.
    let mut agent_kills = random.points(3, total);
    let mut ingest_kills = random.points(2, total);
    println!("kills at {agent_kills:?} (agent) and {ingest_kills:?} (ingest) records");
    write_along(&mut writers, total, &topic, |delivered| {
        if agent_kills.pop_if(|point| *point <= delivered).is_some() {
            delivery.agent.kill9();
            delivery.agent.start();
        }
        if ingest_kills.pop_if(|point| *point <= delivered).is_some() {
            delivery.ingest.kill9();
            delivery.ingest.start();
        }
    });
    assert!(agent_kills.is_empty() && ingest_kills.is_empty(), "not all kills happened");
    delivery.assert_complete(&tallies(&writers));
}

#[test]
fn leader_failover() {
    let Some(cluster) = Cluster::start() else { return };
    let mut random = Random::seeded();
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "node-lost", 6);
    let mut writers = four_writers(directory.path());
    let delivery = Delivery::of_files(directory.path(), &topic, "logs/*");
    let total = 60_000;
    let node = Node::ALL[random.below(3)];
    let mut kills = random.points(1, total);
    println!("kills {node:?} at {kills:?} records");
    write_along(&mut writers, total, &topic, |delivered| {
        if kills.pop_if(|point| *point <= delivered).is_some() {
            cluster.kill9(node);
        }
    });
    assert!(kills.is_empty(), "the kill happened");
    delivery.assert_complete(&tallies(&writers));
}

#[test]
fn clock_jump() {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let clock = Clock::at(directory.path());
    let topic = Topic::create(cluster.bootstrap(), "clock", 4);
    let mut writers = four_writers(directory.path());
    let address = free_address();
    let config = AgentConfig {
        syslog: Some(address),
        agent: vec!["checkpoint_interval: 100ms"],
        ..AgentConfig::of_files(&topic, directory.path(), "logs/*")
    };
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    delivery.agent.start_within(&clock.wrapper());
    delivery.ingest.start_within(&clock.wrapper());
    wait_until("the agent to answer", || delivery.agent.status().is_some());
    let mut stream = TcpStream::connect(address).unwrap();
    let mut sent = 0;
    let mut write_more = |writers: &mut [Lines]| {
        writers.iter_mut().for_each(|writer| writer.write(500));
        let lines: String = (sent..sent + 500).map(|number| line("sender", number)).collect();
        stream.write_all(lines.as_bytes()).unwrap();
        sent += 500;
        5 * sent
    };
    for jump in [0, 365, -1, 3600, -2] {
        clock.set(jump * DAY);
        let count = write_more(&mut writers);
        wait_until(&format!("the lines after a jump to {jump} days"), || {
            topic.records() == Some(count)
        });
        delivery.agent.assert_running();
    }
    let years: BTreeSet<String> =
        topic.events().iter().map(|event| event.text("event.created")[..4].to_owned()).collect();
    // One more where a day before today is in the year before.
    assert!(years.len() >= 3, "the clock did jump: {years:?}");
    // Stopped while nothing comes and the clock has just been set back, and started with another one:
    // both go on where they were.
    clock.set(-3 * DAY);
    assert!(delivery.agent.terminate().success());
    assert!(delivery.ingest.terminate().success());
    clock.set(30 * DAY);
    delivery.agent.start_within(&clock.wrapper());
    delivery.ingest.start_within(&clock.wrapper());
    wait_until("the agent to answer", || delivery.agent.status().is_some());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(line("sender", sent).as_bytes()).unwrap();
    let mut written = tallies(&writers);
    written.push(("sender", sent + 1));
    delivery.assert_complete(&written);
}

#[test]
fn a_clock_that_a_topic_refuses_is_told_with_a_remedy_that_helps() {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let clock = Clock::at(directory.path());
    clock.set(365 * DAY);
    let topic = Topic::create(cluster.bootstrap(), "ahead", 1);
    let alter = |setting: &str| {
        let servers = cluster.bootstrap();
        let arguments =
            ["topics", "alter", "ahead", "--bootstrap-server", servers, "--config", setting];
        let output = run_to_end("logweir", &arguments);
        assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    };
    alter("message.timestamp.type=CreateTime");
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    writer.write(2_000);
    let config = AgentConfig::of_files(&topic, directory.path(), "app.log");
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    delivery.agent.start_within(&clock.wrapper());
    delivery.ingest.start();
    let status = wait("the agent to say so", DEADLINE, || {
        delivery.agent.status().filter(|status| status["kafka"] == "clock_refused")
    });
    let remedy = "message.timestamp.type=LogAppendTime";
    assert!(status["kafka_reason"].as_str().unwrap().contains(remedy), "{status}");
    assert!(status["held"].as_u64() > Some(0) && status["dropped"] == json!({}), "{status}");
    alter(remedy);
    delivery.assert_complete(&[writer.tally()]);
}

/// 24 writers, and an agent that reaches three brokers through a proxy each, of which it is told two.
struct Walled {
    topic: Topic,
    writers: Vec<Lines>,
    proxies: Vec<Proxy>,
    delivery: Delivery,
}

impl Walled {
    /// The proxies are at an address of their own, 127.0.0.`host`, and so is the topic named: tests
    /// share the cluster.
    fn stopped(cluster: &Cluster, directory: &Path, host: u8, agent: Vec<&'static str>) -> Self {
        let topic = Topic::create(cluster.bootstrap(), &format!("behind-wall-{host}"), 6);
        let logs = directory.join("logs");
        std::fs::create_dir(&logs).unwrap();
        let names = (0..24).map(|number| format!("writer{number}"));
        let writers = names.map(|name| Lines::new(&name, &logs.join(&name))).collect();
        let servers = cluster.bootstrap().split(',');
        let proxies: Vec<Proxy> = servers.map(|server| Proxy::start(server, host)).collect();
        let bootstrap = format!("{},{}", proxies[0].bootstrap(), proxies[1].bootstrap());
        let config = AgentConfig {
            agent,
            without_rules: true,
            ..AgentConfig::of_files(&topic, directory, "logs/*")
        };
        let delivery = Delivery::stopped(directory, &topic, &config.through(bootstrap, vec![]));
        Self { topic, writers, proxies, delivery }
    }

    fn write(&mut self, lines: usize) {
        self.writers.iter_mut().for_each(|writer| writer.write(lines));
    }

    /// Waits until sources either have all that was written in Kafka, or no more than they had
    /// `before` the wall; some of both.
    fn wait_for_the_others(&self, all: u64, before: u64) {
        let mut most = 0;
        let mut are_through = false;
        while !are_through {
            (most, are_through) = wait("what goes to the other brokers", DEADLINE, || {
                let status = self.delivery.agent.status_told();
                let sources = status["sources"].as_array().unwrap().iter();
                let delivered: Vec<u64> =
                    sources.map(|source| source["delivered"].as_u64().unwrap()).collect();
                let flowing = delivered.iter().filter(|count| **count == all).count();
                let waiting = delivered.iter().filter(|count| **count <= before).count();
                let sum: u64 = delivered.iter().sum();
                let are_through = flowing >= 8 && waiting > 0 && flowing + waiting == 24;
                (are_through || sum > most).then_some((sum, are_through))
            });
        }
    }

    fn stuck(&self) -> u64 {
        self.delivery.agent.status_told()["kafka_partitions_stuck"].as_u64().unwrap()
    }
}

#[test]
fn broker_firewalled_nonseed() {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let mut walled = Walled::stopped(&cluster, directory.path(), 5, vec![]);
    walled.delivery.start();
    walled.write(100);
    wait_until("the first lines", || walled.topic.records() == Some(2_400));
    // The third is not among those that the agent was given.
    walled.proxies[2].hold();
    // More than the producer holds at once.
    walled.write(4_000);
    walled.wait_for_the_others(4_100, 100);
    wait_until("the agent to say so", || {
        walled.delivery.agent.said().contains("kafka takes nothing for some partitions")
    });
    assert!(walled.stuck() > 0);
    walled.proxies[2].release();
    wait_until("the end of it to be told", || walled.stuck() == 0);
    walled.delivery.assert_complete(&tallies(&walled.writers));
}

#[test]
fn broker_firewalled_at_start() {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let mut walled = Walled::stopped(&cluster, directory.path(), 6, vec!["workers: 1"]);
    // Not one event of the third has been acknowledged when the others are to flow, on any worker.
    walled.proxies[2].hold();
    walled.write(1_000);
    walled.delivery.start();
    walled.wait_for_the_others(1_000, 0);
    wait_until("the agent to say so", || walled.stuck() > 0);
    walled.delivery.agent.counts_told().assert_balanced();
    walled.proxies[2].release();
    walled.delivery.assert_complete(&tallies(&walled.writers));
}

#[test]
fn broker_down_at_start() {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "late", 4);
    cluster.kill9_all();
    let mut writers = four_writers(directory.path());
    let mut delivery = Delivery::of_files_stopped(directory.path(), &topic, "logs/*");
    // A host that starts may learn only then what the time is.
    let clock = Clock::at(directory.path());
    delivery.agent.start_within(&clock.wrapper());
    for writer in &mut writers {
        writer.write(12_500);
    }
    wait_until("the agent to hold what it has read", || {
        delivery.agent.assert_running();
        let counts = delivery.agent.counts();
        counts.inspect(|counts| counts.assert_balanced());
        counts.is_some_and(|counts| counts.held > 0 && counts.delivered == 0)
    });
    clock.set(-DAY);
    cluster.restart_all();
    delivery.ingest.start();
    delivery.assert_complete(&tallies(&writers));
}

#[test]
fn an_ingest_that_slept_longer_than_the_retention_goes_on_and_names_what_it_missed() {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "retention", 1);
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    let mut delivery = Delivery::of_files(directory.path(), &topic, "app.log");
    writer.write(1_000);
    let table = delivery.ingest.table();
    wait_until("the first lines in the table", || table.rows() == 1_000);
    assert!(delivery.ingest.terminate().success());
    writer.write(1_000);
    wait_until("the other lines in the topic", || topic.records() == Some(2_000));
    delivery.agent.assert_delivered(2_000);
    let delivered = topic.events();
    topic.delete_before(0, 1_500);
    delivery.ingest.start();
    wait_until("what is left in the table", || {
        delivery.ingest.assert_running();
        table.rows() == 1_500
    });
    assert_eq!(table.audit().code, Some(1), "{}", table.audit().stdout);
    assert!(delivery.ingest.said().contains("Kafka has removed 500 records"));
    let sources = table.audit_json();
    assert_eq!(sources[0]["gaps"].as_array().map(Vec::len), Some(1), "{sources:?}");
    let gap = &sources[0]["gaps"][0];
    assert_eq!(gap["after"], delivered[999].offset);
    assert_eq!(gap["last"], delivered[1_499].offset);
    assert_eq!(gap["until"], delivered[1_500].offset);
}
