//! `logweir-agent config`: what can be configured, and what is.

use super::report_faults;
use crate::config::{REFERENCE, layers};
use crate::{out, outln};
use clap::Subcommand;
use logweir_document::reference::Section;
use logweir_document::{Layers, Shown, show};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What can be configured, and what is
#[derive(Debug, clap::Args)]
pub struct ConfigCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a configuration with all that can be set
    Sample,
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print the page of the documentation about the configuration, in Markdown
    Reference,
    /// Print the configuration in effect: the file, its parts, the environment, the defaults
    Show {
        /// The configuration, if not that of the service
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Tell behind each value where it comes from
        #[arg(long)]
        origin: bool,
    },
}

/// A program's configuration, described.
#[derive(Debug)]
pub struct Described {
    pub program: &'static str,
    pub reference: &'static Section,
    pub layers: for<'p> fn(&'p Path) -> Layers<'p>,
    /// The configuration of the service.
    pub path: &'static str,
    /// What stands above the sample, in remarks.
    pub sample_head: &'static str,
    /// What stands above the page, in Markdown.
    pub page_head: &'static str,
}

static AGENT: Described = Described {
    program: "logweir-agent",
    reference: &REFERENCE,
    layers,
    path: "/etc/logweir/agent.yaml",
    sample_head: "\
# The configuration of logweir-agent: all that can be set, commented out with its default where it need
# not be given. docs/config.md says more. Try it with `logweir-agent check`.
",
    page_head: include_str!("config.md"),
};

impl ConfigCommand {
    pub fn execute(self) -> ExitCode {
        self.execute_for(&AGENT)
    }

    /// The command for any program that has described its configuration.
    pub fn execute_for(self, described: &Described) -> ExitCode {
        match self.command {
            Command::Sample => out!("{}", described.sample()),
            Command::Schema => outln!("{:#}", described.reference.schema(described.program)),
            Command::Reference => out!("{}", described.page()),
            Command::Show { config, origin } => {
                let path = config.unwrap_or_else(|| described.path.into());
                match (described.layers)(&path).read() {
                    Ok(document) => {
                        let shown = if origin { Shown::Origins } else { Shown::Values };
                        out!("{}", show(&document, described.reference, shown));
                    }
                    Err(faults) => return report_faults(&faults),
                }
            }
        }
        ExitCode::SUCCESS
    }
}

impl Described {
    #[must_use]
    pub fn sample(&self) -> String {
        self.reference.sample(self.sample_head)
    }

    #[must_use]
    pub fn page(&self) -> String {
        format!("{}{}", self.page_head, self.reference.page())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use logweir_document::reference::{disagreements, uncommented};
    use logweir_document::{Faults, parse, render_all};

    /// A key that is there: its private half is nowhere.
    const PUBLIC_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rules.pub");

    /// Every setting in use, but for the shipped rules: they take long to load in a test.
    fn uncommented_sample() -> String {
        let all = uncommented(&AGENT.sample());
        assert!(all.contains("\nagent:") && all.contains("  - type: syslog"), "{all}");
        all.replace("  shipped: true", "  shipped: false")
            .replace("dataset: sshd", "")
            .replace("/etc/logweir/rules.pub", PUBLIC_KEY)
    }

    fn loads(text: &str) {
        let loaded = Config::from_yaml("sample.yaml", text);
        let faults = loaded.map(|(_, warnings)| warnings).unwrap_or_else(|faults| faults);
        assert!(faults.is_empty(), "{}\n{text}", render_all(&faults, false));
    }

    #[test]
    fn the_sample_is_a_configuration_as_it_stands_and_with_every_setting_in_use() {
        loads(&AGENT.sample());
        loads(&uncommented_sample());
    }

    #[test]
    fn every_setting_that_is_read_is_described_as_what_it_is_and_none_else() {
        // The two that are a text in the sample may be sections, too; a secret is only in a remark.
        let all = uncommented_sample()
            .replace("\nintegrity:\n", "\nintegrity:\n  key: {file: /nowhere}\n")
            .replace("unix_datagram: /run", "unix_datagram: {path: /run/x}\n#")
            .replace("unix_stream: /run", "unix_stream: {path: /run/y}\n#");
        let document = parse("sample.yaml", &all).unwrap();
        let mut faults = Faults::of(&document, &REFERENCE);
        Config::read(&document, &mut faults);
        assert_eq!(disagreements(&REFERENCE, faults.asked()), Vec::<String>::new());
    }

    #[test]
    fn every_default_that_is_described_is_the_one_in_use() {
        let all = uncommented_sample();
        // What a source says is another text without a default, and means the same.
        let without_said =
            |part: &str| part.split_once("\", dataset: ").map_or(part, |(_, rest)| rest).to_owned();
        let read = |text: &str| match Config::from_yaml("sample.yaml", text) {
            Ok((config, _)) => {
                let shown = format!("{config:?}");
                shown.split("Common { said: ").map(without_said).collect::<String>()
            }
            Err(faults) => panic!("{}", render_all(&faults, false)),
        };
        let whole = read(&all);
        let mut compared = 0;
        for (key, value) in REFERENCE.defaults() {
            let setting = format!("{key}: {value}");
            let lines = all.lines().enumerate().filter(|(_, line)| line.trim_start() == setting);
            for (at, _) in lines {
                let kept = all.lines().enumerate().filter(|(other, _)| *other != at);
                let kept: Vec<&str> = kept.map(|(_, line)| line).collect();
                assert_eq!(read(&kept.join("\n")), whole, "{setting}");
                compared += 1;
            }
        }
        assert!(compared > 25, "{compared} defaults are in the sample");
    }

    #[test]
    fn what_is_shown_is_a_configuration_of_the_same_meaning() {
        let shown_of =
            |text: &str| show(&parse("sample.yaml", text).unwrap(), AGENT.reference, Shown::Values);
        let shown = shown_of(&uncommented_sample());
        loads(&shown);
        assert_eq!(shown_of(&shown), shown);
    }

    #[test]
    fn the_page_about_the_configuration_is_the_one_that_the_program_prints() {
        assert_eq!(
            include_str!("../../../docs/config.md"),
            AGENT.page(),
            "renew it: logweir-agent config reference >docs/config.md"
        );
    }
}
