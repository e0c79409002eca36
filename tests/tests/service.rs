//! The agent as a service: what it tells systemd, and what it tells Prometheus.

use logweir_tests::{
    Agent, AgentConfig, Broker, DEADLINE, Topic, directory, free_address, line, wait, wait_until,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

const LINES: usize = 5_000;

/// A supervisor's ear, which always listens: the agent waits for nobody, and the kernel keeps ten words.
struct Ear {
    words: Receiver<String>,
    heard: Vec<String>,
}

impl Ear {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        let (sender, words) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer)
                && sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_ok()
            {
            }
        });
        Self { words, heard: Vec::new() }
    }

    fn hears(&mut self, what: &str, expected: impl Fn(&str) -> bool) -> String {
        wait(what, DEADLINE, || {
            self.heard.extend(self.words.try_iter());
            let found = self.heard.iter().position(|text| expected(text))?;
            Some(self.heard.drain(..=found).next_back().expect("it was found"))
        })
    }
}

/// An agent whose Kafka is away. It does not run yet.
fn without_kafka(directory: &Path) -> Agent {
    let config = AgentConfig {
        bootstrap: free_address().to_string(),
        topic: "events".into(),
        files: vec![directory.join("*.log").display().to_string()],
        without_rules: true,
        ..AgentConfig::default()
    };
    Agent::stopped(directory, &config)
}

#[test]
fn a_supervisor_hears_of_start_progress_reload_and_stop() {
    let directory = directory();
    let path = directory.path().join("notify");
    let mut ear = Ear::at(&path);
    let mut agent = without_kafka(directory.path());
    let environment =
        ["env", &format!("NOTIFY_SOCKET={}", path.display()), "WATCHDOG_USEC=2000000"];
    agent.start_within(&environment.map(str::to_owned));
    let ready = ear.hears("READY", |text| text.starts_with("READY=1\n"));
    assert!(ready.contains("STATUS=kafka "), "{ready}");
    // Kafka is away all the while: to wait for it is progress.
    ear.hears("the watchdog to be fed", |text| text == "WATCHDOG=1");
    ear.hears("the watchdog to be fed again", |text| text == "WATCHDOG=1");
    ear.hears("a status", |text| text.starts_with("STATUS=kafka unreachable; reads 0 events/s"));

    agent.hang_up();
    ear.hears("RELOADING", |text| text.starts_with("RELOADING=1\n"));
    ear.hears("READY again", |text| text.starts_with("READY=1\n"));
    wait_until("the reload in the log", || agent.said().contains("sources are those"));

    agent.rewrite("topic: events", "topic: others");
    agent.hang_up();
    ear.hears("READY after the change", |text| text.starts_with("READY=1\n"));
    wait_until("the section in the log", || agent.said().contains("waits for a restart"));
    assert!(agent.said().contains("kafka"), "{}", agent.said());

    agent.rewrite("topic: others", "tropic: others");
    agent.hang_up();
    ear.hears("READY after the fault", |text| text.starts_with("READY=1\n"));
    wait_until("the fault in the log", || agent.said().contains("the one in use stays"));
    agent.assert_running();

    agent.terminate();
    ear.hears("STOPPING", |text| text.starts_with("STOPPING=1\n"));
}

#[test]
fn each_line_of_the_log_has_its_priority_where_the_journal_listens() {
    let directory = directory();
    let mut agent = without_kafka(directory.path());
    // As systemd names the journal's socket to a service: by device and inode of standard error.
    let named = r#"JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$0" "$@""#;
    agent.start_within(&["sh", "-c", named].map(str::to_owned));
    wait_until("a warning and a remark", || {
        let said = agent.said();
        said.contains("\n<4>kafka cannot be reached") && said.contains("<6>")
    });
    // The journal has the time.
    let said = agent.said();
    assert!(
        said.lines().all(|line| line.starts_with('<') && line.get(2..3) == Some(">")),
        "{said}"
    );
}

/// One scrape, strictly: every sample belongs to the family before it, no series is there twice.
fn scrape(address: SocketAddr) -> Option<BTreeMap<String, f64>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(body.ends_with('\n'));
    let (mut series, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut helped, mut family, mut counter) = (String::new(), String::new(), false);
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(helped.clone()), "{line} is there twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped, "the help comes first");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            (family, counter) = (name.to_owned(), kind == "counter");
            assert_eq!(counter, name.ends_with("_total"), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(name.split('{').next().unwrap(), family, "{line}");
            let value: f64 = value.parse().unwrap();
            assert!(!counter || value >= 0.0, "{line}");
            assert!(series.insert(name.to_owned(), value).is_none(), "{line} is there twice");
        }
    }
    Some(series)
}

#[test]
fn the_accounts_balance_in_every_scrape() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "metrics", 2);
    let address = free_address();
    let mut text = String::new();
    (0..LINES).for_each(|number| text.push_str(&line("a \"quoted\" name", number)));
    // A line without a character is counted as dropped.
    std::fs::write(directory.path().join("a\"b.log"), text + "\n").unwrap();
    let mut config = AgentConfig::of_files(&topic, directory.path(), "*.log");
    config.without_rules = true;
    // Of which there are none.
    config.files.push(directory.path().join("*.txt").display().to_string());
    let mut agent = Agent::stopped(directory.path(), &config);
    agent.append(&format!("metrics: {{listen: '{address}'}}\n"));
    agent.start();
    let total = |series: &BTreeMap<String, f64>, name: &str| -> f64 {
        let prefix = format!("logweir_agent_events_{name}");
        series.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, value)| value).sum()
    };
    wait_until("all lines to be delivered", || {
        let Some(series) = scrape(address) else { return false };
        let [read, delivered, held, dropped] =
            ["read_total", "delivered_total", "held", "dropped_total"].map(|n| total(&series, n));
        assert_eq!(read, delivered + held + dropped, "{series:?}");
        for (mark, names) in [("*.log\"", [read, delivered, held, dropped]), ("*.txt\"", [0.0; 4])]
        {
            let of_source =
                ["read_total", "delivered_total", "held", "dropped_total"].map(|name| {
                    let prefix = format!("logweir_agent_source_events_{name}{{source=\"file ");
                    let own = series.iter().filter(|(key, _)| key.starts_with(&prefix));
                    own.filter(|(key, _)| key.contains(mark)).map(|(_, value)| value).sum::<f64>()
                });
            assert_eq!(of_source, names, "{mark}: {series:?}");
        }
        assert!(series.contains_key("logweir_agent_events_dropped_total{reason=\"empty_line\"}"));
        delivered == LINES as f64 && dropped == 1.0
    });
    let series = scrape(address).expect("the agent runs");
    assert_eq!(series["logweir_agent_kafka_up"], 1.0);
    let lag = series.iter().find(|(name, _)| name.contains("source_lag_bytes")).unwrap();
    assert!(lag.0.contains("a\\\"b.log"), "{lag:?}");
}
