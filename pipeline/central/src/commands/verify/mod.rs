//! `logweir verify`: checks the seals of events in the table or in a topic, and names what was altered,
//! removed or put in afterwards.

mod chain;
mod heads;

use super::audit::duration;
use super::cluster::ClusterArguments;
use super::topic::read_to_end;
use super::{open_table, report, unknown_host, visible};
use anyhow::{Context as _, Result};
use chain::{Arrival, Chains, Finding, Found, Keys, Place, Wrong};
use clap::Args;
use heads::SignedHeads;
use jiff::Timestamp;
use logweir_agent::{errln, is_agent_id, out, outln};
use logweir_record::{
    FIELD_BASE64, FIELD_OFFSET, FIELD_ORIGINAL, FIELD_PREV, FIELD_SEAL, FIELD_SOURCE, SealKey,
    SealedLine, SourceId, TOPIC_EVENTS,
};
use logweir_store::{Query, Row, SearchOptions, SourceAudit, Value, audit, for_each, format_time};
use rdkafka::message::Message as _;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Findings that are shown; the rest is counted.
const SHOWN_MAX: usize = 100;

/// Check the seals of events: nothing altered, removed or put in; exit code 1 if something is
#[derive(Debug, Args)]
pub struct VerifyCommand {
    /// The file with the key that all agents have; where each has its own, --master-key
    #[arg(long, value_name = "FILE", required_unless_present_any = ["master_key", "public_key"])]
    key: Option<PathBuf>,
    /// The file with the master key, from which each agent's key is made
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    master_key: Option<PathBuf>,
    /// Print the key of the agent with this id, for its key file, and do nothing else
    #[arg(long, value_name = "AGENT", requires = "master_key", value_parser = agent_id)]
    key_of: Option<String>,
    /// A file with public keys of agents, for their signed heads; may be given several times
    #[arg(long, value_name = "FILE")]
    public_key: Vec<PathBuf>,
    /// How long an event may take from Kafka to where it is looked for: younger heads are not relied on,
    /// and events of several partitions that came as close together may have come in any order
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    grace: Duration,
    /// The table [default: $LOGWEIR_STORE, /var/lib/logweir/table, or that of the demo here]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["bootstrap_server", "topic"])]
    store: Option<PathBuf>,
    /// Instead of the table a topic [default, with --bootstrap-server: logweir.events]
    #[arg(long)]
    topic: Option<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Only events of this host: the `agent.name` of what reads there
    #[arg(long)]
    host: Option<String>,
    /// Count it as wrong, too, if a source begins later than its first event, as retention leaves it,
    /// if an event has no seal at all, or if signed heads are missing or end early
    #[arg(long)]
    strict: bool,
    /// table, or json (one object per finding and line)
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// With the key for something else, an agent would seal in vain.
fn agent_id(text: &str) -> Result<String, &'static str> {
    is_agent_id(text).then(|| text.to_owned()).ok_or(
        "it is no agent.id: `logweir agents --format json` shows it, and on the host STATE_DIR/agent.id",
    )
}

impl VerifyCommand {
    pub fn execute(self) -> ExitCode {
        report(self.run())
    }

