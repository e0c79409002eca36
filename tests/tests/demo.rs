//! The demo: the whole path in one process, as a new user meets it.

use logweir_tests::{Table, append, assert_nothing_missing, directory, free_address, run_to_end};

#[test]
fn the_demo_reads_the_machines_logs_and_proves_that_nothing_is_missing() {
    let directory = directory();
    let logs = directory.path().join("log");
    std::fs::create_dir(&logs).unwrap();
    let line =
        "Nov 28 03:00:00 web1 sshd[77]: Failed password for root from 10.1.2.3 port 22 ssh2\n";
    append(&logs.join("auth.log"), line.repeat(100).as_bytes());
    let demo = directory.path().join("demo");
    let arguments = [
        "demo",
        "--dir",
        demo.to_str().unwrap(),
        "--logs",
        logs.to_str().unwrap(),
        "--syslog",
        &free_address().to_string(),
        "--generate",
        "100/s",
        "--for",
        "5s",
    ];
    for run in 1..=2 {
        let output = run_to_end("logweir", &arguments);
        assert_eq!(output.code, Some(0), "run {run}: {}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains("nothing is missing"), "run {run}: {}", output.stdout);
        // The second run goes on where the first one ended, and reads no line twice.
        let table = Table { path: demo.join("table") };
        let found = table.search("source.ip:10.1.0.0/16 and event.outcome:failure", 1_000);
        let of_file =
            found.iter().filter(|event| event.text("log.file.path").ends_with("auth.log"));
        assert_eq!(of_file.count(), 100, "run {run}");
        assert_nothing_missing(&table);
    }
}
