//! `logweir topics plan`: from a load to partitions, disk, network and batches, with the reasons.
//!
//! Arithmetic only: it asks no cluster. Sizes are those of the events as JSON; on the wire and on disk
//! they are compressed, by a ratio that depends on the logs and is therefore an option.

use crate::ingest::cores;
use anyhow::Result;
use clap::{Args, ValueEnum};
use logweir_agent::out;
use logweir_document::{parse_byte_size, parse_duration};
use std::process::ExitCode;
use std::time::Duration;

/// What one ingest core writes into the table, with room to catch up: below what is measured.
const EVENTS_PER_CORE: u64 = 100_000;
/// Fuller than this and a day of double load, or the loss of one broker's disk, ends in full disks.
const DISK_FILL: f64 = 0.7;
/// Below this many events, a batch costs more per event than the events themselves.
const BATCH_EVENTS_ADVISED: f64 = 20.0;

/// Work out partitions, disk, network and batches for a load; asks no cluster
#[derive(Debug, Clone, Args)]
pub(super) struct Plan {
    /// Events per second of all agents together, at the busiest time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    events_per_second: u64,
    /// An event as JSON, in bytes
    #[arg(long, value_name = "SIZE", default_value = "900", value_parser = size)]
    event_size: u64,
    /// Hosts that send
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    agents: u64,
    /// Brokers of the cluster
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    brokers: u64,
    /// How long Kafka keeps events, such as 7d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    retention: Duration,
    /// Copies of each partition [default: 3, or the number of brokers if there are fewer]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=32))]
    replication_factor: Option<u64>,
    /// CPU cores of all ingest machines together [default: those that the load needs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    ingest_cores: Option<u64>,
    /// What agents compress with
    #[arg(long, value_enum, default_value = "lz4")]
    compression: Compression,
    /// How often an event's bytes shrink [default: 4 with lz4, 7 with zstd, 1 with none]
    #[arg(long, value_name = "RATIO")]
    compression_ratio: Option<f64>,
    /// `linger.ms` of the agents
    #[arg(long, value_name = "MS", default_value_t = 50)]
    linger_ms: u64,
    /// `batch.size` of the agents, in bytes
    #[arg(long, value_name = "SIZE", default_value = "1000000", value_parser = size)]
    batch_size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compression {
    None,
    Lz4,
    Zstd,
}

/// What comes out.
#[derive(Debug, PartialEq)]
struct Outcome {
    cores_needed: u64,
    partitions: u64,
    replication: u64,
    in_sync: u64,
    /// Bytes per second of compressed events.
    wire: f64,
    /// Bytes of all copies.
    disk: f64,
    retention_bytes_per_partition: u64,
    /// Events that are ready for a batch when the linger ends, and those that fit.
    batch_waiting: f64,
    batch_fits: f64,
}

impl Plan {
    pub(super) fn run(self) -> Result<ExitCode> {
        out!("{}", self.text());
        Ok(ExitCode::SUCCESS)
    }

    fn ratio(&self) -> f64 {
        self.compression_ratio.filter(|ratio| *ratio >= 1.0).unwrap_or(match self.compression {
            Compression::None => 1.0,
            Compression::Lz4 => 4.0,
            Compression::Zstd => 7.0,
        })
    }

    fn outcome(&self) -> Outcome {
        let cores_needed = self.events_per_second.div_ceil(EVENTS_PER_CORE);
        let partitions = self.ingest_cores.unwrap_or(cores_needed);
        let replication = self.replication_factor.unwrap_or(self.brokers.min(3));
        let wire = self.events_per_second as f64 * self.event_size as f64 / self.ratio();
        let kept = wire * self.retention.as_secs_f64();
        // An agent has few busy sources, each in one partition: its events spread over at most that
        // many batches; one is the usual case, all partitions the worst.
        let per_agent = self.events_per_second as f64 / self.agents as f64;
        Outcome {
            cores_needed,
            partitions,
            replication,
            in_sync: if replication >= 3 { replication - 1 } else { 1 },
            wire,
            disk: kept * replication as f64,
            // Twice the average share: partitions are never even.
            retention_bytes_per_partition: (2.0 * kept / partitions as f64) as u64,
            batch_waiting: per_agent * self.linger_ms as f64 / 1000.0,
            batch_fits: (self.batch_size as f64 / self.event_size as f64).min(10_000.0),
        }
    }

