//! `logweir-agent config`: what can be configured.

use clap::Subcommand;
use std::process::ExitCode;

/// All settings, commented out with their defaults, but for the two that have none.
const SAMPLE: &str = include_str!("../config/sample.yaml");

/// What can be configured
#[derive(Debug, clap::Args)]
pub struct ConfigCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a configuration with all that can be set
    Sample,
}

impl ConfigCommand {
    pub fn execute(self) -> ExitCode {
        match self.command {
            Command::Sample => print!("{SAMPLE}"),
        }
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn loads(text: &str) {
        let loaded = Config::from_yaml("sample.yaml", text);
        let faults = loaded.map(|(_, warnings)| warnings).unwrap_or_else(|faults| faults);
        assert!(faults.is_empty(), "{}", logweir_document::render_all(&faults, false));
    }

    #[test]
    fn the_sample_is_a_configuration_as_it_stands_and_with_every_setting_in_use() {
        loads(SAMPLE);
        // A setting that is commented out has no space behind the sign, a remark has one.
        let uncommented = |line: &str| match line.trim_start() {
            setting if setting.starts_with('#') && !setting.starts_with("# ") => {
                line.replacen('#', "", 1)
            }
            _ => line.to_owned(),
        };
        let all: Vec<String> = SAMPLE.lines().map(uncommented).collect();
        let all = all.join("\n");
        assert!(all.contains("\nagent:") && all.contains("  - type: syslog"), "{all}");
        loads(&all);
    }
}
