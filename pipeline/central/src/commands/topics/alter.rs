//! `logweir topics alter`: shows what would change, and changes it.
//!
//! More partitions are asked for twice: sources that agents know keep their partition, because each
//! agent remembers it with its position, but one whose agent has lost its state begins anew, and may
//! do so in another partition. Fewer partitions do not exist in Kafka, and copies are moved by its own
//! tools, so both are refused with the way to do it.

use super::{ClusterArguments, connect, name_value};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use logweir_agent::{out, outln};
use logweir_document::nearest;
use logweir_kafka::topics::TopicState;
use logweir_record::TOPIC_EVENTS;
use std::process::ExitCode;

/// Change a topic: shows the difference first, and asks for --yes where order could be at stake
#[derive(Debug, Args)]
pub(super) struct Alter {
    #[command(flatten)]
    cluster: ClusterArguments,
    #[arg(default_value = TOPIC_EVENTS)]
    topic: String,
    /// Partitions that the topic shall have; never fewer than it has
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: Option<u32>,
    /// Topic configuration under Kafka's own names, such as `retention.ms=86400000`; may be given
    /// several times; what is not named stays
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = name_value)]
    config: Vec<(String, String)>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Add partitions although new sources spread differently from then on
    #[arg(long)]
    yes: bool,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    partitions: Option<(u32, u32)>,
    /// Name, value now (`None`: the cluster does not tell it), value wanted.
    config: Vec<(String, Option<String>, String)>,
}

impl Alter {
    pub(super) fn run(self) -> Result<ExitCode> {
        let topics = connect(&self.cluster)?;
        let name = &self.topic;
        let state = topics.describe(name)?.ok_or_else(|| {
            anyhow!("there is no topic `{name}`; `logweir topics create` makes it")
        })?;
        let changes = changes(&state, self.partitions, &self.config)?;
        if changes == Changes::default() {
            outln!("{name}: as asked for, nothing to change");
            return Ok(ExitCode::SUCCESS);
        }
        out!("{}", text(name, &changes));
        if self.dry_run {
            outln!("Nothing was changed (--dry-run).");
            return Ok(ExitCode::SUCCESS);
        }
        if changes.partitions.is_some() && !self.yes {
            bail!(
                "nothing was changed: a topic never gets rid of partitions again. Sources that \
                 agents know keep their partition and their order; new sources spread over all \
                 partitions. An agent that has lost its state directory may send what it sends anew \
                 to another partition, where it is not recognised as a repeat. Give --yes to go on"
            );
        }
        if !changes.config.is_empty() {
            let set: Vec<_> = changes.config.iter().map(|c| (c.0.clone(), c.2.clone())).collect();
            topics.set_config(name, &set)?;
        }
        if let Some((_, wanted)) = changes.partitions {
            topics.add_partitions(name, wanted)?;
            outln!(
                "Workers find the new partitions within their `topic.metadata.refresh.interval.ms` \
                 (30 s by default); agents use them for new sources after their next start."
            );
        }
        outln!("{name}: changed");
        Ok(ExitCode::SUCCESS)
    }
}

fn changes(
    state: &TopicState,
    partitions: Option<u32>,
    config: &[(String, String)],
) -> Result<Changes> {
    let now = state.partitions.len() as u32;
    if let Some(wanted) = partitions.filter(|wanted| *wanted < now) {
        bail!(
            "the topic has {now} partitions and cannot get {wanted}: Kafka removes none. Create \
             another topic, let agents write to that one, and keep an ingest on this one until it \
             has read all of it"
        );
    }
    if let Some((name, _)) = config.iter().find(|(name, _)| name == "replication.factor") {
        bail!("`{name}` is no setting: copies are moved by Kafka's kafka-reassign-partitions");
    }
    config.iter().try_for_each(|(name, _)| check_known(name, state))?;
    let replicas = state.replication_factor();
    let in_sync = config.iter().find(|(name, _)| name == "min.insync.replicas");
    if let Some((_, wanted)) = in_sync
        && wanted.parse::<usize>().is_ok_and(|wanted| wanted > replicas)
    {
        bail!(
            "`min.insync.replicas` is {wanted}, but a partition has {replicas} copies: no agent \
             could write any more; give at most {replicas}"
        );
    }
    let config = config
        .iter()
        .map(|(name, wanted)| (name.clone(), state.value(name).map(str::to_owned), wanted.clone()))
        .filter(|(_, found, wanted)| found.as_ref() != Some(wanted));
    Ok(Changes {
        partitions: partitions.filter(|wanted| *wanted > now).map(|wanted| (now, wanted)),
        config: config.collect(),
    })
}

