//! `logweir-agent check`: would it run? The configuration and the rules with every fault at once, the
//! files that it could not read, and whether Kafka is there and has the topic.

use super::access::{Found, Reader};
use super::load_config;
use super::out::printable;
use crate::Config;
use crate::config::SourceConfig;
use crate::spool::DiskFull;
use crate::{errln, outln};
use logweir_kafka::topics::{TopicError, Topics};
use std::path::PathBuf;
use std::process::ExitCode;

/// How many closed files are told one by one.
const CLOSED_SHOWN_MAX: usize = 20;

/// Check the configuration, the rules, the files and Kafka, and tell every fault at once
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The configuration, see docs/agent.md
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/agent.yaml")]
    config: PathBuf,
    /// Do not ask Kafka
    #[arg(long)]
    offline: bool,
}

impl Check {
    pub fn execute(self) -> ExitCode {
        let config = match load_config(&self.config) {
            Ok(config) => config,
            Err(code) => return code,
        };
        let (rules, _) = config.rules.describe();
        let sources = match config.sources.len() {
            1 => "1 source".to_owned(),
            count => format!("{count} sources"),
        };
        outln!("{}: no fault; {sources}, {rules} rules", self.config.display());
        check_files(&config);
        check_disk(&config);
        if !self.offline && !check_kafka(&config) {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

/// A file that cannot be read may become readable while the agent runs: a warning, no fault.
fn check_files(config: &Config) {
    let reader = Reader::of_agent();
    for source in &config.sources {
        let SourceConfig::File(source) = source else { continue };
        let Found { files, closed, hidden } = reader.look(source);
        let globs: Vec<&str> = source.paths.iter().map(|glob| glob.as_str()).collect();
        outln!("files {}: {} there", globs.join(" "), files.len());
        let obstacles = closed.len() + hidden.len();
        for obstacle in closed.iter().chain(&hidden).take(CLOSED_SHOWN_MAX) {
            outln!(
                "  warning: {} cannot be {} by {}\n    help: {}",
                printable(obstacle.path.display()),
                obstacle.what,
                reader.name,
                printable(&obstacle.remedy)
            );
        }
        if obstacles > CLOSED_SHOWN_MAX {
            outln!("  and {} more", obstacles - CLOSED_SHOWN_MAX);
        }
    }
}

/// A full disk may be freed while the agent runs: a warning, too.
fn check_disk(config: &Config) {
    let disk_free_min = config.sources.iter().filter_map(|source| match source {
        SourceConfig::Syslog(source) => Some(source.spool.settings.disk_free_min),
        SourceConfig::Stdin(source) => Some(source.spool.settings.disk_free_min),
        SourceConfig::File(_) | SourceConfig::Journald(_) => None,
    });
    // What is not there yet is made at the first start, in the nearest folder that is.
    let there = config.state_dir.ancestors().find(|path| path.exists());
    if let (Some(there), Some(disk_free_min)) = (there, disk_free_min.max())
        && let Some(disk_full) = DiskFull::on(there, disk_free_min)
    {
        outln!("warning: spools take nothing: {disk_full}");
    }
}

/// Whether the brokers answer and the topic is there.
fn check_kafka(config: &Config) -> bool {
    let servers = config.kafka.get("bootstrap.servers").unwrap_or_default();
    let outcome = Topics::connect(&config.kafka)
        .and_then(|topics| Ok((topics.brokers()?, topics.shape(&config.topic)?)));
    match outcome {
        Ok((brokers, Some((partitions, replicas)))) => {
            outln!(
                "kafka {servers}: {brokers} brokers; {} has {partitions} partitions, {replicas} copies of each",
                config.topic
            );
            true
        }
        Ok((_, None)) => {
            errln!(
                "error: there is no topic {topic} on {servers}\n  help: logweir topics create --bootstrap-server {servers} --topic {topic}",
                topic = config.topic
            );
            false
        }
        Err(TopicError::Unreachable(why) | TopicError::Forbidden(why)) => {
            errln!("error: kafka {servers}: {}\n  help: {}", why.reason, why.remedy);
            false
        }
        Err(error) => {
            errln!("error: kafka {servers}: {error}");
            false
        }
    }
}
