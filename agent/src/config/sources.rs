//! The entries of `sources:`.

use super::changes::said;
use super::{Multiline, SourceLimits, SyslogConfig};
use crate::source::file::{Encoding, Glob};
use crate::spool::{Settings, WhenFull};
use logweir_document::{Diagnostic, Faults, Node, Span, Table, Value};
use logweir_parsers::Zone;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What is kept of a line unless configured otherwise; a syslog message of 64 KiB is whole.
const LINE_BYTES_MAX_DEFAULT: u64 = 64 << 10;
/// The longest line that can be asked for: what Kafka takes in one message is 1 MB by default.
pub(super) const LINE_BYTES_MAX: u64 = 512 << 10;
/// Less holds no line worth reading.
pub(super) const LINE_BYTES_MIN: u64 = 64;
/// How long a rotated file is watched for more before its last line counts as whole.
const ROTATE_WAIT_DEFAULT: Duration = Duration::from_secs(5);
const SPOOL_BYTES_MAX_DEFAULT: u64 = 1 << 30;
/// Less than this cannot hold two segments.
pub(super) const SPOOL_BYTES_MIN: u64 = 4 << 20;
const SYNC_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
const SYNC_BYTES_DEFAULT: u64 = 16 << 20;
/// Room for two generations of a large checkpoint.
const DISK_FREE_MIN_DEFAULT: u64 = 64 << 20;

/// One source.
#[derive(Debug, Clone)]
pub(crate) enum SourceConfig {
    File(FileConfig),
    Syslog(Box<SyslogConfig>),
    Stdin(StdinConfig),
    Journald(Box<JournaldConfig>),
}

impl SourceConfig {
    /// What is read, by which a source is found again in a changed configuration.
    pub(crate) fn place(&self) -> String {
        let (kind, places): (_, Vec<String>) = match self {
            Self::File(file) => {
                ("file", file.paths.iter().map(|glob| glob.as_str().to_owned()).collect())
            }
            Self::Syslog(syslog) => {
                let places = syslog.listen.places().into_iter();
                ("syslog", places.map(|(protocol, place)| format!("{protocol} {place}")).collect())
            }
            Self::Stdin(_) => return "stdin".to_owned(),
            Self::Journald(journald) => {
                let directories =
                    journald.directories.iter().map(|path| path.display().to_string());
                ("journald", directories.chain(journald.filters()).collect())
            }
        };
        format!("{kind} {}", places.join(", "))
    }

    pub(crate) fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::File(file) => &mut file.common,
            Self::Syslog(syslog) => &mut syslog.common,
            Self::Stdin(stdin) => &mut stdin.common,
            Self::Journald(journald) => &mut journald.common,
        }
    }

    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::File(file) => &file.common,
            Self::Syslog(syslog) => &syslog.common,
            Self::Stdin(stdin) => &stdin.common,
            Self::Journald(journald) => &journald.common,
        }
    }
}

impl Dataset {
    /// A dataset that is named outside of a configuration.
    pub(crate) fn named(name: &str) -> Self {
        let message = format!("there are no rules for the dataset `{name}`");
        Self { name: name.to_owned(), unknown: Diagnostic::of_file("--dataset", message) }
    }
}

/// The rules that a source asks for.
#[derive(Debug, Clone)]
pub(crate) struct Dataset {
    pub(crate) name: String,
    /// What to say if there are none; only known once the rules are loaded.
    pub(crate) unknown: Diagnostic,
}

/// What every kind of source can be told.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    /// All that is said of the source but its limits, by which a source that is the same in a
    /// changed configuration is known. Empty if no configuration says it.
    pub(crate) said: String,
    /// See [`SourceConfig::place`]. Empty if no configuration says it.
    pub(crate) place: Arc<str>,
    /// Only rules of this dataset are tried, and `event.dataset` is this where none matches.
    pub(crate) dataset: Option<Dataset>,
    /// Constant fields of every event, named `labels.…`.
    pub labels: Vec<(String, String)>,
    /// Where the clock stands whose times have no zone; by default this host's.
    pub zone: Zone,
    pub limits: SourceLimits,
    /// A longer line is cut, marked, and its length noted.
    pub line_bytes_max: usize,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            said: String::new(),
            place: Arc::default(),
            dataset: None,
            labels: Vec::new(),
            zone: local_zone(),
            limits: SourceLimits::default(),
            line_bytes_max: LINE_BYTES_MAX_DEFAULT as usize,
        }
    }
}

