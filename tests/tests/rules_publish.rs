//! Rules that are published to agents: what is taken, what is refused, and what is given up again.

use logweir_tests::{
    Agent, AgentConfig, Broker, Output, Topic, append, directory, run_to_end, wait_until,
};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A pack with one rule, of which every line begins with `word`.
fn pack(word: &str) -> String {
    format!(
        "pack: shop\napplies: {{contains: [' ']}}\nrules:\n  - id: shop.{word}\n    \
         pattern: '^{word} (?<labels.cents:int>\\d+)$'\n    samples:\n      - line: {word} 5\n        \
         expect: {{labels.cents: 5}}\n"
    )
}

struct Site {
    directory: PathBuf,
    bootstrap: String,
}

impl Site {
    fn rules(&self, command: &str, more: &[&str]) -> Output {
        let words = [&["rules", command, "--bootstrap-server", &self.bootstrap], more].concat();
        run_to_end("logweir", &words)
    }

    /// Publishes a pack to the group `web`.
    fn publish(&self, text: &str, key: &str, more: &[&str]) -> Output {
        let packs = self.directory.join("packs");
        std::fs::create_dir_all(&packs).unwrap();
        std::fs::write(packs.join("shop.yaml"), text).unwrap();
        let (packs, key) = (packs.display().to_string(), self.file(key));
        let words = [&packs, "--no-shipped", "--group", "web", "--key", &key];
        self.rules("publish", &[&words[..], more].concat())
    }

