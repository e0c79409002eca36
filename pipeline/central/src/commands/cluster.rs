//! Which Kafka cluster a command talks to, told on the command line or by the ingest's configuration.

use crate::ingest::{IngestConfig, layers};
use anyhow::{Result, anyhow};
use clap::Args;
use logweir_document::{Diagnostic, Faults, parse, render_all};
use logweir_kafka::properties::{Properties, Role};
use std::path::PathBuf;

/// Which cluster, and how to reach it.
#[derive(Debug, Args)]
pub(super) struct ClusterArguments {
    /// Brokers to begin with, HOST:PORT separated by commas [default: as --command-config says]
    #[arg(long, alias = "bootstrap-servers", value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// Client properties under Kafka's own names, such as `security.protocol=SSL`; may be given
    /// several times
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = super::name_value,
        requires = "bootstrap_server")]
    property: Vec<(String, String)>,
    /// A configuration of the ingest: its `kafka` says how to reach the cluster, secrets included
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/logweir/ingest.yaml",
        conflicts_with = "bootstrap_server"
    )]
    command_config: PathBuf,
}

impl ClusterArguments {
    /// Whether the command line names the brokers.
    pub(super) fn is_told(&self) -> bool {
        self.bootstrap_server.is_some()
    }

    /// # Errors
    /// What is wrong with the properties, or with the configuration.
    pub(super) fn properties(&self) -> Result<Properties> {
        if let Some(bootstrap_server) = &self.bootstrap_server {
            return kafka_properties(bootstrap_server, &self.property, Role::Consumer);
        }
        let read = || IngestConfig::read(&layers(&self.command_config).read()?);
        match read() {
            Ok(config) => Ok(config.kafka),
            Err(faults) => Err(anyhow!(
                "no --bootstrap-server is given, and the configuration does not say which:\n{}",
                render_all(&faults, false).trim_end()
            )),
        }
    }
}

/// Client properties from the command line.
pub(crate) fn kafka_properties(
    bootstrap_server: &str,
    extra: &[(String, String)],
    role: Role,
) -> Result<Properties> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut text = format!("bootstrap.servers: {}\n", quoted(bootstrap_server));
    for (name, value) in extra {
        text.push_str(&format!("{}: {}\n", quoted(name), quoted(value)));
    }
    let document = parse("command line", &text).map_err(|fault| anyhow!(fault.message.clone()))?;
    let mut faults = Faults::new(document.source.clone());
    let properties = Properties::read(&document.root, "", role, &mut faults);
    match properties {
        Some(properties) if !faults.has_errors() => Ok(properties),
        _ => {
            let list: Vec<String> = faults.into_list().into_iter().map(in_one_line).collect();
            Err(anyhow!("{}", list.join("; ")))
        }
    }
}

/// A fault without its place: a command line has none.
fn in_one_line(fault: Diagnostic) -> String {
    match fault.remedy {
        Some(remedy) => format!("{}; {remedy}", fault.message),
        None => fault.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        cluster: ClusterArguments,
    }

    fn properties(arguments: &[&str]) -> Result<Properties> {
        Command::try_parse_from(["x"].iter().chain(arguments))?.cluster.properties()
    }

    #[test]
    fn the_cluster_is_told_or_stands_in_the_configuration() {
        let told = properties(&["--bootstrap-server", "a:1", "--property", "client.id=x"]).unwrap();
        assert_eq!(
            (told.get("bootstrap.servers"), told.get("client.id")),
            (Some("a:1"), Some("x"))
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "kafka: {bootstrap.servers: 'b:2'}\nstore: {path: /x}\n").unwrap();
        let path = file.path().display().to_string();
        let told = properties(&["--command-config", &path]).unwrap();
        assert_eq!(told.get("bootstrap.servers"), Some("b:2"));
        assert!(properties(&["--command-config", &path, "--bootstrap-server", "a:1"]).is_err());
    }

    #[test]
    fn without_brokers_the_command_says_what_it_missed() {
        let error = properties(&["--command-config", "/nowhere"]).unwrap_err().to_string();
        assert!(error.starts_with("no --bootstrap-server is given"), "{error}");
        assert!(error.contains("/nowhere: error: cannot be read"), "{error}");
        let error = properties(&["--bootstrap-server", "a:1", "--property", "clientid=x"]);
        assert!(error.unwrap_err().to_string().contains("client.id"));
    }
}
