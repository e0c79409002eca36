//! What a program says about itself: lines to standard error, for a terminal, the journal or a machine.
//!
//! In the journal each line carries its priority (`sd-daemon(3)`), and no time, which the journal has.
//! One call site that says something again and again is cut short and counted: at most [`BURST`] lines
//! in [`WINDOW`], then one that tells how often it was repeated. No control character gets from a
//! value, which may come from outside, into the line. Standard error that is full or gone costs lines,
//! never the program.

use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

/// How many lines one call site may say in a [`WINDOW`].
const BURST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);
/// Lines of one event: a faulty configuration is told whole, but no more than that.
const LINES_MAX: usize = 1000;
/// The variable whose filter goes before the configured level.
const VARIABLE: &str = "LOGWEIR_LOG";

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For a reader; with priorities where the journal listens.
    #[default]
    Text,
    /// One JSON object a line, by the Elastic Common Schema.
    Ecs,
}

/// How much is said, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// The least urgent that is said: `error`, `warn`, `info` (the default), `debug`, `trace`.
    pub level: &'static str,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info" }
    }
}

/// Where repeats are told from outside of an event.
static REPEATS: OnceLock<Mutex<Repeats>> = OnceLock::new();

/// Begins to write what `program` says to standard error. A second call changes nothing.
pub fn start_log(program: &'static str, config: &LogConfig) {
    let configured = |_| EnvFilter::new(config.level);
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(configured);
    let style = match config.format {
        LogFormat::Ecs => Style::Ecs,
        LogFormat::Text if is_journal() => Style::Journal,
        LogFormat::Text => Style::Text { colour: io::stderr().is_terminal() },
    };
    REPEATS.get_or_init(|| Mutex::new(Repeats { style, program, sites: HashMap::new() }));
    let _ = Registry::default().with(filter).with(Lines).try_init();
}

/// Tells of the repeats whose time has come; to be called now and then, and with `all` at the end.
pub fn tell_repeats(all: bool) {
    if let Some(repeats) = REPEATS.get() {
        lock(repeats).tell(Instant::now(), all);
    }
}

/// Whether standard error is the journal's: systemd names the socket by device and inode.
fn is_journal() -> bool {
    let stderr = io::stderr();
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let metadata = stderr.as_fd().try_clone_to_owned().map(File::from).and_then(|f| f.metadata());
    metadata.is_ok_and(|of| named.to_str() == Some(&format!("{}:{}", of.dev(), of.ino())))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Text { colour: bool },
    Journal,
    Ecs,
}

/// The layer of `tracing` that writes.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(repeats) = REPEATS.get() else { return };
        let mut said = Said::new(*event.metadata().level(), event.metadata().target());
        event.record(&mut said);
        lock(repeats).say(event.metadata().callsite(), said, Instant::now());
    }
}

