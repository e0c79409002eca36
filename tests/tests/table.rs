//! The table while it is in use: fields that are new, times that cannot be true, and its upkeep beside
//! ingest and searches.

use logweir_tests::{
    AgentConfig, Broker, Delivery, Ingest, Output, Random, Streams, Topic, append, directory,
    run_to_end, wait_until,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn table(store: &Path, words: &[&str]) -> Output {
    let store = store.display().to_string();
    let output = run_to_end("logweir", &[&["table"], words, &["--store", &store]].concat());
    assert_eq!(output.code, Some(0), "{words:?}: {}", output.stderr);
    output
}

/// By day: files and rows.
fn days(store: &Path) -> Vec<(String, u64, u64)> {
    let said = table(store, &["describe", "--format", "json"]).stdout;
    let described: Value = serde_json::from_str(&said).unwrap();
    let day = |day: &Value| {
        let count = |name: &str| day[name].as_u64().unwrap();
        (day["date"].as_str().unwrap().to_owned(), count("files"), count("rows"))
    };
    described["days"].as_array().unwrap().iter().map(day).collect()
}

fn pack(directory: &Path, pattern: &str) {
    let text = format!(
        "pack: shop\ndescription: A shop\ndataset: shop\napplies: {{starts: ['user ']}}\nset: {{event.kind: event}}\nrules:\n\
         - id: shop.paid\n  pattern: '{pattern}'\n  set: {{event.action: payment}}\n  samples:\n\
         \x20 - line: 'user alice paid 7'\n    expect: {{event.action: payment}}\n"
    );
    std::fs::write(directory.join("shop.yaml"), text).unwrap();
}

/// A record that has a field twice, or a column of another type, is refused by the ingest.
#[test]
fn what_the_shipped_rules_make_of_their_samples_comes_into_the_table() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "samples", 2);
    let tested = run_to_end("logweir-agent", &["rules", "test", "--format", "json"]);
    let samples = tested.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<String> = samples
        .map(|sample| sample["sample"].as_str().unwrap().to_owned())
        .filter(|sample| !sample.is_empty() && !sample.contains('\n'))
        .collect();
    assert!(lines.len() > 3_000, "{}", lines.len());
    append(&directory.path().join("samples.log"), (lines.join("\n") + "\n").as_bytes());
    // As of a host with labels; some lines tell of another host themselves.
    let source = format!(
        "{{type: file, paths: ['{}/samples.log'], labels: {{env: prod}}}}",
        directory.path().display()
    );
    let config = AgentConfig::of_source(&topic, &source);
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    delivery.start();
    wait_until("the agent to deliver all", || {
        let counts = delivery.agent.counts_told();
        counts.read == lines.len() as u64 && counts.held == 0
    });
    let delivered = delivery.agent.counts_told().delivered as usize;
    let table = delivery.ingest.table();
    wait_until("what was delivered in the table or refused", || {
        delivery.ingest.assert_running();
        topic.records() == Some(delivered) && table.rows() + refused(&broker).len() == delivered
    });
    let letters = refused(&broker);
    assert!(letters.is_empty(), "{}", String::from_utf8_lossy(&letters[0]));
    let own = table.search("not host.name:*.example* and labels.env:prod", 1);
    assert!(!own.is_empty(), "an event of the agent's own host");
    let other = table.search("host.name:ws1.corp.example", 100);
    assert!(!other.is_empty(), "an event that tells of its host");
}

fn refused(broker: &Broker) -> Vec<Vec<u8>> {
    let letters = Topic::open(&broker.bootstrap(), "logweir.dead_letter", 1).read();
    letters.into_iter().map(|(_, letter)| letter).collect()
}

#[test]
fn a_field_that_a_rule_adds_while_the_ingest_runs_is_found_and_what_is_older_is_without_it() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "evolution", 2);
    let (rules, log) = (directory.path().join("rules"), directory.path().join("shop.log"));
    std::fs::create_dir(&rules).unwrap();
    pack(&rules, r"^user \S+ paid \d+$");
    let config = AgentConfig {
        without_rules: true,
        ..AgentConfig::of_files(&topic, directory.path(), "*.log")
    };
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    let directories = format!("  shipped: false\n  directories: ['{}']", rules.display());
    delivery.agent.edit("  shipped: false", &directories);
    delivery.start();
    let store = delivery.ingest.table();
    let lines = "user alice paid 7\n".repeat(100);
    append(&log, lines.as_bytes());
    wait_until("the older events in the table", || store.rows() == 100);

    // One with a column of its own, and one without.
    pack(&rules, r"^user (?<user.name>\S+) paid (?<labels.cents>\d+)$");
    assert!(delivery.agent.terminate().success());
    delivery.agent.start();
    append(&log, lines.as_bytes());
    wait_until("all events in the table", || store.rows() == 200);
    delivery.ingest.assert_running();
    let found = |query: &str| store.search(query, 1_000).len();
    let all = || {
        ["event.action:payment", "user.name:alice", "labels.cents:7", "not user.name:*"].map(found)
    };
    assert_eq!(all(), [200, 100, 100, 100]);
    table(&store.path, &["compact"]);
    // One day, or two if midnight came between.
    let files: Vec<u64> = days(&store.path).iter().map(|(_, files, _)| *files).collect();
    assert!(files.iter().all(|files| *files == 1), "old and new in one file: {files:?}");
    assert_eq!(all(), [200, 100, 100, 100]);
    logweir_tests::assert_nothing_missing(&store);
}

