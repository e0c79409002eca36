//! Seals: whoever alters, removes or moves events between the agent and the reader is found out, and a
//! restart of the agent is nobody.

use logweir_tests::{
    AgentConfig, Broker, Delivery, Ingest, Lines, Output, Topic, append, directory, run_to_end,
    wait_until,
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
    assert_eq!(key_of("a").trim().len(), 64);
    assert_ne!(key_of("a"), key_of("b"));
}
