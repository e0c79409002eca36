//! `logweir search --follow`: events as they come into the table.

use anyhow::Result;
use logweir_store::{Follower, Formatter, Query, Table};
use std::io::{IsTerminal as _, Write as _};
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
) -> Result<ExitCode> {
    let mut follower = Follower::new(table, query, formatter.fields())?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut left = limit.unwrap_or(usize::MAX);
    if std::io::stderr().is_terminal() {
        eprintln!("following; Ctrl-C ends it");
    }
    let mut written = formatter.header(&mut out);
    while written.is_ok() && left > 0 {
        let before = left;
        let beyond = follower.look(table, &mut |row| {
            written = formatter.row(&mut out, &row);
            left -= 1;
            match written.is_ok() && left > 0 {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        // Not before there is a row: the first ones give a table its widths.
        if left < before {
            written = written.and_then(|()| formatter.finish(&mut out)).and_then(|()| out.flush());
        }
        if beyond > 0 && left > 0 {
            eprintln!("logweir: {beyond} more events came at once than can be shown");
        }
        if left > 0 {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
