//! The signed heads among the events: how far the sources of each agent had come in Kafka, and since when
//! an agent has said nothing.

use super::chain::{Chains, Found, Wrong};
use anyhow::{Context as _, Result};
use jiff::Timestamp;
use logweir_record::SourceId;
use logweir_signed::{HEADS_INPUT, Heads, PublicKeys};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// See the module's description.
#[derive(Debug)]
pub(super) struct SignedHeads {
    keys: Vec<PublicKeys>,
    /// What was signed later is not counted upon: events may be on their way to where they are looked for.
    before: Timestamp,
    ends: HashMap<SourceId, End>,
    pub(super) agents: BTreeMap<String, SaidByAgent>,
}

#[derive(Debug)]
struct End {
    host: String,
    offset: u64,
}

/// The heads of one agent.
#[derive(Debug)]
pub(super) struct SaidByAgent {
    pub(super) host: String,
    pub(super) heads: u64,
    pub(super) newest: Timestamp,
    /// The next ones were due and are not there.
    pub(super) overdue: bool,
}

impl SignedHeads {
    /// # Errors
    /// A file that cannot be read or holds no public key.
    pub(super) fn trusting(paths: &[PathBuf], before: Timestamp) -> Result<Self> {
        let read = |path: &PathBuf| {
            let shown = path.display();
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
            PublicKeys::from_pem(&text).with_context(|| format!("{shown} holds no key"))
        };
        let keys = paths.iter().map(read).collect::<Result<_>>()?;
        Ok(Self { keys, before, ends: HashMap::new(), agents: BTreeMap::new() })
    }

    /// Looks at an event. What an agent has signed holds wherever it stands: nothing seals the fields that
    /// say which input an event is of, or which agent's. One that only pretends to be a head is a finding.
    pub(super) fn take(&mut self, found: &Found<'_>, chains: &mut Chains) {
        if self.keys.is_empty() {
            return;
        }
        let signed = Heads::of_line(found.line.original, &self.keys).ok();
        let signed = signed.and_then(|heads| Some((heads.at.parse().ok()?, heads)));
        let is_own = signed.as_ref().is_some_and(|(_, heads)| heads.agent == found.agent);
        if found.path == HEADS_INPUT && !is_own {
            chains.blame(found, Wrong::Forged);
        }
        let Some((at, heads)): Option<(Timestamp, Heads)> = signed else { return };
        let due = i64::try_from(heads.every_seconds).unwrap_or(i64::MAX).saturating_mul(2);
        let overdue = at.as_second().saturating_add(due) < self.before.as_second();
        let said = self.agents.entry(heads.agent).or_insert_with(|| SaidByAgent {
            host: found.host.to_owned(),
            heads: 0,
            newest: at,
            overdue,
        });
        said.heads += 1;
        if at >= said.newest {
            (said.newest, said.overdue) = (at, overdue);
        }
        if at > self.before {
            return;
        }
        for (source, offset) in heads.ends {
            let Ok(source) = source.parse() else { continue };
            let end = self
                .ends
                .entry(source)
                .or_insert_with(|| End { host: found.host.to_owned(), offset });
            end.offset = end.offset.max(offset);
        }
    }

    /// Has the events missed that the heads tell of.
    pub(super) fn expect(&self, chains: &mut Chains) {
        for (source, End { host, offset }) in &self.ends {
            chains.expect_signed(*source, host, *offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::{Arrival, Keys, Place};
    use super::*;
    use logweir_record::SealedLine;
    use logweir_signed::SigningKey;
    use std::time::Duration;

    #[test]
    fn a_signed_head_holds_under_whatever_fields_and_an_unsigned_one_only_pretends_to_be_one() {
        let key = SigningKey::generate().unwrap();
        let source = SourceId::derive(&[b"s"]);
        let ends = BTreeMap::from([(source.to_string(), 70)]);
        let at = "2026-11-28T17:31:04Z";
        let heads = Heads { agent: "a".into(), at: at.into(), every_seconds: 60, ends };
        let signed = heads.sign(&key).unwrap();
        let forged = heads.sign(&SigningKey::generate().unwrap()).unwrap();
        for (line, path, agent, counted, blamed) in [
            (&signed, HEADS_INPUT, "a", 1, None),
            (&signed, "file", "a", 1, None),
            (&signed, "/var/log/x", "b", 1, None),
            (&signed, HEADS_INPUT, "b", 1, Some(Wrong::Forged)),
            (&forged, HEADS_INPUT, "a", 0, Some(Wrong::Forged)),
            (&forged, "file", "a", 0, None),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), key.public().unwrap().to_pem().unwrap()).unwrap();
            let mut known =
                SignedHeads::trusting(&[file.path().to_owned()], Timestamp::now()).unwrap();
            let mut chains = Chains::new(Keys::None, Place::Table, Duration::ZERO);
            let line = SealedLine { original: line, base64: "" };
            let arrival = Arrival::default();
            let (host, offset, prev, seal) = ("h", 0, None, "");
            let found = Found { source, agent, host, path, offset, prev, line, seal, arrival };
            known.take(&found, &mut chains);
            let wrong = chains.findings().first().map(|finding| finding.wrong);
            assert_eq!((known.ends.len(), wrong), (counted, blamed), "{path} {agent}");
        }
    }
}
