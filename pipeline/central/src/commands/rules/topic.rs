//! The topic of the rules: what is in it, and putting a set there.

use crate::commands::cluster::ClusterArguments;
use crate::commands::topic::{put, read_to_end};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use logweir_record::TOPIC_RULES;
use logweir_signed::{Header, PublicKeys, PublishedRules, Refusal, SigningKey};
use rdkafka::message::Message as _;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Who signs, and for whom.
#[derive(Debug, Args)]
pub(super) struct SignArguments {
    /// The group of agents, as they are told in `rules.published.group`
    #[arg(long, default_value = super::GROUP_DEFAULT, value_parser = super::group)]
    pub(super) group: String,
    /// The key that signs, as `logweir rules keygen` makes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The number of the version, where the topic does not know the last one any more [default: one
    /// more than that of the last version that this key has signed for the group]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) set_version: Option<u64>,
    /// Who publishes, as it is shown
    #[arg(long, value_name = "NAME", default_value_t = user())]
    by: String,
    #[command(flatten)]
    pub(super) cluster: ClusterArguments,
}

impl SignArguments {
    /// Signs a set and puts it into the topic; returns its header.
    pub(super) fn send(
        &self,
        percent: u8,
        withdrawn: bool,
        files: Vec<(String, String)>,
    ) -> Result<PublishedRules> {
        let key = read_key(&self.key)?;
        let keys = key.public()?;
        let last = last_version(&published(&self.cluster)?, &keys, &self.group);
        let version = match self.set_version {
            Some(version) if version <= last => bail!(
                "version {version} is not newer than {last}, the last one for the group `{}`; \
                 agents refuse it",
                self.group
            ),
            Some(version) => version,
            None => last + 1,
        };
        let header = Header {
            group: self.group.clone(),
            version,
            percent,
            by: self.by.clone(),
            at: format!("{:.0}", jiff::Timestamp::now()),
            withdrawn,
        };
        let set = PublishedRules { header, files };
        let bytes = set.encode(&key).context("the set cannot be published")?;
        put(&self.cluster, TOPIC_RULES, self.group.as_bytes(), Some(&bytes))?;
        Ok(set)
    }
}

/// The newest version of a group that one of `keys` has signed; 0 if there is none.
fn last_version(records: &[Vec<u8>], keys: &PublicKeys, group: &str) -> u64 {
    let versions = records.iter().filter_map(|bytes| {
        let set = PublishedRules::decode(bytes, Some(keys)).ok()?;
        (set.header.group == group).then_some(set.header.version)
    });
    versions.max().unwrap_or(0)
}

/// Every record that the topic still has.
fn published(cluster: &ClusterArguments) -> Result<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    read(cluster, |_, value| records.extend(value.map(<[u8]>::to_vec)))?;
    Ok(records)
}

/// The latest record of each group; verified, if there are keys.
pub(super) fn latest(
    cluster: &ClusterArguments,
    keys: Option<&PublicKeys>,
) -> Result<BTreeMap<String, Result<PublishedRules, Refusal>>> {
    let mut groups = BTreeMap::new();
    read(cluster, |key, value| {
        let group = String::from_utf8_lossy(key).into_owned();
        match value {
            Some(bytes) => groups.insert(group, PublishedRules::decode(bytes, keys)),
            None => groups.remove(&group),
        };
    })?;
    Ok(groups)
}

fn read(cluster: &ClusterArguments, mut take: impl FnMut(&[u8], Option<&[u8]>)) -> Result<()> {
    let mut properties = cluster.properties()?;
    properties.set("group.id", "logweir-rules");
    let consumer = logweir_kafka::consumer(&properties)?;
    read_to_end(&consumer, TOPIC_RULES, |message| {
        take(message.key().unwrap_or_default(), message.payload());
    })
}

fn read_key(path: &Path) -> Result<SigningKey> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    if path.metadata().is_ok_and(|metadata| metadata.mode() & 0o007 != 0) {
        bail!("everybody may read or write {shown}, a secret; `chmod o= {shown}`");
    }
    SigningKey::from_pem(&text).with_context(|| format!("{shown} holds no key that signs"))
}

pub(super) fn read_public_keys(path: &Path) -> Result<PublicKeys> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    PublicKeys::from_pem(&text).with_context(|| format!("{shown} holds no public key"))
}

/// Who runs this, at which host.
fn user() -> String {
    let user = ["SUDO_USER", "USER"].iter().find_map(|name| std::env::var(name).ok());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{}@{host}", user.unwrap_or_else(|| "unknown".to_owned()))
}
