//! `logweir-agent parse`: lines in, one event per line out, in order; the rule engine alone.

use crate::commands::lines::Lines;
use logweir_document::render_all;
use logweir_parsers::{Disposition, LineContext, Parser, RuleSet, Zone, write_event};
use logweir_record::write_member;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The exit code of faulty rules, as of a faulty configuration (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

/// Parse lines and print one event each
///
/// Every line gives exactly one line of output, in order. A line that a rule drops gives
/// `{"logweir.dropped":REASON,"event.original":…}`.
#[derive(Debug, clap::Args)]
pub struct Parse {
    #[command(flatten)]
    rules: RuleArguments,
    #[command(flatten)]
    line: LineArguments,
    /// The lines; `-` is standard input
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
}

/// Which rules to use; shared by all commands that need rules.
#[derive(Debug, clap::Args)]
pub(crate) struct RuleArguments {
    /// A directory of rule packs, or one pack; may be given several times. Its rules add to the
    /// packs inside the program and replace those with the same ids
    #[arg(long = "rules", value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Leave out the packs inside the program
    #[arg(long)]
    no_shipped: bool,
}

impl RuleArguments {
    /// Loads the rules, and shows what is wrong with them on standard error.
    pub(crate) fn load(&self) -> Result<Arc<RuleSet>, ExitCode> {
        load(&self.directories, !self.no_shipped)
    }
}

/// Loads rules, and shows what is wrong with them on standard error.
pub(crate) fn load(directories: &[PathBuf], shipped: bool) -> Result<Arc<RuleSet>, ExitCode> {
    let colour = io::stderr().is_terminal();
    match RuleSet::load(directories, shipped) {
        Ok(loaded) => {
            eprint!("{}", render_all(&loaded.warnings, colour));
            Ok(Arc::new(loaded.rules))
        }
        Err(faults) => {
            eprint!("{}", render_all(&faults, colour));
            Err(ExitCode::from(EXIT_CONFIG))
        }
    }
}

/// What is known of the lines; shared by the commands that parse.
#[derive(Debug, clap::Args)]
pub(crate) struct LineArguments {
    /// The pack to try first: its name, dataset or alias
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// When the lines count as read, RFC 3339; now by default. It decides the year of times that
    /// have none
    #[arg(long, value_name = "TIME")]
    received: Option<jiff::Timestamp>,
    /// The zone of times that name none, such as Europe/Berlin or +02:00
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
}

/// [`LineArguments`], checked.
#[derive(Debug)]
pub(crate) struct LineSettings {
    pack: Option<usize>,
    received_unix_nanos: i64,
    zone: Zone,
}

impl LineArguments {
    pub(crate) fn check(&self, rules: &RuleSet) -> Result<LineSettings, ExitCode> {
        let usage = |message: String| {
            eprintln!("logweir-agent: {message}");
            ExitCode::from(2)
        };
        let pack = match &self.dataset {
            Some(name) => Some(rules.pack_named(name).ok_or_else(|| {
                let near = logweir_document::nearest(name, rules.pack_names());
                let help =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                usage(format!("no pack is called `{name}`{help}"))
            })?),
            None => None,
        };
        let zone = Zone::parse(&self.zone).map_err(|_| {
            usage(format!(
                "unknown zone `{}`: write a name such as Europe/Berlin or +02:00",
                self.zone
            ))
        })?;
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let nanos = self.received.map_or_else(|| now() as i128, jiff::Timestamp::as_nanosecond);
        Ok(LineSettings { pack, received_unix_nanos: nanos as i64, zone })
    }
}

impl LineSettings {
    pub(crate) fn context(&self, original_bytes: Option<u64>) -> LineContext<'_> {
        LineContext {
            pack: self.pack,
            received_unix_nanos: self.received_unix_nanos,
            zone: &self.zone,
            original_bytes,
        }
    }
}

impl Parse {
    pub fn execute(self) -> ExitCode {
        let rules = match self.rules.load() {
            Ok(rules) => rules,
            Err(code) => return code,
        };
        let settings = match self.line.check(&rules) {
            Ok(settings) => settings,
            Err(code) => return code,
        };
        let result =
            Lines::open(&self.file).and_then(|lines| print_events(lines, rules, &settings));
        finish(result, &self.file)
    }
}

/// The exit code of work on a file; a reader that went away is no fault.
pub(crate) fn finish(result: io::Result<()>, file: &std::path::Path) -> ExitCode {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("logweir-agent: {}: {error}", file.display());
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn print_events(mut lines: Lines, rules: Arc<RuleSet>, settings: &LineSettings) -> io::Result<()> {
    let mut parser = Parser::new(rules);
    let mut stdout = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut event = Vec::new();
    while let Some(line) = lines.next_line()? {
        event.clear();
        let context = settings.context(line.original_bytes);
        let parsed = write_event(&mut parser, line.bytes, &context, &mut event);
        match parsed.disposition {
            Disposition::Deliver => {}
            Disposition::Drop(reason) => {
                write_dropped(&mut event, parser.rules().drop_reason(reason), line.bytes);
            }
            Disposition::SampledOut => write_dropped(&mut event, "sampled", line.bytes),
        }
        event.push(b'\n');
        stdout.write_all(&event)?;
    }
    stdout.flush()
}

fn write_dropped(event: &mut Vec<u8>, reason: &str, line: &[u8]) {
    event.push(b'{');
    write_member(event, "logweir.dropped", reason.as_bytes());
    event.push(b',');
    write_member(event, "event.original", line);
    event.push(b'}');
}
