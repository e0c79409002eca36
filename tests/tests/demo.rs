//! The demo: the whole path in one process, as a new user meets it.

use logweir_tests::{
    Process, Table, append, assert_nothing_missing, directory, free_address, run_to_end, wait_until,
};

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
    ];
    let table = Table { path: demo.join("table") };
    let of_file = || {
        let found = table.search("source.ip:10.1.0.0/16 and event.outcome:failure", 1_000);
        found.iter().filter(|event| event.text("log.file.path").ends_with("auth.log")).count()
    };
    let output = directory.path().join("output");
    let mut first = Process::start("logweir", &arguments, &output);
    wait_until("the file and more in the table", || {
        first.assert_running();
        table.rows() > 100 && of_file() == 100
    });
    let ended = first.terminate();
    let said = std::fs::read_to_string(output).unwrap();
    assert!(ended.success(), "{ended}: {said}");
    assert!(said.contains("nothing is missing"), "{said}");
    assert_nothing_missing(&table);
    // The second run goes on where the first one ended, and reads no line twice.
    let output = run_to_end("logweir", &[&arguments[..], &["--for", "5s"]].concat());
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("nothing is missing"), "{}", output.stdout);
    assert_eq!(of_file(), 100);
    assert_nothing_missing(&table);
}
