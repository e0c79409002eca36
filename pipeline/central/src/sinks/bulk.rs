//! OpenSearch and Elasticsearch: events into a data stream, through `_bulk`.
//!
//! Idempotent: an event is created under an id made of its identity, and 409, that it is there already,
//! is success. The server judges each event of a request on its own: what it refuses for what it is goes to
//! the dead letters, and what it refuses otherwise, as too much (429) or for want of rights, is sent again,
//! alone. A request that is too large for it is sent in halves.

use super::http::{Answer, Client, blames_content};
use super::identity::Identity;
use super::{Guarantee, NotNow, Refused, Sink, SinkRecord};
use logweir_store::{COLUMNS, ColumnKind};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// How often what the server did not take now is sent again within one batch.
const ROUNDS: u32 = 6;
/// The pause before the second round; it doubles from round to round.
const PAUSE: Duration = Duration::from_millis(100);

/// A data stream on a server.
pub(super) struct Bulk {
    client: Client,
    stream: String,
}

/// An event on its way: where it is in the batch, and its id.
type Line = (usize, String);

/// What the server has not taken.
#[derive(Default)]
struct Judged {
    refused: Vec<Refused>,
    /// To be sent again …
    again: Vec<Line>,
    /// … and what was said of the last of them.
    why: String,
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

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        let Some(Fault { kind, reason }) = &self.error else { return Ok(()) };
        write!(f, ", {kind}: {}", reason.as_deref().unwrap_or_default())
    }
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

    /// Sends some records; what became of each, but for those that were taken, is in `judged`.
    fn send(
        &mut self,
        batch: &[SinkRecord],
        lines: &[Line],
        judged: &mut Judged,
    ) -> Result<(), NotNow> {
        let mut body = Vec::new();
        for (index, id) in lines {
            body.extend_from_slice(format!("{{\"create\":{{\"_id\":\"{id}\"}}}}\n").as_bytes());
            body.extend_from_slice(&batch[*index].payload);
            body.push(b'\n');
        }
        let path = format!("/{}/_bulk", self.stream);
        let answer = self.client.send("POST", &path, "application/x-ndjson", &body)?;
        match (answer.status, lines) {
            (413, [(index, _)]) => {
                let reason = format!("too large for `{}`, {}", self.stream, answer.shown());
                judged.refused.push(Refused { index: *index, reason });
                return Ok(());
            }
            (413, _) => {
                let (front, back) = lines.split_at(lines.len() / 2);
                self.send(batch, front, judged)?;
                return self.send(batch, back, judged);
            }
            _ if answer.is_success() => {}
            _ => return Err(NotNow(format!("`_bulk` was refused, {}", answer.shown()))),
        }
        let BulkAnswer { items } = serde_json::from_slice(&answer.body)
            .map_err(|error| NotNow(format!("the answer to `_bulk` cannot be read: {error}")))?;
        if items.len() != lines.len() {
            return Err(NotNow(format!("{} answers to {} events", items.len(), lines.len())));
        }
        for (ItemAnswer { create }, line) in items.into_iter().zip(lines) {
            match create.status {
                200..300 | 409 => {}
                status if blames_content(status) => {
                    let reason = format!("refused by `{}`: {create}", self.stream);
                    judged.refused.push(Refused { index: line.0, reason });
                }
                _ => {
                    judged.again.push(line.clone());
                    judged.why = create.to_string();
                }
            }
        }
        Ok(())
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
        let mut judged = Judged::default();
        for (index, record) in batch.iter().enumerate() {
            // A line break would end the event in the middle of the request.
            match Identity::of(&record.payload) {
                Ok(_) if record.payload.contains(&b'\n') => {
                    let reason = "the event has line breaks".into();
                    judged.refused.push(Refused { index, reason });
                }
                Ok(identity) => judged.again.push((index, identity.id())),
                Err(reason) => judged.refused.push(Refused { index, reason }),
            }
        }
        for round in 0..ROUNDS {
            if judged.again.is_empty() {
                return Ok(judged.refused);
            }
            if round > 0 {
                std::thread::sleep(PAUSE * (1 << (round - 1)));
            }
            let lines = std::mem::take(&mut judged.again);
            self.send(batch, &lines, &mut judged)?;
        }
        match judged.again.len() {
            0 => Ok(judged.refused),
            left => {
                let Judged { why, .. } = judged;
                Err(NotNow(format!("`{}` does not take {left} events now: {why}", self.stream)))
            }
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
