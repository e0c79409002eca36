//! The columns of the table: the ECS fields that most events have or most questions name, typed;
//! the identity of the event; and `extra`, one JSON object with every other field, so that nothing of
//! an event is lost. Names are ECS names with their dots (flat columns prune well and are the same
//! words everywhere).
//!
//! Columns may be added at the end of a group in later versions: files and tables without them read
//! as absent. A column never changes its kind.

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, LazyLock};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Text that is an IP address: compared as one, and networks can be asked for.
    Ip,
    Long,
    /// Microseconds, UTC.
    Time,
    List,
}

/// One column of the table.
#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
}

/// Where a column stands in [`COLUMNS`].
pub(crate) type ColumnIndex = usize;

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}
const fn ip(name: &'static str) -> Column {
    Column { name, kind: Kind::Ip }
}
const fn long(name: &'static str) -> Column {
    Column { name, kind: Kind::Long }
}
const fn time(name: &'static str) -> Column {
    Column { name, kind: Kind::Time }
}
const fn list(name: &'static str) -> Column {
    Column { name, kind: Kind::List }
}

/// All columns, in the order in which events are shown. The partition column `date` is not among
/// them: it is in the paths of the files.
pub const COLUMNS: &[Column] = &[
    time("@timestamp"),
    time("event.created"),
    time("event.ingested"),
    text("event.dataset"),
    text("event.kind"),
    list("event.category"),
    list("event.type"),
    text("event.action"),
    text("event.outcome"),
    text("event.code"),
    text("event.provider"),
    text("event.reason"),
    long("event.severity"),
    long("event.duration"),
    text("host.name"),
    text("host.hostname"),
    text("log.level"),
    text("service.name"),
    text("process.name"),
    long("process.pid"),
    text("process.executable"),
    text("process.command_line"),
    list("process.args"),
    text("process.working_directory"),
    long("process.exit_code"),
    text("process.parent.name"),
    long("process.parent.pid"),
    text("process.parent.executable"),
    text("process.parent.command_line"),
    text("user.name"),
    text("user.id"),
    text("user.domain"),
    text("user.effective.name"),
    text("user.target.name"),
    text("group.name"),
    ip("source.ip"),
    long("source.port"),
    text("source.address"),
    text("source.domain"),
    long("source.bytes"),
    ip("destination.ip"),
    long("destination.port"),
    text("destination.address"),
    text("destination.domain"),
    long("destination.bytes"),
    ip("client.ip"),
    long("client.port"),
    text("network.transport"),
    text("network.protocol"),
    text("network.direction"),
    long("network.bytes"),
    text("url.original"),
    text("url.domain"),
    text("url.path"),
    text("url.query"),
    text("http.request.method"),
    text("http.request.referrer"),
    long("http.response.status_code"),
    long("http.response.body.bytes"),
    text("http.version"),
    text("user_agent.original"),
    text("dns.question.name"),
    text("dns.question.type"),
    text("dns.response_code"),
    text("file.path"),
    text("file.hash.sha256"),
    text("error.code"),
    text("error.message"),
    text("rule.id"),
    text("rule.name"),
    text("observer.name"),
    text("observer.ingress.interface.name"),
    text("observer.egress.interface.name"),
    list("related.ip"),
    list("related.user"),
    list("related.hosts"),
    list("tags"),
    text("logweir.rule"),
    text("message"),
    text("event.original"),
    text("ecs.version"),
    text("agent.id"),
    text("agent.name"),
    text("agent.type"),
    text("agent.version"),
    text("input.type"),
    text("log.file.path"),
    text("log.source.address"),
    long("log.syslog.priority"),
    text("log.syslog.appname"),
    text("logweir.source"),
    long("log.offset"),
    long("logweir.prev"),
    text("logweir.seal"),
    long("logweir.partition"),
    long("logweir.kafka_offset"),
    text("extra"),
];

/// The partition column: the day of the event, UTC.
pub(crate) const PARTITION_COLUMN: &str = "date";

