//! `rules suggest`: a draft pack from the lines that no rule knows.

use super::output::OutputArguments;
use crate::commands::input::InputArguments;
use crate::errln;
use logweir_parsers::Parser;
use logweir_parsers::suggest::{Options, Suggester};
use std::process::ExitCode;

/// Draft a rule pack from lines that no rule matches
///
/// Lines of one statement become one rule: what varies is captured, under an ECS name where the words
/// around it make one likely. The draft holds its own samples; complete it where it says `complete`.
/// Lines that only the pack for any syslog line matches count as unmatched. Exit code 1 if there is
/// nothing to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Suggest {
    #[command(flatten)]
    input: InputArguments,
    #[command(flatten)]
    output: OutputArguments,
    /// The name of the pack, which also begins the ids of its rules
    #[arg(long, default_value = "draft", value_parser = super::pack_name)]
    name: String,
    /// `event.dataset` of its events; by default the name
    #[arg(long = "event-dataset", value_name = "DATASET", value_parser = super::pack_name)]
    event_dataset: Option<String>,
    /// At most so many rules, those of most lines first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    top: u32,
    /// Leave out what fewer lines have
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_lines: u64,
    /// Draft for lines that rules match, too
    #[arg(long)]
    all: bool,
}

impl Suggest {
    pub(super) fn execute(self) -> ExitCode {
        let input = match self.input.open() {
            Ok(input) => input,
            Err(code) => return code,
        };
        let mut parser = Parser::new(input.rules.clone());
        let mut suggester = Suggester::default();
        let mut event = Vec::new();
        let mut lines = 0_u64;
        let code = input.for_each_line(|line| {
            event.clear();
            lines += 1;
            let context = input.settings.context(line.original_bytes);
            let rule = parser.parse(line.bytes, &context, &mut event).rule;
            if self.all || rule.is_none_or(|rule| input.rules.is_last_resort(rule)) {
                suggester.add(line.bytes);
            }
            Ok(())
        });
        if code != ExitCode::SUCCESS {
            return code;
        }
        let options = Options {
            name: self.name,
            dataset: self.event_dataset,
            top: self.top as usize,
            lines_min: self.min_lines,
        };
        let Some(found) = suggester.finish(&options) else {
            errln!(
                "logweir-agent: nothing to suggest: of {lines} lines, rules match all that hold text"
            );
            return ExitCode::FAILURE;
        };
        if let Err(message) = self.output.write(&found.yaml) {
            errln!("logweir-agent: {message}");
            return ExitCode::FAILURE;
        }
        errln!(
            "{} rules for {} of the {} lines that no rule matches ({lines} lines read)",
            found.rules,
            found.covered,
            found.lines
        );
        if found.failed > 0 {
            errln!(
                "{} more were left out: others take their lines, or none could be written that holds",
                found.failed
            );
        }
        ExitCode::SUCCESS
    }
}
