//! ClickHouse over HTTP: events into a table with a column for each of ours.
//!
//! One insert holds the records of one partition and is one block, which ClickHouse takes as a whole or
//! not at all; its deduplication token names the offsets, so that an insert whose answer was lost is not
//! taken twice. A worker that gets a partition begins behind the highest offset in the table, of its group and
//! topic. What an agent sent twice, or a worker that was believed dead, is replaced by itself when parts are
//! merged, and at once by `SELECT … FINAL`: the table is sorted by the identity of events, of which nothing
//! else need be the same in a repeat. Events that the server refuses for what they are are looked for by halves.

use super::http::{Answer, Client};
use super::identity::Identity;
use super::{Guarantee, Held, NotNow, Origin, Refused, Sink, SinkRecord};
use logweir_store::{COLUMNS, ColumnKind, format_time, parse_rfc3339};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// By what the table is sorted, which is by what a row replaces another: the identity of events.
const KEY: &str = "logweir_source, log_offset";

/// A table on a server.
pub(super) struct ClickHouse {
    client: Client,
    origin: Origin,
    database: String,
    table: String,
}

/// An event of a batch, as JSON for a row.
struct Row {
    /// In the batch.
    index: usize,
    kafka_offset: i64,
    text: String,
}

impl ClickHouse {
    pub(super) fn new(client: Client, origin: Origin, database: String, table: String) -> Self {
        Self { client, origin, database, table }
    }

    fn query(&mut self, settings: &str, query: &str, body: &[u8]) -> Result<Answer, NotNow> {
        let path = format!("/?query={}{settings}", encoded(query));
        self.client.send("POST", &path, "text/plain", body)
    }

    fn name(&self) -> String {
        format!("`{}`.`{}`", self.database, self.table)
    }

    /// What the server answers to a statement that it takes.
    fn ask(&mut self, what: &str, statement: &str) -> Result<String, NotNow> {
        let answer = self.query("", statement, b"")?;
        if answer.is_success() {
            return Ok(String::from_utf8_lossy(&answer.body).into_owned());
        }
        Err(NotNow(format!("{what}, {}", answer.shown())))
    }

    /// Inserts rows of one partition; one that the server will never take is refused.
    fn insert(
        &mut self,
        partition: i32,
        rows: &[Row],
        refused: &mut Vec<Refused>,
    ) -> Result<(), NotNow> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let Origin { group, topic } = &self.origin;
        let token =
            format!("{group}/{topic}/{partition}/{}-{}", first.kafka_offset, last.kafka_offset);
        let settings = format!(
            "&async_insert=0&insert_deduplicate=1&max_insert_block_size=1048576\
             &min_insert_block_size_rows=1048576&min_insert_block_size_bytes=1073741824\
             &input_format_parallel_parsing=0&date_time_input_format=best_effort\
             &insert_deduplication_token={}",
            encoded(&token)
        );
        let body: String = rows.iter().map(|row| format!("{}\n", row.text)).collect();
        let query = format!("INSERT INTO {} FORMAT JSONEachRow", self.name());
        let answer = self.query(&settings, &query, body.as_bytes())?;
        if answer.is_success() {
            return Ok(());
        }
        if !answer.blames_content() {
            return Err(NotNow(format!("the insert was refused, {}", answer.shown())));
        }
        if let [row] = rows {
            let reason = format!("refused by {}, {}", self.name(), answer.shown());
            refused.push(Refused { index: row.index, reason });
            return Ok(());
        }
        let (front, back) = rows.split_at(rows.len() / 2);
        self.insert(partition, front, refused)?;
        self.insert(partition, back, refused)
    }
}

impl Sink for ClickHouse {
    fn guarantee(&self) -> Guarantee {
        Guarantee::Idempotent
    }

