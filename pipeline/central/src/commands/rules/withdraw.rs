//! `logweir rules withdraw`: a version without rules, after which agents have only their own.

use super::topic::{SignArguments, latest};
use anyhow::{Result, bail};
use clap::Args;
use logweir_agent::outln;
use logweir_document::nearest;
use std::process::ExitCode;

/// Take back what is published to a group: its agents go on with the rules of their own
#[derive(Debug, Args)]
pub(super) struct Withdraw {
    #[command(flatten)]
    sign: SignArguments,
}

impl Withdraw {
    pub(super) fn run(self) -> Result<ExitCode> {
        // Who gives the number of the version knows what the topic may have lost.
        if self.sign.set_version.is_none() {
            let groups = latest(&self.sign.cluster, None)?;
            check_known(&self.sign.group, groups.keys().map(String::as_str))?;
        }
        let set = self.sign.send(100, true, Vec::new())?;
        let (group, version) = (&set.header.group, set.header.version);
        outln!("nothing is published to the group `{group}` any more, from version {version} on");
        Ok(ExitCode::SUCCESS)
    }
}

/// A mistyped name would leave the rules in use, and say that they are not.
fn check_known<'g>(group: &str, known: impl Iterator<Item = &'g str>) -> Result<()> {
    let known: Vec<_> = known.collect();
    if known.contains(&group) {
        return Ok(());
    }
    let remedy = match nearest(group, known) {
        Some(near) => format!("did you mean `{}`?", crate::commands::visible(near)),
        None => {
            "`logweir rules published` lists the groups; if the topic was lost, give a version \
                 above the last one with --set-version"
                .to_owned()
        }
    };
    bail!("nothing is published to the group `{group}`; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_published_is_withdrawn() {
        let check = |group| check_known(group, ["default", "web"].into_iter());
        check("web").unwrap();
        let error = check("defualt").unwrap_err().to_string();
        assert_eq!(error, "nothing is published to the group `defualt`; did you mean `default`?");
        assert!(check("nosuch").unwrap_err().to_string().contains("--set-version"));
    }
}
