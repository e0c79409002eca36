//! `logweir search --follow`: events as they come into the table.

use super::all_written;
use anyhow::Result;
use logweir_agent::errln;
use logweir_store::{Follower, Formatter, Query, Table};
use std::io::{IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

/// Between two looks at the table's log: one listing of a folder.
const PAUSE: Duration = Duration::from_millis(200);

/// Prints until interrupted, until whoever reads goes away, or until `limit` events.
pub(super) fn print(
    table: &Table,
    query: Query,
    limit: Option<usize>,
    mut formatter: Formatter,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let mut follower = Follower::new(table, query, formatter.fields())?;
    let mut left = limit.unwrap_or(usize::MAX);
    if std::io::stderr().is_terminal() {
        errln!("following; Ctrl-C ends it");
    }
    let mut written = formatter.header(out);
    while written.is_ok() && left > 0 {
        let before = left;
        let beyond = follower.look(table, &mut |row| {
            written = formatter.row(out, &row);
            left -= 1;
            match written.is_ok() && left > 0 {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        // Not before there is a row: the first ones give a table its widths.
        if left < before {
            written = written.and_then(|()| formatter.finish(out));
        }
        if beyond > 0 && left > 0 {
            errln!("logweir: {beyond} more events came at once than can be shown");
        }
        if left > 0 && written.is_ok() {
            std::thread::sleep(PAUSE);
        }
    }
    all_written(written)?;
    Ok(ExitCode::SUCCESS)
}
