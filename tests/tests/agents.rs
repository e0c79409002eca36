//! What the central side knows of agents and of sources that have fallen silent.

use logweir_tests::{Broker, Delivery, Lines, Topic, directory, run_to_end, wait_until};

#[test]
fn an_agent_is_listed_from_its_report_and_silent_when_none_comes() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "reports", 1);
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    let mut delivery = Delivery::of_files(directory.path(), &topic, "app.log");
    writer.write(50);
    let bootstrap = broker.bootstrap();
    let agents = |more: &[&str]| {
        let words =
            [&["agents", "--bootstrap-server", &bootstrap, "--format", "json"], more].concat();
        run_to_end("logweir", &words)
    };
    wait_until("a report that says so", || {
        let listed = agents(&["--silent-after", "10m"]);
        listed.code == Some(0) && listed.stdout.contains("\"delivered\":50")
    });
    let words = ["agents", "--bootstrap-server", &bootstrap, "--silent-after", "10m"];
    let shown = run_to_end("logweir", &words).stdout;
    assert!(shown.contains("AGENT") && shown.contains("1 agents, 0 silent"), "{shown}");
    assert!(delivery.agent.terminate().success());
    let silent = agents(&["--silent-after", "0s"]);
    assert_eq!(silent.code, Some(1));
    assert!(silent.stdout.contains("\"silent\":true"), "{}", silent.stdout);

    let report: serde_json::Value = serde_json::from_str(silent.stdout.trim()).unwrap();
    let name = report["report"]["agent_name"].as_str().unwrap();
    let forget = |name: &str, silent_after: &str| {
        let words = ["agents", "--bootstrap-server", &bootstrap, "--silent-after", silent_after];
        run_to_end("logweir", &[&words[..], &["--forget", name]].concat())
    };
    let reports = forget(name, "10m");
    assert!(reports.code == Some(1) && reports.stderr.contains("still reports"), "{reports:?}");
    assert_eq!(forget("nobody", "0s").code, Some(1));
    assert_eq!(forget(name, "0s").code, Some(0));
    let listed = run_to_end("logweir", &words);
    assert!(listed.code == Some(0) && listed.stdout.contains("0 agents"), "{listed:?}");

    let table = delivery.ingest.table();
    wait_until("all events", || table.rows() == 50);
    let store = table.path.display().to_string();
    let audit =
        |more: &[&str]| run_to_end("logweir", &[&["audit", "--store", &store], more].concat());
    assert_eq!(audit(&["--silent"]).code, Some(0), "{}", audit(&["--silent"]).stdout);
    wait_until("the source to be silent by its own rhythm", || {
        let found = audit(&["--silent", "0s"]);
        found.code == Some(1) && found.stdout.contains("app.log: nothing for")
    });
    assert!(audit(&["--since", "1h"]).stdout.contains("1 sources"));
    let none = audit(&["--since", "2999-01-01"]);
    assert!(
        none.code == Some(1) && none.stderr.contains("nothing has come since"),
        "{}",
        none.stderr
    );
}
