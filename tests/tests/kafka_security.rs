//! A secured Kafka: TLS, certificates of clients, SASL, and access lists that let an agent only
//! write and an ingest only read. What is wrong is told with the broker, the principal and the
//! remedy; nothing is lost, and it goes on by itself once it is mended.

use logweir_tests::{
    Agent, AgentConfig, Cluster, Delivery, Identity, Lines, Listener, Topic, append, directory,
    run_to_end, wait_until,
};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const LINES: usize = 200;

fn tls(authority: &Path) -> Vec<String> {
    vec!["security.protocol: ssl".into(), format!("ssl.ca.location: {}", authority.display())]
}

fn mutual_tls(cluster: &Cluster, directory: &Path, name: &str) -> Vec<String> {
    let mut lines = tls(&cluster.authority());
    for (property, ending) in [("ssl.certificate.location", "pem"), ("ssl.key.location", "key")] {
        lines.push(format!("{property}: {}", directory.join(format!("{name}.{ending}")).display()));
    }
    lines
}

fn sasl(cluster: &Cluster, mechanism: &str, user: &str, password: &Path) -> Vec<String> {
    vec![
        "security.protocol: sasl_ssl".into(),
        format!("ssl.ca.location: {}", cluster.authority().display()),
        format!("sasl.mechanism: {mechanism}"),
        format!("sasl.username: {user}"),
        format!("sasl.password.file: {}", password.display()),
    ]
}

fn bearer(cluster: &Cluster, token: &Path) -> Vec<String> {
    vec![
        "security.protocol: sasl_ssl".into(),
        format!("ssl.ca.location: {}", cluster.authority().display()),
        "sasl.mechanism: OAUTHBEARER".into(),
        format!("sasl.oauthbearer.token.endpoint.url: file://{}", token.display()),
    ]
}

/// Readable for its owner only, as a secret has to be.
fn write_secret(path: &Path, secret: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, secret).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(draft, path).unwrap();
}

/// Lets a principal write to the topic, and nothing else.
fn allow_writing(cluster: &Cluster, principal: &str, topic: &Topic) {
    allow(cluster, principal, &["--operation", "Write", "--topic", &topic.name]);
}

fn allow(cluster: &Cluster, principal: &str, what: &[&str]) {
    cluster.acls(&[&["--add", "--allow-principal", principal], what].concat());
}

/// An agent of a few lines through a listener.
fn agent(
    cluster: &Cluster,
    at: Listener,
    directory: &Path,
    topic: &Topic,
    kafka: Vec<String>,
) -> Agent {
    let mut lines = Lines::new("writer", &directory.join("app.log"));
    lines.write(LINES);
    let config = AgentConfig::of_files(topic, directory, "app.log");
    let config = AgentConfig { without_rules: true, ..config };
    Agent::started(directory, &config.through(cluster.bootstrap_of(at), kafka))
}

fn assert_arrived(topic: &Topic) {
    wait_until("all lines in the topic", || topic.records() == Some(LINES));
}

/// Waits until the agent says why nothing is delivered: in its status and in its log, with all of
/// `words`; it holds what it has read.
fn assert_told(agent: &mut Agent, state: &str, words: &[&str]) {
    wait_until(&format!("the state {state} with {words:?}"), || {
        agent.assert_running();
        let status = agent.status();
        status.is_some_and(|status| {
            let reason = status["kafka_reason"].as_str().unwrap_or_default();
            status["kafka"] == state && words.iter().all(|word| reason.contains(word))
        })
    });
    wait_until(&format!("the log to tell {words:?}"), || {
        let said = agent.said();
        words.iter().all(|word| said.contains(word))
    });
    assert_eq!(agent.counts_told().delivered, 0);
}

/// What a command says and that it fails; a cluster that is busy may not have answered it in time.
fn assert_command_tells(agent: &Agent, name: &str, words: &[&str]) {
    wait_until(&format!("{name} to tell {words:?}"), || {
        let output = agent.command(name);
        let said = format!("{}{}", output.stdout, output.stderr);
        let tells = words.iter().all(|word| said.contains(word));
        if !tells {
            println!("{name}: {said}");
        }
        assert_eq!(output.code, Some(1), "{name}: {said}");
        tells
    });
}

