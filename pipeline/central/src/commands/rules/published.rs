//! `logweir rules published`: what the topic has for each group.

use super::topic::{latest, read_public_keys};
use crate::commands::cluster::ClusterArguments;
use crate::commands::visible;
use anyhow::Result;
use clap::Args;
use logweir_agent::{out, outln};
use logweir_signed::{PublishedRules, Refusal};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// List what is published to each group; exit code 1 if one of them is none that agents would take
#[derive(Debug, Args)]
pub(super) struct Published {
    /// Verify the signatures with this key
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// table, or json (one object per group and line)
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    #[command(flatten)]
    cluster: ClusterArguments,
}

type Groups = BTreeMap<String, Result<PublishedRules, Refusal>>;

impl Published {
    pub(super) fn run(self) -> Result<ExitCode> {
        let keys = self.public_key.as_deref().map(read_public_keys).transpose()?;
        let mut groups = latest(&self.cluster, keys.as_ref())?;
        for (group, found) in &mut groups {
            let other = found.as_ref().is_ok_and(|set| set.header.group != *group);
            if other {
                *found = Err(Refusal::Unknown);
            }
        }
        match self.format.as_str() {
            "json" => groups.iter().for_each(|(group, found)| outln!("{}", object(group, found))),
            _ => out!("{}", table(&groups)),
        }
        if keys.is_none() && self.format != "json" && !groups.is_empty() {
            outln!("signatures are not verified; --public-key FILE does");
        }
        let good = groups.values().all(Result::is_ok);
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn object(group: &str, found: &Result<PublishedRules, Refusal>) -> Value {
    match found {
        Ok(set) => json!({
            "group": group,
            "version": set.header.version,
            "percent": set.header.percent,
            "withdrawn": set.header.withdrawn,
            "files": set.files.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "hash": set.hash(),
            "at": set.header.at,
            "by": set.header.by,
        }),
        Err(refusal) => json!({"group": group, "refused": refusal.to_string()}),
    }
}

fn table(groups: &Groups) -> String {
    let mut out = format!(
        "{:20}  {:>7}  {:>7}  {:>5}  {:16}  {:20}  BY\n",
        "GROUP", "VERSION", "PERCENT", "FILES", "HASH", "AT"
    );
    for (group, found) in groups {
        let group = visible(group);
        match found {
            Ok(set) => out.push_str(&format!(
                "{group:20}  {:>7}  {:>7}  {:>5}  {:16}  {:20}  {}\n",
                set.header.version,
                set.header.percent,
                set.files.len(),
                if set.header.withdrawn { "withdrawn".to_owned() } else { set.hash() },
                visible(&set.header.at),
                visible(&set.header.by)
            )),
            Err(refusal) => out.push_str(&format!("{group:20}  refused by agents: {refusal}\n")),
        }
    }
    out.push_str(&format!("{} groups\n", groups.len()));
    out
}
