//! `logweir search --stats`: groups as rows, on a terminal with a bar for the first measure.

use super::{all_written, wrong};
use anyhow::Result;
use logweir_agent::errln;
use logweir_store::{
    Format, Formatter, Query, Row, SearchOptions, Stats, StatsTable, Table, Value, stats,
};
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

/// Groups that are shown unless told.
const GROUPS_DEFAULT: usize = 20;
/// The longest bar, in characters.
const BAR_WIDTH: f64 = 30.0;
/// The bar's column has no name.
const BAR: &str = "";

/// What the user asked for.
pub(super) struct Asked<'a> {
    pub(super) text: &'a str,
    pub(super) every: Option<&'a str>,
    pub(super) groups: Option<usize>,
}

pub(super) fn print(
    table: &Table,
    query: &Query,
    options: &SearchOptions,
    asked: &Asked<'_>,
    format: Format,
) -> Result<ExitCode> {
    let parsed = match Stats::parse(asked.text, asked.every) {
        Ok(parsed) => parsed,
        Err(error) if error.column == 0 => {
            errln!("logweir: --every: {}; {}", error.message, error.remedy);
            return Ok(ExitCode::from(2));
        }
        Err(error) => return Ok(wrong("--stats", asked.text, &error)),
    };
    let groups = asked.groups.unwrap_or(GROUPS_DEFAULT);
    let mut found = stats(table, query, options, &parsed, groups)?;
    let terminal = io::stdout().is_terminal();
    let mut columns = parsed.columns();
    if format == Format::Table && terminal && found.rows.len() > 1 {
        add_bars(&mut found.rows, &parsed.first_measure());
        columns.push(BAR.to_owned());
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut formatter = Formatter::new(format, &columns, terminal);
    if !all_written(write(&found, &mut formatter, &mut out))? {
        return Ok(ExitCode::SUCCESS);
    }
    if found.groups_left_out > 0 {
        errln!("logweir: {} smaller groups are not shown (--limit)", found.groups_left_out);
    }
    if found.intervals_left_out {
        errln!(
            "logweir: intervals without events are not shown, there are too many (--since, --every)"
        );
    }
    if found.merged {
        errln!("logweir: there were too many groups or different values to tell all apart");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn write(
    found: &StatsTable,
    formatter: &mut Formatter,
    out: &mut impl Write,
) -> io::Result<()> {
    formatter.header(out)?;
    found.rows.iter().try_for_each(|row| formatter.row(out, row))?;
    formatter.finish(out)
}

fn add_bars(rows: &mut [Row], measure: &str) {
    let size = |row: &Row| match row.get(measure) {
        Some(Value::Integer(number)) => *number as f64,
        Some(Value::Json(number)) => number.parse().unwrap_or(0.0),
        _ => 0.0,
    };
    let largest = rows.iter().map(size).fold(0.0, f64::max);
    for row in rows {
        let bar = bar(size(row) / largest.max(f64::MIN_POSITIVE));
        row.fields.push((BAR.to_owned(), Value::Text(bar)));
    }
}

/// A bar of this share of the whole width, in eighths of a character.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * BAR_WIDTH * 8.0).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        for (share, expected) in [(0.0, 0), (1.0, 30), (0.5, 15), (0.51, 16), (7.0, 30), (-1.0, 0)]
        {
            assert_eq!(bar(share).chars().count(), expected, "{share}");
        }
    }
}