/// One event.
#[derive(Debug, Clone)]
struct Said {
    level: Level,
    target: &'static str,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Said {
    fn new(level: Level, target: &'static str) -> Self {
        Self { level, target, message: String::new(), fields: Vec::new() }
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::String(value.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// What call sites have said lately.
struct Repeats {
    style: Style,
    program: &'static str,
    sites: HashMap<Identifier, Site>,
}

struct Site {
    since: Instant,
    said: u32,
    /// How many were not said, and the last of them.
    kept: Option<(u64, Said)>,
}

impl Repeats {
    fn say(&mut self, site: Identifier, said: Said, now: Instant) {
        self.tell(now, false);
        let known = self.sites.entry(site).or_insert(Site { since: now, said: 0, kept: None });
        if known.said < BURST {
            known.said += 1;
            return self.write(&said);
        }
        let count = known.kept.as_ref().map_or(0, |(count, _)| *count);
        known.kept = Some((count + 1, said));
    }

    /// Forgets the call sites whose window is over, and tells what they have not said; of all of them
    /// if it is the end.
    fn tell(&mut self, now: Instant, all: bool) {
        let over: Vec<Identifier> = self
            .sites
            .iter()
            .filter(|(_, site)| all || now.duration_since(site.since) >= WINDOW)
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            let kept = self.sites.remove(&id).and_then(|site| site.kept);
            if let Some((count, mut said)) = kept {
                said.message.push_str(&format!(" … repeated {count} times"));
                said.fields.push(("repeated", count.into()));
                self.write(&said);
            }
        }
    }

    fn write(&self, said: &Said) {
        let lines = self.lines(said);
        // One write, so that lines of several threads or processes do not mix.
        let _ = io::stderr().lock().write_all(lines.as_bytes());
    }

    fn lines(&self, said: &Said) -> String {
        match self.style {
            Style::Text { colour } => text(said, colour),
            Style::Journal => journal(said),
            Style::Ecs => ecs(said, self.program),
        }
    }
}

/// `2026-11-28T09:00:00.123456Z  INFO message field=value`
fn text(said: &Said, colour: bool) -> String {
    let (tone, dim, reset) = match (colour, said.level) {
        (false, _) => ("", "", ""),
        (true, Level::ERROR) => ("\x1b[31m", "\x1b[2m", "\x1b[0m"),
        (true, Level::WARN) => ("\x1b[33m", "\x1b[2m", "\x1b[0m"),
        (true, _) => ("\x1b[32m", "\x1b[2m", "\x1b[0m"),
    };
    let now = jiff::Timestamp::now();
    let level = said.level.as_str();
    format!("{dim}{now:.6}{reset} {tone}{level:>5}{reset} {}\n", sentence(said).join("\n"))
}

/// Each line with its priority, as `syslog(3)` counts them.
fn journal(said: &Said) -> String {
    let priority = match said.level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    sentence(said).iter().map(|line| format!("<{priority}>{line}\n")).collect()
}

/// The message, its first line with the fields.
fn sentence(said: &Said) -> Vec<String> {
    let mut lines: Vec<String> = said.message.lines().take(LINES_MAX).map(visible).collect();
    if lines.is_empty() {
        lines.push(String::new());
    }
    for (name, value) in &said.fields {
        let shown = match value {
            Value::String(text) => visible(&text.replace(['\n', '\r'], " ")),
            other => other.to_string(),
        };
        let quote = if shown.contains(' ') { "\"" } else { "" };
        let _ = write!(lines[0], " {name}={quote}{shown}{quote}");
    }
    lines
}

fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn ecs(said: &Said, program: &str) -> String {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("@timestamp", format!("{:.6}", jiff::Timestamp::now()).into());
    put("log.level", said.level.as_str().to_lowercase().into());
    put("message", said.message.clone().into());
    put("ecs.version", logweir_record::ECS_VERSION.into());
    put("log.logger", said.target.into());
    put("service.name", program.into());
    put("process.pid", std::process::id().into());
    for (name, value) in &said.fields {
        let name =
            if *name == "error" { "error.message".into() } else { format!("logweir.{name}") };
        put(&name, value.clone());
    }
    format!("{}\n", Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> Said {
        let mut said = Said::new(Level::WARN, "logweir_agent::source");
        said.message = message.into();
        said.fields = vec![("path", "/a\x1b[2Jb c".into()), ("count", 3.into())];
        said
    }

    #[test]
    fn a_line_holds_its_fields_and_nothing_that_steers_a_terminal() {
        let text = text(&said("odd\x07\nand more"), false);
        let expected = " WARN odd\u{fffd} path=\"/a\u{fffd}[2Jb c\" count=3\nand more\n";
        assert!(text.ends_with(expected), "{text:?}");
    }

    #[test]
    fn each_line_has_its_priority_for_the_journal() {
        let lines = journal(&said("one\ntwo"));
        assert_eq!(lines, "<4>one path=\"/a\u{fffd}[2Jb c\" count=3\n<4>two\n");
    }

    #[test]
    fn an_event_is_one_object_of_the_common_schema() {
        let line = ecs(&said("one\ntwo"), "logweir-agent");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(object["message"], "one\ntwo");
        assert_eq!(object["log.level"], "warn");
        assert_eq!(object["logweir.count"], 3);
        assert_eq!(object["service.name"], "logweir-agent");
    }

    #[test]
    fn one_call_site_is_cut_short_and_its_repeats_are_counted() {
        struct Here;
        impl tracing::callsite::Callsite for Here {
            fn set_interest(&self, _: tracing::subscriber::Interest) {}
            fn metadata(&self) -> &tracing::Metadata<'_> {
                unreachable!("nobody asks")
            }
        }
        static HERE: Here = Here;
        let mut repeats = Repeats { style: Style::Journal, program: "test", sites: HashMap::new() };
        let start = Instant::now();
        for _ in 0..322 {
            repeats.say(Identifier(&HERE), said("again"), start);
        }
        let (count, last) = repeats.sites.values().next().unwrap().kept.clone().unwrap();
        assert_eq!((count, last.message.as_str()), (322 - u64::from(BURST), "again"));
        repeats.tell(start + WINDOW / 2, false);
        assert_eq!(repeats.sites.len(), 1, "the window is not over");
        repeats.tell(start + WINDOW, false);
        assert!(repeats.sites.is_empty());
    }
}