    fn text(&self) -> String {
        let outcome = self.outcome();
        let mut out = format!(
            "{} events/s of {} bytes, kept {}, {} copies on {} brokers\n\n",
            self.events_per_second,
            self.event_size,
            days(self.retention),
            outcome.replication,
            self.brokers
        );
        for part in [
            self.partitions_text(&outcome),
            self.disk_text(&outcome),
            self.network_text(&outcome),
            self.batch_text(&outcome),
            self.durability_text(&outcome),
        ] {
            out.push_str(&part);
            out.push('\n');
        }
        out.push_str(&self.command(&outcome));
        out
    }

    fn partitions_text(&self, outcome: &Outcome) -> String {
        let Outcome { partitions, cores_needed, .. } = outcome;
        let share = self.events_per_second.div_ceil(*partitions);
        let mut out = format!(
            "partitions      {partitions}, one for each ingest core\n\
             \x20 A partition is read by one worker, and a worker is one core: fewer leave cores \
             idle,\n\
             \x20 more cost memory, open files and requests and bring nothing until there are more \
             cores.\n\
             \x20 The load needs {cores_needed} at {EVENTS_PER_CORE} events/s each; {share} events/s \
             come to a partition.\n"
        );
        if partitions < cores_needed {
            out.push_str(&format!(
                "  Too few: the ingest falls behind. Give it {cores_needed} cores, or more.\n"
            ));
        }
        if *partitions < 2 * cores_needed {
            out.push_str(&format!(
                "  Nothing is left for growth, or for catching up after a standstill: with {} \
                 partitions the\n  ingest can double by adding machines. They can be added later \
                 too (`topics alter`).\n",
                2 * cores_needed
            ));
        }
        out.push_str(
            "  One file is one source and stays in one partition: no single source is faster than \
             one core.\n",
        );
        out
    }

    fn disk_text(&self, outcome: &Outcome) -> String {
        let broker = outcome.disk / self.brokers as f64;
        format!(
            "disk            {} in all, {} on each broker; buy {} each\n\
             \x20 events/s × size / {} (compression) × {} × {} copies; disks more than {:.0} % full leave no \
             room for\n\
             \x20 a day of double load or for a broker that is away. `retention.bytes` caps each \
             partition\n\
             \x20 at twice its share: when it is reached, the oldest events go early.\n",
            bytes(outcome.disk),
            bytes(broker),
            bytes(broker / DISK_FILL),
            self.ratio(),
            days(self.retention),
            outcome.replication,
            DISK_FILL * 100.0
        )
    }

    fn network_text(&self, outcome: &Outcome) -> String {
        let copies = outcome.wire * (outcome.replication - 1) as f64;
        let brokers = self.brokers as f64;
        format!(
            "network         {}/s from agents, {}/s between brokers, {}/s to the ingest\n\
             \x20 Each broker takes in {}/s and gives out {}/s. An ingest that catches up reads as \
             fast as\n\
             \x20 it can: leave it as much again.\n",
            bytes(outcome.wire),
            bytes(copies),
            bytes(outcome.wire),
            bytes((outcome.wire + copies) / brokers),
            bytes((outcome.wire + copies) / brokers),
        )
    }

    fn batch_text(&self, outcome: &Outcome) -> String {
        let events = outcome.batch_waiting.min(outcome.batch_fits);
        let full =
            if outcome.batch_waiting >= outcome.batch_fits { "batch.size" } else { "linger.ms" };
        let mut out = format!(
            "batches         about {:.0} events of an agent when all go to one partition, down to {:.1} when \
             spread over all\n\
             \x20 {} events/s of an agent × {} ms = {:.1}; {:.0} fit into batch.size={}. {full} closes \
             them.\n",
            events.max(1.0),
            (events / outcome.partitions as f64).max(1.0),
            self.events_per_second / self.agents,
            self.linger_ms,
            outcome.batch_waiting,
            outcome.batch_fits,
            self.batch_size
        );
        if outcome.batch_waiting < BATCH_EVENTS_ADVISED {
            let linger =
                BATCH_EVENTS_ADVISED * 1000.0 * self.agents as f64 / self.events_per_second as f64;
            out.push_str(&format!(
                "  Small, and dear for the brokers, not for the agents: linger.ms={:.0} would fill \
                 {BATCH_EVENTS_ADVISED:.0}, if\n  events may be that late.\n",
                linger.min(5000.0).ceil()
            ));
        }
        out
    }

