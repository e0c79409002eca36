//! Events in other places than the table: files and standard output, through kills of the ingest.

use logweir_record::TOPIC_DEAD_LETTER;
use logweir_tests::{
    Broker, Delivery, Event, Ingest, Lines, SearchServer, Topic, append, assert_exactly_once,
    assert_in_order_per_source, directory, free_address, wait_for_count, wait_until,
};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// All events in the files of a directory, those of a partition in their order.
fn in_files(directory: &Path) -> Vec<Event> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "ndjson"));
    files.sort();
    let mut text = String::new();
    for path in files {
        text.push_str(&std::fs::read_to_string(path).unwrap());
        // The last line of each may be half written.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    }
    text.lines().map(|line| Event::parse(line.as_bytes())).collect()
}

#[test]
fn files_hold_every_event_once_though_the_ingest_is_killed_and_a_dead_server_stops_nobody() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "sinks", 3);
    let logs = directory.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let mut writers: Vec<Lines> = (0..6)
        .map(|n| Lines::new(&format!("writer{n}"), &logs.join(format!("writer{n}"))))
        .collect();
    let mut delivery = Delivery::of_files_stopped(directory.path(), &topic, "logs/*");
    let files = directory.path().join("files");
    // Nobody is there yet.
    let dead = free_address();
    delivery.ingest.configure(&format!(
        "sinks:\n- {{type: ndjson, path: '{}', rotate.bytes: 200KiB, batch.interval: 100ms, \
         workers: 2}}\n- {{type: opensearch, url: 'http://{dead}', batch.interval: 100ms}}\n",
        files.display()
    ));
    delivery.start();
    for round in 1..=3 {
        writers.iter_mut().for_each(|writer| writer.write(400));
        wait_until("some events in the files", || in_files(&files).len() >= round * 6 * 300);
        delivery.ingest.kill9();
        delivery.ingest.start();
    }
    let expected: usize = writers.iter().map(Lines::written).sum();
    wait_until("all events in the files", || {
        delivery.ingest.assert_running();
        in_files(&files).len() >= expected
    });
    let tallies: Vec<(&str, usize)> = writers.iter().map(Lines::tally).collect();
    let events = in_files(&files);
    assert_exactly_once(&events, &tallies);
    assert_in_order_per_source(&events);
    let table = delivery.ingest.table();
    wait_for_count("events in the table", expected, || table.rows());
    // All others have all that there is; only now the dead one comes to life, and gets it, too.
    let server = SearchServer::start_at(dead, 0, "no line has this");
    wait_for_count("documents in the server", expected, || server.documents().len());
    delivery.assert_complete(&tallies);
    assert_exactly_once(&as_events(&server), &tallies);
    assert_eq!(in_files(&files).len(), expected, "no file gets anything twice");
}

/// What the search server has.
fn as_events(server: &SearchServer) -> Vec<Event> {
    let documents = server.documents();
    documents.iter().map(|document| Event::parse(document.to_string().as_bytes())).collect()
}

#[test]
fn a_busy_server_gets_each_event_once_what_it_refuses_is_a_dead_letter_and_a_mute_one_stops_nobody()
{
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "busy", 2);
    let dead = Topic::open(&broker.bootstrap(), TOPIC_DEAD_LETTER, 1);
    let log = directory.path().join("app.log");
    let mut writer = Lines::new("writer", &log);
    writer.write(300);
    append(&log, b"this one makes a conflict of mappings\n");
    let search = SearchServer::start(2, "conflict of mappings");
    // It takes connections, and says nothing on them.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut delivery = Delivery::of_files_stopped(directory.path(), &topic, "app.log");
    // Whoever gets a partition that another has lost sends what is not committed once more.
    delivery.ingest.with_kafka("session.timeout.ms: 6000", "session.timeout.ms: 120000");
    let files = directory.path().join("files");
    delivery.ingest.configure(&format!(
        "sinks:\n- {{type: opensearch, url: 'http://{}', batch.interval: 100ms}}\n\
         - {{type: clickhouse, url: 'http://{}', batch.interval: 100ms}}\n\
         - {{type: ndjson, path: '{}', batch.interval: 100ms}}\n",
        search.address,
        mute.local_addr().unwrap(),
        files.display()
    ));
    delivery.start();
    wait_until("what is not refused in the search server", || search.documents().len() >= 300);
    wait_until("all events in the files", || in_files(&files).len() >= 301);
    wait_until("the dead letter", || dead.records() == Some(1));
    assert_exactly_once(&as_events(&search), &[writer.tally()]);
    assert_eq!(search.sent_most(), 2, "only what there was no room for is sent again");
    let (_, letter) = &dead.read()[0];
    let letter = String::from_utf8_lossy(letter);
    assert!(letter.contains("opensearch: refused by `logs-logweir-default`"), "{letter}");
    assert!(letter.contains("mapper_parsing_exception"), "{letter}");
    assert!(letter.contains("this one makes a conflict of mappings"), "{letter}");
    assert!(delivery.ingest.terminate().success(), "whatever the mute one is waited for");
}

#[test]
fn a_sink_of_a_topic_that_was_made_anew_says_so_and_under_another_name_begins_anew() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let event = |n: usize| {
        let event = format!(
            r#"{{"logweir.source":"{:032x}","log.offset":{n},"event.original":"line {n}"}}"#,
            7
        );
        (0, event.into_bytes())
    };
    // The new topic ends before the position of the sink, or behind it.
    for (name, ends) in [("shorter", 50), ("longer", 150)] {
        let directory = directory.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        let files = directory.join("files");
        let topic = Topic::create(&broker.bootstrap(), name, 1);
        topic.write(&(0..100).map(event).collect::<Vec<_>>());
        let mut ingest = Ingest::stopped(&directory, &broker.bootstrap(), name);
        let sink = format!("type: ndjson, path: '{}', batch.interval: 100ms", files.display());
        ingest.configure(&format!("sinks:\n- {{{sink}}}\n"));
        ingest.start();
        wait_until("the events in the files", || in_files(&files).len() == 100);
        assert!(ingest.terminate().success());
        topic.made_anew(1).write(&(100..100 + ends).map(event).collect::<Vec<_>>());
        // A table that knows nothing of the old topic does not end the ingest.
        ingest.into_table(&directory.join("another").display().to_string());
        ingest.start();
        wait_until("the sink to end", || {
            ingest.said().contains("the sink `ndjson` holds partition 0 of")
        });
        assert_eq!(in_files(&files).len(), 100);
        ingest.with_kafka("type: ndjson", "name: new, type: ndjson");
        ingest.start();
        wait_for_count("all events in the files", 100 + ends, || in_files(&files).len());
        assert!(ingest.terminate().success());
        // The topic is the same now, so that nothing begins anew.
        ingest.with_kafka("name: new", "name: newer");
        topic.write(&[event(100 + ends)]);
        ingest.start();
        wait_for_count("one more", 101 + ends, || in_files(&files).len());
        assert!(ingest.terminate().success());
    }
}