    fn run(self) -> Result<ExitCode> {
        let keys = match (&self.key, &self.master_key) {
            (Some(path), _) => Keys::One(read_key(path)?),
            (None, Some(path)) => Keys::Master(read_key(path)?, HashMap::new()),
            (None, None) => Keys::None,
        };
        if let (Some(agent), Keys::Master(master, _)) = (&self.key_of, &keys) {
            outln!("{}", master.of_agent(agent).to_hex());
            return Ok(ExitCode::SUCCESS);
        }
        let topic = self.topic.as_deref().or(self.cluster.is_told().then_some(TOPIC_EVENTS));
        let mut heads = SignedHeads::trusting(&self.public_key, Timestamp::now(), self.grace)?;
        let mut chains = match topic {
            Some(topic) => self.topic(topic, keys, &mut heads)?,
            None => self.table(keys, &mut heads)?,
        };
        heads.expect(&mut chains);
        let findings = chains.findings();
        let strict = if self.strict { self.strict_findings(&chains, &heads) } else { Vec::new() };
        match self.format.as_str() {
            "json" => findings.iter().for_each(|finding| outln!("{}", json(finding))),
            _ => out!("{}", text(&findings, &chains, &heads, &strict)),
        }
        if self.format == "json" && !strict.is_empty() {
            errln!("logweir: --strict counts as wrong: {}", strict.join(", "));
        }
        let wrong = !findings.is_empty() || !strict.is_empty();
        Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// What only `--strict` counts as wrong.
    fn strict_findings(&self, chains: &Chains, heads: &SignedHeads) -> Vec<String> {
        let unsealed = match chains.keys {
            Keys::None => 0,
            Keys::One(_) | Keys::Master(..) => chains.unsealed(),
        };
        let overdue = heads.agents.values().filter(|said| said.overdue).count() as u64;
        // One host's keys are all that is needed for that, and without any head that is told.
        let all = self.host.is_none() && !heads.agents.is_empty();
        let silent = if all { heads.silent_files() as u64 } else { 0 };
        let counted = [
            (unsealed, "events without a seal"),
            (chains.beginnings().len() as u64, "sources that begin later than their first event"),
            (chains.gone.len() as u64, "sources of which nothing is there"),
            (overdue, "agents whose next signed heads are missing"),
            (silent, "files with public keys that have signed nothing"),
            (heads.shared_keys() as u64, "keys that have signed for more than one agent"),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        let mut findings: Vec<_> = counted.map(|(count, what)| format!("{count} {what}")).collect();
        if chains.events == 0 {
            findings.push("no event at all".to_owned());
        }
        if !self.public_key.is_empty() && heads.agents.is_empty() {
            findings.push("no signed heads at all".to_owned());
        }
        findings
    }

    fn table(&self, keys: Keys, heads: &mut SignedHeads) -> Result<Chains> {
        let table = open_table(self.store.as_deref())?;
        // The ledger first: what comes meanwhile is not in it, and missed by nobody.
        let mut sources = audit(&table, None, None)?.sources;
        let hosts: BTreeSet<_> = sources.iter().map(|source| source.host.clone()).collect();
        sources.retain(|source| self.host.as_ref().is_none_or(|host| *host == source.host));
        let oldest_day = table.days()?.into_iter().map(|day| day.date).min();
        let mut chains = Chains::new(keys, Place::Table, self.grace);
        let query = match &self.host {
            Some(host) => host_query(host),
            None => String::new(),
        };
        let query = Query::parse(&query).map_err(|error| anyhow::anyhow!(error.message))?;
        let columns = [
            FIELD_SOURCE,
            FIELD_OFFSET,
            FIELD_PREV,
            FIELD_SEAL,
            FIELD_ORIGINAL,
            FIELD_BASE64,
            "agent.id",
            "agent.name",
            "log.file.path",
            "input.type",
            INGESTED,
            PARTITION,
            KAFKA_OFFSET,
        ];
        let columns = columns.map(str::to_owned).to_vec();
        let options = SearchOptions { columns, ..SearchOptions::default() };
        for_each(&table, &query, &options, &mut |row| match of_row(&row) {
            Some(found) => {
                heads.take(&found, &mut chains);
                chains.take(&found);
            }
            None => chains.find(put_in(&row)),
        })?;
        for source in sources {
            let old = oldest_day.as_ref().is_some_and(|oldest| newest_day(&source) < *oldest);
            chains.expect(source.source, &source.host, &source.path, source.high_water, old);
        }
        self.check_host(&chains, &hosts, "the table")?;
        Ok(chains)
    }

    fn topic(&self, topic: &str, keys: Keys, heads: &mut SignedHeads) -> Result<Chains> {
        let mut properties = self.cluster.properties()?;
        properties.set("group.id", "logweir-verify");
        let consumer = logweir_kafka::consumer(&properties)?;
        let mut chains = Chains::new(keys, Place::Topic, self.grace);
        let mut undecodable = 0_u64;
        let mut hosts = BTreeSet::new();
        read_to_end(&consumer, topic, |message| {
            let record = serde_json::from_slice(message.payload().unwrap_or_default());
            let arrival = Arrival {
                time_us: message.timestamp().to_millis().unwrap_or(0).saturating_mul(1000),
                position: message.offset(),
                partition: message.partition().into(),
            };
            let found = record.as_ref().ok().and_then(|record: &Record<'_>| record.found(arrival));
            match found {
                Some(found) if self.host.as_ref().is_some_and(|host| host != found.host) => {
                    if !hosts.contains(found.host) {
                        hosts.insert(found.host.to_owned());
                    }
                }
                Some(found) => {
                    heads.take(&found, &mut chains);
                    chains.take(&found);
                }
                None => undecodable += 1,
            }
        })?;
        if undecodable > 0 {
            errln!("logweir: {undecodable} records of `{topic}` are no events");
        }
        self.check_host(&chains, &hosts, &format!("`{topic}`"))?;
        Ok(chains)
    }

    /// Whether anything was there of the host that was asked for; `known` are those that there are.
    fn check_host(&self, chains: &Chains, known: &BTreeSet<String>, place: &str) -> Result<()> {
        match &self.host {
            Some(host) if chains.events == 0 && !known.contains(host) => {
                Err(unknown_host(host, known.iter().map(String::as_str), place))
            }
            _ => Ok(()),
        }
    }
}

fn read_key(path: &Path) -> Result<SealKey> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    text.parse().with_context(|| format!("{shown} holds no key"))
}

/// When and where an event came, as the table has it.
const INGESTED: &str = "event.ingested";
const PARTITION: &str = "logweir.partition";
const KAFKA_OFFSET: &str = "logweir.kafka_offset";

/// The newest day of the table that had something of the source. Of a ledger that does not say it, the
/// time of the newest event has to do.
fn newest_day(source: &SourceAudit) -> String {
    let of_event = || format_time(source.newest_event.unwrap_or(source.last_seen))[..10].to_owned();
    source.newest_day.clone().unwrap_or_else(of_event)
}

/// Finds the events of a host, whatever stands in its name.
fn host_query(host: &str) -> String {
    format!("agent.name:\"{}\"", host.replace('\\', "\\\\").replace('"', "\\\""))
}

fn text_of<'r>(row: &'r Row, name: &str) -> &'r str {
    match row.get(name) {
        Some(Value::Text(text)) => text.as_str(),
        _ => "",
    }
}