pub(crate) const TIMESTAMP: ColumnIndex = position("@timestamp");
pub(crate) const INGESTED: ColumnIndex = position("event.ingested");
pub(crate) const DATASET: ColumnIndex = position("event.dataset");
pub(crate) const HOST_NAME: ColumnIndex = position("host.name");
pub(crate) const USER_NAME: ColumnIndex = position("user.name");
pub(crate) const SOURCE_IP: ColumnIndex = position("source.ip");
pub(crate) const TAGS: ColumnIndex = position("tags");
pub(crate) const MESSAGE: ColumnIndex = position("message");
pub(crate) const ORIGINAL: ColumnIndex = position("event.original");
pub(crate) const AGENT_ID: ColumnIndex = position("agent.id");
pub(crate) const INPUT_TYPE: ColumnIndex = position("input.type");
pub(crate) const FILE_PATH: ColumnIndex = position("log.file.path");
pub(crate) const SOURCE: ColumnIndex = position("logweir.source");
pub(crate) const OFFSET: ColumnIndex = position("log.offset");
pub(crate) const PREV: ColumnIndex = position("logweir.prev");
pub(crate) const PARTITION: ColumnIndex = position("logweir.partition");
pub(crate) const KAFKA_OFFSET: ColumnIndex = position("logweir.kafka_offset");
pub(crate) const EXTRA: ColumnIndex = position("extra");

/// Columns with a bloom filter: what is looked for by one exact, rare value.
pub(crate) const BLOOM: &[ColumnIndex] = &[SOURCE_IP, USER_NAME, HOST_NAME];

/// Columns that the table writes itself; a record that brings such a field keeps it in `extra`.
pub(crate) const WRITTEN_HERE: &[ColumnIndex] = &[INGESTED, PARTITION, KAFKA_OFFSET, EXTRA];

// One bit per column in the decoder's set of fields seen.
const _: () = assert!(COLUMNS.len() <= 128);

/// Found at compile time: a misspelt name does not build.
const fn position(name: &str) -> ColumnIndex {
    let mut at = 0;
    while at < COLUMNS.len() {
        if same(COLUMNS[at].name.as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("no such column")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Every field of every event is looked up here; the standard hash was 7 % of decoding. Names from
/// outside cannot make it slow: only ours are in it.
static INDEX: LazyLock<HashMap<&'static str, ColumnIndex, BuildHasherDefault<NameHasher>>> =
    LazyLock::new(|| COLUMNS.iter().enumerate().map(|(at, column)| (column.name, at)).collect());

/// Multiplies eight bytes at a time into the hash.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let mixed = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
            self.0 = mixed ^ (mixed >> 32);
        }
    }

    fn finish(&self) -> u64 {
        self.0.wrapping_mul(MULTIPLIER)
    }
}

/// 2⁶⁴ divided by the golden ratio, made odd.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The column of that name.
pub(crate) fn index_of(name: &str) -> Option<ColumnIndex> {
    INDEX.get(name).copied()
}

impl Kind {
    pub(crate) fn arrow_type(self) -> DataType {
        match self {
            Self::Text | Self::Ip => DataType::Utf8,
            Self::Long => DataType::Int64,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::List => DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))),
        }
    }

    /// The type in a Delta schema, as JSON.
    fn delta_type(self) -> serde_json::Value {
        match self {
            Self::Text | Self::Ip => "string".into(),
            Self::Long => "long".into(),
            Self::Time => "timestamp".into(),
            Self::List => serde_json::json!({
                "type": "array", "elementType": "string", "containsNull": true
            }),
        }
    }
}

/// The schema of the Parquet files.
pub(crate) static ARROW_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let fields: Fields = COLUMNS
        .iter()
        .map(|column| Field::new(column.name, column.kind.arrow_type(), true))
        .collect();
    Arc::new(Schema::new(fields))
});

/// The fields of the table's Delta schema that this version writes, `date` included.
pub(crate) fn delta_fields() -> Vec<serde_json::Value> {
    let field = |name: &str, kind: serde_json::Value| serde_json::json!({"name": name, "type": kind, "nullable": true, "metadata": {}});
    let columns = COLUMNS.iter().map(|column| field(column.name, column.kind.delta_type()));
    columns.chain([field(PARTITION_COLUMN, "date".into())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_found_by_its_name_and_names_are_distinct() {
        assert_eq!(INDEX.len(), COLUMNS.len());
        for (at, column) in COLUMNS.iter().enumerate() {
            assert_eq!(index_of(column.name), Some(at));
        }
        assert_eq!(index_of(PARTITION_COLUMN), None);
        assert_eq!(COLUMNS[TIMESTAMP].name, "@timestamp");
        assert_eq!(COLUMNS[EXTRA].name, "extra");
    }
}
