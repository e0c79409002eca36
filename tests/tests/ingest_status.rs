//! Watching a running ingest: `logweir ingest status` and its metrics, as its user asks for them.

use logweir_tests::{
    AgentConfig, Broker, Delivery, Lines, Topic, directory, run_to_end, wait, wait_until,
};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

const LINES: usize = 3_000;

fn scrape(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The sum of a metric over its labels.
fn metric(scrape: &str, name: &str) -> f64 {
    let samples = scrape
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn assert_balanced(of: &Value) {
    let count = |name: &str| of[name].as_u64().unwrap();
    let dead: u64 =
        of["dead_letters"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    let known = count("stored") + count("duplicates") + dead + count("held") + count("given_back");
    assert_eq!(count("received"), known, "{of}");
}

#[test]
fn an_ingest_says_what_became_of_every_record_and_how_far_each_partition_is_behind() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "status", 3);
    let config = AgentConfig::of_files(&topic, directory.path(), "*.log");
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    let (status, metrics) =
        (directory.path().join("ingest.sock"), directory.path().join("metrics.sock"));
    delivery.ingest.configure(&format!(
        "status: {{socket: '{}'}}\nmetrics: {{listen: 'unix:{}'}}\n",
        status.display(),
        metrics.display()
    ));
    // No worker loses its partitions while this goes on, and none gets records before both have some: what
    // a worker had received and lets go of is received twice.
    delivery.ingest.with_kafka("session.timeout.ms: 6000", "session.timeout.ms: 120000");
    assert!(delivery.ingest.status().is_none(), "no ingest runs yet");
    delivery.start();
    wait_until("two workers to share the partitions", || {
        let shares = delivery.ingest.shares();
        let has_some = |worker| shares.iter().any(|(of, _)| *of == worker);
        shares.len() == 3 && has_some(0) && has_some(1)
    });
    let mut lines = Lines::new("a", &directory.path().join("a.log"));
    lines.write(LINES);
    topic.write(&[(0, b"no event".to_vec()), (1, b"{\"message\":\"no source\"}".to_vec())]);
    let settled = wait("all records to be settled", logweir_tests::DEADLINE, || {
        let status = delivery.ingest.status()?;
        assert_balanced(&status);
        status["partitions"].as_array().unwrap().iter().for_each(assert_balanced);
        let all = status["stored"].as_u64()? == LINES as u64 && status["lag"].as_u64() == Some(0);
        // How late it is, is looked at after how far.
        let in_time = |of: &Value| of["lag_ms"] == 0;
        (all && status["partitions"].as_array()?.iter().all(in_time)).then_some(status)
    });
    assert_eq!(settled["dead_letters"]["not_json"], 1, "{settled}");
    assert_eq!(settled["dead_letters"]["no_source"], 1, "{settled}");
    let partitions = settled["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 3);

    let scrape = scrape(&metrics);
    let of = |name: &str| metric(&scrape, &format!("logweir_ingest_{name}"));
    assert_eq!(of("events_stored_total"), LINES as f64, "{scrape}");
    assert_eq!(of("dead_letters_total"), 2.0, "{scrape}");
    assert_eq!(
        of("records_received_total"),
        of("events_stored_total")
            + of("duplicates_total")
            + of("dead_letters_total")
            + of("records_held")
            + of("records_given_back_total"),
        "{scrape}"
    );

    let config = directory.path().join("ingest.yaml");
    let arguments = ["ingest", "status", "--config", config.to_str().unwrap()];
    let shown = run_to_end("logweir", &arguments);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("dead letters 2 (no_source 1, not_json 1)"), "{}", shown.stdout);
    assert!(delivery.ingest.terminate().success());
    wait_until("the socket to go", || !status.exists());
    let gone = run_to_end("logweir", &arguments);
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("no ingest answers at"), "{}", gone.stderr);
}

#[test]
fn kafka_is_told_where_the_table_ends_though_it_was_away_when_that_changed_and_nothing_new_comes() {
    let directory = directory();
    let mut broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "told", 1);
    let mut delivery = Delivery::of_files_stopped(directory.path(), &topic, "*.log");
    let status = directory.path().join("ingest.sock");
    delivery.ingest.configure(&format!("status: {{socket: '{}'}}\n", status.display()));
    // All are held until it ends.
    delivery.ingest.with_kafka("flush.interval: 200ms", "flush.interval: 30m");
    delivery.start();
    let mut lines = Lines::new("a", &directory.path().join("a.log"));
    lines.write(100);
    wait_until("all events in the hands of the ingest", || {
        delivery.ingest.status().is_some_and(|status| status["held"] == 100)
    });
    broker.kill9();
    delivery.agent.kill9();
    assert!(delivery.ingest.terminate().success());
    assert_eq!(delivery.ingest.table().rows(), 100);
    broker.start();
    assert_eq!(topic.stored("told"), 0, "it could not be told");
    delivery.ingest.start();
    wait_until("the group's offset", || topic.stored("told") == 100);
    assert!(delivery.ingest.terminate().success());
}
