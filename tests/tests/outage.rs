//! Outages of the broker, and kills in the middle of them.

use logweir_tests::{
    AgentConfig, Broker, Delivery, Lines, Proxy, Topic, directory, skip, wait_until,
};
use std::path::Path;
use std::process::Command;

#[test]
fn kill9_outage() {
    let directory = directory();
    let mut broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "outage", 4);
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    let mut delivery = Delivery::of_files(directory.path(), &topic, "app.log");
    writer.write(5_000);
    wait_until("the lines before the outage", || topic.records() >= Some(5_000));
    broker.kill9();
    writer.write(50_000);
    wait_until("the agent to hold lines of the outage", || {
        delivery.agent.counts().is_some_and(|counts| counts.held > 0)
    });
    delivery.agent.kill9();
    writer.write(5_000);
    delivery.agent.start();
    wait_until("the agent to hold lines of the outage again", || {
        delivery.agent.counts().is_some_and(|counts| counts.held > 0)
    });
    broker.start();
    delivery.assert_complete(&[writer.tally()]);
}

#[test]
fn sigterm_outage() {
    let directory = directory();
    let mut broker = Broker::stopped(directory.path());
    broker.start();
    let topic = Topic::create(&broker.bootstrap(), "stopped", 2);
    broker.kill9();
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    let mut delivery = Delivery::of_files_stopped(directory.path(), &topic, "app.log");
    delivery.agent.start();
    writer.write(10_000);
    wait_until("the agent to hold lines", || {
        delivery.agent.counts().is_some_and(|counts| counts.held > 0)
    });
    // By itself, when its grace is over: what waits for Kafka would wait for ever.
    assert!(delivery.agent.terminate().success());
    let counts = delivery.agent.last_counts();
    assert!(counts.held > 0, "{counts:?}");
    writer.write(10_000);
    broker.start();
    delivery.agent.start();
    delivery.ingest.start();
    delivery.assert_complete(&[writer.tally()]);
}

#[test]
fn an_unreachable_broker_is_reported_once_and_the_end_of_the_outage_too() {
    let directory = directory();
    let mut broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "reported", 1);
    broker.kill9();
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    let mut delivery = Delivery::of_files_stopped(directory.path(), &topic, "app.log");
    delivery.agent.start();
    writer.write(1_000);
    let address = broker.bootstrap();
    let reports = |said: &str| said.lines().filter(|line| line.contains(&address)).count();
    wait_until("the agent to say that the broker is away, and why", || {
        let said = delivery.agent.said();
        reports(&said) > 0 && said.contains("Connection refused")
    });
    wait_until("the agent to hold lines", || {
        delivery.agent.counts().is_some_and(|counts| counts.held > 0)
    });
    broker.start();
    delivery.ingest.start();
    wait_until("the lines in the table", || delivery.ingest.table().rows() >= 1_000);
    let said = delivery.agent.said();
    assert!(reports(&said) <= 3, "the outage is told of too often:\n{said}");
    delivery.assert_complete(&[writer.tally()]);
}

#[test]
fn broker_ip_change() {
    let directory = directory();
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.8 kafka.loc\n").unwrap();
    let wrapper = own_hosts(&hosts);
    let works = Command::new(&wrapper[0]).args(&wrapper[1..]).arg("true").status();
    if !works.is_ok_and(|status| status.success()) {
        return skip("no mount namespaces here (needs root)");
    }
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "address", 2);
    let port = broker.bootstrap().rsplit(':').next().unwrap().to_owned();
    let config = AgentConfig::of_files(&topic, directory.path(), "app.log");
    let config = config.through(format!("kafka.loc:{port}"), vec![]);
    let mut writer = Lines::new("writer", &directory.path().join("app.log"));
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    let before = Proxy::named(&broker.bootstrap(), 8, "kafka.loc");
    delivery.agent.start_within(&wrapper);
    delivery.ingest.start();
    writer.write(2_000);
    wait_until("the lines before", || topic.records() == Some(2_000));
    drop(before);
    writer.write(2_000);
    wait_until("the agent to notice", || delivery.agent.status_told()["kafka"] == "unreachable");
    let _after = Proxy::named(&broker.bootstrap(), 9, "kafka.loc");
    // In place: the file itself is what is mounted.
    std::fs::write(&hosts, "127.0.0.9 kafka.loc\n").unwrap();
    delivery.assert_complete(&[writer.tally()]);
}

/// What runs a program with another `/etc/hosts`.
fn own_hosts(hosts: &Path) -> Vec<String> {
    let mount = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
    ["unshare", "--mount", "sh", "-c"].map(str::to_owned).into_iter().chain([mount]).collect()
}
