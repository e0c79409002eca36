//! A bad configuration: every fault at once, each with its place and what to do, exit code 78. And the
//! commands that show what can be configured, also to a reader that goes.

use logweir_tests::{Output, directory, program, run_to_end};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `program command --config` on `text`. Each of `faulty` is a piece of the text at whose
/// beginning one fault is.
fn check(program: &str, command: &str, text: &str, faulty: &[&str]) {
    let directory = directory();
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    let output = run_to_end(program, &[command, "--config", path.to_str().unwrap()]);
    assert_eq!(output.code, Some(78), "{}", output.stderr);
    assert_eq!(output.stdout, "");
    for piece in faulty {
        let place = place_of(piece, text);
        assert!(named(&output, &path, place), "{piece} at {place:?} in:\n{}", output.stderr);
    }
    let count = |word| output.stderr.matches(word).count();
    assert_eq!(count(": error: "), faulty.len(), "{}", output.stderr);
    assert_eq!(count("help: "), faulty.len(), "each fault has a remedy:\n{}", output.stderr);
}

/// Line and column, both from 1.
fn place_of(piece: &str, text: &str) -> (usize, usize) {
    let before = &text[..text.find(piece).expect("the piece is in the text")];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn named(output: &Output, path: &Path, (line, column): (usize, usize)) -> bool {
    output.stderr.contains(&format!("{}:{line}:{column}: error: ", path.display()))
}

#[test]
fn the_ingest_tells_every_fault_of_its_configuration() {
    let text = "\
kafka:
  bootstrap.servers: 'localhost:9092'
  fetch.min.byte: 1
  session.timeout.ms: soon
workers: several
store:
  path: /tmp
  flush.interval: often
  flush.bytes: [1]
stoer: 1
";
    let faulty = ["fetch.min.byte", "soon", "several", "often", "[1]", "stoer"];
    check("logweir", "ingest", text, &faulty);
}

#[test]
fn the_agent_tells_every_fault_of_its_configuration() {
    let text = "\
agent: {workers: many, colour: red}
kafka: {bootstrap.servers: 'localhost:9092', lingr.ms: 5}
rules: {directories: [/nowhere/at/all]}
sources:
  - {type: file, paths: ['/var/log/[a', relative.log]}
  - {type: file, paths: ['/var/log/b'], dataset: [c]}
  - {type: pigeon}
  - {type: syslog, udp: nowhere}
surces: []
";
    let faulty = [
        "many",
        "colour",
        "lingr.ms",
        "/nowhere/at/all",
        "'/var/log/[a",
        "relative.log",
        "[c]",
        "pigeon",
        "nowhere}",
        "surces",
    ];
    check("logweir-agent", "run", text, &faulty);
}

#[test]
fn faults_of_rules_are_told_together_with_those_of_the_configuration() {
    let directory = directory();
    let rules = directory.path().join("rules");
    std::fs::create_dir(&rules).unwrap();
    let pack = "\
pack: orders
dataset: orders
applies: {program: [orders]}
rules:
  - id: orders.paid
    pattern: '^user (?<user.name>\\S+ paid'
    samples:
      - {line: 'Nov 28 10:15:02 web1 orders[8]: user a paid', expect: {user.name: a}}
";
    std::fs::write(rules.join("orders.yaml"), pack).unwrap();
    let config = directory.path().join("agent.yaml");
    let text = format!(
        "kafka: {{bootstrap.servers: 'localhost:9092'}}\nrules: {{directories: ['{}']}}\n\
         sources: [{{type: file, paths: ['/tmp/x']}}]\ncolour: red\n",
        rules.display()
    );
    std::fs::write(&config, text).unwrap();
    let output = run_to_end("logweir-agent", &["run", "--config", config.to_str().unwrap()]);
    assert_eq!(output.code, Some(78), "{}", output.stderr);
    let line_of_pattern = format!("{}:6:", rules.join("orders.yaml").display());
    assert!(output.stderr.contains(&line_of_pattern), "{}", output.stderr);
    assert!(named(&output, &config, (4, 1)), "{}", output.stderr);
}

#[test]
fn a_configuration_that_is_no_yaml_is_told_with_its_place() {
    for (program, command) in [("logweir", "ingest"), ("logweir-agent", "run")] {
        check(program, command, "kafka: {}\n- kafka\n", &["kafka\n"]);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_told_with_its_name() {
    for (program, command) in [("logweir", "ingest"), ("logweir-agent", "run")] {
        let output = run_to_end(program, &[command, "--config", "/nowhere/config.yaml"]);
        assert_eq!(output.code, Some(78), "{program}: {}", output.stderr);
        assert!(output.stderr.contains("/nowhere/config.yaml"), "{program}: {}", output.stderr);
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_fault_and_a_full_disk_is_one() {
    let run = |name: &str, stdout: Stdio| {
        let output = Command::new(program(name))
            .args(["config", "reference"])
            .stdout(stdout)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for name in ["logweir-agent", "logweir"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(name, writer.into()), (Some(0), String::new()), "{name}");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = run(name, full.into());
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.starts_with("standard output cannot be written: "), "{name}: {said}");
    }
}

#[test]
fn the_configuration_in_effect_is_shown_with_the_origin_of_each_value_and_without_secrets() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    let secret = at("password");
    std::fs::write(&secret, "canary\n").unwrap();
    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let config = at("agent.yaml");
    let text = format!(
        "kafka:\n  bootstrap.servers: 'a:1'\n  sasl.password: {{file: '{}'}}\nsources:\n- type: stdin\n",
        secret.display()
    );
    std::fs::write(&config, text).unwrap();
    std::fs::create_dir(at("conf.d")).unwrap();
    let part = at("conf.d/10-web.yaml");
    std::fs::write(&part, "agent: {workers: 3}\nsources:\n- {type: file, paths: [/x]}\n").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program("logweir-agent"));
        command.args(arguments).args(["--config", config.to_str().unwrap()]);
        let output = command.env("LOGWEIR_KAFKA__LINGER_MS", "7").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, shown, stderr) = run(&["config", "show", "--origin"]);
    assert_eq!(code, Some(0), "{stderr}");
    for (setting, origin) in [
        ("linger.ms: 7", "$LOGWEIR_KAFKA__LINGER_MS".to_owned()),
        ("bootstrap.servers: 'a:1'", format!("{}:2", config.display())),
        ("workers: 3", format!("{}:1", part.display())),
        ("paths: [/x]", format!("{}:3", part.display())),
        ("topic: logweir.events", "default".to_owned()),
    ] {
        let origin = format!("# {origin}");
        let found = shown.lines().any(|line| line.contains(setting) && line.ends_with(&origin));
        assert!(found, "{setting} {origin} is not in\n{shown}");
    }
    assert!(!shown.contains("canary"), "{shown}");

    // What everybody may read is no secret.
    std::fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    let (code, _, stderr) = run(&["check", "--offline"]);
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("everybody may read or write"), "{stderr}");
    assert!(stderr.contains(&format!("chmod o= {}", secret.display())), "{stderr}");
    assert!(!stderr.contains("canary"), "{stderr}");
}
