//! `logweir agents`: who sends, how far each is behind, and who has fallen silent, from the agents' own
//! reports in the compacted topic.

use super::cluster::ClusterArguments;
use super::topic::{put, read_to_end};
use super::{report, visible};
use anyhow::{Result, bail};
use clap::Args;
use logweir_agent::{out, outln};
use logweir_document::parse_duration;
use logweir_kafka::Asking;
use logweir_record::TOPIC_AGENTS;
use logweir_store::format_time;
use rdkafka::Timestamp;
use rdkafka::message::Message as _;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// A report comes every ten seconds; as many as these may be lost on the way.
const SILENT_AFTER_DEFAULT: &str = "60s";

/// List the agents from their reports; exit code 1 if one is silent
#[derive(Debug, Args)]
pub struct AgentsCommand {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// An agent without a report for so long is silent
    #[arg(long, value_name = "TIME", default_value = SILENT_AFTER_DEFAULT, value_parser = duration)]
    silent_after: Duration,
    /// table, or json (one object per agent and line)
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Take an agent that is gone for good off the list, by its name or id
    #[arg(long, value_name = "AGENT", conflicts_with = "format")]
    forget: Option<String>,
}

/// The latest report of an agent.
#[derive(Debug, Clone, PartialEq)]
struct Agent {
    /// Its record's, which is its id.
    key: Vec<u8>,
    /// When the report came to Kafka, in microseconds.
    seen_us: i64,
    summary: Summary,
    report: Value,
}

/// What the list shows of a report; whatever an older or newer agent does not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Summary {
    agent_id: String,
    agent_name: String,
    version: String,
    kafka: String,
    read: u64,
    held: u64,
    dropped: BTreeMap<String, u64>,
    unparsed: u64,
    sources: Vec<Source>,
    published: Option<Published>,
}

