//! `logweir verify`: checks the seals of events in the table or in a topic, and names what was altered,
//! removed or put in afterwards.

mod chain;

use super::topic::read_to_end;
use super::{kafka_properties, name_value, printable, report, store_location};
use anyhow::{Context as _, Result, bail};
use chain::{Chains, Finding, Found, Keys, Place, Wrong};
use clap::Args;
use logweir_kafka::properties::Role;
use logweir_record::{
    FIELD_BASE64, FIELD_OFFSET, FIELD_ORIGINAL, FIELD_PREV, FIELD_SEAL, FIELD_SOURCE, SealKey,
    SealedLine, SourceId, TOPIC_EVENTS,
};
use logweir_store::{Query, Row, SearchOptions, Table, TableOptions, Value, audit, for_each};
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message as _;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Findings that are shown; the rest is counted.
const SHOWN_MAX: usize = 100;

/// Check the seals of events: nothing altered, removed or put in; exit code 1 if something is
#[derive(Debug, Args)]
pub struct VerifyCommand {
    /// The file with the key of the agents
    #[arg(long, value_name = "FILE", required_unless_present = "master_key")]
    key: Option<PathBuf>,
    /// The file with the master key, from which each agent's key is made
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    master_key: Option<PathBuf>,
    /// Print the key of the agent with this id, for its key file, and do nothing else
    #[arg(long, value_name = "AGENT", requires = "master_key")]
    key_of: Option<String>,
    /// The table [default: $LOGWEIR_STORE, /var/lib/logweir/table, or that of the demo here]
    #[arg(long, value_name = "DIR", conflicts_with = "bootstrap_server")]
    store: Option<PathBuf>,
    /// Instead of the table the topic on these brokers, HOST:PORT separated by commas
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// The topic, with --bootstrap-server
    #[arg(long, default_value = TOPIC_EVENTS)]
    topic: String,
    /// Client properties, with --bootstrap-server; may be given several times
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = name_value)]
    property: Vec<(String, String)>,
    /// Only events of this host
    #[arg(long)]
    host: Option<String>,
    /// Count it as wrong, too, if a source begins later than its first event, as retention leaves it,
    /// or if an event has no seal at all
    #[arg(long)]
    strict: bool,
    /// table, or json (one object per finding and line)
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

impl VerifyCommand {
    pub fn execute(self) -> ExitCode {
        report(self.run())
    }

    fn run(self) -> Result<ExitCode> {
        let keys = match (&self.key, &self.master_key) {
            (Some(path), _) => Keys::One(read_key(path)?),
            (None, Some(path)) => Keys::Master(read_key(path)?, HashMap::new()),
            (None, None) => bail!("give --key or --master-key"),
        };
        if let (Some(agent), Keys::Master(master, _)) = (&self.key_of, &keys) {
            println!("{}", master.of_agent(agent).to_hex());
            return Ok(ExitCode::SUCCESS);
        }
        let mut chains = match &self.bootstrap_server {
            Some(bootstrap) => self.topic(bootstrap, keys)?,
            None => self.table(keys)?,
        };
        let findings = chains.findings();
        match self.format.as_str() {
            "json" => findings.iter().for_each(|finding| println!("{}", json(finding))),
            _ => print!("{}", text(&findings, &chains)),
        }
        let cut = !chains.beginnings().is_empty() || chains.unsealed() > 0;
        let wrong = !findings.is_empty() || self.strict && cut;
        Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn table(&self, keys: Keys) -> Result<Chains> {
        let location = store_location(self.store.as_deref())?;
        let table = Table::open(&location, TableOptions::default())
            .with_context(|| format!("cannot open the table in {location}"))?;
        // The ledger first: what comes meanwhile is not in it, and missed by nobody.
        let sources = audit(&table, self.host.as_deref(), None)?;
        let mut chains = Chains::new(keys, Place::Table);
        let query = match &self.host {
            Some(host) => format!("host.name:\"{}\"", host.replace(['"', '\\'], "?")),
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
            "host.name",
            "log.file.path",
            "input.type",
        ];
        let columns = columns.map(str::to_owned).to_vec();
        let options = SearchOptions { columns, ..SearchOptions::default() };
        for_each(&table, &query, &options, &mut |row| {
            if let Some(found) = of_row(&row) {
                chains.take(&found);
            }
        })?;
        for source in sources {
            chains.expect(source.source, &source.host, &source.path, source.high_water);
        }
        Ok(chains)
    }

    fn topic(&self, bootstrap: &str, keys: Keys) -> Result<Chains> {
        let mut properties = kafka_properties(bootstrap, &self.property, Role::Consumer)?;
        properties.set("group.id", "logweir-verify");
        let consumer: BaseConsumer = properties.client_config().create()?;
        let mut chains = Chains::new(keys, Place::Topic);
        let mut undecodable = 0_u64;
        read_to_end(&consumer, &self.topic, |message| {
            let record = serde_json::from_slice(message.payload().unwrap_or_default());
            let found = record.as_ref().ok().and_then(Record::found);
            match found {
                Some(found) if self.host.as_ref().is_some_and(|host| host != found.host) => {}
                Some(found) => chains.take(&found),
                None => undecodable += 1,
            }
        })?;
        if undecodable > 0 {
            eprintln!("logweir: {undecodable} records of `{}` are no events", self.topic);
        }
        Ok(chains)
    }
}

fn read_key(path: &Path) -> Result<SealKey> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    text.parse().with_context(|| format!("{shown} holds no key"))
}

