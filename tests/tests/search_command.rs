//! What an analyst does at the command line beside asking once: to wait for what comes, to look around
//! an event, to count, and to ask which sources have fallen silent.

use logweir_tests::{
    Broker, Delivery, Process, Table, Topic, append, directory, run_to_end, wait_until,
};
use serde_json::Value;
use std::path::Path;

fn asked(table: &Table, words: &[&str]) -> (Option<i32>, Vec<Value>) {
    let store = table.path.display().to_string();
    let output = run_to_end("logweir", &[words, &["--store", &store, "--format", "json"]].concat());
    assert!(matches!(output.code, Some(0 | 1)), "{words:?}: {}", output.stderr);
    (output.code, objects(&output.stdout))
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn write(log: &Path, word: &str, count: usize) {
    let lines: String = (0..count).map(|number| format!("{word} {number}\n")).collect();
    append(log, lines.as_bytes());
}

#[test]
fn a_search_follows_what_comes_looks_around_an_event_and_counts_and_silence_is_told() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "analyst", 2);
    let delivery = Delivery::of_files(directory.path(), &topic, "*.log");
    let table = delivery.ingest.table();
    let (one, other) = (directory.path().join("one.log"), directory.path().join("other.log"));
    write(&one, "alpha", 20);
    write(&other, "beta", 30);
    wait_until("all events so far", || table.rows() == 50);

    let event = &table.search("\"alpha 10\"", 2)[0];
    let place = format!("{}:{}", event.source, event.offset);
    let (_, around) = asked(&table, &["search", "--around", &place, "--context", "2"]);
    let messages: Vec<_> = around.iter().map(|event| &event["event.original"]).collect();
    assert_eq!(messages, ["alpha 8", "alpha 9", "alpha 10", "alpha 11", "alpha 12"]);

    // In one day, or in two if midnight came between.
    let (_, days) =
        asked(&table, &["search", "--stats", "count() by log.file.path", "--every", "1d"]);
    let count = |log: &Path| {
        let path = log.display().to_string();
        let of = days.iter().filter(|day| day["log.file.path"] == path);
        of.map(|day| day["count()"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((count(&one), count(&other)), (20, 30));

    let said = directory.path().join("followed");
    let store = table.path.display().to_string();
    let mut follow = Process::start(
        "logweir",
        &["search", "gamma", "--follow", "--limit", "3", "--format", "json", "--store", &store],
        &said,
    );
    let mut written = 0;
    // What came before it began is none of its business, so it gets more until it has enough.
    wait_until("what came to be shown", || {
        append(&one, format!("gamma {written}\ndelta {written}\n").as_bytes());
        written += 1;
        follow.has_ended()
    });
    let followed = follow.said();
    let number = |event: &Value| -> u64 {
        let text = event["event.original"].as_str().unwrap();
        text.strip_prefix("gamma ").unwrap().parse().unwrap()
    };
    let shown: Vec<u64> = objects(&followed).iter().map(number).collect();
    assert_eq!(shown, [shown[0], shown[0] + 1, shown[0] + 2], "{followed}");

    wait_until("both to be told silent", || {
        let (code, silent) = asked(&table, &["audit", "--silent", "1s"]);
        code == Some(1) && silent.len() == 2
    });
}
