//! Seals: whoever alters, removes or moves events between the agent and the reader is found out, and a
//! restart of the agent is nobody.

use logweir_tests::{
    AgentConfig, Broker, Delivery, Event, Ingest, Lines, Output, Topic, append, directory,
    run_to_end, wait_until,
};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const LINES: usize = 400;

fn write_key(path: &Path) {
    let mut options = std::fs::File::options();
    let mut file = options.create_new(true).write(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, format!("{}\n", "5a".repeat(32)).as_bytes()).unwrap();
}

fn verify(key: &Path, of: &[&str]) -> Output {
    let mut arguments = vec!["verify", "--key", key.to_str().unwrap()];
    arguments.extend(of);
    run_to_end("logweir", &arguments)
}

#[test]
fn what_is_altered_removed_or_moved_behind_the_agents_back_is_named() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "sealed", 1);
    let key = directory.path().join("seal.key");
    write_key(&key);
    let config = AgentConfig {
        agent: vec!["checkpoint_interval: 100ms"],
        ..AgentConfig::of_files(&topic, directory.path(), "*.log")
    };
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    let integrity = format!("integrity: {{key: {{file: '{}'}}}}\n", key.display());
    append(&directory.path().join("agent.yaml"), integrity.as_bytes());
    delivery.start();
    let log = directory.path().join("a.log");
    append(&log, b"a quote \" a backslash \\ and no UTF-8: \xff\xfe\n");
    let mut lines = Lines::new("a", &log);
    lines.write(LINES);
    wait_until("some events", || topic.records() > Some(10));
    delivery.agent.kill9();
    lines.write(LINES);
    delivery.agent.start();
    let table = delivery.ingest.table();
    wait_until("all events in the table", || table.rows() == 2 * LINES + 1);
    delivery.agent.assert_delivered(LINES);
    let store = table.path.to_str().unwrap();
    let whole = verify(&key, &["--store", store, "--strict"]);
    assert_eq!(whole.code, Some(0), "{}{}", whole.stdout, whole.stderr);
    assert!(whole.stdout.contains("801 events of 1 sources: 801 with a seal"), "{}", whole.stdout);
    let bootstrap = broker.bootstrap();
    let on_broker = ["--bootstrap-server", &bootstrap, "--topic", "sealed", "--strict"];
    let whole = verify(&key, &on_broker);
    assert_eq!(whole.code, Some(0), "{}{}", whole.stdout, whole.stderr);
    let other = directory.path().join("other.key");
    std::fs::write(&other, "00".repeat(32)).unwrap();
    assert_eq!(verify(&other, &["--store", store]).code, Some(1), "another key fits nothing");

    // What someone with the cluster in his hands would do, to events that came once.
    let mut records = topic.read();
    let number = |text: &str, of: &[u8]| String::from_utf8_lossy(of).contains(text);
    let at = |records: &[(i32, Vec<u8>)], text: &str| {
        records.iter().rposition(|(_, bytes)| number(text, bytes)).unwrap()
    };
    let altered = at(&records, "line 00000600 of a");
    let text = String::from_utf8(records[altered].1.clone()).unwrap();
    records[altered].1 = text.replace("line 00000600 of a", "line 00000600 of b").into_bytes();
    let moved = at(&records, "line 00000500 of a");
    records.swap(moved, moved + 1);
    let removed = at(&records, "line 00000700 of a");
    records.remove(removed);
    let forged = Topic::create(&bootstrap, "forged", 1);
    forged.write(&records);
    let found = verify(&key, &["--bootstrap-server", &bootstrap, "--topic", "forged"]);
    assert_eq!(found.code, Some(1), "{}", found.stderr);
    let words = ["altered", "moved behind", "missing behind it"];
    for word in words {
        assert!(found.stdout.contains(word), "{word}: {}", found.stdout);
    }
    assert!(found.stdout.contains("3 findings") && found.stdout.contains("a.log"));
    let elsewhere = directory.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let ingest = Ingest::started(&elsewhere, &bootstrap, "forged");
    wait_until("the forged events in a table", || ingest.table().rows() >= 2 * LINES - 1);
    let path = ingest.table().path;
    let found = verify(&key, &["--store", path.to_str().unwrap(), "--format", "json"]);
    assert_eq!(found.code, Some(1), "{}", found.stderr);
    let wrongs = |word: &str| found.stdout.matches(&format!("\"wrong\":\"{word}\"")).count();
    assert_eq!((wrongs("altered"), wrongs("missing")), (1, 1), "{}", found.stdout);

    // The ledger knows of what is gone altogether, host by host.
    let host = Event::parse(&records[0].1).text("host.name").to_owned();
    let gone =
        run_to_end("logweir", &["table", "expire", "--before", "9999-01-01", "--store", store]);
    assert_eq!(gone.code, Some(0), "{}", gone.stderr);
    let found = verify(&key, &["--store", store, "--host", &host]);
    assert_eq!(found.code, Some(1), "{}", found.stderr);
    assert!(found.stdout.contains("missing behind it"), "{}", found.stdout);
    let found = verify(&key, &["--store", store, "--host", "another"]);
    assert_eq!(found.code, Some(1), "{}", found.stdout);
    assert!(found.stderr.contains("nothing of a host `another`"), "{}", found.stderr);
}

