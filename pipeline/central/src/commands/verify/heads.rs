//! The signed heads among the events: how far the sources of each agent had come in Kafka, and since when
//! an agent has said nothing.

use super::chain::{Chains, Found, Wrong};
use anyhow::{Context as _, Result};
use jiff::Timestamp;
use logweir_record::SourceId;
use logweir_signed::{HEADS_INPUT, Heads, PublicKeys};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

/// See the module's description.
#[derive(Debug)]
pub(super) struct SignedHeads {
    keys: Vec<Key>,
    /// What was signed later than that says nothing about an agent that is silent.
    until: Timestamp,
    /// What was signed later is not counted upon: events may be on their way to where they are looked for.
    before: Timestamp,
    ends: HashMap<SourceId, End>,
    pub(super) agents: BTreeMap<String, SaidByAgent>,
}

/// One public key, the file that it stands in, and for whom it has signed.
#[derive(Debug)]
struct Key {
    key: [PublicKeys; 1],
    file: usize,
    agents: BTreeSet<String>,
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
    /// Trusts the keys of these files. What was signed longer than `grace` before `now` is counted upon.
    ///
    /// # Errors
    /// A file that cannot be read or holds no public key.
    pub(super) fn trusting(paths: &[PathBuf], now: Timestamp, grace: Duration) -> Result<Self> {
        let mut keys = Vec::new();
        for (file, path) in paths.iter().enumerate() {
            let shown = path.display();
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
            let read = PublicKeys::from_pem(&text);
            let read = read.with_context(|| format!("{shown} holds no key"))?;
            let of_file = |key| Key { key: [key], file, agents: BTreeSet::new() };
            keys.extend(read.one_by_one().map(of_file));
        }
        let before = now.checked_sub(grace).unwrap_or(Timestamp::MIN);
        let until = now.checked_add(grace).unwrap_or(Timestamp::MAX);
        Ok(Self { keys, until, before, ends: HashMap::new(), agents: BTreeMap::new() })
    }

    /// How many keys have signed for more than one agent: whoever has one hides what he likes of another.
    pub(super) fn shared_keys(&self) -> usize {
        self.keys.iter().filter(|key| key.agents.len() > 1).count()
    }

    /// How many files have keys of which none has signed anything.
    pub(super) fn silent_files(&self) -> usize {
        let files = |keys: &mut dyn Iterator<Item = &Key>| {
            keys.map(|key| key.file).collect::<BTreeSet<_>>().len()
        };
        let have_signed = files(&mut self.keys.iter().filter(|key| !key.agents.is_empty()));
        files(&mut self.keys.iter()) - have_signed
    }

    /// Looks at an event. What an agent has signed holds wherever it stands: nothing seals the fields that
    /// say which input an event is of, or which agent's. One that only pretends to be a head is a finding.
    pub(super) fn take(&mut self, found: &Found<'_>, chains: &mut Chains) {
        if self.keys.is_empty() {
            return;
        }
        let signed = self.keys.iter_mut().find_map(|key| {
            let heads = Heads::of_line(found.line.original, &key.key).ok()?;
            if !key.agents.contains(&heads.agent) {
                key.agents.insert(heads.agent.clone());
            }
            Some((heads.at.parse().ok()?, heads))
        });
        let is_own = signed.as_ref().is_some_and(|(_, heads)| heads.agent == found.agent);
        if found.path == HEADS_INPUT && !is_own {
            chains.blame(found, Wrong::Forged);
        }
        let Some((at, heads)): Option<(Timestamp, Heads)> = signed else { return };
        if at > self.until {
            return;
        }
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
            let paths = [file.path().to_owned()];
            let mut known =
                SignedHeads::trusting(&paths, Timestamp::now(), Duration::ZERO).unwrap();
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

    #[test]
    fn a_key_that_signs_for_another_agent_is_told_and_a_time_to_come_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let keys: Vec<_> = (0..3).map(|_| SigningKey::generate().unwrap()).collect();
        let write = |number: usize| {
            let path = directory.path().join(number.to_string());
            std::fs::write(&path, keys[number].public().unwrap().to_pem().unwrap()).unwrap();
            path
        };
        let paths: Vec<_> = (0..3).map(write).collect();
        let now: Timestamp = "2026-11-28T18:00:00Z".parse().unwrap();
        let grace = Duration::from_secs(600);
        let said = |lines: &[(usize, &str, &str)]| {
            let mut known = SignedHeads::trusting(&paths, now, grace).unwrap();
            let mut chains = Chains::new(Keys::None, Place::Table, Duration::ZERO);
            for (key, agent, at) in lines {
                let (agent, at, ends) = ((*agent).into(), (*at).into(), BTreeMap::new());
                let line = Heads { agent, at, every_seconds: 60, ends }.sign(&keys[*key]).unwrap();
                let line = SealedLine { original: &line, base64: "" };
                let (source, agent, host, path) = (SourceId::derive(&[b"s"]), "b", "h", "/p");
                let (offset, prev, seal, arrival) = (0, None, "", Arrival::default());
                let found = Found { source, agent, host, path, offset, prev, line, seal, arrival };
                known.take(&found, &mut chains);
            }
            let overdue = known.agents.values().filter(|said| said.overdue).count();
            (known.shared_keys(), known.silent_files(), overdue)
        };
        let (early, late, to_come) =
            ("2026-11-28T12:00:00Z", "2026-11-28T17:55:00Z", "2026-11-28T19:00:00Z");
        assert_eq!(said(&[]), (0, 3, 0));
        assert_eq!(said(&[(0, "a", late), (1, "b", late), (2, "c", late)]), (0, 0, 0));
        assert_eq!(said(&[(0, "a", early), (1, "b", late)]), (0, 1, 1));
        assert_eq!(said(&[(0, "a", early), (1, "b", late), (1, "a", late)]), (1, 1, 0));
        assert_eq!(said(&[(0, "a", early), (1, "b", late), (1, "a", to_come)]), (1, 1, 1));
    }
}
