//! Scenarios of delivery to Kafka, on the embedded broker: outages, kills, slow and strange brokers.
//! Those that need a cluster are in `cluster.rs`, those in which a broker answers with an error of
//! choice are beside the agent, in `agent/tests/kafka.rs`.

use logweir_tests::{
    Agent, AgentConfig, Broker, DEADLINE, Delivery, Event, Lines, Proxy, Random, Topic, append,
    assert_exactly_once, assert_in_order_per_source, directory, line, runs, wait, wait_until,
};
use serde_json::{Value, json};
use std::path::Path;

fn files(topic: &Topic, directory: &Path) -> AgentConfig {
    AgentConfig { without_rules: true, ..AgentConfig::of_files(topic, directory, "*.log") }
}

fn holds_some(delivery: &Delivery) -> bool {
    delivery.agent.counts().is_some_and(|counts| counts.held > 0)
}

/// A stopped pipeline that reads `*.log`, a running broker, and a writer.
fn stage(directory: &Path) -> (Broker, Delivery, Lines) {
    let broker = Broker::started(directory);
    let topic = Topic::create(&broker.bootstrap(), "delivery", 4);
    let delivery = Delivery::stopped(directory, &topic, &files(&topic, directory));
    let writer = Lines::new("writer", &directory.join("app.log"));
    (broker, delivery, writer)
}

#[test]
fn broker_bounce() {
    let directory = directory();
    let (mut broker, mut delivery, mut writer) = stage(directory.path());
    delivery.start();
    writer.write(5_000);
    wait_until("the first lines", || delivery.topic.records() >= Some(5_000));
    broker.kill9();
    writer.write(20_000);
    wait_until("the agent to hold lines", || holds_some(&delivery));
    let _ = delivery.agent.terminate();
    writer.write(5_000);
    broker.start();
    delivery.agent.start();
    delivery.assert_complete(&[writer.tally()]);
}

#[test]
fn kill9_random() {
    let directory = directory();
    let (_broker, mut delivery, mut writer) = stage(directory.path());
    let mut random = Random::seeded();
    delivery.ingest.start();
    for _ in 0..runs(10) {
        delivery.agent.start();
        let before = wait("the topic's end", DEADLINE, || delivery.topic.records());
        writer.write(2_000);
        let point = before + random.below(2_000);
        wait_until("the point of the kill", || delivery.topic.records() >= Some(point));
        delivery.agent.kill9();
    }
    delivery.agent.start();
    delivery.assert_complete(&[writer.tally()]);
}

#[test]
fn queue_full() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "delivery", 1);
    let kafka = vec!["queue.buffering.max.messages: 1000".to_owned(), "linger.ms: 5".to_owned()];
    let config = AgentConfig { kafka, ..files(&topic, directory.path()) };
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    delivery.start();
    writer.write(1_000);
    wait_until("the first lines", || topic.records() >= Some(1_000));
    broker.pause();
    writer.write(100_000);
    wait_until("the agent to stop reading", || {
        let status = delivery.agent.status_told();
        status["kafka_in_flight"].as_u64() >= Some(1_000)
    });
    let resident = delivery.agent.resident_bytes();
    writer.write(100_000);
    let counts = delivery.agent.counts_told();
    assert!(counts.held < 20_000, "what is held is bounded: {counts:?}");
    assert!(delivery.agent.resident_bytes() < resident + (16 << 20), "memory is bounded");
    broker.resume();
    delivery.assert_complete(&[writer.tally()]);
}

#[test]
fn slow_broker() {
    let directory = directory();
    let (broker, mut delivery, mut writer) = stage(directory.path());
    let proxy = Proxy::start(&broker.bootstrap(), 2);
    let through =
        AgentConfig { bootstrap: proxy.bootstrap(), ..files(&delivery.topic, directory.path()) };
    delivery.agent = Agent::stopped(directory.path(), &through);
    proxy.limit(500_000);
    delivery.start();
    writer.write(40_000);
    let mut most = 0;
    wait_until("half of the lines", || {
        most = most.max(delivery.agent.resident_bytes());
        delivery.topic.records() >= Some(20_000)
    });
    assert!(most < 160 << 20, "{most} bytes resident");
    proxy.limit(u64::MAX);
    delivery.assert_complete(&[writer.tally()]);
}

