//! `logweir-agent init`: a first configuration.

use super::write_config;
use crate::Config;
use crate::{errln, out, outln};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where systems keep what everybody wants to read; `discover --write` finds the rest.
const USUAL: [&str; 7] = [
    "/var/log/syslog",
    "/var/log/messages",
    "/var/log/auth.log",
    "/var/log/secure",
    "/var/log/kern.log",
    "/var/log/cron",
    "/var/log/audit/audit.log",
];
/// What the service reads.
const CONFIG: &str = "/etc/logweir/agent.yaml";
const RULES: &str = "/etc/logweir/rules.d";

/// Write a first configuration; asks what is not told, on a terminal
#[derive(Debug, clap::Args)]
pub struct Init {
    /// Brokers to begin with, HOST:PORT separated by commas
    #[arg(long, alias = "bootstrap-server", value_name = "HOST:PORT")]
    bootstrap_servers: Option<String>,
    /// Where to write it
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Write over a configuration that is there
    #[arg(long)]
    force: bool,
}

impl Init {
    pub fn execute(self) -> ExitCode {
        let refuse = |message: &str| {
            errln!("logweir-agent: {message}");
            ExitCode::FAILURE
        };
        if self.config.exists() && !self.force {
            return refuse(&format!(
                "{} is there already; `logweir-agent discover --write` changes its sources, --force writes over all of it",
                self.config.display()
            ));
        }
        let servers = match self.bootstrap_servers {
            Some(servers) => servers,
            None if std::io::stdin().is_terminal() => match asked() {
                Some(servers) => servers,
                None => return refuse("nothing was written"),
            },
            None => {
                return refuse(
                    "give --bootstrap-servers HOST:PORT; there is no terminal to ask on",
                );
            }
        };
        let text = text(&servers, Path::new(RULES).is_dir(), |path| path.exists());
        if let Err(faults) = Config::from_yaml(&self.config.display().to_string(), &text) {
            return super::report_faults(&faults);
        }
        if let Err(error) = write_config(&self.config, &text) {
            let remedy = match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "; run it as root, or name another file with --config"
                }
                _ => "",
            };
            return refuse(&format!("cannot write {}: {error}{remedy}", self.config.display()));
        }
        outln!("{} is written", self.config.display());
        out!("{}", next(&self.config));
        ExitCode::SUCCESS
    }
}

/// What to do with a configuration that is written now.
fn next(config: &Path) -> String {
    let (told, run) = match config == Path::new(CONFIG) {
        true => (String::new(), "systemctl enable --now logweir-agent".to_owned()),
        false => {
            let told = format!(" --config {}", config.display());
            (told.clone(), format!("logweir-agent run{told}"))
        }
    };
    format!(
        "\
next: logweir-agent discover --write{told}   finds the logs of this machine
      logweir-agent check{told}              tries all of it, and Kafka
      {run}
"
    )
}

fn asked() -> Option<String> {
    out!("Kafka brokers (HOST:PORT, separated by commas): ");
    std::io::stdout().flush().ok()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).ok()?;
    let servers = line.trim();
    (!servers.is_empty()).then(|| servers.to_owned())
}

fn text(servers: &str, has_rules: bool, exists: impl Fn(&Path) -> bool) -> String {
    let rules = match has_rules {
        true => format!("rules:\n  directories: [{RULES}]\n"),
        false => format!("# rules:\n#   directories: [{RULES}]\n"),
    };
    let found: Vec<&str> = USUAL.into_iter().filter(|path| exists(Path::new(path))).collect();
    let paths = match found.is_empty() {
        true => "      - '/var/log/*.log'\n".to_owned(),
        false => found.iter().map(|path| format!("      - {path}\n")).collect(),
    };
    format!(
        "\
# The configuration of logweir-agent. All that can be set: logweir-agent config sample
kafka:
  # Any producer property of Kafka, under Kafka's own name.
  bootstrap.servers: '{}'
# Rule packs of your own; those inside the program are used in any case.
{rules}sources:
  - type: file
    paths:
{paths}",
        servers.replace('\'', "''")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next_is_told_for_the_file_that_was_written() {
        assert!(next(Path::new(CONFIG)).contains("\n      systemctl enable"));
        let own = next(Path::new("a.yaml"));
        assert!(own.contains("discover --write --config a.yaml "), "{own}");
        assert!(own.ends_with("logweir-agent run --config a.yaml\n"), "{own}");
    }

    #[test]
    fn what_is_written_is_a_configuration() {
        for (servers, files) in
            [("kafka1:9092", &[][..]), ("a:9092,b:9092", &["/var/log/syslog", "/var/log/secure"])]
        {
            let text =
                text(servers, false, |path| files.iter().any(|file| Path::new(file) == path));
            let (config, warnings) = Config::from_yaml("agent.yaml", &text).unwrap();
            assert!(warnings.is_empty(), "{warnings:?}");
            assert_eq!(config.kafka.get("bootstrap.servers"), Some(servers));
            assert!(files.iter().all(|file| text.contains(file)));
        }
    }
}
