//! `logweir-agent parse`: lines in, one event per line out, in order; the rule engine alone.

use crate::commands::input::{Input, InputArguments, written};
use crate::commands::out::printable;
use logweir_parsers::{Disposition, Parser, write_event};
use logweir_record::write_member;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::ExitCode;

/// Parse lines and print one event each
///
/// Every line gives exactly one line of output, in order. A line that a rule drops gives
/// `{"logweir.dropped":REASON,"event.original":…}`.
#[derive(Debug, clap::Args)]
pub struct Parse {
    #[command(flatten)]
    input: InputArguments,
}

impl Parse {
    pub fn execute(self) -> ExitCode {
        match self.input.open() {
            Ok(input) => print_events(&input),
            Err(code) => code,
        }
    }
}

fn print_events(input: &Input) -> ExitCode {
    let mut parser = Parser::new(input.rules.clone());
    let mut stdout = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let terminal = io::stdout().is_terminal();
    let mut event = Vec::new();
    let code = input.for_each_line(|line| {
        event.clear();
        let context = input.settings.context(line.original_bytes);
        let parsed = write_event(&mut parser, line.bytes, &context, &mut event);
        match parsed.disposition {
            Disposition::Deliver => {}
            Disposition::Drop(reason) => {
                write_dropped(&mut event, parser.rules().drop_reason(reason), line.bytes);
            }
            Disposition::SampledOut => write_dropped(&mut event, "sampled", line.bytes),
        }
        if terminal {
            event = printable(String::from_utf8_lossy(&event)).into_bytes();
        }
        event.push(b'\n');
        stdout.write_all(&event)
    });
    if code == ExitCode::SUCCESS { written(stdout.flush()) } else { code }
}

fn write_dropped(event: &mut Vec<u8>, reason: &str, line: &[u8]) {
    event.push(b'{');
    write_member(event, "logweir.dropped", reason.as_bytes());
    event.push(b',');
    write_member(event, "event.original", line);
    event.push(b'}');
}
