//! Watching a running agent: `tap`, `top`, `doctor`, each as its user runs it.

use logweir_tests::{Agent, AgentConfig, Broker, Topic, directory, line, run_to_end, wait_until};
use std::os::unix::fs::PermissionsExt as _;

const LINES: usize = 200;

#[test]
fn an_agent_is_watched_by_tap_top_and_doctor() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "watched", 2);
    let mut config = AgentConfig::of_files(&topic, directory.path(), "*.log");
    config.without_rules = true;
    let agent = Agent::started(directory.path(), &config);
    let state = agent.state();
    wait_until("the sockets", || state.join("tap.sock").exists() && agent.status().is_some());
    for socket in ["tap.sock", "status.sock"] {
        let mode = std::fs::metadata(state.join(socket)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660, "{socket}");
    }
    let path = directory.path().join("agent.yaml");
    let path = path.to_str().unwrap();

    let log = directory.path().join("a.log");
    let done = std::sync::atomic::AtomicBool::new(false);
    let tapped = std::thread::scope(|scope| {
        let tap = scope.spawn(|| {
            let arguments = ["tap", "--config", path, "--unparsed", "-n", "3", "wanted"];
            let output = run_to_end("logweir-agent", &arguments);
            done.store(true, std::sync::atomic::Ordering::Release);
            output
        });
        // As long as it watches there is something to see.
        let mut text = String::new();
        wait_until("the tap to have seen enough", || {
            (0..LINES).for_each(|number| text.push_str(&line("wanted", number)));
            text.push_str("something else\n");
            std::fs::write(&log, &text).unwrap();
            done.load(std::sync::atomic::Ordering::Acquire)
        });
        tap.join().unwrap()
    });
    assert_eq!(tapped.code, Some(0), "{}", tapped.stderr);
    let lines: Vec<&str> = tapped.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", tapped.stdout);
    assert!(lines.iter().all(|line| line.starts_with('{') && line.contains("wanted")));

    let top = run_to_end("logweir-agent", &["top", "--config", path, "-n", "1"]);
    assert_eq!(top.code, Some(0), "{}", top.stderr);
    assert!(top.stdout.contains("a.log") && !top.stdout.contains('\x1b'), "{}", top.stdout);

    let doctor = run_to_end("logweir-agent", &["doctor", "--config", path]);
    assert!(doctor.stdout.contains("ok       the agent runs; kafka is up"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("takes connections"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("the topic watched"), "{}", doctor.stdout);
}

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let directory = directory();
    let config = AgentConfig {
        bootstrap: "no-such-host.invalid:9092".into(),
        topic: "events".into(),
        files: vec![directory.path().join("*.log").display().to_string()],
        kafka: vec![format!("ssl.ca.location: {}", directory.path().join("agent.yaml").display())],
        without_rules: true,
        ..AgentConfig::default()
    };
    let _agent = Agent::stopped(directory.path(), &config);
    let path = directory.path().join("agent.yaml");
    let doctor = run_to_end("logweir-agent", &["doctor", "--config", path.to_str().unwrap()]);
    assert_eq!(doctor.code, Some(1), "{}", doctor.stdout);
    for expected in [
        "warning  no agent runs",
        "error    `no-such-host.invalid:9092` has no address",
        "there is no certificate in PEM format in it",
        "error    kafka does not answer",
    ] {
        assert!(doctor.stdout.contains(expected), "`{expected}` in {}", doctor.stdout);
    }
    let count = |word: &str| doctor.stdout.lines().filter(|line| line.contains(word)).count();
    assert_eq!(count("help: "), count("error  ") + count("warning  "), "{}", doctor.stdout);
}