#[test]
fn a_key_for_each_agent_is_made_from_a_master_key() {
    let directory = directory();
    let master = directory.path().join("master.key");
    write_key(&master);
    let key_of = |agent: &str| {
        let arguments = ["verify", "--master-key", master.to_str().unwrap(), "--key-of", agent];
        let output = run_to_end("logweir", &arguments);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        output.stdout
    };
    let (one, other) =
        ("5f0c0000-0000-4000-8000-000000000001", "5f0c0000-0000-4000-8000-000000000002");
    assert_eq!(key_of(one).trim().len(), 64);
    assert_ne!(key_of(one), key_of(other));
    let of_name = ["verify", "--master-key", master.to_str().unwrap(), "--key-of", "web1"];
    let refused = run_to_end("logweir", &of_name);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("it is no agent.id"), "{}", refused.stderr);
}

#[test]
fn events_that_are_cut_off_behind_a_signed_head_are_missed() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let bootstrap = broker.bootstrap();
    let topic = Topic::create(&bootstrap, "heads", 1);
    let name = directory.path().join("heads");
    let made = run_to_end("logweir", &["keygen", name.to_str().unwrap()]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let config = AgentConfig {
        agent: vec!["checkpoint_interval: 100ms"],
        ..AgentConfig::of_files(&topic, directory.path(), "*.log")
    };
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    let integrity =
        format!("integrity: {{signing_key: {{file: '{}.key'}}, interval: 1s}}\n", name.display());
    append(&directory.path().join("agent.yaml"), integrity.as_bytes());
    delivery.start();
    let mut lines = Lines::new("a", &directory.path().join("a.log"));
    lines.write(LINES);
    let last = |topic: &Topic| {
        let of_file = |(_, bytes): &(i32, Vec<u8>)| {
            let event: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            event.get("log.file.path").and_then(|_| event["log.offset"].as_u64())
        };
        topic.read().iter().filter_map(of_file).max()
    };
    wait_until("all events in the topic", || {
        topic.read().iter().filter(|(_, bytes)| is_of(bytes, "of a")).count() == LINES
    });
    let end = format!("\\\":{}", last(&topic).unwrap());
    wait_until("a head that tells of them", || {
        topic.read().iter().any(|(_, bytes)| is_of(bytes, "logweir-heads") && is_of(bytes, &end))
    });
    let public = format!("{}.pub", name.display());
    let verify = |topic: &str, public: &str| {
        let of = ["verify", "--public-key", public, "--grace", "0s", "--topic", topic];
        run_to_end("logweir", &[&of[..], &["--bootstrap-server", &bootstrap]].concat())
    };
    let whole = verify("heads", &public);
    assert_eq!(whole.code, Some(0), "{}{}", whole.stdout, whole.stderr);
    assert!(whole.stdout.contains(" signed heads, the last of "), "{}", whole.stdout);
    let table = delivery.ingest.table();
    wait_until("a head in the table", || {
        !table.search("event.dataset:logweir.heads", 10).is_empty() && table.rows() > LINES
    });
    delivery.agent.kill9();

    let other = directory.path().join("other");
    assert_eq!(run_to_end("logweir", &["keygen", other.to_str().unwrap()]).code, Some(0));
    let found = verify("heads", &format!("{}.pub", other.display()));
    assert_eq!(found.code, Some(1), "another key has signed nothing");
    assert!(found.stdout.contains("forged"), "{}", found.stdout);
    let mut records = topic.read();
    records.retain(|(_, bytes)| !is_of(bytes, "line 00000390 of a") && !is_late(bytes));
    let cut = Topic::create(&bootstrap, "cut", 1);
    cut.write(&records);
    let found = verify("cut", &public);
    assert_eq!(found.code, Some(1), "{}{}", found.stdout, found.stderr);
    assert!(found.stdout.contains("a.log"), "{}", found.stdout);
    assert!(found.stdout.contains("missing behind it"), "{}", found.stdout);
    assert!(found.stdout.contains("; 1 findings"), "{}", found.stdout);
}

fn is_of(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

/// One of the last lines.
fn is_late(bytes: &[u8]) -> bool {
    (391..LINES).any(|number| is_of(bytes, &format!("line {number:08} of a")))
}
