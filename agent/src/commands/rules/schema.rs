//! `rules schema`: the fields that rules may name, and the JSON Schema of packs.

use crate::commands::out::printable;
use crate::{errln, outln};
use logweir_document::nearest;
use logweir_parsers::{Kind, ecs_table, schema};
use std::process::ExitCode;

/// List the ECS fields that rules may set, with their types, or print the JSON Schema of packs
#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    /// Only names that hold this
    part: Option<String>,
    /// Print the JSON Schema of packs instead, for editors
    #[arg(long, conflicts_with = "part")]
    json: bool,
}

impl Schema {
    pub(super) fn execute(self) -> ExitCode {
        if self.json {
            outln!("{:#}", schema());
            return ExitCode::SUCCESS;
        }
        let part = self.part.unwrap_or_default();
        let table = ecs_table();
        let mut any = false;
        for name in table.names().filter(|name| name.contains(&part)) {
            let Some(kind) = table.type_of(name).filter(|kind| kind.kind != Kind::Object) else {
                continue;
            };
            let word = kind.kind.name();
            outln!("{name}\t{word}{}", if kind.list { "\tlist" } else { "" });
            any = true;
        }
        if any {
            return ExitCode::SUCCESS;
        }
        let near = nearest(&part, table.names());
        let near = near.map_or_else(String::new, |name| format!(": did you mean `{name}`?"));
        errln!("error: no ECS field has `{}` in its name{near}", printable(&part));
        ExitCode::FAILURE
    }
}