    fn prepare(&mut self) -> Result<(), NotNow> {
        let name = self.name();
        self.ask("the table was refused", &create_table(&name))?;
        // A table that an older version made has fewer columns.
        let described = self.ask(
            "the table's columns cannot be read",
            &format!("DESCRIBE TABLE {name} FORMAT TabSeparated"),
        )?;
        let there: Vec<&str> =
            described.lines().filter_map(|line| line.split('\t').next()).collect();
        let missing: Vec<String> = columns()
            .filter(|(column, _)| !there.contains(&column.as_str()))
            .map(|(column, kind)| format!("ADD COLUMN IF NOT EXISTS `{column}` {kind}"))
            .collect();
        if !missing.is_empty() {
            let statement = format!("ALTER TABLE {name} {}", missing.join(", "));
            let refused = format!("the table lacks columns, and `{statement}` was refused");
            self.ask(&refused, &statement)?;
        }
        let key = self.ask(
            "the table's key cannot be read",
            &format!(
                "SELECT sorting_key FROM system.tables WHERE database = '{}' AND name = '{}' FORMAT \
                 TabSeparated",
                self.database, self.table
            ),
        )?;
        if key.trim() != KEY {
            tracing::warn!(
                table = name,
                key = key.trim(),
                help = "give the sink another `table`, which is made anew",
                "the table is not sorted by ({KEY}): a repeat that differs, as in its time, is a second row"
            );
        }
        Ok(())
    }

    fn position(&mut self, partition: i32) -> Result<Option<Held>, NotNow> {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
        let of_partition = format!(
            "FROM {} WHERE logweir_group = '{}' AND logweir_topic = '{}' AND logweir_partition = {partition}",
            self.name(),
            quoted(&self.origin.group),
            quoted(&self.origin.topic),
        );
        let query = format!(
            "SELECT logweir_kafka_offset, logweir_source, log_offset {of_partition} AND \
             logweir_kafka_offset = (SELECT max(logweir_kafka_offset) {of_partition}) LIMIT 1 FORMAT \
             TabSeparated"
        );
        let answer = self.ask("the position cannot be read", &query)?;
        if answer.is_empty() {
            return Ok(None);
        }
        let held = || {
            let [kafka_offset, source, offset] =
                answer.trim().split('\t').collect::<Vec<_>>().try_into().ok()?;
            let identity = Identity { source: source.into(), offset: offset.parse().ok()? };
            let next = kafka_offset.parse::<i64>().ok()? + 1;
            Some(Held { next, last: Some(identity.id()), own: true })
        };
        held()
            .map(Some)
            .ok_or_else(|| NotNow(format!("the position is told as `{}`", answer.trim())))
    }

    fn write(&mut self, batch: &[SinkRecord]) -> Result<Vec<Refused>, NotNow> {
        let mut refused = Vec::new();
        let mut partitions: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
        for (index, record) in batch.iter().enumerate() {
            match row(record, &self.origin) {
                Ok(text) => partitions.entry(record.partition).or_default().push(Row {
                    index,
                    kafka_offset: record.offset,
                    text,
                }),
                Err(reason) => refused.push(Refused { index, reason }),
            }
        }
        for (partition, rows) in partitions {
            self.insert(partition, &rows, &mut refused)?;
        }
        Ok(refused)
    }
}

/// Dots would make ClickHouse take lists of the same prefix for one nested structure.
fn column_name(name: &str) -> String {
    match name {
        "@timestamp" => "timestamp".into(),
        name => name.replace('.', "_"),
    }
}

/// Names and types.
fn columns() -> impl Iterator<Item = (String, &'static str)> {
    let fields = COLUMNS.iter().map(|column| {
        let kind = match (column.name, column.kind) {
            ("@timestamp", _) => "DateTime64(6, 'UTC')",
            ("event.ingested", _) => "DateTime64(6, 'UTC') DEFAULT now64(6)",
            ("logweir.source", _) => "String",
            ("log.offset", _) => "Int64",
            ("event.dataset" | "host.name", _) => "LowCardinality(String)",
            (_, ColumnKind::Text | ColumnKind::Ip) => "String",
            (_, ColumnKind::Long) => "Nullable(Int64)",
            (_, ColumnKind::Time) => "Nullable(DateTime64(6, 'UTC'))",
            (_, ColumnKind::List) => "Array(String)",
        };
        (column_name(column.name), kind)
    });
    let origin = ["logweir_group", "logweir_topic"];
    fields.chain(origin.map(|name| (name.to_owned(), "LowCardinality(String)")))
}