/// Whether the cluster has a setting of this name: it tells all that topics can have, set or not.
fn check_known(name: &str, state: &TopicState) -> Result<()> {
    let known = || state.config.iter().map(|entry| entry.name.as_str());
    if known().any(|known| known == name) {
        return Ok(());
    }
    let remedy = match nearest(name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("topics of this cluster have {}", known().collect::<Vec<_>>().join(", ")),
    };
    bail!("nothing was changed: there is no setting `{name}`; {remedy}")
}

fn text(name: &str, changes: &Changes) -> String {
    let mut out = format!("{name}:\n");
    if let Some((now, wanted)) = changes.partitions {
        out.push_str(&format!("- partitions={now}\n+ partitions={wanted}\n"));
    }
    for (setting, found, wanted) in &changes.config {
        if let Some(found) = found {
            out.push_str(&format!("- {setting}={found}\n"));
        }
        out.push_str(&format!("+ {setting}={wanted}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use logweir_broker::{Broker, BrokerConfig};
    use logweir_kafka::topics::{ConfigValue, PartitionState, TopicSpec};

    fn state() -> TopicState {
        let value = |name: &str, value: &str| ConfigValue {
            name: name.into(),
            value: value.into(),
            own: true,
        };
        TopicState {
            partitions: vec![PartitionState { leader: 1, replicas: 3, in_sync: 3 }; 4],
            config: vec![value("retention.ms", "1000"), value("min.insync.replicas", "2")],
        }
    }

    fn asked(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let same = changes(&state(), Some(4), &asked("retention.ms", "1000")).unwrap();
        assert_eq!(same, Changes::default());
        let more = changes(&state(), Some(8), &asked("retention.ms", "5")).unwrap();
        assert_eq!(
            text("t", &more),
            "t:\n- partitions=4\n+ partitions=8\n- retention.ms=1000\n+ retention.ms=5\n"
        );
    }

    #[test]
    fn what_kafka_cannot_do_or_would_stop_the_agents_is_refused() {
        for (partitions, config, reason) in [
            (Some(2), vec![], "Kafka removes none"),
            (None, asked("min.insync.replicas", "4"), "a partition has 3 copies"),
            (None, asked("replication.factor", "2"), "kafka-reassign-partitions"),
            (None, asked("retention.msg", "5"), "`retention.msg`; did you mean `retention.ms`?"),
            (None, asked("color", "red"), "have retention.ms, min.insync.replicas"),
        ] {
            let error = changes(&state(), partitions, &config).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        alter: Alter,
    }

    #[test]
    fn what_the_cluster_does_not_take_is_not_called_changed() {
        let directory = tempfile::tempdir().unwrap();
        let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = Broker::start(BrokerConfig::new(any_port, directory.path())).unwrap();
        let address = broker.address().to_string();
        let alter = |config: &str| {
            let words = ["x", "t", "--bootstrap-server", &address, "--config", config];
            Command::try_parse_from(words).unwrap().alter
        };
        let topics = connect(&alter("a=b").cluster).unwrap();
        let (name, config) = ("t".to_owned(), Vec::new());
        let spec = TopicSpec { name, partitions: 1, replication_factor: 1, config };
        topics.ensure(&spec).unwrap();
        let now = || topics.describe("t").unwrap().unwrap();
        let before = now();
        for (config, reason) in [
            ("max.mesage.bytes=3000", "did you mean `max.message.bytes`?"),
            ("max.message.bytes=many", "does not take `max.message.bytes=many`"),
        ] {
            let error = alter(config).run().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert_eq!(now(), before);
        }
        alter("max.message.bytes=3000").run().unwrap();
        assert_eq!(now().value("max.message.bytes"), Some("3000"));
    }
}