#[test]
fn agents_that_may_only_write_deliver_by_every_way_in() {
    let Some(cluster) = Cluster::start_secured() else { return };
    let directory = directory();
    let password = directory.path().join("password");
    write_secret(&password, "agent-password\n");
    let token = directory.path().join("token");
    write_secret(&token, &cluster.token("agent", 3_600));
    cluster.issue(directory.path(), "web1", 1);
    let ways = [
        ("tls", Listener::Tls, tls(&cluster.authority())),
        ("mutual", Listener::MutualTls, mutual_tls(&cluster, directory.path(), "web1")),
        ("scram", Listener::Sasl, sasl(&cluster, "SCRAM-SHA-512", "agent", &password)),
        ("plain", Listener::Sasl, sasl(&cluster, "PLAIN", "agent", &password)),
        ("oauthbearer", Listener::Sasl, bearer(&cluster, &token)),
    ];
    let topics: Vec<Topic> = ways
        .iter()
        .map(|(name, ..)| Topic::create(cluster.bootstrap(), &format!("way-{name}"), 1))
        .collect();
    for principal in ["User:agent", "User:CN=web1"] {
        let prefixed = ["--resource-pattern-type", "prefixed", "--topic", "way-"];
        allow(&cluster, principal, &[&["--operation", "Write"], &prefixed[..]].concat());
    }
    let running: Vec<Agent> = ways
        .into_iter()
        .zip(&topics)
        .map(|((name, at, kafka), topic)| {
            let own = directory.path().join(name);
            std::fs::create_dir(&own).unwrap();
            agent(&cluster, at, &own, topic, kafka)
        })
        .collect();
    for (topic, agent) in topics.iter().zip(running) {
        assert_arrived(topic);
        agent.assert_delivered(LINES);
    }
}

#[test]
fn an_agent_without_the_right_to_write_says_which_and_goes_on_once_it_has_it() {
    let Some(cluster) = Cluster::start_secured() else { return };
    let directory = directory();
    cluster.issue(directory.path(), "web2", 1);
    let topic = Topic::create(cluster.bootstrap(), "rights", 1);
    let kafka = mutual_tls(&cluster, directory.path(), "web2");
    let mut agent = agent(&cluster, Listener::MutualTls, directory.path(), &topic, kafka);
    let words = [
        "`User:CN=web2` write the topic rights",
        "--allow-principal 'User:CN=web2' --operation Write --topic rights",
    ];
    assert_told(&mut agent, "forbidden", &words);
    assert_command_tells(&agent, "check", &words);
    assert_command_tells(&agent, "doctor", &words);
    // To see the topic is not enough.
    allow(&cluster, "User:CN=web2", &["--operation", "Describe", "--topic", "rights"]);
    assert_told(&mut agent, "forbidden", &words);
    // Only the agent knows, which is on its way to try again now and then.
    wait_until("the doctor to tell what the agent knows", || {
        let doctor = agent.command("doctor");
        doctor.code == Some(1) && words.iter().all(|word| doctor.stdout.contains(word))
    });
    allow_writing(&cluster, "User:CN=web2", &topic);
    assert_arrived(&topic);
    agent.assert_delivered(LINES);
    assert_eq!(agent.status_told()["kafka_reason"], "");
}

