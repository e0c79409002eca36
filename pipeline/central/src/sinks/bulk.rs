//! OpenSearch and Elasticsearch: events into a data stream, through `_bulk`.
//!
//! Idempotent: an event is created under an id made of its identity, and 409, that it is there already,
//! is success. The server judges each event of a request on its own: what was too much (429) or failed
//! there (5xx) is sent again, alone; what it will never take goes to the dead letters.

use super::http::{Answer, Client};
use super::identity::Identity;
use super::{Guarantee, NotNow, Refused, Sink, SinkRecord};
use logweir_store::{COLUMNS, ColumnKind};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How often what the server had no time for is sent again within one batch.
const ROUNDS: u32 = 6;
/// The pause before the second round; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// A data stream on a server.
pub(super) struct Bulk {
    client: Client,
    stream: String,
}

#[derive(Debug, Deserialize)]
struct BulkAnswer {
    items: Vec<ItemAnswer>,
}

#[derive(Debug, Deserialize)]
struct ItemAnswer {
    create: Outcome,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    status: u16,
    error: Option<Fault>,
}

#[derive(Debug, Deserialize)]
struct Fault {
    #[serde(rename = "type")]
    kind: String,
    reason: Option<String>,
}

impl Bulk {
    pub(super) fn new(client: Client, stream: String) -> Self {
        Self { client, stream }
    }

    /// Sends some records; returns which of them have to be sent again.
    fn round(
        &mut self,
        batch: &[SinkRecord],
        lines: &[(usize, String)],
        refused: &mut Vec<Refused>,
    ) -> Result<Vec<usize>, NotNow> {
        let mut body = Vec::new();
        for (index, id) in lines {
            body.extend_from_slice(format!("{{\"create\":{{\"_id\":\"{id}\"}}}}\n").as_bytes());
            body.extend_from_slice(&batch[*index].payload);
            body.push(b'\n');
        }
        let path = format!("/{}/_bulk", self.stream);
        let answer = self.client.send("POST", &path, "application/x-ndjson", &body)?;
        if !answer.is_success() {
            return Err(NotNow(format!("`_bulk` was refused, {}", answer.shown())));
        }
        let BulkAnswer { items } = serde_json::from_slice(&answer.body)
            .map_err(|error| NotNow(format!("the answer to `_bulk` cannot be read: {error}")))?;
        if items.len() != lines.len() {
            return Err(NotNow(format!("{} answers to {} events", items.len(), lines.len())));
        }
        let mut again = Vec::new();
        for (at, ItemAnswer { create }) in items.into_iter().enumerate() {
            match create.status {
                200..300 | 409 => {}
                429 | 500.. => again.push(at),
                status => {
                    let fault = create.error.map_or_else(String::new, |fault| {
                        format!(", {}: {}", fault.kind, fault.reason.unwrap_or_default())
                    });
                    let reason = format!("refused by `{}`: status {status}{fault}", self.stream);
                    refused.push(Refused { index: lines[at].0, reason });
                }
            }
        }
        Ok(again)
    }
}

impl Sink for Bulk {
    fn guarantee(&self) -> Guarantee {
        Guarantee::Idempotent
    }

    fn prepare(&mut self) -> Result<(), NotNow> {
        let path = format!("/_index_template/{}", self.stream);
        let template = template(&self.stream).to_string();
        let made = self.client.send("PUT", &path, "application/json", template.as_bytes())?;
        if !made.is_success() {
            return Err(NotNow(format!("the index template was refused, {}", made.shown())));
        }
        let path = format!("/_data_stream/{}", self.stream);
        let made = self.client.send("PUT", &path, "application/json", b"")?;
        if made.is_success() || exists_already(&made) {
            return Ok(());
        }
        Err(NotNow(format!("the data stream was refused, {}", made.shown())))
    }

    fn write(&mut self, batch: &[SinkRecord]) -> Result<Vec<Refused>, NotNow> {
        let mut refused = Vec::new();
        let mut lines = Vec::new();
        for (index, record) in batch.iter().enumerate() {
            // A line break would end the event in the middle of the request.
            match Identity::of(&record.payload) {
                Ok(_) if record.payload.contains(&b'\n') => {
                    refused.push(Refused { index, reason: "the event has line breaks".into() });
                }
                Ok(identity) => lines.push((index, identity.id())),
                Err(reason) => refused.push(Refused { index, reason }),
            }
        }
        let mut pause = PAUSE;
        for _ in 0..ROUNDS {
            if lines.is_empty() {
                return Ok(refused);
            }
            let again = self.round(batch, &lines, &mut refused)?;
            lines = again.into_iter().map(|at| lines[at].clone()).collect();
            if !lines.is_empty() {
                std::thread::sleep(pause);
                pause *= 2;
            }
        }
        match lines.len() {
            0 => Ok(refused),
            left => Err(NotNow(format!("`{}` has no room for {left} events", self.stream))),
        }
    }
}

fn exists_already(answer: &Answer) -> bool {
    answer.status == 400
        && String::from_utf8_lossy(&answer.body).contains("resource_already_exists_exception")
}

/// The template of the data stream: ECS types for the columns of the table, keywords for the rest. A
/// value that does not fit its type is kept in the document and not indexed.
fn template(stream: &str) -> Value {
    let mut properties = serde_json::Map::new();
    for column in COLUMNS {
        let mapping = match column.kind {
            _ if column.name == "message" => json!({"type": "text"}),
            _ if column.name == "event.original" => {
                json!({"type": "keyword", "index": false, "doc_values": false})
            }
            ColumnKind::Text | ColumnKind::List => json!({"type": "keyword", "ignore_above": 8191}),
            ColumnKind::Ip => json!({"type": "ip", "ignore_malformed": true}),
            ColumnKind::Long => json!({"type": "long", "ignore_malformed": true}),
            ColumnKind::Time if column.name == "@timestamp" => json!({"type": "date"}),
            ColumnKind::Time => json!({"type": "date", "ignore_malformed": true}),
        };
        if !["extra", "logweir.partition", "logweir.kafka_offset"].contains(&column.name) {
            properties.insert(column.name.into(), mapping);
        }
    }
    json!({
        "index_patterns": [stream],
        "data_stream": {},
        // Above the templates that the servers bring for `logs-*-*`.
        "priority": 500,
        "template": {
            "settings": {"index.mapping.total_fields.limit": 2000},
            "mappings": {
                "dynamic_templates": [{"strings": {
                    "match_mapping_type": "string",
                    "mapping": {"type": "keyword", "ignore_above": 8191},
                }}],
                "properties": properties,
            },
        },
    })
}