/// Where to begin in a file that was there before the agent first looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFrom {
    Beginning,
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct FileConfig {
    pub common: Common,
    pub paths: Vec<Glob>,
    /// A pattern without a slash is for the file's name.
    pub exclude: Vec<Glob>,
    pub read_from: ReadFrom,
    pub rotate_wait: Duration,
    /// Whether a path may lead through symbolic links.
    pub follow_links: bool,
    /// A file that was not written to for longer is not begun.
    pub ignore_older: Option<Duration>,
    pub multiline: Option<Multiline>,
    /// Of files that do not begin with a byte order mark.
    pub encoding: Encoding,
    /// Nothing is added to the files any more: the last line needs no line end.
    pub once: bool,
}

impl FileConfig {
    /// The file at `path` alone, read whole and once, otherwise as `self` says.
    pub(crate) fn once(&self, path: &str) -> Result<Self, String> {
        Ok(Self {
            paths: vec![Glob::literal(path)?],
            exclude: Vec::new(),
            read_from: ReadFrom::Beginning,
            ignore_older: None,
            once: true,
            ..self.clone()
        })
    }
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            common: Common::default(),
            paths: Vec::new(),
            exclude: Vec::new(),
            read_from: ReadFrom::Beginning,
            rotate_wait: ROTATE_WAIT_DEFAULT,
            follow_links: true,
            ignore_older: None,
            multiline: None,
            encoding: Encoding::Utf8,
            once: false,
        }
    }
}

/// The bounds of a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpoolConfig {
    /// Of all shards together.
    pub settings: Settings,
    /// How many spools the senders are spread over; each is a source of its own.
    pub shards: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct StdinConfig {
    pub common: Common,
    pub spool: SpoolConfig,
}

/// The journal of systemd.
#[derive(Debug, Clone)]
pub(crate) struct JournaldConfig {
    pub common: Common,
    /// By default where journald keeps it.
    pub directories: Vec<PathBuf>,
    pub read_from: ReadFrom,
    /// Only entries of these; all if empty.
    pub units: Vec<String>,
    pub identifiers: Vec<String>,
    /// The least urgent that is read, 0 to 7.
    pub priority: Option<u8>,
    pub current_boot: bool,
}

impl JournaldConfig {
    /// What tells it from other sources in the same directories, for a person.
    fn filters(&self) -> impl Iterator<Item = String> {
        let units = self.units.iter().map(|unit| format!("unit {unit}"));
        let identifiers = self.identifiers.iter().map(|name| format!("identifier {name}"));
        let priority = self.priority.map(|priority| format!("priority {priority}"));
        let boot = self.current_boot.then(|| "boot current".to_owned());
        units.chain(identifiers).chain(priority).chain(boot)
    }

    /// Says what is read, by which the source is told from others that read the same journal.
    pub(crate) fn reads(&self) -> String {
        let Self { directories, units, identifiers, priority, current_boot, .. } = self;
        let all = format!("{directories:?}{units:?}{identifiers:?}{priority:?}{current_boot}");
        format!("{:016x}", crate::delivery::content_hash(all.as_bytes()))
    }
}

/// Reads entry after entry, and knows what only one of them may have.
#[derive(Debug, Default)]
pub(super) struct Reader {
    listeners: HashSet<(&'static str, String)>,
    /// See [`JournaldConfig::reads`].
    journals: HashSet<String>,
    stdin: bool,
}

impl Reader {
    pub(super) fn source(
        &mut self,
        node: &Node,
        mut table: Table<'_>,
        faults: &mut Faults,
    ) -> Option<SourceConfig> {
        let kinds = ["file", "syslog", "stdin", "journald"];
        table.required("type", faults)?;
        let kind = table.choice("type", &kinds, faults)?;
        let mut source = match kind {
            0 => file(&mut table, faults).map(SourceConfig::File),
            1 => {
                let syslog = super::syslog::read(&mut table, &mut self.listeners, faults);
                Some(SourceConfig::Syslog(Box::new(syslog)))
            }
            2 => self.stdin(&mut table, faults).map(SourceConfig::Stdin),
            _ => Some(SourceConfig::Journald(Box::new(self.journald(&mut table, faults)))),
        };
        table.finish(faults);
        if let Some(source) = &mut source {
            source.common_mut().said = said(node, "limits");
            source.common_mut().place = source.place().into();
        }
        source
    }

