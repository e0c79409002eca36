//! The bytes around a parsed event: constant per source in front, position and chain behind.

use crate::json::{write_member, write_u64};
use crate::seal::{SealKey, SealedLine};
use crate::{
    FIELD_BASE64, FIELD_OFFSET, FIELD_ORIGINAL, FIELD_PREV, FIELD_SEAL, FIELD_SOURCE, SourceId,
};
use memchr::memmem::Finder;
use std::borrow::Cow;

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
    fallbacks: Vec<Fallback>,
    seal_key: Option<SealKey>,
}

/// A member of every event that has none of its name.
#[derive(Debug, Clone)]
struct Fallback {
    key: Finder<'static>,
    member: Vec<u8>,
}

impl Fallback {
    fn new(key: &str, value: &[u8]) -> Self {
        let mut member = Vec::new();
        write_member(&mut member, key, value);
        Self { key: Finder::new(&needle(key)).into_owned(), member }
    }
}

impl Envelope {
    /// `members` are further constant fields of the source that no rule may write, such as
    /// `log.file.path` and `input.type`.
    #[must_use]
    pub fn new(agent: &Agent, source: SourceId, members: &[(&str, &[u8])]) -> Self {
        let mut bytes = vec![b'{'];
        let source_text = source.to_string();
        let fixed: [(&str, &[u8]); 5] = [
            ("agent.id", agent.id.as_bytes()),
            ("agent.name", agent.name.as_bytes()),
            ("agent.type", b"logweir-agent"),
            ("agent.version", agent.version.as_bytes()),
            (FIELD_SOURCE, source_text.as_bytes()),
        ];
        for (key, value) in fixed.iter().chain(members) {
            write_member(&mut bytes, key, value);
            bytes.push(b',');
        }
        let fallbacks = vec![Fallback::new("host.name", agent.host_name.as_bytes())];
        Self { source, bytes, fallbacks, seal_key: None }
    }

    /// Its events have this member unless they say otherwise themselves.
    #[must_use]
    pub fn with_fallback(mut self, key: &str, value: &[u8]) -> Self {
        self.fallbacks.push(Fallback::new(key, value));
        self
    }

    /// Its events get a seal with this key, if there is one.
    #[must_use]
    pub fn sealed(mut self, key: Option<SealKey>) -> Self {
        self.seal_key = key;
        self
    }

    #[must_use]
    pub fn source(&self) -> SourceId {
        self.source
    }