fn number_of(row: &Row, name: &str) -> Option<u64> {
    match row.get(name) {
        Some(Value::Integer(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn path_of(row: &Row) -> &str {
    let path = text_of(row, "log.file.path");
    if path.is_empty() { text_of(row, "input.type") } else { path }
}

/// `None`: it has no identity.
fn of_row(row: &Row) -> Option<Found<'_>> {
    let arrived = |name: &str| match row.get(name) {
        Some(Value::Integer(number) | Value::Timestamp(number)) => *number,
        _ => 0,
    };
    let line =
        SealedLine { original: text_of(row, FIELD_ORIGINAL), base64: text_of(row, FIELD_BASE64) };
    Some(Found {
        source: text_of(row, FIELD_SOURCE).parse().ok()?,
        agent: text_of(row, "agent.id"),
        host: text_of(row, "agent.name"),
        path: path_of(row),
        offset: number_of(row, FIELD_OFFSET)?,
        prev: number_of(row, FIELD_PREV),
        line,
        seal: text_of(row, FIELD_SEAL),
        arrival: Arrival {
            time_us: arrived(INGESTED),
            position: arrived(KAFKA_OFFSET),
            partition: arrived(PARTITION),
        },
    })
}

/// The ingest writes no row without an identity.
fn put_in(row: &Row) -> Finding {
    Finding {
        host: text_of(row, "agent.name").to_owned(),
        path: path_of(row).to_owned(),
        source: text_of(row, FIELD_SOURCE).to_owned(),
        offset: number_of(row, FIELD_OFFSET),
        wrong: Wrong::PutIn,
    }
}

/// What is needed of a record of the topic.
#[derive(Debug, Deserialize)]
struct Record<'r> {
    #[serde(rename = "logweir.source", borrow)]
    source: Cow<'r, str>,
    #[serde(rename = "log.offset")]
    offset: u64,
    #[serde(rename = "logweir.prev")]
    prev: Option<u64>,
    #[serde(rename = "logweir.seal", default, borrow)]
    seal: Cow<'r, str>,
    #[serde(rename = "event.original", default, borrow)]
    original: Cow<'r, str>,
    #[serde(rename = "logweir.original_base64", default, borrow)]
    base64: Cow<'r, str>,
    #[serde(rename = "agent.id", default, borrow)]
    agent: Cow<'r, str>,
    #[serde(rename = "agent.name", default, borrow)]
    host: Cow<'r, str>,
    #[serde(rename = "log.file.path", default, borrow)]
    path: Cow<'r, str>,
    #[serde(rename = "input.type", default, borrow)]
    input: Cow<'r, str>,
}

impl Record<'_> {
    /// `None`: the ingest does not take it for an event either.
    fn found(&self, arrival: Arrival) -> Option<Found<'_>> {
        let fits = |offset: u64| i64::try_from(offset).is_ok();
        if !fits(self.offset) || !self.prev.is_none_or(fits) {
            return None;
        }
        Some(Found {
            source: self.source.parse::<SourceId>().ok()?,
            agent: &self.agent,
            host: &self.host,
            path: if self.path.is_empty() { &self.input } else { &self.path },
            offset: self.offset,
            prev: self.prev,
            line: SealedLine { original: &self.original, base64: &self.base64 },
            seal: &self.seal,
            arrival,
        })
    }
}