#[test]
fn an_agent_that_may_not_read_the_topic_of_rules_says_so_and_takes_them_once_it_may() {
    let Some(cluster) = Cluster::start_secured() else { return };
    let directory = directory();
    let path = |name: &str| directory.path().join(name).display().to_string();
    cluster.issue(directory.path(), "web5", 1);
    let topic = Topic::create(cluster.bootstrap(), "ruled", 1);
    allow_writing(&cluster, "User:CN=web5", &topic);
    let key = path("rules");
    assert_eq!(run_to_end("logweir", &["keygen", &key]).code, Some(0));
    let kafka = mutual_tls(&cluster, directory.path(), "web5");
    let config = AgentConfig::of_files(&topic, directory.path(), "app.log");
    let config = AgentConfig { without_rules: true, ..config };
    let config = config.through(cluster.bootstrap_of(Listener::MutualTls), kafka);
    let mut agent = Agent::stopped(directory.path(), &config);
    let published = format!("shipped: false\n  published: {{public_key: '{key}.pub'}}");
    agent.rewrite("shipped: false", &published);
    agent.start();
    let reason = |agent: &Agent| {
        let status = agent.status();
        status.map_or_else(String::new, |status| status["published"]["topic_reason"].to_string())
    };
    wait_until("the right that is missing", || {
        let words = ["`User:CN=web5` read the topic logweir.rules", "--operation Read"];
        words.iter().all(|word| reason(&agent).contains(word))
    });
    let mut lines = Lines::new("writer", &directory.path().join("app.log"));
    lines.write(LINES);
    assert_arrived(&topic);

    let pack = "pack: numbered\napplies: {contains: [line]}\nrules:\n  - id: numbered.line\n    \
                pattern: '^line (?<labels.number:int>\\d+) of'\n    samples:\n      - line: line 5 of a\n        \
                expect: {labels.number: 5}\n";
    std::fs::create_dir(path("packs")).unwrap();
    std::fs::write(directory.path().join("packs/numbered.yaml"), pack).unwrap();
    let (packs, key) = (path("packs"), format!("{key}.key"));
    let words = ["rules", "publish", &packs, "--no-shipped", "--key", &key];
    let words = [&words[..], &["--bootstrap-server", cluster.bootstrap()]].concat();
    let output = run_to_end("logweir", &words);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    allow(&cluster, "User:CN=web5", &["--operation", "Read", "--topic", "logweir.rules"]);
    wait_until("the published rules", || {
        agent.assert_running();
        agent.status().is_some_and(|status| status["published"]["version"] == 1)
    });
    assert_eq!(reason(&agent), "\"\"");
}

#[test]
fn a_wrong_password_is_told_and_the_right_one_is_taken_up_from_its_file() {
    let Some(cluster) = Cluster::start_secured() else { return };
    let directory = directory();
    let password = directory.path().join("password");
    write_secret(&password, "wrong-password");
    let topic = Topic::create(cluster.bootstrap(), "password", 1);
    allow_writing(&cluster, "User:agent", &topic);
    let kafka = sasl(&cluster, "SCRAM-SHA-512", "agent", &password);
    let mut agent = agent(&cluster, Listener::Sasl, directory.path(), &topic, kafka);
    let words =
        ["sasl_ssl://127.0.0.1:", "SASL authentication error", "`User:agent` with SCRAM-SHA-512"];
    assert_told(&mut agent, "unreachable", &words);
    assert_command_tells(&agent, "check", &words);
    assert_command_tells(&agent, "doctor", &words);
    assert!(!agent.said().contains("wrong-password"));
    write_secret(&password, "agent-password");
    assert_arrived(&topic);
    agent.assert_delivered(LINES);
}

#[test]
fn a_token_that_has_ended_or_is_refused_is_told_and_the_next_one_is_taken_up() {
    let Some(cluster) = Cluster::start_secured() else { return };
    let directory = directory();
    let token = directory.path().join("token");
    write_secret(&token, &cluster.token("agent", -60));
    let topic = Topic::create(cluster.bootstrap(), "token", 1);
    allow_writing(&cluster, "User:agent", &topic);
    let mut agent =
        agent(&cluster, Listener::Sasl, directory.path(), &topic, bearer(&cluster, &token));
    assert_told(&mut agent, "unreachable", &["the token", "seconds ago", "has stopped"]);
    // Nobody knows who has signed it.
    let stranger = Identity::new("stranger", &[], None, 1).token("agent", 3_600);
    write_secret(&token, &stranger);
    assert_told(
        &mut agent,
        "unreachable",
        &["SASL authentication error", "who has signed the token"],
    );
    assert!(!agent.said().contains(&stranger));
    write_secret(&token, &cluster.token("agent", 3_600));
    assert_arrived(&topic);
    agent.assert_delivered(LINES);
}