    fn journald(&mut self, table: &mut Table<'_>, faults: &mut Faults) -> JournaldConfig {
        let config = journald(table, faults);
        if !self.journals.insert(config.reads()) {
            faults.error(table.span(), "a second source reads the same of the journal").remedy =
                Some(
                    "keep one of them, or let them differ in `directories`, `units`, \
                     `identifiers`, `priority` or `boot`"
                        .into(),
                );
        }
        config
    }

    fn stdin(&mut self, table: &mut Table<'_>, faults: &mut Faults) -> Option<StdinConfig> {
        let common = common(table, faults);
        if std::mem::replace(&mut self.stdin, true) {
            faults.error(table.span(), "a second source reads standard input").remedy =
                Some("keep one of them".into());
        }
        Some(StdinConfig { common, spool: spool(table, 1, faults) })
    }
}

fn journald(table: &mut Table<'_>, faults: &mut Faults) -> JournaldConfig {
    let texts = |table: &mut Table<'_>, name: &str, faults: &mut Faults| -> Vec<String> {
        let texts = table.strings(name, faults).unwrap_or_default();
        texts.into_iter().map(|(text, _)| text.to_owned()).collect()
    };
    let severities = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
    JournaldConfig {
        common: common(table, faults),
        directories: texts(table, "directories", faults).into_iter().map(PathBuf::from).collect(),
        read_from: read_from(table, faults),
        units: texts(table, "units", faults),
        identifiers: texts(table, "identifiers", faults),
        priority: table.choice("priority", &severities, faults).map(|index| index as u8),
        current_boot: table.choice("boot", &["all", "current"], faults) == Some(1),
    }
}

fn read_from(table: &mut Table<'_>, faults: &mut Faults) -> ReadFrom {
    match table.choice("read_from", &["beginning", "end"], faults) {
        Some(1) => ReadFrom::End,
        _ => ReadFrom::Beginning,
    }
}

pub(super) fn common(table: &mut Table<'_>, faults: &mut Faults) -> Common {
    let dataset = table.string("dataset", faults).map(str::to_owned).map(|name| {
        let span = table.node("dataset").map_or(table.span(), |node| node.span);
        let message = format!("there are no rules for the dataset `{name}`");
        Dataset { name, unknown: faults.at(span, message) }
    });
    let labels = labels(table, faults);
    let zone = zone(table, faults).unwrap_or_else(local_zone);
    let limits = SourceLimits::read(table, faults);
    let lengths = LINE_BYTES_MIN..=LINE_BYTES_MAX;
    let line_bytes_max =
        table.byte_size_within("line_bytes_max", lengths, faults).unwrap_or(LINE_BYTES_MAX_DEFAULT);
    let line_bytes_max = line_bytes_max as usize;
    Common { dataset, labels, zone, limits, line_bytes_max, ..Common::default() }
}

fn labels(table: &mut Table<'_>, faults: &mut Faults) -> Vec<(String, String)> {
    let Some(node) = table.node("labels") else { return Vec::new() };
    let Value::Mapping(entries) = &node.value else {
        wrong(table, "labels", node, "a mapping such as `{env: prod}`", faults);
        return Vec::new();
    };
    let mut labels = Vec::new();
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    for (key, value) in entries.iter() {
        if key.name.is_empty() || key.name.len() > 64 || !key.name.chars().all(legal) {
            let message = format!("`{}` is no name for a label", key.name);
            faults.error(key.span, message).remedy =
                Some("use at most 64 letters, digits, `_` and `-`".into());
            continue;
        }
        match value.text() {
            Some(text) => labels.push((format!("labels.{}", key.name), text.to_owned())),
            None => wrong(table, "labels", value, "a text", faults),
        }
    }
    labels
}

/// The zone of this host's clock.
fn local_zone() -> Zone {
    Zone::parse("local").unwrap_or_else(|_| Zone::utc())
}

fn zone(table: &mut Table<'_>, faults: &mut Faults) -> Option<Zone> {
    let name = table.string("zone", faults)?;
    let zone = Zone::parse(name).ok();
    if zone.is_none() {
        let span = table.node("zone").map_or(table.span(), |node| node.span);
        faults.error(span, format!("`{name}` is no time zone")).remedy =
            Some("give an IANA name such as `Europe/Berlin`, `UTC`, `local` or `+02:00`".into());
    }
    zone
}

