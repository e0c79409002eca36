//! ClickHouse over HTTP: events into a table with a column for each of ours.
//!
//! One insert holds the records of one partition and is one block, which ClickHouse takes as a whole or
//! not at all; its deduplication token names the offsets, so that an insert whose answer was lost is not
//! taken twice. A worker that gets a partition begins behind the highest offset in the table. What an
//! agent sent twice, or a worker that was believed dead, is replaced by itself when parts are merged, and
//! at once by `SELECT … FINAL`.

use super::http::{Answer, Client};
use super::identity::Identity;
use super::{Guarantee, NotNow, Refused, Sink, SinkRecord};
use logweir_store::{COLUMNS, ColumnKind};
use serde_json::{Map, Value};

/// A table on a server.
pub(super) struct ClickHouse {
    client: Client,
    group: String,
    database: String,
    table: String,
}

impl ClickHouse {
    pub(super) fn new(client: Client, group: String, database: String, table: String) -> Self {
        Self { client, group, database, table }
    }

    fn query(&mut self, settings: &str, query: &str, body: &[u8]) -> Result<Answer, NotNow> {
        let path = format!("/?query={}{settings}", encoded(query));
        self.client.send("POST", &path, "text/plain", body)
    }

    fn name(&self) -> String {
        format!("`{}`.`{}`", self.database, self.table)
    }

    fn insert(&mut self, records: &[(&SinkRecord, String)]) -> Result<(), NotNow> {
        let (Some((first, _)), Some((last, _))) = (records.first(), records.last()) else {
            return Ok(());
        };
        let token = format!("{}/{}/{}-{}", self.group, first.partition, first.offset, last.offset);
        let settings = format!(
            "&async_insert=0&insert_deduplicate=1&max_insert_block_size=1048576\
             &min_insert_block_size_rows=1048576&min_insert_block_size_bytes=1073741824\
             &input_format_parallel_parsing=0&date_time_input_format=best_effort\
             &insert_deduplication_token={}",
            encoded(&token)
        );
        let body: String = records.iter().map(|(_, row)| format!("{row}\n")).collect();
        let query = format!("INSERT INTO {} FORMAT JSONEachRow", self.name());
        let answer = self.query(&settings, &query, body.as_bytes())?;
        if answer.is_success() {
            return Ok(());
        }
        Err(NotNow(format!("the insert was refused, {}", answer.shown())))
    }
}

impl Sink for ClickHouse {
    fn guarantee(&self) -> Guarantee {
        Guarantee::Idempotent
    }

    fn prepare(&mut self) -> Result<(), NotNow> {
        let statement = create_table(&self.name());
        let answer = self.query("", &statement, b"")?;
        if answer.is_success() {
            return Ok(());
        }
        Err(NotNow(format!("the table was refused, {}", answer.shown())))
    }

    fn position(&mut self, partition: i32) -> Result<Option<i64>, NotNow> {
        let query = format!(
            "SELECT max(logweir_kafka_offset) FROM {} WHERE logweir_group = '{}' AND \
             logweir_partition = {partition} FORMAT TabSeparated",
            self.name(),
            self.group.replace('\\', "\\\\").replace('\'', "\\'")
        );
        let answer = self.query("", &query, b"")?;
        if !answer.is_success() {
            return Err(NotNow(format!("the position cannot be read, {}", answer.shown())));
        }
        // NULL, `\N`, where there is none.
        let text = String::from_utf8_lossy(&answer.body);
        Ok(text.trim().parse::<i64>().ok().map(|last| last + 1))
    }

    fn write(&mut self, batch: &[SinkRecord]) -> Result<Vec<Refused>, NotNow> {
        let mut refused = Vec::new();
        let mut partitions: Vec<i32> = batch.iter().map(|record| record.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            let mut rows = Vec::new();
            let records = batch.iter().enumerate().filter(|(_, r)| r.partition == partition);
            for (index, record) in records {
                match row(record, &self.group) {
                    Ok(row) => rows.push((record, row)),
                    Err(reason) => refused.push(Refused { index, reason }),
                }
            }
            self.insert(&rows)?;
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

fn create_table(name: &str) -> String {
    let columns: Vec<String> = COLUMNS
        .iter()
        .map(|column| {
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
            format!("`{}` {kind}", column_name(column.name))
        })
        .collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {name} ({}, `logweir_group` LowCardinality(String)) ENGINE = \
         ReplacingMergeTree ORDER BY (event_dataset, host_name, timestamp, logweir_source, \
         log_offset) SETTINGS non_replicated_deduplication_window = 1000",
        columns.join(", ")
    )
}

/// The event as a row: what has no column, or does not fit it, is in `extra`.
fn row(record: &SinkRecord, group: &str) -> Result<String, String> {
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
    row.insert("logweir_group".into(), group.into());
    Ok(Value::Object(row).to_string())
}

fn fitting(kind: ColumnKind, value: &Value) -> Option<Value> {
    match (kind, value) {
        (ColumnKind::Text | ColumnKind::Ip, Value::String(_)) => Some(value.clone()),
        (ColumnKind::Time, Value::String(text)) => {
            logweir_store::parse_rfc3339(text).map(|_| value.clone())
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
            "@timestamp":"2026-11-28T01:00:00.000Z","tags":"one","source.port":"none","own":1}"#;
        let record = SinkRecord { partition: 2, offset: 5, payload: payload.to_vec() };
        let row: Value = serde_json::from_str(&row(&record, "g").unwrap()).unwrap();
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