#[test]
fn a_wrong_authority_is_told_and_the_right_one_is_taken_up_from_its_file() {
    let Some(cluster) = Cluster::start_secured() else { return };
    let directory = directory();
    let authority = directory.path().join("authority.pem");
    Identity::new("another", &[], None, 1).write(directory.path(), "authority");
    let topic = Topic::create(cluster.bootstrap(), "authority", 1);
    let kafka = tls(&authority);
    let mut agent = agent(&cluster, Listener::Tls, directory.path(), &topic, kafka);
    let words = ["ssl://127.0.0.1:", "certificate verify failed", "have not signed the broker's"];
    assert_told(&mut agent, "unreachable", &words);
    assert_command_tells(&agent, "check", &words);
    std::fs::copy(cluster.authority(), &authority).unwrap();
    assert_arrived(&topic);
    agent.assert_delivered(LINES);
}

#[test]
fn an_expired_certificate_is_told_and_a_new_one_is_taken_up() {
    let Some(cluster) = Cluster::start_secured() else { return };
    let directory = directory();
    cluster.issue(directory.path(), "web3", 20);
    let topic = Topic::create(cluster.bootstrap(), "expired", 1);
    allow_writing(&cluster, "User:CN=web3", &topic);
    let kafka = mutual_tls(&cluster, directory.path(), "web3");
    let mut agent = agent(&cluster, Listener::MutualTls, directory.path(), &topic, kafka);
    let words = ["ssl://127.0.0.1:", "web3.pem`, ended 11 days ago", "put a new one in place"];
    assert_told(&mut agent, "unreachable", &words);
    assert_command_tells(&agent, "doctor", &["web3.pem` ended 11 days ago"]);
    cluster.issue(directory.path(), "web3", 1);
    assert_arrived(&topic);
    agent.assert_delivered(LINES);
}

#[test]
fn a_new_certificate_is_taken_up_while_events_flow() {
    let Some(cluster) = Cluster::start_secured() else { return };
    let directory = directory();
    cluster.issue(directory.path(), "web4", 1);
    let topic = Topic::create(cluster.bootstrap(), "renewal", 1);
    allow_writing(&cluster, "User:CN=web4", &topic);
    let config = AgentConfig::of_files(&topic, directory.path(), "app.log");
    let kafka = mutual_tls(&cluster, directory.path(), "web4");
    let mut delivery = Delivery::stopped(
        directory.path(),
        &topic,
        &config.through(cluster.bootstrap_of(Listener::MutualTls), kafka),
    );
    delivery.start();
    let mut lines = Lines::new("writer", &directory.path().join("app.log"));
    lines.write(LINES);
    assert_arrived(&topic);
    cluster.issue(directory.path(), "web4", 2);
    wait_until("the agent to take it up", || {
        lines.write(10);
        delivery.agent.said().contains("certificates or secrets have changed")
    });
    lines.write(LINES);
    delivery.assert_complete(&[lines.tally()]);
}

#[test]
fn an_ingest_that_may_only_read_says_what_it_lacks_and_goes_on_once_it_has_it() {
    let Some(cluster) = Cluster::start_secured() else { return };
    let directory = directory();
    let password = directory.path().join("ingest-password");
    write_secret(&password, "not-it");
    let topic = Topic::create(cluster.bootstrap(), "reading", 1);
    let config = AgentConfig::of_files(&topic, directory.path(), "app.log");
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    delivery.ingest.through(
        &cluster.bootstrap_of(Listener::Sasl),
        &sasl(&cluster, "SCRAM-SHA-512", "ingest", &password),
    );
    let mut lines = Lines::new("writer", &directory.path().join("app.log"));
    lines.write(LINES);
    delivery.start();
    let hears = |delivery: &mut Delivery, words: &[&str]| {
        wait_until(&format!("the ingest to say {words:?}"), || {
            delivery.ingest.assert_running();
            let said = delivery.ingest.said();
            words.iter().all(|word| said.contains(word))
        });
    };
    hears(&mut delivery, &["SASL authentication error", "`User:ingest` with SCRAM-SHA-512"]);
    write_secret(&password, "ingest-password");
    hears(
        &mut delivery,
        &[
            "`User:ingest` read the topic reading",
            "--operation Read --topic reading --group reading",
        ],
    );
    allow(
        &cluster,
        "User:ingest",
        &["--operation", "Read", "--topic", "reading", "--group", "reading"],
    );
    delivery.assert_complete(&[lines.tally()]);
}