/// Within a source, times go up with the offsets, and host and dataset hardly change, so the indexes leave out
/// nearly as much as a key of these would.
fn create_table(name: &str) -> String {
    let columns: Vec<String> = columns().map(|(name, kind)| format!("`{name}` {kind}")).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {name} ({}, INDEX by_time timestamp TYPE minmax, INDEX by_dataset \
         event_dataset TYPE set(100), INDEX by_host host_name TYPE set(100)) ENGINE = \
         ReplacingMergeTree ORDER BY ({KEY}) SETTINGS \
         non_replicated_deduplication_window = 1000",
        columns.join(", ")
    )
}

/// The event as a row: what has no column, or does not fit it, is in `extra`.
fn row(record: &SinkRecord, origin: &Origin) -> Result<String, String> {
    Identity::of(&record.payload)?;
    let event: Map<String, Value> =
        serde_json::from_slice(&record.payload).map_err(|error| error.to_string())?;
    let (mut row, mut extra) = (Map::new(), Map::new());
    for (name, value) in event {
        let column = COLUMNS.iter().find(|column| column.name == name);
        match column.and_then(|column| fitting(column.kind, &value)) {
            Some(value) => row.insert(column_name(&name), value),
            None => extra.insert(name, value),
        };
    }
    if !row.contains_key("timestamp") {
        return Err("`@timestamp` is missing or no time".into());
    }
    if !extra.is_empty() {
        row.insert("extra".into(), Value::Object(extra).to_string().into());
    }
    row.insert("logweir_partition".into(), record.partition.into());
    row.insert("logweir_kafka_offset".into(), record.offset.into());
    row.insert("logweir_group".into(), origin.group.as_str().into());
    row.insert("logweir_topic".into(), origin.topic.as_str().into());
    Ok(Value::Object(row).to_string())
}

fn fitting(kind: ColumnKind, value: &Value) -> Option<Value> {
    match (kind, value) {
        (ColumnKind::Text | ColumnKind::Ip, Value::String(_)) => Some(value.clone()),
        (ColumnKind::Time, Value::String(text)) => {
            // As written it may be more than ClickHouse reads, such as `2026-11-28t10:00:00z`.
            parse_rfc3339(text).map(|time| format_time(time).into())
        }
        (ColumnKind::Long, Value::Number(number)) => number.as_i64().map(Value::from),
        (ColumnKind::List, Value::String(_)) => Some(Value::Array(vec![value.clone()])),
        (ColumnKind::List, Value::Array(list)) if list.iter().all(Value::is_string) => {
            Some(value.clone())
        }
        _ => None,
    }
}

/// As part of a URL's query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_column_or_does_not_fit_it_is_in_extra() {
        let payload = br#"{"logweir.source":"00000000000000000000000000000000","log.offset":7,
            "@timestamp":"2026-11-28t01:00:00z","tags":"one","source.port":"none","own":1}"#;
        let record = SinkRecord { partition: 2, offset: 5, payload: payload.to_vec() };
        let row: Value = serde_json::from_str(&row(&record, &Origin::default()).unwrap()).unwrap();
        assert_eq!(row["timestamp"], "2026-11-28T01:00:00.000Z");
        assert_eq!(row["tags"], serde_json::json!(["one"]));
        let extra: Value = serde_json::from_str(row["extra"].as_str().unwrap()).unwrap();
        assert_eq!(extra, serde_json::json!({"source.port": "none", "own": 1}));
        assert_eq!((&row["logweir_kafka_offset"], &row["log_offset"]), (&5.into(), &7.into()));
    }

    #[test]
    fn text_from_outside_ends_no_parameter() {
        assert_eq!(encoded("a&b='c' d"), "a%26b%3D%27c%27%20d");
    }
}
