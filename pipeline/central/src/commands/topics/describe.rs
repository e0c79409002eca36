//! `logweir topics describe`: a topic as it is, for people.

use super::{ClusterArguments, connect};
use anyhow::{Context as _, Result};
use clap::Args;
use logweir_agent::{out, outln};
use logweir_kafka::topics::TopicState;
use logweir_record::{TOPIC_AGENTS, TOPIC_DEAD_LETTER, TOPIC_EVENTS, TOPIC_RULES};
use std::process::ExitCode;

/// Show the topics: partitions, copies, and what was set; exit code 1 if one is missing or not whole
#[derive(Debug, Args)]
pub(super) struct Describe {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The topics to show
    #[arg(default_values = [TOPIC_EVENTS, TOPIC_DEAD_LETTER, TOPIC_AGENTS, TOPIC_RULES], value_name = "TOPIC")]
    topics: Vec<String>,
}

impl Describe {
    pub(super) fn run(self) -> Result<ExitCode> {
        let topics = connect(&self.cluster)?;
        let mut whole = true;
        for name in &self.topics {
            match topics.describe(name).with_context(|| format!("topic `{name}`"))? {
                Some(state) => {
                    out!("{}", text(name, &state));
                    whole &= faults(&state).is_empty();
                }
                None => {
                    outln!("{name}: does not exist; `logweir topics create` makes it");
                    whole = false;
                }
            }
        }
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn text(name: &str, state: &TopicState) -> String {
    let mut out = format!(
        "{name}: {} partitions, replication factor {}\n",
        state.partitions.len(),
        state.replication_factor()
    );
    for entry in state.config.iter().filter(|entry| entry.own) {
        out.push_str(&format!("  {}={}\n", entry.name, entry.value));
    }
    for fault in faults(state) {
        out.push_str(&format!("  {fault}\n"));
    }
    out
}

/// What is wrong with the copies, a line for each partition.
fn faults(state: &TopicState) -> Vec<String> {
    let least = state.value("min.insync.replicas").and_then(|text| text.parse().ok()).unwrap_or(1);
    let fault = |(number, partition): (usize, &logweir_kafka::topics::PartitionState)| {
        if partition.leader < 0 {
            Some(format!("partition {number} has no leader: nothing can be written or read"))
        } else if partition.in_sync < least {
            Some(format!(
                "partition {number} has {} copies in sync of the {least} that it needs: agents wait",
                partition.in_sync
            ))
        } else if partition.in_sync < partition.replicas {
            let (in_sync, replicas) = (partition.in_sync, partition.replicas);
            Some(format!("partition {number} has {in_sync} of {replicas} copies in sync"))
        } else {
            None
        }
    };
    state.partitions.iter().enumerate().filter_map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_kafka::topics::{ConfigValue, PartitionState};

    #[test]
    fn copies_that_are_missing_are_told_by_partition() {
        let partition = |leader, in_sync| PartitionState { leader, replicas: 3, in_sync };
        let state = TopicState {
            partitions: vec![partition(1, 3), partition(-1, 0), partition(2, 1), partition(3, 2)],
            config: vec![ConfigValue {
                name: "min.insync.replicas".into(),
                value: "2".into(),
                own: true,
            }],
        };
        let faults = faults(&state);
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].starts_with("partition 1 has no leader"));
        assert!(faults[1].starts_with("partition 2 has 1 copies in sync of the 2"));
        assert_eq!(faults[2], "partition 3 has 2 of 3 copies in sync");
    }
}
