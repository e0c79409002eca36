//! `logweir-agent status`: what a running agent has read, delivered, holds and dropped.

use super::out::printable;
use super::{no_agent, report_faults};
use crate::Config;
use crate::status::ask;
use crate::{errln, out, outln};
use clap::ValueEnum;
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;

/// Ask the running agent how it is
#[derive(Debug, clap::Args)]
pub struct Status {
    /// The configuration of the agent; only the place of its sockets is used
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/agent.yaml")]
    config: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The rules that were tried most, instead of the sources (JSON has all that were tried)
    #[arg(long)]
    rules: bool,
}

/// How many rules are shown.
const RULES_MAX: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    /// The snapshot as the agent gives it
    Json,
}

impl Status {
    pub fn execute(self) -> ExitCode {
        let socket_dir = match Config::socket_dir_in(&self.config) {
            Ok(socket_dir) => socket_dir,
            Err(faults) => return report_faults(&faults),
        };
        match ask(&socket_dir) {
            Ok(text) if self.format == Format::Json => outln!("{text}"),
            Ok(text) => match serde_json::from_str::<Value>(&text) {
                Ok(status) if self.rules => out!("{}", rules(&status)),
                Ok(status) => out!("{}", table(&status)),
                Err(error) => {
                    errln!("logweir-agent: the agent's answer is damaged: {error}");
                    return ExitCode::FAILURE;
                }
            },
            Err(error) => {
                errln!("logweir-agent: {}", no_agent(&socket_dir, &error));
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    }
}

fn table(status: &Value) -> String {
    let count = |of: &Value, name: &str| of[name].as_u64().unwrap_or(0);
    let drops = |of: &Value| {
        let reasons = of["dropped"].as_object().into_iter().flatten();
        let list: Vec<String> =
            reasons.map(|(reason, count)| format!("{reason} {count}")).collect();
        if list.is_empty() { "0".to_owned() } else { list.join(", ") }
    };
    let mut out = format!(
        "agent {} ({})  kafka {}  landlock {}\nread {}  delivered {}  held {}  parsed {}  unparsed {}  dropped {}\n",
        text(&status["agent_name"]),
        text(&status["agent_id"]),
        text(&status["kafka"]),
        text(&status["landlock"]),
        count(status, "read"),
        count(status, "delivered"),
        count(status, "held"),
        count(status, "parsed"),
        count(status, "unparsed"),
        drops(status),
    );
    let reason = text(&status["kafka_reason"]);
    if !reason.is_empty() {
        out.push_str(&format!("kafka: {reason}\n"));
    }
    for line in troubles(status) {
        out.push_str(&format!("{line}\n"));
    }
    out.push_str(&format!("rules: hash {}\n", text(&status["rules_hash"])));
    let refused = text(&status["rules_refused"]);
    if !refused.is_empty() {
        out.push_str(&format!("rules: what has changed is not in use: {refused}\n"));
    }
    out.push_str(&published(&status["published"]));
    for source in status["sources"].as_array().into_iter().flatten() {
        let spool = &source["spool"];
        let behind = match spool.is_object() {
            true => count(spool, "backlog_bytes"),
            false => count(source, "end_offset").saturating_sub(count(source, "acked_offset")),
        };
        out.push_str(&format!(
            "{:7} {}  read {}  delivered {}  held {}  dropped {}  behind {behind} bytes\n",
            text(&source["kind"]),
            text(&source["name"]),
            count(source, "read"),
            count(source, "delivered"),
            count(source, "held"),
            drops(source),
        ));
        if spool.is_object() {
            out.push_str(&format!(
                "        spool {} of {} bytes  a power cut now takes {} bytes, at most those of {} ms{}\n",
                count(spool, "bytes"),
                count(spool, "bytes_max"),
                count(spool, "unsynced_bytes"),
                count(spool, "sync_interval_ms"),
                if spool["failed"] == true { "  THE DISK FAILS: nothing is taken" } else { "" },
            ));
        }
    }
    out
}

/// What is lost or goes wrong besides drops, a line each.
pub(super) fn troubles(status: &Value) -> Vec<String> {
    let count = |of: &Value, name: &str| of[name].as_u64().unwrap_or(0);
    let mut lines = Vec::new();
    if count(status, "files_lost") > 0 {
        lines.push(format!(
            "lost: {} files were gone before they were read to their end, with {} bytes",
            count(status, "files_lost"),
            count(status, "bytes_lost")
        ));
    }
    if count(status, "kafka_partitions_stuck") > 0 {
        lines.push(format!(
            "kafka: {} partitions take nothing, their sources wait; see the log of the agent",
            count(status, "kafka_partitions_stuck")
        ));
    }
    if count(status, "checkpoint_errors") > 0 {
        let fails = status["checkpoint_fails"] == true;
        lines.push(format!(
            "checkpoint: could not be written {} times{}, see the log of the agent",
            count(status, "checkpoint_errors"),
            if fails { "; until it can, files that are new wait" } else { "" }
        ));
    }
    for listener in status["listeners"].as_array().into_iter().flatten() {
        let refused = [
            ("framing_errors", "closed as their stream could not be followed"),
            ("connections_refused", "refused as there were too many"),
            ("senders_refused", "refused as `allow` does not have the sender"),
            ("handshake_failures", "closed as TLS did not come about"),
        ];
        let refused = refused.map(|(name, what)| (count(listener, name), what));
        let refused = refused.iter().filter(|(count, _)| *count > 0);
        let refused: Vec<String> = refused.map(|(count, what)| format!("{count} {what}")).collect();
        if !refused.is_empty() {
            let addresses = ["udp", "tcp", "tls", "unix_datagram", "unix_stream"];
            let addresses = addresses.map(|name| text(&listener[name]));
            let addresses: Vec<&str> =
                addresses.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
            let (addresses, refused) = (addresses.join(" "), refused.join(", "));
            lines.push(format!("syslog {addresses}: connections {refused}"));
        }
    }
    lines
}

/// What is said of published rules, if any are taken.
fn published(of: &Value) -> String {
    let Some(group) = of["group"].as_str() else { return String::new() };
    let group = group.to_owned();
    let mut out = match of["version"].as_u64() {
        Some(version) => format!("rules: version {version} of the group {group}"),
        None => format!("rules: nothing of the group {group} is in use"),
    };
    if of["on_trial"] == true {
        out.push_str(", on trial");
    }
    if let Some(version) = of["not_for_this_host"].as_u64() {
        out.push_str(&format!("; version {version} is for other hosts so far"));
    }
    out.push('\n');
    if of["refused"].is_object() {
        let version = of["refused"]["version"].as_u64();
        let version = version.map_or_else(String::new, |version| format!(" version {version}"));
        out.push_str(&format!("rules: refused{version}: {}\n", text(&of["refused"]["reason"])));
    }
    let topic = text(&of["topic_reason"]);
    if !topic.is_empty() {
        out.push_str(&format!("rules: the topic logweir.rules cannot be read: {topic}\n"));
    }
    out
}

/// The rules that were tried most; what is tried and does not match costs for nothing.
fn rules(status: &Value) -> String {
    let all = status["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let mut out =
        format!("{:>12} {:>12} {:>8} {:>12}  rule\n", "tried", "matched", "share", "over budget");
    for rule in all.iter().take(RULES_MAX) {
        let count = |name: &str| rule[name].as_u64().unwrap_or(0);
        let share = count("matched") as f64 * 100.0 / count("tried").max(1) as f64;
        out.push_str(&format!(
            "{:12} {:12} {share:7.1}% {:12}  {}\n",
            count("tried"),
            count("matched"),
            count("over_budget"),
            text(&rule["id"]),
        ));
    }
    if all.len() > RULES_MAX {
        let more = all.len() - RULES_MAX;
        out.push_str(&format!("and {more} more that were tried; --format json has them all\n"));
    }
    out
}

/// A text without anything that could steer a terminal: file names come from outside.
pub(super) fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_lost_or_refused_is_told_and_nothing_else() {
        let status = |lost: u64, framing: u64| {
            json!({
                "files_lost": lost, "bytes_lost": 70 * lost, "checkpoint_errors": 0,
                "listeners": [{"udp": "0.0.0.0:514", "tcp": null, "framing_errors": framing}],
            })
        };
        assert!(troubles(&status(0, 0)).is_empty());
        let shown = table(&status(2, 3));
        assert!(shown.contains("\nlost: 2 files were gone"), "{shown}");
        assert!(shown.contains("with 140 bytes\n"), "{shown}");
        assert!(shown.contains("\nsyslog 0.0.0.0:514: connections 3 closed as"), "{shown}");
        assert!(!shown.contains("checkpoint:"), "{shown}");
    }
}
