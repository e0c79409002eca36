//! An agent can open what its configuration names, and nothing else.

use logweir_tests::{Agent, AgentConfig, Broker, Lines, Topic, directory, wait_until};
use std::os::unix::fs::symlink;

#[test]
fn a_link_out_of_what_is_configured_is_not_followed_until_the_configuration_says_so() {
    let (directory, outside) = (directory(), tempfile::tempdir().unwrap());
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "hardening", 1);
    let mut inside = Lines::new("inside", &directory.path().join("inside.log"));
    let mut secret = Lines::new("secret", &outside.path().join("secret.log"));
    inside.write(100);
    secret.write(100);
    symlink(outside.path().join("secret.log"), directory.path().join("link.log")).unwrap();
    let config = AgentConfig {
        without_rules: true,
        ..AgentConfig::of_files(&topic, directory.path(), "*.log")
    };
    let mut agent = Agent::started(directory.path(), &config);
    wait_until("what is inside", || topic.events().len() >= 100);
    let state = agent.status_told()["landlock"].clone();
    if state == "none" {
        return eprintln!("SKIPPED: this kernel has no Landlock");
    }
    assert!(state == "full" || state == "partial", "{state}");
    wait_until("the refusal", || agent.said().contains("outside of what Landlock lets the agent"));
    // A reload cannot give back what the process has given up.
    let (named, more) =
        ("agent:\n", format!("agent:\n  landlock_read: [{}]\n", outside.path().display()));
    agent.rewrite(named, &more);
    agent.hang_up();
    wait_until("word of the restart", || agent.said().contains("after a restart only"));
    inside.write(100);
    wait_until("what came after it", || topic.events().len() >= 200);
    assert!(
        !topic
            .events()
            .iter()
            .any(|event| event.numbered().is_some_and(|(name, _)| name == "secret"))
    );
    agent.terminate();
    agent.start();
    wait_until("what the link leads to", || topic.events().len() >= 300);
    agent.terminate();
    // And off is off.
    agent.rewrite("agent:\n", "agent:\n  landlock: false\n");
    agent.start();
    wait_until("the status", || agent.status().is_some_and(|status| status["landlock"] == "off"));
}