fn of_row(row: &Row) -> Option<Found<'_>> {
    let text = |name: &str| match row.get(name) {
        Some(Value::Text(text)) => text.as_str(),
        _ => "",
    };
    let number = |name: &str| match row.get(name) {
        Some(Value::Integer(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    let path = text("log.file.path");
    Some(Found {
        source: text(FIELD_SOURCE).parse().ok()?,
        agent: text("agent.id"),
        host: text("host.name"),
        path: if path.is_empty() { text("input.type") } else { path },
        offset: number(FIELD_OFFSET)?,
        prev: number(FIELD_PREV),
        line: SealedLine { original: text(FIELD_ORIGINAL), base64: text(FIELD_BASE64) },
        seal: text(FIELD_SEAL),
    })
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
    #[serde(rename = "host.name", default, borrow)]
    host: Cow<'r, str>,
    #[serde(rename = "log.file.path", default, borrow)]
    path: Cow<'r, str>,
    #[serde(rename = "input.type", default, borrow)]
    input: Cow<'r, str>,
}

impl Record<'_> {
    fn found(&self) -> Option<Found<'_>> {
        Some(Found {
            source: self.source.parse::<SourceId>().ok()?,
            agent: &self.agent,
            host: &self.host,
            path: if self.path.is_empty() { &self.input } else { &self.path },
            offset: self.offset,
            prev: self.prev,
            line: SealedLine { original: &self.original, base64: &self.base64 },
            seal: &self.seal,
        })
    }
}

fn said(finding: &Finding) -> String {
    match finding.wrong {
        Wrong::Altered => "altered: the seal does not fit".to_owned(),
        Wrong::Unsealed => "put in: no seal, behind events that have one".to_owned(),
        Wrong::Missing(last) => format!("missing behind it, up to the event at offset {last}"),
        Wrong::Repeated => "there twice".to_owned(),
        Wrong::Reordered => "moved behind an event that comes later".to_owned(),
    }
}

fn text(findings: &[Finding], chains: &Chains) -> String {
    let mut out = String::new();
    for finding in findings.iter().take(SHOWN_MAX) {
        let (host, path) = (printable(&finding.host), printable(&finding.path));
        out.push_str(&format!(
            "{host}  {path}  {}:{}  {}\n",
            finding.source,
            finding.offset,
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
            printable(&cut.host),
            printable(&cut.path),
            cut.first,
            cut.prev
        ));
    }
    out.push_str(&format!(
        "{} events of {} sources: {} with a seal, {} without; {}\n",
        chains.events,
        chains.sources(),
        chains.sealed,
        chains.unsealed(),
        match findings.len() as u64 + chains.findings_not_kept {
            0 => "nothing was altered, removed or put in".to_owned(),
            count => format!("{count} findings"),
        }
    ));
    out
}

fn json(finding: &Finding) -> serde_json::Value {
    let (wrong, until) = match finding.wrong {
        Wrong::Altered => ("altered", None),
        Wrong::Unsealed => ("unsealed", None),
        Wrong::Missing(last) => ("missing", Some(last)),
        Wrong::Repeated => ("repeated", None),
        Wrong::Reordered => ("reordered", None),
    };
    serde_json::json!({
        "host": finding.host,
        "path": finding.path,
        "source": finding.source.to_string(),
        "offset": finding.offset,
        "wrong": wrong,
        "until": until,
    })
}
