//! `logweir topics` against the real cluster: planning, creating again, changing, enlarging.

use logweir_tests::{
    AgentConfig, Cluster, Delivery, Lines, Output, Topic, directory, run_to_end, wait_until,
};

fn topics(bootstrap: &str, command: &str, arguments: &[&str]) -> Output {
    let mut words = vec!["topics", command, "--bootstrap-server", bootstrap];
    words.extend(arguments);
    run_to_end("logweir", &words)
}

#[test]
fn a_topic_is_changed_as_shown_and_what_was_set_before_stays() {
    let Some(cluster) = Cluster::start() else { return };
    let bootstrap = cluster.bootstrap();
    let topic = Topic::create(bootstrap, "altered", 2);
    let again = topics(bootstrap, "create", &["--topic", &topic.name, "--partitions", "2"]);
    assert!(again.stdout.contains("altered: exists, as it would be made"), "{}", again.stdout);

    let change = [topic.name.as_str(), "--config", "retention.ms=3600000"];
    let dry = topics(bootstrap, "alter", &[&change[..], &["--dry-run"]].concat());
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(
        dry.stdout.contains("- retention.ms=604800000\n+ retention.ms=3600000"),
        "{}",
        dry.stdout
    );
    let described = topics(bootstrap, "describe", &[&topic.name]).stdout;
    assert!(described.contains("retention.ms=604800000"), "a dry run changes nothing: {described}");

    assert_eq!(topics(bootstrap, "alter", &change).code, Some(0));
    // A change is done before every broker knows of it.
    wait_until("all brokers to know of it", || {
        bootstrap.split(',').all(|broker| {
            let described = topics(broker, "describe", &[&topic.name]);
            described.code == Some(0) && described.stdout.contains("retention.ms=3600000")
        })
    });
    let described = topics(bootstrap, "describe", &[&topic.name]);
    assert_eq!(described.code, Some(0), "{}", described.stdout);
    assert!(
        described.stdout.contains("2 partitions, replication factor 3"),
        "{}",
        described.stdout
    );
    assert!(described.stdout.contains("retention.ms=3600000"), "{}", described.stdout);
    assert!(described.stdout.contains("min.insync.replicas=2"), "{}", described.stdout);
    let nothing = topics(bootstrap, "alter", &change);
    assert!(nothing.stdout.contains("nothing to change"), "{}", nothing.stdout);
    assert_eq!(topics(bootstrap, "alter", &[&topic.name, "--partitions", "1"]).code, Some(1));
    assert_eq!(topics(bootstrap, "describe", &["no-such-topic"]).code, Some(1));
}

#[test]
fn partitions_that_are_added_under_load_move_no_source_and_repeat_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let directory = directory();
    let logs = directory.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let writer = |n: usize| Lines::new(&format!("writer{n}"), &logs.join(format!("writer{n}")));
    let topic = Topic::create(cluster.bootstrap(), "enlarged", 2);
    let mut writers: Vec<Lines> = (0..6).map(writer).collect();
    let mut config = AgentConfig::of_files(&topic, directory.path(), "logs/*");
    // So that the agent dies before it has written where each source was acknowledged.
    config.agent.push("checkpoint_interval: 1h");
    let mut delivery = Delivery::stopped(directory.path(), &topic, &config);
    delivery.start();
    let table = delivery.ingest.table();
    writers.iter_mut().for_each(|writer| writer.write(500));
    wait_until("the first lines in the table", || table.rows() == 6 * 500);

    let wanted = [topic.name.as_str(), "--partitions", "5"];
    let refused = topics(cluster.bootstrap(), "alter", &wanted);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("Give --yes"), "{}", refused.stderr);
    writers.iter_mut().for_each(|writer| writer.write(500));
    let done = topics(cluster.bootstrap(), "alter", &[&wanted[..], &["--yes"]].concat());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    wait_until("all brokers to know of it", || {
        cluster.bootstrap().split(',').all(|broker| {
            let described = topics(broker, "describe", &[&topic.name]);
            described.code == Some(0) && described.stdout.contains("5 partitions")
        })
    });

    // What was on its way is sent again, by an agent that counts five partitions now.
    delivery.agent.kill9();
    delivery.agent.start();
    delivery.ingest.kill9();
    delivery.ingest.start();
    // So many that not all of them get one of the two partitions that were there before.
    writers.extend((6..30).map(writer));
    writers.iter_mut().for_each(|writer| writer.write(500));
    let tallies: Vec<(&str, usize)> = writers.iter().map(Lines::tally).collect();
    let enlarged = Topic::open(cluster.bootstrap(), &topic.name, 5);
    delivery.topic = enlarged.clone();
    delivery.assert_complete(&tallies);

    let mut used = std::collections::BTreeMap::<String, std::collections::BTreeSet<i32>>::new();
    for (partition, bytes) in enlarged.read() {
        used.entry(logweir_tests::Event::parse(&bytes).source).or_default().insert(partition);
    }
    assert!(used.values().all(|partitions| partitions.len() == 1), "a source moved: {used:?}");
    assert!(used.values().flatten().any(|partition| *partition >= 2), "none is new: {used:?}");
}

#[test]
fn a_plan_names_partitions_disk_network_and_the_command() {
    let plan = run_to_end(
        "logweir",
        &["topics", "plan", "--events-per-second", "300000", "--event-size", "800"],
    );
    assert_eq!(plan.code, Some(0), "{}", plan.stderr);
    for word in ["partitions      3", "disk", "network", "batches", "--partitions 3"] {
        assert!(plan.stdout.contains(word), "{word} is not in:\n{}", plan.stdout);
    }
}
