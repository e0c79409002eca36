//! What rules drop on purpose is counted under their own reasons.

use logweir_agent::{Agent, Config};
use rdkafka::mocking::MockCluster;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that passes never waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

const PACK: &str = r"
pack: noise
applies: {signature: '^(?:beat|debug|sample) '}
rules:
  - {id: noise.beat, pattern: '^beat ', action: {drop: heartbeat}}
  - {id: noise.debug, pattern: '^debug ', action: {drop: debug_level}}
  - {id: noise.sample, pattern: '^sample ', action: {sample: 4}}
";

#[test]
fn each_reason_of_a_rule_has_its_own_count_and_the_books_balance() {
    let kafka = MockCluster::new(1).unwrap();
    kafka.create_topic("logweir.events", 1, 1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    let rules = directory.path().join("rules.d");
    std::fs::create_dir(&rules).unwrap();
    std::fs::write(rules.join("noise.yaml"), PACK).unwrap();
    let mut lines = String::new();
    for number in 0..8 {
        lines.push_str(&format!("beat {number}\nsample {number}\nother {number}\n"));
    }
    lines.push_str("debug x\ndebug y\n");
    std::fs::write(directory.path().join("a.log"), lines).unwrap();
    let yaml = format!(
        "agent: {{state_dir: '{path}/state', workers: 1}}\n\
         kafka: {{bootstrap.servers: '{}', linger.ms: 5}}\n\
         rules: {{shipped: false, directories: ['{path}/rules.d']}}\n\
         sources:\n  - {{type: file, paths: ['{path}/*.log']}}\n",
        kafka.bootstrap_servers()
    );
    let (config, _) = Config::from_yaml("test.yaml", &yaml).unwrap();
    let agent = Agent::start(config).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let counts = loop {
        let counts = agent.snapshot().counts;
        assert!(counts.balanced(), "{counts:?}");
        if counts.read == 26 && counts.held == 0 {
            break counts;
        }
        assert!(Instant::now() < deadline, "{counts:?}");
        std::thread::yield_now();
    };
    let expected = [("rule:debug_level", 2), ("rule:heartbeat", 8), ("sampled", 6)];
    assert_eq!(counts.dropped.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(counts.delivered, 10);
    assert!(agent.stop(PATIENCE));
}