/// What an agent says of published rules.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Published {
    version: Option<u64>,
    on_trial: bool,
    refused: Option<Refused>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Refused {
    version: Option<u64>,
    reason: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Source {
    acked_offset: u64,
    end_offset: u64,
    spool: Option<Spool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Spool {
    backlog_bytes: u64,
}

impl AgentsCommand {
    pub fn execute(self) -> ExitCode {
        report(self.run())
    }

    fn run(self) -> Result<ExitCode> {
        let mut properties = self.cluster.properties()?;
        properties.set("group.id", "logweir-agents");
        let consumer = logweir_kafka::consumer(&properties)?;
        let agents = latest(&consumer)?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        let silent_us = i64::try_from(self.silent_after.as_micros()).unwrap_or(i64::MAX);
        let is_silent = |agent: &Agent| now_us.saturating_sub(agent.seen_us) > silent_us;
        if let Some(named) = &self.forget {
            let gone = named_agent(&agents, named)?;
            if !is_silent(gone) {
                bail!(
                    "the agent `{}` still reports, and would be back with its next report; stop it first",
                    visible(named)
                );
            }
            put(&self.cluster, TOPIC_AGENTS, &gone.key, None)?;
            outln!("forgot `{}`, {}", visible(named), visible(&gone.summary.agent_id));
            return Ok(ExitCode::SUCCESS);
        }
        if self.format == "json" {
            for agent in &agents {
                outln!("{}", json(agent, is_silent(agent)));
            }
        } else {
            out!("{}", text(&agents, now_us, is_silent));
        }
        let silent = agents.iter().any(is_silent);
        Ok(if silent { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The last report of each agent, by name.
fn latest(consumer: &Asking) -> Result<Vec<Agent>> {
    let mut agents: BTreeMap<Vec<u8>, Agent> = BTreeMap::new();
    read_to_end(consumer, TOPIC_AGENTS, |message| {
        let key = message.key().unwrap_or_default().to_vec();
        match message.payload().and_then(|payload| parse(&key, payload, message.timestamp())) {
            Some(agent) => agents.insert(key, agent),
            None => agents.remove(&key),
        };
    })?;
    let mut agents: Vec<Agent> = agents.into_values().collect();
    agents.sort_by(|a, b| {
        let key =
            |agent: &Agent| (agent.summary.agent_name.clone(), agent.summary.agent_id.clone());
        key(a).cmp(&key(b))
    });
    Ok(agents)
}

fn parse(key: &[u8], payload: &[u8], timestamp: Timestamp) -> Option<Agent> {
    // An empty list would be taken for a report of which nothing is known.
    let report: Value = serde_json::from_slice(payload).ok().filter(Value::is_object)?;
    let summary = Summary::deserialize(&report).ok()?;
    Some(Agent {
        key: key.to_vec(),
        seen_us: timestamp.to_millis().unwrap_or(0).saturating_mul(1000),
        summary,
        report,
    })
}

/// The one agent that has this name or id.
fn named_agent<'a>(agents: &'a [Agent], named: &str) -> Result<&'a Agent> {
    let is_named = |agent: &&Agent| {
        let Summary { agent_name, agent_id, .. } = &agent.summary;
        agent_name == named || agent_id == named
    };
    let found: Vec<&Agent> = agents.iter().filter(is_named).collect();
    match found.as_slice() {
        [agent] => Ok(agent),
        [] => {
            bail!("no agent has the name or id `{}`; `logweir agents` lists them", visible(named))
        }
        several => {
            let ids = several.iter().map(|agent| visible(&agent.summary.agent_id));
            bail!(
                "{} agents have the name `{}`; tell the id of one: {}",
                several.len(),
                visible(named),
                ids.collect::<Vec<_>>().join(", ")
            )
        }
    }
}

impl Published {
    /// The version in use; `?` while it is on trial.
    fn shown(&self) -> String {
        let trial = if self.on_trial { "?" } else { "" };
        self.version.map_or_else(|| "none".to_owned(), |version| format!("{version}{trial}"))
    }
}

impl Summary {
    fn bytes_behind(&self) -> u64 {
        let behind = |source: &Source| match &source.spool {
            Some(spool) => spool.backlog_bytes,
            None => source.end_offset.saturating_sub(source.acked_offset),
        };
        self.sources.iter().map(behind).sum()
    }
}

fn json(agent: &Agent, silent: bool) -> Value {
    serde_json::json!({
        "last_seen": format_time(agent.seen_us),
        "silent": silent,
        "bytes_behind": agent.summary.bytes_behind(),
        "report": agent.report,
    })
}

fn text(agents: &[Agent], now_us: i64, is_silent: impl Fn(&Agent) -> bool) -> String {
    let name_width =
        agents.iter().map(|a| a.summary.agent_name.chars().count()).max().unwrap_or(0).clamp(5, 40);
    let mut out = format!(
        "{:name_width$}  {:8}  {:>9}  {:11}  {:>7}  {:>12}  {:>9}  {:>9}  {:>12}  {:>9}\n",
        "AGENT",
        "VERSION",
        "SEEN",
        "KAFKA",
        "SOURCES",
        "READ",
        "HELD",
        "DROPPED",
        "BYTES BEHIND",
        "PUBLISHED"
    );
    let mut silent = 0;
    for agent in agents {
        let Summary { agent_name, version, kafka, read, held, sources, .. } = &agent.summary;
        let seconds = now_us.saturating_sub(agent.seen_us).max(0) / 1_000_000;
        let state = if is_silent(agent) { "silent" } else { kafka };
        silent += usize::from(is_silent(agent));
        out.push_str(&format!(
            "{:name_width$}  {:8}  {:>9}  {:11}  {:>7}  {read:>12}  {held:>9}  {:>9}  {:>12}  {:>9}\n",
            visible(agent_name),
            visible(version),
            format!("{seconds}s ago"),
            visible(state),
            sources.len(),
            agent.summary.dropped.values().sum::<u64>(),
            agent.summary.bytes_behind(),
            agent.summary.published.as_ref().map_or_else(|| "-".to_owned(), Published::shown)
        ));
        for (reason, count) in &agent.summary.dropped {
            out.push_str(&format!("    dropped: {count} by {}\n", visible(reason)));
        }
        if let Some(Refused { version, reason }) =
            agent.summary.published.as_ref().and_then(|published| published.refused.as_ref())
        {
            let version = version.map_or_else(String::new, |version| format!(" version {version}"));
            out.push_str(&format!("    rules: refused{version}: {}\n", visible(reason)));
        }
    }
    out.push_str(&format!("{} agents, {silent} silent\n", agents.len()));
    out
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a time, such as 60s or 5m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(seen_s: i64, report: &str) -> Agent {
        parse(b"id", report.as_bytes(), Timestamp::CreateTime(seen_s * 1000)).unwrap()
    }

    #[test]
    fn a_report_is_listed_with_what_it_is_behind_and_what_it_dropped() {
        let agents = [agent(
            95,
            r#"{"agent_name":"web\u001b1","version":"0.1.0","kafka":"up","read":9,"held":2,
                "dropped":{"spool_full":3},"sources":[{"acked_offset":10,"end_offset":30},
                {"acked_offset":0,"end_offset":9,"spool":{"backlog_bytes":5}}],
                "published":{"group":"web","version":6,"on_trial":true,
                "refused":{"version":7,"reason":"1 samples"}}}"#,
        )];
        let text = text(&agents, 100_000_000, |_| false);
        assert!(text.contains("5s ago") && text.contains("dropped: 3 by spool_full"), "{text}");
        assert!(text.contains("25         6?\n") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("    rules: refused version 7: 1 samples\n"), "{text}");
    }

    #[test]
    fn an_agent_is_named_by_its_name_or_by_its_id_where_two_have_one_name() {
        let report = |id: &str| format!(r#"{{"agent_name":"web1","agent_id":"{id}"}}"#);
        let agents = [agent(0, &report("a1")), agent(0, &report("b2"))];
        assert_eq!(named_agent(&agents, "b2").unwrap(), &agents[1]);
        assert_eq!(named_agent(&agents[..1], "web1").unwrap(), &agents[0]);
        let several = named_agent(&agents, "web1").unwrap_err().to_string();
        assert!(several.ends_with("tell the id of one: a1, b2"), "{several}");
        assert!(named_agent(&agents, "web2").is_err());
    }

    #[test]
    fn what_is_no_report_is_passed_over() {
        for bytes in [&b""[..], b"[]", b"{", b"{\"read\":-1}"] {
            assert_eq!(parse(b"id", bytes, Timestamp::NotAvailable), None);
        }
    }
}