#[test]
fn times_that_cannot_be_true_are_kept_tagged_counted_and_make_no_days() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "times", 1);
    let template = Ingest::stopped(directory.path(), &broker.bootstrap(), "times");
    let mut ingest = template.member("only");
    ingest.start();
    let times = ["1970-01-01T00:00:00Z", "2106-02-07T06:28:15Z"];
    let event = |(at, time): (usize, &&str)| {
        let source = "0123456789abcdef".repeat(2);
        let text = format!(
            r#"{{"@timestamp":"{time}","event.original":"x","logweir.source":"{source}","log.offset":{at}}}"#
        );
        (0, text.into_bytes())
    };
    topic.write(&times.iter().enumerate().map(event).collect::<Vec<_>>());
    let store = ingest.table();
    wait_until("both in the table, and counted", || {
        ingest.status().is_some_and(|status| status["suspect"] == 2 && status["stored"] == 2)
    });
    let found = store.search("tags:timestamp_suspect", 10);
    let kept: BTreeSet<&str> = found.iter().map(|event| event.text("@timestamp")).collect();
    assert_eq!(kept.iter().map(|time| &time[..10]).collect::<Vec<_>>(), times.map(|t| &t[..10]));
    let arrived: BTreeSet<String> =
        found.iter().map(|event| event.text("event.ingested")[..10].to_owned()).collect();
    assert_eq!(
        days(&store.path).into_iter().map(|(day, ..)| day).collect::<BTreeSet<_>>(),
        arrived
    );
}

#[test]
fn upkeep_beside_an_ingest_at_work_and_searches_loses_and_repeats_nothing() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "upkeep", 4);
    let mut ingest = Ingest::started(directory.path(), &broker.bootstrap(), "upkeep");
    let store = ingest.table();
    let (mut random, mut streams) = (Random::seeded(), Streams::new(&topic, 12));
    let checkpoint = store.path.join("_delta_log/_last_checkpoint");
    // A checkpoint of the log, and a compaction.
    while !checkpoint.exists() || streams.sent() < 5_000 {
        assert!(streams.sent() < 50_000, "no checkpoint after so many commits");
        streams.write(500, &mut random);
        streams.flush();
        let sent = streams.sent();
        wait_until("them in the table", || store.rows() == sent);
        table(&store.path, &["compact"]);
        table(&store.path, &["vacuum"]);
        table(&store.path, &["expire", "--before", "2020-01-01"]);
        ingest.assert_running();
    }
    let rows: u64 = days(&store.path).iter().map(|(_, _, rows)| rows).sum();
    assert_eq!(rows, streams.sent() as u64);
    streams.assert_stored(&store);

    let expired = table(&store.path, &["expire", "--before", "9999-01-01"]).stdout;
    assert!(expired.contains("files of days before 9999-01-01 taken out"), "{expired}");
    assert!(store.search("", 1).is_empty());
    let before = streams.sent();
    streams.write(500, &mut random);
    streams.flush();
    wait_until("what came after", || store.rows() == streams.sent());
    assert_eq!(store.search("", 10_000).len(), streams.sent() - before, "none comes back");
    assert!(ingest.terminate().success());
    logweir_tests::assert_nothing_missing(&store);
}

#[test]
fn an_ingest_takes_days_beyond_the_retention_out_of_the_table_by_itself() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "retained", 1);
    let mut ingest = Ingest::started(directory.path(), &broker.bootstrap(), "retained");
    let now = jiff::Timestamp::now();
    let [old, yesterday] = [24 * 5, 24].map(|hours| now - jiff::SignedDuration::from_hours(hours));
    let event = |(at, time): (usize, &jiff::Timestamp)| {
        let source = "0123456789abcdef".repeat(2);
        let text = format!(
            r#"{{"@timestamp":"{time}","event.original":"x","logweir.source":"{source}","log.offset":{at}}}"#
        );
        (0, text.into_bytes())
    };
    topic.write(&[old, yesterday, now].iter().enumerate().map(event).collect::<Vec<_>>());
    let store = ingest.table();
    wait_until("all in the table", || store.rows() == 3);
    let kept = |days: &[(String, u64, u64)]| days.iter().map(|(.., rows)| rows).sum::<u64>();
    assert_eq!((days(&store.path).len(), kept(&days(&store.path))), (3, 3));
    assert!(ingest.terminate().success());
    ingest.with_kafka("flush.interval: 200ms", "flush.interval: 200ms\n  retention: 2d");
    ingest.start();
    wait_until("the older day to go", || kept(&days(&store.path)) == 2);
    assert!(days(&store.path)[0].0.as_str() > &old.to_string()[..10]);
    ingest.assert_running();
}
