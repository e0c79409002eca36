//! `logweir-agent backfill`: files that are complete, whole and once, through the path of the agent.

use logweir_tests::{Broker, Output, Topic, directory, run_to_end};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const LINES: usize = 1500;

fn run(directory: &Path, more: &[&str]) -> Output {
    let at = |name: &str| directory.join(name).display().to_string();
    let (config, state) = (at("agent.yaml"), at("state"));
    let (plain, packed) = (at("old.log"), at("older.log.gz"));
    let mut arguments = vec!["backfill", "--config", &config, "--state", &state, &plain, &packed];
    arguments.extend(more);
    run_to_end("logweir-agent", &arguments)
}

#[test]
fn whole_files_are_delivered_once_compressed_ones_and_last_lines_without_end_too() {
    let directory = directory();
    let directory = directory.path();
    let broker = Broker::started(directory);
    let topic = Topic::create(&broker.bootstrap(), "backfill", 2);
    let lines = |from: usize, to: usize| {
        let line =
            |n| format!("Nov 28 10:00:00 web1 sshd[{n}]: Connection closed by 10.0.0.7 port {n}");
        (from..to).map(line).collect::<Vec<_>>().join("\n")
    };
    // Neither ends with a line end.
    std::fs::write(directory.join("old.log"), lines(0, 1000)).unwrap();
    std::fs::write(directory.join("older.log"), lines(1000, LINES)).unwrap();
    let packed = Command::new("gzip").arg(directory.join("older.log")).status().unwrap();
    assert!(packed.success());
    let config = format!(
        "kafka: {{bootstrap.servers: '{}', topic: backfill}}\nsources: [{{type: stdin}}]\n",
        broker.bootstrap()
    );
    std::fs::write(directory.join("agent.yaml"), config).unwrap();

    let dry = run(directory, &["--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}{}", dry.stdout, dry.stderr);
    let would = format!("would deliver {LINES} events of {LINES} lines");
    assert!(dry.stdout.contains(&would), "{}", dry.stdout);
    assert_eq!(topic.records().unwrap_or(0), 0);

    let first = run(directory, &[]);
    assert_eq!(first.code, Some(0), "{}{}", first.stdout, first.stderr);
    let account = format!("read {LINES} = delivered {LINES} + held 0 + dropped 0");
    assert!(first.stdout.contains(&account), "{}", first.stdout);
    assert_eq!(topic.records(), Some(LINES));

    // The same again goes on where it was: there is nothing left.
    let again = run(directory, &[]);
    assert_eq!(again.code, Some(0), "{}{}", again.stdout, again.stderr);
    assert!(again.stdout.contains("read 0 = delivered 0"), "{}", again.stdout);
    assert_eq!(topic.records(), Some(LINES));
}

/// The key of the configuration is for the service's id, and nobody is to wait for what it says of itself.
#[test]
fn it_has_no_seals_but_with_a_key_of_its_own_no_heads_and_no_reports() {
    let directory = directory();
    let directory = directory.path();
    let broker = Broker::started(directory);
    let topic = Topic::create(&broker.bootstrap(), "backfill", 1);
    let key = directory.join("seal.key");
    std::fs::write(&key, "0123456789abcdef".repeat(4)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let made = run_to_end("logweir", &["keygen", &directory.join("heads").display().to_string()]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let config = format!(
        "kafka: {{bootstrap.servers: '{}', topic: backfill}}\nrules: {{shipped: false}}\nsources: [{{type: stdin}}]\n\
         integrity: {{key: {{file: '{}'}}, signing_key: {{file: '{}/heads.key'}}}}\n",
        broker.bootstrap(),
        key.display(),
        directory.display()
    );
    std::fs::write(directory.join("agent.yaml"), config).unwrap();
    std::fs::write(directory.join("old.log"), "one\ntwo\n").unwrap();
    std::fs::write(directory.join("older.log.gz"), "").unwrap();
    let first = run(directory, &[]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.stderr.contains("--seal-key names one"), "{}", first.stderr);
    std::fs::write(directory.join("old.log"), "three\n").unwrap();
    std::fs::rename(directory.join("state"), directory.join("state-before")).unwrap();
    let second = run(directory, &["--seal-key", &key.display().to_string()]);
    assert_eq!((second.code, second.stderr.as_str()), (Some(0), ""), "{second:?}");
    let sealed: Vec<bool> =
        topic.events().iter().map(|event| event.json["logweir.seal"].is_string()).collect();
    assert_eq!(sealed, [false, false, true]);
    let reports = Topic::open(&broker.bootstrap(), "logweir.agents", 1);
    assert_eq!(reports.records(), Some(0));
}

#[test]
fn an_archive_that_is_damaged_is_told_and_no_success() {
    let directory = directory();
    let directory = directory.path();
    let broker = Broker::started(directory);
    let _topic = Topic::create(&broker.bootstrap(), "backfill", 2);
    std::fs::write(directory.join("old.log"), "line 1\nline 2\n").unwrap();
    // Lines that do not compress to nothing.
    let lines: Vec<String> = (0_u64..20_000)
        .map(|n| format!("line {:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    std::fs::write(directory.join("older.log"), lines.join("\n")).unwrap();
    let packed = Command::new("gzip").arg(directory.join("older.log")).status().unwrap();
    assert!(packed.success());
    let archive = directory.join("older.log.gz");
    let whole = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    let config = format!(
        "kafka: {{bootstrap.servers: '{}', topic: backfill}}\nrules: {{shipped: false}}\nsources: [{{type: stdin}}]\n",
        broker.bootstrap()
    );
    std::fs::write(directory.join("agent.yaml"), config).unwrap();
    for _ in 0..2 {
        let output = run(directory, &[]);
        assert_eq!(output.code, Some(1), "{}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains("the archive is damaged"), "{}", output.stdout);
        assert!(output.stdout.contains("older.log.gz"), "{}", output.stdout);
        assert!(output.stdout.contains("1 files are delivered"), "{}", output.stdout);
    }
}

#[test]
fn a_file_of_half_a_byte_order_mark_is_delivered_and_ends() {
    let directory = directory();
    let directory = directory.path();
    let broker = Broker::started(directory);
    let topic = Topic::create(&broker.bootstrap(), "backfill", 2);
    std::fs::write(directory.join("old.log"), b"\xff").unwrap();
    std::fs::write(directory.join("older.log"), "line\n").unwrap();
    let packed = Command::new("gzip").arg(directory.join("older.log")).status().unwrap();
    assert!(packed.success());
    let config = format!(
        "kafka: {{bootstrap.servers: '{}', topic: backfill}}\nrules: {{shipped: false}}\nsources: [{{type: stdin}}]\n",
        broker.bootstrap()
    );
    std::fs::write(directory.join("agent.yaml"), config).unwrap();
    let output = run(directory, &[]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert_eq!(topic.records(), Some(2));
}

#[test]
fn a_file_that_cannot_be_read_is_told_before_anything_is_delivered() {
    let directory = directory();
    let directory = directory.path();
    std::fs::write(
        directory.join("agent.yaml"),
        "kafka: {bootstrap.servers: '127.0.0.1:1'}\nrules: {shipped: false}\nsources: [{type: stdin}]\n",
    )
    .unwrap();
    std::fs::write(directory.join("old.log"), "a\n").unwrap();
    let output = run(directory, &[]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("older.log.gz` cannot be read"), "{}", output.stderr);
    assert!(output.stderr.contains("name a file that this user may read"), "{}", output.stderr);
}
