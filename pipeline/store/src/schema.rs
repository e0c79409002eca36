//! The columns of the table: the ECS fields that most events have or most questions name, typed;
//! the identity of the event; and `extra`, one JSON object with every other field, so that nothing of
//! an event is lost. Names are ECS names with their dots (flat columns prune well and are the same
//! words everywhere).
//!
//! Columns may be added at the end of a group in later versions: files and tables without them read
//! as absent. A column never changes its kind.

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
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
pub(crate) const AGENT_NAME: ColumnIndex = position("agent.name");
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

/// The columns by their names. Every field of every event is looked up here, so a look-up is one product
/// and one comparison: no two names share a slot.
struct Names {
    multiplier: u64,
    /// Where in [`COLUMNS`] the name of a slot is; past the end where there is none.
    slots: [u8; 1 << SLOT_BITS],
}

/// Ten slots for a column: one multiplier in a hundred puts all names apart.
const SLOT_BITS: u32 = 10;
/// 2⁶⁴ divided by the golden ratio, made odd.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLIERS: u64 = 10_000;

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let multipliers = (0..MULTIPLIERS).map(|n| MULTIPLIER.wrapping_mul(2 * n + 1));
    multipliers.filter_map(Names::apart).next().expect("a test finds every name")
});

impl Names {
    /// `None` if two names share a slot.
    fn apart(multiplier: u64) -> Option<Self> {
        let mut slots = [u8::MAX; 1 << SLOT_BITS];
        for (at, column) in COLUMNS.iter().enumerate() {
            let slot = &mut slots[slot(column.name.as_bytes(), multiplier)?];
            if *slot != u8::MAX {
                return None;
            }
            *slot = u8::try_from(at).ok()?;
        }
        Some(Self { multiplier, slots })
    }
}

/// From both ends of a name and its length; `None` for one that is shorter than any column's.
fn slot(name: &[u8], multiplier: u64) -> Option<usize> {
    let ends = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29)
        }
        _ => {
            let (first, last) = (name.first_chunk()?, name.last_chunk()?);
            u64::from(u32::from_le_bytes(*first)) ^ u64::from(u32::from_le_bytes(*last)) << 32
        }
    };
    let mixed = (ends ^ (name.len() as u64).wrapping_mul(MULTIPLIER)).wrapping_mul(multiplier);
    Some((mixed >> (u64::BITS - SLOT_BITS)) as usize)
}

/// The column of that name.
pub(crate) fn index_of(name: &str) -> Option<ColumnIndex> {
    let names = &*NAMES;
    let at = usize::from(names.slots[slot(name.as_bytes(), names.multiplier)?]);
    COLUMNS.get(at).filter(|column| column.name == name).map(|_| at)
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
        for (at, column) in COLUMNS.iter().enumerate() {
            assert_eq!(index_of(column.name), Some(at));
        }
        for name in
            [PARTITION_COLUMN, "", "t", "tag", "tagz", "source.iq", "event.oríginal", "messages"]
        {
            assert_eq!(index_of(name), None, "{name}");
        }
        assert_eq!(COLUMNS[TIMESTAMP].name, "@timestamp");
        assert_eq!(COLUMNS[EXTRA].name, "extra");
    }
}
