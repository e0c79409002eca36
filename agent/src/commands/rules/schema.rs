//! `rules schema`: the fields that rules may name.

use logweir_parsers::{Kind, ecs_names, ecs_type};
use std::process::ExitCode;

/// List the ECS fields that rules may set, with their types
#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    /// Only names that hold this
    part: Option<String>,
}

impl Schema {
    pub(super) fn execute(self) -> ExitCode {
        let part = self.part.unwrap_or_default();
        let mut names: Vec<&str> = ecs_names().filter(|name| name.contains(&part)).collect();
        names.sort_unstable();
        let mut any = false;
        for name in names {
            let Some(kind) = ecs_type(name).filter(|kind| kind.kind != Kind::Object) else {
                continue;
            };
            let word = kind.kind.name();
            println!("{name}\t{word}{}", if kind.list { "\tlist" } else { "" });
            any = true;
        }
        if any { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
