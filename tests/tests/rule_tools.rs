//! The tools around rules, as a user runs them.

use logweir_tests::{
    Agent, AgentConfig, Broker, DEADLINE, Output, Topic, directory, run_to_end, wait,
};
use std::path::Path;

fn rules(arguments: &[&str]) -> Output {
    run_to_end("logweir-agent", &[&["rules"], arguments].concat())
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const SHOP: &str = "\
2026-11-28 10:15:02,123 INFO  [http-1] shop.Cart: user alice added item 4711 to cart
2026-11-28 10:15:02,200 INFO  [http-2] shop.Cart: user bob added item 4712 to cart
2026-11-28 10:15:03,001 WARN  [http-1] shop.Pay: payment refused for user=carol ip=203.0.113.9
Nov 28 10:15:04 web1 shopd[12]: cache of 10.0.0.7:8080 cleared
";

#[test]
fn a_suggested_pack_passes_its_test_and_matches_the_lines() {
    let directory = directory();
    let log = write(directory.path(), "app.log", SHOP);
    let pack = directory.path().join("shop.yaml");
    let pack = pack.to_str().unwrap();
    let suggest = ["suggest", "--name", "shop", "--output", pack, &log];
    let suggested = rules(&suggest);
    assert_eq!(suggested.code, Some(0), "{}", suggested.stderr);
    assert!(suggested.stderr.contains("3 rules for 4 of the 4 lines"), "{}", suggested.stderr);

    let tested = rules(&["test", pack]);
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
    assert_eq!(tested.stdout, "4 samples of 3 rules, 0 failed\n");

    let covered = rules(&["coverage", "--rules", pack, &log]);
    assert!(covered.stdout.contains("4 of 4 lines matched"), "{}", covered.stdout);
    let nothing = rules(&["suggest", "--rules", pack, &log]);
    assert_eq!(nothing.code, Some(1), "{}", nothing.stdout);

    let again = rules(&suggest);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    assert_eq!(rules(&[&suggest[..], &["--force"]].concat()).code, Some(0));
}

#[test]
fn converted_rules_load_and_what_was_left_out_is_told_with_its_place() {
    let directory = directory();
    let conf = write(
        directory.path(),
        "parsers.conf",
        "[PARSER]\n  Name shop\n  Format regex\n  Regex ^(?<user>\\S+) paid (?<cents>\\d+)$\n  Types cents:integer\n  Decode_Field json x\n",
    );
    let pack = directory.path().join("shop.yaml");
    let pack = pack.to_str().unwrap();
    let found = rules(&["convert", "--from", "fluentbit", "--name", "shop", &conf, "-o", pack]);
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert!(
        found.stderr.contains(&format!("{conf}:6:3: warning: `Decode_Field`")),
        "{}",
        found.stderr
    );
    let checked = rules(&["check", pack]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    let log = write(directory.path(), "log", "bob paid 5\n");
    let arguments = ["parse", "--rules", pack, "--dataset", "shop", &log];
    let parsed = run_to_end("logweir-agent", &arguments);
    assert!(parsed.stdout.contains("\"user.name\":\"bob\""), "{}", parsed.stdout);
    assert!(parsed.stdout.contains("\"labels.cents\":5"), "{}", parsed.stdout);
    let nothing = rules(&["convert", "--from", "wazuh", &conf]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(1), ""));
}

const ORDERS: &str = r"
pack: orders
applies: {program: [orders]}
rules:
  - id: orders.paid
    pattern: '^user (?<user.name>\S+) paid (?<labels.cents:int>\d+) cents$'
    transform: {user.name: lowercase}
    set: {event.outcome: success}
";

#[test]
fn explain_shows_where_a_pattern_stops_and_what_a_rule_did() {
    let directory = directory();
    let pack = write(directory.path(), "orders.yaml", ORDERS);
    let explain = |line: &str, more: &[&str]| {
        rules(&[&["explain", "--no-shipped", "--rules", &pack][..], more, &[line]].concat())
    };
    let stopped = explain("Nov 28 10:15:02 web1 orders[8]: user Bob paid x cents", &[]);
    assert_eq!(stopped.code, Some(1), "{}", stopped.stdout);
    let shown = "user Bob paid x cents\n                    ^ column 47\n";
    assert!(stopped.stdout.contains(shown), "{}", stopped.stdout);
    let wants = "the pattern wants here: `(?<labels.cents>\\d+)`";
    assert!(stopped.stdout.contains(wants), "{}", stopped.stdout);

    let matched = explain("Nov 28 10:15:02 web1 orders[8]: user Bob paid 5 cents", &["--trace"]);
    assert_eq!(matched.code, Some(0), "{}", matched.stdout);
    for part in [
        "\u{2713} orders.paid matches",
        "orders.paid transform\n      user.name = bob",
        "labels.cents: 5",
    ] {
        assert!(matched.stdout.contains(part), "{part}: {}", matched.stdout);
    }
    assert!(!matched.stdout.contains('\u{1b}'));

    let other =
        explain("Nov 28 10:15:02 web1 order[8]: user Bob paid 5 cents", &["--format", "json"]);
    let other: serde_json::Value = serde_json::from_str(&other.stdout).unwrap();
    assert_eq!(other["matches_elsewhere"][0]["rule"], "orders.paid");
    assert_eq!(other["matches_elsewhere"][0]["applies"], "program: [orders]");
    assert_eq!(other["hints"][0], "no pack names the program `order`; one names `orders`");
}

#[test]
fn check_names_the_rules_that_nothing_tests_and_what_each_costs() {
    let directory = directory();
    let pack = write(directory.path(), "orders.yaml", ORDERS);
    let checked = rules(&["check", &pack]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let warning = format!("{pack}:5:9: warning: no sample reaches the rule `orders.paid`");
    assert!(checked.stderr.contains(&warning), "{}", checked.stderr);
    assert!(checked.stdout.contains("us  indexed "), "{}", checked.stdout);
    assert_eq!(rules(&["check", "--deny-warnings", &pack]).code, Some(1));
}

#[test]
fn a_running_agent_tells_which_rules_were_tried_and_matched() {
    let directory = directory();
    let broker = Broker::started(directory.path());
    let topic = Topic::create(&broker.bootstrap(), "counted", 1);
    write(
        directory.path(),
        "auth.log",
        "Nov 28 10:15:02 web1 sshd[7]: Accepted publickey for alice from 192.0.2.7 port 50022 ssh2\n\
         Nov 28 10:15:03 web1 sshd[7]: Server listening on 0.0.0.0 port 22.\n\
         Nov 28 10:15:04 web1 sshd[8]: Accepted password for bob from 192.0.2.8 port 50023 ssh2\n",
    );
    let config = AgentConfig::of_files(&topic, directory.path(), "auth.log");
    let agent = Agent::started(directory.path(), &config);
    let counted = wait("each line to be counted once, and delivered", DEADLINE, || {
        let status = agent.status()?;
        let rules = status["rules"].as_array()?;
        let matched: u64 = rules.iter().filter_map(|rule| rule["matched"].as_u64()).sum();
        (matched == 3 && status["delivered"] == 3).then(|| rules.clone())
    });
    let accepted = counted.iter().find(|rule| rule["id"] == "sshd.accepted").unwrap();
    assert_eq!((&accepted["tried"], &accepted["matched"]), (&2.into(), &2.into()), "{accepted}");
    assert_eq!(accepted["over_budget"], 0);

    let config = directory.path().join("agent.yaml").display().to_string();
    let shown = run_to_end("logweir-agent", &["status", "--config", &config, "--rules"]).stdout;
    let line = shown.lines().find(|line| line.ends_with(" sshd.accepted")).unwrap_or(&shown);
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["2", "2", "100.0%", "0", "sshd.accepted"], "{shown}");
}
