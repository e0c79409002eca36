//! The bytes around a parsed event: constant per source in front, position and chain behind.

use crate::json::{write_member, write_u64};
use crate::{FIELD_OFFSET, FIELD_PREV, FIELD_SOURCE, SourceId};

/// Who reads: `agent.*` and the host that the agent runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// A UUID made at the first start and kept in the state directory.
    pub id: String,
    /// What people call the agent; by default the host's name.
    pub name: String,
    pub version: String,
    /// `host.name`, the machine that the agent runs on.
    pub host_name: String,
}

/// The constant beginning of every event of one source, rendered once: `{"agent.id":…,`.
#[derive(Debug, Clone)]
pub struct Envelope {
    source: SourceId,
    bytes: Vec<u8>,
}

impl Envelope {
    /// `members` are further constant fields of the source, such as `log.file.path`, `input.type`
    /// and `labels.*`, already checked to be distinct.
    #[must_use]
    pub fn new(agent: &Agent, source: SourceId, members: &[(&str, &[u8])]) -> Self {
        let mut bytes = vec![b'{'];
        let source_text = source.to_string();
        let fixed: [(&str, &[u8]); 6] = [
            ("agent.id", agent.id.as_bytes()),
            ("agent.name", agent.name.as_bytes()),
            ("agent.type", b"logweir-agent"),
            ("agent.version", agent.version.as_bytes()),
            ("host.name", agent.host_name.as_bytes()),
            (FIELD_SOURCE, source_text.as_bytes()),
        ];
        for (key, value) in fixed.iter().chain(members) {
            write_member(&mut bytes, key, value);
            bytes.push(b',');
        }
        Self { source, bytes }
    }

    #[must_use]
    pub fn source(&self) -> SourceId {
        self.source
    }

    /// Begins an event in `out`: everything up to where the parser writes its own members.
    pub fn open_event(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
}

/// Ends an event whose parsed members stand in `out`: position, chain, closing brace.
pub fn close_event(out: &mut Vec<u8>, offset: u64, prev: Option<u64>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(FIELD_OFFSET.as_bytes());
    out.extend_from_slice(b"\":");
    write_u64(out, offset);
    if let Some(prev) = prev {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(FIELD_PREV.as_bytes());
        out.extend_from_slice(b"\":");
        write_u64(out, prev);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_json_object_with_identity_and_chain() {
        let agent = Agent {
            id: "id".into(),
            name: "web\"1".into(),
            version: "0".into(),
            host_name: "web1".into(),
        };
        let source = SourceId::derive(&[b"x"]);
        let envelope = Envelope::new(&agent, source, &[("log.file.path", b"/var/log/a\\b")]);
        let mut out = Vec::new();
        envelope.open_event(&mut out);
        write_member(&mut out, "message", b"hello");
        close_event(&mut out, 42, Some(7));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["agent.name"], "web\"1");
        assert_eq!(value["log.file.path"], "/var/log/a\\b");
        assert_eq!(value[FIELD_SOURCE], source.to_string());
        assert_eq!(value[FIELD_OFFSET], 42);
        assert_eq!(value[FIELD_PREV], 7);
        assert_eq!(value["message"], "hello");
    }
}