    fn file(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// An agent that reads `NAME.log` with nothing but the rules of its group.
    fn agent(&self, topic: &Topic, group: &str, trial: &str) -> Agent {
        let folder = self.directory.join(group);
        std::fs::create_dir_all(&folder).unwrap();
        let log = AgentConfig::of_files(topic, &folder, "app.log");
        let mut agent = Agent::stopped(&folder, &AgentConfig { without_rules: true, ..log });
        let published = format!(
            "shipped: false\n  published: {{public_key: {}, group: {group}, trial: {trial}}}",
            self.file("good.pub")
        );
        agent.rewrite("shipped: false", &published);
        agent.start();
        agent
    }
}

fn published(agent: &Agent) -> Value {
    agent.status_told()["published"].clone()
}

fn wait_for_version(agent: &Agent, version: u64) {
    wait_until(&format!("version {version} to be in use"), || {
        published(agent)["version"] == version
    });
}

fn wait_for_refusal(agent: &Agent, reason: &str) {
    wait_until(&format!("a refusal: {reason}"), || {
        let refused = published(agent)["refused"]["reason"].clone();
        refused.as_str().is_some_and(|told| told.contains(reason))
    });
}

fn parsed(agent: &Agent) -> u64 {
    agent.status_told()["parsed"].as_u64().unwrap_or(0)
}

fn write(folder: &Path, word: &str, count: usize) {
    let lines: String = (0..count).map(|number| format!("{word} {number}\n")).collect();
    append(&folder.join("app.log"), lines.as_bytes());
}

#[test]
fn an_agent_takes_what_is_signed_for_it_and_goes_back_when_it_does_harm() {
    let directory = directory();
    let mut broker = Broker::started(directory.path());
    let site = Site { directory: directory.path().to_owned(), bootstrap: broker.bootstrap() };
    let topic = Topic::create(&broker.bootstrap(), "shop", 1);
    for key in ["good", "other"] {
        let made = run_to_end("logweir", &["rules", "keygen", &site.file(key)]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    }
    let mut web = site.agent(&topic, "web", "1s");
    let mut db = site.agent(&topic, "db", "1s");
    let folder = directory.path().join("web");

    // What does not load, or has a sample that does not hold, is not published.
    assert_eq!(site.publish("pack: shop\nrules: 5\n", "good.key", &[]).code, Some(78));
    let failing = site.publish(&pack("paid").replace("cents: 5", "cents: 6"), "good.key", &[]);
    assert_eq!(failing.code, Some(1));
    assert!(failing.stderr.contains("shop.yaml:7: shop.paid"), "{}", failing.stderr);

    // A share of few hosts, to which this one hardly ever belongs, then of all; the other group has
    // nothing.
    assert_eq!(site.publish(&pack("paid"), "good.key", &["--percent", "0"]).code, Some(2));
    let few = site.publish(&pack("paid"), "good.key", &["--percent", "1"]);
    assert!(few.stdout.contains("version 1 of the group `web`"), "{}{}", few.stdout, few.stderr);
    wait_until("version 1 to be for others, or for this one", || {
        let told = published(&web);
        told["not_for_this_host"] == 1 || told["version"] == 1
    });
    assert_eq!(site.publish(&pack("paid"), "good.key", &[]).code, Some(0));
    wait_for_version(&web, 2);
    write(&folder, "paid", 100);
    wait_until("lines to be parsed by the published rule", || parsed(&web) == 100);
    assert_eq!(published(&db)["version"], Value::Null);
    wait_until("the end of the trial", || published(&web)["on_trial"] == false);

    // What another has signed, what is broken although it is signed, and what is old.
    assert_eq!(site.publish(&pack("stolen"), "other.key", &["--set-version", "9"]).code, Some(0));
    wait_for_refusal(&web, "the signature is not by a key that is trusted here");
    let listed = site.rules("published", &["--public-key", &site.file("good.pub")]);
    assert_eq!(listed.code, Some(1), "{}", listed.stdout);
    let broken = "pack: shop\nrules: [{id: x}]\n";
    assert_eq!(site.publish(broken, "good.key", &["--untested"]).code, Some(0));
    wait_for_refusal(&web, "published:3/shop.yaml:2");
    let failing = pack("paid").replace("cents: 5", "cents: 6");
    assert_eq!(site.publish(&failing, "good.key", &["--untested"]).code, Some(0));
    wait_for_refusal(&web, "1 samples do not hold");
    let rules = Topic::open(&site.bootstrap, "logweir.rules", 1);
    rules.put(b"web", &rules.read()[0].1);
    wait_for_refusal(&web, "older than version 4");
    assert_eq!(published(&web)["version"], 2);
    let status = web.command("status").stdout;
    assert!(status.contains("rules: version 2 of the group web"), "{status}");
    assert!(status.contains("refused version 1: older than version 4"), "{status}");
    wait_until("the refusal in the report", || {
        let words = ["agents", "--bootstrap-server", &site.bootstrap, "--silent-after", "10m"];
        let shown = run_to_end("logweir", &words).stdout;
        shown.contains("rules: refused version 1: older than version 4")
    });

    // Without a broker the last good set is in use all the same.
    broker.kill9();
    assert!(web.terminate().success() && db.terminate().success());
    web.rewrite("trial: 1s", "trial: 1h");
    web.start();
    wait_for_version(&web, 2);
    assert_eq!(published(&web)["on_trial"], false);
    write(&folder, "paid", 100);
    broker.start();
    wait_until("lines to be parsed again", || parsed(&web) == 100);

    // A set whose samples hold, and that does not know the host's lines.
    let harmful = site.publish(&pack("pays"), "good.key", &[]);
    assert!(harmful.stdout.contains("version 5"), "{}{}", harmful.stdout, harmful.stderr);
    wait_for_version(&web, 5);
    write(&folder, "paid", 100);
    wait_until("the return to version 2", || published(&web)["version"] == 2);
    wait_for_refusal(&web, "app.log 100 % of 100 events match no rule");

    // A set with which the agent dies.
    let deadly = site.publish(&pack("paid").replace("shop.paid", "shop.x"), "good.key", &[]);
    assert!(deadly.stdout.contains("version 6"), "{}{}", deadly.stdout, deadly.stderr);
    for _ in 0..2 {
        wait_for_version(&web, 6);
        web.kill9();
        web.start();
    }
    wait_for_version(&web, 2);
    wait_for_refusal(&web, "the agent died 2 times with it");

    let withdrawn = site.rules("withdraw", &["--group", "web", "--key", &site.file("good.key")]);
    assert_eq!(withdrawn.code, Some(0), "{}", withdrawn.stderr);
    wait_until("no published rules", || published(&web)["version"] == Value::Null);
    let listed = site.rules("published", &["--public-key", &site.file("good.pub")]);
    assert_eq!(listed.code, Some(0), "{}", listed.stdout);
    assert!(listed.stdout.contains("withdrawn"), "{}", listed.stdout);
}
