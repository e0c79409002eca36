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

    /// Looks at an event; one that only pretends to be a head is a finding.
    pub(super) fn take(&mut self, found: &Found<'_>, chains: &mut Chains) {
        if self.keys.is_empty() || found.path != HEADS_INPUT {
            return;
        }
        let heads = Heads::of_line(found.line.original, &self.keys).ok();
        let heads = heads.filter(|heads| heads.agent == found.agent);
        let Some((heads, at)) = heads
            .and_then(|heads| Some((heads.at.parse().ok()?, heads)))
            .map(|(at, heads): (Timestamp, Heads)| (heads, at))
        else {
            return chains.blame(found, Wrong::Forged);
        };
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