fn said(finding: &Finding) -> String {
    match finding.wrong {
        Wrong::Altered => "altered: the seal does not fit".to_owned(),
        Wrong::Unsealed => {
            "put in, or its seal removed: none, behind events of its agent that have one".to_owned()
        }
        Wrong::PutIn => "put in: a row without the source or the offset of an event".to_owned(),
        Wrong::OtherAgent => {
            "put in, or its agent.id changed: its source has events of another agent".to_owned()
        }
        Wrong::Forged => "forged: a head that no trusted key has signed".to_owned(),
        Wrong::Missing(last) => format!("missing behind it, up to the event at offset {last}"),
        Wrong::Repeated => "there twice".to_owned(),
        Wrong::Reordered => "moved behind an event that comes later".to_owned(),
    }
}

fn text(findings: &[Finding], chains: &Chains, heads: &SignedHeads, strict: &[String]) -> String {
    let mut out = String::new();
    for finding in findings.iter().take(SHOWN_MAX) {
        let (host, path) = (visible(&finding.host), visible(&finding.path));
        out.push_str(&format!(
            "{host}  {path}  {}:{}  {}\n",
            visible(&finding.source),
            finding.offset.map_or_else(|| "–".to_owned(), |offset| offset.to_string()),
            said(finding)
        ));
    }
    let more = findings.len().saturating_sub(SHOWN_MAX) as u64 + chains.findings_not_kept;
    if more > 0 {
        out.push_str(&format!("… and {more} more\n"));
    }
    for cut in chains.beginnings() {
        out.push_str(&format!(
            "{}  {}  begins at offset {}; what was in front of it, up to {}, is not there: \
             retention, or removed\n",
            visible(&cut.host),
            visible(&cut.path),
            cut.first,
            cut.prev
        ));
    }
    for (source, gone) in &chains.gone {
        out.push_str(&format!(
            "{}  {source}  nothing of it is there, and it went on to offset {}: retention, or removed\n",
            visible(&gone.host),
            gone.last
        ));
    }
    for (agent, said) in &heads.agents {
        let overdue = match said.overdue {
            true => "; the next ones are missing: the agent has stopped, or they were removed",
            false => "",
        };
        out.push_str(&format!(
            "{}  agent {}  {} signed heads, the last of {:.0}{overdue}\n",
            visible(&said.host),
            visible(agent),
            said.heads,
            said.newest
        ));
    }
    out.push_str(&format!(
        "{} events of {} sources: {} with a seal, {} without; {}\n",
        chains.events,
        chains.sources(),
        chains.sealed,
        chains.unsealed(),
        match (findings.len() as u64 + chains.findings_not_kept, strict) {
            (0, []) => proved(chains),
            (count, []) => format!("{count} findings"),
            (count, strict) =>
                format!("{count} findings, and with --strict: {}", strict.join(", ")),
        }
    ));
    out
}