#[test]
fn idempotent_reorder() {
    // Connections are cut in the middle of what they say, with five requests under way. Each record
    // is in the topic once, and in order, without anybody leaving out repeats.
    let directory = directory();
    let (broker, mut delivery, mut writer) = stage(directory.path());
    let proxy = Proxy::start(&broker.bootstrap(), 3);
    let small = ["linger.ms: 1", "batch.num.messages: 50", "reconnect.backoff.max.ms: 100"];
    let through = AgentConfig {
        bootstrap: proxy.bootstrap(),
        kafka: small.map(str::to_owned).to_vec(),
        ..files(&delivery.topic, directory.path())
    };
    delivery.agent = Agent::stopped(directory.path(), &through);
    proxy.limit(20_000_000);
    delivery.start();
    let mut cuts = 0;
    let total = 40_000;
    let mut records = 0;
    wait_until("all lines", || {
        let now = delivery.topic.records().unwrap_or(records);
        // Never far ahead, so that there is a cut on the way however seldom this looks.
        if writer.written() < total.min(now + 4_000) {
            writer.write(500);
        }
        if now > records + 2_000 {
            records = now;
            cuts += 1;
            proxy.cut();
        }
        now >= total
    });
    assert!(cuts > 5, "{cuts} cuts");
    let events = delivery.topic.events();
    assert_exactly_once(&events, &[writer.tally()]);
    assert_in_order_per_source(&events);
    delivery.assert_complete(&[writer.tally()]);
}

/// What is too large for Kafka because a rule repeats its line goes without the repeated values; what is
/// too large as it is becomes a dead letter. What the rule masks is masked in both.
#[test]
fn too_large() {
    const PACK: &str = r"
pack: shop
applies: {contains: ['shop ']}
rules:
  - id: shop.paid
    pattern: '^shop (?<user.name>\S*) key (?<labels.key>\S*) (?<labels.rest>.*)$'
    set: {labels.again: '{labels.rest}', event.action: payment}
    action: {mask: [labels.key], with: redact}
";
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "delivery", 1);
    let kafka = vec!["message.max.bytes: 20000".to_owned()];
    let config = AgentConfig { kafka, ..files(&topic, directory.path()) };
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    let rules = directory.path().join("rules");
    std::fs::create_dir(&rules).unwrap();
    std::fs::write(rules.join("shop.yaml"), PACK).unwrap();
    let directories = format!("shipped: false\n  directories: ['{}']", rules.display());
    delivery.agent.edit("shipped: false", &directories);
    let path = directory.path().join("app.log");
    let lines: Vec<String> = (0..999).map(|number| line("writer", number)).collect();
    let (before, after) = (lines[..500].concat(), lines[500..].concat());
    let repeated = format!("shop bob key Hunter2 {}\n", "\u{1}".repeat(1_500));
    let offset = before.len() + repeated.len();
    append(&path, before.as_bytes());
    append(&path, repeated.as_bytes());
    append(&path, format!("shop eve key Hunter2 {}\n", "x".repeat(30_000)).as_bytes());
    append(&path, after.as_bytes());
    delivery.start();
    wait_until("the neighbours in the table", || delivery.ingest.table().rows() >= 1_000);
    wait_until("the agent to hold nothing", || {
        let counts = delivery.agent.counts_told();
        (counts.read, counts.held) == (1_001, 0)
    });
    let status = delivery.agent.status_told();
    assert_eq!(status["dropped"]["too_large"], 1, "{status}");
    let events = topic.events();
    let (bob, written): (Vec<Event>, Vec<Event>) =
        events.into_iter().partition(|event| event.json["user.name"] == "bob");
    assert_exactly_once(&written, &[("writer", 999)]);
    assert_eq!(bob.len(), 1);
    let bob = &bob[0].json;
    let left_out = json!(["labels.again"]);
    assert_eq!((&bob["logweir.left_out"], &bob["event.action"]), (&left_out, &json!("payment")));
    assert!(bob["event.original"].as_str().unwrap().starts_with("shop bob key *"), "{bob}");
    let letters = Topic::open(&broker.bootstrap(), "logweir.dead_letter", 1).read();
    assert_eq!(letters.len(), 1);
    let letter: Value = serde_json::from_slice(&letters[0].1).unwrap();
    assert!(letter["logweir.reason"].as_str().unwrap().contains("too_large"), "{letter}");
    assert!(letter["event.original"].as_str().unwrap().starts_with("shop eve key *"), "{letter}");
    assert_eq!(letter["log.offset"], offset);
    assert_eq!(letter["logweir.source"], status["sources"][0]["id"]);
    let found = delivery.ingest.table().search("user.name:bob", 10);
    assert_eq!(found[0].json["logweir.left_out"], left_out, "{found:?}");
}

