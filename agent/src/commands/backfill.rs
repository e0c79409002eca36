//! `logweir-agent backfill`: files that are complete, read whole and once into Kafka.
//!
//! It is an agent of its own, with an id and a checkpoint of its own beside those of the service: so
//! the parse path, the accounting and the promise are the same, and a second run of the same command
//! goes on where the first one stopped. A file is read as the configured source says whose globs it
//! matches.

use super::lines::Lines;
use super::load_config;
use super::out::printable;
use crate::config::{Config, Dataset, FileConfig, SourceConfig};
use crate::parsing::{Engine, Line, Outcome, Selection};
use crate::{Agent, Counts, STOP_GRACE};
use crate::{errln, outln};
use crossbeam_channel::{Receiver, bounded};
use jiff::Timestamp;
use logweir_record::SealKey;
use logweir_service::{LogConfig, start_log, tell_repeats};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Nothing of a file comes for so long, though Kafka is there: it is given up.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// Cells of the bar.
const BAR_CELLS: usize = 30;

/// Read files whole and once into Kafka, such as logs of before the agent (also .gz and .zst)
#[derive(Debug, clap::Args)]
pub struct Backfill {
    /// The files; of a second run, what was delivered by the first one is passed over
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The configuration: Kafka, rules, and the sources that say how a file is read
    #[arg(long, value_name = "FILE", default_value = "/etc/logweir/agent.yaml")]
    config: PathBuf,
    /// The rules to try first, by the name of their pack, dataset or alias
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Where it is kept how far it came; by default in the home directory
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The key for the seals of its events: that for the agent.id that stands in --state
    #[arg(long, value_name = "FILE")]
    seal_key: Option<PathBuf>,
    /// Only parse, and tell what would be delivered
    #[arg(long)]
    dry_run: bool,
}

impl Backfill {
    pub fn execute(self) -> ExitCode {
        let config = match load_config(&self.config) {
            Ok(config) => config,
            Err(code) => return code,
        };
        let run = || {
            let files = files(&self.files)?;
            let sources = sources(&files, &config, self.dataset.as_deref())?;
            if self.dry_run {
                return dry_run(&files, &sources, &config);
            }
            let state_dir = self.state.or_else(default_state).ok_or(
                "there is no home directory to keep the state in; name a directory with --state",
            )?;
            let sources = sources.into_iter().map(SourceConfig::File).collect();
            let socket_dir = state_dir.clone();
            if config.seal_key.is_some() && self.seal_key.is_none() {
                errln!(
                    "logweir-agent: the events get no seal: the key of `integrity` is for another agent.id; \
                     --seal-key names one for this"
                );
            }
            let seal_key = self.seal_key.as_deref().map(seal_key).transpose()?;
            // It comes to its end: nobody is to wait for its reports, its heads or its metrics.
            let (path, metrics, heads, reports) = (None, None, None, false);
            let config = Config { path, metrics, heads, reports, seal_key, ..config };
            deliver(&files, Config { sources, state_dir, socket_dir, ..config })
        };
        run().unwrap_or_else(|message| {
            errln!("logweir-agent: {message}");
            ExitCode::FAILURE
        })
    }
}

fn default_state() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home)?;
    Some(state.join("logweir-backfill"))
}

fn seal_key(path: &Path) -> Result<SealKey, String> {
    let shown = printable(path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    text.parse().map_err(|error| format!("`{shown}` holds no key: {error}"))
}

/// The files by their real paths, each once.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = BTreeSet::new();
    for path in named {
        let told = |error: io::Error| {
            let shown = printable(path.display());
            format!("`{shown}` cannot be read: {error}; name a file that this user may read")
        };
        let real = path.canonicalize().map_err(told)?;
        let metadata = std::fs::File::open(&real).and_then(|file| file.metadata()).map_err(told)?;
        if !metadata.is_file() {
            return Err(format!(
                "`{}` is no file; name the files in it",
                printable(path.display())
            ));
        }
        if metadata.len() > 0 {
            files.insert(real);
        }
    }
    Ok(files.into_iter().collect())
}

/// How each file is read.
fn sources(
    files: &[PathBuf],
    config: &Config,
    dataset: Option<&str>,
) -> Result<Vec<FileConfig>, String> {
    let configured = |path: &Path| {
        config.sources.iter().find_map(|source| match source {
            SourceConfig::File(file) if file.paths.iter().any(|glob| glob.matches(path)) => {
                Some(file.clone())
            }
            _ => None,
        })
    };
    let mut sources = Vec::with_capacity(files.len());
    for path in files {
        let text = path.to_str().ok_or_else(|| {
            let path = printable(path.display());
            format!("`{path}` is no UTF-8; give the file another name")
        })?;
        let mut source = configured(path)
            .unwrap_or_default()
            .once(text)
            .map_err(|reason| format!("`{text}` cannot be looked for: {reason}"))?;
        if let Some(name) = dataset {
            source.common.dataset = Some(Dataset::named(name));
            config.rules.check(&source.common).map_err(|fault| {
                format!("{}; {}", fault.message, fault.remedy.unwrap_or_default())
            })?;
        }
        sources.push(source);
    }
    Ok(sources)
}