/// What it proves that nothing was found.
fn proved(chains: &Chains) -> String {
    let nothing = "nothing was altered, removed or put in";
    match (&chains.keys, chains.sealed, chains.unsealed()) {
        (_, 0, 0) => "there is nothing to verify".to_owned(),
        (Keys::None, ..) => {
            "by links and heads nothing was removed; lines are verified with a key for seals"
                .to_owned()
        }
        (_, _, 0) => nothing.to_owned(),
        (_, 0, _) => "no seal, no proof (`--strict` makes that a fault)".to_owned(),
        (_, _, unsealed) => format!(
            "of those with a seal {nothing}; the {unsealed} without prove nothing (`--strict` makes \
             that a fault)"
        ),
    }
}

fn json(finding: &Finding) -> serde_json::Value {
    let (wrong, until) = match finding.wrong {
        Wrong::Altered => ("altered", None),
        Wrong::Unsealed => ("unsealed", None),
        Wrong::PutIn => ("put_in", None),
        Wrong::OtherAgent => ("other_agent", None),
        Wrong::Forged => ("forged", None),
        Wrong::Missing(last) => ("missing", Some(last)),
        Wrong::Repeated => ("repeated", None),
        Wrong::Reordered => ("reordered", None),
    };
    serde_json::json!({
        "host": finding.host,
        "path": finding.path,
        "source": finding.source,
        "offset": finding.offset,
        "wrong": wrong,
        "until": until,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        verify: VerifyCommand,
    }

    fn verify(options: &[&str]) -> VerifyCommand {
        let words = ["x", "--key", "seal.key"].iter().chain(options);
        Command::try_parse_from(words).unwrap().verify
    }

    fn key() -> Keys {
        Keys::One("7".repeat(64).parse().unwrap())
    }

    /// One event without a seal, with another before it that is not there.
    fn unsealed() -> Chains {
        let mut chains = Chains::new(key(), Place::Table, Duration::ZERO);
        chains.take(&Found {
            source: SourceId::derive(&[b"s"]),
            agent: "a",
            host: "web1",
            path: "/p",
            offset: 20,
            prev: Some(10),
            line: SealedLine::default(),
            seal: "",
            arrival: Arrival::default(),
        });
        chains
    }

    #[test]
    fn a_record_is_an_event_if_the_ingest_would_take_it_for_one() {
        for (members, is_event) in [
            (r#""log.offset":9223372036854775807,"logweir.prev":1"#, true),
            (r#""log.offset":18446744073709551615"#, false),
            (r#""log.offset":1,"logweir.prev":9223372036854775808"#, false),
        ] {
            let text = format!(r#"{{"logweir.source":"{}",{members}}}"#, "a".repeat(32));
            let record: Record<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(record.found(Arrival::default()).is_some(), is_event, "{members}");
        }
    }

    #[test]
    fn a_row_without_an_identity_is_a_finding() {
        let row = |source: &str, offset: i64| {
            let text = |text: &str| Value::Text(text.to_owned());
            let fields = [
                ("logweir.source", text(source)),
                ("log.offset", Value::Integer(offset)),
                ("agent.name", text("web1")),
            ];
            Row { fields: fields.map(|(name, value)| (name.to_owned(), value)).to_vec() }
        };
        let id = "a".repeat(32);
        for (row, shown) in [
            (row(&id, 7), None),
            (row("unknown", 7), Some("web1    unknown:7  put in: ")),
            (row("", 7), Some("web1    :7  put in: ")),
            (row(&id, -1), Some("web1    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:–  put in: ")),
        ] {
            assert_eq!(of_row(&row).is_none(), shown.is_some(), "{row:?}");
            let Some(shown) = shown else { continue };
            let heads = SignedHeads::trusting(&[], Timestamp::UNIX_EPOCH, Duration::ZERO).unwrap();
            let chains = Chains::new(key(), Place::Table, Duration::ZERO);
            let told = text(&[put_in(&row)], &chains, &heads, &[]);
            assert!(told.starts_with(shown) && told.ends_with("; 1 findings\n"), "{told}");
        }
    }

    #[test]
    fn a_host_is_found_whatever_stands_in_its_name() {
        for (host, expected) in [
            ("web1", r#"agent.name:"web1""#),
            (r#"we"b"#, r#"agent.name:"we\"b""#),
            (r"we\b", r#"agent.name:"we\\b""#),
            (r#"\"*"#, r#"agent.name:"\\\"*""#),
        ] {
            assert_eq!(host_query(host), expected);
            Query::parse(expected).unwrap();
        }
    }

    #[test]
    fn what_strict_counts_is_named_in_the_last_line() {
        let heads = SignedHeads::trusting(&[], Timestamp::UNIX_EPOCH, Duration::ZERO).unwrap();
        let mut chains = unsealed();
        let strict = verify(&["--strict"]).strict_findings(&chains, &heads);
        let findings = chains.findings();
        let told = text(&findings, &chains, &heads, &strict);
        assert!(
            told.ends_with(
                "0 with a seal, 1 without; 0 findings, and with --strict: 1 events without a seal, \
                 1 sources that begin later than their first event\n"
            ),
            "{told}"
        );
        let told = text(&findings, &chains, &heads, &[]);
        assert!(told.ends_with("; no seal, no proof (`--strict` makes that a fault)\n"), "{told}");
        for (sealed, expected) in [
            (
                1,
                "1 events of 1 sources: 1 with a seal, 0 without; nothing was altered, removed or put in\n",
            ),
            (
                2,
                "; of those with a seal nothing was altered, removed or put in; the 1 without prove \
                 nothing (`--strict` makes that a fault)\n",
            ),
        ] {
            let mut chains = if sealed == 1 {
                Chains::new(key(), Place::Table, Duration::ZERO)
            } else {
                unsealed()
            };
            let (source, line) = (SourceId::derive(&[b"t"]), SealedLine::default());
            let Keys::One(key) = key() else { panic!() };
            let seal = key.seal(&source, 0, None, line).to_string();
            chains.take(&Found {
                source,
                agent: "b",
                host: "web1",
                path: "/q",
                offset: 0,
                prev: None,
                line,
                seal: &seal,
                arrival: Arrival::default(),
            });
            let told = text(&chains.findings(), &chains, &heads, &[]);
            assert!(told.ends_with(expected), "{told}");
        }
    }

    #[test]
    fn a_host_of_which_nothing_is_known_is_no_host_that_is_whole() {
        let known = BTreeSet::from(["web1".to_owned()]);
        let nothing = Chains::new(Keys::None, Place::Table, Duration::ZERO);
        let check = |host, chains| verify(&["--host", host]).check_host(chains, &known, "`t`");
        let error = check("web", &nothing).unwrap_err().to_string();
        assert_eq!(error, "`t` has nothing of a host `web`; did you mean `web1`?");
        // All of its events may be gone, or the ledger may not know it.
        check("web1", &nothing).unwrap();
        check("web", &unsealed()).unwrap();
    }
}