    fn durability_text(&self, outcome: &Outcome) -> String {
        let Outcome { replication, in_sync, .. } = outcome;
        let survives = replication - in_sync;
        let mut out = format!(
            "durability      min.insync.replicas={in_sync} of {replication}, and agents wait for all of them\n\
             \x20 {survives} broker(s) may be away and agents go on; with more away they wait and keep \
             what they\n\
             \x20 have. An event that was acknowledged is lost only if {in_sync} brokers are lost for \
             good.\n"
        );
        if *replication > self.brokers {
            out.push_str(&format!(
                "  {replication} copies need {replication} brokers; there are {}.\n",
                self.brokers
            ));
        }
        out
    }

    fn command(&self, outcome: &Outcome) -> String {
        format!(
            "logweir topics create --bootstrap-server HOST:9092 --partitions {} \
             --replication-factor {} \\\n    --config min.insync.replicas={} --config \
             retention.ms={} \\\n    --config retention.bytes={} --config \
             compression.type=producer\n",
            outcome.partitions,
            outcome.replication,
            outcome.in_sync,
            self.retention.as_millis(),
            outcome.retention_bytes_per_partition
        ) + &match (self.ingest_cores, cores().get() as u64) {
            (None, here) if here < outcome.partitions => format!(
                "(this machine has {here} cores: {} like it would run the ingest)\n",
                outcome.partitions.div_ceil(here)
            ),
            _ => String::new(),
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    parse_byte_size(text)
        .filter(|size| *size > 0)
        .ok_or_else(|| "write a number of bytes, such as 900 or 1KiB".into())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "write a time, such as 36h or 7d".into())
}

fn days(time: Duration) -> String {
    let hours = time.as_secs_f64() / 3600.0;
    if hours >= 48.0 { format!("{:.4} days", hours / 24.0) } else { format!("{hours:.4} hours") }
        .replace(".0000", "")
}

/// For people, in powers of 1000, as disks and networks are sold.
fn bytes(count: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut count = count;
    let mut unit = 0;
    while count >= 999.5 && unit + 1 < units.len() {
        count /= 1000.0;
        unit += 1;
    }
    if count >= 99.5 || unit == 0 {
        format!("{count:.0} {}", units[unit])
    } else {
        format!("{count:.1} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        plan: Plan,
    }

    fn plan(arguments: &str) -> Plan {
        let words = std::iter::once("plan").chain(arguments.split_whitespace());
        Line::try_parse_from(words).unwrap().plan
    }

    #[test]
    fn disk_network_and_partitions_follow_from_the_load() {
        let outcome = plan("--events-per-second 400000 --event-size 1000 --retention 1d").outcome();
        assert_eq!((outcome.partitions, outcome.replication, outcome.in_sync), (4, 3, 2));
        assert_eq!(outcome.wire, 100e6);
        assert_eq!(outcome.disk, 100e6 * 86400.0 * 3.0);
        assert_eq!(outcome.retention_bytes_per_partition, 4_320_000_000_000);
    }

    #[test]
    fn too_few_cores_are_told_with_the_number_that_is_needed() {
        let text = plan("--events-per-second 400000 --ingest-cores 2").text();
        assert!(text.contains("Too few: the ingest falls behind. Give it 4 cores"), "{text}");
    }

    #[test]
    fn a_batch_is_closed_by_what_comes_first() {
        let slow = plan("--events-per-second 1000 --agents 100");
        assert_eq!(slow.outcome().batch_waiting, 0.5);
        assert!(slow.text().contains("linger.ms=2000 would fill 20"), "{}", slow.text());
        let fast = plan("--events-per-second 1000000 --agents 1 --batch-size 90000");
        assert!(fast.text().contains("batch.size closes them"), "{}", fast.text());
    }

    #[test]
    fn sizes_are_shown_with_three_digits_at_most() {
        for (count, shown) in
            [(5.0, "5 B"), (1500.0, "1.5 kB"), (1e12, "1.0 TB"), (2.5e8, "250 MB")]
        {
            assert_eq!(bytes(count), shown);
        }
    }
}