#[test]
fn an_ingest_logs_in_with_a_token() {
    let Some(cluster) = Cluster::start_secured() else { return };
    let directory = directory();
    let token = directory.path().join("ingest-token");
    write_secret(&token, &cluster.token("ingest", 3_600));
    let topic = Topic::create(cluster.bootstrap(), "by-token", 1);
    allow(
        &cluster,
        "User:ingest",
        &["--operation", "Read", "--topic", "by-token", "--group", "by-token"],
    );
    allow(&cluster, "User:ingest", &["--operation", "Read", "--topic", "logweir.agents"]);
    let config = AgentConfig::of_files(&topic, directory.path(), "app.log");
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    let (servers, properties) = (cluster.bootstrap_of(Listener::Sasl), bearer(&cluster, &token));
    delivery.ingest.through(&servers, &properties);
    let socket = directory.path().join("ingest.sock");
    delivery.ingest.configure(&format!("status: {{socket: '{}'}}\n", socket.display()));
    let mut lines = Lines::new("writer", &directory.path().join("app.log"));
    lines.write(LINES);
    delivery.start();
    wait_until("the ingest to know where the partition ends", || {
        let status = delivery.ingest.status().unwrap_or_default();
        status["partitions"][0]["end_offset"] == LINES
    });
    delivery.assert_complete(&[lines.tally()]);
    let properties: Vec<_> = properties.iter().map(|line| line.replacen(": ", "=", 1)).collect();
    let command = |name: &[&str]| {
        let with = properties.iter().flat_map(|property| ["--property", property]);
        let at = ["--bootstrap-server", &servers];
        run_to_end("logweir", &name.iter().copied().chain(at).chain(with).collect::<Vec<_>>())
    };
    wait_until("the agent's report", || {
        let output = command(&["agents", "--format", "json"]);
        assert_eq!(output.stderr, "");
        !output.stdout.is_empty()
    });
    let output = command(&["topics", "describe", "by-token"]);
    assert!(output.stderr.contains("not created, described or changed by token"), "{output:?}");
}

#[test]
fn what_this_build_cannot_do_is_refused_with_what_to_do_instead() {
    let directory = directory();
    let path = directory.path().join("agent.yaml");
    append(&path, b"kafka:\n  bootstrap.servers: k:9093\n  security.protocol: sasl_ssl\n");
    append(&path, b"sources: [{type: stdin}]\n");
    for (line, words) in [
        (
            "sasl.mechanism: GSSAPI",
            ["`sasl.mechanism` is `GSSAPI`", "let the brokers offer another way beside it"],
        ),
        ("sasl.oauthbearer.method: oidc", ["`sasl.oauthbearer.method`", "certificates of clients"]),
        (
            "sasl.oauthbearer.token.endpoint.url: 'https://idp.example/token'",
            ["this build fetches no tokens", "write `file:///PATH`"],
        ),
        (
            "sasl.mechanism: OAUTHBEARER",
            ["no token is named", "add `sasl.oauthbearer.token.endpoint.url: file:///PATH`"],
        ),
    ] {
        let text = std::fs::read_to_string(&path).unwrap();
        let tried = directory.path().join("tried.yaml");
        std::fs::write(&tried, text.replace("sources:", &format!("  {line}\nsources:"))).unwrap();
        let output = run_to_end(
            "logweir-agent",
            &["check", "--offline", "--config", &tried.display().to_string()],
        );
        assert_eq!(output.code, Some(78), "{line}: {}", output.stdout);
        assert!(words.iter().all(|word| output.stderr.contains(word)), "{}", output.stderr);
    }
}