#[test]
fn topic_missing() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::open(&broker.bootstrap(), "delivery", 4);
    let mut delivery =
        Delivery::stopped(directory.path(), &topic, &files(&topic, directory.path()));
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    writer.write(2_000);
    delivery.agent.start();
    wait_until("the agent to say so", || {
        delivery.agent.said().contains("create it with `logweir topics create --topic delivery`")
    });
    wait_until("the state", || delivery.agent.status_told()["kafka"] == "topic_missing");
    let _ = Topic::create(&broker.bootstrap(), "delivery", 4);
    delivery.ingest.start();
    delivery.assert_complete(&[writer.tally()]);
}

#[test]
fn dead_letter_topic_missing() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "delivery", 1);
    Topic::open(&broker.bootstrap(), "logweir.dead_letter", 1).delete();
    let agent = Agent::started(directory.path(), &files(&topic, directory.path()));
    wait_until("the agent to say so", || {
        agent.said().contains("create it with `logweir topics create`")
    });
}

#[test]
fn files_in_any_encoding_are_found_by_the_words_in_them() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "encodings", 1);
    let path = |name: &str| directory.path().join(name);
    let utf16 = |text: &str, big: bool| -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        format!("\u{feff}{text}").encode_utf16().flat_map(bytes).collect()
    };
    std::fs::write(path("little.log"), utf16("Grüße aus Köln\r\n", false)).unwrap();
    std::fs::write(path("big.log"), utf16("Ελληνικά 😀\n", true)).unwrap();
    std::fs::write(path("latin.txt"), b"na\xefve caf\xe9\n").unwrap();
    std::fs::write(path("plain.log"), ["\u{feff}zażółć\nbad ".as_bytes(), b"\xff byte\n"].concat())
        .unwrap();
    let latin =
        format!("{{type: file, paths: ['{}'], encoding: latin1}}", path("latin.txt").display());
    let config = AgentConfig {
        without_rules: true,
        sources: vec![latin],
        ..AgentConfig::of_files(&topic, directory.path(), "*.log")
    };
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    delivery.start();
    let table = delivery.ingest.table();
    wait_until("all lines in the table", || table.rows() == 5);
    for (word, line) in [
        ("Köln", "Grüße aus Köln"),
        ("Ελληνικά", "Ελληνικά 😀"),
        ("café", "naïve café"),
        ("zażółć", "zażółć"),
        ("bad", "bad \u{fffd} byte"),
    ] {
        let found = table.search(word, 10);
        let lines: Vec<_> = found.iter().map(|event| event.text("event.original")).collect();
        assert_eq!(lines, [line], "{word}");
    }
    let bad = &table.search("bad", 1)[0];
    assert_eq!(bad.text("logweir.original_base64"), "YmFkIP8gYnl0ZQ==");
    delivery.agent.counts_told().assert_balanced();
}