fn file(table: &mut Table<'_>, faults: &mut Faults) -> Option<FileConfig> {
    let common = common(table, faults);
    let paths = table
        .required("paths", faults)
        .and_then(|_| table.strings("paths", faults))
        .map(|paths| globs(&paths, true, faults));
    let exclude = table.strings("exclude", faults).unwrap_or_default();
    let exclude = globs(&exclude, false, faults);
    let read_from = read_from(table, faults);
    let follow_links = table.boolean("follow_links", faults).unwrap_or(true);
    let rotate_wait = table.duration("rotate_wait", faults).unwrap_or(ROTATE_WAIT_DEFAULT);
    let multiline = Multiline::read(table, common.line_bytes_max, faults);
    let ignore_older = table.duration("ignore_older", faults);
    let encoding = encoding(table, faults);
    Some(FileConfig {
        common,
        paths: paths?,
        exclude,
        read_from,
        rotate_wait,
        follow_links,
        ignore_older,
        multiline,
        encoding,
        once: false,
    })
}

fn encoding(table: &mut Table<'_>, faults: &mut Faults) -> Encoding {
    let Some(name) = table.string("encoding", faults) else { return Encoding::Utf8 };
    Encoding::named(name).unwrap_or_else(|| {
        let span = table.node("encoding").map_or(table.span(), |node| node.span);
        faults.error(span, format!("`{name}` is no encoding that lines can be read in")).remedy =
            Some("give one such as `utf-8`, `utf-16le`, `latin1`, `windows-1252` or `gbk`".into());
        Encoding::Utf8
    })
}

fn globs(patterns: &[(&str, Span)], absolute: bool, faults: &mut Faults) -> Vec<Glob> {
    let mut globs = Vec::with_capacity(patterns.len());
    for (pattern, span) in patterns {
        if absolute && !Path::new(pattern).is_absolute() {
            faults.error(*span, format!("`{pattern}` is no absolute path")).remedy =
                Some("begin it with `/`".into());
            continue;
        }
        match Glob::new(pattern) {
            Ok(glob) => globs.push(glob),
            Err(reason) => {
                faults.error(*span, format!("`{pattern}` is no glob: {reason}")).remedy =
                    Some("use `*`, `?`, `[a-z]`, `{a,b}` and `**`".into());
            }
        }
    }
    globs
}

pub(super) fn spool(source: &mut Table<'_>, shards: usize, faults: &mut Faults) -> SpoolConfig {
    let mut settings = Settings {
        bytes_max: SPOOL_BYTES_MAX_DEFAULT,
        when_full: WhenFull::Block,
        disk_free_min: DISK_FREE_MIN_DEFAULT,
        sync_interval: SYNC_INTERVAL_DEFAULT,
        sync_bytes: SYNC_BYTES_DEFAULT,
    };
    let mut count = shards.clamp(1, 64);
    let Some(mut table) = source.table("spool", faults) else {
        return SpoolConfig { settings, shards: count };
    };
    if let Some(size) = table.byte_size_within("bytes_max", SPOOL_BYTES_MIN..=u64::MAX, faults) {
        settings.bytes_max = size;
    }
    if let Some(1) = table.choice("when_full", &["block", "drop_newest"], faults) {
        settings.when_full = WhenFull::DropNewest;
    }
    if let Some(size) = table.byte_size("disk_free_min", faults) {
        settings.disk_free_min = size;
    }
    if let Some(interval) = table.duration("sync_interval", faults) {
        settings.sync_interval = interval;
    }
    if let Some(size) = table.byte_size_within("sync_bytes", 1..=u64::MAX, faults) {
        settings.sync_bytes = size;
    }
    if shards > 1 || table.node("shards").is_some() {
        count = table.integer("shards", 1..=64, faults).map_or(count, |count| count as usize);
    }
    table.finish(faults);
    SpoolConfig { settings, shards: count }
}

pub(super) fn wrong(table: &Table<'_>, name: &str, node: &Node, wanted: &str, faults: &mut Faults) {
    let shown = node.text().map_or_else(|| node.kind().to_owned(), |text| format!("`{text}`"));
    faults.error(node.span, format!("`{}.{name}` is {shown}", table.path())).remedy =
        Some(format!("write {wanted}"));
}
