//! Outages of the broker, and kills in the middle of them.

use logweir_tests::{Broker, Delivery, Lines, Topic, directory, wait_until};

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
    // However it reports that it could not deliver all: it ends, by itself, in time.
    let _ = delivery.agent.terminate();
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
    wait_until("the agent to say that the broker is away", || reports(&delivery.agent.said()) > 0);
    wait_until("the agent to hold lines", || {
        delivery.agent.counts().is_some_and(|counts| counts.held > 0)
    });
    broker.start();
    delivery.ingest.start();
    wait_until("the lines in the table", || delivery.ingest.table().rows() >= 1_000);
    let said = delivery.agent.said();
    assert!(said.contains("Connection refused"), "why it cannot be reached is told:\n{said}");
    assert!(reports(&said) <= 3, "the outage is told of too often:\n{said}");
    delivery.assert_complete(&[writer.tally()]);
}
