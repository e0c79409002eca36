//! Searches a table, for measurements and for the test of other writers.
//!
//! `cargo run -p logweir-store --example find -- DIRECTORY QUERY [LIMIT | count | by FIELD]`

use logweir_store::{
    Format, Formatter, Query, SearchOptions, Table, TableOptions, count, count_by, search,
};
use std::ops::ControlFlow;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, query, rest @ ..] = arguments.as_slice() else {
        return Err("usage: find DIRECTORY QUERY [LIMIT | count | by FIELD]".into());
    };
    let opened = Instant::now();
    let table = Table::open(directory, TableOptions::default())?;
    eprintln!("opened in {:.1?}", opened.elapsed());
    let query = Query::parse(query)?;
    let mut options = SearchOptions::default();
    let started = Instant::now();
    match rest {
        [word] if word == "count" => println!("{}", count(&table, &query, &options)?),
        [word, field] if word == "by" => {
            for (value, count) in count_by(&table, &query, &options, field)?.iter().take(20) {
                println!("{count}\t{value}");
            }
        }
        rest => {
            options.limit = rest.first().map_or(Ok(10), |text| text.parse())?;
            let mut formatter = Formatter::new(Format::Json, &[], false);
            let mut out = std::io::stdout().lock();
            let summary =
                search(&table, &query, &options, &mut |row| match formatter.row(&mut out, &row) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                })?;
            eprintln!("{summary:?}");
        }
    }
    eprintln!("answered in {:.1?}", started.elapsed());
    Ok(())
}