fn dry_run(files: &[PathBuf], sources: &[FileConfig], config: &Config) -> Result<ExitCode, String> {
    let mut engine = Engine::new(&config.rules);
    let mut event = Vec::new();
    let mut total = Counts::default();
    for (path, source) in files.iter().zip(sources) {
        let selection = Selection::of(&source.common);
        engine.select(&selection);
        let mut counts = Counts::default();
        let shown = printable(path.display());
        let fault = |error: io::Error| format!("`{shown}` cannot be read: {error}");
        let mut lines = Lines::open(path).map_err(fault)?;
        while let Some(line) = lines.next_line().map_err(fault)? {
            counts.read += 1;
            if line.bytes.is_empty() {
                *counts.dropped.entry("empty_line").or_default() += 1;
                continue;
            }
            event.clear();
            let line = Line {
                offset: 0,
                bytes: line.bytes,
                original_bytes: line.original_bytes,
                sender: None,
                received_at: Timestamp::now(),
            };
            match engine.members(&selection, &line, &mut event) {
                Outcome::Parsed => counts.parsed += 1,
                Outcome::Unparsed => counts.unparsed += 1,
                Outcome::Dropped(reason) => *counts.dropped.entry(reason.word()).or_default() += 1,
            }
        }
        let Counts { read, parsed, unparsed, .. } = counts;
        let dropped = counts.dropped_total();
        outln!("{shown}: {read} lines, {parsed} parsed, {unparsed} unparsed, {dropped} dropped");
        total.add(&counts);
    }
    outln!(
        "would deliver {} events of {} lines; dropped {}",
        total.parsed + total.unparsed,
        total.read,
        reasons(&total)
    );
    Ok(ExitCode::SUCCESS)
}

fn deliver(files: &[PathBuf], config: Config) -> Result<ExitCode, String> {
    start_log("logweir-agent", &LogConfig { level: "warn", ..config.log });
    let stop = stop_requests().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let agent = Agent::start(config).map_err(|error| error.to_string())?;
    let mut progress = Progress::new(files);
    let mut asked = false;
    while !progress.look(&agent) && !progress.is_stalled(&agent) && !asked {
        asked = stop.recv_timeout(LOOK_INTERVAL).is_ok();
        tell_repeats(false);
    }
    let damaged: Vec<&PathBuf> = files.iter().filter(|path| agent.is_damaged(path)).collect();
    let all_out = agent.stop(STOP_GRACE);
    tell_repeats(true);
    progress.end();
    let counts = agent.snapshot().counts;
    outln!(
        "read {} = delivered {} + held {} + dropped {}; parsed {}, unparsed {}",
        counts.read,
        counts.delivered,
        counts.held,
        reasons(&counts),
        counts.parsed,
        counts.unparsed
    );
    for path in &damaged {
        outln!(
            "the archive is damaged; what is before the damage is delivered: {}",
            printable(path.display())
        );
    }
    if progress.left.is_empty() && all_out {
        outln!("{} files are delivered", files.len() - damaged.len());
        let all = damaged.is_empty();
        return Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for path in &progress.left {
        outln!("not all of it is delivered: {}", printable(path.display()));
    }
    outln!("the same command goes on from here");
    Ok(ExitCode::FAILURE)
}

fn reasons(counts: &Counts) -> String {
    let list: Vec<String> =
        counts.dropped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    if list.is_empty() { "0".to_owned() } else { list.join(", ") }
}

fn stop_requests() -> io::Result<Receiver<()>> {
    let (sender, receiver) = bounded(1);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let listen = move || {
        for _ in signals.forever() {
            if sender.try_send(()).is_err() {
                std::process::exit(1);
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen)?;
    Ok(receiver)
}

/// What is left, and the bar.
struct Progress {
    left: BTreeSet<PathBuf>,
    files: usize,
    started: Instant,
    /// What had been read and delivered, and when that last changed.
    seen: (u64, u64),
    changed: Instant,
    bar: bool,
}

impl Progress {
    fn new(files: &[PathBuf]) -> Self {
        let now = Instant::now();
        Self {
            left: files.iter().cloned().collect(),
            files: files.len(),
            started: now,
            seen: (0, 0),
            changed: now,
            bar: io::stderr().is_terminal(),
        }
    }

    /// Looks how it goes; returns whether all is delivered.
    fn look(&mut self, agent: &Agent) -> bool {
        self.left.retain(|path| agent.is_read_out(path) != Some(true));
        let snapshot = agent.snapshot();
        let seen = (snapshot.counts.read, snapshot.counts.delivered);
        if std::mem::replace(&mut self.seen, seen) != seen {
            self.changed = Instant::now();
        }
        if self.bar {
            let ends = snapshot.sources.iter().map(|source| source.end_offset).sum::<u64>();
            let acked = snapshot.sources.iter().map(|source| source.acked_offset).sum::<u64>();
            let share = if ends == 0 { 0.0 } else { acked as f64 / ends as f64 };
            let cells = ((share * BAR_CELLS as f64) as usize).min(BAR_CELLS);
            let seconds = self.started.elapsed().as_secs_f64().max(0.1);
            let _ = write!(
                io::stderr(),
                "\r[{}{}] {:3.0} %  {} of {} files  {} events  {:.0} events/s\x1b[K",
                "#".repeat(cells),
                "-".repeat(BAR_CELLS - cells),
                share * 100.0,
                self.files - self.left.len(),
                self.files,
                seen.1,
                seen.1 as f64 / seconds,
            );
        }
        self.left.is_empty()
    }

    /// Whether nothing comes any more, though Kafka is there.
    fn is_stalled(&mut self, agent: &Agent) -> bool {
        if agent.snapshot().kafka != "up" {
            self.changed = Instant::now();
        }
        self.changed.elapsed() >= STALLED_AFTER
    }

    fn end(&self) {
        if self.bar {
            let _ = writeln!(io::stderr());
        }
    }
}
