//! `logweir topics create`: the topics that the pipeline needs, made once and idempotently.

use super::{ClusterArguments, connect, name_value};
use crate::ingest::cores;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use logweir_agent::outln;
use logweir_kafka::topics::{Outcome, TopicSpec};
use logweir_record::{TOPIC_AGENTS, TOPIC_DEAD_LETTER, TOPIC_EVENTS, TOPIC_RULES};
use std::process::ExitCode;

/// Seven days: long enough for an ingest that stood still over a weekend.
const RETENTION_MS_DEFAULT: u64 = 7 * 24 * 3600 * 1000;

/// Create the topics; those that exist are compared, not changed
#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The topic of the events
    #[arg(long, default_value = TOPIC_EVENTS)]
    topic: String,
    /// Partitions of the events' topic: the most workers that can share the load [default: the cores
    /// of this machine, taken to be the ingest machine]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: Option<u32>,
    /// Copies of each partition [default: 3, or the number of brokers if there are fewer]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=32))]
    replication_factor: Option<u32>,
    /// Topic configuration under Kafka's own names, such as `retention.ms=86400000` or
    /// `min.insync.replicas=2`; may be given several times
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = name_value)]
    config: Vec<(String, String)>,
}

impl Create {
    pub(super) fn run(self) -> Result<ExitCode> {
        let topics = connect(&self.cluster)?;
        let brokers = topics.brokers()? as u32;
        let replication_factor = self.replication_factor.unwrap_or(brokers.clamp(1, 3));
        if replication_factor > brokers {
            bail!(
                "--replication-factor {replication_factor} is more than the {brokers} brokers of \
                 the cluster; give at most {brokers}"
            );
        }
        let mut differ = false;
        for spec in self.specs(replication_factor) {
            let outcome = topics.ensure(&spec).with_context(|| format!("topic `{}`", spec.name))?;
            differ |=
                matches!(&outcome, Outcome::Exists { differences } if !differences.is_empty());
            print_outcome(&spec, &outcome);
        }
        if differ {
            outln!("What differs was left as it is; `logweir topics alter` changes it.");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn specs(&self, replication_factor: u32) -> Vec<TopicSpec> {
        let partitions = self.partitions.unwrap_or(cores().get() as u32);
        let in_sync = if replication_factor >= 3 { 2 } else { 1 };
        let base = [
            ("min.insync.replicas", in_sync.to_string()),
            ("retention.ms", RETENTION_MS_DEFAULT.to_string()),
            // By the brokers' clock: a host whose own is wrong would else be refused, or have its
            // events deleted at once.
            ("message.timestamp.type", "LogAppendTime".to_owned()),
        ];
        let config = |own: &[(&str, &str)]| {
            let mut config: Vec<(String, String)> =
                base.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            for (name, value) in own.chain(self.config.iter().cloned()) {
                config.retain(|(known, _)| *known != name);
                config.push((name, value));
            }
            config
        };
        let topic = |name: &str, partitions, own: &[(&str, &str)]| TopicSpec {
            name: name.to_owned(),
            partitions,
            replication_factor,
            config: config(own),
        };
        vec![
            topic(&self.topic, partitions, &[]),
            topic(TOPIC_DEAD_LETTER, 1, &[]),
            topic(TOPIC_AGENTS, 1, &[("cleanup.policy", "compact")]),
            topic(TOPIC_RULES, 1, &[("cleanup.policy", "compact")]),
        ]
    }
}

fn print_outcome(spec: &TopicSpec, outcome: &Outcome) {
    match outcome {
        Outcome::Created => outln!(
            "{}: created, {} partitions, replication factor {}, {}",
            spec.name,
            spec.partitions,
            spec.replication_factor,
            spec.config.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(", ")
        ),
        Outcome::Exists { differences } if differences.is_empty() => {
            outln!("{}: exists, as it would be made", spec.name);
        }
        Outcome::Exists { differences } => {
            outln!("{}: exists", spec.name);
            for (name, wanted, found) in differences {
                outln!("  {name} is {found}, would be made with {wanted}");
            }
        }
    }
}