    /// Begins an event in `out`: everything up to where the parser writes its own members.
    pub fn open_event(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
    /// Ends an event that begins at `start` of `out` and whose parsed members stand there: seal,
    /// position, chain, closing brace.
    pub fn close_event(&self, out: &mut Vec<u8>, start: usize, offset: u64, prev: Option<u64>) {
        if let Some(key) = &self.seal_key {
            let members = out.get(start + self.bytes.len()..).unwrap_or_default();
            let (original, base64) = line_of(members);
            let line = SealedLine { original: &original, base64: &base64 };
            let seal = key.seal(&self.source, offset, prev, line);
            begin_member(out, FIELD_SEAL);
            out.push(b'"');
            seal.write(out);
            out.push(b'"');
        }
        let parsed_to = out.len();
        for fallback in &self.fallbacks {
            if fallback.key.find(&out[start + self.bytes.len()..parsed_to]).is_none() {
                out.push(b',');
                out.extend_from_slice(&fallback.member);
            }
        }
        begin_member(out, FIELD_OFFSET);
        write_u64(out, offset);
        if let Some(prev) = prev {
            begin_member(out, FIELD_PREV);
            write_u64(out, prev);
        }
        out.push(b'}');
    }
}

/// Whether `members` have one with this name.
#[must_use]
pub fn has_member(members: &[u8], key: &str) -> bool {
    memchr::memmem::find(members, &needle(key)).is_some()
}

/// How a member begins. Inside of a text the quotes would be escaped.
fn needle(key: &str) -> Vec<u8> {
    format!("\"{key}\":").into_bytes()
}

fn begin_member(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// The line that stands among the members of an event, and its exact bytes in base64 if they are no UTF-8: what
/// rules have masked is masked in it.
#[must_use]
pub fn line_of(members: &[u8]) -> (Cow<'_, str>, Cow<'_, str>) {
    let original = text_of(members, FIELD_ORIGINAL);
    // Bytes that are not UTF-8 leave this mark.
    let base64 = match original.contains('\u{fffd}') {
        true => text_of(members, FIELD_BASE64),
        false => Cow::default(),
    };
    (original, base64)
}

/// The text of a member, empty if there is none. Inside of another text its quotes would be escaped.
fn text_of<'m>(members: &'m [u8], key: &str) -> Cow<'m, str> {
    let begin = format!("\"{key}\":\"");
    let Some(at) = memchr::memmem::find(members, begin.as_bytes()) else { return Cow::default() };
    let text = &members[at + begin.len()..];
    let mut end = 0;
    let mut escaped = false;
    while let Some(step) = memchr::memchr2(b'"', b'\\', &text[end..]) {
        end += step;
        if text[end] == b'"' {
            break;
        }
        escaped = true;
        end = (end + 2).min(text.len());
    }
    let plain = std::str::from_utf8(&text[..end.min(text.len())]).unwrap_or_default();
    match escaped {
        false => Cow::Borrowed(plain),
        true => {
            serde_json::from_str(&format!("\"{plain}\"")).map_or_else(|_| plain.into(), Cow::Owned)
        }
    }
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
        envelope.close_event(&mut out, 0, 42, Some(7));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["agent.name"], "web\"1");
        assert_eq!(value["log.file.path"], "/var/log/a\\b");
        assert_eq!(value[FIELD_SOURCE], source.to_string());
        assert_eq!(value[FIELD_OFFSET], 42);
        assert_eq!(value[FIELD_PREV], 7);
        assert_eq!(value["message"], "hello");
    }

    #[test]
    fn what_an_event_says_itself_of_its_host_stands_and_once() {
        let agent =
            Agent { id: "id".into(), name: "a".into(), version: "0".into(), host_name: "h".into() };
        let envelope = Envelope::new(&agent, SourceId::derive(&[b"x"]), &[])
            .with_fallback("labels.env", b"prod");
        let event = |members: &[(&str, &str)]| {
            let mut out = Vec::new();
            envelope.open_event(&mut out);
            for (key, value) in members {
                write_member(&mut out, key, value.as_bytes());
                out.push(b',');
            }
            write_member(&mut out, FIELD_ORIGINAL, br#"{"host.name":"said"}"#);
            envelope.close_event(&mut out, 0, 1, None);
            String::from_utf8(out).unwrap()
        };
        for (members, expected) in [
            (&[][..], [r#""host.name":"h","#, r#""labels.env":"prod","#]),
            (&[("host.name", "dc1")], [r#""host.name":"dc1","#, r#""labels.env":"prod","#]),
            (&[("labels.env", "test")], [r#""host.name":"h","#, r#""labels.env":"test","#]),
        ] {
            let event = event(members);
            for (key, expected) in ["\"host.name\":", "\"labels.env\":"].iter().zip(expected) {
                assert!(event.contains(expected), "{event}");
                assert_eq!(event.matches(key).count(), 1, "{event}");
            }
        }
    }

    #[test]
    fn a_seal_is_over_the_line_as_it_is_delivered() {
        let agent =
            Agent { id: "id".into(), name: "a".into(), version: "0".into(), host_name: "h".into() };
        let source = SourceId::derive(&[b"x"]);
        let key: SealKey = "1".repeat(64).parse().unwrap();
        let plain = Envelope::new(&agent, source, &[]);
        let sealed = plain.clone().sealed(Some(key.clone()));
        for (line, base64) in [
            ("plain", ""),
            ("", ""),
            ("quote \" backslash \\ tab \t and ünï \u{1}", ""),
            ("ends in a backslash \\", ""),
            ("mark \u{fffd}", "bWFyayD/"),
            ("\"logweir.original_base64\":\"x\" \u{fffd}", ""),
        ] {
            let mut out = b"before".to_vec();
            sealed.open_event(&mut out);
            write_member(&mut out, "message", b"\"event.original\":\"other\"");
            out.push(b',');
            write_member(&mut out, FIELD_ORIGINAL, line.as_bytes());
            if !base64.is_empty() {
                out.push(b',');
                write_member(&mut out, FIELD_BASE64, base64.as_bytes());
            }
            sealed.close_event(&mut out, 6, 42, None);
            let value: serde_json::Value = serde_json::from_slice(&out[6..]).unwrap();
            let line = SealedLine { original: value[FIELD_ORIGINAL].as_str().unwrap(), base64 };
            assert_eq!(
                value[FIELD_SEAL],
                key.seal(&source, 42, None, line).to_string(),
                "{line:?}"
            );
        }
    }
}
