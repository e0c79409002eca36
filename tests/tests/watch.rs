//! Watching a running agent: `tap`, `top`, `doctor`, each as its user runs it.

use logweir_tests::{
    Agent, AgentConfig, Broker, Output, Topic, directory, line, program, run_to_end, skip,
    wait_until,
};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

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

    // What was tapped may be on its way yet.
    wait_until("kafka to be reached", || agent.status_told()["kafka"] == "up");
    let top = run_to_end("logweir-agent", &["top", "--config", path, "-n", "1"]);
    assert_eq!(top.code, Some(0), "{}", top.stderr);
    assert!(top.stdout.contains("a.log") && !top.stdout.contains('\x1b'), "{}", top.stdout);

    let doctor = run_to_end("logweir-agent", &["doctor", "--config", path]);
    assert!(doctor.stdout.contains("ok       the agent runs; kafka is up"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("takes connections"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("the topic watched"), "{}", doctor.stdout);
}

/// A group that the agent runs in, and users of which none is the agent's.
const GROUP: &str = "4242";
const MEMBER: [&str; 3] = ["--reuid=4243", "--regid=4243", "--groups=4242"];
const STRANGER: [&str; 3] = ["--reuid=4244", "--regid=4244", "--clear-groups"];

/// Runs a program as another user.
fn run_as(user: [&str; 3], program: &Path, arguments: &[&str]) -> Output {
    let output = Command::new("setpriv").args(user).arg(program).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn the_group_may_ask_the_agent_and_nothing_else_and_no_one_else_may() {
    let directory = directory();
    let root = directory.path();
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)).unwrap();
    let agent_program = program("logweir-agent");
    let reached = run_as(STRANGER, &agent_program, &["--version"]);
    if reached.code != Some(0) {
        return skip(&format!("other users cannot run the program: {}", reached.stderr));
    }
    let config = AgentConfig {
        bootstrap: "localhost:1".into(),
        topic: "events".into(),
        files: vec![root.join("*.log").display().to_string()],
        without_rules: true,
        ..AgentConfig::default()
    };
    let mut agent = Agent::stopped(root, &config);
    let sockets = root.join("run/logweir-agent");
    agent.edit("agent:\n", &format!("agent:\n  socket_dir: {}\n", sockets.display()));
    agent.start_within(&["setpriv".into(), format!("--regid={GROUP}"), "--clear-groups".into()]);
    wait_until("the agent to answer", || agent.status().is_some());
    let mode = std::fs::metadata(&sockets).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);

    let config = root.join("agent.yaml");
    let config = config.to_str().unwrap();
    for command in [&["status", "--config", config][..], &["top", "-n", "1", "--config", config]] {
        let member = run_as(MEMBER, &agent_program, command);
        assert_eq!(member.code, Some(0), "{command:?}: {}", member.stderr);
        assert!(member.stdout.contains("delivered 0"), "{command:?}: {}", member.stdout);
        let stranger = run_as(STRANGER, &agent_program, command);
        assert_eq!(stranger.code, Some(1), "{command:?}: {}", stranger.stdout);
        let remedy = "Permission denied (os error 13); ask as root or in the group that `ls -ld ";
        assert!(stranger.stderr.contains(remedy), "{command:?}: {}", stranger.stderr);
    }
    let tap = run_as(STRANGER, &agent_program, &["tap", "--config", config]);
    assert!(tap.code == Some(1) && tap.stderr.contains("Permission denied"), "{}", tap.stderr);

    // Neither its state nor another socket in the place of its own.
    for command in
        [format!("ls {}", agent.state().display()), format!("rm -r {}", sockets.display())]
    {
        let output = run_as(MEMBER, Path::new("sh"), &["-c", &command]);
        assert!(output.stderr.contains("Permission denied"), "{command}: {output:?}");
    }
    for (socket, said) in [("status.sock", "stop\n"), ("tap.sock", "{\"stop\":true}\n")] {
        let mut stream = UnixStream::connect(sockets.join(socket)).unwrap();
        // It may be answered and closed before it has said anything.
        let _ = stream.write_all(said.as_bytes());
    }
    wait_until("the agent to answer again", || agent.status().is_some());
    agent.assert_running();
    assert!(agent.terminate().success());
    assert_eq!(std::fs::read_dir(&sockets).unwrap().count(), 0, "the sockets go with the agent");
}

#[test]
fn a_place_for_sockets_that_cannot_be_used_is_named_with_a_remedy() {
    let directory = directory();
    let config = AgentConfig {
        bootstrap: "localhost:1".into(),
        topic: "events".into(),
        without_rules: true,
        sources: vec!["{type: stdin}".into()],
        ..AgentConfig::default()
    };
    let agent = Agent::stopped(directory.path(), &config);
    let place = directory.path().join("file/sockets");
    std::fs::write(directory.path().join("file"), "").unwrap();
    agent.edit("agent:\n", &format!("agent:\n  socket_dir: {}\n", place.display()));
    let output = agent.command("run");
    assert_eq!(output.code, Some(1), "{output:?}");
    let place = place.display();
    let expected =
        format!("cannot be made in `{place}`: Not a directory (os error 20); set another");
    assert!(output.stderr.contains(&expected), "{}", output.stderr);
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
